"""The index of a dataset: every file it has, where or not it is on this machine.

`dataset_index.json` comes from the network and is not trusted: it is read into `DatasetIndex`, or
refused with an error that names the entry. Nothing here knows HTTP.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from confusius_datasets._cache import lock, lock_folder, write_atomic
from confusius_datasets._paths import check_coexistence, check_relpath
from confusius_datasets._text import quote_short
from confusius_datasets.errors import DatasetIndexError, UnsafePathError

__all__ = [
    "INDEX_NAME",
    "Checksum",
    "DatasetIndex",
    "FileEntry",
    "lock_index",
]

INDEX_NAME = "dataset_index.json"
"""Name of the index in a dataset's root, as the hosts and the ConfUSIus package have it."""

DIGEST_LENGTHS = {"sha256": 64, "md5": 32, "crc32": 8}
"""Hexadecimal digits of each algorithm an entry may carry, the strongest first."""


@dataclass(frozen=True, slots=True)
class Checksum:
    """What a file's bytes must hash to.

    Parameters
    ----------
    algorithm : str
        `md5`, `sha256` or `crc32`.
    hexdigest : str
        Lower-case hexadecimal.
    """

    algorithm: str
    hexdigest: str

    def __str__(self) -> str:
        return f"{self.algorithm} {self.hexdigest}"


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a dataset, as its host describes it.

    Parameters
    ----------
    relpath : str
        Path below the root, with `/`.
    size : int or None
        Bytes, where the host says it.
    checksum : Checksum or None
        Hash of the content, where the host says it.
    locator : str
        What the source needs to find the file; on OSF its `osf_path`.
    superseded : Checksum, optional
        Hash of the older version that is on this machine, where a refresh found a newer one.
    """

    relpath: str
    size: int | None
    checksum: Checksum | None
    locator: str
    superseded: Checksum | None = None


class DatasetIndex(Mapping[str, FileEntry]):
    """The files of a dataset by their path below the root, in alphabetical order; immutable.

    Parameters
    ----------
    entries : iterable of FileEntry
        The files. They are checked together: see `from_json`.
    origin : str, default: "the index"
        Where they come from, for messages.

    Raises
    ------
    UnsafePathError
        If a path would lead outside the root.
    DatasetIndexError
        If a path is listed twice (also up to case), or runs through another file.
    """

    __slots__ = ("_entries",)

    def __init__(self, entries: Iterable[FileEntry], *, origin: str = "the index") -> None:
        listed = sorted(entries, key=lambda entry: entry.relpath)
        check_coexistence([entry.relpath for entry in listed], origin)
        self._entries = {entry.relpath: entry for entry in listed}

    def __getitem__(self, relpath: str) -> FileEntry:
        return self._entries[relpath]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<DatasetIndex of {len(self)} files, {self.nbytes} bytes>"

    @property
    def nbytes(self) -> int:
        """Bytes of all files whose size is known."""
        return sum(entry.size or 0 for entry in self.values())

    @classmethod
    def from_json(cls, data: bytes | str, *, origin: str) -> DatasetIndex:
        """Read and check the text of a `dataset_index.json`.

        Parameters
        ----------
        data : bytes or str
            JSON text: an object of `{relpath: {"osf_path": str, "size": int or null, "md5": str or
            null}}`, `md5` optional.
        origin : str
            The file or URL it comes from, for messages.

        Returns
        -------
        DatasetIndex
            The entries, the index's own entry left out.

        Raises
        ------
        UnsafePathError
            If a path is absolute, climbs with `..`, has a drive letter, a backslash, an empty part
            or a control character, or names our own hidden folder or the index.
        DatasetIndexError
            If the text is no such JSON object, or a value is of the wrong type.
        """
        document = _parse_json(data, origin)
        entries = [
            _parse_entry(relpath, record, origin)
            for relpath, record in document.items()
            if relpath != INDEX_NAME
        ]
        return cls(entries, origin=origin)

    @classmethod
    def read(cls, path: Path) -> DatasetIndex:
        """Read the index at a path.

        Parameters
        ----------
        path : pathlib.Path
            A `dataset_index.json`.

        Returns
        -------
        DatasetIndex
            Its entries.

        Raises
        ------
        FileNotFoundError
            If there is none.
        DatasetIndexError
            If it is damaged; the message says how to get a new one.
        """
        try:
            return cls.from_json(path.read_bytes(), origin=str(path))
        except DatasetIndexError as error:
            raise type(error)(f"{error} Fetch again with refresh=True to replace it.") from error

    def to_json(self) -> bytes:
        """Write the index in the form `from_json` reads.

        Returns
        -------
        bytes
            UTF-8 JSON with sorted keys, two spaces of indent and a final newline.
        """
        document = {relpath: _format_entry(entry) for relpath, entry in self.items()}
        return (json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()

    def write(self, path: Path) -> None:
        """Put the index at a path, atomically; one that says the same is left alone.

        So a refresh that finds nothing new works in a read-only folder too, and what was made from
        the index stays younger than it.

        Parameters
        ----------
        path : pathlib.Path
            Where it belongs.

        Raises
        ------
        CacheError
            If it cannot be written there; what was there is untouched.
        """
        data = self.to_json()
        with contextlib.suppress(OSError):
            if path.read_bytes() == data:
                return
        write_atomic(path, data)

    def restricted(self, keep: Callable[[FileEntry], bool]) -> DatasetIndex:
        """Return the part of the index that a rule keeps.

        Parameters
        ----------
        keep : callable
            Says of an entry whether it stays.

        Returns
        -------
        DatasetIndex
            The entries that stay.
        """
        return DatasetIndex(entry for entry in self.values() if keep(entry))

    def merged(self, newer: DatasetIndex, *, on_disk: Callable[[str], bool]) -> DatasetIndex:
        """Take over what a newer index says, and forget nothing that is here.

        Files the host no longer lists stay in the index only while they are on disk. A file that
        is on disk in an older version gets the new record and keeps the old checksum beside it.

        Parameters
        ----------
        newer : DatasetIndex
            The index as the host has it now.
        on_disk : callable
            Says of a path below the root whether its file is on this machine.

        Returns
        -------
        DatasetIndex
            The union.

        Raises
        ------
        DatasetIndexError
            If old and new paths exclude each other on disk.
        """
        entries = dict(newer)
        for relpath, old in self.items():
            new = newer.get(relpath)
            if not on_disk(relpath):
                continue
            if new is None:
                entries[relpath] = old
            elif old.superseded or _differ(old, new):
                here = old.superseded or old.checksum
                entries[relpath] = replace(new, superseded=None if here == new.checksum else here)
        return DatasetIndex(entries.values(), origin="the old and the new index together")

    def changed(self, newer: DatasetIndex) -> list[str]:
        """List the files whose content is another one in a newer index.

        Parameters
        ----------
        newer : DatasetIndex
            The index as the host has it now.

        Returns
        -------
        list of str
            Paths in both whose checksums, or else sizes, are known and differ; of a file that is on
            disk in an older version, that version's checksum counts.
        """
        return [
            relpath
            for relpath, entry in self.items()
            if relpath in newer and _differ(_as_on_disk(entry), newer[relpath])
        ]

    def updated(self, entries: Iterable[FileEntry]) -> DatasetIndex:
        """Return the index with some entries put in the place of those of the same path.

        Parameters
        ----------
        entries : iterable of FileEntry
            The new records.

        Returns
        -------
        DatasetIndex
            A new index.
        """
        new = {entry.relpath: entry for entry in entries}
        return DatasetIndex((dict(self) | new).values())


def lock_index(root: Path) -> contextlib.AbstractContextManager[bool | None]:
    """Keep other processes from changing a root's index between reading and writing it."""
    return lock(lock_folder(root) / "index.lock")


