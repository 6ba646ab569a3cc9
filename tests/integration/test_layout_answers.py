"""What public reports on PyBIDS and its users found to go wrong, asked of this package's layout."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from bids import BIDSLayout
from bids.exceptions import BIDSValidationError
from bids.exceptions import NoMatchError as PyBIDSNoMatchError

from builders import nifti_bytes
from confusius_datasets import open_dataset
from confusius_datasets._text import REPAIR_HINT
from confusius_datasets.errors import FileFormatError, FilterError, MissingFileError, NoMatchError
from trees import inheritance_files, plain_layout, replica_tree, write_tree

IMAGE = "sub-01/fusi/sub-01_task-a_pwd.nii.gz"

TABLE = (pd.errors.ParserError, OSError, EOFError)
"""What pandas raises of a damaged table, depending on the damage."""


def tree(folder: Path, files: dict[str, Any]) -> Path:
    """Write a described dataset; contents that are dictionaries become JSON."""
    files = {"dataset_description.json": {"Name": "x", "BIDSVersion": "1.10.0"}, **files}
    return write_tree(
        folder / "tree",
        {
            path: json.dumps(content).encode() if isinstance(content, dict) else content
            for path, content in files.items()
        },
    )


@pytest.mark.slow
def test_saved_layout_has_metadata_and_associations(tmp_path: Path) -> None:
    """PyBIDS loads what was saved with nothing lost, derivatives too; the layout goes on."""
    root = write_tree(tmp_path / "tree", inheritance_files())
    layout = open_dataset(root).layout
    before = layout.get(RepetitionTime=0.5)

    layout.save(tmp_path / "saved")
    layout.save(tmp_path / "saved")  # in place of the first
    loaded = BIDSLayout.load(tmp_path / "saved")

    assert layout.get(RepetitionTime=0.5) == before
    assert [file.path for file in loaded.get(scope="raw")] == [
        file.path for file in layout.get(scope="raw")
    ]
    for ours in layout.get(scope="raw"):
        theirs = loaded.get_file(ours.path)
        assert theirs.get_metadata() == ours.get_metadata()
        found = [{file.path for file in one.get_associations()} for one in (ours, theirs)]
        assert found[0] == found[1]
    assert list(loaded.derivatives) == ["derivatives/glm"]
    (statmap,) = loaded.get(scope="a-pipeline", suffix="statmap", extension=".nii.gz")
    assert statmap.get_metadata() == {"Sources": ["bids::pwd.json"]}


@pytest.mark.slow
def test_layout_saved_is_loaded_where_this_package_is_not_imported(tmp_path: Path) -> None:
    """The database has PyBIDS's own classes of files."""
    root = tree(tmp_path, {IMAGE: b"", "pwd.json": {"Known": 1}})
    open_dataset(root).layout.save(tmp_path / "saved")
    script = (
        "import sys; from bids import BIDSLayout; layout = BIDSLayout.load(sys.argv[1])\n"
        "assert not any(name.startswith('confusius') for name in sys.modules)\n"
        "print([len(layout.get(Known=1)), type(layout.get(Known=1)[0]).__name__])"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "saved")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[1, 'BIDSImageFile']"


def test_save_passes_over_a_damaged_sidecar_and_says_so(tmp_path: Path) -> None:
    """One file's metadata are missing in what is saved; nobody else's."""
    other = IMAGE.replace("01", "02")
    files = {IMAGE: b"", other: b"", IMAGE.replace(".nii.gz", ".json"): b"{", "pwd.json": {"A": 1}}
    root = tree(tmp_path, files)

    with pytest.warns(UserWarning, match=r"metadata of 1 file are not saved.*sub-01_task-a_pwd"):
        open_dataset(root).layout.save(tmp_path / "saved")

    loaded = BIDSLayout.load(tmp_path / "saved")
    assert [file.filename for file in loaded.get(A=1)] == [Path(other).name]


