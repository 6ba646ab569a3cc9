"""A stream of bytes that are in memory already."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from confusius_datasets._index import Checksum
from confusius_datasets._sources.closing import Closing

__all__ = ["MemoryStream"]

PIECE_NBYTES = 1 << 18
"""Bytes given at a time when a file is read."""


@dataclass
class MemoryStream(Closing):
    """Bytes of one file that was made, or has been read."""

    content: bytes = field(repr=False)
    start: int
    total: int | None
    etag: str | None = None
    ranges: bool = True
    checksum: Checksum | None = None
    url: str | None = None

    def __iter__(self) -> Iterator[bytes]:
        for offset in range(0, len(self.content), PIECE_NBYTES):
            yield self.content[offset : offset + PIECE_NBYTES]

    def close(self) -> None:
        """Let go of the bytes."""
        self.content = b""
