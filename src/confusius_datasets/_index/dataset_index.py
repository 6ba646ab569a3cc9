"""`DatasetIndex`: the files of a dataset by their paths, read from tables when asked for."""

from __future__ import annotations

import bisect
import contextlib
import itertools
import json
import sqlite3
from array import array
from collections.abc import (
    Callable,
    ItemsView,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
    ValuesView,
)
from dataclasses import replace
from pathlib import Path
from typing import Any

from confusius_datasets._cache import LockState, lock
from confusius_datasets._entities import described_folders
from confusius_datasets._index.entries import (
    Checksum,
    FileEntry,
    LocalVersion,
    is_same_version,
    is_size,
    version_on_disk,
)
from confusius_datasets._index.kept import make_tables
from confusius_datasets._index.tables import Tables
from confusius_datasets._index.writer import FileRow, TableWriter
from confusius_datasets._paths import check_coexistence, check_relpath
from confusius_datasets.errors import DatasetIndexError, DoubtfulRowsError, UnsafePathError

__all__ = ["DatasetIndex", "check_paths", "lock_index", "row_of", "write_entries"]

MANY = 20_000
"""Entries of which an index is in a file rather than in memory."""

FEW = 4
"""Files of a folder up to which each is looked up by itself."""

BATCH = 2_000
"""Rows that are read at a time, so that memory does not grow with the dataset."""

_PATH = "d.path || iif(d.path = '', '', '/') || iif(n.prefixed, d.prefix, '') || n.text"
_COLUMNS = f"SELECT f.id, {_PATH}, f.size, f.md5, f.locator, f.rest"
_SIZES = f"SELECT f.id, {_PATH}, coalesce(f.rest, f.size)"
_JOIN = "FROM file f JOIN folder d ON d.id = f.folder JOIN name n ON n.id = f.name"


