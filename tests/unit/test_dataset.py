"""`BIDSDataset` on files of this machine: a folder's path, a catalogue, and what it refuses."""

from __future__ import annotations

import copy
import json
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from builders import nifti_bytes
from confusius_datasets import BIDSDataset, fetch_sample, open_dataset
from confusius_datasets._catalog import SAMPLE
from confusius_datasets._sources import DirectorySource, OSFSource
from confusius_datasets._spec import DatasetSpec
from confusius_datasets.errors import (
    AmbiguousMatchError,
    CacheError,
    DatasetIndexError,
    FilterError,
    MissingFileError,
    NoMatchError,
    UnknownEntityError,
    UnknownLabelError,
)
from confusius_datasets.testing import LocalOSF

STORE = "sub-01/fusi/sub-01_task-rest_pwd.zarr"


@pytest.fixture
def osf() -> Iterator[LocalOSF]:
    """Serve nothing, and note who asks."""
    with LocalOSF() as server:
        yield server


@pytest.fixture
def sample() -> BIDSDataset:
    """Open the sample dataset with nothing but its index and descriptions on disk."""
    return fetch_sample(download=False, progress=False)


def dataset_from(files: dict[str, str], folder: Path) -> BIDSDataset:
    """Make a dataset whose host is a folder with some files, of which none is local yet."""
    source, root = folder / "host", folder / "local"
    for relpath, text in files.items():
        (source / relpath).parent.mkdir(parents=True, exist_ok=True)
        (source / relpath).write_text(text)
    spec = DatasetSpec(
        name="test",
        fetcher="fetch_test",
        folder="local",
        source=DirectorySource(source),
    )
    dataset = BIDSDataset(root, spec=spec, progress=False)
    dataset.refresh()
    return dataset


# The folder.


def test_dataset_stands_for_the_path_of_its_root(sample: BIDSDataset, data_dir: Path) -> None:
    """As text, in a path, and wherever a path is taken, it is its folder."""
    root = data_dir / "confusius-sample-bids"

    assert str(sample) == f"{sample}" == str(root)
    assert sample / "sub-mouse1" == root / "sub-mouse1"
    assert Path(sample) == sample.root == root
    assert (root / "a" / "b").relative_to(sample) == Path("a", "b")
    assert (root / "a").is_relative_to(sample)
    assert json.loads(Path(sample, "dataset_description.json").read_bytes())["Name"]


def test_dataset_has_what_one_looks_around_with(sample: BIDSDataset) -> None:
    """The methods of a path for looking into a folder answer as the path's do."""
    root = sample.root

    assert sample.exists()
    assert sample.is_dir()
    assert sorted(sample.iterdir()) == sorted(root.iterdir())
    assert sorted(sample.glob("*.json")) == sorted(root.glob("*.json")) != []
    assert sorted(sample.rglob("*.json")) == sorted(root.rglob("*.json")) != []
    assert sample.joinpath("a", "b") == root / "a" / "b"


def test_attribute_that_paths_have_is_pointed_to(sample: BIDSDataset) -> None:
    """What only a real path has says where there is one."""
    with pytest.raises(AttributeError, match=r"'parent'; .* use \.root\.parent"):
        sample.parent  # noqa: B018
    with pytest.raises(AttributeError, match=r"no attribute 'subjects'$"):
        sample.subjects  # noqa: B018


def test_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """There is no dataset without its folder."""
    with pytest.raises(CacheError, match=r"There is no folder .*missing"):
        open_dataset(tmp_path / "missing")
    with pytest.raises(CacheError, match="home of a user"):
        open_dataset("~no-such-user/data")


