"""NIfTI files and their sidecars, as the readers of this package and of others take them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, cast

import nibabel
import numpy as np
import xarray as xr
from isal import igzip
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from confusius_datasets._io.grid import SPACE, grid_of, unit_of
from confusius_datasets._io.matrices import Matrix
from confusius_datasets._io.nifti.array import is_gzip
from confusius_datasets._io.nifti.attributes import find_sidecars, read_sidecars
from confusius_datasets._io.nifti.geometry import Geometry, geometry_of
from confusius_datasets._io.nifti.header import (
    SPACE_UNITS,
    TIME_UNITS,
    UNREADABLE_DATATYPES,
    parse_header,
)
from confusius_datasets._io.nifti.opening import stem_of
from confusius_datasets._io.saving.fields import (
    Timing,
    encode_attributes,
    encode_slices,
    encode_times,
    plain,
)
from confusius_datasets._io.saving.places import check_free, in_its_place
from confusius_datasets._text import list_some, warn_user
from confusius_datasets.errors import ArgumentError

__all__ = ["write_nifti"]

LABELS = frozenset({"subject", "session", "task", "acquisition", "run"})
"""Scalar coordinates that a file of a dataset has in its name."""

BLOCK_NBYTES = 1 << 26
"""Values are computed and written in pieces of about this size."""

LARGEST_CHUNK_NBYTES = 4 * BLOCK_NBYTES
"""A Dask chunk up to this size is not cut."""

MOVED = 1e-2
"""Part of a step by which a coordinate must move to be worth a warning."""

EXACT = 1e-11
"""Largest error of a coordinate, in steps, for which NIfTI-1 is good enough."""

MOST_IN_NIFTI1 = 32767

WITHOUT_EXTENSIONS = b"\0\0\0\0"


def write_nifti(array: xr.DataArray, path: Path, *, overwrite: bool) -> None:
    """Write an array and its sidecar."""
    sidecar = path.with_name(f"{stem_of(path.name)}.json")
    check_free(path, overwrite=overwrite)
    check_free(sidecar, overwrite=overwrite)
    image = _with_axes(array)
    header, fields = _describe(image)
    # What sidecars further up say must not become part of the array; a null takes a field away.
    inherited = read_sidecars(
        file for file in find_sidecars(path, stem=stem_of(path.name)) if file != sidecar
    )
    fields |= dict.fromkeys(inherited.keys() - fields.keys())
    text = json.dumps(fields, indent=2, allow_nan=False) + "\n"
    with in_its_place(path, overwrite=overwrite) as partial:
        with _opened(partial) as file:
            file.write(header.binaryblock + WITHOUT_EXTENSIONS)
            for block in _blocks(image):
                file.write(np.ascontiguousarray(block, header.get_data_dtype()).data)
        with in_its_place(sidecar, overwrite=overwrite) as beside:
            beside.write_text(text, encoding="utf-8")


def _with_axes(array: xr.DataArray) -> xr.DataArray:
    """Put dimensions into the order of NIfTI, and add those that it has in between."""
    extras = [str(dim) for dim in array.dims if dim not in ("time", *SPACE)]
    if len(extras) > 3:
        raise ArgumentError(
            f"NIfTI has room for three dimensions beside time and space, and the array has "
            f"{list_some(extras)}. Save it as .zarr."
        )
    order = [*SPACE[::-1], "time"]
    last = max((order.index(str(dim)) for dim in array.dims if dim in order), default=-1)
    needed = order if extras else order[: last + 1]
    for dim in needed:
        if dim not in array.dims:
            array = array.expand_dims(dim) if dim in array.coords else array.expand_dims({dim: 1})
    return array.transpose(*extras, *reversed(needed))


def _describe(image: xr.DataArray) -> tuple[nibabel.Nifti1Header, dict[str, Any]]:
    """Make the header and the fields of the sidecar, in NIfTI-1 if that is exact."""
    fields = encode_attributes(image.attrs, of=str(image.name or "the array"))
    _warn_of_lost_coordinates(image)
    if "slice_time" in image.coords and (slices := encode_slices(image)):
        fields |= slices
    fields |= _extra_fields(image)
    is_large = max(image.shape) > MOST_IN_NIFTI1
    for header_class in (nibabel.Nifti1Header, nibabel.Nifti2Header):
        is_coarse = header_class is nibabel.Nifti1Header
        if is_coarse and is_large:
            continue
        timing = _timing(image, fields, coarse=is_coarse)
        header, geometry = _header(image, header_class, timing)
        if not is_coarse or _is_exact(image, geometry):
            break
    _warn_of_moved_coordinates(image, geometry)
    lost = {
        name: plain(matrix)
        for name, matrix in _affines(image).items()
        if name not in geometry.affines
    }
    affines = {"ConfUSIusAffines": lost} if lost else {}
    return header, {**fields, **timing.fields, **affines}


def _affines(image: xr.DataArray) -> Mapping[str, Matrix]:
    affines = image.attrs.get("affines")
    return affines if isinstance(affines, Mapping) else {}


def _timing(image: xr.DataArray, fields: Mapping[str, Any], *, coarse: bool) -> Timing:
    """Say how the times of an array are written."""
    time = image.coords.get("time")
    if time is None or time.ndim > 1:
        return Timing({})
    return encode_times(time, image.sizes.get("time"), fields, coarse=coarse)


def _header(
    image: xr.DataArray, header_class: Any, timing: Timing
) -> tuple[nibabel.Nifti1Header, Geometry]:
    """Make the header, and say what a reader makes of it."""
    header = header_class()
    _set_dtype(header, image.dtype)
    header.set_data_shape(image.shape[::-1])
    steps, origin = grid_of(image)
    header["pixdim"][1:4] = np.abs(steps)
    _set_forms(header, image, steps, origin)
    header["pixdim"][4] = timing.step
    header["xyzt_units"] = _unit_codes(image)
    header["magic"], header["vox_offset"] = header.single_magic, header.single_vox_offset
    return header, geometry_of(parse_header(header.binaryblock, name="the header"))


def _set_dtype(header: nibabel.Nifti1Header, dtype: np.dtype[Any]) -> None:
    """Write the type of the values; NumPy's smallest have none of their own in NIfTI."""
    stored = {np.dtype(bool): np.dtype(np.uint8), np.dtype(np.float16): np.dtype(np.float32)}
    with contextlib.suppress(HeaderDataError):
        header.set_data_dtype(stored.get(dtype, dtype))
        if int(header["datatype"]) not in UNREADABLE_DATATYPES:
            return
    raise ArgumentError(
        f"NIfTI cannot hold values of the type {dtype}. Convert them with `array.astype`, or save "
        "as .zarr."
    )