def test_folder_of_derivatives_that_is_a_dataset_is_one_derivative(tmp_path: Path) -> None:
    """As fMRIPrep writes subjects right into it; a dataset beside them stays one of its own."""
    made = {"Name": "o", "BIDSVersion": "1.10.0", "GeneratedBy": [{"Name": "fMRIPrep"}]}
    files: dict[str, Any] = {
        "derivatives/dataset_description.json": made,
        "derivatives/desc-preproc_bold.json": {"SkullStripped": True},
        "derivatives/logs/CITATION.md": b"",
        "derivatives/sourcedata/freesurfer/x": b"",
        "derivatives/own/dataset_description.json": {**made, "GeneratedBy": [{"Name": "own"}]},
        "derivatives/own/sub-01/func/sub-01_task-a_desc-preproc_bold.nii.gz": b"",
    }
    for subject in ("01", "02"):
        stem = f"derivatives/sub-{subject}/func/sub-{subject}_task-a_desc-preproc_bold"
        files[f"{stem}.nii.gz"] = b""
    root = tree(tmp_path, files)
    layout = open_dataset(root).layout

    images = layout.get(scope="fMRIPrep", extension=".nii.gz")

    assert list(layout.derivatives) == ["derivatives", "derivatives/own"]
    assert [image.entities["subject"] for image in images] == ["01", "02"]
    assert [image.get_metadata() for image in images] == [{"SkullStripped": True}] * 2
    assert len(layout.get(scope="fMRIPrep")) == 5
    assert layout.get(scope="own", extension=".nii.gz")[0].get_metadata() == {}
    theirs = BIDSLayout(root, validate=False, derivatives=True)
    assert theirs.derivatives["derivatives"].source_pipeline == "fMRIPrep"


def test_folders_are_those_of_subjects_and_sessions_with_a_match(tmp_path: Path) -> None:
    """Also where a folder holds folders alone; PyBIDS passes these over."""
    names = ["sub-01/ses-a/fusi/sub-01_ses-a_pwd.nii.gz", "sub-02/ses-b/sub-02_ses-b_scans.tsv"]
    root = tree(
        tmp_path, dict.fromkeys([*names, "participants.tsv", f"derivatives/x/{IMAGE}"], b"")
    )
    layout = open_dataset(root).layout

    def ask(**query: Any) -> list[str]:
        folders = layout.get(return_type="dir", **query)
        return [Path(folder).relative_to(root).as_posix() for folder in folders]

    assert ask(target="subject") == ["sub-01", "sub-02"]
    assert ask(target="session") == ["sub-01/ses-a", "sub-02/ses-b"]
    assert ask(target="session", suffix="pwd") == ["sub-01/ses-a"]
    assert plain_layout(root).get(return_type="dir", target="subject") == []
    with pytest.raises(ValueError, match="no directory template"):
        layout.get(return_type="dir", target="suffix")


@pytest.mark.parametrize(
    "make",
    [
        *(set, frozenset, tuple, list, iter, np.array, pd.Series, pd.Index, dict.fromkeys),
        *(lambda values: dict.fromkeys(values).keys(), lambda values: (one for one in values)),
    ],
    ids=str,
)
def test_any_iterable_is_a_list_of_values(tmp_path: Path, make: Callable[[list[Any]], Any]) -> None:
    """Texts and numbers, with or without a type of NumPy's."""
    names = [f"sub-0{number}/fusi/sub-0{number}_run-{number}_pwd.nii.gz" for number in (1, 2, 3)]
    root = tree(tmp_path, dict.fromkeys(names, b""))
    layout = open_dataset(root).layout

    assert len(layout.get(subject=make(["01", "02"]))) == 2
    assert len(layout.get(run=make([1, 3]))) == 2
    assert len(layout.get(run=np.int64(2), subject=np.str_("02"))) == 1


