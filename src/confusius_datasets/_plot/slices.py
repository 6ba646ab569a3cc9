"""`plot_slice`: one slice of any array of ours, as an image in mm."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from confusius_datasets._atlas import Atlas
from confusius_datasets._io.colors import label_colors
from confusius_datasets._plot.drawing import (
    BRIGHTEST,
    DARKEST,
    MOST_IN_LEGEND,
    add_colorbar,
    axes_of,
    draw_regions,
    draw_slice,
    labels_of,
    lines_of_regions,
    name_sides,
    no_matplotlib,
)
from confusius_datasets._text import did_you_mean, quote_short
from confusius_datasets.errors import ArgumentError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

__all__ = ["plot_slice"]

SPACE = ("z", "y", "x")

WIDTH, BAR_WIDTH, LEGEND_WIDTH = 4.2, 1.6, 1.3
"""Of the image, of the colour bar with its labels, and of the names of regions, in inches."""

MARGIN = (0.75, 0.6, 0.4)
"""To the left of the image, below it and above it, in inches."""

DEEPEST_DB = -60.0
"""The colour bar of decibels ends here, however dark the darkest voxels are."""


def plot_slice(
    array: xr.DataArray,
    *,
    decibels: bool = False,
    atlas: Atlas | None = None,
    regions: Iterable[int | str] | None = None,
    axes: Axes | None = None,
    cmap: str | None = None,
    vmin: float | None = None,
    vmax: float | None = None,
    **positions: float,
) -> Axes:
    """Draw a slice of an array, depth downwards and millimetres of one length along both axes.

    Parameters
    ----------
    array : xarray.DataArray
        Has two or three of the dimensions `z`, `y`, `x`, as `load` gives them. The mean over
        `time` is drawn, unless `time` is given. Only the slice that is drawn is read.
    decibels : bool, default: False
        Whether to draw `10 * log10` of the values relative to the greatest one of the slice.
    atlas : Atlas, optional
        On the grid of the array, as `Atlas.resample_like` gives it: its regions are outlined.
    regions : iterable of int or str, optional
        Which regions to outline, each with all that it holds. If not provided, every label.
    axes : matplotlib.axes.Axes, optional
        Where to draw. If not provided, a new figure of `matplotlib.pyplot`.
    cmap : str, optional
        Name of the colormap. If not provided, `gray`, or `RdBu_r` around 0 where values have both
        signs. An annotation is drawn in the colours of its regions.
    vmin, vmax : float, optional
        Values of the first and the last colour. If not provided, percentiles of the slice.
    **positions : float
        Where to slice, as `z=2.4` in the coordinate's unit; `time`, `pose` and other dimensions
        likewise. The nearest voxel is taken. If not provided, the middle of `z`, and the first of
        dimensions other than `time`.

    Returns
    -------
    matplotlib.axes.Axes
        What was drawn on; its title says which slice it is.

    Raises
    ------
    TypeError
        If `array` is not a DataArray.
    ArgumentError
        If `array` has no slice to draw, a position is not one of its own, values cannot be shown
        in decibels, or the atlas is not on its grid.
    UnknownKeyError
        If the atlas lacks a region.
    MissingDependencyError
        If matplotlib is not installed.

    Examples
    --------
    ::

        plot_slice(dataset.load(subject="CR020", suffix="pwd", run=1), decibels=True)
        plot_slice(template, z=6.0, atlas=resampled, regions=["VISp", "CA1"])
    """
    if regions is not None and atlas is None:
        raise ArgumentError("'regions' are those of an atlas: give `atlas`, too.")
    plane, title = _plane_of(array, positions)
    labels = None if atlas is None else _on_plane(labels_of(atlas, regions), plane)
    style = _Style.of(plane, decibels=decibels, cmap=cmap, vmin=vmin, vmax=vmax)
    panel = _new_panel(plane, is_labelled=atlas is not None) if axes is None else axes
    shown = draw_slice(panel, style.image, **style.options)
    panel.set_title(title, fontsize="medium")
    down, across = axes_of(plane)
    panel.set(xlabel=_named(plane[across], across), ylabel=_named(plane[down], down))
    if style.bar is not None:
        add_colorbar(panel, shown, style.bar, extend=style.extend)
    if atlas is not None and labels is not None:
        draw_regions(panel, atlas, labels)
        name_sides(panel, _on_plane(atlas.hemispheres, plane))
        lines = lines_of_regions(atlas, labels)
        if 0 < len(lines) <= MOST_IN_LEGEND:
            _add_legend(panel, lines, has_bar=style.bar is not None)
    return panel


def _plane_of(array: xr.DataArray, positions: Mapping[str, float]) -> tuple[xr.DataArray, str]:
    """Take the slice that is to be drawn, and say in words which it is."""
    if not isinstance(array, xr.DataArray):
        raise TypeError(f"'array' must be an xarray.DataArray, not {type(array).__name__}.")
    if array.dtype.kind not in "biuf" or not array.size:
        raise ArgumentError(
            f"An array of the type {array.dtype} and the shape {array.shape} cannot be drawn; "
            "expected real numbers. Of complex ones, draw abs(array)."
        )
    indices = {dim: _index(array, dim, position) for dim, position in positions.items()}
    space = [dim for dim in SPACE if dim in array.dims and dim not in indices]
    if len(space) < 2:
        raise ArgumentError(
            f"A slice needs two of the dimensions z, y, x; of {array.dims} there remain "
            f"{tuple(space)}."
        )
    if len(space) == 3:
        indices["z"] = array.sizes["z"] // 2
    others = [str(dim) for dim in array.dims if dim not in (*SPACE, *indices)]
    indices |= {dim: 0 for dim in others if dim != "time"}
    plane = array.isel(indices)
    # A scalar coordinate says where a slice lies that was taken before.
    taken = [dim for dim in SPACE if dim in plane.coords and dim not in plane.dims]
    taken += [dim for dim in indices if dim not in SPACE]
    words = [_where(plane, dim) for dim in taken]
    if "time" in others:
        if plane.sizes["time"] > 1:
            words.append(f"mean of {plane.sizes['time']} frames")
        plane = plane.mean("time", keep_attrs=True)
    return plane.compute(), ", ".join(words)  # once: a lazy array reads anew each time


def _index(array: xr.DataArray, dim: str, position: float) -> int:
    """Find the voxel nearest to a position."""
    if dim not in array.dims:
        known = [str(known) for known in array.dims]
        raise ArgumentError(
            f"The array has no dimension {dim!r}. {did_you_mean(dim, known)}"
            f"It has {', '.join(known)}."
        )
    try:
        points, place = array[dim].values.astype(np.float64), float(position)
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"{dim}={quote_short(position)}: expected a number along a coordinate of numbers."
        ) from error
    index = int(np.abs(points - place).argmin())
    if not abs(points[index] - place) <= _widest_step(array[dim]):
        raise ArgumentError(
            f"{dim}={position} lies outside the array, which goes from {points.min():g} to "
            f"{points.max():g}."
        )
    return index


def _widest_step(coordinate: xr.DataArray) -> float:
    if coordinate.size > 1:
        return float(np.abs(np.diff(coordinate.values)).max())
    return float(coordinate.attrs.get("voxdim") or np.inf)


def _where(plane: xr.DataArray, dim: str) -> str:
    """Say where a slice lies along a dimension: `z = 2.40 mm`."""
    value = plane[dim].values if dim in plane.coords else None
    if value is None or value.dtype.kind not in "iuf":
        return f"{dim} {value if value is not None else 0}"
    number = f"{value:.2f}" if value.dtype.kind == "f" else str(value)
    return f"{dim} = {number} {plane[dim].attrs.get('units', '')}".rstrip()


def _on_plane(volume: xr.DataArray, plane: xr.DataArray) -> xr.DataArray:
    """Take the slice of an atlas that lies where a slice of an array does."""
    for dim in (dim for dim in SPACE if dim not in plane.dims):
        points = volume[dim].values
        index = 0
        if dim in plane.coords:
            distances = np.abs(points - float(plane[dim]))
            index = int(distances.argmin())
            if distances[index] > _widest_step(volume[dim]) / 2:
                raise _off_grid(dim)
        elif len(points) > 1:
            raise _off_grid(dim)
        volume = volume.isel({dim: index})
    for dim in (str(dim) for dim in plane.dims):
        if dim not in volume.dims or volume.sizes[dim] != plane.sizes[dim]:
            raise _off_grid(dim)
        if not np.allclose(volume[dim], plane[dim]):
            raise _off_grid(dim)
    return volume


def _off_grid(dim: str) -> ArgumentError:
    return ArgumentError(
        f"The atlas is not on the grid of the array, along '{dim}': call atlas.resample_like(…) "
        "with the array, or one volume of it, first."
    )


@dataclass(frozen=True, slots=True)
class _Style:
    """How a slice is drawn."""

    image: xr.DataArray
    options: dict[str, Any]
    bar: str | None
    """Label of the colour bar; an annotation has none."""

    extend: str = "neither"

    @classmethod
    def of(
        cls,
        plane: xr.DataArray,
        *,
        decibels: bool,
        cmap: str | None,
        vmin: float | None,
        vmax: float | None,
    ) -> _Style:
        """Choose colours and their range."""
        lookup = plane.attrs.get("rgb_lookup")
        if lookup and plane.dtype.kind in "iu" and not decibels:
            colormap, norm = label_colors(lookup)
            return cls(plane, {"cmap": colormap, "norm": norm}, None)
        image = _as_decibels(plane) if decibels else plane.astype(np.float64)
        finite = image.values[np.isfinite(image.values)]
        lowest, highest = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
        low, high = np.percentile(finite, [DARKEST, BRIGHTEST]) if finite.size else (0.0, 1.0)
        has_both_signs = lowest < 0 < highest
        if decibels:
            low, high = max(low, DEEPEST_DB), 0.0
        elif has_both_signs:
            high = max(abs(low), abs(high))
            low = -high
        low, high = low if vmin is None else vmin, high if vmax is None else vmax
        if low == high:
            high = low + 1.0  # the colour bar of a constant needs a length
        chosen = cmap or ("RdBu_r" if has_both_signs and not decibels else "gray")
        ends = {(False, False): "neither", (True, False): "min", (False, True): "max"}
        return cls(
            image,
            {"cmap": chosen, "vmin": low, "vmax": high},
            _bar_label(plane, decibels=decibels),
            ends.get((bool(lowest < low), bool(highest > high)), "both"),
        )


def _as_decibels(plane: xr.DataArray) -> xr.DataArray:
    """Turn values into decibels below the greatest."""
    values = plane.values.astype(np.float64)
    finite = values[np.isfinite(values)]
    if not finite.size or not finite.max() > 0:
        raise ArgumentError("The slice has no positive values, so none can be shown in decibels.")
    greatest = finite.max()
    # No power at all is as dark as can be, not a hole in the picture.
    return plane.copy(data=10 * np.log10(np.maximum(values / greatest, 1e-30)))


def _bar_label(plane: xr.DataArray, *, decibels: bool) -> str:
    """Say what the colours are, with the unit."""
    name = str(plane.attrs.get("long_name") or plane.name or "values")
    unit = plane.attrs.get("units")
    if decibels:
        return f"{re.sub(r' *[(][^()]*[)]$', '', name)} (dB)"
    if name.endswith(")") and not unit:
        return name  # names its unit already
    return f"{name} ({unit or 'arb. units'})"


def _named(coordinate: xr.DataArray, dim: str) -> str:
    unit = coordinate.attrs.get("units")
    return f"{dim} ({unit})" if unit else dim


def _new_panel(plane: xr.DataArray, *, is_labelled: bool) -> Axes:
    """Make a figure of the session's own kind, so that a notebook shows it."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise no_matplotlib() from error
    height, width = (float(np.ptp(plane[dim].values)) or 1.0 for dim in axes_of(plane))
    tall = min(max(WIDTH * height / width, 1.2), 2 * WIDTH)
    # Placed by hand: the automatic layouts forget that the image keeps its proportions.
    left, below, above = MARGIN
    right = BAR_WIDTH + (LEGEND_WIDTH if is_labelled else 0.0)
    whole = (left + WIDTH + right, below + tall + above)
    place = (left / whole[0], below / whole[1], WIDTH / whole[0], tall / whole[1])
    return plt.figure(figsize=whole).add_axes(place)


def _add_legend(panel: Axes, lines: list[Line2D], *, has_bar: bool) -> None:
    """Name the regions beside the image, beyond the colour bar, whose labels have a fixed width."""
    from matplotlib.transforms import ScaledTranslation

    shift = ScaledTranslation(BAR_WIDTH - 0.3 if has_bar else 0.0, 0, panel.figure.dpi_scale_trans)
    panel.legend(
        handles=lines,
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
        bbox_transform=panel.transAxes + shift,
        borderaxespad=0.0,
        frameon=False,
    )
