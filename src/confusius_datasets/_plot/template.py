"""Pictures of atlases over templates, drawn with matplotlib and without a window."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from confusius_datasets._atlas import Atlas
from confusius_datasets._paths import absolute_path
from confusius_datasets.errors import ArgumentError, MissingDependencyError

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    Colors = dict[int, tuple[float, float, float]]

__all__ = [
    "add_colorbar",
    "check_figure_path",
    "draw_outline",
    "draw_slice",
    "draw_template_with_atlas",
    "new_figure",
    "plot_template_with_atlas",
    "save_figure",
]

N_SLICES = 6
"""How many slices are shown, unless said otherwise."""

MOST_IN_LEGEND = 24
"""More regions than this are drawn without a legend."""

PANEL_WIDTH, MARGIN_WIDTH = 2.9, 2.9
"""In inches; the margin's has the labels of the axis, the colour bar and the legend."""

DPI = 150

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
    ArgumentError
        If atlas and template are not on one grid, `path` is not that of a picture, or `positions`
        is empty.
    UnknownKeyError
        If the atlas lacks a region.
    MissingDependencyError
        If matplotlib is not installed.

    Examples
    --------
    ::

        plot_template_with_atlas(template, resampled, "overlay.png", regions=["VISp", "CA1"])
    """
    target = check_figure_path(path)
    figure = draw_template_with_atlas(template, atlas, regions=regions, positions=positions)
    return save_figure(figure, target)


def draw_template_with_atlas(
    template: xr.DataArray,
    atlas: Atlas,
    *,
    regions: Iterable[int | str] | None = None,
    positions: Sequence[float] | None = None,
) -> Figure:
    """Draw what `plot_template_with_atlas` saves."""
    _check_grid(template, atlas)
    labels = _labels(atlas, regions)
    slices = _slices(template, labels, positions)
    columns = min(3, len(slices))
    rows = -(-len(slices) // columns)
    height = PANEL_WIDTH * _extent(template, "y") / _extent(template, "x")
    figure = new_figure(
        columns * (PANEL_WIDTH + 0.15) + MARGIN_WIDTH, rows * (height + 0.25) + 0.75
    )
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    darkest, brightest = np.nanpercentile(template.values, [DARKEST, BRIGHTEST])
    colors = _colors(atlas)
    for panel, index in zip(panels.flat, slices, strict=False):
        image = template.isel(z=index)
        shown = draw_slice(panel, image, cmap="gray", vmin=darkest, vmax=brightest)
        panel.set_title(f"z = {float(image['z']):.2f} mm", fontsize="medium")
        for label in np.unique(labels[index][labels[index] != 0]).tolist():
            draw_outline(panel, image.copy(data=labels[index] == label), colors[label])
        _name_sides(panel, atlas.hemispheres.isel(z=index))
    _label_axes(panels, len(slices))
    between = ", " if columns > 1 else ",\n"
    figure.suptitle(f"{template.name or 'template'}{between}with the regions of {atlas.name}")
    add_colorbar(panels[0, -1], shown, "template (arb. units)")
    _add_legend(figure, atlas, np.unique(labels[slices]), colors)
    return figure


def _label_axes(panels: NDArray[Any], n_slices: int) -> None:
    """Hide the panels that are left over, and label the axes of the outermost others."""
    for panel in panels.flat[n_slices:]:
        panel.set_visible(False)
    for panel in panels[:, 0]:
        panel.set_ylabel("y (mm)")
    for column in panels.T:
        lowest = [panel for panel in column if panel.get_visible()][-1]
        lowest.set_xlabel("x (mm)")
        lowest.tick_params(labelbottom=True)


def _check_grid(template: xr.DataArray, atlas: Atlas) -> None:
    """Raise unless an atlas stands on the grid of a template."""
    if tuple(template.dims) != ("z", "y", "x"):
        raise ArgumentError(
            f"The template must have the dims ('z', 'y', 'x'); got {template.dims}."
        )
    same = atlas.annotation.shape == template.shape and all(
        np.allclose(atlas.annotation[dim], template[dim]) for dim in template.dims
    )
    if not same:
        raise ArgumentError(
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
        if not len(positions):
            raise ArgumentError("'positions' is empty; give at least one, in mm.")
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


def draw_slice(panel: Axes, image: xr.DataArray, **options: Any) -> ScalarMappable:
    """Draw a slice, with depth downwards and millimetres of one length along both axes."""
    shown = panel.pcolormesh(
        image["x"].values,
        image["y"].values,
        image.transpose("y", "x").values,
        shading="nearest",
        rasterized=True,
        **options,
    )
    panel.set_aspect("equal")
    if not panel.yaxis_inverted():
        panel.invert_yaxis()
    return shown


def draw_outline(panel: Axes, mask: xr.DataArray, color: Any) -> None:
    """Outline a mask, halfway between its voxels and those beside it."""
    x, y = (_beyond(mask[dim].values) for dim in ("x", "y"))
    inside = np.pad(mask.transpose("y", "x").values != 0, 1).astype(float)
    limits = panel.axis()
    panel.contour(x, y, inside, levels=[0.5], colors=[color], linewidths=1.2)
    panel.axis(limits)  # or the panel would grow by the voxel that the mask was extended by


def add_colorbar(panel: Axes, shown: ScalarMappable, label: str) -> None:
    """Put a colour bar to the right of a panel, as high as the panel."""
    panel.figure.colorbar(shown, cax=panel.inset_axes((1.03, 0.0, 0.045, 1.0)), label=label)


def new_figure(width: float, height: float) -> Figure:
    """Make a figure that belongs to no window, whatever backend the session has."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError(
            "matplotlib", extra="plot", purpose="Drawing figures"
        ) from error
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def check_figure_path(path: str | os.PathLike[str]) -> Path:
    """Check where a picture is to be written, before it is drawn."""
    kinds = new_figure(1, 1).canvas.get_supported_filetypes()
    target = absolute_path(path)
    if target.is_dir():
        raise ArgumentError(f"{target} is a folder: name the picture, such as {target / 'a.png'}.")
    if target.suffix[1:].lower() not in kinds:
        raise ArgumentError(
            f"{target.name}: the extension {target.suffix!r} is not that of a picture. It must be "
            f"one of {', '.join(f'.{kind}' for kind in sorted(kinds))}."
        )
    return target


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a picture, making its folder if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI)
    return path


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
    legend = figure.legend(
        handles=handles, loc="outside right upper", frameon=False, title=atlas.name
    )
    legend.set_alignment("left")
