"""Blood volume of the whole brain and populations of neurons, in running mice."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from confusius_datasets._dataset import BIDSDataset
from confusius_datasets._fetch import Labels, fetch, fetcher
from confusius_datasets._sources import MirroredSource, OSFSource, S3Source
from confusius_datasets._spec import DatasetSpec

if TYPE_CHECKING:
    from confusius_datasets._progress import ProgressOption

__all__ = ["LANDEMARD_2026", "fetch_landemard_2026"]

LANDEMARD_2026 = DatasetSpec(
    name="landemard-2026",
    fetcher="fetch_landemard_2026",
    folder="landemard-2026-bids",
    addresses=("osf:7cf9g/landemard-2026-bids",),
    source=MirroredSource(
        OSFSource("7cf9g", folder="landemard-2026-bids"), (S3Source("landemard-2026-bids"),)
    ),
    releases=S3Source("landemard-2026-bids"),
    nbytes=42_036_009_786,
    citation=(
        "Landemard, A., Krumin, M., Harris, K. D., & Carandini, M. (2026). Brainwide blood "
        "volume reflects opposing neural populations. Nature. "
        "https://doi.org/10.1038/s41586-026-10350-9"
    ),
    bibtex="""@article{Landemard2026,
  title = {Brainwide blood volume reflects opposing neural populations},
  author = {Landemard, A. and Krumin, M. and Harris, K. D. and Carandini, M.},
  journal = {Nature},
  year = {2026},
  doi = {10.1038/s41586-026-10350-9}
}""",
    license="CC BY-NC 4.0",
    url="https://osf.io/7cf9g/",
    filters={
        "datasets": ("rawdata", "atlas_mapping", "processed_data"),
        "subjects": (),
        "acqs": (),
        "datatypes": ("fusi", "angio"),
    },
)
"""Blood volume of the whole brain and populations of neurons, in running mice."""


@fetcher
def fetch_landemard_2026(
    data_dir: str | os.PathLike[str] | None = None,
    *,
    datasets: Labels = None,
    subjects: Labels = None,
    acqs: Labels = None,
    datatypes: Labels = None,
    version: str | None = None,
    refresh: bool = False,
    download: bool = True,
    progress: ProgressOption = True,
    print_citation: bool = True,
) -> BIDSDataset:
    """Fetch brain-wide recordings of running mice (42 GB on OSF; not for commercial use).

    There are no sessions. A file is downloaded when, for every filter given, it either lacks that
    entity or has a listed value: angiographies, and the files of `processed_data`, which have no
    subject's folder, always come along. What is on disk is never downloaded again.

    Parameters
    ----------
    data_dir : str or path-like, optional
        Folder of all datasets. If not provided, see `get_datasets_dir`.
    datasets : str or list of str, optional
        `rawdata`, `atlas_mapping` or `processed_data`. If not provided, all.
    subjects : str or list of str, optional
        Labels such as `ALD001`, with or without `sub-`. If not provided, all.
    acqs : str or list of str, optional
        Labels such as `ref04`, with or without `acq-`. If not provided, all.
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
    .. [1] Landemard, A., Krumin, M., Harris, K. D., & Carandini, M. (2026). Brainwide blood
       volume reflects opposing neural populations. Nature.
       https://doi.org/10.1038/s41586-026-10350-9
    .. [2] Data in fUSI-BIDS: https://osf.io/7cf9g/ (CC BY-NC 4.0).

    Examples
    --------
    One plane of one mouse::

        dataset = fetch_landemard_2026(datasets="rawdata", subjects="ALD001", acqs="ref04")
    """
    return fetch(
        LANDEMARD_2026,
        data_dir,
        {
            "datasets": datasets,
            "subjects": subjects,
            "acqs": acqs,
            "datatypes": datatypes,
        },
        version=version,
        refresh=refresh,
        download=download,
        progress=progress,
        print_citation=print_citation,
    )
