"""The worked examples of the data model, each as a file that is loaded."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from builders import DIAGONAL, affine_of, counting, write_nifti
from confusius_datasets._io import load

ORIGIN = (1.0, 2.0, 3.0)
QUARTER_TURN = affine_of([[0, -0.25, 0], [0.125, 0, 0], [0, 0, 0.5]], ORIGIN)
MILLISECONDS = {
    "RepetitionTime": 0.6,
    "DelayAfterTrigger": 0.25,
    "DelayTime": 0.1,
    "TaskName": "awake",
}
LISTED = {
    "VolumeTiming": [0.1, 0.7, 1.4, 2.0],
    "FrameAcquisitionDuration": 0.5,
    "TaskName": "awake",
}


def _close(found: Any, expected: Any, tolerance: float = 1e-11) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


def _matrix(array: xr.DataArray, form: str) -> Any:
    return array.attrs["affines"][f"physical_to_{form}"]


def test_load_diagonal_affine_gives_plain_grid(tmp_path: Path) -> None:
    """A diagonal affine lays a regular grid, and both matrices are the identity."""
    file = write_nifti(
        tmp_path / "e1.nii.gz",
        counting((5, 4, 3, 6)),
        sform=DIAGONAL,
        qform=DIAGONAL,
        pixdim={4: 0.5},
    )

    array = load(file)

    assert array.name == "e1"
    assert array.sizes == {"time": 6, "z": 3, "y": 4, "x": 5}
    assert array.z.values.tolist() == [-0.5, 0, 0.5]
    assert array.y.values.tolist() == [1, 1.25, 1.5, 1.75]
    assert array.x.values.tolist() == [-0.25, -0.125, 0, 0.125, 0.25]
    assert [array[dim].attrs for dim in "zyx"] == [
        {"units": "mm", "voxdim": step} for step in (0.5, 0.25, 0.125)
    ]
    assert array.time.values.tolist() == [0, 0.5, 1, 1.5, 2, 2.5]
    assert array.time.attrs == {"units": "s", "volume_acquisition_reference": "start"}
    assert list(array.attrs) == ["sform_code", "qform_code", "affines"]
    assert (array.attrs["sform_code"], array.attrs["qform_code"]) == (1, 1)
    _close(_matrix(array, "sform"), np.eye(4))
    _close(_matrix(array, "qform"), np.eye(4))
    assert array.values[4, 2, 1, 3] == counting((5, 4, 3, 6))[3, 1, 2, 4]


def test_load_rotation_in_plane_turns_matrix_not_grid(tmp_path: Path) -> None:
    """A rotation goes to the matrix; the coordinates keep the steps along the array's axes."""
    cos, sin = np.cos(np.pi / 6), np.sin(np.pi / 6)
    turned = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) @ np.diag((0.1, 0.2, 0.4))
    file = write_nifti(
        tmp_path / "e2.nii",
        counting((5, 4, 3, 2)),
        sform=affine_of(turned, ORIGIN),
        codes=(2, 0),
        pixdim={4: 2.0},
    )

    array = load(file)

    _close(array.x, 1 + 0.0999999990264 * np.arange(5))
    _close(array.y, 2 + 0.1999999980528 * np.arange(4))
    _close(array.z, 3 + 0.4000000059605 * np.arange(3))
    assert array.time.values.tolist() == [0, 2]
    _close(
        _matrix(array, "sform"),
        [
            [1, 0, 0, 0],
            [0, 0.866025396672, 0.500000012319, -0.232050805663],
            [0, -0.500000012319, 0.866025396672, 1.133974627965],
            [0, 0, 0, 1],
        ],
    )
    assert list(array.attrs["affines"]) == ["physical_to_sform"]
    assert array.attrs["sform_code"] == 2
    assert "qform_code" not in array.attrs


UP = [1, 1.125, 1.25, 1.375, 1.5]
DOWN = [1, 0.875, 0.75, 0.625, 0.5]
TWO_FLIPS = [[1, 0, 0, 0], [0, -1, 0, 4], [0, 0, -1, 2], [0, 0, 0, 1]]


