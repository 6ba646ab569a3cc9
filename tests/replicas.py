"""Small replicas of the public datasets: their real paths and labels, tiny images."""

from __future__ import annotations

import functools
import gzip
import json
import zlib
from collections.abc import Iterable

import nibabel as nib
import numpy as np

from confusius_datasets.testing import ZipMember, build_zip

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


def _pereira_paths() -> Iterable[str]:
    """List the files of the replica of `pereira-2025`: functional files only, root-level events."""
    yield from ("dataset_description.json", "participants.tsv", "participants.json")
    yield "task-stim_events.tsv"
    for subject, task in (("r11582", "rest"), ("r21595", "rest"), ("r21595", "stim")):
        folder = f"sub-{subject}"
        yield f"{folder}/sub-{subject}_sessions.tsv"
        for session in ("awakebaseline", "awake1h"):
            stem = f"sub-{subject}_ses-{session}_task-{task}_acq-2dfus_run-01_pwd"
            for kind in ("nii.gz", "json"):
                yield f"{folder}/ses-{session}/fusi/{stem}.{kind}"


def _pepe_mariani_paths() -> Iterable[str]:
    """List the files of the replica of `pepe-mariani-2026`: a file for each probe position."""
    yield from ("dataset_description.json", "pwd.json", "participants.tsv")
    for name in ("registered", "preprocessed"):
        yield f"derivatives/{name}/dataset_description.json"
    # A folder of this name that no subject owns: neither a datatype nor renamed in releases.
    yield (
        "derivatives/Params/angio/templates/source-BI_space-fUSI_desc-GillianTemplate_"
        "res-110umx100umx100um_feature.nii.gz"
    )
    for subject, acq in (("m01", "coronal"), ("m02", "sagittal")):
        folder, stem = f"sub-{subject}/ses-rest", f"sub-{subject}_ses-rest"
        yield f"sub-{subject}/sub-{subject}_sessions.tsv"
        yield f"{folder}/{stem}_scans.tsv"
        yield f"{folder}/angio/{stem}_acq-{acq}_pwd.nii.gz"
        for chunk in ("01", "02", "03"):
            name = f"{folder}/fusi/{stem}_task-rest_acq-{acq}_chunk-{chunk}_pwd"
            yield from (f"{name}.nii.gz", f"{name}.json")
            yield (
                f"derivatives/registered/{folder}/fusi/"
                f"{stem}_task-rest_acq-{acq}_chunk-{chunk}_pwd.nii.gz"
            )
        whole = f"derivatives/preprocessed/{folder}/fusi/{stem}_task-rest_acq-{acq}_pwd"
        yield from (f"{whole}.nii.gz", f"{whole}.json")


def _landemard_paths() -> Iterable[str]:
    """List the files of the replica of `landemard-2026`: no sessions."""
    yield from ("dataset_description.json", "README.txt")
    for name in ("atlas_mapping", "processed_data"):
        yield f"derivatives/{name}/dataset_description.json"
    for subject in ("ALD001", "ALD002"):
        stem = f"sub-{subject}/fusi/sub-{subject}_task-awake"
        yield f"sub-{subject}/sub-{subject}_scans.tsv"
        yield f"sub-{subject}/angio/sub-{subject}_pwd.nii.gz"
        for recording in (f"{stem}_acq-ref04", f"{stem}_acq-ref11_run-1"):
            yield from (f"{recording}_pwd.nii.gz", f"{recording}_pwd.json")
        yield f"{stem}_acq-ref11_run-1_recording-wheel_physio.tsv.gz"
        yield f"derivatives/atlas_mapping/sub-{subject}/Atlas_alignment_{subject}.npz"
        yield f"derivatives/processed_data/Compact_data_regions_{subject}.npz"


def _khallaf_paths() -> Iterable[str]:
    """List the files of the replica of `khallaf-2026`: uncompressed, one table of events."""
    yield from ("dataset_description.json", "participants.tsv", "README.md", "events.tsv")
    yield from ("derivatives/bootstrapping.zip", "derivatives/glm/desc-replicate_pwd.nii")
    yield "derivatives/bootstrapping_IPM/desc-mean_pwd.nii"
    for subject, session in (("5622", "IPM"), ("5622", "Etoh"), ("6036", "Air")):
        folder, stem = f"sub-{subject}/ses-{session}", f"sub-{subject}_ses-{session}"
        yield f"{folder}/{stem}_scans.tsv"
        for run in ("1", "2"):
            name = f"{folder}/fusi/{stem}_task-olfactory"
            yield f"{name}_run-{run}_pwd.nii"
            yield f"{name}_rec-resampled_run-{run}_space-{subject}run1_pwd.nii"
        yield f"derivatives/glm/{folder}/{stem}_task-olfactory_desc-mean_pwd.nii"
        yield f"sourcedata/{session}/{session}_{subject}_4Dscan_5.source.scan"


NUNEZ_PATHS = sorted(_nunez_paths())
CYBIS_PATHS = sorted(_cybis_paths())
PEREIRA_PATHS = sorted(set(_pereira_paths()))
PEPE_MARIANI_PATHS = sorted(_pepe_mariani_paths())
LANDEMARD_PATHS = sorted(_landemard_paths())
KHALLAF_PATHS = sorted(_khallaf_paths())


def replica_files(
    relpaths: list[str], *, repetition_time: float = REPETITION_TIME
) -> dict[str, bytes]:
    """Make the content of every file of a replica."""
    files = {relpath: _content(relpath, repetition_time) for relpath in relpaths}
    for relpath in relpaths:
        if relpath.endswith("_scans.tsv"):
            files[relpath] = _list_scans(relpath, relpaths)
    return files


