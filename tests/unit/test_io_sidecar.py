"""Sidecars: which apply, what they become, and what is said about their mistakes."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from builders import DIAGONAL, counting, write_nifti
from confusius_datasets._io import load
from confusius_datasets._io.files import dataset_root
from confusius_datasets._io.nifti.attributes import attribute_name
from confusius_datasets._io.nifti.fields import KNOWN_FIELDS, problems_of
from confusius_datasets.errors import FileFormatError

SHAPE = (3, 2, 4, 4)


def _write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def _load(
    folder: Path, sidecar: dict[str, Any], shape: tuple[int, ...] = SHAPE, **header: Any
) -> xr.DataArray:
    file = folder / "sub-01_pwd.nii"
    return load(write_nifti(file, counting(shape), sform=DIAGONAL, sidecar=sidecar, **header))


def test_load_inherits_sidecars_from_the_root_down(tmp_path: Path) -> None:
    """Every applicable sidecar counts, the most specific last."""
    folder = tmp_path / "sub-01" / "fusi"
    _write_json(tmp_path / "dataset_description.json", {"Name": "test"})
    _write_json(
        tmp_path / "pwd.json", {"Manufacturer": "root", "ProbeType": "root", "Depth": [1, 2]}
    )
    _write_json(tmp_path / "sub-01" / "sub-01_pwd.json", {"ProbeType": "subject"})
    _write_json(folder / "sub-01_task-other_pwd.json", {"ProbeType": "other task"})
    _write_json(folder / "sub-01_task-rest_pwd.json", {"TaskName": "rest", "Depth": [3, 4]})
    file = write_nifti(folder / "sub-01_task-rest_pwd.nii.gz", counting(SHAPE), sform=DIAGONAL)

    attrs = load(file).attrs

    assert attrs["manufacturer"] == "root"
    assert attrs["probe_type"] == "subject"
    assert attrs["depth"] == [3, 4]
    assert attrs["task_name"] == "rest"


def test_load_in_derivative_inherits_within_it_only(tmp_path: Path) -> None:
    """A derivative is a dataset of its own, with or without a description."""
    _write_json(tmp_path / "dataset_index.json", {})
    _write_json(tmp_path / "pwd.json", {"Manufacturer": "raw"})
    derivative = tmp_path / "derivatives" / "filtered"
    _write_json(derivative / "pwd.json", {"StationName": "derivative"})
    file = write_nifti(derivative / "sub-01" / "sub-01_pwd.nii", counting(SHAPE), sform=DIAGONAL)

    attrs = load(file).attrs

    assert attrs["station_name"] == "derivative"
    assert "manufacturer" not in attrs


def test_load_without_a_root_inherits_from_what_holds_the_subjects(tmp_path: Path) -> None:
    """As the layout of that folder does; what lies further up is no part of a dataset."""
    _write_json(tmp_path / "pwd.json", {"Manufacturer": "above"})
    _write_json(tmp_path / "mice" / "pwd.json", {"StationName": "root"})

    attrs = _load(tmp_path / "mice" / "sub-01", {"ProbeType": "beside"}).attrs

    assert (attrs["probe_type"], attrs["station_name"]) == ("beside", "root")
    assert "manufacturer" not in attrs


@pytest.mark.parametrize("extension", [".nii", ".nii.gz"])
def test_load_dots_in_name_belong_to_the_stem(tmp_path: Path, extension: str) -> None:
    """Only the extension is taken off, for the name as for the sidecar."""
    _write_json(tmp_path / "a.json", {"Manufacturer": "wrong"})
    _write_json(tmp_path / "a.b.json", {"Manufacturer": "right"})
    array = load(write_nifti(tmp_path / f"a.b{extension}", counting(SHAPE), sform=DIAGONAL))

    assert array.name == "a.b"
    assert array.attrs["manufacturer"] == "right"


@pytest.mark.parametrize(
    ("field", "attribute"),
    [
        ("ManufacturersModelName", "manufacturers_model_name"),
        ("ProbeRadiusOfCurvature", "probe_radius_of_curvature"),
        ("CogAtlasID", "cog_atlas_id"),
        ("CogPOID", "cog_poid"),
        ("UltrasoundTransmitFrequency", "transmit_frequency"),
        ("UltrasoundPulseRepetitionFrequency", "pulse_repetition_frequency"),
        ("FrameAcquisitionDuration", "volume_acquisition_duration"),
        ("ConfUSIusLongName", "long_name"),
        ("ConfUSIusBmodeIntegrationStride", "bmode_integration_stride"),
        ("ConfUSIusAxialVelocitySpatialKernel", "axial_velocity_spatial_kernel"),
        ("ConfUSIusDim4Name", "dim4_name"),
        ("ConfUSIusSomethingElse", "ConfUSIusSomethingElse"),
        ("CustomField", "CustomField"),
        ("rgb_lookup", "rgb_lookup"),
    ],
)
def test_attribute_name_follows_the_table(field: str, attribute: str) -> None:
    """Known fields become words with underscores, unknown ones stay."""
    assert attribute_name(field) == attribute


def test_load_sidecar_affines_are_merged_header_first(tmp_path: Path) -> None:
    """A sidecar adds affines; those of the header win; all are arrays."""
    given = {"physical_to_sform": np.zeros((4, 4)).tolist(), "physical_to_lab": np.eye(4).tolist()}

    affines = _load(tmp_path, {"ConfUSIusAffines": given}).attrs["affines"]

    assert {name: matrix.tolist() for name, matrix in affines.items()} == {
        "physical_to_sform": np.eye(4).tolist(),
        "physical_to_lab": np.eye(4).tolist(),
    }


@pytest.mark.parametrize("given", [[1, 2], {"physical_to_lab": "no matrix"}, {"a": [[1, 2], [3]]}])
def test_load_sidecar_affines_that_are_none_are_left_out(tmp_path: Path, given: Any) -> None:
    """What is no matrix is left out with a warning."""
    with pytest.warns(UserWarning, match="`ConfUSIusAffines` has no matrix of 4 by 4"):
        affines = _load(tmp_path, {"ConfUSIusAffines": given}).attrs["affines"]

    assert list(affines) == ["physical_to_sform"]


def test_load_sidecar_may_set_codes(tmp_path: Path) -> None:
    """What the sidecar says comes after the header, affines excepted."""
    assert _load(tmp_path, {"ConfUSIusSformCode": 4}).attrs["sform_code"] == 4


@pytest.mark.parametrize("content", ["{", "", "\xff\xfe", "[" * 100_000])
def test_load_sidecar_that_is_no_json_is_named(tmp_path: Path, content: str) -> None:
    """A damaged sidecar is an error that names the sidecar."""
    file = write_nifti(tmp_path / "a_pwd.nii", counting(SHAPE), sform=DIAGONAL)
    (tmp_path / "a_pwd.json").write_bytes(content.encode("latin-1"))

    with pytest.raises(FileFormatError, match=r"a_pwd\.json: this sidecar is not valid JSON"):
        load(file)


def test_load_sidecar_that_is_no_object_is_named(tmp_path: Path) -> None:
    """A sidecar holds an object."""
    file = write_nifti(tmp_path / "a_pwd.nii", counting(SHAPE), sform=DIAGONAL)
    (tmp_path / "a_pwd.json").write_text("[1, 2]")

    with pytest.raises(FileFormatError) as caught:
        load(file)

    assert str(caught.value) == (
        f"{tmp_path / 'a_pwd.json'}: a sidecar holds one JSON object, and this one holds a list. "
        "Correct it, or fetch it again."
    )


def test_load_wrong_values_warn_once_with_a_line_each(tmp_path: Path) -> None:
    """What is wrong with a sidecar is said in one warning; the values are kept."""
    wrong = {"RepetitionTime": -1, "Manufacturer": 3, "Depth": [1]}

    with pytest.warns(UserWarning) as caught:
        array = _load(tmp_path, wrong, shape=(3, 2, 4))

    assert [str(warning.message) for warning in caught] == [
        "fUSI-BIDS validation warning:"
        "\n  - RepetitionTime: should be a number greater than 0, not -1"
        "\n  - Manufacturer: should be a text, not 3"
        "\n  - Depth: should be two numbers, [minimum, maximum], not [1]"
    ]
    assert array.attrs["manufacturer"] == 3


GOOD: dict[str, Any] = {
    "Manufacturer": "Iconeus",
    "DeviceSerialNumber": ["a", "b"],
    "ProbeNumberOfElements": [128, 1],
    "ProbePitch": 0.11,
    "ProbeCentralFrequency": 15e6,
    "ProbeVoltage": 0,
    "Depth": [1, 10],
    "PlaneWaveAngles": [[-1, 0], [1, 0]],
    "VirtualSources": 3,
    "TransmitAperture": [[0, 127]],
    "ClutterFilters": ["SVD"],
    "ProbeRadiusOfCurvature": 0,
}


def test_problems_of_good_values_are_none() -> None:
    """Each kind of value that the table allows passes."""
    assert problems_of(GOOD) == []


@pytest.mark.parametrize("field", sorted(KNOWN_FIELDS))
def test_problems_of_each_known_field_are_found(field: str) -> None:
    """No field accepts just anything."""
    assert field in dict(problems_of({field: {"an": "object"}}))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"VolumeTiming": [0, 1]}, "FrameAcquisitionDuration is REQUIRED"),
        ({"RepetitionTime": 1, "FrameAcquisitionDuration": 1}, "must not be provided"),
        ({"DelayTime": 1}, "is recommended"),
        ({"RepetitionTime": 1, "SliceTiming": [0]}, "needs SliceEncodingDirection"),
        ({"RepetitionTime": True}, "greater than 0, not True"),
    ],
)
def test_problems_of_timing_are_said(fields: dict[str, Any], words: str) -> None:
    """Timing fields that do not go together are named."""
    assert any(words in reason for _, reason in problems_of(fields))


def test_load_delay_without_repetition_is_not_applied(tmp_path: Path) -> None:
    """With times from the header, delays stay attributes."""
    with pytest.warns(UserWarning, match="is recommended"):
        array = _load(tmp_path, {"DelayAfterTrigger": 2.0})

    assert array.time.values.tolist() == [0, 1, 2, 3]
    assert array.attrs["delay_after_trigger"] == 2.0


def test_load_delay_as_long_as_repetition_warns(tmp_path: Path) -> None:
    """A duration that cannot be positive is not inferred."""
    with pytest.warns(UserWarning, match="DelayTime is greater than or equal to RepetitionTime"):
        array = _load(tmp_path, {"RepetitionTime": 1.0, "DelayTime": 1.0})

    assert "volume_acquisition_duration" not in array.time.attrs


@pytest.mark.parametrize(
    ("direction", "dim", "times"),
    [
        ("k", "z", [0, 0.1, 0.2, 0.3]),
        ("k-", "z", [0.3, 0.2, 0.1, 0]),
        ("j", "y", [0, 0.5]),
    ],
)
def test_load_slice_timing_is_a_coordinate(
    tmp_path: Path, direction: str, dim: str, times: list[float]
) -> None:
    """`slice_time` is the time of a volume plus that of a slice in it."""
    listed = sorted(times)
    sidecar = {
        "RepetitionTime": 1.0,
        "SliceTiming": listed,
        "SliceEncodingDirection": direction,
    }

    array = _load(tmp_path, sidecar)

    assert array.slice_time.dims == ("time", dim)
    np.testing.assert_allclose(array.slice_time[2], 2 + np.array(times))
    assert array.slice_time.attrs == {"units": "s"}
    assert not {"slice_timing", "slice_encoding_direction"} & array.attrs.keys()


@pytest.mark.parametrize("shape", [(3, 2, 4, 3), (3, 2, 4)])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"SliceEncodingDirection": "up"}, "SliceEncodingDirection: should be one of i, j, k"),
        ({"SliceEncodingDirection": ["k"]}, "SliceEncodingDirection: should be one of i, j, k"),
        ({"SliceTiming": [0.0]}, "`SliceTiming` has 1 times, but the image has 4 slices along 'z'"),
        ({"SliceTiming": "ascending"}, "SliceTiming: should be a list of numbers"),
        ({"SliceTiming": [[0, 1, 2, 3]]}, "SliceTiming: should be a list of numbers"),
        ({"SliceTiming": [0, 1, 2, 1.7e308]}, "`SliceTiming` has times that are beyond any"),
    ],
)
def test_load_slice_timing_that_does_not_fit_is_left_out(
    tmp_path: Path, change: dict[str, Any], words: str, shape: tuple[int, ...]
) -> None:
    """Slice times that cannot be assigned are told in one warning, and the image is loaded."""
    good = {"RepetitionTime": 1, "SliceTiming": [0, 1, 2, 3], "SliceEncodingDirection": "k"}

    with pytest.warns(UserWarning) as caught:
        array = _load(tmp_path, {**good, **change}, shape=shape, units=("mm", "msec"))

    (warning,) = caught
    assert words in str(warning.message)
    assert "slice_time" not in array.coords
    assert array.attrs["slice_timing"] == {**good, **change}["SliceTiming"]
    assert array.values.size


TIMES = [0.0, 0.5, 1.0]
"""Times of three volumes by the header."""


@pytest.mark.parametrize(
    ("sidecar", "times"),
    [
        *(({"RepetitionTime": value}, TIMES) for value in (0, -1, "0.5", [0.5], True, math.inf)),
        ({"RepetitionTime": 1e308}, TIMES),
        ({"RepetitionTime": 1, "DelayAfterTrigger": "soon"}, [0, 1, 2]),
        ({"RepetitionTime": 1, "DelayAfterTrigger": 1e300}, [0, 1, 2]),
        ({"RepetitionTime": 1, "DelayAfterTrigger": math.nan}, [0, 1, 2]),
        ({"VolumeTiming": [0, 1, 1], "RepetitionTime": 1}, [0, 1, 2]),
        ({"VolumeTiming": [0, 2, 1], "RepetitionTime": 0}, TIMES),
        ({"VolumeTiming": [0, 1, math.inf]}, TIMES),
        ({"VolumeTiming": [0, 1, 10**400]}, TIMES),
        ({"VolumeTiming": [True, 2, 3]}, TIMES),
        ({"VolumeTiming": {"0": 1}, "RepetitionTime": 2}, [0, 2, 4]),
    ],
)
def test_load_times_that_do_not_increase_give_way_to_the_next_source(
    tmp_path: Path, sidecar: dict[str, Any], times: list[float]
) -> None:
    """Whatever a sidecar says, times are finite and increase; one warning says what was wrong."""
    with pytest.warns(UserWarning) as caught:
        array = _load(tmp_path, sidecar, shape=(2, 2, 1, 3), pixdim={4: 0.5})

    (warning,) = caught
    assert str(warning.message).startswith("fUSI-BIDS validation warning:\n  - ")
    assert array.time.values.tolist() == times


@pytest.mark.parametrize(
    ("sidecar", "time"),
    [
        ({"VolumeTiming": [1.5], "FrameAcquisitionDuration": 0.4}, 1.5),
        ({"RepetitionTime": 2.0, "DelayAfterTrigger": 0.5}, 0.5),
        ({"RepetitionTime": 2.0}, 0.0),
        ({"DelayAfterTrigger": 0.5, "DelayTime": 0.1}, 0.5),
    ],
)
@pytest.mark.filterwarnings("ignore:fUSI-BIDS validation warning")
def test_load_single_volume_has_scalar_time(
    tmp_path: Path, sidecar: dict[str, Any], time: float
) -> None:
    """Without a time axis, what the sidecar says becomes a scalar coordinate."""
    array = _load(tmp_path, sidecar, shape=(3, 2, 4))

    assert array.dims == ("z", "y", "x")
    assert float(array.time) == time
    assert array.time.attrs["volume_acquisition_reference"] == "start"
    assert array.time.attrs.get("volume_acquisition_duration") == sidecar.get(
        "FrameAcquisitionDuration"
    )
    used = {"volume_timing", "repetition_time", "delay_after_trigger", "delay_time"}
    assert not used & array.attrs.keys()


def test_load_slice_timing_of_a_single_volume_is_added_to_its_time(tmp_path: Path) -> None:
    """Slices of one volume have the times that the volume's own time makes of theirs."""
    sidecar = {
        "DelayAfterTrigger": 2.0,
        "RepetitionTime": 1.0,
        "SliceTiming": [0.0, 0.5],
        "SliceEncodingDirection": "j-",
    }

    array = _load(tmp_path, sidecar, shape=(3, 2, 4))

    assert array.slice_time.dims == ("y",)
    assert array.slice_time.values.tolist() == [2.5, 2.0]


