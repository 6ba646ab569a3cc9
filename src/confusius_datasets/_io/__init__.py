"""One file → one `xarray.DataArray`: NIfTI, Zarr and Iconeus SCAN.

The dispatch by extension lives here, a format in each file beside it. Nothing here knows what a
dataset is: sidecars and seek indexes are found from the path alone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from confusius_datasets._text import did_you_mean
from confusius_datasets.errors import FileFormatError, MissingFileError

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["COORDINATE_ENTITIES", "LOADABLE_EXTENSIONS", "load", "load_with_entities"]

LOADABLE_EXTENSIONS = (".nii", ".nii.gz", ".scan", ".zarr")
"""Extensions of the files that `load` understands, compared with the case."""

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
        A `.nii`, `.nii.gz` or `.scan` file, or a `.zarr` folder; a leading `~` is expanded.
    variable : str, optional
        Which array of a Zarr store. If not provided, the first. Other formats have one only.
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
    absolute = _absolute(path)
    extension = _loadable_extension(absolute.name)
    foreign = [] if extension == ".zarr" else [*zarr_options]
    foreign += ["bps_path"] if bps_path is not None and extension != ".scan" else []
    if foreign:
        raise TypeError(f"load has no option {', '.join(foreign)} for {extension} files.")
    if extension == ".zarr":
        from confusius_datasets._io.zarr import load_zarr

        options = zarr_options if chunks is None else {"chunks": chunks, **zarr_options}
        return load_zarr(absolute, variable=variable, **options)
    if extension == ".scan":
        from confusius_datasets._io.scan import load_scan

        return load_scan(absolute, bps_path=bps_path, chunks=chunks)
    from confusius_datasets._io.nifti import load_nifti

    return load_nifti(absolute, chunks=chunks)


def load_with_entities(
    path: str | os.PathLike[str], entities: Mapping[str, object], **options: Any
) -> xr.DataArray:
    """Load one file of a dataset, and name on the array the entities that tell it from others."""
    array = load(path, **options)
    labels = {
        name: _coordinate_value(name, entities[name])
        for name in COORDINATE_ENTITIES
        if entities.get(name) is not None and name not in array.dims
    }
    return array.assign_coords(labels)


def _absolute(path: str | os.PathLike[str]) -> Path:
    """Expand a path, leaving links alone: the name of a link's target says nothing in BIDS."""
    try:
        return Path(os.path.abspath(Path(path).expanduser()))  # noqa: PTH100 - keeps links
    except TypeError as error:
        raise TypeError(
            f"path must be a pathlib.Path or castable to it, not {type(path).__name__}."
        ) from error
    except RuntimeError as error:
        raise MissingFileError(
            f"{os.fspath(path)}: '~' names the home of a user that is not known here. Give the "
            "path from the root of the file system on."
        ) from error


def _loadable_extension(name: str) -> str:
    """Say which of the loadable extensions a file name has."""
    for extension in sorted(LOADABLE_EXTENSIONS, key=len, reverse=True):
        if name.endswith(extension):
            return extension
    given = "".join(Path(name).suffixes[-2:])
    raise FileFormatError(
        f"Unsupported file extension in '{name}'. {did_you_mean(given, LOADABLE_EXTENSIONS)}"
        f"Supported extensions are: {', '.join(LOADABLE_EXTENSIONS)}."
    )


def _coordinate_value(name: str, value: object) -> str | int:
    """Turn an entity's value into what the coordinate holds."""
    text = str(value)
    return int(text) if name == "run" and text.isdecimal() else text
