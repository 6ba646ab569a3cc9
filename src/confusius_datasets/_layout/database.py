"""Rows of PyBIDS's database, written in bulk, and the index that makes its queries quick."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from confusius_datasets._entities import INTEGER_ENTITIES, parse_entities
from confusius_datasets._layout.files import file_class

__all__ = ["add_files", "add_metadata", "metadata_row"]

BATCH = 2000
"""Files whose rows are made at a time, so that memory does not grow with the dataset."""

INSERT_FILE = "INSERT INTO files (path, filename, dirname, is_dir, class_) VALUES (?, ?, ?, 0, ?)"

INSERT_TAG = (
    "INSERT OR IGNORE INTO tags (file_path, entity_name, _value, _dtype, is_metadata) "
    "VALUES (?, ?, ?, ?, ?)"
)

INSERT_ENTITY = "INSERT OR IGNORE INTO entities (name, mandatory, _dtype) VALUES (?, 0, 'str')"

COVERING_INDEX = (
    "CREATE INDEX IF NOT EXISTS tags_by_value "
    "ON tags (entity_name, _value, file_path, _dtype, is_metadata)"
)
"""Answers a filter from the index alone; PyBIDS's own key begins with the file's path."""


def add_files(
    connection: Any,
    relpaths: Sequence[str],
    root: Path,
    names: set[str],
    *,
    kinds: Iterable[str],
) -> None:
    """Write the rows of files and of the entities in their paths.

    Parameters
    ----------
    connection : sqlite3.Connection
        Connection to PyBIDS's database.
    relpaths : sequence of str
        Paths below the root.
    root : pathlib.Path
        The root.
    names : set of str
        Entities that the layout's configuration has; others are left out.
    kinds : iterable of str
        The kinds of files that PyBIDS's database is told of, those of `file_class` at their ends.
    """
    kind_of = {kind.removeprefix("catalogue_"): kind for kind in kinds}
    base = os.path.join(root, "")  # noqa: PTH118 - text, with the separator at its end
    for begin in range(0, len(relpaths), BATCH):
        files, tags = [], []
        for relpath in relpaths[begin : begin + BATCH]:
            path = base + relpath.replace("/", os.sep)
            dirname, filename = os.path.split(path)
            files.append((path, filename, dirname, kind_of[file_class(filename)]))
            for name, label in parse_entities(relpath).items():
                if name in names:
                    value = str(root) + label if name == "scans" else label
                    dtype = "int" if name in INTEGER_ENTITIES else "str"
                    tags.append((path, name, value, dtype, 0))
        connection.executemany(INSERT_FILE, files)
        connection.executemany(INSERT_TAG, tags)
    connection.execute(COVERING_INDEX)
    connection.execute("ANALYZE")


def add_metadata(connection: Any, rows: Sequence[tuple[str, str, str, str, int]]) -> None:
    """Write the rows of metadata fields.

    Parameters
    ----------
    connection : sqlite3.Connection
        Connection to PyBIDS's database.
    rows : sequence of tuple
        As `metadata_row` makes them.
    """
    connection.executemany(INSERT_ENTITY, {(row[1],) for row in rows})
    connection.executemany(INSERT_TAG, rows)


def metadata_row(path: str, field: str, value: object) -> tuple[str, str, str, str, int]:
    """Make the row of one field of a file's metadata, in PyBIDS's encoding.

    Parameters
    ----------
    path : str
        Absolute path of the file.
    field : str
        Name of the field.
    value : object
        Its value, out of JSON and not null.

    Returns
    -------
    tuple
        Path, field, value as text, type, and 1 for metadata.
    """
    if isinstance(value, list | dict):
        return (path, field, json.dumps(value), "json", 1)
    return (path, field, str(value), type(value).__name__, 1)


def merge(contents: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Merge sidecars, the later ones winning; a null is as good as absent.

    Parameters
    ----------
    contents : iterable of mapping
        Sidecars, the most specific last.

    Returns
    -------
    dict
        The fields that have a value.
    """
    merged: dict[str, Any] = {}
    for content in contents:
        merged.update(content)
    return {field: value for field, value in merged.items() if value is not None}
