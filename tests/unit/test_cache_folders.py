"""Folders that others can write to: what they put there is not followed, believed or waited for."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from confusius_datasets._cache import (
    Folder,
    FoldersBelow,
    LockState,
    folders,
    lock,
    open_below,
    open_hidden,
    read_kept,
    write_atomic,
    write_kept,
)
from confusius_datasets.errors import CacheError, NotEnoughSpaceError, UnsafePathError
from descriptors import list_open
from killing import count_calls, run_to_call

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links and permissions of POSIX")

OTHER = 12345
"""A user who is neither this one nor the owner of a root."""

AS_ROOT = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="files change owners"
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make an empty root, and a folder beside it that is not ours to write to."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture(params=[True, False], ids=["relative", "by path"])
def _both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Look names up in open folders, and by their paths, as on Windows."""
    if not request.param:
        monkeypatch.setattr(folders, "IS_RELATIVE", False)


def outside(root: Path) -> list[str]:
    """List what is beside the root."""
    return [path.name for path in (root.parent / "outside").rglob("*")]


# Folders.


@pytest.mark.usefixtures("_both_ways")
def test_files_are_made_renamed_and_removed_in_open_folders(root: Path) -> None:
    """Both ways do the same where nobody interferes."""
    with open_below(root, "a/b", make=True) as first, open_below(root, "c", make=True) as second:
        first.write("x", b"old")
        first.write("x", b"new")
        first.replace("x", second, "y")
        names = first.list_names(), second.list_names()
        with second.open("y", "rb") as file:
            content = file.read()
        second.remove("y")
    with open_below(root, "a") as folder:
        folder.remove_folder("b")

    assert names == ([], ["y"])
    assert content == b"new"
    assert sorted(path.name for path in root.rglob("*")) == ["a", "c"]


@pytest.mark.usefixtures("_both_ways")
def test_link_that_leads_elsewhere_in_the_root_is_followed_and_one_out_of_it_is_not(
    root: Path,
) -> None:
    """A user may arrange a root with links, and keep the root itself behind one."""
    (root / "real").mkdir()
    (root / "in").symlink_to("real")
    (root / "out").symlink_to(root.parent / "outside")
    (root / "circle").symlink_to("circle")
    (root.parent / "link").symlink_to(root)

    with open_below(root.parent / "link", "in/deep", make=True) as folder:
        folder.write("x", b"x")

    assert (root / "real" / "deep" / "x").read_bytes() == b"x"
    for name in ("out", "out/deep", "circle"):
        with pytest.raises(UnsafePathError, match="symbolic link that leads out of"):
            open_below(root, name, make=True)
    assert outside(root) == []


def test_folder_that_is_swapped_for_a_link_sends_nothing_elsewhere(root: Path) -> None:
    """An open folder stays the one it was, whatever its path leads to by now."""
    with open_below(root, "sub", make=True) as folder, open_below(root, "tmp", make=True) as other:
        (root / "sub").rename(root / "moved")
        (root / "sub").symlink_to(root.parent / "outside")
        folder.write("x", b"x")
        other.write("y", b"y")
        other.replace("y", folder, "y")

    assert sorted(path.name for path in (root / "moved").iterdir()) == ["x", "y"]
    assert outside(root) == []


