"""A folder as a host: a mirror on a disk or a network share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from confusius_datasets._index import INDEX_NAME, DatasetIndex, FileEntry
from confusius_datasets._paths import HIDDEN_FOLDER, resolve_below
from confusius_datasets.errors import RemoteConnectionError, RemoteNotFoundError

__all__ = ["DirectorySource", "DirectoryStream"]

PIECE = 1 << 18
"""Bytes given at a time."""


@dataclass(frozen=True, slots=True)
class DirectorySource:
    """The source of a dataset that lies in a folder."""

    root: Path

    def fetch_index(self) -> DatasetIndex:
        """Read the index, or list the files."""
        if not self.root.is_dir():
            raise RemoteNotFoundError(f"There is no folder {self.root}.", url=str(self.root))
        path = self.root / INDEX_NAME
        if path.exists():
            return DatasetIndex.from_json(path.read_bytes(), origin=str(path))
        return DatasetIndex(
            FileEntry(relpath, (self.root / relpath).stat().st_size, None, "")
            for relpath in self._walk()
        )

    def open(
        self,
        entry: FileEntry,
        *,
        start: int = 0,
        stop: int | None = None,
        validator: str | None = None,
    ) -> DirectoryStream:
        """Open a file at an offset."""
        path = resolve_below(self.root, entry.relpath)
        try:
            file = path.open("rb")
        except OSError as error:
            raise RemoteNotFoundError(
                f"{path} cannot be opened: {error.strerror or error}.", url=str(path)
            ) from error
        status = os.fstat(file.fileno())
        present = f"{status.st_mtime_ns}-{status.st_size}"
        if validator not in (None, present):
            start = 0
        file.seek(start)
        left = (status.st_size if stop is None else min(stop, status.st_size)) - start
        return DirectoryStream(file, max(left, 0), start, status.st_size, present)

    def _walk(self) -> Iterator[str]:
        """List the files below the folder."""
        for folder, folders, files in os.walk(self.root):
            folders[:] = [name for name in folders if name != HIDDEN_FOLDER]
            for name in files:
                yield (Path(folder) / name).relative_to(self.root).as_posix()


@dataclass
class DirectoryStream:
    """Bytes of one file of a folder."""

    file: BinaryIO
    left: int
    start: int
    total: int | None
    validator: str | None
    ranges: bool = True

    def __iter__(self) -> Iterator[bytes]:
        while self.left:
            try:
                piece = self.file.read(min(PIECE, self.left))
            except OSError as error:
                raise RemoteConnectionError(f"{self.file.name}: {error}") from error
            if not piece:
                return
            self.left -= len(piece)
            yield piece

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self.file.close()
