"""The layout answers as plain PyBIDS does on the same tree."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from bids import BIDSLayout
from bids.layout import BIDSFile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from confusius_datasets import Query, open_dataset
from confusius_datasets._dataset import BIDSDataset
from trees import (
    PUBLIC_TREES,
    inheritance_files,
    plain_layout,
    replica_tree,
    sample_files,
    write_tree,
)

TREES: dict[str, Callable[[], dict[str, bytes]]] = {
    "sample": sample_files,
    "nunez": lambda: replica_tree("nunez"),
    "cybis": lambda: replica_tree("cybis"),
    "inheritance": inheritance_files,
}

PUBLIC = (
    sorted(path.name for path in PUBLIC_TREES.iterdir() if path.is_dir())
    if (PUBLIC_TREES.is_dir())
    else []
)


class Pair:
    """One tree, opened by us and by PyBIDS."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ours: BIDSDataset = open_dataset(root)
        self.theirs: BIDSLayout = plain_layout(root)

    def ask(self, side: Any, /, **query: Any) -> tuple[str, Any]:
        """Ask a side, and return its answer or its error in a comparable form."""
        try:
            found = side.get(**query)
        except Exception as error:  # noqa: BLE001 - whatever it is, both must raise it
            kind = next(base for base in type(error).__mro__ if "confusius" not in base.__module__)
            return ("error", kind.__name__)
        return ("answer", [getattr(answer, "path", answer) for answer in found])

    def compare(self, **query: Any) -> None:
        """Ask both, and want the same answer in the same order."""
        assert self.ask(self.ours.layout, **query) == self.ask(self.theirs, **query), query
        assert self.ask(self.ours, **query) == self.ask(self.theirs, **query), query


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    """Open every tree once; the public ones where this machine has them."""
    opened = {}
    for name, make in TREES.items():
        opened[name] = Pair(write_tree(tmp_path_factory.mktemp(name) / "tree", make()))
    for name in PUBLIC:
        opened[name] = Pair(PUBLIC_TREES / name)
    return opened


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
    {"task": "re", "regex_search": True},
    {"acquisition": "slice0[13]", "regex_search": True},
    {"scope": "raw"},
    {"scope": "derivatives"},
    {"scope": "self", "suffix": "pwd"},
    {"scope": ["raw", "derivatives"], "extension": ".json"},
    {"scope": "glm-speed"},
    {"scope": "a-pipeline"},
    {"scope": "groundtruth", "suffix": "mask"},
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
    {"filters": {"subject": "01"}},
    {"subject": []},
    {"RepetitionTime": 0.4},
    {"RepetitionTime": 0.5, "extension": ".nii.gz"},
    {"RepetitionTime": [0.4, 0.5]},
    {"RepetitionTime": Query.ANY, "suffix": "pwd"},
    {"TaskName": "rest", "subject": "01"},
    {"ProbeType": "matr", "regex_search": True},
    {"DelayAfterTrigger": 0.6},
    {"return_type": "id", "target": "ProbeType"},
    {"return_type": "id", "target": "RepetitionTime", "subject": "02"},
]


@pytest.mark.parametrize("tree", [*TREES, *PUBLIC])
@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_query_is_answered_alike(pairs: dict[str, Pair], tree: str, query: dict[str, Any]) -> None:
    """The same files in the same order, or an error of the same kind."""
    pairs[tree].compare(**query)


values = st.sampled_from(
    [
        "01",
        "02",
        "rest",
        "slice01",
        "CR020",
        "rat73",
        "mouse1",
        "pwd",
        "fusi",
        "day1",
        ".json",
        1,
        2,
    ]
)
anything = values | st.lists(values, max_size=3) | st.sampled_from([None, *Query])
entities = st.sampled_from(
    ["subject", "session", "task", "acquisition", "run", "suffix", "datatype", "pose", "desc"]
)


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(
    tree=st.sampled_from(list(TREES)),
    filters=st.dictionaries(entities, anything, max_size=3),
    extension=st.sampled_from([None, "nii.gz", ".json", "tsv"]),
    returned=st.sampled_from(
        [{}, {"return_type": "file"}, {"return_type": "id", "target": "subject"}]
    ),
    scope=st.sampled_from(["all", "raw", "derivatives"]),
)
def test_any_query_is_answered_alike(
    pairs: dict[str, Pair],
    tree: str,
    filters: dict[str, Any],
    extension: str | None,
    returned: dict[str, Any],
    scope: str,
) -> None:
    """Whatever the combination of filters, both give the same."""
    query = filters | returned | {"scope": scope}
    if extension:
        query["extension"] = extension

    pairs[tree].compare(**query)


@pytest.mark.parametrize("tree", [*TREES, *PUBLIC])
def test_metadata_are_pybidss(pairs: dict[str, Pair], tree: str) -> None:
    """What files inherit is the same, asked of the layout and of the file."""
    pair = pairs[tree]

    for theirs in pair.theirs.get():
        ours = pair.ours.layout.get_file(theirs.path)
        assert dict(ours.get_metadata()) == dict(theirs.get_metadata()), theirs.path
        assert pair.ours.layout.get_metadata(theirs.path) == pair.theirs.get_metadata(theirs.path)
        assert ours.get_entities() == theirs.get_entities(), theirs.path
        assert type(ours).__name__ == type(theirs).__name__
        assert repr(ours) == repr(theirs)
        assert ours.relpath == theirs.relpath