@pytest.mark.parametrize(
    ("linear", "x", "step", "matrix"),
    [
        (np.diag((0.125, -0.25, 0.5)), DOWN, -0.125, TWO_FLIPS),
        (np.diag((-0.125, -0.25, 0.5)), UP, 0.125, TWO_FLIPS),
        (
            [[0, 0, 0.5], [-0.125, 0, 0], [0, -0.25, 0]],
            UP,
            0.125,
            [[0, -1, 0, 5], [0, 0, -1, 3], [1, 0, 0, -2], [0, 0, 0, 1]],
        ),
        (np.diag((-0.125, 0.25, 0.5)), DOWN, -0.125, np.eye(4)),
    ],
    ids=["y flipped", "x and y flipped", "axes permuted", "x flipped"],
)
def test_load_flips_only_x_can_descend(
    tmp_path: Path, linear: Any, x: list[float], step: float, matrix: Any
) -> None:
    """`x` descends when the affine mirrors; `y` and `z` always ascend."""
    sform = affine_of(linear, ORIGIN)
    array = load(write_nifti(tmp_path / "e3.nii", counting((5, 4, 3)), sform=sform))

    assert array.x.values.tolist() == x
    assert array.x.attrs["voxdim"] == step
    assert array.y.values.tolist() == [2, 2.25, 2.5, 2.75]
    assert array.z.values.tolist() == [3, 3.5, 4]
    _close(_matrix(array, "sform"), matrix)


def test_load_qform_only_quarter_turn(tmp_path: Path) -> None:
    """Without an sform the qform lays the coordinates."""
    array = load(write_nifti(tmp_path / "e4a.nii", counting((5, 4, 3)), qform=QUARTER_TURN))

    _close(array.x, UP)
    _close(
        _matrix(array, "qform"),
        [
            [1, 0, 0, 0],
            [0, 3.4229e-8, 1, 0.999999931543],
            [0, -1, 3.4229e-8, 2.999999965771],
            [0, 0, 0, 1],
        ],
        1e-11,
    )
    assert list(array.attrs["affines"]) == ["physical_to_qform"]
    assert array.attrs["qform_code"] == 1
    assert "sform_code" not in array.attrs


def test_load_qform_of_negative_handedness_descends_along_x(tmp_path: Path) -> None:
    """A qform that mirrors z gives a descending x and an ascending z."""
    qform = affine_of((0.125, 0.25, -0.5), ORIGIN)
    array = load(write_nifti(tmp_path / "e4b.nii", counting((5, 4, 3)), qform=qform))

    _close(array.x, DOWN)
    _close(array.z, [3, 3.5, 4])
    _close(_matrix(array, "qform"), [[-1, 0, 0, 6], [0, 1, 0, 0], [0, 0, -1, 2], [0, 0, 0, 1]])


def test_load_no_form_warns_and_uses_voxel_sizes(tmp_path: Path) -> None:
    """With both codes 0 the voxel sizes alone make the coordinates, and the user is told."""
    file = write_nifti(
        tmp_path / "e5.nii", counting((5, 4, 3, 3)), pixdim={1: 0.125, 2: 0.25, 3: 0.5, 4: 0.25}
    )

    with pytest.warns(
        UserWarning, match="Both sform_code and qform_code are 0 in the NIfTI header"
    ):
        array = load(file)

    assert array.x.values.tolist() == [0, 0.125, 0.25, 0.375, 0.5]
    assert array.y.values.tolist() == [0, 0.25, 0.5, 0.75]
    assert array.z.values.tolist() == [0, 0.5, 1]
    assert array.time.values.tolist() == [0, 0.25, 0.5]
    assert array.attrs == {}


def _timed(
    path: Path, sidecar: dict[str, Any], *, step: float = 0.0, unit: str = "sec"
) -> xr.DataArray:
    file = write_nifti(
        path / "timed.nii.gz",
        counting((3, 2, 1, 4)),
        sform=DIAGONAL,
        pixdim={4: step},
        units=("mm", unit),
        sidecar=sidecar,
    )
    return load(file)


def test_load_milliseconds_converts_sidecar_seconds(tmp_path: Path) -> None:
    """Sidecar times are seconds, coordinates are in the header's unit."""
    array = _timed(tmp_path, MILLISECONDS, step=600, unit="msec")

    assert array.time.values.tolist() == [250, 850, 1450, 2050]
    assert array.time.attrs == {
        "units": "ms",
        "volume_acquisition_reference": "start",
        "volume_acquisition_duration": 500.0,
    }
    affines = array.attrs.pop("affines")
    assert array.attrs == {"sform_code": 1, "task_name": "awake"}
    assert list(affines) == ["physical_to_sform"]
    assert array.z.values.tolist() == [-0.5]
    assert array.z.attrs["voxdim"] == 0.5


def test_load_volume_timing_gives_the_listed_times(tmp_path: Path) -> None:
    """`VolumeTiming` is the time coordinate."""
    array = _timed(tmp_path, LISTED)

    assert array.time.values.tolist() == [0.1, 0.7, 1.4, 2.0]
    assert array.time.attrs == {
        "units": "s",
        "volume_acquisition_reference": "start",
        "volume_acquisition_duration": 0.5,
    }
    assert array.attrs["task_name"] == "awake"
    assert "volume_timing" not in array.attrs
    assert "volume_acquisition_duration" not in array.attrs


