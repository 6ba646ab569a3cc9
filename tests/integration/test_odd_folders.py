"""A root that holds what nobody expects there: it is told at once, and never waited for."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from confusius_datasets import (
    BIDSDataset,
    cache_info,
    fetch_sample,
    get_datasets_dir,
    load,
    open_dataset,
)
from confusius_datasets._catalog import SAMPLE
from confusius_datasets._download.partial import PartialFile, open_partial_folder
from confusius_datasets.errors import (
    CacheError,
    ConfusiusDatasetsError,
    FileFormatError,
    SettingError,
    UnreadableFileError,
)
from downloads import LARGE, RECORDING, SMALL_FILES, Lab, fetch_recording, heeding_permissions
from marks import slow

POSIX = pytest.mark.skipif(os.name != "posix", reason="permissions, links and pipes of POSIX")

QUERY = RECORDING | {"suffix": "pwd"}
IMAGE = "sub-mouse1/ses-day1/fusi/sub-mouse1_ses-day1_task-rest_acq-slice01_pwd.nii.gz"
SIDECAR = IMAGE.replace(".nii.gz", ".json")


@pytest.fixture
def root(data_dir: Path) -> Path:
    """Fetch one recording of the sample, and return where it is."""
    return fetch_recording(data_dir).root


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def put_folder(path: Path) -> None:
    """Put a folder in the place of something."""
    remove(path)
    path.mkdir()


def put_file(path: Path) -> None:
    """Put a file in the place of something."""
    remove(path)
    path.write_bytes(b"\xff")


def put_pipe(path: Path) -> None:
    """Put a pipe, which nobody writes to, in the place of something."""
    remove(path)
    os.mkfifo(path)


def put_link(path: Path) -> None:
    """Put a link to itself in the place of something."""
    remove(path)
    path.symlink_to(path)


ACTS: dict[str, Callable[[BIDSDataset], object]] = {
    "fetch": lambda dataset: fetch_recording(dataset.root.parent),
    "missing": lambda dataset: dataset.missing(**QUERY),
    "missing of all": lambda dataset: dataset.missing(),
    "get": lambda dataset: dataset.get(**QUERY),
    "load": lambda dataset: dataset.load(**QUERY),
    "download": lambda dataset: dataset.download(**QUERY),
}

READS = ACTS | {
    "verify": lambda dataset: dataset.verify(),
    "load a path": lambda dataset: load(dataset.root / IMAGE),
}


@POSIX
@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
@pytest.mark.parametrize(
    ("put", "relpath"),
    [
        (put_folder, IMAGE),
        slow(put_pipe, IMAGE),
        (put_file, "sub-mouse1"),
        slow(put_folder, SIDECAR),
    ],
    ids=["folder for file", "pipe for file", "file for folder", "folder for sidecar"],
)
def test_what_is_in_the_way_is_told_at_once_and_alike(
    root: Path,
    put: Callable[[Path], None],
    relpath: str,
    act: Callable[[BIDSDataset], object],
) -> None:
    """A folder where a file belongs, or the reverse, is one error, whatever is asked."""
    dataset = open_dataset(root)
    put(root / relpath)

    with pytest.raises(CacheError, match=r"Move it away") as caught:
        act(dataset)

    assert relpath in str(caught.value)
    assert f"something else where {relpath} should be" in repr(dataset)


@POSIX
@pytest.mark.parametrize("put", [put_folder, put_pipe, put_link])
def test_index_that_is_no_file_is_an_error_of_ours(root: Path, put: Callable[[Path], None]) -> None:
    """Something else in the place of the index is named, and nobody waits for it."""
    put(root / "dataset_index.json")

    with pytest.raises(ConfusiusDatasetsError, match=r"dataset_index\.json"):
        fetch_recording(root.parent)
    with pytest.raises(ConfusiusDatasetsError, match=r"dataset_index\.json"):
        open_dataset(root)


@POSIX
@pytest.mark.parametrize("what", [".", "sub-mouse1", "dataset_index.json", IMAGE, SIDECAR])
def test_what_may_not_be_read_is_told_with_owner_and_mode(root: Path, what: str) -> None:
    """Root, folder, index, data or sidecar: the error says whose it is and what its mode is."""
    (root / what).chmod(0)
    try:
        with heeding_permissions(), pytest.raises(CacheError) as caught:
            fetch_recording(root.parent).load(**QUERY)
    finally:
        (root / what).chmod(0o755)

    expected = rf"cannot be read: Permission denied\. {re.escape(str(root / what))} belongs to \S+"
    assert re.search(rf"{expected} and has the mode 0000", str(caught.value))
    is_file = what in (IMAGE, SIDECAR)
    assert isinstance(caught.value, UnreadableFileError) == is_file
    assert isinstance(caught.value, FileFormatError) == is_file


@POSIX
@pytest.mark.parametrize("act", READS.values(), ids=READS)
def test_folder_that_may_not_be_read_is_told_by_all(
    root: Path, act: Callable[[BIDSDataset], object]
) -> None:
    """Its files are not taken for missing ones."""
    dataset = open_dataset(root)
    (root / "sub-mouse1").chmod(0)
    try:
        with heeding_permissions():
            with pytest.raises(
                CacheError, match=r"sub-mouse1 belongs to \S+ and has the mode 0000"
            ):
                act(dataset)
            assert "folders that cannot be read: sub-mouse1" in repr(dataset)
    finally:
        (root / "sub-mouse1").chmod(0o755)


@POSIX
@pytest.mark.parametrize("what", [".confusius", ".confusius/partial"])
def test_hidden_folder_that_may_not_be_entered_is_told_when_it_is_needed(
    root: Path, what: str
) -> None:
    """With everything here nobody needs it; a download names its owner and mode."""
    (root / what).chmod(0)
    try:
        with heeding_permissions():
            assert fetch_recording(root.parent).load(**QUERY).ndim == 4
            with pytest.raises(CacheError, match=r"belongs to \S+ and has the mode 0000"):
                open_dataset(root).download(**RECORDING | {"acquisition": "slice02"})
    finally:
        (root / what).chmod(0o755)


@POSIX
@pytest.mark.parametrize("extension", [".nii", ".nii.gz", ".nc", ".scan", ".zarr"])
def test_pipe_is_never_waited_for(root: Path, extension: str) -> None:
    """To load one is an error of ours at once."""
    os.mkfifo(root / f"sub-1_pwd{extension}")

    with pytest.raises(FileFormatError):
        load(root / f"sub-1_pwd{extension}")


@POSIX
def test_pipe_in_the_place_of_a_sidecar_is_never_waited_for(tmp_path: Path) -> None:
    """A query on metadata of a folder of one's own says that it cannot be read."""
    (tmp_path / "sub-1").mkdir()
    (tmp_path / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9.0"}')
    (tmp_path / "sub-1" / "sub-1_pwd.nii.gz").write_bytes(b"")
    os.mkfifo(tmp_path / "sub-1" / "sub-1_pwd.json")

    with pytest.raises(FileFormatError, match=r"sub-1_pwd\.json: this sidecar cannot be read"):
        open_dataset(tmp_path).get(RepetitionTime=1)


@POSIX
def test_folder_of_datasets_that_may_not_be_read_is_told_by_the_table_of_it(root: Path) -> None:
    """`cache_info` of a folder that may not be listed is an error with owner and mode."""
    root.parent.chmod(0o300)
    try:
        with heeding_permissions(), pytest.raises(CacheError, match="has the mode 0300"):
            cache_info()
    finally:
        root.parent.chmod(0o755)
    root.chmod(0)
    try:
        with heeding_permissions():
            assert list(cache_info()["n_files"]) == [0]
    finally:
        root.chmod(0o755)


@pytest.mark.skipif(not hasattr(os, "O_PATH"), reason="Linux has it")
def test_root_that_may_be_entered_but_not_listed_is_used(root: Path) -> None:
    """Files are found by the index, whose names are enough to open them."""
    root.chmod(0o111)
    try:
        with heeding_permissions():
            assert open_dataset(root).load(**QUERY).ndim == 4
    finally:
        root.chmod(0o755)


@POSIX
def test_file_that_may_not_be_deleted_is_told_with_its_path_and_owner(root: Path) -> None:
    """What the folder's mode forbids is named in full."""
    folder = (root / IMAGE).parent
    dataset = open_dataset(root)
    folder.chmod(0o555)
    try:
        with heeding_permissions(), pytest.raises(CacheError) as caught:
            dataset.evict(**QUERY)
    finally:
        folder.chmod(0o755)

    assert re.match(
        rf"{re.escape(str(folder))}/\S+: cannot be deleted: Permission denied\. ", str(caught.value)
    )


# Junk in the hidden folder.

PLACES = [
    "origin",
    "partial",
    "locks",
    "locks/index.lock",
    "index",
    "index/signature.json",
    "layout",
    "seek",
    "mirror-osf-0.json",
    "dataset_index.json",
]


@POSIX
@pytest.mark.parametrize("put", [put_folder, slow(put_file), slow(put_pipe), slow(put_link)])
@pytest.mark.parametrize("place", PLACES)
def test_junk_in_the_hidden_folder_stops_nothing(
    data_dir: Path, place: str, put: Callable[[Path], None]
) -> None:
    """Whatever stands at a name that we use, a fetch ends well, and so does opening the folder."""
    path = data_dir / SAMPLE.folder / ".confusius" / place
    path.parent.mkdir(parents=True)
    path.write_text("")
    put(path)

    dataset = fetch_recording(data_dir)
    dataset.load(**QUERY).compute()

    assert len(dataset.missing(**RECORDING)) == 0
    assert len(fetch_recording(data_dir).get(**QUERY)) == 2


@pytest.mark.slow
@POSIX
def test_junk_among_partial_files_stops_nothing(lab: Lab) -> None:
    """Names without dots or with absurd numbers, folders, pipes, circles, by thousands."""
    lab.serve({LARGE: 3_000_000} | SMALL_FILES)
    entries = list(lab.index().values())
    lab.root.mkdir()
    with open_partial_folder(lab.root, make=True) as folder:
        partials = [PartialFile(folder, entry) for entry in entries]
        names = [partial.path.name for partial in partials]
        for partial in partials:
            partial.__exit__(None)
        path = folder.path
    for number, name in enumerate(names):
        key, writer, machine = name.partition(".")[0], name.split(".")[1], name.split(".")[1][:12]
        (path / key).write_text("no dot")
        (path / f"{key}.{machine}-{'9' * 30}-x.part").write_text("huge")
        (path / f"{key}.{machine}-999999999-a.part").write_text("no such process")
        (path / f"{key}.{machine}-\u00b2-x.part").write_text("no number")
        (path / f"{key}.{writer}.1.part").mkdir()
        os.mkfifo(path / f"{key}.{writer}.2.part")
        (path / f"{key}.{writer}.3.part").symlink_to("/dev/zero")
        (path / f"{key}.{writer}.4.part").symlink_to(path)
        (path / f"{key}.{writer}.5.part").symlink_to(path / f"{key}.{writer}.5.part")
        for each in range(200):
            (path / f"{number:x}{each:x}-junk.{machine}-1-x.part").write_text("")

    lab.fetch(entries)

    assert lab.tree() == lab.files


# Settings.


@pytest.mark.parametrize("name", ["caf\udce9", "a\0b"])
def test_folder_that_no_system_has_is_an_error_of_ours(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path that is not UTF-8, or has a zero, is refused, in the argument and in the variable."""
    for call in (get_datasets_dir, fetch_recording, open_dataset):
        with pytest.raises(CacheError, match="has a character that cannot be"):
            call(f"{tmp_path}/{name}")  # type: ignore[operator]
    if "\0" not in name:  # no variable can have it
        monkeypatch.setenv("CONFUSIUS_DATA", f"{tmp_path}/{name}")
        with pytest.raises(SettingError, match=r"^CONFUSIUS_DATA="):
            fetch_sample(progress=False)


@pytest.mark.parametrize("name", ["x" * 300, "/".join(["x" * 200] * 30)])
def test_folder_with_too_long_a_name_is_an_error_of_ours(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the file system cannot have is said so."""
    monkeypatch.setenv("CONFUSIUS_DATA", f"{tmp_path}/{name}")

    for call in (get_datasets_dir, lambda: fetch_sample(progress=False)):
        with pytest.raises(CacheError):
            call()


def test_variable_that_names_a_file_is_an_error_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file where the folder of all datasets should be is named."""
    (tmp_path / "file").write_text("mine")
    monkeypatch.setenv("CONFUSIUS_DATA", str(tmp_path / "file"))

    for call in (get_datasets_dir, lambda: fetch_sample(progress=False)):
        with pytest.raises(CacheError, match=r"file.*CONFUSIUS_DATA"):
            call()
    assert (tmp_path / "file").read_text() == "mine"


@POSIX
@pytest.mark.parametrize("mode", [0o000, 0o555, 0o444])
def test_variable_that_names_a_folder_of_others_is_an_error_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    """A folder that may not be entered or written to is named with owner and mode."""
    (tmp_path / "lab").mkdir()
    monkeypatch.setenv("CONFUSIUS_DATA", str(tmp_path / "lab"))
    (tmp_path / "lab").chmod(mode)

    with heeding_permissions(), pytest.raises(CacheError, match=rf"has the mode {mode:04o}"):
        fetch_sample(progress=False)
