"""One file → one `xarray.DataArray`: NIfTI, Zarr, NetCDF and Iconeus SCAN; and back, by `save`.

`FORMATS` is the registry: a format says its extensions, and how to read all of a path but its
values. Nothing here knows what a dataset is: sidecars and seek indexes are found from the path.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from confusius_datasets._damage import damage_errors
from confusius_datasets._io.colors import label_colors
from confusius_datasets._io.files import local_path
from confusius_datasets._io.formats import extension_of, find_format
from confusius_datasets._io.matrices import Matrices
from confusius_datasets._io.netcdf import NETCDF
from confusius_datasets._io.nifti import NIFTI
from confusius_datasets._io.saving import save
from confusius_datasets._io.scan import SCAN
from confusius_datasets._io.voxeldata import to_confusius
from confusius_datasets._io.zarr import ZARR
from confusius_datasets.errors import FileFormatError

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "COORDINATE_ENTITIES",
    "LOADABLE_EXTENSIONS",
    "Matrices",
    "first_time",
    "label_colors",
    "load",
    "load_with_entities",
    "preview",
    "save",
    "to_confusius",
    "with_entities",
]

FORMATS = (NIFTI, SCAN, ZARR, NETCDF)
"""Every format that can be loaded; another one is a file of its own and an entry here."""

LOADABLE_EXTENSIONS = tuple(extension for format_ in FORMATS for extension in format_.extensions)
"""Extensions of the files that `load` understands, compared with the case."""

ROOT = "root"
"""What formats with sidecars call the root of the dataset, which no user gives."""

COORDINATE_ENTITIES = ("subject", "session", "task", "acquisition", "run")
"""Entities that become scalar coordinates of an array that comes out of a dataset."""


def load(
    path: str | os.PathLike[str],
    *,
    variable: str | None = None,
    chunks: Any = None,
    bps_path: str | os.PathLike[str] | None = None,
    **zarr_options: Any,
) -> xr.DataArray:
    """Load one file as a labelled array, lazily.

    Parameters
    ----------
    path : str or path-like
        A `.nii`, `.nii.gz`, `.scan` or `.nc` file, or a `.zarr` folder; a leading `~` is expanded.
    variable : str, optional
        Which array of a Zarr store or NetCDF file. If not provided, the first. Other formats have
        one only.
    chunks : int, str, tuple or mapping, optional
        If not provided, values are read when they are first used. Otherwise the array is made of
        Dask chunks of these sizes, in the order of its dimensions; needs the extra `[dask]`.
    bps_path : str or path-like, optional
        Brain positioning file that goes with a `.scan` file, for `physical_to_brain`.
    **zarr_options
        Further options of `xarray.open_zarr`, for Zarr stores only.

    Returns
    -------
    (time, z, y, x) or (z, y, x) xarray.DataArray
        Values as stored; `z`, `y`, `x` in the file's unit of length, `time` in its unit of time,
        affines and sidecar fields in `attrs`. Files with further axes have them in front.

    Raises
    ------
    TypeError
        If `path` is not a path, or an option is given that the format does not have.
    FileFormatError
        If the extension is unknown, or the file is damaged or not what its name says.
    MissingFileError
        If there is no such file.
    MissingDependencyError
        If the format or `chunks` needs a package that is not installed.

    Examples
    --------
    >>> import tempfile
    >>> import nibabel, numpy
    >>> from confusius_datasets import load
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     image = nibabel.Nifti1Image(numpy.zeros((5, 4, 3, 6), "f4"), numpy.eye(4))
    ...     nibabel.save(image, f"{folder}/sub-01_pwd.nii.gz")
    ...     load(f"{folder}/sub-01_pwd.nii.gz").sizes["time"]
    6
    """
    return _load(path, None, variable=variable, chunks=chunks, bps_path=bps_path, **zarr_options)


def load_with_entities(
    path: str | os.PathLike[str],
    entities: Mapping[str, object],
    *,
    root: Path,
    **options: Any,
) -> xr.DataArray:
    """Load one file of a dataset, and name on the array the entities that tell it from others."""
    return with_entities(_load(path, root, **options), entities)


def _load(
    path: str | os.PathLike[str],
    root: Path | None,
    *,
    variable: str | None = None,
    chunks: Any = None,
    bps_path: str | os.PathLike[str] | None = None,
    **options: Any,
) -> xr.DataArray:
    """Load one file, with the sidecars of its dataset where the root of that is known."""
    absolute = local_path(path)
    format_ = find_format(FORMATS, absolute)
    if bps_path is not None:
        options["bps_path"] = bps_path
    if foreign := [name for name in options if name == ROOT or not format_.takes(name)]:
        extension = extension_of(absolute.name, format_.extensions)
        raise TypeError(f"load has no option {', '.join(foreign)} for {extension} files.")
    if format_.takes("variable"):  # other formats have one array only, so any name will do
        options["variable"] = variable
    if format_.takes(ROOT) and root is not None and absolute.is_relative_to(root):
        options[ROOT] = root
    # Imported when it is needed: xarray imports this package whenever it looks for engines.
    from confusius_datasets._io.prepared import open_prepared

    with damage_errors(absolute):
        prepared = format_.open(absolute, **options)
    return open_prepared(prepared, chunks=chunks)


def first_time(fields: Mapping[str, Any]) -> float:
    """Say when the first volume of a recording with these sidecar fields was acquired, in s."""
    from confusius_datasets._io.nifti.timing import Clock, acquisition_times

    listed = fields.get("VolumeTiming")
    size = len(listed) if isinstance(listed, list) and listed else 1
    times = acquisition_times(Clock(size, 0.0, "s"), fields, [])
    return 0.0 if times.values is None else float(times.values[0])


def preview(
    name: str,
    fields: Mapping[str, Any],
    read: Callable[[int, int], Iterable[bytes]],
    *,
    frames: int,
) -> xr.DataArray:
    """Read header and first frames of a file of which only bytes can be asked for."""
    if not name.endswith(NIFTI.extensions):
        raise FileFormatError(
            f"{name}: only {' and '.join(NIFTI.extensions)} files can be previewed, since in "
            "others the first frames do not come first. Load it instead."
        )
    from confusius_datasets._io.nifti.beginning import preview_nifti

    return preview_nifti(name, fields, read, frames=frames)


def with_entities(array: xr.DataArray, entities: Mapping[str, object]) -> xr.DataArray:
    """Name on an array of a dataset the entities that tell it from others."""
    from confusius_datasets._io.prepared import plain_variable

    labels = {
        name: plain_variable((), _coordinate_value(name, entities[name]))
        for name in COORDINATE_ENTITIES
        if entities.get(name) is not None and name not in array.dims
    }
    return array.assign_coords(labels)


def _coordinate_value(name: str, value: object) -> str | int:
    """Turn an entity's value into what the coordinate holds."""
    text = str(value)
    return int(text) if name == "run" and text.isdecimal() else text
