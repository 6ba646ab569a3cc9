"""What holds for the arrays of every format: the file they read, their attributes, their names."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from builders import DIAGONAL, counting, write_nifti
from confusius_datasets._io import load
from confusius_datasets._io.matrices import Matrices
from confusius_datasets.errors import FileFormatError, MissingFileError
from scan_files import scan_v1_content, scan_v2_bytes, write_hdf5

N_T = 6


def _nifti(path: Path, factor: float) -> None:
    write_nifti(path, factor * counting((5, 4, 3, N_T)), sform=DIAGONAL)


def _scan_v1(path: Path, factor: float) -> None:
    data = factor * counting((N_T, 3, 2, 4))
    write_hdf5(path, scan_v1_content("2Dscan", data, times=[0.4 * n for n in range(1, N_T + 1)]))


def _scan_v2(path: Path, factor: float) -> None:
    data = factor * counting((1, 1, N_T, 3, 2, 4), "f8")
    times = np.arange(1.0, 2 * N_T + 1).reshape(N_T, 1, 2)
    path.write_bytes(scan_v2_bytes(data, times=times))


WRITERS: dict[str, tuple[str, Callable[[Path, float], None]]] = {
    "nii": ("sub-01_pwd.nii", _nifti),
    "nii.gz": ("sub-01_pwd.nii.gz", _nifti),
    "scan v1": ("a.scan", _scan_v1),
    "scan v2": ("b.scan", _scan_v2),
}


@pytest.fixture(params=WRITERS)
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Write a file of each format."""
    name, write = WRITERS[request.param]
    write(tmp_path / name, 1)
    return tmp_path / name


def _write_again(file: Path, factor: float) -> None:
    next(write for name, write in WRITERS.values() if name == file.name)(file, factor)


def _restore_times(file: Path, status: os.stat_result) -> None:
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_replaced_file_is_an_error_and_loads_anew(file: Path) -> None:
    """An array never gives values of a file that took the place of its own."""
    array = load(file)
    before = array.isel(time=0).values
    os.utime(file, ns=(0, 0))
    _write_again(file, 3)

    with pytest.raises(FileFormatError) as caught:
        array.isel(time=1).values  # noqa: B018

    assert str(caught.value).startswith(f"{file}: the file changed since it was opened")
    np.testing.assert_array_equal(load(file).isel(time=0), 3 * before)


@pytest.mark.parametrize("in_place", [True, False])
def test_replaced_file_of_the_same_size_and_time_is_an_error(file: Path, in_place: bool) -> None:
    """`cp -p` and `rsync -t` keep size and time of change; the content tells."""
    if file.name.endswith(".gz"):
        write_nifti(file, np.zeros((5, 4, 3, N_T), "f4"), sform=DIAGONAL)
    status = file.stat()
    array = load(file)
    other = file.with_name("other")
    content = bytearray(file.read_bytes())
    content[-1] ^= 0xFF
    other.write_bytes(content)
    if in_place:
        shutil.copyfile(other, file)
    else:
        other.replace(file)
    _restore_times(file, status)

    with pytest.raises(FileFormatError, match="the file changed since it was opened"):
        array.values  # noqa: B018


def test_change_of_permissions_or_links_is_no_change(file: Path) -> None:
    """A cache whose permissions are mended while a job runs does not stop the job."""
    array = load(file)
    expected = load(file).values
    file.chmod(0o640)
    os.link(file, file.with_name("linked"))

    np.testing.assert_array_equal(array, expected)


def test_file_that_is_gone_is_a_missing_file(file: Path) -> None:
    """A file that was evicted since is told as such."""
    array = load(file)
    file.unlink()

    with pytest.raises(MissingFileError, match="the file is gone since it was opened"):
        array.values  # noqa: B018


def test_two_loads_are_identical_and_join_strictly(file: Path) -> None:
    """Attributes compare by value, so xarray's strict rules hold for two loads of one file."""
    first, second = load(file), load(file)
    strict: tuple[Any, ...] = ("identical", "no_conflicts", "drop_conflicts")

    assert first.identical(second)
    for rule in strict:
        joined = xr.concat([first, second], "run", combine_attrs=rule)
        merged = xr.merge([first.rename("a"), second.rename("b")], combine_attrs=rule)
        added = xr.apply_ufunc(np.add, first, second, keep_attrs=rule)
        for array in (joined, merged["a"], added):
            assert array.attrs["affines"] == first.attrs["affines"]
    second.attrs["affines"] = Matrices(first.attrs["affines"], physical_to_lab=np.zeros((4, 4)))
    assert not first.identical(second)


def test_array_says_where_it_is_from_and_what_it_is(file: Path) -> None:
    """`encoding["source"]` is the file, and `long_name` labels the colour bar of a plot."""
    array = load(file)

    assert array.encoding["source"] == str(file)
    assert array.attrs["long_name"] == "Power Doppler intensity"


def test_matrices_compare_by_value() -> None:
    """With plain dictionaries and lists too, as they come out of a Zarr store."""
    eye = {"a": np.eye(4)}

    assert Matrices(eye) == eye
    assert eye == Matrices(eye)
    assert Matrices(eye) == {"a": np.eye(4).tolist()}
    assert Matrices(eye).copy() == Matrices(eye)
    assert Matrices(eye) != {"a": np.zeros((4, 4))}
    assert Matrices(eye) != {"b": np.eye(4)}
    assert Matrices(eye) != {"a": "no matrix"}
    assert Matrices(eye) != 3
