"""What a format makes of a file, and the one way to hand it to xarray."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from xarray.backends import BackendEntrypoint
from xarray.core import indexing

from confusius_datasets._damage import file_errors
from confusius_datasets._io.chunks import in_chunks
from confusius_datasets._io.lazy import LazyArray
from confusius_datasets.errors import ArgumentError

__all__ = ["POWER_DOPPLER", "UNNAMED", "Coordinates", "Prepared", "open_prepared", "plain_variable"]

Coordinates = dict[str, tuple[tuple[str, ...], Any, Mapping[str, Any]] | xr.Variable]
"""Dimensions, values and attributes of each coordinate."""

POWER_DOPPLER = "Power Doppler intensity"
"""`long_name` of what most files hold, for the colour bars of plots; it has no unit."""

UNNAMED = "values"
"""Name of an array whose own name is that of one of its coordinates."""

INDEXED_TYPES = frozenset({np.dtype("f8"), np.dtype("f4"), np.dtype("i8")})
"""Types of coordinates that pandas has an index for; others are left to xarray."""


@dataclass(frozen=True)
class Prepared:
    """What a file holds, read but for its values."""

    name: str
    values: LazyArray
    dims: tuple[str, ...]
    coords: Coordinates
    attrs: dict[str, Any]
    encoding: dict[str, Any] = field(default_factory=dict)
    chunk_options: dict[str, Any] | None = None
    """Options of xarray for what is stored in chunks; `None` for what is not."""
    indexed: bool = True
    """Whether coordinates become indexes, for `xarray.open_zarr(create_default_indexes=False)`."""

    @property
    def path(self) -> Path:
        """The file itself, where xarray looks for it."""
        return self.values.origin.path

    @property
    def variable_name(self) -> str:
        """The name of the array: a file may have that of one of its dimensions, a variable not."""
        return UNNAMED if self.name in self._taken else self.name

    @property
    def _taken(self) -> set[str]:
        return {*self.coords, *self.dims}

    def __dask_tokenize__(self) -> tuple[object, ...]:
        """Name chunks by the version of the file: Dask must not take others for them."""
        return (type(self).__name__, self.name, self.values.origin)

    def to_dataset(self, name: str | None = None) -> xr.Dataset:
        """Make a dataset of one lazy variable."""
        if name in self._taken:
            raise ArgumentError(
                f"name is {name!r}, which is a dimension or coordinate of {self.path}. Choose "
                "another name."
            )
        lazy = indexing.LazilyIndexedArray(self.values)
        encoding = {"source": str(self.path), **self.encoding}
        variable = xr.Variable(self.dims, lazy, self.attrs, encoding)
        coords: Any = {
            name: coord if isinstance(coord, xr.Variable) else self._variable(name, *coord)
            for name, coord in self.coords.items()
        }
        if not self.indexed:
            coords = xr.Coordinates(coords, indexes={})
        return xr.Dataset({name or self.variable_name: variable}, coords)

    def _variable(
        self, name: str, dims: tuple[str, ...], values: Any, attrs: Mapping[str, Any]
    ) -> xr.Variable:
        """Make the variable of a coordinate; one that becomes an index starts as one."""
        array = np.asarray(values)
        if self.indexed and dims == (name,) and array.dtype in INDEXED_TYPES:
            return xr.IndexVariable(dims, pd.Index(array), attrs)  # type: ignore[no-untyped-call]
        return plain_variable(dims, array, attrs)


def plain_variable(
    dims: tuple[str, ...], values: Any, attrs: Mapping[str, Any] | None = None
) -> xr.Variable:
    """Make a variable of numbers or text, without the import of Dask.

    Where Dask is installed, xarray imports it to see whether an array is one of Dask's: 0.3 to 0.5
    s, a third of the time from the start of a process to a loaded recording.
    """
    array = np.asarray(values)
    if array.dtype.kind in "OMm":  # xarray converts these
        return xr.Variable(dims, array, attrs)
    return xr.Variable(dims, array, attrs, fastpath=True)


def open_prepared(prepared: Prepared, *, chunks: Any = None) -> xr.DataArray:
    """Give what was prepared as a lazy array, or as one in Dask chunks."""
    options = prepared.chunk_options
    if options is not None and chunks is None and find_spec("dask") is not None:
        chunks = {}  # those of the store, as xarray's own `open_zarr` does
    keywords: dict[str, Any] = {} if prepared.indexed else {"create_default_indexes": False}
    given = None
    if options is not None and isinstance(chunks, int | dict):
        given, chunks = chunks, None
        keywords |= options
    # xarray caches values, copies on write and chunks; through its public door, as for any file.
    array = xr.open_dataarray(
        prepared.path,
        engine=_PreparedEngine,
        prepared=prepared,
        chunks=given,
        cache=given is None and chunks is None,
        **keywords,
    )
    array.name = prepared.variable_name  # xarray drops the name that it gives itself
    return array if chunks is None else in_chunks(array, chunks)


class _PreparedEngine(BackendEntrypoint):
    """Opens what was prepared, of whatever format."""

    open_dataset_parameters = ("filename_or_obj", "drop_variables", "prepared")

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        prepared: Prepared | None = None,
    ) -> xr.Dataset:
        """Make a dataset of what was prepared."""
        if prepared is None:
            raise TypeError("this engine opens what a format of this package has prepared")
        with file_errors(prepared.path):  # indexes are read here
            return prepared.to_dataset()
