"""Data folders of others, `CONFUSIUS_MIRRORS`: what one of them has is copied from there.

They are only read, and links in them are not followed out of them. As with every mirror, bytes
count only when they hash to what the dataset's own index says.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from confusius_datasets._cache import open_regular
from confusius_datasets._index import DatasetIndex, FileEntry
from confusius_datasets._paths import absolute_path
from confusius_datasets._sources.calls import SourceCall, begin_call
from confusius_datasets._sources.directory import DirectoryStream
from confusius_datasets._sources.http import HttpClient
from confusius_datasets._sources.protocol import ByteStream, Source
from confusius_datasets._sources.ranges import WHOLE, ByteRange, slice_of
from confusius_datasets._sources.records import find_index_file, read_opened_index
from confusius_datasets._sources.s3 import S3Source
from confusius_datasets._text import warn_user
from confusius_datasets.errors import (
    CacheError,
    DatasetIndexError,
    RemoteConnectionError,
    RemoteNotFoundError,
)

__all__ = [
    "find_index_nearby",
    "find_version_nearby",
    "has_mirror_folders",
    "with_mirror_folders",
]

VARIABLE = "CONFUSIUS_MIRRORS"
"""Environment variable that names the folders, separated as those of `PATH`."""

_log = logging.getLogger("confusius_datasets")


def has_mirror_folders() -> bool:
    """Say whether the variable is set."""
    return bool(os.environ.get(VARIABLE))


def with_mirror_folders(source: Source, folder: str) -> Source:
    """Let the files of a dataset come from the mirrors first, where its root is called `folder`."""
    mirrors = _find_mirrors()
    return _NearbySource(source, mirrors, folder) if mirrors else source


def find_index_nearby(source: Source, folder: str) -> DatasetIndex | None:
    """Return the dataset's index as the first mirror that has one knows it."""
    for mirror in _find_mirrors():
        path = find_index_file(source, mirror / folder)
        try:
            with _open_inside(mirror, path.relative_to(mirror).as_posix()) as file:
                index = read_opened_index(source, file, str(path))
        except FileNotFoundError:
            continue
        except (OSError, DatasetIndexError) as error:
            _log.warning("The index of the mirror %s is passed over: %s", mirror, error)
            continue
        # Which older versions the mirror holds says nothing of the folder it is read for.
        older = [replace(entry, local=None) for entry in index.values() if entry.local]
        return index.updated(older) if older else index
    return None


def find_version_nearby(releases: S3Source, folder: str) -> str | None:
    """Return the newest release of a dataset of which a mirror has the index."""
    known = {
        root.name
        for mirror in _find_mirrors()
        for root in _list_folder(mirror / folder)
        if _has_index(mirror, replace(releases, version=root.name), root)
    }
    return max(known, key=_order_version, default=None)


def _list_folder(folder: Path) -> list[Path]:
    """List what is in a folder, which may not be there."""
    with contextlib.suppress(OSError):
        return list(folder.iterdir())
    return []


def _has_index(mirror: Path, source: Source, root: Path) -> bool:
    """Say whether the index of a dataset can be opened in a mirror."""
    with contextlib.suppress(OSError):
        path = find_index_file(source, root)
        _open_inside(mirror, path.relative_to(mirror).as_posix()).close()
        return True
    return False


def _order_version(version: str) -> list[tuple[int, str]]:
    """Give what orders versions by their numbers: 1.9, 1.10rc1, 1.10, 1.10.1."""
    parts = re.findall(r"[0-9]+|[A-Za-z]+", version)
    ordered = [(int(part), "") if part.isdecimal() else (-2, part) for part in parts]
    return [*ordered, (-1, "")]  # the end: after a word, before a number


def _find_mirrors() -> tuple[Path, ...]:
    """Return the folders that the variable names, and warn of those that are not there."""
    found = []
    for text in filter(None, os.environ.get(VARIABLE, "").split(os.pathsep)):
        folder = Path(text)
        with contextlib.suppress(CacheError):  # `~` of a user who does not exist
            folder = absolute_path(text)
        # Not `Path.is_dir`: it raises where one may not look.
        if os.path.isdir(folder):  # noqa: PTH112
            found.append(folder)
        else:
            warn_user(
                f"{VARIABLE} names {text!r}, and there is no folder {folder}, so nothing is "
                "copied from it. Correct the name, or take it out."
            )
    return tuple(found)


