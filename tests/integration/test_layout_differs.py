"""Where answers differ from plain PyBIDS on purpose: each row of the table in `docs/queries.md`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bids import BIDSLayout
from bids.exceptions import BIDSConflictingValuesError
from bids.layout import BIDSLayoutIndexer
from sqlalchemy.exc import OperationalError

from confusius_datasets import open_dataset
from confusius_datasets._layout.config import pybids_config
from confusius_datasets.errors import FilterError
from trees import awkward_files, inheritance_files, plain_layout, write_tree

IMAGE = "sub-01/fusi/sub-01_task-rest_pwd.nii.gz"


def described(**others: Any) -> dict[str, bytes]:
    """Return a dataset of an image, and sidecars of what content one likes."""
    files = {"dataset_description.json": {"Name": "x", "BIDSVersion": "1.10.0"}, **others}
    return {name: json.dumps(content).encode() for name, content in files.items()} | {IMAGE: b""}


@pytest.mark.parametrize("above", ["fusi", "sub-99/ses-x", "a_task-b/angio"])
def test_entities_are_those_below_the_root(tmp_path: Path, above: str) -> None:
    """Where a dataset lies says nothing of its files, whatever asks for their entities."""
    files = inheritance_files() | dict.fromkeys(("sub-01/fmap/sub-01_epi.nii.gz",), b"")
    files["sub-01/fmap/sub-01_epi.json"] = b'{"IntendedFor": "angio/sub-01_pwd.nii.gz"}'
    root = write_tree(tmp_path / above / "tree", files)
    layout = open_dataset(root).layout
    image = str(root / "sub-01/angio/sub-01_pwd.nii.gz")
    labels = {"subject": "01", "datatype": "angio", "suffix": "pwd", "extension": ".nii.gz"}

    assert layout.get_subjects() == ["01", "02", "10"]
    assert layout.get_datatypes() == ["angio", "fmap", "fusi", "micr"]
    assert (layout.get_sessions(), layout.get_tasks()) == ([], ["rest"])
    assert layout.parse_file_entities(image) == labels
    assert dict(layout.get_file(image).get_entities()) == labels
    assert Path(layout.get_nearest(image, extension=".json")).name == "sub-01_pwd.json"
    assert layout.get_fieldmap(image)["suffix"] == "epi"
    assert layout.get(return_type="dir", target="subject", subject="01") == [str(root / "sub-01")]


def test_fusi_bids_is_known(tmp_path: Path) -> None:
    """Datatypes and entities of fUSI-BIDS in all its drafts are known, padding of poses ignored."""
    names = [
        *(f"{kind}/sub-01_task-a_pwd.nii.gz" for kind in ("fusi", "angio", "susi")),
        "fusi/sub-01_task-a_pose-01_chunk-02_proc-x_pwd.nii.gz",
        "motion/sub-01_task-a_tracksys-DLC_motion.tsv",
        "fusi/sub-01_stat-t_statmap.nii.gz",
    ]
    layout = open_dataset(write_tree(tmp_path, {f"sub-01/{name}": b"" for name in names})).layout
    plain = BIDSLayout(tmp_path, validate=False)

    assert layout.get_datatypes() == ["angio", "fusi", "motion", "susi"]
    assert plain.get_datatypes() == ["motion"]
    assert not {"pose", "stat"} & plain.get_entities().keys()
    assert layout.get_stats() == ["t"]
    for pose in (1, "1", "01", [1], Ellipsis):
        found = layout.get() if pose is Ellipsis else layout.get(pose=pose)
        assert len(found) == (6 if pose is Ellipsis else 1)
    (posed,) = layout.get(chunk="02", proc="x")
    assert str(posed.entities["pose"]) == "01"
    assert layout.get_tracksys() == ["DLC"]


def test_derivative_without_description_is_found_by_folder(tmp_path: Path) -> None:
    """Every folder of derivatives is one, where PyBIDS alone passes it over in silence."""
    root = write_tree(tmp_path, inheritance_files())
    ours = open_dataset(root)
    theirs = BIDSLayout(root, validate=False)
    theirs.add_derivatives(root / "derivatives", validate=False)

    found = ours.get(scope="no-description", suffix="pwd")

    assert [file.entities["desc"] for file in found] == ["clean"]
    assert list(theirs.derivatives) == ["derivatives/glm"]
    assert ours.layout.derivatives["derivatives/no-description"].source_pipeline == "no-description"


def test_derivative_is_known_by_folder_and_by_pipeline(tmp_path: Path) -> None:
    """A scope is the name of a folder, of a pipeline, or of both in different derivatives."""
    files = awkward_files()
    files["derivatives/first/sub-01_pwd.nii.gz"] = b""
    ours = open_dataset(write_tree(tmp_path, files))

    def folders(scope: str) -> set[str]:
        found = ours.layout.find_paths(scope=scope)
        return {Path(path).relative_to(ours.root).parts[1] for path in found}

    assert folders("old") == folders("derivatives/old") == folders("old-pipeline") == {"old"}
    assert folders("first") == {"mine", "also", "first"}
    assert folders("second") == set()


def test_indexes_and_releases_are_left_out(tmp_path: Path) -> None:
    """What says where data come from is no data, nor are releases that another program keeps."""
    names = ("dataset_index", "dataverse_zip_index", "manifest", "s3_index")
    indexes = dict.fromkeys((f"{name}.json" for name in names), b"{}")
    root = write_tree(
        tmp_path,
        described() | indexes | {f"1.0.0/{IMAGE}": b"", f"derivatives/x/{IMAGE}": b""},
    )

    found = [file.relpath for file in open_dataset(root).layout.get(scope="raw")]

    assert sorted(found) == ["dataset_description.json", IMAGE]
    assert {file.relpath for file in BIDSLayout(root, validate=False).get()} >= {
        f"1.0.0/{IMAGE}",
        *indexes,
    }


def test_configurations_in_folders_are_not_read(tmp_path: Path) -> None:
    """`layout_config.json` adds no entities here, and is no file of the dataset for either."""
    entity = {"name": "extra", "pattern": "[_/]+task-([a-z]+)"}
    config = {"name": "extra", "entities": [entity]}
    root = write_tree(tmp_path, described(**{"layout_config.json": config}))
    layout = open_dataset(root).layout

    assert "extra" not in layout.get_entities()
    assert "extra" in BIDSLayout(root, validate=False).get_entities()
    assert len(layout.get()) == 2


def test_field_called_as_an_entity_is_metadata_alone(tmp_path: Path) -> None:
    """An entity is what names of files say, whether sidecars have been read or not."""
    root = write_tree(tmp_path, described(**{"pwd.json": {"sample": {"Units": "s"}, "run": 7}}))
    layout, plain = open_dataset(root).layout, plain_layout(root)

    for _ in range(2):
        assert len(layout.get(sample=None)) == 3
        with pytest.warns(UserWarning, match="No file has run"):
            assert layout.get(run=7) == layout.get(sample="s", regex_search=True) == []
        assert layout.get_runs() == layout.get_samples() == []
        (image,) = layout.get(extension="nii.gz", run=None)
        assert image.get_metadata() == {"sample": {"Units": "s"}, "run": 7}
        assert dict(image.entities) == dict(image.get_entities())
    assert len(plain.get(run=7)) == 1


def test_name_of_a_file_counts_against_its_sidecar(tmp_path: Path) -> None:
    """PyBIDS refuses a whole dataset for one contradiction; the file's name is right here."""
    root = write_tree(tmp_path, described(**{"pwd.json": {"task": "other", "Known": 1}}))

    with pytest.raises(BIDSConflictingValuesError):
        plain_layout(root)
    (image,) = open_dataset(root).layout.get(Known=1, task="rest")
    assert image.get_metadata() == {"Known": 1}


