"""NIfTI → what an array says: header and sidecars read, values left where they are."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from confusius_datasets._damage import explain_content, file_errors
from confusius_datasets._io.bytes import GzipStream
from confusius_datasets._io.colors import with_colors
from confusius_datasets._io.files import check_local_file
from confusius_datasets._io.matrices import Matrices
from confusius_datasets._io.nifti.array import NiftiArray, is_gzip
from confusius_datasets._io.nifti.attributes import (
    find_sidecars,
    read_sidecars,
    sidecar_affines,
    to_attributes,
)
from confusius_datasets._io.nifti.dimensions import Axis, axes_of, extra_fields
from confusius_datasets._io.nifti.fields import problems_of
from confusius_datasets._io.nifti.geometry import NO_FORM, Geometry, geometry_of
from confusius_datasets._io.nifti.header import HEADER_SIZE, NiftiHeader, parse_header
from confusius_datasets._io.nifti.timing import Clock, acquisition_times, slice_times
from confusius_datasets._io.prepared import POWER_DOPPLER, Coordinates, Prepared
from confusius_datasets._io.versions import Origin
from confusius_datasets._text import warn_user
from confusius_datasets.errors import FileFormatError

__all__ = ["prepare_header", "prepare_nifti", "stem_of"]

MAXIMUM_COMPRESSION = 1032
"""Deflate data decompress to at most this many times their size."""

GZIP_MAGIC = b"\x1f\x8b"

SPATIAL = ("x", "y", "z")

LONG_NAMES = {"pwd": POWER_DOPPLER}
"""What the values of a file with this suffix are, where its sidecar does not say it."""

PREFERRED_NBYTES = 1 << 27
"""Chunks of about this size are announced to xarray: Dask's own default."""


def prepare_nifti(
    path: Path,
    *,
    root: Path | None = None,
    sidecars: bool = True,
    seek_index: bool = True,
    scaled: bool = True,
) -> Prepared:
    """Read header and sidecars of a NIfTI file."""
    header, origin = read_header(path)
    # Only after the checks: a header that lies about its scaling is refused all the same.
    if not scaled:
        header = dataclasses.replace(header, slope=None, inter=0.0)
    stem = stem_of(path.name)
    fields = read_sidecars(find_sidecars(path, stem=stem, root=root)) if sidecars else {}
    return prepare_header(path, header, origin, fields, kept=seek_index)


def prepare_header(
    path: Path, header: NiftiHeader, origin: Origin, fields: Mapping[str, Any], *, kept: bool
) -> Prepared:
    """Derive all of an array but its values from a header and the fields of its sidecars."""
    stem = stem_of(path.name)
    geometry = geometry_of(header)
    problems: list[str] = []
    axes = axes_of(header, fields, problems)[::-1]
    coords = _spatial_coordinates(axes, geometry, header.space_unit)
    consumed = _add_time(coords, axes, header, fields, problems)
    left = {field: value for field, value in fields.items() if field not in consumed}
    attrs = _attributes(header, geometry, left, problems)
    if suffix_name := LONG_NAMES.get(stem.rpartition("_")[2]):
        attrs.setdefault("long_name", suffix_name)
    _warn_once(path, fields, problems, geometry)
    return Prepared(
        name=stem,
        values=NiftiArray(origin, header, tuple(axis.size for axis in axes), kept=kept),
        dims=tuple(axis.dim for axis in axes),
        coords=coords,
        attrs=attrs,
        encoding={"preferred_chunks": _preferred_chunks(axes, header)},
    )


def stem_of(name: str) -> str:
    """Take the extension off the name of a NIfTI file."""
    return name.removesuffix(".gz").removesuffix(".nii")


def read_header(path: Path) -> tuple[NiftiHeader, Origin]:
    """Read the header of a file, and make sure that what it promises can be there."""
    with file_errors(path):
        check_local_file(path)
        origin = Origin.of(path)
        size = origin.files[0][1].size
        if is_gzip(path):
            return _read_gzip_header(path, size), origin
        with path.open("rb") as file:
            header = parse_header(file.read(HEADER_SIZE), name=str(path))
        _check_length(path, header, size, size)
        return header, origin