def test_numbers_are_equal_however_they_are_written(tmp_path: Path) -> None:
    """`2` is `2.0` in a sidecar and in a query; texts and truths are compared as they are."""
    contents = {"01": b"2", "02": b"2.0", "03": b"2.50", "04": b'"2"', "05": b"true", "06": b"2e3"}
    files: dict[str, Any] = {}
    for subject, content in contents.items():
        stem = f"sub-{subject}/fusi/sub-{subject}_pwd"
        files |= {f"{stem}.nii.gz": b"", f"{stem}.json": b'{"Value": %s}' % content}
    layout = open_dataset(tree(tmp_path, files)).layout

    def ask(value: Any) -> list[str]:
        return [file.entities["subject"] for file in layout.get(Value=value)]

    assert ask(2) == ask(2.0) == ask(np.float32(2)) == ["01", "02", "04"]
    assert ask([2, 2.5]) == ["01", "02", "03", "04"]
    assert (ask(2.5), ask(2000), ask(True), ask("2.0")) == (["03"], ["06"], ["05"], ["02"])


def test_damaged_sidecar_touches_its_own_files_alone(tmp_path: Path) -> None:
    """What belongs to a file, and which fields there are, is said in spite of another's damage."""
    damaged = IMAGE.replace("01", "02")
    files: dict[str, Any] = {IMAGE: b"", damaged: b"", "participants.tsv": b""}
    files |= {
        IMAGE.replace(".nii.gz", ".json"): {"A": 1},
        damaged.replace(".nii.gz", ".json"): b"{",
    }
    layout = open_dataset(tree(tmp_path, files)).layout
    (image,) = layout.get(subject="01", extension=".nii.gz")

    assert [file.filename for file in image.get_associations()] == ["sub-01_task-a_pwd.json"]
    assert "A" in layout.get_entities()
    assert not hasattr(layout, "get_params")
    assert layout.get(A=1, subject="01", extension=".nii.gz") == [image]
    (other,) = layout.get(subject="02", extension=".nii.gz")
    for asking in (other.get_metadata, other.get_associations, lambda: layout.get(A=1)):
        with pytest.raises(
            OSError, match=r"sub-02_task-a_pwd\.json: this sidecar is not valid JSON"
        ):
            asking()


def test_descriptions_of_all_datasets_are_those_there_are(tmp_path: Path) -> None:
    """A derivative may have none; where nobody has one, that is said."""
    root = tree(tmp_path, {f"derivatives/x/{IMAGE}": b""})
    layout = open_dataset(root).layout

    assert [one["Name"] for one in layout.get_dataset_description("all", all_=True)] == ["x"]
    assert layout.get_dataset_description()["Name"] == "x"
    (root / "dataset_description.json").unlink()
    with pytest.raises(MissingFileError, match=r"has no dataset_description\.json"):
        open_dataset(root).layout.get_dataset_description()


def test_files_that_are_not_here_say_what_to_call(tmp_path: Path) -> None:
    """Contents of images, tables and JSON files are read from the disk alone."""
    names = (IMAGE, "participants.tsv", "pwd.json")
    root = tree(tmp_path, dict.fromkeys(names, b"{}"))
    layout = open_dataset(root).layout
    image, table, sidecar = (layout.get_file(name) for name in names)
    for name in names:
        (root / name).unlink()

    for reading in (image.get_image, table.get_df, sidecar.get_dict, sidecar.get_json):
        with pytest.raises(MissingFileError, match=r"not on this machine\. Find it with ds\.get"):
            reading()
    with pytest.raises(MissingFileError, match="not on this machine"):
        layout.get_collections("dataset")
    assert not hasattr(image, "get_df")


POINTER = b"/annex/objects/MD5E-s12--0123456789abcdef0123456789abcdef.tsv\n"

PAGE = b"<!DOCTYPE html><html><title>504 Gateway Time-out</title></html>"

PHYSIO = gzip.compress(b"1\t2\n" * 20_000, mtime=0)

EVENTS, RECORDED = IMAGE.replace("pwd.nii.gz", "events.tsv"), IMAGE.replace("pwd.nii", "physio.tsv")


