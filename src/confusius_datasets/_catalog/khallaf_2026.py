"""Naked mole-rats that smell a queen's odour."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from confusius_datasets._dataset import BIDSDataset
from confusius_datasets._fetch import Labels, fetch, fetcher, number_labels
from confusius_datasets._index import FileEntry
from confusius_datasets._selection import Filters, dataset_name
from confusius_datasets._sources import ArchiveSource, DataverseSource, MirroredSource, S3Source
from confusius_datasets._spec import DatasetSpec

if TYPE_CHECKING:
    from confusius_datasets._progress import ProgressOption

__all__ = ["KHALLAF_2026", "fetch_khallaf_2026"]


def _name_dataset(relpath: str) -> str | None:
    """Say which of the datasets a file belongs to; no filter is for what is in `sourcedata/`."""
    if relpath.startswith("sourcedata/"):
        return None
    # The results of bootstrapping lie in several folders, and loose in an archive.
    if relpath.startswith("derivatives/bootstrapping"):
        return "bootstrapping"
    return dataset_name(relpath)


def _keep(relpath: str, filters: Filters) -> bool:
    """Leave out source data unless they are wanted, and the other reconstruction."""
    if relpath.startswith("sourcedata/"):
        return "sourcedata" in filters
    wanted = filters.get("reconstruction", frozenset({"both"}))
    if "both" in wanted or not relpath.startswith("sub-") or "/fusi/" not in relpath:
        return True
    return ("resampled" if "rec-resampled" in relpath else "raw") in wanted


KHALLAF_2026 = DatasetSpec(
    name="khallaf-2026",
    fetcher="fetch_khallaf_2026",
    folder="khallaf-2026-bids",
    addresses=(
        "dataverse:edmond.mpg.de/doi:10.17617/3.7QCU1F",
        "dataverse:edmond.mpg.de/doi:10.17617/3.7QCU1F/fUSI data.zip",
    ),
    source=MirroredSource(
        ArchiveSource(
            DataverseSource("https://edmond.mpg.de", "doi:10.17617/3.7QCU1F"),
            FileEntry("fUSI data.zip", locators={"dataverse": "343674"}),
            prefix="naked_mole_rat_fusi_dataset/",
        ),
        (S3Source("khallaf-2026-bids"),),
    ),
    releases=S3Source("khallaf-2026-bids"),
    nbytes=19_485_480_391,
    citation=(
        "Khallaf, M. A., Hart, D. W., Luo, W., Murad, F., Cybis Pereira, F., Mendez-Aranda, "
        "D., Hagenah, N., Rossi, A., Bégay, V., Okrouhlík, J., Krautwurst, D., Ngalameno, M. "
        "K., Ganswindt, A., Barker, A. J., Šumbera, R., Knaden, M., Pezet, S., Woehler, A., "
        "Hansson, B. S., Bennett, N. C., & Lewin, G. R. (2026). A queen odour mediates "
        "reproductive suppression in a eusocial mammal. Nature. "
        "https://doi.org/10.1038/s41586-026-10772-5"
    ),
    bibtex="""@article{Khallaf2026,
  title = {A queen odour mediates reproductive suppression in a eusocial mammal},
  author = {Khallaf, M. A. and Hart, D. W. and Luo, W. and Murad, F. and Cybis Pereira, F. and
    Mendez-Aranda, D. and Hagenah, N. and Rossi, A. and Bégay, V. and Okrouhlík, J. and
    Krautwurst, D. and Ngalameno, M. K. and Ganswindt, A. and Barker, A. J. and Šumbera, R.
    and Knaden, M. and Pezet, S. and Woehler, A. and Hansson, B. S. and Bennett, N. C. and
    Lewin, G. R.},
  journal = {Nature},
  year = {2026},
  doi = {10.1038/s41586-026-10772-5}
}""",
    license="CC0 1.0",
    url="https://doi.org/10.17617/3.7QCU1F",
    filters={
        "datasets": ("rawdata", "glm", "bootstrapping"),
        "subjects": (),
        "sessions": (),
        "runs": (),
        "reconstruction": ("raw", "resampled", "both"),
    },
    keep=_keep,
    naming=_name_dataset,
)
"""Naked mole-rats that smell a queen's odour."""


@fetcher
def fetch_khallaf_2026(
    data_dir: str | os.PathLike[str] | None = None,
    *,
    datasets: Labels = None,
    subjects: Labels | int | Iterable[int] = None,
    sessions: Labels = None,
    runs: Labels | int | Iterable[int] = None,
    reconstruction: Literal["both", "raw", "resampled"] = "both",
    sourcedata: bool = False,
    version: str | None = None,
    refresh: bool = False,
    download: bool = True,
    progress: ProgressOption = True,
    print_citation: bool = True,
) -> BIDSDataset:
    """Fetch recordings of naked mole-rats that smell a queen's odour (19 GB on Edmond).

    The host has one zip archive; only the files that are asked for are taken out of it. A file is
    downloaded when, for every filter given, it either lacks that entity or has a listed value. What
    is on disk is never downloaded again, and with everything on disk no request is made.

    Parameters
    ----------
    data_dir : str or path-like, optional
        Folder of all datasets. If not provided, see `get_datasets_dir`.
    datasets : str or list of str, optional
        `rawdata`, `glm` or `bootstrapping`. If not provided, all.
    subjects : str or list of str, or int or list of int, optional
        Labels such as `5622`, with or without `sub-`. If not provided, all.
    sessions : str or list of str, optional
        Labels such as `IPM`, with or without `ses-`. If not provided, all.
    runs : str or list of str, or int or list of int, optional
        Labels such as `1`, with or without `run-`. If not provided, all.
    reconstruction : {"both", "raw", "resampled"}, default: "both"
        Which recordings: `raw` ones, those `resampled` onto a common grid, or `both`.
    sourcedata : bool, default: False
        Whether to download the scanner's own files as well (7.8 GB), whatever the filters say.
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
    .. [1] Khallaf, M. A., et al. (2026). A queen odour mediates reproductive suppression in a
       eusocial mammal. Nature. https://doi.org/10.1038/s41586-026-10772-5
    .. [2] Data in fUSI-BIDS: https://doi.org/10.17617/3.7QCU1F (CC0 1.0).

    Examples
    --------
    The first run of one animal, as it was recorded::

        dataset = fetch_khallaf_2026(
            datasets="rawdata", subjects=5622, sessions="IPM", runs=1, reconstruction="raw"
        )
    """
    return fetch(
        KHALLAF_2026,
        data_dir,
        {
            "datasets": datasets,
            "subjects": number_labels(subjects),
            "sessions": sessions,
            "runs": number_labels(runs),
            "reconstruction": reconstruction,
            "sourcedata": "all" if sourcedata else None,
        },
        version=version,
        refresh=refresh,
        download=download,
        progress=progress,
        print_citation=print_citation,
    )
