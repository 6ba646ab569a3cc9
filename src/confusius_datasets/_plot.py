"""Pictures of atlases over templates, drawn with matplotlib and without a window."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from confusius_datasets._atlas import Atlas
from confusius_datasets.errors import FilterError, MissingDependencyError

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    Colors = dict[int, tuple[float, float, float]]

__all__ = ["draw_template_with_atlas", "plot_template_with_atlas"]

N_SLICES = 6
"""How many slices are shown, unless said otherwise."""

MOST_IN_LEGEND = 24
"""More regions than this are drawn without a legend."""

PANEL_WIDTH, LEGEND_WIDTH = 2.9, 1.9
"""In inches; the legend's has the labels of the axis too."""

DARKEST, BRIGHTEST = 1.0, 99.7
"""Percentiles of the template that are black and white."""


def plot_template_with_atlas(
    template: xr.DataArray,
    atlas: Atlas,
    path: str | os.PathLike[str],
    *,
    regions: Iterable[int | str] | None = None,
    positions: Sequence[float] | None = None,
) -> Path:
    """Save a picture of slices of a template, with the outlines of an atlas's regions over it.

    Parameters
    ----------
    template : (z, y, x) xarray.DataArray
        Power Doppler, say; `z`, `y`, `x` in mm.
    atlas : Atlas
        On the template's grid, as `Atlas.resample_like` gives it.
    path : str or path-like
        Where the picture is written; the extension says of which kind it is.
    regions : iterable of int or str, optional
        Which regions to outline, each with all that it holds. If not provided, every label.
    positions : sequence of float, optional
        Where to slice along `z`, in mm. If not provided, six slices across the brain.

    Returns
    -------
    pathlib.Path
        Absolute path of the picture.

    Raises
    ------
    FilterError
        If atlas and template are not on one grid.
    UnknownKeyError
        If the atlas lacks a region.
    MissingDependencyError
        If matplotlib is not installed.

    Examples
    --------
    ::

        plot_template_with_atlas(template, resampled, "overlay.png", regions=["VISp", "CA1"])
    """
    figure = draw_template_with_atlas(template, atlas, regions=regions, positions=positions)
    target = Path(path).expanduser().absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=150)
    return target


