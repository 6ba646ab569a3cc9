"""Looking at the first frames of a recording on a host: what comes over the wire, and what not."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from builders import nifti_bytes
from confusius_datasets import BIDSDataset
from confusius_datasets._spec import DatasetSpec
from confusius_datasets.errors import (
    AmbiguousMatchError,
    ArgumentError,
    FileFormatError,
    OfflineError,
)
from downloads import FOLDER, PROJECT, Lab
from marks import slow

NAME = "sub-1/fusi/sub-1_task-rest_pwd"

SIDECAR = {
    "VolumeTiming": [0.5 * number + 2 for number in range(300)],
    "FrameAcquisitionDuration": 0.1,
    "TaskName": "rest",
}


def recording(shape: tuple[int, ...] = (64, 48, 1, 300)) -> bytes:
    """Make a recording of four megabytes that hardly compresses."""
    values = np.random.default_rng(1).random(shape, dtype=np.float32)
    return nifti_bytes(values, np.diag([0.1, 0.1, 0.4, 1]))


def serve(lab: Lab, files: dict[str, bytes]) -> BIDSDataset:
    """Put files on a host, and open their dataset with its index alone."""
    lab.host.add_dataset(PROJECT, FOLDER, files)
    spec = DatasetSpec(name="lab", folder=FOLDER, source=lab.source)
    dataset = BIDSDataset(lab.root, spec=spec, progress=False)
    dataset.refresh()
    return dataset


@pytest.mark.parametrize("extension", [".nii", ".nii.gz"])
@pytest.mark.parametrize("frames", [slow(1), 3])
def test_preview_is_the_beginning_of_what_load_gives(
    osf_lab: Lab, extension: str, frames: int
) -> None:
    """Values, times and attributes are those of the whole file; a small part of it came."""
    data = recording()
    content = gzip.compress(data, 1) if extension == ".nii.gz" else data
    files = {f"{NAME}{extension}": content, "task-rest_pwd.json": json.dumps(SIDECAR).encode()}
    dataset = serve(osf_lab, files)

    first = dataset.preview(task="rest", frames=frames)
    sent = osf_lab.sent(f"{NAME}{extension}")
    here = [path for path in dataset.rglob("*") if path.name.startswith(("sub-1", "task-"))]
    whole = dataset.load(task="rest")

    assert here == []
    assert sent < 400_000 < len(content) / 5
    assert first.sizes["time"] == frames
    assert first.identical(whole.isel(time=slice(0, frames)))
    assert dataset.preview(task="rest", frames=frames).identical(first)  # now from the disk


def test_preview_of_an_image_and_of_further_axes(osf_lab: Lab) -> None:
    """An image is one frame; of further axes the first place is shown."""
    files = {
        "sub-1/angio/sub-1_pwd.nii": recording((8, 7, 6)),
        "sub-1/fusi/sub-1_task-a_pwd.nii": recording((8, 7, 1, 5, 3)),
    }
    dataset = serve(osf_lab, files)

    image = dataset.preview(datatype="angio", frames=9)
    first = dataset.preview(datatype="fusi", frames=2)

    assert image.equals(dataset.load(datatype="angio"))
    assert first.equals(dataset.load(datatype="fusi").isel(dim4=slice(0, 1), time=slice(0, 2)))


def test_preview_says_why_it_cannot_be(osf_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Damaged, of another format, several files, offline, or no number of frames."""
    files = {
        "sub-1/fusi/sub-1_task-cut_pwd.nii": recording()[:5000],
        "sub-1/fusi/sub-1_task-page_pwd.nii.gz": b"<html>" * 500,
        "sub-1/fusi/sub-1_task-v1_pwd.scan": b"scan",
    }
    dataset = serve(osf_lab, files)

    with pytest.raises(FileFormatError, match=r"ends after 5000 bytes, and its header claims"):
        dataset.preview(task="cut")
    with pytest.raises(FileFormatError, match="not a gzip file"):
        dataset.preview(task="page")
    with pytest.raises(FileFormatError, match=r"only \.nii and \.nii\.gz files can be previewed"):
        dataset.preview(task="v1")
    with pytest.raises(AmbiguousMatchError, match="One of them: load"):
        dataset.preview(subject="1")
    with pytest.raises(ArgumentError, match="frames must be a whole number greater than 0"):
        dataset.preview(task="cut", frames=0)
    monkeypatch.setenv("CONFUSIUS_OFFLINE", "1")
    with pytest.raises(OfflineError, match="CONFUSIUS_OFFLINE is set") as caught:
        dataset.preview(task="cut")
    assert caught.value.missing == ("sub-1/fusi/sub-1_task-cut_pwd.nii",)
    assert not list(Path(dataset).rglob("*_pwd*"))
