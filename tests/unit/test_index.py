"""The index of a dataset: read as untrusted input, written atomically, merged without loss."""

from __future__ import annotations

import json
import os
import pickle
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from builders import MD5
from builders import make_entry as entry
from confusius_datasets._index import Checksum, DatasetIndex, FileEntry, LocalVersion
from confusius_datasets._paths import check_relpath, resolve_below
from confusius_datasets._sources import OSFSource, S3Source, read_index_file, write_index_file
from confusius_datasets._sources.osf import OSF_FORMAT
from confusius_datasets._sources.records import JsonFormat, make_index
from confusius_datasets._text import format_nbytes
from confusius_datasets.errors import DatasetIndexError, UnsafePathError

OTHER = "f" * 32
SOURCE = OSFSource("43skw", "small-bids")


def test_from_json_reads_the_schema_with_and_without_md5() -> None:
    """An entry may lack its md5, and its size may be null."""
    text = json.dumps(
        {
            "b.json": {"osf_path": "/66aa", "size": None},
            "a.json": {"osf_path": "/66bb", "size": 3, "md5": MD5.upper()},
            "dataset_index.json": {"osf_path": "/66cc", "size": 3},
        }
    )

    index = OSF_FORMAT.read(text, "x")

    assert list(index.values()) == [
        FileEntry("a.json", 3, (Checksum("md5", MD5),), locators={"osf": "/66bb"}),
        FileEntry("b.json", locators={"osf": "/66aa"}),
    ]
    assert index.nbytes == 3


def test_to_json_is_sorted_indented_and_ends_a_line() -> None:
    """The file is the one other readers of this index know, which want every key."""
    text = OSF_FORMAT.format(DatasetIndex([entry("b"), entry("a", size=None, md5=None)])).decode()

    assert (
        text
        == json.dumps(
            {
                "a": {"md5": None, "osf_path": "/abc", "size": None},
                "b": {"md5": MD5, "osf_path": "/abc", "size": 1},
            },
            indent=2,
        )
        + "\n"
    )


@pytest.mark.parametrize(
    ("relpath", "reason"),
    [
        ("", "is empty"),
        ("/etc/passwd", "is absolute"),
        ("../x", "climbs"),
        ("a/../../x", "climbs"),
        ("C:/x", "drive letter"),
        ("c:x", "drive letter"),
        ("a\\b", "backslash"),
        ("/".join(["x" * 200] * 11), "longer than any system allows"),
        ("\\\\host\\share", "backslash"),
        ("a//b", "empty or"),
        ("a/", "empty or"),
        ("./a", "empty or"),
        ("a\x00b", "control character"),
        ("a\nb", "control character"),
        (".confusius/partial/x", "kept for partial files"),
        (".Confusius/x", "kept for partial files"),
        ("Dataset_Index.json", "stands where the index belongs"),
        ("dataset_index.json/x", "stands where the index belongs"),
        ("\ud800", "cannot be encoded"),
    ],
)
def test_hostile_path_is_refused_by_name(relpath: str, reason: str) -> None:
    """A path that would leave the root is an error that names the entry and where it stands."""
    text = json.dumps({"good.json": {"osf_path": "/a", "size": 1}, relpath: {"osf_path": "/a"}})

    with pytest.raises(UnsafePathError, match=reason) as caught:
        OSF_FORMAT.read(text, "https://host/index")

    assert repr(relpath)[:50] in str(caught.value)
    assert str(caught.value).startswith("https://host/index: ")


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ("[]", "holds a JSON list"),
        ('{"a": {"osf_path": "/x"', "not a whole JSON document"),
        ("", "not a whole JSON document"),
        ('{"a": 3}', "'a' must be an object"),
        ('{"a": {"osf_path": 3}}', "'a' has a 'osf_path' that must be text"),
        ('{"a": {"size": "3"}}', "'a' has a 'size'"),
        ('{"a": {"size": -1}}', "'a' has a 'size'"),
        ('{"a": {"size": true}}', "'a' has a 'size'"),
        ('{"a": {"size": 1.5}}', "'a' has a 'size'"),
        ('{"a": {"md5": "xyz"}}', "'a' has an 'md5'"),
        ('{"a": {"md5": 3}}', "'a' has an 'md5'"),
        ('{"a": {}, "a": {}}', "'a' comes twice"),
        ('{"a/B": {}, "a/b": {}}', "'a/B' and 'a/b' are the same file"),
        ('{"\u00e9": {}, "e\u0301": {}}', "are the same file"),
        ('{"\u00e9": {}, "e\u0301/b": {}}', "runs through"),
        ('{"a": {}, "a/b": {}}', "'a/b' runs through 'a'"),
        ('{"A": {}, "a/b/c": {}}', "'a/b/c' runs through 'A'"),
        ("[" * 100_000, "not a whole JSON document"),
    ],
)
def test_damaged_index_is_refused_by_entry(document: str, reason: str) -> None:
    """What is not of the schema is an error that names the entry and the fault."""
    with pytest.raises(DatasetIndexError, match=reason):
        OSF_FORMAT.read(document, "x")


