"""The sample dataset: the same bytes everywhere, and something to find in them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest

from confusius_datasets import fetch_sample, open_dataset
from confusius_datasets._catalog import SAMPLE
from confusius_datasets._index import FileEntry
from confusius_datasets._sources import FromTo, SampleSource, get_client
from confusius_datasets.errors import RemoteNotFoundError
from trees import write_tree

INDEX_MD5 = "7eebc7edaa6e596b3e017d5bdfe73a63"


def content(relpath: str) -> bytes:
    """Read a file of the sample dataset from its source."""
    source = SampleSource()
    with source.open(source.list_files(get_client())[relpath], client=get_client()) as stream:
        return b"".join(stream)


def test_bytes_are_the_same_on_every_machine() -> None:
    """The index, which has every file's md5, is the one this test was written with."""
    index = SampleSource().list_files(get_client())

    assert (
        hashlib.md5(SampleSource().format_index(index), usedforsecurity=False).hexdigest()
        == INDEX_MD5
    )
    assert index.nbytes == SAMPLE.nbytes


def test_dataset_has_two_of_everything() -> None:
    """Two subjects, sessions, tasks and slices, with what belongs to them."""
    index = SampleSource().list_files(get_client())
    recordings = [path for path in index if "/fusi/" in path and path.endswith("_pwd.nii.gz")]

    assert len(recordings) == 2 * 2 * 2 * 2
    assert sum(path.endswith("_events.tsv") for path in index) == 8
    assert sum("/angio/" in path for path in index) == 4
    assert sum(path.endswith("_mask.nii.gz") for path in index) == 8


def test_files_are_what_their_names_say() -> None:
    """Images are read by nibabel, JSON by json; every recording has 120 volumes."""
    stem = "sub-mouse1/ses-day1/fusi/sub-mouse1_ses-day1_task-checkerboard_acq-slice01"

    image = nib.Nifti1Image.from_bytes(gzip.decompress(content(f"{stem}_pwd.nii.gz")))
    sidecar = json.loads(content(f"{stem}_pwd.json"))

    assert image.shape == (64, 48, 1, 120)
    assert float(image.header["pixdim"][4]) == sidecar["RepetitionTime"] == 0.5


def image_of(relpath: str) -> npt.NDArray[np.float64]:
    """Read the values of an image of one slice."""
    image = nib.Nifti1Image.from_bytes(gzip.decompress(content(relpath)))
    values: npt.NDArray[np.float64] = image.get_fdata()[:, :, 0]
    return values


@pytest.mark.parametrize("acq", ["slice01", "slice02"])
@pytest.mark.parametrize("session", ["day1", "day2"])
@pytest.mark.parametrize("subject", ["mouse1", "mouse2"])
def test_response_can_be_recovered_where_it_was_put(subject: str, session: str, acq: str) -> None:
    """The map of correlation with the stimulus, cut at 0.3, is nearly the true one; none at rest.

    Overlap is Dice's: twice what both have over what each has. Voxels at the rim of the patch
    respond too little to be seen, so it is below 1.
    """
    name = f"sub-{subject}_ses-{session}"
    folder = f"sub-{subject}/ses-{session}/fusi"
    events = np.genfromtxt(
        io.BytesIO(content(f"{folder}/{name}_task-checkerboard_acq-{acq}_events.tsv")), names=True
    )
    since = np.arange(120) * 0.5 - 1.5 - events["onset"][:, None]
    stimulus = ((since >= 0) & (since < events["duration"][:, None])).any(axis=0)
    found = {}
    for task in ("checkerboard", "rest"):
        series = image_of(f"{folder}/{name}_task-{task}_acq-{acq}_pwd.nii.gz")
        series = series - series.mean(-1, keepdims=True)
        course = stimulus - stimulus.mean()
        correlation = series @ course / (np.linalg.norm(series, axis=-1) * np.linalg.norm(course))
        found[task] = correlation > 0.3

    truth = image_of(
        f"derivatives/groundtruth/{folder}/{name}_acq-{acq}_desc-responding_mask.nii.gz"
    )

    both = (found["checkerboard"] & (truth > 0)).sum()
    assert 2 * both / (found["checkerboard"].sum() + (truth > 0).sum()) > 0.85
    assert found["rest"].mean() < 0.005


def test_headers_hold_nothing_that_differs_between_machines() -> None:
    """The rotation is none, exactly and with the sign of 0; gzip's header has no time and name."""
    packed = content("sub-mouse1/ses-day1/angio/sub-mouse1_ses-day1_pwd.nii.gz")
    header = nib.Nifti1Image.from_bytes(gzip.decompress(packed)).header

    assert packed[:10] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
    for key in ("quatern_b", "quatern_c", "quatern_d"):
        assert header[key].tobytes() == bytes(4)


def test_open_at_an_offset_gives_the_rest() -> None:
    """A range of a file is that part of the whole."""
    source = SampleSource()
    entry = source.list_files(get_client())["README.md"]

    with source.open(entry, FromTo(3, 9), client=get_client()) as stream:
        assert (stream.start, stream.total) == (3, entry.size)
        assert b"".join(stream) == content("README.md")[3:9]


def test_file_that_does_not_exist_is_named() -> None:
    """Asking for an unknown file is an error, not an empty file."""
    with pytest.raises(RemoteNotFoundError, match=r"no file 'x\.json'"):
        SampleSource().open(FileEntry("x.json"), client=get_client())


def test_sample_in_the_folder_of_its_earlier_name_is_used(tmp_path: Path) -> None:
    """A root that an earlier version filled is found in every way, and no second one is made."""
    new = fetch_sample(tmp_path, subjects="mouse1", tasks="rest", progress=False).root
    old = new.rename(tmp_path / "sample-bids")

    found = fetch_sample(tmp_path, subjects="mouse1", progress=False)
    assert found.root == old
    assert open_dataset("sample", data_dir=tmp_path, progress=False).root == old
    assert open_dataset(old, progress=False).dataset_name == "sample"
    assert not new.exists()


def test_sample_leaves_a_folder_of_others_alone(tmp_path: Path) -> None:
    """What has no index of ours is no earlier root; of two roots, the newer name counts."""
    other = tmp_path / "sample-bids"
    write_tree(other, {"README": b"mine", "sub-1/anat/sub-1_T1w.nii.gz": b""})

    root = fetch_sample(tmp_path, download=False, progress=False).root
    assert root == tmp_path / "confusius-sample-bids"
    assert sorted(path.name for path in other.iterdir()) == ["README", "sub-1"]
    (other / "dataset_index.json").write_bytes((root / "dataset_index.json").read_bytes())
    assert fetch_sample(tmp_path, download=False, progress=False).root == root
