"""The parser of paths finds what PyBIDS's patterns find."""

from __future__ import annotations

import pytest
from bids.layout.models import Config
from hypothesis import given
from hypothesis import strategies as st

from confusius_datasets._entities import INTEGER_ENTITIES, parse_entities
from confusius_datasets._layout.config import fusi_config
from trees import INHERITING, replica_tree

PATTERNS = {
    name: entity.regex
    for config in (Config.load(fusi_config()), Config.load("derivatives"))
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


def test_numbers_are_those_of_the_configuration() -> None:
    """Which entities are numbers is said once."""
    config = [*Config.load(fusi_config()).entities.values()]

    assert {entity.name for entity in config if entity._dtype == "int"} == INTEGER_ENTITIES
