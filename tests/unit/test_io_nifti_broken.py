"""Broken NIfTI files: each fault is an error that names the file and says what is wrong."""

from __future__ import annotations

import gzip
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from builders import DIAGONAL, counting, write_nifti
from confusius_datasets._io import load
from confusius_datasets.errors import FileFormatError, MissingFileError

SHAPE = (5, 4, 3, 6)


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """Write a good file to be damaged."""
    return write_nifti(tmp_path / "sub-01_pwd.nii", counting(SHAPE), sform=DIAGONAL)


@pytest.fixture
def zipped(tmp_path: Path) -> Path:
    """Write a good compressed file to be damaged."""
    rng = np.random.default_rng(0)
    data = rng.normal(size=(16, 16, 4, 40)).astype("f4")
    return write_nifti(tmp_path / "sub-01_pwd.nii.gz", data, sform=DIAGONAL)


def _set(content: bytes, field: str, value: bytes) -> bytes:
    fields = nibabel.Nifti1Header.template_dtype.fields or {}
    start = fields[field][1]
    return content[:start] + value + content[start + len(value) :]


def _i2(*values: int) -> bytes:
    return np.array(values, "<i2").tobytes()


def _f4(*values: float) -> bytes:
    return np.array(values, "<f4").tobytes()


FAULTS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda _: b"", "the file is empty"),
    "short": (lambda content: content[:200], "ends within its header: 200 bytes of 348"),
    "text": (lambda _: b"sub-01", "not a NIfTI-1 or NIfTI-2 file: it begins with b'sub-'"),
    "magic": (lambda content: _set(content, "magic", b"abcd"), "wrong magic b'abcd'"),
    "pair": (lambda content: _set(content, "magic", b"ni1\0"), "two-file NIfTI"),
    "truncated": (lambda content: content[:-1], "It is cut off or damaged"),
    "no axes": (lambda content: _set(content, "dim", _i2(0)), "1 to 7 axes"),
    "many axes": (lambda content: _set(content, "dim", _i2(9)), "1 to 7 axes"),
    "negative": (lambda content: _set(content, "dim", _i2(3, -4)), "impossible shape"),
    "huge": (lambda content: _set(content, "dim", _i2(4, *[32767] * 4)), "promises"),
    "type": (lambda content: _set(content, "datatype", _i2(77)), "datatype 77 (no type at all)"),
    "offset": (lambda content: _set(content, "vox_offset", _f4(10)), "vox_offset is 10"),
    "no offset": (lambda content: _set(content, "vox_offset", _f4(np.nan)), "vox_offset is nan"),
    "slope": (lambda content: _set(content, "scl_slope", _f4(2, np.inf)), "scl_inter is inf"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_load_fault_names_file_and_fault(plain: Path, fault: str) -> None:
    """Each fault of a header is an error with the file's name, found when the file is opened."""
    damage, words = FAULTS[fault]
    plain.write_bytes(damage(plain.read_bytes()))

    with pytest.raises(FileFormatError) as caught:
        load(plain)

    assert str(caught.value).startswith(f"{plain}: ")
    assert words in str(caught.value)


FALLBACKS: dict[str, tuple[dict[str, list[float]], list[str], str]] = {
    "sform of zeros": (
        {"srow_x": [0] * 12},
        ["physical_to_qform"],
        "The sform is singular: its columns [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]] "
        "span no volume. It is ignored.",
    ),
    "sform without thickness": (
        {"srow_z": [0, 0, 0, 3]},
        ["physical_to_qform"],
        "The sform is singular: its columns [[0.125, 0.0, 0.0], [0.0, 0.25, 0.0], [0.0, 0.0, 0.0]] "
        "span no volume. It is ignored.",
    ),
    "sform of NaN": (
        {"srow_x": [np.nan]},
        ["physical_to_qform"],
        "The sform has entries that are not finite numbers. It is ignored.",
    ),
    "qform of infinities": (
        {"qoffset_x": [np.inf]},
        ["physical_to_sform"],
        "The qform has entries that are not finite numbers. It is ignored.",
    ),
    "no usable form": (
        {"qoffset_x": [np.inf], "srow_x": [np.nan]},
        [],
        "The sform has entries that are not finite numbers. It is ignored. The qform has entries "
        "that are not finite numbers. It is ignored. Coordinates are computed from the voxel "
        "dimensions only.",
    ),
    "pixdim": (
        {"pixdim": [1, 0.125, np.nan]},
        ["physical_to_sform", "physical_to_qform"],
        "pixdim[2], the voxel size along y, is nan. It is taken to be 1. The sform has voxels of "
        "0.125 x 0.25 x 0.5, but pixdim says 0.125 x 1 x 0.5. Coordinates follow the sform; other "
        "programs may follow pixdim.",
    ),
    "other scale": (
        {"srow_x": [1, 0, 0, 0], "srow_y": [0, 1, 0, 0], "srow_z": [0, 0, 1, 0]},
        ["physical_to_sform", "physical_to_qform"],
        "The sform has voxels of 1 x 1 x 1, but pixdim says 0.125 x 0.25 x 0.5. Coordinates follow "
        "the sform; other programs may follow pixdim.",
    ),
}
"""Fields of a header that cannot be, the matrices that are left, and the warning."""


@pytest.mark.parametrize("case", FALLBACKS)
def test_load_form_that_cannot_be_used_falls_back_with_a_warning(plain: Path, case: str) -> None:
    """Values are reachable whatever stands in sform, qform and voxel sizes: one warning says it."""
    changes, matrices, words = FALLBACKS[case]
    file = write_nifti(plain, counting(SHAPE), sform=DIAGONAL, qform=DIAGONAL)
    content = file.read_bytes()
    for field, numbers in changes.items():
        content = _set(content, field, _f4(*numbers))
    file.write_bytes(content)

    with pytest.warns(UserWarning) as caught:
        array = load(file)

    assert [str(warning.message) for warning in caught] == [f"{file}: {words}"]
    assert [*array.attrs.get("affines", {})] == matrices
    assert [name for name in array.attrs if name.endswith("_code")] == [
        f"{name.removeprefix('physical_to_')}_code" for name in matrices
    ]
    assert all(np.isfinite(array[dim]).all() for dim in array.dims)
    np.testing.assert_array_equal(array, counting(SHAPE).T)


def test_load_form_of_almost_the_same_scale_is_silent(plain: Path) -> None:
    """Voxel sizes that were rounded contradict nothing."""
    content = _set(plain.read_bytes(), "pixdim", _f4(1, 0.127, 0.246, 0.51))
    plain.write_bytes(content)

    assert load(plain).x.attrs["voxdim"] == 0.125


def test_load_truncated_file_says_all_there_is_to_say(plain: Path) -> None:
    """The message says what was expected, what was found, and what to do."""
    plain.write_bytes(plain.read_bytes()[:-1])

    with pytest.raises(FileFormatError) as caught:
        load(plain)

    assert str(caught.value) == (
        f"{plain}: the header promises (5, 4, 3, 6) values of type float32, which end at byte "
        "1792; a file of 1791 bytes holds 1791 at most. It is cut off or damaged: fetch or copy it "
        "again."
    )


def test_load_missing_file_is_both_errors(tmp_path: Path) -> None:
    """A missing file is a ValueError, as for any bad path, and a FileNotFoundError."""
    with pytest.raises(MissingFileError, match=r"none\.nii.*valid file path") as caught:
        load(tmp_path / "none.nii")

    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, FileNotFoundError)


