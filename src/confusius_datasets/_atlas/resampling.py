"""Looking a volume up at transformed points of another grid; pure.

Continuous indices count voxels: 0 is the centre of the first. A point belongs to a volume from half
a voxel before the first centre, included, to half a voxel after the last, excluded.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from confusius_datasets._text import did_you_mean, quote_short, warn_user
from confusius_datasets.errors import ArgumentError, FilterError

__all__ = [
    "Grid",
    "Interpolation",
    "Resampler",
    "as_transform",
    "check_interpolation",
    "empty_volume",
    "grid_of",
]

Matrix = NDArray[np.float64]
Interpolation = Literal["linear", "nearest", "bspline"]

UNIFORMITY = 0.01
"""Steps of a grid may differ from their median by this part of it."""

MILLIMETRES = ("mm", "millimeter", "millimeters", "millimetre", "millimetres")


@dataclass(frozen=True, slots=True)
class Grid:
    """Where voxels stand along three axes."""

    dims: tuple[str, ...]
    points: tuple[NDArray[np.float64], ...]
    widths: tuple[float | None, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along each axis."""
        return tuple(len(points) for points in self.points)

    def steps(self) -> tuple[float, ...]:
        """Return the distance from a voxel to the next along each axis."""
        return tuple(map(_step, self.dims, self.points, self.widths))


class Resampler:
    """Reads volumes on one grid at the voxels of another."""

    def __init__(self, source: Grid, target: Grid, transform: Matrix) -> None:
        self.source = source
        self.steps = source.steps()
        self.target = target
        self.transform = transform

    def nearest(self, *volumes: NDArray[Any]) -> list[NDArray[Any]]:
        """Take the nearest voxel's value, the higher index on a tie."""
        results = [np.zeros(self.target.shape, volume.dtype) for volume in volumes]
        for plane, (indices, inside) in enumerate(self._planes()):
            voxel = tuple(np.floor(index[inside] + 0.5).astype(np.intp) for index in indices)
            for volume, result in zip(volumes, results, strict=True):
                result[plane][inside] = volume[voxel]
        return results

    def interpolate(self, volume: NDArray[Any], how: Interpolation) -> NDArray[Any]:
        """Interpolate values."""
        from scipy import ndimage

        if how == "nearest":
            return self.nearest(volume)[0]
        order, mode, values = 1, "nearest", volume
        if how == "bspline":
            order, mode = 3, "mirror"
            values = ndimage.spline_filter(volume, order=order, output=np.float64, mode=mode)
        result = np.zeros(self.target.shape, volume.dtype)
        for plane, (indices, inside) in enumerate(self._planes()):
            points = np.stack([index[inside] for index in indices])
            found = ndimage.map_coordinates(
                values, points, output=np.float64, order=order, mode=mode, prefilter=False
            )
            result[plane][inside] = found
        return result

    def _planes(self) -> Iterator[tuple[list[NDArray[np.float64]], NDArray[np.bool_]]]:
        """Give for each plane of the target the source's indices, and which are inside."""
        matrix, offset = self.transform[:3, :3], self.transform[:3, 3]
        first, second, third = self.target.points
        origins = [points[0] for points in self.source.points]
        for position in first:
            indices = []
            inside = np.ones((len(second), len(third)), np.bool_)
            for axis in range(3):
                along, across, deep = matrix[axis]
                reached = along * position + across * second[:, np.newaxis] + deep * third
                index = (reached + offset[axis] - origins[axis]) / self.steps[axis]
                inside &= (index >= -0.5) & (index < self.source.shape[axis] - 0.5)
                indices.append(index)
            yield indices, inside


def grid_of(array: xr.DataArray, *, name: str) -> Grid:
    """Return the grid of a volume."""
    if not isinstance(array, xr.DataArray):
        raise TypeError(f"'{name}' must be an xarray.DataArray, not {type(array).__name__}.")
    dims = tuple(str(dim) for dim in array.dims)
    if "time" in dims:
        raise FilterError(
            f"'{name}' must not have a time dimension; got dims {dims}. Take one volume of it, "
            "or its mean over time."
        )
    if len(dims) != 3:
        raise FilterError(f"'{name}' must have three dimensions; got dims {dims}.")
    points = tuple(_points(array, dim, name) for dim in dims)
    return Grid(dims, points, tuple(_width(array[dim].attrs.get("voxdim")) for dim in dims))


def empty_volume(
    shape: Sequence[int], spacing: Sequence[float], origin: Sequence[float], dims: Sequence[str]
) -> xr.DataArray:
    """Make a volume of zeros on a grid that is described by numbers, in mm."""
    for name, values in (("shape", shape), ("spacing", spacing), ("origin", origin)):
        if len(values) != 3:
            raise ArgumentError(f"'{name}' has {len(values)} elements; expected three, one a dim.")
    if sorted(dims) != ["x", "y", "z"]:
        raise ArgumentError(f"'dims' must be 'z', 'y' and 'x' in some order; got {tuple(dims)}.")
    coords = {
        dim: (dim, *_axis(dim, size, step, first))
        for dim, size, step, first in zip(dims, shape, spacing, origin, strict=True)
    }
    # One zero for all voxels: only the grid is used.
    zeros = np.broadcast_to(np.float32(0), [len(values) for _, values, _ in coords.values()])
    return xr.DataArray(zeros, coords, tuple(dims))