def test_sidecar_that_cannot_be_read_stops_only_who_needs_it(tmp_path: Path) -> None:
    """PyBIDS refuses the dataset with an `OSError`; here a query that needs the file does."""
    files = described(**{"task-other_pwd.json": {"RepetitionTime": 0.4}})
    files["sub-01/fusi/sub-01_task-rest_pwd.json"] = b"{"
    files["sub-02/fusi/sub-02_task-other_pwd.nii.gz"] = b""
    root = write_tree(tmp_path, files)
    layout = open_dataset(root).layout

    with pytest.raises(OSError, match="decode JSON"):
        plain_layout(root)
    assert len(layout.get(RepetitionTime=0.4, task="other")) == 1
    with pytest.raises(
        OSError, match=r"sub-01_task-rest_pwd\.json: this sidecar is not valid JSON"
    ):
        layout.get(RepetitionTime=0.4)


def test_sidecar_that_is_gone_is_missed_for_files_that_are_here(tmp_path: Path) -> None:
    """Links to what is not fetched yet have no metadata, in PyBIDS and here; files must have."""
    root = write_tree(tmp_path, described(**{"pwd.json": {"Known": 1}}))
    link = root / "sub-01/fusi/sub-01_task-rest_pwd.json"
    link.symlink_to("nowhere")

    with pytest.raises(FileNotFoundError):
        plain_layout(root)
    with pytest.raises(FileNotFoundError, match="JSON sidecar is missing"):
        open_dataset(root).layout.get(Known=1)
    (root / IMAGE).unlink()
    (root / IMAGE).symlink_to("nowhere")
    assert plain_layout(root).get_metadata(root / IMAGE) == {}
    assert open_dataset(root).layout.get_metadata(root / IMAGE) == {}


