"""Several hosts of one dataset: a file is taken from whichever serves it.

The dataset's own index decides what a file is: bytes of a mirror count only when they hash to what
that index says. A mirror is asked for files of the same path and size alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from confusius_datasets._cache import (
    hidden_folder,
    open_regular,
    read_kept,
    remove_kept,
    write_kept,
)
from confusius_datasets._index import Checksum, DatasetIndex, FileEntry
from confusius_datasets._sources.calls import begin_call
from confusius_datasets._sources.closing import Closing
from confusius_datasets._sources.http import HttpClient
from confusius_datasets._sources.protocol import ByteStream, Source
from confusius_datasets._sources.ranges import WHOLE, ByteRange
from confusius_datasets._sources.records import JsonFormat, form_of
from confusius_datasets.errors import CacheError, ChecksumError, DatasetIndexError, SourceError

__all__ = ["MirroredSource"]

FEW_FILES = 10
"""So many files are not worth asking a mirror what it has, unless the first host fails."""

MOST_TRIES = 4
"""Times that one file is tried again because of a host."""

_STRUCTURAL = re.compile(r"((?:^|/)(?:sub|ses)-[^/]+/)(angio|susi)(?=/)")
"""The folder that releases on S3 call otherwise than OSF: directly below a subject or session."""

_OTHER_NAME = {"angio": "susi", "susi": "angio"}

_log = logging.getLogger("confusius_datasets")


@dataclass(frozen=True, slots=True)
class MirroredSource:
    """A dataset that several hosts have.

    Parameters
    ----------
    first : Source
        The host whose index is the dataset's.
    mirrors : tuple of Source
        Others that have its files, in the order in which they are asked.
    """

    first: Source
    mirrors: tuple[Source, ...]

    @property
    def host(self) -> str:
        """That of the first host: its locators are those of the index."""
        return self.first.host

    @property
    def index_name(self) -> str:
        """That of the first host."""
        return self.first.index_name

    @property
    def index_format(self) -> JsonFormat | None:
        """That of the first host, if its index is read in pieces."""
        return form_of(self.first)

    @property
    def variables(self) -> tuple[str, ...]:
        """Those of the first host."""
        return _variables(self.first)

    def find_index_beside(self, root: Path) -> Path | None:
        """Return the index beside a root, if the first host has such."""
        find = getattr(self.first, "find_index_beside", None)
        found: Path | None = find(root) if find else None
        return found

    def list_files(self, client: HttpClient) -> DatasetIndex:
        """List the files of the first host."""
        return self.first.list_files(client)

    def open(
        self,
        entry: FileEntry,
        part: ByteRange = WHOLE,
        *,
        client: HttpClient,
        etag: str | None = None,
    ) -> ByteStream:
        """Open a file, or a part of it, on whichever host has it."""
        return _MirroredCall(self, [entry], None).open(entry, part, client=client, etag=etag)

    def begin(self, entries: Sequence[FileEntry], root: Path | None) -> _MirroredCall:
        """Begin to download files: a host that fails is left alone for all of them."""
        return _MirroredCall(self, entries, root)

    def read_index(self, data: bytes, origin: str) -> DatasetIndex:
        """Read an index as the first host does."""
        return self.first.read_index(data, origin)

    def format_index(self, index: DatasetIndex) -> bytes:
        """Write an index as the first host does."""
        return self.first.format_index(index)

    def usable_mirrors(self) -> tuple[Source, ...]:
        """Return the mirrors that may be asked.

        Where a variable leads one host to another address, the others are left alone unless they
        are led elsewhere too: a test, or a lab without the internet, means its own machines.
        """
        moved = [any(map(os.environ.get, _variables(host))) for host in (self.first, *self.mirrors)]
        if not any(moved):
            return self.mirrors
        return tuple(
            mirror for mirror, is_moved in zip(self.mirrors, moved[1:], strict=True) if is_moved
        )


@dataclass
class _Host:
    """One of the hosts, for the time of a download."""

    source: Source
    left_alone: bool = False
    listed: Mapping[str, FileEntry] | None = None
    listing: threading.Lock = field(default_factory=threading.Lock)

    @property
    def has_limit(self) -> bool:
        """Whether it answers only so many requests in some time."""
        limited: bool = getattr(self.source, "has_limit", True)
        return limited


class _MirroredCall:
    """The download of some files; safe to use from many threads."""

    def __init__(
        self, source: MirroredSource, entries: Sequence[FileEntry], root: Path | None
    ) -> None:
        self._root = root
        self._first = _Host(source.first)
        self._mirrors = [_Host(mirror) for mirror in source.usable_mirrors()]
        self._calls = {
            id(host): begin_call(host.source, entries if host is self._first else (), root)
            for host in (self._first, *self._mirrors)
        }
        self._hosts = self._order(many=len(entries) > FEW_FILES)
        self._lock = threading.Lock()
        self._serving: dict[str, set[int]] = {}  # whose bytes a file has until now
        self._tries: dict[str, int] = {}
        self._client: HttpClient | None = None

    def open(
        self,
        entry: FileEntry,
        part: ByteRange = WHOLE,
        *,
        client: HttpClient,
        etag: str | None = None,
    ) -> ByteStream:
        """Open a file, or a part of it, on the first of the hosts that gives it."""
        # Nothing but a hash of the dataset's own index tells whether a mirror's bytes are right.
        if entry.checksum is None or not self._mirrors:
            return self._calls[id(self._first)].open(entry, part, client=client, etag=etag)
        self._client = client
        while True:
            host, theirs, is_last = self._choose(entry, client)
            try:
                stream = self._calls[id(host)].open(theirs, part, client=client)
            except SourceError as error:
                # Others may have left the host alone meanwhile, which makes it no last one.
                if is_last or not self._has_other(entry, host, client):
                    raise
                self._leave(host, error)
                continue
            with self._lock:
                self._serving.setdefault(entry.relpath, set()).add(id(host))
            return _UntaggedStream(stream)

    def give_up(self, entry: FileEntry, error: Exception) -> bool:
        """Leave the host alone whose bytes were wrong, or did not come."""
        with self._lock:
            serving = self._serving.pop(entry.relpath, set())
            tries = self._tries[entry.relpath] = self._tries.get(entry.relpath, 0) + 1
        if not serving or tries > MOST_TRIES or self._client is None:
            return False
        if isinstance(error, ChecksumError) and len(serving) > 1:
            return True  # whose bytes were wrong is not known: the next try has one host alone
        host = next(host for host in self._hosts if id(host) in serving)
        if not self._has_other(entry, host, self._client):
            return False
        self._leave(host, error)
        return True

    def _order(self, *, many: bool) -> list[_Host]:
        """Put first who shall be asked first: for many files, a host without a limit."""
        free = [host for host in self._mirrors if not host.has_limit]
        others = [host for host in self._mirrors if host.has_limit]
        if many and self._first.has_limit:
            return [*free, self._first, *others]
        return [self._first, *free, *others]

    def _choose(self, entry: FileEntry, client: HttpClient) -> tuple[_Host, FileEntry, bool]:
        """Choose who is asked for a file, what it is called there, and whether nobody is left."""
        for host in self._hosts:
            if not host.left_alone and (theirs := self._find(host, entry, client)) is not None:
                return host, theirs, False
        return self._first, entry, True  # the dataset's own host has the last word

    def _has_other(self, entry: FileEntry, host: _Host, client: HttpClient) -> bool:
        """Say whether another host can be asked for a file."""
        return any(
            other is not host
            and not other.left_alone
            and self._find(other, entry, client) is not None
            for other in self._hosts
        )

    def _find(self, host: _Host, entry: FileEntry, client: HttpClient) -> FileEntry | None:
        """Return what a file is called on a host, if it has one of that path and size."""
        if host is self._first:
            return entry
        with host.listing:
            if host.listed is None:
                try:
                    host.listed = self._list(host.source, client)
                except (SourceError, DatasetIndexError) as error:
                    host.listed = {}
                    self._leave(host, error)
            return _match(host.listed, entry)

    def _list(self, mirror: Source, client: HttpClient) -> DatasetIndex:
        """List the files of a mirror, once for each index of the dataset."""
        root, name = self._root, self._kept_listing(mirror)
        for content in read_kept(root, name) if root and name else ():
            with contextlib.suppress(DatasetIndexError):
                return mirror.read_index(content, str(hidden_folder(cast("Path", root)) / name))
        # The first host may well be there: nobody shall wait long for another one.
        policy = replace(client.policy, retries=min(client.policy.retries, 1))
        listed = mirror.list_files(client.with_policy(policy))
        if root and name:
            remove_kept(root, f"mirror-{mirror.host}-")
            with contextlib.suppress(CacheError):  # a folder that is only read
                write_kept(root, name, mirror.format_index(listed))
        return listed

    def _kept_listing(self, mirror: Source) -> str:
        """Return the name of the listing of a mirror, while the index is the same, or nothing."""
        if self._root is None:
            return ""
        name = self._first.source.index_name
        with contextlib.suppress(OSError):
            with open_regular(self._root / name) as file:
                digest = hashlib.sha1(file.read(), usedforsecurity=False)
            addresses = [os.environ.get(variable, "") for variable in _variables(mirror)]
            digest.update(repr((mirror, addresses)).encode())
            return f"mirror-{mirror.host}-{digest.hexdigest()[:16]}.json"
        return ""

    def _leave(self, host: _Host, error: Exception) -> None:
        """Leave a host alone from now on, and say so, once."""
        with self._lock:
            if host.left_alone:
                return
            host.left_alone = True
        _log.warning(
            "The host %r is left alone for the rest of this call, other hosts have the files: %s",
            host.source.host,
            error,
        )


def _match(listed: Mapping[str, FileEntry], entry: FileEntry) -> FileEntry | None:
    """Find the file of a mirror that has the same path, up to the name of one folder, and size."""
    swapped = _STRUCTURAL.sub(lambda match: match[1] + _OTHER_NAME[match[2]], entry.relpath)
    for relpath in (entry.relpath, swapped):
        theirs = listed.get(relpath)
        if theirs is not None and theirs.size is not None and theirs.size == entry.size:
            return replace(theirs, local=None)
    return None


def _variables(source: Source) -> tuple[str, ...]:
    """Return the variables that move a source to another address."""
    found: tuple[str, ...] = getattr(source, "variables", ())
    return found


@dataclass
class _UntaggedStream(Closing):
    """A stream of one of several hosts: its entity tag means nothing to the others."""

    stream: ByteStream
    etag: str | None = None
    checksum: Checksum | None = None

    @property
    def start(self) -> int:
        """Offset of the first byte."""
        return self.stream.start

    @property
    def total(self) -> int | None:
        """Size of the whole file, when the host says it."""
        return self.stream.total

    @property
    def ranges(self) -> bool:
        """Whether the host honours ranges."""
        return self.stream.ranges

    @property
    def url(self) -> str | None:
        """Where the bytes come from."""
        return self.stream.url

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.stream)

    def close(self) -> None:
        """Free the connection."""
        self.stream.close()
