"""Vascular coding of speed in freely moving rats."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from confusius_datasets._dataset import BIDSDataset
from confusius_datasets._fetch import Labels, fetch, fetcher
from confusius_datasets._sources import MirroredSource, OSFSource, S3Source
from confusius_datasets._spec import DatasetSpec

if TYPE_CHECKING:
    from confusius_datasets._progress import ProgressOption

__all__ = ["CYBIS_PEREIRA_2026", "fetch_cybis_pereira_2026"]

CYBIS_PEREIRA_2026 = DatasetSpec(
    name="cybis-pereira-2026",
    fetcher="fetch_cybis_pereira_2026",
    folder="cybis-pereira-2026-bids",
    addresses=("osf:2v6f7/cybis-pereira-2026-bids",),
    source=MirroredSource(
        OSFSource("2v6f7", folder="cybis-pereira-2026-bids"), (S3Source("cybis-pereira-2026-bids"),)
    ),
    releases=S3Source("cybis-pereira-2026-bids"),
    nbytes=12_883_924_421,
    citation=(
        "Cybis Pereira, F., Castedo, S. H., Le Meur-Diebolt, S., Ialy-Radio, N., Bhattacharya, S., "
        "Ferrier, J., Osmanski, B. F., Cocco, S., Monasson, R., Pezet, S., & Tanter, M. (2026). A "
        "vascular code for speed in the spatial navigation system. Cell Reports, 45(1). "
        "https://doi.org/10.1016/j.celrep.2025.116791"
    ),
    bibtex="""@article{CybisPereira2026,
  title = {A vascular code for speed in the spatial navigation system},
  author = {Cybis Pereira, F. and Castedo, S. H. and Le Meur-Diebolt, S. and Ialy-Radio, N.
    and Bhattacharya, S. and Ferrier, J. and Osmanski, B. F. and Cocco, S. and Monasson, R. and
    Pezet, S. and Tanter, M.},
  journal = {Cell Reports},
  volume = {45},
  number = {1},
  year = {2026},
  doi = {10.1016/j.celrep.2025.116791}
}""",
    license="CC BY 4.0",
    url="https://osf.io/2v6f7/",
    filters={
        "datasets": (
            "rawdata",
            "glm-speed",
            "glm-angular-speed",
            "decode-speed",
            "interanimal-decode-speed",
            "dlc-videos",
        ),
        "subjects": (),
        "sessions": (),
        "acqs": (),
        "datatypes": ("fusi", "angio", "motion"),
    },
)
"""Vascular coding of speed in freely moving rats."""


@fetcher
def fetch_cybis_pereira_2026(
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
    """Fetch recordings of freely moving rats on the vascular coding of speed (13 GB on OSF).

    A file is downloaded when, for every filter given, it either lacks that entity or has a listed
    value: maps that aggregate over sessions come along whatever `sessions` says. What is on disk
    is never downloaded again, and with everything on disk no request is made.

    Parameters
    ----------
    data_dir : str or path-like, optional
        Folder of all datasets. If not provided, see `get_datasets_dir`.
    datasets : str or list of str, optional
        `rawdata`, `glm-speed`, `glm-angular-speed`, `decode-speed`, `interanimal-decode-speed` or
        `dlc-videos`. If not provided, all.
    subjects : str or list of str, optional
        Labels such as `rat73`, with or without `sub-`. If not provided, all.
    sessions : str or list of str, optional
        Labels such as `20220523`, with or without `ses-`. If not provided, all.
    acqs : str or list of str, optional
        Labels such as `slice32`, with or without `acq-`. If not provided, all.
    datatypes : str or list of str, optional
        `fusi`, `angio` or `motion`. If not provided, all.
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
    .. [1] Cybis Pereira, F., et al. (2026). A vascular code for speed in the spatial navigation
       system. Cell Reports, 45(1). https://doi.org/10.1016/j.celrep.2025.116791
    .. [2] Data in fUSI-BIDS: https://osf.io/2v6f7/ (CC BY 4.0).

    Examples
    --------
    The results of one analysis for all rats::

        dataset = fetch_cybis_pereira_2026(datasets="glm-speed")
    """
    return fetch(
        CYBIS_PEREIRA_2026,
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