def test_entities_of_derivatives_tell_sidecars_of_raw_files_apart(tmp_path: Path) -> None:
    """PyBIDS knows `desc` in derivatives only, and takes another file's sidecar for a raw one's."""
    stem = "sub-01/fusi/sub-01_task-rest"
    files = {f"{stem}_desc-{desc}_pwd.json": {"Which": desc} for desc in "ab"}
    images = {f"{stem}_desc-{desc}_pwd.nii.gz": b"" for desc in "ab"}
    root = write_tree(tmp_path, described(**files) | images)
    layout, plain = open_dataset(root).layout, plain_layout(root)

    second = root / f"{stem}_desc-b_pwd.nii.gz"

    assert layout.get_metadata(second) == {"Which": "b"}
    assert plain.get_metadata(second) == {"Which": "a"}
    sidecars = layout.get_file(second).get_associations("Metadata")
    assert [file.filename for file in sidecars] == ["sub-01_task-rest_desc-b_pwd.json"]


def test_sidecar_of_a_sibling_never_applies(tmp_path: Path) -> None:
    """PyBIDS lets the first of a folder win, and looks at the keys it knows alone."""
    stem = "sub-01/fusi/sub-01_task-rest"
    which = {"": 0, "_rec-svd": 1, "_run-02": 2, "_plane-1": 3, "_plane-2": 4}
    sidecars = {f"{stem}{name}_pwd.json": {"Which": number} for name, number in which.items()}
    images = {f"{stem}{name}_pwd.nii.gz": b"" for name in which}
    root = write_tree(tmp_path, described(**sidecars) | images)
    layout, plain = open_dataset(root).layout, plain_layout(root)

    def asked(side: Any) -> list[Any]:
        paths = [root / f"{stem}{name}_pwd.nii.gz" for name in which]
        return [side.get_metadata(path)["Which"] for path in paths]

    assert asked(layout) == [0, 1, 2, 3, 4]
    assert asked(plain) != [0, 1, 2, 3, 4]
    for name, number in which.items():
        (found,) = layout.get(Which=number, extension="nii.gz")
        assert found.filename == f"{Path(stem).name}{name}_pwd.nii.gz"
        sidecar, *_ = found.get_associations("Metadata")
        assert sidecar.filename == found.filename.replace(".nii.gz", ".json")


def test_name_of_an_image_says_which_sidecars_apply_and_not_its_folder(tmp_path: Path) -> None:
    """PyBIDS reads the session from the folder first, also of a name that has another or none."""
    folder = "sub-01/ses-1/fusi"
    files = described() | {
        f"{folder}/sub-01_task-a_pwd.nii.gz": b"",
        f"{folder}/sub-01_ses-2_pwd.nii.gz": b"",
        f"{folder}/sub-01_ses-1_pwd.json": b'{"Which": 1}',
    }
    root = write_tree(tmp_path, files)
    ours, theirs = open_dataset(root).layout, plain_layout(root)

    for name in ("sub-01_task-a_pwd.nii.gz", "sub-01_ses-2_pwd.nii.gz"):
        path = root / folder / name
        assert theirs.get_metadata(path) == {"Which": 1}
        assert ours.get_metadata(path) == {}
        assert ours.get_file(path).entities["session"] == "1"  # as for PyBIDS


@pytest.mark.slow
def test_sidecar_with_more_entities_wins_within_a_folder(tmp_path: Path) -> None:
    """The file's own sidecar has the last word; PyBIDS goes by the order of names."""
    files, recording = awkward_files(), "sub-01/func/sub-01_task-a_run-1_recording-eye_physio"
    root = write_tree(tmp_path / "tree", files)
    layout, plain = open_dataset(root).layout, plain_layout(root)

    assert layout.get_metadata(root / f"{recording}.tsv.gz")["SamplingFrequency"] == 1.0
    assert plain.get_metadata(root / f"{recording}.tsv.gz")["SamplingFrequency"] == 2.0
    image = layout.get_file(root / "sub-01/fusi/sub-01_task-a_run-1_pwd.nii.gz")
    chain = [image.get_associations("Metadata")[0]]
    while parents := chain[-1].get_associations("Parent"):
        chain += parents
    assert [file.filename for file in image.get_associations("Metadata")] == [chain[0].filename]
    assert {file.filename for file in chain[0].get_associations("Child")} == {"task-a_pwd.json"}