def _set_forms(
    header: nibabel.Nifti1Header,
    image: xr.DataArray,
    steps: NDArray[np.float64],
    origin: NDArray[np.float64],
) -> None:
    """Write the forms that the array's matrices come from, or one that gives the coordinates."""
    grid = np.diag([*steps, 1.0])
    grid[:3, 3] = origin
    reverse = np.ix_([2, 1, 0, 3], [2, 1, 0, 3])
    affines = _affines(image)
    forms = {
        form: np.asarray(affines[f"physical_to_{form}"], np.float64)[reverse] @ grid
        for form in ("sform", "qform")
        if np.shape(affines.get(f"physical_to_{form}", ())) == (4, 4)
    }
    header["sform_code"] = header["qform_code"] = 0
    is_bare = not any(origin) and (steps > 0).all()
    if not forms and not is_bare:
        forms["qform"] = grid
    if "qform" in forms:
        sizes = header["pixdim"].copy()
        header.set_qform(forms["qform"], int(image.attrs.get("qform_code") or 1))
        if "sform" in forms and not _is_kept(header.get_qform(), forms["qform"]):
            # A form with shear, which a quaternion cannot hold: the sidecar holds its matrix.
            header["qform_code"], header["pixdim"] = 0, sizes
    if "sform" in forms:
        header.set_sform(forms["sform"], int(image.attrs.get("sform_code") or 1))


def _is_kept(written: Matrix, form: Matrix) -> bool:
    return np.allclose(written, form, rtol=0, atol=1e-4 * float(np.abs(form[:3, :3]).max()))


def _unit_codes(image: xr.DataArray) -> int:
    """Put the codes of both units together; 0 stands for an unknown one."""
    space = unit_of(image)
    time = image.coords["time"].attrs.get("units") if "time" in image.coords else None
    space_code = next((code for code, unit in SPACE_UNITS.items() if unit == space), 0)
    return space_code | next((code for code, unit in TIME_UNITS.items() if unit == time), 0)


