"""Iconeus files of the first generation (HDF5), and brain positioning files."""

from __future__ import annotations

import os
import pickle
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from confusius_datasets._io import load
from confusius_datasets._io.scan.bps import load_bps
from confusius_datasets.errors import FileFormatError, MissingDependencyError, MissingFileError
from scan_files import BRAIN_TO_LAB, POSE, scan_v1_content, write_hdf5

N_X, N_Y, N_Z = 4, 2, 3
"""Lateral, elevation and depth sizes of the files here."""


def counting(*shape: int) -> np.ndarray[Any, Any]:
    """Make values that tell where they stood."""
    return np.arange(np.prod(shape), dtype="f4").reshape(shape)


def write_2d(path: Path, **kwargs: Any) -> Path:
    """Write five volumes of one pose."""
    data = counting(5, N_Z, N_Y, N_X)
    content = scan_v1_content("2Dscan", data, times=[0.4, 0.8, 1.2, 1.6, 2.0])
    return write_hdf5(path, content | kwargs)


def write_4d(path: Path, *, n_block: int = 2, mode: str = "4Dscan") -> Path:
    """Write two scans of three poses, each repeated in blocks."""
    data = counting(2, 3, n_block, N_Z, N_Y, N_X)
    poses = np.stack([POSE, np.eye(4), 2 * POSE - np.eye(4)])
    times = np.arange(1, 2 * 3 * n_block + 1) * 0.5
    content = scan_v1_content(mode, data, n_pose=3, n_block=n_block, times=times, poses=poses)
    return write_hdf5(path, content)


def test_2d_scan_has_axes_in_mm_and_times_at_the_end(tmp_path: Path) -> None:
    """The file's depth, elevation and lateral are our y, z and x."""
    array = load(write_2d(tmp_path / "a.scan"))

    assert array.dims == ("time", "z", "y", "x")
    assert array.shape == (5, N_Y, N_Z, N_X)
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, counting(5, N_Z, N_Y, N_X).swapaxes(1, 2))
    np.testing.assert_allclose(array.x, [-0.11, 0.0, 0.11, 0.22], atol=1e-12)
    np.testing.assert_allclose(array.z, [-0.2, 0.2])
    np.testing.assert_allclose(array.y, [1.05, 1.10, 1.15])
    for dim, step in (("x", 0.11), ("y", 0.05), ("z", 0.4)):
        assert array[dim].attrs == {"units": "mm", "voxdim": pytest.approx(step)}
    np.testing.assert_array_equal(array.time, [0.4, 0.8, 1.2, 1.6, 2.0])
    assert array.time.attrs == {
        "units": "s",
        "volume_acquisition_reference": "end",
        "volume_acquisition_duration": 0.4,
    }


THIRTY = np.array([[np.cos(np.pi / 6), -0.5, 0], [0.5, np.cos(np.pi / 6), 0], [0, 0, 1]])
"""A turn by 30 degrees about the third axis."""


