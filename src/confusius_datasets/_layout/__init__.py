"""Index and folder → a real `bids.BIDSLayout`, with PyBIDS's own database and queries.

What is slow in PyBIDS is made fast underneath: its database is filled in bulk and indexed better.
Nothing here knows HTTP; files that a query needs are made local by a function that is handed in.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from sqlalchemy.exc import DatabaseError

from confusius_datasets._index import INDEX_NAME
from confusius_datasets._layout.config import fusi_config, is_getter
from confusius_datasets._layout.explain import explain, explain_empty, explain_several
from confusius_datasets._layout.files import files_by_dataset, is_derivative, whole
from confusius_datasets._layout.kept import load_databases, save_databases
from confusius_datasets._layout.layout import CatalogueLayout
from confusius_datasets._layout.typos import find_unknown_values
from confusius_datasets._paths import walk_folder

__all__ = [
    "CatalogueLayout",
    "explain",
    "explain_empty",
    "explain_several",
    "find_unknown_values",
    "is_getter",
    "open_layout",
]

WORTH_KEEPING = 2000
"""Files from which on making a database takes longer than reading one."""


def open_layout(
    root: Path,
    index: Callable[[], Iterable[str]] | None,
    *,
    ensure_local: Callable[[Sequence[str]], None] | None = None,
) -> CatalogueLayout:
    """Open the layout of a dataset: its index and what is on disk."""

    def indexed() -> frozenset[str]:
        return frozenset(map(whole, index())) if index else frozenset()

    key = _key(root, has_index=index is not None)
    kept = load_databases(root, key, indexed)
    if kept is not None:
        with contextlib.suppress(
            DatabaseError, sqlite3.Error
        ):  # replaced by another process just now
            return CatalogueLayout(root, kept, ensure_local=ensure_local)
    found = walk_folder(root)
    known = indexed()
    datasets = files_by_dataset(known | found.files)
    layout = CatalogueLayout(root, datasets, ensure_local=ensure_local)
    if sum(map(len, datasets.values())) >= WORTH_KEEPING:
        family = {"": layout, **layout.derivatives}
        keep = {prefix: member.keep for prefix, member in family.items()}
        save_databases(root, key, found, found.files - known, keep)
    return layout


def _key(root: Path, *, has_index: bool) -> str:
    """Name everything a database depends on, but for the files on disk."""
    stamp = None
    if has_index:
        status = (root / INDEX_NAME).stat() if (root / INDEX_NAME).exists() else None
        stamp = (status.st_mtime_ns, status.st_size) if status else None
    versions = [importlib.metadata.version(name) for name in ("confusius-datasets", "pybids")]
    facts = [str(root), has_index, stamp, is_derivative(root), versions, fusi_config()]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
