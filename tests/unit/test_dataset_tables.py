"""What a dataset tells and frees: participants, events, citation, disk; and how it hints."""

from __future__ import annotations

import inspect
import logging
import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from builders import nifti_bytes
from confusius_datasets import BIDSDataset, cache_info, fetch_sample, open_dataset
from confusius_datasets._sources import DirectorySource
from confusius_datasets._spec import DatasetSpec
from confusius_datasets.errors import (
    ArgumentError,
    CacheError,
    FileFormatError,
    MissingFileError,
    SettingError,
)

STEM = "sub-007/fusi/sub-007_task-a_acq-one"


@pytest.fixture
def sample() -> BIDSDataset:
    """Open the sample dataset with nothing but its index and descriptions on disk."""
    return fetch_sample(download=False, progress=False)


def lab(folder: Path, files: dict[str, str], **facts: str) -> BIDSDataset:
    """Make a dataset whose host is a folder with some files, of which none is local yet."""
    for relpath, text in files.items():
        (folder / "host" / relpath).parent.mkdir(parents=True, exist_ok=True)
        (folder / "host" / relpath).write_text(text)
    source = DirectorySource(folder / "host")
    spec = DatasetSpec(name="lab", folder="lab", source=source, **facts)  # type: ignore[arg-type]
    dataset = BIDSDataset(folder / "lab", spec=spec, progress=False)
    dataset.refresh()
    return dataset


# Participants.


@pytest.mark.slow
def test_participants_have_subjects_as_queries_name_them(sample: BIDSDataset) -> None:
    """The table came with the index, and its subjects go into a query."""
    table = sample.participants
    chosen = table.query("subject == 'mouse2'")["subject"]

    assert list(table["subject"]) == ["mouse1", "mouse2"]
    assert list(table["participant_id"]) == ["sub-mouse1", "sub-mouse2"]
    assert {file.entities["subject"] for file in sample.get(subject=chosen, suffix="events")} == {
        *chosen
    }


def test_labels_of_participants_stay_text(tmp_path: Path) -> None:
    """A label that looks like a number keeps its zeros; `n/a` is a missing value, `NA` is not."""
    (tmp_path / "participants.tsv").write_text("participant_id\tage\tstrain\n007\tn/a\tNA\n")
    table = open_dataset(tmp_path).participants

    assert table["subject"].tolist() == ["007"]
    assert table["age"].isna().all()
    assert table["strain"].tolist() == ["NA"]


def test_participants_that_are_not_here_say_what_to_call(tmp_path: Path) -> None:
    """Nothing is downloaded; the call in the message helps."""
    dataset = lab(tmp_path, {"participants.tsv": "participant_id\nsub-1\n"})

    with pytest.raises(MissingFileError, match=r'ds\.download\(suffix="participants"\)'):
        dataset.participants  # noqa: B018
    assert not (dataset / "participants.tsv").exists()
    dataset.download(suffix="participants")
    assert dataset.participants["subject"].tolist() == ["1"]
    (dataset / "participants.tsv").write_text("name\nx\n")
    with pytest.raises(FileFormatError, match="expected a column 'participant_id', found name"):
        dataset.participants  # noqa: B018
    with pytest.raises(MissingFileError, match=r"ds\.get_subjects"):
        lab(tmp_path / "other", {"README": ""}).participants  # noqa: B018


# Events.


def test_events_are_on_the_clock_of_their_recordings(sample: BIDSDataset) -> None:
    """`onset` is as in the file, `time` is what `sel(time=…)` of the recording takes."""
    query = {"subject": "mouse1", "session": "day1", "task": "checkerboard"}
    events = sample.events(**query)
    (file, _) = sample.get(**query, suffix="events", extension=".tsv")
    first = sample.load(**query, acquisition="slice01", suffix="pwd").time.values[0]
    mine = events[events.acquisition == "slice01"]

    np.testing.assert_array_equal(mine.onset, file.get_df().onset)
    np.testing.assert_allclose(mine.time, mine.onset + first)
    assert set(events.columns[:4]) == {"acquisition", "session", "subject", "task"}


