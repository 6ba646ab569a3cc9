"""A zip archive on any other source, read by ranges: it is never downloaded whole.

`zipfile` reads the directory at the archive's end. What it says is checked before anything is
taken from it: members that overlap, expand without measure, are encrypted, or are links make the
archive unusable. A member's own header has to say the same as the directory.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import stat
import struct
import threading
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

from confusius_datasets._index import Checksum, DatasetIndex, FileEntry
from confusius_datasets._sources.closing import Closing
from confusius_datasets._sources.http import HttpClient
from confusius_datasets._sources.memory import MemoryStream
from confusius_datasets._sources.protocol import ByteStream, Source
from confusius_datasets._sources.ranges import WHOLE, ByteRange, From, FromTo, Last, slice_of
from confusius_datasets._sources.records import JsonFormat, make_index, parse_json_object
from confusius_datasets._text import quote_short
from confusius_datasets.errors import DatasetIndexError, RemoteConnectionError, SourceError

__all__ = ["ArchiveSource"]

TAIL_NBYTES = (1 << 16) + 128
"""Bytes at the end that are read first: the longest comment, and the records before it."""

LARGEST_DIRECTORY_NBYTES = 1 << 28
"""Bytes of a directory; one of a million members has about 100 MB."""

HEADER_NBYTES = 30
"""Bytes of a member's header without its name and extra field."""

EXTRA_NBYTES = 1 << 10
"""Bytes of an extra field that are read along with a header; longer ones cost another request."""

MOST_EXPANSION = 1032
"""How much a byte can become when it is inflated: https://zlib.net/zlib_tech.html."""

SKIPPED_NBYTES = 1 << 26
"""Bytes before a member that are read in vain where a host gives no ranges."""

SMALL_NBYTES = 1 << 18
"""Size up to which a member is read together with its neighbours,"""

GAP_NBYTES = 1 << 16
"""with so many unwanted bytes between two,"""

GROUP_NBYTES = 1 << 22
"""and so many in one request."""

HELD_NBYTES = 1 << 26
"""Bytes of small members that wait in memory."""

PIECE_NBYTES = 1 << 20
"""Most bytes that a stream gives at a time."""

ENCRYPTED_FLAGS = 0x1 | 0x40 | 0x2000
UTF8_FLAG = 0x800
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)

ZIP_FORMAT = JsonFormat(host="zip", locator_key="member")


