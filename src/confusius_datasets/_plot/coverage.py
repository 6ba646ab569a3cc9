"""`plot_coverage`: how much of a dataset is on disk, as a table of coloured cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from confusius_datasets._plot.drawing import add_colorbar, no_matplotlib

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from confusius_datasets._dataset import BIDSDataset

__all__ = ["plot_coverage"]

CELL_WIDTH, CELL_HEIGHT = 0.9, 0.32
"""Of a cell, in inches."""

MARGIN = (2.2, 1.3)
"""Beside the cells, for labels and the colour bar, and above and below them, in inches."""

DARK = 0.6
"""From this part on, a cell is so dark that its text must be white."""


def plot_coverage(dataset: BIDSDataset, *, by: str | None = None, axes: Axes | None = None) -> Axes:
    """Draw how much of a dataset is on disk: subjects by task or session; nothing is downloaded.

    Parameters
    ----------
    dataset : BIDSDataset
        The dataset.
    by : str, optional
        Entity whose values are the columns. If not provided, as in `BIDSDataset.coverage`.
    axes : matplotlib.axes.Axes, optional
        Where to draw. If not provided, a new figure of `matplotlib.pyplot`.

    Returns
    -------
    matplotlib.axes.Axes
        What was drawn on. Each cell is coloured by the part of its bytes that is on disk, and says
        how many of its files are.

    Raises
    ------
    MissingDependencyError
        If matplotlib is not installed.

    Examples
    --------
    ::

        plot_coverage(fetch_nunez_elizalde_2022(subjects="CR020"), by="session")
    """
    tables = {
        values: dataset.coverage(by, values=values)
        for values in ("fraction", "n_on_disk", "n_files")
    }
    fraction = tables["fraction"]
    panel = _new_panel(*fraction.shape) if axes is None else axes
    from matplotlib.ticker import StrMethodFormatter

    # A mesh and not an image, so that cells stay sharp in vector formats.
    shown = panel.pcolormesh(
        fraction.to_numpy(dtype=float, na_value=float("nan")),
        cmap="Greens",
        vmin=0,
        vmax=1,
        edgecolors="white",
        linewidth=1,
    )
    for row, column in zip(*fraction.notna().to_numpy().nonzero(), strict=True):
        n_here, n_files = (int(tables[name].iat[row, column]) for name in ("n_on_disk", "n_files"))
        is_dark = fraction.iat[row, column] > DARK
        panel.text(
            *(column + 0.5, row + 0.5, f"{n_here} of {n_files}"),
            color="white" if is_dark else "black",
            ha="center",
            va="center",
            fontsize="small",
        )
    n_rows, n_columns = fraction.shape
    panel.set_xticks([place + 0.5 for place in range(n_columns)], _named(fraction.columns))
    panel.set_yticks([place + 0.5 for place in range(n_rows)], _named(fraction.index))
    panel.tick_params(length=0)
    panel.set(xlabel=str(fraction.columns.name), ylabel="subject", title=dataset.name)
    panel.invert_yaxis()
    # A text alone is taken for an old `%` format by Matplotlib 3.8, and fails there.
    percent = StrMethodFormatter("{x:.0%}")
    add_colorbar(panel, shown, "on disk", format=percent, ticks=[0, 0.5, 1])
    return panel


def _named(labels: object) -> list[str]:
    """Write labels; files without the entity have an empty one."""
    return [str(label) or "none" for label in labels]  # type: ignore[attr-defined]


def _new_panel(n_rows: int, n_columns: int) -> Axes:
    """Make a figure with room for a table of this size."""
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise no_matplotlib() from error
    width = MARGIN[0] + CELL_WIDTH * max(n_columns, 2)
    height = MARGIN[1] + CELL_HEIGHT * max(n_rows, 2)
    _, panel = pyplot.subplots(figsize=(width, height), layout="constrained")
    return panel