def shifted(rotation: Any, x: float, y: float, z: float) -> np.ndarray[Any, Any]:
    """Put a rotation and a shift in metres together."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    matrix[:3, 3] = (x, y, z)
    return matrix


def write_example(path: Path) -> Path:
    """Write the worked example of the data model: a slice of 4 by 5 voxels, six times."""
    content = scan_v1_content(
        "2Dscan",
        counting(6, 5, 1, 4),
        times=(0.4 * np.arange(1, 7)).tolist(),
        poses=shifted(THIRTY, 1e-3, 2e-3, 3e-3),
    )
    to_probe = np.diag([1.1e-4, 4e-4, -9.856e-5, 1.0])
    to_probe[:3, 3] = (-3e-4, -8e-4, -1.9e-3)
    return write_hdf5(path, content | {"acqMetaData/voxelsToProbe": to_probe})


def test_worked_example_of_one_slice(tmp_path: Path) -> None:
    """Coordinates, times and pose are those worked out by hand."""
    array = load(write_example(tmp_path / "a.scan"))

    assert array.sizes == {"time": 6, "z": 1, "y": 5, "x": 4}
    np.testing.assert_allclose(array.x, [-0.19, -0.08, 0.03, 0.14], atol=1e-12)
    np.testing.assert_allclose(array.z, [-0.4])
    np.testing.assert_allclose(array.y, [1.99856, 2.09712, 2.19568, 2.29424, 2.3928])
    assert [array[dim].attrs["voxdim"] for dim in "xzy"] == pytest.approx([0.11, 0.4, 0.09856])
    np.testing.assert_allclose(array.time, [0.4, 0.8, 1.2, 1.6, 2.0, 2.4])
    assert array.time.attrs["volume_acquisition_reference"] == "end"
    assert array.time.attrs["volume_acquisition_duration"] == pytest.approx(0.4)
    np.testing.assert_allclose(
        array.attrs["affines"]["physical_to_lab"],
        [[0.8660254, 0, 0.5, 2], [0, 1, 0, -3], [-0.5, 0, 0.8660254, 1], [0, 0, 0, 1]],
        atol=1e-7,
    )


def test_worked_example_of_a_position_in_the_brain(tmp_path: Path) -> None:
    """The positioning file's matrix, and the way to the brain, are those worked out by hand."""
    to_lab = shifted(np.eye(3), 1e-3, 2e-3, 3e-3)
    bps = write_hdf5(tmp_path / "a.bps", {"BrainToLab": to_lab})
    array = load(write_example(tmp_path / "a.scan"), bps_path=bps)

    np.testing.assert_allclose(
        load_bps(bps), [[0, 1000, 0, 2], [0, 0, -1000, -3], [1000, 0, 0, 1], [0, 0, 0, 1]]
    )
    np.testing.assert_allclose(
        array.attrs["affines"]["physical_to_brain"],
        [[-5e-4, 0, 8.66025e-4, 0], [8.66025e-4, 0, 5e-4, 0], [0, -1e-3, 0, 0], [0, 0, 0, 1]],
        atol=1e-9,
    )


def test_worked_example_of_three_poses(tmp_path: Path) -> None:
    """Times go round the poses; a volume ends with its last pose."""
    content = scan_v1_content(
        "4Dscan",
        counting(2, 3, 1, N_Z, N_Y, N_X),
        n_pose=3,
        times=(0.5 * np.arange(1, 7)).tolist(),
        poses=np.stack([POSE] * 3),
    )

    array = load(write_hdf5(tmp_path / "a.scan", content))

    np.testing.assert_array_equal(array.pose_time, [[0.5, 1, 1.5], [2, 2.5, 3]])
    np.testing.assert_array_equal(array.time, [1.5, 3.0])
    assert array.time.attrs["volume_acquisition_duration"] == 0.5


def test_attributes_are_the_files_provenance(tmp_path: Path) -> None:
    """The exact names, and the name of the scan on the array."""
    array = load(write_2d(tmp_path / "a.scan"))

    assert array.name == "checkerboard"
    assert {key: value for key, value in array.attrs.items() if key != "affines"} == {
        "iconeus_scan_format": "v1",
        "iconeus_scan_mode": "2Dscan",
        "device_serial_number": "SN-07",
        "software_version": "1.4.2",
        "iconeus_subject": "mouse3",
        "iconeus_session": "day2",
        "iconeus_scan": "checkerboard",
        "iconeus_project": "vision",
        "iconeus_date": "2021-10-22 14:14:12",
        "iconeus_datetime": "2021-10-22T14:14:12",
        "long_name": "Power Doppler intensity",
    }


def test_date_that_cannot_be_read_is_left_as_it_is(tmp_path: Path) -> None:
    """A text that is not a date is provenance all the same."""
    array = load(write_2d(tmp_path / "a.scan", **{"scanMetaData/Date": np.array([[b"soon"]])}))

    assert array.attrs["iconeus_date"] == "soon"
    assert "iconeus_datetime" not in array.attrs


