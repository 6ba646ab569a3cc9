"""What was made of a large index is used while that is the same, and made anew in any doubt."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import pytest

from confusius_datasets._index import Checksum, DatasetIndex, FileEntry
from confusius_datasets._sources import (
    DataverseSource,
    ManifestSource,
    MirroredSource,
    OpenNeuroSource,
    OSFSource,
    Source,
    ZenodoSource,
    read_index_file,
    records,
    write_index_file,
)
from confusius_datasets.errors import DatasetIndexError
from killing import count_calls, measure_s, run_for, run_to_call
from marks import slow

SOURCE = OSFSource("43skw", "x")


def make_index(n_files: int, *, run: int = 1) -> DatasetIndex:
    """Make an index of some files."""
    return DatasetIndex(
        FileEntry(
            f"sub-{number:03d}/fusi/sub-{number:03d}_run-{run}_pwd.nii.gz",
            number,
            (Checksum("md5", f"{number:032x}"),),
            locators={"osf": f"/{number}"},
        )
        for number in range(n_files)
    )


@pytest.fixture(autouse=True)
def _keep_small_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what is made of small indexes, too."""
    monkeypatch.setattr(records, "WORTH_KEEPING_NBYTES", 0)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make a root with an index that has been read once."""
    root = tmp_path / "root"
    root.mkdir()
    write_index_file(SOURCE, root, make_index(50))
    read_index_file(SOURCE, root)
    return root


def kept_file(root: Path) -> Path:
    """Return the file of the tables that count."""
    folder = root / ".confusius" / "index"
    return folder / str(json.loads((folder / "signature.json").read_text())["file"])


def sign(root: Path) -> None:
    """Let the signature vouch for what lies there now."""
    path = root / ".confusius" / "index" / "signature.json"
    document = json.loads(path.read_text())
    document["checksum"] = zlib.crc32(kept_file(root).read_bytes())
    path.write_text(json.dumps(document))


def test_unchanged_index_is_not_read_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the index file is the same, nobody parses it, also where the folder was moved."""
    moved = root.rename(root.with_name("moved"))
    monkeypatch.setattr(records, "json", None)

    assert read_index_file(SOURCE, moved) == make_index(50)
    with pytest.raises(FileNotFoundError):
        read_index_file(SOURCE, root)


@pytest.mark.parametrize(
    "source",
    [
        ZenodoSource("1"),
        DataverseSource("https://dataverse.example", "doi:10.1/x"),
        OpenNeuroSource("ds000001"),
        ManifestSource("https://lab.example/manifest.json"),
        MirroredSource(SOURCE, ()),
    ],
    ids=lambda source: type(source).__name__,
)
def test_index_of_any_host_is_kept_as_that_host_reads_it(source: Source, tmp_path: Path) -> None:
    """Whether an index is read in pieces, or as a whole, makes no difference."""
    host = "osf" if isinstance(source, ManifestSource) else source.host
    md5, sha = Checksum("md5", "0" * 32), Checksum("sha256", "1" * 64)
    entries = [
        FileEntry("a.json", 3, (md5,), locators={host: "/a"}),
        FileEntry("b.json", 3, (sha, md5), locators={host: "/b"}),
        FileEntry("sub-1/c.json", None, (), '"tag"', locators={host: "ü"}),
    ]
    write_index_file(source, tmp_path, DatasetIndex(entries))

    first, again = read_index_file(source, tmp_path), read_index_file(source, tmp_path)

    content = (tmp_path / source.index_name).read_bytes()
    assert first == again == source.read_index(content, "x")
    assert list(first) == [entry.relpath for entry in entries]
    assert kept_file(tmp_path).exists()


def test_new_index_is_read(root: Path) -> None:
    """Another file in the index's place counts at once, and the tables of the old one are gone."""
    before = kept_file(root)
    write_index_file(SOURCE, root, make_index(50, run=2))

    assert read_index_file(SOURCE, root) == make_index(50, run=2)
    assert kept_file(root) != before
    assert not before.exists()


def test_damaged_index_is_refused_although_an_older_one_was_kept(root: Path) -> None:
    """Tables stand for the file they were made from, and for no other."""
    (root / "dataset_index.json").write_text('{"a": {"size": -1}}')

    with pytest.raises(DatasetIndexError, match="has a 'size'"):
        read_index_file(SOURCE, root)


