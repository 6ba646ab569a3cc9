"""Iconeus SCAN files of either generation → what an array says; the first bytes tell which."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from confusius_datasets._damage import explain_content, file_errors
from confusius_datasets._io.files import check_local_file
from confusius_datasets._io.matrices import Matrices
from confusius_datasets._io.prepared import POWER_DOPPLER, Prepared
from confusius_datasets._io.scan.bps import load_bps
from confusius_datasets._io.scan.parts import ScanContents, read_start
from confusius_datasets._io.scan.v1 import HDF5_SIGNATURE, read_scan_v1
from confusius_datasets._io.scan.v2 import read_scan_v2
from confusius_datasets._io.versions import Origin
from confusius_datasets.errors import FileFormatError

__all__ = ["prepare_scan"]

V2_SIGNATURE = b"scan"

START_NBYTES = 64
"""Bytes to tell a SCAN file by, and what stands in its place."""


def prepare_scan(path: Path, *, bps_path: str | os.PathLike[str] | None = None) -> Prepared:
    """Read all of a SCAN file but its values."""
    with file_errors(path):
        check_local_file(path)
        origin = Origin.of(path)
        contents = _read_contents(origin, read_start(path, START_NBYTES))
    attrs = {"affines": _affines(contents, bps_path), **contents.attrs}
    if contents.is_power_doppler:
        attrs["long_name"] = POWER_DOPPLER
    return Prepared(
        name=contents.name or path.stem,
        values=contents.values,
        dims=contents.dims,
        coords=contents.coords,
        attrs=attrs,
    )


def _read_contents(origin: Origin, start: bytes) -> ScanContents:
    """Read a file by the reader of its generation."""
    if start.startswith(HDF5_SIGNATURE):
        return read_scan_v1(origin)
    if start.startswith(V2_SIGNATURE):
        return read_scan_v2(origin)
    path = origin.path
    reason = explain_content(start) or (
        f"it begins with {start[:8]!r}, and neither with the signature of HDF5 nor with 'scan'."
    )
    raise FileFormatError(f"{path}: '{path.name}' is not a SCAN file: {reason}")


def _affines(contents: ScanContents, bps_path: str | os.PathLike[str] | None) -> Matrices:
    """Collect the matrices of a file and of the one that positions it in the brain."""
    lab = contents.to_lab
    affines = Matrices(physical_to_lab=lab)
    if bps_path is not None:
        affines["physical_to_brain"] = np.linalg.inv(load_bps(bps_path)) @ lab
    return affines