@pytest.mark.parametrize("tag", [None, np.array([[b""]], dtype="S1")])
def test_scan_without_a_name_is_called_as_the_file(tag: Any, tmp_path: Path) -> None:
    """A missing or empty tag is no fault."""
    path = write_2d(tmp_path / "a.scan", **{"scanMetaData/Scan_tag": tag})

    assert load(path).name == "a"


def test_pose_becomes_a_matrix_on_our_axes_in_mm(tmp_path: Path) -> None:
    """`physical_to_lab` acts on (z, y, x, 1): the probe's (x, y, z) is our (x, z, -y)."""
    array = load(write_2d(tmp_path / "a.scan"))

    np.testing.assert_allclose(
        array.attrs["affines"]["physical_to_lab"],
        [[0, 0, 1, 2], [0, 1, 0, -3], [-1, 0, 0, 1], [0, 0, 0, 1]],
    )


def test_pose_agrees_with_the_files_own_matrices(tmp_path: Path) -> None:
    """A voxel reaches the same place through our coordinates as through the file's matrices."""
    with h5py.File(write_2d(tmp_path / "a.scan")) as file:
        to_lab = file["acqMetaData/probeToLab"][()] @ file["acqMetaData/voxelsToProbe"][()]
    array = load(tmp_path / "a.scan")
    i_x, i_y, i_z = 2, 1, 2
    x_lab, y_lab, z_lab, _ = 1e3 * (to_lab @ [i_x + 1, i_y + 1, i_z + 1, 1])

    ours = [float(array.z[i_y]), float(array.y[i_z]), float(array.x[i_x]), 1]

    found = array.attrs["affines"]["physical_to_lab"] @ ours
    np.testing.assert_allclose(found, [y_lab, -z_lab, x_lab, 1])


def test_3d_scan_has_poses_and_no_time(tmp_path: Path) -> None:
    """A volume a pose, a matrix a pose."""
    data = counting(3, 1, N_Z, N_Y, N_X)
    poses = np.stack([POSE, np.eye(4), POSE])
    content = scan_v1_content("3Dscan", data, n_pose=3, poses=poses)

    array = load(write_hdf5(tmp_path / "a.scan", content))

    assert array.dims == ("pose", "z", "y", "x")
    np.testing.assert_array_equal(array, data[:, 0].swapaxes(1, 2))
    np.testing.assert_array_equal(array.pose, [0, 1, 2])
    assert "time" not in array.coords
    assert array.attrs["affines"]["physical_to_lab"].shape == (3, 4, 4)
    np.testing.assert_allclose(array.attrs["affines"]["physical_to_lab"][1], np.eye(4))


@pytest.mark.parametrize("mode", ["3DscanRCA", "4DscanRCA"])
def test_matrix_probe_records_volumes_without_poses(mode: str, tmp_path: Path) -> None:
    """An array without an axis of poses is one volume after another, with one matrix."""
    data = counting(5, N_Z, N_Y, N_X)
    content = scan_v1_content(mode, data, times=[0.4, 0.8, 1.2, 1.6, 2.0])

    array = load(write_hdf5(tmp_path / "a.scan", content))

    assert array.dims == ("time", "z", "y", "x")
    np.testing.assert_array_equal(array, data.swapaxes(1, 2))
    np.testing.assert_array_equal(array.isel(time=3, y=1), data.swapaxes(1, 2)[3, :, 1])
    np.testing.assert_array_equal(array.time, [0.4, 0.8, 1.2, 1.6, 2.0])
    assert array.attrs["iconeus_scan_mode"] == mode
    assert array.attrs["affines"]["physical_to_lab"].shape == (4, 4)


def test_matrix_probe_angiography_may_say_no_times(tmp_path: Path) -> None:
    """The volumes of an angiography need not say when they were taken; those of a recording do."""
    data = counting(5, N_Z, N_Y, N_X)
    angio = write_hdf5(tmp_path / "a.scan", scan_v1_content("3DscanRCA", data))
    run = write_hdf5(tmp_path / "b.scan", scan_v1_content("4DscanRCA", data))

    assert "time" not in load(angio).coords
    with pytest.raises(FileFormatError, match="no dataset '/acqMetaData/time'"):
        load(run)