def test_load_volume_timing_in_milliseconds(tmp_path: Path) -> None:
    """`VolumeTiming` and the duration follow the header's unit of time."""
    array = _timed(tmp_path, LISTED, unit="msec")

    _close(array.time, [100, 700, 1400, 2000])
    assert array.time.attrs["volume_acquisition_duration"] == 500


def test_load_volume_timing_of_wrong_length_falls_back_to_header(tmp_path: Path) -> None:
    """A list that does not fit the data is ignored with a warning."""
    short = {**LISTED, "VolumeTiming": [0.1, 0.7, 1.4]}

    with pytest.warns(UserWarning) as caught:
        array = _timed(tmp_path, short, step=0.6)

    assert [str(warning.message) for warning in caught] == [
        "fUSI-BIDS validation warning:"
        "\n  - `VolumeTiming` length (3) does not match the data time dimension (4). Ignoring it."
        "\n  - Times are taken from the NIfTI header."
    ]
    assert array.time.values.tolist() == [0.6000000238418579 * n for n in range(4)]
    assert array.time.attrs["volume_acquisition_duration"] == 0.5


def test_load_both_timings_prefers_volume_timing(tmp_path: Path) -> None:
    """With both timings the list wins, a warning says so, and the other stays an attribute."""
    with pytest.warns(UserWarning, match=r"(?s)fUSI-BIDS validation warning:.*mutually exclusive"):
        array = _timed(tmp_path, {**LISTED, "RepetitionTime": 0.6})

    assert array.time.values.tolist() == [0.1, 0.7, 1.4, 2.0]
    assert array.attrs["repetition_time"] == 0.6


def test_load_repetition_time_against_header_warns(tmp_path: Path) -> None:
    """A repetition time that the header contradicts wins, with a warning."""
    with pytest.warns(
        UserWarning, match=r"RepetitionTime \(0.6\) does not match pixdim\[4\] \(0.5\)"
    ):
        array = _timed(tmp_path, {"RepetitionTime": 0.6}, step=0.5)

    _close(array.time, [0, 0.6, 1.2, 1.8])


def test_load_sheared_template_maps_voxels_to_world(tmp_path: Path) -> None:
    """With shear the steps are orthogonalised, and the matrix puts the shear back."""
    sform = affine_of(
        [[0.098, 0.004, -0.003], [0.002, 0.105, 0.006], [-0.005, 0.001, 0.11]], (0.5, -0.7, 1.2)
    )
    array = load(write_nifti(tmp_path / "e8.nii.gz", counting((6, 5, 4)), sform=sform))
    matrix = _matrix(array, "sform")

    assert array.dims == ("z", "y", "x")
    assert "time" not in array.coords
    _close(array.x.attrs["voxdim"], 0.09814784509562)
    _close(array.y.attrs["voxdim"], 0.10490472132141)
    _close(array.z.attrs["voxdim"], 0.10962626613410)
    _close([array.z[0], array.y[0], array.x[0]], [1.200000047684, -0.699999988079, 0.5])
    _close(
        matrix,
        [
            [1.003409158070, 0.009532459883, -0.050943552386, 0.028053508151],
            [0.054731409394, 1.000908208888, 0.020377422378, -0.075230658861],
            [-0.027365704697, 0.038129839531, 0.998493622978, 0.060282922669],
            [0, 0, 0, 1],
        ],
    )
    first = [array.z[0], array.y[0], array.x[0], 1]
    last = [array.z[3], array.y[4], array.x[5], 1]
    _close(matrix @ first, first)
    _close((matrix @ last)[:3], [1.509, -0.252, 0.997], 1e-6)


def test_load_two_different_forms_share_the_coordinates(tmp_path: Path) -> None:
    """The second form's matrix acts on the coordinates that the first has laid."""
    file = write_nifti(
        tmp_path / "e9.nii", counting((5, 4, 3)), sform=DIAGONAL, qform=QUARTER_TURN, codes=(2, 1)
    )
    array = load(file)

    assert array.x.values.tolist() == [-0.25, -0.125, 0, 0.125, 0.25]
    _close(_matrix(array, "sform"), np.eye(4))
    _close(
        _matrix(array, "qform"),
        [
            [1, 0, 0, 3.5],
            [0, 3.4229e-8, 1, 2.249999965771],
            [0, -1, 3.4229e-8, 2.000000008557],
            [0, 0, 0, 1],
        ],
        1e-11,
    )
    assert (array.attrs["sform_code"], array.attrs["qform_code"]) == (2, 1)


def test_load_examples_warn_only_where_said(tmp_path: Path) -> None:
    """Sidecars in order cause no warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")

        _timed(tmp_path, LISTED)
        _timed(tmp_path, MILLISECONDS, step=600, unit="msec")
