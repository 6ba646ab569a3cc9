"""The xarray engine `confusius-nifti`, as it is registered in the packaging metadata.

xarray imports this module whenever it looks for engines: nothing heavy belongs here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from xarray.backends import BackendEntrypoint

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["ConfusiusNiftiBackend"]

EXTENSIONS = (".nii", ".nii.gz")


class ConfusiusNiftiBackend(BackendEntrypoint):
    """Opens NIfTI files of functional ultrasound, with their BIDS sidecars.

    Examples
    --------
    >>> import tempfile
    >>> import nibabel, numpy, xarray
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     image = nibabel.Nifti1Image(numpy.zeros((5, 4, 3), "f4"), numpy.eye(4))
    ...     nibabel.save(image, f"{folder}/angio.nii")
    ...     xarray.open_dataarray(f"{folder}/angio.nii", engine=ConfusiusNiftiBackend).dims
    ('z', 'y', 'x')
    """

    description: ClassVar[str] = "NIfTI files (.nii, .nii.gz) of functional ultrasound imaging"
    open_dataset_parameters: ClassVar[tuple[str, ...] | None] = (
        *("filename_or_obj", "drop_variables", "sidecars", "seek_index"),
    )
    supports_groups: ClassVar[bool] = False

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        sidecars: bool = True,
        seek_index: bool = True,
    ) -> xr.Dataset:
        """Open a file as a dataset of one lazy variable.

        Parameters
        ----------
        filename_or_obj : str or path-like
            A `.nii` or `.nii.gz` file.
        drop_variables : str or iterable of str, optional
            Variables and coordinates to leave out.
        sidecars : bool, default: True
            Whether to read the JSON sidecars that apply by the BIDS inheritance principle.
        seek_index : bool, default: True
            Whether to keep a seek index of a `.nii.gz` file on disk, once one was needed.

        Returns
        -------
        xarray.Dataset
            Its variable is named as the file is, without the extension.

        Raises
        ------
        MissingFileError
            If there is no such file.
        FileFormatError
            If the file or a sidecar is damaged, or not what its name says.
        """
        from confusius_datasets._io.nifti import open_nifti

        path = Path(os.path.abspath(Path(filename_or_obj).expanduser()))  # noqa: PTH100 - keeps links
        dataset = open_nifti(path, sidecars=sidecars, seek_index=seek_index)
        dropped = [drop_variables] if isinstance(drop_variables, str) else drop_variables or ()
        return dataset.drop_vars(dropped, errors="ignore")

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Say whether a file is ours, by its name.

        Parameters
        ----------
        filename_or_obj : object
            What was given to xarray.

        Returns
        -------
        bool
            Whether it is a path that ends in `.nii` or `.nii.gz`.
        """
        if not isinstance(filename_or_obj, str | os.PathLike):
            return False
        return os.fspath(filename_or_obj).endswith(EXTENSIONS)