def test_reason_of_a_failing_property_is_not_hidden(
    sample: BIDSDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An AttributeError inside `layout`, as another SQLAlchemy may raise it, is passed on."""
    monkeypatch.delattr("sqlalchemy.create_engine")
    (sample / "sub-mouse1").mkdir()  # so that the layout is opened anew
    dataset = BIDSDataset(sample.root, spec=SAMPLE, progress=False)

    with pytest.raises(AttributeError, match="has no attribute 'create_engine'"):
        dataset.get(subject="mouse1")
    with pytest.raises(AttributeError, match="has no attribute 'create_engine'"):
        dataset.layout  # noqa: B018


def test_copies_are_equal_and_hash_alike(sample: BIDSDataset) -> None:
    """A dataset is its root and its spec, whatever has been asked of it."""
    sample.get_subjects()

    for other in (copy.deepcopy(sample), pickle.loads(pickle.dumps(sample))):  # noqa: S301
        assert other == sample
        assert hash(other) == hash(sample)
        assert repr(other) == repr(sample)
    assert open_dataset(sample.root) == sample  # the folder remembers where it is from
    assert BIDSDataset(sample.root) != sample
    assert sample != sample.root


def test_function_that_shows_progress_stays_in_its_process(data_dir: Path) -> None:
    """A dataset that reports to a function pickles without it."""
    dataset = fetch_sample(download=False, progress=lambda done, total, text: None)

    copied = pickle.loads(pickle.dumps(dataset))  # noqa: S301 - our own bytes

    assert copied == dataset
    assert len(copied.download(suffix="events", subject="mouse1", extension=".tsv")) == 4


# What it says of itself.


def test_repr_counts_what_is_here_and_what_is_left(tmp_path: Path) -> None:
    """Name, root, files and bytes on disk of how many, and what is left."""
    dataset = dataset_from({"README": "abc", "sub-01/sub-01_scans.tsv": "x" * 2000}, tmp_path)
    before = repr(dataset)
    dataset.download()

    assert before == (
        f"<BIDSDataset test at {dataset.root}: 0 of 2 files (0 B of 2.003 KB) on disk, "
        "2 files (2.003 KB) left to download>"
    )
    assert repr(dataset) == (
        f"<BIDSDataset test at {dataset.root}: 2 of 2 files (2.003 KB of 2.003 KB) on disk, "
        "nothing left to download>"
    )
    assert repr(open_dataset(dataset.root)) == (
        f"<BIDSDataset local at {dataset.root}, local files only>"
    )


@pytest.mark.parametrize("text", ["{", None], ids=["damaged", "gone"])
def test_unusable_index_breaks_neither_repr_nor_dir(sample: BIDSDataset, text: str | None) -> None:
    """A session that shows or completes a dataset goes on; whoever needs the index is told."""
    path = sample.root / "dataset_index.json"
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    dataset = BIDSDataset(sample.root, spec=SAMPLE, progress=False)

    assert repr(dataset).startswith(f"<BIDSDataset sample at {sample.root}: ")
    assert "load" in dir(dataset)
    with pytest.raises((DatasetIndexError, CacheError), match=r"dataset_index\.json .* again"):
        dataset.get(subject="mouse1")


def test_getters_are_listed_and_wrong_ones_refused(sample: BIDSDataset) -> None:
    """`dir` has a getter for every entity, and only those work."""
    assert {"get_subjects", "get_tasks", "get_acquisitions"} <= set(dir(sample))
    assert sample.get_acquisitions() == ["slice01", "slice02"]
    with pytest.raises(AttributeError, match="'get_foos' can't be called because 'foos'"):
        sample.get_foos()


def test_probing_a_dataset_without_its_index_asks_nobody(osf: LocalOSF, tmp_path: Path) -> None:
    """`hasattr`, `dir`, copies and pickles work where nothing is known yet, without a request."""
    source = OSFSource("43skw", "lab-bids")
    spec = DatasetSpec(name="lab", folder="lab-bids", source=source)
    dataset = BIDSDataset(tmp_path / "lab-bids", spec=spec, progress=False)

    assert not hasattr(dataset, "get_params")
    assert not hasattr(dataset, "subjects")
    assert "load" in dir(dataset)
    assert copy.copy(dataset) == copy.deepcopy(dataset) == dataset
    assert pickle.loads(pickle.dumps(dataset)) == dataset  # noqa: S301 - our own bytes
    with pytest.raises(CacheError, match="files of lab are not known"):
        dataset.get_subjects()
    assert osf.requests == []


@pytest.mark.parametrize("is_opened", [False, True])
def test_dataset_as_a_parameter_is_cloned_without_a_request(
    osf: LocalOSF, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_opened: bool
) -> None:
    """What scikit-learn's `clone` does with a parameter: probes, a deep copy, and a look at it."""
    stem = "sub-1/fusi/sub-1_task-a_pwd"
    osf.add_dataset("43skw", "lab-bids", {f"{stem}.nii": b"x", f"{stem}.json": b"{}"})
    for name, value in osf.environ.items():
        monkeypatch.setenv(name, value)
    spec = DatasetSpec(name="lab", folder="lab-bids", source=OSFSource("43skw", "lab-bids"))
    dataset = BIDSDataset(tmp_path / "lab-bids", spec=spec, progress=False)
    dataset.refresh()
    files = dataset.get(extension=".nii", download=False) if is_opened else []
    osf.requests.clear()

    parameters = {"data": dataset, "of_steps": [dataset], "files": files}
    probes = ("get_params", "__sklearn_clone__", "__sklearn_tags__", "fit")
    found = [name for name in probes if hasattr(dataset, name)]
    clone = copy.deepcopy(parameters)

    assert found == []
    assert clone == parameters
    assert clone["data"] is clone["of_steps"][0] is not dataset
    assert (repr(clone["data"]), hash(clone["data"])) == (repr(dataset), hash(dataset))
    assert clone["data"].get_tasks() == ["a"]
    assert osf.requests == []
    assert not list(dataset.rglob("*_pwd*"))


def test_probing_a_dataset_reads_no_sidecar(tmp_path: Path) -> None:
    """Whatever a name that is not a getter might be, the sidecars stay on their host."""
    stems = [f"sub-{number}/fusi/sub-{number}_pwd" for number in (1, 2)]
    files = {f"{stem}.{extension}": "{}" for stem in stems for extension in ("nii", "json")}
    dataset = dataset_from(files, tmp_path)

    assert not hasattr(dataset, "get_params")
    assert not hasattr(dataset, "get_foos")
    assert "get_subjects" in dir(dataset)
    assert pickle.loads(pickle.dumps(dataset)) == copy.copy(dataset)  # noqa: S301 - our own bytes
    assert not list(dataset.rglob("*_pwd*"))


# Tables.


def test_tables_of_files_merge_on_the_path(sample: BIDSDataset) -> None:
    """`to_df`, `missing` and `verify` have the same columns, with the same values for a file."""
    sample.download(subject="mouse1", session="day1", task="rest")
    query = {"subject": "mouse1", "suffix": "pwd"}
    files, missing, checked = sample.to_df(**query), sample.missing(**query), sample.verify(**query)

    for table in (missing, checked):
        both = pd.merge(files, table, on="path", suffixes=("", "_there"))
        assert len(both) == sum(files.path.isin(table.path)) > 0
        for column in set(files.columns) & set(table.columns) - {"path"}:
            pd.testing.assert_series_equal(
                both[column], both[f"{column}_there"], check_names=False, check_dtype=False
            )
    assert set(missing.path) == set(checked.path[checked.status == "missing"])
    assert any(path.endswith(".json") for path in missing.path)  # what would come along
    assert set(files.path[~files.on_disk]) <= set(missing.path)
    assert list(checked.columns)[-3:] == ["size", "on_disk", "status"]


def test_tables_of_all_files_have_what_queries_find(tmp_path: Path) -> None:
    """Of scans, derivatives, stores and numbers alike, `missing` and `verify` as `to_df`."""
    folder = "sub-1/ses-a"
    names = [
        "sub-1_ses-a_scans.tsv",
        "fusi/sub-1_ses-a_task-t_run-01_pwd.nii.gz",
        "fusi/sub-1_ses-a_run-2_angio.zarr/c/0",
        "fusi/sub-1_ses-a_run-2_angio.zarr/zarr.json",
        "fusi/sub-1_ses-a_.json",
    ]
    places = [f"{folder}/{name}" for name in names]
    files = ["dataset_description.json", *places, *(f"derivatives/x/{one}" for one in places)]
    dataset = dataset_from(dict.fromkeys(files, "{}"), tmp_path)
    found = dataset.to_df().drop(columns=["size", "on_disk"]).set_index("path")

    for table in (dataset.missing(), dataset.verify()):
        assert set(table.path) == set(files)
        of_stores = table.path.str.replace(r"(\.zarr)/.*", r"\1", regex=True)
        labels = table[found.columns].set_index(of_stores)
        pd.testing.assert_frame_equal(
            labels, found.loc[labels.index], check_names=False, check_dtype=False
        )


def test_tables_end_with_their_totals(tmp_path: Path) -> None:
    """Files and bytes, in all and on disk, in text and in a notebook."""
    dataset = dataset_from({"README": "abc", "sub-01/sub-01_scans.tsv": "x" * 2000}, tmp_path)
    dataset.download(suffix="scans")
    (dataset / "own.tsv").write_text("mine")

    assert dataset.to_df(subject="01").totals == "1 file, 2 KB; 1 of them on disk, 2 KB"
    checked = dataset.verify()
    assert checked.totals == (
        "3 files, 2.007 KB; 2 of them on disk, 2.004 KB; 1 missing, 1 ok, 1 not in index"
    )
    assert repr(checked).endswith(f"\n\n{checked.totals}")
    assert f"<p>{checked.totals}</p>" in str(checked._repr_html_())
    assert repr(checked[["path"]]) == repr(pd.DataFrame(checked[["path"]]))


def test_verify_of_a_query_hashes_its_files_and_their_sidecars_alone(tmp_path: Path) -> None:
    """What is corrupt elsewhere stays unseen, and a file of one's own is known as such."""
    names = ["sub-1/fusi/sub-1_pwd.nii", "sub-1/fusi/sub-1_pwd.json", "sub-2/fusi/sub-2_pwd.nii"]
    dataset = dataset_from(dict.fromkeys(names, "xyz"), tmp_path)
    dataset.download()
    for name in names:
        (dataset / name).write_text("abcd")
    (dataset / "sub-1/fusi/sub-1_desc-own_pwd.nii").write_text("mine")
    dataset = BIDSDataset(dataset.root, spec=dataset._spec, progress=False)
    query = {"subject": "1", "extension": ".nii"}

    found = dataset.verify(**query).set_index("path").status.to_dict()
    repaired = dataset.verify(**query, repair=True).set_index("path").status.to_dict()

    own = {"sub-1/fusi/sub-1_desc-own_pwd.nii": "not in index"}
    assert found == dict.fromkeys(names[:2], "corrupt") | own
    assert repaired == dict.fromkeys(names[:2], "ok") | own
    assert (dataset / names[2]).read_text() == "abcd"


# Queries.


@pytest.mark.parametrize(
    ("call", "method"),
    [
        (lambda dataset: dataset.load(return_type="id", target="subject"), "load"),
        (lambda dataset: dataset.load(download=False, subject="mouse1"), "load"),
        (lambda dataset: dataset.load_all(return_type="filename"), "load_all"),
        (lambda dataset: dataset.download(return_type="id", target="subject"), "download"),
        (lambda dataset: dataset.missing(target="subject"), "missing"),
        (lambda dataset: dataset.missing(force=True), "missing"),
    ],
)
def test_arguments_of_get_alone_are_refused_elsewhere(
    sample: BIDSDataset, call: Callable[[BIDSDataset], object], method: str
) -> None:
    """They would be taken for filters, or give answers that are no files."""
    before = sorted(sample.rglob("*"))

    with pytest.raises(FilterError, match=rf"^{method} takes no .* Use get for other answers"):
        call(sample)
    assert [path for path in sorted(sample.rglob("*")) if ".confusius" not in path.parts] == [
        path for path in before if ".confusius" not in path.parts
    ]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["get", "load", "load_all", "missing", "download", "to_df"])
