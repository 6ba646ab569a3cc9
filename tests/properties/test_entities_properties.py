"""The parser of paths finds what PyBIDS's patterns find."""

from __future__ import annotations

import pytest
from bids.layout.models import Config
from hypothesis import example, given
from hypothesis import strategies as st

from confusius_datasets._entities import (
    INTEGER_ENTITIES,
    EntityParser,
    applicable_sidecars,
    is_entangled,
    parse_entities,
    parse_folder,
    parse_name,
)
from confusius_datasets._layout.config import pybids_config
from rules import by_folder, sidecars_by_rule
from trees import INHERITING, replica_tree

PATTERNS = {
    name: entity.regex
    for config in (Config.load(pybids_config()), Config.load("derivatives"))
    for name, entity in config.entities.items()
}

KEYS = """
sub ses sample task tracksys acq nuc voi ce stain trc rec dir run proc pose mod echo flip inv mt
part recording space chunk atlas roi label desc from to mode hemi seg res den model subset stat
extra
"""

keys = st.sampled_from(KEYS.split())
labels = st.sampled_from(["01", "1", "a", "L", "on", "mag", "a+b", "slice03", "", "1a"])
pairs = st.builds("{}-{}".format, keys, labels)
suffixes = st.sampled_from(["pwd", "events", "scans", "epi", "xfm", "bold", "T1w", ""])
extensions = st.sampled_from([".nii.gz", ".nii", ".json", ".tsv", ".tsv.gz", "", ".a.b", "."])
folders = st.lists(
    st.sampled_from(["sub-01", "ses-x", "fusi", "angio", "func", "derivatives", "x_run-3", "a.b"])
    | pairs,
    max_size=4,
)
names = st.builds(
    lambda parts, suffix, extension: "_".join([*parts, suffix]) + extension,
    st.lists(pairs, max_size=6),
    suffixes,
    extensions,
)
odd = st.text(alphabet="sub-_/.01ab\\+\né²", max_size=30)
paths = st.builds(lambda parts, name: "/".join([*parts, name]), folders, names) | odd
repeating = st.builds(
    "{0}{1}/{2}{3}".format,
    st.sampled_from(["", "derivatives/a/", "sub-from-1/"]),
    st.sampled_from(["sub-01/ses-x", "sub-01/ses-x/fusi", "sub-01/fusi", "ses-x/sub-01"]),
    st.sampled_from(["sub-01_ses-x_", "sub-01_", "ses-x_", "sub-011_"]),
    names,
)
"""Paths whose names begin with what their folders say, or with something like it."""


def by_pybids(relpath: str) -> dict[str, str]:
    """Read the entities of a path with PyBIDS's patterns."""
    matches = {name: regex.search(f"/{relpath}") for name, regex in PATTERNS.items()}
    return {name: match[1] for name, match in matches.items() if match}


@given(paths)
def test_any_path_is_read_as_pybids_reads_it(relpath: str) -> None:
    """For every path below a root, the same entities with the same labels."""
    assert parse_entities(relpath) == by_pybids(relpath)


@pytest.mark.parametrize("name", ["nunez", "cybis"])
def test_paths_of_the_public_datasets_are_read_as_pybids_reads_them(name: str) -> None:
    """The names that exist are read alike, too."""
    for relpath in [*replica_tree(name), *INHERITING]:
        assert parse_entities(relpath) == by_pybids(relpath), relpath


@pytest.mark.slow
@given(st.lists(paths | repeating, max_size=8))
@example(["sub-01/sub-01_scans.tsv", "sub-01/sub-01_.json", "sub-01/sub-01_", "a/.json"])
@example(["sub-01/sub-01_from-a_xfm.txt", "sub-01_from-a/sub-01_xfm.txt", "sub-01_from-a/x"])
def test_paths_with_parts_in_common_are_read_as_each_alone(relpaths: list[str]) -> None:
    """What is remembered of folders and names gives the same entities as the whole path."""
    parser = EntityParser()
    twice = relpaths * 2

    for relpath in twice:
        assert parser.parse(relpath) == parse_entities(relpath)
    (of_folders, in_folders), (of_names, in_names) = EntityParser().number(twice)
    for relpath, folder, name in zip(twice, of_folders, of_names, strict=True):
        assert {**in_names[name], **in_folders[folder]} == parse_entities(relpath)


@given(names | odd.map(lambda text: text.replace("/", "_")))
@example("sub-1_a.b_epi.nii_run-1_desc-x-2_acq-.nii.gz")
@example("xdesc-a_desc-b_hemi-L2_mt-only_part-magical_run-01a_sub-2.json")
def test_name_read_in_parts_is_read_as_a_whole(name: str) -> None:
    """No entity spans two parts of a name, but for those that may span its folders, too."""
    assert parse_name(name) == (None if is_entangled(name) else parse_entities(name))


@given(paths | odd)
@example("sub-1_a.b/ses-x/sub-2/fusi/x_epi.nii/func")
def test_folder_read_in_parts_is_read_as_a_whole(folder: str) -> None:
    """No entity spans two folders, but for those that may span a name, too."""
    if not is_entangled(folder):
        assert parse_folder(folder) == parse_entities(f"{folder}/")


