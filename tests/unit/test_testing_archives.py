"""Archives made by hand: honest ones are read by `zipfile`, the others lie as they are told."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

import pytest

from confusius_datasets.testing import ZipMember, build_zip

TEXT = b"hello " * 100


def opened(archive: bytes) -> zipfile.ZipFile:
    """Open an archive."""
    return zipfile.ZipFile(io.BytesIO(archive))


@pytest.mark.parametrize("zip64", [False, True])
@pytest.mark.parametrize("method", ["stored", "deflated"])
@pytest.mark.parametrize("descriptor", [False, True])
def test_honest_archive_is_read(zip64: bool, method: str, descriptor: bool) -> None:
    """Every honest form gives back its members, in order, and passes the check of their CRCs."""
    options = {"method": method, "descriptor": descriptor, "zip64": zip64}
    members = [
        ZipMember(
            "a/README", TEXT, local_extra=struct.pack("<HH4s", 0x9999, 4, b"abcd"), **options
        ),  # type: ignore[arg-type]
        ZipMember("b/ü.txt", b"", **options),  # type: ignore[arg-type]
        ZipMember("c/é.txt", TEXT, encoding="cp437", **options),  # type: ignore[arg-type]
    ]

    with opened(build_zip(members, zip64=zip64, comment=b"done", prefix=b"#!")) as archive:
        assert archive.testzip() is None
        assert archive.comment == b"done"
        contents = {name: archive.read(name) for name in archive.namelist()}

    assert contents == {"a/README": TEXT, "b/ü.txt": b"", "c/é.txt": TEXT}


def test_zip64_fields_are_saturated_in_the_old_records() -> None:
    """A reader that ignores ZIP64 finds no sizes."""
    archive = build_zip([ZipMember("x", TEXT, zip64=True)], zip64=True)

    end = archive[-22:]
    assert end[:4] == b"PK\x05\x06"
    assert end[8:20] == b"\xff" * 12
    assert archive[-42:-38] == b"PK\x06\x07"
    assert archive[18:26] == b"\xff" * 8


def test_descriptor_leaves_the_local_header_without_numbers() -> None:
    """With flag bit 3, CRC and sizes are zero before the data."""
    archive = build_zip([ZipMember("x", TEXT, descriptor=True)])

    assert archive[14:26] == bytes(12)
    assert archive[6] & 8


def test_lies_are_told() -> None:
    """Encrypted bit, wrong local name, size, CRC, count, place and overlap are as asked."""
    members = [
        ZipMember("first", TEXT),
        ZipMember("locked", TEXT, encrypted=True),
        ZipMember("other", TEXT, local_name="../evil"),
        ZipMember("small", bytes(10_000_000), method="deflated", size=100),
        ZipMember("wrong", TEXT, crc=1),
        ZipMember("overlaps", TEXT, at="first"),
        ZipMember("outside", TEXT, offset=1 << 31),
        ZipMember("link", b"/etc/passwd", mode=0o120777),
    ]

    archive = build_zip(members)

    with opened(archive) as found:
        infos = {info.filename: info for info in found.infolist()}
        with pytest.raises(RuntimeError, match="encrypted"):
            found.read("locked")
        with pytest.raises(zipfile.BadZipFile, match="differ"):
            found.read("other")
        with pytest.raises(zipfile.BadZipFile, match="CRC"):
            found.read("wrong")
    small = infos["small"]
    assert (small.file_size, small.compress_size < 20_000) == (100, True)
    assert infos["overlaps"].header_offset == infos["first"].header_offset == 0
    assert infos["outside"].header_offset == 1 << 31
    assert infos["link"].external_attr >> 16 == 0o120777
    assert zlib.crc32(TEXT) == infos["first"].CRC
    # The count stands twelve bytes before the end of an archive without a comment.
    assert struct.unpack("<H", build_zip(members, n_entries=9)[-12:-10]) == (9,)