def test_fetchers_name_of_a_filter_is_refused_with_the_right_one(
    sample: BIDSDataset, method: str
) -> None:
    """Queries take PyBIDS's names, and say so."""
    with pytest.raises(UnknownEntityError, match=r"'subjects' .*PyBIDS calls it 'subject'"):
        getattr(sample, method)(subjects="mouse1")


def test_load_says_in_full_what_tells_matches_apart(sample: BIDSDataset) -> None:
    """The message names the entities to add."""
    with pytest.raises(AmbiguousMatchError) as caught:
        sample.load(subject="mouse1", session="day1", task="rest")

    stem = "sub-mouse1_ses-day1_task-rest_acq"
    assert str(caught.value) == (
        "2 files match subject='mouse1', session='day1', task='rest': "
        f"{stem}-slice01_pwd.nii.gz, {stem}-slice02_pwd.nii.gz. "
        "They differ in acquisition (slice01, slice02)\nName these, or call load_all. One of them: "
        "load(subject='mouse1', session='day1', task='rest', acquisition='slice01')"
    )


def test_call_in_the_message_gives_one_of_several_matches(sample: BIDSDataset) -> None:
    """What tells matches apart stands one entity a line; the call can be pasted as it is."""
    with pytest.raises(AmbiguousMatchError) as caught:
        sample.load(subject="mouse1", suffix="pwd")
    lines = str(caught.value).splitlines()
    call = lines[-1].partition("One of them: ")[2]

    found = eval(f"sample.{call}")  # noqa: S307 - our own text

    assert [line for line in lines if line.startswith("  - task")] == [
        "  - task (None, checkerboard, rest)"
    ]
    assert "task=None" in call
    assert found.subject == "mouse1"


