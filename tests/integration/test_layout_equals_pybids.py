"""The layout answers as plain PyBIDS does on the same tree."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa
from bids import BIDSLayout
from bids.utils import listify, natural_sort
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from confusius_datasets import Query, open_dataset
from confusius_datasets._dataset import BIDSDataset
from rules import linked_otherwise, without_differences
from trees import (
    PUBLIC_TREES,
    awkward_files,
    inheritance_files,
    plain_layout,
    read_tree,
    replica_tree,
    sample_files,
    write_tree,
)

# Values that exist nowhere are asked for on purpose; the answers are compared, not the warnings.
pytestmark = pytest.mark.filterwarnings("ignore:No file at all has:UserWarning")

TREES: dict[str, Callable[[], dict[str, bytes]]] = {
    "sample": sample_files,
    "nunez": lambda: replica_tree("nunez"),
    "cybis": lambda: replica_tree("cybis"),
    "inheritance": inheritance_files,
    "awkward": awkward_files,
}

PUBLIC = (
    sorted(path.name for path in PUBLIC_TREES.iterdir() if path.is_dir())
    if (PUBLIC_TREES.is_dir())
    else []
)


def error_kinds(error: Exception) -> list[str]:
    """Name the classes that an error is of, but for ours."""
    return [base.__name__ for base in type(error).__mro__ if "confusius" not in base.__module__]


MIXED_KINDS = error_kinds(sa.exc.StatementError("", "", None, Exception()))
"""PyBIDS's error where values of one filter are of several kinds, and a number comes first."""

ALL = [
    # One tree is enough for a quick look: it has sidecars at every level and derivatives.
    pytest.param(name, marks=[] if name == "inheritance" else pytest.mark.slow)
    for name in (*TREES, *PUBLIC)
]


def ignore_ties(labels: list[Any]) -> tuple[list[str], list[str]]:
    """Bring labels into a form that is the same for those that PyBIDS leaves to chance.

    It does so with the order of labels that differ by case only, and with which one of numbers
    stands for those that differ by their padding.
    """
    texts = [str(int(label)) if isinstance(label, int) else str(label) for label in labels]
    return [text.lower() for text in texts], sorted(texts)


def with_both_spellings(query: dict[str, Any]) -> dict[str, Any]:
    """Ask PyBIDS for `2` and `2.0` where one of them is asked for: they are one number here."""

    def spellings(value: Any) -> list[Any]:
        if type(value) not in (int, float) or int(value) != value:
            return [value]
        return [int(value), float(value)]

    spelt = dict(query)
    for name, asked in query.items():
        if name[:1].isupper() and asked is not None:
            spelt[name] = [one for value in listify(asked) for one in spellings(value)]
        if name == "extension" and asked is None:
            spelt[name] = [None]  # without a list, PyBIDS fails with a TypeError
    return spelt


def folders_of(paths: list[str], root: Path, target: str) -> list[str]:
    """List the folders of subjects or sessions right below a root that some files lie in."""
    patterns = [r"sub-[a-zA-Z0-9+]+", r"ses-[a-zA-Z0-9+]+"][
        : ["subject", "session"].index(target) + 1
    ]
    found = set()
    for path in paths:
        inside = Path(path).relative_to(root).parts[:-1][: len(patterns)]
        if len(inside) == len(patterns) and all(map(re.fullmatch, patterns, inside)):
            found.add(str(root.joinpath(*inside)))
    return list(natural_sort(list(found)))


