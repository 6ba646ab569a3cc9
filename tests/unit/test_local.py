"""`LocalCopy`: one folder, its catalogue and its host, and the one walk over what is on disk."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from confusius_datasets._download import FileStatus
from confusius_datasets._local import LocalCopy
from confusius_datasets._paths import walk_folder
from confusius_datasets._sources import DirectorySource
from confusius_datasets.errors import CacheError, DatasetIndexError, UnsafePathError

IMAGE = "sub-1/fusi/sub-1_pwd.nii.gz"


def write(root: Path, files: dict[str, str]) -> Path:
    """Write files below a folder, and return the folder."""
    for relpath, text in files.items():
        (root / relpath).parent.mkdir(parents=True, exist_ok=True)
        (root / relpath).write_text(text)
    return root


@pytest.fixture
def local(tmp_path: Path) -> LocalCopy:
    """Return a local copy with an index and no files yet; its host is a folder."""
    host = write(tmp_path / "host", {"participants.tsv": "a", IMAGE: "bb"})
    copy = LocalCopy(tmp_path / "root", DirectorySource(host), name="test")
    copy.open()
    return copy


# The walk.


def test_walk_follows_links_but_never_in_circles(tmp_path: Path) -> None:
    """A linked folder is as good as any; a link to a parent, however it gets there, is not."""
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    write(root, {"sub-1/a.nii": ""})
    write(elsewhere, {"sub-2/b.nii": ""})
    (root / "sub-2").symlink_to(elsewhere / "sub-2")
    (root / "sub-1" / "up").symlink_to(root)
    (root / "sub-1" / "self").symlink_to(root / "sub-1")
    (root / "above").symlink_to(tmp_path)
    (elsewhere / "sub-2" / "back").symlink_to(root / "sub-1")
    (root / "dangling").symlink_to(tmp_path / "missing")

    found = walk_folder(root)

    assert found.files == {"sub-1/a.nii", "sub-2/b.nii", "sub-2/back/a.nii", "dangling"}
    assert found.folders.keys() == {"", "sub-1", "sub-2", "sub-2/back"}
    assert found.folders["sub-1"] == (root / "sub-1").stat().st_mtime_ns


def test_walk_leaves_out_what_is_hidden_and_releases_of_another_program(tmp_path: Path) -> None:
    """Our own folder, `.git`, and `1.0.0` beside an index of releases are no part of a dataset."""
    files = dict.fromkeys([".confusius/x", ".git/y", ".bidsignore", "1.0.0/a.nii", "sub-1/2/b"], "")
    root = write(tmp_path, files)
    before = walk_folder(root).files
    (root / "s3_index.json").write_text("{}")

    assert before == {".bidsignore", "1.0.0/a.nii", "sub-1/2/b"}
    assert walk_folder(root).files == {".bidsignore", "s3_index.json", "sub-1/2/b"}


def test_walk_takes_a_store_for_one_file_unless_its_parts_are_wanted(tmp_path: Path) -> None:
    """PyBIDS knows a Zarr store as one file; `verify` looks at each part."""
    root = write(tmp_path, {"sub-1/a.zarr/0/0": "", "sub-1/a.zarr/zarr.json": ""})

    assert walk_folder(root).files == {"sub-1/a.zarr"}
    assert walk_folder(root, into_stores=True).files == {
        "sub-1/a.zarr/0/0",
        "sub-1/a.zarr/zarr.json",
    }


def test_walk_may_begin_and_end_where_it_is_told_to(tmp_path: Path) -> None:
    """One folder is looked into alone, and paths stay relative to the root."""
    root = write(tmp_path, {"a/1": "", "a/b/2": "", "c/3": ""})

    found = walk_folder(root, start="a", descend=lambda folder: folder != "a/b")

    assert found.files == {"a/1"}
    assert found.folders.keys() == {"a"}


def test_walk_says_whether_there_is_a_link(tmp_path: Path) -> None:
    """A link to nothing counts: a download would make what it leads to."""
    root = write(tmp_path / "root", {"sub-1/a": ""})
    before = walk_folder(root, into_all=True)
    (root / "sub-1" / "gone").symlink_to(tmp_path / "nowhere")

    assert before.has_links is (os.name == "nt")
    assert walk_folder(root, into_all=True).has_links


# What is missing.


def test_all_that_is_missing_comes_in_the_order_of_a_plan(tmp_path: Path) -> None:
    """Of all files at once, the same as of the entries one by one, in the same order."""
    host = write(tmp_path / "host", {"sub-1/here": "1", "sub-1/z": "", "sub-2/a": "22"})
    for name, nbytes in {"big": 2_000_000, "bigger": 3_000_000, "edge": 1 << 20}.items():
        with (host / "sub-1" / name).open("wb") as file:
            file.truncate(nbytes)
    local = LocalCopy(tmp_path / "root", DirectorySource(host))
    local.open()
    local.ensure(["sub-1/here"])

    relpaths, sizes = local.missing_sizes()

    assert relpaths == ["sub-1/edge", "sub-1/z", "sub-2/a", "sub-1/bigger", "sub-1/big"]
    assert sizes == [1 << 20, 0, 2, 3_000_000, 2_000_000]
    assert [entry.relpath for entry in local.missing()] == relpaths


@pytest.mark.parametrize("target", ["elsewhere", "nowhere"])
def test_link_that_leads_out_is_told_before_a_download(
    local: LocalCopy, tmp_path: Path, target: str
) -> None:
    """Whether one asks for all files or for some, and whether or not it leads anywhere."""
    (tmp_path / "elsewhere").mkdir()
    (local.root / "sub-1").symlink_to(tmp_path / target)

    with pytest.raises(UnsafePathError, match="symbolic link that leads out of"):
        local.missing_sizes()
    with pytest.raises(UnsafePathError, match="symbolic link that leads out of"):
        local.missing([IMAGE])


# The catalogue.


def test_objects_of_one_folder_have_the_same_index_at_once(
    local: LocalCopy, tmp_path: Path
) -> None:
    """What one refreshes, all others see, and a snapshot that did not change is the same one."""
    other = LocalCopy(local.root, DirectorySource(tmp_path / "host"))
    before = other.snapshot
    again = other.snapshot
    write(tmp_path / "host", {"sub-2/new.tsv": ""})

    local.refresh()

    assert again is before
    assert other.snapshot is not before
    assert dict(other.index) == dict(local.index)
    assert "sub-2/new.tsv" in other.index
    assert "sub-2/new.tsv" not in before.index


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_text("{")])
def test_index_that_goes_bad_while_in_use_is_remembered(
    local: LocalCopy, damage: Callable[[Path], object]
) -> None:
    """Another program may write the file without renaming; whoever has read it goes on."""
    before = dict(local.index)
    damage(local.root / "dataset_index.json")

    assert dict(local.index) == before
    with pytest.raises((CacheError, DatasetIndexError)):
        LocalCopy(local.root, DirectorySource(local.root)).index  # noqa: B018


def test_index_that_is_missing_says_what_to_do(tmp_path: Path) -> None:
    """Without an index nothing is known, and looking does not ask the host."""
    local = LocalCopy(tmp_path / "root", DirectorySource(tmp_path / "host"), name="test")

    with pytest.raises(CacheError) as caught:
        local.index  # noqa: B018

    assert str(caught.value) == (
        f"{tmp_path / 'root' / 'dataset_index.json'} is missing, so the files of test are not "
        "known. Fetch the dataset again, or use open_dataset for what is on disk."
    )


def test_folder_without_a_host_is_the_same_object(tmp_path: Path) -> None:
    """A folder of one's own has an empty index, nothing to download, and nothing to refresh."""
    local = LocalCopy(write(tmp_path / "mine", {IMAGE: "x"}))

    local.open(refresh=True)
    local.ensure([IMAGE], force=True)

    assert local.name == "mine"
    assert not local.has_host
    assert local.index == {}
    assert local.refresh() == []
    assert local.missing() == []
    assert local.verify() == {IMAGE: FileStatus.NOT_IN_INDEX}
    assert (local.is_local(IMAGE), local.size(IMAGE)) == (True, 1)


