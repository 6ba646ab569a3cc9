"""What disks and folders do to a download: full, read-only, shared, linked elsewhere."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from confusius_datasets import fetch_nunez_elizalde_2022
from confusius_datasets._download import Event, FileStarted, plan_download
from confusius_datasets._download.plan import check_space
from confusius_datasets._local import LocalCopy
from confusius_datasets.errors import (
    CacheError,
    DownloadsFailedError,
    NotEnoughSpaceError,
    UnsafePathError,
)
from confusius_datasets.testing import LocalOSF
from descriptors import list_open
from downloads import (
    LABS,
    LARGE,
    MEBIBYTE,
    SMALL_FILES,
    Lab,
    heeding_permissions,
    on_hosts,
)

EVERYWHERE = on_hosts(*LABS)
"""What a folder to copy from has in common with servers."""

POSIX = pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")


@EVERYWHERE
def test_too_little_space_is_noticed_before_the_first_byte(lab: Lab) -> None:
    """More than the disk has is refused with both numbers, and no folder is made."""
    lab.serve(SMALL_FILES)
    free = shutil.disk_usage(lab.root.parent).free
    entries = [replace(entry, size=free) for entry in lab.index().values()]

    with pytest.raises(NotEnoughSpaceError, match=r"needs [\d.]+ TB|GB more and the disk has"):
        lab.fetch(entries)

    assert lab.host.requests == []
    assert not lab.root.exists()


@EVERYWHERE
def test_space_that_is_needed_does_not_count_what_is_here(lab: Lab) -> None:
    """Bytes that an earlier call left need no room again."""
    lab.serve({LARGE: 1000})
    free = shutil.disk_usage(lab.root.parent).free
    # Far from what is free: others fill the disk and empty it meanwhile.
    plan = plan_download([replace(lab.index()[LARGE], size=2 * free)], lab.root)

    with pytest.raises(NotEnoughSpaceError):
        check_space(plan, 0)
    check_space(plan, 2 * free - MEBIBYTE)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of 3 MiB, where this user may do so."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root on Linux")
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("this system mounts nothing")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)  # noqa: S607


@EVERYWHERE
def test_disk_that_fills_midway_leaves_a_clean_state(lab: Lab, small_disk: Path) -> None:
    """Finished files stay, no final path has a part, and with space the same call completes."""
    lab.root = small_disk / "root"
    sizes = SMALL_FILES | {LARGE: 2 * MEBIBYTE, "sub-02/sub-02_pwd.nii.gz": 2 * MEBIBYTE}
    lab.serve(sizes)
    entries = [replace(entry, size=None) for entry in lab.index().values()]  # nothing to count on

    with pytest.raises(NotEnoughSpaceError, match=r"No space left.*Finished files are kept"):
        lab.fetch(entries)

    here = lab.tree()
    assert {relpath: lab.files[relpath] for relpath in here} == here

    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)  # noqa: S607
    lab.fetch(entries)
    assert lab.tree() == lab.files


def test_disk_that_is_full_while_the_index_is_written_keeps_the_old_one(
    lab: Lab, small_disk: Path
) -> None:
    """A new index has its room or none: the error says so, and what was there is as it was."""
    lab.root = small_disk / "root"
    lab.serve(SMALL_FILES)
    local = LocalCopy(lab.root, lab.source)
    filler = small_disk / "filler"
    fill_disk(filler)

    with pytest.raises(NotEnoughSpaceError, match=r"cannot be written: .*Free some space"):
        local.open()
    filler.unlink()
    local.open()
    index = lab.root / lab.source.index_name
    before = index.read_bytes()
    lab.put("sub-99/sub-99_pwd.json", b"new" * 1000)
    fill_disk(filler)
    with pytest.raises(NotEnoughSpaceError):
        local.refresh()

    assert index.read_bytes() == before
    assert {path.name for path in lab.root.iterdir()} <= {".confusius", index.name}
    assert [path.name for path in index.parent.glob(f"*{index.name}*")] == [index.name]
    filler.unlink()
    local.refresh()
    assert "sub-99/sub-99_pwd.json" in local.index


def fill_disk(path: Path) -> None:
    """Write until nothing is left of a disk."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(bytes(4096)) == 4096:
            pass


@POSIX
@EVERYWHERE
def test_folder_that_is_read_only_is_named(lab: Lab) -> None:
    """A root that cannot be written to is an error before any request, and nothing is left."""
    lab.serve(SMALL_FILES)
    entries = list(lab.index().values())
    lab.root.mkdir()
    lab.root.chmod(0o555)

    with (
        heeding_permissions(),
        pytest.raises(CacheError, match=r"root.*Permission denied.*data_dir"),
    ):
        lab.fetch(entries)

    assert lab.host.requests == []
    assert list(lab.root.iterdir()) == []


