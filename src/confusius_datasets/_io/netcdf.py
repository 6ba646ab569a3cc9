"""NetCDF files, as `save` writes them, → labelled arrays, through xarray's own engine."""

from __future__ import annotations

import contextlib
import importlib.util
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from confusius_datasets._damage import DAMAGE_ERRORS, file_errors
from confusius_datasets._io.colors import with_colors
from confusius_datasets._io.files import check_local_file
from confusius_datasets._io.formats import Format
from confusius_datasets._io.hdf5 import check_heaps, refuse_links
from confusius_datasets._io.lazy import LazyArray, Positions, as_slice
from confusius_datasets._io.matrices import Matrices
from confusius_datasets._io.prepared import Prepared
from confusius_datasets._io.versions import Origin
from confusius_datasets._text import did_you_mean, list_some, shorten, warn_user
from confusius_datasets.errors import FileFormatError, MissingDependencyError, UnknownKeyError

__all__ = ["JSON_ATTRIBUTE", "NETCDF"]

JSON_ATTRIBUTE = "confusius_json"
"""Attribute that names those of a variable that are written as JSON."""


class NetCDFArray(LazyArray):
    """A variable of a file, as xarray opened it."""

    def __init__(self, origin: Origin, variable: xr.Variable) -> None:
        super().__init__(origin, variable.shape, variable.dtype)
        self.variable = variable

    def fill(self, values: NDArray[Any], positions: Sequence[Positions]) -> None:
        """Fill an array with the values at the crossings of positions along each axis."""
        try:
            values[...] = self.variable[tuple(map(as_slice, positions))].values
        except DAMAGE_ERRORS as error:
            raise FileFormatError(
                f"{self.origin.path}: values cannot be read: {shorten(error)}. The file is damaged."
            ) from error


def prepare_netcdf(path: Path, *, variable: str | None = None) -> Prepared:
    """Read all of an array of a NetCDF file but its values."""
    with file_errors(path):
        check_local_file(path)
        origin = Origin.of(path)
    if importlib.util.find_spec("h5netcdf") is None:
        raise MissingDependencyError("h5netcdf", extra="netcdf", purpose="Loading a .nc file")
    _check_hdf5(path)
    try:
        dataset = xr.open_dataset(
            path, engine="h5netcdf", decode_times=False, decode_timedelta=False, cache=False
        )
    except DAMAGE_ERRORS as error:
        raise FileFormatError(f"{path}: not a NetCDF 4 file: {shorten(error)}.") from error
    array = dataset[_choose(dataset, variable, path)]
    problems: list[str] = []
    attrs = _with_matrices(with_colors(_decoded(array.attrs, path), problems))
    for problem in problems:
        warn_user(f"{path}: {problem}")
    return Prepared(
        name=str(array.name),
        values=NetCDFArray(origin, array.variable),
        dims=tuple(map(str, array.dims)),
        coords={str(name): _coordinate(array[name], path) for name in array.coords},
        attrs=attrs,
        encoding={"preferred_chunks": array.encoding.get("preferred_chunks", {})},
    )


def _check_hdf5(path: Path) -> None:
    """Refuse a file that would hang its reader, or that leads to others."""
    import h5py

    try:
        check_heaps(path)
        with h5py.File(path, "r") as file:
            refuse_links(file, path)
    except FileFormatError:
        raise
    except DAMAGE_ERRORS as error:
        raise FileFormatError(f"{path}: not a NetCDF 4 file: {shorten(error)}.") from error


def _choose(dataset: xr.Dataset, variable: str | None, path: Path) -> str:
    """Choose a variable: the one named, or the first."""
    names = [str(name) for name in dataset.data_vars]
    if not names:
        raise FileFormatError(f"{path}: the file holds no data variable.")
    if variable is not None and variable not in names:
        raise UnknownKeyError(
            f"{path}: no variable {variable!r}. {did_you_mean(variable, names)}"
            f"It has {list_some(names)}."
        )
    return variable or names[0]


def _coordinate(coord: xr.DataArray, path: Path) -> xr.Variable:
    """Read a coordinate; text comes as objects, and was text of one length."""
    values = coord.values
    if values.dtype.kind == "O":
        values = values.astype(str)
    return xr.Variable(coord.dims, values, _decoded(coord.attrs, path))


def _decoded(attrs: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Give attributes the types that they had."""
    given = dict(attrs)
    try:
        names = json.loads(given.pop(JSON_ATTRIBUTE, "[]"))
        return {
            name: json.loads(value)
            if name in names
            else value.item()
            if isinstance(value, np.generic)
            else value
            for name, value in given.items()
        }
    except (TypeError, ValueError) as error:
        raise FileFormatError(f"{path}: its attributes are damaged: {shorten(error)}.") from error


def _with_matrices(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Turn the affines, which JSON holds as lists, into matrices."""
    affines = attrs.get("affines")
    # xarray itself can write them as a text only; what is no matrix stays as it is.
    with contextlib.suppress(TypeError, ValueError):
        affines = json.loads(affines) if isinstance(affines, str) else affines
        if isinstance(affines, Mapping):
            matrices = {name: np.asarray(rows, dtype=np.float64) for name, rows in affines.items()}
            return {**attrs, "affines": Matrices(matrices)}
    return dict(attrs)


NETCDF = Format(extensions=(".nc",), open=prepare_netcdf)
