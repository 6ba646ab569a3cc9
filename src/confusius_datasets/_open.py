"""The table of all datasets by name, and `open_dataset` for a folder that is here already.

Nothing here knows a host's protocol.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from confusius_datasets._cache import cache_folder
from confusius_datasets._catalog import (
    CYBIS_PEREIRA_2026,
    NUNEZ_ELIZALDE_2022,
    SAMPLE,
    TEMPLATE_PEPE_MARIANI_2026,
)
from confusius_datasets._dataset import BIDSDataset
from confusius_datasets._paths import HIDDEN_FOLDER, INDEX_NAMES
from confusius_datasets._spec import DatasetSpec
from confusius_datasets._text import format_nbytes

__all__ = ["DATASETS", "list_datasets", "open_dataset"]

DATASETS: Mapping[str, DatasetSpec] = MappingProxyType(
    {
        spec.name: spec
        for spec in (CYBIS_PEREIRA_2026, NUNEZ_ELIZALDE_2022, TEMPLATE_PEPE_MARIANI_2026, SAMPLE)
    }
)
"""Every dataset by its name, in the order of the table; the sample is last, and not in it."""


def open_dataset(root: str | os.PathLike[str]) -> BIDSDataset:
    """Open any local BIDS folder as a dataset; nothing is ever downloaded into it.

    Parameters
    ----------
    root : str or path-like
        Folder of the dataset; a leading `~` is expanded.

    Returns
    -------
    BIDSDataset
        The dataset, with `get`, `load` and the rest over the files that are there.

    Raises
    ------
    CacheError
        If there is no such folder.

    Examples
    --------
    >>> from confusius_datasets import fetch_sample, open_dataset
    >>> dataset = open_dataset(fetch_sample(tasks="rest", progress=False))
    >>> dataset.get_subjects()
    ['mouse1', 'mouse2']
    """
    return BIDSDataset(root)


def list_datasets(data_dir: str | os.PathLike[str] | None = None) -> None:
    """Print a table of the public datasets: function, size of the whole, whether it is on disk.

    Parameters
    ----------
    data_dir : str or path-like, optional
        Folder of all datasets. If not provided, see `get_datasets_dir`.

    Examples
    --------
    >>> from confusius_datasets import list_datasets
    >>> list_datasets()
                    Available Datasets
    ┏━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━┳━━━━━━━━━┓
    ┃ Fetch function                   ┃     Size ┃ On disk ┃
    ┡━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━╇━━━━━━━━━┩
    │ fetch_cybis_pereira_2026         │ 12.88 GB │    ✗    │
    │ fetch_nunez_elizalde_2022        │ 6.983 GB │    ✗    │
    │ fetch_template_pepe_mariani_2026 │ 5.508 MB │    ✗    │
    └──────────────────────────────────┴──────────┴─────────┘
    """
    from rich.console import Console
    from rich.table import Table

    console = Console()
    marks = ("✓", "✗") if console.encoding.startswith("utf") else ("yes", "no")
    table = Table(title="Available Datasets")
    table.add_column("Fetch function", overflow="fold")  # a name cut short is no name
    table.add_column("Size", justify="right", no_wrap=True)
    table.add_column("On disk", justify="center", no_wrap=True)
    folder = cache_folder(data_dir)
    for spec in DATASETS.values():
        if spec is SAMPLE:  # made by the package itself: nothing to choose from a table for
            continue
        mark = marks[0] if _is_on_disk(spec, folder / spec.folder) else marks[1]
        table.add_row(spec.fetcher, format_nbytes(spec.nbytes), mark)
    console.print(table)


def _is_on_disk(spec: DatasetSpec, root: Path) -> bool:
    """Say whether a root can be read and has more in it than what is ours."""
    # An index alone counts for a dataset, as it does in ConfUSIus; a template is its one image.
    ours = {HIDDEN_FOLDER} if spec.file is None else {HIDDEN_FOLDER, *INDEX_NAMES}
    try:
        return any(path.name not in ours for path in root.iterdir())
    except OSError:
        return False
