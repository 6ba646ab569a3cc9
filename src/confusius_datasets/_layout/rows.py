"""Rows that a layout writes into its database: metadata and associations."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

from confusius_datasets._index import insert_rows

__all__ = [
    "BATCH",
    "INTO_FILES",
    "INTO_TAGS",
    "add_associations",
    "add_metadata",
    "metadata_row",
]

BATCH = 2000
"""Files whose rows are made at a time, so that memory does not grow with the dataset."""

INTO_FILES = "INSERT INTO files (path, filename, dirname, is_dir, class_)"

INTO_TAGS = "INSERT OR IGNORE INTO tags (file_path, entity_name, _value, _dtype, is_metadata)"

INTO_METADATA = "INSERT OR IGNORE INTO metadata (file, entity_name, _value, _dtype)"

INTO_ASSOCIATIONS = "INSERT OR IGNORE INTO associations (src, dst, kind)"

INTO_ENTITIES = "INSERT OR IGNORE INTO entities (name, mandatory, _dtype)"


def add_metadata(connection: sqlite3.Connection, rows: Sequence[tuple[int, str, str, str]]) -> None:
    """Write the rows of metadata fields."""
    fields = dict.fromkeys(row[1] for row in rows)
    insert_rows(connection, INTO_ENTITIES, [(field, False, "str") for field in fields])
    insert_rows(connection, INTO_METADATA, rows)


def metadata_row(file: int, field: str, value: object) -> tuple[int, str, str, str]:
    """Make the row of one field of a file's metadata, in PyBIDS's encoding."""
    if isinstance(value, list | dict):
        return (file, field, json.dumps(value), "json")
    return (file, field, str(value), type(value).__name__)


def add_associations(
    connection: sqlite3.Connection, associations: Iterable[tuple[str, str, str]], root: Path
) -> None:
    """Write the rows of files that belong together."""
    rows = [(str(root / first), str(root / second), kind) for first, second, kind in associations]
    insert_rows(connection, INTO_ASSOCIATIONS, rows)
