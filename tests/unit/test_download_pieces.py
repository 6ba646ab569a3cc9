"""Partial files, hashes, checks on disk, and what is said of them."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import threading
import time
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from builders import entry_of
from confusius_datasets._cache import Folder, FoldersBelow, LockState
from confusius_datasets._download import FileFinished, plan_download, run_plan, verify_files
from confusius_datasets._download.partial import (
    ABANDONED_S,
    BATCH_NBYTES,
    BackgroundHash,
    PartialFile,
    find_leftovers,
)
from confusius_datasets._download.plan import SMALL_NBYTES
from confusius_datasets._download.run import FileLocks, lock_name
from confusius_datasets._download.wording import word_disk, word_failures, word_mismatch
from confusius_datasets._index import FileEntry, LocalVersion, new_hash
from confusius_datasets._sources import DirectorySource, get_client
from confusius_datasets.errors import (
    CacheError,
    ChecksumError,
    DownloadsFailedError,
    NotEnoughSpaceError,
    RemoteNotFoundError,
)
from descriptors import list_open

DATA = bytes(range(256)) * 40


def describe(data: bytes, relpath: str = "sub-01/a.nii.gz", *, checksum: bool = True) -> FileEntry:
    """Make the entry of some bytes."""
    return entry_of(relpath, data, checksum=checksum)


def leave(folder: Path, entry: FileEntry, data: bytes) -> Path:
    """Leave a partial file behind, as a call that was interrupted does."""
    with PartialFile(Folder.at(folder), entry) as partial:
        partial.write(data)
    return partial.path


def test_partial_file_that_cannot_be_begun_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A system that has no thread for its hash is one case; the next writer starts afresh."""
    entry = replace(describe(DATA), size=1 << 30)
    folder = Folder.at(tmp_path / "partial", make=True)

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError, match="new thread") as caught:
        PartialFile(folder, entry)
    folder.close()

    assert list(folder.path.iterdir()) == []
    assert list_open(tmp_path) == [], caught


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [
        ("md5", hashlib.md5(DATA, usedforsecurity=False).hexdigest()),
        ("sha256", hashlib.sha256(DATA).hexdigest()),
        ("sha512", hashlib.sha512(DATA).hexdigest()),
        ("crc32", f"{zlib.crc32(DATA):08x}"),
        ("git", hashlib.sha1(b"blob 10240\0" + DATA, usedforsecurity=False).hexdigest()),
    ],
)
def test_hash_of_pieces_is_that_of_the_whole(algorithm: str, expected: str) -> None:
    """Every algorithm an index may name is computed as bytes arrive."""
    digest = new_hash(algorithm, len(DATA))
    for offset in range(0, len(DATA), 1000):
        digest.update(DATA[offset : offset + 1000])

    assert digest.hexdigest() == expected


def test_git_hash_is_that_of_git() -> None:
    """The id that `git hash-object` gives a file with `hello` and a newline."""
    digest = new_hash("git", 6)
    digest.update(b"hello\n")

    assert digest.hexdigest() == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_partial_file_that_is_whole_is_placed_with_its_folders(tmp_path: Path) -> None:
    """The partial file becomes the file, and nothing else is left."""
    folder, root = tmp_path / "partial", tmp_path / "root"
    folder.mkdir()
    with PartialFile(Folder.at(folder), describe(DATA)) as partial:
        partial.write(DATA)
        partial.check()
        partial.place(FoldersBelow(root))

    assert (root / "sub-01" / "a.nii.gz").read_bytes() == DATA
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("data", [DATA[:-1], DATA + b"x", DATA[:-1] + b"?"])
def test_partial_file_that_is_not_as_promised_is_refused(tmp_path: Path, data: bytes) -> None:
    """Length and checksum are those of the index, or the file is none."""
    with PartialFile(Folder.at(tmp_path), describe(DATA)) as partial, pytest.raises(ChecksumError):
        partial.write(data)
        partial.check()


def test_partial_file_of_a_dead_writer_is_taken_over(tmp_path: Path) -> None:
    """What an interrupted call left is hashed again and gone on with; the largest counts."""
    entry = describe(DATA)
    leave(tmp_path, entry, DATA[:100])
    first = leave(tmp_path, entry, DATA[100:]).stat().st_size  # took over what there was
    assert first == len(DATA)

    with PartialFile(Folder.at(tmp_path), entry) as partial:
        partial.check()
        assert partial.resumed

    assert len(list(tmp_path.iterdir())) == 1


