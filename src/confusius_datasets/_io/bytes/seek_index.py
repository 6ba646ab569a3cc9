"""The seek index of a gzip file: points from which decompression can start, kept on disk.

It is kept in the hidden folder of the dataset's root, or in that of the cache for other files. It
only ever saves time: one that is stale, damaged or cannot be written is silently made anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from pathlib import Path

from indexed_gzip import IndexedGzipFile

from confusius_datasets._cache import cache_folder, hidden_folder, lock, read_kept, write_kept
from confusius_datasets._io.files import find_roots
from confusius_datasets._text import shorten
from confusius_datasets.errors import CacheError, FileFormatError

__all__ = ["SeekIndex", "index_path"]

SMALLEST_SPACING = 1 << 20
"""Decompressed bytes between two points: each takes 32 KiB, and half of this is read in vain."""

MOST_POINTS = 512
"""With more, an index would take tens of megabytes of memory; the spacing grows instead."""

READ_BUFFER = 1 << 20

FORMAT = b"confusius seek index 2\n"

FOLDER = "seek"
"""Folder in the hidden one for seek indexes."""

TRAILER_NBYTES = 8
"""The last bytes of a gzip file: checksum and length of what was compressed."""


class SeekIndex:
    """Reads a gzip file at any offset."""

    from_disk = False

    def __init__(self, path: Path, length: int) -> None:
        self.path = path
        spacing = max(SMALLEST_SPACING, length // MOST_POINTS)
        self._file = IndexedGzipFile(str(path), spacing=spacing, buffer_size=READ_BUFFER)

    @classmethod
    def open(cls, path: Path, length: int, *, kept: bool = True) -> SeekIndex:
        """Take the index from disk, or build it and leave it there for the next time."""
        if not kept:
            return cls.build(path, length, kept=False)
        # Another process may be building it: waiting is then cheaper than building it twice.
        root, name = _place_of(path)
        with lock(root, f"{name}.lock"):
            return cls.saved(path, length) or cls.build(path, length)

    @classmethod
    def build(cls, path: Path, length: int, *, kept: bool = True) -> SeekIndex:
        """Go through the file once to set the points."""
        head = _head(path)  # before reading: an index of a file replaced meanwhile fits none
        index = cls(path, length)
        try:
            index._file.build_full_index()
        except (OSError, ValueError) as error:
            raise FileFormatError(f"{path}: damaged gzip data: {shorten(error)}") from error
        if kept:
            index._save(head)
        return index

    @classmethod
    def saved(cls, path: Path, length: int) -> SeekIndex | None:
        """Take the index from disk, if a good one is there."""
        root, name = _place_of(path)
        head = _head(path)
        for content in read_kept(root, f"{FOLDER}/{name}"):
            digest, points = content[len(head) : len(head) + 32], content[len(head) + 32 :]
            if content.startswith(head) and hashlib.sha256(points).digest() == digest:
                return cls._of_points(path, length, points)
        return None

    @classmethod
    def _of_points(cls, path: Path, length: int, points: bytes) -> SeekIndex | None:
        index = cls(path, length)
        try:
            index._file.import_index(fileobj=io.BytesIO(points))
        except (OSError, ValueError):
            return None
        index.from_disk = True
        return index

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill a buffer with the bytes that begin at an offset."""
        try:
            self._file.seek(offset)
            filled = 0
            while filled < len(buffer) and (count := self._file.readinto(buffer[filled:])):
                filled += count
        except (OSError, ValueError, EOFError) as error:
            raise FileFormatError(f"{self.path}: damaged gzip data: {shorten(error)}") from error
        if filled < len(buffer):
            raise FileFormatError(
                f"{self.path}: cut off: expected {len(buffer)} bytes at {offset}, found {filled}."
            )

    def _save(self, head: bytes) -> None:
        """Leave the index for the next time, where that is possible."""
        points = io.BytesIO()
        self._file.export_index(fileobj=points)
        content = points.getvalue()
        root, name = _place_of(self.path)
        # Suppressed for a read-only cache: there, the index lives as long as this process.
        with contextlib.suppress(CacheError):
            whole = head + hashlib.sha256(content).digest() + content
            write_kept(root, f"{FOLDER}/{name}", whole)


def index_path(path: Path) -> Path:
    """Say where the seek index of a file is kept."""
    root, name = _place_of(path)
    return hidden_folder(root) / FOLDER / name


def _place_of(path: Path) -> tuple[Path, str]:
    """Return in which root the seek index of a file is kept, and its name."""
    roots = find_roots(path)
    # Relative to the root, so that a cache that is mounted elsewhere keeps its indexes.
    named = path.relative_to(roots[-1]) if roots else path
    key = hashlib.sha256(named.as_posix().encode()).hexdigest()[:32]
    return roots[-1] if roots else cache_folder(), f"{key}.gzidx"


def _head(path: Path) -> bytes:
    """Make the header of a saved index: format, and what tells this gzip file from any other."""
    with path.open("rb", buffering=0) as file:
        status = os.fstat(file.fileno())
        file.seek(-min(TRAILER_NBYTES, status.st_size), os.SEEK_END)
        trailer = file.read(TRAILER_NBYTES)
    # `cp -p`, `rsync -t` and tar give another recording the same size and time of change.
    numbers = (status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns)
    return FORMAT + f"{' '.join(map(str, numbers))} {trailer.hex()}\n".encode()