@pytest.mark.filterwarnings("ignore:fUSI-BIDS validation warning")
def test_load_slice_timing_of_a_volume_of_unknown_time_stays_as_it_is(tmp_path: Path) -> None:
    """Without a time there is nothing to add to, and the fields remain attributes."""
    sidecar = {"SliceTiming": [0.0, 0.5], "SliceEncodingDirection": "j"}

    array = _load(tmp_path, sidecar, shape=(3, 2, 4))

    assert "slice_time" not in array.coords
    assert array.attrs["slice_timing"] == [0.0, 0.5]
    assert array.attrs["slice_encoding_direction"] == "j"


def test_load_single_volume_without_timing_has_no_time(tmp_path: Path) -> None:
    """A volume of unknown time has no time coordinate."""
    assert "time" not in _load(tmp_path, {"Manufacturer": "x"}, shape=(3, 2, 4)).coords


@pytest.mark.parametrize("listed", [[], "soon", [[1]], [None]])
@pytest.mark.filterwarnings("ignore:fUSI-BIDS validation warning")
def test_load_volume_timing_that_is_no_list_is_ignored(tmp_path: Path, listed: Any) -> None:
    """A `VolumeTiming` that says no times is ignored with a warning."""
    with pytest.warns(UserWarning, match="is not a list of one time or more"):
        array = _load(tmp_path, {"VolumeTiming": listed})

    assert array.time.values.tolist() == [0, 1, 2, 3]


