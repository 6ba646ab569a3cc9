"""The tables of an index tell what the entries and paths told that were written into them."""

from __future__ import annotations

import io
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confusius_datasets._cache import files
from confusius_datasets._entities import dataset_of, described_folders, parse_entities
from confusius_datasets._index import (
    Checksum,
    DatasetIndex,
    FileEntry,
    LocalVersion,
    TableWriter,
    make_tables,
)
from confusius_datasets._paths import check_coexistence, check_relpath
from confusius_datasets._sources import records
from confusius_datasets._sources.osf import OSF_FORMAT
from confusius_datasets._sources.records import JsonFormat
from confusius_datasets.errors import DatasetIndexError, DoubtfulRowsError

FOLDERS = ["sub-01", "sub-1", "Sub-01", "ses-a", "fusi", "func", "x_from-a", "b.zarr", "0", "code"]
FOLDERS += ["derivatives", "glm", "sourcedata", ".git", "sub-02_ses-x", "task-rest", "desc-m", "y"]
STEMS = ["sub-01_", "sub-1_", "ses-a_", "task-rest_", "task-re_", "run-01_", "run-1_", "acq-a+b_"]
STEMS += ["desc-m_", "label-x", "from-T1w_", "to-MNI_", "mode-image_", "mt-on_", "pose-2_", "_"]
ENDS = ["pwd.nii.gz", "pwd.json", "scans.tsv", "xscansXtsv", "xfm.h5", "xfm.txt", ".nii", "pwd", ""]
ENDS += ["epi.nii", "magnitude1.nii.gz", "layout_config.json", "participants.tsv", "a.b.c", "é.txt"]
ENDS += ["dataset_description.json", "desc-n.nii", "run-2"]

names = st.builds(
    "{}{}".format, st.lists(st.sampled_from(STEMS), max_size=5).map("".join), st.sampled_from(ENDS)
)
relpaths = st.builds(
    lambda folders, name: "/".join([*folders, name or "n"]),
    st.lists(st.sampled_from(FOLDERS), max_size=4),
    names | st.sampled_from(FOLDERS),
)
digests = st.text(alphabet="0123456789abcdef", min_size=32, max_size=32)
md5s = digests.map(lambda digest: (Checksum("md5", digest),))
both = digests.map(lambda digest: (Checksum("md5", digest), Checksum("crc32", digest[:8])))
checksums = st.just(()) | md5s | both | st.just((Checksum("md5", "AB"),))
sizes = st.none() | st.integers(0, 3) | st.just(2**63 - 1)
hosts = st.dictionaries(st.sampled_from(["osf", "s3"]), st.sampled_from(["/ab", "é", "\ud800", ""]))
entries = st.builds(
    FileEntry,
    relpaths,
    sizes,
    checksums,
    st.none() | st.just("tag"),
    hosts,
    st.none() | st.builds(LocalVersion, sizes, checksums),
)


def index_or_none(listed: list[FileEntry]) -> DatasetIndex | None:
    """Make an index, if the paths can stand beside each other."""
    try:
        return DatasetIndex(listed)
    except DatasetIndexError:
        return None


def entries_of(index: DatasetIndex) -> dict[str, FileEntry]:
    """Look every entry up by its path."""
    return {relpath: index[relpath] for relpath in index}


@pytest.mark.slow
@given(st.lists(entries, max_size=12))
def test_index_holds_exactly_what_was_put_in(listed: list[FileEntry]) -> None:
    """Whatever an entry has comes back, by path, in order, and in parts; bad paths are refused."""
    index = index_or_none(listed)
    expected = {entry.relpath: entry for entry in sorted(listed, key=lambda one: one.relpath)}

    paths = [entry.relpath for entry in listed]
    if index is None:
        with pytest.raises(DatasetIndexError):
            for path in paths:
                check_relpath(path)
            check_coexistence(sorted(paths), "x")
        return
    assert list(index.items()) == list(expected.items())
    assert list(index) == list(expected)
    assert list(index.values()) == list(expected.values())
    assert entries_of(index) == expected
    assert len(index) == len(expected)
    assert index.nbytes == sum(entry.size or 0 for entry in listed)
    assert index.sizes() == (list(expected), [entry.size for entry in expected.values()])
    part = index.restricted(lambda path: expected[path].size is None)
    assert entries_of(part) == {p: e for p, e in expected.items() if e.size is None}
    assert all((path in part) == (expected[path].size is None) for path in expected)
    assert part == DatasetIndex(part.values())
    assert list(index.entries([*expected, "none"])) == list(expected.values())
    assert list(part.entries(expected)) == list(part.entries(part)) == list(part.values())
    assert list(index.entries(part)) == list(part.values())
    for folder in {path.rpartition("/")[0] for path in paths}:
        here = [path for path in expected if path.rpartition("/")[0] == folder]
        assert set(here) <= {f"{folder}/{name}".lstrip("/") for name in index.names_in(folder)}
        below = [path for path in expected if path.startswith(f"{folder}/")]
        assert [entry.relpath for entry in index.below(folder)] == (below if folder else here)