class _Member(NamedTuple):
    """Where a member is: its header begins at `offset`, and another member at `stop`."""

    offset: int
    stop: int
    nbytes: int
    method: int
    name: str

    @classmethod
    def parse(cls, locator: str, relpath: str) -> Self:
        """Read a locator."""
        numbers, name = locator.split(" ")[:4], locator.split(" ", 4)[-1]
        try:
            offset, stop, nbytes, method = map(int, numbers)
        except ValueError:
            offset = stop = nbytes = method = -1
        if not (0 <= offset <= offset + nbytes <= stop and method in METHODS):
            raise DatasetIndexError(
                f"The entry {relpath!r} has no usable place in the archive "
                f"({quote_short(locator)}). Fetch with refresh=True to renew the index."
            )
        return cls(offset, stop, nbytes, method, name)

    def format(self) -> str:
        """Write a locator."""
        return f"{self.offset} {self.stop} {self.nbytes} {self.method} {self.name}"


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

    host: ClassVar[str] = "zip"
    index_name: ClassVar[str] = "dataverse_zip_index.json"

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables that move the container to another address."""
        found: tuple[str, ...] = getattr(self.container, "variables", ())
        return found

    def list_files(self, client: HttpClient) -> DatasetIndex:
        """Read the directory of the archive."""
        client.recall(("zip starts", self), dict[int, int], anew=True)
        return client.recall(("zip", self), lambda: self._read_directory(client), anew=True)

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
            return _open_member(self, member, size, (0, size), client)
        if etag is not None:
            stream = _open_member(self, member, size, slice_of(part, size), client)
            if stream.etag == etag:
                return stream
            stream.close()  # another archive by now
            part = WHOLE
        return _open_member(self, member, size, slice_of(part, size), client)

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

    def find_member(self, entry: FileEntry, client: HttpClient) -> _Member:
        """Find a member by its entry, or by the directory where the entry does not say."""
        locator = entry.locators.get(self.host)
        if locator is None:
            listed = client.recall(("zip", self), lambda: self._read_directory(client))
            known = listed.get(entry.relpath)
            if known is None:
                raise self.error(f"has no member {entry.relpath!r}")
            locator = known.locators[self.host]
        return _Member.parse(locator, entry.relpath)

    def open_archive(
        self, part: ByteRange, client: HttpClient, *, etag: str | None = None
    ) -> ByteStream:
        """Open a part of the archive."""
        entry = self.archive
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
            f"The archive {self.archive.relpath} {what}. Nothing was written. If it has changed "
            "since its index was fetched, pass refresh=True.",
            url=url or self.archive.relpath,
        )

    def _read_directory(self, client: HttpClient) -> DatasetIndex:
        """Read and check what the directory says."""
        name = self.archive.relpath
        try:
            with zipfile.ZipFile(_RangeFile(self, client)) as archive:
                members, start = archive.infolist(), archive.start_dir
        except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
            raise self.error(f"is not a zip archive, or is damaged ({error})") from error
        except OverflowError as error:
            raise self.error("has a directory with impossible numbers") from error
        stops = _find_stops(members, start, name)
        prefix = _find_prefix(members) if self.prefix is None else self.prefix
        entries = [
            _make_entry(member, member.orig_filename[len(prefix) :], stops, name)
            for member in members
            if member.orig_filename.startswith(prefix) and not member.is_dir()
        ]
        if not entries:
            raise self.error(f"has no member below {prefix!r}")
        return make_index(entries, name)


def _find_stops(members: list[zipfile.ZipInfo], end: int, name: str) -> dict[int, int]:
    """Find where each member must have ended, and refuse an archive whose members overlap."""
    offsets = sorted(member.header_offset for member in members)
    stops = dict(zip(offsets, [*offsets[1:], end], strict=False))
    for member in members:
        nbytes = HEADER_NBYTES + len(_encode_name(member)) + member.compress_size
        if member.header_offset < 0 or member.header_offset + nbytes > stops[member.header_offset]:
            raise DatasetIndexError(
                f"{name}: the member {member.orig_filename!r} overlaps another one. Nothing was "
                "written."
            )
    if len(stops) != len(members):
        raise DatasetIndexError(f"{name}: two members are at the same place. Nothing was written.")
    return stops


def _encode_name(member: zipfile.ZipInfo) -> bytes:
    """Return the bytes of a name, as headers have it."""
    encoding = "utf-8" if member.flag_bits & UTF8_FLAG else "cp437"
    return member.orig_filename.encode(encoding, "surrogateescape")


def _find_prefix(members: list[zipfile.ZipInfo]) -> str:
    """Find the folder that is a dataset: the highest that has a description."""
    ending = "dataset_description.json"
    names = [member.orig_filename for member in members]
    folders = [name.removesuffix(ending) for name in names if name.rpartition("/")[2] == ending]
    return min(folders, key=lambda folder: (folder.count("/"), folder), default="")


def _make_entry(
    member: zipfile.ZipInfo, relpath: str, stops: Mapping[int, int], name: str
) -> FileEntry:
    """Make the entry of a member, unless it is one that nobody should unpack."""
    kind = stat.S_IFMT(member.external_attr >> 16)
    most = member.compress_size * MOST_EXPANSION
    reasons = {
        "is encrypted": bool(member.flag_bits & ENCRYPTED_FLAGS),
        f"is packed by method {member.compress_type}": member.compress_type not in METHODS,
        "is a link or a device": kind not in (0, stat.S_IFREG),
        "would expand beyond measure": member.file_size > most,
        "has two different sizes": member.compress_type == zipfile.ZIP_STORED
        and member.file_size != member.compress_size,
    }
    for reason, holds in reasons.items():
        if holds:
            raise DatasetIndexError(
                f"{name}: the member {member.orig_filename!r} {reason}. Nothing was written."
            )
    place = _Member(
        member.header_offset,
        stops[member.header_offset],
        member.compress_size,
        member.compress_type,
        member.orig_filename,
    )
    checksum = Checksum("crc32", f"{member.CRC:08x}")
    return FileEntry(
        relpath,
        member.file_size,
        (checksum,),
        locators={ArchiveSource.host: place.format()},
    )


class _RangeFile(io.RawIOBase):
    """An archive as a file for `zipfile`: its end is read first, and more when it is needed."""

    def __init__(self, source: ArchiveSource, client: HttpClient) -> None:
        self._source = source
        self._client = client
        size = source.archive.size
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
                raise self._source.error("has a directory that is larger than any can be")
            _, data, _ = self._fetch(FromTo(self._position, self._start))
            self._start, self._data = self._position, data + self._data
        found = self._data[self._position - self._start : max(stop - self._start, 0)]
        self._position += len(found)
        return found

    def _fetch(self, part: ByteRange) -> tuple[int, bytes, int]:
        """Get a part of the archive; where it begins, and the size of the whole."""
        source = self._source

        def attempt() -> tuple[int, bytes, int]:
            with source.open_archive(part, self._client) as stream:
                total = stream.total if stream.total is not None else source.archive.size
                if total is None:
                    raise source.error("has no size that its host would tell", stream.url)
                start, stop = slice_of(part, total)
                return start, _read_exactly(source, stream, start, stop), total

        return self._client.retry(attempt)


def _read_exactly(source: ArchiveSource, stream: ByteStream, start: int, stop: int) -> bytes:
    """Read some bytes of the archive, and no others."""
    data = b"".join(_cut(source, stream, start, stop))
    if len(data) != stop - start:
        raise RemoteConnectionError(
            f"{stream.url}: the connection ended after {len(data)} of {stop - start} bytes. Call "
            "again.",
            url=stream.url,
        )
    return data


def _cut(source: ArchiveSource, stream: ByteStream, start: int, stop: int) -> Iterator[bytes]:
    """Give the bytes of the archive between two offsets, if the stream begins soon enough."""
    skip, left = start - stream.start, stop - start
    if skip < 0 or skip > SKIPPED_NBYTES:
        raise source.error("is on a host that gives no parts of a file", stream.url)
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


# Members.


def _open_member(
    source: ArchiveSource,
    member: _Member,
    size: int,
    span: tuple[int, int],
    client: HttpClient,
) -> _MemberStream:
    """Open the bytes of a member between two offsets in it."""
    starts: dict[int, int] = client.recall(("zip starts", source), dict)
    longest = HEADER_NBYTES + len(member.name.encode()) + EXTRA_NBYTES
    if span[0] and member.offset not in starts:
        _learn_start(source, member, starts, client)
    if member.offset in starts:
        begin = starts[member.offset]
        whole = (0, member.nbytes) if member.method == zipfile.ZIP_DEFLATED else span
        opened, stop, header = begin + whole[0], begin + whole[1], False
    else:
        opened, header = member.offset, True
        stop = member.stop if span[1] == size else min(opened + longest + span[1], member.stop)
    stream = source.open_archive(FromTo(opened, stop), client)
    try:
        if stream.total is not None and stream.total < stop:
            raise source.error("has changed: it is shorter than its index says", stream.url)  # noqa: TRY301
        if stream.start != opened:  # a host without ranges, so there is no point in a part
            opened, stop, header, span = member.offset, member.stop, True, (0, size)
        data = _cut(source, stream, opened, stop)
        ahead = b""
        if header:
            starts[member.offset], ahead = _pass_header(source, member, data, stream)
    except BaseException:
        stream.close()
        raise
    return _MemberStream(source, stream, member, data, ahead, span[0], size, span[1])


def _learn_start(
    source: ArchiveSource, member: _Member, starts: dict[int, int], client: HttpClient
) -> None:
    """Find where the data of a member begin, which its own header alone says."""
    stop = min(member.offset + HEADER_NBYTES + len(member.name.encode()), member.stop)

    with source.open_archive(FromTo(member.offset, stop), client) as stream:
        if stream.total is not None and stream.total < stop:
            raise source.error("has changed: it is shorter than its index says", stream.url)
        header = _read_exactly(source, stream, member.offset, stop)
        nbytes = _check_header(source, member, header, stream.url)
    starts[member.offset] = member.offset + nbytes


def _pass_header(
    source: ArchiveSource, member: _Member, data: Iterator[bytes], stream: ByteStream
) -> tuple[int, bytes]:
    """Read a member's header; return where its data begin, and what was read beyond."""
    held = _take(data, b"", HEADER_NBYTES, stream)
    held = _take(data, held, HEADER_NBYTES + sum(struct.unpack_from("<2H", held, 26)), stream)
    nbytes = _check_header(source, member, held, stream.url)
    return member.offset + nbytes, held[nbytes:]


