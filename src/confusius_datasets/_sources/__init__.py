"""The hosts of data, each behind the same two methods: give the index, open a file at an offset.

What differs between hosts stays in this folder. Nothing here knows BIDS or filters.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Protocol, Self

from confusius_datasets._index import DatasetIndex, FileEntry

__all__ = ["ByteStream", "Source"]


class ByteStream(Protocol):
    """Bytes of one file as they arrive; a context manager that frees the connection."""

    start: int
    """Offset of the first byte: as asked, or 0 when the host sends the file from its start."""

    total: int | None
    """Size of the whole file in bytes, when the host says it."""

    validator: str | None
    """A strong validator of the content, to resume with, when the host gives one."""

    ranges: bool
    """Whether the host honours a start and a stop."""

    def __iter__(self) -> Iterator[bytes]:
        """Give the bytes, in pieces of bounded size."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def close(self) -> None:
        """Free the connection."""
        ...


class Source(Protocol):
    """A host of one dataset. Implementations are small frozen dataclasses that pickle."""

    def fetch_index(self) -> DatasetIndex:
        """Get the index as the host has it now.

        Returns
        -------
        DatasetIndex
            Every file of the dataset.

        Raises
        ------
        SourceError
            If the host cannot be reached, refuses, or has no such dataset.
        OfflineError
            If the network may not be used.
        DatasetIndexError
            If what it gives is no index.
        """
        ...

    def open(
        self,
        entry: FileEntry,
        *,
        start: int = 0,
        stop: int | None = None,
        validator: str | None = None,
    ) -> ByteStream:
        """Open a file at an offset.

        Parameters
        ----------
        entry : FileEntry
            The file, from this source's index.
        start : int, default: 0
            Offset of the first byte wanted.
        stop : int, optional
            Offset behind the last byte wanted. If not provided, to the end.
        validator : str, optional
            The validator of the bytes already here; when the content is another one by now, the
            stream starts at 0.

        Returns
        -------
        ByteStream
            An open stream, to be used as a context manager.

        Raises
        ------
        SourceError
            If the host cannot be reached, refuses, or has no such file.
        OfflineError
            If the network may not be used.
        """
        ...