@pytest.mark.parametrize(
    ("name", "content", "words", "others"),
    [
        (EVENTS, POINTER, "this is a pointer of git-annex (MD5E-s12--01", ()),
        (EVENTS, PAGE, "this is a web page that was saved under the name", ()),
        (EVENTS, b"", "the file is empty; a table was", (pd.errors.EmptyDataError,)),
        (EVENTS, b"a\tb\n1\t2\t3\n1\n2\t3\t4\t5\n", "not a table separated by tabs", TABLE),
        (EVENTS, b"onset\xff\n", "or a damaged one: 'utf-8' codec can't decode", TABLE),
        (RECORDED, PHYSIO[:-20], "a damaged one: Compressed file ended before", TABLE),
        (RECORDED, PHYSIO[:30] + b"?" + PHYSIO[31:], "a damaged one: ", TABLE),
        (RECORDED, b"1\t2\n", "a damaged one: Not a gzipped file (b'1\\t')", TABLE),
        (RECORDED, PAGE, "this is a web page that was saved under the name", ()),
        (IMAGE, PAGE, "this is a web page that was saved under the name", ()),
        (IMAGE, POINTER, "this is a pointer of git-annex (MD5E-s12--01", ()),
        (IMAGE, b"", "something else than its name says (Empty file: ", ()),
        (IMAGE, PHYSIO, "it is damaged, or something else than its name says (", ()),
        ("pwd.json", PAGE, "this is a web page that was saved under the name", ()),
        ("pwd.json", b"{", "it is damaged, or something else than its name says (", ()),
    ],
)
def test_damaged_file_is_called_what_it_is_by_what_reads_it(
    tmp_path: Path, name: str, content: bytes, words: str, others: tuple[type[Exception], ...]
) -> None:
    """The error names file, content and remedy, and is what pandas or PyBIDS would raise, too."""
    sidecar = {"Columns": ["a", "b"], "SamplingFrequency": 10, "StartTime": 0}
    root = tree(tmp_path, {RECORDED.replace("tsv.gz", "json"): sidecar, name: content})
    file = open_dataset(root).layout.get_file(name)
    reading = {".gz": "get_image", ".json": "get_dict"}.get(Path(name).suffix, "get_df")
    reading = "get_df" if "tsv" in name else reading

    for is_downloaded in (False, True):
        if is_downloaded:
            (root / "dataset_index.json").write_text("{}")
        with pytest.raises(FileFormatError) as caught:
            getattr(file, reading)()
        assert str(caught.value).startswith(f"{root / name}: ")
        assert words in str(caught.value)
        assert str(caught.value).endswith(f" {REPAIR_HINT}") == is_downloaded
        for other in (ValueError, *others):
            assert isinstance(caught.value, other)
        copy = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - our own bytes
        assert (type(copy), str(copy)) == (type(caught.value), str(caught.value))


def test_wrong_options_of_what_reads_a_file_are_no_damage(tmp_path: Path) -> None:
    """Whoever misspells a column must not be told to fetch the file again."""
    image = nifti_bytes(np.zeros((2, 2, 2, 3), dtype=np.float32), np.eye(4))
    root = tree(tmp_path, {EVENTS: b"onset\tduration\n1\t2\n", IMAGE: gzip.compress(image)})
    layout = open_dataset(root).layout
    table, picture = layout.get_file(EVENTS), layout.get_file(IMAGE)

    assert table.get_df(usecols=["onset"]).onset.tolist() == [1]
    assert picture.get_image(mmap=False).shape == (2, 2, 2, 3)
    for reading, options in (
        (table.get_df, {"usecols": ["onsets"]}),
        (table.get_df, {"use_columns": ["onset"]}),
        (picture.get_image, {"no_such_option": True}),
    ):
        with pytest.raises((TypeError, ValueError)) as caught:
            reading(**options)
        assert not isinstance(caught.value, FileFormatError)


