"""How much of a dataset is on disk, by subject and task or session; pure but for pandas."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from confusius_datasets._entities import dataset_prefix, parse_entities
from confusius_datasets._text import did_you_mean, list_some
from confusius_datasets.errors import ArgumentError

if TYPE_CHECKING:
    import pandas as pd

    from confusius_datasets._index import FileEntry

__all__ = ["COLUMNS", "pivot_coverage", "tabulate_coverage"]

COLUMNS = ("task", "session", "datatype", "suffix")
"""Entities that can be the columns; the first that the recordings have is."""

Cell = list[int]
"""Files and bytes in all, files and bytes on disk."""


def tabulate_coverage(
    entries: Iterable[FileEntry],
    is_here: Callable[[str], bool],
    loadable: tuple[str, ...],
    columns: str | None = None,
) -> pd.DataFrame:
    """Count the recordings of each subject by the values of an entity, and those on disk."""
    import pandas as pd

    names = dict.fromkeys([columns or COLUMNS[0], *COLUMNS])
    cells: dict[str, dict[tuple[str, str], Cell]] = {name: {} for name in names}
    known: set[str] = set()
    for relpath, (nbytes, nbytes_here, is_whole) in _recordings(entries, is_here, loadable).items():
        entities = parse_entities(relpath)
        known |= entities.keys()
        for name, table in cells.items():
            key = (entities.get("subject", ""), entities.get(name, ""))
            cell = table.setdefault(key, [0, 0, 0, 0])
            for place, number in enumerate((1, nbytes, is_whole, nbytes_here)):
                cell[place] += number
    chosen = columns or next((name for name in COLUMNS if name in known), COLUMNS[0])
    if known and columns and columns not in known:
        raise ArgumentError(
            f"by={columns!r}: no recording has this entity. {did_you_mean(columns, sorted(known))}"
            f"They have {list_some(sorted(known))}."
        )
    rows = [(*key, *cell) for key, cell in sorted(cells[chosen].items())]
    counts = ["n_files", "nbytes", "n_on_disk", "nbytes_on_disk"]
    return pd.DataFrame(rows, columns=["subject", chosen, *counts])


def _recordings(
    entries: Iterable[FileEntry], is_here: Callable[[str], bool], loadable: tuple[str, ...]
) -> dict[str, tuple[int, int, bool]]:
    """Add up bytes, bytes on disk, and whether it is whole, of each file or Zarr store."""
    found: dict[str, tuple[int, int, bool]] = {}
    for entry in entries:
        head, part, _ = entry.relpath.partition(".zarr/")
        relpath = f"{head}.zarr" if part else entry.relpath
        if not relpath.endswith(loadable) or dataset_prefix(relpath):
            continue
        nbytes, nbytes_here, is_whole = found.get(relpath, (0, 0, True))
        size, here = entry.size or 0, is_here(entry.relpath)
        found[relpath] = (nbytes + size, nbytes_here + size * here, is_whole and here)
    return found


def pivot_coverage(table: pd.DataFrame, values: str) -> pd.DataFrame:
    """Turn counts into a table of subjects by the other entity."""
    numbers = list(table.columns[2:])
    if values not in ("fraction", *numbers):
        raise ArgumentError(
            f"values={values!r} is not known. {did_you_mean(values, ['fraction', *numbers])}"
            f"It must be one of fraction, {list_some(numbers)}."
        )
    # Files of unknown or no size count by their number.
    by_size = table["nbytes_on_disk"] / table["nbytes"].where(table["nbytes"] > 0)
    fraction = by_size.fillna(table["n_on_disk"] / table["n_files"])
    return table.assign(fraction=fraction).pivot(
        index="subject", columns=table.columns[1], values=values
    )
