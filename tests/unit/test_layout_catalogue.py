"""PyBIDS's tables are views over the index's tables: what they hold, and how files are found."""

from __future__ import annotations

import gc
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bids.layout import Query
from bids.layout.models import BIDSFile, Tag
from bids.utils import natural_sort
from hypothesis import example, given
from hypothesis import strategies as st

from confusius_datasets import open_dataset
from confusius_datasets._layout import CatalogueLayout, conditions
from confusius_datasets._layout.catalogue import sort_values
from marks import slow
from trees import awkward_files, inheritance_files, plain_layout, write_tree

TREES: list[Callable[[], dict[str, bytes]]] = [awkward_files, inheritance_files]


@pytest.fixture(params=TREES, ids=lambda make: make.__name__)
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Write a tree."""
    return write_tree(tmp_path / "tree", request.param())


def family(layout: Any) -> dict[str, Any]:
    """Return a layout and its derivatives by their roots."""
    return {one.root: one for one in (layout, *layout.derivatives.values())}


@pytest.mark.slow
def test_tables_of_pybids_hold_the_same_rows(root: Path) -> None:
    """Whoever asks a layout's session finds PyBIDS's tables: files, and tags with metadata."""
    ours, theirs = open_dataset(root).layout, plain_layout(root)
    ours.get_entities()

    for place, plain in family(theirs).items():
        layout = family(ours)[place]
        rows = [
            {
                (file.path, file.filename, file.dirname, file.is_dir, type(file).__name__)
                for file in side.session.query(BIDSFile)
            }
            for side in (layout, plain)
        ]
        assert rows[0] == rows[1]
        tags = [
            {
                (tag.file_path, tag.entity_name, tag._value, tag._dtype, tag.is_metadata)
                for tag in side.session.query(Tag)
            }
            for side in (layout, plain)
        ]
        of_names = [{tag for tag in side if not tag[-1]} for side in tags]
        assert of_names[0] == of_names[1]
        fields = {
            (file.path, name) for file in layout.get(scope="self") for name in file.get_metadata()
        }
        assert {tag[:2] for tag in tags[0] if tag[-1]} == fields


ASKED: list[dict[str, Any]] = [
    {},
    {"subject": "01"},
    {"subject": ["01", "02"], "suffix": "pwd"},
    {"suffix": "pwd", "extension": ".nii.gz", "session": None},
    {"session": Query.ANY},
    {"task": [Query.NONE, "rest", "a"]},
    {"run": 1},
    {"run": [1, Query.NONE], "datatype": "fusi"},
    {"subject": "0", "regex_search": True},
    {"suffix": "p|b", "task": ["r", Query.NONE], "regex_search": True},
    {"RepetitionTime": [0.4, 0.5]},
    {"RepetitionTime": Query.NONE, "suffix": "pwd"},
    {"TaskName": Query.ANY, "subject": "01"},
    {"scans": Query.ANY},
]


@pytest.mark.parametrize("few", [0, 10_000])
@pytest.mark.parametrize("few_values", [0, slow(10_000)])
@pytest.mark.parametrize("share", [0.0, slow(2.0)])
def test_every_form_of_statement_gives_the_same_files(
    root: Path, monkeypatch: pytest.MonkeyPatch, few: int, few_values: int, share: float
) -> None:
    """How SQLite is led to the files changes nothing in the answer."""
    layout = open_dataset(root).layout
    expected = [sorted(layout.find_paths(**query)) for query in ASKED]
    for name, value in (("FEW", few), ("FEW_VALUES", few_values), ("LARGE_SHARE", share)):
        monkeypatch.setattr(conditions, name, value)

    assert [sorted(layout.find_paths(**query)) for query in ASKED] == expected
    assert any(expected[1:])


@pytest.mark.slow
def test_associations_of_one_subject_are_those_of_the_whole(root: Path) -> None:
    """Only the files near to one are looked at, and nothing that belongs to it is missed."""
    whole = open_dataset(root).layout
    for one in family(whole).values():
        one.metadata.associate_all()

    for file in whole.get():
        alone = next(
            other
            for layout in family(open_dataset(root).layout).values()
            if (other := layout.get_file(file.path, scope="self")) is not None
        )
        for kind in (None, "Metadata", "Child", "Parent", "IntendedFor", "InformedBy"):
            found = {other.path for other in alone.get_associations(kind)}
            assert found == {other.path for other in file.get_associations(kind)}, (file, kind)


def test_associations_that_another_subjects_sidecar_names_are_found(tmp_path: Path) -> None:
    """A sidecar that is here may name files of any subject."""
    image = "sub-01/fusi/sub-01_task-rest_pwd.nii.gz"
    other = "sub-02/fmap/sub-02_epi"
    root = write_tree(
        tmp_path / "tree",
        {
            image: b"",
            "sub-01/fusi/sub-01_task-rest_pwd.json": b"{}",
            f"{other}.nii.gz": b"",
            f"{other}.json": b'{"IntendedFor": "bids::%s"}' % image.encode(),
        },
    )

    found = open_dataset(root).layout.get_file(image).get_associations("InformedBy")

    assert [file.path for file in found] == [str(root / f"{other}.nii.gz")]


def test_garbage_is_looked_for_as_before_after_many_objects(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The setting of the process is given back, also where the query fails."""
    monkeypatch.setattr("confusius_datasets._layout.statements.MANY", 0)
    before = gc.get_threshold()

    assert open_dataset(root).layout.get()

    assert gc.get_threshold() == before


def test_tables_are_never_written_to(root: Path) -> None:
    """What a layout reads later is its own; the tables that others read too stay as they are."""
    layout: CatalogueLayout = open_dataset(root).layout
    connection = layout.connection_manager.connection

    layout.get_entities()

    assert connection.execute("PRAGMA trusted_schema").fetchone() == (0,)
    with pytest.raises(sqlite3.OperationalError, match="view"):
        connection.execute("DELETE FROM files")


texts = st.lists(st.text(alphabet="aB_.-/019 \t~", max_size=8) | st.text(max_size=4), max_size=6)


@given(texts)
@example(["0", "\0"])
def test_values_are_sorted_as_pybids_sorts_them(values: list[str]) -> None:
    """Numbers in texts count by their values, cases alike, equal ones keep their order."""
    try:
        expected = natural_sort(values)
    except ValueError:  # a digit that is not decimal
        return

    assert sort_values(values) == expected