def test_matrix_probe_poses_are_read_as_those_of_other_probes(tmp_path: Path) -> None:
    """A file that has the shape of `3Dscan` is read as one."""
    data = counting(3, 1, N_Z, N_Y, N_X)
    content = scan_v1_content("3DscanRCA", data, n_pose=3, poses=np.stack([POSE] * 3))

    assert load(write_hdf5(tmp_path / "a.scan", content)).dims == ("pose", "z", "y", "x")


@pytest.mark.parametrize("shape", [(N_Z, N_Y, N_X), (5, 2, N_Z, N_Y, N_X), (1, 5, N_Z, N_Y, N_X)])
def test_matrix_probe_data_of_another_shape_are_refused(
    shape: tuple[int, ...], tmp_path: Path
) -> None:
    """No axes are guessed at."""
    content = scan_v1_content("4DscanRCA", counting(*shape), times=[1.0] * 5)

    with pytest.raises(FileFormatError, match=r"'/Data' has the shape .*but a 4DscanRCA of this"):
        load(write_hdf5(tmp_path / "a.scan", content))


WITHOUT_LOCKS = """
import fcntl, sys
from confusius_datasets import load
held = open(sys.argv[1], "rb")
fcntl.flock(held, fcntl.LOCK_EX)
print(load(sys.argv[1]).values.shape)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="locks of files are others on Windows")
def test_file_that_cannot_be_locked_is_read(tmp_path: Path) -> None:
    """Reading takes no lock: many network file systems have none, and others may hold one."""
    path = write_2d(tmp_path / "a.scan")

    command = [sys.executable, "-c", WITHOUT_LOCKS, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.stdout.strip() == str((5, N_Y, N_Z, N_X)), done.stderr


def test_file_that_is_open_in_this_process_is_read(tmp_path: Path) -> None:
    """Whoever looks into a file with h5py can load it at the same time."""
    path = write_2d(tmp_path / "a.scan")

    with h5py.File(path) as file:
        np.testing.assert_array_equal(load(path), file["Data"][()].swapaxes(1, 2))


WRITING = """
import h5py, sys
file = h5py.File(sys.argv[1], "r+", libver="latest")
print("open", flush=True)
sys.stdin.read()
"""


def test_file_that_another_program_writes_is_said_to_be_in_use(tmp_path: Path) -> None:
    """HDF5 marks files that are open for writing: that is no damage, and has its own remedy."""
    path = tmp_path / "a.scan"
    source = write_2d(tmp_path / "b.scan")
    with h5py.File(source) as old, h5py.File(path, "w", libver="latest") as new:
        for name in old:
            old.copy(name, new)

    command = [sys.executable, "-c", WRITING, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        with pytest.raises(FileFormatError) as caught:
            load(path)
        writer.communicate()

    assert "a.scan: the file is in use by another program" in str(caught.value)
    assert "damaged" not in str(caught.value)
    assert load(path).shape == (5, N_Y, N_Z, N_X)


@pytest.mark.parametrize("mode", ["4Dscan", "4DscanCustom", "4DscanRCA"])
def test_4d_scan_merges_blocks_into_time(mode: str, tmp_path: Path) -> None:
    """Blocks follow their scan in time; a volume ends when its last pose does."""
    array = load(write_4d(tmp_path / "a.scan", mode=mode))
    stored = counting(2, 3, 2, N_Z, N_Y, N_X)

    assert array.dims == ("time", "pose", "z", "y", "x")
    assert array.shape == (4, 3, N_Y, N_Z, N_X)
    for scan in range(2):
        for block in range(2):
            np.testing.assert_array_equal(
                array[2 * scan + block], stored[scan, :, block].swapaxes(1, 2)
            )
    np.testing.assert_array_equal(array.time, [1.5, 3.0, 4.5, 6.0])
    assert array.pose_time.dims == ("time", "pose")
    np.testing.assert_array_equal(array.pose_time[1], [2.0, 2.5, 3.0])
    for name in ("time", "pose_time"):
        assert array[name].attrs["volume_acquisition_duration"] == 0.5


@pytest.mark.parametrize(
    "key",
    [
        {"time": 3},
        {"time": slice(None, None, -2)},
        {"time": [3, 0, 0]},
        {"y": [2, 0], "x": slice(1, 3)},
        {"time": [], "z": 0},
        {"time": slice(1, 3, -1)},
        {"time": slice(3, 1, -1), "x": -1},
        {"z": slice(0, 0), "y": [2, 2, 0]},
        {"time": 1, "z": 1, "y": 2, "x": 3},
    ],
    ids=str,
)
@pytest.mark.parametrize("write", [write_2d, write_4d])
def test_indexing_gives_what_the_whole_array_has(write: Any, key: Any, tmp_path: Path) -> None:
    """Reading a part is the same as reading all and taking the part."""
    path = write(tmp_path / "a.scan")
    whole = load(path).load()

    np.testing.assert_array_equal(load(path).isel(key), whole.isel(key))


def test_array_is_lazy_and_leaves_no_handle(tmp_path: Path) -> None:
    """The file is closed in between: it can be written anew, and then is another file."""
    array = load(write_2d(tmp_path / "a.scan"))
    with h5py.File(tmp_path / "a.scan", "r+") as file:  # fails while it is open elsewhere
        file["Data"][...] = 7

    with pytest.raises(FileFormatError, match=r"a\.scan: the file changed since it was opened"):
        array.load()
    assert float(load(tmp_path / "a.scan").mean()) == 7


def test_array_pickles_and_chunks(tmp_path: Path) -> None:
    """A worker process opens the file itself."""
    path = write_4d(tmp_path / "a.scan")
    array = load(path, chunks={"time": 2})

    assert array.chunks is not None
    assert array.chunks[0] == (2, 2)
    assert load(path, chunks=(1, 3, 2, 3, 4)).chunks == ((1,) * 4, (3,), (2,), (3,), (4,))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(load(path))), load(path))  # noqa: S301
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(array)), load(path))  # noqa: S301


def test_bps_file_adds_the_way_to_the_brain(tmp_path: Path) -> None:
    """`physical_to_brain` is the laboratory's matrix through the inverse of the positioning."""
    bps = write_hdf5(tmp_path / "a.bps", {"BrainToLab": BRAIN_TO_LAB})
    array = load(write_2d(tmp_path / "a.scan"), bps_path=bps)

    # In the laboratory the brain's (x, y, z) is (z, x, y) + (4, 5, 6); ours is (y, -z, x) in mm.
    np.testing.assert_allclose(
        load_bps(bps),
        [[1e3, 0, 0, 5], [0, -1e3, 0, -6], [0, 0, 1e3, 4], [0, 0, 0, 1]],
    )
    np.testing.assert_allclose(
        array.attrs["affines"]["physical_to_brain"],
        np.linalg.inv(load_bps(bps)) @ array.attrs["affines"]["physical_to_lab"],
    )


