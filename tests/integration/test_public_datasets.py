"""Each public dataset on a host like its own: what its filters select, and what loads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from confusius_datasets import (
    BIDSDataset,
    fetch_khallaf_2026,
    fetch_landemard_2026,
    fetch_pepe_mariani_2026,
    fetch_pereira_2025,
    fetch_template_huang_2025,
    open_dataset,
)
from confusius_datasets.errors import FilterError, OfflineError, UnknownLabelError
from confusius_datasets.testing import LocalDataverse, LocalOSF
from replicas import KHALLAF_PATHS, LANDEMARD_PATHS, PEPE_MARIANI_PATHS, PEREIRA_PATHS

QUIET: dict[str, Any] = {"progress": False, "print_citation": False}


def tree_of(dataset: BIDSDataset) -> set[str]:
    """List the files of a dataset on disk that are not ours."""
    return {
        path.relative_to(dataset.root).as_posix()
        for path in dataset.rglob("*")
        if path.is_file()
        and ".confusius" not in path.parts
        and not path.name.endswith("index.json")
    }


def having(paths: list[str], *texts: str) -> set[str]:
    """Return the paths that have one of some texts in them, and those of the root."""
    return {path for path in paths if "/" not in path or any(text in path for text in texts)}


@pytest.mark.parametrize(
    ("given", "left_out"),
    [
        ({}, ()),
        ({"subjects": "r11582"}, ("sub-r21595",)),
        ({"sessions": "awake1h"}, ("ses-awakebaseline",)),
        ({"tasks": "stim"}, ("task-rest_acq",)),
        (
            {"subjects": "r21595", "sessions": "awake1h", "tasks": "rest"},
            ("r11582", "e_task-r", "stim_acq", "baseline"),
        ),
    ],
    ids=str,
)
def test_pereira_filters(osf: LocalOSF, given: dict[str, str], left_out: tuple[str, ...]) -> None:
    """Subjects, sessions and tasks; the events of a task lie in the root and always come."""
    dataset = fetch_pereira_2025(**given, **QUIET)

    expected = {path for path in PEREIRA_PATHS if not any(text in path for text in left_out)}
    assert tree_of(dataset) == expected
    assert "task-stim_events.tsv" in tree_of(dataset)


def test_pereira_loads_with_a_single_slice(osf: LocalOSF) -> None:
    """2-D recordings have a slice axis of length one."""
    dataset = fetch_pereira_2025(subjects="r11582", **QUIET)

    pwd = dataset.load(subject="r11582", session="awake1h", task="rest", suffix="pwd")

    assert pwd.dims == ("time", "z", "y", "x")
    assert pwd.sizes["z"] == 1


@pytest.mark.parametrize(
    ("given", "kept", "left_out"),
    [
        ({"datasets": "Params"}, ("derivatives/Params/",), ("sub-",)),
        (
            {"datasets": "preprocessed", "subjects": "m01"},
            ("preprocessed/sub-m01",),
            ("m02", "registered"),
        ),
        ({"datatypes": "fusi"}, ("/fusi/", "Params/angio/"), ("sub-m01/ses-rest/angio",)),
        ({"datatypes": "angio", "datasets": "rawdata"}, ("ses-rest/angio",), ("/fusi/", "Params")),
        ({"acqs": "sagittal"}, ("acq-sagittal", "Params"), ("acq-coronal",)),
    ],
    ids=str,
)
def test_pepe_mariani_filters(
    osf: LocalOSF, given: dict[str, str], kept: tuple[str, ...], left_out: tuple[str, ...]
) -> None:
    """A folder `angio` that no subject owns is not a datatype."""
    tree = tree_of(fetch_pepe_mariani_2026(**given, **QUIET))

    assert all(any(text in path for path in tree) for text in kept)
    assert not any(text in path for path in tree for text in left_out)
    assert having(PEPE_MARIANI_PATHS) <= tree


def test_pepe_mariani_chunks_inherit_from_the_root(osf: LocalOSF) -> None:
    """A file for each position of the probe, with the fields of the root's sidecar."""
    dataset = fetch_pepe_mariani_2026(datasets="rawdata", subjects="m01", **QUIET)

    arrays = dataset.load_all(subject="m01", suffix="pwd", datatype="fusi", scope="raw")

    assert len(arrays) == 3
    metadata = dataset.get(subject="m01", chunk="01", extension=".nii.gz", scope="raw")[
        0
    ].get_metadata()
    assert metadata["RepetitionTime"] == 2.4
    assert metadata["ProbeVoltage"] == 25


@pytest.mark.parametrize(
    ("given", "left_out"),
    [
        ({"subjects": "ALD001"}, ("sub-ALD002",)),
        ({"subjects": "ALD001", "acqs": "ref04"}, ("sub-ALD002", "ref11")),
        ({"datatypes": "angio"}, ("/fusi/",)),
        ({"datatypes": "susi"}, ("/fusi/",)),
        ({"datasets": "processed_data"}, ("atlas_mapping", "fusi", "angio", "_scans")),
        ({"datasets": ["rawdata", "atlas_mapping"]}, ("processed_data",)),
    ],
    ids=str,
)
def test_landemard_filters(osf: LocalOSF, given: dict[str, Any], left_out: tuple[str, ...]) -> None:
    """Without sessions, the datatype is right below the subject; what lacks an entity stays."""
    dataset = fetch_landemard_2026(**given, **QUIET)

    expected = {path for path in LANDEMARD_PATHS if not any(text in path for text in left_out)}
    assert tree_of(dataset) == expected