def test_partial_file_of_a_living_writer_is_left_alone(tmp_path: Path) -> None:
    """Two writers of the same file have a partial file each."""
    entry = describe(DATA)
    with PartialFile(Folder.at(tmp_path), entry) as first:
        first.write(DATA[:100])
        with PartialFile(Folder.at(tmp_path), entry) as second:
            assert second.position == 0
            assert second.path != first.path


@pytest.mark.parametrize(("age_s", "position"), [(0.0, 0), (2 * ABANDONED_S, 100)])
def test_partial_file_of_another_machine_is_copied_when_it_is_old(
    tmp_path: Path, age_s: float, position: int
) -> None:
    """Whether a writer elsewhere is alive cannot be known: after long silence a copy is taken."""
    entry = describe(DATA)
    path = leave(tmp_path, entry, DATA[:100])
    key, _, _ = path.name.partition(".")
    elsewhere = path.rename(tmp_path / f"{key}.0123456789ab-1-0123456789ab.part")
    os.utime(elsewhere, (time.time() - age_s,) * 2)

    with PartialFile(Folder.at(tmp_path), entry) as partial:
        assert partial.position == position


def test_partial_file_without_checksum_is_not_kept(tmp_path: Path) -> None:
    """Where nothing would vouch for it, what an earlier call received is of no use."""
    leave(tmp_path, describe(DATA, checksum=False), DATA[:100])

    assert list(tmp_path.iterdir()) == []


def leave_tagged(folder: Path, etag: str, data: bytes) -> Path:
    """Leave a partial file of a host without checksums behind."""
    with PartialFile(Folder.at(folder), describe(DATA, checksum=False)) as partial:
        partial.note_etag(etag)
        partial.write(data)
    return partial.path


@pytest.mark.parametrize("etag", ['"5d41402a-3"', '"a/b.c-d ?"', f'"{"x" * 80}"'])
def test_partial_file_with_entity_tag_is_kept_under_it(tmp_path: Path, etag: str) -> None:
    """The tag stands in the name, and whoever takes the file over asks with it."""
    entry = describe(DATA, checksum=False)
    leave_tagged(tmp_path, etag, DATA[:100])

    assert find_leftovers(Folder.at(tmp_path), [entry]) == {entry.relpath: 100}
    with PartialFile(Folder.at(tmp_path), entry) as partial:
        assert (partial.position, partial.etag, partial.resumed) == (100, etag, True)
        partial.write(DATA[100:])
        partial.check()


@pytest.mark.parametrize("etag", [f'"{"x" * 200}"', '"é"', None])
def test_partial_file_whose_tag_does_not_fit_a_name_is_not_kept(
    tmp_path: Path, etag: str | None
) -> None:
    """Without a tag to ask with, a later call begins anew."""
    with PartialFile(Folder.at(tmp_path), describe(DATA, checksum=False)) as partial:
        partial.note_etag(etag)
        partial.write(DATA[:100])
        assert partial.etag is None

    assert list(tmp_path.iterdir()) == []


def test_partial_file_of_another_tag_than_the_listings_is_cleared_away(tmp_path: Path) -> None:
    """Where the listing has a tag, only a partial file of that one is resumed."""
    leave_tagged(tmp_path, '"older"', DATA[:100])
    entry = replace(describe(DATA, checksum=False), etag='"newer"')

    with PartialFile(Folder.at(tmp_path), entry) as partial:
        assert (partial.position, partial.etag) == (0, None)
    assert list(tmp_path.iterdir()) == []


def test_partial_file_with_tag_of_another_machine_is_cleared_away(tmp_path: Path) -> None:
    """A crash may have lost bytes that no checksum would miss."""
    path = leave_tagged(tmp_path, '"tag"', DATA[:100])
    key, _, _ = path.name.partition(".")
    elsewhere = path.rename(tmp_path / f"{key}.0123456789ab-1-0123456789ab.part")
    os.utime(elsewhere, (time.time() - 2 * ABANDONED_S,) * 2)

    with PartialFile(Folder.at(tmp_path), describe(DATA, checksum=False)) as partial:
        assert partial.position == 0
    assert list(tmp_path.iterdir()) == []


