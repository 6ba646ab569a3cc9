"""Rows of PyBIDS's database: files, the entities of their names, metadata, associations."""

from __future__ import annotations

import itertools
import json
import os
import sqlite3
from collections.abc import Container, Iterable, Sequence
from pathlib import Path
from typing import Any

from confusius_datasets._entities import INTEGER_ENTITIES, parse_entities
from confusius_datasets._layout.files import file_class

__all__ = [
    "BATCH",
    "OWN_CLASS",
    "add_associations",
    "add_files",
    "add_metadata",
    "labels",
    "metadata_row",
]

BATCH = 2000
"""Files whose rows are made at a time, so that memory does not grow with the dataset."""

OWN_CLASS = "catalogue_"
"""What our classes of files are called in the database, before PyBIDS's name of the class."""

ROWS = 100
"""Rows of a statement. With one each, nearly half of the time is spent on the way to SQLite."""

INTO_FILES = "INSERT INTO files (path, filename, dirname, is_dir, class_)"

INTO_TAGS = "INSERT OR IGNORE INTO tags (file_path, entity_name, _value, _dtype, is_metadata)"

INTO_ASSOCIATIONS = "INSERT OR IGNORE INTO associations (src, dst, kind)"

INTO_ENTITIES = "INSERT OR IGNORE INTO entities (name, mandatory, _dtype)"

COVERING_INDEX = (
    "CREATE INDEX IF NOT EXISTS tags_by_value "
    "ON tags (entity_name, _value, file_path, _dtype, is_metadata)"
)
"""Answers a filter from the index alone; PyBIDS's own key begins with the file's path."""


COMPACT_TAGS = """
DROP TABLE tags;
CREATE TABLE tags (
    file_path VARCHAR NOT NULL REFERENCES files (path),
    entity_name VARCHAR NOT NULL REFERENCES entities (name),
    _value VARCHAR NOT NULL,
    _dtype VARCHAR,
    is_metadata BOOLEAN,
    PRIMARY KEY (file_path, entity_name)
) WITHOUT ROWID
"""
"""PyBIDS's own table with its rows kept in its key: a third less, as paths are not held twice."""


def add_files(
    connection: sqlite3.Connection,
    relpaths: Sequence[str],
    root: Path,
    names: Container[str],
    *,
    classes: Iterable[str],
) -> None:
    """Write the rows of files and of the entities in their paths."""
    class_of = {name.removeprefix(OWN_CLASS): name for name in classes}
    connection.executescript(COMPACT_TAGS)
    base = os.path.join(root, "")  # noqa: PTH118 - text, with the separator at its end
    for begin in range(0, len(relpaths), BATCH):
        files, tags = [], []
        for relpath in relpaths[begin : begin + BATCH]:
            path = base + relpath.replace("/", os.sep)
            dirname, _, filename = path.rpartition(os.sep)
            files.append((path, filename, dirname, False, class_of[file_class(filename)]))
            tags += [(path, *label, 0) for label in labels(relpath, base, names)]
        _insert(connection, INTO_FILES, files)
        _insert(connection, INTO_TAGS, tags)
    connection.execute(COVERING_INDEX)
    connection.executescript("PRAGMA analysis_limit = 1000; ANALYZE")


def _insert(connection: sqlite3.Connection, into: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows, many with each statement."""
    for begin in range(0, len(rows), ROWS):
        part = rows[begin : begin + ROWS]
        row = f"({', '.join('?' * len(part[0]))})"
        statement = f"{into} VALUES {', '.join([row] * len(part))}"
        connection.execute(statement, list(itertools.chain.from_iterable(part)))


def labels(relpath: str, base: str, names: Container[str]) -> list[tuple[str, str, str]]:
    """List the entities of a path as PyBIDS's database has them."""
    return [
        (
            name,
            base + label[1:] if name == "scans" else label,  # which is a path
            "int" if name in INTEGER_ENTITIES else "str",
        )
        for name, label in parse_entities(relpath).items()
        if name in names
    ]


def add_metadata(
    connection: sqlite3.Connection, rows: Sequence[tuple[str, str, str, str, int]]
) -> None:
    """Write the rows of metadata fields."""
    fields = dict.fromkeys(row[1] for row in rows)
    _insert(connection, INTO_ENTITIES, [(field, False, "str") for field in fields])
    _insert(connection, INTO_TAGS, rows)


def metadata_row(path: str, field: str, value: object) -> tuple[str, str, str, str, int]:
    """Make the row of one field of a file's metadata, in PyBIDS's encoding."""
    if isinstance(value, list | dict):
        return (path, field, json.dumps(value), "json", 1)
    return (path, field, str(value), type(value).__name__, 1)


def add_associations(
    connection: sqlite3.Connection, associations: Iterable[tuple[str, str, str]], root: Path
) -> None:
    """Write the rows of files that belong together."""
    rows = [(str(root / first), str(root / second), kind) for first, second, kind in associations]
    _insert(connection, INTO_ASSOCIATIONS, rows)