def test_damaged_table_of_variables_is_not_told_as_a_missing_image(tmp_path: Path) -> None:
    """`get_collections` reads tables too, of datasets whose images are elsewhere."""
    root = tree(tmp_path, {"participants.tsv": POINTER, "sub-01/func/sub-01_task-a_bold.nii": b""})
    layout = open_dataset(root).layout
    (root / "sub-01/func/sub-01_task-a_bold.nii").unlink()

    with pytest.raises(FileFormatError, match="this is a pointer of git-annex"):
        layout.get_collections("dataset")


def test_variables_of_runs_say_which_images_are_missing(tmp_path: Path) -> None:
    """PyBIDS counts the volumes of each run, and blames the image whatever is wrong with it."""
    bold = "sub-01/func/sub-01_task-a_bold"
    files: dict[str, Any] = {f"{bold}.nii.gz": b"", f"{bold}.json": {"RepetitionTime": 2.0}}
    root = tree(tmp_path, files)
    layout = open_dataset(root).layout

    with pytest.raises(ValueError, match="Unable to extract scan duration"):
        layout.get_collections("run")
    (root / f"{bold}.nii.gz").unlink()
    with pytest.raises(MissingFileError, match=r"bold\.nii\.gz: .*\(1 file in all\).*ds\.download"):
        layout.get_collections("run")
    assert layout.get_collections("run", scan_length=20) is not None


def test_field_maps_are_found_by_addresses_of_every_form(tmp_path: Path) -> None:
    """`bids::` and paths below the subject name the same image; similar names do not."""
    bold = "sub-01/func/sub-01_task-a_bold.nii.gz"
    files: dict[str, Any] = {bold: b"", IMAGE: b""}
    for name, target in {
        "dir-AP_epi": f"bids::{bold}",
        "run-1_phasediff": bold.removeprefix("sub-01/"),
        "run-2_fieldmap": f"bids:other:{bold}",
    }.items():
        files[f"sub-01/fmap/sub-01_{name}.nii.gz"] = b""
        files[f"sub-01/fmap/sub-01_{name}.json"] = {"IntendedFor": [target]}
    files["sub-01/fmap/sub-01_run-1_magnitude2.nii.gz"] = b""
    root = tree(tmp_path, files)
    layout = open_dataset(root).layout

    found = layout.get_fieldmap(root / bold, return_list=True)

    folder = root / "sub-01" / "fmap"
    assert found == [
        {"epi": str(folder / "sub-01_dir-AP_epi.nii.gz"), "suffix": "epi"},
        {
            "phasediff": str(folder / "sub-01_run-1_phasediff.nii.gz"),
            "magnitude1": str(folder / "sub-01_run-1_magnitude1.nii.gz"),
            "magnitude2": str(folder / "sub-01_run-1_magnitude2.nii.gz"),
            "suffix": "phasediff",
        },
    ]
    assert layout.get_fieldmap(root / IMAGE) is None
    assert layout.get_fieldmap("dataset_description.json") is None
    with pytest.raises(ValueError, match="More than one fieldmap"):
        layout.get_fieldmap(bold)


def test_images_of_a_field_map_are_named_in_any_folder(tmp_path: Path) -> None:
    """Only the suffix of the name tells them apart: a study of field maps is called so."""
    bold = "sub-01/func/sub-01_task-a_bold.nii.gz"
    name = "sub-01/fmap/sub-01_fieldmap"
    files: dict[str, Any] = {bold: b"", f"{name}.nii.gz": b""}
    files[f"{name}.json"] = {"IntendedFor": f"bids::{bold}"}
    root = tree(tmp_path / "fieldmap", files)

    assert open_dataset(root).layout.get_fieldmap(bold) == {
        "fieldmap": str(root / f"{name}.nii.gz"),
        "magnitude": str(root / "sub-01/fmap/sub-01_magnitude.nii.gz"),
        "suffix": "fieldmap",
    }