def test_load_folder_is_refused(tmp_path: Path) -> None:
    """A folder with the name of a file is no file."""
    (tmp_path / "folder.nii").mkdir()

    with pytest.raises(FileFormatError, match=r"folder\.nii: this is a folder"):
        load(tmp_path / "folder.nii")


@pytest.mark.parametrize("length", [1, 3, 12, 30, 100, 5000, -9, -8, -1])
def test_load_truncated_gzip_is_refused_when_opened(zipped: Path, length: int) -> None:
    """Wherever a compressed file was cut off, opening it says so."""
    zipped.write_bytes(zipped.read_bytes()[:length])

    with pytest.raises(FileFormatError, match=r"sub-01_pwd\.nii\.gz: "):
        load(zipped)


def test_load_uncompressed_file_called_gz_is_refused(plain: Path) -> None:
    """A name that promises gzip is held to it."""
    renamed = plain.rename(plain.with_name("renamed.nii.gz"))

    with pytest.raises(FileFormatError, match=r"renamed\.nii\.gz: not a gzip file"):
        load(renamed)


def test_load_flipped_byte_is_found_by_the_checksum(zipped: Path) -> None:
    """Damage within the compressed values is an error when they are read, not other values."""
    content = bytearray(zipped.read_bytes())
    content[len(content) // 2] ^= 0x10
    zipped.write_bytes(content)
    array = load(zipped)

    with pytest.raises(FileFormatError, match=r"sub-01_pwd\.nii\.gz: damaged gzip data"):
        array.values  # noqa: B018


def test_load_wrong_checksum_is_found(zipped: Path) -> None:
    """A trailer that does not fit the values is an error."""
    content = zipped.read_bytes()
    zipped.write_bytes(content[:-8] + b"\0\0\0\0" + content[-4:])

    with pytest.raises(FileFormatError, match="damaged gzip data"):
        load(zipped).values  # noqa: B018


def test_load_damaged_file_fails_every_time(zipped: Path) -> None:
    """A failed read leaves no state behind that a second one could stumble over."""
    content = bytearray(zipped.read_bytes())
    content[len(content) // 2] ^= 0x10
    zipped.write_bytes(content)
    array = load(zipped)

    for _ in range(2):
        with pytest.raises(FileFormatError, match="damaged gzip data"):
            array.isel(time=39).values  # noqa: B018
    assert array.isel(time=0).shape == (4, 16, 16)


@pytest.mark.parametrize("compressed", [False, True])
def test_load_lying_header_allocates_nothing(tmp_path: Path, compressed: bool) -> None:
    """What a header claims is not allocated before it is known to be there."""
    file = write_nifti(tmp_path / "lie.nii", counting(SHAPE), sform=DIAGONAL)
    content = _set(file.read_bytes(), "dim", _i2(4, 20, 20, 20, 20))
    if compressed:
        file = tmp_path / "lie.nii.gz"
        content = gzip.compress(content)
    file.write_bytes(content)
    tracemalloc.start()

    with pytest.raises(FileFormatError, match="the header promises"):
        load(file)

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 500_000


def test_load_several_gzip_members_and_padding_are_read(tmp_path: Path) -> None:
    """Members one after another, and zeros after the last, are one file, as for gunzip."""
    data = counting((16, 16, 4, 10))
    content = write_nifti(tmp_path / "m.nii", data, sform=DIAGONAL).read_bytes()
    parts = [content[start : start + 7000] for start in range(0, len(content), 7000)]
    file = tmp_path / "members.nii.gz"
    file.write_bytes(b"".join(map(gzip.compress, parts)) + b"\0" * 600)

    np.testing.assert_array_equal(load(file).values, data.T)