@pytest.mark.parametrize("method", ["load", "load_all", "download", "missing"])
def test_value_that_exists_nowhere_is_an_error_where_files_are_wanted(
    sample: BIDSDataset, method: str
) -> None:
    """`get` answers as PyBIDS does, with a warning; what acts on files refuses a typing error."""
    with pytest.raises(UnknownLabelError, match=r"task='chekerboard'. Did you mean 'checkerboard'"):
        getattr(sample, method)(task=["rest", "chekerboard"])
    with pytest.warns(UserWarning, match=r"No file at all has subject='sub-mouse1'. Did you mean"):
        assert sample.get(subject="sub-mouse1") == []


@pytest.mark.parametrize("method", ["get", "load", "load_all", "download", "missing", "to_df"])
def test_empty_list_of_values_is_an_error_in_every_method(sample: BIDSDataset, method: str) -> None:
    """A program that chose no subject must not get the whole dataset."""
    with pytest.raises(FilterError, match=r"^subject=\[\] lists no value"):
        getattr(sample, method)(subject=[])


@pytest.mark.parametrize(("has", "asked"), [("susi", "angio"), ("angio", "susi")])
def test_structural_images_are_found_by_the_name_of_either_draft(
    has: str, asked: str, tmp_path: Path
) -> None:
    """Releases call the datatype susi, and trees on OSF angio: the answer is the tree's."""
    (tmp_path / "sub-01" / has).mkdir(parents=True)
    (tmp_path / "sub-01" / has / "sub-01_pwd.nii").write_bytes(nifti_bytes())
    dataset = open_dataset(tmp_path)

    for ask in (dataset.get, dataset.load_all, dataset.to_df, dataset.missing):
        with pytest.warns(UserWarning, match=f"it is called '{has}' here"):
            found = ask(datatype=asked, suffix="pwd")
        assert len(found) == (0 if ask == dataset.missing else 1)
    assert len(dataset.get(datatype=has)) == 1