def _axis(
    dim: str, size: int, step: float, first: float
) -> tuple[NDArray[np.float64], dict[str, Any]]:
    """Return the coordinates of an axis, and their attributes."""
    try:
        count, width, start = operator.index(size), float(step), float(first)
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"Along '{dim}', expected a whole number of voxels, a spacing and an origin in mm; "
            f"got {size!r}, {step!r}, {first!r}."
        ) from error
    if count < 1 or not 0 < width < np.inf or not np.isfinite(start):
        raise ArgumentError(
            f"Along '{dim}', the shape must be 1 or more, the spacing positive and the origin "
            f"finite; got {size!r}, {step!r}, {first!r}."
        )
    points: NDArray[np.float64] = start + np.arange(count, dtype=np.float64) * width
    return points, {"units": "mm", "voxdim": width}


def as_transform(transform: ArrayLike) -> Matrix:
    """Check a matrix that is to map points."""
    if isinstance(transform, xr.DataArray) and "type" in transform.attrs:
        # ConfUSIus keeps splines and displacement fields in such arrays.
        raise ArgumentError(
            f"'transform' is a {quote_short(transform.attrs['type'])}; only (4, 4) affine matrices "
            "are supported."
        )
    try:
        given = np.asarray(transform)
        matrix = np.array(given.real if given.dtype.kind == "c" else given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"'transform' is not a matrix of numbers: {error}.") from error
    if matrix.shape != (4, 4):
        raise ArgumentError(
            f"'transform' has the shape {matrix.shape}; for a volume of three dimensions it must "
            "have (4, 4)."
        )
    # Neither an imaginary part nor a mask is dropped in silence.
    if (given.dtype.kind == "c" and given.imag.any()) or np.ma.is_masked(transform):
        raise ArgumentError("'transform' is complex or masked; expected plain real numbers.")
    if not np.isfinite(matrix).all():
        raise ArgumentError(f"'transform' has entries that are not finite:\n{matrix}")
    if not np.allclose(matrix[3], [0, 0, 0, 1], rtol=0, atol=1e-9):
        raise ArgumentError(f"'transform' is not affine: its last row is {matrix[3].tolist()}.")
    if np.linalg.matrix_rank(matrix[:3, :3]) < 3:
        raise ArgumentError(f"'transform' cannot be inverted:\n{matrix}")
    return matrix


def check_interpolation(how: str) -> Interpolation:
    """Check the name of an interpolation."""
    known: tuple[Interpolation, ...] = get_args(Interpolation)
    for name in known:
        if name == how:
            return name
    raise FilterError(
        f"Invalid interpolation: {how!r}. {did_you_mean(str(how), known)}"
        f"It must be one of {', '.join(known)}."
    )


def _points(array: xr.DataArray, dim: str, name: str) -> NDArray[np.float64]:
    """Return the coordinates along an axis."""
    if dim not in array.coords:
        raise FilterError(f"Missing required coordinate '{dim}' of '{name}', in mm.")
    coordinate = array.coords[dim]
    units = coordinate.attrs.get("units")
    if units is not None and units not in MILLIMETRES:
        raise FilterError(
            f"Coordinate '{dim}' of '{name}' is in {units!r}, but an atlas is in mm. Convert the "
            "coordinates, and the transform with them."
        )
    if coordinate.dtype.kind not in "iuf" or not coordinate.size:
        raise FilterError(f"Coordinate '{dim}' of '{name}' holds no numbers.")
    points: NDArray[np.float64] = coordinate.values.astype(np.float64)
    if not np.isfinite(points).all():
        raise FilterError(f"Coordinate '{dim}' of '{name}' holds values that are not finite.")
    return points


def _width(voxdim: Any) -> float | None:
    """Return the size of a voxel that a coordinate claims, if that is a size."""
    if not isinstance(voxdim, int | float | np.number):
        return None
    width = abs(float(voxdim))
    return width if 0 < width < np.inf else None


def _step(dim: str, points: NDArray[np.float64], width: float | None) -> float:
    """Return the step of one axis."""
    if len(points) == 1:
        if width is None:
            warn_user(
                f"The atlas has one voxel along '{dim}', and its coordinate does not say how wide "
                "it is ('voxdim'): it is taken to be 1 mm."
            )
        return width or 1.0
    steps = np.diff(points)
    step = float(np.median(steps))
    if step == 0 or np.abs(steps - step).max() > UNIFORMITY * abs(step):
        raise FilterError(
            f"The atlas's coordinate '{dim}' is not evenly spaced, so it cannot be resampled."
        )
    return step
