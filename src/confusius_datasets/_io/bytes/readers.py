"""Byte ranges of a file, decompressed on the way: plain files, and gzip with a memory.

An access opens a session for the range it is about to read, in ascending order; the reader chooses
how. Nothing here knows what the bytes mean.
"""

from __future__ import annotations

import collections
import contextlib
import io
import math
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from pathlib import Path
from typing import BinaryIO, Protocol

from confusius_datasets._cache import PerProcess
from confusius_datasets._io.bytes.gzip_stream import GzipStream
from confusius_datasets._io.bytes.seek_index import SeekIndex
from confusius_datasets._io.versions import FileVersion
from confusius_datasets.errors import FileFormatError

__all__ = ["GzipReader", "PlainReader", "Reader", "Session", "Way", "choose_way", "shared_reader"]

NEAR = 8 << 20
"""Bytes that are decompressed in passing rather than jumped over: some 20 ms."""

PART = 32 << 20
"""Most bytes that one thread reads of a plain file at a time; fewer in all are not shared out.

Of a file that the system has in memory, half of the time goes to the pages it is copied to.
"""

MOST_THREADS = min(4, os.cpu_count() or 1)
"""Threads that read parts of a plain file at once."""

HAS_PREADV = hasattr(os, "preadv")
"""Whether several threads can read the same open file; not so on Windows."""

MOST_READERS = 8
"""How many gzip files a process remembers its place in."""


class Session(Protocol):
    """Reads at ascending offsets."""

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill a buffer of single bytes with those that begin at an offset."""


class Reader(Protocol):
    """Gives sessions over the bytes of one file."""

    def session(self, start: int, stop: int) -> contextlib.AbstractContextManager[Session]:
        """Open a session for reads between two offsets."""


class PlainReader:
    """Reads a file that is not compressed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextlib.contextmanager
    def session(self, start: int, stop: int) -> Iterator[Session]:
        """Open a session."""
        with self.path.open("rb", buffering=0) as file:
            yield _PlainSession(self.path, file)