def _open_inside(mirror: Path, relpath: str) -> BinaryIO:
    """Open a file of a mirror, unless a link leads out of the mirror."""
    path = mirror / relpath
    real = os.path.realpath(path)
    if not Path(real).is_relative_to(os.path.realpath(mirror)):
        raise PermissionError(f"{path} is a link that leads out of {mirror}")
    return open_regular(Path(real))


@dataclass(frozen=True, slots=True)
class _NearbySource:
    """A dataset whose files may be in data folders of others.

    Everything but the bytes is a matter of the source that it was made of.
    """

    source: Source
    mirrors: tuple[Path, ...]
    folder: str

    @property
    def host(self) -> str:
        return self.source.host

    @property
    def index_name(self) -> str:
        return self.source.index_name

    def list_files(self, client: HttpClient) -> DatasetIndex:
        return self.source.list_files(client)

    def open(
        self,
        entry: FileEntry,
        part: ByteRange = WHOLE,
        *,
        client: HttpClient,
        etag: str | None = None,
    ) -> ByteStream:
        return self.begin([entry], None).open(entry, part, client=client, etag=etag)

    def begin(self, entries: Sequence[FileEntry], root: Path | None) -> _NearbyCall:
        return _NearbyCall(self.mirrors, self.folder, begin_call(self.source, entries, root))

    def read_index(self, data: bytes, origin: str) -> DatasetIndex:
        return self.source.read_index(data, origin)

    def format_index(self, index: DatasetIndex) -> bytes:
        return self.source.format_index(index)


class _NearbyCall:
    """The download of some files; safe to use from many threads."""

    def __init__(self, mirrors: Sequence[Path], folder: str, host: SourceCall) -> None:
        self._mirrors = mirrors
        self._folder = folder
        self._host = host
        self._lock = threading.Lock()
        self._serving: dict[str, set[Path]] = {}  # whose bytes a file has until now
        self._unfit: set[tuple[Path, str]] = set()
        self._told: set[Path] = set()

    def open(
        self,
        entry: FileEntry,
        part: ByteRange = WHOLE,
        *,
        client: HttpClient,
        etag: str | None = None,
    ) -> ByteStream:
        """Open a file, or a part of it, in the first mirror that has it, or else on the host."""
        # Nothing but a hash of the dataset's own index tells whether a mirror's bytes are right.
        for mirror in self._mirrors if entry.checksum is not None else ():
            if (mirror, entry.relpath) in self._unfit:
                continue
            if (stream := self._open_copy(mirror, entry, part)) is not None:
                with self._lock:
                    self._serving.setdefault(entry.relpath, set()).add(mirror)
                return stream
        return self._host.open(entry, part, client=client, etag=etag)

    def give_up(self, entry: FileEntry, error: Exception) -> bool:
        """Leave the copies alone that the wrong bytes came from, or none at all."""
        with self._lock:
            serving = self._serving.pop(entry.relpath, set())
        for mirror in serving:
            self._pass_over(mirror, entry, error)
        return bool(serving) or self._host.give_up(entry, error)

    def _open_copy(self, mirror: Path, entry: FileEntry, part: ByteRange) -> ByteStream | None:
        """Open the copy of a mirror, if it has one of the right size."""
        try:
            file = _open_inside(mirror, f"{self._folder}/{entry.relpath}")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            self._pass_over(mirror, entry, error)
            return None
        size = os.fstat(file.fileno()).st_size
        if entry.size not in (None, size):
            file.close()
            self._pass_over(mirror, entry, f"it has {size} bytes instead of {entry.size}")
            return None
        start, stop = slice_of(part, size)
        file.seek(start)
        return _CopyStream(file, stop - start, start, size, None)

    def _pass_over(self, mirror: Path, entry: FileEntry, reason: object) -> None:
        """Leave a copy alone from now on, and say so of the first one of a mirror."""
        with self._lock:
            self._unfit.add((mirror, entry.relpath))
            is_first = mirror not in self._told
            self._told.add(mirror)
        if is_first:
            _log.warning(
                "%s is passed over, as are other such copies of this mirror: %s",
                mirror / self._folder / entry.relpath,
                reason,
            )


class _CopyStream(DirectoryStream):
    """Bytes of a copy. A disk that fails is not asked again, as a host would be."""

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from super().__iter__()
        except RemoteConnectionError as error:
            raise RemoteNotFoundError(str(error), url=self.url) from error