@pytest.mark.parametrize(
    ("sidecar", "start"),
    [
        ('{"RepetitionTime": 0.5, "DelayAfterTrigger": 1.5}', 1.5),
        ('{"VolumeTiming": [2.5, 3, 4], "FrameAcquisitionDuration": 0.1}', 2.5),
        ('{"VolumeTiming": [4, 3], "RepetitionTime": 1}', 0.0),
        ("{}", 0.0),
    ],
)
def test_time_of_events_follows_from_sidecars_alone(
    sidecar: str, start: float, tmp_path: Path
) -> None:
    """No recording is downloaded to know when it began."""
    dataset = lab(
        tmp_path,
        {
            f"{STEM}_events.tsv": "onset\tduration\ttrial_type\n1\t0.5\tleft\n3\t0.5\tn/a\n",
            f"{STEM}_pwd.nii.gz": "not read",
            f"{STEM}_pwd.json": sidecar,
            f"{STEM.replace('one', 'two')}_pwd.nii.gz": "of another plane",
        },
    )

    events = dataset.events(subject="007")

    assert events.time.tolist() == [1 + start, 3 + start]
    assert events.trial_type.isna().tolist() == [False, True]
    assert not list(dataset.rglob("*.nii.gz"))


def test_events_of_recordings_that_begin_apart_have_no_time(tmp_path: Path) -> None:
    """One table for two recordings has one time only where both begin together."""
    stem = "sub-1/fusi/sub-1_task-a"
    files = {f"{stem}_events.tsv": "onset\tduration\n1\t2\n", f"{stem}_acq-x_pwd.nii": ""}
    for name, delay in (("x", 1), ("y", 2)):
        sidecar = f'{{"RepetitionTime": 1, "DelayAfterTrigger": {delay}}}'
        files |= {f"{stem}_acq-{name}_pwd.json": sidecar, f"{stem}_acq-{name}_pwd.nii": ""}

    events = lab(tmp_path, files).events()

    assert events.onset.tolist() == [1]
    assert events.time.isna().all()


def test_events_without_a_recording_have_no_time(tmp_path: Path) -> None:
    """There is no clock to put them on; the onset stays as it is in the file."""
    files = {"sub-1/fusi/sub-1_task-a_events.tsv": "onset\tduration\n1\t2\n"}

    events = lab(tmp_path, files).events()

    assert events.onset.tolist() == [1]
    assert events.time.isna().all()


def test_query_without_events_gives_an_empty_table(sample: BIDSDataset) -> None:
    """A table that is no table of events is an error."""
    assert sample.events(task="rest").columns.tolist() == ["onset", "duration", "time"]
    (sample.root / "sub-mouse1").mkdir(exist_ok=True)
    (sample.root / "sub-mouse1" / "sub-mouse1_task-odd_events.tsv").write_text("a\tb\n1\t2\n")
    with pytest.raises(FileFormatError, match="expected a column 'onset', found a, b"):
        open_dataset(sample.root).events(task="odd")


# What it is not.


def test_dataset_hints_where_it_is_taken_for_a_list(sample: BIDSDataset) -> None:
    """Length, loops, membership and items say what to call; a dataset is true."""
    assert bool(sample) is True
    with pytest.raises(TypeError, match=r"len\(ds\.get_subjects\(\)\)"):
        len(sample)
    with pytest.raises(TypeError, match=r"not a list of files. ds\.get\("):
        list(sample)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match=r"not a list of files. ds\.get\("):
        sample[0]
    with pytest.raises(TypeError, match=r"ds / 'sub-mouse1' is a path"):
        sample["sub-mouse1"]
    assert not hasattr(sample, "__iter__")  # or pandas and PyBIDS would take it for a list


def test_keywords_of_queries_are_in_the_signatures(sample: BIDSDataset) -> None:
    """What sessions complete with; any other keyword still goes through."""
    for method in ("get", "load", "load_all", "to_df", "missing", "download", "verify", "evict"):
        parameters = inspect.signature(getattr(sample, method)).parameters

        assert {"subject", "session", "task", "suffix"} <= set(parameters)
        assert list(parameters.values())[-1].kind is inspect.Parameter.VAR_KEYWORD


