"""Tables of files, all of one form: path, entities, size, whether on disk; pure but for pandas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from confusius_datasets._entities import INTEGER_ENTITIES, parse_entities
from confusius_datasets._text import count_files, format_nbytes

__all__ = ["FileTable", "tabulate"]


class FileTable(pd.DataFrame):  # type: ignore[misc]
    """A `pandas.DataFrame` that ends with its totals when it is shown."""

    @property
    def _constructor(self) -> type[FileTable]:
        return FileTable

    @property
    def totals(self) -> str:
        """Files and bytes in all and on disk, and the number of each status; one line."""
        if not {"path", "size", "on_disk"} <= set(self.columns):
            return ""  # what is left of a table after a selection of columns
        here = self[self["on_disk"].astype(bool)]
        counts = self["status"].value_counts(sort=False) if "status" in self.columns else {}
        parts = [
            f"{count_files(len(self))}, {format_nbytes(_sum(self))}",
            f"{len(here)} of them on disk, {format_nbytes(_sum(here))}",
            ", ".join(f"{number} {status}" for status, number in counts.items()),
        ]
        return "; ".join(filter(None, parts))

    def __repr__(self) -> str:
        totals = self.totals
        return f"{super().__repr__()}\n\n{totals}" if totals else str(super().__repr__())

    def _repr_html_(self) -> str | None:
        shown = super()._repr_html_()
        return shown and f"{shown}<p>{self.totals}</p>"


def _sum(table: pd.DataFrame) -> int:
    return int(table["size"].fillna(0).sum())


def tabulate(
    relpaths: Sequence[str],
    *,
    sizes: Iterable[int | None],
    on_disk: Iterable[bool],
    **columns: Iterable[str],
) -> FileTable:
    """Make a table of files, with the entities that are in their paths."""
    entities = [_entities_of(relpath) for relpath in relpaths]
    names = sorted({name for each in entities for name in each})
    table: dict[str, Any] = {"path": pd.Series(relpaths, dtype="str")}
    for name in names:
        table[name] = pd.Series([each.get(name, float("nan")) for each in entities], dtype=object)
    table["size"] = pd.Series(list(sizes), dtype="Int64")
    table["on_disk"] = pd.Series(list(on_disk), dtype=bool)
    for name, values in columns.items():
        table[name] = pd.Series(list(values), dtype="str")
    return FileTable(table)


def _entities_of(relpath: str) -> Mapping[str, Any]:
    """Read the entities of a file, with PyBIDS's values; a part of a Zarr store has the store's."""
    from bids.layout.utils import PaddedInt

    head, part, _ = relpath.partition(".zarr/")
    labels = parse_entities(f"{head}.zarr" if part else relpath)
    return {
        name: PaddedInt(label) if name in INTEGER_ENTITIES else label
        for name, label in labels.items()
    }