@pytest.mark.parametrize("is_fetched", [False, True])
def test_store_of_ones_own_is_on_disk(is_fetched: bool, tmp_path: Path) -> None:
    """A Zarr store is a folder; one that no index knows is on disk as any file of one's own."""
    dataset = (
        fetch_sample(tmp_path, download=False, progress=False)
        if is_fetched
        else open_dataset(tmp_path)
    )
    store = dataset.root / "sub-01" / "fusi" / "sub-01_task-mine_pwd.zarr"
    store.mkdir(parents=True)
    (store / ".zgroup").write_text("{}")

    again = open_dataset(dataset.root)

    assert again.to_df(task="mine", on_disk=True)["path"].tolist() == [
        "sub-01/fusi/sub-01_task-mine_pwd.zarr"
    ]
    assert [file.filename for file in again.get(task="mine", on_disk=True)] == [store.name]


def test_value_of_an_entity_that_no_file_has_is_told(tmp_path: Path) -> None:
    """A run of a dataset without runs is a value that exists nowhere, as any other."""
    dataset = fetch_sample(tmp_path, download=False, progress=False)

    with pytest.warns(UserWarning, match=r"^No file at all has run=7\. No file has run\.$"):
        assert dataset.get(run=7) == []
    for ask in (dataset.load, dataset.load_all, dataset.missing, dataset.download):
        with pytest.raises(UnknownLabelError, match="No file at all has run=7"):
            ask(run=7)