@POSIX
@EVERYWHERE
def test_root_that_became_read_only_is_one_sentence_and_no_download(lab: Lab) -> None:
    """Although the hidden folder is there and writable; cause, count and first file are named."""
    lab.serve(SMALL_FILES)
    entries = list(lab.index().values())
    (lab.root / ".confusius").mkdir(parents=True)
    lab.root.chmod(0o555)

    with heeding_permissions(), pytest.raises(CacheError) as caught:
        lab.fetch(entries)

    assert lab.host.requests == []
    text = str(caught.value)
    assert f"{len(SMALL_FILES)} files cannot be written to {lab.root}, the first sub-" in text
    assert text.count("Permission denied") == 1 and "\n" not in text


@POSIX
@EVERYWHERE
def test_folder_below_the_root_that_is_read_only_costs_its_files_only(lab: Lab) -> None:
    """Files that cannot be placed are listed with their reason; the others are placed."""
    lab.serve({"open/b_pwd.json": 10} | {f"locked/{name}_pwd.json": 10 for name in "acdefg"})
    entries = list(lab.index().values())
    (lab.root / "locked").mkdir(parents=True)
    (lab.root / "locked").chmod(0o555)

    with heeding_permissions(), pytest.raises(DownloadsFailedError) as caught:
        lab.fetch(entries)

    assert re.search(r"\n  6 files, the first locked/\w_pwd\.json: cannot be", str(caught.value))
    assert len(str(caught.value).splitlines()) == 3
    assert len(caught.value.failures) == 6
    assert set(lab.tree()) == {"open/b_pwd.json"}


