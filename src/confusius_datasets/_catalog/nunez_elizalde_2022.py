"""Neural activity and cerebral blood volume in awake mice."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from confusius_datasets._dataset import BIDSDataset
from confusius_datasets._fetch import Labels, fetch, fetcher
from confusius_datasets._sources import MirroredSource, OSFSource, S3Source
from confusius_datasets._spec import DatasetSpec

if TYPE_CHECKING:
    from confusius_datasets._progress import ProgressOption

__all__ = ["NUNEZ_ELIZALDE_2022", "fetch_nunez_elizalde_2022"]

NUNEZ_ELIZALDE_2022 = DatasetSpec(
    name="nunez-elizalde-2022",
    fetcher="fetch_nunez_elizalde_2022",
    folder="nunez-elizalde-2022-bids",
    addresses=("osf:43skw/nunez-elizalde-2022-bids",),
    source=MirroredSource(
        OSFSource("43skw", folder="nunez-elizalde-2022-bids"),
        (S3Source("nunez-elizalde-2022-bids"),),
    ),
    releases=S3Source("nunez-elizalde-2022-bids"),
    nbytes=6_982_575_320,
    citation=(
        "Nunez-Elizalde, A. O., Krumin, M., Reddy, C. B., Montaldo, G., Urban, A., Harris, K. D., "
        "& Carandini, M. (2022). Neural correlates of blood flow measured by ultrasound. Neuron, "
        "110(10), 1631-1640.e4. https://doi.org/10.1016/j.neuron.2022.02.012"
    ),
    bibtex="""@article{NunezElizalde2022,
  title = {Neural correlates of blood flow measured by ultrasound},
  author = {Nunez-Elizalde, A. O. and Krumin, M. and Reddy, C. B. and Montaldo, G. and Urban, A. and
    Harris, K. D. and Carandini, M.},
  journal = {Neuron},
  volume = {110},
  number = {10},
  pages = {1631--1640.e4},
  year = {2022},
  doi = {10.1016/j.neuron.2022.02.012}
}""",
    license="CC BY 4.0",
    url="https://osf.io/43skw/",
    filters={
        "datasets": ("rawdata", "allenccf_align"),
        "subjects": (),
        "sessions": (),
        "tasks": (),
        "acqs": (),
        "datatypes": ("fusi", "angio"),
    },
)
"""Neural activity and cerebral blood volume in awake mice."""


@fetcher
def fetch_nunez_elizalde_2022(
    data_dir: str | os.PathLike[str] | None = None,
    *,
    datasets: Labels = None,
    subjects: Labels = None,
    sessions: Labels = None,
    tasks: Labels = None,
    acqs: Labels = None,
    datatypes: Labels = None,
    version: str | None = None,
    refresh: bool = False,
    download: bool = True,
    progress: ProgressOption = True,
    print_citation: bool = True,
) -> BIDSDataset:
    """Fetch recordings of neural activity and cerebral blood volume in awake mice (7 GB on OSF).

    A file is downloaded when, for every filter given, it either lacks that entity or has a listed
    value: angiographies have no task and no slice, so they always come along. What is on disk is
    never downloaded again, and with everything on disk no request is made.

    Parameters
    ----------
    data_dir : str or path-like, optional
        Folder of all datasets. If not provided, see `get_datasets_dir`.
    datasets : str or list of str, optional
        `rawdata` or `allenccf_align`. If not provided, both.
    subjects : str or list of str, optional
        Labels such as `CR020`, with or without `sub-`. If not provided, all.
    sessions : str or list of str, optional
        Labels such as `20191122`, with or without `ses-`. If not provided, all.
    tasks : str or list of str, optional
        Labels such as `spontaneous`, with or without `task-`. If not provided, all.
    acqs : str or list of str, optional
        Labels such as `slice03`, with or without `acq-`. If not provided, all.
    datatypes : str or list of str, optional
        `fusi` or `angio`. If not provided, both.
    version : str, optional
        A release, such as `1.0.0`, or `latest`; it is kept in a folder of its own and never
        changes. If not provided, the files as they are on the first host.
    refresh : bool, default: False
        Whether to get the host's index again first, to find files added since. Files that are on
        disk stay as they are; those that changed upstream are named in a warning.
    download : bool, default: True
        Whether to download the selected files. If `False`, only the index and the dataset's own
        metadata come.
    progress : bool or callable, default: True
        `True` draws a bar (or logs a line now and then where there is no terminal), `False` shows
        nothing; a function is called with the bytes done, the bytes in all, and a description.
    print_citation : bool, default: True
        Whether to print what to cite and the licence.

    Returns
    -------
    BIDSDataset
        The whole dataset, on disk or not; it can be used like the path of its root.

    Raises
    ------
    FilterError
        If a filter is no text, or lists nothing.
    UnknownLabelError
        If a label exists nowhere in the dataset; nothing is downloaded.
    OfflineError
        If files are missing and the network may not be used.
    SourceError
        If the host cannot be reached or does not have the dataset.
    DatasetIndexError
        If the index, the host's or the one on disk, cannot be trusted.
    CacheError
        If the folder cannot be written to, and something has to be.
    DownloadError
        If files could not be downloaded; those that could are kept.

    References
    ----------
    .. [1] Nunez-Elizalde, A. O., et al. (2022). Neural correlates of blood flow measured by
       ultrasound. Neuron, 110(10), 1631-1640.e4. https://doi.org/10.1016/j.neuron.2022.02.012
    .. [2] Data in fUSI-BIDS: https://osf.io/43skw/ (CC BY 4.0).

    Examples
    --------
    One mouse, one task, one slice (about 30 MB)::

        dataset = fetch_nunez_elizalde_2022(
            subjects="CR020", sessions="20191122", tasks="spontaneous", acqs="slice03"
        )
        pwd = dataset.load(
            subject="CR020", session="20191122", task="spontaneous", acquisition="slice03",
            suffix="pwd",
        )
    """
    return fetch(
        NUNEZ_ELIZALDE_2022,
        data_dir,
        {
            "datasets": datasets,
            "subjects": subjects,
            "sessions": sessions,
            "tasks": tasks,
            "acqs": acqs,
            "datatypes": datatypes,
        },
        version=version,
        refresh=refresh,
        download=download,
        progress=progress,
        print_citation=print_citation,
    )
