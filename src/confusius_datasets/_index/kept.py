"""Tables that are kept in a root's hidden folder, and used again while what they tell is true.

Each lies under a name that is used once; a signature, written last, says which one counts and what
it was made from. So several processes may use and replace them at any time, and be killed at any
instant. Where they are damaged, or somebody else's, they are made anew.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import sqlite3
import stat
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confusius_datasets._cache import current_umask, hidden_folder, write_atomic
from confusius_datasets._index.tables import Tables, create_tables, finish_tables, private_file
from confusius_datasets.errors import CacheError

__all__ = ["FillTables", "KeptTables", "make_tables"]

FORMAT = 1
"""Changes with the meaning of the tables."""

SIGNATURE = "signature.json"
"""File that says which tables count, and what they were made from."""

LARGEST_SIGNATURE_NBYTES = 100_000_000
"""More than the folders of any dataset need."""

BLOCK_NBYTES = 1 << 20
"""Bytes that are read at a time."""

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
        try:
            document = json.loads(self._read(self.folder / SIGNATURE, LARGEST_SIGNATURE_NBYTES))
            if document["key"] != _full_key(key):
                return None
            facts, checksum = document["facts"], document["checksum"]
            path = self.folder / Path(document["file"]).name
            if not isinstance(facts, dict) or self._checksum(path) != checksum:
                return None
            tables = Tables(path)
            return (tables, facts) if tables.has_right_schema() else None
        except (OSError, ValueError, TypeError, KeyError, sqlite3.Error):
            return None

    def save(self, key: object, fill: FillTables, facts: Mapping[str, Any]) -> Tables | None:
        """Make tables and keep them; `None` where the root cannot be written to.

        Errors of `fill` are passed on.
        """
        name = f"{uuid.uuid4().hex}.sqlite"
        unfinished = self.folder / f"{name}.part"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            connection = create_tables(str(unfinished))
        except (OSError, sqlite3.Error):
            return None
        try:
            fill(connection)
            finish_tables(connection, unfinished)
            unfinished.chmod(0o666 & ~current_umask())
            unfinished.rename(self.folder / name)
            tables = Tables(self.folder / name)
            tables.fact("n_files")  # opened before another process can replace it
            self._sign(key, name, self._checksum(self.folder / name), facts)
        except (OSError, sqlite3.Error, CacheError):  # no room, say
            return None
        finally:
            connection.close()
            with contextlib.suppress(OSError):
                unfinished.unlink(missing_ok=True)
        self._remove_others(name)
        return tables

    def renew(self, key: object, facts: Mapping[str, Any]) -> None:
        """Note other facts of the tables that were loaded, where the root can be written to."""
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError, CacheError):
            document = json.loads(self._read(self.folder / SIGNATURE, LARGEST_SIGNATURE_NBYTES))
            if document["key"] == _full_key(key):
                self._sign(key, document["file"], document["checksum"], facts)

    def _sign(self, key: object, name: str, checksum: int, facts: Mapping[str, Any]) -> None:
        document = {"key": _full_key(key), "file": name, "checksum": checksum, "facts": dict(facts)}
        write_atomic(self.folder / SIGNATURE, json.dumps(document).encode(), durable=False)

    def _remove_others(self, name: str) -> None:
        """Remove tables that no longer count; files being written are left to their writers."""
        for path in self.folder.glob("*.sqlite*"):
            with contextlib.suppress(OSError):  # Windows does not let go of a file in use
                is_left = path.suffix == ".part"
                if path.name != name and not (
                    is_left and path.stat().st_mtime > time.time() - ABANDONED_S
                ):
                    path.unlink()

    def _read(self, path: Path, most: int) -> bytes:
        with self._open(path) as file:
            content: bytes = file.read(most)
            return content

    def _checksum(self, path: Path) -> int:
        """Return the CRC-32 of a file; damaged tables would give wrong answers, not errors.

        SQLite's own checks passed most of the single flipped bits that were tried.
        """
        from isal import isal_zlib

        checksum = 0
        with self._open(path) as file:
            while block := file.read(BLOCK_NBYTES):
                checksum = isal_zlib.crc32(block, checksum)
        return checksum

    def _open(self, path: Path) -> Any:
        """Open a file only if it is a plain one that we or the owner of the root wrote."""
        # Without waiting: a named pipe may stand in its place.
        flags = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        file = open(os.open(path, os.O_RDONLY | flags | getattr(os, "O_BINARY", 0)), "rb")  # noqa: PTH123, SIM115
        status = os.fstat(file.fileno())
        owners = {status.st_uid} if os.name == "nt" else {os.geteuid(), self.root.stat().st_uid}
        if stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and status.st_uid in owners:
            return file
        file.close()
        raise OSError(f"{path} is not a file that may be used")


def _full_key(key: object) -> Any:
    """Add to a key what tables depend on in any case, in the form that JSON gives back."""
    versions = [importlib.metadata.version(name) for name in ("confusius-datasets", "pybids")]
    return json.loads(json.dumps([FORMAT, versions, key]))