def _read_gzip_header(path: Path, size: int) -> NiftiHeader:
    """Read the header of a compressed file."""
    if size == 0:
        raise FileFormatError(f"{path}: the file is empty.")
    stream = GzipStream(path)
    beginning = bytearray(HEADER_SIZE)
    with path.open("rb", buffering=0) as file:
        start = file.read(HEADER_SIZE)
        if not start.startswith(GZIP_MAGIC):
            reason = explain_content(start) or "if it is not compressed, name it .nii."
            raise FileFormatError(f"{path}: not a gzip file, though its name ends in .gz: {reason}")
        length = stream.read_into(file, memoryview(beginning))
        header = parse_header(bytes(beginning[:length]), name=str(path))
        _check_length(path, header, size, size * MAXIMUM_COMPRESSION)
        file.seek(-4, 2)
        if int.from_bytes(file.read(4), "little") != header.end % 2**32:
            # The trailer says another length: several members, or a damaged file. Nothing as large
            # as the header claims is allocated before it is known to be there.
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
    coords: Coordinates = {}
    for axis in axes:
        if axis.coordinates is not None:
            coords[axis.dim] = ((axis.dim,), axis.coordinates, axis.attrs or {})
        elif axis.dim in SPATIAL:
            number = SPATIAL.index(axis.dim)
            step = geometry.steps[number]
            values = geometry.origin[number] + step * np.arange(axis.size)
            attrs = {"voxdim": step} if unit is None else {"units": unit, "voxdim": step}
            coords[axis.dim] = ((axis.dim,), values, attrs)
    return coords


def _add_time(
    coords: Coordinates,
    axes: list[Axis],
    header: NiftiHeader,
    fields: Mapping[str, Any],
    problems: list[str],
) -> set[str]:
    """Add the coordinates of time, and return the fields that need not become attributes."""
    sizes = {axis.dim: axis.size for axis in axes}
    clock = Clock(sizes.get("time"), header.pixdim[4], header.time_unit)
    times = acquisition_times(clock, fields, problems)
    slices = slice_times(times, clock, fields, sizes, problems)
    for dim, coordinate in (("time", times), ("slice_time", slices)):
        if coordinate.values is not None:
            coords[dim] = (coordinate.dims, coordinate.values, coordinate.attrs)
    return {*times.consumed, *slices.consumed, *extra_fields()}


def _attributes(
    header: NiftiHeader, geometry: Geometry, fields: Mapping[str, Any], problems: list[str]
) -> dict[str, Any]:
    """Put together the attributes of the array."""
    codes = {"sform": header.sform_code, "qform": header.qform_code}
    attrs: dict[str, Any] = {
        f"{form}_code": code for form, code in codes.items() if geometry.has(form)
    }
    attrs |= to_attributes(fields)
    affines = sidecar_affines(attrs.pop("affines", {}), problems) | geometry.affines
    if affines:
        attrs["affines"] = Matrices(affines)
    return with_colors(attrs, problems)


def _warn_once(
    path: Path, fields: Mapping[str, Any], problems: list[str], geometry: Geometry
) -> None:
    """Say in one warning each what is wrong with the header and with the sidecars."""
    if geometry.problems == (NO_FORM,):
        warn_user(NO_FORM)  # word for word as ConfUSIus says it, for filters of warnings
    elif geometry.problems:
        warn_user(f"{path}: {' '.join(geometry.problems)}")
    found = [f"{field}: {reason}" for field, reason in problems_of(fields)] + problems
    if found:
        warn_user("fUSI-BIDS validation warning:" + "".join(f"\n  - {line}" for line in found))


def _preferred_chunks(axes: list[Axis], header: NiftiHeader) -> dict[str, int]:
    """Say which chunks suit a file: whole along its faster axes, several of the slowest."""
    slowest, *faster = axes
    inner = math.prod(axis.size for axis in faster) * header.dtype.itemsize
    chunks = {axis.dim: axis.size for axis in faster}
    # Not for small files: xarray warns of chunks that do not keep to those announced.
    if inner * slowest.size > PREFERRED_NBYTES:
        chunks[slowest.dim] = max(1, PREFERRED_NBYTES // inner)
    return chunks
