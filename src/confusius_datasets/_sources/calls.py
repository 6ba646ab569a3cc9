"""A source for the time of one download: what is known of all files together is used for each.

Most sources have nothing to know. An archive reads small neighbours in one request, and of several
hosts the one that failed is left alone for the rest of the call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from confusius_datasets._index import FileEntry
from confusius_datasets._sources.http import HttpClient
from confusius_datasets._sources.protocol import ByteStream, Source
from confusius_datasets._sources.ranges import WHOLE, ByteRange

__all__ = ["SourceCall", "begin_call"]


class SourceCall(Protocol):
    """What opens the files of one download."""

    def open(
        self,
        entry: FileEntry,
        part: ByteRange = WHOLE,
        *,
        client: HttpClient,
        etag: str | None = None,
    ) -> ByteStream:
        """Open a file, or a part of it, as `Source.open` does."""
        ...

    def give_up(self, entry: FileEntry, error: Exception) -> bool:
        """Leave the host alone that failed with a file; say whether it is worth trying again."""
        ...


@runtime_checkable
class _Beginning(Protocol):
    """A source that knows more when it is told of all files at once."""

    def begin(self, entries: Sequence[FileEntry], root: Path | None) -> SourceCall: ...


@dataclass(frozen=True, slots=True)
class _PlainCall:
    """The call of a source for which each file is a matter of its own."""

    source: Source

    def open(
        self,
        entry: FileEntry,
        part: ByteRange = WHOLE,
        *,
        client: HttpClient,
        etag: str | None = None,
    ) -> ByteStream:
        return self.source.open(entry, part, client=client, etag=etag)

    def give_up(self, entry: FileEntry, error: Exception) -> bool:
        return False


def begin_call(source: Source, entries: Sequence[FileEntry], root: Path | None) -> SourceCall:
    """Begin to download some files, into a root if there is one."""
    return source.begin(entries, root) if isinstance(source, _Beginning) else _PlainCall(source)