def test_numbers_of_a_query_are_told_as_they_were_written(tmp_path: Path) -> None:
    """The error shows the query, not what a table makes of it."""
    for name in ("sub-01_run-1_pwd.nii", "sub-01_chunk-2_pwd.nii"):
        (tmp_path / "sub-01" / "fusi").mkdir(parents=True, exist_ok=True)
        (tmp_path / "sub-01" / "fusi" / name).write_bytes(nifti_bytes())

    with pytest.raises(NoMatchError, match=r"run=1, chunk=2: chunk=2 leaves none"):
        open_dataset(tmp_path).load(run=1, chunk=2)


@pytest.mark.parametrize(
    "names",
    [
        ["sub-01/fusi/sub-01_plane-1_pwd.nii", "sub-01/fusi/sub-01_plane-2_pwd.nii"],
        ["sub-01/fusi/sub-01_pwd.nii", "derivatives/x/sub-01/fusi/sub-01_pwd.nii"],
    ],
    ids=["unknown entity", "another dataset"],
)
def test_files_that_no_entity_tells_apart_are_named_by_their_paths(
    names: list[str], tmp_path: Path
) -> None:
    """The message shows a call by the path."""
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(nifti_bytes())
    dataset = open_dataset(tmp_path)

    with pytest.raises(AmbiguousMatchError) as caught:
        dataset.load(subject="01")

    assert "No entity tells them apart" in str(caught.value)
    call = str(caught.value).rpartition("by its path: ")[2].removesuffix(".")
    assert eval(f"dataset.{call}").subject == "01"  # noqa: S307 - our own text


def test_load_takes_the_path_of_a_file_and_what_get_gave(sample: BIDSDataset) -> None:
    """Relative to the root, absolute, by way of a link, or a file object: it is downloaded."""
    query = {"subject": "mouse1", "session": "day1", "datatype": "angio"}
    (file,) = sample.get(**query, extension=".nii.gz", download=False)
    relpath = os.path.relpath(file.path, sample.root)
    link = sample.root.with_name("link")
    link.symlink_to(sample.root)

    assert not Path(file.path).exists()
    expected = sample.load(**query).compute()
    for given in (file, file.path, Path(file.path), relpath, link / relpath):
        Path(file.path).unlink()
        assert sample.load(given).identical(expected)
    with pytest.raises(FilterError, match="not both"):
        sample.load(relpath, subject="mouse1")
    with pytest.raises(MissingFileError):
        sample.load("sub-mouse1/nothing.nii.gz")