def test_open_asks_the_host_only_where_there_is_no_index(local: LocalCopy, tmp_path: Path) -> None:
    """With an index on disk the host is left alone, unless it is asked for again."""
    write(tmp_path / "host", {"sub-2/new.tsv": ""})
    local.open()
    before = len(local.index)

    local.open(refresh=True)

    assert (before, len(local.index)) == (2, 3)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_index_can_be_read_in_a_process_forked_while_another_thread_read_it(
    local: LocalCopy,
) -> None:
    """A lock that a thread of the parent holds does not stop a child."""
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with local._lock.get():
            held.set()
            done.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    child = os.fork()
    if child == 0:
        os._exit(0 if len(local.index) == 2 else 1)
    _, status = os.waitpid(child, 0)
    done.set()
    thread.join()

    assert os.waitstatus_to_exitcode(status) == 0


# Files.


def test_renewed_sidecar_makes_a_new_snapshot_of_the_same_index(local: LocalCopy) -> None:
    """What was read from files may be another now, so whoever keeps it is told by the snapshot."""
    local.ensure(local.index)
    before = local.snapshot
    local.ensure(local.index)
    unchanged = local.snapshot
    local.ensure(local.index, force=True)

    assert unchanged is before
    assert local.snapshot is not before
    assert local.index is before.index