def _take(data: Iterator[bytes], held: bytes, nbytes: int, stream: ByteStream) -> bytes:
    """Read until there are so many bytes."""
    while len(held) < nbytes:
        piece = next(data, b"")
        if not piece:
            raise RemoteConnectionError(
                f"{stream.url}: the connection ended within a header. Call again.", url=stream.url
            )
        held += piece
    return held


def _check_header(source: ArchiveSource, member: _Member, held: bytes, url: str | None) -> int:
    """Compare a member's own header with the directory; return where its data begin."""
    signature, _, flags, method, _, _, _, nbytes, _, n_name, n_extra = struct.unpack(
        "<4s5H3I2H", held[:HEADER_NBYTES]
    )
    encoding = "utf-8" if flags & UTF8_FLAG else "cp437"
    name = held[HEADER_NBYTES : HEADER_NBYTES + n_name]
    length: int = HEADER_NBYTES + n_name + n_extra
    fits = (
        signature == b"PK\x03\x04"
        and method == member.method
        and not flags & ENCRYPTED_FLAGS
        and name == member.name.encode(encoding, "replace")
        # Zero where the size comes after the data only, and full where a ZIP64 field has it.
        and nbytes in (member.nbytes, 0, 0xFFFFFFFF)
        and member.offset + length + member.nbytes <= member.stop
    )
    if not fits:
        raise source.error(
            f"has a header at {member.offset} that is not the one of {member.name!r} in its "
            "directory",
            url,
        )
    return length


