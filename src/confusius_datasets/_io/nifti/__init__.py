"""NIfTI files of functional ultrasound, with their BIDS sidecars.

`header` parses and checks, `geometry`, `dimensions` and `timing` derive what an array says,
`array` reads its values, and `opening` puts them together.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from confusius_datasets._io.formats import Format

if TYPE_CHECKING:
    from confusius_datasets._io.prepared import Prepared

__all__ = ["NIFTI"]


def _open(path: Path, *, root: Path | None = None) -> Prepared:
    # nibabel and the gzip libraries are imported with the first file, not with xarray's engines.
    from confusius_datasets._io.nifti.opening import prepare_nifti

    return prepare_nifti(path, root=root)


NIFTI = Format(extensions=(".nii", ".nii.gz"), open=_open)