def test_repetition_time_is_that_of_the_images_asked_for(tmp_path: Path) -> None:
    """BOLD where nobody says otherwise, as PyBIDS; fUSI where there is no BOLD."""
    files: dict[str, Any] = {IMAGE: b"", "task-a_pwd.json": {"RepetitionTime": 0.4}}
    fusi = open_dataset(tree(tmp_path / "fusi", files)).layout
    bold = "sub-01/func/sub-01_task-a_bold.nii.gz"
    files |= {bold: b"", "task-a_bold.json": {"RepetitionTime": 2.0}}
    both = open_dataset(tree(tmp_path / "both", files)).layout

    assert (fusi.get_tr(), both.get_tr()) == (0.4, 2.0)
    assert both.get_tr(suffix="pwd", datatype="fusi") == both.get_tr(datatype="fusi") == 0.4
    with pytest.raises(PyBIDSNoMatchError, match=r"(?s)several TRs:.*0\.4: sub-01.*2\.0: sub-01"):
        both.get_tr(suffix=["pwd", "bold"])
    with pytest.raises(PyBIDSNoMatchError, match="No functional images match"):
        both.get_tr(task="b")
    with pytest.raises(PyBIDSNoMatchError, match="no sidecar says its RepetitionTime"):
        open_dataset(tree(tmp_path / "none", {IMAGE: b""})).layout.get_tr()
    files = {IMAGE: b"", "task-a_pwd.json": {"RepetitionTime": "fast"}}
    with pytest.raises(PyBIDSNoMatchError, match="its RepetitionTime, 'fast', is not a number"):
        open_dataset(tree(tmp_path / "text", files)).layout.get_tr()


def test_nearest_file_of_one_that_is_not_there_is_an_error_that_says_so(tmp_path: Path) -> None:
    """PyBIDS fails with an attribute of `None`."""
    layout = open_dataset(tree(tmp_path, {IMAGE: b"", "pwd.json": {}})).layout

    assert layout.get_nearest(IMAGE, extension=".json", strict=False).endswith("pwd.json")
    with pytest.raises(NoMatchError, match=r"x_pwd\.nii is not a file of this layout"):
        layout.get_nearest("x_pwd.nii")


def test_file_that_was_unpickled_elsewhere_answers(tmp_path: Path) -> None:
    """Entities and the path below the root always; metadata where the root is."""
    files = {IMAGE: b"", "pwd.json": {"A": 1, "B": 1}, "sub-01/sub-01_pwd.json": {"B": None}}
    root = tree(tmp_path, files)
    file = open_dataset(root).layout.get(extension=".nii.gz")[0]

    apart = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(file))))  # noqa: S301 - our own

    assert apart.get_entities() == file.get_entities()
    assert (apart.relpath, apart.get_metadata()) == (IMAGE, {"A": 1})
    assert apart.get_entities(None) == dict(file.entities)
    root.rename(tmp_path / "gone")
    assert apart.get_entities()["subject"] == "01"
    with pytest.raises(MissingFileError, match=r"pwd\.json: this JSON sidecar is missing"):
        apart.get_metadata()


def test_path_is_the_same_file_however_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relative to the root or to here, through a link, with `..`: silence would be wrong."""
    root = tree(tmp_path, {IMAGE: b"", "pwd.json": {"A": 1}})
    (tmp_path / "link").symlink_to(root)
    annexed = root / "sub-01/fusi/sub-01_task-b_pwd.nii.gz"
    annexed.symlink_to(tmp_path / "nowhere")
    monkeypatch.chdir(root / "sub-01")

    for opened in (root, tmp_path / "link"):
        layout = open_dataset(opened).layout
        spellings = [
            *(IMAGE, root / IMAGE, tmp_path / "link" / IMAGE, str(root / "sub-01/.." / IMAGE)),
            *("fusi/sub-01_task-a_pwd.nii.gz", annexed, layout.get_file(IMAGE)),
        ]
        for path in spellings:
            assert layout.get_metadata(path) == {"A": 1}, path
            assert layout.get_file(os.fspath(path)) is not None
        assert layout.get_metadata("/nowhere.nii.gz") == {}


def test_entities_of_a_file_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever goes through the entities of many files again and again asks no database for it."""
    root = tree(tmp_path, {IMAGE: b"", "pwd.json": {"A": 1}})
    layout = open_dataset(root).layout
    (file,) = layout.get(extension=".nii.gz")
    expected = dict(file.entities)

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("asked the database again")

    monkeypatch.setattr(type(layout.session), "execute", refuse)

    assert dict(file.entities) == expected == file.entities.copy()
    assert (file.entities["A"], file.entities.get("subject")) == (1, "01")