def pepe_mariani_files() -> dict[str, bytes]:
    """Make the replica of `pepe-mariani-2026` as it is on OSF, its old tables of scans included."""
    files = replica_files(PEPE_MARIANI_PATHS, repetition_time=2.4)
    scans = "sub-m01/ses-rest/sub-m01_ses-rest_scans.tsv"
    names = [line.split("\t")[0] for line in files[scans].decode().splitlines()[1:]]
    # An old header, bare names, and a row whose name and time are in one cell.
    rows = [f"{name.rpartition('/')[2]}\t2024-01-01T10:00:00" for name in names]
    rows[-1] = rows[-1].replace("\t", " ")
    files[scans] = "\n".join(["scan_id\tacq_time", *rows, ""]).encode()
    return files


def _list_scans(relpath: str, relpaths: list[str]) -> bytes:
    """Make a table of the recordings of a session or, without sessions, of a subject."""
    folder = relpath.rpartition("/")[0] + "/"
    below = [path.removeprefix(folder) for path in relpaths if path.startswith(folder)]
    scans = [path for path in below if "/" in path and ".nii" in path]
    rows = [f"{path}\t2024-01-01T10:{n:02d}:00" for n, path in enumerate(scans)]
    return "\n".join(["filename\tacq_time", *rows, ""]).encode()


def _content(relpath: str, repetition_time: float) -> bytes:
    """Make a file that is what its name says, unlike every other one."""
    name = relpath.rpartition("/")[2]
    if name == "dataset_description.json":
        return _describe(relpath)
    if name.endswith("pwd.json"):
        return json.dumps(_acquisition(relpath, repetition_time)).encode()
    if name.endswith(".json"):
        return b"{}"
    if name.endswith((".nii", ".nii.gz")):
        recorded = "_task-" in name and "_pwd.nii" in name and "desc-mean" not in name
        n_volumes = 5 if recorded else 0
        return _image(relpath, n_volumes=n_volumes, repetition_time=repetition_time)
    if name.endswith(".tsv.gz"):
        return gzip.compress(b"0.1\n0.2\n0.3\n", mtime=0)
    if name.endswith(".zip"):
        return build_zip([ZipMember("bootstrap.txt", relpath.encode())])
    if name == "events.tsv":
        rows = [f"{onset}\t30\tactive\n" for onset in range(30, 300, 60)]
        return "".join(["onset\tduration\ttrial_type\n", *rows]).encode()
    if name == "participants.tsv":
        return b"participant_id\tspecies\nsub-x\tMus musculus\n"
    if name.endswith("_events.tsv"):
        return b"onset\tduration\ttrial_type\n0.3\t0.6\tbar\n"
    return f"{relpath}\n".encode()


def _acquisition(relpath: str, repetition_time: float) -> dict[str, object]:
    """Make a sidecar of an acquisition."""
    name = relpath.rpartition("/")[2]
    task = name.partition("task-")[2].partition("_")[0]
    document: dict[str, object] = {"Manufacturer": "replica", "ProbeType": "linear"}
    if task:
        document |= {"TaskName": task, "RepetitionTime": repetition_time, "DelayTime": 0.1}
    if "_chunk-" in name:
        document |= {"DelayAfterTrigger": 1.0, "DelayTime": 2.0, "SliceThickness": 0.4}
    if name == "pwd.json":
        document |= {"UltrasoundTransmitFrequency": 15.6e6, "ProbeVoltage": 25}
    return document


def _describe(relpath: str) -> bytes:
    """Make a description of a raw dataset or of a derivative."""
    document: dict[str, object] = {"Name": "replica", "BIDSVersion": "1.11.1"}
    if relpath.startswith("derivatives/"):
        document["DatasetType"] = "derivative"
        document["GeneratedBy"] = [{"Name": relpath.split("/")[1]}]
    return json.dumps(document).encode()


@functools.cache
def _image(relpath: str, *, n_volumes: int, repetition_time: float) -> bytes:
    """Make a small image with values of its own; 4-D where it has volumes."""
    random = np.random.default_rng(zlib.crc32(relpath.encode()))
    shape = (6, 5, 1, n_volumes) if n_volumes else (6, 5, 3)
    packed = relpath.endswith(".gz")
    # The uncompressed images follow no convention: other axes, and no units.
    affine = np.diag([0.1, 0.1, 0.4, 1.0])[:, [0, 1, 2, 3] if packed else [1, 2, 0, 3]]
    image = nib.Nifti1Image(random.random(shape, dtype=np.float32), affine)
    if packed:
        image.header.set_xyzt_units("mm", "sec")
    if n_volumes:
        image.header["pixdim"][4] = repetition_time
    return gzip.compress(image.to_bytes(), mtime=0) if packed else bytes(image.to_bytes())


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
    zooms = np.linalg.norm(affine[:, :3], axis=0)
    image.set_qform(np.diag([*zooms, 1.0]), code=1)
    return gzip.compress(image.to_bytes(), mtime=0)


def huang_template_image() -> bytes:
    """Make a small image on the grid of the Allen atlas of 50 µm."""
    random = np.random.default_rng(50)
    values = random.random((9, 8, 7), dtype=np.float32)
    image = nib.Nifti1Image(values, np.diag([0.05, 0.05, 0.05, 1.0]))
    image.header.set_xyzt_units("mm")
    return gzip.compress(image.to_bytes(), mtime=0)
