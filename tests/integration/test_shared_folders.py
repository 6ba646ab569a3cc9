"""A folder of datasets that a group shares: whoever comes first, the others can go on."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from confusius_datasets import open_dataset
from confusius_datasets._cache import LockState, lock
from confusius_datasets._catalog import SAMPLE
from confusius_datasets._download import plan_download, run_plan
from confusius_datasets._local import LocalCopy
from confusius_datasets._sources import get_client
from confusius_datasets.errors import CacheError, DownloadsFailedError
from confusius_datasets.testing import Fault
from downloads import FAST, LARGE, MEBIBYTE, RECORDING, SERVERS, SMALL_FILES, Lab, fetch_recording
from marks import slow
from users import ALICE, AS_OTHERS, BOB, LAB, run_as

POSIX = pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


@pytest.fixture
def shared() -> Iterator[Path]:
    """Make a folder that all members of a group may enter and write to."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    (folder / "lab").mkdir()
    yield folder / "lab"
    shutil.rmtree(folder)


def import_all(lab: Lab) -> None:
    """Import now what is imported late: another user may not read where the packages lie."""
    local = LocalCopy(lab.root.with_name("before"), lab.source)
    local.open()
    local.ensure(local.index)
    local.missing(local.index)
    shutil.rmtree(local.root)


def everything(folder: Path) -> list[Path]:
    """List a folder and all that is below it."""
    return [folder, *folder.rglob("*")]


@POSIX
@pytest.mark.parametrize("mode", [0o2775, 0o775, 0o770, 0o777])
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_all_that_is_made_in_a_folder_of_a_group_is_the_groups(
    tmp_path: Path, mode: int, umask: int
) -> None:
    """Roots, folders, files, index, locks: the group may write to them, whatever the umask says."""
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab").chmod(mode)
    before = os.umask(umask)
    try:
        dataset = fetch_recording(tmp_path / "lab")
        dataset.load(**RECORDING, suffix="pwd").compute()  # which keeps a seek index
    finally:
        os.umask(before)

    modes = {path: path.stat().st_mode for path in everything(dataset.root)}
    assert {path for path in modes if not modes[path] & stat.S_IWGRP} == set()
    folders = {path for path in modes if stat.S_ISDIR(modes[path])}
    assert all(bool(modes[path] & stat.S_ISGID) == bool(mode & stat.S_ISGID) for path in folders)


@POSIX
def test_folder_that_everybody_may_write_to_is_no_group(tmp_path: Path) -> None:
    """In a folder such as /tmp, what is made has what the umask says."""
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp").chmod(0o1777)
    before = os.umask(0o022)
    try:
        root = fetch_recording(tmp_path / "tmp").root
    finally:
        os.umask(before)

    assert not any(path.stat().st_mode & stat.S_IWGRP for path in everything(root))


@AS_OTHERS
@pytest.mark.parametrize(
    "lab", [name if name == "osf" else slow(name) for name in SERVERS], indirect=True
)
@pytest.mark.parametrize("mode", [0o2770, slow(0o770)])
def test_two_users_complete_each_others_fetch(lab: Lab, shared: Path, mode: int) -> None:
    """What one user began another finishes, renews and frees, with index, locks and leftovers."""
    lab.serve({LARGE: MEBIBYTE} | SMALL_FILES)
    lab.root = shared / "dataset"
    os.chown(shared, ALICE, LAB)
    shared.chmod(mode)
    import_all(lab)
    half = sorted(SMALL_FILES)[:5]

    def copy() -> LocalCopy:
        return LocalCopy(lab.root, lab.source, name="lab")

    def begin() -> None:
        local = copy()
        local.open()
        local.ensure(half)

    def fail() -> None:
        with pytest.raises(DownloadsFailedError):
            plan = plan_download([copy().index[LARGE]], lab.root)
            run_plan(plan, lab.source, get_client(), settings=FAST)

    run_as(ALICE, begin)
    refused = Fault("status", status=403, times=0)
    lab.host.fail(LARGE.rpartition("/")[2], Fault("drop", after=5000), refused)
    run_as(ALICE, fail)
    leftovers = lab.partials()
    lab.host.heal()

    def finish() -> None:
        local = copy()
        local.open()
        local.ensure(local.index)
        assert local.missing() == []
        with lock(lab.root, "index.lock", timeout=0) as state:
            assert state is LockState.HELD

    run_as(BOB, finish)
    assert len(leftovers) == 1
    assert lab.tree().items() >= lab.files.items()
    assert lab.partials() == []

    def renew() -> None:
        local = copy()
        with pytest.warns(UserWarning, match="changed upstream"):
            local.open(refresh=True)
        local.ensure([half[0], LARGE], force=True)
        local.evict([half[1]])

    lab.put(half[0], b"renewed")
    run_as(BOB, renew)
    assert (lab.root / half[0]).read_bytes() == b"renewed"
    run_as(ALICE, finish)
    assert lab.tree().items() >= lab.files.items()
    assert {path.stat().st_gid for path in everything(lab.root)} == {LAB}


@AS_OTHERS
def test_user_who_is_not_in_the_group_gives_nothing_to_it(shared: Path) -> None:
    """Where a folder's group is not one's own, files stay what the umask says."""
    os.chown(shared, 0, 12345)
    shared.chmod(0o777)

    def fetch() -> None:
        fetch_recording(shared)

    fetch_recording(shared / "before")
    shutil.rmtree(shared / "before")
    run_as(ALICE, fetch, umask=0o022)

    root = next(shared.iterdir())
    assert not any(path.stat().st_mode & stat.S_IWGRP for path in everything(root))


@AS_OTHERS
def test_origin_that_another_user_planted_is_left_alone_and_ours_stands_beside_it(
    shared: Path,
) -> None:
    """An address that neither we nor the owner of the root wrote is not followed."""
    os.chown(shared, ALICE, LAB)
    shared.chmod(0o2770)
    root = shared / SAMPLE.folder

    def fetch() -> None:
        fetch_recording(shared)

    fetch_recording(shared / "before")
    shutil.rmtree(shared / "before")
    run_as(ALICE, fetch)
    (root / ".confusius" / "origin").write_text("https://evil.example/x\n")
    os.chown(root / ".confusius" / "origin", 12345, LAB)

    with pytest.raises(CacheError, match=r"https://evil\.example/x.*another user wrote it"):
        open_dataset(root)
    run_as(BOB, fetch)

    def reopen() -> None:
        assert open_dataset(root).dataset_name == SAMPLE.name

    run_as(BOB, reopen)
    assert (root / ".confusius" / "origin").read_text() == "https://evil.example/x\n"
    assert (root / ".confusius" / f"origin-{BOB}").read_text().strip() == SAMPLE.origin
