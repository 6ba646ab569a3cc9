"""PyBIDS's database, private to a layout: how it is opened, copied after a fork, and saved."""

from __future__ import annotations

import contextlib
import functools
import json
import re
import sqlite3
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from confusius_datasets._cache import PerProcess
from confusius_datasets._layout.pybids import (
    Config,
    ConnectionManager,
    StaticPool,
    connection_of,
    make_sessions,
    replace_connection,
)
from confusius_datasets._layout.rows import OWN_CLASS

__all__ = ["PrivateDatabase"]

CACHE_KB = 16_000
"""Memory for pages of a database; the rest is in its file."""

PAGE = 16_384
"""Bytes of a page: a tenth faster to fill than with SQLite's 4096."""

SAVED_NAME = "layout_index.sqlite"
"""What PyBIDS calls the file of a saved layout."""


class PrivateDatabase(ConnectionManager):  # type: ignore[misc]
    """PyBIDS's connection to a database of this layout alone, which vanishes with it.

    SQLite keeps it in a file without a name, so that a large dataset costs little memory.
    """

    def __init__(
        self, root: Path, config: Sequence[dict[str, Any] | str], kept: Path | None = None
    ) -> None:
        # PyBIDS's own constructor is not called: it makes tables and configuration anew each time.
        self._kept = kept
        self._is_shared = kept is not None
        # After a fork, parent and child have one and the same file: from then on neither writes to
        # it, so that each may read it, and copy it before its first change.
        self._writable = PerProcess(self._private_connection, on_both_sides=True)
        self.database_file = None
        self.engine = self._get_engine(None)
        if kept is None:
            _copy(_empty(json.dumps(config)), self.connection)
            self.connection.execute("UPDATE layout_info SET root = ?", (str(root),))
            self.connection.commit()
            self.writable()
        else:
            self.connection.execute("SELECT 1 FROM files")  # opened before the file is replaced
        self._database_reset = kept is None
        self.sessionmaker = make_sessions(self.engine)
        self._session = None

    @property
    def connection(self) -> sqlite3.Connection:
        """The one connection to SQLite, below PyBIDS's session."""
        return connection_of(self.engine)

    def writable(self) -> sqlite3.Connection:
        """Return a connection to write with; what may be others' too is copied before."""
        return self._writable.get()

    def keep(self, path: Path) -> None:
        """Write a copy of the database to a new file."""
        with contextlib.closing(sqlite3.connect(path)) as target:
            target.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")
            self.connection.backup(target)

    def save(self, folder: Path, *, derivatives: Sequence[str]) -> None:
        """Write the database as `bids.BIDSLayout.load` reads it, in place of an older one."""
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{uuid.uuid4().hex}"
        try:
            with contextlib.closing(sqlite3.connect(temporary)) as target:
                self.connection.backup(target)
                # Our classes are known where this package is imported, and nowhere else.
                target.execute("UPDATE files SET class_ = replace(class_, ?, '')", (OWN_CLASS,))
                said = json.dumps(list(derivatives) or None)
                target.execute("UPDATE layout_info SET _derivatives = ?", (said,))
                target.commit()
            temporary.replace(folder / SAVED_NAME)
        finally:
            temporary.unlink(missing_ok=True)

    def _private_connection(self) -> sqlite3.Connection:
        """Return a connection to a database that nobody else can read or write."""
        if not self._is_shared:
            self._is_shared = True  # asked for again, there was a fork
            return self.connection
        private = _open_private()
        _copy(self.connection, private)
        self.session.commit()
        self._kept = None
        replace_connection(self.engine, private)
        return private

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


class _Connection(sqlite3.Connection):
    """A connection that closes itself when it is dropped; from 3.13 on Python warns of others."""

    def __del__(self) -> None:
        self.close()


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
    manager.engine.dispose()
    return empty


def _open_private() -> sqlite3.Connection:
    """Open a temporary database."""
    connection = sqlite3.connect("", check_same_thread=False, factory=_Connection)
    connection.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")
    return _set_up(connection)


def _open_read_only(path: Path) -> sqlite3.Connection:
    """Open a database file that nobody changes."""
    address = f"{path.as_uri()}?mode=ro&immutable=1"
    connection = sqlite3.connect(address, uri=True, check_same_thread=False, factory=_Connection)
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