def test_partial_file_begun_anew_takes_the_tag_of_the_new_content(tmp_path: Path) -> None:
    """What is in the name is always the tag of the bytes that follow it."""
    entry = describe(DATA, checksum=False)
    leave_tagged(tmp_path, '"older"', DATA[:100])
    with PartialFile(Folder.at(tmp_path), entry) as partial:
        partial.restart()
        partial.note_etag('"newer"')
        partial.write(DATA[:7])

    with PartialFile(Folder.at(tmp_path), entry) as partial:
        assert (partial.position, partial.etag) == (7, '"newer"')


def test_leftovers_are_found_by_their_file(tmp_path: Path) -> None:
    """Bytes that are here are counted for the file they belong to."""
    entry, other = describe(DATA), describe(DATA, "sub-02/b.nii.gz")
    leave(tmp_path, entry, DATA[:100])

    assert find_leftovers(Folder.at(tmp_path), [entry, other]) == {entry.relpath: 100}
    (tmp_path / "empty").mkdir()
    assert find_leftovers(Folder.at(tmp_path / "empty"), [entry]) == {}


def test_verify_tells_what_is_whole_from_what_is_not(tmp_path: Path) -> None:
    """Each file is compared with its entry, whatever kind of fault it has."""
    older = describe(b"older")
    entries = {
        "whole": describe(DATA, "whole"),
        "missing": describe(DATA, "missing"),
        "changed": describe(DATA, "changed"),
        "short": describe(DATA, "short", checksum=False),
        "unsaid": FileEntry("unsaid"),
        "outdated": FileEntry(
            "outdated", 1, older.checksums, local=LocalVersion(None, describe(DATA).checksums)
        ),
        "folder": describe(DATA, "folder"),
        "unrecorded": FileEntry("unrecorded", 1, older.checksums, local=LocalVersion(len(DATA))),
    }
    for name in ("whole", "unsaid", "outdated", "unrecorded"):
        (tmp_path / name).write_bytes(DATA)
    (tmp_path / "changed").write_bytes(DATA[:-1] + b"?")
    (tmp_path / "short").write_bytes(DATA[:-1])
    (tmp_path / "folder").mkdir()

    assert verify_files(entries.values(), tmp_path) == {
        "whole": "ok",
        "missing": "missing",
        "changed": "corrupt",
        "short": "corrupt",
        "unsaid": "ok",
        "outdated": "outdated",
        "folder": "corrupt",
        "unrecorded": "outdated",  # its size is all that was known of it
    }


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_disk_or_quota_that_is_full_is_a_lack_of_space(number: int) -> None:
    """A quota is a full disk to its user."""
    error = word_disk(Path("root/a"), OSError(number, os.strerror(number)))

    assert isinstance(error, NotEnoughSpaceError)
    assert os.strerror(number) in str(error)
    assert "Free some space" in str(error)


def test_disk_that_may_not_be_written_names_the_ways_out() -> None:
    """The message says which file, why, and what else to choose."""
    error = word_disk(Path("root/a"), PermissionError(errno.EACCES, "Permission denied"))

    assert type(error) is CacheError
    assert str(error) == (
        f"{Path('root/a')} cannot be written: Permission denied. Finished files are kept. Make the "
        "folder writable, or choose another one with data_dir= or CONFUSIUS_DATA."
    )


def test_mismatch_is_worded_with_both_facts() -> None:
    """The message has the file, what came, what was promised, from where, and what to do."""
    error = word_mismatch(describe(b""), "md5 aa", "md5 bb", url="https://osf.io/download/x/")

    assert str(error) == (
        "sub-01/a.nii.gz: received md5 bb, the index says md5 aa (from https://osf.io/download/x/)."
        " Nothing was written. Fetch again; if it repeats, the index is out of date: pass "
        "refresh=True."
    )


