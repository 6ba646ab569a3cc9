"""`save`: what each format holds, what it refuses, and what it leaves at the place."""

from __future__ import annotations

import json
import os
import sys
import tracemalloc
import warnings
from pathlib import Path
from typing import Any

import dask.array
import nibabel
import numpy as np
import pytest
import xarray as xr

from builders import DIAGONAL, counting, write_nifti
from confusius_datasets import load, save
from confusius_datasets._io.saving import nifti
from confusius_datasets.errors import ArgumentError, FileFormatError, MissingDependencyError
from marks import slow

EXTENSIONS = (".nii", ".nii.gz", ".zarr", ".nc")


def make(tmp_path: Path, shape: tuple[int, ...] = (5, 4, 3, 6), **options: Any) -> xr.DataArray:
    """Load a small file."""
    return load(
        write_nifti(tmp_path / "source" / "a.nii", counting(shape), sform=DIAGONAL, **options)
    )


# Places.


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_what_is_there_is_replaced_only_if_asked(tmp_path: Path, extension: str) -> None:
    """An existing target is an error; replaced, also when the array is read from it."""
    array = make(tmp_path)
    path = save(array, tmp_path / "new" / f"b{extension}")
    again = load(path)

    with pytest.raises(FileExistsError, match="overwrite=True"):
        save(array, path)
    assert save(again + 1, path, overwrite=True) == path
    np.testing.assert_array_equal(load(path), array + 1)
    names = {file.name for file in path.parent.iterdir()}
    assert names == ({path.name, "b.json"} if ".nii" in extension else {path.name})


def test_a_sidecar_in_the_way_is_not_replaced(tmp_path: Path) -> None:
    """It may be one that somebody wrote for another file."""
    (tmp_path / "b.json").write_text("{}")

    with pytest.raises(FileExistsError, match=r"b\.json exists"):
        save(make(tmp_path), tmp_path / "b.nii.gz")
    assert not (tmp_path / "b.nii.gz").exists()


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_array_that_fails_on_the_way_leaves_nothing(tmp_path: Path, extension: str) -> None:
    """What was there stays whole, and nothing lies beside it."""
    path = save(make(tmp_path), tmp_path / "out" / f"b{extension}")
    before = load(path).compute()

    def fail(block: Any) -> Any:
        raise RuntimeError("no more")

    broken = before.copy(data=dask.array.from_array(before.values).map_blocks(fail, dtype="f4"))
    names = sorted(path.parent.iterdir())
    with pytest.raises(RuntimeError, match="no more"):
        save(broken, path, overwrite=True)

    assert sorted(path.parent.iterdir()) == names
    assert load(path).identical(before)


def test_files_get_the_permissions_of_the_umask(tmp_path: Path) -> None:
    """A group that shares a folder can read what was saved there."""
    before = os.umask(0o002)
    try:
        path = save(make(tmp_path), tmp_path / "b.nii.gz")
    finally:
        os.umask(before)

    assert path.stat().st_mode & 0o777 == 0o664
    assert path.with_name("b.json").stat().st_mode & 0o777 == 0o664


def test_equal_arrays_give_equal_files(tmp_path: Path) -> None:
    """No time and no name goes into a compressed file."""
    array = make(tmp_path)

    first, second = (save(array, tmp_path / name / "b.nii.gz") for name in "xy")

    assert first.read_bytes() == second.read_bytes()


# Refused.


@pytest.mark.parametrize(
    ("name", "said"),
    [("b.scan", r"saved as \.nii"), ("b.nii.bz2", r"Did you mean '\.nii"), ("b", "extension")],
)
def test_unknown_extension_is_refused(tmp_path: Path, name: str, said: str) -> None:
    """The message lists what can be written."""
    with pytest.raises(FileFormatError, match=said):
        save(make(tmp_path), tmp_path / name)


def test_what_is_no_array_is_refused(tmp_path: Path) -> None:
    """A dataset has several, each with a file of its own."""
    with pytest.raises(TypeError, match="save each of its variables"):
        save(make(tmp_path).to_dataset(name="a"), tmp_path / "b.nii")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="without dimensions"):
        save(xr.DataArray(1.0), tmp_path / "b.nii")


