"""Zarr stores → labelled arrays, through xarray's own engine."""

from __future__ import annotations

import importlib.util
import inspect
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from confusius_datasets._io.chunks import in_chunks
from confusius_datasets._io.colors import with_colors
from confusius_datasets._text import did_you_mean, list_some
from confusius_datasets.errors import (
    FileFormatError,
    MissingDependencyError,
    MissingFileError,
    UnknownKeyError,
)

__all__ = ["load_zarr"]

MARKERS = ("zarr.json", ".zgroup", ".zmetadata")
"""Files of which a group of Zarr format 3 or 2 has one."""

MOST_CHUNKS = 10_000_000
"""More chunks than this are a damaged `shape`: naming them all would fill the memory."""

LONGEST_COORDINATE = 1 << 28
"""Coordinates are read when a store is opened: a longer one is a damaged `shape`."""


def load_zarr(path: Path, *, variable: str | None = None, **kwargs: Any) -> xr.DataArray:
    """Load one array of a Zarr store, lazily."""
    _check_folder(path)
    if importlib.util.find_spec("zarr") is None:
        raise MissingDependencyError("zarr", extra="zarr", purpose="Loading a .zarr store")
    by_axis = kwargs.pop("chunks") if isinstance(kwargs.get("chunks"), tuple | list) else None
    options = {
        "consolidated": _is_consolidated(path),
        # Seconds stay numbers, as in every other format.
        "decode_timedelta": False,
        **kwargs,
    }
    taken = inspect.signature(xr.open_zarr).parameters
    if unknown := [name for name in options if name not in taken]:
        raise TypeError(f"xarray.open_zarr has no argument {unknown[0]!r}.")
    try:
        _check_claims(path)
        dataset: xr.Dataset = xr.open_zarr(path, **options)
    except FileFormatError:
        raise
    # Damaged metadata surface as whatever the part of Zarr that meets them makes of them.
    except (ValueError, LookupError, OSError, TypeError, AttributeError, RuntimeError) as error:
        raise FileFormatError(
            f"{path}: not a Zarr store that xarray can open: {error}. It must be a group of arrays "
            "with named dimensions, as `DataArray.to_zarr` writes it."
        ) from error
    array: xr.DataArray = dataset[_choose(dataset, variable, path)]
    if by_axis is not None:
        array = in_chunks(array, by_axis)
    return array.assign_attrs(_with_matrices(with_colors(array.attrs), path))


def _check_folder(path: Path) -> None:
    """Raise unless a folder is a Zarr group, by what lies at its top."""
    if not path.exists():
        raise MissingFileError(f"{path}: there is no such folder. Check the path, or fetch it.")
    if not path.is_dir():
        raise FileFormatError(f"{path}: a Zarr store is a folder, and this is a file.")
    if not any((path / name).is_file() for name in MARKERS):
        raise FileFormatError(
            f"{path}: not a Zarr group: it has no {' or '.join(MARKERS)}. "
            "Its download may be incomplete: fetch it again."
        )


def _is_consolidated(path: Path) -> bool:
    """Say whether a store has its metadata in one file, so that no warning says it has not."""
    if (path / ".zmetadata").is_file():
        return True
    try:
        document = json.loads((path / "zarr.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(document, dict) and bool(document.get("consolidated_metadata"))


def _check_claims(path: Path) -> None:
    """Raise when the shape of an array is nothing that could be held."""
    for name, shape, chunks in _arrays(path):
        counts = [
            math.ceil(size / max(1, chunk)) for size, chunk in zip(shape, chunks, strict=True)
        ]
        too_long = len(shape) == 1 and shape[0] > LONGEST_COORDINATE
        if math.prod(counts) > MOST_CHUNKS or too_long:
            raise FileFormatError(
                f"{path}: the array '{name}' claims the shape {shape} in chunks of {chunks}, "
                "which no recording has. Its metadata are damaged: fetch it again."
            )


def _arrays(path: Path) -> Iterator[tuple[str, tuple[int, ...], tuple[int, ...]]]:
    """List the arrays of a store with their shapes and chunks."""
    import zarr

    for name, array in zarr.open_group(path, mode="r").arrays():
        yield name, array.shape, array.chunks


def _choose(dataset: xr.Dataset, variable: str | None, path: Path) -> str:
    """Choose a variable of a dataset: the one named, or the first."""
    names = [str(name) for name in dataset.data_vars]
    if variable is None:
        if not names:
            raise FileFormatError(f"{path}: the store holds no data variable.")
        return names[0]
    if variable not in dataset.variables:
        raise UnknownKeyError(
            f"{path}: no variable {variable!r}. {did_you_mean(variable, names)}"
            f"It has {list_some(names) or 'none'}."
        )
    return variable


def _with_matrices(attrs: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Turn the affines, which JSON holds as lists, into matrices."""
    affines = attrs.get("affines")
    if not isinstance(affines, Mapping):
        return dict(attrs)
    matrices = {}
    for name, rows in affines.items():
        try:
            matrices[name] = np.asarray(rows, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise FileFormatError(
                f"{path}: attrs['affines']['{name}'] is no matrix of numbers: {error}."
            ) from error
    return {**attrs, "affines": matrices}