def test_bytes_that_are_no_text_are_refused() -> None:
    """An HTML page or a binary file in the index's place is an error of the index."""
    with pytest.raises(DatasetIndexError, match="not a whole JSON document"):
        OSF_FORMAT.read(b"\xff\xfe\x00<html>", "x")


def test_read_of_a_damaged_file_says_how_to_renew_it(tmp_path: Path) -> None:
    """The message about a file on disk names it and the way out."""
    path = tmp_path / "dataset_index.json"
    path.write_text("{")

    with pytest.raises(DatasetIndexError, match=r"dataset_index\.json is .* refresh=True"):
        read_index_file(SOURCE, tmp_path)


def test_merge_adds_what_is_new_and_keeps_what_is_here() -> None:
    """Removed files stay while they are on disk; new ones are added; others are forgotten."""
    old = DatasetIndex([entry("here"), entry("gone"), entry("gone-but-here")])
    new = DatasetIndex([entry("here"), entry("new")])

    merged = old.merged(new, on_disk={"here", "gone-but-here"}.__contains__)

    assert list(merged) == ["gone-but-here", "here", "new"]


def test_merge_remembers_the_version_on_disk_until_it_is_the_newest() -> None:
    """A changed file gets its new record and keeps the old checksum, over several refreshes."""
    old = DatasetIndex([entry("a"), entry("b")])
    new = DatasetIndex([entry("a", md5=OTHER), entry("b", md5=OTHER)])

    once = old.merged(new, on_disk={"a"}.__contains__)
    twice = once.merged(new, on_disk={"a"}.__contains__)
    back = twice.merged(old, on_disk={"a"}.__contains__)

    assert old.changed(new) == ["a", "b"]
    assert once.changed(new) == ["a"]  # still not the newest
    assert once.changed(old) == ["b"]  # the host took the change back, and "a" is here unchanged
    assert once["a"].checksum == Checksum("md5", OTHER)
    assert once["a"].local == LocalVersion(1, (Checksum("md5", MD5),))
    assert once["a"].local_checksum == Checksum("md5", MD5)
    assert once["b"].local is None
    assert twice == once
    assert back["a"].local is None
    assert OSF_FORMAT.read(OSF_FORMAT.format(once), "x") == once


def refresh_as_confusius(
    cached: dict[str, dict[str, Any]], remote: dict[str, dict[str, Any]]
) -> list[str]:
    """Say which files on disk ConfUSIus downloads again: those whose recorded md5 differs."""
    return [
        relpath
        for relpath, record in remote.items()
        if record["md5"] and cached.get(relpath, {}).get("md5") != record["md5"]
    ]


def test_refresh_leaves_an_index_by_which_confusius_renews_stale_files() -> None:
    """`md5` and `size` are those of what is on disk, and what the host has now stands apart."""
    old = DatasetIndex([entry("a", size=3), entry("b", size=3)])
    new = DatasetIndex([entry("a", size=4, md5=OTHER), entry("b", size=3)])

    merged = old.merged(new, on_disk=lambda relpath: True)

    cached = json.loads(OSF_FORMAT.format(merged))
    assert cached["a"] == {
        "osf_path": "/abc",
        "size": 3,
        "md5": MD5,
        "newer": {"size": 4, "md5": OTHER},
    }
    assert refresh_as_confusius(cached, json.loads(OSF_FORMAT.format(new))) == ["a"]


def test_checksum_that_is_not_known_of_the_local_file_is_not_claimed() -> None:
    """Of a file recorded without md5, the host's is written only if it was found to be the same."""
    old = DatasetIndex([entry("a", md5=None)])
    new = DatasetIndex([entry("a")])

    unknown = old.merged(new, on_disk=lambda relpath: True)
    hashed = old.merged(new, on_disk=lambda relpath: True, is_same=lambda entry: True)

    assert json.loads(OSF_FORMAT.format(unknown))["a"]["md5"] is None
    assert unknown["a"].checksum == Checksum("md5", MD5)
    assert hashed == new


def test_index_of_an_earlier_version_is_read() -> None:
    """There, the newer md5 stood in its place and the one on disk apart."""
    text = {"a": {"osf_path": "/abc", "size": 4, "md5": OTHER, "superseded": {"md5": MD5}}}

    index = OSF_FORMAT.read(json.dumps(text), "x")

    assert index["a"].checksum == Checksum("md5", OTHER)
    assert index["a"].local == LocalVersion(None, (Checksum("md5", MD5),))
    assert json.loads(OSF_FORMAT.format(index))["a"]["md5"] == MD5


