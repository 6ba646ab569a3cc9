"""Pictures: a slice of an array, a template with an atlas over it, a table of what is on disk.

`drawing` has the parts that every picture is made of.
"""

from __future__ import annotations

from confusius_datasets._plot.coverage import plot_coverage
from confusius_datasets._plot.drawing import (
    add_colorbar,
    check_figure_path,
    draw_outline,
    draw_slice,
    new_figure,
    save_figure,
)
from confusius_datasets._plot.slices import plot_slice
from confusius_datasets._plot.template import draw_template_with_atlas, plot_template_with_atlas

__all__ = [
    "add_colorbar",
    "check_figure_path",
    "draw_outline",
    "draw_slice",
    "draw_template_with_atlas",
    "new_figure",
    "plot_coverage",
    "plot_slice",
    "plot_template_with_atlas",
    "save_figure",
]
