"""Layouts and their files in other threads, in other processes, and after the dataset is gone."""

from __future__ import annotations

import copy
import gc
import multiprocessing
import pickle
import sys
import weakref
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from bids.layout import BIDSFile

from confusius_datasets import fetch_sample, open_dataset
from confusius_datasets._dataset import BIDSDataset
from confusius_datasets._layout import database
from trees import inheritance_files, sample_files, write_tree


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Write the tree of sidecars at every level."""
    return write_tree(tmp_path / "tree", inheritance_files())


@pytest.mark.slow
def test_files_outlive_their_dataset() -> None:
    """All that a file can be asked is answered when the object it came from is gone."""
    dataset = fetch_sample(progress=False)
    image = dataset.get(subject="mouse1", session="day1", suffix="pwd", extension=".nii.gz")[0]
    table = dataset.get(subject="mouse1", session="day1", suffix="events", extension=".tsv")[0]
    del dataset
    gc.collect()

    assert image.entities["subject"] == "mouse1"
    assert image.entities["Manufacturer"] == "confusius-datasets"
    assert image.get_metadata()["Manufacturer"] == "confusius-datasets"
    assert image.get_image().ndim == 3
    assert list(table.get_df().columns)[:2] == ["onset", "duration"]
    assert [file.entities["suffix"] for file in table.get_associations("IntendedFor")] == ["pwd"]
    assert image.relpath == f"sub-mouse1/ses-day1/angio/{image.filename}"


@pytest.mark.slow
def test_layout_that_is_dropped_is_freed(tree: Path) -> None:
    """A session that opens one dataset after another does not grow by each of them."""
    layout = open_dataset(tree).layout
    assert layout.get(subject="01")
    assert layout.get_RepetitionTime()
    family = [weakref.ref(one) for one in (layout, *layout.derivatives.values())]
    assert len(family) > 1

    del layout
    gc.collect()

    assert [reference() for reference in family] == [None] * len(family)


def ask(file: BIDSFile) -> tuple[object, ...]:
    """Ask a file everything."""
    return (
        file.path,
        file.entities["subject"],
        file.entities.get("RepetitionTime"),
        dict(file.entities),
        file.get_metadata(),
        sorted(other.path for other in file.get_associations()),
        file.relpath,
    )


@pytest.mark.slow
def test_files_can_be_used_from_many_threads(tmp_path: Path) -> None:
    """Eight threads ask the same files and their layout at once, and all get what one gets."""
    root = write_tree(tmp_path / "tree", sample_files())
    for _ in range(5):
        layout = open_dataset(root).layout
        files = layout.get(suffix="pwd", extension=".nii.gz")
        with ThreadPoolExecutor(8) as pool:
            found = pool.map(ask, files * 3)
            listed = pool.map(lambda one: one.get_subjects(), [layout] * 16)
            queried = pool.map(lambda one: len(one.get(RepetitionTime=0.5)), [layout] * 8)
            tables = pool.map(lambda one: len(one.to_df(metadata=True)), [layout] * 4)

            assert list(found) == [ask(file) for file in files] * 3
            assert list(listed) == [["mouse1", "mouse2"]] * 16
            assert len(set(queried)) == len(set(tables)) == 1


@pytest.mark.slow
def test_dataset_and_files_work_in_another_process(tree: Path) -> None:
    """A dataset pickles, and opens its own layout; a file keeps its path and its entities."""
    dataset = open_dataset(tree)
    files = dataset.get(suffix="pwd", extension=".nii.gz")

    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        subjects = pool.submit(list_subjects, dataset).result()
        described = list(pool.map(describe, files))

    assert subjects == ["01", "02", "10"]
    assert described == [describe(file) for file in files]


def list_subjects(dataset: BIDSDataset) -> list[str]:
    """List the subjects of a dataset."""
    return dataset.get_subjects()


def describe(file: BIDSFile) -> tuple[object, ...]:
    """Describe a file by what its name says."""
    return (file.path, file.filename, repr(file), file.get_entities(None)["subject"])


def test_pickled_file_has_the_entities_of_its_name(tree: Path) -> None:
    """With no layout at hand, a file is a path with entities; copies in a process are itself."""
    file = open_dataset(tree).get(pose=2, extension=".nii.gz")[0]

    apart = pickle.loads(pickle.dumps(file))  # noqa: S301 - our own bytes

    assert (type(apart), apart.path, apart.entities["pose"]) == (type(file), file.path, 2)
    assert dict(apart.entities) == dict(file.get_entities())
    assert copy.copy(file) is file
    assert copy.deepcopy([file])[0].get_metadata() == file.get_metadata()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
@pytest.mark.parametrize("reads_before", [False, True], ids=["fresh", "written to before"])
def test_forked_processes_do_not_disturb_one_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads_before: bool
) -> None:
    """A database that was open when a process was forked is written to by none of the two."""
    monkeypatch.setattr(database, "CACHE_KB", 16)  # so that it is in its file, not in memory
    files = {
        f"sub-{number:03d}/fusi/sub-{number:03d}_task-rest_pwd.{ending}": content
        for number in range(300)
        for ending, content in (("nii.gz", b""), ("json", b'{"N": %d, "Text": "%s"}'))
    }
    for relpath in files:
        if relpath.endswith(".json"):
            number = int(relpath[4:7])
            files[relpath] = files[relpath] % (number, b"x" * 200)
    dataset = open_dataset(write_tree(tmp_path / "tree", files))
    dataset.get_subjects()
    if reads_before:
        dataset.get(N=1)
    context: Any = multiprocessing.get_context("fork")

    with context.Pool(4, initializer=hold, initargs=(dataset,)) as pool:
        answers = pool.map_async(count_matches, [number * 7 for number in range(40)])
        mine = [len(dataset.get(N=number)) for number in range(40)]
        assert set(answers.get(60)) == {(1, 300, 300)}

    assert mine == [1] * 40
    assert len(dataset.get(N=list(range(300)))) == 300


HELD: list[BIDSDataset] = []


def hold(dataset: BIDSDataset) -> None:
    """Hold the dataset that a process inherited."""
    HELD[:] = [dataset]


def count_matches(number: int) -> tuple[int, int, int]:
    """Ask an inherited dataset for one file, and for all."""
    (dataset,) = HELD
    images = dataset.get(extension="nii.gz")
    metadata = {file.get_metadata()["N"] for file in images}
    return len(dataset.get(N=number % 300)), len(dataset.get_subjects()), len(metadata)