def test_locators_of_several_hosts_are_kept_apart() -> None:
    """The host's own locator has its own key; another host's is not taken for it."""
    both = {"osf": "/abc", "s3": "1.0.0/a.nii"}
    index = DatasetIndex([FileEntry("a.nii", 3, locators=both)])

    own = json.loads(OSF_FORMAT.format(index))["a.nii"]
    others = json.loads(JsonFormat(host="zip").format(index))["a.nii"]

    assert (own["osf_path"], own["locators"]) == ("/abc", {"s3": "1.0.0/a.nii"})
    assert "osf_path" not in others
    assert OSF_FORMAT.read(OSF_FORMAT.format(index), "x") == index


def test_strongest_checksum_that_can_be_computed_counts() -> None:
    """Of several the first is compared; the id of a git blob needs the size."""
    git, md5 = Checksum("git", "0" * 40), Checksum("md5", MD5)

    assert FileEntry("a", 3, (git, md5)).checksum == git
    assert FileEntry("a", None, (git, md5)).checksum == md5
    assert FileEntry("a", None, (git,)).checksum is None


def test_changed_needs_both_checksums_or_sizes() -> None:
    """What is not known on both sides is not called changed."""
    old = DatasetIndex([entry("a", md5=None), entry("b", md5=None, size=None), entry("c", size=1)])
    new = DatasetIndex([entry("a"), entry("b", size=9), entry("c", size=9)])

    assert old.changed(new) == []
    assert DatasetIndex([entry("a", md5=None)]).changed(DatasetIndex([entry("a", size=2)])) == ["a"]


def test_write_leaves_a_file_that_says_the_same_alone(tmp_path: Path) -> None:
    """What was made from the index stays younger than it, and a read-only folder will do."""
    path = tmp_path / "dataset_index.json"
    index = DatasetIndex([entry("a")])
    write_index_file(SOURCE, tmp_path, index)
    os.utime(path, (0, 0))

    write_index_file(SOURCE, tmp_path, index)
    same = path.stat().st_mtime
    write_index_file(SOURCE, tmp_path, DatasetIndex([entry("b")]))

    assert same == 0
    assert path.stat().st_mtime > 0
    assert list(read_index_file(SOURCE, tmp_path)) == ["b"]


def test_index_pickles_and_compares_by_value() -> None:
    """A copy in another process is the same index."""
    index = DatasetIndex([entry("a")])

    assert pickle.loads(pickle.dumps(index)) == index  # noqa: S301 - our own bytes
    assert repr(index) == "<DatasetIndex of 1 files, 1 bytes>"


def test_resolve_below_refuses_a_link_that_leaves_the_root(tmp_path: Path) -> None:
    """A folder that is a symbolic link to elsewhere is not written through; one inside is."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "real").mkdir(parents=True)
    outside.mkdir()
    (root / "out").symlink_to(outside)
    (root / "in").symlink_to(root / "real")

    assert resolve_below(root, "in/file") == root / "in" / "file"
    with pytest.raises(UnsafePathError, match="symbolic link that leads out of"):
        resolve_below(root, "out/file")


def test_resolve_below_a_root_that_is_a_link_itself(tmp_path: Path) -> None:
    """A lab may reach its cache through a link."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")

    assert resolve_below(tmp_path / "link", "a/b") == tmp_path / "link" / "a" / "b"


@pytest.mark.parametrize("relpath", ["a", "a/b.nii.gz", "ä ö/(x) & y.tsv", ".bidsignore", "a..b/c"])
def test_ordinary_path_is_let_through(relpath: str) -> None:
    """Spaces, letters of any script, brackets and inner dots are all fine."""
    check_relpath(relpath)


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 KB"),
        (5_507_550, "5.508 MB"),
        (12_883_924_421, "12.88 GB"),
        (2_500_000_000_000_000, "2500 TB"),
    ],
)
def test_sizes_have_four_significant_digits(nbytes: int, text: str) -> None:
    """SI units, trailing zeros dropped, TB being the last."""
    assert format_nbytes(nbytes) == text


@pytest.mark.parametrize("extra", [0, 1])
def test_path_may_have_100_parts_and_no_more(extra: int) -> None:
    """Deeper ones are refused when an entry is read, with words that do not repeat them."""
    relpath = "/".join(["a"] * (100 + extra))
    text = json.dumps({relpath: {"osf_path": "/1", "size": 1, "md5": MD5}})

    if not extra:
        assert list(OSF_FORMAT.read(text, "x")) == [relpath]
        assert list(DatasetIndex([entry(relpath)])) == [relpath]
        return
    for read in (lambda: OSF_FORMAT.read(text, "x"), lambda: DatasetIndex([entry(relpath)])):
        with pytest.raises(UnsafePathError, match="has more than 100 parts"):
            read()


