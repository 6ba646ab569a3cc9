"""The parts of a picture: a slice in mm, outlines, sides, colour bar, legend, figure, file."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from confusius_datasets._paths import absolute_path
from confusius_datasets.errors import ArgumentError, MissingDependencyError

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from numpy.typing import NDArray

    from confusius_datasets._atlas import Atlas

__all__ = [
    "BRIGHTEST",
    "DARKEST",
    "MOST_IN_LEGEND",
    "add_colorbar",
    "axes_of",
    "check_figure_path",
    "draw_outline",
    "draw_regions",
    "draw_slice",
    "labels_of",
    "lines_of_regions",
    "name_sides",
    "new_figure",
    "no_matplotlib",
    "save_figure",
]

DPI = 150

MOST_IN_LEGEND = 24
"""More regions than this are drawn without a legend."""

DARKEST, BRIGHTEST = 1.0, 99.7
"""Percentiles of an image that are black and white."""

LETTER_WIDTH = 0.085
"""Of a label's letter, in inches."""

BEYOND = 0.5
"""By so much a label may be longer than its panel is high, in inches."""

SHORTEST_LINE = 12
"""Letters in a line of a label, however low the picture is."""


def draw_slice(panel: Axes, image: xr.DataArray, **options: Any) -> ScalarMappable:
    """Draw a slice, with depth downwards and millimetres of one length along both axes."""
    down, across = axes_of(image)
    shown = panel.pcolormesh(
        _edges(image[across]),
        _edges(image[down]),
        image.transpose(down, across).values,
        rasterized=True,
        **options,
    )
    panel.set_aspect("equal")
    if not panel.yaxis_inverted():
        panel.invert_yaxis()
    return shown


def draw_outline(panel: Axes, mask: xr.DataArray, color: Any) -> None:
    """Outline a mask, halfway between its voxels and those beside it."""
    down, across = axes_of(mask)
    inside = np.pad(mask.transpose(down, across).values != 0, 1).astype(float)
    limits = panel.axis()
    panel.contour(
        _beyond(mask[across]),
        _beyond(mask[down]),
        inside,
        levels=[0.5],
        colors=[color],
        linewidths=1.2,
    )
    panel.axis(limits)  # or the panel would grow by the voxel that the mask was extended by


def axes_of(image: xr.DataArray) -> tuple[str, str]:
    """Say which dimension of a slice runs down and which across: depth (`y`) always runs down."""
    return next(
        (down, across)
        for down, across in (("y", "x"), ("y", "z"), ("z", "x"))
        if {down, across} <= set(image.dims)
    )


def _edges(coordinate: xr.DataArray) -> NDArray[np.float64]:
    """Return where the voxels of an axis begin and end."""
    around = _beyond(coordinate)
    return (around[:-1] + around[1:]) / 2


def _beyond(coordinate: xr.DataArray) -> NDArray[np.float64]:
    """Extend coordinates by a voxel at both ends, so that outlines close."""
    points: NDArray[np.float64] = coordinate.values.astype(np.float64)
    if len(points) == 1:
        first = last = float(coordinate.attrs.get("voxdim") or 1.0)
    else:
        first, last = points[1] - points[0], points[-1] - points[-2]
    return np.concatenate([[points[0] - first], points, [points[-1] + last]])


def name_sides(panel: Axes, halves: xr.DataArray) -> None:
    """Say which side is left and which is right, as the atlas's hemispheres have it."""
    down, across = axes_of(halves)
    if across != "x":
        return
    points, labels = halves[across].values, halves.transpose(down, across).values
    centres = {
        name: float(points[np.nonzero(labels == label)[1]].mean())
        for name, label in (("L", 1), ("R", 2))
        if (labels == label).any()
    }
    if len(centres) < 2:
        return
    from matplotlib.patheffects import withStroke

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
            path_effects=[withStroke(linewidth=2, foreground="black")],
        )


def labels_of(atlas: Atlas, regions: Iterable[int | str] | None) -> xr.DataArray:
    """Return the label of each voxel, among those that are to be outlined."""
    if regions is None:
        return atlas.annotation
    masks = atlas.get_masks(regions).values
    labels: NDArray[np.int32] = np.zeros(masks.shape[1:], np.int32)
    for mask in masks:  # a region within another one is drawn over it
        labels[mask != 0] = mask[mask != 0]
    return atlas.annotation.copy(data=labels)


def draw_regions(panel: Axes, atlas: Atlas, labels: xr.DataArray) -> None:
    """Outline each region of a slice in its colour."""
    for label in _regions_in(labels):
        draw_outline(panel, labels == label, _light_color(atlas, label))


def lines_of_regions(atlas: Atlas, labels: xr.DataArray) -> list[Line2D]:
    """Make the entries of a legend for the regions that are drawn."""
    from matplotlib.lines import Line2D

    acronyms = atlas.lookup["acronym"]
    return [
        Line2D(
            *([], []),
            color=_light_color(atlas, label),
            linewidth=2.5,
            label=str(acronyms.get(label, label)),
        )
        for label in _regions_in(labels)
    ]


def _regions_in(labels: xr.DataArray) -> list[int]:
    return [label for label in np.unique(labels.values).tolist() if label]


def _light_color(atlas: Atlas, label: int) -> tuple[float, float, float]:
    """Return the colour of a region, light enough to be seen on black."""
    # An atlas may have labels that are missing in its table: these are white.
    rgb = atlas.annotation.attrs["rgb_lookup"].get(label, (255, 255, 255))
    red, green, blue = (part / 255 for part in rgb[:3])
    lift = max(0.0, 0.62 - (0.299 * red + 0.587 * green + 0.114 * blue))
    return red + lift * (1 - red), green + lift * (1 - green), blue + lift * (1 - blue)


def add_colorbar(panel: Axes, shown: ScalarMappable, label: str, **options: Any) -> None:
    """Put a colour bar to the right of a panel, as high as it, with its label in lines that fit."""
    bar = panel.inset_axes((1.03, 0.0, 0.045, 1.0))
    # The place that the panel has; the image in it may be as flat as one voxel.
    height = panel.bbox.height / panel.figure.dpi
    lines = textwrap.fill(label, max(int((height + BEYOND) / LETTER_WIDTH), SHORTEST_LINE))
    panel.figure.colorbar(shown, cax=bar, label=lines, **options)


def new_figure(width: float, height: float) -> Figure:
    """Make a figure that belongs to no window, whatever backend the session has."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise no_matplotlib() from error
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def no_matplotlib() -> MissingDependencyError:
    """Say that matplotlib is needed."""
    return MissingDependencyError("matplotlib", extra="plot", purpose="Drawing figures")


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
