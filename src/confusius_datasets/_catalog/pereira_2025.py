"""Travelling waves of blood volume in a rat model of neuroinflammation."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from confusius_datasets._dataset import BIDSDataset
from confusius_datasets._fetch import Labels, fetch, fetcher
from confusius_datasets._sources import MirroredSource, OSFSource, S3Source
from confusius_datasets._spec import DatasetSpec

if TYPE_CHECKING:
    from confusius_datasets._progress import ProgressOption

__all__ = ["PEREIRA_2025", "fetch_pereira_2025"]

PEREIRA_2025 = DatasetSpec(
    name="pereira-2025",
    fetcher="fetch_pereira_2025",
    folder="pereira-2025-bids",
    addresses=("osf:pqa65/pereira-2025-bids",),
    source=MirroredSource(
        OSFSource("pqa65", folder="pereira-2025-bids"), (S3Source("pereira-2025-bids"),)
    ),
    releases=S3Source("pereira-2025-bids"),
    nbytes=29_963_983_096,
    citation=(
        "Pereira, M., Droguerre, M., Valdebenito, M., Vidal, L., Marcy, G., Benkeder, S., "
        "Marchal, P., Comte, J.-C., Pascual, O., Zimmer, L., & Vidal, B. (2025). Induction of "
        "haemodynamic travelling waves by glial-related vasomotion in a rat model of "
        "neuroinflammation: Implications for functional neuroimaging. eBioMedicine, 116, "
        "105777. https://doi.org/10.1016/j.ebiom.2025.105777"
    ),
    bibtex="""@article{Pereira2025,
  title = {Induction of haemodynamic travelling waves by glial-related vasomotion in a rat
    model of neuroinflammation: Implications for functional neuroimaging},
  author = {Pereira, M. and Droguerre, M. and Valdebenito, M. and Vidal, L. and Marcy, G. and
    Benkeder, S. and Marchal, P. and Comte, J.-C. and Pascual, O. and Zimmer, L. and Vidal,
    B.},
  journal = {eBioMedicine},
  volume = {116},
  pages = {105777},
  year = {2025},
  doi = {10.1016/j.ebiom.2025.105777}
}""",
    license="CC BY 4.0",
    url="https://osf.io/pqa65/",
    filters={
        "subjects": (),
        "sessions": (),
        "tasks": (),
    },
)
"""Travelling waves of blood volume in a rat model of neuroinflammation."""


@fetcher
def fetch_pereira_2025(
    data_dir: str | os.PathLike[str] | None = None,
    *,
    subjects: Labels = None,
    sessions: Labels = None,
    tasks: Labels = None,
    version: str | None = None,
    refresh: bool = False,
    download: bool = True,
    progress: ProgressOption = True,
    print_citation: bool = True,
) -> BIDSDataset:
    """Fetch recordings of a rat model of neuroinflammation (30 GB on OSF).

    A file is downloaded when, for every filter given, it either lacks that entity or has a listed
    value. What is on disk is never downloaded again, and with everything on disk no request is
    made.

    Parameters
    ----------
    data_dir : str or path-like, optional
        Folder of all datasets. If not provided, see `get_datasets_dir`.
    subjects : str or list of str, optional
        Labels such as `r11582`, with or without `sub-`. If not provided, all.
    sessions : str or list of str, optional
        Labels such as `awakebaseline`, with or without `ses-`. If not provided, all.
    tasks : str or list of str, optional
        Labels such as `rest`, with or without `task-`. If not provided, all.
    version : str, optional
        As for `fetch_nunez_elizalde_2022`.
    refresh : bool, default: False
        As for `fetch_nunez_elizalde_2022`.
    download : bool, default: True
        As for `fetch_nunez_elizalde_2022`.
    progress : bool or callable, default: True
        As for `fetch_nunez_elizalde_2022`.
    print_citation : bool, default: True
        Whether to print what to cite and the licence.

    Returns
    -------
    BIDSDataset
        The whole dataset, on disk or not; it can be used like the path of its root.

    Raises
    ------
    ConfusiusDatasetsError
        As `fetch_nunez_elizalde_2022`, in the same cases.

    References
    ----------
    .. [1] Pereira, M., Droguerre, M., Valdebenito, M., Vidal, L., Marcy, G., Benkeder, S.,
       Marchal, P., Comte, J.-C., Pascual, O., Zimmer, L., & Vidal, B. (2025). Induction of
       haemodynamic travelling waves by glial-related vasomotion in a rat model of
       neuroinflammation: Implications for functional neuroimaging. eBioMedicine, 116,
       105777. https://doi.org/10.1016/j.ebiom.2025.105777
    .. [2] Data in fUSI-BIDS: https://osf.io/pqa65/ (CC BY 4.0).

    Examples
    --------
    One rat at rest before the injection::

        dataset = fetch_pereira_2025(subjects="r11582", sessions="awakebaseline", tasks="rest")
    """
    return fetch(
        PEREIRA_2025,
        data_dir,
        {
            "subjects": subjects,
            "sessions": sessions,
            "tasks": tasks,
        },
        version=version,
        refresh=refresh,
        download=download,
        progress=progress,
        print_citation=print_citation,
    )
