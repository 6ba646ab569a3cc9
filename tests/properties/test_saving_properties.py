"""Whatever `load` can give is saved, and loaded again as it was; other readers agree."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import xarray as xr
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from builders import counting, write_nifti
from confusius_datasets import load, save

DTYPES = ("u1", "i1", "u2", "i2", "i4", "u4", "i8", "u8", "f4", "f8", "c8", "c16")

UNITS = [("mm", "sec"), ("micron", "msec"), ("meter", "usec"), (None, None)]

numbers = st.floats(-10, 10, width=32).map(lambda value: round(value, 3))


@st.composite
def sforms(draw: st.DrawFn) -> Any:
    """Draw an invertible affine: rotated, sheared, mirrored, anything."""
    affine = np.eye(4)
    affine[:3] = [[draw(numbers) for _ in range(4)] for _ in range(3)]
    norms = np.linalg.norm(affine[:3, :3], axis=0)
    assume((norms > 1e-2).all())
    # Nearer to singular, steps are so short that rounding is all that is left of them.
    assume(abs(np.linalg.det(affine[:3, :3] / norms)) > 1e-2)
    return affine


@st.composite
def qforms(draw: st.DrawFn) -> Any:
    """Draw an affine that a qform can hold: a rotation, voxel sizes, perhaps a mirror."""
    turns = np.array([draw(st.just(0.0) | st.floats(-1, 1)) for _ in range(4)])
    assume(np.linalg.norm(turns) > 0.1)
    sizes = [draw(st.sampled_from([0.1, 0.25, 0.5, 1.0, 3.0])) for _ in range(3)]
    sizes[2] *= draw(st.sampled_from([-1, 1]))
    affine = np.eye(4)
    affine[:3, :3] = nibabel.quaternions.quat2mat(turns / np.linalg.norm(turns)) @ np.diag(sizes)
    affine[:3, 3] = [draw(numbers) for _ in range(3)]
    return affine


@st.composite
def sidecars(draw: st.DrawFn, shape: tuple[int, ...]) -> dict[str, Any]:
    """Draw fields: regular, late or irregular times, slices, known and unknown fields."""
    fields: dict[str, Any] = {}
    size = shape[3] if len(shape) > 3 else 1
    kind = draw(st.sampled_from(["none", "repeated", "listed", "both"]))
    if kind in ("repeated", "both"):
        fields["RepetitionTime"] = draw(st.sampled_from([0.3, 0.4, 1, 2.4]))
        if draw(st.booleans()):
            fields["DelayAfterTrigger"] = draw(st.sampled_from([0.1, 12.7]))
        if draw(st.booleans()):
            fields["DelayTime"] = draw(st.sampled_from([0.05, 0.2]))
    if kind in ("listed", "both"):
        steps = [draw(st.floats(0.1, 3)) for _ in range(size)]
        fields["VolumeTiming"] = np.cumsum(steps).tolist()
        if draw(st.booleans()):
            fields["FrameAcquisitionDuration"] = draw(st.sampled_from([0.05, 0.1]))
    if draw(st.booleans()):
        fields["SliceTiming"] = [0.01 * number for number in range(shape[2])]
        fields["SliceEncodingDirection"] = draw(st.sampled_from(["k", "k-"]))
    known = {
        "TaskName": "awake",
        "ProbeCentralFrequency": 15e6,
        "UltrasoundTransmitFrequency": 15e6,
        "PlaneWaveAngles": [-10, 0.5, 10],
        "ConfUSIusUnits": "a.u.",
        "ConfUSIusAffines": {"physical_to_lab": np.diag([1, 2, 3, 1.0]).tolist()},
        "Own": {"nested": [1, "two", None]},
    }
    for field in draw(st.sets(st.sampled_from(sorted(known)))):
        fields[field] = known[field]
    return fields


@st.composite
def files(draw: st.DrawFn) -> dict[str, Any]:
    """Draw what a file holds."""
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=3, max_size=5)))
    dtype = draw(st.sampled_from(DTYPES))
    return {
        "data": counting(shape, dtype),
        "sform": draw(sforms() | st.none()),
        "qform": draw(qforms() | st.none()),
        "codes": draw(st.tuples(st.integers(1, 5), st.integers(1, 5))),
        "pixdim": {4: draw(st.sampled_from([0.0, 0.5, 0.3, 600.0]))},
        "units": draw(st.sampled_from(UNITS)),
        "image_class": draw(st.sampled_from([nibabel.Nifti1Image, nibabel.Nifti2Image])),
        "byteorder": draw(st.sampled_from("<>")),
        "scaling": draw(st.none() | st.just((0.5, 10.0))) if dtype[0] in "iu" else None,
        "sidecar": draw(sidecars(shape)),
    }


def assert_same(again: xr.DataArray, array: xr.DataArray) -> None:
    """Compare values, types and texts exactly, and coordinates but for the rounding of floats."""
    assert again.dims == array.dims
    assert again.dtype == array.dtype
    np.testing.assert_array_equal(again.values, array.values)
    assert again.coords.keys() == array.coords.keys()
    for name, coord in array.coords.items():
        other = again.coords[name]
        assert other.dims == coord.dims
        np.testing.assert_allclose(other, coord, rtol=1e-9, atol=1e-9)
        assert_same_attributes(other.attrs, coord.attrs)
    if "time" in array.dims:
        np.testing.assert_array_equal(again.time, array.time)
    assert_same_attributes(again.attrs, array.attrs)


def assert_same_attributes(again: dict[Any, Any], attrs: dict[Any, Any]) -> None:
    """Compare attributes; numbers and matrices but for rounding."""
    assert again.keys() == attrs.keys()
    for key, value in attrs.items():
        if key == "affines":
            assert again[key].keys() == value.keys()
            for name, matrix in value.items():
                np.testing.assert_allclose(again[key][name], matrix, rtol=1e-7, atol=1e-7)
        elif isinstance(value, float):
            np.testing.assert_allclose(again[key], value, rtol=1e-9, atol=1e-9)
        else:
            assert again[key] == value


@pytest.mark.slow
@settings(max_examples=150)
@given(made=files(), extension=st.sampled_from([".nii", ".nii.gz"]), chunked=st.booleans())
def test_nifti_gives_back_what_load_gave(
    tmp_path: Path, made: dict[str, Any], extension: str, chunked: bool
) -> None:
    """Values, times, coordinates, matrices and attributes; and nibabel reads the same."""
    with warnings.catch_warnings(action="ignore"):  # of what is odd about the file
        source = write_nifti(tmp_path / "a_pwd.nii", **made)
        array = load(source, chunks={"x": 2} if chunked else None)
        written = save(array, tmp_path / f"b_pwd{extension}", overwrite=True)
        again = load(written)
        image = nibabel.load(written)

        assert_same(again, array)
        np.testing.assert_array_equal(np.asanyarray(image.dataobj).T.squeeze(), array.squeeze())
        if "affines" in array.attrs and array.attrs.get("sform_code"):
            original = nibabel.load(source).header.get_sform()
            np.testing.assert_allclose(image.header.get_sform(), original, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
@settings(max_examples=60)
@given(made=files(), extension=st.sampled_from([".zarr", ".nc"]), chunked=st.booleans())
def test_stores_give_back_exactly_what_load_gave(
    tmp_path: Path, made: dict[str, Any], extension: str, chunked: bool
) -> None:
    """All of it, the name too."""
    assume(extension == ".zarr" or made["data"].dtype.kind != "c")
    with warnings.catch_warnings(action="ignore"):  # of what is odd about the file
        source = write_nifti(tmp_path / "a_pwd.nii", **made)
        array = load(source, chunks={"x": 2} if chunked else None)
    array = array.assign_coords(subject="mouse1", run=2)

    again = load(save(array, tmp_path / f"b{extension}", overwrite=True))

    assert again.dtype == array.dtype
    xr.testing.assert_identical(again.compute(), array.compute())
    assert again.name == array.name


@pytest.mark.parametrize("extension", [".nii", ".zarr"])
def test_integers_of_every_type_keep_their_extremes(extension: str, tmp_path: Path) -> None:
    """No value is taken for a missing one, and none is scaled."""
    for dtype in DTYPES[:8]:
        limits = np.iinfo(dtype)
        array = xr.DataArray(
            np.array([[[limits.min, 0, limits.max]]], dtype), dims=("z", "y", "x"), name="a"
        )
        path = save(array, tmp_path / f"a{extension}", overwrite=True)
        with warnings.catch_warnings(action="ignore"):
            again = load(path)
        assert again.dtype == dtype
        np.testing.assert_array_equal(again, array)
