"""The index of a dataset: every file it has, whether or not it is on this machine.

Entries say what a host promises of a file. How a host writes that down is known to the host alone
(`_sources`); nothing here knows JSON or HTTP.
"""

from __future__ import annotations

import contextlib
import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from confusius_datasets._cache import LockState, lock, lock_folder
from confusius_datasets._paths import check_coexistence

__all__ = [
    "INDEX_NAME",
    "Checksum",
    "DatasetIndex",
    "FileEntry",
    "Hash",
    "LocalVersion",
    "lock_index",
    "new_hash",
]

INDEX_NAME = "dataset_index.json"
"""Name of the index in a dataset's root, as the ConfUSIus package has it."""


@dataclass(frozen=True, slots=True)
class Checksum:
    """What a file's bytes must hash to.

    Parameters
    ----------
    algorithm : str
        `md5`, `sha1`, `sha256`, `sha512`, `crc32`, or `git` for the id of a git blob.
    hexdigest : str
        Lower-case hexadecimal.
    """

    algorithm: str
    hexdigest: str

    def __str__(self) -> str:
        return f"{self.algorithm} {self.hexdigest}"


class Hash(Protocol):
    """What takes bytes in and gives a digest, as those of `hashlib`."""

    def update(self, data: bytes, /) -> None:
        """Take bytes in."""
        ...

    def hexdigest(self) -> str:
        """Return the digest of all bytes until now, in lower-case hexadecimal."""
        ...


class _CRC32:
    """CRC-32 with the methods of a hash."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes, /) -> None:
        """Take bytes in."""
        self._value = zlib.crc32(data, self._value)

    def hexdigest(self) -> str:
        """Return eight hexadecimal digits."""
        return f"{self._value:08x}"


def new_hash(algorithm: str, size: int | None = None) -> Hash:
    """Return a fresh hash; that of git needs the size of what will be hashed."""
    if algorithm == "crc32":
        return _CRC32()
    if algorithm == "git":  # https://git-scm.com/book/en/v2/Git-Internals-Git-Objects
        return hashlib.sha1(b"blob %d\0" % (size or 0), usedforsecurity=False)
    return hashlib.new(algorithm, usedforsecurity=False)


@dataclass(frozen=True, slots=True)
class LocalVersion:
    """The version of a file that is on disk, where the host has a newer one.

    Parameters
    ----------
    size : int, optional
        Bytes, where they are known.
    checksums : tuple of Checksum, default: none
        Its hashes, as far as they are known.
    """

    size: int | None = None
    checksums: tuple[Checksum, ...] = ()


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a dataset, as its host describes it.

    Parameters
    ----------
    relpath : str
        Path below the root, with `/`.
    size : int, optional
        Bytes, where the host says it.
    checksums : tuple of Checksum, default: none
        Hashes of the content where the host gives them, the strongest first.
    etag : str, optional
        Strong entity tag of the content, where the host's listing has one.
    locators : mapping of str to str, default: none
        What each host needs to find the file, by the name of the host.
    local : LocalVersion, optional
        The version that is on disk, where a refresh found another one on the host.
    """

    relpath: str
    size: int | None = None
    checksums: tuple[Checksum, ...] = ()
    etag: str | None = None
    locators: Mapping[str, str] = field(default_factory=dict, hash=False)
    local: LocalVersion | None = None

    @property
    def checksum(self) -> Checksum | None:
        """The strongest checksum that can be computed."""
        for checksum in self.checksums:
            # git hashes the size before the content, so it must be known when hashing begins.
            if checksum.algorithm != "git" or self.size is not None:
                return checksum
        return None

    @property
    def local_checksum(self) -> Checksum | None:
        """Hash of the older version on disk, where the host has a newer one."""
        return self.local.checksums[0] if self.local and self.local.checksums else None


class DatasetIndex(Mapping[str, FileEntry]):
    """The files of a dataset by their path below the root, in alphabetical order; immutable.

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

    __slots__ = ("_entries",)

    def __init__(self, entries: Iterable[FileEntry] = (), *, origin: str = "the index") -> None:
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

    def restricted(self, keep: Callable[[FileEntry], bool]) -> DatasetIndex:
        """Return the entries for which `keep` is true."""
        return DatasetIndex(entry for entry in self.values() if keep(entry))

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
        entries = dict(newer)
        for relpath, old in self.items():
            if not on_disk(relpath):
                continue
            new = newer.get(relpath)
            if new is None:
                entries[relpath] = old
            else:
                same = _compare(_version_on_disk(old), new)
                if not (is_same(new) if same is None else same):
                    entries[relpath] = replace(new, local=_version_on_disk(old))
        return DatasetIndex(entries.values(), origin="the old and the new index together")

    def changed(self, newer: DatasetIndex) -> list[str]:
        """List the files of both indexes of which the newer one has another version than is here.

        Only what is known counts: checksums of the same algorithm, or else sizes.
        """
        return [
            relpath
            for relpath, entry in self.items()
            if relpath in newer and _compare(_version_on_disk(entry), newer[relpath]) is False
        ]

    def updated(self, entries: Iterable[FileEntry]) -> DatasetIndex:
        """Return the index with some entries put in the place of those of the same path."""
        new = {entry.relpath: entry for entry in entries}
        return DatasetIndex((dict(self) | new).values())


def _version_on_disk(entry: FileEntry) -> LocalVersion:
    """Describe the version that is on disk, if there is a file."""
    return entry.local or LocalVersion(entry.size, entry.checksums)


def _compare(local: LocalVersion, entry: FileEntry) -> bool | None:
    """Say whether a local version is the host's; `None` where that is not known."""
    listed = {checksum.algorithm: checksum for checksum in entry.checksums}
    pairs = [(listed[here.algorithm], here) for here in local.checksums if here.algorithm in listed]
    if pairs:
        return all(there == here for there, here in pairs)
    if local.size is not None and entry.size is not None and local.size != entry.size:
        return False
    # A checksum on one side is no proof: the index on disk must not claim it of the local file.
    return None if local.checksums or entry.checksums else True


def lock_index(root: Path) -> contextlib.AbstractContextManager[LockState]:
    """Keep other processes from changing a root's index between reading and writing it."""
    return lock(lock_folder(root) / "index.lock")