@pytest.mark.slow
def test_session_completes_keywords(sample: BIDSDataset) -> None:
    """IPython offers the entities behind `ds.load(`."""
    from IPython.core.completer import provisionalcompleter
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell()
    shell.user_ns["ds"] = sample
    with provisionalcompleter():
        found = {one.text for one in shell.Completer.completions("ds.load(su", len("ds.load(su"))}

    assert {"subject=", "suffix="} <= found


# On disk.


def test_queries_keep_to_what_is_on_disk(sample: BIDSDataset) -> None:
    """`on_disk=True` finds, lists and loads files that are here, and downloads no recording."""
    sample.download(subject="mouse1", session="day1", task="rest")
    query = {"suffix": "pwd", "extension": ".nii.gz", "on_disk": True}
    names = {path.name for path in sample.rglob("*_pwd.nii.gz")}

    assert {file.filename for file in sample.get(**query)} == names
    assert set(sample.to_df(**query).path.str.rpartition("/")[2]) == names
    assert len(sample.load_all(on_disk=True, suffix="pwd")) == len(names) == 2
    assert sample.load(suffix="pwd", acquisition="slice02", on_disk=True).subject == "mouse1"
    assert sample.get("id", target="subject", suffix="pwd", on_disk=True) == ["mouse1"]
    assert sample.get("dir", target="subject", suffix="pwd", on_disk=True) == [
        str(sample / "sub-mouse1")
    ]
    assert {path.name for path in sample.rglob("*_pwd.nii.gz")} == names


