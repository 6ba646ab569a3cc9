"""A local server that emulates OSF, holding replicas of the public datasets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from confusius_datasets.testing import LocalDataverse, LocalOSF
from downloads import Lab, WebLab, hosts, make_lab
from releases import khallaf_archive
from replicas import (
    CYBIS_PATHS,
    KHALLAF_PATHS,
    LANDEMARD_PATHS,
    NUNEZ_PATHS,
    PEREIRA_PATHS,
    huang_template_image,
    pepe_mariani_files,
    replica_files,
    template_image,
)


@pytest.fixture
def osf(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalOSF]:
    """Serve the replicas, and point the package at the server."""
    with LocalOSF() as server:
        server.add_dataset("43skw", "nunez-elizalde-2022-bids", replica_files(NUNEZ_PATHS))
        server.add_dataset("2v6f7", "cybis-pereira-2026-bids", replica_files(CYBIS_PATHS))
        server.add_dataset("pqa65", "pereira-2025-bids", replica_files(PEREIRA_PATHS))
        server.add_dataset("7yhdc", "pepe-mariani-2026-bids", pepe_mariani_files())
        server.add_dataset("7cf9g", "landemard-2026-bids", replica_files(LANDEMARD_PATHS))
        server.add_file("43tu9", "pepe-mariani-2026-fusi-template.nii.gz", template_image())
        server.add_file(
            "am3jw", "huang-2026-space-allen50_desc-vascular.nii.gz", huang_template_image()
        )
        for name, value in server.environ.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def edmond(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalDataverse]:
    """Serve the replica that is one archive on Dataverse, and point the package at the server."""
    name = "fUSI data.zip"
    archive = khallaf_archive(replica_files(KHALLAF_PATHS))
    with LocalDataverse() as server:
        server.add_dataset("doi:10.17617/3.7QCU1F", {name: archive}, ids={name: 343674})
        for variable, value in server.environ.items():
            monkeypatch.setenv(variable, value)
        yield server


@pytest.fixture
def osf_lab(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Lab]:
    """Serve a small dataset of a test's own, and point the package at the server."""
    with make_lab("osf", monkeypatch, tmp_path) as lab:
        yield lab


@pytest.fixture
def web_lab(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[WebLab]:
    """Serve one on a host with one hop, entity tags and no checksums."""
    with make_lab("web", monkeypatch, tmp_path) as lab:
        assert isinstance(lab, WebLab)
        yield lab


@pytest.fixture(params=hosts())
def lab(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Lab]:
    """Serve a small dataset on each kind of host: what is promised holds for all of them."""
    with make_lab(request.param, monkeypatch, tmp_path) as lab:
        yield lab
