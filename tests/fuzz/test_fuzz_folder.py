"""Damaged sidecars, descriptions and tables in a folder."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from builders import nifti_bytes
from confusius_datasets import load, open_dataset
from confusius_datasets.errors import ConfusiusDatasetsError
from mutations import damage_some, replace_file, run_trials
from trees import write_tree

FIELDS = {
    "RepetitionTime": 0.3,
    "VolumeTiming": [0.0, 0.3, 0.6],
    "SliceTiming": [0.0, 0.1],
    "SliceEncodingDirection": "k",
    "DelayTime": 0.1,
    "FrameAcquisitionDuration": 0.3,
    "DelayAfterTrigger": 0,
    "Units": "arbitrary",
    "ProbeModel": {"name": "x", "elements": [1, 2]},
    "PlaneWaveAngles": [-10, 0, 10],
    "IntendedFor": ["bids::sub-1/fusi/sub-1_pwd.nii.gz"],
}
STEM = "sub-1/fusi/sub-1_task-rest"
FILES = {
    "dataset_description.json": json.dumps(
        {
            "Name": "x",
            "BIDSVersion": "1.9.0",
            "License": "CC0",
            "Authors": ["A", "B"],
            "HowToAcknowledge": "cite",
            "ReferencesAndLinks": ["https://doi.org/10.1/x"],
            "DatasetDOI": "10.1/x",
            "GeneratedBy": [{"Name": "y", "Version": "1"}],
        }
    ).encode(),
    "participants.tsv": b"participant_id\tage\nsub-1\t3\n",
    "participants.json": b'{"age": {"Units": "weeks", "Levels": {"1": "one"}}}',
    "task-rest_pwd.json": b'{"TaskName": "rest", "RepetitionTime": 0.5}',
    f"{STEM}_pwd.json": json.dumps(FIELDS).encode(),
    f"{STEM}_events.tsv": b"onset\tduration\ttrial_type\n0.1\t0.2\tgo\n",
    f"{STEM}_events.json": b'{"trial_type": {"Levels": {"go": "x"}}}',
    "derivatives/d/dataset_description.json": b'{"Name": "d", "DatasetType": "derivative"}',
    "derivatives/d/sub-1/fusi/sub-1_desc-a_pwd.json": b'{"RepetitionTime": 1}',
}
IMAGES = {
    f"{STEM}_pwd.nii.gz": None,
    "derivatives/d/sub-1/fusi/sub-1_desc-a_pwd.nii.gz": None,
}


def use(root: Path, rng: random.Random) -> None:
    """Call some of what reads the files of a folder."""
    dataset = open_dataset(root)
    image = root / f"{STEM}_pwd.nii.gz"
    calls = (
        lambda: load(image),
        lambda: dataset.get(RepetitionTime=0.3),
        lambda: dataset.get(suffix="pwd", ProbeModel="x"),
        lambda: dataset.load(subject="1", suffix="pwd", scope="raw"),
        lambda: dataset.layout.get_metadata(str(image)),
        lambda: dataset.layout.get_RepetitionTime(),
        lambda: dataset.to_df(),
        lambda: dataset.participants,
        lambda: dataset.events(subject="1"),
        lambda: (dataset.citation, dataset.bibtex, dataset.license, dataset.version, dataset.name),
        lambda: repr(dataset) + str(dataset._repr_html_()),
        lambda: dataset.get(scope="derivatives"),
        lambda: dataset.layout.get_file(str(image)).get_metadata(),
        lambda: dataset.coverage(),
        lambda: dataset.missing(),
        lambda: dataset.verify(),
        lambda: dataset.layout.get_tr(),
        lambda: [file.get_associations() for file in dataset.get(suffix="pwd")],
    )
    refused: ConfusiusDatasetsError | None = None
    for call in rng.sample(calls, 3):
        try:
            call()
        except ConfusiusDatasetsError as error:
            refused = error
    if refused is not None:
        raise refused


@pytest.mark.slow
def test_damaged_file_of_a_folder_is_told(trials: int, tmp_path: Path) -> None:
    """Whatever a sidecar, a description or a table holds, no foreign exception comes out."""
    image = nifti_bytes()
    root = write_tree(tmp_path / "inside", FILES | dict.fromkeys(IMAGES, image))

    def trial(rng: random.Random) -> None:
        name = rng.choice(list(FILES))
        put_back = replace_file(root / name, damage_some(rng, FILES[name]))
        try:
            use(root, rng)
        finally:
            put_back()

    run_trials("sidecar and description", max(trials // 3, 1), tmp_path, trial)
