"""The bytes of one member of a zip archive: its header is checked, and it is unpacked."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from confusius_datasets._index import Checksum
from confusius_datasets._sources.closing import Closing
from confusius_datasets._sources.http import HttpClient
from confusius_datasets._sources.protocol import ByteStream
from confusius_datasets._sources.ranges import FromTo
from confusius_datasets._sources.zip_bytes import RemoteArchive, cut, read_exactly
from confusius_datasets._sources.zip_directory import (
    ENCRYPTED_FLAGS,
    HEADER_NBYTES,
    UTF8_FLAG,
    Member,
)
from confusius_datasets._text import quote, shorten
from confusius_datasets.errors import RemoteConnectionError

__all__ = ["MemberStream", "header_nbytes", "inflate", "open_member"]

EXTRA_NBYTES = 1 << 10
"""Bytes of an extra field that are read along with a header; longer ones cost another request."""

PIECE_NBYTES = 1 << 20
"""Most bytes that a stream gives at a time."""


def open_member(
    archive: RemoteArchive,
    member: Member,
    size: int,
    span: tuple[int, int],
    client: HttpClient,
) -> MemberStream:
    """Open the bytes of a member between two offsets in it."""
    for _ in range(2):  # a header may have been spoilt on the way
        stream = _try_to_open(archive, member, size, span, client)
        if stream is not None:
            return stream
    raise archive.error(
        f"has a header at {member.offset} that is not the one of {quote(member.name)} "
        "in its directory"
    )


def _try_to_open(
    archive: RemoteArchive,
    member: Member,
    size: int,
    span: tuple[int, int],
    client: HttpClient,
) -> MemberStream | None:
    """Open a member, unless its header is another one than the directory says."""
    starts: dict[int, int] = client.recall(("zip starts", archive), dict)
    longest = HEADER_NBYTES + len(member.name.encode()) + EXTRA_NBYTES
    if (
        span[0]
        and member.offset not in starts
        and not _learn_start(archive, member, starts, client)
    ):
        return None
    if member.offset in starts:
        begin = starts[member.offset]
        whole = (0, member.nbytes) if member.method == zipfile.ZIP_DEFLATED else span
        opened, stop, header = begin + whole[0], begin + whole[1], False
    else:
        opened, header = member.offset, True
        stop = member.stop if span[1] == size else min(opened + longest + span[1], member.stop)
    stream = archive.open(FromTo(opened, stop), client)
    try:
        if stream.total is not None and stream.total < stop:
            raise archive.error("has changed: it is shorter than its index says", stream.url)  # noqa: TRY301
        if stream.start != opened:  # a host without ranges, so there is no point in a part
            opened, stop, header, span = member.offset, member.stop, True, (0, size)
        data = cut(archive, stream, opened, stop)
        ahead = b""
        if header:
            held, nbytes = _read_header(member, data, stream)
            if nbytes is None:
                stream.close()
                return None
            starts[member.offset], ahead = member.offset + nbytes, held[nbytes:]
    except BaseException:
        stream.close()
        raise
    return MemberStream(archive, stream, member, data, ahead, span[0], size, span[1])


def _learn_start(
    archive: RemoteArchive, member: Member, starts: dict[int, int], client: HttpClient
) -> bool:
    """Find where the data of a member begin, which its own header alone says, if it fits."""
    stop = min(member.offset + HEADER_NBYTES + len(member.name.encode()), member.stop)

    with archive.open(FromTo(member.offset, stop), client) as stream:
        if stream.total is not None and stream.total < stop:
            raise archive.error("has changed: it is shorter than its index says", stream.url)
        nbytes = header_nbytes(member, read_exactly(archive, stream, member.offset, stop))
    if nbytes is not None:
        starts[member.offset] = member.offset + nbytes
    return nbytes is not None


def _read_header(
    member: Member, data: Iterator[bytes], stream: ByteStream
) -> tuple[bytes, int | None]:
    """Read a member's header; return what was read, and the header's length if it fits."""
    held = _take(data, b"", HEADER_NBYTES, stream)
    # A wrong one may announce a name of any length, which is not waited for.
    longest = member.stop - member.offset
    nbytes = HEADER_NBYTES + sum(struct.unpack_from("<2H", held, 26))
    held = _take(data, held, min(nbytes, longest), stream)
    return held, header_nbytes(member, held)


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


def header_nbytes(member: Member, held: bytes) -> int | None:
    """Return the length of a member's own header, if it says the same as the directory."""
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
    return length if fits else None


@dataclass
class MemberStream(Closing):
    """Bytes of one member as they arrive; unpacked on the way if they are packed."""

    archive: RemoteArchive
    stream: ByteStream
    member: Member
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
        yield from inflate(self.archive, self._pieces(), self.member, self.total, self.url)

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


def inflate(
    archive: RemoteArchive,
    pieces: Iterator[bytes],
    member: Member,
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
                    raise archive.error(
                        f"has a member {quote(member.name)} that expands too far", url
                    )
                if data:
                    yield data
                if unpacker.eof:
                    return
    except zlib.error as error:
        raise RemoteConnectionError(
            f"{url}: the member {quote(member.name)} cannot be unpacked ({shorten(error)}). "
            "Call again.",
            url=url,
        ) from error
