"""Zarr stores → labelled arrays, through xarray's own engine."""

from __future__ import annotations

import importlib.util
import inspect
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.core import indexing

from confusius_datasets._damage import DAMAGE_ERRORS, file_errors
from confusius_datasets._io.colors import with_colors
from confusius_datasets._io.files import check_exists
from confusius_datasets._io.formats import Format
from confusius_datasets._io.lazy import LazyArray, Positions, as_slice
from confusius_datasets._io.matrices import Matrices
from confusius_datasets._io.prepared import Prepared
from confusius_datasets._io.versions import Origin
from confusius_datasets._text import did_you_mean, list_some, quote_short, shorten, warn_user
from confusius_datasets.errors import (
    FileFormatError,
    MissingDependencyError,
    UnknownArgumentError,
    UnknownKeyError,
)

__all__ = ["ZARR"]

MARKERS = ("zarr.json", ".zgroup", ".zmetadata")
"""Files of which a group of Zarr format 3 or 2 has one."""

MOST_CHUNKS = 10_000_000
"""More chunks than this are a damaged `shape`: naming them all would fill the memory."""

LONGEST_COORDINATE = 1 << 28
"""Coordinates are read when a store is opened: a longer one is a damaged `shape`."""


SAFE_CODECS = frozenset(
    {
        *("blosc", "bz2", "gzip", "lz4", "lzma", "zlib", "zstd"),
        *("astype", "bitround", "delta", "fixedscaleoffset", "packbits", "quantize", "shuffle"),
        *("adler32", "crc32", "crc32c", "fletcher32", "jenkins_lookup3"),
        *("bytes", "sharding_indexed", "transpose", "vlen-bytes", "vlen-utf8"),
    }
)
"""Codecs that do nothing but compute. Others may run what a store says: `pickle` does."""

CODEC_KEYS = ("codecs", "compressor", "compressors", "filters", "index_codecs")
"""Keys of Zarr metadata, of format 2 or 3, below which codecs are named."""

CHUNK_OPTIONS = ("overwrite_encoded_chunks", "chunked_array_type", "from_array_kwargs")
"""Options of `xarray.open_zarr` that are about Dask chunks, which are made at last."""


class ZarrArray(LazyArray):
    """A variable of a store, as xarray opened it."""

    def __init__(self, origin: Origin, variable: xr.Variable) -> None:
        super().__init__(origin, variable.shape, variable.dtype)
        self.variable = variable

    def fill(self, values: NDArray[Any], positions: Sequence[Positions]) -> None:
        """Fill an array with the values at the crossings of positions along each axis."""
        crossings = map(as_slice, positions)
        try:
            values[...] = self.variable[tuple(crossings)].values
        except DAMAGE_ERRORS as error:
            raise FileFormatError(
                f"{self.origin.path}: a chunk of the store cannot be read: {shorten(error)}. It "
                "is damaged: fetch or copy it again."
            ) from error


def prepare_zarr(path: Path, *, variable: str | None = None, **options: Any) -> Prepared:
    """Read all of an array of a Zarr store but its values."""
    with file_errors(path):
        _check_folder(path)
    if importlib.util.find_spec("zarr") is None:
        raise MissingDependencyError("zarr", extra="zarr", purpose="Loading a .zarr store")
    taken = inspect.signature(xr.open_zarr).parameters
    if unknown := [name for name in options if name not in taken]:
        raise UnknownArgumentError(f"xarray.open_zarr has no argument {unknown[0]!r}.")
    chunking = {name: options.pop(name) for name in CHUNK_OPTIONS if name in options}
    with file_errors(path):
        metadata = _metadata_files(path, options.get("group"))
        opened = Origin.of(path, metadata)
        documents = _read_metadata(metadata, path)
        _check_codecs(documents, path)
    dataset = _open_dataset(path, documents, options)
    array = dataset[_choose(dataset, variable, path)]
    # Each read compares what is left here: not the other arrays of a large store.
    others = {str(name) for name in dataset.variables} - {str(array.name), *map(str, array.coords)}
    kept = (entry for entry in opened.files if entry[0].parent.name not in others)
    origin = Origin(path, tuple(kept))
    problems: list[str] = []
    attrs = _with_matrices(with_colors(array.attrs, problems), path)
    for problem in problems:
        warn_user(f"{path}: {problem}")
    return Prepared(
        name=str(array.name),
        values=ZarrArray(origin, array.variable),
        dims=tuple(map(str, array.dims)),
        coords={str(name): _coordinate(array[name], origin) for name in array.coords},
        attrs=attrs,
        encoding=dict(array.encoding),
        chunk_options=chunking,
        indexed=options.get("create_default_indexes", True),
    )


