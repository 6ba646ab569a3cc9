"""Small replicas of the public datasets: their real paths and labels, tiny images."""

from __future__ import annotations

import functools
import gzip
import json
from collections.abc import Iterable

import nibabel as nib
import numpy as np

REPETITION_TIME = 0.3

NUNEZ_SESSIONS = {"CR017": ["20191113"], "CR020": ["20191121", "20191122"], "CR022": ["20201011"]}
CYBIS_SESSIONS = {
    "rat73": ["20220523"],
    "rat75": ["20220523", "20220525"],
    "rat83": ["20220523"],
}


def _nunez_paths() -> Iterable[str]:
    """List the files of the replica of `nunez-elizalde-2022`."""
    yield from ("dataset_description.json", "README", ".bidsignore", "participants.tsv")
    yield "code/conversion_manifest.tsv"
    align = "derivatives/allenccf_align"
    yield f"{align}/dataset_description.json"
    yield f"{align}/structure_tree_safe_2017.csv"
    for subject, sessions in NUNEZ_SESSIONS.items():
        if len(sessions) > 1:
            yield f"sub-{subject}/sub-{subject}_sessions.tsv"
            yield f"sub-{subject}/sub-{subject}_sessions.json"
        for session in sessions:
            stem = f"sub-{subject}_ses-{session}"
            folder = f"sub-{subject}/ses-{session}"
            yield from (f"{folder}/angio/{stem}_pwd.{kind}" for kind in ("nii.gz", "json"))
            yield f"{align}/{folder}/fusi/{stem}_space-fusi_desc-allenccf_dseg.nii.gz"
            for task in ("spontaneous", "kalatsky"):
                for acq in ("slice01", "slice03"):
                    name = f"{folder}/fusi/{stem}_task-{task}_acq-{acq}"
                    yield from (f"{name}_pwd.nii.gz", f"{name}_pwd.json")
                    if task == "kalatsky":
                        yield f"{name}_events.tsv"
    yield (
        "sourcedata/allenccf_align/sub-CR022/ses-20201011/fusi/"
        "2020-10-11_CR022_estimated_probe00_3Dtrack_manual.hdf"
    )


def _cybis_paths() -> Iterable[str]:
    """List the files of the replica of `cybis-pereira-2026`."""
    yield from ("dataset_description.json", "README", "participants.tsv")
    for name in ("glm-speed", "glm-angular-speed", "decode-speed", "interanimal-decode-speed"):
        yield f"derivatives/{name}/dataset_description.json"
    yield "derivatives/interanimal-decode-speed/desc-accuracy_decode.tsv"
    for subject, sessions in CYBIS_SESSIONS.items():
        for name in ("glm-speed", "glm-angular-speed"):
            yield (
                f"derivatives/{name}/sub-{subject}/sub-{subject}_acq-slice32_stat-t_statmap.nii.gz"
            )
        decode = f"derivatives/decode-speed/sub-{subject}/sub-{subject}_acq-slice32"
        yield f"{decode}_desc-accuracy_decode.tsv"
        for session in sessions:
            folder, stem = f"sub-{subject}/ses-{session}", f"sub-{subject}_ses-{session}"
            yield f"{folder}/{stem}_scans.tsv"
            for acq in ("slice32", "slice37"):
                task = f"{stem}_task-openfield"
                yield f"{folder}/fusi/{task}_acq-{acq}_pwd.nii.gz"
                yield f"{folder}/fusi/{task}_acq-{acq}_pwd.json"
                yield f"{folder}/angio/{stem}_acq-{acq}_rec-minframe2d_pwd.nii.gz"
                yield f"{folder}/motion/{task}_tracksys-DLC_acq-{acq}_motion.tsv"
            yield f"derivatives/glm-speed/{folder}/fusi/{stem}_task-openfield_acq-slice32_dm.tsv"
            yield (
                f"derivatives/dlc-videos/{folder}/video/"
                f"{stem}_task-openfield_tracksys-DLC_acq-slice37_video.mp4"
            )
    yield "sub-rat84/ses-20210407/fusi/sub-rat84_ses-20210407_task-openfield_pwd.nii.gz"


NUNEZ_PATHS = sorted(_nunez_paths())
CYBIS_PATHS = sorted(_cybis_paths())


def replica_files(relpaths: list[str]) -> dict[str, bytes]:
    """Make the content of every file of a replica."""
    return {relpath: _content(relpath) for relpath in relpaths}


def _content(relpath: str) -> bytes:
    """Make a file that is what its name says, unlike every other one."""
    name = relpath.rpartition("/")[2]
    if name == "dataset_description.json":
        return _describe(relpath)
    if name.endswith("_pwd.json"):
        task = name.partition("task-")[2].partition("_")[0]
        document = {"Manufacturer": "replica", "ProbeType": "linear"}
        timing = {"TaskName": task, "RepetitionTime": REPETITION_TIME, "DelayTime": 0.1}
        return json.dumps(document | timing if task else document).encode()
    if name.endswith(".json"):
        return b"{}"
    if name.endswith(".nii.gz"):
        return _image(
            relpath, n_volumes=5 if "_task-" in name and name.endswith("_pwd.nii.gz") else 0
        )
    if name == "participants.tsv":
        return b"participant_id\tspecies\nsub-x\tMus musculus\n"
    if name.endswith("_events.tsv"):
        return b"onset\tduration\ttrial_type\n0.3\t0.6\tbar\n"
    return f"{relpath}\n".encode()


def _describe(relpath: str) -> bytes:
    """Make a description of a raw dataset or of a derivative."""
    document: dict[str, object] = {"Name": "replica", "BIDSVersion": "1.11.1"}
    if relpath.startswith("derivatives/"):
        document["DatasetType"] = "derivative"
        document["GeneratedBy"] = [{"Name": relpath.split("/")[1]}]
    return json.dumps(document).encode()


@functools.cache
def _image(relpath: str, *, n_volumes: int) -> bytes:
    """Make a small image with values of its own; 4-D where it has volumes."""
    random = np.random.default_rng(sum(relpath.encode()))
    shape = (6, 5, 1, n_volumes) if n_volumes else (6, 5, 3)
    image = nib.Nifti1Image(random.random(shape, dtype=np.float32), np.diag([0.1, 0.1, 0.4, 1.0]))
    image.header.set_xyzt_units("mm", "sec")
    if n_volumes:
        image.header["pixdim"][4] = REPETITION_TIME
    return gzip.compress(image.to_bytes(), mtime=0)


def template_image() -> bytes:
    """Make a small image with the header of the template: an sform with shear, a diagonal qform."""
    random = np.random.default_rng(0)
    affine = np.array(
        [[0.098, 0.004, -0.003, 0.5], [0.002, 0.105, 0.006, 0.7], [-0.005, 0.001, 0.11, 1.2]]
    )
    sform = np.vstack([affine, [0, 0, 0, 1]])
    image = nib.Nifti1Image(random.random((12, 10, 8), dtype=np.float32), sform)
    image.header.set_xyzt_units("mm")
    image.set_sform(sform, code=1)
    image.set_qform(np.diag([0.1, 0.1, 0.11, 1.0]), code=1)
    return gzip.compress(image.to_bytes(), mtime=0)