class Pair:
    """One tree, opened by us and by PyBIDS."""

    def __init__(self, root: Path, files: dict[str, bytes]) -> None:
        # Where the rules for sidecars differ, so do the answers: see test_layout_differs.
        alike = without_differences(files)
        self.root = write_tree(root, alike)
        self.linked_otherwise = {str(root / path) for path in linked_otherwise(alike)}
        self.ours: BIDSDataset = open_dataset(root)
        self.theirs: BIDSLayout = plain_layout(root)

    def ask(self, side: Any, /, **query: Any) -> tuple[str, Any]:
        """Ask a side, and return its answer or its error in a comparable form."""
        try:
            found = side.get(**query)
        except Exception as error:  # noqa: BLE001 - whatever it is, both must raise it
            return ("error", error_kinds(error))
        if query.get("return_type") in ("id", "dir"):
            return ("answer", ignore_ties(found))
        return ("answer", [getattr(answer, "path", answer) for answer in found])

    def compare(self, **query: Any) -> None:
        """Ask both, and want the same answer in the same order, whatever was asked before."""
        if asked := listify(query.get("datatype")):
            # A dataset answers with its `susi` where `angio` is asked for: see test_dataset.
            has, other = self.theirs.get_datatypes(), {"angio": "susi", "susi": "angio"}
            query["datatype"] = [one if one in has else other.get(one, one) for one in asked]
        expected = self.ask(self.theirs, **with_both_spellings(query))
        if query.get("return_type") == "dir" and expected[0] == "answer":
            # PyBIDS lists a folder only where it holds a file itself.
            asked = {name: value for name, value in query.items() if name != "target"}
            paths = self.theirs.get(**with_both_spellings(asked | {"return_type": "filename"}))
            folders = folders_of(paths, self.root, query["target"])
            expected = ("answer", ignore_ties(folders))

        for ours in (open_dataset(self.root).layout, self.ours):
            found = self.ask(ours, **query)
            if expected == ("error", MIXED_KINDS):
                assert found[0] == "answer", query
            elif expected[0] == "error":  # whoever catches PyBIDS's error catches ours
                assert found[0] == "error", query
                assert expected[1][0] in found[1], query
            else:
                assert found == expected, query


