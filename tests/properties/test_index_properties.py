"""Rules of the index that hold whatever comes in."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confusius_datasets._cache import files
from confusius_datasets._index import Checksum, DatasetIndex, FileEntry, LocalVersion
from confusius_datasets._paths import check_relpath
from confusius_datasets._sources.osf import OSF_FORMAT
from confusius_datasets._sources.records import parse_json_object
from confusius_datasets.errors import DatasetIndexError, UnsafePathError

parts = st.text(st.characters(codec="utf-8", exclude_characters="/\\\x00"), min_size=1, max_size=8)
relpaths = st.lists(parts, min_size=1, max_size=4).map("/".join)
hostile = st.text(alphabet="ab./\\:C~ \x00\n", max_size=12)
digests = st.text(alphabet="0123456789abcdef", min_size=32, max_size=32)
md5s = digests.map(lambda digest: (Checksum("md5", digest),))
crcs = digests.map(lambda digest: (Checksum("crc32", digest[:8]),))
checksums = st.just(()) | md5s | crcs | st.tuples(md5s, crcs).map(lambda both: both[0] + both[1])
sizes = st.none() | st.integers(0, 2**50)
hosts = st.dictionaries(st.sampled_from(["osf", "s3"]), st.text(min_size=1, max_size=5))
etags = st.none() | st.text(min_size=1, max_size=5)
locals_ = st.none() | st.builds(LocalVersion, sizes, checksums)
entries = st.builds(FileEntry, relpaths, sizes, checksums, etags, hosts, locals_)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@pytest.mark.slow
@given(hostile | relpaths)
def test_path_let_through_stays_below_the_root_everywhere(relpath: str) -> None:
    """What passes the check is below the root for POSIX and for Windows."""
    try:
        check_relpath(relpath)
    except UnsafePathError:
        return

    posix, windows = PurePosixPath(relpath), PureWindowsPath(relpath)
    assert not posix.is_absolute()
    assert not windows.is_absolute()
    assert not windows.drive
    assert ".." not in posix.parts
    assert ".." not in windows.parts
    assert Path("/root", relpath).is_relative_to("/root")
    assert relpath.split("/") == list(windows.parts)


@pytest.mark.slow
@given(st.lists(entries, max_size=8))
def test_format_then_parse_gives_the_same_index(listed: list[FileEntry]) -> None:
    """Writing and reading an index changes nothing."""
    try:
        for entry in listed:
            check_relpath(entry.relpath)
        index = DatasetIndex(listed)
    except DatasetIndexError:
        return

    again = OSF_FORMAT.read(OSF_FORMAT.format(index), "x")

    assert again == index.restricted(lambda relpath: relpath != "dataset_index.json")


@pytest.mark.slow
@given(st.dictionaries(relpaths | hostile, json_values, max_size=4))
def test_any_json_is_read_or_refused_by_our_error(document: dict[str, object]) -> None:
    """No input leads to an error of another kind."""
    try:
        OSF_FORMAT.read(json.dumps(document), "x")
    except DatasetIndexError as error:
        assert "x" in str(error)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused_by_our_error(data: bytes) -> None:
    """Neither do bytes that are no JSON."""
    try:
        OSF_FORMAT.read(data, "x")
    except DatasetIndexError as error:
        assert "x" in str(error)


odd_texts = st.text(
    st.characters(min_codepoint=0xD7FE, max_codepoint=0xD802, exclude_categories=())
    | st.sampled_from("a/é\x00"),
    max_size=4,
)
usual_facts = st.fixed_dictionaries(
    {"size": st.integers(0, 2**50), "md5": digests, "osf_path": st.just("/a")}
)
odd_facts = st.fixed_dictionaries(
    {},
    optional={
        "size": sizes | st.just(True) | st.just(2**70) | st.floats(),
        "md5": digests | digests.map(str.upper) | st.just("0" * 31 + " ") | st.none() | odd_texts,
        "osf_path": st.sampled_from(["/a", ""]) | odd_texts | st.none(),
        "sha256": digests.map(lambda digest: digest * 2) | st.just("x"),
        "etag": odd_texts | st.integers(),
        "locators": st.dictionaries(odd_texts, odd_texts, max_size=2),
        "newer": st.fixed_dictionaries({"size": sizes}, optional={"md5": digests}) | st.none(),
        "superseded": st.fixed_dictionaries({"md5": digests}),
        "other": json_values,
    },
)
# Mostly right, but for a fact or two: what is wrong in many places is refused for the first.
facts = st.builds(
    lambda usual, odd, keys: usual | {key: odd[key] for key in list(odd)[:keys]},
    usual_facts,
    odd_facts,
    st.integers(0, 2),
)


@given(
    st.dictionaries(relpaths | st.sampled_from(["A", "a", "a/b"]) | odd_texts, facts, max_size=3),
    st.booleans(),
    st.sampled_from([20, 100, 1 << 20]),
)
def test_index_that_is_read_in_pieces_is_what_it_is_as_a_whole(
    document: dict[str, object], escaped: bool, block_nbytes: int
) -> None:
    """The quick way takes nothing that the careful one refuses, and makes the same of the rest."""
    text = json.dumps(document, ensure_ascii=escaped, indent=2)
    data = text.encode(errors="surrogatepass")

    def read(how: Callable[[], DatasetIndex]) -> object:
        try:
            return list(how().values())
        except (DatasetIndexError, UnsafePathError) as error:
            return type(error), str(error)

    whole = read(lambda: OSF_FORMAT.parse(parse_json_object(data, "x"), "x"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "BLOCK_NBYTES", block_nbytes)
        assert read(lambda: OSF_FORMAT.read(data, "x")) == whole


@pytest.mark.slow
@given(
    st.dictionaries(st.sampled_from("abcdef"), checksums),
    st.dictionaries(st.sampled_from("abcdef"), checksums),
    st.sets(st.sampled_from("abcdef")),
)
def test_merge_loses_no_local_file_and_is_idempotent(
    old: dict[str, tuple[Checksum, ...]], new: dict[str, tuple[Checksum, ...]], here: set[str]
) -> None:
    """Everything the host lists and everything on disk is in the merged index, once and for all."""
    before = DatasetIndex(
        FileEntry(path, 1, found, None, {"osf": "/o"}) for path, found in old.items()
    )
    newest = DatasetIndex(
        FileEntry(path, 1, found, None, {"osf": "/n"}) for path, found in new.items()
    )

    merged = before.merged(newest, on_disk=here.__contains__)

    assert set(merged) == set(newest) | (set(before) & here)
    assert all(merged[path].locators == {"osf": "/n"} for path in newest)
    assert merged.merged(newest, on_disk=here.__contains__) == merged