@pytest.mark.slow
@given(st.lists(entries, max_size=8), st.lists(entries, max_size=8), st.sets(relpaths))
def test_updated_and_changed_agree_with_dictionaries(
    old: list[FileEntry], new: list[FileEntry], others: set[str]
) -> None:
    """Two indexes side by side give what their dictionaries give."""
    one, other = index_or_none(old), index_or_none(new)
    together = index_or_none(list({entry.relpath: entry for entry in [*old, *new]}.values()))
    if one is None or other is None or together is None:
        return

    assert entries_of(one.updated(new)) == {**dict(one), **dict(other)}
    merged = one.merged(other, on_disk=lambda path: path in one, is_same=lambda entry: True)
    assert set(merged) == {*one, *other}
    assert one.changed(one) == [path for path, entry in one.items() if path in one.changed(one)]
    assert not [path for path in others if path not in one and path in one.restricted(bool)]


def labels_in_tables(index: DatasetIndex) -> dict[str, tuple[str | None, dict[str, str]]]:
    """Read the dataset and the entities of every file that queries see from the tables."""
    files = index.tables.rows(
        "SELECT f.id, d.path || iif(d.path = '', '', '/') || iif(n.prefixed, d.prefix, '') "
        "|| n.text, s.path FROM file f JOIN folder d ON d.id = f.folder "
        "JOIN name n ON n.id = f.name JOIN dataset s ON s.id = d.dataset"
    )
    tags = index.tables.rows(
        "SELECT f.id, v.entity, v.text FROM file f JOIN folder_tag t USING (folder) "
        "JOIN value v ON v.id = t.value UNION ALL "
        "SELECT f.id, v.entity, v.text FROM file f JOIN name_tag t USING (name) "
        "JOIN value v ON v.id = t.value"
    )
    found: dict[int, dict[str, str]] = {}
    for number, entity, text in tags:
        assert entity not in found.setdefault(number, {})
        found[number][entity] = text
    for *noted, in_folders, in_names in index.tables.rows(
        "SELECT folders, names, (SELECT count(*) FROM folder_tag WHERE value = v.id), "
        "(SELECT count(*) FROM name_tag WHERE value = v.id) FROM value v"
    ):
        assert noted == [in_folders, in_names] != [0, 0]
    return {name: (dataset, found.get(number, {})) for number, name, dataset in files}


@pytest.mark.slow
@given(st.lists(relpaths, max_size=12))
def test_entities_of_folders_and_names_are_those_of_paths(listed: list[str]) -> None:
    """A folder's entities and a name's make up what the parser finds in the path as a whole."""
    index = index_or_none([FileEntry(path) for path in listed])
    if index is None:
        return

    stores = {f"{path.partition('.zarr/')[0]}.zarr" for path in listed if ".zarr/" in path}
    plain = {path for path in listed if ".zarr/" not in path}
    described = described_folders(listed)
    expected = {
        path: (dataset, parse_entities(path))
        for path in plain | stores
        if (dataset := dataset_of(path, described)) is not None
    }
    assert labels_in_tables(index) == expected


@pytest.mark.slow
@given(st.lists(relpaths, max_size=8), st.lists(relpaths, max_size=8))
def test_files_added_later_are_as_those_written_at_once(first: list[str], later: list[str]) -> None:
    """Files that the index does not have are added to a copy of its tables."""
    index = index_or_none([FileEntry(path) for path in first])
    both = index_or_none([FileEntry(path) for path in {*first, *later}])
    if index is None or both is None or any(".zarr/" in path for path in later):
        return
    if "derivatives/dataset_description.json" in {*first, *later}:
        return  # it changes what files are that are there: then nothing is added

    def fill(connection: sqlite3.Connection) -> None:
        writer = TableWriter(connection, is_checked=True)
        writer.add((path, None, None, None, None) for path in sorted(set(first)))
        writer.finish()
        writer = TableWriter.resume(connection)
        added = sorted(set(later) - set(first))
        writer.add((path, None, None, None, None) for path in added)
        writer.finish()

    again = DatasetIndex.of_tables(make_tables(fill, is_large=False))
    assert labels_in_tables(again) == labels_in_tables(both)
    assert len(again) == len(both)


facts = st.fixed_dictionaries(
    {"size": st.none() | st.integers(0, 9), "osf_path": st.sampled_from(["/a", "/b:c", 'q"', ""])},
    optional={
        "md5": st.none() | digests | digests.map(str.upper) | st.sampled_from(["ab  " * 8, 3]),
        "crc32": st.just("0" * 8),
        "etag": st.just("x"),
        "newer": st.fixed_dictionaries({"size": st.just(1)}),
        "superseded": st.fixed_dictionaries({"md5": digests}),
        "locators": st.fixed_dictionaries({"s3": st.just("k")}),
    },
)
documents = st.dictionaries(
    relpaths | st.sampled_from(["../x", "a\\b", "dataset_index.json"]), facts
)
edits = st.lists(
    st.tuples(
        st.integers(0, 5000),
        st.sampled_from(
            ["", "\n", " ", '"', "{", "}", "\n  },\n", '"a": {}, ', '"size": 1, ', ",", "é", "\\"]
        ),
        st.integers(0, 3),
    ),
    max_size=2,
)


