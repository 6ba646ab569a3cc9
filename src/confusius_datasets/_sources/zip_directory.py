"""The directory of a zip archive, which says where its members are.

`zipfile` reads it. What it says is checked before anything is taken from the archive: members that
overlap, expand without measure, are encrypted, or are links make it unusable.
"""

from __future__ import annotations

import stat
import struct
import zipfile
from collections.abc import Mapping
from typing import NamedTuple, Self

from confusius_datasets._index import Checksum, DatasetIndex, FileEntry
from confusius_datasets._sources.http import HttpClient
from confusius_datasets._sources.records import make_index
from confusius_datasets._sources.zip_bytes import RangeFile, RemoteArchive
from confusius_datasets._text import format_nbytes, quote, quote_short, shorten
from confusius_datasets.errors import DatasetIndexError, SettingError

__all__ = ["ENCRYPTED_FLAGS", "HEADER_NBYTES", "UTF8_FLAG", "ZIP_HOST", "Member", "read_directory"]

ZIP_HOST = "zip"
"""The key of the members' locators."""

HEADER_NBYTES = 30
"""Bytes of a member's header without its name and extra field."""

MOST_EXPANSION = 1032
"""How much a byte can become when it is inflated: https://zlib.net/zlib_tech.html."""

USUAL_EXPANSION = 200
"""How much images become at most: a mask that is nearly empty, say."""

LARGEST_UNUSUAL_NBYTES = 1 << 30
"""Bytes that all members may become which expand more than that."""

ENCRYPTED_FLAGS = 0x1 | 0x40 | 0x2000
UTF8_FLAG = 0x800
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class Member(NamedTuple):
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
        fits = offset >= 0 and 0 <= nbytes <= stop - offset - HEADER_NBYTES
        if not (fits and method in METHODS):
            raise DatasetIndexError(
                f"The entry {quote(relpath)} has no usable place in the archive "
                f"({quote_short(locator)}). Fetch with refresh=True to renew the index."
            )
        return cls(offset, stop, nbytes, method, name)

    def format(self) -> str:
        """Write a locator."""
        return f"{self.offset} {self.stop} {self.nbytes} {self.method} {self.name}"


def read_directory(archive: RemoteArchive, prefix: str | None, client: HttpClient) -> DatasetIndex:
    """Read and check what the directory says."""
    name = archive.entry.relpath
    try:
        with zipfile.ZipFile(RangeFile(archive, client)) as opened:
            members, start = opened.infolist(), opened.start_dir
    except SettingError:
        raise  # it is a ValueError, but says nothing of the archive
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
        raise archive.error(f"is not a zip archive, or is damaged ({shorten(error)})") from error
    except OverflowError as error:
        raise archive.error("has a directory with impossible numbers") from error
    _check_expansion(members, name)
    stops = _find_stops(members, start, name)
    prefix = _find_prefix(members) if prefix is None else prefix
    entries = [
        _make_entry(member, member.orig_filename[len(prefix) :], stops, name)
        for member in members
        if member.orig_filename.startswith(prefix) and not member.is_dir()
    ]
    if not entries:
        raise archive.error(f"has no member below {prefix!r}")
    return make_index(entries, name)


def _check_expansion(members: list[zipfile.ZipInfo], name: str) -> None:
    """Refuse an archive that is made to fill a disk: much that comes from nearly nothing."""
    nbytes = sum(
        member.file_size
        for member in members
        if member.file_size > USUAL_EXPANSION * member.compress_size
    )
    if nbytes > LARGEST_UNUSUAL_NBYTES:
        raise DatasetIndexError(
            f"{name}: members that expand more than {USUAL_EXPANSION} times would become "
            f"{format_nbytes(nbytes)}. Nothing was written. If that is right, unpack it yourself."
        )


def _find_stops(members: list[zipfile.ZipInfo], end: int, name: str) -> dict[int, int]:
    """Find where each member must have ended, and refuse an archive whose members overlap."""
    offsets = sorted(member.header_offset for member in members)
    stops = dict(zip(offsets, [*offsets[1:], end], strict=False))
    for member in members:
        nbytes = HEADER_NBYTES + len(_encode_name(member)) + member.compress_size
        if member.header_offset < 0 or member.header_offset + nbytes > stops[member.header_offset]:
            raise DatasetIndexError(
                f"{name}: the member {quote(member.orig_filename)} overlaps another one. "
                "Nothing was written."
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
                f"{name}: the member {quote(member.orig_filename)} {reason}. Nothing was written."
            )
    place = Member(
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
        locators={ZIP_HOST: place.format()},
    )