class DatasetIndex(Mapping[str, FileEntry]):
    """The files of a dataset by their path below the root, in alphabetical order; immutable.

    Entries are made of the rows of a database when they are asked for, so that an index of a
    million files takes little memory.

    Parameters
    ----------
    entries : iterable of FileEntry
        The files.
    origin : str, default: "the index"
        Where they come from, for messages.

    Raises
    ------
    UnsafePathError
        If a path would lead outside the root.
    DatasetIndexError
        If a path is listed twice (also up to case), or runs through another file.
    """

    __slots__ = ("_host", "_numbers", "_tables", "_totals")

    def __init__(self, entries: Iterable[FileEntry] = (), *, origin: str = "the index") -> None:
        listed = entries if isinstance(entries, Sequence) else list(entries)
        self._open(_write_entries(lambda: listed, len(listed), origin))

    @classmethod
    def of_tables(cls, tables: Tables) -> DatasetIndex:
        """Return the index of tables that have been filled."""
        index = cls.__new__(cls)
        index._open(tables)
        return index

    def _open(self, tables: Tables) -> None:
        self._tables = tables
        self._host = str(tables.fact("host") or "")
        self._numbers: Sequence[int] | None = None
        self._totals = int(tables.fact("n_files")), int(tables.fact("nbytes"))

    def _part(self, numbers: Sequence[int], nbytes: int) -> DatasetIndex:
        """Return the index of some of the rows, by their numbers in order."""
        part = type(self).of_tables(self._tables)
        part._numbers = numbers
        part._totals = len(numbers), nbytes
        return part

    @classmethod
    def _of_many(
        cls, make: Callable[[], Iterable[FileEntry]], n_most: int, origin: str
    ) -> DatasetIndex:
        """Return an index of entries that are made one after another, and again if need be."""
        return cls.of_tables(_write_entries(make, n_most, origin))

    @property
    def tables(self) -> Tables:
        """The tables that the files are in, and perhaps others."""
        return self._tables

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (tuple(self.values()),))

    def __getitem__(self, relpath: str) -> FileEntry:
        row = self._find(relpath)
        if row is None:
            raise KeyError(relpath)
        return self._entry(row)

    def __contains__(self, relpath: object) -> bool:
        return isinstance(relpath, str) and self._find(relpath) is not None

    def __iter__(self) -> Iterator[str]:
        return (row[1] for row in self._rows())

    def __len__(self) -> int:
        return self._totals[0]

    def __repr__(self) -> str:
        return f"<DatasetIndex of {len(self)} files, {self.nbytes} bytes>"

    def values(self) -> _Values:
        """Return the entries; they are made while one goes through them."""
        return _Values(self)

    def items(self) -> _Items:
        """Return the paths with their entries."""
        return _Items(self)

    @property
    def nbytes(self) -> int:
        """Bytes of all files whose size is known."""
        return self._totals[1]

    def sizes(self) -> tuple[list[str], list[int | None]]:
        """Return the paths of all files and their sizes, without making the entries."""
        relpaths: list[str] = []
        sizes: list[int | None] = []
        for rows in self._batches(_SIZES):
            relpaths += [row[1] for row in rows]
            sizes += [_size_of(row[2]) for row in rows]
        return relpaths, sizes

    def entries(self, relpaths: Iterable[str]) -> Iterator[FileEntry]:
        """Give the entries of some paths, one after another; what is not listed is left out."""
        if isinstance(relpaths, DatasetIndex) and relpaths._tables is self._tables:
            yield from relpaths.values()
            return
        for folder, group in itertools.groupby(relpaths, lambda path: path.rpartition("/")[0]):
            listed = list(group)
            if len(listed) < FEW:
                yield from (entry for entry in map(self.get, listed) if entry is not None)
                continue
            rows = self._tables.rows(f"{_COLUMNS} {_JOIN} WHERE d.path = ?", (folder,))
            found = {row[1]: row for row in rows if self._has(row[0])}
            yield from (self._entry(found[path]) for path in listed if path in found)

    # Files of a folder.

    def names_in(self, folder: str) -> list[str]:
        """List the names of the files right in a folder, Zarr stores among them."""
        statement = f"SELECT f.id, iif(n.prefixed, d.prefix, '') || n.text {_JOIN} WHERE d.path = ?"
        return sorted(
            name
            for number, name in self._tables.rows(statement, (folder,))
            if number < 0 or self._has(number)
        )

    def sizes_in(self, folder: str) -> dict[str, int | None]:
        """Return the sizes of the entries and of the Zarr stores right in a folder, by names."""
        statement = (
            "SELECT iif(n.prefixed, d.prefix, '') || n.text, coalesce(f.rest, f.size), f.id "
            f"{_JOIN} WHERE d.path = ?"
        )
        return {
            name: _size_of(value)
            for name, value, number in self._tables.rows(statement, (folder,))
            if number < 0 or self._has(number)
        }

    def has_folder(self, folder: str) -> bool:
        """Say whether entries lie in a folder, at any depth."""
        statement = "SELECT 1 FROM folder WHERE path = ? OR path > ? AND path < ? LIMIT 1"
        return bool(self._tables.rows(statement, (folder, f"{folder}/", f"{folder}0")))

    def below(self, folder: str) -> list[FileEntry]:
        """List the entries in a folder, at any depth."""
        statement = (
            f"{_COLUMNS} {_JOIN} WHERE f.id > 0 AND (d.path = ? OR d.path > ? AND d.path < ?)"
        )
        # "0" comes right after "/".
        rows = self._tables.rows(statement, (folder, f"{folder}/", f"{folder}0"))
        return [self._entry(row) for row in sorted(rows) if self._has(row[0])]

    def paths_from(self, first: int) -> list[str]:
        """List the paths of the tables' rows from a number on."""
        return [
            row[1] for row in self._tables.rows(f"{_COLUMNS} {_JOIN} WHERE f.id >= ?", (first,))
        ]

    # Other indexes.

    def restricted(self, keep: Callable[[str], bool]) -> DatasetIndex:
        """Return the entries for whose paths `keep` is true."""
        numbers, nbytes = array("Q"), 0
        for number, relpath, value in self._rows(_SIZES):
            if keep(relpath):
                numbers.append(number)
                nbytes += _size_of(value) or 0
        return self._part(numbers, nbytes)

    def merged(
        self,
        newer: DatasetIndex,
        *,
        on_disk: Callable[[str], bool],
        is_same: Callable[[FileEntry], bool] = lambda entry: False,
    ) -> DatasetIndex:
        """Take over what a newer index of the host says, without forgetting what is on disk.

        Files the host no longer lists stay only while they are on disk. A file of which another
        version is on disk gets the new facts, and `local` says which version is here. `is_same` is
        asked to hash a file where the indexes alone cannot tell whether it is the host's.
        """

        def merge() -> Iterator[FileEntry]:
            for old, new in _side_by_side(self, newer):
                if old is None or not on_disk(old.relpath):
                    if new is not None:
                        yield new
                elif new is None:
                    yield old
                else:
                    same = is_same_version(version_on_disk(old), new)
                    whole = is_same(new) if same is None else same
                    yield new if whole else replace(new, local=version_on_disk(old))

        both = "the old and the new index together"
        return self._of_many(merge, len(self) + len(newer), both)

    def says_the_same(self, newer: DatasetIndex) -> bool:
        """Say whether a newer index has the same facts of the same files, all of them the host's.

        Only rows are compared, which takes a fraction of what it takes to merge them.
        """
        if (len(self), self._host) != (len(newer), newer._host):
            return False
        return all(
            mine[1:] == yours[1:] and (mine[5] is None or json.loads(mine[5])["local"] is None)
            for mine, yours in zip(self._rows(), newer._rows(), strict=True)
        )

    def changed(self, newer: DatasetIndex) -> list[str]:
        """List the files of both indexes of which the newer one has another version than is here.

        Only what is known counts: checksums of the same algorithm, or else sizes.
        """
        return [
            old.relpath
            for old, new in _side_by_side(self, newer)
            if old and new and is_same_version(version_on_disk(old), new) is False
        ]

    def updated(self, entries: Iterable[FileEntry]) -> DatasetIndex:
        """Return the index with some entries put in the place of those of the same path."""
        new = {entry.relpath: entry for entry in entries}

        def update() -> Iterator[FileEntry]:
            added = DatasetIndex(new.values())
            for old, entry in _side_by_side(self, added):
                if found := entry or old:
                    yield found

        return self._of_many(update, len(self) + len(new), "the index")

    # Rows.

    def _rows(self, select: str = _COLUMNS) -> Iterator[tuple[Any, ...]]:
        """Give the rows in order; the number comes first in each."""
        return itertools.chain.from_iterable(self._batches(select))

    def _batches(self, select: str) -> Iterator[list[tuple[Any, ...]]]:
        """Give the rows in order, a batch at a time."""
        if self._numbers is not None:
            for begin in range(0, len(self._numbers), BATCH):
                numbers = self._numbers[begin : begin + BATCH]
                marks = ", ".join("?" * len(numbers))
                yield self._tables.rows(
                    f"{select} {_JOIN} WHERE f.id IN ({marks}) ORDER BY f.id", numbers
                )
            return
        last = 0
        statement = f"{select} {_JOIN} WHERE f.id > ? ORDER BY f.id LIMIT {BATCH}"
        while rows := self._tables.rows(statement, (last,)):
            yield rows
            last = rows[-1][0]

    def _has(self, number: int) -> bool:
        """Say whether a row is in this index, which may be a part of its tables."""
        if self._numbers is None:
            return number > 0
        place = bisect.bisect_left(self._numbers, number)
        return place < len(self._numbers) and self._numbers[place] == number

    def _find(self, relpath: str) -> tuple[Any, ...] | None:
        """Find the row of a path."""
        path, _, text = relpath.rpartition("/")
        folders = self._tables.rows("SELECT id, prefix FROM folder WHERE path = ?", (path,))
        statement = (
            "SELECT f.id, ?, f.size, f.md5, f.locator, f.rest FROM name n JOIN file f "
            "ON f.name = n.id AND f.folder = ? WHERE n.text = ? AND n.prefixed = ? AND f.id > 0"
        )
        for folder, prefix in folders:
            texts = [(text, 0)]
            if prefix and text.startswith(prefix):
                texts.append((text[len(prefix) :], 1))
            for name in texts:
                for row in self._tables.rows(statement, (relpath, folder, *name)):
                    if self._has(row[0]):
                        return row
        return None

    def _entry(self, row: Sequence[Any]) -> FileEntry:
        """Make the entry of a row."""
        _, relpath, size, md5, locator, rest = row
        if rest is not None:
            return _read_rest(relpath, json.loads(rest))
        return FileEntry(
            relpath,
            size,
            () if md5 is None else (Checksum("md5", md5.hex()),),
            None,
            {} if locator is None else {self._host: locator},
        )


