"""Mouse vascular template on the grid of the Allen atlas."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from confusius_datasets._fetch import fetch_template, fetcher
from confusius_datasets._sources import OSFSource, S3Source
from confusius_datasets._spec import DatasetSpec

if TYPE_CHECKING:
    import xarray as xr

    from confusius_datasets._progress import ProgressOption

__all__ = ["TEMPLATE_HUANG_2025", "fetch_template_huang_2025"]

TEMPLATE_FILE = "huang-2026-space-allen50_desc-vascular.nii.gz"
"""The template's only file on OSF, and on disk; the year is as it is there."""

TEMPLATE_HUANG_2025 = DatasetSpec(
    name="template-huang-2025",
    fetcher="fetch_template_huang_2025",
    folder="huang-2025-template",
    addresses=("osf:am3jw", f"osf:am3jw/{TEMPLATE_FILE}"),
    source=OSFSource("am3jw", file=TEMPLATE_FILE),
    releases=S3Source("huang-2025-template", kind="templates"),
    released_file="huang-2025-space-allen50_desc-vascular.nii.gz",
    nbytes=16_338_947,
    citation=(
        "Huang, Y.-A., Lambert, T., Verbeyst, D., Fitzgerald, N. E., Grillet, M., Brunner, "
        "C., Montaldo, G., Vanduffel, W., & Urban, A. (2025). OfUSA: OpenfUS Analyzer, a "
        "versatile open-source framework for the analysis and visualization of functional "
        "ultrasound imaging data across animal models. bioRxiv. "
        "https://doi.org/10.1101/2025.09.16.676515"
    ),
    bibtex="""@article{Huang2025,
  title = {{OfUSA}: {OpenfUS Analyzer}, a versatile open-source framework for the analysis and
    visualization of functional ultrasound imaging data across animal models},
  author = {Huang, Y.-A. and Lambert, T. and Verbeyst, D. and Fitzgerald, N. E. and Grillet,
    M. and Brunner, C. and Montaldo, G. and Vanduffel, W. and Urban, A.},
  journal = {bioRxiv},
  year = {2025},
  doi = {10.1101/2025.09.16.676515}
}""",
    license="CC BY-NC-SA 4.0",
    url="https://osf.io/am3jw/",
    file=TEMPLATE_FILE,
)
"""Mouse vascular template on the grid of the Allen atlas."""


@fetcher
def fetch_template_huang_2025(
    data_dir: str | os.PathLike[str] | None = None,
    *,
    version: str | None = None,
    refresh: bool = False,
    progress: ProgressOption = True,
    print_citation: bool = True,
) -> xr.DataArray:
    """Fetch the mouse vascular template of Huang et al. (16 MB on OSF) and load it.

    It may not be used commercially, and what is made of it must be shared under its licence.

    Parameters
    ----------
    data_dir : str or path-like, optional
        Folder of all datasets. If not provided, see `get_datasets_dir`.
    version : str, optional
        As for `fetch_nunez_elizalde_2022`.
    refresh : bool, default: False
        Whether to compare the local copy with the host's, and to download it again if it differs.
    progress : bool or callable, default: True
        As for `fetch_nunez_elizalde_2022`.
    print_citation : bool, default: True
        Whether to print what to cite and the licence.

    Returns
    -------
    (z, y, x) xarray.DataArray
        Vascular template on the grid of `allen_mouse_50um`; `z`, `y`, `x` in mm.
        `attrs["citation"]` says what to cite.

    Raises
    ------
    ConfusiusDatasetsError
        As `fetch_template_pepe_mariani_2026`, in the same cases.

    References
    ----------
    .. [1] Huang, Y.-A., et al. (2025). OfUSA: OpenfUS Analyzer, a versatile open-source framework
       for the analysis and visualization of functional ultrasound imaging data across animal
       models. bioRxiv. https://doi.org/10.1101/2025.09.16.676515
    .. [2] Data: https://osf.io/am3jw/ (CC BY-NC-SA 4.0).

    Examples
    --------
    The template, with the licence said before it is downloaded::

        template = fetch_template_huang_2025()
    """
    return fetch_template(
        TEMPLATE_HUANG_2025,
        data_dir,
        version=version,
        refresh=refresh,
        progress=progress,
        print_citation=print_citation,
    )
