"""Arrays of ours → those of the ConfUSIus package that is installed, by its public interface."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from confusius_datasets.errors import ArgumentError, MissingDependencyError

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr
    from numpy.typing import NDArray

__all__ = ["to_confusius"]

DIMENSIONS = {"z": "k", "y": "j", "x": "i"}
"""ConfUSIus's name for the voxels along each axis."""

WORLDS = ("physical_to_sform", "physical_to_qform", "physical_to_lab")
"""The matrices that may lead to the world of an array, the first that it has."""

OURS = "physical_to_"


def to_confusius(array: xr.DataArray) -> xr.DataArray:
    """Turn an array into the type that the installed ConfUSIus package takes.

    From release 0.7 on, its functions take arrays over voxels, with the dimensions `time`, `k`,
    `j`, `i` and coordinates in the world that follow from an affine. For earlier releases, whose
    type is that of this package, the array is returned as it is.

    Parameters
    ----------
    array : (time, z, y, x) or (z, y, x) xarray.DataArray
        An array as `load` gives it. Its coordinates must be equally spaced.

    Returns
    -------
    xarray.DataArray
        What `confusius.load` makes of the same file: values are shared, voxels keep their places in
        the world, also with an oblique affine, and `attrs["affines"]` lead from that world.

    Raises
    ------
    TypeError
        If `array` is not a DataArray.
    ArgumentError
        If its coordinates are not equally spaced.
    MissingDependencyError
        If ConfUSIus is not installed: it is no dependency of this package.

    Examples
    --------
    ::

        pwd = to_confusius(dataset.load(subject="CR020", task="spontaneous", suffix="pwd"))
        pwd.fusi.plot.volume()
    """
    import xarray as xr

    if not isinstance(array, xr.DataArray):
        raise TypeError(f"array must be an xarray.DataArray, not {type(array).__name__}.")
    try:
        import confusius
    except ImportError as error:
        raise MissingDependencyError(
            "confusius", extra="", purpose="An array of ConfUSIus's type"
        ) from error
    if not hasattr(confusius, "create_voxeldata"):
        return array
    return _create_voxeldata(confusius.create_voxeldata, array)


def _create_voxeldata(create: Any, array: xr.DataArray) -> xr.DataArray:
    """Hand dimensions, times and the affine of an array to ConfUSIus."""
    from confusius_datasets._io.grid import SPACE, unit_of

    for dim in SPACE:
        if dim not in array.dims:
            array = array.expand_dims(dim) if dim in array.coords else array.expand_dims({dim: 1})
    affines = dict(array.attrs.get("affines") or {})
    to_world, others = _worlds(affines)
    known = {*SPACE, "time", "pose"}
    time = array.coords.get("pose_time", array.coords.get("time"))
    made: xr.DataArray = create(
        array.data,
        dims=[DIMENSIONS.get(str(dim), str(dim)) for dim in array.dims],
        extra_coords={
            str(dim): array.coords[dim]
            for dim in array.dims
            if dim in array.coords and dim not in known
        },
        time=time if time is not None and "time" in time.dims else None,
        pose=array.coords["pose"].values if "pose" in array.dims else None,
        voxel_to_world=_voxel_to_world(array, to_world),
        units=unit_of(array) or "mm",
        name=None if array.name is None else str(array.name),
        attrs={**array.attrs, **({"affines": others} if others else {})},
    )
    for name, coord in array.coords.items():
        if name not in {*array.dims, *known, "pose_time"}:
            dims = tuple(DIMENSIONS.get(str(dim), str(dim)) for dim in coord.dims)
            made = made.assign_coords({str(name): (dims, coord.data, coord.attrs)})
    return made


def _worlds(affines: Mapping[str, Any]) -> tuple[NDArray[np.float64], dict[str, Any]]:
    """Find the matrix to the world, and those that lead on from there."""
    import numpy as np

    name = next((name for name in WORLDS if name in affines), None)
    to_world = np.eye(4) if name is None else np.asarray(affines[name], np.float64)
    back = np.linalg.inv(to_world)
    others: dict[str, Any] = {}
    for each, matrix in affines.items():
        if not each.startswith(OURS):
            others[each] = matrix
            continue
        onward = np.eye(4) if each == name else np.asarray(matrix, np.float64) @ back
        others[f"world_to_{each.removeprefix(OURS)}"] = onward
    return to_world, others


def _voxel_to_world(array: xr.DataArray, to_world: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lead from the numbers of voxels along k, j, i to the world; for each pose, if there are."""
    import numpy as np

    from confusius_datasets._io.grid import grid_of

    steps, origin = grid_of(array)
    grid = np.diag([*steps[::-1], 1.0])
    grid[:3, 3] = origin[::-1]
    matrices = to_world @ grid
    if "pose" in array.dims and matrices.ndim == 2:
        return np.repeat(matrices[np.newaxis], array.sizes["pose"], axis=0)
    if "pose" not in array.dims and matrices.ndim > 2:
        raise ArgumentError(
            "The affines are those of several poses, and the array has no dimension 'pose'. Select "
            "one of them: array.attrs['affines'] holds a matrix for each."
        )
    return matrices