def test_large_download_of_a_query_is_told_before(
    sample: BIDSDataset, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One line with size, duration once a rate was measured, and the way around it."""
    monkeypatch.setenv("CONFUSIUS_NOTICE_NBYTES", "1e6")
    recording = {"subject": "mouse1", "session": "day1", "task": "rest", "suffix": "pwd"}
    with caplog.at_level(logging.WARNING, "confusius_datasets"):
        sample.load(**recording, acquisition="slice01")
        sample.load(**recording, acquisition="slice01")
        sample.load(**recording, acquisition="slice02")
        sample.download(subject="mouse2")
        sample.get(suffix="events")

    first, second = (record.getMessage() for record in caplog.records)
    assert first.startswith("Downloading 1.4")
    assert first.endswith("MB (2 files). To keep to what is on disk, pass on_disk=True.")
    assert " as measured before. To keep" in second
    monkeypatch.setenv("CONFUSIUS_NOTICE_NBYTES", "much")
    with pytest.raises(SettingError, match="CONFUSIUS_NOTICE_NBYTES='much': expected a number"):
        sample.load(subject="mouse1", session="day2", task="rest", acquisition="slice01")


def test_rate_of_the_fetch_before_is_known_to_the_first_query(
    sample: BIDSDataset, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A fetch of a megabyte or more is a measurement; one of sidecars is none."""
    monkeypatch.setenv("CONFUSIUS_NOTICE_NBYTES", "1e6")
    fetched = fetch_sample(subjects="mouse1", sessions="day1", progress=False)
    with caplog.at_level(logging.WARNING, "confusius_datasets"):
        sample.load_all(subject="mouse1", session="day2", task="rest", suffix="pwd")
        fetched.load_all(subject="mouse2", session="day2", task="rest", suffix="pwd")

    unknown, known = (record.getMessage() for record in caplog.records)
    assert "as measured before" not in unknown
    assert re.search(r", about \d+ (s|min) at [\d.]+ [KMG]?B/s as measured before\. ", known)


def test_evicted_files_come_again(sample: BIDSDataset) -> None:
    """Disk is freed; what the host could not give again is kept unless that is forced."""
    query = {"subject": "mouse1", "session": "day1", "task": "rest", "extension": ".nii.gz"}
    before = sample.load(**query, acquisition="slice01").compute()
    (path,) = sample.evict(**query)
    again = sample.load(**query, acquisition="slice01")

    assert path.name == "sub-mouse1_ses-day1_task-rest_acq-slice01_pwd.nii.gz"
    assert again.identical(before)
    path.write_bytes(b"mine")
    with pytest.raises(CacheError, match=r"would be lost.*Nothing was deleted"):
        sample.evict(**query)
    assert path.read_bytes() == b"mine"
    assert sample.evict(**query, force=True) == [path]
    assert not path.exists()
    assert {path.name for path in sample.evict()} >= {"participants.tsv"}
    assert len(sample.missing()) == len(sample.index)


def test_cache_info_lists_what_takes_space(sample: BIDSDataset, data_dir: Path) -> None:
    """A row for each folder, with its files and bytes; partial downloads are counted apart."""
    (data_dir / "other" / ".confusius" / "partial").mkdir(parents=True)
    (data_dir / "other" / ".confusius" / "partial" / "x").write_bytes(b"12345")
    (data_dir / "other" / "a.nii").write_bytes(b"123")
    (data_dir / "file").write_bytes(b"1")

    table = cache_info().set_index("folder")

    assert table.loc["other", ["n_files", "nbytes", "hidden_nbytes"]].tolist() == [1, 3, 5]
    assert table.loc["confusius-sample-bids", "path"] == str(sample.root)
    assert table.loc["confusius-sample-bids", "n_files"] == len([*sample.rglob("*.*")]) - len(
        [*sample.rglob(".confusius/**/*.*"), *sample.rglob(".confusius")]
    )
    assert cache_info(data_dir / "nowhere").empty


def test_cache_info_has_a_row_for_each_dataset_of_a_host_and_each_release(data_dir: Path) -> None:
    """What lies one folder deeper, as datasets by address and releases do, is told apart."""
    for place, nbytes in {
        "osf/a_x": 3,
        "osf/b_y": 2,
        "lab-bids/1.0.0": 1,
        "loose/notes": 4,
    }.items():
        (data_dir / place).mkdir(parents=True)
        (data_dir / place / "a.nii").write_bytes(b"1" * nbytes)
        if place != "loose/notes":
            (data_dir / place / "dataset_description.json").touch()
    (data_dir / "lab-bids" / "s3_index.json").touch()

    table = cache_info()

    assert dict(zip(table.folder, table.nbytes, strict=True)) == {
        "loose": 4,
        "osf/a_x": 3,
        "osf/b_y": 2,
        "lab-bids/1.0.0": 1,
    }
    assert table.path.tolist() == [str(data_dir / folder) for folder in table.folder]


# What is told of it.


def test_facts_come_from_the_spec_or_the_description(tmp_path: Path) -> None:
    """A dataset that the package does not know speaks for itself, if it does at all."""
    description = (
        '{"Name": "d", "License": "CC0", "Authors": ["A", "B"], "DatasetDOI": "doi:10.1/2"}'
    )
    known = lab(
        tmp_path / "1",
        {"dataset_description.json": description},
        citation="X, Y. (2020). On a_b. https://doi.org/10/a_b",
        license="CC BY 4.0",
        url="https://example.org/a_b",
        version="1.2",
    )
    unknown = lab(tmp_path / "2", {"dataset_description.json": description})
    silent = (unknown.citation, unknown.license, unknown.url, unknown.bibtex)
    unknown.download()

    assert (known.license, known.url, known.version) == (
        "CC BY 4.0",
        "https://example.org/a_b",
        "1.2",
    )
    assert known.bibtex == (
        "@misc{lab,\n  title = {{lab}},\n  year = {2020},\n"
        "  note = {X, Y. (2020). On a\\_b. \\url{https://doi.org/10/a_b}},\n"
        "  url = {https://example.org/a_b},\n}"
    )
    assert silent == ("", "", "", "")
    assert (unknown.citation, unknown.license, unknown.url) == (
        "A, B. d. doi:10.1/2",
        "CC0",
        "https://doi.org/10.1/2",
    )
    (unknown.root / "dataset_description.json").write_text('{"HowToAcknowledge": "Thank A."}')
    assert unknown.citation == "Thank A."
    (unknown.root / "dataset_description.json").write_text("{")
    assert unknown.citation == ""


# Loaders and stacks.


def test_loader_of_ones_own_gets_the_path(sample: BIDSDataset) -> None:
    """What it gives is the answer, in `load`, by path, and in `load_all`."""
    query = {"subject": "mouse1", "session": "day1", "task": "rest"}

    one = sample.load(**query, acquisition="slice01", loader=lambda path: path)
    many = sample.load_all(**query, loader=lambda path: path.stat().st_size)

    assert isinstance(one, Path)
    assert one.is_file()
    assert sample.load(one, loader=str) == str(one)
    assert many == [path.stat().st_size for path in sorted(sample.rglob("*_pwd.nii.gz"))]
    with pytest.raises(ArgumentError, match="leave out loader"):
        sample.load_all(**query, stack="acquisition", loader=str)


def test_files_of_one_acquisition_are_stacked(sample: BIDSDataset) -> None:
    """Along the entity they differ in, or along the dimension that it cuts."""
    query = {"subject": "mouse1", "session": "day1", "suffix": "pwd", "datatype": "fusi"}
    stacks = sample.load_all(**query, stack="acquisition")
    files = sample.load_all(**query)

    assert len(stacks) == 2
    assert len(files) == 4
    for stacked in stacks:
        parts = [one for one in files if one.task == stacked.task]
        assert stacked.sizes == {**parts[0].sizes, "z": 2}
        for place, part in enumerate(sorted(parts, key=lambda one: float(one.z[0]))):
            np.testing.assert_array_equal(stacked.isel(z=place), part.isel(z=0))
    with pytest.raises(ArgumentError, match="stack='chunks'"):
        sample.load_all(**query, stack="chunks")
    assert sample.load_all(task="rest", suffix="mask", stack="chunk") == []


def test_files_on_one_grid_are_stacked_along_the_entity(sample: BIDSDataset) -> None:
    """Sessions of one slice have all coordinates in common, so the session is a dimension."""
    query = {"subject": "mouse1", "task": "rest", "acquisition": "slice01", "suffix": "pwd"}
    (stacked,) = sample.load_all(**query, stack="session")
    parts = sample.load_all(**query)

    assert stacked.dims[0] == "session"
    assert stacked.session.values.tolist() == ["day1", "day2"]
    xr.testing.assert_equal(stacked.sel(session="day2", drop=True), parts[1].drop_vars("session"))


def test_poses_keep_their_affines_when_they_are_stacked(tmp_path: Path) -> None:
    """Each file has its own, and the stack has one for each pose, in their order."""
    turned = np.diag([-0.1, -0.1, 0.4, 1.0])
    for pose, affine in ((10, np.diag([0.1, 0.1, 0.4, 1.0])), (2, turned)):
        name = f"sub-1/fusi/sub-1_task-a_pose-{pose}_pwd.nii"
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(nifti_bytes(np.full((3, 4, 1, 5), pose, "f4"), affine))

    (stacked,) = open_dataset(tmp_path).load_all(task="a", stack="pose")

    assert stacked.dims == ("pose", "time", "z", "y", "x")
    assert stacked.pose.values.tolist() == [2, 10]
    assert stacked[:, 0, 0, 0, 0].values.tolist() == [2, 10]
    matrices = stacked.attrs["affines"]["physical_to_sform"]
    np.testing.assert_array_equal(matrices, [np.diag([1, -1, -1, 1.0]), np.eye(4)])


def test_files_that_disagree_are_not_stacked(sample: BIDSDataset) -> None:
    """The message names what differs."""
    query = {"subject": "mouse1", "session": "day1", "task": "rest", "suffix": "pwd"}
    sample.download(**query)
    (sidecar,) = sample.root.glob("sub-mouse1/ses-day1/fusi/*task-rest*slice01_pwd.json")
    sidecar.write_text(sidecar.read_text().replace("The screen is grey.", "Other."))

    with pytest.raises(FileFormatError, match=r"differ in task_description. They are not of one"):
        sample.load_all(**query, stack="acquisition")
