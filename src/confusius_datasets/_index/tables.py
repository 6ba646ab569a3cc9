"""The plain tables of a dataset's files, in a database that is written once and then only read.

Nothing is stored for each file that is the same for its folder or for its name: entities belong to
folders and to names. A file in a folder of subject 01 and session 2 keeps its name without the
leading `sub-01_ses-2_`, so that recordings made alike share their names.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from confusius_datasets._cache import PerProcess

__all__ = [
    "SMALL_NBYTES",
    "Connection",
    "Tables",
    "create_tables",
    "finish_tables",
    "insert_rows",
    "insert_values",
    "private_file",
]

SMALL_NBYTES = 2_000_000
"""Bytes of a database up to which it stays in memory: that of some ten thousand files."""

CACHE_KB = 4_000
"""Memory for the pages of tables that are read."""

MOST_VALUES = 900
"""Values in one statement; SQLite allows 999."""

WRITING_KB = 16_000
"""Memory for the pages of tables that are being filled."""

SCHEMA = {
    "fact": "CREATE TABLE fact (name TEXT PRIMARY KEY, value) WITHOUT ROWID",
    "dataset": "CREATE TABLE dataset (id INTEGER PRIMARY KEY, path TEXT NOT NULL)",
    # A folder of which queries see a part has two rows; without a dataset, they do not see it.
    "folder": (
        "CREATE TABLE folder (id INTEGER PRIMARY KEY, path TEXT NOT NULL, prefix TEXT NOT NULL, "
        "dataset INTEGER)"
    ),
    # Texts may come twice, with entities that depend on the folder.
    "name": (
        "CREATE TABLE name (id INTEGER PRIMARY KEY, text TEXT NOT NULL, prefixed INTEGER NOT NULL)"
    ),
    # How many folders and names have a value tells which filter is best gone through first.
    "value": (
        "CREATE TABLE value (id INTEGER PRIMARY KEY, dataset INTEGER NOT NULL, "
        "entity TEXT NOT NULL, text TEXT NOT NULL, folders INTEGER NOT NULL, "
        "names INTEGER NOT NULL)"
    ),
    "folder_tag": (
        "CREATE TABLE folder_tag (folder INTEGER, value INTEGER, PRIMARY KEY (folder, value)) "
        "WITHOUT ROWID"
    ),
    "name_tag": (
        "CREATE TABLE name_tag (name INTEGER, value INTEGER, PRIMARY KEY (name, value)) "
        "WITHOUT ROWID"
    ),
    # The numbers of entries are in the order of their paths; Zarr stores as a whole, which are no
    # entries, have numbers below 0.
    "file": (
        "CREATE TABLE file (id INTEGER PRIMARY KEY, folder INTEGER NOT NULL, "
        "name INTEGER NOT NULL, size INTEGER, md5 BLOB, locator TEXT, rest TEXT)"
    ),
    "folder_by_path": "CREATE INDEX folder_by_path ON folder (path)",
    "name_by_text": "CREATE INDEX name_by_text ON name (text)",
    "value_by_text": "CREATE INDEX value_by_text ON value (dataset, entity, text)",
    "folder_tag_by_value": "CREATE INDEX folder_tag_by_value ON folder_tag (value, folder)",
    "name_tag_by_value": "CREATE INDEX name_tag_by_value ON name_tag (value, name)",
    "file_by_folder": "CREATE INDEX file_by_folder ON file (folder, name)",
    "file_by_name": "CREATE INDEX file_by_name ON file (name)",
}
"""Tables and indexes by their names; a database with anything else is not opened."""


class Connection(sqlite3.Connection):
    """A connection that closes itself when it is dropped; from 3.13 on Python warns of others."""

    def __del__(self) -> None:
        self.close()


class Tables:
    """A database of these tables: a file that nobody changes, or the bytes of a small one."""

    def __init__(self, source: Path | bytes) -> None:
        self._source = source
        self._opened: sqlite3.Connection | None = None
        self._connection = PerProcess(self._open)
        self._lock = PerProcess(threading.Lock)

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            ":memory:", uri=True, check_same_thread=False, factory=Connection
        )
        try:
            self._attach(connection, self._source)
        except sqlite3.Error:
            if self._opened is None:
                raise
            # Another process has replaced the file since this one was forked. Its parent's
            # connection is as good: nobody writes with it.
            return self._opened
        self._opened = connection
        return connection

    def attach(self, connection: sqlite3.Connection) -> None:
        """Let a connection, opened with `uri=True`, read the tables as the schema `tables`."""
        with self._lock.get():
            opened = self._connection.get()
            try:
                self._attach(connection, self._source)
            except sqlite3.Error:  # replaced by another process, but still open here
                self._source = _copy_private(opened)
                self._attach(connection, self._source)

    def _attach(self, connection: sqlite3.Connection, source: Path | bytes) -> None:
        # The file may be somebody else's: nothing in it may call a function.
        connection.execute("PRAGMA trusted_schema = OFF")
        if isinstance(source, bytes):
            connection.execute("ATTACH ':memory:' AS tables")
            connection.deserialize(source, name="tables")
        else:
            address = f"{source.as_uri()}?mode=ro&immutable=1"
            connection.execute("ATTACH ? AS tables", (address,))
            connection.execute(f"PRAGMA tables.cache_size = -{CACHE_KB}")
        # The file is opened by this, while it is sure to be there.
        connection.execute("SELECT 1 FROM tables.fact").fetchone()

    def copy_to(self, connection: sqlite3.Connection) -> None:
        """Copy the tables in place of those that a connection has just made."""
        connection.execute("ROLLBACK")
        with self._lock.get():
            self._connection.get().backup(connection, name="tables")
        connection.execute("BEGIN")

    def rows(self, statement: str, values: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a statement on these tables."""
        with self._lock.get():
            return self._connection.get().execute(statement, tuple(values)).fetchall()

    def fact(self, name: str) -> Any:
        """Return what is noted of the tables as a whole."""
        found = self.rows("SELECT value FROM fact WHERE name = ?", (name,))
        return found[0][0] if found else None

    def has_right_schema(self) -> bool:
        """Say whether there is what must be there, and nothing else: no view, no trigger."""
        found = self.rows("SELECT name, sql FROM tables.sqlite_schema ORDER BY rowid")
        return found == list(SCHEMA.items())


