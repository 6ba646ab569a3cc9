"""A local server that emulates OSF, holding replicas of the public datasets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from confusius_datasets.testing import LocalDataverse, LocalOSF, LocalS3, LocalWeb
from downloads import DataverseLab, Lab, S3Lab, WebLab
from replicas import CYBIS_PATHS, NUNEZ_PATHS, replica_files, template_image


@pytest.fixture
def osf(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalOSF]:
    """Serve the replicas, and point the package at the server."""
    with LocalOSF() as server:
        server.add_dataset("43skw", "nunez-elizalde-2022-bids", replica_files(NUNEZ_PATHS))
        server.add_dataset("2v6f7", "cybis-pereira-2026-bids", replica_files(CYBIS_PATHS))
        server.add_file("43tu9", "pepe-mariani-2026-fusi-template.nii.gz", template_image())
        for name, value in server.environ.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def osf_lab(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Lab]:
    """Serve a small dataset of a test's own, and point the package at the server."""
    with LocalOSF() as server:
        for name, value in server.environ.items():
            monkeypatch.setenv(name, value)
        yield Lab(server, tmp_path / "root")


@pytest.fixture
def web_lab(tmp_path: Path) -> Iterator[Lab]:
    """Serve one on a host with one hop, entity tags and no checksums."""
    with LocalWeb() as server:
        yield WebLab(server, tmp_path / "root")


@pytest.fixture
def s3_lab(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Lab]:
    """Serve one as a release on S3."""
    with LocalS3() as server:
        for name, value in server.environ.items():
            monkeypatch.setenv(name, value)
        yield S3Lab(server, tmp_path / "root")


@pytest.fixture
def dataverse_lab(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Lab]:
    """Serve one on Dataverse, behind one redirect."""
    with LocalDataverse() as server:
        for name, value in server.environ.items():
            monkeypatch.setenv(name, value)
        yield DataverseLab(server, tmp_path / "root")


@pytest.fixture
def lab(osf_lab: Lab) -> Lab:
    """Serve a small dataset on OSF; a module may override this by `each_lab`."""
    return osf_lab


@pytest.fixture(params=["osf_lab", "web_lab", "s3_lab", "dataverse_lab"])
def each_lab(request: pytest.FixtureRequest) -> Lab:
    """Serve a small dataset on each of four unlike hosts."""
    made: Lab = request.getfixturevalue(request.param)
    return made
