"""Tables of files, all of one form: path, entities, size, whether on disk; pure but for pandas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
    **columns: Iterable[str],
) -> FileTable:
    """Make a table of files, with the entities that are in their paths."""
    from confusius_datasets._layout import spread

    table: dict[str, Any] = {"path": pd.Series(relpaths, dtype="str")}
    for name, values in sorted(spread(_labels_of(relpaths), len(relpaths)).items()):
        table[name] = pd.Series(values, dtype=object)
    table["size"] = pd.Series(list(sizes), dtype="Int64")
    table["on_disk"] = pd.Series(list(on_disk), dtype=bool)
    for name, texts in columns.items():
        table[name] = pd.Series(list(texts), dtype="str")
    return FileTable(table)


class _Numbered:
    """Labels by numbers, those that many files share once."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.labels: list[Mapping[str, Any]] = []
        self._known: dict[int, int] = {}
        self._held: list[object] = []  # or another mapping could get the id of one that is gone

    def add(self, labels: Mapping[str, str]) -> None:
        """Note that these are the labels of the next file."""
        number = self._known.get(id(labels))
        if number is None:
            number = self._known[id(labels)] = len(self.labels)
            self._held.append(labels)
            self.labels.append({name: _value(name, label) for name, label in labels.items()})
        self.numbers.append(number)


def _labels_of(relpaths: Iterable[str]) -> list[Labels]:
    """Give the entities of files, numbered; a part of a Zarr store has the store's."""
    folders, names = _Numbered(), _Numbered()
    cut = EntityParser().cut
    for relpath in relpaths:
        head, part, _ = relpath.partition(".zarr/")
        of_folder, of_name = cut(f"{head}.zarr" if part else relpath)
        folders.add(of_folder)
        names.add(of_name)
    return [(folders.numbers, folders.labels), (names.numbers, names.labels)]


def _value(name: str, label: str) -> Any:
    """Return a label as PyBIDS has it."""
    from bids.layout.utils import PaddedInt

    return PaddedInt(label) if name in INTEGER_ENTITIES else label
