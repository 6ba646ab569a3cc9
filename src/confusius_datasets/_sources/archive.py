"""A dataset in a zip archive on any other source: it is never downloaded whole.

What an archive is made of stands in the three files `zip_*.py`: its bytes by ranges, its directory,
and a member. Here they become a source, and small neighbours are read together.
"""

from __future__ import annotations

import contextlib
import json
import threading
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from confusius_datasets._index import DatasetIndex, FileEntry
from confusius_datasets._sources.http import HttpClient
from confusius_datasets._sources.memory import MemoryStream
from confusius_datasets._sources.protocol import ByteStream, Source
from confusius_datasets._sources.ranges import WHOLE, ByteRange, FromTo, slice_of
from confusius_datasets._sources.records import JsonFormat, parse_json_object
from confusius_datasets._sources.zip_bytes import RemoteArchive, read_exactly
from confusius_datasets._sources.zip_directory import ZIP_HOST, Member, read_directory
from confusius_datasets._sources.zip_members import header_nbytes, inflate, open_member
from confusius_datasets._text import quote_short
from confusius_datasets.errors import DatasetIndexError, SourceError

__all__ = ["ArchiveSource"]

SMALL_NBYTES = 1 << 18
"""Size up to which a member is read together with its neighbours,"""

GAP_NBYTES = 1 << 16
"""with so many unwanted bytes between two,"""

GROUP_NBYTES = 1 << 22
"""and so many in one request."""

HELD_NBYTES = 1 << 26
"""Bytes of small members that wait in memory."""

ZIP_FORMAT = JsonFormat(host=ZIP_HOST, locator_key="member")


