"""`TableWriter`: files by their paths, one after another, into the plain tables."""

from __future__ import annotations

import re
import sqlite3
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from confusius_datasets._entities import (
    DERIVATIVES,
    DESCRIPTION_NAME,
    dataset_of,
    dataset_prefix,
    is_entangled,
    is_left_out,
    leading_entities,
    parse_entities,
    parse_folder,
    parse_name,
)
from confusius_datasets._index.entries import LARGEST_INTEGER
from confusius_datasets._index.tables import insert_values
from confusius_datasets._paths import check_relpath, fold
from confusius_datasets.errors import DoubtfulRowsError

__all__ = ["FileRow", "TableWriter"]

FileRow = tuple[str, int | None, bytes | None, str | None, str | None]
"""Path, size, md5, locator, and the rest of an entry as JSON."""

BATCH = 5_000
"""Rows that are inserted at a time."""

FILE_WIDTH = 7
"""Columns of the table of files."""

MOST_NAMES = 100_000
"""Names that are remembered; where more differ, few of them come again."""

MOST_HALVES = 20_000
"""Halves of names that are remembered with the numbers of their values."""

_Known = TypeVar("_Known")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9_+.-]{0,254}")


@dataclass(slots=True)
class _Names:
    """What is known of the names in folders that have the same entities."""

    whole: dict[str, int] = field(default_factory=dict)
    """Numbers of names."""

    shortened: dict[str, int] = field(default_factory=dict)
    """Numbers of names without the prefix of their folder."""

    halves: dict[str, dict[str, int] | None] = field(default_factory=dict)
    """Entities of halves of names that the folders lack, with the numbers of their values."""


@dataclass(slots=True)
class _Folder:
    """A folder on the way to the present file, and what its files have in common."""

    path: str
    dataset: int | None
    """Dataset that its files are found in; `None` where queries leave all of them out."""

    store: str
    """The Zarr store that it is a part of."""

    prefix: str
    labels: dict[str, str]
    is_top: bool
    """Whether it is the root of a dataset: some names are left out there, and nowhere else."""

    is_entangled: bool
    """Whether it may make an entity together with a name; then no other folder has its names."""

    names: _Names
    """What is known of the names in it, and in folders with such labels."""

    rows: list[int] = field(default_factory=lambda: [0, 0])
    """Its numbers for files that queries leave out, and for others; 0 before the first."""

    taken: set[str] = field(default_factory=set)
    """Names of its files, as the least discerning file system compares them."""

    folders: dict[str, str] = field(default_factory=dict)
    """Names of its folders likewise, with their spelling."""


