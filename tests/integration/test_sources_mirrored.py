"""Several hosts of one dataset: who is asked first, who is left alone, and whose bytes count."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from confusius_datasets._download import plan_download, run_plan
from confusius_datasets._index import DatasetIndex
from confusius_datasets._sources import (
    HttpClient,
    MirroredSource,
    OSFSource,
    S3Source,
    get_client,
    write_index_file,
)
from confusius_datasets.errors import DownloadError, OfflineError
from confusius_datasets.testing import Fault, LocalOSF, LocalS3, SourceTests
from downloads import FAST, random_bytes
from marks import slow

PROJECT, NAME = "abcde", "nunez-elizalde-2022-bids"

FEW = {
    "dataset_description.json": b"{}",
    "sub-1/ses-1/angio/sub-1_ses-1_pwd.nii.gz": random_bytes(3000),
    "sub-1/ses-1/fusi/sub-1_ses-1_task-rest_pwd.nii.gz": random_bytes(400_000),
}
MANY = FEW | {f"sub-{n}/fusi/sub-{n}_pwd.json": b"{%02d}" % n for n in range(20)}


def released(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Make what a release calls these files."""
    return {path.replace("/angio/", "/susi/"): data for path, data in files.items()}


@dataclass
class Pair:
    """Two hosts of one dataset, and the folder it goes into."""

    osf: LocalOSF
    s3: LocalS3
    root: Path

    source = MirroredSource(OSFSource(PROJECT, NAME), (S3Source(NAME, "1.0.0"),))

    def serve(self, files: Mapping[str, bytes]) -> DatasetIndex:
        """Put files on both hosts, and the index into the root."""
        self.osf.add_dataset(PROJECT, NAME, files)
        self.s3.add_release(NAME, "1.0.0", released(files))
        index = self.source.list_files(get_client())
        self.root.mkdir(exist_ok=True)
        write_index_file(self.source, self.root, index)
        self.osf.requests.clear()
        return index

    def fetch(self, index: DatasetIndex, source: MirroredSource | None = None) -> None:
        """Download what is missing, as a process that knows nothing yet."""
        plan = plan_download(index.values(), self.root)
        run_plan(plan, source or self.source, HttpClient(), settings=FAST)

    def tree(self) -> dict[str, bytes]:
        """Read every file but those of ours."""
        return {
            path.relative_to(self.root).as_posix(): path.read_bytes()
            for path in self.root.rglob("*")
            if path.is_file() and ".confusius" not in path.parts and "index" not in path.name
        }


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Pair]:
    """Run two hosts, and point the package at both."""
    with LocalOSF() as osf, LocalS3() as s3:
        for name, value in (osf.environ | s3.environ).items():
            monkeypatch.setenv(name, value)
        yield Pair(osf, s3, tmp_path / "root")


class TestMirroredSource(SourceTests):
    """OSF with a mirror on S3."""

    @pytest.fixture(autouse=True)
    def _servers(self, pair: Pair) -> None:
        """Run the servers for each test."""
        self.pair = pair

    def make_source(self, files: Mapping[str, bytes]) -> MirroredSource:
        """Make both hosts have some files."""
        for relpath in list(self.pair.osf.relpaths(PROJECT, NAME)):
            self.pair.osf.remove(PROJECT, NAME, relpath, index=False)
        for key in self.pair.s3.bucket.keys():  # noqa: SIM118 - a method of the emulator
            self.pair.s3.bucket.delete(key)
        self.pair.osf.add_dataset(PROJECT, NAME, files)
        self.pair.s3.add_release(NAME, "1.0.0", files)
        return self.pair.source


def test_many_files_come_from_the_host_without_a_limit(pair: Pair) -> None:
    """More than ten missing files are worth a manifest: OSF is not asked at all."""
    index = pair.serve(MANY)

    pair.fetch(index)

    assert pair.tree() == MANY
    assert pair.osf.requests == []
    assert len(pair.s3.requests) == 1 + len(MANY)


def test_few_files_come_from_the_first_host_and_the_mirror_is_not_asked(pair: Pair) -> None:
    """Up to ten missing files are not worth a manifest."""
    index = pair.serve(FEW)

    pair.fetch(index)

    assert pair.tree() == FEW
    assert pair.s3.requests == []


@pytest.mark.parametrize("files", [FEW, MANY], ids=["few", "many"])
@pytest.mark.parametrize("status", [503, slow(404), slow(403), 429])
def test_fetch_completes_while_the_first_host_is_down(
    pair: Pair, caplog: pytest.LogCaptureFixture, files: Mapping[str, bytes], status: int
) -> None:
    """With the index known, the mirror serves all; that is said once."""
    index = pair.serve(files)
    pair.osf.fail("*", Fault("status", status=status, times=0), role="download")

    pair.fetch(index)

    said = [record.message for record in caplog.records if "left alone" in record.message]
    assert pair.tree() == files
    assert len(said) == (1 if files is FEW else 0)


@pytest.mark.parametrize("fault", [Fault("status", times=0), Fault("status", status=404, times=0)])
@pytest.mark.parametrize("name", ["manifest.json", "*"])
def test_fetch_completes_while_the_mirror_is_down(
    pair: Pair, caplog: pytest.LogCaptureFixture, fault: Fault, name: str
) -> None:
    """A mirror that fails is left alone, once and for all files."""
    index = pair.serve(MANY)
    pair.s3.fail(name, fault)

    pair.fetch(index)

    assert pair.tree() == MANY
    assert sum("left alone" in record.message for record in caplog.records) == 1