def create_tables(path: str) -> sqlite3.Connection:
    """Make empty tables in a new file, or in memory, to be filled by one writer."""
    connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    # A file that is not whole is never used, so a killed writer needs no journal.
    for pragma in ("journal_mode = OFF", "synchronous = OFF", "locking_mode = EXCLUSIVE"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute(f"PRAGMA cache_size = -{WRITING_KB}")
    connection.execute("BEGIN")
    for statement in SCHEMA.values():
        if statement.startswith("CREATE TABLE"):
            connection.execute(statement)
    return connection


def insert_rows(
    connection: sqlite3.Connection, into: str, rows: Sequence[Sequence[object]]
) -> None:
    """Insert rows of the same length."""
    if rows:
        insert_values(connection, into, list(itertools.chain.from_iterable(rows)), len(rows[0]))


def insert_values(
    connection: sqlite3.Connection, into: str, values: Sequence[object], width: int
) -> None:
    """Insert the values of rows of some width, one row after another.

    Many rows are in a statement; with one each, half of the time goes into the way there.
    """
    step = MOST_VALUES // width * width
    marks = f"({', '.join('?' * width)})"
    for begin in range(0, len(values), step):
        some = values[begin : begin + step]
        connection.execute(f"{into} VALUES {', '.join([marks] * (len(some) // width))}", some)


def finish_tables(connection: sqlite3.Connection, path: Path | None) -> Tables:
    """Index tables that have been filled, and open them; of those in memory, the bytes are kept."""
    known = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
    for name, statement in SCHEMA.items():
        if name not in known:  # or they were copied with the tables
            connection.execute(statement)
    connection.execute("COMMIT")
    content = connection.serialize() if path is None else b""
    connection.close()
    return Tables(path or content)


def private_file() -> Path:
    """Name a new file for tables that no folder keeps; it is removed at the end of the process."""
    folder = Path(tempfile.mkdtemp(prefix="confusius-"))
    # A forked child ends as well, and its parent goes on with the file.
    atexit.register(_remove_of_process, folder, os.getpid())
    return folder / "tables.sqlite"


def _remove_of_process(folder: Path, process: int) -> None:
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)


def _copy_private(opened: sqlite3.Connection) -> Path:
    """Copy tables whose file is gone to a file of this process."""
    path = private_file()
    with contextlib.closing(sqlite3.connect(path)) as target:
        opened.backup(target, name="tables")
    return path
