"""NIfTI → labelled array: header, sidecars and lazy values put together.

Everything is opened through the xarray engine of this room, so that `load` and
`xarray.open_dataarray` cannot differ.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from xarray.core import indexing

from confusius_datasets._io.affines import Geometry, geometry_of
from confusius_datasets._io.chunks import in_chunks
from confusius_datasets._io.colors import with_colors
from confusius_datasets._io.dimensions import Axis, axes_of, extra_fields
from confusius_datasets._io.engine import ConfusiusNiftiBackend
from confusius_datasets._io.gzip_stream import GzipStream
from confusius_datasets._io.header import HEADER_SIZE, NiftiHeader, parse_header
from confusius_datasets._io.lazy import NiftiArray, is_gzip
from confusius_datasets._io.seek_index import FileVersion
from confusius_datasets._io.sidecar import find_sidecars, read_sidecars, to_attributes
from confusius_datasets._io.timing import Clock, acquisition_times, slice_times
from confusius_datasets.errors import FileFormatError, MissingFileError

__all__ = ["load_nifti", "open_nifti"]

MAXIMUM_COMPRESSION = 1032
"""No deflate data decompress to more than this many times their size."""

SPATIAL = ("x", "y", "z")

NO_FORM = (
    "Both sform_code and qform_code are 0 in the NIfTI header. Coordinates will be computed from "
    "the voxel dimensions only, which may not reflect the true spatial orientation of the data."
)

Coordinates = dict[str, tuple[tuple[str, ...], Any, Mapping[str, Any]]]


def load_nifti(path: Path, *, chunks: Any = None) -> xr.DataArray:
    """Load a NIfTI file as a labelled array, lazily."""
    array = xr.open_dataarray(path, engine=ConfusiusNiftiBackend, cache=chunks is None)
    array.name = stem_of(path.name)
    return array if chunks is None else in_chunks(array, chunks)


def open_nifti(path: Path, *, sidecars: bool = True, seek_index: bool = True) -> xr.Dataset:
    """Open a NIfTI file as a dataset of one variable, reading header and sidecars only."""
    header, version = read_header(path)
    stem = stem_of(path.name)
    fields = read_sidecars(find_sidecars(path, stem=stem)) if sidecars else {}
    geometry = geometry_of(header, name=str(path))
    if not geometry.affines:
        warnings.warn(NO_FORM, UserWarning, stacklevel=2)
    axes = axes_of(header, fields)[::-1]
    coordinates = _spatial_coordinates(axes, geometry, header.space_unit)
    consumed = _add_time(coordinates, axes, header, fields, name=str(path))
    dims = tuple(axis.dim for axis in axes)
    values = NiftiArray(path, header, tuple(axis.size for axis in axes), version, kept=seek_index)
    kept = {key: value for key, value in fields.items() if key not in consumed}
    variable = xr.Variable(
        dims, indexing.LazilyIndexedArray(values), _attributes(header, geometry, kept)
    )
    # A file may be called as one of its own dimensions, a variable may not.
    name = "values" if stem in coordinates or stem in dims else stem
    return xr.Dataset({name: variable}, coords=coordinates)


def stem_of(name: str) -> str:
    """Take the extension off the name of a NIfTI file."""
    return name.removesuffix(".gz").removesuffix(".nii")


def read_header(path: Path) -> tuple[NiftiHeader, FileVersion]:
    """Read the header of a file, and make sure that what it promises can be there."""
    try:
        if path.is_dir():
            raise FileFormatError(f"{path}: this is a folder, not a NIfTI file.")
        version = FileVersion.of(path)
        if not is_gzip(path):
            with path.open("rb") as file:
                header = parse_header(file.read(HEADER_SIZE), name=str(path))
            _check_length(path, header, version.size, version.size)
            return header, version
        header = _read_gzip_header(path, version.size)
    except FileNotFoundError as error:
        raise MissingFileError(
            f"{path}: path argument must be a valid file path, and there is no such file."
        ) from error
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read: {error.strerror or error}.") from error
    return header, version


def _read_gzip_header(path: Path, size: int) -> NiftiHeader:
    """Read the header of a compressed file."""
    if size == 0:
        raise FileFormatError(f"{path}: the file is empty.")
    stream = GzipStream(path)
    beginning = bytearray(HEADER_SIZE)
    with path.open("rb", buffering=0) as file:
        if file.read(2) != b"\x1f\x8b":
            raise FileFormatError(
                f"{path}: not a gzip file, though its name ends in .gz. If it is not compressed, "
                "name it .nii."
            )
        length = stream.read_into(file, memoryview(beginning))
        header = parse_header(bytes(beginning[:length]), name=str(path))
        _check_length(path, header, size, size * MAXIMUM_COMPRESSION)
        file.seek(-4, 2)
        if int.from_bytes(file.read(4), "little") != header.end % 2**32:
            # The trailer does not vouch for the length: several members, or a damaged file. Nothing
            # as large as the header claims is set up before it is known to be there.
            stream.skip_to(file, header.end)
            _check_length(path, header, size, stream.position)
            stream.finish(file)
    return header


def _check_length(path: Path, header: NiftiHeader, size: int, available: int) -> None:
    """Refuse a file that cannot hold what its header promises."""
    if header.end > available:
        raise FileFormatError(
            f"{path}: the header promises {header.shape} values of type {header.dtype}, which end "
            f"at byte {header.end}; a file of {size} bytes holds {available} at most. It is cut "
            "off or damaged: fetch or copy it again."
        )


def _spatial_coordinates(axes: list[Axis], geometry: Geometry, unit: str | None) -> Coordinates:
    """Lay out the coordinates of all axes but time."""
    coordinates: Coordinates = {}
    for axis in axes:
        if axis.coordinates is not None:
            coordinates[axis.dim] = ((axis.dim,), axis.coordinates, axis.attrs or {})
        elif axis.dim in SPATIAL:
            number = SPATIAL.index(axis.dim)
            step = geometry.steps[number]
            values = geometry.origin[number] + step * np.arange(axis.size)
            attrs = {"voxdim": step} if unit is None else {"units": unit, "voxdim": step}
            coordinates[axis.dim] = ((axis.dim,), values, attrs)
    return coordinates


def _add_time(
    coordinates: Coordinates,
    axes: list[Axis],
    header: NiftiHeader,
    fields: Mapping[str, Any],
    *,
    name: str,
) -> set[str]:
    """Add the coordinates of time, and return the fields that need not become attributes."""
    sizes = {axis.dim: axis.size for axis in axes}
    clock = Clock(sizes.get("time"), header.pixdim[4], header.time_unit)
    times = acquisition_times(clock, fields)
    slices = slice_times(times, clock, fields, sizes, name=name)
    for dim, coordinate in (("time", times), ("slice_time", slices)):
        if coordinate.values is not None:
            coordinates[dim] = (coordinate.dims, coordinate.values, coordinate.attrs)
    return {*times.consumed, *slices.consumed, *extra_fields()}


def _attributes(
    header: NiftiHeader, geometry: Geometry, fields: Mapping[str, Any]
) -> dict[str, Any]:
    """Put together the attributes of the array."""
    codes = {"sform_code": header.sform_code, "qform_code": header.qform_code}
    attrs: dict[str, Any] = {name: code for name, code in codes.items() if code > 0}
    attrs |= to_attributes(fields)
    affines = {**_sidecar_affines(attrs.pop("affines", {})), **geometry.affines}
    if affines:
        attrs["affines"] = affines
    return with_colors(attrs)


def _sidecar_affines(given: object) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
    """Make matrices of the affines in a sidecar; what is none is left out with a warning."""
    affines = {}
    for name, rows in given.items() if isinstance(given, dict) else [("affines", given)]:
        try:
            affines[name] = np.array(rows, dtype=float)
        except (TypeError, ValueError, OverflowError):
            affines[name] = np.empty(0)
        if affines[name].shape[-2:] != (4, 4):
            del affines[name]
            warnings.warn(
                f"`ConfUSIusAffines` has no matrix of 4 by 4 for '{name}'. Ignoring it.",
                UserWarning,
                stacklevel=2,
            )
    return affines
