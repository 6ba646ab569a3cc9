"""Databases kept on disk are used while they are true, and made anew when they are not."""

from __future__ import annotations

import ctypes
import importlib.metadata
import json
import os
import pickle
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from confusius_datasets import Query, open_dataset
from confusius_datasets._index import DatasetIndex, FileEntry
from confusius_datasets._layout import files, open_layout
from killing import count_calls, measure_s, run_for, run_to_call
from trees import inheritance_files, write_tree

INDEXED = ["dataset_description.json", "sub-01/fusi/sub-01_task-rest_pwd.nii.gz"]


INDEX = DatasetIndex(map(FileEntry, INDEXED))


def kept_file(root: Path) -> Path:
    """Return the file of the tables that count."""
    folder = root / ".confusius" / "layout"
    return folder / str(json.loads((folder / "signature.json").read_text())["file"])


@pytest.fixture(autouse=True)
def _keep_small_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the databases of small trees, too."""
    monkeypatch.setattr(files, "WORTH_KEEPING", 0)


def age(root: Path) -> None:
    """Let every folder of a tree have changed an hour ago."""
    hour_ago = time.time() - 3600
    for folder, _, _ in os.walk(root):
        os.utime(folder, (hour_ago, hour_ago))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Write a tree, and open it once."""
    root = write_tree(tmp_path / "tree", inheritance_files())
    (root / ".confusius").mkdir()
    age(root)
    open_layout(root, INDEX)
    return root


def subjects(root: Path, index: DatasetIndex) -> list[str]:
    """List the subjects of a tree."""
    found: list[str] = open_layout(root, index).get_subjects()
    return found


