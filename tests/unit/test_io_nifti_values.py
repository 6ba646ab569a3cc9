"""Values of loaded NIfTI files: equal to nibabel's, of the announced type, in any selection."""

from __future__ import annotations

import copy
import os
import pickle
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import xarray as xr

from builders import DIAGONAL, affine_of, counting, write_nifti
from confusius_datasets._io import load
from confusius_datasets._io.bytes.readers import PART, PlainReader
from confusius_datasets._io.nifti import array as nifti_array
from confusius_datasets.errors import FileFormatError
from descriptors import list_open
from marks import slow

TYPES = ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8", "c8", "c16"]
SHAPE = (5, 4, 3, 6)


@pytest.mark.parametrize("extension", [".nii", ".nii.gz"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("image_class", [nibabel.Nifti1Image, slow(nibabel.Nifti2Image)])
@pytest.mark.parametrize("scaling", [None, (0.5, 10.0), (1.0, 0.0), (0.0, 3.0), (np.nan, 1.0)])
def test_load_every_type_equals_nibabel(
    tmp_path: Path, extension: str, byteorder: str, image_class: Any, scaling: Any
) -> None:
    """Whatever the type, byte order, version and scaling, values are nibabel's."""
    for dtype in TYPES:
        file = write_nifti(
            tmp_path / f"{dtype}{extension}",
            counting(SHAPE, dtype),
            sform=DIAGONAL,
            image_class=image_class,
            byteorder=byteorder,
            scaling=scaling,
        )
        expected = np.asanyarray(nibabel.load(file).dataobj)

        array = load(file)

        assert array.dtype == expected.dtype.newbyteorder("=")
        assert array.values.dtype == array.dtype
        assert array.values.flags.c_contiguous
        np.testing.assert_array_equal(array.values, expected.T)


@pytest.mark.parametrize("extension", [".nii", ".nii.gz"])
@pytest.mark.parametrize("channels", ["RGB", "RGBA"])
def test_load_colours_equals_nibabel(tmp_path: Path, channels: str, extension: str) -> None:
    """Colours are structured values, as nibabel gives them, whole and in parts."""
    dtype = np.dtype([(channel, "u1") for channel in channels])
    data = np.zeros((4, 3, 2), dtype)
    for number, channel in enumerate(channels):
        data[channel] = counting((4, 3, 2), "u1") + number
    file = tmp_path / f"rgb{extension}"
    nibabel.save(nibabel.Nifti1Image(data, np.eye(4)), file)
    expected = np.asanyarray(nibabel.load(file).dataobj).T

    array = load(file)

    assert array.dtype == expected.dtype == dtype
    np.testing.assert_array_equal(array.isel(x=[2, 0], z=1).values, expected[1][:, [2, 0]])
    np.testing.assert_array_equal(array.values, expected)


def test_load_scaled_integers_announces_float64(tmp_path: Path) -> None:
    """The announced type is the one that computing gives, not the stored one."""
    data = counting((2, 2, 2), "i2")
    file = write_nifti(tmp_path / "i.nii", data, sform=DIAGONAL, scaling=(0.5, 10))

    array = load(file, chunks={"z": 1})

    assert array.dtype == np.float64
    assert array.compute().dtype == np.float64
    assert array.values[0, 0, :2].tolist() == [10.0, 12.0]


@pytest.mark.parametrize(
    ("shape", "dims"),
    [
        ((5,), ("x",)),
        ((5, 4), ("y", "x")),
        ((5, 4, 3), ("z", "y", "x")),
        ((5, 4, 3, 1), ("time", "z", "y", "x")),
        ((5, 4, 1, 6), ("time", "z", "y", "x")),
        ((3, 4, 2, 3, 2), ("dim4", "time", "z", "y", "x")),
        ((3, 4, 2, 3, 2, 2), ("dim5", "dim4", "time", "z", "y", "x")),
        ((3, 4, 2, 3, 2, 1, 2), ("dim6", "dim5", "dim4", "time", "z", "y", "x")),
    ],
)
def test_load_number_of_axes_gives_dims(
    tmp_path: Path, shape: tuple[int, ...], dims: tuple[str, ...]
) -> None:
    """The file's axes come out reversed; none is added or lost."""
    array = load(write_nifti(tmp_path / "n.nii.gz", counting(shape), sform=DIAGONAL))

    assert array.dims == dims
    np.testing.assert_array_equal(array.values, counting(shape).T)


def test_load_extra_axes_take_names_and_coordinates_from_sidecar(tmp_path: Path) -> None:
    """Axes past time are described by the sidecar, or else by pixdim; nothing of it stays."""
    file = write_nifti(
        tmp_path / "pose.nii",
        counting((2, 3, 1, 1, 2, 3)),
        sform=DIAGONAL,
        pixdim={6: 0.5},
        sidecar={
            "ConfUSIusDim4Name": "pose",
            "ConfUSIusDim4Coordinates": ["left", "right"],
            "ConfUSIusDim4Attrs": {"long_name": "probe pose"},
        },
    )

    array = load(file)

    assert array.dims == ("dim5", "pose", "z", "y", "x")
    assert array.pose.values.tolist() == ["left", "right"]
    assert array.pose.attrs == {"long_name": "probe pose"}
    assert array.dim5.values.tolist() == [0, 0.5, 1]
    assert list(array.attrs) == ["sform_code", "affines"]
    np.testing.assert_array_equal(array.values, counting((2, 3, 1, 1, 2, 3)).T[:, :, 0])


@pytest.mark.parametrize("name", ["time", "dim5", "slice_time", "", 3])
def test_load_extra_axis_of_unusable_description_warns(tmp_path: Path, name: Any) -> None:
    """A name that is taken and coordinates that do not fit are ignored with a warning."""
    file = write_nifti(
        tmp_path / "pose.nii",
        counting((2, 3, 1, 2, 2)),
        sform=DIAGONAL,
        sidecar={"ConfUSIusDim4Name": name, "ConfUSIusDim4Coordinates": [1, 2, 3]},
    )

    with pytest.warns(UserWarning) as caught:
        array = load(file)

    assert [str(warning.message) for warning in caught] == [
        "fUSI-BIDS validation warning:"
        f"\n  - `ConfUSIusDim4Name` ({name!r}) cannot name a dimension. Ignoring it."
        "\n  - `ConfUSIusDim4Coordinates` must list 2 coordinates. Ignoring it."
    ]
    assert array.dims == ("dim4", "time", "z", "y", "x")


@pytest.mark.parametrize(
    ("codes", "units"),
    [
        (("meter", "usec"), ("m", "us")),
        (("mm", "sec"), ("mm", "s")),
        (("micron", "msec"), ("um", "ms")),
    ],
)
def test_load_units_follow_header(
    tmp_path: Path, codes: tuple[str, str], units: tuple[str, str]
) -> None:
    """Units of length and time are named, values stay as they are."""
    file = write_nifti(tmp_path / "u.nii", counting(SHAPE), sform=DIAGONAL, units=codes)
    array = load(file)

    assert (array.x.attrs["units"], array.time.attrs["units"]) == units
    assert array.x.values[1] == -0.125


@pytest.mark.parametrize("unit", ["unknown", "hz", "ppm", "rads"])
def test_load_unknown_units_are_left_out(tmp_path: Path, unit: str) -> None:
    """A unit that is unknown, or not one of length or time, is no attribute."""
    file = write_nifti(tmp_path / "u.nii", counting(SHAPE), sform=DIAGONAL, units=("unknown", unit))
    array = load(file)

    assert array.x.attrs == {"voxdim": 0.125}
    assert array.time.attrs == {"volume_acquisition_reference": "start"}
    assert array.time.values.tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("step", [0.0, -0.5, np.nan, np.inf])
def test_load_header_without_a_step_in_time_counts_volumes(tmp_path: Path, step: float) -> None:
    """Where `pixdim[4]` is no possible time between volumes, they are numbered."""
    file = write_nifti(tmp_path / "t.nii", counting(SHAPE), sform=DIAGONAL, pixdim={4: step})

    assert load(file).time.values.tolist() == [0, 1, 2, 3, 4, 5]


def test_load_without_forms_mends_voxel_sizes(tmp_path: Path) -> None:
    """As in nibabel, a negative voxel size loses its sign, and zero becomes one."""
    file = write_nifti(tmp_path / "p.nii", counting((2, 2, 2)), pixdim={1: -0.5, 2: 0.0, 3: 0.25})

    with pytest.warns(UserWarning, match="Both sform_code and qform_code are 0"):
        array = load(file)

    assert [array[dim].values.tolist() for dim in "xyz"] == [[0, 0.5], [0, 1], [0, 0.25]]
    assert [array[dim].attrs["voxdim"] for dim in "xyz"] == [0.5, 1, 0.25]


@pytest.mark.parametrize("image_class", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_load_quaternion_longer_than_one_is_a_rotation(tmp_path: Path, image_class: Any) -> None:
    """However its quaternion was rounded, a qform turns and never stretches."""
    file = write_nifti(
        tmp_path / "q.nii",
        counting((2, 2, 2)),
        qform=affine_of((0.5, 0.25, 2.0)),
        image_class=image_class,
    )
    start = 256 if image_class is nibabel.Nifti1Image else 352
    content = bytearray(file.read_bytes())
    quaternion = np.array([0.6, 0.8, 0.01], "<f4" if image_class is nibabel.Nifti1Image else "<f8")
    content[start : start + quaternion.nbytes] = quaternion.tobytes()
    file.write_bytes(content)

    array = load(file)

    assert [array[dim].attrs["voxdim"] for dim in "xyz"] == pytest.approx([0.5, 0.25, 2])
    rotation = array.attrs["affines"]["physical_to_qform"][:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)


def test_load_nifti2_keeps_double_precision(tmp_path: Path) -> None:
    """NIfTI-2 stores doubles: 0.1 stays 0.1."""
    sform = np.diag([0.1, 0.1, 0.1, 1])
    options: Any = {"image_class": nibabel.Nifti2Image, "pixdim": {4: 0.1}}
    array = load(write_nifti(tmp_path / "d.nii", counting(SHAPE), sform=sform, **options))

    assert array.x.attrs["voxdim"] == 0.1
    assert array.time.values[1] == 0.1


SELECTIONS: list[dict[str, Any]] = [
    {"time": 2},
    {"time": -1, "x": 0},
    {"time": slice(1, 5, 2)},
    {"time": slice(None, None, -1)},
    {"time": [4, 0, 0, 3]},
    {"x": slice(1, 4), "y": [2, 0]},
    {"z": 1, "y": 2, "x": 3},
    {"time": [], "x": 1},
    {"time": slice(2, 2)},
    {"y": slice(3, None, -2), "time": [5, 1]},
]


@pytest.mark.parametrize("extension", [".nii", ".nii.gz"])
@pytest.mark.parametrize("scaling", [None, (2.0, 1.0)])
@pytest.mark.parametrize("scratch", [nifti_array.SCRATCH_NBYTES, 100])
def test_isel_reads_the_same_values_as_indexing_the_whole(
    tmp_path: Path, extension: str, scaling: Any, scratch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any selection, read by itself, equals the same selection of the whole."""
    # With small pieces, small arrays are read as large ones are.
    monkeypatch.setattr(nifti_array, "SCRATCH_NBYTES", scratch)
    monkeypatch.setattr(nifti_array, "PAGE_NBYTES", scratch // 5)
    file = write_nifti(
        tmp_path / f"s{extension}", counting(SHAPE, "i2"), sform=DIAGONAL, scaling=scaling
    )
    whole = load(file).load()
    opened = load(file)

    for selection in SELECTIONS:
        found = opened.isel(selection)

        np.testing.assert_array_equal(found.values, whole.isel(selection).values)


@pytest.mark.slow
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_load_plain_file_that_threads_share_equals_nibabel(tmp_path: Path, byteorder: str) -> None:
    """A file is read in parts once it is large; their seams are not to be seen."""
    data = counting((PART // 4 // 1000 + 1, 100, 5, 3))
    path = write_nifti(tmp_path / "sub-01_pwd.nii", data, sform=DIAGONAL, byteorder=byteorder)

    values = load(path).values

    assert values.nbytes > PART
    np.testing.assert_array_equal(values, np.asanyarray(nibabel.load(path).dataobj).T)


def test_plain_file_that_shrinks_while_it_is_read_is_cut_off(tmp_path: Path) -> None:
    """However it is shared out, the error says how many bytes there were."""
    path = tmp_path / "sub-01_pwd.nii"
    path.write_bytes(bytes(PART + 5))
    buffer = memoryview(bytearray(3 * PART))

    with (
        PlainReader(path).session(7, 3 * PART) as session,
        pytest.raises(FileFormatError, match=rf"the file has {PART + 5}\."),
    ):
        session.read_into(7, buffer)


def test_isel_pointwise_reads_the_right_values(tmp_path: Path) -> None:
    """Vectorized selection, which xarray takes apart, gives the right values, too."""
    file = write_nifti(tmp_path / "v.nii.gz", counting(SHAPE), sform=DIAGONAL)
    points = {
        "x": xr.DataArray([0, 4, 2], dims="point"),
        "time": xr.DataArray([5, 0, 2], dims="point"),
    }

    found = load(file).isel(points)

    np.testing.assert_array_equal(found.values, load(file).load().isel(points).values)


@pytest.mark.parametrize("extension", [".nii", ".nii.gz"])
def test_load_is_lazy_until_values_are_used(tmp_path: Path, extension: str) -> None:
    """Opening reads header and sidecars only; a file that grows meanwhile is noticed."""
    file = write_nifti(tmp_path / f"l{extension}", counting(SHAPE), sform=DIAGONAL)
    array = load(file)
    file.write_bytes(file.read_bytes() + b"more")

    with pytest.raises(ValueError, match="the file changed since it was opened: it had") as caught:
        array.values  # noqa: B018

    assert str(caught.value).startswith(f"{file}: ")


@pytest.mark.parametrize("extension", [".nii", ".nii.gz"])
def test_load_file_replaced_by_one_of_its_size_is_noticed(tmp_path: Path, extension: str) -> None:
    """Values of another file are never read by the header of the first."""
    file = write_nifti(tmp_path / f"r{extension}", counting(SHAPE), sform=DIAGONAL)
    array = load(file)
    _ = array.isel(time=0).values
    write_nifti(file, counting(SHAPE), sform=DIAGONAL, scaling=(2.0, 1.0))
    os.utime(file, ns=(0, 0))

    with pytest.raises(ValueError, match="the file changed since it was opened"):
        array.isel(time=1).values  # noqa: B018
    assert load(file).values[0, 0, 0, 1] == 2 * counting(SHAPE)[1, 0, 0, 0] + 1


def test_copies_of_a_lazy_array_read_the_same_values(tmp_path: Path) -> None:
    """Shallow, deep and renamed copies are as good as the array."""
    file = write_nifti(tmp_path / "c.nii.gz", counting(SHAPE), sform=DIAGONAL)
    array = load(file)

    for copied in (array.copy(deep=False), array.copy(), copy.deepcopy(array), array.rename("b")):
        np.testing.assert_array_equal(copied.isel(time=[4, 1]), counting(SHAPE).T[[4, 1]])


def test_load_pickles_without_the_values(tmp_path: Path) -> None:
    """A lazy array pickles as path and header, and reads by itself where it arrives."""
    data = counting((32, 32, 8, 20))
    file = write_nifti(tmp_path / "p.nii.gz", data, sform=DIAGONAL)

    pickled = pickle.dumps(load(file))

    assert len(pickled) < 10_000
    np.testing.assert_array_equal(pickle.loads(pickled).values, data.T)  # noqa: S301


def test_load_keeps_no_file_open(tmp_path: Path) -> None:
    """A file may be deleted after it was read, on every system."""
    file = write_nifti(tmp_path / "o.nii.gz", counting(SHAPE), sform=DIAGONAL)
    array = load(file)
    _ = array.isel(time=0).values

    assert list_open(file) == []
