"""Arrays that come out of a dataset: named by their entities, with the attributes of their path."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from builders import affine_of, counting, write_nifti
from confusius_datasets import BIDSDataset, fetch_sample, load, open_dataset, save
from confusius_datasets._text import REPAIR_HINT
from confusius_datasets.errors import DamagedSidecarError, FileFormatError
from scan_files import scan_v1_content, write_hdf5

SHAPE = (5, 4, 1, 6)
SLICES = ["slice01", "slice02", "slice03"]


def _write_dataset(root: Path, *, step: float = 0.0, onset: float = 0.0) -> BIDSDataset:
    """Write three slices of a mouse, at positions `step` and at times `onset` from one another."""
    root.mkdir()
    for name, content in {
        "dataset_description.json": {"Name": "slices", "BIDSVersion": "1.10.0"},
        "pwd.json": {"Manufacturer": "root", "ProbeType": "root"},
        "sub-CR020/sub-CR020_pwd.json": {"ProbeType": "subject"},
    }.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(json.dumps(content), encoding="utf-8")
    for number, label in enumerate(SLICES):
        name = f"sub-CR020_ses-20191122_task-spontaneous_acq-{label}_pwd.nii.gz"
        write_nifti(
            root / "sub-CR020" / "ses-20191122" / "fusi" / name,
            counting(SHAPE) + number,
            qform=affine_of((0.1, 0.05, 0.4), (0, 0, step * number)),
            pixdim={4: 0.3},
            sidecar={"RepetitionTime": 0.3, "DelayAfterTrigger": 0.1 + onset * number},
        )
    return open_dataset(root)


def test_load_all_is_labelled_by_concatenating_it(tmp_path: Path) -> None:
    """Arrays of one grid are joined along an entity by its name alone, without a warning."""
    ds = _write_dataset(tmp_path / "ds")

    joined = xr.concat(
        ds.load_all(subject="CR020", task="spontaneous", suffix="pwd"), dim="acquisition"
    )

    assert joined.dims == ("acquisition", "time", "z", "y", "x")
    assert joined.acquisition.values.tolist() == SLICES
    assert {name: joined[name].item() for name in ("subject", "session", "task")} == {
        "subject": "CR020",
        "session": "20191122",
        "task": "spontaneous",
    }
    for number, label in enumerate(SLICES):
        found = joined.sel(acquisition=label)
        np.testing.assert_array_equal(found, counting(SHAPE).T + number)


@pytest.mark.parametrize(("step", "onset"), [(0.4, 0.0), (0.0, 0.01), (0.4, 0.01)])
def test_load_all_of_other_positions_or_times_is_labelled_with_override(
    tmp_path: Path, step: float, onset: float
) -> None:
    """Where positions or times differ, `join="override"` takes the first's, and labels as well."""
    ds = _write_dataset(tmp_path / "ds", step=step, onset=onset)

    joined = xr.concat(
        ds.load_all(subject="CR020", task="spontaneous", suffix="pwd"),
        dim="acquisition",
        join="override",
    )

    assert joined.shape == (3, 6, 1, 4, 5)
    assert joined.acquisition.values.tolist() == SLICES


def test_load_of_a_path_in_a_dataset_differs_by_the_entities_alone(tmp_path: Path) -> None:
    """By query or by path, a file has the same values, coordinates and inherited fields."""
    ds = _write_dataset(tmp_path / "ds")
    name = "sub-CR020_ses-20191122_task-spontaneous_acq-slice02_pwd.nii.gz"

    by_query = ds.load(subject="CR020", acquisition="slice02", suffix="pwd")
    by_path = load(ds.root / "sub-CR020" / "ses-20191122" / "fusi" / name)

    entities = {"subject", "session", "task", "acquisition"}
    assert by_query.coords.keys() - by_path.coords.keys() == entities
    xr.testing.assert_equal(by_query.drop_vars(entities), by_path)
    assert by_query.name == by_path.name == name.removesuffix(".nii.gz")
    assert list(by_query.attrs) == list(by_path.attrs)
    assert by_path.attrs["manufacturer"] == "root"
    assert by_path.attrs["probe_type"] == "subject"


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_load_and_layout_agree_on_every_field(tmp_path: Path, mark: bytes) -> None:
    """One reader and one rule: marks of byte order are read over, a null takes a field away."""
    ds = _write_dataset(tmp_path / "root")
    (tmp_path / "root" / "pwd.json").write_bytes(
        mark + b'{"Manufacturer": "M", "Far": 1, "Near": 1, "Custom": {"a": null}}'
    )
    own = next((tmp_path / "root").rglob("*acq-slice01_pwd.json"))
    own.write_bytes(mark + b'{"RepetitionTime": 0.3, "Near": null, "Never": null}')
    ds = open_dataset(tmp_path / "root")

    attrs = ds.load(acquisition="slice01").attrs
    metadata = ds.get(acquisition="slice01", extension=".nii.gz")[0].get_metadata()

    assert metadata == {
        "Manufacturer": "M",
        "Far": 1,
        "Custom": {"a": None},
        "ProbeType": "subject",
        "RepetitionTime": 0.3,
    }
    fields = {"Far", "Near", "Never", "Custom"}
    assert {name: attrs[name] for name in fields & attrs.keys()} == {
        "Far": 1,
        "Custom": {"a": None},
    }
    assert attrs["manufacturer"] == "M"
    assert len(ds.get(Manufacturer="M", extension=".nii.gz")) == 3
    assert len(ds.get(Near=1, extension=".nii.gz")) == 2