def test_letters_behind_a_number_tell_sidecars_apart(tmp_path: Path) -> None:
    """`run-5F` and `run-5H` are run 5 to PyBIDS, and two recordings all the same."""
    files: dict[str, Any] = {}
    for run in ("5F", "5H", "A"):
        stem = f"sub-01/fusi/sub-01_task-a_run-{run}_pwd"
        files |= {f"{stem}.nii.gz": b"", f"{stem}.json": {"Which": run}}
    layout = open_dataset(tree(tmp_path, files)).layout

    found = layout.get(extension=".nii.gz")

    assert [file.get_metadata() for file in found] == [{"Which": run} for run in ("5F", "5H", "A")]
    assert (layout.get_runs(), len(layout.get(run=5, extension=".nii.gz"))) == ([5], 2)


def test_paths_are_built_as_pybids_builds_them_and_for_fusi(tmp_path: Path) -> None:
    """What PyBIDS refuses as not enough is refused; what it builds is built alike."""
    root = tree(tmp_path, {IMAGE: b""})
    layout, plain = open_dataset(root).layout, plain_layout(root)
    for entities in ({"subject": "01"}, {"subject": "01", "suffix": "pwd", "task": "a"}):
        with pytest.raises(ValueError, match="Unable to construct"):
            layout.build_path(entities, validate=False)
    events = {"subject": "01", "task": "a", "suffix": "events"}

    assert layout.build_path(events) == BIDSLayout(root, validate=False).build_path(events)
    assert layout.build_path(root / IMAGE, absolute_paths=False) == IMAGE
    assert plain.build_path(str(root / IMAGE), absolute_paths=False, validate=False) == IMAGE
    with pytest.raises(BIDSValidationError, match="not a valid BIDS path"):
        layout.build_path({**layout.get_file(IMAGE).get_entities(), "task": "a b"})


@pytest.mark.parametrize("name", ["nunez", "cybis"])
def test_paths_of_public_datasets_are_built_and_valid(tmp_path: Path, name: str) -> None:
    """The images and tables of a recording have the paths that their entities give."""
    root = write_tree(tmp_path / "tree", replica_tree(name))
    layout = open_dataset(root).layout

    files = layout.get(scope="raw", datatype=["fusi", "angio"])

    assert len(files) > 10
    for file in files:
        assert layout.build_path(file.get_entities(), absolute_paths=False) == file.relpath


def test_options_and_names_that_are_mistaken_are_told(tmp_path: Path) -> None:
    """An option's value, and an option of PyBIDS's constructor, are no filters."""
    layout = open_dataset(tree(tmp_path, {IMAGE: b""})).layout

    with pytest.raises(FilterError, match=r"invalid_filters='eror' is unknown\. Did you mean"):
        layout.get(foo=1, invalid_filters="eror")
    with pytest.raises(FilterError, match="pass scope='derivatives'"):
        layout.get(derivatives=True)
    with pytest.raises(ValueError, match="Unknown target") as unknown:
        layout.get(target="unicorn")
    assert all(name in str(unknown.value) for name in layout.get_entities())
    assert layout.get(extension=None) == []
    with pytest.warns(UserWarning, match=re.escape("scope='derivativs'. Did you mean")):
        layout.get(scope="derivativs")
    assert layout.get(task="a", extension=".json") == []