def test_failures_are_worded_with_their_reasons() -> None:
    """One error names the folder, each file, its reason, and what was not tried."""
    error = word_failures(
        Path("root"), {"a": RemoteNotFoundError("gone", url="u")}, n_files=5, n_untried=2
    )

    assert str(error) == (
        "1 of 5 files could not be downloaded to root:\n"
        "  a: gone\n"
        "  2 files more were not tried, since the host keeps failing.\n"
        "What was finished is kept; the same call tries the rest again."
    )


def test_hash_in_the_background_is_that_of_all_bytes_in_order() -> None:
    """Pieces smaller and larger than what is handed over at a time; one may ask more than once."""
    data = random.Random(0).randbytes(3 * BATCH_NBYTES + 17)
    hash_ = BackgroundHash(new_hash("sha256"))

    for start in range(0, 1000, 10):
        hash_.update(data[start : start + 10])
    beginning = hash_.hexdigest()
    hash_.update(data[1000:-5])
    hash_.update(data[-5:])
    whole = hash_.hexdigest()
    hash_.close()

    assert beginning == hashlib.sha256(data[:1000]).hexdigest()
    assert whole == hashlib.sha256(data).hexdigest()
    assert not any(thread.name == "download-hash" for thread in threading.enumerate())


def test_locks_of_small_files_are_shared_within_a_plan_only(tmp_path: Path) -> None:
    """A plan's files with one lock do not wait for each other; another plan waits for the last."""
    entries = [describe(b"x", f"sub-{number:02d}.json") for number in range(40)]
    names = {lock_name(entry) for entry in entries}
    ours, others = FileLocks(tmp_path, entries), FileLocks(tmp_path, entries)

    for entry in entries[:-1]:
        with ours.hold(entry) as held, others.hold(entry) as theirs:
            assert (held, theirs) == (LockState.HELD, LockState.TAKEN)
    with others.hold(entries[-1]) as theirs:
        assert theirs is LockState.TAKEN  # the last of its lock is still to come
    ours.release()
    with others.hold(entries[0]) as theirs:
        assert theirs is LockState.HELD
    others.release()

    assert len(names) <= 16
    assert lock_name(describe(b"x" * (SMALL_NBYTES + 1), "a")) != lock_name(
        describe(b"x" * (SMALL_NBYTES + 1), "b")
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no such links and pipes")
@pytest.mark.parametrize("planted", ["link", "hard link", "pipe", "folder", "too long"])
def test_what_somebody_planted_is_no_leftover(planted: str, tmp_path: Path) -> None:
    """In a shared cache, nothing is written through a link, or read from a pipe for ever."""
    victim = tmp_path / "thesis.txt"
    victim.write_text("years of work")
    folder = tmp_path / "partial"
    folder.mkdir()
    path = leave(folder, describe(DATA), DATA[:20])
    content = path.read_bytes()
    path.unlink()
    {
        "link": lambda: path.symlink_to(victim),
        "hard link": lambda: path.hardlink_to(victim),
        "pipe": lambda: os.mkfifo(path),
        "folder": lambda: path.mkdir(),
        "too long": lambda: path.write_bytes(content + DATA),
    }[planted]()

    with PartialFile(Folder.at(folder), describe(DATA)) as partial:
        resumed = partial.resumed
        partial.write(DATA)
        partial.check()
        partial.place(FoldersBelow(tmp_path / "root"))

    assert not resumed
    assert (tmp_path / "root" / "sub-01" / "a.nii.gz").read_bytes() == DATA
    assert victim.read_text() == "years of work"


def test_number_of_untried_files_is_never_negative(tmp_path: Path) -> None:
    """A file that is at its place and then fails, in whoever is told, is not counted twice."""
    entries = [describe(b"x", "a"), describe(b"y", "b")]

    def fail_at_the_end(event: object) -> None:
        if isinstance(event, FileFinished):
            raise CacheError("the window is gone")

    (tmp_path / "host").mkdir()
    for each, data in zip(entries, (b"x", b"y"), strict=True):
        (tmp_path / "host" / each.relpath).write_bytes(data)
    plan = plan_download(entries, tmp_path / "root")

    with pytest.raises(DownloadsFailedError) as caught:
        run_plan(
            plan,
            DirectorySource(tmp_path / "host"),
            get_client(),
            on_event=fail_at_the_end,
        )
    assert "more were not tried" not in str(caught.value)
    assert (tmp_path / "root" / "a").read_bytes() == b"x"