@pytest.mark.parametrize("tree", [*TREES, *PUBLIC])
def test_associations_are_pybidss_and_those_of_fusi_images(
    pairs: dict[str, Pair], tree: str
) -> None:
    """What belongs together is the same, but for recordings of fUSI, which PyBIDS leaves alone."""
    pair = pairs[tree]

    for theirs in pair.theirs.get(scope="self"):
        ours = pair.ours.layout.get_file(theirs.path)
        for kind in (None, "Metadata", "Child", "Parent", "IntendedFor", "InformedBy"):
            expected = {file.path for file in theirs.get_associations(kind)}
            found = {file.path for file in ours.get_associations(kind)}
            assert expected <= found, (theirs.path, kind)
            for path in found - expected:
                assert any("_pwd.nii" in name for name in (path, theirs.path)), (theirs.path, kind)
                assert kind in (None, "IntendedFor", "InformedBy")


def test_events_belong_to_their_fusi_images(pairs: dict[str, Pair]) -> None:
    """Events beside an image, and events in the root, describe the images of their task."""
    beside = pairs["sample"].ours.get(suffix="events", extension=".tsv", download=False)
    (root,) = pairs["inheritance"].ours.get(suffix="events", extension=".tsv")

    for events in beside:
        (image,) = events.get_associations("IntendedFor")
        assert image.filename == events.filename.replace("_events.tsv", "_pwd.nii.gz")
        assert events.path in {file.path for file in image.get_associations("InformedBy")}
    assert len(root.get_associations("IntendedFor")) == 4


@pytest.mark.parametrize("tree", [*TREES, *PUBLIC])
def test_tables_hold_pybidss_values(pairs: dict[str, Pair], tree: str) -> None:
    """`to_df` of the layout is PyBIDS's, and the dataset's has two columns more."""
    pair = pairs[tree]
    query = {"scope": "raw", "extension": [".nii.gz", ".tsv"]}

    theirs = pair.theirs.to_df(**query)
    ours = pair.ours.layout.to_df(**query)
    dataset = pair.ours.to_df(**query)

    assert ours.fillna("-").astype(str).equals(theirs[ours.columns].fillna("-").astype(str))
    assert list(dataset.columns) == [*ours.columns, "size", "on_disk"]


@pytest.mark.parametrize("tree", [*TREES, *PUBLIC])
def test_getters_list_pybidss_values(pairs: dict[str, Pair], tree: str) -> None:
    """`get_subjects` and the like agree, and an unknown one is the same error."""
    pair = pairs[tree]

    for name in ("subjects", "sessions", "tasks", "runs", "datatypes", "suffixes", "extensions"):
        assert getattr(pair.ours, f"get_{name}")() == getattr(pair.theirs, f"get_{name}")()
    with pytest.raises(AttributeError):
        _ = pair.ours.get_nonsense


def test_derivative_without_description_is_found_by_folder(pairs: dict[str, Pair]) -> None:
    """Every folder of derivatives is one, wanted where PyBIDS alone passes it over in silence."""
    ours = pairs["inheritance"].ours

    found = ours.get(scope="no-description", suffix="pwd")

    assert [file.entities["desc"] for file in found] == ["clean"]
    assert pairs["inheritance"].theirs.get(scope="no-description") == []


def test_unknown_entity_names_pybidss_word_for_it(pairs: dict[str, Pair]) -> None:
    """BIDS's own key is the likeliest slip, so the message translates it."""
    with pytest.raises(ValueError, match=r"'acq' is .*\. PyBIDS calls it 'acquisition'"):
        pairs["sample"].ours.get(acq="slice01")


def test_files_outlive_their_dataset(pairs: dict[str, Pair]) -> None:
    """A file can be asked for its metadata when the object it came from is gone."""
    files = open_dataset(pairs["inheritance"].root).get(subject="01", suffix="pwd", pose=2)

    image = next(file for file in files if file.entities["extension"] == ".nii.gz")

    assert image.get_metadata()["DelayAfterTrigger"] == 0.6
    assert image.entities["subject"] == "01"


def test_files_can_be_used_from_many_threads(pairs: dict[str, Pair]) -> None:
    """Eight threads ask the same files at once, and all get what one gets."""

    def ask(file: BIDSFile) -> tuple[object, ...]:
        return (
            file.entities["subject"],
            file.get_metadata().get("RepetitionTime"),
            len(file.get_associations()),
            file.relpath,
        )

    for _ in range(5):
        layout = open_dataset(pairs["sample"].root).layout
        files = layout.get(suffix="pwd", extension=".nii.gz")
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(ask, files * 3))
            listed = list(pool.map(lambda one: one.get_subjects(), [layout] * 16))

        assert found == [ask(file) for file in files] * 3
        assert listed == [["mouse1", "mouse2"]] * 16
