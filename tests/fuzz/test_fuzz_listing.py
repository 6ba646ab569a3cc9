"""Hosts whose listings are damaged on the way, or were never right."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path
from typing import Any

import pytest

from builders import make_entry
from confusius_datasets._cache import hidden_folder
from confusius_datasets._index import Checksum
from confusius_datasets._sources import (
    ArchiveSource,
    DataverseSource,
    HttpClient,
    ManifestSource,
    OpenNeuroSource,
    OSFSource,
    RetryPolicy,
    S3Source,
    ZenodoSource,
)
from confusius_datasets.errors import ConfusiusDatasetsError
from confusius_datasets.testing import (
    LocalDataverse,
    LocalOpenNeuro,
    LocalOSF,
    LocalS3,
    LocalWeb,
    LocalZenodo,
    ZipMember,
    build_zip,
)
from confusius_datasets.testing.answers import Answer
from confusius_datasets.testing.faults import Request
from confusius_datasets.testing.host import md5_of
from mutations import damage_bytes, damage_some, run_trials

FILES = {
    "README": b"hello",
    "sub-1/sub-1_scans.tsv": b"a\tb\n",
    "sub-1/fusi/x.nii.gz": bytes(2000),
}
PID, RECORD, DATASET = "doi:10.17617/3.7QCU1F", "15476373", "ds000246"
ARCHIVE = build_zip(ZipMember(f"p/{name}", data) for name, data in FILES.items())


class _Damaging:
    """A host that damages some of its answers; put before the class of a host."""

    rng: random.Random | None = None
    is_text = True

    def respond(self, request: Request) -> Answer:
        """Damage what the host answers."""
        answer: Answer = super().respond(request)  # type: ignore[misc]
        if self.rng is None or not answer.body or self.rng.random() < 0.3:
            return answer
        damage = damage_some if self.is_text else damage_bytes
        return dataclasses.replace(answer, body=damage(self.rng, answer.body))


def osf(host: Any) -> Any:
    """Serve a project that has an index."""
    host.add_dataset("43skw", "x", FILES)
    return OSFSource("43skw", "x")


def osf_walk(host: Any) -> Any:
    """Serve a project that has to be walked through."""
    host.add_dataset("43skw", "x", FILES)
    return OSFSource("43skw")


def dataverse(host: Any) -> Any:
    """Serve a dataset on Dataverse."""
    host.add_dataset(PID, FILES)
    return DataverseSource("https://edmond.mpg.de", PID)


def zenodo(host: Any) -> Any:
    """Serve a record."""
    host.add_record(RECORD, {"a b.tsv": b"x", "dataset.nii": bytes(99)})
    return ZenodoSource(RECORD)


def openneuro(host: Any) -> Any:
    """Serve a snapshot."""
    host.add_snapshot(DATASET, "1.0.1", FILES)
    return OpenNeuroSource(DATASET)


def web(host: Any) -> Any:
    """Serve a folder with a list."""
    return ManifestSource(host.add_folder("a", FILES))


def s3(host: Any) -> Any:
    """Serve a release."""
    host.add_release("x", "1.0", FILES)
    return S3Source("x")


def archive(host: Any) -> Any:
    """Serve an archive, read by its directory."""
    host.is_text = False
    host.put("a.zip", ARCHIVE)
    url = f"{host.url(host.DATA_ROLE)}/a.zip"
    container = ManifestSource(f"{url}.json")
    entry = dataclasses.replace(
        make_entry("a.zip", len(ARCHIVE), md5=None),
        checksums=(Checksum("md5", md5_of(ARCHIVE)),),
        locators={container.host: url},
    )
    return ArchiveSource(container, entry, "p/")


HOSTS: dict[str, tuple[type, Any]] = {
    "osf": (LocalOSF, osf),
    "osf without an index": (LocalOSF, osf_walk),
    "dataverse": (LocalDataverse, dataverse),
    "zenodo": (LocalZenodo, zenodo),
    "openneuro": (LocalOpenNeuro, openneuro),
    "web": (LocalWeb, web),
    "s3": (LocalS3, s3),
    "archive": (LocalWeb, archive),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTS)
def test_damaged_listing_is_told(
    name: str, trials: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a host says its files are, the answer is an index of ours or an error."""
    kind, serve = HOSTS[name]
    damaging = type("Damaging", (_Damaging, kind), {})
    client = HttpClient(RetryPolicy(retries=0, backoff_s=0.0, stall_timeout_s=2.0))
    with damaging() as host:
        for variable, value in host.environ.items():
            monkeypatch.setenv(variable, value)
        source = serve(host)
        assert len(source.list_files(client)) >= 2

        def trial(rng: random.Random) -> None:
            host.rng = rng
            fresh = HttpClient(client.policy)
            try:
                index = source.list_files(fresh)
                for relpath in index:
                    assert (tmp_path / relpath).resolve().is_relative_to(tmp_path.resolve())
                for entry in list(index.values())[:2]:
                    with source.open(entry, client=fresh) as stream:
                        b"".join(stream)
            finally:
                host.rng = None
                fresh.close()

        run_trials(f"listing of {name}", trials, tmp_path, trial)


def test_damaged_record_of_a_walk_is_told(
    trials: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a walk that was broken off has kept is used where it makes sense, else asked for."""
    with LocalOSF() as host:
        for variable, value in host.environ.items():
            monkeypatch.setenv(variable, value)
        source = osf_walk(host)
        policy = RetryPolicy(retries=0, backoff_s=0.0, stall_timeout_s=2.0)
        folder = tmp_path / "inside"
        folder.mkdir()
        host.limit("api", 3, seconds=3600.0)
        with pytest.raises(ConfusiusDatasetsError):
            source.list_files(HttpClient(policy).with_folder(folder))
        host.heal()
        (kept,) = (path for path in hidden_folder(folder).rglob("*") if path.is_file())
        good = kept.read_bytes()

        def trial(rng: random.Random) -> None:
            kept.write_bytes(damage_some(rng, good))
            client = HttpClient(policy).with_folder(folder)
            try:
                source.list_files(client)
            finally:
                client.close()

        run_trials("record of a walk", max(trials // 3, 1), tmp_path, trial)
