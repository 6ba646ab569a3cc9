"""PyBIDS's database, private to a layout: how it is opened, copied after a fork, and saved."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import sqlite3
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from confusius_datasets._cache import PerProcess
from confusius_datasets._index import Connection, Tables
from confusius_datasets._layout.catalogue import OWN_CLASS, Catalogue, view_statements
from confusius_datasets._layout.pybids import (
    Config,
    ConnectionManager,
    StaticPool,
    connection_of,
    make_sessions,
    replace_connection,
)
from confusius_datasets._layout.rows import INTO_FILES, INTO_TAGS

__all__ = ["PrivateDatabase"]

CACHE_KB = 16_000
"""Memory for pages of a database; the rest is in its file."""

PAGE = 16_384
"""Bytes of a page: a tenth faster to fill than with SQLite's 4096."""

SAVED_NAME = "layout_index.sqlite"
"""What PyBIDS calls the file of a saved layout."""


METADATA = """
CREATE TABLE metadata (
    file INTEGER NOT NULL,
    entity_name VARCHAR NOT NULL,
    _value VARCHAR NOT NULL,
    _dtype VARCHAR,
    PRIMARY KEY (file, entity_name)
) WITHOUT ROWID;
CREATE INDEX metadata_by_value ON metadata (entity_name, _value, file, _dtype);
"""
"""The metadata read so far, by the numbers of files."""


class PrivateDatabase(ConnectionManager):  # type: ignore[misc]
    """PyBIDS's connection to a database of this layout alone, which vanishes with it.

    Its files and the entities in their paths are views over tables that others may read too.
    What is read later, such as metadata, lies in a file without a name, so that it costs little
    memory.
    """

    def __init__(
        self, root: Path, config: Sequence[dict[str, Any] | str], tables: Tables, prefix: str
    ) -> None:
        # PyBIDS's own constructor is not called: it makes tables and configuration anew each time.
        found = tables.rows("SELECT id FROM dataset WHERE path = ?", (prefix,))
        dataset = found[0][0] if found else 0
        top = str(root)[: -len(prefix) - 1] if prefix else str(root)
        base = os.path.join(top, "")  # noqa: PTH118 - text, with the separator at its end
        self._source = _Source(json.dumps(config), str(root), tables, dataset, base)
        self._is_shared = False
        # After a fork, parent and child have one and the same file: from then on neither writes to
        # it, so that each may read it, and copy it before its first change.
        self._writable = PerProcess(self._private_connection, on_both_sides=True)
        self.database_file = None
        self.engine = self._get_engine(None)
        self._raw = connection_of(self.engine)
        self.writable()
        self._database_reset = True
        self.sessionmaker = make_sessions(self.engine)
        self._session = None
        spoken = self._source.spoken
        self.catalogue = Catalogue(lambda: self._raw, base, dataset, spoken)

    @property
    def connection(self) -> sqlite3.Connection:
        """The one connection to SQLite, below PyBIDS's session."""
        return self._raw

    def writable(self) -> sqlite3.Connection:
        """Return a connection to write with; what may be others' too is copied before."""
        return self._writable.get()

    def save(self, folder: Path, *, derivatives: Sequence[str]) -> None:
        """Write the database as `bids.BIDSLayout.load` reads it, in place of an older one."""
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{uuid.uuid4().hex}"
        try:
            with contextlib.closing(sqlite3.connect(temporary)) as target:
                self.connection.backup(target)
                target.execute("DROP TABLE metadata")
                said = json.dumps(list(derivatives) or None)
                target.execute("UPDATE layout_info SET _derivatives = ?", (said,))
                # Our classes are known where this package is imported, and nowhere else.
                files = "SELECT path, filename, dirname, is_dir, replace(class_, ?, '') FROM files"
                rows = self.connection.execute(files, (OWN_CLASS,))
                target.executemany(f"{INTO_FILES} VALUES (?, ?, ?, ?, ?)", rows)
                rows = self.connection.execute(
                    "SELECT file_path, entity_name, _value, _dtype, is_metadata FROM tags"
                )
                target.executemany(f"{INTO_TAGS} VALUES (?, ?, ?, ?, ?)", rows)
                target.commit()
            temporary.replace(folder / SAVED_NAME)
        finally:
            temporary.unlink(missing_ok=True)

    def _private_connection(self) -> sqlite3.Connection:
        """Return a connection to a database that nobody else can read or write."""
        if not self._is_shared:
            self._is_shared = True  # asked for again, there was a fork
            return self.connection
        private = self._source.open(self.connection)
        self.session.commit()
        replace_connection(self.engine, private)
        self._raw = private
        return private

    def _get_engine(self, database_file: None) -> sa.Engine:
        """Open the engine; PyBIDS's own would be in memory."""
        # What opens it must not lead back here: SQLAlchemy keeps connections that are in use, and
        # with them how they are opened, in a table of its own, so that nothing would ever be freed.
        engine = sa.create_engine("sqlite://", creator=self._source.open, poolclass=StaticPool)
        # SQLAlchemy gives each new connection a function of its own, which minds the case.
        sa.event.listen(engine, "connect", lambda connection, _: _set_up(connection))
        return engine


@dataclass(frozen=True)
class _Source:
    """What a connection of a layout is made from."""

    config: str
    root: str
    tables: Tables
    dataset: int
    base: str

    @property
    def spoken(self) -> frozenset[str]:
        """The entities that the configuration knows."""
        found = _empty(self.config).execute("SELECT entity FROM config_to_entity_map")
        return frozenset(name for (name,) in found)

    def open(self, before: sqlite3.Connection | None = None) -> sqlite3.Connection:
        """Open a connection, with what another one has gathered."""
        private = _open_private()
        _copy(before or _empty(self.config), private)
        private.execute("UPDATE layout_info SET root = ?", (self.root,))
        private.commit()
        self.tables.attach(private)
        for statement in view_statements(self.dataset, self.base, self.spoken):
            private.execute(statement)
        return private


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
    empty.executescript("\n".join(connection_of(manager.engine).iterdump()))
    empty.executescript(METADATA)
    manager.engine.dispose()
    return empty


def _open_private() -> sqlite3.Connection:
    """Open a temporary database."""
    connection = sqlite3.connect("", uri=True, check_same_thread=False, factory=Connection)
    connection.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")
    return _set_up(connection)


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