def test_load_says_which_filter_left_nothing(sample: BIDSDataset) -> None:
    """A value that no file has, and filters that exclude each other, are told apart."""
    with pytest.raises(NoMatchError, match=r"No file at all has task='rset'. Did you mean 'rest'"):
        sample.load(subject="mouse1", task="rset")
    for method in (sample.load_all, sample.missing, sample.download):
        with pytest.raises(UnknownLabelError, match="No file at all has suffix='pdw'"):
            method(suffix="pdw")
    with pytest.raises(NoMatchError, match="suffix='mask' leaves none of the files"):
        sample.load(task="rest", suffix="mask")
    with pytest.raises(NoMatchError, match="can be loaded; see get"):
        sample.load(suffix="events")


def test_store_of_many_files_is_one_to_queries(tmp_path: Path) -> None:
    """A Zarr store is here when all of it is, has the size of its parts, and comes with them."""
    members = {f"{STORE}/{name}": "x" * 10 for name in ("zarr.json", "pwd/zarr.json", "pwd/c/0")}
    sidecar = "sub-01/fusi/sub-01_task-rest_pwd.json"
    dataset = dataset_from({**members, sidecar: '{"Manufacturer": "m"}'}, tmp_path)
    query = {"subject": "01", "extension": ".zarr"}
    (dataset / STORE).mkdir(parents=True)  # as an interrupted download may leave it
    (dataset / STORE / "zarr.json").write_text("x" * 10)

    missing = set(dataset.missing(**query).path)
    before = dataset.to_df(**query)
    found = dataset.get(**query)
    after = dataset.to_df(**query)

    assert missing == {sidecar, f"{STORE}/pwd/zarr.json", f"{STORE}/pwd/c/0"}
    assert (before["size"].tolist(), before["on_disk"].tolist()) == ([30], [False])
    assert after["on_disk"].tolist() == [True]
    assert [file.path for file in found] == [str(dataset / STORE)]
    assert all((dataset / relpath).is_file() for relpath in (*members, sidecar))


# One catalogue.


def test_index_layout_tables_and_answers_agree_after_any_refresh(tmp_path: Path) -> None:
    """What another object or process refreshed is in all of them, and in none before."""
    dataset = dataset_from({"sub-1/fusi/sub-1_task-a_pwd.nii.gz": "x"}, tmp_path)
    new = "sub-1/fusi/sub-1_task-b_pwd.nii.gz"
    before = (dataset.layout, dataset.get_tasks(), len(dataset.missing()))
    (tmp_path / "host" / new).write_text("y")
    unaware = (new in dataset.index, dataset.get_tasks())

    pickle.loads(pickle.dumps(dataset)).refresh()  # noqa: S301 - our own bytes

    assert before[1:] == (["a"], 1)
    assert unaware == (False, ["a"])
    assert new in dataset.index
    assert dataset.get_tasks() == dataset.layout.get_tasks() == ["a", "b"]
    assert [file.relpath for file in dataset.get(task="b", download=False)] == [new]
    assert len(dataset.to_df()) == len(dataset.missing()) == 2
    assert dataset.layout is not before[0]
    assert dataset.layout is dataset.layout


