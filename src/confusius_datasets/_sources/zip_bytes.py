"""The bytes of a zip archive on any other source, read by ranges."""

from __future__ import annotations

import errno
import io
from collections.abc import Iterator
from dataclasses import dataclass

from confusius_datasets._index import FileEntry
from confusius_datasets._sources.http import HttpClient
from confusius_datasets._sources.protocol import ByteStream, Source
from confusius_datasets._sources.ranges import ByteRange, From, FromTo, Last, slice_of
from confusius_datasets.errors import RemoteConnectionError, SourceError

__all__ = ["RangeFile", "RemoteArchive", "cut", "read_exactly"]

TAIL_NBYTES = (1 << 16) + 128
"""Bytes at the end that are read first: the longest comment, and the records before it."""

LARGEST_DIRECTORY_NBYTES = 1 << 28
"""Bytes of a directory; one of a million members has about 100 MB."""

SKIPPED_NBYTES = 1 << 26
"""Bytes before a member that are read in vain where a host gives no ranges."""


@dataclass(frozen=True, slots=True)
class RemoteArchive:
    """An archive, and the source that has it."""

    container: Source
    entry: FileEntry

    def open(self, part: ByteRange, client: HttpClient, *, etag: str | None = None) -> ByteStream:
        """Open a part of the archive."""
        entry = self.entry
        by_path = getattr(self.container, "finds_by_path", False)
        if not by_path and self.container.host not in entry.locators:
            listed = client.recall(
                ("zip container", self.container), lambda: self.container.list_files(client)
            )
            if entry.relpath not in listed:
                raise self.error("is not there")
            entry = listed[entry.relpath]
        return self.container.open(entry, part, client=client, etag=etag)

    def error(self, what: str, url: str | None = None) -> SourceError:
        """Word what is wrong with the archive."""
        return SourceError(
            f"The archive {self.entry.relpath} {what}. Nothing was written. If it has changed "
            "since its index was fetched, pass refresh=True.",
            url=url or self.entry.relpath,
        )


class RangeFile(io.RawIOBase):
    """An archive as a file for `zipfile`: its end is read first, and more when it is needed."""

    def __init__(self, archive: RemoteArchive, client: HttpClient) -> None:
        self._archive = archive
        self._client = client
        size = archive.entry.size
        part = Last(TAIL_NBYTES) if size is None else From(max(size - TAIL_NBYTES, 0))
        self._start, self._data, self._size = self._fetch(part)
        self._position = 0

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that it can be read from anywhere."""
        return True

    def tell(self) -> int:
        """Return the offset of what comes next."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to an offset."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise OSError(errno.EINVAL, "negative seek position")  # so `zipfile` expects it
        self._position = base + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Read bytes, by a request of their own where they are not at the end."""
        stop = self._size if size < 0 else min(self._position + size, self._size)
        if self._position < self._start and self._position < stop:
            if self._size - self._position > LARGEST_DIRECTORY_NBYTES:
                raise self._archive.error("has a directory that is larger than any can be")
            _, data, _ = self._fetch(FromTo(self._position, self._start))
            self._start, self._data = self._position, data + self._data
        found = self._data[self._position - self._start : max(stop - self._start, 0)]
        self._position += len(found)
        return found

    def _fetch(self, part: ByteRange) -> tuple[int, bytes, int]:
        """Get a part of the archive; where it begins, and the size of the whole."""
        archive = self._archive

        def attempt() -> tuple[int, bytes, int]:
            with archive.open(part, self._client) as stream:
                total = stream.total if stream.total is not None else archive.entry.size
                if total is None:
                    raise archive.error("has no size that its host would tell", stream.url)
                start, stop = slice_of(part, total)
                if not isinstance(part, Last) or stream.start == start:
                    return start, read_exactly(archive, stream, start, stop), total
            # Some hosts know no suffix ranges, such as OSF's file server when it sends by itself.
            with archive.open(From(start), self._client) as stream:
                return start, read_exactly(archive, stream, start, stop), total

        return self._client.retry(attempt)


def read_exactly(archive: RemoteArchive, stream: ByteStream, start: int, stop: int) -> bytes:
    """Read some bytes of the archive, and no others."""
    data = b"".join(cut(archive, stream, start, stop))
    if len(data) != stop - start:
        raise RemoteConnectionError(
            f"{stream.url}: the connection ended after {len(data)} of {stop - start} bytes. Call "
            "again.",
            url=stream.url,
        )
    return data


def cut(archive: RemoteArchive, stream: ByteStream, start: int, stop: int) -> Iterator[bytes]:
    """Give the bytes of the archive between two offsets, if the stream begins soon enough."""
    skip, left = start - stream.start, stop - start
    if skip < 0 or skip > SKIPPED_NBYTES:
        raise archive.error("is on a host that gives no parts of a file", stream.url)
    if not left:
        return
    for piece in stream:
        data = piece[skip:] if skip else piece
        skip = max(skip - len(piece), 0)
        data = data[:left]
        left -= len(data)
        if data:
            yield data
        if not left:
            return