def test_binary_bps_file_is_the_same(tmp_path: Path) -> None:
    """The second form of the file holds the same matrix."""
    hdf5 = write_hdf5(tmp_path / "a.bps", {"BrainToLab": BRAIN_TO_LAB})
    binary = tmp_path / "b.bps"
    binary.write_bytes(b"bps_" + bytes(8) + struct.pack("<16d", *BRAIN_TO_LAB.ravel()))

    np.testing.assert_array_equal(load_bps(binary), load_bps(hdf5))


NO_DATA: dict[str, Any] = {"Data": None}
FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "no data": (NO_DATA, "no dataset '/Data'"),
    "no size": ({"acqMetaData/imgDim/sizeX": None}, "no dataset '/acqMetaData/imgDim/sizeX'"),
    "mode": (
        {"acqMetaData/acquisitionMode": np.array([[b"5Dscan"]])},
        "Unknown acquisitionMode: '5Dscan'",
    ),
    "other mode": (
        {"acqMetaData/acquisitionMode": np.array([[b"3Dscan"]])},
        "'/Data' has the shape (5, 3, 2, 4)",
    ),
    "size": ({"acqMetaData/imgDim/sizeX": np.array([[9.0]])}, "in the shape (time, 3, 2, 9)"),
    "half a size": (
        {"acqMetaData/imgDim/sizeX": np.array([[0.5]])},
        "is 0.5; it must be a whole",
    ),
    "times": ({"acqMetaData/time": np.zeros((3, 1))}, "'/acqMetaData/time' has the shape (3, 1)"),
    "no number": ({"acqMetaData/time": np.full(5, np.nan)}, "no possible numbers"),
    "text": ({"acqMetaData/time": np.full(5, b"now")}, "and no numbers"),
    "pose": ({"acqMetaData/probeToLab": np.eye(3)}, "has the shape (3, 3), not (4, 4)"),
    "group": ({"Data": None, "Data/inner": 3}, "no dataset '/Data'"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_contradiction_in_a_file_is_named(fault: str, tmp_path: Path) -> None:
    """Whatever is missing or does not fit, the error names the file and what it is."""
    changes, message = FAULTS[fault]
    path = write_2d(tmp_path / "a.scan", **changes)

    with pytest.raises(FileFormatError) as caught:
        load(path)

    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_lying_shape_allocates_nothing(tmp_path: Path) -> None:
    """A dataset that claims more than the file could hold is refused by its size."""
    path = write_2d(tmp_path / "a.scan", Data=None)
    with h5py.File(path, "r+") as file:
        file.create_dataset("Data", (10**9, N_Z, N_Y, N_X), "f4", chunks=(1, N_Z, N_Y, N_X))

    with pytest.raises(
        FileFormatError, match=r"claims the shape \(1000000000, 3, 2, 4\), 96000000000"
    ):
        load(path)


@pytest.mark.parametrize("size", [0, 7, 300, 2000])
def test_truncated_file_is_named(size: int, tmp_path: Path) -> None:
    """A file that is cut off is a damaged file, wherever the cut is."""
    path = write_2d(tmp_path / "a.scan")
    path.write_bytes(path.read_bytes()[:size])

    with pytest.raises(FileFormatError, match=r"a\.scan: "):
        load(path)


def test_other_files_are_told_apart(tmp_path: Path) -> None:
    """Text, folders and missing files each have their own message."""
    (tmp_path / "a.scan").write_text("hello, world")
    (tmp_path / "b.scan").mkdir()

    with pytest.raises(FileFormatError, match=r"'a\.scan' is not a SCAN file"):
        load(tmp_path / "a.scan")
    with pytest.raises(FileFormatError, match="this is a folder"):
        load(tmp_path / "b.scan")
    with pytest.raises(MissingFileError, match="there is no such file"):
        load(tmp_path / "c.scan")
    with pytest.raises(FileFormatError, match="not a BPS file"):
        load_bps(tmp_path / "a.scan")


def test_broken_bps_files_are_named(tmp_path: Path) -> None:
    """No matrix, half a matrix, and one that cannot be inverted."""
    empty = write_hdf5(tmp_path / "a.bps", {"other": 1})
    short = tmp_path / "b.bps"
    short.write_bytes(b"bps_" + bytes(20))
    flat = write_hdf5(tmp_path / "c.bps", {"BrainToLab": np.zeros((4, 4))})

    for path, message in (
        (empty, "no dataset '/BrainToLab'"),
        (short, "ends within its matrix"),
        (flat, "cannot be inverted"),
    ):
        with pytest.raises(FileFormatError, match=message):
            load_bps(path)


def test_missing_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without h5py one is told what to install."""
    path = write_2d(tmp_path / "a.scan")
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)

    with pytest.raises(MissingDependencyError, match=r"pip install h5py .*\[scan\]"):
        load(path)
