"""Datasets that others bring: registered in a session, or by an installed package."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from confusius_datasets import (
    BIDSDataset,
    fetch_dataset,
    list_datasets,
    open_dataset,
    register_dataset,
)
from confusius_datasets._cli import main
from confusius_datasets._open import DatasetTable
from confusius_datasets.errors import ArgumentError
from confusius_datasets.sources import DatasetSpec, DirectorySource


@pytest.fixture
def share(tmp_path: Path) -> Path:
    """Put a small study on a disk."""
    folder = tmp_path / "share"
    for label in ("01", "02"):
        path = folder / f"sub-{label}" / "fusi" / f"sub-{label}_task-rest_pwd.json"
        path.parent.mkdir(parents=True)
        path.write_text("{}")
    (folder / "participants.tsv").write_text("participant_id\n")
    return folder


def spec_of(share: Path, name: str = "our-lab", folder: str = "our-lab-bids") -> DatasetSpec:
    """Describe the study."""
    return DatasetSpec(name=name, folder=folder, source=DirectorySource(share))


def test_registered_dataset_is_one_like_the_others(
    share: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is fetched, opened, listed, remembered by its folder, and known to the command."""
    register_dataset(spec_of(share))

    dataset = fetch_dataset("our-lab", subjects="01", progress=False)
    list_datasets()

    assert dataset == open_dataset("our-lab", progress=False) == open_dataset(dataset.root)
    assert dataset.root == data_dir / "our-lab-bids"
    assert {path.name for path in dataset.glob("sub-*")} == {"sub-01"}
    assert "fetch_dataset('our-lab')" in capsys.readouterr().out
    assert main(["fetch", "our-lab", "--subjects", "02", "--quiet"]) == 0
    assert {path.name for path in dataset.glob("sub-*")} == {"sub-01", "sub-02"}


def test_registering_again_replaces(share: Path, tmp_path: Path) -> None:
    """A cell of a notebook may be run twice."""
    register_dataset(spec_of(tmp_path))
    register_dataset(spec_of(share))

    assert open_dataset("our-lab", progress=False).get_subjects() == ["01", "02"]


@pytest.mark.parametrize(
    ("name", "folder", "message"),
    [
        ("sample", "x", "there is 'sample' already"),
        ("khallaf-2026", "x", "there is 'khallaf-2026' already"),
        ("mine", "Confusius-Sample-BIDS", "'sample' already, in 'confusius-sample-bids'"),
        ("mine", "Sample-BIDS", "'sample' already, in 'confusius-sample-bids'"),
        ("Our Lab", "x", "small letters, digits and dashes"),
        ("osf:x", "x", "cannot be the name"),
        ("mine", "../x", "climbs out of the root"),
    ],
)
def test_name_or_folder_that_cannot_be_is_refused(
    share: Path, name: str, folder: str, message: str
) -> None:
    """Nobody's data come into another dataset's folder."""
    with pytest.raises(ArgumentError, match=message):
        register_dataset(spec_of(share, name, folder))


def test_what_is_not_a_spec_is_refused(share: Path) -> None:
    """A dataset is described by a spec, not by the dataset itself."""
    with pytest.raises(ArgumentError, match="expected a DatasetSpec, not BIDSDataset"):
        register_dataset(BIDSDataset(share))  # type: ignore[arg-type]


def install_package(folder: Path, share: Path, *, value: str = "our_lab:SPEC") -> None:
    """Make a package with an entry point, as pip leaves it in a folder of packages."""
    (folder / "our_lab.py").write_text(
        "from pathlib import Path\n"
        "from confusius_datasets.sources import DatasetSpec, DirectorySource\n"
        f"SPEC = DatasetSpec(name='our-lab', folder='our-lab-bids', nbytes=4,\n"
        f"                   source=DirectorySource(Path({os.fspath(share)!r})))\n"
    )
    info = folder / "our_lab-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: our-lab\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[confusius_datasets.datasets]\nour-lab = {value}\n")


@pytest.mark.slow
def test_installed_package_brings_its_datasets(share: Path, tmp_path: Path, data_dir: Path) -> None:
    """An entry point is enough for every session, and for the command line."""
    packages = tmp_path / "packages"
    packages.mkdir()
    install_package(packages, share)
    script = (
        "import confusius_datasets as c\n"
        "ds = c.fetch_dataset('our-lab', subjects='01', progress=False)\n"
        "c.list_datasets()\n"
        "print(ds.root, ds.get_subjects())\n"
    )

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        env=os.environ | {"PYTHONPATH": str(packages), "COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert "│ fetch_dataset('our-lab')         │      4 B │    ✓    │" in done.stdout
    assert done.stdout.endswith(f"{data_dir / 'our-lab-bids'} ['01', '02']\n")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("our_lab_missing:SPEC", "No module named 'our_lab_missing'"),
        ("our_lab:__name__", "expected a DatasetSpec, not str"),
    ],
)
def test_package_that_is_broken_is_warned_of_and_left_out(
    share: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, message: str
) -> None:
    """It does not take the public datasets away."""
    install_package(tmp_path, share, value=value)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "our_lab", raising=False)
    table = DatasetTable()

    with pytest.warns(UserWarning, match=f"our-lab: the dataset 'our-lab' cannot be .*{message}"):
        names = list(table)

    assert "our-lab" not in names
    assert "sample" in names
