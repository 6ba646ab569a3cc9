"""Which files a layout has: those of the index and those on disk, in tables, kept where large."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from confusius_datasets._entities import DERIVATIVES, DESCRIPTION_NAME, dataset_of
from confusius_datasets._index import (
    INDEX_NAME,
    DatasetIndex,
    FileEntry,
    KeptTables,
    Tables,
    TableWriter,
    make_tables,
    write_entries,
)
from confusius_datasets._paths import walk_folder
from confusius_datasets._sidecars import read_sidecar
from confusius_datasets.errors import FileFormatError

__all__ = ["WORTH_KEEPING", "is_derivative", "open_tables"]

WORTH_KEEPING = 2000
"""Files on disk from which on looking for them takes longer than reading what was found."""

MANY = 20_000
"""Files of which tables are in a file rather than in memory."""

RACE_NS = 2_000_000_000
"""A folder that changed this shortly before it was read may have changed once more unnoticed."""


def open_tables(root: Path, index: DatasetIndex | None) -> Tables:
    """Open the tables of all files of a root: those of its index, and others that are on disk."""
    kept = KeptTables(root, "layout")
    key = _key(root, index)
    if (found := kept.load(key)) and _is_unchanged(root, index, kept, key, *found):
        tables, facts = found
        return index.tables if index is not None and not facts["n_others"] else tables
    made_ns = time.time_ns()
    seen = walk_folder(root)
    others = _unknown(index, seen.files)

    def fill(connection: sqlite3.Connection) -> None:
        _fill(connection, index if others else None, others)

    facts = {"folders": seen.folders, "made_ns": made_ns, "n_others": len(others)}
    saved = kept.save(key, fill, facts) if len(seen.files) >= WORTH_KEEPING else None
    if index is not None and not others:
        return index.tables
    if saved is not None:
        return saved
    is_large = len(others) + (len(index) if index is not None else 0) > MANY
    return make_tables(fill, is_large=is_large)


def _key(root: Path, index: DatasetIndex | None) -> object:
    """Name everything that tables depend on, but for the files on disk."""
    if index is None:
        return None
    try:
        status = (root / INDEX_NAME).stat()
    except OSError:
        return [len(index)]
    return [status.st_mtime_ns, status.st_size, status.st_ino]


def _unknown(index: DatasetIndex | None, files: Iterable[str]) -> list[str]:
    """List the files on disk that the index does not have, in order."""
    by_folder: dict[str, list[str]] = {}
    for relpath in files:
        by_folder.setdefault(relpath.rpartition("/")[0], []).append(relpath)
    others = []
    for folder, relpaths in by_folder.items():
        known = set(index.names_in(folder)) if index is not None else set()
        others += [one for one in relpaths if one.rpartition("/")[2] not in known]
    return sorted(one for one in others if _is_text(one) and _may_matter(one))


def _may_matter(relpath: str) -> bool:
    """Say whether queries may see a file, or a dataset by it; the index file is none of these."""
    return relpath.startswith(f"{DERIVATIVES}/") or dataset_of(relpath) is not None


def _is_text(relpath: str) -> bool:
    """Say whether a name on disk is text; SQLite, and so PyBIDS, has no other."""
    try:
        relpath.encode()
    except UnicodeEncodeError:
        return False
    return True


def _fill(connection: sqlite3.Connection, index: DatasetIndex | None, others: list[str]) -> None:
    """Write the files of an index, and others, into tables."""
    if index is not None and not _are_one_dataset(index, others):
        index.tables.copy_to(connection)
        writer = TableWriter.resume(connection)
        writer.add((relpath, None, None, None, None) for relpath in others)
        writer.finish()
        return
    entries = [FileEntry(relpath) for relpath in others]
    if index is not None:
        entries = sorted([*index.values(), *entries], key=lambda entry: entry.relpath)
    write_entries(connection, entries, is_checked=True)


def _are_one_dataset(index: DatasetIndex, others: list[str]) -> bool:
    """Say whether all derivatives are one dataset, so that files may change those of others."""
    description = f"{DERIVATIVES}/{DESCRIPTION_NAME}"
    return description in index or description in others


def _is_unchanged(
    root: Path,
    index: DatasetIndex | None,
    kept: KeptTables,
    key: object,
    tables: Tables,
    facts: dict[str, Any],
) -> bool:
    """Say whether the files on disk that the index does not have are those they were.

    Only folders whose time changed are looked into. Files that the index has may come and go:
    the tables know them anyway.
    """
    base = os.path.join(root, "")  # noqa: PTH118 - text, as there may be thousands of folders
    before: dict[str, int] = facts["folders"]
    fresh = facts["made_ns"] - RACE_NS
    changed = [one for one, ns in before.items() if _mtime(base + one) != ns or ns > fresh]
    if not changed:
        return True
    made_ns = time.time_ns()
    folders = dict(before)
    present: set[str] = set()
    for folder in changed:
        del folders[folder]
        found = walk_folder(root, start=folder, descend=lambda below: below not in before)
        folders |= found.folders
        present |= found.files
    inside = set(changed)
    last = len(index) if index is not None else 0
    paths = DatasetIndex.of_tables(tables).paths_from(last + 1)
    known = {path for path in paths if path.rpartition("/")[0] in inside}
    if set(_unknown(index, present)) != known:
        return False
    kept.renew(key, {**facts, "folders": folders, "made_ns": made_ns})
    return True


def _mtime(path: str) -> int | None:
    """Return when a folder changed last, or `None` where there is none."""
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116 - of thousands of folders
    except OSError:
        return None


def is_derivative(root: Path) -> bool:
    """Say whether a dataset's own description, as far as it is on disk, calls it a derivative."""
    with contextlib.suppress(FileFormatError):
        return read_sidecar(root / DESCRIPTION_NAME).get("DatasetType") == "derivative"
    return False
