"""What tells whether a file still is the one that was opened."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from confusius_datasets.errors import FileFormatError, MissingFileError

__all__ = ["FileVersion", "Origin"]

ENDS_NBYTES = 1 << 12
"""Bytes at each end of a file that are compared where its size and times do not decide."""


@dataclass(frozen=True, slots=True)
class FileVersion:
    """What tells one content of a file from another without reading all of it."""

    size: int
    mtime_ns: int
    inode: int
    ctime_ns: int
    ends: bytes

    @classmethod
    def of(cls, path: Path) -> FileVersion:
        """Look at a file."""
        with path.open("rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            ends = file.read(ENDS_NBYTES)
            if status.st_size > ENDS_NBYTES:
                file.seek(max(ENDS_NBYTES, status.st_size - ENDS_NBYTES))
                ends += file.read(ENDS_NBYTES)
        digest = hashlib.blake2b(ends, digest_size=16).digest()
        return cls(status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns, digest)

    def is_of(self, path: Path) -> bool:
        """Say whether a file still has this content, as far as can be told."""
        status = path.stat()
        if (status.st_size, status.st_mtime_ns) != (self.size, self.mtime_ns):
            return False
        if (status.st_ino, status.st_ctime_ns) == (self.inode, self.ctime_ns):
            return True
        # `chmod` and hard links change the one, some network file systems the other, and the data
        # are the same; `cp -p` and `rsync -t` keep size and mtime, and the data are not.
        return FileVersion.of(path).ends == self.ends


@dataclass(frozen=True, slots=True)
class Origin:
    """The file or store that an array was opened on, as it was then."""

    path: Path
    files: tuple[tuple[Path, FileVersion], ...]

    @classmethod
    def of(cls, path: Path, files: Iterable[Path] | None = None) -> Origin:
        """Look at a file, or at those files of a store that change whenever it is written anew."""
        named = [path] if files is None else files
        return cls(path, tuple((file, FileVersion.of(file)) for file in named))

    def check(self) -> None:
        """Raise unless what is read is what was opened."""
        for path, version in self.files:
            try:
                if version.is_of(path):
                    continue
                size = path.stat().st_size
            except FileNotFoundError as error:
                raise MissingFileError(
                    f"{self.path}: the file is gone since it was opened. Fetch it again."
                ) from error
            change = (
                "it was written again"
                if size == version.size or path != self.path
                else f"it had {version.size} bytes and has {size}"
            )
            raise FileFormatError(
                f"{self.path}: the file changed since it was opened: {change}. Load it again."
            )
