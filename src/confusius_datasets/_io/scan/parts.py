"""What both generations of Iconeus files share: axes, frames of reference, what a file gives.

Our axes are (z, y, x) = (elevation, depth, lateral); a probe's are (x, y, z) with z pointing up.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from confusius_datasets._io.lazy import LazyArray
from confusius_datasets._io.matrices import Matrix
from confusius_datasets._io.prepared import Coordinates
from confusius_datasets.errors import FileFormatError

__all__ = [
    "LARGEST",
    "METRES_TO_MM",
    "TO_PROBE",
    "ScanContents",
    "axis",
    "clock_attrs",
    "read_start",
    "to_lab",
]

TO_PROBE = np.array([[0, 0, 1, 0], [1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]], dtype=np.float64)
"""Turns a point (z, y, x, 1) into a probe's (x, y, z, 1) = (x, z, -y, 1)."""

METRES_TO_MM = 1e3

LARGEST = 1e12
"""No length or time of an experiment, in any unit, is larger: the number is damaged."""


@dataclass(frozen=True)
class ScanContents:
    """What a SCAN file holds, before it is an xarray object."""

    values: LazyArray
    dims: tuple[str, ...]
    coords: Coordinates
    to_lab: Matrix
    name: str
    attrs: dict[str, Any]
    is_power_doppler: bool


def read_start(path: Path, size: int) -> bytes:
    """Read the first bytes of a file."""
    with path.open("rb") as file:
        start = file.read(size)
    if not start:
        raise FileFormatError(f"{path}: the file is empty.")
    return start


def axis(
    dim: str, values: NDArray[Any], step: float
) -> tuple[tuple[str, ...], Any, dict[str, Any]]:
    """Make the coordinate of a spatial axis."""
    return (dim,), values, {"units": "mm", "voxdim": float(step)}


def clock_attrs(times: NDArray[np.float64]) -> dict[str, Any]:
    """Say how acquisition times are meant: the ends of volumes, the first of which began at 0."""
    return {
        "units": "s",
        "volume_acquisition_reference": "end",
        "volume_acquisition_duration": float(times.min()),
    }


def to_lab(probe_to_lab: Matrix) -> Matrix:
    """Turn a probe's pose, in metres, into a matrix on our coordinates, in mm."""
    scaled = np.array(probe_to_lab, dtype=np.float64)
    scaled[..., :3, 3] *= METRES_TO_MM
    return np.asarray(TO_PROBE.T @ scaled @ TO_PROBE, dtype=np.float64)
