"""Zip archives made by hand, so that they can also lie."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

__all__ = ["ZipMember", "build_zip"]

UTF8, DESCRIPTOR, ENCRYPTED = 0x800, 0x8, 0x1
"""Flag bits."""

FULL16, FULL32 = 0xFFFF, 0xFFFFFFFF
"""What a field says whose value is in the ZIP64 records."""

STAMP = (0, (2026 - 1980) << 9 | 1 << 5 | 1)
"""Time and date of every member."""


@dataclass(frozen=True, slots=True)
class ZipMember:
    """A member of an archive, and what its headers say wrongly.

    Parameters
    ----------
    name : str
        Its path in the archive.
    data : bytes
        Its content.
    method : {"stored", "deflated"}, default: "stored"
        How it is kept.
    descriptor : bool, default: False
        Whether CRC and sizes come after the data only (flag bit 3): the local header has zeros.
    encrypted : bool, default: False
        Whether flag bit 0 says that it is encrypted.
    encoding : {"utf-8", "cp437"}, default: "utf-8"
        Encoding of the name; flag bit 11 says which.
    zip64 : bool, default: False
        Whether sizes and offset are in a ZIP64 extra field.
    local_name : str, optional
        The name that the local header has. If not provided, the right one.
    local_extra : bytes, default: nothing
        Extra field of the local header, which the directory does not have.
    size : int, optional
        The size that the headers say. If not provided, the right one.
    crc : int, optional
        The CRC-32 that the headers say. If not provided, the right one.
    at : str, optional
        Name of an earlier member whose place the directory gives, so that the two overlap.
    offset : int, optional
        The place that the directory gives. If not provided, the right one.
    mode : int, default: 0o100644
        Unix type and permissions; 0o120777 is a symbolic link.
    """

    name: str
    data: bytes = b""
    method: Literal["stored", "deflated"] = "stored"
    descriptor: bool = False
    encrypted: bool = False
    encoding: Literal["utf-8", "cp437"] = "utf-8"
    zip64: bool = False
    local_name: str | None = None
    local_extra: bytes = b""
    size: int | None = None
    crc: int | None = None
    at: str | None = None
    offset: int | None = None
    mode: int = 0o100644

    @property
    def flags(self) -> int:
        """The general purpose flags."""
        bits = ((self.encoding == "utf-8", UTF8), (self.descriptor, DESCRIPTOR))
        return sum(bit for on, bit in (*bits, (self.encrypted, ENCRYPTED)) if on)


def build_zip(
    members: Iterable[ZipMember],
    *,
    zip64: bool = False,
    comment: bytes = b"",
    prefix: bytes = b"",
    n_entries: int | None = None,
) -> bytes:
    """Make an archive.

    Parameters
    ----------
    members : iterable of ZipMember
        What is in it, in order.
    zip64 : bool, default: False
        Whether the end of the directory is a ZIP64 record, as above 4 GiB or 65 535 members.
    comment : bytes, default: nothing
        Comment of the archive.
    prefix : bytes, default: nothing
        Bytes before the first member, as of a program that unpacks itself.
    n_entries : int, optional
        The number of members that the end of the directory says. If not provided, the right one.

    Returns
    -------
    bytes
        The archive. Without lies, `zipfile` reads it.

    Examples
    --------
    >>> import io, zipfile
    >>> from confusius_datasets.testing import ZipMember, build_zip
    >>> archive = build_zip([ZipMember("a/README", b"hello")], zip64=True)
    >>> zipfile.ZipFile(io.BytesIO(archive)).read("a/README")
    b'hello'
    """
    body = bytearray(prefix)
    directory = bytearray()
    offsets: dict[str, int] = {}
    n_members = 0
    for member in members:
        offsets[member.name] = len(body)
        packed = _pack(member)
        offset = offsets[member.at or member.name] if member.offset is None else member.offset
        directory += _write_central(member, packed, offset)
        body += _write_local(member, packed)
        n_members += 1
    said = n_members if n_entries is None else n_entries
    end = _write_end(said, len(directory), len(body), comment, zip64=zip64)
    return bytes(body + directory + end)


def _pack(member: ZipMember) -> bytes:
    """Keep the data of a member as its method says."""
    if member.method == "stored":
        return member.data
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(member.data) + packer.flush()


def _crc_and_sizes(member: ZipMember, packed: bytes) -> tuple[int, int, int]:
    """Return what the headers say of the data: CRC, compressed size and size."""
    crc = zlib.crc32(member.data) if member.crc is None else member.crc
    return crc, len(packed), len(member.data) if member.size is None else member.size


def _write_local(member: ZipMember, packed: bytes) -> bytes:
    """Write a local header, the data, and what follows it."""
    name = (member.name if member.local_name is None else member.local_name).encode(member.encoding)
    crc, n_packed, size = _crc_and_sizes(member, packed)
    extra = member.local_extra
    numbers = (0, 0, 0) if member.descriptor else (crc, n_packed, size)
    if member.zip64:
        extra = struct.pack("<HHQQ", 1, 16, size, n_packed) + extra
        numbers = (numbers[0], FULL32, FULL32)
    head = struct.pack(
        "<4s5H3I2H",
        b"PK\x03\x04",
        45 if member.zip64 else 20,
        member.flags,
        0 if member.method == "stored" else 8,
        *STAMP,
        *numbers,
        len(name),
        len(extra),
    )
    # Sizes in a descriptor have 8 bytes each once the member has a ZIP64 field.
    form = "<4sIQQ" if member.zip64 else "<4sIII"
    after = struct.pack(form, b"PK\x07\x08", crc, n_packed, size) if member.descriptor else b""
    return head + name + extra + packed + after


def _write_central(member: ZipMember, packed: bytes, offset: int) -> bytes:
    """Write the header of a member in the directory."""
    name = member.name.encode(member.encoding)
    crc, n_packed, size = _crc_and_sizes(member, packed)
    extra = b""
    numbers, place = (crc, n_packed, size), offset
    if member.zip64:
        extra = struct.pack("<HHQQQ", 1, 24, size, n_packed, offset)
        numbers, place = (crc, FULL32, FULL32), FULL32
    head = struct.pack(
        "<4s6H3I5H2I",
        b"PK\x01\x02",
        3 << 8 | 45,
        45 if member.zip64 else 20,
        member.flags,
        0 if member.method == "stored" else 8,
        *STAMP,
        *numbers,
        len(name),
        len(extra),
        0,
        0,
        0,
        member.mode << 16,
        place,
    )
    return head + name + extra


def _write_end(n_entries: int, nbytes: int, offset: int, comment: bytes, *, zip64: bool) -> bytes:
    """Write the end of the directory."""
    records = b""
    counts, places = (n_entries, n_entries), (nbytes, offset)
    if zip64:
        numbers = (n_entries, n_entries, nbytes, offset)
        records = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, *numbers)
        records += struct.pack("<4sIQI", b"PK\x06\x07", 0, offset + nbytes, 1)
        counts, places = (FULL16, FULL16), (FULL32, FULL32)
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, *counts, *places, len(comment))
    return records + end + comment