def _coordinates(image: xr.DataArray, geometry: Geometry) -> dict[str, tuple[Any, Any]]:
    """Pair the coordinates of the array with those that a reader finds."""
    return {
        dim: (
            np.atleast_1d(np.asarray(image.coords[dim].values, np.float64)),
            geometry.origin[axis] + geometry.steps[axis] * np.arange(image.sizes[dim]),
        )
        for axis, dim in enumerate(SPACE[::-1])
        if dim in image.coords and dim in image.dims
    }


def _is_exact(image: xr.DataArray, geometry: Geometry) -> bool:
    """Say whether a reader finds the array's coordinates and matrices, but for rounding."""
    pairs = list(_coordinates(image, geometry).values())
    affines = _affines(image)
    pairs += [
        (np.asarray(affines[name]), found)
        for name, found in geometry.affines.items()
        if name in affines
    ]
    return all(
        np.allclose(ours, found, rtol=EXACT, atol=EXACT * max(map(abs, geometry.steps)))
        for ours, found in pairs
    )


def _warn_of_moved_coordinates(image: xr.DataArray, geometry: Geometry) -> None:
    """Say which coordinates a reader finds otherwise: NIfTI has them from its affine alone."""
    step = max(map(abs, geometry.steps))
    moved = [
        dim
        for dim, (ours, found) in _coordinates(image, geometry).items()
        if not np.allclose(ours, found, rtol=1e-6, atol=MOVED * step)
    ]
    if moved:
        warn_user(
            f"NIfTI derives coordinates from the affine, so that those of {list_some(moved)} will "
            "be others when the file is loaded; each voxel keeps its place in the world."
        )


def _extra_fields(image: xr.DataArray) -> dict[str, Any]:
    """Describe the axes past time."""
    fields: dict[str, Any] = {}
    extras = [str(dim) for dim in image.dims if dim not in ("time", *SPACE)]
    for number, dim in enumerate(reversed(extras), start=4):
        prefix = f"ConfUSIusDim{number}"
        if dim != f"dim{number}":
            fields[f"{prefix}Name"] = dim
        if dim not in image.coords:
            continue
        values = image.coords[dim].values
        if not np.array_equal(values, np.arange(len(values))):
            fields[f"{prefix}Coordinates"] = plain(values)
        if attrs := image.coords[dim].attrs:
            fields[f"{prefix}Attrs"] = plain(attrs)
    return fields


def _warn_of_lost_coordinates(image: xr.DataArray) -> None:
    """Say which coordinates the file cannot hold."""
    kept = {*image.dims, *SPACE, *LABELS, "time"}
    if "slice_time" in image.coords and encode_slices(image):
        kept.add("slice_time")
    if lost := [str(name) for name in image.coords if name not in kept]:
        warn_user(f"NIfTI cannot hold these coordinates, which are left out: {list_some(lost)}.")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file to write to, compressed if its name says so."""
    with path.open("xb") as file:
        if not is_gzip(path):
            yield file
            return
        # Neither name nor time: equal arrays give equal files.
        with igzip.IGzipFile("", "wb", fileobj=file, mtime=0) as packed:  # type: ignore[no-untyped-call]
            yield cast("IO[bytes]", packed)


def _blocks(image: xr.DataArray) -> Iterator[NDArray[Any]]:
    """Give the values piece by piece, in the order of the file."""
    axis = next((number for number, size in enumerate(image.shape) if size > 1), None)
    if axis is None or image.nbytes <= BLOCK_NBYTES:
        yield image.values
        return
    dim, size = image.dims[axis], image.shape[axis]
    row_nbytes = image.nbytes // size
    edges = list(range(0, size, max(1, BLOCK_NBYTES // row_nbytes)))
    chunks = image.chunksizes.get(dim, ())
    if len(chunks) > 1 and max(chunks) * row_nbytes <= LARGEST_CHUNK_NBYTES:
        # Whole chunks, or those at an edge would be computed twice.
        edges = np.cumsum([0, *chunks[:-1]]).tolist()
    for start, stop in zip(edges, [*edges[1:], size], strict=True):
        part = image.isel({dim: slice(start, stop)})
        if stop - start == 1:
            yield from _blocks(part)
        else:
            yield part.values