def test_what_nifti_cannot_hold_is_refused_with_a_way_out(tmp_path: Path) -> None:
    """Texts, uneven voxels, too many dimensions, and several units of length."""
    array = make(tmp_path)
    uneven = array.assign_coords(x=[0.0, 1, 2, 4, 8])
    many = array.expand_dims(["a", "b", "c", "d"])
    units = array.assign_coords(x=array.x.assign_attrs(units="m"))

    for bad, said in (
        (array.astype(str), "cannot hold values of the type"),
        (array.astype(np.longdouble), "cannot hold values of the type"),
        (uneven, "coordinates of 'x' are not equally spaced"),
        (many, "room for three dimensions"),
        (units, "units of their own"),
    ):
        with pytest.raises(ArgumentError, match=said):
            save(bad, tmp_path / "b.nii")
    assert not list(tmp_path.glob("b*"))
    with pytest.raises(ArgumentError, match="no complex numbers"):
        save(array.astype(complex), tmp_path / "b.nc")


@pytest.mark.parametrize(("extension", "package"), [(".zarr", "zarr"), (".nc", "h5netcdf")])
def test_missing_package_is_named(
    tmp_path: Path, extension: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the extra that brings it, for reading and for writing."""
    array = make(tmp_path)
    path = save(array, tmp_path / f"a{extension}")
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(MissingDependencyError, match=rf"'{package}'.*pip install"):
        save(array, tmp_path / f"b{extension}")
    with pytest.raises(MissingDependencyError, match=rf"'{package}'.*pip install"):
        load(path)


# Left out, and told.


def test_what_a_file_cannot_hold_is_named(tmp_path: Path) -> None:
    """Objects in attributes, and coordinates that are no axes of NIfTI."""
    array = make(tmp_path).assign_attrs(made_by=object(), kept=np.float32(0.5))
    with pytest.warns(UserWarning, match="cannot hold are left out: made_by"):
        path = save(array, tmp_path / "b.zarr")
    assert load(path).attrs["kept"] == 0.5

    drift = make(tmp_path).assign_coords(drift=("time", np.arange(6.0)), subject="mouse1")
    with pytest.warns(UserWarning, match=r"cannot hold these coordinates.*: drift\."):
        path = save(drift, tmp_path / "c.nii")
    assert set(load(path).coords) == {"time", "z", "y", "x"}


def test_sidecars_further_up_do_not_become_part_of_a_saved_array(tmp_path: Path) -> None:
    """A null in its own sidecar takes away what the dataset says of every file."""
    (tmp_path / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9.0"}')
    (tmp_path / "task-a_pwd.json").write_text('{"TaskName": "a", "RepetitionTime": 9}')
    array = make(tmp_path / "other", pixdim={4: 0.5})

    path = save(array, tmp_path / "sub-1" / "fusi" / "sub-1_task-a_pwd.nii")

    assert json.loads(path.with_suffix(".json").read_text()) == {
        "TaskName": None,
        "RepetitionTime": None,
    }
    assert load(path).time.identical(array.time)


# Arrays that were changed.


def test_parts_of_an_oblique_array_keep_their_places(tmp_path: Path) -> None:
    """A crop, a stride and a plane are where they were, though coordinates follow the affine."""
    linear = nibabel.quaternions.quat2mat([0.9, 0.1, 0.3, 0.2]) @ np.diag([0.1, 0.2, 0.4])
    oblique = np.eye(4)
    oblique[:3, :3], oblique[:3, 3] = linear, [1, 2, 3]
    array = load(write_nifti(tmp_path / "a.nii", counting((5, 4, 3)), sform=oblique))

    for key in ({"x": slice(1, None)}, {"y": slice(0, None, 2)}, {"z": 1}, {"x": [3]}):
        part = array.isel(key)
        with warnings.catch_warnings(action="ignore"):  # of coordinates that follow the affine
            path = save(part, tmp_path / "b.nii", overwrite=True)
        image = nibabel.load(path)
        first = [float(part[dim].values.flat[0]) for dim in ("z", "y", "x")]
        world = array.attrs["affines"]["physical_to_sform"] @ [*first, 1]
        np.testing.assert_allclose(image.affine[:3, 3], world[2::-1], rtol=1e-6)
        np.testing.assert_array_equal(image.get_fdata().T.squeeze(), part.squeeze())


def test_mirrored_axis_is_told(tmp_path: Path) -> None:
    """NIfTI has `y` and `z` upwards."""
    with pytest.warns(UserWarning, match="those of x, y will be others"):
        path = save(make(tmp_path).isel(y=slice(None, None, -1)), tmp_path / "b.nii")

    image = nibabel.load(path)
    np.testing.assert_array_equal(image.get_fdata()[:, ::-1], counting((5, 4, 3, 6)))


def test_array_without_affines_gets_one_from_its_coordinates(tmp_path: Path) -> None:
    """A result of arithmetic, whose attributes are gone."""
    result = make(tmp_path).drop_attrs()

    again = load(save(result, tmp_path / "b.nii"))

    assert again.attrs["qform_code"] == 1
    for dim in ("z", "y", "x"):
        np.testing.assert_allclose(again[dim], result[dim])


@pytest.mark.parametrize(("reference", "shift"), [("end", 0.4), ("center", 0.2), ("start", 0.0)])
def test_times_are_saved_as_starts_of_volumes(tmp_path: Path, reference: str, shift: float) -> None:
    """As BIDS has them; the duration says how far they lie from other references."""
    array = make(tmp_path, pixdim={4: 0.5})
    attrs = {"volume_acquisition_reference": reference, "volume_acquisition_duration": 0.4}
    array = array.assign_coords(time=array.time.assign_attrs(attrs))

    again = load(save(array, tmp_path / "b.nii"))

    np.testing.assert_allclose(again.time, array.time - shift, atol=1e-12)
    assert again.time.attrs["volume_acquisition_duration"] == pytest.approx(0.4)


def test_poses_come_back_by_their_name(tmp_path: Path) -> None:
    """An axis of its own, past time in the file and before it in the array."""
    lab = np.stack([np.diag([1, 1, number, 1.0]) for number in (1, 2, 3)])
    array = xr.DataArray(
        counting((2, 3, 1, 4, 5)),
        dims=("time", "pose", "z", "y", "x"),
        coords={"pose": [0, 1, 2], "time": [0.5, 1.0]},
        attrs={
            "affines": {"physical_to_lab": np.stack([np.diag([1, 1, n, 1.0]) for n in (1, 2, 3)])}
        },
    )
    with warnings.catch_warnings(action="ignore"):  # there are no coordinates in space
        again = load(save(array, tmp_path / "b.nii"))

    xr.testing.assert_equal(
        again.transpose(*array.dims).drop_vars(["z", "y", "x"]), array.drop_attrs()
    )
    np.testing.assert_array_equal(again.attrs["affines"]["physical_to_lab"], lab)


def test_finer_numbers_than_nifti_1_has_make_a_nifti_2_file(tmp_path: Path) -> None:
    """And no others do, as more programs read NIfTI-1."""
    array = make(tmp_path)
    fine = array.drop_attrs().assign_coords(x=0.3 * np.arange(5) + 1 / 3)

    assert nibabel.load(save(array, tmp_path / "b.nii")).header.sizeof_hdr == 348
    path = save(fine, tmp_path / "c.nii")
    assert nibabel.load(path).header.sizeof_hdr == 540
    np.testing.assert_allclose(load(path).x, fine.x, rtol=1e-15)


# In pieces.


@pytest.mark.parametrize("extension", [slow(".nii"), slow(".nii.gz"), ".zarr"])
def test_large_array_is_written_in_pieces(
    tmp_path: Path, extension: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dask chunks are computed once each, and never all of them at once."""
    monkeypatch.setattr(nifti, "BLOCK_NBYTES", 1 << 20)
    monkeypatch.setattr("confusius_datasets._io.saving.stores.CHUNK_NBYTES", 1 << 20)
    computed: list[int] = []

    def count(block: Any, block_info: Any = None) -> Any:
        computed.append(block.nbytes)
        return block

    zeros = dask.array.zeros((320, 1, 256, 256), chunks=(8, 1, 256, 256), dtype="f4")
    array = xr.DataArray(
        zeros.map_blocks(count, dtype="f4", meta=np.empty((0,) * 4, "f4")),
        dims=("time", "z", "y", "x"),
        name="b",
    )

    tracemalloc.start()
    path = save(array, tmp_path / f"b{extension}")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(computed) == 40
    assert peak < array.nbytes / 2
    with warnings.catch_warnings(action="ignore"):
        assert load(path).sizes == array.sizes


@pytest.mark.slow
def test_array_without_chunks_is_read_and_written_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that `load` gave is copied without being held as a whole."""
    monkeypatch.setattr(nifti, "BLOCK_NBYTES", 1 << 20)
    array = make(tmp_path, (64, 64, 1, 1200))

    tracemalloc.start()
    path = save(array, tmp_path / "b.nii.gz")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < array.nbytes / 2
    assert load(path).equals(array)


# NetCDF as it is found.


def test_variables_of_netcdf_files_are_chosen_by_name(tmp_path: Path) -> None:
    """The first unless one is named; a wrong name lists those there are."""
    dataset = xr.Dataset({"one": ("x", [1.0, 2.0]), "two": ("x", [3.0, 4.0])})
    dataset.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")

    assert load(tmp_path / "a.nc").name == "one"
    assert load(tmp_path / "a.nc", variable="two").values.tolist() == [3, 4]
    with pytest.raises(KeyError, match="Did you mean 'two'"):
        load(tmp_path / "a.nc", variable="to")


def test_file_that_is_no_netcdf_is_called_so(tmp_path: Path) -> None:
    """And one that changed since it was opened gives no values of another one."""
    (tmp_path / "a.nc").write_bytes(b"nothing of the kind")
    with pytest.raises(FileFormatError, match="not a NetCDF 4 file"):
        load(tmp_path / "a.nc")
    xr.Dataset().to_netcdf(tmp_path / "b.nc", engine="h5netcdf")
    with pytest.raises(FileFormatError, match="holds no data variable"):
        load(tmp_path / "b.nc")
    array = load(save(make(tmp_path), tmp_path / "c.nc"))
    save(make(tmp_path) * 2, tmp_path / "c.nc", overwrite=True)
    with pytest.raises(FileFormatError, match="changed since it was opened"):
        array.compute()


def test_netcdf_files_are_loaded_in_chunks(tmp_path: Path) -> None:
    """As any other format."""
    array = make(tmp_path)

    chunked = load(save(array, tmp_path / "c.nc"), chunks={"time": 2})

    assert chunked.chunks[0] == (2, 2, 2)
    assert chunked.equals(array)


@pytest.mark.parametrize("extension", [".zarr", ".nc"])
def test_what_xarray_itself_writes_is_loaded_with_matrices(tmp_path: Path, extension: str) -> None:
    """Lists in Zarr and a text in NetCDF become matrices, so that the array is as it was."""
    array = make(tmp_path)
    lists = {name: matrix.tolist() for name, matrix in array.attrs["affines"].items()}
    path = tmp_path / f"by-xarray{extension}"

    if extension == ".zarr":
        array.assign_attrs(affines=lists).to_zarr(path, zarr_format=2)
    else:
        array.assign_attrs(affines=json.dumps(lists)).to_netcdf(path, engine="h5netcdf")

    assert load(path).identical(array)


def test_text_that_is_no_matrix_stays_a_text_in_netcdf(tmp_path: Path) -> None:
    """Somebody else's attribute may have the same name."""
    for number, text in enumerate(["none", "[1, 2]", '{"a": "b"}']):
        array = xr.DataArray(np.zeros(3), dims="x", name="a", attrs={"affines": text})
        array.to_netcdf(tmp_path / f"{number}.nc", engine="h5netcdf")

        assert load(tmp_path / f"{number}.nc").attrs["affines"] == text