@pytest.mark.parametrize(
    "relpath",
    ["/".join(["d" * 200] * 11), "x" * 2001, "é" * 1001, "/".join(["é" * 100] * 10)],
    ids=["plain", "name", "letters", "deep letters"],
)
def test_path_that_no_file_system_has_is_refused_when_it_is_read(relpath: str) -> None:
    """The length counts in bytes, and the message is short."""
    text = json.dumps({relpath: {"osf_path": "/1", "size": 1, "md5": MD5}}, indent=2)

    for read in (
        lambda: OSF_FORMAT.read(text, "x"),
        lambda: OSF_FORMAT.read(text.encode() + b" " * (1 << 20), "x"),
        lambda: DatasetIndex([entry(relpath)]),
        lambda: make_index([entry(relpath)], "x"),
    ):
        with pytest.raises(UnsafePathError, match="is longer than any system allows") as caught:
            read()
        assert len(str(caught.value)) < 500


def test_path_of_very_many_parts_is_refused_soon() -> None:
    """The depth is looked at before anything is made of the parts."""
    text = json.dumps({"a/" * 1_000_000 + "b": {"osf_path": "/1", "size": 1, "md5": MD5}})

    with pytest.raises(UnsafePathError, match="has more than 100 parts"):
        OSF_FORMAT.read(text.encode(), "x")


@pytest.mark.parametrize("size", [-1, 2**63, 10**400, 1.5, True, "3", [], float("inf")])
def test_size_that_no_file_has_is_refused_when_it_is_read(size: Any) -> None:
    """Whether an index file says it or the listing of a host."""
    text = json.dumps({"a": {"osf_path": "/1", "size": size, "md5": MD5}})

    for read in (
        lambda: OSF_FORMAT.read(text, "x"),
        lambda: make_index([entry("a", size=size)], "x"),
        lambda: DatasetIndex([entry("a", size=size)]),
    ):
        with pytest.raises(DatasetIndexError, match="a number of bytes"):
            read()


def test_size_of_more_digits_than_python_reads_is_an_error_of_ours() -> None:
    """JSON sets no limit to digits, Python does."""
    text = f'{{"a": {{"osf_path": "/1", "size": {"9" * 10_000}, "md5": "{MD5}"}}}}'

    with pytest.raises(DatasetIndexError):
        OSF_FORMAT.read(text, "x")


def test_largest_size_is_kept_as_it_is(tmp_path: Path) -> None:
    """What fits into 63 bits is a size."""
    index = DatasetIndex([entry("a", size=2**63 - 1), entry("b", size=2**63 - 1)])
    write_index_file(SOURCE, tmp_path, index)

    assert read_index_file(SOURCE, tmp_path) == index
    assert index.nbytes == 2**64 - 2


@pytest.mark.slow
def test_kill_while_an_index_is_written_leaves_the_old_one_or_the_new_one(tmp_path: Path) -> None:
    """At whatever instant the process dies, readers find a whole index."""
    script = (
        "import sys, pathlib\n"
        "from builders import make_entry\n"
        "from confusius_datasets._index import DatasetIndex\n"
        "from confusius_datasets._sources import OSFSource, write_index_file\n"
        "root = pathlib.Path(sys.argv[1])\n"
        "both = [DatasetIndex([make_entry(f'{name}/{n}') for n in range(3000)]) for name in 'ab']\n"
        "print('ready', flush=True)\n"
        "while True:\n"
        "    for index in both:\n"
        "        write_index_file(OSFSource('43skw', 'small-bids'), root, index)\n"
    )
    chance = random.Random(3)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    write_index_file(SOURCE, tmp_path, DatasetIndex([entry(f"a/{n}") for n in range(3000)]))
    for _ in range(10):
        command = [sys.executable, "-c", script, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(chance.uniform(0.0, 0.2))
            process.kill()

        index = read_index_file(SOURCE, tmp_path)
        assert len(index) == 3000
        assert {relpath[0] for relpath in index} in ({"a"}, {"b"})


@pytest.mark.parametrize("url", ["https://[x/datasets/x/1.0/a", "https://h/datasets/y/1.0/a", 3])
def test_address_that_is_none_of_the_release_is_refused(url: object) -> None:
    """Whatever stands for the address of a file in a release, the answer is an error of ours."""
    data = json.dumps({"a": {"url": url, "size": 1, "sha256": "0" * 64}}).encode()

    with pytest.raises(DatasetIndexError, match="'a' has no address of a release of 'x'"):
        S3Source("x", "1.0").read_index(data, "o")