def test_load_label_colours_are_rebuilt(tmp_path: Path) -> None:
    """A table of colours becomes a colormap and a norm that draw each label in its own."""
    pytest.importorskip("matplotlib")
    lookup = {"2": [255, 0, 0], "3": [0, 255, 0], "8": [0, 0, 255], "997": [255, 255, 255]}

    attrs = _load(tmp_path, {"rgb_lookup": lookup}).attrs

    assert attrs["norm"].boundaries.tolist() == [2, 3, 8, 997, 998]
    colours = [attrs["cmap"](attrs["norm"](label)) for label in (0, 2, 5, 8, 2000)]
    assert colours == [
        (0, 0, 0, 0),
        (1, 0, 0, 1),
        (0, 1, 0, 1),
        (0, 0, 1, 1),
        (1, 1, 1, 1),
    ]


def test_load_label_colours_that_are_none_are_kept_as_they_are(tmp_path: Path) -> None:
    """A table that cannot be read is left alone, with a warning."""
    pytest.importorskip("matplotlib")

    with pytest.warns(UserWarning, match="'rgb_lookup' must be a table of labels and colours"):
        attrs = _load(tmp_path, {"rgb_lookup": {"a": 1}}).attrs

    assert attrs["rgb_lookup"] == {"a": 1}
    assert "cmap" not in attrs


@pytest.mark.parametrize(
    ("relpath", "root"),
    [
        ("sub-01/ses-1/fusi/sub-01_pwd.nii", ""),
        ("sub-01/sub-01/x/sub-01_pwd.nii", "sub-01"),
        ("sub-02/x/sub-01_pwd.nii", "sub-02/x"),
        ("sub-02/x/task-a_pwd.nii", ""),
        ("derivatives/x/sub-01/sub-01_pwd.nii", "derivatives/x"),
        ("derivatives/sub-01/sub-01_pwd.nii", ""),
        ("ses-1/fusi/sub-01_pwd.nii", ""),
        ("x/sub-01_pwd.nii", "x"),
        ("sub-01_pwd.nii", ""),
    ],
)
def test_dataset_without_marks_begins_above_its_subjects(
    tmp_path: Path, relpath: str, root: str
) -> None:
    """A lone path tells where its dataset begins; a description says it better."""
    assert dataset_root(tmp_path / relpath) == tmp_path / root

    (tmp_path / "dataset_description.json").touch()
    assert dataset_root(tmp_path / relpath) == tmp_path
