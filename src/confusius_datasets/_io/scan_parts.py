"""What both generations of Iconeus files share: axes, frames of reference, what a file gives.

Our axes are (z, y, x) = (elevation, depth, lateral); a probe's are (x, y, z) with z pointing up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

__all__ = [
    "LARGEST",
    "METRES_TO_MM",
    "TO_PROBE",
    "Coordinates",
    "LazyValues",
    "Matrix",
    "Positions",
    "ScanContents",
    "axis",
    "clock_attrs",
    "to_lab",
]

Matrix = NDArray[np.float64]
Positions = NDArray[np.intp]

Coordinates = dict[str, tuple[tuple[str, ...], Any, dict[str, Any]]]
"""Dimensions, values and attributes of each coordinate."""

TO_PROBE = np.array([[0, 0, 1, 0], [1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]], dtype=np.float64)
"""Turns a point (z, y, x, 1) into a probe's (x, y, z, 1) = (x, z, -y, 1)."""

METRES_TO_MM = 1e3

LARGEST = 1e12
"""No length or time of an experiment, in any unit, is larger: the number is damaged."""


@dataclass(frozen=True)
class ScanContents:
    """What a SCAN file holds, before it is an xarray object."""

    values: LazyValues
    dims: tuple[str, ...]
    coords: Coordinates
    to_lab: Matrix | None
    name: str
    attrs: dict[str, Any] = field(default_factory=dict)


class LazyValues(BackendArray):
    """A lazy array for xarray to wrap; subclasses say how positions along each axis are read."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._get
        )

    def _get(self, key: tuple[Any, ...]) -> NDArray[Any]:
        """Read what a tuple of integers, slices and 1-D arrays asks for."""
        asked = [np.arange(size)[part] for size, part in zip(self.shape, key, strict=True)]
        positions = [np.ravel(part) for part in asked]
        values = np.empty([len(part) for part in positions], self.dtype)
        if values.size:
            self.read_into(values, positions)
        return values.reshape([size for part in asked for size in part.shape])

    def read_into(self, values: NDArray[Any], positions: Sequence[Positions]) -> None:
        """Fill an array with the values at the crossings of positions along each axis."""
        raise TypeError(f"{type(self).__name__} does not say how it is read")


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