def _read_metadata(metadata: Iterable[Path], path: Path) -> dict[str, Any]:
    """Read the metadata files of a store, by their paths in it."""
    documents = {}
    for file in metadata:
        name = file.relative_to(path).as_posix()
        try:
            documents[name] = json.loads(file.read_bytes())
        except (ValueError, RecursionError) as error:
            raise FileFormatError(
                f"{path}: not a Zarr store that xarray can open: its {name} is not valid JSON: "
                f"{shorten(error)}. Fetch or copy it again."
            ) from error
    return documents


def _check_codecs(documents: Mapping[str, Any], path: Path) -> None:
    """Refuse a store that names a codec which is not known to be safe, before any is used."""
    if names := sorted(set(_codecs_in(list(documents.values()))) - SAFE_CODECS):
        raise FileFormatError(
            f"{path}: the store uses the codec {quote_short(names[0])}, which may run code, so "
            "it was not opened. If you trust where it is from, write it anew with a codec such "
            "as zstd."
        )


def _codecs_in(document: Any) -> Iterator[str]:
    """Give the names of all codecs in metadata; attributes are the user's, and say nothing."""
    if isinstance(document, list):
        for item in document:
            yield from _codecs_in(item)
    elif isinstance(document, dict):
        for key, value in document.items():
            if key == "attributes" or key.endswith(".zattrs"):
                continue
            if key in CODEC_KEYS:
                yield from _names_of(value)
            yield from _codecs_in(value)


def _names_of(codecs: Any) -> Iterator[str]:
    """Give the names of one codec or of a list; those of `numcodecs` without its prefix."""
    for codec in codecs if isinstance(codecs, list) else [codecs]:
        if isinstance(codec, dict):
            codec = codec.get("id", codec.get("name"))
        if codec is not None:
            yield str(codec).removeprefix("numcodecs.")


def _blosc_folders(documents: Mapping[str, Any]) -> Iterator[str]:
    """Give the folders of arrays whose chunks are Blosc's, in the files of format 2 and 3."""
    for name, document in documents.items():
        if not isinstance(document, dict):
            continue
        folder, _, file = name.rpartition("/")
        if isinstance(inside := document.get("metadata"), dict):  # of many arrays: consolidated
            prefix = f"{folder}/" if folder else ""
            yield from _blosc_folders({f"{prefix}{each}": inside[each] for each in inside})
        stages = document.get("codecs") if file == "zarr.json" else [document.get("compressor")]
        if isinstance(stages, list) and "blosc" in _names_of(stages[-1:]):
            yield folder


def _open_dataset(
    path: Path, documents: Mapping[str, Any], options: Mapping[str, Any]
) -> xr.Dataset:
    """Open a store through xarray, once it is known to claim nothing impossible."""
    from confusius_datasets._io.zarr_store import CheckedStore

    store = CheckedStore(path, blosc=set(_blosc_folders(documents)))
    # Seconds stay numbers, as in every other format.
    defaults = {"consolidated": _is_consolidated(path), "decode_timedelta": False}
    try:
        _check_claims(path)
        dataset: xr.Dataset = xr.open_zarr(store, **{**defaults, **options, "chunks": None})
    except FileFormatError:
        raise
    except DAMAGE_ERRORS as error:
        raise FileFormatError(
            f"{path}: not a Zarr store that xarray can open: {shorten(error)}. It must be a group "
            "of arrays with named dimensions, as `DataArray.to_zarr` writes it."
        ) from error
    return dataset


def _coordinate(coord: xr.DataArray, origin: Origin) -> xr.Variable:
    """Keep a coordinate that was read with the index as it is, and the others lazy."""
    # An index holds its values in memory: there is nothing left to read, nor to be replaced.
    if coord.name in coord.xindexes:
        return coord.variable
    lazy = indexing.LazilyIndexedArray(ZarrArray(origin, coord.variable))
    return xr.Variable(coord.dims, lazy, coord.attrs, coord.encoding)


def _metadata_files(path: Path, group: object) -> list[Path]:
    """List the files of a store that are written anew whenever its arrays are."""
    folder = path / str(group or "").strip("/")
    names = ("zarr.json", ".zarray", *MARKERS)
    return sorted(
        file
        for place in {path, folder, *(sub for sub in folder.glob("*") if sub.is_dir())}
        for file in map(place.joinpath, dict.fromkeys(names))
        if file.is_file()
    )


def _check_folder(path: Path) -> None:
    """Raise unless a folder is a Zarr group, by what lies at its top."""
    check_exists(path, "folder")
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
    matrices = Matrices()
    for name, rows in affines.items():
        try:
            matrices[name] = np.asarray(rows, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise FileFormatError(
                f"{path}: attrs['affines']['{name}'] must be a matrix of numbers: {shorten(error)}."
            ) from error
    return {**attrs, "affines": matrices}


ZARR = Format(extensions=(".zarr",), open=prepare_zarr)