class Pairs(dict[str, Pair]):
    """Every tree, opened when it is first asked for; public ones where this machine has them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __missing__(self, name: str) -> Pair:
        files = TREES[name]() if name in TREES else read_tree(PUBLIC_TREES / name)
        self[name] = Pair(self.folder / name / "tree", files)
        return self[name]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Pairs:
    """Open each tree once."""
    return Pairs(tmp_path_factory.mktemp("pairs"))


QUERIES: list[dict[str, Any]] = [
    {},
    {"subject": "01"},
    {"subject": ["01", "mouse1", "CR020", "rat73"]},
    {"suffix": "pwd"},
    {"suffix": "pwd", "extension": ".nii.gz"},
    {"suffix": "pwd", "extension": "nii.gz"},
    {"extension": ["json", ".tsv"]},
    {"datatype": "fusi"},
    {"datatype": "angio", "suffix": "pwd"},
    {"session": None},
    {"session": Query.NONE, "extension": ".json"},
    {"session": Query.ANY},
    {"task": [Query.NONE, "rest"]},
    {"run": Query.OPTIONAL, "suffix": "pwd"},
    {"run": 1},
    {"run": "01"},
    {"run": [1, 2]},
    {"pose": 1},
    {"pose": "02"},
    {"run": ["01", 10]},
    {"run": (1, Query.NONE)},
    {"chunk": "01"},
    {"chunk": 1},
    {"extension": None},
    {"extension": [None, "json"]},
    {"subject": [Query.NONE, Query.ANY]},
    {"subject": [Query.REQUIRED, "x"]},
    {"task": [Query.OPTIONAL, "nothing"]},
    {"subject": True},
    {"subject": ""},
    {"subject": "a+b"},
    {"mt": "on", "part": "mag"},
    {"fmap": "phasediff"},
    {"scans": Query.ANY},
    {"hemi": "L"},
    {"desc": "m", "extension": "nii.gz"},
    {"from": "T1w", "to": "MNI"},
    {"datatype": ["func", "fmap", "susi"]},
    {"task": "re", "regex_search": True},
    {"suffix": "PWD", "regex_search": True},
    {"subject": "^0[12]$", "regex_search": True},
    {"subject": [Query.NONE, "0"], "regex_search": True},
    {"run": "1", "regex_search": True},
    {"extension": "nii", "regex_search": True},
    {"subject": "[", "regex_search": True},
    {"acquisition": "slice0[13]", "regex_search": True},
    {"scope": "raw"},
    {"scope": "derivatives"},
    {"scope": "self", "suffix": "pwd"},
    {"scope": ["raw", "derivatives"], "extension": ".json"},
    {"scope": "glm-speed"},
    {"scope": "a-pipeline"},
    {"scope": "groundtruth", "suffix": "mask"},
    {"scope": "first"},
    {"scope": "second"},
    {"scope": "old-pipeline", "return_type": "id", "target": "desc"},
    {"scope": ["raw", "first"], "suffix": "pwd"},
    {"scope": ["self"]},
    {"scope": []},
    {"scope": None},
    {"scope": "nowhere"},
    {"scope": "derivatives", "return_type": "dir", "target": "subject"},
    {"return_type": "file", "suffix": "pwd"},
    {"return_type": "filename", "subject": "01"},
    {"return_type": "id", "target": "subject"},
    {"return_type": "id", "target": "run"},
    {"return_type": "id", "target": "task", "suffix": "events"},
    {"return_type": "id", "target": "suffix", "extension": "json"},
    {"return_type": "id", "target": "desc"},
    {"return_type": "id", "target": "session", "subject": "01", "scope": "raw"},
    {"return_type": "id", "target": "subject", "task": Query.NONE},
    {"return_type": "dir", "target": "subject"},
    {"return_type": "dir", "target": "session"},
    {"return_type": "dir", "target": "task"},
    {"return_type": "id"},
    {"return_type": "table"},
    {"return_type": "id", "target": "subjet"},
    {"subbject": "01"},
    {"subbject": "01", "invalid_filters": "drop", "suffix": "pwd"},
    {"subbject": "01", "invalid_filters": "allow"},
    {"acq": "slice01"},
    {"acq": "slice01", "invalid_filters": "drop", "extension": "json"},
    {"acq": None, "invalid_filters": "allow"},
    {"return_type": "id", "target": "acq"},
    {"return_type": "object", "target": "acq"},
    {"return_type": "dir"},
    {"absolute_paths": True},
    {"filters": {"subject": "01"}},
    {"RepetitionTime": 0.4},
    {"RepetitionTime": "0.4"},
    {"RepetitionTime": Query.ANY, "subject": "nobody"},
    {"RepetitionTime": 0.4, "subject": "nobody", "invalid_filters": "drop"},
    {"RepetitionTime": None, "invalid_filters": "allow"},
    {"RepetitionTime": [0.5, None], "suffix": "pwd"},
    {"DelayAfterTrigger": Query.ANY, "subject": "02"},
    {"DelayAfterTrigger": Query.NONE, "subject": "01"},
    {"OnlyHere": "yes", "regex_search": True},
    {"OnlyHere": "Yes", "task": Query.NONE},
    {"OnlyHere": "Yes", "invalid_filters": "drop", "suffix": "bold"},
    {"Int": 1},
    {"Int": ["1", "3"]},
    {"Float": 1.0},
    {"Bool": True},
    {"Null": None},
    {"List": "[1, [2]]"},
    {"Dict": Query.ANY, "return_type": "id", "target": "Dict"},
    {"return_type": "id", "target": "List"},
    {"return_type": "id", "target": "Bool", "subject": "01"},
    {"return_type": "id", "target": "OnlyHere", "subject": "02"},
    {"return_type": "dir", "target": "RepetitionTime"},
    {"IntendedFor": Query.ANY, "scope": "raw"},
    {"RepetitionTime": 0.5, "extension": ".nii.gz"},
    {"RepetitionTime": [0.4, 0.5]},
    {"RepetitionTime": Query.ANY, "suffix": "pwd"},
    {"TaskName": "rest", "subject": "01"},
    {"ProbeType": "matr", "regex_search": True},
    {"DelayAfterTrigger": 0.6},
    {"return_type": "id", "target": "ProbeType"},
    {"return_type": "id", "target": "RepetitionTime", "subject": "02"},
]


@pytest.mark.slow
@pytest.mark.parametrize("tree", ALL)
@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_query_is_answered_alike(pairs: Pairs, tree: str, query: dict[str, Any]) -> None:
    """The same files in the same order, or an error of the same kind."""
    pairs[tree].compare(**query)


LABELS = ["01", "02", "10", "a", "rest", "slice01", "CR020", "rat73", "mouse1", "day1", "m"]
OTHERS = ["pwd", "bold", "events", "fusi", "func", ".json", "nii.gz", 1, 2, 0.4, True, "0.4"]
PATTERNS = ["0", "^r", "1$", "E", "a|b", r"slice\d+", ".", "[ms]"]

values = st.sampled_from([*LABELS, *OTHERS])
wanted = values | st.sampled_from([None, *Query])
anything = (
    wanted
    | st.lists(wanted, min_size=1, max_size=3)
    | st.lists(values, min_size=1, max_size=2).map(tuple)
)
patterns = st.sampled_from(PATTERNS) | st.lists(
    st.sampled_from([*PATTERNS, None, *Query]), min_size=1
)
entities = st.sampled_from(
    [
        *("subject", "session", "task", "acquisition", "run", "suffix", "datatype", "pose"),
        *("desc", "extension", "space", "RepetitionTime", "TaskName", "Manufacturer", "Int"),
        *("SliceTiming", "IntendedFor", "nonsense"),
    ]
)
scopes = st.sampled_from(
    [
        *("all", "raw", "derivatives", "self", "glm-speed", "a-pipeline", "first", "fMRIPrep"),
        *(["raw", "first"], ["derivatives", "raw"], ["self"]),
    ]
)
returned = st.sampled_from(
    [
        *({}, {"return_type": "object"}, {"return_type": "file"}, {"return_type": "filename"}),
        *({"return_type": kind, "target": "subject"} for kind in ("id", "dir")),
        *({"return_type": kind, "target": "session"} for kind in ("id", "dir")),
        *({"return_type": "id", "target": name} for name in ("run", "desc", "RepetitionTime")),
    ]
)


@pytest.mark.slow
@settings(max_examples=250, suppress_health_check=list(HealthCheck))
@given(
    tree=st.sampled_from([*TREES, *PUBLIC]),
    filters=st.dictionaries(entities, anything, max_size=3)
    | st.dictionaries(entities, patterns, max_size=2).map(
        lambda filters: {**filters, "regex_search": True}
    ),
    extension=st.sampled_from([{}, {"extension": "nii.gz"}, {"extension": [".json", "tsv"]}]),
    returned=returned,
    scope=scopes,
    invalid=st.sampled_from(["error", "drop", "allow"]),
)
def test_any_query_is_answered_alike(
    pairs: Pairs,
    tree: str,
    filters: dict[str, Any],
    extension: dict[str, Any],
    returned: dict[str, Any],
    scope: Any,
    invalid: str,
) -> None:
    """Whatever the combination of filters, both give the same."""
    pairs[tree].compare(
        **{**filters, **extension, **returned, "scope": scope, "invalid_filters": invalid}
    )


@pytest.mark.parametrize("tree", ALL)
def test_metadata_are_pybidss(pairs: Pairs, tree: str) -> None:
    """What files inherit is the same, asked of the layout and of the file."""
    pair = pairs[tree]

    layout = open_dataset(pair.root).layout

    for theirs in pair.theirs.get():
        ours = layout.get_file(theirs.path)
        assert dict(ours.get_metadata()) == dict(theirs.get_metadata()), theirs.path
        assert pair.ours.layout.get_metadata(theirs.path) == pair.theirs.get_metadata(theirs.path)
        assert ours.get_entities() == theirs.get_entities(), theirs.path
        for metadata in (True, None):
            assert ours.get_entities(metadata) == theirs.get_entities(metadata), theirs.path
        with_entities = [side.get_metadata(theirs.path, True) for side in (layout, pair.theirs)]
        assert with_entities[0] == with_entities[1]
        assert type(ours).__name__ == type(theirs).__name__
        assert repr(ours) == repr(theirs)
        assert ours.relpath == theirs.relpath


@pytest.mark.parametrize("tree", ALL)
def test_entities_of_files_are_pybidss(pairs: Pairs, tree: str) -> None:
    """A file has the same entities, metadata among them, whichever is looked at first."""
    pair = pairs[tree]
    layout = open_dataset(pair.root).layout

    for theirs in pair.theirs.get():
        ours = layout.get_file(theirs.path).entities
        for name in ("subject", "task", "RepetitionTime"):
            assert ours.get(name) == theirs.entities.get(name), (theirs.path, name)
        assert dict(ours) == dict(theirs.entities), theirs.path
        assert ours == theirs.entities
        assert ours.copy() == theirs.entities.copy()
        assert len(ours) == len(theirs.entities)
        assert all(str(ours[name]) == str(theirs.entities[name]) for name in ours)


@pytest.mark.slow
@pytest.mark.parametrize("tree", ALL)
def test_associations_are_pybidss_and_those_of_fusi_images(pairs: Pairs, tree: str) -> None:
    """What belongs together is the same, but for recordings of fUSI, which PyBIDS leaves alone."""
    pair = pairs[tree]

    alike = [
        file for file in pair.theirs.get(scope="self") if file.path not in pair.linked_otherwise
    ]
    assert alike

    for theirs in alike:
        ours = pair.ours.layout.get_file(theirs.path)
        for kind in (None, "Metadata", "Child", "Parent", "IntendedFor", "InformedBy"):
            expected = {file.path for file in theirs.get_associations(kind)}
            found = {file.path for file in ours.get_associations(kind)}
            assert expected <= found, (theirs.path, kind)
            for path in found - expected:
                assert any("_pwd.nii" in name for name in (path, theirs.path)), (theirs.path, kind)
                assert kind in (None, "IntendedFor", "InformedBy")


def test_events_belong_to_their_fusi_images(pairs: Pairs) -> None:
    """Events beside an image, and events in the root, describe the images of their task."""
    beside = pairs["sample"].ours.get(suffix="events", extension=".tsv", download=False)
    (root,) = pairs["inheritance"].ours.get(suffix="events", extension=".tsv")

    for events in beside:
        (image,) = events.get_associations("IntendedFor")
        assert image.filename == events.filename.replace("_events.tsv", "_pwd.nii.gz")
        assert events.path in {file.path for file in image.get_associations("InformedBy")}
    assert len(root.get_associations("IntendedFor")) == 4


@pytest.mark.parametrize("tree", ALL)
def test_tables_hold_pybidss_values(pairs: Pairs, tree: str) -> None:
    """`to_df` of the layout is PyBIDS's, and the dataset's has two columns more."""
    pair = pairs[tree]

    for metadata in (False, True):
        for query in ({}, {"scope": "raw", "extension": ["nii.gz", ".tsv"]}, {"suffix": "nothing"}):
            files = pair.theirs.get(**query)
            expected = {
                file.path: dict(file.get_entities(None if metadata else False)) for file in files
            }
            ours = open_dataset(pair.root).layout.to_df(metadata=metadata, **query)
            dataset = pair.ours.to_df(metadata=metadata, **query)

            assert rows_of(ours) == expected
            assert list(ours.columns) == ["path", *sorted(set().union(*expected.values()))]
            assert list(dataset.columns) == [*ours.columns, "size", "on_disk"]
            assert [str(pair.root / path) for path in dataset["path"]] == list(ours["path"])
            if query.get("scope") == "raw":  # PyBIDS leaves the entities of derivatives out
                theirs = pair.theirs.to_df(metadata=metadata, **query)
                # Files without any entity stand at the end, with PyBIDS in no order.
                tables = [table.sort_values("path", ignore_index=True) for table in (theirs, ours)]
                pd.testing.assert_frame_equal(*tables)


def rows_of(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Turn a table into the entities of each file, without those that are missing."""
    rows = table.to_dict("records")
    for row in rows:
        for name, value in list(row.items()):
            if isinstance(value, float) and value != value:
                del row[name]
    return {row.pop("path"): row for row in rows}