def test_labels_of_resolutions_are_text(tmp_path: Path) -> None:
    """`res-2` and `res-02` are two grids; `run-1` and `run-01` are one run, as are chunks."""
    stem = "derivatives/glm/sub-01/sub-01"
    keys = ("res-2", "res-02", "chunk-1", "chunk-01")
    files = {f"{stem}_{key}_pwd.json": {key: True} for key in keys}
    images = {f"{stem}_{key}_pwd.nii.gz": b"" for key in keys}
    root = write_tree(tmp_path, described(**files) | images)
    layout = open_dataset(root).layout

    found = {key: set(layout.get_metadata(root / f"{stem}_{key}_pwd.nii.gz")) for key in keys}

    chunks = {"chunk-1", "chunk-01"}
    assert found == {
        "res-2": {"res-2"},
        "res-02": {"res-02"},
        "chunk-1": chunks,
        "chunk-01": chunks,
    }
    assert set(plain_layout(root).get_metadata(root / f"{stem}_chunk-1_pwd.nii.gz")) == {"chunk-1"}


def test_dataset_in_a_folder_inherits_nothing_from_above(tmp_path: Path) -> None:
    """A description ends a dataset, where PyBIDS goes up to its own root."""
    image = "sub-01/nested/sub-02/sub-02_pwd.nii.gz"
    nested = {"sub-01/nested/dataset_description.json": {"Name": "y", "BIDSVersion": "1.10.0"}}
    sidecars = {"pwd.json": {"Above": 1}, "sub-01/nested/pwd.json": {"Inside": 1}}
    root = write_tree(tmp_path, described(**nested, **sidecars) | {image: b""})

    assert open_dataset(root).layout.get_metadata(root / image) == {"Inside": 1}
    assert plain_layout(root).get_metadata(root / image) == {"Above": 1, "Inside": 1}


@pytest.fixture(scope="module")
def plain_inheritance(tmp_path_factory: pytest.TempPathFactory) -> BIDSLayout:
    """Open a tree of sidecars at every level with PyBIDS alone."""
    return plain_layout(write_tree(tmp_path_factory.mktemp("plain"), inheritance_files()))


@pytest.mark.parametrize("return_type", ["object", "filename", "id", "dir"])
def test_value_that_is_no_regular_expression_is_named(
    tmp_path: Path, plain_inheritance: BIDSLayout, return_type: str
) -> None:
    """PyBIDS says only that a function in its database raised; the error is still one of these."""
    root = write_tree(tmp_path / "tree", inheritance_files())
    query: dict[str, Any] = {"return_type": return_type, "target": "subject"}
    query["suffix"] = ["pwd", "b[old"]

    with pytest.raises(FilterError, match=r"^suffix='b\[old' is not a regular expression") as no:
        open_dataset(root).get(regex_search=True, **query)

    assert isinstance(no.value, OperationalError)
    with pytest.raises(OperationalError):
        plain_inheritance.get(regex_search=True, **query)
    with pytest.warns(UserWarning, match=r"No file at all has suffix='b\[old'"):
        assert open_dataset(root).get(**query)  # without regex_search, any text is a value


def test_derivatives_that_a_user_adds_are_pybidss(tmp_path: Path) -> None:
    """A derivative that lies elsewhere can be added to the layout, as to any of PyBIDS's."""
    root = write_tree(tmp_path / "raw", described(**{"pwd.json": {"Known": 1}}))
    own = described(**{"pwd.json": {"Known": 2, "Own": True}})
    own["dataset_description.json"] = json.dumps(
        {"Name": "x", "BIDSVersion": "1.10.0", "GeneratedBy": [{"Name": "elsewhere"}]}
    ).encode()
    write_tree(tmp_path / "own", own)
    layout = open_dataset(root).layout

    config = [pybids_config(), "derivatives"]
    indexer = BIDSLayoutIndexer(validate=False)
    layout.add_derivatives(tmp_path / "own", config=config, validate=False, indexer=indexer)

    assert len(layout.get(suffix="pwd", extension="nii.gz")) == 2
    assert len(layout.get(Known=[1, 2])) == 2
    assert len(layout.get(scope="elsewhere", Own=True)) == 1
    assert layout.get_Known() == [1, 2]
    assert layout.get_metadata(tmp_path / "own" / IMAGE) == {"Known": 2, "Own": True}