def test_verify_and_the_layouts_walk_see_the_same_linked_folder(
    local: LocalCopy, tmp_path: Path
) -> None:
    """A recording of one's own behind a link is listed as one that the index lacks."""
    write(tmp_path / "mine", {"fusi/sub-9_pwd.nii.gz": ""})
    (local.root / "sub-9").symlink_to(tmp_path / "mine")

    statuses = local.verify()

    assert statuses["sub-9/fusi/sub-9_pwd.nii.gz"] == "not in index"
    assert "sub-9/fusi/sub-9_pwd.nii.gz" in local.walk().files
    assert statuses[IMAGE] == "missing"


def test_evict_deletes_files_and_the_folders_that_become_empty(local: LocalCopy) -> None:
    """What the host has as it is here can be had again, so it may go."""
    local.ensure(local.index)

    assert local.evict([IMAGE, "sub-1/missing"]) == [IMAGE]
    assert not (local.root / "sub-1").exists()
    assert [entry.relpath for entry in local.missing()] == [IMAGE]
    local.ensure([IMAGE])
    assert (local.root / IMAGE).read_text() == "bb"


def test_evict_refuses_what_would_be_lost_and_deletes_nothing(local: LocalCopy) -> None:
    """A file that was edited, or that the host never had, is deleted on demand only."""
    local.ensure(local.index)
    write(local.root, {IMAGE: "edited", "notes.txt": "mine"})
    before = local.walk().files

    with pytest.raises(CacheError) as caught:
        local.evict(["participants.tsv", IMAGE, "notes.txt"])
    after = local.walk().files
    local.evict(["participants.tsv", IMAGE, "notes.txt"], force=True)

    assert str(caught.value) == (
        f"2 files in {local.root} would be lost, since the host does not have them as they are "
        f"here: {IMAGE}, notes.txt. Nothing was deleted."
    )
    assert after == before
    assert local.walk().files == {"dataset_index.json"}


def test_evict_deletes_nothing_behind_a_link(local: LocalCopy, tmp_path: Path) -> None:
    """A folder that is linked in is somebody else's."""
    write(tmp_path / "mine", {"sub-1_pwd.nii.gz": "bb"})
    (local.root / "sub-1").mkdir()
    (local.root / "sub-1" / "fusi").symlink_to(tmp_path / "mine")

    with pytest.raises(UnsafePathError, match="leads out of"):
        local.evict([IMAGE], force=True)
    assert (tmp_path / "mine" / "sub-1_pwd.nii.gz").exists()


def test_evicted_older_version_is_forgotten_by_the_index(tmp_path: Path) -> None:
    """Once it is gone, nothing on disk is outdated, and the index says so."""
    host = write(tmp_path / "host", {IMAGE: "old"})
    local = LocalCopy(tmp_path / "root", DirectorySource(host))
    local.open()
    local.ensure([IMAGE])
    write(host, {IMAGE: "newer"})
    with pytest.warns(UserWarning, match=rf"1 file in .* changed upstream .*: {IMAGE}"):
        local.open(refresh=True)
    outdated = local.index[IMAGE].local is not None

    local.evict([IMAGE], force=True)

    assert outdated
    assert local.index[IMAGE].local is None
    assert json.loads((local.root / "dataset_index.json").read_bytes())[IMAGE]["size"] == 5