@dataclass(frozen=True, slots=True)
class ArchiveSource:
    """A dataset in a zip archive.

    Parameters
    ----------
    container : Source
        The source that has the archive.
    archive : FileEntry
        The archive, with the locator that the container needs; if it has none and needs one, the
        container is listed once.
    prefix : str, optional
        Folder in the archive that is the root of the dataset, with a slash at its end. If not
        provided, the one that has the first `dataset_description.json`, or else all of it.
    """

    container: Source
    archive: FileEntry
    prefix: str | None = None

    host: ClassVar[str] = ZIP_HOST
    index_name: ClassVar[str] = "dataverse_zip_index.json"

    @property
    def remote(self) -> RemoteArchive:
        """The bytes of the archive."""
        return RemoteArchive(self.container, self.archive)

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables that move the container to another address."""
        found: tuple[str, ...] = getattr(self.container, "variables", ())
        return found

    def list_files(self, client: HttpClient) -> DatasetIndex:
        """Read the directory of the archive."""
        client.recall(("zip starts", self.remote), dict[int, int], anew=True)
        return client.recall(
            ("zip", self), lambda: read_directory(self.remote, self.prefix, client), anew=True
        )

    def open(
        self,
        entry: FileEntry,
        part: ByteRange = WHOLE,
        *,
        client: HttpClient,
        etag: str | None = None,
    ) -> ByteStream:
        """Open a member, or a part of it; one that is compressed begins at its start."""
        member = self.find_member(entry, client)
        if entry.size == 0:
            return MemoryStream(b"", 0, 0, url=self.archive.relpath)
        size = member.nbytes if entry.size is None else entry.size
        if member.method == zipfile.ZIP_DEFLATED:
            return open_member(self.remote, member, size, (0, size), client)
        if etag is not None:
            stream = open_member(self.remote, member, size, slice_of(part, size), client)
            if stream.etag == etag or stream.start == 0:
                return stream
            stream.close()  # another archive by now
            part = WHOLE
        return open_member(self.remote, member, size, slice_of(part, size), client)

    def begin(self, entries: Sequence[FileEntry], root: Path | None) -> _ArchiveCall:
        """Begin to download members: small neighbours come together."""
        return _ArchiveCall(self, entries)

    def read_index(self, data: bytes, origin: str) -> DatasetIndex:
        """Read a `dataverse_zip_index.json`; that of ConfUSIus has no places in the archive."""
        document = parse_json_object(data, origin)
        records = {relpath: _read_crc(record, origin) for relpath, record in document.items()}
        return ZIP_FORMAT.parse(records, origin)

    def format_index(self, index: DatasetIndex) -> bytes:
        """Write a `dataverse_zip_index.json`, with CRCs as numbers, as ConfUSIus has it."""
        document = {
            relpath: _write_crc(record) for relpath, record in ZIP_FORMAT.describe(index).items()
        }
        return f"{json.dumps(document, indent=2, sort_keys=True)}\n".encode()

    def find_member(self, entry: FileEntry, client: HttpClient) -> Member:
        """Find a member by its entry, or by the directory where the entry does not say."""
        locator = entry.locators.get(self.host)
        if locator is None:
            listed = client.recall(
                ("zip", self), lambda: read_directory(self.remote, self.prefix, client)
            )
            known = listed.get(entry.relpath)
            if known is None:
                raise self.remote.error(f"has no member {entry.relpath!r}")
            locator = known.locators[self.host]
        return Member.parse(locator, entry.relpath)


# Many members at once.


@dataclass(eq=False)
class _Group:
    """Neighbours that are read in one request."""

    members: dict[str, tuple[FileEntry, Member]]
    reading: threading.Lock = field(default_factory=threading.Lock)
    data: bytes | None = None
    etag: str | None = None
    url: str | None = None
    given: int = 0

    @property
    def span(self) -> tuple[int, int]:
        """Where they begin and end in the archive."""
        places = [member for _, member in self.members.values()]
        return places[0].offset, places[-1].stop


class _ArchiveCall:
    """The download of some members; safe to use from many threads."""

    def __init__(self, source: ArchiveSource, entries: Sequence[FileEntry]) -> None:
        self._source = source
        self._entries = entries
        self._lock = threading.Lock()
        self._groups: dict[str, _Group] | None = None
        self._waiting: list[_Group] = []
        self._held = 0

    def open(
        self,
        entry: FileEntry,
        part: ByteRange = WHOLE,
        *,
        client: HttpClient,
        etag: str | None = None,
    ) -> ByteStream:
        """Open a member: out of what was read with its neighbours, or by itself."""
        group = self._take_from_group(entry, client)
        if group is None:
            return self._source.open(entry, part, client=client, etag=etag)
        while not group.reading.acquire(blocking=False):
            # While others read this group, the next one can be read.
            if not self._read_another(client):
                group.reading.acquire()
                break
        try:
            self._read(group, client)
        finally:
            group.reading.release()
        given = self._give(group, entry, part, etag)
        if given is None:  # spoilt on the way, or another archive
            return self._source.open(entry, part, client=client, etag=etag)
        return given

    def give_up(self, entry: FileEntry, error: Exception) -> bool:
        """Say that there is no other host."""
        return False

    def _take_from_group(self, entry: FileEntry, client: HttpClient) -> _Group | None:
        """Return the group of a member that is asked for the first time."""
        with self._lock:
            if self._groups is None:
                self._groups = self._make_groups(client)
                self._waiting = list(dict.fromkeys(self._groups.values()))
            # Whoever asks a second time does not believe what came the first time.
            return self._groups.pop(entry.relpath, None)

    def _make_groups(self, client: HttpClient) -> dict[str, _Group]:
        """Put small neighbours together."""
        small = []
        for entry in self._entries:
            if entry.size and entry.size <= SMALL_NBYTES:
                with contextlib.suppress(DatasetIndexError):  # told to whoever opens it
                    small.append((entry, self._source.find_member(entry, client)))
        small.sort(key=lambda pair: pair[1].offset)
        groups: list[_Group] = []
        for entry, member in small:
            if member.stop - member.offset > GROUP_NBYTES:
                continue
            start, stop = groups[-1].span if groups else (0, 0)
            if (
                groups
                and 0 <= member.offset - stop <= GAP_NBYTES
                and member.stop - start <= GROUP_NBYTES
            ):
                groups[-1].members[entry.relpath] = (entry, member)
            else:
                groups.append(_Group({entry.relpath: (entry, member)}))
        shared = [group for group in groups if len(group.members) > 1]
        return {relpath: group for group in shared for relpath in group.members}

    def _read_another(self, client: HttpClient) -> bool:
        """Read a group that nobody has come to yet, unless much is waiting already."""
        with self._lock:
            if not self._waiting or self._held > HELD_NBYTES:
                return False
            group = self._waiting.pop(0)
        if group.reading.acquire(blocking=False):
            try:
                self._read(group, client)
            except SourceError:
                pass  # whoever needs it asks again, and learns what is wrong
            finally:
                group.reading.release()
        return True

    def _read(self, group: _Group, client: HttpClient) -> None:
        """Read a group, if that has not been done."""
        if group.data is not None:
            return
        start, stop = group.span
        with self._source.remote.open(FromTo(start, stop), client) as stream:
            group.data = read_exactly(self._source.remote, stream, start, stop)
            group.etag, group.url = stream.etag, stream.url
        with self._lock:
            self._held += len(group.data)
            if group in self._waiting:
                self._waiting.remove(group)

    def _give(
        self, group: _Group, entry: FileEntry, part: ByteRange, etag: str | None
    ) -> MemoryStream | None:
        """Cut a member out of its group, if its header is the one that it should have."""
        _, member = group.members[entry.relpath]
        first = member.offset - group.span[0]
        held = (group.data or b"")[first : first + member.stop - member.offset]
        with self._lock:
            group.given += 1
            if group.given == len(group.members):
                self._held -= len(group.data or b"")
        begin = header_nbytes(member, held)
        if begin is None:
            return None
        packed, size = held[begin : begin + member.nbytes], entry.size or 0
        if member.method == zipfile.ZIP_DEFLATED:
            packed = b"".join(inflate(self._source.remote, iter([packed]), member, size, group.url))
        start, stop = slice_of(part if etag in (None, group.etag) else WHOLE, size)
        return MemoryStream(packed[start:stop], start, size, group.etag, url=group.url)


def _read_crc(record: Any, origin: str) -> Any:
    """Write the CRC of a record as a checksum of ours."""
    if not isinstance(record, dict):
        return record
    found = dict(record)
    if (crc := found.pop("crc", None)) is not None:
        if not isinstance(crc, int) or isinstance(crc, bool) or not 0 <= crc < 1 << 32:
            raise DatasetIndexError(
                f"{origin}: an entry has a 'crc' that must be a number of 32 bits (found "
                f"{quote_short(crc)})."
            )
        found["crc32"] = f"{crc:08x}"
    if "newer" in found:
        found["newer"] = _read_crc(found["newer"], origin)
    return found


def _write_crc(record: Mapping[str, Any]) -> dict[str, Any]:
    """Write a checksum of ours as the CRC of a record."""
    found = {key: value for key, value in record.items() if (key, value) != ("md5", None)}
    if (crc := found.pop("crc32", None)) is not None:
        found["crc"] = int(crc, 16)
    if "newer" in found:
        found["newer"] = _write_crc(found["newer"])
    return found
