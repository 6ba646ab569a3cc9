"""The replicas have the shapes that each public dataset is known for."""

from __future__ import annotations

import gzip
import io
import json
import zipfile

import nibabel as nib
import pytest

from releases import ARCHIVE_PREFIX, khallaf_archive, released
from replicas import (
    CYBIS_PATHS,
    KHALLAF_PATHS,
    LANDEMARD_PATHS,
    NUNEZ_PATHS,
    PEPE_MARIANI_PATHS,
    PEREIRA_PATHS,
    huang_template_image,
    pepe_mariani_files,
    replica_files,
)

ALL_PATHS = {
    "nunez": NUNEZ_PATHS,
    "cybis": CYBIS_PATHS,
    "pereira": PEREIRA_PATHS,
    "pepe-mariani": PEPE_MARIANI_PATHS,
    "landemard": LANDEMARD_PATHS,
    "khallaf": KHALLAF_PATHS,
}


@pytest.mark.parametrize("name", ALL_PATHS)
def test_paths_are_each_there_once_and_images_differ(name: str) -> None:
    """No path stands twice, and no two images have the same bytes."""
    paths = ALL_PATHS[name]
    files = replica_files(paths)
    images = [data for path, data in files.items() if ".nii" in path]

    assert len(set(paths)) == len(paths)
    assert len(set(images)) == len(images)


@pytest.mark.parametrize("name", ALL_PATHS)
def test_release_differs_by_its_structural_folder(name: str) -> None:
    """The release has `susi` below subjects and sessions, and `.bidsignore` names the manifest."""
    files = replica_files(ALL_PATHS[name])
    release = released(files)

    moved = {path.replace("/angio/", "/susi/") for path in files if path.startswith("sub-")}
    assert {path for path in release if path.startswith("sub-")} == moved
    assert b"manifest.json" in release[".bidsignore"].splitlines()
    assert not any(path.startswith("sub-") and "/angio/" in path for path in release)


def test_scans_are_repaired_and_fields_renamed_in_a_release() -> None:
    """Old tables of scans and old names of fields are on OSF only."""
    files = pepe_mariani_files()
    release = released(files)
    scans = "sub-m01/ses-rest/sub-m01_ses-rest_scans.tsv"

    lines = release[scans].decode().splitlines()
    assert files[scans].startswith(b"scan_id\t")
    assert lines[0] == "filename\tacq_time"
    assert lines[1].startswith("susi/sub-m01_ses-rest_acq-coronal_pwd.nii.gz\t")
    assert len(lines) == 5
    assert {line.count("\t") for line in lines} == {1}
    assert "TransmitVoltage" in json.loads(release["pwd.json"])
    assert any(path.startswith("derivatives/Params/angio/") for path in release)
    assert len(release) == len(files) + 1


def test_references_to_moved_files_are_rewritten() -> None:
    """`IntendedFor` follows the folder, and other fields keep their values."""
    document = {"IntendedFor": ["bids::sub-1/angio/x.nii.gz"], "Note": "sub-1/angio/x"}
    files = {"sub-1/fusi/x.json": json.dumps(document).encode()}

    changed = json.loads(released(files)["sub-1/fusi/x.json"])

    assert changed == {"IntendedFor": ["bids::sub-1/susi/x.nii.gz"], "Note": "sub-1/angio/x"}


def test_code_of_a_release_loses_the_manifest_of_the_conversion() -> None:
    """What names private paths is not released."""
    release = released(replica_files(NUNEZ_PATHS))

    assert not any(path.startswith("code/") for path in release)
    assert any(path.startswith("sourcedata/") for path in release)


@pytest.mark.parametrize("zip64", [True, False])
def test_archive_has_every_file_below_its_folder(zip64: bool) -> None:
    """`zipfile` reads it; members are stored; folders are members of their own."""
    files = replica_files(KHALLAF_PATHS)

    with zipfile.ZipFile(io.BytesIO(khallaf_archive(files, zip64=zip64))) as archive:
        assert archive.testzip() is None
        infos = [info for info in archive.infolist() if not info.is_dir()]
        found = {info.filename.removeprefix(ARCHIVE_PREFIX): archive.read(info) for info in infos}
        n_folders = len(archive.infolist()) - len(infos)

    assert found == files
    assert {info.compress_type for info in infos} == {zipfile.ZIP_STORED}
    assert n_folders > 10


def test_shapes_of_each_dataset() -> None:
    """Sessionless Landemard, chunks of Pepe Mariani, uncompressed Khallaf, functional Pereira."""
    assert not any("ses-" in path for path in LANDEMARD_PATHS)
    assert sum("_chunk-" in path for path in PEPE_MARIANI_PATHS) == 18
    assert not any(path.endswith(".nii.gz") for path in KHALLAF_PATHS)
    assert {"events.tsv", "derivatives/bootstrapping.zip"} <= set(KHALLAF_PATHS)
    assert not any("/angio/" in path for path in PEREIRA_PATHS)


def test_images_are_what_their_names_say() -> None:
    """Recordings have volumes and the time between them; the atlas's grid has 50 µm."""
    path = "sub-m01/ses-rest/fusi/sub-m01_ses-rest_task-rest_acq-coronal_chunk-01_pwd.nii.gz"
    plain = "sub-5622/ses-IPM/fusi/sub-5622_ses-IPM_task-olfactory_run-1_pwd.nii"

    recording = nib.Nifti1Image.from_bytes(gzip.decompress(pepe_mariani_files()[path]))
    uncompressed = nib.Nifti1Image.from_bytes(replica_files([plain])[plain])
    template = nib.Nifti1Image.from_bytes(gzip.decompress(huang_template_image()))

    assert recording.shape == uncompressed.shape == (6, 5, 1, 5)
    assert recording.header["pixdim"][4] == pytest.approx(2.4)
    assert uncompressed.header.get_xyzt_units() == ("unknown", "unknown")
    assert template.header.get_zooms() == pytest.approx((0.05, 0.05, 0.05))
