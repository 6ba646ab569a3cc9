"""Labelled arrays in Dask chunks, with the sizes given in the order of the dimensions."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import xarray as xr

from confusius_datasets.errors import MissingDependencyError

__all__ = ["in_chunks"]


def in_chunks(array: xr.DataArray, chunks: Any) -> xr.DataArray:
    """Split an array into Dask chunks."""
    if find_spec("dask") is None:
        raise MissingDependencyError("dask", extra="dask", purpose="An array in chunks")
    if isinstance(chunks, tuple | list):
        if len(chunks) != array.ndim:
            raise ValueError(
                f"chunks is {chunks!r}, but '{array.name}' has the dimensions "
                f"{', '.join(map(str, array.dims))}: give one entry for each, or a mapping."
            )
        # xarray would take the sizes by the name of the dimension alone.
        chunks = dict(zip(array.dims, chunks, strict=True))
    return array.chunk(chunks)
