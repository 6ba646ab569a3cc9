"""What is said of one file of a dataset, and of the version of it that is on disk."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

__all__ = [
    "INDEX_NAME",
    "LARGEST_INTEGER",
    "Checksum",
    "FileEntry",
    "Hash",
    "LocalVersion",
    "is_same_version",
    "is_size",
    "new_hash",
    "version_on_disk",
]

INDEX_NAME = "dataset_index.json"
"""Name of the index in a dataset's root, as the ConfUSIus package has it."""

LARGEST_INTEGER = 2**63
"""Sizes are smaller than this, on every file system and in SQLite."""


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


def is_size(value: object) -> bool:
    """Say whether a value can be the size of a file, or says that it is not known."""
    return value is None or (type(value) is int and 0 <= value < LARGEST_INTEGER)


def version_on_disk(entry: FileEntry) -> LocalVersion:
    """Describe the version that is on disk, if there is a file."""
    return entry.local or LocalVersion(entry.size, entry.checksums)


def is_same_version(local: LocalVersion, entry: FileEntry) -> bool | None:
    """Say whether a local version is the host's; `None` where that is not known."""
    listed = {checksum.algorithm: checksum for checksum in entry.checksums}
    pairs = [(listed[here.algorithm], here) for here in local.checksums if here.algorithm in listed]
    if pairs:
        return all(there == here for there, here in pairs)
    if local.size is not None and entry.size is not None and local.size != entry.size:
        return False
    # A checksum on one side is no proof: the index on disk must not claim it of the local file.
    return None if local.checksums or entry.checksums else True