def _parse_json(data: bytes | str, origin: str) -> dict[str, object]:
    """Read a JSON object that has no key twice."""
    try:
        document = json.loads(data, object_pairs_hook=_refuse_repeated_keys)
    except DatasetIndexError as error:
        raise DatasetIndexError(f"{origin}: {error}.") from None
    except (ValueError, RecursionError) as error:
        raise DatasetIndexError(
            f"{origin} is not a whole JSON document: {error}. "
            "It was cut short, or is something else."
        ) from error
    if not isinstance(document, dict):
        raise DatasetIndexError(
            f"{origin} holds a JSON {type(document).__name__}, not an object of files."
        )
    return document


def _refuse_repeated_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Build a JSON object, refusing a key that comes twice (Python would keep the last)."""
    document = dict(pairs)
    if len(document) != len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise DatasetIndexError(f"the key {repeated!r} comes twice")
    return document


def _parse_entry(relpath: str, record: object, origin: str) -> FileEntry:
    """Read one entry, refusing what is not of the schema."""
    try:
        check_relpath(relpath)
    except UnsafePathError as error:
        raise UnsafePathError(f"{origin}: {error}. Nothing was written.") from None
    if not isinstance(record, dict):
        raise _wrong(origin, relpath, "is no object", record)
    locator = record.get("osf_path", "")
    if not isinstance(locator, str):
        raise _wrong(origin, relpath, "has an 'osf_path' that is no text", locator)
    size = record.get("size")
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 0):
        raise _wrong(origin, relpath, "has a 'size' that is no number of bytes", size)
    older = record.get("superseded")
    superseded = _parse_checksum(relpath, older, origin) if isinstance(older, dict) else None
    return FileEntry(relpath, size, _parse_checksum(relpath, record, origin), locator, superseded)


def _parse_checksum(relpath: str, record: Mapping[str, object], origin: str) -> Checksum | None:
    """Read the checksum of an entry; of several, the strongest."""
    for algorithm, length in DIGEST_LENGTHS.items():
        digest = record.get(algorithm)
        if digest is None:
            continue
        if not isinstance(digest, str) or not re.fullmatch(rf"[0-9a-fA-F]{{{length}}}", digest):
            raise _wrong(origin, relpath, f"has an {algorithm!r} that is no such checksum", digest)
        return Checksum(algorithm, digest.lower())
    return None


def _wrong(origin: str, relpath: str, what: str, value: object) -> DatasetIndexError:
    """Word what is wrong with an entry."""
    return DatasetIndexError(
        f"{origin}: the entry {relpath!r} {what} ({quote_short(value)}). Nothing was written."
    )


def _format_entry(entry: FileEntry) -> dict[str, object]:
    """Turn an entry into its JSON object."""
    record: dict[str, object] = {"size": entry.size}
    if entry.locator:
        record["osf_path"] = entry.locator
    if entry.checksum is None:
        record["md5"] = None  # releases of ConfUSIus refuse an index without the key
    else:
        record[entry.checksum.algorithm] = entry.checksum.hexdigest
    if entry.superseded is not None:
        record["superseded"] = {entry.superseded.algorithm: entry.superseded.hexdigest}
    return record


def _as_on_disk(entry: FileEntry) -> FileEntry:
    """Describe the version of a file that is on this machine."""
    return replace(entry, checksum=entry.superseded) if entry.superseded else entry


def _differ(old: FileEntry, new: FileEntry) -> bool:
    """Say whether two entries are known to describe different bytes."""
    if old.checksum and new.checksum and old.checksum.algorithm == new.checksum.algorithm:
        return old.checksum != new.checksum
    return old.size is not None and new.size is not None and old.size != new.size
