"""The tour of the package that `confusius-datasets demo` gives, on the sample dataset.

It uses the public calls, says each of them as it goes, and draws two figures.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from confusius_datasets._catalog import fetch_sample
from confusius_datasets._demo.phantom import phantom_atlas, phantom_template
from confusius_datasets._open import list_datasets
from confusius_datasets._plot import (
    add_colorbar,
    check_figure_path,
    draw_outline,
    draw_slice,
    new_figure,
    plot_template_with_atlas,
    save_figure,
)
from confusius_datasets._text import format_nbytes

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

__all__ = ["draw_response", "run_demo", "stimulus_course"]

RECORDING: dict[str, Any] = {
    "subject": "mouse1",
    "session": "day1",
    "task": "checkerboard",
    "acquisition": "slice01",
}
"""The recording the tour looks at, in the terms of a query."""

DELAY = 1.5
"""Seconds by which blood lags behind the stimulus, roughly."""


def run_demo(
    output: Path, *, data_dir: str | None = None, say: Callable[[str], None] = print
) -> Path:
    """Show on the sample dataset how data are found, downloaded when needed, and used."""
    output = check_figure_path(output)
    list_datasets(data_dir)
    where = "" if data_dir is None else f"data_dir={data_dir!r}, "
    say(
        "\nThe sample dataset is made by the package, and served like the ones above:\n\n"
        f">>> dataset = fetch_sample({where}download=False)\n>>> dataset"
    )
    dataset = fetch_sample(data_dir, download=False)
    query = ", ".join(f"{name}={value!r}" for name, value in RECORDING.items())
    missing = dataset.missing(**RECORDING)
    say(
        f"{dataset!r}\n\n>>> recording = dict({query})\n>>> dataset.missing(**recording)\n"
        f"{missing!r}\n# {_count(missing)}\n\n"
        '>>> pwd = dataset.load(**recording, suffix="pwd")      # downloads what is missing\n'
        '>>> events = dataset.get(**recording, suffix="events", extension=".tsv")[0].get_df()'
    )
    pwd = dataset.load(**RECORDING, suffix="pwd")
    events = dataset.get(**RECORDING, suffix="events", extension=".tsv")[0].get_df()
    say(f">>> dataset\n{dataset!r}\n\n>>> pwd\n{pwd!r}\n\n>>> events\n{events}\n")
    over = _draw_atlas(output.with_name(f"{output.stem}-atlas{output.suffix}"))
    say(f"Figure: a template with the contours of an atlas over it (made-up ones):\n{over}\n")
    place = {name: label for name, label in RECORDING.items() if name != "task"}
    path = draw_response(pwd, events, output, truth=dataset.load(**place, suffix="mask"))
    say(f"Figure: mean power Doppler beside the correlation with the stimulus:\n{path}")
    return path


def _count(missing: pd.DataFrame) -> str:
    """Say how much is not on disk."""
    if missing.empty:
        return "none: the files were downloaded before"
    return f"{len(missing)} files, {format_nbytes(int(missing['size'].sum()))}, not on disk yet"


def _draw_atlas(output: Path) -> Path:
    """Draw a phantom template with the phantom atlas resampled onto it."""
    template = phantom_template()
    atlas = phantom_atlas().resample_like(template, template.attrs["affines"]["physical_to_sform"])
    return plot_template_with_atlas(template, atlas, output)


def stimulus_course(events: pd.DataFrame, time: xr.DataArray, *, delay: float = DELAY) -> Any:
    """Say when the stimulus is on, as the blood sees it."""
    course = 0 * time
    for onset, duration in zip(events["onset"], events["duration"], strict=True):
        since = time - onset - delay
        course = course + ((since >= 0) & (since < duration))
    return course


def draw_response(
    pwd: xr.DataArray, events: pd.DataFrame, output: Path, *, truth: xr.DataArray | None = None
) -> Path:
    """Draw a slice's mean power Doppler beside its correlation with the stimulus."""
    import numpy as np
    import xarray as xr

    mean = pwd.mean("time").isel(z=0)
    decibels = mean.copy(data=10 * np.log10(mean / mean.max()))
    correlation = xr.corr(pwd, stimulus_course(events, pwd.time), dim="time").isel(z=0)
    figure = new_figure(10.5, 3.9)
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    shown = draw_slice(left, decibels, cmap="gray", vmin=-20, vmax=0)
    add_colorbar(left, shown, "power Doppler (dB)")
    shown = draw_slice(right, correlation, cmap="RdBu_r", vmin=-1, vmax=1)
    add_colorbar(right, shown, "correlation r")
    left.set(title="Mean power Doppler", xlabel="lateral x (mm)", ylabel="depth y (mm)")
    right.set(title="Correlation with the stimulus", xlabel="lateral x (mm)")
    if truth is not None:
        draw_outline(right, truth.isel(z=0), "black")
        right.plot([], [], color="black", lw=1.2, label="voxels made to respond")
        right.legend(loc="upper right", frameon=False, fontsize="small")
    labels = (pwd.coords[name].item() for name in RECORDING if name in pwd.coords)
    figure.suptitle(", ".join(labels))
    return save_figure(figure, check_figure_path(output))