@pytest.mark.slow
@pytest.mark.parametrize("tree", ALL)
def test_getters_list_pybidss_values(pairs: Pairs, tree: str) -> None:
    """`get_subjects` and the like agree, those of metadata too, and an unknown one is an error."""
    pair = pairs[tree]
    fields = sorted(pair.theirs.get_entities(metadata=True))[:5]

    for name in ("subjects", "sessions", "tasks", "runs", "datatypes", "suffixes", "extensions"):
        for query in ({}, {"subject": "01"}):
            ours, theirs = (
                getattr(side, f"get_{name}")(**query) for side in (pair.ours, pair.theirs)
            )
            assert ignore_ties(ours) == ignore_ties(theirs), (name, query)
    for name in fields:
        ours = getattr(open_dataset(pair.root), f"get_{name}")()
        assert ignore_ties(ours) == ignore_ties(getattr(pair.theirs, f"get_{name}")()), name
    for side in (pair.ours, pair.ours.layout, pair.theirs):
        with pytest.raises(AttributeError, match="nonsense"):
            _ = side.get_nonsense


@pytest.mark.parametrize("tree", ALL)
def test_entities_of_layouts_are_pybidss(pairs: Pairs, tree: str) -> None:
    """The layout knows the same entities, metadata fields among them, in every scope."""
    pair = pairs[tree]

    for scope in ("all", "raw", "derivatives", "self"):
        for metadata in (None, True, False):
            ours = open_dataset(pair.root).layout.get_entities(scope, metadata)
            theirs = pair.theirs.get_entities(scope, metadata)
            assert ours.keys() == theirs.keys(), (scope, metadata)
            for name, entity in theirs.items():
                for what in ("name", "mandatory", "pattern", "directory", "dtype"):
                    assert getattr(ours[name], what) == getattr(entity, what)


