"""The sample dataset: the same bytes everywhere, and something to find in them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json

import nibabel as nib
import numpy as np
import pytest

from confusius_datasets._catalog import SAMPLE
from confusius_datasets._index import FileEntry
from confusius_datasets._sample import SampleSource
from confusius_datasets.errors import RemoteNotFoundError

INDEX_MD5 = "ad178f03b0d2777b4a148d349ec698ad"


def content(relpath: str) -> bytes:
    """Read a file of the sample dataset from its source."""
    source = SampleSource()
    with source.open(source.fetch_index()[relpath]) as stream:
        return b"".join(stream)


def test_bytes_are_the_same_on_every_machine() -> None:
    """The index, which has every file's md5, is the one this test was written with."""
    index = SampleSource().fetch_index()

    assert hashlib.md5(index.to_json(), usedforsecurity=False).hexdigest() == INDEX_MD5
    assert index.nbytes == SAMPLE.nbytes


def test_dataset_has_two_of_everything() -> None:
    """Two subjects, sessions, tasks and slices, with what belongs to them."""
    index = SampleSource().fetch_index()
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


def test_response_can_be_recovered_where_it_was_put() -> None:
    """Voxels of the true map follow the stimulus, and no others do."""
    stem = "ses-day1/fusi/sub-mouse2_ses-day1"
    pwd = nib.Nifti1Image.from_bytes(
        gzip.decompress(content(f"sub-mouse2/{stem}_task-checkerboard_acq-slice02_pwd.nii.gz"))
    ).get_fdata()[:, :, 0]
    truth = nib.Nifti1Image.from_bytes(
        gzip.decompress(
            content(
                f"derivatives/groundtruth/sub-mouse2/{stem}_acq-slice02_desc-responding_mask.nii.gz"
            )
        )
    ).get_fdata()[:, :, 0]
    events = np.genfromtxt(
        io.BytesIO(content(f"sub-mouse2/{stem}_task-checkerboard_acq-slice02_events.tsv")),
        names=True,
    )
    since = np.arange(120) * 0.5 - 1.5 - events["onset"][:, None]
    stimulus = ((since >= 0) & (since < 5)).any(axis=0)

    contrast = pwd[..., stimulus].mean(-1) / pwd[..., ~stimulus].mean(-1) - 1

    assert contrast[truth > 0].mean() > 0.1
    assert abs(contrast[truth == 0].mean()) < 0.01


def test_open_at_an_offset_gives_the_rest() -> None:
    """A range of a file is that part of the whole."""
    source = SampleSource()
    entry = source.fetch_index()["README.md"]

    with source.open(entry, start=3, stop=9) as stream:
        assert (stream.start, stream.total) == (3, entry.size)
        assert b"".join(stream) == content("README.md")[3:9]


def test_file_that_does_not_exist_is_named() -> None:
    """Asking for an unknown file is an error, not an empty file."""
    with pytest.raises(RemoteNotFoundError, match=r"no file 'x\.json'"):
        SampleSource().open(FileEntry("x.json", 1, None, ""))
