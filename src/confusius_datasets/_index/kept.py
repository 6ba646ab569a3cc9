"""Tables that are kept in a root's hidden folder, and used again while what they tell is true.

Each lies under a name that is used once; a signature, written last, says which one counts and what
it was made from. So several processes may use and replace them at any time, and be killed at any
instant. Where they are damaged, or somebody else's, they are made anew.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confusius_datasets._cache import (
    Folder,
    hidden_folder,
    is_ours,
    open_hidden,
    open_kept,
    read_blocks,
    read_kept,
    write_kept,
)
from confusius_datasets._index.tables import Tables, create_tables, finish_tables, private_file
from confusius_datasets.errors import CacheError, UnsafePathError

__all__ = ["FillTables", "KeptTables", "make_tables"]

FORMAT = 1
"""Changes with the meaning of the tables."""

SIGNATURE = "signature.json"
"""File that says which tables count, and what they were made from."""

ABANDONED_S = 3600
"""Age of a file that nobody can be writing any more."""

FillTables = Callable[[sqlite3.Connection], None]
"""Writes rows into new tables."""


def make_tables(fill: FillTables, *, is_large: bool) -> Tables:
    """Make tables that are not kept: in memory, or in a file of this process."""
    path = private_file() if is_large else None
    connection = create_tables(str(path or ":memory:"))
    try:
        fill(connection)
        return finish_tables(connection, path)
    finally:
        connection.close()


@dataclass(frozen=True)
class KeptTables:
    """The place of kept tables: a folder in the hidden one of a root."""

    root: Path
    name: str

    @property
    def folder(self) -> Path:
        """Where they lie; it may not exist."""
        return hidden_folder(self.root) / self.name

    def load(self, key: object) -> tuple[Tables, dict[str, Any]] | None:
        """Open the tables made from what `key` describes, with what else was noted of them."""
        for document in self._signatures(key):
            with contextlib.suppress(OSError, ValueError, TypeError, KeyError, sqlite3.Error):
                facts, name = document["facts"], Path(document["file"]).name
                if isinstance(facts, dict) and self._checksum(name) == document["checksum"]:
                    tables = Tables(self.folder / name)
                    if tables.has_right_schema():
                        return tables, facts
        return None

    def save(self, key: object, fill: FillTables, facts: Mapping[str, Any]) -> Tables | None:
        """Make tables and keep them; `None` where the root cannot be written to.

        Errors of `fill` are passed on.
        """
        name = f"{uuid.uuid4().hex}.sqlite"
        unfinished = self.folder / f"{name}.part"
        try:
            folder = open_hidden(self.root, self.name, make=True)
            connection = create_tables(str(unfinished))
        except (OSError, UnsafePathError, sqlite3.Error):
            return None
        with folder:
            try:
                fill(connection)
                finish_tables(connection, unfinished)
                # SQLite opens files by their path: what is not here now, it wrote elsewhere.
                with folder.open(unfinished.name, "rb") as file:
                    folder.share(file.fileno())
                folder.replace(unfinished.name, folder, name)
                tables = Tables(self.folder / name)
                tables.fact("n_files")  # opened before another process can replace it
                self._sign(key, name, self._checksum(name), facts)
            except (OSError, sqlite3.Error):  # no room, say
                return None
            finally:
                connection.close()
                with contextlib.suppress(OSError):
                    unfinished.unlink(missing_ok=True)
            _remove_others(folder, name)
        return tables

    def renew(self, key: object, facts: Mapping[str, Any]) -> None:
        """Note other facts of the tables that were loaded, where the root can be written to."""
        for document in self._signatures(key):
            with contextlib.suppress(KeyError, CacheError):
                self._sign(key, document["file"], document["checksum"], facts)
                return

    def _sign(self, key: object, name: str, checksum: int, facts: Mapping[str, Any]) -> None:
        document = {"key": _full_key(key), "file": name, "checksum": checksum, "facts": dict(facts)}
        write_kept(self.root, f"{self.name}/{SIGNATURE}", json.dumps(document).encode())

    def _signatures(self, key: object) -> Iterator[dict[str, Any]]:
        """Give what says which tables were made from what `key` describes."""
        for content in read_kept(self.root, f"{self.name}/{SIGNATURE}"):
            with contextlib.suppress(ValueError, RecursionError):
                document = json.loads(content)
                if isinstance(document, dict) and document.get("key") == _full_key(key):
                    yield document

    def _checksum(self, name: str) -> int:
        """Return the CRC-32 of a file; damaged tables would give wrong answers, not errors.

        SQLite's own checks passed most of the single flipped bits that were tried.
        """
        from isal import isal_zlib

        checksum = 0
        with open_kept(self.root, f"{self.name}/{name}") as file:
            for block in read_blocks(file):
                checksum = isal_zlib.crc32(block, checksum)
        return checksum


def _remove_others(folder: Folder, name: str) -> None:
    """Remove our tables that no longer count; files being written are left to their writers."""
    for other in folder.list_names():
        if other == name or not other.endswith((".sqlite", ".sqlite.part")):
            continue
        with contextlib.suppress(OSError):  # Windows does not let go of a file in use
            status = folder.status(other)
            is_being_written = other.endswith(".part") and (
                status.st_mtime > time.time() - ABANDONED_S
            )
            if is_ours(status) and not is_being_written:
                folder.remove(other)


def _full_key(key: object) -> Any:
    """Add to a key what tables depend on in any case, in the form that JSON gives back."""
    versions = [importlib.metadata.version(name) for name in ("confusius-datasets", "pybids")]
    return json.loads(json.dumps([FORMAT, versions, key]))
