"""The xarray engine `confusius-nifti`, as it is registered in the packaging metadata.

xarray imports this module whenever it looks for engines: nothing heavy belongs here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from xarray.backends import BackendEntrypoint

from confusius_datasets._damage import damage_errors
from confusius_datasets._io.files import is_address, local_path
from confusius_datasets._io.nifti import NIFTI

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["ConfusiusNiftiBackend"]


class ConfusiusNiftiBackend(BackendEntrypoint):
    """Opens NIfTI files of functional ultrasound on this machine, with their BIDS sidecars.

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

    description: ClassVar[str] = (
        "Local NIfTI files (.nii, .nii.gz) of functional ultrasound imaging"
    )
    # Named here, since xarray refuses options that a backend only swallows in `**kwargs`.
    open_dataset_parameters: ClassVar[tuple[str, ...] | None] = (
        *("filename_or_obj", "drop_variables", "name", "sidecars", "seek_index"),
        *("mask_and_scale", "decode_times", "decode_timedelta", "use_cftime"),
        *("concat_characters", "decode_coords"),
    )
    supports_groups: ClassVar[bool] = False

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        name: str | None = None,
        sidecars: bool = True,
        seek_index: bool = True,
        mask_and_scale: bool = True,
        decode_times: object = None,
        decode_timedelta: object = None,
        use_cftime: object = None,
        concat_characters: object = None,
        decode_coords: object = None,
    ) -> xr.Dataset:
        """Open a file as a dataset of one lazy variable.

        Parameters
        ----------
        filename_or_obj : str or path-like
            A `.nii` or `.nii.gz` file on this machine.
        drop_variables : str or iterable of str, optional
            Variables and coordinates to leave out.
        name : str, optional
            Name of the variable. If not provided, the file's without the extension, or `values`
            where that is the name of a dimension or coordinate. `xarray.open_mfdataset` stacks
            several files only if their variables have the same name.
        sidecars : bool, default: True
            Whether to read the JSON sidecars that apply by the BIDS inheritance principle.
        seek_index : bool, default: True
            Whether to keep a seek index of a `.nii.gz` file on disk, once one was needed.
        mask_and_scale : bool, default: True
            Whether to apply the scaling of the header. If not, values are those stored.
        decode_times : object, optional
            Accepted as by every engine of xarray: times are numbers in the unit of their `attrs`.
        decode_timedelta : object, optional
            Accepted as by every engine of xarray, see `decode_times`.
        use_cftime : object, optional
            Accepted as by every engine of xarray, see `decode_times`.
        concat_characters : object, optional
            Accepted as by every engine of xarray: a NIfTI file holds no texts.
        decode_coords : object, optional
            Accepted as by every engine of xarray: coordinates come from header and sidecars.

        Returns
        -------
        xarray.Dataset
            Its variable is named as the file is, without the extension.

        Raises
        ------
        MissingFileError
            If there is no such file, or an address is given.
        FileFormatError
            If the file or a sidecar is damaged, or not what its name says.
        ArgumentError
            If `name` is that of a dimension or coordinate.
        """
        # nibabel and the gzip libraries come with the first file that is opened.
        from confusius_datasets._io.nifti.opening import prepare_nifti

        path = local_path(filename_or_obj)
        with damage_errors(path):
            prepared = prepare_nifti(
                path, sidecars=sidecars, seek_index=seek_index, scaled=mask_and_scale
            )
        dropped = [drop_variables] if isinstance(drop_variables, str) else drop_variables or ()
        return prepared.to_dataset(name).drop_vars(dropped, errors="ignore")

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Say whether a file is ours, by its name.

        Parameters
        ----------
        filename_or_obj : object
            What was given to xarray.

        Returns
        -------
        bool
            Whether it is a local path that ends in `.nii` or `.nii.gz`.
        """
        if not isinstance(filename_or_obj, str | os.PathLike) or is_address(filename_or_obj):
            return False
        return os.fsdecode(filename_or_obj).endswith(NIFTI.extensions)
