"""The regular grid that the coordinates of an array are on; pure."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from confusius_datasets.errors import ArgumentError

__all__ = ["SPACE", "grid_of", "unit_of"]

SPACE = ("z", "y", "x")

REGULAR = 1e-2
"""Relative difference between the steps of an axis that still counts as regular."""


def grid_of(array: xr.DataArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Find the step and the first coordinate along x, y and z; 1 and 0 where there is none."""
    steps, origin = np.ones(3), np.zeros(3)
    for axis, dim in enumerate(SPACE[::-1]):
        if dim not in array.coords:
            continue
        coord = array.coords[dim]
        values = np.atleast_1d(np.asarray(coord.values, np.float64))
        origin[axis] = values[0]
        if len(values) == 1:
            steps[axis] = float(coord.attrs.get("voxdim") or 1.0)
            continue
        steps[axis] = (values[-1] - values[0]) / (len(values) - 1)
        if not np.allclose(np.diff(values), steps[axis], rtol=REGULAR, atol=0) or not steps[axis]:
            raise ArgumentError(
                f"The coordinates of '{dim}' are not equally spaced, as voxels of one size are. "
                "Interpolate first; .zarr holds any array."
            )
    return steps, origin


def unit_of(array: xr.DataArray) -> str | None:
    """Return the unit of length of the coordinates, if they say one."""
    units = {array.coords[dim].attrs.get("units") for dim in SPACE if dim in array.coords}
    if len(units) > 1:
        named = ", ".join(sorted(map(str, units)))
        raise ArgumentError(f"The coordinates z, y and x have units of their own: {named}.")
    return next(iter(units), None)
