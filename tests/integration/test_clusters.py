"""Many workers and one dataset: each fetches what it needs, and every file comes once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builders import counting, nifti_bytes
from confusius_datasets import fetch_dataset, open_dataset
from confusius_datasets.testing import LocalOSF

pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")

pytestmark = pytest.mark.slow

ADDRESS = "osf:abcde/whiskers-bids"

SUBJECTS = ("1", "2", "3", "4")

IMAGES = {
    f"sub-{subject}/fusi/sub-{subject}_task-rest_pwd.nii": nifti_bytes(
        counting((8, 6, 2, 20)) + 1000 * int(subject)
    )
    for subject in SUBJECTS
}

FILES = {
    "dataset_description.json": b'{"Name": "Whiskers", "BIDSVersion": "1.10.0"}',
    "task-rest_pwd.json": b'{"TaskName": "rest", "RepetitionTime": 1.0}',
    **IMAGES,
}

MEANS = [float(counting((8, 6, 2, 20)).mean()) + 1000 * int(subject) for subject in SUBJECTS]


@pytest.fixture(scope="module")
def host() -> Iterator[LocalOSF]:
    """Serve the dataset on OSF."""
    with LocalOSF() as server:
        server.add_dataset("abcde", "whiskers-bids", FILES)
        yield server


@pytest.fixture(scope="module")
def started(host: LocalOSF) -> Iterator[Any]:
    """Start a cluster of three worker processes that know the server."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in host.environ.items():
            patch.setenv(name, value)
        cluster = distributed.LocalCluster(
            n_workers=3,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            silence_logs="ERROR",
        )
    with cluster, distributed.Client(cluster) as connected:
        yield connected


@pytest.fixture
def client(started: Any, host: LocalOSF, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Give the cluster, with nothing left of the test before."""
    for name, value in host.environ.items():
        monkeypatch.setenv(name, value)
    host.requests.clear()
    yield started
    started.run(forget_settings)


def forget_settings() -> None:
    """Take away what a test has set in a worker."""
    for name in ("CONFUSIUS_OFFLINE", "CONFUSIUS_MIRRORS"):
        os.environ.pop(name, None)


# Not functions of this module, which the workers could not import.
load_mean = lambda dataset, subject: float(  # noqa: E731
    dataset.load(subject=subject, suffix="pwd").mean()
)


def test_function_is_mapped_over_arrays_in_chunks(client: Any) -> None:
    """What `load_all` gives goes to the workers, which read their chunks themselves."""
    arrays = open_dataset(ADDRESS, progress=False).load_all(suffix="pwd", chunks={"time": 5})

    means = client.gather(client.map(lambda array: float(array.mean()), arrays))
    lazily = [float(array.mean().compute()) for array in arrays]

    np.testing.assert_allclose(means, MEANS)
    np.testing.assert_allclose(lazily, MEANS)


def test_workers_fetch_what_they_need_each_file_once(client: Any, host: LocalOSF) -> None:
    """With one cache for all, workers that need the same file at once download it once."""
    dataset = open_dataset(ADDRESS, progress=False)
    assert not list(dataset.root.rglob("*.nii"))
    wanted = [subject for subject in SUBJECTS for _ in range(3)]

    futures = client.map(load_mean, [dataset] * len(wanted), wanted, pure=False)

    np.testing.assert_allclose(client.gather(futures), np.repeat(MEANS, 3))
    stored = [request for request in host.requests if request.role == "storage"]
    for relpath in IMAGES:
        name = relpath.rpartition("/")[2]
        assert sum(name in request.path for request in stored) == 1, name


def test_workers_without_a_network_copy_from_a_cache_that_they_only_read(
    client: Any, host: LocalOSF, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lab's cache beside one's own is enough for a node that is offline."""
    lab = tmp_path / "lab"
    fetch_dataset(ADDRESS, lab, progress=False)
    settings = {"CONFUSIUS_MIRRORS": str(lab), "CONFUSIUS_OFFLINE": "1"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    client.run(lambda: os.environ.update(settings))
    before = {path: path.lstat().st_mtime_ns for path in lab.rglob("*")}
    host.requests.clear()

    dataset = open_dataset(ADDRESS, progress=False)
    futures = client.map(load_mean, [dataset] * len(SUBJECTS), SUBJECTS, pure=False)

    np.testing.assert_allclose(client.gather(futures), MEANS)
    assert len(list(dataset.root.rglob("*.nii"))) == len(SUBJECTS)
    assert host.requests == []
    assert {path: path.lstat().st_mtime_ns for path in lab.rglob("*")} == before