def make_nifti(path: Path) -> None:
    """Write an image with noise, which does not compress."""
    write_nifti(path, np.random.default_rng(0).normal(size=(9, 8, 7, 6)).astype("f4"))


def make_stored(path: Path) -> None:
    """Write an array by our own `save`, as NetCDF or Zarr."""
    noise = np.random.default_rng(0).normal(size=(9, 8, 7, 6)).astype("f4")
    save(xr.DataArray(noise, dims=("time", "z", "y", "x"), name="pwd"), path)


def make_scan(path: Path) -> None:
    """Write a recording of one slice, first generation."""
    noise = np.random.default_rng(0).normal(size=(9, 1, 8, 1, 7))
    write_hdf5(path, scan_v1_content("2Dscan", noise, n_block=9, times=range(9)))


def spoil(path: Path) -> None:
    """Cut a file in half, or the largest file of a store."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    largest = max(files, key=lambda file: file.stat().st_size)
    largest.write_bytes(largest.read_bytes()[: largest.stat().st_size // 2])


DAMAGED = [
    ("sub-01_pwd.nii.gz", make_nifti),
    ("sub-01_pwd.nii", make_nifti),
    ("sub-01_pwd.nc", make_stored),
    ("sub-01_pwd.zarr", make_stored),
    ("sub-01_pwd.scan", make_scan),
]
"""A file of each format, and what makes it."""


@pytest.mark.parametrize(("name", "make"), DAMAGED, ids=[name for name, _ in DAMAGED])
def test_damaged_file_of_a_dataset_is_told_with_its_remedy(
    tmp_path: Path, name: str, make: Callable[[Path], object]
) -> None:
    """A file in a downloaded dataset can be repaired; one that lies elsewhere cannot."""
    root = fetch_sample(tmp_path / "data", download=False, progress=False).root
    errors = []
    for folder in (root / "sub-01" / "fusi", tmp_path):
        folder.mkdir(parents=True, exist_ok=True)
        make(folder / name)
        spoil(folder / name)
        with pytest.raises(FileFormatError) as caught:
            load(folder / name).load()
        errors.append(str(caught.value))

    assert name in errors[0] and name in errors[1]
    assert errors[0].endswith(f" {REPAIR_HINT}")
    assert errors[0].count("repair=True") == 1
    assert "ds.verify(repair=True)" in REPAIR_HINT
    assert "repair" not in errors[1]


def test_remedy_of_a_damaged_file_helps(tmp_path: Path) -> None:
    """What the error says to call makes the same call work; sidecars are told of likewise."""
    ds = fetch_sample(tmp_path, subjects="mouse1", tasks="rest", progress=False)
    query = {"subject": "mouse1", "session": "day1", "task": "rest", "acquisition": "slice01"}
    (image,) = ds.get(**query, extension=".nii.gz")
    sidecar = Path(image.path.replace(".nii.gz", ".json"))

    spoil(Path(image.path))
    with pytest.raises(FileFormatError, match=r"ds\.verify\(repair=True\)"):
        ds.load(**query).load()
    ds.verify(repair=True, progress=False)
    assert ds.load(**query).load().sizes["time"] == 120

    sidecar.write_text("{")
    for fails in (lambda: ds.load(**query), lambda: ds.layout.get_metadata(image.path)):
        with pytest.raises(DamagedSidecarError, match=r"ds\.verify\(repair=True\)"):
            fails()
    (ds / "participants.tsv").write_bytes(b"\xff")
    with pytest.raises(FileFormatError, match=r"separated by tabs.*ds\.verify\(repair=True\)"):
        _ = ds.participants
    ds.verify(repair=True, progress=False)
    assert ds.load(**query).sizes["time"] == 120
