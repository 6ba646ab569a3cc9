"""What holds for loading any NIfTI file."""

from __future__ import annotations

import gzip
import re
import warnings
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as npst
import nibabel
import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from builders import DIAGONAL, counting, write_nifti
from confusius_datasets._io import load
from confusius_datasets._io.bytes import readers, seek_index
from confusius_datasets._io.nifti import array as nifti_array
from confusius_datasets._io.nifti.fields import TIMING_FIELDS
from confusius_datasets._io.nifti.geometry import decompose
from confusius_datasets.errors import FileFormatError

shapes = st.lists(st.integers(1, 5), min_size=3, max_size=5).map(tuple)
entries = st.floats(-10, 10, width=32).map(lambda value: round(value, 3))


@st.composite
def affines(draw: st.DrawFn) -> Any:
    """Draw an invertible affine: rotated, sheared, mirrored, anything."""
    affine = np.eye(4)
    affine[:3] = [[draw(entries) for _ in range(4)] for _ in range(3)]
    assume(abs(np.linalg.det(affine[:3, :3])) > 1e-2)
    return affine


@st.composite
def qforms(draw: st.DrawFn) -> Any:
    """Draw an affine that a qform can hold: a rotation, voxel sizes, perhaps a mirror."""
    # Half turns, whose first part is 0, are what rounding hurts most.
    turns = np.array([draw(st.just(0.0) | st.floats(-1, 1)) for _ in range(4)])
    assume(np.linalg.norm(turns) > 0.1)
    sizes = [draw(st.sampled_from([0.1, 0.25, 0.5, 1.0, 3.0])) for _ in range(3)]
    sizes[2] *= draw(st.sampled_from([-1, 1]))
    affine = np.eye(4)
    rotation = nibabel.quaternions.quat2mat(turns / np.linalg.norm(turns))
    affine[:3, :3] = rotation @ np.diag(sizes)
    affine[:3, 3] = [draw(entries) for _ in range(3)]
    return affine


@pytest.mark.slow
@settings(max_examples=300)
@given(
    shape=shapes,
    sform=affines() | st.none(),
    qform=qforms() | st.none(),
    codes=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    two=st.booleans(),
)
def test_matrices_map_coordinates_to_the_world_of_the_header(
    tmp_path: Path,
    shape: tuple[int, ...],
    sform: Any,
    qform: Any,
    codes: tuple[int, int],
    two: bool,
) -> None:
    """For each voxel and form, matrix times coordinates is the NIfTI affine times the index."""
    assume(sform is not None or qform is not None)
    image_class = nibabel.Nifti2Image if two else nibabel.Nifti1Image
    file = write_nifti(
        tmp_path / "a.nii",
        counting(shape),
        sform=sform,
        qform=qform,
        codes=codes,
        image_class=image_class,
    )
    with file.open("rb") as opened:
        header = image_class.header_class.from_fileobj(opened)
    # nibabel refuses half turns that it rounded itself, in double precision only.
    stored_qform = qform if two and qform is not None else header.get_qform()
    corners = np.array(np.meshgrid(*[[0, size - 1] for size in shape[:3]])).reshape(3, -1)

    with warnings.catch_warnings(action="ignore"):  # of voxels that pixdim says otherwise
        array = load(file)

    for form, stored in (("sform", header.get_sform()), ("qform", stored_qform)):
        matrix = array.attrs["affines"].get(f"physical_to_{form}")
        assert (matrix is not None) == (header[f"{form}_code"] > 0)
        if matrix is None:
            continue
        world = stored @ np.vstack([corners, np.ones(corners.shape[1])])
        i, j, k = corners
        coordinates = [array.z.values[k], array.y.values[j], array.x.values[i], np.ones(len(i))]
        # What floats lose, with steps that shear makes a hundred thousand times shorter; a qform
        # loses half of all digits near a half turn, since it stores no first part.
        atol = 1e-6 if form == "qform" else 1e-7
        np.testing.assert_allclose((matrix @ coordinates)[:3], world[2::-1], rtol=0, atol=atol)


@given(affine=affines())
def test_decompose_keeps_the_volume_and_the_order_of_columns(affine: Any) -> None:
    """Steps multiply to the determinant, and only the first may be negative."""
    steps = decompose(affine[:3, :3])

    np.testing.assert_allclose(np.prod(steps), np.linalg.det(affine[:3, :3]), rtol=1e-6)
    assert steps[1] > 0
    assert steps[2] > 0
    np.testing.assert_allclose(abs(steps[0]), np.linalg.norm(affine[:3, 0]), rtol=1e-9)


