"""Releases on S3: a folder for each version, shared with the ConfUSIus package."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from confusius_datasets import (
    fetch_dataset,
    fetch_nunez_elizalde_2022,
    fetch_sample,
    fetch_template_huang_2025,
    open_dataset,
)
from confusius_datasets.errors import ArgumentError, OfflineError, SourceError
from confusius_datasets.testing import LocalOSF, LocalS3
from downloads import heeding_permissions
from releases import released
from replicas import NUNEZ_PATHS, huang_template_image, replica_files

FOLDER = "nunez-elizalde-2022-bids"
BUCKET = "https://confusius-datasets.s3.us-west-2.amazonaws.com"
FILES = released(replica_files(NUNEZ_PATHS))
TEMPLATE = "huang-2025-space-allen50_desc-vascular.nii.gz"
PART: dict[str, Any] = {"subjects": "CR017", "progress": False, "print_citation": False}
ANGIO = "sub-CR017/ses-20191113/susi/sub-CR017_ses-20191113_pwd.nii.gz"


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalS3]:
    """Serve the release bucket, and point the package at it."""
    with LocalS3() as server:
        server.add_release(FOLDER, "1.0.0", FILES)
        server.add_release(
            "huang-2025-template", "1.0.0", {TEMPLATE: huang_template_image()}, kind="templates"
        )
        for name, value in server.environ.items():
            monkeypatch.setenv(name, value)
        yield server


def asked(s3: LocalS3) -> list[str]:
    """List the last parts of the addresses that were asked for."""
    return [request.path.rpartition("/")[2] for request in s3.requests]


def test_release_has_a_folder_of_its_own_and_its_index_beside_it(
    s3: LocalS3, data_dir: Path
) -> None:
    """A named version needs no catalogue, and the index is written at once."""
    dataset = fetch_nunez_elizalde_2022(version="1.0.0", download=False, progress=False)

    index = json.loads((data_dir / FOLDER / "s3_index.json").read_bytes())
    assert dataset.root == data_dir / FOLDER / "1.0.0"
    assert "last_versions.conf" not in asked(s3)
    assert set(index) == set(FILES)
    assert index[ANGIO] == {
        "url": f"{BUCKET}/datasets/{FOLDER}/1.0.0/{urllib.parse.quote(ANGIO)}",
        "size": len(FILES[ANGIO]),
        "sha256": hashlib.sha256(FILES[ANGIO]).hexdigest(),
    }
    assert dataset.verify().status.isin(["ok", "missing"]).all()
    assert pickle.loads(pickle.dumps(dataset)) == dataset  # noqa: S301 - our own bytes


def test_release_is_complete_and_then_needs_no_request(
    s3: LocalS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a version has never changes, so going back to it costs nothing."""
    s3.add_release(FOLDER, "1.1.0", FILES | {"NEWS": b"more"})
    first = fetch_nunez_elizalde_2022(version="1.0.0", **PART)
    second = fetch_nunez_elizalde_2022(version="1.1.0", **PART)
    seen = len(s3.requests)
    monkeypatch.setenv("CONFUSIUS_OFFLINE", "1")

    again = fetch_nunez_elizalde_2022(version="1.0.0", **PART)

    assert again == first
    assert len(s3.requests) == seen
    assert "NEWS" in second.index and "NEWS" not in again.index
    assert again.load(subject="CR017", datatype="susi").ndim == 3
    assert open_dataset(again.root) == again
    assert open_dataset("nunez-elizalde-2022@1.0.0") == again


def test_latest_is_the_selected_release_until_a_refresh(s3: LocalS3, data_dir: Path) -> None:
    """The catalogue is asked once, and again where that is wanted."""
    first = fetch_nunez_elizalde_2022(version="latest", **PART)
    s3.add_release(FOLDER, "1.1.0", FILES)
    catalogues = asked(s3).count("last_versions.conf")

    same = fetch_nunez_elizalde_2022(version="latest", **PART)
    newest = fetch_nunez_elizalde_2022(version="latest", refresh=True, **PART)
    pinned = fetch_nunez_elizalde_2022(version="1.0.0", **PART)
    last = fetch_nunez_elizalde_2022(version="latest", **PART)

    assert catalogues == 1
    assert same.root.name == first.root.name == pinned.root.name == "1.0.0"
    assert newest.root.name == last.root.name == "1.1.0"
    assert asked(s3).count("last_versions.conf") == 2


def download_as_confusius(data_dir: Path) -> Path:
    """Put a release where ConfUSIus 0.8 puts it, with its index beside it; return its folder."""
    root = data_dir / FOLDER / "1.0.0"
    for relpath, data in FILES.items():
        (root / relpath).parent.mkdir(parents=True, exist_ok=True)
        (root / relpath).write_bytes(data)
    index = {
        relpath: {
            "url": f"{BUCKET}/datasets/{FOLDER}/1.0.0/{urllib.parse.quote(relpath)}",
            "size": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
        }
        for relpath, data in FILES.items()
    }
    (data_dir / FOLDER / "s3_index.json").write_text(json.dumps(index, indent=2) + "\n")
    return root


