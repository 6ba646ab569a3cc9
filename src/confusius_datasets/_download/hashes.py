"""Hashes of files, under the names an index gives them."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

__all__ = ["Hash", "new_hash", "read_blocks"]

BLOCK = 1 << 20
"""Bytes read at a time when a local file is hashed."""


class Hash(Protocol):
    """What takes bytes in and gives a digest."""

    def update(self, data: bytes, /) -> None:
        """Take bytes in."""
        ...

    def hexdigest(self) -> str:
        """Return the digest of all bytes until now, in lower-case hexadecimal."""
        ...


class _CRC32:
    """CRC-32 with the face of a hash."""

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


def read_blocks(path: Path) -> Iterator[bytes]:
    """Give the bytes of a file."""
    with path.open("rb", buffering=0) as file:
        while block := file.read(BLOCK):
            yield block
