"""Iconeus files of the second generation, written by the vendor's layout."""

from __future__ import annotations

import math
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from confusius_datasets._io import load
from confusius_datasets.errors import FileFormatError
from scan_files import scan_v2_bytes

N_X, N_Y, N_Z, N_T = 4, 2, 3, 5


def counting(n_pose: int = 1, n_kinds: int = 1) -> np.ndarray[Any, Any]:
    """Make values that tell where they stood: kind, pose, time, depth, elevation, lateral."""
    shape = (n_kinds, n_pose, N_T, N_Z, N_Y, N_X)
    return np.arange(math.prod(shape), dtype=float).reshape(shape)


def times(n_pose: int = 1) -> np.ndarray[Any, Any]:
    """Make a time for each volume, pose and slice, in steps of 0.1 s."""
    return np.arange(1, N_T * n_pose * N_Y + 1).reshape(N_T, n_pose, N_Y) * 0.1


def write(path: Path, data: np.ndarray[Any, Any] | None = None, **kwargs: Any) -> Path:
    """Write a file."""
    data = counting() if data is None else data
    n_pose = data.shape[1]
    poses = {"rotations": [(0.0, 0.0, 0.0)] * n_pose, "translations": [(1e-3, 2e-3, 3e-3)] * n_pose}
    path.write_bytes(scan_v2_bytes(data, times=times(n_pose), **{**poses, **kwargs}))
    return path


def test_recording_has_axes_in_mm_and_times_at_the_end(tmp_path: Path) -> None:
    """Axes are centred on the probe, depth begins where imaging does."""
    array = load(write(tmp_path / "a.scan"))

    assert array.dims == ("time", "z", "y", "x")
    np.testing.assert_array_equal(array, counting()[0, 0].swapaxes(1, 2))
    np.testing.assert_allclose(array.x, [-0.165, -0.055, 0.055, 0.165])
    np.testing.assert_allclose(array.z, [-0.2, 0.2])
    np.testing.assert_allclose(array.y, [2.0, 2.1, 2.2])
    assert array.y.attrs == {"units": "mm", "voxdim": pytest.approx(0.1)}
    np.testing.assert_allclose(array.time, [0.2, 0.4, 0.6, 0.8, 1.0])
    assert array.time.attrs == {
        "units": "s",
        "volume_acquisition_reference": "end",
        "volume_acquisition_duration": pytest.approx(0.2),
    }


def test_attributes_are_read_in_the_vendors_order(tmp_path: Path) -> None:
    """Each field is where the layout has it, also behind texts that are usually empty."""
    fields = {"project_description": "a", "subject_description": "bb", "treatment": "ccc"}
    array = load(write(tmp_path / "a.scan", fields=fields))
    attrs = dict(array.attrs)

    assert array.name == "checkerboard"
    np.testing.assert_array_equal(attrs.pop("plane_wave_angles"), [-10, 0, 10])
    np.testing.assert_array_equal(attrs.pop("stimulation_toggle_times"), [1, 2])
    assert list(attrs.pop("affines")) == ["physical_to_lab"]
    assert attrs == {
        "iconeus_scan_format": "v2",
        "iconeus_scan_mode": "2Dscan",
        "device_serial_number": "SN-07",
        "software_version": "2.1.7",
        "iconeus_subject": "mouse3",
        "iconeus_session": "day2",
        "iconeus_scan": "checkerboard",
        "iconeus_project": "vision",
        "iconeus_date": "2021-10-22 14:00:00",
        "iconeus_datetime": "2021-10-22T14:00:00+00:00",
        "clutter_filters": "static SVD",
        "clutter_filter_window_duration": 0.4,
        "clutter_filter_cutoffs": (60, 200),
        "probe_type": "linear",
        "probe_model": "IcoPrime-4D",
        "probe_name": "the probe",
        "probe_center_frequency": 15.625,
        "probe_pitch": 0.11,
        "probe_aperture": 1.5,
        "probe_focal_depth": 8.0,
        "probe_radius_of_curvature": 0.0,
        "probe_number_of_elements": 128,
        "imaging_depth": (2.0, 10.0),
        "transmit_frequency": 15.625,
        "pulse_repetition_frequency": 5500.0,
        "sampling_frequency": 62.5,
        "probe_voltage": 20.0,
        "delay_after_trigger": 0.0,
        "power_doppler_integration_duration": 0.4,
        "sequence_name": "sequence 7",
        "project_description": "a",
        "species": "Mus musculus",
        "sex": "male",
        "age_days": 90,
        "subject_description": "bb",
        "weight": 25.0,
        "weight_units": "g",
        "treatment": "ccc",
        "study_type": "study",
        "task_name": "task",
        "long_name": "Power Doppler intensity",
    }