def test_licence_that_forbids_commercial_use_is_said_before_the_first_byte(
    osf: LocalOSF, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where nothing could be downloaded after it."""
    monkeypatch.setenv("CONFUSIUS_OFFLINE", "1")

    for fetch, licence in (
        (fetch_landemard_2026, "CC BY-NC 4.0"),
        (fetch_template_huang_2025, "CC BY-NC-SA 4.0"),
    ):
        with pytest.raises(OfflineError):
            fetch(progress=False)
        said = capsys.readouterr().out
        assert f"Licence: {licence}" in said
    assert osf.requests == []


RAW = [path for path in KHALLAF_PATHS if path.startswith("sub-")]


@pytest.mark.parametrize(
    ("given", "keeps"),
    [
        ({}, lambda path: not path.startswith("sourcedata/")),
        (
            {"sourcedata": True, "datasets": "glm"},
            lambda path: path.startswith(("sourcedata/", "derivatives/glm")),
        ),
        ({"datasets": "bootstrapping"}, lambda path: "bootstrapping" in path),
        (
            {"datasets": "rawdata", "reconstruction": "raw"},
            lambda path: path in RAW and "rec-" not in path,
        ),
        (
            {"datasets": "rawdata", "reconstruction": "resampled"},
            lambda path: path in RAW and ("rec-" in path or "/fusi/" not in path),
        ),
        (
            {"datasets": "rawdata", "subjects": 5622, "runs": [1]},
            lambda path: path.startswith("sub-5622") and "run-2" not in path,
        ),
        (
            {"datasets": "rawdata", "subjects": ["sub-6036"], "sessions": "Air"},
            lambda path: path.startswith("sub-6036"),
        ),
        (
            {"datasets": "glm", "sessions": "Etoh"},
            lambda path: (
                ("ses-Etoh" in path and "glm" in path)
                or path == "derivatives/glm/desc-replicate_pwd.nii"
            ),
        ),
    ],
    ids=str,
)
def test_khallaf_filters(
    edmond: LocalDataverse, given: dict[str, Any], keeps: Callable[[str], bool]
) -> None:
    """The selection rule, and what goes beyond it: reconstruction, source data, bootstrapping."""
    dataset = fetch_khallaf_2026(**given, **QUIET)

    expected = {path for path in KHALLAF_PATHS if keeps(path)} | having(KHALLAF_PATHS)
    assert tree_of(dataset) == expected


def test_khallaf_archive_is_not_downloaded_and_no_filter_binds_queries(
    edmond: LocalDataverse, data_dir: Path
) -> None:
    """Only members that are asked for come, by ranges, with ConfUSIus's index in the root."""
    dataset = fetch_khallaf_2026(datasets="rawdata", subjects="6036", reconstruction="raw", **QUIET)

    sent = sum(request.nbytes for request in edmond.requests if request.role == "storage")
    assert dataset.root == data_dir / "khallaf-2026-bids"
    assert (dataset / "dataverse_zip_index.json").is_file()
    assert dataset.load(subject="6036", run=1, reconstruction=None, extension=".nii").ndim == 4
    assert dataset.get(subject="5622", suffix="scans")
    assert sent < sum(entry.size or 0 for entry in dataset.index.values())


def test_khallaf_is_found_by_its_address(edmond: LocalDataverse, data_dir: Path) -> None:
    """The dataset's page and its archive both mean it."""
    dataset = open_dataset("dataverse:edmond.mpg.de/doi:10.17617/3.7QCU1F", progress=False)

    assert dataset.root == data_dir / "khallaf-2026-bids"
    assert dataset.dataset_name == "khallaf-2026"


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"reconstruction": "raws"}, UnknownLabelError, "Did you mean 'raw'"),
        ({"datasets": "boot"}, UnknownLabelError, "It has rawdata, glm, bootstrapping"),
        ({"sessions": 1}, FilterError, "all text"),
        ({"runs": True}, FilterError, "all text"),
        ({"subjects": [5622, 1.5]}, FilterError, "all text"),
    ],
)
def test_khallaf_wrong_arguments_cost_no_request(
    edmond: LocalDataverse, given: dict[str, Any], error: type[Exception], message: str
) -> None:
    """What is known without the index needs no network to be wrong."""
    with pytest.raises(error, match=message):
        fetch_khallaf_2026(**given, **QUIET)
    assert edmond.requests == []


def test_template_of_huang_loads(osf: LocalOSF, data_dir: Path) -> None:
    """One image on the grid of the Allen atlas, under the name it has on the host."""
    template = fetch_template_huang_2025(**QUIET)

    assert template.dims == ("z", "y", "x")
    assert "OfUSA" in template.attrs["citation"]
    name = "huang-2026-space-allen50_desc-vascular.nii.gz"
    assert (data_dir / "huang-2025-template" / name).is_file()
