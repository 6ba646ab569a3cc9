"""Files of queries → a table of their entities and metadata, column by column."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from confusius_datasets._layout.catalogue import Catalogue, Place
from confusius_datasets._layout.columns import spread
from confusius_datasets._layout.statements import FileQuery, catalogue_of, tables_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FoundFiles", "find_files", "tabulate_files"]


@dataclass(frozen=True, slots=True)
class FoundFiles:
    """The files of a layout that a query found, by their paths, and by numbers if it is ours."""

    layout: Any
    paths: list[str]
    places: list[Place]


def find_files(queries: Iterable[FileQuery]) -> list[FoundFiles]:
    """Find the files of queries."""
    found = []
    for query in queries:
        catalogue = catalogue_of(query.layout)
        places = catalogue.find(query.chosen) if catalogue else []
        paths = catalogue.paths(places) if catalogue else query.paths()
        found.append(FoundFiles(query.layout, paths, places))
    return found


def tabulate_files(
    found: Sequence[FoundFiles], layouts: Iterable[Any], *, metadata: bool
) -> pd.DataFrame:
    """Tabulate files in the order of their paths, with what any of some layouts knows of them."""
    import pandas as pd

    table = _Table(sorted({path for one in found for path in one.paths}))
    others = [path for one in found if catalogue_of(one.layout) is None for path in one.paths]
    for layout in layouts:
        catalogue = catalogue_of(layout)
        if catalogue is None:
            for path, values in tables_of(layout, list(table.rows), metadata=metadata):
                table.add(table.rows[path], values)
            continue
        places = {
            table.rows[path]: place
            for one in found
            if one.layout is layout
            for path, place in zip(one.paths, one.places, strict=True)
        }
        located = catalogue.locate(others) if others else {}
        places |= {table.rows[path]: place for path, place in located.items()}
        _add_places(table, catalogue, places, metadata=metadata)
    frame = pd.DataFrame(
        {name: table.columns[name].tolist() for name in sorted(table.columns)},
        index=pd.Index(list(table.rows), name="path"),
        dtype=None if table.is_text else object,
    )
    frame.columns.name = "entity"
    # Files without any entity come last, as PyBIDS appends them.
    order = np.argsort(~table.is_tagged, kind="stable")
    return frame.iloc[order].reset_index()


class _Table:
    """Columns that fill; PyBIDS's list of all values takes ten times the memory."""

    def __init__(self, paths: Iterable[str]) -> None:
        self.rows = {path: number for number, path in enumerate(paths)}
        self.columns: dict[str, np.ndarray] = {}
        self.is_tagged = np.zeros(len(self.rows), dtype=bool)
        self.is_text = True

    def column(self, name: str) -> np.ndarray:
        """Return the column of an entity."""
        if name not in self.columns:
            self.columns[name] = np.full(len(self.rows), np.nan, dtype=object)
        return self.columns[name]

    def add(self, row: int, values: dict[str, Any]) -> None:
        """Write what is known of one file."""
        for name, value in values.items():
            self.column(name)[row] = value
            self.is_text = self.is_text and isinstance(value, str)
        self.is_tagged[row] |= bool(values)


def _add_places(
    table: _Table, catalogue: Catalogue, places: dict[int, Place], *, metadata: bool
) -> None:
    """Write what a layout of ours knows of files, by their rows."""
    rows = np.fromiter(places, dtype=np.intp, count=len(places))
    parts = catalogue.numbered_labels(list(places.values()))
    for name, values in spread(parts, len(places)).items():
        table.column(name)[rows] = values
    for codes, labels in parts:
        table.is_tagged[rows] |= np.array([bool(each) for each in labels], dtype=bool)[codes]
        values_of_all = (value for each in labels for value in each.values())
        table.is_text = table.is_text and all(isinstance(value, str) for value in values_of_all)
    if metadata:
        fields = catalogue.fields(places.values())
        for row, (file, _, _) in places.items():
            table.add(row, fields.get(file, {}))