@pytest.mark.parametrize(
    ("mode", "name"),
    [*enumerate(["2Dscan", "3Dscan", "4Dscan", "4DscanCustom", "4DscanRCA", "3DscanRCA"])],
)
def test_modes_are_named_as_in_the_first_generation(mode: int, name: str, tmp_path: Path) -> None:
    """One word for one thing, whichever generation wrote the file."""
    array = load(write(tmp_path / "a.scan", fields={"mode": mode}))

    assert array.attrs["iconeus_scan_mode"] == name


@pytest.mark.parametrize(("n_pose", "dims"), [(1, ("z", "y", "x")), (3, ("pose", "z", "y", "x"))])
def test_single_volume_has_a_time_and_no_axis_of_times(
    n_pose: int, dims: tuple[str, ...], tmp_path: Path
) -> None:
    """As in the first generation, an angiography is a volume and not a recording of one."""
    data = counting(n_pose=n_pose)[:, :, :1]
    times = np.arange(1.0, n_pose * N_Y + 1).reshape(1, n_pose, N_Y)
    moved = [[0.0, 0.0, 0.0]] * n_pose
    content = scan_v2_bytes(
        data, times=times, rotations=moved, translations=moved, fields={"mode": 1}
    )
    (tmp_path / "a.scan").write_bytes(content)

    array = load(tmp_path / "a.scan")

    assert array.dims == dims
    np.testing.assert_array_equal(array, np.squeeze(data[0].swapaxes(2, 3)))
    assert float(array.time) == times.max()
    assert array.attrs["affines"]["physical_to_lab"].shape[-2:] == (4, 4)
    assert ("pose_time" in array.coords) == ("pose" in dims)


def test_poses_get_an_axis_and_a_matrix_each(tmp_path: Path) -> None:
    """With several poses a volume ends when its last slice of its last pose does."""
    quarter = math.pi / 2
    data = counting(n_pose=3)
    rotations = [(0.0, 0.0, quarter), (quarter, 0.0, 0.0), (0.0, quarter, quarter)]
    array = load(write(tmp_path / "a.scan", data, rotations=rotations))

    assert array.dims == ("time", "pose", "z", "y", "x")
    np.testing.assert_array_equal(array, data[0].transpose(1, 0, 3, 2, 4))
    np.testing.assert_allclose(array.pose_time[1], [0.8, 1.0, 1.2])
    np.testing.assert_allclose(array.time, [0.6, 1.2, 1.8, 2.4, 3.0])
    # About the probe's third axis (x to y), about its first (y to z), about its second (z to x)
    # and then its third.
    np.testing.assert_allclose(
        array.attrs["affines"]["physical_to_lab"],
        [
            [[0, 0, 1, 2], [0, 1, 0, -3], [-1, 0, 0, 1], [0, 0, 0, 1]],
            [[0, 1, 0, 2], [-1, 0, 0, -3], [0, 0, 1, 1], [0, 0, 0, 1]],
            [[0, -1, 0, 2], [0, 0, 1, -3], [-1, 0, 0, 1], [0, 0, 0, 1]],
        ],
        atol=1e-12,
    )


def test_several_kinds_of_values_come_in_front(tmp_path: Path) -> None:
    """A sixth axis is one of its own; each kind's settings are passed over."""
    data = counting(n_kinds=4)
    array = load(write(tmp_path / "a.scan", data, intents=(0, 1, 2, 3)))

    assert array.dims == ("dim6", "time", "z", "y", "x")
    np.testing.assert_array_equal(array, data[:, 0].swapaxes(2, 3))
    assert array.name == "checkerboard"


