"""PyBIDS's database: private to a layout, filled in bulk, and indexed for quick queries."""

from __future__ import annotations

import functools
import itertools
import json
import os
import re
import sqlite3
from collections.abc import Container, Iterable, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from bids.layout.db import ConnectionManager
from bids.layout.models import Config
from sqlalchemy.pool import StaticPool

from confusius_datasets._entities import INTEGER_ENTITIES, parse_entities
from confusius_datasets._layout.files import file_class

__all__ = [
    "PrivateDatabase",
    "add_associations",
    "add_files",
    "add_metadata",
    "labels",
    "metadata_row",
]

CACHE_KB = 16_000
"""Memory for pages of a database; the rest is in its file."""

PAGE = 16_384
"""Bytes of a page: a tenth faster to fill than with SQLite's 4096."""

BATCH = 2000
"""Files whose rows are made at a time, so that memory does not grow with the dataset."""

INTO_FILES = "INSERT INTO files (path, filename, dirname, is_dir, class_)"

INTO_TAGS = "INSERT OR IGNORE INTO tags (file_path, entity_name, _value, _dtype, is_metadata)"

INTO_ASSOCIATIONS = "INSERT OR IGNORE INTO associations (src, dst, kind)"

INTO_ENTITIES = "INSERT OR IGNORE INTO entities (name, mandatory, _dtype)"

ROWS = 100
"""Rows of a statement. With one each, nearly half of the time is spent on the way to SQLite."""

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


_forks = 0


def _count_fork() -> None:
    """Count, in the parent and in the child, that the process was forked."""
    global _forks
    _forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_parent=_count_fork, after_in_child=_count_fork)


class PrivateDatabase(ConnectionManager):  # type: ignore[misc]
    """PyBIDS's connection to a database of this layout alone, which vanishes with it.

    SQLite keeps it in a file without a name, so that a large dataset costs little memory.
    """

    def __init__(
        self, root: Path, config: Sequence[dict[str, Any] | str], kept: Path | None = None
    ) -> None:
        # PyBIDS's own constructor is not called: it makes tables and configuration anew each time.
        self._kept = kept
        self._forks_before = _forks
        self.database_file = None
        self.engine = self._get_engine(None)
        if kept is None:
            _copy(_empty(json.dumps(config)), self.connection)
            self.connection.execute("UPDATE layout_info SET root = ?", (str(root),))
            self.connection.commit()
        else:
            self.connection.execute("SELECT 1 FROM files")  # opened before the file is replaced
        self._database_reset = kept is None
        # Files are used from other threads, without a query, so nothing of theirs may expire.
        self.sessionmaker = sa.orm.sessionmaker(bind=self.engine, expire_on_commit=False)
        self._session = None

    @property
    def connection(self) -> sqlite3.Connection:
        """The one connection to SQLite, below PyBIDS's session."""
        return _connection_of(self.engine)

    def writable(self) -> sqlite3.Connection:
        """Return a connection to write with.

        What may be others' too is never written to: a private copy takes the place of a kept
        database, and of any that a process had before it was forked.
        """
        if self._kept is not None or self._forks_before != _forks:
            shared, private = self.connection, _open_private()
            _copy(shared, private)
            self.session.commit()
            self._kept, self._forks_before = None, _forks
            reopen: Any = lambda: private  # noqa: E731 - SQLAlchemy's type for it is private
            self.engine.pool = StaticPool(reopen)
            shared.close()
        return self.connection

    def _get_engine(self, database_file: None) -> sa.Engine:
        """Open the engine; PyBIDS's own would be in memory."""
        # What opens it must not lead back here: SQLAlchemy keeps connections that are in use, and
        # with them how they are opened, in a table of its own, so that nothing would ever be freed.
        kept = self._kept
        opening = _open_private if kept is None else functools.partial(_open_read_only, kept)
        engine = sa.create_engine("sqlite://", creator=opening, poolclass=StaticPool)
        # SQLAlchemy gives each new connection a function of its own, which minds the case.
        sa.event.listen(engine, "connect", lambda connection, _: _set_up(connection))
        return engine


@functools.cache
def _empty(config: str) -> sqlite3.Connection:
    """Make a database without files, once for each configuration: it takes a while."""
    init_args = {"root": "/", "derivatives": None, "config": json.loads(config)}
    manager = ConnectionManager(config=[], init_args=init_args)
    # Without a session, it does not ask for and commit each entity by itself.
    manager.session.add_all([Config.load(one) for one in json.loads(config)])
    manager.session.commit()
    manager.session.close()
    empty = _open_private()
    empty.executescript(f"PRAGMA page_size = {PAGE}")
    empty.executescript("\n".join(_connection_of(manager.engine).iterdump()))
    return empty


def _connection_of(engine: sa.Engine) -> sqlite3.Connection:
    """Return the one connection of an engine, as SQLite has it."""
    connection = engine.raw_connection().driver_connection
    assert isinstance(connection, sqlite3.Connection)  # noqa: S101 - for the type checker
    return connection


def _open_private() -> sqlite3.Connection:
    """Open a temporary database."""
    connection = sqlite3.connect("", check_same_thread=False)
    connection.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")
    return _set_up(connection)


def _open_read_only(path: Path) -> sqlite3.Connection:
    """Open a database file that nobody changes."""
    address = f"{path.as_uri()}?mode=ro&immutable=1"
    return _set_up(sqlite3.connect(address, uri=True, check_same_thread=False))


def _copy(source: sqlite3.Connection, target: sqlite3.Connection) -> None:
    """Copy a database into another one."""
    source.backup(target)
    # SQLite counts the cache in pages, and their size is now another.
    target.execute(f"PRAGMA cache_size = -{CACHE_KB}")


def _set_up(connection: sqlite3.Connection) -> sqlite3.Connection:
    """Bound a connection's memory, and give it the function that PyBIDS's queries use."""
    connection.execute(f"PRAGMA cache_size = -{CACHE_KB}")
    connection.create_function("regexp", 2, _matches, deterministic=True)
    return connection


def _matches(pattern: str, value: object) -> bool:
    """Say whether a text has a match of a pattern, in any case."""
    return isinstance(value, str) and re.search(pattern, value, re.IGNORECASE) is not None


def add_files(
    connection: sqlite3.Connection,
    relpaths: Sequence[str],
    root: Path,
    names: set[str],
    *,
    kinds: Iterable[str],
) -> None:
    """Write the rows of files and of the entities in their paths."""
    connection.executescript(COMPACT_TAGS)
    kind_of = {kind.removeprefix("catalogue_"): kind for kind in kinds}
    base = os.path.join(root, "")  # noqa: PTH118 - text, with the separator at its end
    for begin in range(0, len(relpaths), BATCH):
        files, tags = [], []
        for relpath in relpaths[begin : begin + BATCH]:
            path = base + relpath.replace("/", os.sep)
            dirname, _, filename = path.rpartition(os.sep)
            files.append((path, filename, dirname, False, kind_of[file_class(filename)]))
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
