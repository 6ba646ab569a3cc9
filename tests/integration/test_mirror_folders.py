"""`CONFUSIUS_MIRRORS`: what a data folder of others has is copied from there, hosts come after."""

from __future__ import annotations

import gzip
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from builders import nifti_bytes
from confusius_datasets import (
    BIDSDataset,
    fetch_dataset,
    fetch_nunez_elizalde_2022,
    fetch_template_pepe_mariani_2026,
    open_dataset,
)
from confusius_datasets._cli import main
from confusius_datasets._sources import OSFSource, Source, with_mirror_folders
from confusius_datasets._spec import spec_at
from confusius_datasets.errors import OfflineError, SourceError
from confusius_datasets.testing import LocalOSF, LocalS3, LocalWeb, SourceTests
from downloads import heeding_permissions, random_bytes

ADDRESS, FOLDER = "osf:abcde/whiskers-bids", "osf/abcde_whiskers-bids"

SEEN = "sub-3/fusi/sub-3_task-seen_pwd.nii.gz"

DAMAGED = "sub-1/fusi/sub-1_task-rest_pwd.nii.gz"

FILES = {
    "dataset_description.json": b'{"Name": "Whiskers", "BIDSVersion": "1.10.0"}',
    "participants.tsv": b"participant_id\nsub-1\nsub-2\n",
    DAMAGED: random_bytes(3_000_000),
    "sub-2/fusi/sub-2_task-rest_pwd.nii.gz": random_bytes(50_000, "2"),
    "sub-2/fusi/sub-2_task-rest_pwd.json": b'{"RepetitionTime": 0.5}',
}


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalOSF]:
    """Serve a small dataset on OSF."""
    with LocalOSF() as server:
        server.add_dataset("abcde", "whiskers-bids", FILES)
        for name, value in server.environ.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def lab(host: LocalOSF, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a lab's data folder that has the whole dataset, and name it as the mirror."""
    folder = tmp_path / "lab"
    fetch_dataset(ADDRESS, folder, progress=False)
    monkeypatch.setenv("CONFUSIUS_MIRRORS", str(folder))
    host.requests.clear()
    return folder


def tree(root: Path) -> dict[str, bytes]:
    """Read every file of a dataset but those of ours."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and ".confusius" not in path.parts and path.name != "dataset_index.json"
    }


def state(folder: Path) -> dict[str, tuple[int, int]]:
    """Tell everything in a folder with its size and time."""
    return {
        str(path): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in folder.rglob("*")
    }


def test_fetch_takes_all_from_a_mirror_and_asks_no_host(lab: Path, host: LocalOSF) -> None:
    """Index and files are copied, and the mirror is as it was."""
    before = state(lab)

    dataset = fetch_dataset(ADDRESS, progress=False)

    assert dataset.root != lab / FOLDER
    assert tree(dataset.root) == FILES
    assert set(dataset.verify().status) == {"ok"}
    assert host.requests == []
    assert state(lab) == before


def test_offline_node_with_a_mirror_needs_nothing_else(
    lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the network is forbidden, a mirror is none."""
    monkeypatch.setenv("CONFUSIUS_OFFLINE", "1")

    dataset = open_dataset(ADDRESS, progress=False)
    assert dataset.participants.subject.tolist() == ["1", "2"]
    (image,) = dataset.get(subject="2", suffix="pwd", extension=".nii.gz")

    assert Path(image.path).read_bytes() == FILES["sub-2/fusi/sub-2_task-rest_pwd.nii.gz"]
    assert len(dataset.download(subject="1", suffix="pwd")) == 1


@pytest.mark.parametrize("lacking", [DAMAGED, "sub-2/fusi/sub-2_task-rest_pwd.json"])
def test_offline_node_names_what_the_mirror_lacks_and_has_the_rest(
    lab: Path, monkeypatch: pytest.MonkeyPatch, lacking: str
) -> None:
    """What nobody has here is an error as without a mirror, and keeps no other file away."""
    (lab / FOLDER / lacking).unlink()
    monkeypatch.setenv("CONFUSIUS_OFFLINE", "1")

    with pytest.raises(OfflineError) as caught:
        fetch_dataset(ADDRESS, progress=False)

    root = open_dataset(ADDRESS, progress=False).root
    assert caught.value.missing == (lacking,)
    assert tree(root) == {path: data for path, data in FILES.items() if path != lacking}


@pytest.mark.parametrize("kept", [0, 1_000, 2_999_999, 3_000_000])
def test_damaged_copy_is_passed_over_and_said_once(
    lab: Path, host: LocalOSF, caplog: pytest.LogCaptureFixture, kept: int
) -> None:
    """Bytes that the index does not vouch for come from the host instead."""
    data = FILES[DAMAGED][:kept]
    (lab / FOLDER / DAMAGED).write_bytes(data[:-1] + b"?" if kept == 3_000_000 else data)

    dataset = fetch_dataset(ADDRESS, progress=False)

    said = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert tree(dataset.root) == FILES
    assert {request.role for request in host.requests} >= {"storage"}
    assert len(host.requests_for(DAMAGED.rpartition("/")[2])) >= 1
    assert [str(lab / FOLDER / DAMAGED) in record.getMessage() for record in said] == [True]


def test_second_mirror_has_what_the_first_lacks_or_has_damaged(
    lab: Path, host: LocalOSF, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mirrors are asked in their order, file by file."""
    second = tmp_path / "second"
    shutil.copytree(lab, second)
    (lab / FOLDER / "participants.tsv").unlink()
    (lab / FOLDER / DAMAGED).write_bytes(b"?" * len(FILES[DAMAGED]))
    monkeypatch.setenv("CONFUSIUS_MIRRORS", os.pathsep.join(["", str(lab), str(second)]))

    dataset = fetch_dataset(ADDRESS, progress=False)

    assert tree(dataset.root) == FILES
    assert host.requests == []


def test_unreadable_copy_is_passed_over(lab: Path, host: LocalOSF) -> None:
    """What one may not read is as good as not there."""
    (lab / FOLDER / DAMAGED).chmod(0)

    with heeding_permissions():
        dataset = fetch_dataset(ADDRESS, progress=False)

    assert tree(dataset.root) == FILES
    assert host.requests_for(DAMAGED.rpartition("/")[2])


@pytest.mark.parametrize("what", ["file", "folder", "dataset", "pipe"])
def test_link_out_of_a_mirror_is_not_followed(
    lab: Path, host: LocalOSF, tmp_path: Path, what: str
) -> None:
    """Neither are links to files outside read, nor things that are no files."""
    outside = tmp_path / "outside"
    place = {
        "file": lab / FOLDER / DAMAGED,
        "folder": (lab / FOLDER / DAMAGED).parent,
        "dataset": lab / FOLDER,
        "pipe": lab / FOLDER / DAMAGED,
    }[what]
    place.rename(outside)
    if what == "pipe":
        os.mkfifo(place)
    else:
        place.symlink_to(outside)

    dataset = fetch_dataset(ADDRESS, progress=False)

    assert tree(dataset.root) == FILES
    assert host.requests_for(DAMAGED.rpartition("/")[2])


def test_link_inside_a_mirror_is_followed(lab: Path, host: LocalOSF) -> None:
    """So git-annex and others keep files."""
    store = lab / "store"
    store.mkdir()
    (lab / FOLDER / DAMAGED).rename(store / "a")
    (lab / FOLDER / DAMAGED).symlink_to(store / "a")

    assert tree(fetch_dataset(ADDRESS, progress=False).root) == FILES
    assert host.requests == []


@pytest.mark.parametrize("text", ["/no/such/folder", "no-such-folder", "~nobody-at-all/data"])
def test_mirror_that_is_not_there_is_warned_of_by_name(
    host: LocalOSF, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """A misspelt folder is no error, since hosts have everything."""
    monkeypatch.setenv("CONFUSIUS_MIRRORS", text)

    with pytest.warns(UserWarning, match=f"CONFUSIUS_MIRRORS names '{text}'"):
        dataset = fetch_dataset(ADDRESS, progress=False)

    assert tree(dataset.root) == FILES


def test_refresh_asks_the_host_for_the_index(lab: Path, host: LocalOSF) -> None:
    """A mirror may be old: who wants the newest index says so, and unchanged files still come."""
    new = FILES | {"participants.tsv": b"participant_id\nsub-1\nsub-2\nsub-3\n"}
    host.put("abcde", "whiskers-bids", "participants.tsv", new["participants.tsv"])
    host.requests.clear()

    dataset = fetch_dataset(ADDRESS, refresh=True, progress=False)

    assert tree(dataset.root) == new
    assert host.requests_for("participants.tsv")
    assert not host.requests_for(DAMAGED.rpartition("/")[2])


def test_damaged_index_of_a_mirror_is_passed_over(
    lab: Path, host: LocalOSF, caplog: pytest.LogCaptureFixture
) -> None:
    """Then the host is asked for it, and the files still come from the mirror."""
    (lab / FOLDER / "dataset_index.json").write_text("{")

    dataset = fetch_dataset(ADDRESS, progress=False)

    assert tree(dataset.root) == FILES
    assert not host.requests_for(DAMAGED.rpartition("/")[2])
    assert f"The index of the mirror {lab} is passed over" in caplog.text


@pytest.mark.parametrize("odd", ["none", "older file", "repeated name", "cut off"])
def test_large_index_of_a_mirror_is_read_like_a_small_one(
    lab: Path, monkeypatch: pytest.MonkeyPatch, odd: str
) -> None:
    """In pieces, with every check, and without a trace in the mirror."""
    path = lab / FOLDER / "dataset_index.json"
    record = {"download_path": "/x", "md5": "0" * 32, "size": 1}
    more = {f"sub-{number:05}/sub-{number:05}_scans.tsv": record for number in range(9_000)}
    document = json.loads(path.read_bytes()) | more
    if odd == "older file":
        document["sub-00007/sub-00007_scans.tsv"] = {**record, "size": 2, "newer": record}
    text = json.dumps(document, indent=2)
    text = text[:-2] + ',\n"README": {}, "README": {}}' if odd == "repeated name" else text
    path.write_text(text[:-1] if odd == "cut off" else text)
    before = state(lab)
    monkeypatch.setenv("CONFUSIUS_OFFLINE", "1")

    if odd in ("repeated name", "cut off"):
        with pytest.raises(OfflineError):  # it is passed over, and nobody else may be asked
            open_dataset(ADDRESS, progress=False)
    else:
        index = open_dataset(ADDRESS, progress=False).index
        assert set(index) == set(document)
        sizes = dict(zip(*index.sizes(), strict=True))
        assert {sizes[relpath] for relpath in more} == {1}
        assert not [entry for entry in index.values() if entry.local]
    assert path.stat().st_size > 1_000_000
    assert state(lab) == before


def test_mirror_that_holds_an_older_version_does_not_pass_that_on(
    lab: Path, host: LocalOSF
) -> None:
    """What the mirror notes of its own old files says nothing of ours."""
    new = b"participant_id\nsub-9\n"
    host.put("abcde", "whiskers-bids", "participants.tsv", new)
    with pytest.warns(UserWarning, match="changed upstream"):
        fetch_dataset(ADDRESS, lab, refresh=True, progress=False)

    dataset = fetch_dataset(ADDRESS, progress=False)

    assert tree(dataset.root) == FILES | {"participants.tsv": new}
    assert set(dataset.verify().status) == {"ok"}


def test_file_without_a_hash_comes_from_its_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A size vouches for nothing: a mirror's bytes might be any."""
    with LocalWeb() as web:
        web.add_folder("whiskers", FILES, index="dataset_index.json", hashes=None)
        address = f"{web.url('web')}/whiskers/dataset_index.json"
        theirs = fetch_dataset(address, tmp_path / "lab", progress=False)
        (theirs.root / DAMAGED).write_bytes(b"?" * len(FILES[DAMAGED]))
        monkeypatch.setenv("CONFUSIUS_MIRRORS", str(tmp_path / "lab"))

        assert tree(fetch_dataset(address, progress=False).root) == FILES


def test_repair_takes_the_right_bytes_from_a_mirror(lab: Path, host: LocalOSF) -> None:
    """A corrupt file of one's own is mended by the lab's."""
    dataset = fetch_dataset(ADDRESS, progress=False)
    (dataset.root / DAMAGED).write_bytes(b"?")

    table = dataset.verify(repair=True)

    assert set(table.status) == {"ok"}
    assert host.requests == []


def test_dataset_in_a_folder_of_ones_own_choice_uses_the_mirror(
    lab: Path, host: LocalOSF, tmp_path: Path
) -> None:
    """What counts is the name of the root among datasets, not where one's own lies."""
    spec = spec_at(ADDRESS)
    shutil.copytree(lab / FOLDER, tmp_path / "elsewhere")
    shutil.rmtree(tmp_path / "elsewhere" / "sub-1")

    BIDSDataset(tmp_path / "elsewhere", spec=spec, progress=False).download(subject="1")

    assert tree(tmp_path / "elsewhere") == FILES
    assert host.requests == []


def test_template_comes_from_a_mirror(
    osf: LocalOSF, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dataset of one image is copied as well."""
    theirs = fetch_template_pepe_mariani_2026(tmp_path / "lab", progress=False)
    osf.requests.clear()
    monkeypatch.setenv("CONFUSIUS_MIRRORS", str(tmp_path / "lab"))
    monkeypatch.setenv("CONFUSIUS_OFFLINE", "1")

    assert fetch_template_pepe_mariani_2026(progress=False).equals(theirs)
    assert osf.requests == []


@pytest.mark.parametrize("is_beside", [False, True])
def test_release_comes_from_a_mirror(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_beside: bool
) -> None:
    """Its index may lie beside its folder, where ConfUSIus puts it."""
    lab = tmp_path / "lab"
    with LocalS3() as s3:
        s3.add_release("nunez-elizalde-2022-bids", "1.0.0", FILES)
        for name, value in s3.environ.items():
            monkeypatch.setenv(name, value)
        theirs = fetch_nunez_elizalde_2022(lab, version="1.0.0", progress=False)
    if is_beside:
        (theirs.root / ".confusius" / "s3_index.json").unlink()
        assert (theirs.root.parent / "s3_index.json").exists()
    monkeypatch.setenv("CONFUSIUS_MIRRORS", str(lab))
    monkeypatch.setenv("CONFUSIUS_OFFLINE", "1")

    dataset = fetch_nunez_elizalde_2022(version="1.0.0", progress=False)

    assert set(dataset.verify().status) == {"ok"}
    assert (dataset.root / DAMAGED).read_bytes() == FILES[DAMAGED]


@pytest.mark.parametrize("why", ["offline", "host down"])
def test_latest_release_is_the_newest_of_the_mirrors_where_no_host_says_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    """By its number, whichever mirror has it; a folder without an index is no release."""
    labs = [tmp_path / "one", tmp_path / "two", tmp_path / "three"]
    with LocalS3() as s3:
        for name, value in s3.environ.items():
            monkeypatch.setenv(name, value)
        for lab, version in zip(labs, ("1.9.0", "1.10.0", "1.10.0rc1"), strict=True):
            s3.add_release("nunez-elizalde-2022-bids", version, FILES | {"NEWS": version.encode()})
            fetch_nunez_elizalde_2022(lab, version=version, progress=False)
        (labs[1] / "nunez-elizalde-2022-bids" / "2.0.0").mkdir()
    monkeypatch.setenv("CONFUSIUS_MIRRORS", os.pathsep.join(map(str, labs)))
    monkeypatch.setenv("CONFUSIUS_DOWNLOAD_RETRIES", "0")
    if why == "offline":
        monkeypatch.setenv("CONFUSIUS_OFFLINE", "1")
        dataset = fetch_nunez_elizalde_2022(version="latest", progress=False)
    else:
        with pytest.warns(UserWarning, match=r"so it is 1\.10\.0, the newest in the folders of"):
            dataset = fetch_nunez_elizalde_2022(version="latest", progress=False)

    assert (dataset.version, (dataset / "NEWS").read_text()) == ("1.10.0", "1.10.0")
    assert set(dataset.verify().status) == {"ok"}
    with pytest.raises((OfflineError, SourceError)):  # who wants the newest shall have no other
        fetch_nunez_elizalde_2022(version="latest", refresh=True, progress=False)


def test_latest_release_without_a_host_and_in_no_mirror_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As without mirrors."""
    monkeypatch.setenv("CONFUSIUS_MIRRORS", str(tmp_path))
    monkeypatch.setenv("CONFUSIUS_OFFLINE", "1")

    with pytest.raises(OfflineError):
        fetch_nunez_elizalde_2022(version="latest", progress=False)


@pytest.fixture
def recorded(host: LocalOSF, lab: Path) -> BIDSDataset:
    """Add a recording with its sidecar to the host and to the mirror; open the dataset."""
    values = np.random.default_rng(1).random((16, 12, 1, 200), dtype=np.float32)
    sidecar = {"VolumeTiming": [2.5 + number for number in range(200)], "TaskName": "seen"}
    sidecar["FrameAcquisitionDuration"] = 0.1
    files = {SEEN: gzip.compress(nifti_bytes(values, np.eye(4)), 1)}
    files["task-seen_pwd.json"] = json.dumps(sidecar).encode()
    for relpath, data in files.items():
        host.put("abcde", "whiskers-bids", relpath, data)
    fetch_dataset(ADDRESS, lab, refresh=True, progress=False)
    dataset = fetch_dataset(ADDRESS, download=False, progress=False)
    (dataset / "task-seen_pwd.json").unlink()
    host.requests.clear()
    return dataset


@pytest.mark.parametrize("is_offline", [False, True])
def test_preview_comes_from_a_mirror_and_asks_no_host(
    recorded: BIDSDataset, host: LocalOSF, monkeypatch: pytest.MonkeyPatch, is_offline: bool
) -> None:
    """Looking at what a mirror has costs no request, and needs no network."""
    if is_offline:
        monkeypatch.setenv("CONFUSIUS_OFFLINE", "1")

    first = recorded.preview(task="seen", frames=3)

    assert first.time.values.tolist() == [2.5, 3.5, 4.5]
    assert host.requests == []
    assert not (recorded / SEEN).exists()
    monkeypatch.delenv("CONFUSIUS_OFFLINE", raising=False)
    assert first.identical(recorded.load(task="seen").isel(time=slice(0, 3)))


@pytest.mark.parametrize("damage", ["cut off", "of the right size", "gone"])
def test_preview_passes_over_a_copy_that_is_not_the_file(
    recorded: BIDSDataset, host: LocalOSF, lab: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    """A size that differs tells it, or bytes that are no image; the host has the right ones."""
    copy = lab / FOLDER / SEEN
    data = copy.read_bytes()
    if damage == "gone":
        copy.unlink()
    else:
        copy.write_bytes(data[:-1] if damage == "cut off" else b"?" * len(data))

    first = recorded.preview(task="seen")

    assert first.identical(recorded.load(task="seen").isel(time=slice(0, 1)))
    assert host.requests_for(SEEN.rpartition("/")[2])
    assert (str(copy) in caplog.text) == (damage != "gone")


def test_preview_believes_a_sidecar_of_a_mirror_by_its_hash(
    recorded: BIDSDataset, host: LocalOSF, lab: Path
) -> None:
    """An older one may well be of the same size, and would give other times."""
    copy = lab / FOLDER / "task-seen_pwd.json"
    copy.write_bytes(copy.read_bytes().replace(b"2.5,", b"2.7,"))

    assert recorded.preview(task="seen", frames=2).time.values.tolist() == [2.5, 3.5]
    assert len(host.requests_for(copy.name)) == 1
    assert not host.requests_for(SEEN.rpartition("/")[2])


def test_preview_without_network_says_what_neither_disk_nor_mirror_has(
    recorded: BIDSDataset, lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As without a mirror."""
    (lab / FOLDER / SEEN).unlink()
    monkeypatch.setenv("CONFUSIUS_OFFLINE", "1")

    with pytest.raises(OfflineError, match="CONFUSIUS_OFFLINE is set") as caught:
        recorded.preview(task="seen")

    assert caught.value.missing == (SEEN,)


def test_dry_run_and_fetch_of_the_command_know_the_mirror(
    lab: Path, host: LocalOSF, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command finds the index there, and the files."""
    assert main(["fetch", ADDRESS, "--dry-run"]) == 0
    assert main(["fetch", ADDRESS, "--quiet"]) == 0

    root = Path(capsys.readouterr().out.splitlines()[-1])
    assert tree(root) == FILES
    assert host.requests == []


class TestNearbySource(SourceTests):
    """A source is one still when a mirror that has nothing stands before it."""

    @pytest.fixture(autouse=True)
    def _server(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """Run a server for each test."""
        monkeypatch.setenv("CONFUSIUS_MIRRORS", str(tmp_path))
        with LocalOSF() as server:
            for name, value in server.environ.items():
                monkeypatch.setenv(name, value)
            self.server = server
            yield

    def make_source(self, files: Mapping[str, bytes]) -> Source:
        """Make the host have some files, and the mirror none."""
        for relpath in list(self.server.relpaths("abcde", "whiskers-bids")):
            self.server.remove("abcde", "whiskers-bids", relpath, index=False)
        self.server.add_dataset("abcde", "whiskers-bids", files)
        return with_mirror_folders(OSFSource("abcde", "whiskers-bids"), FOLDER)