@dataclass
class _MemberStream(Closing):
    """Bytes of one member as they arrive; unpacked on the way if they are packed."""

    source: ArchiveSource
    stream: ByteStream
    member: _Member
    data: Iterator[bytes]
    ahead: bytes
    start: int
    total: int
    stop: int
    checksum: Checksum | None = None

    @property
    def etag(self) -> str | None:
        """That of the archive."""
        return self.stream.etag

    @property
    def ranges(self) -> bool:
        """Whether parts can be had: not of what is packed."""
        return self.stream.ranges and self.member.method == zipfile.ZIP_STORED

    @property
    def url(self) -> str | None:
        """Where the archive comes from."""
        return self.stream.url

    def __iter__(self) -> Iterator[bytes]:
        if self.member.method == zipfile.ZIP_STORED:
            yield from _limit(self._pieces(), self.stop - self.start)
            return
        yield from _inflate(self.source, self._pieces(), self.member, self.total, self.url)

    def _pieces(self) -> Iterator[bytes]:
        """Give the bytes as they are in the archive."""
        if self.ahead:
            yield self.ahead
        yield from self.data

    def close(self) -> None:
        """Free the connection."""
        self.stream.close()


def _limit(pieces: Iterator[bytes], nbytes: int) -> Iterator[bytes]:
    """Give so many bytes at most."""
    for piece in pieces:
        data = piece[:nbytes]
        nbytes -= len(data)
        if data:
            yield data
        if not nbytes:
            return


def _inflate(
    source: ArchiveSource,
    pieces: Iterator[bytes],
    member: _Member,
    size: int,
    url: str | None,
) -> Iterator[bytes]:
    """Unpack a member, and no more of it than there should be."""
    unpacker, data, done = zlib.decompressobj(-15), b"", 0
    try:
        for piece in _limit(pieces, member.nbytes):
            waiting = piece
            # What is bounded here may leave output behind when all of the input is taken in.
            while waiting or data:
                data = unpacker.decompress(waiting, PIECE_NBYTES)
                waiting, done = unpacker.unconsumed_tail, done + len(data)
                if done > size:
                    raise source.error(f"has a member {member.name!r} that expands too far", url)
                if data:
                    yield data
                if unpacker.eof:
                    return
    except zlib.error as error:
        raise RemoteConnectionError(
            f"{url}: the member {member.name!r} cannot be unpacked ({error}). Call again.", url=url
        ) from error


# Many members at once.


@dataclass(eq=False)
class _Group:
    """Neighbours that are read in one request."""

    members: dict[str, tuple[FileEntry, _Member]]
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
        return self._give(group, entry, part, etag)

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
        with self._source.open_archive(FromTo(start, stop), client) as stream:
            group.data = _read_exactly(self._source, stream, start, stop)
            group.etag, group.url = stream.etag, stream.url
        with self._lock:
            self._held += len(group.data)
            if group in self._waiting:
                self._waiting.remove(group)

    def _give(
        self, group: _Group, entry: FileEntry, part: ByteRange, etag: str | None
    ) -> MemoryStream:
        """Cut a member out of its group."""
        _, member = group.members[entry.relpath]
        first = member.offset - group.span[0]
        held = (group.data or b"")[first : first + member.stop - member.offset]
        with self._lock:
            group.given += 1
            if group.given == len(group.members):
                self._held -= len(group.data or b"")
        begin = _check_header(self._source, member, held, group.url)
        packed, size = held[begin : begin + member.nbytes], entry.size or 0
        if member.method == zipfile.ZIP_DEFLATED:
            packed = b"".join(_inflate(self._source, iter([packed]), member, size, group.url))
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
                f"{origin}: an entry has a 'crc' that must be a number of 32 bits (found {crc!r})."
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