@pytest.mark.parametrize("has_host", [True, False])
def test_refresh_finds_what_was_put_into_the_folder(tmp_path: Path, has_host: bool) -> None:
    """A derivative, a subject, a sidecar: queries find them, and the host need not be there."""
    image = "sub-1/fusi/sub-1_task-a_pwd.nii.gz"
    dataset = dataset_from({image: "x", "task-a_pwd.json": '{"Manufacturer": "A"}'}, tmp_path)
    dataset.download()
    if has_host:
        shutil.rmtree(tmp_path / "host")
    else:
        (dataset / "dataset_index.json").unlink()
        dataset = open_dataset(dataset.root)
    before = dataset.layout
    known = before.get_metadata(str(dataset / image))
    glm = dataset / "derivatives" / "glm"
    added = [glm / image.replace("_pwd", "_desc-z_pwd"), dataset / image.replace("sub-1", "sub-2")]
    for path in added:
        path.parent.mkdir(parents=True)
        path.write_text("z")
    (glm / "dataset_description.json").write_text('{"Name": "GLM", "BIDSVersion": "1.10.0"}')
    (dataset / "task-a_pwd.json").write_text('{"Manufacturer": "B"}')
    unaware = (dataset.get_subjects(), dataset.get(scope="derivatives"))

    assert dataset.refresh(local=has_host) == []

    assert known["Manufacturer"] == "A"
    assert unaware == (["1"], [])
    assert dataset.get_subjects() == ["1", "2"]
    assert [Path(file.path) for file in dataset.get(desc="z", scope="derivatives")] == added[:1]
    assert dataset.layout.get_metadata(str(dataset / image))["Manufacturer"] == "B"
    assert len(dataset.to_df(extension=".nii.gz", on_disk=True)) == 3
    assert dataset.layout is not before
    assert dataset.layout is dataset.layout


def test_refresh_keeps_derivatives_that_were_added_to_the_layout(tmp_path: Path) -> None:
    """Those that lie elsewhere are not in the folder that is looked at."""
    dataset = dataset_from({"sub-1/sub-1_scans.tsv": "x"}, tmp_path)
    (tmp_path / "elsewhere" / "sub-1").mkdir(parents=True)
    (tmp_path / "elsewhere" / "sub-1" / "sub-1_desc-z_pwd.nii").write_text("z")
    (tmp_path / "elsewhere" / "dataset_description.json").write_text(
        '{"Name": "z", "BIDSVersion": "1.10.0", "GeneratedBy": [{"Name": "z"}]}'
    )
    dataset.layout.add_derivatives(tmp_path / "elsewhere")

    dataset.refresh(local=True)

    assert len(dataset.layout.get(scope="derivatives", suffix="pwd")) == 1


def test_dataset_of_a_spec_needs_no_folder_yet(tmp_path: Path) -> None:
    """A spec of one's own, with a folder as its host, is all that a dataset takes."""
    (tmp_path / "share" / "sub-1").mkdir(parents=True)
    (tmp_path / "share" / "sub-1" / "sub-1_scans.tsv").write_text("filename")
    spec = DatasetSpec(name="lab", folder="lab", source=DirectorySource(tmp_path / "share"))
    dataset = BIDSDataset(tmp_path / "new" / "root", spec=spec, progress=False)

    assert "CacheError in its index" in repr(dataset)
    assert not (tmp_path / "new").exists()
    assert dataset.refresh() == []
    (file,) = dataset.get(suffix="scans")
    assert Path(file.path).read_text() == "filename"


def test_refresh_tells_what_is_outdated_here(tmp_path: Path) -> None:
    """A file of which the host has another version stays, and is named until it is renewed."""
    dataset = dataset_from({"sub-1/sub-1_scans.tsv": "old"}, tmp_path)
    dataset.download()
    (tmp_path / "host" / "sub-1" / "sub-1_scans.tsv").write_text("newer")

    first, second = dataset.refresh(), dataset.refresh()
    kept = (dataset / "sub-1" / "sub-1_scans.tsv").read_text()
    dataset.download(suffix="scans", force=True)

    assert first == second == ["sub-1/sub-1_scans.tsv"]
    assert kept == "old"
    assert dataset.refresh() == []


# Folders of one's own.


def test_open_dataset_has_nothing_to_download(sample: BIDSDataset) -> None:
    """A folder that remembers no host has what is in it, and nothing else."""
    (sample.root / ".confusius" / "origin").unlink(missing_ok=True)
    dataset = open_dataset(str(sample.root))

    assert dataset.index == {}
    assert dataset.missing().empty
    assert dataset.download() == []
    assert {file.filename for file in dataset.get(extension=".json")} == {
        path.name for path in sample.rglob("*.json") if path.name != "dataset_index.json"
    }