@pytest.mark.parametrize("tree", ALL)
def test_layout_is_pybidss_in_all_else(pairs: Pairs, tree: str) -> None:
    """Files by path, derivatives, descriptions, the repr: whatever a layout has is alike."""
    pair = pairs[tree]
    ours, theirs = open_dataset(pair.root).layout, pair.theirs

    for scope in ("all", "raw", "derivatives", "self"):
        assert ours.get_files(scope).keys() == theirs.get_files(scope).keys()
    assert ours.files.keys() == theirs.files.keys()
    assert (repr(ours), ours.root) == (repr(theirs), theirs.root)
    assert ours.description == theirs.description
    assert ours.derivatives.keys() == theirs.derivatives.keys()
    for name, derivative in theirs.derivatives.items():
        assert ours.derivatives[name].description == derivative.description
        assert ours.derivatives[name].get(return_type="file") == derivative.get(return_type="file")
        assert repr(ours.derivatives[name]) == repr(derivative)
    for path in ("README", "sub-01", "nowhere.tsv", pair.root / "README"):
        for scope in ("all", "raw", "derivatives"):
            found = [side.get_file(path, scope=scope) for side in (ours, theirs)]
            assert getattr(found[0], "path", None) == getattr(found[1], "path", None)
    assert ours.get_metadata(pair.root / "nowhere.tsv") == {}


@pytest.mark.parametrize("tree", ALL)
def test_nearest_files_are_pybidss(pairs: Pairs, tree: str) -> None:
    """What PyBIDS builds on its queries works alike: `get_nearest`, parsing, building of paths."""
    pair = pairs[tree]
    ours, theirs = open_dataset(pair.root).layout, pair.theirs

    for image in theirs.get(extension=[".nii.gz", ".nii"], scope="raw")[:10]:
        assert ours.parse_file_entities(image.path) == theirs.parse_file_entities(image.path)
        if "suffix" in image.entities:
            query = {"extension": ".json", "strict": False, "all_": True}
            found = [side.get_nearest(image.path, **query) for side in (ours, theirs)]
            assert sorted(found[0]) == sorted(found[1]), image.path
    built = {"subject": "01", "task": "x", "suffix": "pwd", "datatype": "fusi"}
    assert ours.build_path(built, validate=False) == theirs.build_path(built, validate=False)
