"""A folder as a host: a mirror on a disk or a network share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, ClassVar

from confusius_datasets._index import INDEX_NAME, Checksum, DatasetIndex, FileEntry
from confusius_datasets._paths import INDEX_NAMES, resolve_below, walk_folder
from confusius_datasets._sources.closing import Closing
from confusius_datasets._sources.http import HttpClient
from confusius_datasets._sources.osf import OSF_FORMAT
from confusius_datasets._sources.ranges import WHOLE, ByteRange, slice_of
from confusius_datasets._sources.records import JsonFormat
from confusius_datasets._text import shorten
from confusius_datasets.errors import RemoteConnectionError, RemoteNotFoundError

__all__ = ["DirectorySource", "DirectoryStream"]

PIECE_NBYTES = 1 << 18
"""Bytes given at a time."""


@dataclass(frozen=True, slots=True)
class DirectorySource:
    """The source of a dataset that lies in a folder."""

    root: Path

    host: ClassVar[str] = "directory"
    index_name: ClassVar[str] = INDEX_NAME
    has_limit: ClassVar[bool] = False
    finds_by_path: ClassVar[bool] = True
    index_format: ClassVar[JsonFormat] = OSF_FORMAT

    def list_files(self, client: HttpClient) -> DatasetIndex:
        """Read the index, or list the files."""
        if not self.root.is_dir():
            raise RemoteNotFoundError(f"There is no folder {self.root}.", url=str(self.root))
        path = self.root / INDEX_NAME
        if path.exists():
            return self.read_index(path.read_bytes(), str(path))
        found = walk_folder(self.root, into_stores=True).files - INDEX_NAMES
        return DatasetIndex(
            FileEntry(relpath, (self.root / relpath).stat().st_size) for relpath in found
        )

    def open(
        self,
        entry: FileEntry,
        part: ByteRange = WHOLE,
        *,
        client: HttpClient,
        etag: str | None = None,
    ) -> DirectoryStream:
        """Open a file, or a part of it."""
        path = resolve_below(self.root, entry.relpath)
        try:
            file = path.open("rb")
        except OSError as error:
            raise RemoteNotFoundError(
                f"{path} cannot be opened: {error.strerror or error}.", url=str(path)
            ) from error
        status = os.fstat(file.fileno())
        # A file that is replaced while it is read gets another time, as with a host's tag.
        current = f'"{status.st_mtime_ns}-{status.st_size}"'
        start, stop = slice_of(part if etag in (None, current) else WHOLE, status.st_size)
        file.seek(start)
        return DirectoryStream(file, stop - start, start, status.st_size, current)

    def read_index(self, data: bytes, origin: str) -> DatasetIndex:
        """Read an index; a mirror has that of the ConfUSIus package, and so OSF's locators."""
        return OSF_FORMAT.read(data, origin)

    def format_index(self, index: DatasetIndex) -> bytes:
        """Write an index in the same form."""
        return OSF_FORMAT.format(index)


@dataclass
class DirectoryStream(Closing):
    """Bytes of one file of a folder."""

    file: BinaryIO
    left: int
    start: int
    total: int | None
    etag: str | None
    ranges: bool = True
    checksum: Checksum | None = None

    @property
    def url(self) -> str:
        """The path of the file."""
        return str(self.file.name)

    def __iter__(self) -> Iterator[bytes]:
        while self.left:
            try:
                piece = self.file.read(min(PIECE_NBYTES, self.left))
            except OSError as error:
                raise RemoteConnectionError(
                    f"{self.url}: {shorten(error)}", url=self.url
                ) from error
            if not piece:
                return
            self.left -= len(piece)
            yield piece

    def close(self) -> None:
        """Close the file."""
        self.file.close()