def test_numbers_are_those_of_the_configuration() -> None:
    """Which entities are numbers is said once."""
    config = [*Config.load(pybids_config()).entities.values()]

    assert {entity.name for entity in config if entity._dtype == "int"} == INTEGER_ENTITIES


PLACES = ["", "sub-01/", "sub-01/fusi/", "nested/", "nested/sub-01/"]
DATASETS = ["", "derivatives/one/", "derivatives/"]
SUFFIXES = ["pwd", "events"]


@st.composite
def sidecar_trees(draw: st.DrawFn) -> list[str]:
    """Draw the paths of images and sidecars, at every level, keys known to PyBIDS and not."""
    relpaths = set()
    for _ in range(draw(st.integers(1, 14))):
        parts = {
            key: draw(st.sampled_from(values))
            for key, values in {
                "sub": ["01", "1"],
                "task": ["rest", "a"],
                "run": ["1", "01", "2", "5F", "5H"],
                "chunk": ["1", "01"],
                "res": ["2", "02"],
                "plane": ["1", "2"],
                "desc": ["x", "y"],
            }.items()
            if draw(st.integers(0, 3)) == 0
        }
        order = draw(st.permutations(list(parts)))
        stem = "_".join(
            [*(f"{key}-{parts[key]}" for key in order), draw(st.sampled_from(SUFFIXES))]
        )
        folder = draw(st.sampled_from(DATASETS)) + draw(st.sampled_from(PLACES))
        relpaths.add(folder + stem + draw(st.sampled_from([".json", ".json", ".nii.gz", ".tsv"])))
    for folder in draw(st.lists(st.sampled_from([*DATASETS, "nested/", "sub-01/"]), max_size=2)):
        relpaths.add(f"{folder}dataset_description.json")
    return sorted(relpaths)


@pytest.mark.slow
@given(sidecar_trees())
def test_sidecars_of_any_file_are_those_of_the_rule(relpaths: list[str]) -> None:
    """The same sidecars in the same order as an independent statement of the rule gives."""
    folders = by_folder(relpaths)

    for relpath in relpaths:
        found = applicable_sidecars(relpath, lambda folder: folders.get(folder or ".", ()))
        expected = [] if relpath.endswith(".json") else sidecars_by_rule(relpath, folders)
        assert found == expected, relpath


def test_own_sidecar_has_the_last_word() -> None:
    """Whatever else lies beside a file, what is called as the file itself counts most."""
    names = ["sub-01_pwd", "sub-01_plane-1_pwd", "sub-01_task-a_plane-1_pwd", "task-a_pwd"]

    def jsons_of(folder: str) -> list[str]:
        return [f"sub-01/{name}.json" for name in names] if folder == "sub-01" else []

    assert applicable_sidecars("sub-01/sub-01_task-a_plane-1_pwd.nii.gz", jsons_of) == [
        *("sub-01/task-a_pwd.json", "sub-01/sub-01_pwd.json"),
        *("sub-01/sub-01_plane-1_pwd.json", "sub-01/sub-01_task-a_plane-1_pwd.json"),
    ]


@pytest.mark.parametrize(
    ("sidecar", "applies"),
    [
        *(("sub-01_run-1_pwd", True), ("sub-01_chunk-001_pwd", True)),
        *(("sub-01_run-2_pwd", False), ("sub-01_res-2_pwd", False), ("sub-01_plane-1_pwd", False)),
        *(("sub-01_odd_pwd", False), ("sub-01_run-01_events", False), ("sub-1_pwd", False)),
    ],
)
def test_numbers_are_compared_as_numbers_and_labels_as_text(sidecar: str, applies: bool) -> None:
    """`run-1` is `run-01`; `res-2` is not `res-02`; a key that the file lacks never applies."""
    found = applicable_sidecars(
        "sub-01_run-01_chunk-1_res-02_plane-01_pwd.nii.gz", lambda folder: [f"{sidecar}.json"]
    )

    assert bool(found) == applies


@pytest.mark.parametrize(
    ("relpath", "described", "expected"),
    [
        ("sub-01/pwd.nii.gz", [], ["pwd.json", "sub-01/pwd.json"]),
        ("sub-01/pwd.nii.gz", ["sub-01"], ["sub-01/pwd.json"]),
        ("derivatives/x/pwd.nii.gz", [], ["derivatives/x/pwd.json"]),
        (
            "derivatives/sub-01/pwd.nii.gz",
            ["derivatives"],
            ["derivatives/pwd.json", "derivatives/sub-01/pwd.json"],
        ),
        ("derivatives/x/pwd.nii.gz", ["derivatives", "derivatives/x"], ["derivatives/x/pwd.json"]),
    ],
)
def test_nothing_above_a_dataset_applies(
    relpath: str, described: list[str], expected: list[str]
) -> None:
    """A description ends a dataset, and so does a derivative's folder without one."""

    def jsons(folder: str) -> list[str]:
        names = ["pwd.json", *(["dataset_description.json"] if folder in described else [])]
        return [f"{folder}/{name}".lstrip("/") for name in names]

    assert applicable_sidecars(relpath, jsons) == expected