def test_header_may_leave_the_payload_size_open(tmp_path: Path) -> None:
    """Then what the file holds must fit."""
    array = load(write(tmp_path / "a.scan", announce=False))

    assert array.shape == (N_T, N_Y, N_Z, N_X)


def test_parts_are_read_by_offset_and_arrays_pickle(tmp_path: Path) -> None:
    """A part is the same as the part of the whole, in another process too."""
    path = write(tmp_path / "a.scan", counting(n_pose=2))
    whole = load(path).load()
    keys: list[dict[str, Any]] = [
        {"time": [3, 0], "pose": 1, "y": slice(None, None, -1)},
        {"time": slice(1, 3, -1)},
        {"time": slice(3, 1, -1), "x": -1},
        {"time": [2, 0, 0], "z": slice(0, 0)},
    ]

    for key in keys:
        np.testing.assert_array_equal(load(path).isel(key), whole.isel(key))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(load(path))), whole)  # noqa: S301
    np.testing.assert_array_equal(load(path, chunks={"time": 2}), whole)


def test_date_beyond_the_calendar_is_left_as_a_number(tmp_path: Path) -> None:
    """A clock that was never set does not make a file unreadable."""
    array = load(write(tmp_path / "a.scan", fields={"acquired": 2**62}))

    assert array.attrs["iconeus_datetime"] == str(2**62)


def put(form: str, offset: int, *numbers: Any) -> Any:
    """Return what puts numbers into a file at an offset."""

    def damage(content: bytes) -> bytes:
        packed = struct.pack(form, *numbers)
        return content[:offset] + packed + content[offset + len(packed) :]

    return damage


FAULTS = {
    "short": (lambda content: content[:100], "ends within its header: 100 bytes of at least 140"),
    "cut header": (lambda content: content[:300], "ends within its header: 300 bytes of"),
    "cut values": (lambda content: content[:-8], "the file holds 952"),
    "no size": (put("<Q", 0x20, 5), "the header claims a size of 5 bytes"),
    "huge header": (put("<Q", 0x20, 2**50), "the header claims a size of"),
    "no voxels": (put("<Q", 0x5C, 0), "impossible shape"),
    "huge": (put("<Q", 0x5C, 2**60), "values of the shape (1152921504606846976, 2, 3, 5, 1, 1)"),
    "payload": (put("<Q", 0x28, 8), "the header announces 8"),
    "intent": (put("<I", 0x8C, 9), "unknown kind of values, 9"),
    "step": (put("<d", 0x8C + 24, -1.0), "it must be positive"),
    "no number": (put("<d", 0x8C + 24 + 48, math.nan), "no possible numbers"),
    "far away": (put("<d", 0x8C + 24, 1e300), "no possible numbers"),
    "mode": (lambda content: content[: len(content)], "unknown acquisition mode 9"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_damage_is_named(fault: str, tmp_path: Path) -> None:
    """Whatever is wrong with a file, the error names it and what it is."""
    fields = {"mode": 9} if fault == "mode" else {}
    path = write(tmp_path / "a.scan", fields=fields)
    damage, message = FAULTS[fault]
    path.write_bytes(damage(path.read_bytes()))

    with pytest.raises(FileFormatError) as caught:
        load(path)

    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_file_that_shrinks_after_opening_is_named(tmp_path: Path) -> None:
    """Reading beyond the end of a mapped file would end the process."""
    path = write(tmp_path / "a.scan")
    array = load(path)
    path.write_bytes(path.read_bytes()[:-8])

    with pytest.raises(FileFormatError, match="the file changed since it was opened: it had"):
        array.load()


@pytest.mark.slow
@settings(max_examples=300)
@given(offset=st.integers(4, 700), garbage=st.binary(min_size=1, max_size=8))
def test_garbage_in_a_header_is_harmless(
    offset: int, garbage: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A damaged header gives an array or an error of ours, and nothing else."""
    path = tmp_path_factory.getbasetemp() / "fuzzed.scan"
    write(path)
    content = bytearray(path.read_bytes())
    content[offset : offset + len(garbage)] = garbage
    path.write_bytes(content)

    try:
        array = load(path).load()
    except FileFormatError as error:
        assert str(error).startswith(f"{path}: ")
    else:
        assert array.size == N_T * N_Z * N_Y * N_X
