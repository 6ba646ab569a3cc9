"""`cache_info`: what the folder of all datasets holds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from confusius_datasets._cache import cache_folder
from confusius_datasets._paths import HIDDEN_FOLDER

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["cache_info"]


def cache_info(data_dir: str | os.PathLike[str] | None = None) -> pd.DataFrame:
    """Tabulate what the folder of datasets holds, the largest first; nothing is downloaded.

    Folders of others that `CONFUSIUS_MIRRORS` names do not count; each may be given as `data_dir`.

    Parameters
    ----------
    data_dir : str or path-like, optional
        The folder. If not provided, that of `get_datasets_dir`.

    Returns
    -------
    pandas.DataFrame
        A row for each dataset or other folder: `folder`, `n_files` and `nbytes` of what is in it,
        `hidden_nbytes` of partial downloads and what else may be deleted at any time, and `path`.

    Examples
    --------
    >>> from confusius_datasets import cache_info, fetch_sample
    >>> dataset = fetch_sample(subjects="mouse1", progress=False)
    >>> "confusius-sample-bids" in set(cache_info().folder)
    True
    """
    import pandas as pd

    folder = cache_folder(data_dir)
    roots = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    rows = [(root.name, *_count(root), str(root)) for root in roots]
    table = pd.DataFrame(rows, columns=["folder", "n_files", "nbytes", "hidden_nbytes", "path"])
    return table.sort_values("nbytes", ascending=False, ignore_index=True)


def _count(root: Path) -> tuple[int, int, int]:
    """Count files, their bytes, and the bytes in the hidden folder."""
    hidden = root / HIDDEN_FOLDER
    sizes = list(_sizes(root, skip=hidden))
    return len(sizes), sum(sizes), sum(_sizes(hidden))


def _sizes(folder: Path, skip: Path | None = None) -> Iterator[int]:
    """Give the size of each file below a folder; a link counts as what it is."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            if Path(entry.path) != skip:
                yield from _sizes(Path(entry.path))
        else:
            yield entry.stat(follow_symlinks=False).st_size
