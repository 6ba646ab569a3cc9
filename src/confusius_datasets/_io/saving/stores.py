"""Zarr stores and NetCDF files, through xarray."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from confusius_datasets._io.netcdf import JSON_ATTRIBUTE
from confusius_datasets._io.prepared import UNNAMED
from confusius_datasets._io.saving.fields import plain_attributes
from confusius_datasets._io.saving.places import in_its_place
from confusius_datasets._text import shorten
from confusius_datasets.errors import ArgumentError, MissingDependencyError

__all__ = ["write_netcdf", "write_zarr"]

CHUNK_NBYTES = 1 << 26
"""An array without chunks is written in pieces of about this size, if Dask is installed."""


def write_zarr(array: xr.DataArray, path: Path, *, overwrite: bool) -> None:
    """Write a store of Zarr format 2: the third has no settled form for text yet."""
    if importlib.util.find_spec("zarr") is None:
        raise MissingDependencyError("zarr", extra="zarr", purpose="Saving a .zarr store")
    dataset = _as_dataset(array)
    with in_its_place(path, overwrite=overwrite) as partial:
        try:
            dataset.to_zarr(partial, zarr_format=2, consolidated=True)
        except (TypeError, ValueError) as error:
            raise ArgumentError(f"Zarr cannot hold this array: {shorten(error)}.") from error


def write_netcdf(array: xr.DataArray, path: Path, *, overwrite: bool) -> None:
    """Write a file of NetCDF 4; attributes that it cannot hold are written as JSON."""
    if importlib.util.find_spec("h5netcdf") is None:
        raise MissingDependencyError("h5netcdf", extra="netcdf", purpose="Saving a .nc file")
    if array.dtype.kind == "c":
        raise ArgumentError("NetCDF has no complex numbers. Save the array as .zarr or .nii.")
    dataset = _as_dataset(array)
    for name in dataset.variables:
        dataset[name].attrs = _netcdf_attributes(dataset[name].attrs)
    with in_its_place(path, overwrite=overwrite) as partial:
        try:
            dataset.to_netcdf(partial, engine="h5netcdf")
        except (TypeError, ValueError) as error:
            raise ArgumentError(f"NetCDF cannot hold this array: {shorten(error)}.") from error


def _as_dataset(array: xr.DataArray) -> xr.Dataset:
    """Make a dataset of one variable, in pieces that fit into memory, with plain attributes."""
    name = str(array.name or UNNAMED)
    if name in {*array.coords, *array.dims}:
        name = UNNAMED
    dataset = _in_pieces(array).drop_encoding().to_dataset(name=name)
    for each in dataset.variables:
        dataset[each].attrs = plain_attributes(dataset[each].attrs, of=str(each))
    return dataset


def _in_pieces(array: xr.DataArray) -> xr.DataArray:
    """Cut a large array into pieces, and those of a chunked one to one size, as files want it."""
    if array.chunks is not None:
        return array.chunk({dim: max(sizes) for dim, sizes in array.chunksizes.items()})
    if array.nbytes <= CHUNK_NBYTES or importlib.util.find_spec("dask") is None:
        return array
    dim = max(
        array.dims[:1] if array.shape[0] > 1 else array.dims, key=lambda one: array.sizes[one]
    )
    rows = max(1, CHUNK_NBYTES * array.sizes[dim] // array.nbytes)
    return array.chunk({dim: rows})


def _netcdf_attributes(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Write what NetCDF has no type for as JSON, and list the names of what was written so."""
    plainly = {name: value for name, value in attrs.items() if type(value) in (str, int, float)}
    others = {name: json.dumps(value) for name, value in attrs.items() if name not in plainly}
    listed = {JSON_ATTRIBUTE: json.dumps(list(others))} if others else {}
    return {**plainly, **others, **listed}
