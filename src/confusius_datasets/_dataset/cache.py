"""`cache_info`: what the folder of all datasets holds."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from confusius_datasets._cache import cache_folder, is_here, word_unreadable
from confusius_datasets._entities import DESCRIPTION_NAME
from confusius_datasets._index import INDEX_NAME
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
        A row for each dataset, release or other folder: `folder`, `n_files` and `nbytes` of what is
        in it, `hidden_nbytes` of partial downloads and what else may be deleted at any time, and
        `path`.

    Examples
    --------
    >>> from confusius_datasets import cache_info, fetch_sample
    >>> dataset = fetch_sample(subjects="mouse1", progress=False)
    >>> "confusius-sample-bids" in set(cache_info().folder)
    True
    """
    import pandas as pd

    folder = cache_folder(data_dir)
    if is_here(folder):
        try:
            os.scandir(folder).close()
        except OSError as error:
            raise word_unreadable(folder, error) from error
    roots = [root for top in _folders(folder) for root in _roots_in(top)]
    rows = [(root.relative_to(folder).as_posix(), *_count(root), str(root)) for root in roots]
    table = pd.DataFrame(rows, columns=["folder", "n_files", "nbytes", "hidden_nbytes", "path"])
    return table.sort_values("nbytes", ascending=False, ignore_index=True)


def _folders(folder: Path) -> list[Path]:
    """List the folders right in a folder; none where one may not look."""
    with contextlib.suppress(OSError):
        return sorted(path for path in folder.iterdir() if path.is_dir())
    return []


def _roots_in(top: Path) -> list[Path]:
    """Return a folder itself, or the roots in it: of a host's datasets, of a dataset's releases."""
    inner = [] if _is_root(top) else list(filter(_is_root, _folders(top)))
    return inner or [top]


def _is_root(folder: Path) -> bool:
    """Say whether a folder is a dataset's; that of its releases has an index, and is none."""
    names = (HIDDEN_FOLDER, INDEX_NAME, DESCRIPTION_NAME)
    return any(is_here(folder / name) for name in names)


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
            continue
        with contextlib.suppress(OSError):
            yield entry.stat(follow_symlinks=False).st_size