class _Values(ValuesView[FileEntry]):
    """The entries of an index, made one after another."""

    _mapping: DatasetIndex

    def __iter__(self) -> Iterator[FileEntry]:
        return map(self._mapping._entry, self._mapping._rows())


class _Items(ItemsView[str, FileEntry]):
    """The paths of an index with their entries."""

    _mapping: DatasetIndex

    def __iter__(self) -> Iterator[tuple[str, FileEntry]]:
        return ((row[1], self._mapping._entry(row)) for row in self._mapping._rows())


def _size_of(value: int | str | None) -> int | None:
    """Return the size of a row: a number, or in the JSON of what few entries have."""
    return json.loads(value)["size"] if isinstance(value, str) else value


def _side_by_side(
    one: DatasetIndex, other: DatasetIndex
) -> Iterator[tuple[FileEntry | None, FileEntry | None]]:
    """Give the entries of each path of two indexes."""
    ours, theirs = iter(one.values()), iter(other.values())
    mine, yours = next(ours, None), next(theirs, None)
    while mine or yours:
        if mine and (yours is None or mine.relpath < yours.relpath):
            yield mine, None
            mine = next(ours, None)
        elif yours and (mine is None or yours.relpath < mine.relpath):
            yield None, yours
            yours = next(theirs, None)
        else:
            yield mine, yours
            mine, yours = next(ours, None), next(theirs, None)


