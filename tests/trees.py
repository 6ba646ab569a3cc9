"""Trees of files to compare with PyBIDS on, and the plain PyBIDS layout to compare with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import bids.layout
from bids import BIDSLayout

from confusius_datasets._layout.config import fusi_config
from confusius_datasets._sample import SampleSource
from replicas import CYBIS_PATHS, NUNEZ_PATHS, replica_files

PUBLIC_TREES = Path(__file__).parents[2] / "shared" / "data" / "bids-examples"
"""Public BIDS trees that some machines have beside the project; the suite does not need them."""

INHERITANCE = {
    "dataset_description.json": {"Name": "inheritance", "BIDSVersion": "1.10.0"},
    "pwd.json": {"Manufacturer": "root", "ProbeType": "linear", "Nothing": 1},
    "task-rest_pwd.json": {"TaskName": "rest", "RepetitionTime": 0.4},
    "task-rest_events.json": {"onset": {"Units": "s"}},
    "sub-01/sub-01_pwd.json": {"ProbeType": "matrix", "Nothing": None},
    "sub-01/fusi/sub-01_task-rest_pose-01_pwd.json": {"DelayAfterTrigger": 0.0, "Flag": True},
    "sub-01/fusi/sub-01_task-rest_pose-02_pwd.json": {"DelayAfterTrigger": 0.6, "Flag": False},
    "sub-02/fusi/sub-02_task-rest_run-01_pwd.json": {"RepetitionTime": 0.5, "List": [1, {"a": 2}]},
    "derivatives/glm/dataset_description.json": {
        "Name": "glm",
        "BIDSVersion": "1.10.0",
        "GeneratedBy": [{"Name": "a-pipeline"}],
    },
    "derivatives/glm/desc-speed_statmap.json": {"Sources": ["bids::pwd.json"]},
}
"""Sidecars at every level, and what they say."""

INHERITING = [
    "task-rest_events.tsv",
    "participants.tsv",
    "README",
    "code/run.py",
    "sourcedata/raw.dat",
    "stimuli/grating.png",
    ".bidsignore",
    ".hidden/sub-09_pwd.nii.gz",
    "sub-01/fusi/sub-01_task-rest_pose-01_pwd.nii.gz",
    "sub-01/fusi/sub-01_task-rest_pose-02_pwd.nii.gz",
    "sub-01/angio/sub-01_pwd.nii.gz",
    "sub-01/sub-01_scans.tsv",
    "sub-02/fusi/sub-02_task-rest_run-01_pwd.nii.gz",
    "sub-02/fusi/sub-02_task-rest_run-2_pwd.nii.gz",
    "sub-02/fusi/sub-02_task-rest_run-2_recording-wheel_physio.tsv.gz",
    "sub-10/micr/sub-10_sample-a_SPIM.zarr/.zgroup",
    "sub-10/micr/sub-10_sample-a_SPIM.zarr/0/0",
    "derivatives/README",
    "derivatives/glm/sub-01/sub-01_desc-speed_stat-t_statmap.nii.gz",
    "derivatives/glm/code/run.py",
    "derivatives/no-description/sub-01/fusi/sub-01_task-rest_desc-clean_pwd.nii.gz",
]
"""Files of the same tree that are no sidecars."""


def write_tree(root: Path, files: dict[str, bytes]) -> Path:
    """Write files below a root."""
    for relpath, content in files.items():
        path = root / relpath
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def inheritance_files() -> dict[str, bytes]:
    """Return the tree of sidecars at every level."""
    files = {relpath: json.dumps(content).encode() for relpath, content in INHERITANCE.items()}
    return files | dict.fromkeys(INHERITING, b"x")


def sample_files() -> dict[str, bytes]:
    """Return the sample dataset, images left empty."""
    source = SampleSource()
    files = {}
    for relpath, entry in source.fetch_index().items():
        files[relpath] = b""
        if not relpath.endswith(".nii.gz"):
            with source.open(entry) as stream:
                files[relpath] = b"".join(stream)
    return files


def replica_tree(name: str) -> dict[str, bytes]:
    """Return the replica of a public dataset."""
    return replica_files({"nunez": NUNEZ_PATHS, "cybis": CYBIS_PATHS}[name])


def plain_layout(root: Path) -> BIDSLayout:
    """Open a folder with PyBIDS alone, configured for fUSI, and every derivative with it."""
    ignore = [
        *bids.layout.validation.DEFAULT_LOCATIONS_TO_IGNORE,
        *(f"{name}.json" for name in ("dataset_index", "manifest", "s3_index")),
    ]

    def indexer() -> Any:
        return bids.layout.BIDSLayoutIndexer(validate=False, ignore=ignore)

    def config(folder: Path) -> list[Any]:
        path = folder / "dataset_description.json"
        described = json.loads(path.read_text()) if path.exists() else {}
        derived = folder != root or described.get("DatasetType") == "derivative"
        return [fusi_config(), "derivatives"] if derived else [fusi_config()]

    layout = BIDSLayout(root, validate=False, config=config(root), indexer=indexer())
    for folder in sorted((root / "derivatives").glob("*/")):
        if folder.is_dir():
            layout.derivatives[f"derivatives/{folder.name}"] = BIDSLayout(
                folder,
                validate=False,
                config=config(folder),
                indexer=indexer(),
                is_derivative=True,
                sources=layout,
            )
    return layout
