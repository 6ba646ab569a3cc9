"""Index and folder → a real `bids.BIDSLayout`, with PyBIDS's own database and queries.

What is slow in PyBIDS is made fast underneath: its database is filled in bulk and indexed better.
Nothing here knows HTTP; files that a query needs are made local by a function that is handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from confusius_datasets._layout.explain import explain, explain_empty
from confusius_datasets._layout.files import files_by_dataset
from confusius_datasets._layout.layout import CatalogueLayout

__all__ = ["CatalogueLayout", "explain", "explain_empty", "open_layout"]


def open_layout(
    root: Path,
    index: Iterable[str] | None,
    *,
    ensure_local: Callable[[Sequence[str]], None] | None = None,
) -> CatalogueLayout:
    """Open the layout of a dataset: its index and what is on disk.

    Parameters
    ----------
    root : pathlib.Path
        The dataset's root, an absolute path.
    index : iterable of str, or None
        Paths of all files the host has, below the root; `None` for a folder of one's own.
    ensure_local : callable, optional
        Makes files local, given their paths below the root. If not provided, nothing is remote.

    Returns
    -------
    CatalogueLayout
        A `bids.BIDSLayout`, with every derivative as a PyBIDS derivative.
    """
    return CatalogueLayout(root, files_by_dataset(index or (), root), ensure_local=ensure_local)