def _write_entries(make: Callable[[], Iterable[FileEntry]], n_most: int, origin: str) -> Tables:
    """Write entries into tables; where their order or their paths are in doubt, check them all."""

    def fill(connection: sqlite3.Connection) -> None:
        write_entries(connection, make())

    def fill_checked(connection: sqlite3.Connection) -> None:
        listed = sorted(make(), key=lambda entry: entry.relpath)
        check_paths([entry.relpath for entry in listed], origin)
        write_entries(connection, listed, is_checked=True)

    try:
        return make_tables(fill, is_large=n_most > MANY)
    except (DoubtfulRowsError, UnsafePathError):
        return make_tables(fill_checked, is_large=n_most > MANY)


def check_paths(relpaths: list[str], origin: str) -> None:
    """Refuse paths, in their order, that would lead out of the root or cannot coexist."""
    for relpath in relpaths:
        try:
            check_relpath(relpath)
        except UnsafePathError as error:
            raise UnsafePathError(f"{origin}: {error}. Nothing was written.") from None
    check_coexistence(relpaths, origin)


def write_entries(
    connection: sqlite3.Connection, entries: Iterable[FileEntry], *, is_checked: bool = False
) -> None:
    """Write entries into new tables; the host that most of them name has a column of its own."""
    listed = iter(entries)
    first = list(itertools.islice(listed, 1))
    host = next((host for entry in first for host in entry.locators), "")
    listed = itertools.chain(first, listed)
    described: frozenset[str] = frozenset()
    if is_checked:  # somebody has all the paths
        everything = list(listed)
        described = described_folders(entry.relpath for entry in everything)
        listed = iter(everything)
    writer = TableWriter(connection, is_checked=is_checked, described=described)
    writer.add(row_of(entry, host) for entry in listed)
    writer.finish(host=host)


def row_of(entry: FileEntry, host: str) -> FileRow:
    """Make the row of an entry; what few entries have is written as JSON."""
    size, checksums, locators = entry.size, entry.checksums, entry.locators
    if not is_size(size):
        raise DatasetIndexError(
            f"The entry {entry.relpath!r} has a size that must be a number of bytes, or None."
        )
    md5 = _md5_of(checksums)
    locator = locators.get(host)
    is_plain = (
        len(checksums) == (md5 is not None)
        and len(locators) == (locator is not None)
        and entry.etag is None
        and entry.local is None
        and (locator is None or locator.isascii())
    )
    if is_plain:
        return (entry.relpath, size, md5, locator, None)
    local = entry.local
    rest = {
        "size": size,
        "checksums": _pairs(checksums),
        "etag": entry.etag,
        "locators": dict(locators),
        "local": local and [local.size, _pairs(local.checksums)],
    }
    return (entry.relpath, size, None, None, json.dumps(rest))


def _md5_of(checksums: Sequence[Checksum]) -> bytes | None:
    """Return an md5 that stands alone, as bytes; as text it is twice as long."""
    if len(checksums) == 1 and checksums[0].algorithm == "md5":
        with contextlib.suppress(ValueError):
            digest = bytes.fromhex(checksums[0].hexdigest)
            if digest.hex() == checksums[0].hexdigest:
                return digest
    return None


def _pairs(checksums: Iterable[Checksum]) -> list[tuple[str, str]]:
    return [(checksum.algorithm, checksum.hexdigest) for checksum in checksums]


def _read_rest(relpath: str, rest: Mapping[str, Any]) -> FileEntry:
    """Make an entry of what was written as JSON."""
    local = rest["local"]
    return FileEntry(
        relpath,
        rest["size"],
        tuple(Checksum(*pair) for pair in rest["checksums"]),
        rest["etag"],
        rest["locators"],
        local and LocalVersion(local[0], tuple(Checksum(*pair) for pair in local[1])),
    )


def lock_index(root: Path) -> contextlib.AbstractContextManager[LockState]:
    """Keep other processes from changing a root's index between reading and writing it."""
    return lock(root, "index.lock")