def test_release_is_fetched_from_osf_while_s3_is_down(pair: Pair) -> None:
    """The reverse: the index of a release, `susi` in its paths, and files of OSF."""
    pair.serve(FEW)
    source = MirroredSource(S3Source(NAME, "1.0.0"), (OSFSource(PROJECT, NAME),))
    index = source.list_files(get_client())
    pair.s3.fail("*", Fault("status", times=0))

    pair.fetch(index, source)

    assert pair.tree() == released(FEW)


def test_other_bytes_of_a_mirror_are_never_kept(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    """Bytes of the right size and another content come from the first host in the end."""
    index = pair.serve(MANY)
    for path, data in released(MANY).items():
        pair.s3.bucket.put(f"datasets/{NAME}/1.0.0/{path}", bytes(len(data)))

    pair.fetch(index)

    assert pair.tree() == MANY
    assert sum("left alone" in record.message for record in caplog.records) == 1


def test_other_bytes_of_the_first_host_are_made_good_by_the_mirror(pair: Pair) -> None:
    """What was replaced on OSF is still what the index says on S3."""
    index = pair.serve(FEW)
    large = "sub-1/ses-1/fusi/sub-1_ses-1_task-rest_pwd.nii.gz"
    pair.osf.replace(PROJECT, NAME, large, bytes(400_000))

    pair.fetch(index)

    assert pair.tree() == FEW


def test_wrong_bytes_of_both_hosts_are_an_error(pair: Pair) -> None:
    """Where nobody has the right bytes, the file fails, soon, and the others come."""
    index = pair.serve(MANY)
    pair.osf.fail("sub-1_pwd.json", Fault("corrupt", times=0))
    pair.s3.fail("sub-1_pwd.json", Fault("corrupt", times=0))

    with pytest.raises(DownloadError, match=r"sub-1_pwd\.json: received md5"):
        pair.fetch(index)

    assert len(pair.tree()) == len(MANY) - 1
    assert len(pair.osf.requests_for("sub-1_pwd.json")) <= 3


def test_file_goes_on_where_another_host_broke_off(pair: Pair) -> None:
    """The bytes of a host that died are kept, and hashed with those of the next one."""
    index = pair.serve(FEW)
    name = "sub-1_ses-1_task-rest_pwd.nii.gz"
    pair.osf.fail(name, Fault("drop", after=300_000), Fault("status", times=0))

    pair.fetch(index)

    (request,) = pair.s3.requests_for(name)
    assert pair.tree() == FEW
    assert request.headers["range"] == "bytes=300000-"


def test_mirror_is_asked_what_it_has_once_for_an_index(pair: Pair) -> None:
    """The manifest is kept in the hidden folder until the index is another one."""
    index = pair.serve(MANY)
    pair.fetch(index)
    for path in MANY:
        (pair.root / path).unlink()
    pair.s3.requests.clear()
    pair.fetch(index)
    assert len(pair.s3.requests_for("manifest.json")) == 0

    for path in MANY:
        (pair.root / path).unlink()
    index = pair.serve(MANY | {"README": b"new"})
    pair.s3.requests.clear()
    pair.fetch(index)

    assert len(pair.s3.requests_for("manifest.json")) == 1
    assert len(list((pair.root / ".confusius").glob("mirror-*"))) == 1
    assert pair.tree() == MANY | {"README": b"new"}


def test_file_of_another_size_is_not_asked_of_a_mirror(pair: Pair) -> None:
    """A sidecar whose fields were renamed in a release is OSF's."""
    index = pair.serve(MANY)
    release = released(MANY) | {"dataset_description.json": b'{"Name": "other"}'}
    pair.s3.add_release(NAME, "1.0.0", release)

    pair.fetch(index)

    assert pair.tree() == MANY
    assert len(pair.osf.requests_for("dataset_description.json")) == 1
    assert pair.s3.requests_for("dataset_description.json") == []


def test_files_without_a_hash_come_from_the_first_host(pair: Pair) -> None:
    """Nothing could tell whether a mirror's bytes are right."""
    pair.serve(MANY)
    pair.osf.add_dataset(PROJECT, NAME, MANY, md5=False)

    pair.fetch(pair.source.list_files(get_client()))

    assert pair.tree() == MANY
    assert pair.s3.requests == []


def test_only_mirrors_that_are_led_elsewhere_too_are_asked(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever leads OSF to a machine of theirs does not mean the public bucket."""
    index = pair.serve(MANY)
    monkeypatch.delenv("CONFUSIUS_S3_URL")
    assert pair.source.usable_mirrors() == ()
    pair.fetch(index)
    assert pair.tree() == MANY

    monkeypatch.delenv("CONFUSIUS_OSF_API_URL")
    monkeypatch.delenv("CONFUSIUS_OSF_DOWNLOAD_URL")
    assert pair.source.usable_mirrors() == pair.source.mirrors


def test_both_hosts_down_is_the_first_hosts_error(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    """The error is about the dataset's own host, and comes after its retries."""
    index = pair.serve(FEW)
    caplog.set_level(logging.WARNING)
    pair.osf.fail("*", Fault("status", times=0), role="download")
    pair.s3.fail("*", Fault("status", times=0))

    with pytest.raises((DownloadError, OfflineError), match="status 503"):
        pair.fetch(index)
    assert pair.tree() == {}