def test_unchanged_dataset_is_opened_without_a_look_at_its_files(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While nothing changed, no file is listed, also where the folder was moved."""
    moved = root.rename(root.with_name("moved"))
    monkeypatch.setattr(files, "walk_folder", None)

    assert subjects(moved, INDEX) == ["01", "02", "10"]
    assert all(
        path.startswith(f"{moved}{os.sep}") for path in open_layout(moved, INDEX).get_files()
    )


def test_answers_are_those_of_a_database_made_anew(root: Path) -> None:
    """What was kept answers like what is made."""
    kept = open_layout(root, INDEX)
    shutil.rmtree(root / ".confusius")
    made = open_layout(root, INDEX)

    for query in ({}, {"suffix": "pwd"}, {"scope": "derivatives"}, {"RepetitionTime": 0.4}):
        assert [f.path for f in kept.get(**query)] == [f.path for f in made.get(**query)]
    assert kept.get_entities().keys() == made.get_entities().keys()
    assert list(kept.derivatives) == list(made.derivatives)


@pytest.mark.parametrize("folder", ["", "sub-01", "sub-01/new/deep", "derivatives/new/sub-01"])
def test_file_of_ones_own_is_noticed_wherever_it_appears(root: Path, folder: str) -> None:
    """A file that the index does not know is in the layout the next time."""
    name = "sub-77_task-new_pwd.nii.gz"
    write_tree(root, {f"{folder}/{name}".lstrip("/"): b""})

    assert open_layout(root, INDEX).get_tasks() == ["new", "rest"]


def test_removed_file_of_ones_own_is_noticed(root: Path) -> None:
    """A file that is gone is no longer in the layout."""
    shutil.rmtree(root / "sub-10")

    assert subjects(root, INDEX) == ["01", "02"]


def test_downloaded_file_changes_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of the index appears: the tables know it, and are used again, and at once."""
    before = kept_file(root)
    write_tree(root, {"sub-01/fusi/sub-01_task-rest_pwd.nii.gz": b"data"})
    age(root / "sub-01" / "fusi")

    assert subjects(root, INDEX) == ["01", "02", "10"]
    monkeypatch.setattr(files, "walk_folder", None)
    assert subjects(root, INDEX) == ["01", "02", "10"]
    assert kept_file(root) == before


def test_new_index_makes_new_tables(root: Path) -> None:
    """The time, size and number of the index file stand for its content."""
    before = kept_file(root)
    (root / "dataset_index.json").write_text("{}")
    index = INDEX.updated([FileEntry("sub-88/fusi/sub-88_task-rest_pwd.nii.gz")])

    assert "88" in subjects(root, index)
    assert list((root / ".confusius" / "layout").glob("*.sqlite")) == [kept_file(root)]
    assert kept_file(root) != before


def damage_database(folder: Path) -> None:
    """Change a byte in the middle of a database."""
    path = max(folder.glob("*.sqlite"), key=lambda path: path.stat().st_size)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate_database(folder: Path) -> None:
    """Cut a database off."""
    path = next(folder.glob("*.sqlite"))
    os.truncate(path, 100)


def remove_database(folder: Path) -> None:
    """Remove one of the databases."""
    next(folder.glob("*.sqlite")).unlink()


def damage_signature(folder: Path) -> None:
    """Put something else in the signature's place."""
    (folder / "signature.json").write_text('{"key": 3, "folders": []}')


def cut_signature(folder: Path) -> None:
    """Cut the signature off."""
    (folder / "signature.json").write_text('{"key"')


def point_elsewhere(folder: Path) -> None:
    """Let the signature name a file outside of the folder."""
    document = json.loads((folder / "signature.json").read_text())
    document["file"] = "../../../x.sqlite"
    (folder / "signature.json").write_text(json.dumps(document))


@pytest.mark.slow
@pytest.mark.parametrize(
    "harm",
    [
        damage_database,
        truncate_database,
        remove_database,
        damage_signature,
        cut_signature,
        point_elsewhere,
    ],
    ids=lambda harm: harm.__name__,
)
def test_damaged_database_is_made_anew_silently(root: Path, harm: Callable[[Path], None]) -> None:
    """Whatever happened to the kept files, the answer is right."""
    before = kept_file(root)
    harm(root / ".confusius" / "layout")

    assert subjects(root, INDEX) == ["01", "02", "10"]
    made = kept_file(root)
    assert made != before
    assert subjects(root, INDEX) == ["01", "02", "10"]
    assert kept_file(root) == made


def test_folder_that_cannot_be_written_to_is_read(tmp_path: Path) -> None:
    """Where nothing can be kept, the layout works without."""
    root = write_tree(tmp_path / "tree", inheritance_files())
    (root / ".confusius").write_text("in the way")

    assert subjects(root, INDEX) == ["01", "02", "10"]


def test_fresh_folder_is_looked_into_again(root: Path) -> None:
    """A folder that changed just before it was read may have changed again in the same tick."""
    folder = root / "sub-01"
    os.utime(folder)
    fresh = folder.stat().st_mtime_ns
    open_layout(root, INDEX)
    write_tree(root, {"sub-01/sub-01_task-new_pwd.nii.gz": b""})
    os.utime(folder, ns=(fresh, fresh))

    assert open_layout(root, INDEX).get_tasks() == ["new", "rest"]


@pytest.mark.slow
def test_kept_database_opens_faster_than_it_is_made(tmp_path: Path) -> None:
    """Keeping is worth it: of a few thousand files, the second opening is the quicker one."""
    relpaths = [f"sub-{i % 50:04d}/fusi/sub-{i % 50:04d}_run-{i}_pwd.nii.gz" for i in range(4000)]
    write_tree(tmp_path / "tree", dict.fromkeys(relpaths, b""))
    age(tmp_path)

    def opening() -> float:
        start = time.perf_counter()
        open_layout(tmp_path / "tree", None)
        return time.perf_counter() - start

    assert opening() > opening()


@pytest.mark.slow
def test_processes_that_open_and_replace_at_once_all_get_the_answer(root: Path) -> None:
    """Databases come and go under one another, and no process sees half of one."""
    script = (
        "import sys, pathlib; from confusius_datasets import _layout\n"
        "from confusius_datasets._index import DatasetIndex, FileEntry\n"
        "_layout.files.WORTH_KEEPING = 0\n"
        f"index = DatasetIndex(map(FileEntry, {INDEXED!r}))\n"
        "root = pathlib.Path(sys.argv[1])\n"
        "for number in range(12):\n"
        "    if number % 3 == 0:\n"
        "        (root / 'dataset_index.json').write_text(' ' * (number + int(sys.argv[2])))\n"
        "    layout = _layout.open_layout(root, index)\n"
        "    assert layout.get_subjects() == ['01', '02', '10']\n"
        "    assert len(layout.get(suffix='pwd', extension='.nii.gz')) == 7, layout.get()\n"
        "    assert len(layout.get(RepetitionTime=0.5)) == 1\n"
    )
    commands = [[sys.executable, "-c", script, str(root), str(number)] for number in range(4)]

    workers = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in commands]

    for worker in workers:
        _, errors = worker.communicate(timeout=100)
        assert worker.returncode == 0, errors


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.parametrize("by", ["calls", "time"])
def test_process_killed_at_any_instant_leaves_right_answers(root: Path, by: str) -> None:
    """Whatever others left half written, a layout has the files that are on disk."""
    chance, n_killed = random.Random(0), 0

    def add_and_open(number: int) -> None:
        folder = root / f"sub-x{number}"
        folder.mkdir()
        (folder / f"sub-x{number}_pwd.nii.gz").touch()
        subjects(root, INDEX)

    n_calls = count_calls(lambda: add_and_open(0))
    seconds = measure_s(lambda: add_and_open(1))

    for number in range(2, 27):
        if by == "calls":
            n_killed += run_to_call(lambda: add_and_open(number), chance.randrange(1, n_calls))  # noqa: B023
        else:
            n_killed += run_for(lambda: add_and_open(number), chance.uniform(0, seconds))  # noqa: B023
        if chance.random() < 0.5:  # or more is left behind
            here = {path.name[4:] for path in root.glob("sub-*") if any(path.rglob("*.*"))}
            assert set(subjects(root, INDEX)) == here
    assert n_killed > 15 or by == "time"


