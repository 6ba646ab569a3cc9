"""Every source of files passes the one suite: OSF over HTTP, and a folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from confusius_datasets._index import FileEntry
from confusius_datasets._sources import (
    DirectorySource,
    FromTo,
    Last,
    OSFSource,
    SampleSource,
    get_client,
)
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
            DirectorySource(self.folder).list_files(get_client())

    def test_index_of_the_folder_is_taken_as_it_is(self) -> None:
        """A folder with an index is what the index says."""
        source = self.make_source({"README": b"x", "dataset_index.json": b'{"README": {}}'})

        assert source.list_files(get_client())["README"].size is None


def test_osf_locator_that_is_none_is_an_error_not_a_request(osf_lab: Lab) -> None:
    """An entry whose `osf_path` would lead elsewhere is refused before anything is asked."""
    osf_lab.serve({"README": 1})
    entry = osf_lab.index()["README"]

    for locator in ("", "/../x", "https://evil.org/", "/a/b/", "/a?b"):
        with pytest.raises(DatasetIndexError, match="no usable 'osf_path'"):
            osf_lab.source.open(replace(entry, locators={"osf": locator}), client=get_client())
    assert osf_lab.host.requests == []


class TestSampleSource:
    """The source that makes its files; the suite's files are not among them."""

    def test_part_is_that_of_the_whole(self) -> None:
        """A file gives the same bytes from any offset, and its size is what the index says."""
        source, client = SampleSource(), get_client()
        entry = source.list_files(client)["dataset_description.json"]
        with source.open(entry, client=client) as stream:
            whole = b"".join(stream)

        for part, expected in ((FromTo(5, 20), whole[5:20]), (Last(7), whole[-7:])):
            with source.open(entry, part, client=client) as stream:
                assert b"".join(stream) == expected
        assert len(whole) == entry.size == stream.total

    def test_index_is_written_and_read(self) -> None:
        """The index file says all that the source says."""
        source = SampleSource()
        index = source.list_files(get_client())

        assert source.read_index(source.format_index(index), "x") == index

    def test_file_that_is_gone_is_named(self) -> None:
        """A file the sample does not have is an error."""
        with pytest.raises(RemoteNotFoundError, match="has no file 'gone'"):
            SampleSource().open(FileEntry("gone"), client=get_client())