class TableWriter:
    """Fills tables with files, whose paths come in order, each once.

    Whether they can exist beside each other is seen on the way, a folder at a time. Where that is
    in doubt it stops, and leaves the words to whoever has all the paths.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        is_checked: bool = False,
        described: frozenset[str] = frozenset(),
    ) -> None:
        self._connection = connection
        self._is_checked = is_checked
        self._described = described
        self._last = ""
        self._n_files = self._nbytes = self._n_folders = self._n_names = 0
        self._datasets: dict[str, int] = {}
        self._values: dict[tuple[int, str, str], int] = {}
        self._uses = (array("q"), array("q"))
        self._groups: dict[object, _Names] = {}
        self._unseen_names: dict[str, int] = {}
        self._stores: dict[str, int] = {}
        # The values of rows, one row after another: a tuple for each would take longer to make.
        self._folders: list[object] = []
        self._folder_tags: list[int] = []
        self._files: list[object] = []
        self._names: list[object] = []
        self._name_tags: list[int] = []
        self._dataset("")
        self._way = [self._folder("")]

    @classmethod
    def resume(cls, connection: sqlite3.Connection) -> TableWriter:
        """Go on with tables that have files already; those to be added are not among them."""
        writer = cls(connection, is_checked=True)
        (n_files, n_folders, n_names), *_ = connection.execute(
            "SELECT (SELECT max(id) FROM file), (SELECT max(id) FROM folder), "
            "(SELECT max(id) FROM name)"
        )
        writer._n_files, writer._n_folders = max(n_files or 0, 0), n_folders or 0
        writer._n_names = n_names or 0
        writer._datasets = dict(connection.execute("SELECT path, id FROM dataset"))
        for number, *key, folders, names in connection.execute("SELECT * FROM value ORDER BY id"):
            writer._values[key[0], key[1], key[2]] = number
            for uses, n_uses in zip(writer._uses, (folders, names), strict=True):
                uses.extend([0] * (number - 1 - len(uses)))  # of values that nothing has
                uses.append(n_uses)
        return writer

    def add(self, rows: Iterable[FileRow]) -> None:
        """Add files."""
        last, number, nbytes = self._last, self._n_files, self._nbytes
        is_checked, files, is_plain = self._is_checked, self._files, _PLAIN_NAME.fullmatch
        folder = self._way[-1]
        for relpath, size, md5, locator, rest in rows:
            if relpath <= last:
                raise DoubtfulRowsError(relpath)
            last = relpath
            path, _, text = relpath.rpartition("/")
            if path != folder.path:
                folder = self._enter(path)
            if not is_checked:
                if path and is_plain(text):
                    folded = text.lower()
                else:
                    check_relpath(relpath)
                    folded = fold(text)
                if folded in folder.taken:
                    raise DoubtfulRowsError(relpath)
                folder.taken.add(folded)
            number += 1
            if size:
                nbytes += size
                if folder.store:
                    self._stores[folder.store] += size
            prefix = folder.prefix
            name = (
                folder.names.shortened.get(text[len(prefix) :])
                if prefix and text.startswith(prefix)
                else folder.names.whole.get(text)
            )
            place = folder.rows[1]
            if name is None or not place:  # few names are new
                place, name = self._place(folder, relpath, text)
            files += (number, place, name, size, md5, locator, rest)
            if len(files) >= BATCH * FILE_WIDTH:
                self._flush()
        self._last, self._n_files, self._nbytes = last, number, nbytes

    def finish(self, **facts: object) -> None:
        """Add what follows from all files together."""
        while self._way:
            self._leave()
        for number, (store, size) in enumerate(self._stores.items(), start=1):
            parent, _, text = store.rpartition("/")
            place, name = self._place(self._folder(parent), store, text)
            self._files += (-number, place, name, min(size, LARGEST_INTEGER - 1), *[None] * 3)
        self._flush()
        insert = self._connection.executemany
        insert(
            "INSERT OR REPLACE INTO dataset VALUES (?, ?)",
            ((n, d) for d, n in self._datasets.items()),
        )
        insert(
            "INSERT OR REPLACE INTO value VALUES (?, ?, ?, ?, ?, ?)",
            (
                (number, *key, self._uses[0][number - 1], self._uses[1][number - 1])
                for key, number in self._values.items()
                if self._uses[0][number - 1] or self._uses[1][number - 1]
            ),
        )
        facts |= {"n_files": self._n_files, "nbytes": str(self._nbytes)}
        insert("INSERT OR REPLACE INTO fact VALUES (?, ?)", facts.items())

    # Folders.

    def _enter(self, path: str) -> _Folder:
        """Go to a folder, leaving those that are not on the way to it."""
        while not f"{path}/".startswith(f"{self._way[-1].path}/" if self._way[-1].path else ""):
            self._leave()
        above = self._way[-1]
        for name in path[len(above.path) :].strip("/").split("/") if path != above.path else ():
            folded = fold(name)
            if above.folders.setdefault(folded, name) != name and not self._is_checked:
                raise DoubtfulRowsError(path)
            above = self._folder(f"{above.path}/{name}" if above.path else name)
            self._way.append(above)
        return above

    def _leave(self) -> None:
        """Leave a folder for good: what is below it comes in one go."""
        folder = self._way.pop()
        if not folder.taken.isdisjoint(folder.folders):
            raise DoubtfulRowsError(folder.path)

    def _folder(self, path: str) -> _Folder:
        """Find out what the files of a folder have in common."""
        if path and not self._is_checked:
            check_relpath(f"{path}/x")
        head, store, _ = f"{path}/".partition(".zarr/")
        if store:
            self._stores.setdefault(f"{head}.zarr", 0)
        prefix = dataset_prefix(f"{path}/x", self._described)
        dataset = self._dataset(prefix)
        if store or (path not in ("", prefix) and dataset_of(f"{path}/x", self._described) is None):
            store = f"{head}.zarr" if store else ""
            return _Folder(path, None, store, "", {}, False, False, _Names())
        # Where folder and name may make an entity together, no other folder shares the names.
        group: object = path
        is_top, entangled = path in ("", prefix), is_entangled(path)
        labels = parse_entities(f"{path}/") if entangled else parse_folder(path)
        if not entangled and path != DERIVATIVES:
            # In the root of a dataset, some names are left out that are found elsewhere.
            group = (dataset, is_top, frozenset(labels))
        if group not in self._groups:
            self._groups[group] = _Names()
        return _Folder(
            path,
            dataset,
            "",
            leading_entities(path),
            labels,
            is_top,
            entangled,
            self._groups[group],
        )

    def _folder_row(self, folder: _Folder, *, is_seen: bool) -> int:
        """Return the number of a folder, for files that queries see or for others."""
        if not folder.rows[is_seen]:
            self._n_folders += 1
            folder.rows[is_seen] = self._n_folders
            prefix, dataset = (folder.prefix, folder.dataset) if is_seen else ("", None)
            self._folders += (self._n_folders, folder.path, prefix, dataset)
            if is_seen:
                numbers = self._number(folder, folder.labels)
                self._tag(self._folder_tags, self._n_folders, numbers, use=0)
        return folder.rows[is_seen]

    # Names.

    def _place(self, folder: _Folder, relpath: str, text: str) -> tuple[int, int]:
        """Return the numbers of a file's folder and name."""
        names, prefix = folder.names, folder.prefix
        if prefix and text.startswith(prefix):
            name = names.shortened.get(text[len(prefix) :])
        else:
            name = names.whole.get(text)
        if name is not None:  # so it is of nearly all files
            return folder.rows[1] or self._folder_row(folder, is_seen=True), name
        is_seen = folder.dataset is not None and (
            dataset_of(relpath, self._described) is not None
            if folder.is_top
            else not is_left_out(text)
        )
        if (
            folder.path == DERIVATIVES
            and text == DESCRIPTION_NAME
            and DERIVATIVES not in self._described
        ):
            raise DoubtfulRowsError(relpath)  # all derivatives are one dataset, known too late
        row = self._folder_row(folder, is_seen=is_seen)
        if not is_seen:
            name = self._unseen_names.get(text)
            if name is None:
                name = self._new_name(text, 0)
                _remember(self._unseen_names, text, name, most=MOST_NAMES)
            return row, name
        short = text[len(prefix) :] if prefix and text.startswith(prefix) else ""
        # After a name that begins with a dot, there is no telling it from an extension alone.
        is_short = short[:1] not in "."
        # With the separator before it, what is left of a name is read as in the whole.
        numbers = self._number_name(folder, text[len(prefix) - 1 :] if is_short else text)
        if numbers is None:
            name = self._new_name(text, 0)
            numbers = self._number_own(folder, parse_entities(relpath))
        else:
            short = short if is_short else text
            name = self._new_name(short, int(is_short))
            if is_short or not text.startswith(prefix or "/"):
                known = names.shortened if is_short else names.whole
                _remember(known, short, name, most=MOST_NAMES)
        self._tag(self._name_tags, name, numbers, use=1)
        return row, name

    def _new_name(self, text: str, is_short: int) -> int:
        self._n_names += 1
        self._names += (self._n_names, text, is_short)
        return self._n_names

    def _number_name(self, folder: _Folder, text: str) -> dict[str, int] | None:
        """Return a number for each entity of a name; `None` where its folder may matter, too.

        An image and its sidecar differ in the last part only, so that half of the work is done.
        """
        if folder.is_entangled:
            return None
        start, separator, end = text.rpartition("_")
        if "." in start:
            labels = parse_name(text)
            return None if labels is None else self._number_own(folder, labels)
        of_start = self._number_half(folder, start)
        of_end = self._number_half(folder, separator + end)
        # Of an entity that both have, the first counts.
        return None if of_start is None or of_end is None else {**of_end, **of_start}

    def _number_half(self, folder: _Folder, half: str) -> dict[str, int] | None:
        known = folder.names.halves
        if half in known:
            return known[half]
        labels = parse_name(half)
        numbers = None if labels is None else self._number_own(folder, labels)
        _remember(known, half, numbers, most=MOST_HALVES)
        return numbers

    def _number_own(self, folder: _Folder, labels: Mapping[str, str]) -> dict[str, int]:
        """Return a number for each entity that a folder lacks."""
        # Of an entity that both have, the folder's value counts: it comes first in the path.
        own = {entity: labels[entity] for entity in labels if entity not in folder.labels}
        return self._number(folder, own)

    # Values.

    def _dataset(self, prefix: str) -> int:
        return self._datasets.setdefault(prefix, len(self._datasets) + 1)

    def _number(self, folder: _Folder, labels: Mapping[str, str]) -> dict[str, int]:
        """Return the number of the value of each entity; new values get one."""
        known, uses, dataset = self._values, self._uses, folder.dataset or 0
        numbers: dict[str, int] = {}
        for entity, label in labels.items():
            number = known.setdefault((dataset, entity, label), len(uses[0]) + 1)
            if number > len(uses[0]):
                uses[0].append(0)
                uses[1].append(0)
            numbers[entity] = number
        return numbers

    def _tag(self, tags: list[int], owner: int, numbers: Mapping[str, int], *, use: int) -> None:
        """Give a folder (use 0) or a name (use 1) the numbers of its values, and count them."""
        uses = self._uses[use]
        for number in sorted(numbers.values()):  # SQLite appends rows that come in order
            uses[number - 1] += 1
            tags.append(owner)
            tags.append(number)

    def _flush(self) -> None:
        """Insert the rows that have gathered."""
        gathered: list[tuple[str, int, list[Any]]] = [
            ("folder", 4, self._folders),
            ("folder_tag", 2, self._folder_tags),
            ("name", 3, self._names),
            ("name_tag", 2, self._name_tags),
            ("file", FILE_WIDTH, self._files),
        ]
        for table, width, values in gathered:
            insert_values(self._connection, f"INSERT INTO {table}", values, width)
            values.clear()


def _remember(known: dict[str, _Known], text: str, found: _Known, *, most: int) -> None:
    """Remember what was found for a text; where there are too many, begin anew."""
    if len(known) >= most:
        known.clear()
    known[text] = found
