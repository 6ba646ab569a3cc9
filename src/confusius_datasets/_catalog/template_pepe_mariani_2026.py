"""Mouse fUSI template aligned with the Allen atlas."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from confusius_datasets._fetch import fetch_template, fetcher
from confusius_datasets._sources import MirroredSource, OSFSource, S3Source
from confusius_datasets._spec import DatasetSpec

if TYPE_CHECKING:
    import xarray as xr

    from confusius_datasets._progress import ProgressOption

__all__ = ["TEMPLATE_PEPE_MARIANI_2026", "fetch_template_pepe_mariani_2026"]

TEMPLATE_FILE = "pepe-mariani-2026-fusi-template.nii.gz"
"""The template's only file, on the host and on disk."""

TEMPLATE_PEPE_MARIANI_2026 = DatasetSpec(
    name="template-pepe-mariani-2026",
    fetcher="fetch_template_pepe_mariani_2026",
    folder="pepe-mariani-2026-template",
    addresses=("osf:43tu9", f"osf:43tu9/{TEMPLATE_FILE}"),
    source=MirroredSource(
        OSFSource("43tu9", file=TEMPLATE_FILE),
        (S3Source("pepe-mariani-2026-template", kind="templates"),),
    ),
    releases=S3Source("pepe-mariani-2026-template", kind="templates"),
    nbytes=5_507_550,
    citation=(
        "Pepe, C., Mariani, J.-C., Urosevic, M., Gini, S., Stuefer, A., Ricci, F., Galbusera, A., "
        "Iurilli, G., & Gozzi, A. (2026). Structural and dynamic embedding of the mouse functional "
        "connectome revealed by functional ultrasound imaging (fUSI). bioRxiv. "
        "https://doi.org/10.64898/2026.02.05.704055"
    ),
    bibtex="""@article{Pepe2026,
  title = {Structural and dynamic embedding of the mouse functional connectome revealed by
    functional ultrasound imaging ({fUSI})},
  author = {Pepe, C. and Mariani, J.-C. and Urosevic, M. and Gini, S. and Stuefer, A. and Ricci, F.
    and Galbusera, A. and Iurilli, G. and Gozzi, A.},
  journal = {bioRxiv},
  year = {2026},
  doi = {10.64898/2026.02.05.704055}
}""",
    license="CC BY 4.0",
    url="https://osf.io/43tu9/",
    file=TEMPLATE_FILE,
)
"""Mouse fUSI template aligned with the Allen atlas."""


@fetcher
def fetch_template_pepe_mariani_2026(
    data_dir: str | os.PathLike[str] | None = None,
    *,
    version: str | None = None,
    refresh: bool = False,
    progress: ProgressOption = True,
    print_citation: bool = True,
) -> xr.DataArray:
    """Fetch the mouse fUSI template of Pepe, Mariani et al. (5.5 MB on OSF) and load it.

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
        Power Doppler template; `z`, `y`, `x` in mm. `attrs["affines"]["physical_to_sform"]` leads
        from its coordinates into the space of the Allen mouse atlas in mm, and `attrs["citation"]`
        says what to cite.

    Raises
    ------
    OfflineError
        If the template is missing and the network may not be used.
    SourceError
        If the host cannot be reached or does not have the template.
    DownloadError
        If it could not be downloaded.
    FileFormatError
        If the local copy is damaged; `refresh=True` replaces it.

    References
    ----------
    .. [1] Pepe, C., et al. (2026). Structural and dynamic embedding of the mouse functional
       connectome revealed by functional ultrasound imaging (fUSI). bioRxiv.
       https://doi.org/10.64898/2026.02.05.704055
    .. [2] Data: https://osf.io/43tu9/ (CC BY 4.0).

    Examples
    --------
    The template, and the way from its coordinates into the atlas's space::

        template = fetch_template_pepe_mariani_2026()
        template.attrs["affines"]["physical_to_sform"]
    """
    return fetch_template(
        TEMPLATE_PEPE_MARIANI_2026,
        data_dir,
        version=version,
        refresh=refresh,
        progress=progress,
        print_citation=print_citation,
    )
