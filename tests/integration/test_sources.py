"""Every source of files passes the one suite: OSF over HTTP, and a folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from confusius_datasets._sample import SampleSource
from confusius_datasets._sources.directory import DirectorySource
from confusius_datasets._sources.osf import OSFSource
from confusius_datasets.errors import DatasetIndexError, RemoteNotFoundError
from confusius_datasets.testing import LocalOSF, SourceTests
from downloads import Lab

PROJECT, FOLDER = "43skw", "suite-bids"


class TestOSFSource(SourceTests):
    """OSF, by a server that emulates it."""

    @pytest.fixture(autouse=True)
    def _server(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """Run the server for each test."""
        with LocalOSF() as self.osf:
            for name, value in self.osf.environ.items():
                monkeypatch.setenv(name, value)
            yield

    def make_source(self, files: Mapping[str, bytes]) -> OSFSource:
        """Make the dataset consist of some files."""
        for relpath in list(self.osf.relpaths(PROJECT, FOLDER)):
            self.osf.remove(PROJECT, FOLDER, relpath, index=False)
        self.osf.add_dataset(PROJECT, FOLDER, files)
        return OSFSource(PROJECT, FOLDER)


class TestOSFSourceWithoutValidators(TestOSFSource):
    """OSF, whose store gives no validators."""

    def make_source(self, files: Mapping[str, bytes]) -> OSFSource:
        """Make the dataset consist of some files."""
        self.osf.etags = False
        return super().make_source(files)


class TestDirectorySource(SourceTests):
    """A folder."""

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        """Use a folder for each test."""
        self.folder = tmp_path / "mirror"

    def make_source(self, files: Mapping[str, bytes]) -> DirectorySource:
        """Make the folder hold some files."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for relpath, data in files.items():
            (self.folder / relpath).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / relpath).write_bytes(data)
        return DirectorySource(self.folder)

    def test_folder_that_is_not_there_is_named(self) -> None:
        """A mirror that is not mounted is an error with its path."""
        with pytest.raises(RemoteNotFoundError, match=r"There is no folder .*mirror"):
            DirectorySource(self.folder).fetch_index()

    def test_index_of_the_folder_is_taken_as_it_is(self) -> None:
        """A folder with an index is what the index says."""
        source = self.make_source({"README": b"x", "dataset_index.json": b'{"README": {}}'})

        assert source.fetch_index()["README"].size is None


def test_osf_locator_that_is_none_is_an_error_not_a_request(lab: Lab) -> None:
    """An entry whose `osf_path` would lead elsewhere is refused before anything is asked."""
    lab.serve({"README": 1})
    entry = lab.index()["README"]

    for locator in ("", "/../x", "https://evil.org/", "/a/b/", "/a?b"):
        with pytest.raises(DatasetIndexError, match="no usable 'osf_path'"):
            lab.source.open(replace(entry, locator=locator))
    assert lab.osf.requests == []


def test_sample_source_opens_where_it_is_asked_to() -> None:
    """The source that makes its files gives the same bytes from any offset, and names its size."""
    source = SampleSource()
    index = source.fetch_index()
    entry = index["dataset_description.json"]
    with source.open(entry) as stream:
        whole = b"".join(stream)

    with source.open(entry, start=5, stop=20) as stream:
        part = b"".join(stream)

    assert len(whole) == entry.size == stream.total
    assert part == whole[5:20]
    with pytest.raises(RemoteNotFoundError, match="has no file 'gone'"):
        source.open(replace(entry, relpath="gone"))
