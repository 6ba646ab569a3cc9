"""Colours of labels: a table of identifiers and colours → matplotlib's colormap and norm."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from confusius_datasets._text import shorten

if TYPE_CHECKING:
    from matplotlib.colors import BoundaryNorm, Colormap

__all__ = ["label_colors", "with_colors"]


def label_colors(
    rgb_lookup: Mapping[Any, Sequence[float]],
) -> tuple[Colormap, BoundaryNorm]:
    """Build the colormap and the norm that draw labels in their own colours."""
    from matplotlib.colors import ListedColormap

    from confusius_datasets._io.label_norm import LabelNorm

    by_label = {int(label): rgb for label, rgb in rgb_lookup.items()}
    labels = sorted(by_label)
    colors = [(*(part / 255 for part in by_label[label]), 1.0) for label in labels]
    colormap = ListedColormap(colors).with_extremes(under=(0, 0, 0, 0))
    return colormap, LabelNorm(labels)


def with_colors(attrs: Mapping[str, Any], problems: list[str]) -> dict[str, Any]:
    """Add `cmap` and `norm`, which no file can hold, to attributes that have `rgb_lookup`."""
    lookup = attrs.get("rgb_lookup")
    if not lookup or {"cmap", "norm"} <= attrs.keys():
        return dict(attrs)
    if importlib.util.find_spec("matplotlib") is None:
        return dict(attrs)
    try:
        colormap, norm = label_colors(lookup)
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        problems.append(
            "'rgb_lookup' must be a table of labels and colours, and is left as it is: "
            f"{shorten(error)}"
        )
        return dict(attrs)
    return {**attrs, "cmap": colormap, "norm": norm}
