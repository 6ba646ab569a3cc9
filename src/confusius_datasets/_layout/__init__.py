"""Index and folder → a real `bids.BIDSLayout`, with PyBIDS's own classes and answers.

What is slow in PyBIDS is made fast underneath: its tables are views over the plain tables that the
index is kept in. Nothing here knows HTTP; files that a query needs are made local by a function
that is handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from confusius_datasets._index import DatasetIndex
from confusius_datasets._layout.columns import Labels, spread
from confusius_datasets._layout.config import is_getter, pybids_config
from confusius_datasets._layout.explain import explain, explain_empty, explain_several
from confusius_datasets._layout.files import open_tables
from confusius_datasets._layout.layout import CatalogueLayout
from confusius_datasets._layout.typos import find_unknown_values

__all__ = [
    "CatalogueLayout",
    "Labels",
    "explain",
    "explain_empty",
    "explain_several",
    "find_unknown_values",
    "is_getter",
    "open_layout",
    "pybids_config",
    "spread",
]


def open_layout(
    root: Path,
    index: DatasetIndex | None,
    *,
    ensure_local: Callable[[Sequence[str]], None] | None = None,
) -> CatalogueLayout:
    """Open the layout of a dataset: its index, if it has one, and what is on disk."""
    return CatalogueLayout(root, open_tables(root, index), ensure_local=ensure_local)