def draw_template_with_atlas(
    template: xr.DataArray,
    atlas: Atlas,
    *,
    regions: Iterable[int | str] | None = None,
    positions: Sequence[float] | None = None,
) -> Figure:
    """Draw what `plot_template_with_atlas` saves.

    Parameters
    ----------
    template : (z, y, x) xarray.DataArray
        As there.
    atlas : Atlas
        As there.
    regions : iterable of int or str, optional
        As there.
    positions : sequence of float, optional
        As there.

    Returns
    -------
    matplotlib.figure.Figure
        A figure that belongs to no window.

    Raises
    ------
    FilterError
        If atlas and template are not on one grid.
    UnknownKeyError
        If the atlas lacks a region.
    MissingDependencyError
        If matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError(
            "matplotlib", extra="plot", purpose="Drawing figures"
        ) from error
    _check_grid(template, atlas)
    labels = _labels(atlas, regions)
    slices = _slices(template, labels, positions)
    columns = min(3, len(slices))
    rows = -(-len(slices) // columns)
    height = PANEL_WIDTH * _extent(template, "y") / _extent(template, "x")
    figure = Figure(
        figsize=(columns * (PANEL_WIDTH + 0.15) + LEGEND_WIDTH, rows * (height + 0.3) + 0.5),
        layout="constrained",
    )
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    darkest, brightest = np.nanpercentile(template.values, [DARKEST, BRIGHTEST])
    colors = _colors(atlas)
    for panel, index in zip(panels.flat, slices, strict=False):
        _draw_slice(panel, template.isel(z=index), (float(darkest), float(brightest)))
        _draw_outlines(panel, template, labels[index], colors)
        _name_sides(panel, atlas.hemispheres.isel(z=index))
    for panel in panels.flat[len(slices) :]:
        panel.set_visible(False)
    for panel in panels[-1]:
        panel.set_xlabel("x (mm)")
    for panel in panels[:, 0]:
        panel.set_ylabel("y (mm)")
    _add_legend(figure, atlas, np.unique(labels[slices]), colors)
    return figure


def _check_grid(template: xr.DataArray, atlas: Atlas) -> None:
    """Raise unless an atlas stands on the grid of a template."""
    if tuple(template.dims) != ("z", "y", "x"):
        raise FilterError(f"The template must have the dims ('z', 'y', 'x'); got {template.dims}.")
    same = atlas.annotation.shape == template.shape and all(
        np.allclose(atlas.annotation[dim], template[dim]) for dim in template.dims
    )
    if not same:
        raise FilterError(
            f"The atlas, {atlas.annotation.shape}, is not on the grid of the template, "
            f"{template.shape}: call atlas.resample_like(template, …) first."
        )


def _labels(atlas: Atlas, regions: Iterable[int | str] | None) -> NDArray[np.int32]:
    """Return the label of each voxel, among those that are to be outlined."""
    if regions is None:
        return np.asarray(atlas.annotation.values)
    masks = atlas.get_masks(list(regions)).values
    labels: NDArray[np.int32] = np.zeros(masks.shape[1:], np.int32)
    for mask in masks:  # a region within another one is drawn over it
        labels[mask != 0] = mask[mask != 0]
    return labels


def _slices(
    template: xr.DataArray, labels: NDArray[np.int32], positions: Sequence[float] | None
) -> list[int]:
    """Choose slices: those at positions, or some spread over where there are labels."""
    if positions is not None:
        points = template["z"].values
        return [int(np.abs(points - position).argmin()) for position in positions]
    present = np.flatnonzero(labels.any(axis=(1, 2)))
    if not len(present):
        return [template.sizes["z"] // 2]
    spread = np.linspace(present[0], present[-1], N_SLICES + 2)[1:-1]
    return sorted({round(index) for index in spread.tolist()})


def _extent(template: xr.DataArray, dim: str) -> float:
    """Return the length of an axis, in mm."""
    points = template[dim].values
    return float(np.ptp(points)) or 1.0


def _colors(atlas: Atlas) -> Colors:
    """Return the colour of each region, light enough to be seen on black."""
    lookup = atlas.annotation.attrs["rgb_lookup"]
    colors: Colors = {}
    for label, rgb in lookup.items():
        red, green, blue = (part / 255 for part in rgb[:3])
        lift = max(0.0, 0.62 - (0.299 * red + 0.587 * green + 0.114 * blue))
        colors[int(label)] = (
            red + lift * (1 - red),
            green + lift * (1 - green),
            blue + lift * (1 - blue),
        )
    return colors


def _draw_slice(panel: Axes, image: xr.DataArray, limits: tuple[float, float]) -> None:
    """Draw a slice in grey, as deep as it is wide."""
    panel.pcolormesh(
        image["x"].values,
        image["y"].values,
        image.values,
        shading="nearest",
        cmap="gray",
        vmin=limits[0],
        vmax=max(limits[1], limits[0] + 1e-12),
        rasterized=True,
    )
    panel.set_aspect("equal")
    panel.set_facecolor("black")
    if not panel.yaxis_inverted():
        panel.invert_yaxis()
    panel.set_title(f"z = {float(image['z']):.2f} mm", fontsize="medium")


def _draw_outlines(
    panel: Axes, template: xr.DataArray, labels: NDArray[np.int32], colors: Colors
) -> None:
    """Outline each label of a slice in its colour, halfway between voxels."""
    y, x = _beyond(template["y"].values), _beyond(template["x"].values)
    for label in np.unique(labels[labels != 0]).tolist():
        mask = np.pad(labels == label, 1).astype(float)
        panel.contour(x, y, mask, levels=[0.5], colors=[colors[label]], linewidths=1.1)


def _beyond(points: NDArray[Any]) -> NDArray[np.float64]:
    """Extend coordinates by a voxel at both ends, so that outlines close."""
    step = float(points[1] - points[0]) if len(points) > 1 else 1.0
    return np.concatenate([[points[0] - step], points, [points[-1] + step]])


def _name_sides(panel: Axes, halves: xr.DataArray) -> None:
    """Say which side is left and which is right, as the atlas's hemispheres have it."""
    across = halves["x"].values
    centres = {
        name: float(across[np.nonzero(halves.values == label)[1]].mean())
        for name, label in (("L", 1), ("R", 2))
        if (halves.values == label).any()
    }
    if len(centres) < 2:
        return
    lower = min(centres, key=lambda name: centres[name])
    for name in centres:
        panel.text(
            0.03 if name == lower else 0.97,  # x grows to the right, however it is stored
            0.96,
            name,
            color="white",
            transform=panel.transAxes,
            ha="center",
            va="top",
            fontsize="small",
        )


def _add_legend(figure: Figure, atlas: Atlas, labels: NDArray[np.int32], colors: Colors) -> None:
    """Name the regions, where they are few enough to be told apart."""
    from matplotlib.lines import Line2D

    shown = [label for label in labels.tolist() if label]
    if not 0 < len(shown) <= MOST_IN_LEGEND:
        return
    acronyms = atlas.lookup["acronym"]
    handles = [
        Line2D([], [], color=colors[label], linewidth=2.5, label=str(acronyms[label]))
        for label in shown
    ]
    figure.legend(handles=handles, loc="outside right upper", frameon=False, title=atlas.name)