def flip_bit(root: Path) -> None:
    """Change a bit in the middle."""
    content = bytearray(kept_file(root).read_bytes())
    content[len(content) // 2] ^= 1
    kept_file(root).write_bytes(content)


def truncate(root: Path) -> None:
    """Cut the tables off."""
    os.truncate(kept_file(root), 5000)


def cut_and_sign(root: Path) -> None:
    """Cut the tables off, and vouch for them."""
    truncate(root)
    sign(root)


def write_garbage(root: Path) -> None:
    """Put something else in their place, and vouch for it."""
    kept_file(root).write_bytes(b"SQLite format 3\0" + b"x" * 10_000)
    sign(root)


def change_tables(*statements: str) -> Callable[[Path], None]:
    """Change the tables, and vouch for them."""

    def change(root: Path) -> None:
        connection = sqlite3.connect(kept_file(root))
        connection.executescript(";".join(statements))
        connection.close()
        sign(root)

    return change


def link_hard(root: Path) -> None:
    """Give the file a second name, under which somebody may change it."""
    os.link(kept_file(root), root / "other")


def link_elsewhere(root: Path) -> None:
    """Put a link in their place."""
    kept_file(root).rename(root / "other")
    kept_file(root).symlink_to(root / "other")


def put_pipe(root: Path) -> None:
    """Put a named pipe in their place."""
    kept_file(root).unlink()
    os.mkfifo(kept_file(root))


def put_pipe_for_signature(root: Path) -> None:
    """Put a named pipe in the signature's place."""
    (root / ".confusius/index/signature.json").unlink()
    os.mkfifo(root / ".confusius/index/signature.json")


def write_signature(text: str) -> Callable[[Path], None]:
    """Put another signature in place."""
    return lambda root: (root / ".confusius/index/signature.json").write_text(text) and None


def point_elsewhere(root: Path) -> None:
    """Let the signature name a file outside of the folder."""
    shutil.copy(kept_file(root), root.parent / "x.sqlite")
    path = root / ".confusius" / "index" / "signature.json"
    document = json.loads(path.read_text())
    document["file"] = "../../../x.sqlite"
    path.write_text(json.dumps(document))


def use_other_format(root: Path) -> None:
    """Let the tables be those of another version."""
    path = root / ".confusius" / "index" / "signature.json"
    document = json.loads(path.read_text())
    document["key"][0] += 1
    path.write_text(json.dumps(document))


HARMS = {
    "bit": flip_bit,
    "truncated": truncate,
    "truncated and signed": cut_and_sign,
    "garbage": write_garbage,
    "trigger": change_tables(
        "CREATE TRIGGER t AFTER INSERT ON file BEGIN DELETE FROM file; END",
    ),
    "view": change_tables(
        "DROP TABLE fact", "CREATE VIEW fact AS SELECT 'n_files' AS name, 3 AS value"
    ),
    "table more": change_tables("CREATE TABLE other (x)"),
    "column more": change_tables("ALTER TABLE file ADD COLUMN x DEFAULT 3"),
    "hard link": link_hard,
    "link": link_elsewhere,
    "pipe": put_pipe,
    "pipe for signature": put_pipe_for_signature,
    "no signature": write_signature('{"key"'),
    "empty signature": write_signature("{}"),
    "list for signature": write_signature("[1]"),
    "elsewhere": point_elsewhere,
    "version": use_other_format,
}


@pytest.mark.skipif(sys.platform == "win32", reason="named pipes and links are made")
@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS)
def test_doubtful_tables_are_made_anew(root: Path, harm: Callable[[Path], None]) -> None:
    """Whatever somebody did to what was kept, the answer is the index file's."""
    harm(root)

    assert read_index_file(SOURCE, root) == make_index(50)
    assert read_index_file(SOURCE, root) == make_index(50)
    assert kept_file(root).stat().st_nlink == 1


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="files change owners")
@pytest.mark.parametrize("owner_of_root", [False, True])
def test_tables_of_somebody_else_are_not_opened(
    root: Path, owner_of_root: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tables that neither we nor the owner of the root wrote are left alone, ours beside them."""
    before = kept_file(root)
    for path in (before, before.with_name("signature.json")):
        os.chown(path, 12345, -1)
    if owner_of_root:
        os.chown(root, 12345, -1)

    assert read_index_file(SOURCE, root) == make_index(50)
    assert kept_file(root) == before
    assert before.exists()
    assert before.with_name("signature-0.json").exists() != owner_of_root
    monkeypatch.setattr(records, "json", None)
    assert read_index_file(SOURCE, root) == make_index(50)


def test_root_where_nothing_can_be_kept_is_read(tmp_path: Path) -> None:
    """Where the hidden folder cannot be made, the index is read each time."""
    write_index_file(SOURCE, tmp_path, make_index(9))
    (tmp_path / ".confusius").write_text("in the way")

    assert read_index_file(SOURCE, tmp_path) == make_index(9)


def test_index_written_otherwise_is_kept_too(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index without line breaks is read by the long way, and once."""
    document = json.loads((root / "dataset_index.json").read_text())
    (root / "dataset_index.json").write_text(json.dumps(document))

    assert read_index_file(SOURCE, root) == make_index(50)
    monkeypatch.setattr(records, "json", None)
    assert read_index_file(SOURCE, root) == make_index(50)


def test_index_that_is_open_outlives_its_file(root: Path) -> None:
    """When another process replaces the tables, those that are open go on, and can be attached."""
    index = read_index_file(SOURCE, root)
    shutil.rmtree(root)

    assert index == make_index(50)
    connection = sqlite3.connect(":memory:", uri=True)
    index.tables.attach(connection)
    assert connection.execute("SELECT count(*) FROM tables.file").fetchone() == (50,)
    connection.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.parametrize("is_gone", [slow(False), True])
def test_index_works_in_a_forked_process(root: Path, is_gone: bool) -> None:
    """Parent and child read the same tables at once, also when their file is gone."""
    index = read_index_file(SOURCE, root)
    assert len(list(index)) == 50
    if is_gone:
        shutil.rmtree(root)

    with get_context("fork").Pool(3) as pool:
        found = pool.map(index.get, list(index))

    assert found == list(make_index(50).values())


@pytest.mark.slow
def test_processes_that_read_and_replace_at_once_all_get_the_answer(root: Path) -> None:
    """Tables come and go under one another, processes are killed, and each answer is whole."""
    script = (
        "import sys, pathlib, os\n"
        "from confusius_datasets._sources import OSFSource, read_index_file, records\n"
        "records.WORTH_KEEPING_NBYTES = 0\n"
        "root = pathlib.Path(sys.argv[1])\n"
        "print('ready', flush=True)\n"
        "while True:\n"
        "    index = read_index_file(OSFSource('43skw', 'x'), root)\n"
        "    names = {path.split('_')[1] for path in index}\n"
        "    assert len(index) == len(list(index)) == 50, len(index)\n"
        "    assert names in ({'run-1'}, {'run-2'}), names\n"
        "    os.utime(root / 'dataset_index.json')\n"
    )
    command = [sys.executable, "-c", script, str(root)]
    workers = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for worker in workers:
        assert worker.stdout is not None
        worker.stdout.readline()

    for number in range(10):
        write_index_file(SOURCE, root, make_index(50, run=1 + number % 2))
        time.sleep(0.03)
    killed = {worker.poll() for worker in workers}
    for worker in workers:
        worker.send_signal(signal.SIGTERM)
    errors = "".join(worker.communicate(timeout=60)[1] for worker in workers)

    assert (killed, errors) == ({None}, "")
    assert read_index_file(SOURCE, root) == make_index(50, run=2)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("by", ["calls", "time"])
def test_process_killed_at_any_instant_leaves_right_answers(root: Path, by: str, seed: int) -> None:
    """Whatever others left half written, the next one gets what the index file says."""
    chance, n_killed = random.Random(seed), 0
    both = make_index(400), make_index(400, run=2)

    def replace(number: int) -> None:
        write_index_file(SOURCE, root, both[number % 2])
        assert len(list(read_index_file(SOURCE, root))) == 400

    n_calls, seconds = count_calls(lambda: replace(0)), measure_s(lambda: replace(1))

    for number in range(30):
        # Both stay lower than what a whole turn takes, so that all are killed on their way.
        if by == "calls":
            n_killed += run_to_call(lambda: replace(number), chance.randrange(1, n_calls))  # noqa: B023
        else:
            n_killed += run_for(lambda: replace(number), chance.uniform(0, seconds))  # noqa: B023
        if chance.random() < 0.5:  # or more is left behind
            said = SOURCE.read_index((root / "dataset_index.json").read_bytes(), "x")
            assert said in both
            assert read_index_file(SOURCE, root) == said
    assert n_killed > 20 or by == "time"


def test_leftovers_of_a_killed_process_are_removed(root: Path) -> None:
    """An unfinished file is left to whoever writes it, but not for ever."""
    folder = root / ".confusius" / "index"
    for name in ("new.sqlite.part", "old.sqlite.part"):
        (folder / name).write_text("unfinished")
    os.utime(folder / "old.sqlite.part", (0, 0))
    write_index_file(SOURCE, root, make_index(50, run=2))
    read_index_file(SOURCE, root)

    names = {path.name for path in folder.iterdir()}
    assert names == {"new.sqlite.part", "signature.json", kept_file(root).name}