def test_dataset_of_local_files_pickles(root: Path) -> None:
    """A copy of the dataset opens its own layout."""
    dataset = pickle.loads(pickle.dumps(open_dataset(root)))  # noqa: S301 - our own bytes

    assert dataset.get_subjects() == ["01", "02", "10"]


def test_other_version_makes_new_tables(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables are those of one version of this package and of PyBIDS."""
    before = kept_file(root)
    version = importlib.metadata.version
    monkeypatch.setattr("importlib.metadata.version", lambda name: version(name) + "+next")

    subjects(root, INDEX)
    after = kept_file(root)
    subjects(root, INDEX)

    assert before != after
    assert kept_file(root) == after


def test_description_that_makes_it_a_derivative_makes_a_new_database(root: Path) -> None:
    """Which entities there are depends on the type that a dataset gives itself."""
    description = root / "dataset_description.json"
    document = json.loads(description.read_text())
    write_tree(root, {"sub-01/fusi/sub-01_desc-x_pwd.nii.gz": b""})
    assert open_layout(root, INDEX).get(desc=Query.ANY, scope="raw") == []

    description.write_text(json.dumps(document | {"DatasetType": "derivative"}))

    assert len(open_layout(root, INDEX).get(desc="x")) == 1


def test_folder_of_small_dataset_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing is worth keeping, nothing is written into somebody's folder."""
    monkeypatch.undo()
    root = write_tree(tmp_path / "tree", inheritance_files())
    age(root)
    before = root.stat().st_mtime_ns

    layout = open_dataset(root).layout
    layout.get(RepetitionTime=0.4)
    layout.get()[0].get_associations()

    assert not (root / ".confusius").exists()
    assert root.stat().st_mtime_ns == before


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="users are changed in a process of its own")
@pytest.mark.parametrize("has_database", [False, True], ids=["fresh", "kept"])
def test_read_only_root_is_a_pure_reader(has_database: bool) -> None:
    """Somebody who may not write gets the answers, from what is kept or from memory."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        root = write_tree(Path(folder) / "tree", inheritance_files())
        age(root)
        if has_database:
            open_layout(root, INDEX)
        before = sorted(root.rglob("*"))
        for path in (root, *root.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)

        answered = answers_as_somebody(root)

        assert answered
        assert sorted(root.rglob("*")) == before
        for path in (root, *root.rglob("*")):
            path.chmod(0o755)


def give_up_privileges() -> None:
    """Let permissions count for this process, as they do for everybody but the superuser.

    To become another user would not do: what is installed below a home of mode 0700 could not be
    read any more. Without its capabilities, the superuser is an owner as any other.
    """
    if os.getuid() != 0:
        return
    if not sys.platform.startswith("linux"):
        os.setuid(65534)
        return
    version_3_of_this_process = (ctypes.c_uint32 * 2)(0x20080522, 0)
    none_at_all = (ctypes.c_uint32 * 6)()
    if ctypes.CDLL(None, use_errno=True).capset(version_3_of_this_process, none_at_all) != 0:
        raise OSError(ctypes.get_errno(), "capabilities cannot be given up")


def answers_as_somebody(root: Path) -> bool:
    """Ask in a process that is not the superuser's, for whom nothing would be read-only."""
    process = os.fork()
    if process == 0:
        answered = False
        try:
            give_up_privileges()
            layout = open_layout(root, INDEX)
            answered = layout.get_subjects() == ["01", "02", "10"]
            answered = answered and len(layout.get(RepetitionTime=0.5)) == 1
            answered = answered and not os.access(root, os.W_OK)
        finally:
            os._exit(0 if answered else 1)
    return os.waitpid(process, 0)[1] == 0


@pytest.mark.slow
def test_download_leaves_the_layout_and_its_database_alone(root: Path) -> None:
    """After a download, the layout at hand is the same, and another process uses the database."""
    database = kept_file(root)
    layout = open_layout(root, INDEX)
    before = layout.get()
    time.sleep(0.01)
    write_tree(root, {INDEXED[1]: b"data"})

    assert layout.get() == before
    script = (
        "import sys, pathlib; from confusius_datasets import _layout\n"
        "from confusius_datasets._index import DatasetIndex, FileEntry\n"
        "_layout.files.WORTH_KEEPING = 0\n"
        f"index = DatasetIndex(map(FileEntry, {INDEXED!r}))\n"
        "layout = _layout.open_layout(pathlib.Path(sys.argv[1]), index)\n"
        "print(len(layout.get()))"
    )
    command = [sys.executable, "-c", script, str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(len(before))
    assert database.exists()
