"""Trees of files to compare with PyBIDS on, and the plain PyBIDS layout to compare with."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import bids.layout
from bids import BIDSLayout

from confusius_datasets._layout.config import pybids_config
from confusius_datasets._sources import SampleSource, get_client
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


AWKWARD_SIDECARS: dict[str, dict[str, Any]] = {
    "dataset_description.json": {"Name": "awkward", "BIDSVersion": "1.10.0"},
    "pwd.json": {"Int": 3, "Text": "root", "Zero": None},
    "task-a_pwd.json": {"TaskName": "a", "RepetitionTime": 0.4, "Zero": 5},
    "task-a_bold.json": {"TaskName": "a", "RepetitionTime": 2.0},
    "task-a_events.json": {"onset": {"Units": "s"}, "value": {"Levels": {"a": 1}}},
    "participants.json": {"age": {"Units": "week"}},
    "sub-01/fusi/sub-01_task-a_run-1_pwd.json": {
        "Int": 1,
        "Float": 1.0,
        "Bool": True,
        "Null": None,
        "List": [1, [2]],
        "Text": "",
        "Dict": {"x": [1]},
        "Digits": "01",
        "Minus": -1,
        "Tiny": 1e-9,
        "Huge": 1 << 70,
    },
    "sub-01/fusi/sub-01_task-a_run-10_pwd.json": {"Int": "1", "Float": "1.0", "OnlyHere": "Yes"},
    "sub-01/func/sub-01_task-a_run-1_sbref.json": {"Echo": 1},
    "sub-01/func/sub-01_task-a_run-1_physio.json": {
        "SamplingFrequency": 2.0,
        "StartTime": 0,
        "Columns": ["pulse"],
    },
    "sub-01/func/sub-01_task-a_run-1_recording-eye_physio.json": {"SamplingFrequency": 1.0},
    "sub-01/fmap/sub-01_phasediff.json": {
        "IntendedFor": [
            "func/sub-01_task-a_run-1_bold.nii.gz",
            "bids::sub-01/func/sub-01_task-a_run-2_bold.nii.gz",
            "bids:other:sub-01/func/sub-01_task-a_run-2_bold.nii.gz",
        ]
    },
    "sub-01/fmap/sub-01_dir-AP_epi.json": {"IntendedFor": "func/sub-01_task-a_run-1_bold.nii.gz"},
    "sub-01/dwi/sub-01_dwi.json": {"PhaseEncodingDirection": "i-"},
    "sub-01/dwi/sub-01_sbref.json": {"PhaseEncodingDirection": "j"},
    "sub-02/fusi/sub-02_task-a_pose-1_pwd.json": {"DelayAfterTrigger": 1},
    "derivatives/x_pwd.json": {"Text": "beside the derivatives"},
    "derivatives/mine/dataset_description.json": {
        "Name": "mine",
        "BIDSVersion": "1.10.0",
        "GeneratedBy": [{"Name": "first"}, {"Name": "second"}],
    },
    "derivatives/mine/pwd.json": {"Text": "derivative"},
    "derivatives/mine/sub-01/fusi/sub-01_task-a_desc-m_pwd.json": {
        "IntendedFor": "fusi/sub-01_task-a_desc-n_pwd.nii.gz"
    },
    "derivatives/also/dataset_description.json": {
        "Name": "also",
        "BIDSVersion": "1.10.0",
        "GeneratedBy": [{"Name": "first"}],
    },
    "derivatives/old/dataset_description.json": {
        "Name": "old",
        "BIDSVersion": "1.1.1",
        "PipelineDescription": {"Name": "old-pipeline"},
    },
}
"""Sidecars with values of every type, odd places, and what they say."""

AWKWARD = [
    *("README.md", "CHANGES", "codebook.tsv", "models.json", "stimuli.tsv", "sourcedata.json"),
    *("code/sub-01_pwd.nii.gz", "models/m.json", "sourcedata/sub-01/fusi/sub-01_pwd.nii.gz"),
    *("sub-01/code/sub-01_pwd.nii.gz", "sub-01/.hidden/sub-01_pwd.nii.gz", "participants.tsv"),
    *("sub-01/fusi/.sub-01_pwd.nii.gz", "events.tsv", "sub-03_odd/sub-04/sub-05_x.json"),
    "deep/er/func/anat/sub-07_T1w.nii.gz",
    *(f"sub-01/fusi/sub-01_task-a_run-{run}_pwd.nii.gz" for run in ("1", "01", "10")),
    *(f"sub-01/func/sub-01_task-a_run-{run}_bold.nii.gz" for run in (1, 2)),
    "sub-01/func/sub-01_task-a_run-1_sbref.nii.gz",
    "sub-01/func/sub-01_task-a_events.tsv",
    "sub-01/func/sub-01_task-a_run-1_physio.tsv.gz",
    "sub-01/func/sub-01_task-a_run-1_recording-eye_physio.tsv.gz",
    *(f"sub-01/fmap/sub-01_{name}.nii.gz" for name in ("phasediff", "magnitude1", "dir-AP_epi")),
    *(f"sub-01/dwi/sub-01_{name}" for name in ("dwi.nii.gz", "dwi.bval", "sbref.nii.gz")),
    *(f"sub-01/anat/sub-01_T1w{end}" for end in (".nii", ".NII.GZ", ".v2.nii.gz", ".", " x.nii")),
    *("sub-01/anat/noext", "sub-01/anat/sub-01_mt-on_part-mag_MTR.nii.gz"),
    "sub-a+b/ses-X/sub-a+b_ses-X_scans.tsv",
    "sub-a+b/ses-X/anat/sub-a+b_ses-X_echo-1_flip-2_inv-1_chunk-01_T1w.nii.gz",
    "sub-A+C/ses-x/anat/sub-A+C_ses-x_T1w.nii.gz",
    *(f"sub-02/fusi/sub-02_task-a_pose-{pose}_pwd.nii.gz" for pose in ("1", "01")),
    "sub-02/fusi/sub-02_task-a_pose-1_pwd.ome.zarr/0/x",
    "sub-02/fusi/sub-02_task-a_pose-1_pwd.zarr/.zattrs",
    "sub-02/susi/sub-02_pwd.nii.gz",
    "derivatives/README",
    *(f"derivatives/mine/sub-01/fusi/sub-01_task-a_desc-{desc}_pwd.nii.gz" for desc in "mn"),
    "derivatives/mine/derivatives/nested/sub-01_pwd.nii.gz",
    "derivatives/mine/derivatives/file_pwd.nii.gz",
    "derivatives/mine/code/x_pwd.nii.gz",
    "derivatives/also/sub-01/sub-01_hemi-L_den-32k_res-2_label-GM_seg-y_desc-z_dseg.nii.gz",
    "derivatives/also/sub-01/sub-01_from-T1w_to-MNI_mode-image_xfm.h5",
    "derivatives/also/big.zarr/0",
    "derivatives/old/sub-01/func/sub-01_task-a_desc-x_bold.nii.gz",
]
"""Files of the same tree: odd names, and all that PyBIDS leaves out."""


def write_tree(root: Path, files: dict[str, bytes]) -> Path:
    """Write files below a root."""
    for relpath, content in files.items():
        path = root / relpath
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def read_tree(root: Path) -> dict[str, bytes]:
    """Read the files below a root."""
    files = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def awkward_files() -> dict[str, bytes]:
    """Return the tree of odd names and values."""
    files = {relpath: json.dumps(content).encode() for relpath, content in AWKWARD_SIDECARS.items()}
    return files | dict.fromkeys(AWKWARD, b"")


def inheritance_files() -> dict[str, bytes]:
    """Return the tree of sidecars at every level."""
    files = {relpath: json.dumps(content).encode() for relpath, content in INHERITANCE.items()}
    return files | dict.fromkeys(INHERITING, b"x")


def sample_files() -> dict[str, bytes]:
    """Return the sample dataset, images left empty."""
    source = SampleSource()
    files = {}
    for relpath, entry in source.list_files(get_client()).items():
        files[relpath] = b""
        if not relpath.endswith(".nii.gz"):
            with source.open(entry, client=get_client()) as stream:
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
        return [pybids_config(), "derivatives"] if derived else [pybids_config()]

    def open_one(folder: Path, **options: Any) -> BIDSLayout:
        with warnings.catch_warnings():
            # PyBIDS warns of other datasets' URIs and of the old way to name a pipeline.
            warnings.filterwarnings("ignore", category=UserWarning)
            return BIDSLayout(
                folder, validate=False, config=config(folder), indexer=indexer(), **options
            )

    layout = open_one(root)
    for folder in sorted((root / "derivatives").glob("*/")):
        if folder.is_dir():
            layout.derivatives[f"derivatives/{folder.name}"] = open_one(
                folder, is_derivative=True, sources=layout
            )
    return layout