@POSIX
def test_read_only_root_that_is_complete_is_read_without_a_word(
    osf: LocalOSF, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A lab's shared copy that may not be written to answers and loads as any other."""
    options = {"subjects": "CR020", "progress": False, "print_citation": False}
    root = fetch_nunez_elizalde_2022(**options).root  # type: ignore[arg-type]
    shutil.rmtree(root / ".confusius")
    requests = len(osf.requests)
    for folder in (root, *(path for path in root.rglob("*") if path.is_dir())):
        folder.chmod(0o555)

    with heeding_permissions():
        dataset = fetch_nunez_elizalde_2022(**options)  # type: ignore[arg-type]
        array = dataset.load(subject="CR020", session="20191122", datatype="angio")
        array.load()

    for folder in (root, *(path for path in root.rglob("*") if path.is_dir())):
        folder.chmod(0o755)
    assert array.dims == ("z", "y", "x")
    assert len(osf.requests) == requests
    assert not (root / ".confusius").exists()
    assert capsys.readouterr() == ("", "")


@POSIX
@pytest.mark.parametrize(
    ("umask", "folder_mode", "file_mode"),
    [(0o022, 0o755, 0o644), (0o027, 0o755, 0o640), (0o022, 0o775, 0o664)],
    ids=["usual umask", "strict umask", "folder of a group"],
)
@EVERYWHERE
def test_permissions_follow_the_umask_and_the_folder(
    lab: Lab, umask: int, folder_mode: int, file_mode: int
) -> None:
    """Files have what the umask says, and are writable by the group where the folder is."""
    lab.serve({LARGE: 1000, "README": 10})
    lab.root.mkdir()
    lab.root.chmod(folder_mode)

    before = os.umask(umask)
    try:
        lab.fetch()
    finally:
        os.umask(before)

    for path in (lab.root / LARGE, lab.root / "README"):
        assert stat.S_IMODE(path.stat().st_mode) == file_mode
    made = (lab.root / LARGE).parent
    assert bool(made.stat().st_mode & 0o020) == bool(folder_mode & 0o020)


@POSIX
@EVERYWHERE
def test_link_that_leads_out_of_the_root_is_not_written_through(lab: Lab, tmp_path: Path) -> None:
    """A folder that is a link to elsewhere is an error that names it, before any request."""
    lab.serve({LARGE: 1000})
    entries = list(lab.index().values())
    outside = tmp_path / "outside"
    outside.mkdir()
    lab.root.mkdir()
    (lab.root / "sub-01").symlink_to(outside)

    with pytest.raises(UnsafePathError, match="symbolic link"):
        lab.fetch(entries)

    assert list(outside.iterdir()) == []
    assert lab.host.requests == []


@POSIX
@EVERYWHERE
def test_link_made_during_the_download_is_not_written_through(lab: Lab, tmp_path: Path) -> None:
    """The place is looked at again right before a file is put there."""
    lab.serve({LARGE: 1000})
    entries = list(lab.index().values())
    outside = tmp_path / "outside"
    outside.mkdir()

    def make_link(event: object) -> None:
        if isinstance(event, FileStarted):
            (lab.root / "sub-01").symlink_to(outside)

    with pytest.raises(DownloadsFailedError, match="symbolic link"):
        lab.fetch(entries, on_event=make_link)

    assert list(outside.rglob("*")) == []


@pytest.mark.skipif(os.name == "nt", reason="folders are not opened there")
def test_files_that_failed_keep_no_folder_open(lab: Lab) -> None:
    """Whoever holds on to the error of many files would run out of descriptors."""
    relpaths = [f"sub-{number}/a.json" for number in range(40)]
    lab.serve(dict.fromkeys(relpaths, 100))

    def be_in_the_way(event: Event) -> None:
        if isinstance(event, FileStarted):
            (lab.root / event.relpath).mkdir(parents=True)

    with pytest.raises(DownloadsFailedError) as caught:
        lab.fetch(list(lab.index().values()), on_event=be_in_the_way)

    assert len(caught.value.failures) == len(relpaths)
    assert list_open(lab.root) == []


SWAP = """
import os, shutil, sys
folder, link, beside = sys.argv[1:]
print("ready", flush=True)
while True:
    for old, new in ((folder, beside), (link, folder), (folder, link), (beside, folder)):
        try:
            os.rename(old, new)
        except OSError:
            if os.path.isdir(beside) and os.path.isdir(folder) and not os.path.islink(folder):
                shutil.rmtree(beside, ignore_errors=True)
"""
"""A process that swaps a folder for a link and back, all the time."""


@POSIX
@pytest.mark.slow
@pytest.mark.parametrize("which", ["sub-1", ".confusius", ".confusius/partial"])
def test_folder_that_is_swapped_for_a_link_all_the_time_sends_nothing_out_of_the_root(
    lab: Lab, tmp_path: Path, which: str
) -> None:
    """Files fail, or are placed in the folder itself, but none gets where the link leads."""
    lab.serve({f"sub-1/{number}.json": 10 for number in range(500)})
    plan = list(lab.index().values())
    (tmp_path / "outside").mkdir()
    (lab.root / which).mkdir(parents=True)
    (lab.root / "link").symlink_to(tmp_path / "outside")
    paths = [lab.root / which, lab.root / "link", lab.root / "beside"]
    command = [sys.executable, "-c", SWAP, *map(str, paths)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as swapping:
        assert swapping.stdout is not None
        swapping.stdout.readline()
        with contextlib.suppress(CacheError, DownloadsFailedError, UnsafePathError):
            lab.fetch(plan)
        swapping.kill()

    assert list((tmp_path / "outside").rglob("*")) == []


@POSIX
@EVERYWHERE
def test_root_that_is_itself_a_link_is_used(lab: Lab, tmp_path: Path) -> None:
    """A cache that lies behind a link is a cache all the same."""
    lab.serve({LARGE: 1000})
    (tmp_path / "elsewhere").mkdir()
    lab.root.symlink_to(tmp_path / "elsewhere")

    lab.fetch()

    assert (tmp_path / "elsewhere" / LARGE).read_bytes() == lab.files[LARGE]


@EVERYWHERE
def test_folder_in_the_place_of_a_file_is_named(lab: Lab) -> None:
    """Something of the user's that is in the way is left alone, and named before any request."""
    lab.serve({LARGE: 1000})
    entries = list(lab.index().values())
    (lab.root / LARGE).mkdir(parents=True)

    with pytest.raises(CacheError, match=r"sub-01_task-rest_pwd\.nii\.gz should be, there is a"):
        lab.fetch(entries, force=True)

    assert lab.host.requests == []


def test_name_that_is_too_long_is_named_before_any_request(lab: Lab) -> None:
    """A file that the file system cannot have is an error that says why."""
    lab.serve({f"sub-01/{'a' * 300}.json": 10, "README": 10})
    entries = list(lab.index().values())

    with pytest.raises(CacheError, match="a name of more than 255 bytes"):
        lab.fetch(entries)

    assert lab.host.requests == []


def test_partial_files_that_somebody_removes_are_an_error_not_a_wrong_file(lab: Lab) -> None:
    """Clearing the hidden folder during a download costs the file under way, and says so."""
    lab.host.bandwidth = 2e6
    lab.serve({LARGE: 400_000})
    entries = list(lab.index().values())

    def remove(event: object) -> None:
        for path in lab.partials():
            path.unlink()

    with pytest.raises(DownloadsFailedError, match="was removed by somebody else"):
        lab.fetch(entries, on_event=remove)

    assert lab.tree() == {}