def test_release_that_confusius_has_downloaded_is_used(s3: LocalS3, data_dir: Path) -> None:
    """Its index beside the version's folder is enough, with no byte again."""
    root = download_as_confusius(data_dir)
    written = (data_dir / FOLDER / "s3_index.json").read_text()

    for version in ("latest", "1.0.0"):
        dataset = fetch_nunez_elizalde_2022(version=version, **PART)
        assert dataset.root == root
        assert set(dataset.verify().status) == {"ok"}

    assert s3.requests == []
    assert (data_dir / FOLDER / "s3_index.json").read_text() == written


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_release_of_confusius_on_a_read_only_disk_is_used_as_it_is(
    s3: LocalS3, data_dir: Path
) -> None:
    """No byte comes, and none is written: the index beside the folder is read where it is."""
    root = download_as_confusius(data_dir)
    folders = [data_dir, *(path for path in data_dir.rglob("*") if path.is_dir())]
    before = sorted(data_dir.rglob("*"))
    for folder in folders:
        folder.chmod(0o555)

    with heeding_permissions():
        for version in ("latest", "1.0.0"):
            dataset = fetch_nunez_elizalde_2022(version=version, **PART)
            assert (dataset.root, dataset.version) == (root, "1.0.0")
        copy = pickle.loads(pickle.dumps(dataset))  # noqa: S301 - our own bytes
        assert copy.load(subject="CR017", session="20191113", datatype="susi").ndim == 3
        assert set(dataset.verify().status) == {"ok"}
        assert open_dataset("nunez-elizalde-2022@1.0.0") == dataset

    assert s3.requests == []
    for folder in folders:
        folder.chmod(0o755)
    assert sorted(data_dir.rglob("*")) == before


def test_index_of_another_release_beside_a_folder_is_not_taken(s3: LocalS3, data_dir: Path) -> None:
    """Of a release that ConfUSIus has not selected, the manifest is asked for."""
    download_as_confusius(data_dir)
    s3.add_release(FOLDER, "1.1.0", FILES | {"NEWS": b"more"})

    dataset = fetch_nunez_elizalde_2022(version="1.1.0", download=False, progress=False)

    assert "NEWS" in dataset.index
    assert asked(s3)[0] == "manifest.json"


def test_tree_of_osf_leaves_releases_out(s3: LocalS3, osf: LocalOSF, data_dir: Path) -> None:
    """Both live below one folder, and neither sees the other's files."""
    fetch_nunez_elizalde_2022(version="1.0.0", **PART)

    dataset = fetch_nunez_elizalde_2022(**PART)

    assert dataset.root == data_dir / FOLDER
    assert set(dataset.verify().status) == {"ok", "missing"}
    assert "susi" not in dataset.get_datatypes()
    assert not [path for path in dataset.to_df().path if "1.0.0" in path]


@pytest.mark.parametrize("given", ["angio", "susi"])
def test_either_name_of_the_structural_datatype_selects_it(
    s3: LocalS3, osf: LocalOSF, given: str
) -> None:
    """OSF calls it `angio`, releases `susi`."""
    for version in (None, "1.0.0"):
        dataset = fetch_nunez_elizalde_2022(version=version, datatypes=given, **PART)
        here = {path.parent.name for path in dataset.glob("sub-*/ses-*/*/*.nii.gz")}
        assert here == {"susi" if version else "angio"}


def test_template_has_releases_too(s3: LocalS3, data_dir: Path) -> None:
    """Its file is called otherwise there."""
    for version in ("latest", "1.0.0"):
        template = fetch_template_huang_2025(version=version, progress=False)
        assert template.dims == ("z", "y", "x")

    assert (data_dir / "huang-2025-template" / "1.0.0" / TEMPLATE).is_file()
    assert asked(s3).count(TEMPLATE) == 1


def test_dataset_by_its_name_takes_a_version(s3: LocalS3) -> None:
    """`fetch_dataset` is every fetcher."""
    dataset = fetch_dataset("nunez-elizalde-2022", version="1.0.0", **PART)

    assert dataset == fetch_nunez_elizalde_2022(version="1.0.0", **PART)


def test_release_that_cannot_be_is_refused(
    s3: LocalS3, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a folder is made for it."""
    with pytest.raises(ArgumentError, match=r"version='\.\./x': expected a release"):
        fetch_nunez_elizalde_2022(version="../x", **PART)
    with pytest.raises(SourceError, match=r"no release '9\.9'"):
        fetch_nunez_elizalde_2022(version="9.9", **PART)
    fetch: Any = fetch_sample
    with pytest.raises(ArgumentError, match="sample has no releases"):
        fetch_dataset("sample", version="1.0.0")
    with pytest.raises(ArgumentError, match="no argument 'version'"):
        fetch(version="1.0.0")
    monkeypatch.setenv("CONFUSIUS_OFFLINE", "1")
    with pytest.raises(OfflineError):
        fetch_nunez_elizalde_2022(version="latest", **PART)
    assert not data_dir.exists()


@pytest.mark.parametrize("version", [None, "1.0.0"], ids=["OSF down", "S3 down"])
def test_fetch_completes_while_the_other_host_serves(
    s3: LocalS3, osf: LocalOSF, monkeypatch: pytest.MonkeyPatch, version: str | None
) -> None:
    """With the index known, either host is enough, and the index's checksums decide."""
    # Files that only one of the hosts has, such as `code/`, are here already.
    dataset = fetch_nunez_elizalde_2022(version=version, **PART | {"subjects": "CR022"})
    down = "CONFUSIUS_S3_URL" if version else "CONFUSIUS_OSF_DOWNLOAD_URL"
    monkeypatch.setenv(down, "http://127.0.0.1:9")
    monkeypatch.setenv("CONFUSIUS_DOWNLOAD_RETRIES", "0")

    fetch_nunez_elizalde_2022(version=version, **PART)

    wanted = [path for path in dataset.index if "CR017" in path]
    assert all((dataset / path).is_file() for path in wanted)
    assert set(dataset.verify(subject="CR017").status) == {"ok"}