def test_folder_that_is_swapped_is_noticed_where_paths_are_all_there_is(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing is looked up in open folders, the place is looked at after the rename too."""
    monkeypatch.setattr(folders, "IS_RELATIVE", False)
    replace = os.replace

    def swap_first(*args: str, **options: None) -> None:
        (root / "sub").rmdir()
        (root / "sub").symlink_to(root.parent / "outside")
        replace(*args, **options)

    with open_below(root, "sub", make=True) as folder, open_below(root, "tmp", make=True) as other:
        other.write("y", b"y")
        monkeypatch.setattr(os, "replace", swap_first)
        with pytest.raises(UnsafePathError, match="leads out of"):
            other.replace("y", folder, "y")

    assert outside(root) == []


def test_closed_folder_is_not_the_working_folder(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that is looked up in no folder at all is looked up where the process works."""
    monkeypatch.chdir(root.parent / "outside")
    (root.parent / "outside" / "x").touch()
    with open_below(root) as folder:
        pass

    folder.unlink("x")
    with pytest.raises(OSError, match="Bad file descriptor"):
        folder.write("y", b"y")

    assert outside(root) == ["x"]


def test_folder_that_is_removed_while_it_is_opened_is_closed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says so, and whoever holds on to it holds nothing open."""
    below = FoldersBelow(root)
    look = os.stat

    def remove_first(*args: Any, **options: Any) -> os.stat_result:
        shutil.rmtree(root / "a", ignore_errors=True)
        return look(*args, **options)

    monkeypatch.setattr(os, "stat", remove_first)
    with pytest.raises(FileNotFoundError) as caught:
        below.open("a/b")

    assert list_open(root) == [], caught


@pytest.mark.usefixtures("_both_ways")
def test_folders_stay_open_for_the_next_file_and_only_a_few_of_them(root: Path) -> None:
    """Files come folder by folder: to open each folder on the way for each file costs time."""
    below = FoldersBelow(root)
    first = below.open("a/b")
    again = below.open("a/b")
    for number in range(folders.MOST_KEPT):
        below.open(f"c/{number}").write("x", b"x")
    another = below.open("a/b")
    first.write("y", b"y")  # whoever has it can go on with it

    assert again is first
    assert another is not first
    assert below.open("") is below.open("")
    assert (root / "a" / "b" / "y").read_bytes() == b"y"


@pytest.mark.usefixtures("_both_ways")
@pytest.mark.parametrize("relpath", ["a/b", "a", ""])
@pytest.mark.parametrize("change", ["moved", "removed", "another"])
def test_folder_that_somebody_moves_or_removes_is_opened_anew(
    root: Path, relpath: str, change: str
) -> None:
    """What is kept open is looked at before it is used, and so is each folder above it."""
    below = FoldersBelow(root)
    below.open("a/b").write("old", b"old")
    place = root / relpath
    if change == "removed":
        shutil.rmtree(place)
    else:
        place.rename(root.parent / "outside" / "old")
    if change == "another":
        place.mkdir()
    below.open("a/b").write("new", b"new")

    assert [path.name for path in (root / "a" / "b").iterdir()] == ["new"]
    assert [name for name in outside(root) if name == "new"] == []


@pytest.mark.usefixtures("_both_ways")
@pytest.mark.parametrize("relpath", ["a/b", "a"])
def test_folder_that_is_kept_open_is_not_used_behind_a_link_to_where_it_was_moved(
    root: Path, relpath: str
) -> None:
    """The path leads to the same folder as before then, but out of the root."""
    below = FoldersBelow(root)
    below.open("a/b")
    (root / relpath).rename(root.parent / "outside" / "moved")
    (root / relpath).symlink_to(root.parent / "outside" / "moved")

    with pytest.raises(UnsafePathError, match="leads out of"):
        below.open("a/b")


@pytest.mark.parametrize("moved", ["a", "a/b"])
@pytest.mark.parametrize("is_link", [True, False])
def test_folder_that_is_moved_right_after_it_was_opened_is_not_kept(
    root: Path, monkeypatch: pytest.MonkeyPatch, moved: str, is_link: bool
) -> None:
    """What is remembered of the way is that to the folder, not what stands there by then."""
    look = os.stat

    def move_first(*args: Any, **options: Any) -> os.stat_result:
        monkeypatch.setattr(os, "stat", look)
        away = root.parent / "outside" / "moved"
        (root / moved).rename(away)
        if is_link:
            (root / moved).symlink_to(away)
        else:
            (root / "a" / "b").mkdir(parents=True)
        return look(*args, **options)

    below = FoldersBelow(root)
    monkeypatch.setattr(os, "stat", move_first)
    first = below.open("a/b")
    if is_link:
        with pytest.raises(UnsafePathError, match="leads out of"):
            below.open("a/b")
    else:
        assert below.open("a/b") is not first


def plant_link(path: Path, victim: Path) -> None:
    """Put a link to somebody's file."""
    path.symlink_to(victim)


def plant_hard_link(path: Path, victim: Path) -> None:
    """Put another name of somebody's file."""
    path.hardlink_to(victim)


def plant_pipe(path: Path, victim: Path) -> None:
    """Put a pipe at whose other end is nobody."""
    os.mkfifo(path)


PLANTS = [plant_link, plant_hard_link, plant_pipe]


@pytest.mark.parametrize("plant", PLANTS)
@pytest.mark.parametrize("mode", ["rb", "ab", "a+b"])
def test_only_plain_files_of_one_link_are_opened(
    root: Path, plant: Callable[[Path, Path], None], mode: str
) -> None:
    """No link is followed, no second name of a file is used, and no pipe is waited for."""
    victim = root.parent / "thesis.txt"
    victim.write_text("years of work")
    plant(root / "x", victim)

    with Folder.at(root) as folder, pytest.raises(OSError):
        folder.open("x", mode)
    assert victim.read_text() == "years of work"


def test_hidden_folder_that_is_a_link_is_not_used(root: Path) -> None:
    """Nothing of ours is written through it, even if it leads elsewhere in the root."""
    (root / ".confusius").symlink_to(root.parent / "outside")

    with pytest.raises(UnsafePathError, match="is a symbolic link"):
        open_hidden(root, "partial", make=True)
    with pytest.raises(CacheError, match="is a symbolic link"):
        write_kept(root, "origin", b"x")
    with lock(root, "a.lock") as state:
        assert state is LockState.UNAVAILABLE
    assert list(read_kept(root, "origin")) == []
    assert outside(root) == []


# What is kept.


@pytest.mark.parametrize("plant", PLANTS)
def test_what_is_planted_at_a_name_of_ours_is_replaced_and_never_written_through(
    root: Path, plant: Callable[[Path, Path], None]
) -> None:
    """A new file is renamed over it; the file behind a link stays as it is."""
    victim = root.parent / "thesis.txt"
    victim.write_text("years of work")
    (root / ".confusius").mkdir()
    plant(root / ".confusius" / "origin", victim)
    before = list(read_kept(root, "origin"))

    write_kept(root, "origin", b"ours")

    assert before == []
    assert list(read_kept(root, "origin")) == [b"ours"]
    assert victim.read_text() == "years of work"


@AS_ROOT
@pytest.mark.parametrize("name", ["origin", "seek/0.gzidx", "index/signature.json"])
def test_what_another_user_keeps_is_left_alone_and_ours_stands_beside_it(
    root: Path, name: str
) -> None:
    """What is read belongs to us or to the owner of the root."""
    write_kept(root, name, b"theirs")
    os.chown(root / ".confusius" / name, OTHER, -1)
    believed = list(read_kept(root, name))
    os.chown(root, OTHER, -1)
    believed_of_owner = list(read_kept(root, name))
    write_kept(root, name, b"ours")
    both = list(read_kept(root, name))
    os.chown(root, 0, -1)

    assert (believed, believed_of_owner, both) == ([], [b"theirs"], [b"theirs", b"ours"])
    assert list(read_kept(root, name)) == [b"ours"]
    assert (root / ".confusius" / name).read_bytes() == b"theirs"


# Locks.


@pytest.mark.parametrize("plant", PLANTS)
def test_lock_that_somebody_planted_is_none(
    root: Path, plant: Callable[[Path, Path], None]
) -> None:
    """No file of the user's is emptied or locked for it."""
    victim = root.parent / "thesis.txt"
    victim.write_text("years of work")
    (root / ".confusius" / "locks").mkdir(parents=True)
    plant(root / ".confusius" / "locks" / "a.lock", victim)

    with lock(root, "a.lock") as state:
        assert state is LockState.UNAVAILABLE
    assert victim.read_text() == "years of work"


def test_lock_that_fails_when_it_is_let_go_is_no_error(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was done under it is done; some network file systems fail then."""
    import fcntl

    flock = fcntl.flock

    def fail(file: object, operation: int) -> None:
        if operation == fcntl.LOCK_UN:
            raise OSError(errno.EIO, "Input/output error")
        flock(file, operation)  # type: ignore[arg-type]

    monkeypatch.setattr(fcntl, "flock", fail)

    with lock(root, "a.lock") as state:
        assert state is LockState.HELD
    with lock(root, "a.lock", timeout=0) as state:
        assert state is LockState.HELD  # closing the file was enough


def test_lock_whose_file_was_removed_is_taken_on_a_new_one(root: Path) -> None:
    """Who holds the lock of a file that is gone keeps nobody out, and nobody relies on it."""
    with lock(root, "a.lock") as first:
        (root / ".confusius" / "locks" / "a.lock").unlink()
        with lock(root, "a.lock", timeout=0) as second:
            assert (first, second) == (LockState.HELD, LockState.HELD)


# Room.


@contextlib.contextmanager
def _small_files() -> Iterator[None]:
    """Allow this process no file of more than 100 kB."""
    import resource
    import signal

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_file_for_which_there_is_no_room_leaves_the_old_one(root: Path) -> None:
    """A limit or a full disk is a lack of space, and nothing of the new file is left."""
    write_atomic(root / "index.json", b"old")

    # A fixture would hold the limit while pytest itself writes, and its log may be larger.
    with _small_files():
        with pytest.raises(NotEnoughSpaceError, match=r"index\.json cannot .*: .*Free some"):
            write_atomic(root / "index.json", b"x" * 200_000)
        with pytest.raises(NotEnoughSpaceError):
            write_kept(root, "origin", b"x" * 200_000)

    assert (root / "index.json").read_bytes() == b"old"
    assert sorted(path.name for path in root.iterdir()) == [".confusius", "index.json"]


def test_process_that_is_killed_while_it_writes_leaves_nothing_beside_the_files(root: Path) -> None:
    """Old or new, and no third file in the root: what was begun lies in the hidden folder."""
    open_hidden(root, make=True).close()
    index = root / "index.json"
    index.write_bytes(b"old")

    def write() -> None:
        write_atomic(index, [b"n", b"ew"])

    write()  # once, since what is imported the first time would be counted
    for number in range(1, count_calls(write) + 1, 3):
        index.write_bytes(b"old")
        assert run_to_call(write, number)
        assert index.read_bytes() in (b"old", b"new")
        assert sorted(path.name for path in root.iterdir()) == [".confusius", "index.json"]


def test_file_that_may_not_be_written_names_owner_and_mode(root: Path) -> None:
    """The message says whose the folder is."""
    from downloads import heeding_permissions

    root.chmod(0o555)
    with heeding_permissions(), pytest.raises(CacheError) as caught:
        write_atomic(root / "index.json", b"new")

    mode = stat.filemode(root.stat().st_mode)
    assert f"{root} belongs to " in str(caught.value)
    assert f" and has the mode 0555 ({mode}). Make the folder writable" in str(caught.value)
