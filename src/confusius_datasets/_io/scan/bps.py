"""Iconeus brain positioning files (`.bps`), HDF5 or binary → the matrix from brain to our axes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from confusius_datasets._damage import explain_content, file_errors
from confusius_datasets._io.files import check_local_file, local_path
from confusius_datasets._io.matrices import Matrix
from confusius_datasets._io.scan.parts import TO_PROBE, read_start
from confusius_datasets._io.scan.v1 import HDF5_SIGNATURE, read_brain_to_lab
from confusius_datasets.errors import FileFormatError

__all__ = ["load_bps"]

BPS_SIGNATURE = b"bps_"

MATRIX_OFFSET = 12
"""Where the matrix of a binary BPS file begins: 16 little-endian float64, row after row."""

BINARY_NBYTES = MATRIX_OFFSET + 16 * 8


def load_bps(path: str | os.PathLike[str]) -> Matrix:
    """Read the matrix of an Iconeus brain positioning file, HDF5 or binary."""
    path = local_path(path)
    with file_errors(path):
        check_local_file(path)
        start = read_start(path, BINARY_NBYTES)
    if start.startswith(HDF5_SIGNATURE):
        brain_to_lab = read_brain_to_lab(path)
    elif start.startswith(BPS_SIGNATURE):
        brain_to_lab = _binary_matrix(start, path)
    else:
        reason = explain_content(start) or (
            f"it begins with {start[:8]!r}, and neither with the signature of HDF5 nor with 'bps_'."
        )
        raise FileFormatError(f"{path}: not a BPS file: {reason}")
    if not np.isfinite(brain_to_lab).all() or abs(np.linalg.det(brain_to_lab)) == 0:
        raise FileFormatError(f"{path}: its matrix cannot be inverted: {brain_to_lab.tolist()}.")
    lab_of_ours = np.diag([1e-3, 1e-3, 1e-3, 1.0]) @ TO_PROBE
    return np.asarray(np.linalg.inv(lab_of_ours) @ brain_to_lab, dtype=np.float64)


def _binary_matrix(start: bytes, path: Path) -> Matrix:
    """Read the matrix of a binary BPS file."""
    if len(start) < BINARY_NBYTES:
        raise FileFormatError(
            f"{path}: the file ends within its matrix: it has {len(start)} bytes, and "
            f"{BINARY_NBYTES} are needed."
        )
    return np.frombuffer(start, "<f8", 16, offset=MATRIX_OFFSET).reshape(4, 4).astype(np.float64)
