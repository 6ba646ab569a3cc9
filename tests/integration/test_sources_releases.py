"""Hosts that list their files in a manifest: web folders, and releases on S3."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from confusius_datasets._download import plan_download, run_plan
from confusius_datasets._index import Checksum, FileEntry
from confusius_datasets._sources import ManifestSource, S3Source, get_client
from confusius_datasets.errors import (
    DatasetIndexError,
    RemoteNotFoundError,
    SourceError,
    UnsafePathError,
)
from confusius_datasets.testing import LocalS3, LocalWeb, SourceTests
from confusius_datasets.testing.host import md5_of, sha256_of
from downloads import FAST

NAME, VERSION = "nunez-elizalde-2022-bids", "1.0.0"
FILES = {"README": b"", "code/a b+c~é.txt": b"odd", "sub-1/angio/x.nii": bytes(range(256)) * 40}
OFFICIAL = "https://confusius-datasets.s3.us-west-2.amazonaws.com"


class TestManifestSource(SourceTests):
    """A web folder with a `manifest.json`."""

    @pytest.fixture(autouse=True)
    def _server(self) -> Iterator[None]:
        """Run the server for each test."""
        self.served: list[str] = []
        with LocalWeb() as self.web:
            yield

    def make_source(self, files: Mapping[str, bytes]) -> ManifestSource:
        """Make the folder hold some files."""
        for relpath in self.served:
            self.web.remove(f"lab/my data/{relpath}")
        self.served = list(files)
        return ManifestSource(self.web.add_folder("lab/my data", files))


class TestManifestSourceOfSizes(TestManifestSource):
    """A web folder whose list has sizes alone."""

    def make_source(self, files: Mapping[str, bytes]) -> ManifestSource:
        """Make the folder hold some files."""
        super().make_source(files)
        address = self.web.add_folder("lab/my data", files, index="dataset_index.json", hashes=None)
        return ManifestSource(address)


class TestManifestSourceWithoutRanges(TestManifestSource):
    """A web folder on a server without ranges."""

    def make_source(self, files: Mapping[str, bytes]) -> ManifestSource:
        """Make the folder hold some files."""
        self.web.ranges = "none"
        return super().make_source(files)


class TestS3Source(SourceTests):
    """A release on S3."""

    @pytest.fixture(autouse=True)
    def _server(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """Run the server for each test."""
        with LocalS3() as self.s3:
            for name, value in self.s3.environ.items():
                monkeypatch.setenv(name, value)
            yield

    def make_source(self, files: Mapping[str, bytes]) -> S3Source:
        """Make the newest release consist of some files."""
        for key in self.s3.bucket.keys():  # noqa: SIM118 - a method of the emulator
            self.s3.bucket.delete(key)
        self.s3.add_release(NAME, VERSION, files)
        return S3Source(NAME)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalS3]:
    """Serve a release, and point the package at the server."""
    with LocalS3() as server:
        for name, value in server.environ.items():
            monkeypatch.setenv(name, value)
        server.add_release(NAME, VERSION, FILES)
        yield server


@pytest.mark.parametrize(
    ("index", "hashes"), [("manifest.json", "sha256"), ("dataset_index.json", "md5")]
)
def test_list_of_a_web_folder_says_what_a_file_must_hash_to(
    index: str, hashes: str, tmp_path: Path
) -> None:
    """Either list works; names are quoted, and a query belongs to the files too."""
    with LocalWeb() as web:
        address = web.add_folder("lab/data", FILES, index=index, hashes=hashes)  # type: ignore[arg-type]
        source = ManifestSource(f"{address}?key=7")
        listed = source.list_files(get_client())
        run_plan(plan_download(listed.values(), tmp_path), source, get_client(), settings=FAST)

        assert {str(listed[path].checksum) for path in FILES} == {
            f"{hashes} {(md5_of if hashes == 'md5' else sha256_of)(data)}"
            for data in FILES.values()
        }
        assert all((tmp_path / path).read_bytes() == data for path, data in FILES.items())
        assert {request.query["key"] for request in web.requests} == {"7"}
        assert len(web.requests) == 1 + sum(map(bool, FILES.values()))  # nothing costs nothing


def test_list_that_is_gone_or_hostile_is_refused() -> None:
    """A missing list is named, and a path that leads out is refused."""
    with LocalWeb() as web:
        web.put("lab/manifest.json", b'{"../x": {"size": 1}}')

        with pytest.raises(UnsafePathError, match="climbs out"):
            ManifestSource(f"{web.url('web')}/lab/manifest.json").list_files(get_client())
        with pytest.raises(RemoteNotFoundError, match="/other/manifest"):
            ManifestSource(f"{web.url('web')}/other/manifest.json").list_files(get_client())


def test_newest_release_takes_two_requests_and_a_named_one_needs_no_catalogue(s3: LocalS3) -> None:
    """The catalogue is asked for where no version is named, and only there."""
    s3.add_release(NAME, "2.0.0+b", {"README": b"new"})

    newest = S3Source(NAME).list_files(get_client())
    named = S3Source(NAME, VERSION).list_files(get_client())

    assert {entry.locators["s3"] for entry in newest.values()} == {"2.0.0+b"}
    assert set(named) == set(FILES)
    assert [request.name for request in s3.requests] == [
        "last_versions.conf",
        "manifest.json",
        "manifest.json",
    ]


def test_one_request_fetches_a_file_of_the_release_its_index_names(
    s3: LocalS3, tmp_path: Path
) -> None:
    """An index goes on to give the files of its release after a newer one is published."""
    source = S3Source(NAME)
    index = source.list_files(get_client())
    s3.add_release(NAME, "2.0.0", dict.fromkeys(FILES, b"other"))
    s3.requests.clear()

    run_plan(plan_download(index.values(), tmp_path), source, get_client(), settings=FAST)

    assert all((tmp_path / path).read_bytes() == data for path, data in FILES.items())
    assert len(s3.requests) == sum(map(bool, FILES.values()))
    assert "%2B" in "".join(request.path for request in s3.requests)


def test_index_file_is_that_of_confusius(s3: LocalS3) -> None:
    """Address, size and SHA-256 in this order, as ConfUSIus 0.8 writes and expects them."""
    source = S3Source(NAME)
    index = source.list_files(get_client())

    text = source.format_index(index).decode()

    quoted = {"code/a b+c~é.txt": "code/a%20b%2Bc~%C3%A9.txt"}
    expected = {
        path: {
            "url": f"{OFFICIAL}/datasets/{NAME}/{VERSION}/{quoted.get(path, path)}",
            "size": len(FILES[path]),
            "sha256": sha256_of(FILES[path]),
        }
        for path in sorted(FILES)
    }
    assert text == json.dumps(expected, indent=2) + "\n"
    assert source.read_index(text.encode(), "x") == index


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"README": {"url": 7, "size": 0}}, "no address of a release"),
        ({"README": {"url": f"{OFFICIAL}/datasets/other/1.0.0/README"}}, "no address of a release"),
        ({"README": {"url": f"{OFFICIAL}/datasets/{NAME}/1.0.0/OTHER"}}, "no address of a release"),
        (
            {
                "a": {"url": f"{OFFICIAL}/datasets/{NAME}/1.0.0/a"},
                "b": {"url": f"{OFFICIAL}/datasets/{NAME}/1.1.0/b"},
            },
            r"is of \['1.0.0', '1.1.0'\], expected one release",
        ),
    ],
)
def test_index_file_of_something_else_is_refused(change: dict[str, object], message: str) -> None:
    """Addresses must be of one release of this dataset."""
    with pytest.raises(DatasetIndexError, match=message):
        S3Source(NAME).read_index(json.dumps(change).encode(), "x")
    with pytest.raises(DatasetIndexError, match=r"expected 2\.0\.0"):
        data = S3Source(NAME, VERSION).format_index(
            S3Source(NAME, VERSION).read_index(
                json.dumps({"a": {"url": f"{OFFICIAL}/datasets/{NAME}/1.0.0/a"}}).encode(), "x"
            )
        )
        S3Source(NAME, "2.0.0").read_index(data, "x")


@pytest.mark.parametrize(
    "manifest",
    [
        {},
        [],
        {"x": {"size": 1}},
        {"x": {"size": True, "sha256": "0" * 64}},
        {"x": {"size": 1, "sha256": "0" * 63}},
        {"manifest.json": {"size": 1, "sha256": "0" * 64}},
        {"a//b": {"size": 1, "sha256": "0" * 64}},
        {"C:x": {"size": 1, "sha256": "0" * 64}},
        {"../x": {"size": 1, "sha256": "0" * 64}},
        {"x": None},
    ],
)
def test_manifest_that_cannot_be_is_refused(s3: LocalS3, manifest: object) -> None:
    """A manifest says size and SHA-256 of each file, and leads nowhere else."""
    s3.replace_manifest(NAME, VERSION, manifest)

    with pytest.raises(DatasetIndexError):
        S3Source(NAME).list_files(get_client())


@pytest.mark.parametrize("listable", [True, False])
def test_release_or_file_that_is_not_there_is_named(s3: LocalS3, listable: bool) -> None:
    """404 and 403 both mean that there is no such thing."""
    s3.bucket.listable = listable

    with pytest.raises(RemoteNotFoundError, match=r"no release '3\.0\.0' of 'nunez"):
        S3Source(NAME, "3.0.0").list_files(get_client())
    with pytest.raises(RemoteNotFoundError, match="names no release of 'unknown-bids'"):
        S3Source("unknown-bids").list_files(get_client())
    with pytest.raises(SourceError, match="gone"):
        S3Source(NAME, VERSION).open(FileEntry("gone"), client=get_client())


def test_catalogue_is_read_without_interpolation_and_case(s3: LocalS3) -> None:
    """A percent sign is no error; names that differ in case only are one."""
    s3.bucket.put("last_versions.conf", f"[datasets]\nx = %(y)s\n{NAME.upper()} = 1.0.0\n".encode())

    assert S3Source(NAME).find_version(get_client()) == VERSION
    s3.bucket.put("last_versions.conf", b"[datasets]\nA = 1.0.0\na = 2.0.0\n")
    with pytest.raises(SourceError, match="not a catalogue of releases"):
        S3Source(NAME).find_version(get_client())


@pytest.mark.parametrize("version", ["..", "a/b", "", "-x", "a b"])
def test_version_that_would_lead_elsewhere_is_refused(s3: LocalS3, version: str) -> None:
    """Neither an argument nor a catalogue chooses another folder."""
    s3.bucket.put("last_versions.conf", f"[datasets]\n{NAME} = {version}\n".encode())

    with pytest.raises(DatasetIndexError, match="is not a version"):
        S3Source(NAME, version).list_files(get_client())
    with pytest.raises(DatasetIndexError, match="is not a version"):
        S3Source(NAME).list_files(get_client())


def test_bucket_that_is_asked_too_often_is_waited_for(
    s3: LocalS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 SlowDown is trouble that passes."""
    monkeypatch.setenv("CONFUSIUS_DOWNLOAD_BACKOFF", "0.01")
    s3.slow_down(times=2)

    assert len(S3Source(NAME).list_files(get_client())) == len(FILES)


def test_template_is_a_release_of_its_own_section(s3: LocalS3) -> None:
    """Templates have a section and a folder of their own."""
    s3.add_release("huang-2025-template", VERSION, {"a.nii.gz": b"x"}, kind="templates")

    index = S3Source("huang-2025-template", kind="templates").list_files(get_client())

    assert index["a.nii.gz"].checksums == (Checksum("sha256", sha256_of(b"x")),)
    assert replace(index["a.nii.gz"], locators={}).size == 1
