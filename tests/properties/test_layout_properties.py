"""Whatever a tree looks like, its layout is PyBIDS's."""

from __future__ import annotations

import gzip
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import nifti_bytes
from confusius_datasets import Query, load, open_dataset
from rules import by_folder, linked_otherwise, sidecars_by_rule, without_differences
from trees import plain_layout, write_tree

FIELDS = st.dictionaries(
    st.sampled_from(["RepetitionTime", "Flag", "Sizes", "Note"]),
    st.sampled_from([0.4, 1, "1", True, None, [1, 2], {"a": [1]}, ""]),
    max_size=3,
)


@st.composite
def stems(draw: st.DrawFn, *, subject: str | None) -> str:
    """Draw a file's name without its ending, entities in any combination."""
    labels = [("sub", subject)] if subject else []
    for key, values in {
        "ses": ["x", "X2"],
        "task": ["rest", "a+b"],
        "acq": ["slice01", "02"],
        "run": ["1", "01", "2"],
        "pose": ["1", "02"],
    }.items():
        if draw(st.booleans()):
            labels.append((key, draw(st.sampled_from(values))))
    suffix = draw(st.sampled_from(["pwd", "pwd", "bold", "events", "physio", "T1w"]))
    return "_".join([*(f"{key}-{label}" for key, label in labels), suffix])


@st.composite
def trees(draw: st.DrawFn) -> dict[str, bytes]:
    """Draw a dataset of a few files and sidecars, at any level, raw and derived."""
    description = {"Name": "x", "BIDSVersion": "1.10.0"}
    files: dict[str, Any] = {"dataset_description.json": description}
    for _ in range(draw(st.integers(1, 12))):
        prefix = draw(st.sampled_from(["", "", "", "derivatives/one/"]))
        subject = draw(st.sampled_from(["01", "02", "10"]))
        inside = draw(st.sampled_from(["/ses-x", ""])) + draw(
            st.sampled_from(["/fusi", "/func", "/angio", ""])
        )
        folder = f"{prefix}sub-{subject}{inside}/"
        ending = draw(st.sampled_from([".nii.gz", ".nii", ".tsv", ".tsv.gz", ".zarr/0"]))
        files[f"{folder}{draw(stems(subject=subject))}{ending}"] = None
        where, whose = draw(
            st.sampled_from([(folder, subject), (prefix, None), (f"{prefix}sub-{subject}/", None)])
        )
        files[f"{where}{draw(stems(subject=whose))}.json"] = draw(FIELDS)
    return {
        name: b"" if content is None else json.dumps(content).encode()
        for name, content in files.items()
    }


QUERIES: list[dict[str, Any]] = [
    {},
    {"subject": "01", "extension": "nii.gz"},
    {"run": 1},
    {"session": None, "suffix": ["pwd", "bold"]},
    {"task": "R", "regex_search": True},
    {"RepetitionTime": Query.ANY},
    {"RepetitionTime": 0.4, "subject": "10"},
    {"Flag": [True, None], "scope": "raw", "invalid_filters": "drop"},
    {"Sizes": "[1, 2]", "invalid_filters": "allow"},
    {"return_type": "id", "target": "Note"},
    {"return_type": "dir", "target": "subject"},
]


def ask(layout: Any, query: dict[str, Any]) -> Any:
    """Ask a layout, and bring answers and errors into a comparable form."""
    try:
        return [getattr(file, "path", file) for file in layout.get(**query)]
    except ValueError as error:
        return "recognized" in str(error) or "Unknown target" in str(error)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:No file at all has:UserWarning")
@settings(max_examples=40)
@given(files=trees())
def test_layout_of_any_tree_is_pybidss(files: dict[str, bytes]) -> None:
    """Files, entities, metadata, associations, tables and answers are the same."""
    files = without_differences(files)
    otherwise = linked_otherwise(files)
    with tempfile.TemporaryDirectory() as folder:
        root = write_tree(Path(folder) / "tree", files)
        theirs, ours = plain_layout(root), open_dataset(root).layout

        for query in QUERIES:
            found = ask(open_dataset(root).layout, query)
            expected = ask(theirs, query)
            if query.get("return_type") == "dir":  # PyBIDS wants a file right in the folder
                assert set(expected) <= set(found)
            else:
                assert found == expected, query
        for file in theirs.get():
            mine = ours.get_file(file.path)
            assert mine.get_metadata() == file.get_metadata(), file.relpath
            assert mine.entities == file.entities
            if Path(file.path).relative_to(root).as_posix() in otherwise:
                continue
            for kind in ("Metadata", "Child", "Parent"):
                found = {other.path for other in mine.get_associations(kind)}
                assert found == {other.path for other in file.get_associations(kind)}
        tables = [side.to_df(metadata=True, scope="raw") for side in (ours, theirs)]
        tables = [table.sort_values("path", ignore_index=True) for table in tables]
        assert tables[0].equals(tables[1])
        assert ours.get_entities().keys() == theirs.get_entities().keys()


FIELDS_OF_OURS = ["First", "Second", "Third"]
"""Fields that nothing but the sidecars of a drawn tree say anything about."""


@st.composite
def trees_to_load(draw: st.DrawFn) -> dict[str, bytes]:
    """Draw a tree of images and sidecars whose fields tell which of them applied."""
    image = gzip.compress(nifti_bytes())
    files: dict[str, bytes] = {}
    datasets = draw(st.lists(st.sampled_from(["", "nested/", "derivatives/one/"]), min_size=1))
    for place in ["", *datasets]:
        if place == "nested/" or draw(st.booleans()):  # without one, nobody can know of it
            files[f"{place}dataset_description.json"] = b'{"Name": "x", "BIDSVersion": "1.10.0"}'
        for _ in range(draw(st.integers(1, 5))):
            keys = ["_plane-1", "_run-01", "_run-1", "_task-a", "_desc-x"]
            stem = "".join(draw(st.lists(st.sampled_from(keys), max_size=2, unique=True)))
            inside = draw(st.sampled_from(["sub-01/", "sub-01/fusi/", "sub-01/ses-1/x/fusi/"]))
            files[f"{place}{inside}sub-01{stem}_pwd.nii.gz"] = image
            content = draw(st.dictionaries(st.sampled_from(FIELDS_OF_OURS), st.integers(0, 9)))
            whose, where = draw(st.sampled_from([("sub-01", inside), ("", ""), ("sub-01", "")]))
            name = f"{whose}{stem}_pwd.json".removeprefix("_")
            files[f"{place}{where}{name}"] = json.dumps(content).encode()
    return files


@pytest.mark.slow
@settings(max_examples=40)
@given(files=trees_to_load())
def test_load_and_layout_say_the_same_of_any_image(files: dict[str, bytes]) -> None:
    """Every field of every image is the one in `attrs`, in the layout, and in the rule's merge.

    The root may have no description: then a path alone must tell where the dataset begins.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = write_tree(Path(folder) / "tree", files)
        ds = open_dataset(root)
        folders = by_folder(files)

        images = [path for path in files if path.endswith(".nii.gz")]
        for relpath in images:
            expected: dict[str, Any] = {}
            for sidecar in sidecars_by_rule(relpath, folders):
                expected |= json.loads(files[sidecar])
            assert ds.layout.get_metadata(root / relpath) == expected, relpath
            for array in (load(root / relpath), ds.load(relpath)):
                attributes = array.attrs
                found = {name: attributes[name] for name in FIELDS_OF_OURS if name in attributes}
                assert found == expected, relpath