def read(data: bytes) -> object:
    """Read an index, or name the error."""
    try:
        return dict(OSF_FORMAT.read(data, "x"))
    except DatasetIndexError as error:
        return str(error)


@pytest.fixture(scope="module")
def _in_small_pieces() -> Iterator[None]:
    """Let indexes be read a few entries at a time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "BLOCK_NBYTES", 64)
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("_in_small_pieces")
@given(documents, st.booleans(), st.booleans(), edits)
def test_reading_in_pieces_is_reading_with_all_checks(
    document: dict[str, object],
    sort_keys: bool,
    ascii_only: bool,
    changes: list[tuple[int, str, int]],
) -> None:
    """Whatever an index holds, the quick way gives the same entries, or the same refusal."""
    text = json.dumps(document, indent=2, sort_keys=sort_keys, ensure_ascii=ascii_only) + "\n"
    for place, put, cut in changes:
        at = place % max(len(text), 1)
        text = text[:at] + put + text[at + cut :]
    data = text.encode(errors="surrogatepass")

    carefully: object
    try:
        parsed = records.parse_json_object(data, "x")
        listed = [
            replace(OSF_FORMAT._parse_entry(relpath, record, "x"))
            for relpath, record in parsed.items()
            if relpath != "dataset_index.json"
        ]
        carefully = dict(DatasetIndex(listed, origin="x"))
    except DatasetIndexError as error:
        carefully = str(error)

    assert read(data) == carefully


def test_ordinary_index_is_read_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """The quick way is taken for what we and ConfUSIus write, also where few entries differ."""
    monkeypatch.setattr(files, "BLOCK_NBYTES", 500)
    listed = [
        FileEntry(f"sub-{i}/x{i}.nii", i, (Checksum("md5", f"{i:032x}"),), locators={"osf": "/a"})
        for i in range(100)
    ]
    listed[7] = replace(listed[7], local=LocalVersion(3))
    data = OSF_FORMAT.format(DatasetIndex(listed))

    monkeypatch.setattr(JsonFormat, "parse", None)
    assert OSF_FORMAT.read(data, "x") == DatasetIndex(listed)


def test_entry_without_end_is_soon_left_to_the_careful_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its blocks are not put together one by one, which takes the longer the more there are."""
    monkeypatch.setattr(files, "BLOCK_NBYTES", 100)
    monkeypatch.setattr(records, "LONGEST_ENTRY_NBYTES", 1000)
    listed = DatasetIndex([FileEntry("a", 1, locators={"osf": "/" + "x" * 50_000})])
    file = CountedReads(OSF_FORMAT.format(listed))

    assert OSF_FORMAT.read_file(file, "x") == listed
    assert file.n_reads < 20


class CountedReads(io.BytesIO):
    """Bytes that know how often they were read from."""

    n_reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """Read some, and count it."""
        self.n_reads += 1
        return super().read(size)


@pytest.mark.parametrize(
    "paths", [["b", "a"], ["a", "a"], ["a", "a/b"], ["A", "a"], ["a/b", "A/c"], ["é", "e\u0301"]]
)
def test_doubtful_paths_stop_the_writer(paths: list[str]) -> None:
    """What is out of order or unlike on some file systems only is left to the careful check."""

    def fill(connection: sqlite3.Connection) -> None:
        writer = TableWriter(connection)
        writer.add((path, None, None, None, None) for path in paths)
        writer.finish()

    with pytest.raises(DoubtfulRowsError):
        make_tables(fill, is_large=False)


@given(st.lists(entries, max_size=4), st.booleans())
def test_indexes_that_say_the_same_need_no_merge(listed: list[FileEntry], is_new: bool) -> None:
    """A refresh that finds nothing new compares rows alone, and leaves out what changes nothing."""
    index = index_or_none([replace(entry, local=None) for entry in listed] if is_new else listed)
    if index is None:
        return
    has_local = any(entry.local for entry in index.values())
    again = DatasetIndex(index.values())

    assert index.says_the_same(again) is not has_local
    if not has_local:
        assert index.merged(again, on_disk=lambda path: True) == index
    for entry in index.values():
        for other in (
            replace(entry, size=0 if entry.size else 1),
            replace(entry, checksums=(Checksum("crc32", "01234567"),)),
            replace(entry, etag="other"),
            replace(entry, locators={**entry.locators, "dataverse": "1"}),
            replace(entry, local=LocalVersion(3, ())),
        ):
            changed = index.updated([other])
            assert index.says_the_same(changed) is (changed == index and not has_local)
        assert not index.says_the_same(index.restricted(lambda path, e=entry: path != e.relpath))
