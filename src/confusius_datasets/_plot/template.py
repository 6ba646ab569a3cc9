"""Pictures of atlases over templates, drawn with matplotlib and without a window."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from confusius_datasets._atlas import Atlas
from confusius_datasets._plot.drawing import (
    BRIGHTEST,
    DARKEST,
    MOST_IN_LEGEND,
    add_colorbar,
    check_figure_path,
    draw_regions,
    draw_slice,
    labels_of,
    lines_of_regions,
    name_sides,
    new_figure,
    save_figure,
)
from confusius_datasets.errors import ArgumentError

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["draw_template_with_atlas", "plot_template_with_atlas"]

N_SLICES = 6
"""How many slices are shown, unless said otherwise."""

PANEL_WIDTH, MARGIN_WIDTH = 2.9, 2.9
"""In inches; the margin's has the labels of the axis, the colour bar and the legend."""


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
    labels = labels_of(atlas, regions)
    slices = _slices(template, labels.values, positions)
    columns = min(3, len(slices))
    rows = -(-len(slices) // columns)
    height = PANEL_WIDTH * _extent(template, "y") / _extent(template, "x")
    figure = new_figure(
        columns * (PANEL_WIDTH + 0.15) + MARGIN_WIDTH, rows * (height + 0.25) + 0.75
    )
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    darkest, brightest = np.nanpercentile(template.values, [DARKEST, BRIGHTEST])
    for panel, index in zip(panels.flat, slices, strict=False):
        image = template.isel(z=index)
        shown = draw_slice(panel, image, cmap="gray", vmin=darkest, vmax=brightest)
        panel.set_title(f"z = {float(image['z']):.2f} mm", fontsize="medium")
        draw_regions(panel, atlas, labels.isel(z=index))
        name_sides(panel, atlas.hemispheres.isel(z=index))
    _label_axes(panels, len(slices))
    between = ", " if columns > 1 else ",\n"
    figure.suptitle(f"{template.name or 'template'}{between}with the regions of {atlas.name}")
    add_colorbar(panels[0, -1], shown, "template (arb. units)")
    lines = lines_of_regions(atlas, labels.isel(z=slices))
    if 0 < len(lines) <= MOST_IN_LEGEND:
        legend = figure.legend(
            handles=lines, loc="outside right upper", frameon=False, title=atlas.name
        )
        legend.set_alignment("left")
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
