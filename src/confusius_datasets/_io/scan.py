"""Iconeus files (`.scan`, `.bps`) → labelled arrays and matrices.

Which generation a file is, its first bytes say; `scan_v1` reads HDF5 and `scan_v2` the binary one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendEntrypoint
from xarray.core import indexing

from confusius_datasets._io.chunks import in_chunks
from confusius_datasets._io.scan_parts import TO_PROBE, Matrix, ScanContents
from confusius_datasets._io.scan_v1 import read_brain_to_lab, read_scan_v1
from confusius_datasets._io.scan_v2 import read_scan_v2
from confusius_datasets.errors import FileFormatError, MissingFileError

__all__ = ["load_bps", "load_scan"]

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
SCAN_SIGNATURE = b"scan"
BPS_SIGNATURE = b"bps_"

BPS_OFFSET = 12
"""Where the matrix of a binary BPS file begins: 16 little-endian float64, row after row."""


def load_scan(
    path: str | os.PathLike[str],
    *,
    bps_path: str | os.PathLike[str] | None = None,
    chunks: Any = None,
) -> xr.DataArray:
    """Load an Iconeus SCAN file of either generation as a labelled array, lazily."""
    path = _existing(path)
    signature = _read_start(path, len(HDF5_SIGNATURE))
    if signature == HDF5_SIGNATURE:
        contents = read_scan_v1(path)
    elif signature.startswith(SCAN_SIGNATURE):
        contents = read_scan_v2(path)
    else:
        raise FileFormatError(
            f"{path}: '{path.name}' is not a SCAN file: it begins with {signature!r}, and neither "
            "with the signature of HDF5 nor with 'scan'."
        )
    affines = _affines(contents, bps_path)
    array = xr.open_dataarray(path, engine=_ScanEngine, contents=contents, cache=chunks is None)
    array.name = contents.name or path.stem
    array.attrs = {"affines": affines, **contents.attrs}
    return array if chunks is None else in_chunks(array, chunks)


def load_bps(path: str | os.PathLike[str]) -> Matrix:
    """Read the matrix of an Iconeus brain positioning file, HDF5 or binary."""
    path = _existing(path)
    start = _read_start(path, BPS_OFFSET + 16 * 8)
    if start.startswith(HDF5_SIGNATURE):
        brain_to_lab = read_brain_to_lab(path)
    elif start.startswith(BPS_SIGNATURE):
        brain_to_lab = _binary_matrix(start, path)
    else:
        raise FileFormatError(
            f"{path}: not a BPS file: it begins with {start[:8]!r}, and neither with the signature "
            "of HDF5 nor with 'bps_'."
        )
    if not np.isfinite(brain_to_lab).all() or abs(np.linalg.det(brain_to_lab)) == 0:
        raise FileFormatError(f"{path}: its matrix cannot be inverted: {brain_to_lab.tolist()}.")
    lab_of_ours = np.diag([1e-3, 1e-3, 1e-3, 1.0]) @ TO_PROBE
    return np.asarray(np.linalg.inv(lab_of_ours) @ brain_to_lab, dtype=np.float64)


def _existing(path: str | os.PathLike[str]) -> Path:
    """Return an absolute path, of a file that is there."""
    found = Path(os.path.abspath(Path(path).expanduser()))  # noqa: PTH100 - keeps links
    if not found.exists():
        raise MissingFileError(f"{found}: there is no such file. Check the path, or fetch it.")
    if not found.is_file():
        raise FileFormatError(f"{found}: this is a folder; a file was expected.")
    return found


def _read_start(path: Path, size: int) -> bytes:
    """Read the first bytes of a file."""
    with path.open("rb") as file:
        start = file.read(size)
    if not start:
        raise FileFormatError(f"{path}: the file is empty.")
    return start


def _binary_matrix(start: bytes, path: Path) -> Matrix:
    """Read the matrix of a binary BPS file."""
    data = start[BPS_OFFSET:]
    if len(data) < 16 * 8:
        raise FileFormatError(
            f"{path}: the file ends within its matrix: it has {len(start)} bytes, and "
            f"{BPS_OFFSET + 16 * 8} are needed."
        )
    return np.frombuffer(data, "<f8", 16).reshape(4, 4).astype(np.float64)


def _affines(contents: ScanContents, bps_path: str | os.PathLike[str] | None) -> dict[str, Matrix]:
    """Collect the matrices of a file and of the one that positions it in the brain."""
    lab = contents.to_lab
    if lab is None:
        return {}
    affines = {"physical_to_lab": lab}
    if bps_path is not None:
        affines["physical_to_brain"] = np.linalg.inv(load_bps(bps_path)) @ lab
    return affines


class _ScanEngine(BackendEntrypoint):
    """Lets xarray wrap lazy values as it does those of its own formats."""

    open_dataset_parameters = ("filename_or_obj", "drop_variables", "contents")

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        contents: ScanContents | None = None,
    ) -> xr.Dataset:
        """Make a dataset of what a file was found to hold."""
        if contents is None:
            raise TypeError("this engine is for `load_scan` alone")
        lazy = indexing.LazilyIndexedArray(contents.values)
        return xr.Dataset({"scan": xr.Variable(contents.dims, lazy)}, contents.coords)