@st.composite
def files_and_keys(draw: st.DrawFn) -> Any:
    """Draw the shape of a file and a selection out of its array."""
    shape = draw(st.lists(st.integers(1, 7), min_size=1, max_size=5).map(tuple))
    key = draw(npst.basic_indices(shape[::-1], allow_newaxis=False, allow_ellipsis=False))
    return shape, key if isinstance(key, tuple) else (key,)


@pytest.mark.slow
@settings(max_examples=200)
@given(
    drawn=files_and_keys(),
    dtype=st.sampled_from(["u1", "i2", "f4", "c8"]),
    byteorder=st.sampled_from("<>"),
    scaling=st.sampled_from([None, (2.0, -1.0)]),
    extension=st.sampled_from([".nii", ".nii.gz"]),
    scratch=st.integers(8, 300),
)
@example(((3, 3, 3), (slice(None), [2, 0], 1)), "f4", "<", None, ".nii", 50)
def test_reading_a_selection_is_selecting_from_nibabels_array(
    tmp_path: Path,
    drawn: Any,
    dtype: str,
    byteorder: str,
    scaling: Any,
    extension: str,
    scratch: int,
) -> None:
    """Whatever the file and the selection, the values are those of nibabel's whole array."""
    shape, key = drawn
    assume(shape[3:4] != (1,) or len(shape) == 4)  # then there is no time axis
    file = write_nifti(
        tmp_path / f"a{extension}",
        counting(shape, dtype),
        sform=DIAGONAL,
        byteorder=byteorder,
        scaling=scaling,
    )
    whole = np.asanyarray(nibabel.load(file).dataobj).T
    limit = pytest.MonkeyPatch()
    limit.setattr(nifti_array, "SCRATCH_NBYTES", scratch)
    limit.setattr(nifti_array, "PAGE_NBYTES", scratch // 4)
    with limit.context():
        found = load(file)[key].values
    limit.undo()

    np.testing.assert_array_equal(found, whole[key])


@pytest.mark.slow
@settings(max_examples=25)
@given(frames=st.lists(st.integers(0, 29), min_size=1, max_size=12), near=st.integers(0, 30 * 8192))
def test_frames_in_any_order_are_the_right_ones(
    tmp_path: Path, frames: list[int], near: int
) -> None:
    """By the index, onwards or from the start: a frame is a frame."""
    data = np.random.default_rng(0).normal(size=(32, 16, 4, 30)).astype("f4")
    file = write_nifti(tmp_path / "frames.nii.gz", data, sform=DIAGONAL)
    limit = pytest.MonkeyPatch()
    limit.setattr(readers, "NEAR", near)
    limit.setattr(seek_index, "SMALLEST_SPACING", 1 << 16)
    array = load(file)

    for frame in frames:
        found = array.isel(time=frame).values

        np.testing.assert_array_equal(found, data.T[frame])
    limit.undo()


@st.composite
def damages(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Draw a good file, and what is left of it after some of its fields were written over."""
    two, big = draw(st.booleans()), draw(st.booleans())
    good = _template(two, big)
    content = bytearray(good)
    order = ">" if big else "<"
    numbers = [0, 1, -1, 7, 255, 32767, -32768, 1e30, 1e300, np.nan, np.inf, -np.inf]
    for _ in range(draw(st.integers(1, 4))):
        position = draw(st.integers(0, 135 if two else 87)) * 4 + draw(st.sampled_from([0, 2]))
        kind = draw(st.sampled_from(["i2", "i4", "i8", "f4", "f8", "u1"]))
        with np.errstate(all="ignore"):
            value = np.float64(draw(st.sampled_from(numbers))).astype(f"{order}{kind}")
        content[position : position + value.nbytes] = value.tobytes()
    return bytes(good), bytes(content)


@pytest.mark.slow
@settings(max_examples=3000)
@given(damage=damages(), compressed=st.booleans())
def test_any_header_loads_or_is_refused(
    tmp_path: Path, damage: tuple[bytes, bytes], compressed: bool
) -> None:
    """However a header is damaged, the file loads or is an error that names it; nothing else."""
    good, content = damage
    assert len(content) == len(good)
    file = tmp_path / f"fuzzed.nii{'.gz' if compressed else ''}"
    file.write_bytes(gzip.compress(content, compresslevel=1) if compressed else content)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "Both sform_code and qform_code are 0")
        warnings.filterwarnings("ignore", f"{re.escape(str(file))}: ", UserWarning)
        try:
            array = load(file)
        except FileFormatError as error:
            assert str(error).startswith(str(file))
            return
        assert array.nbytes < 1 << 20
        array.load()
    assert all(np.isfinite(array[dim]).all() for dim in array.dims)
    assert (np.diff(array.coords.get("time", [0, 1])) > 0).all()


def _template(two: bool, big: bool) -> bytes:
    """Return a good file."""
    key = (two, big)
    if key not in _templates:
        image_class = nibabel.Nifti2Image if two else nibabel.Nifti1Image
        header = image_class.header_class(endianness=">" if big else "<")
        header.set_data_dtype(np.float32)
        header.set_data_shape((4, 3, 2, 2))
        header.set_sform(DIAGONAL, 1)
        header.set_qform(DIAGONAL, 1)
        header["magic"] = header.single_magic
        header["vox_offset"] = header.single_vox_offset
        _templates[key] = header.binaryblock + bytes(4 + 4 * 48)
    return _templates[key]


_templates: dict[tuple[bool, bool], bytes] = {}


@pytest.mark.slow
@settings(max_examples=300)
@given(content=st.binary(max_size=700), compressed=st.booleans())
def test_any_bytes_load_or_are_refused(tmp_path: Path, content: bytes, compressed: bool) -> None:
    """Bytes that were never a NIfTI file are refused."""
    file = tmp_path / f"noise.nii{'.gz' if compressed else ''}"
    file.write_bytes(content)

    with pytest.raises(FileFormatError, match="noise"):
        load(file)


@pytest.mark.slow
@settings(max_examples=300)
@given(position=st.integers(0), value=st.integers(1, 255))
@example(position=743181, value=10)  # makes a header that says less, which is warned of
def test_any_changed_byte_of_a_gzip_file_is_noticed_or_harmless(
    tmp_path: Path, position: int, value: int
) -> None:
    """A byte changed anywhere in a compressed file never gives other values unnoticed."""
    data = counting((5, 4, 3, 6))
    file = write_nifti(tmp_path / "flip.nii.gz", data, sform=DIAGONAL)
    content = bytearray(file.read_bytes())
    content[position % len(content)] ^= value
    file.write_bytes(content)

    try:
        with warnings.catch_warnings(action="ignore"):  # the header is read before the checksum
            found = load(file).values
    except FileFormatError as error:
        assert str(error).startswith(str(file))
        return
    np.testing.assert_array_equal(found, data.T)


numbers = st.integers() | st.just(10**400) | st.floats()
words = st.sampled_from(["k", "i-", "x", "time", "slice_time", "dim4", "dim5", "pose", "1", ""])
values = st.recursive(
    st.none() | st.booleans() | numbers | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=3),
    max_leaves=12,
)
fields = st.sampled_from(
    [
        *(*TIMING_FIELDS * 3, "Depth", "ProbePitch", "ConfUSIusAffines", "rgb_lookup", "Custom"),
        *(f"ConfUSIusDim{axis}{what}" for axis in (4, 5) for what in ("Name", "Coordinates")),
    ]
)


@pytest.mark.slow
@settings(max_examples=1000)
@given(
    sidecar=st.dictionaries(fields, values | st.lists(numbers, min_size=2, max_size=2), max_size=5),
    shape=st.sampled_from([(2, 2, 2), (2, 2, 2, 2), (2, 2, 2, 1, 2, 2)]),
)
@example({"ConfUSIusDim4Name": "dim5"}, (2, 2, 2, 2, 2, 2))
@example({"RepetitionTime": 10**400}, (2, 2, 2, 2))
@example({"ConfUSIusAffines": {"a": [[10**400] * 4] * 4}}, (2, 2, 2))
@example({"rgb_lookup": {"1": [10**400, 0, 0]}}, (2, 2, 2))
def test_any_sidecar_lets_the_image_load(
    tmp_path: Path, sidecar: dict[str, Any], shape: tuple[int, ...]
) -> None:
    """Whatever values a sidecar holds, the file loads with one warning at most; times increase."""
    file = write_nifti(tmp_path / "a.nii", counting(shape), sform=DIAGONAL, sidecar=sidecar)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        array = load(file)

    assert [warning.category for warning in caught] in ([], [UserWarning])
    np.testing.assert_array_equal(np.ravel(array), np.ravel(counting(shape).T))
    for name in {"time", "slice_time"} & array.coords.keys():
        assert np.isfinite(array[name]).all()
    if "time" in array.dims:
        assert (np.diff(array.time) > 0).all()