class _PlainSession:
    """Reads an open file by offset."""

    def __init__(self, path: Path, file: io.FileIO) -> None:
        self._path = path
        self._file = file

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill a buffer with the bytes that begin at an offset."""
        if len(buffer) >= PART and HAS_PREADV:
            # Threads end at the same time, having as much to read each.
            rounds = math.ceil(len(buffer) / (MOST_THREADS * PART))
            step = math.ceil(len(buffer) / (MOST_THREADS * rounds))
            begins = range(0, len(buffer), step)
            with ThreadPoolExecutor(MOST_THREADS) as threads:
                counts = threads.map(
                    lambda begin: self._read_at(offset + begin, buffer[begin : begin + step]),
                    begins,
                )
                # Where the file ends in a part, there is nothing of those behind it either.
                filled = sum(counts)
        else:
            filled = self._read_at(offset, buffer)
        if filled < len(buffer):
            raise _cut_off(self._path, offset + len(buffer), offset + filled)

    def _read_at(self, offset: int, buffer: memoryview) -> int:
        """Read a part, and return how many bytes there were."""
        filled = 0
        # One call of the system reads at most 2 GiB.
        while filled < len(buffer):
            if HAS_PREADV:  # threads share the place of the file
                count = os.preadv(self._file.fileno(), [buffer[filled:]], offset + filled)
            else:
                self._file.seek(offset + filled)
                count = self._file.readinto(buffer[filled:]) or 0
            if not count:
                break
            filled += count
        return filled


class Way(Enum):
    """How a gzip file is read."""

    CONTINUE = "onwards from where the last access stopped"
    RESTART = "from the beginning"
    INDEX = "from the nearest point of the seek index"


def choose_way(position: int, start: int, stop: int, length: int, *, indexed: bool) -> Way:
    """Decide how to reach a range of a gzip file."""
    ahead = start - position
    # Without an index, reading on is never dearer than starting again, however far it is.
    if ahead >= 0 and (ahead <= NEAR or not indexed):
        return Way.CONTINUE
    # From the start the stream of ISA-L is twice as fast as an index, which goes through zlib.
    if start <= NEAR or 2 * (stop - start) >= length:
        return Way.RESTART
    return Way.INDEX


class GzipReader:
    """Reads a gzip file, remembering its place between sessions."""

    def __init__(self, path: Path, length: int, *, kept: bool = True) -> None:
        self.path = path
        self.length = length
        self.kept = kept
        self._stream = GzipStream(path)
        self._index: SeekIndex | None = None
        self._looked_for_index = not kept
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def session(self, start: int, stop: int) -> Iterator[Session]:
        """Open a session; others on this file wait for its end."""
        with self._lock:
            position = self._stream.position
            indexed = self._is_indexed(far=not 0 <= start - position <= NEAR)
            way = choose_way(position, start, stop, self.length, indexed=indexed)
            if way is Way.INDEX:
                yield _IndexSession(self)
                return
            stream = self._stream if way is Way.CONTINUE else GzipStream(self.path)
            # A stream whose read failed cannot go on: the next session begins with a new one.
            self._stream = GzipStream(self.path)
            with self.path.open("rb", buffering=0) as file:
                yield _StreamSession(stream, file, self.length)
            self._stream = stream

    def _is_indexed(self, *, far: bool) -> bool:
        """Say whether there is an index, looking for one on disk the first time it would help."""
        if far and not self._looked_for_index and self.length > NEAR:
            self._looked_for_index = True
            self._index = SeekIndex.saved(self.path, self.length)
        return self._index is not None

    def open_index(self) -> SeekIndex:
        """Return the index, built if need be."""
        if self._index is None:
            self._index = SeekIndex.open(self.path, self.length, kept=self.kept)
        return self._index

    def rebuild_index(self) -> SeekIndex:
        """Build the index anew, and put it in the place of the one on disk."""
        self._index = SeekIndex.build(self.path, self.length, kept=self.kept)
        return self._index


class _IndexSession:
    """Reads a gzip file from the points of its index."""

    def __init__(self, reader: GzipReader) -> None:
        self._reader = reader

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill a buffer with the bytes that begin at an offset."""
        index = self._reader.open_index()
        try:
            index.read_into(offset, buffer)
        except FileFormatError:
            if not index.from_disk:
                raise
            # The index may be the damaged one: the file is blamed only without it.
            self._reader.rebuild_index().read_into(offset, buffer)


class _StreamSession:
    """Reads a gzip file forwards."""

    def __init__(self, stream: GzipStream, file: BinaryIO, length: int) -> None:
        self._stream = stream
        self._file = file
        self._length = length

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill a buffer with the bytes that begin at an offset."""
        self._stream.skip_to(self._file, offset)
        self._stream.read_into(self._file, buffer)
        wanted = offset + len(buffer)
        if self._stream.position < wanted:
            raise _cut_off(self._stream.path, wanted, self._stream.position)
        if wanted >= self._length:
            self._stream.finish(self._file)


def _cut_off(path: Path, expected: int, found: int) -> FileFormatError:
    """Word the failure to find all bytes."""
    return FileFormatError(
        f"{path}: cut off: the header promises {expected} bytes at least, the file has {found}. "
        "Fetch or copy it again."
    )


class _Readers:
    """The gzip readers of a process, the least used forgotten first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_key: collections.OrderedDict[tuple[object, ...], GzipReader] = (
            collections.OrderedDict()
        )

    def get(self, path: Path, version: FileVersion, length: int, *, kept: bool) -> GzipReader:
        """Return the reader of one version of a file."""
        key = (path, version, length, kept)
        with self._lock:
            reader = self._by_key.pop(key, None) or GzipReader(path, length, kept=kept)
            self._by_key[key] = reader
            while len(self._by_key) > MOST_READERS:
                self._by_key.popitem(last=False)
            return reader


READERS = PerProcess(_Readers)
"""Module state, because copies of an array that Dask makes share nothing else in a process."""


def shared_reader(
    path: Path, version: FileVersion, length: int, *, kept: bool = True
) -> GzipReader:
    """Return the reader of a gzip file that all arrays of this process share.

    Copies of an array, such as those that Dask makes, thus go on from one another's place.
    """
    return READERS.get().get(path, version, length, kept=kept)
