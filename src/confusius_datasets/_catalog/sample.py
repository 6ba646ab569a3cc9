"""Simulated recordings that the package makes itself."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from confusius_datasets._dataset import BIDSDataset
from confusius_datasets._fetch import Labels, fetch, fetcher
from confusius_datasets._sources import SampleSource
from confusius_datasets._spec import DatasetSpec

if TYPE_CHECKING:
    from confusius_datasets._progress import ProgressOption

__all__ = ["SAMPLE", "fetch_sample"]

SAMPLE = DatasetSpec(
    name="sample",
    fetcher="fetch_sample",
    # Not "sample-…": PyBIDS reads the entity `sample` out of any folder of the path.
    folder="confusius-sample-bids",
    earlier_folders=("sample-bids",),
    source=SampleSource(),
    nbytes=24_076_534,
    citation="",
    license="CC0 1.0",
    url="",
    filters={
        "datasets": ("rawdata", "groundtruth"),
        "subjects": (),
        "sessions": (),
        "tasks": (),
        "acqs": (),
        "datatypes": ("fusi", "angio"),
    },
)
"""Simulated recordings that the package makes itself."""


@fetcher
def fetch_sample(
    data_dir: str | os.PathLike[str] | None = None,
    *,
    datasets: Labels = None,
    subjects: Labels = None,
    sessions: Labels = None,
    tasks: Labels = None,
    acqs: Labels = None,
    datatypes: Labels = None,
    refresh: bool = False,
    download: bool = True,
    progress: ProgressOption = True,
) -> BIDSDataset:
    """Fetch simulated recordings that the package makes itself: no network is needed (24 MB).

    Two mice, two sessions, two tasks (`rest`, and `checkerboard` with its events) and two slices,
    angiographies, and in `groundtruth` the voxels that respond. Apart from where the bytes come
    from, everything is as with the public datasets.

    Parameters
    ----------
    data_dir : str or path-like, optional
        Folder of all datasets. If not provided, see `get_datasets_dir`.
    datasets : str or list of str, optional
        `rawdata` or `groundtruth`. If not provided, both.
    subjects : str or list of str, optional
        `mouse1` or `mouse2`. If not provided, both.
    sessions : str or list of str, optional
        `day1` or `day2`. If not provided, both.
    tasks : str or list of str, optional
        `rest` or `checkerboard`. If not provided, both.
    acqs : str or list of str, optional
        `slice01` or `slice02`. If not provided, both.
    datatypes : str or list of str, optional
        `fusi` or `angio`. If not provided, both.
    refresh : bool, default: False
        As for `fetch_nunez_elizalde_2022`.
    download : bool, default: True
        As for `fetch_nunez_elizalde_2022`.
    progress : bool or callable, default: True
        As for `fetch_nunez_elizalde_2022`.

    Returns
    -------
    BIDSDataset
        The whole dataset, on disk or not; it can be used like the path of its root.

    Raises
    ------
    ConfusiusDatasetsError
        As `fetch_nunez_elizalde_2022`, but for those of the network.

    References
    ----------
    .. [1] Simulated for this package; CC0 1.0.

    Examples
    --------
    >>> from confusius_datasets import fetch_sample
    >>> dataset = fetch_sample(subjects="mouse1", tasks="rest", acqs="slice01", progress=False)
    >>> dataset.load(subject="mouse1", session="day1", task="rest", acquisition="slice01").shape
    (120, 1, 48, 64)
    """
    return fetch(
        SAMPLE,
        data_dir,
        {
            "datasets": datasets,
            "subjects": subjects,
            "sessions": sessions,
            "tasks": tasks,
            "acqs": acqs,
            "datatypes": datatypes,
        },
        refresh=refresh,
        download=download,
        progress=progress,
        print_citation=False,
    )
