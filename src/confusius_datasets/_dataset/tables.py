"""Tables of files, all of one form: path, entities, size, whether on disk; pure but for pandas."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from confusius_datasets._entities import INTEGER_ENTITIES, EntityParser
from confusius_datasets._text import count_files, format_nbytes

if TYPE_CHECKING:
    from confusius_datasets._layout import Labels

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
    root: Path,
    **columns: Iterable[str],
) -> FileTable:
    """Make a table of files below a root, with the entities that are in their paths."""
    from confusius_datasets._layout import spread

    table: dict[str, Any] = {"path": pd.Series(relpaths, dtype="str")}
    for name, values in sorted(spread(_labels_of(relpaths, root), len(relpaths)).items()):
        table[name] = pd.Series(values, dtype=object)
    table["size"] = pd.Series(list(sizes), dtype="Int64")
    table["on_disk"] = pd.Series(list(on_disk), dtype=bool)
    for name, texts in columns.items():
        table[name] = pd.Series(list(texts), dtype="str")
    return FileTable(table)


def _labels_of(relpaths: Iterable[str], root: Path) -> list[Labels]:
    """Give the entities of files as queries have them; a part of a Zarr store has the store's."""
    from bids.layout.utils import PaddedInt

    special = {*INTEGER_ENTITIES, "scans"}

    def values_of(labels: Mapping[str, str]) -> dict[str, Any]:
        values: dict[str, Any] = {**labels}
        for name in special & labels.keys():
            # That of `scans` is the path of the file.
            values[name] = (
                os.fspath(root / labels[name][1:]) if name == "scans" else PaddedInt(labels[name])
            )
        return values

    wholes = [
        f"{path.partition('.zarr/')[0]}.zarr" if ".zarr/" in path else path for path in relpaths
    ]
    numbered = EntityParser().number(wholes)
    return [(numbers, [values_of(each) for each in labels]) for numbers, labels in numbered]
