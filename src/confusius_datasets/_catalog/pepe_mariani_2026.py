"""Resting-state recordings of mice through the skull, and what was made of them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from confusius_datasets._dataset import BIDSDataset
from confusius_datasets._fetch import Labels, fetch, fetcher
from confusius_datasets._sources import MirroredSource, OSFSource, S3Source
from confusius_datasets._spec import DatasetSpec

if TYPE_CHECKING:
    from confusius_datasets._progress import ProgressOption

__all__ = ["PEPE_MARIANI_2026", "fetch_pepe_mariani_2026"]

PEPE_MARIANI_2026 = DatasetSpec(
    name="pepe-mariani-2026",
    fetcher="fetch_pepe_mariani_2026",
    folder="pepe-mariani-2026-bids",
    addresses=("osf:7yhdc/pepe-mariani-2026-bids",),
    source=MirroredSource(
        OSFSource("7yhdc", folder="pepe-mariani-2026-bids"), (S3Source("pepe-mariani-2026-bids"),)
    ),
    releases=S3Source("pepe-mariani-2026-bids"),
    nbytes=37_557_512_137,
    citation=(
        "Pepe, C., Mariani, J.-C., Urosevic, M., Gini, S., Stuefer, A., Ricci, F., Galbusera, "
        "A., Iurilli, G., & Gozzi, A. (2026). Structural and dynamic embedding of the mouse "
        "functional connectome revealed by functional ultrasound imaging (fUSI). bioRxiv. "
        "https://doi.org/10.64898/2026.02.05.704055"
    ),
    bibtex="""@article{Pepe2026,
  title = {Structural and dynamic embedding of the mouse functional connectome revealed by
    functional ultrasound imaging ({fUSI})},
  author = {Pepe, C. and Mariani, J.-C. and Urosevic, M. and Gini, S. and Stuefer, A. and
    Ricci, F. and Galbusera, A. and Iurilli, G. and Gozzi, A.},
  journal = {bioRxiv},
  year = {2026},
  doi = {10.64898/2026.02.05.704055}
}""",
    license="CC BY 4.0",
    url="https://osf.io/7yhdc/",
    filters={
        "datasets": ("rawdata", "registered", "preprocessed", "Params"),
        "subjects": (),
        "sessions": (),
        "acqs": (),
        "datatypes": ("fusi", "angio"),
    },
)
"""Resting-state recordings of mice through the skull, and what was made of them."""


@fetcher
def fetch_pepe_mariani_2026(
    data_dir: str | os.PathLike[str] | None = None,
    *,
    datasets: Labels = None,
    subjects: Labels = None,
    sessions: Labels = None,
    acqs: Labels = None,
    datatypes: Labels = None,
    version: str | None = None,
    refresh: bool = False,
    download: bool = True,
    progress: ProgressOption = True,
    print_citation: bool = True,
) -> BIDSDataset:
    """Fetch resting-state recordings of mice, made through the skull (38 GB on OSF).

    Recordings have a file for each position of the probe (`chunk`); in `preprocessed` these are one
    volume. A file is downloaded when, for every filter given, it either lacks that entity or has a
    listed value. What is on disk is never downloaded again.

    Parameters
    ----------
    data_dir : str or path-like, optional
        Folder of all datasets. If not provided, see `get_datasets_dir`.
    datasets : str or list of str, optional
        `rawdata`, `registered`, `preprocessed` or `Params`. If not provided, all.
    subjects : str or list of str, optional
        Labels such as `m01`, with or without `sub-`. If not provided, all.
    sessions : str or list of str, optional
        Labels such as `rest`, with or without `ses-`. If not provided, all.
    acqs : str or list of str, optional
        Labels such as `coronal`, with or without `acq-`. If not provided, all.
    datatypes : str or list of str, optional
        `fusi` or `angio`. If not provided, both.
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
    .. [1] Pepe, C., Mariani, J.-C., Urosevic, M., Gini, S., Stuefer, A., Ricci, F., Galbusera,
       A., Iurilli, G., & Gozzi, A. (2026). Structural and dynamic embedding of the mouse
       functional connectome revealed by functional ultrasound imaging (fUSI). bioRxiv.
       https://doi.org/10.64898/2026.02.05.704055
    .. [2] Data in fUSI-BIDS: https://osf.io/7yhdc/ (CC BY 4.0).

    Examples
    --------
    What was preprocessed of one mouse::

        dataset = fetch_pepe_mariani_2026(datasets="preprocessed", subjects="m01")
    """
    return fetch(
        PEPE_MARIANI_2026,
        data_dir,
        {
            "datasets": datasets,
            "subjects": subjects,
            "sessions": sessions,
            "acqs": acqs,
            "datatypes": datatypes,
        },
        version=version,
        refresh=refresh,
        download=download,
        progress=progress,
        print_citation=print_citation,
    )
