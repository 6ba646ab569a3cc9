"""A labelled array → one file, so that `load` gives the array back.

`nifti` writes NIfTI with its sidecar, from what `fields` makes of attributes and times; `stores`
writes Zarr and NetCDF; `places` puts a whole file at its place.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from confusius_datasets._io.files import local_path
from confusius_datasets._io.formats import extension_of
from confusius_datasets._text import did_you_mean, list_some
from confusius_datasets.errors import ArgumentError, FileFormatError

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["save"]

EXTENSIONS = (".nii", ".nii.gz", ".zarr", ".nc")
"""Extensions of the files that can be written."""


def save(array: xr.DataArray, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Save an array as one file, which `load` gives back as it was.

    Parameters
    ----------
    array : xarray.DataArray
        Any array that `load` can give, or one made of such. It is written piece by piece, so that
        it may be larger than the memory, in Dask chunks or not.
    path : str or path-like
        A `.nii` or `.nii.gz` file, to which a JSON sidecar is written beside it, a `.zarr` folder
        (extra `[zarr]`), or a `.nc` file (extra `[netcdf]`). Its folder is made if need be.
    overwrite : bool, default: False
        Whether to replace what is there.

    Returns
    -------
    pathlib.Path
        Absolute path of what was written.

    Raises
    ------
    TypeError
        If `array` is not a DataArray, or `path` not a path.
    FileExistsError
        If there is something at the path already, and `overwrite` is not given.
    ArgumentError
        If the format cannot hold the array; the message says what could.
    FileFormatError
        If the extension is unknown.
    MissingDependencyError
        If the format needs a package that is not installed.

    Warns
    -----
    UserWarning
        If coordinates or attributes are left out, since the format cannot hold them.

    Notes
    -----
    NIfTI has three axes of space, so that a missing one comes back with length 1, and no place for
    the labels `subject`, `session`, `task`, `acquisition` and `run`: in a BIDS dataset they are in
    the file's name. The array's name is the file's. NIfTI-2 is written where the numbers of NIfTI-1
    are too coarse for the coordinates.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from confusius_datasets import fetch_sample, load, save
    >>> dataset = fetch_sample(download=False, progress=False)
    >>> angio = dataset.load(subject="mouse1", session="day1", datatype="angio")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = save(angio, Path(folder, "sub-mouse1_ses-day1_pwd.nii.gz"))
    ...     bool((load(path) == angio).all())
    True
    """
    import xarray as xr

    if not isinstance(array, xr.DataArray):
        hint = "; save each of its variables" if isinstance(array, xr.Dataset) else ""
        raise TypeError(f"array must be an xarray.DataArray, not {type(array).__name__}{hint}.")
    target = local_path(path)
    extension = extension_of(target.name, EXTENSIONS)
    if extension is None or target.name == extension:
        given = "".join(target.suffixes[-2:])
        raise FileFormatError(
            f"Unsupported file extension in '{target.name}'. {did_you_mean(given, EXTENSIONS)}"
            f"Arrays can be saved as {list_some(EXTENSIONS)}."
        )
    if not array.dims:
        raise ArgumentError("An array without dimensions cannot be saved.")
    if extension in (".nii", ".nii.gz"):
        from confusius_datasets._io.saving.nifti import write_nifti

        write_nifti(array, target, overwrite=overwrite)
    else:
        from confusius_datasets._io.saving.stores import write_netcdf, write_zarr

        write = write_zarr if extension == ".zarr" else write_netcdf
        write(array, target, overwrite=overwrite)
    return target
