"""Databases kept on disk, and used again while the dataset is as it was.

They lie in the root's hidden folder, each under a name that is used once; a signature, written
last, says which belong together. So several processes may use and replace them at any time.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isal import isal_zlib

from confusius_datasets._cache import hidden_folder, write_atomic
from confusius_datasets._paths import Walk, walk_folder
from confusius_datasets.errors import CacheError

__all__ = ["load_databases", "save_databases"]

NAME = "signature.json"
"""File that says which databases belong together, and what they were made from."""

BLOCK = 1 << 20
"""Bytes that are read at a time."""

DATABASE = ".sqlite"
"""End of the names of databases."""

UNKNOWN = ".unknown"
"""End of the name of the list of files that the index did not have."""

RACE_NS = 2_000_000_000
"""A folder that changed this shortly before it was read may have changed once more unnoticed."""


@dataclass(frozen=True, slots=True)
class _Signature:
    """What kept databases were made from."""

    key: str
    made_ns: int
    folders: dict[str, int]
    unknown: tuple[str, int]
    files: dict[str, tuple[str, int]]

    @classmethod
    def read(cls, path: Path) -> _Signature:
        """Read a signature; whatever is wrong with it is a `ValueError`, or an `OSError`."""
        document = json.loads(path.read_bytes())
        try:
            return cls(
                key=str(document["key"]),
                made_ns=int(document["made_ns"]),
                folders={str(name): int(mtime) for name, mtime in document["folders"].items()},
                unknown=_named(document["unknown"]),
                files={str(k): _named(v) for k, v in document["files"].items()},
            )
        except (TypeError, KeyError, IndexError, AttributeError) as error:
            raise ValueError(f"{path} is no signature") from error

    def write(self, path: Path) -> None:
        """Put the signature at a path."""
        document: dict[str, Any] = {
            "key": self.key,
            "made_ns": self.made_ns,
            "folders": self.folders,
            "unknown": self.unknown,
            "files": self.files,
        }
        write_atomic(path, json.dumps(document).encode(), durable=False)


def load_databases(
    root: Path, key: str, indexed: Callable[[], frozenset[str]]
) -> dict[str, Path] | None:
    """Return the databases that were kept, if the dataset is as it was then."""
    folder = hidden_folder(root) / "layout"
    try:
        signature = _Signature.read(folder / NAME)
        if signature.key != key or not _is_unchanged(root, signature, indexed, folder / NAME):
            return None
        databases = {}
        for prefix, (name, checksum) in signature.files.items():
            databases[prefix] = folder / name
            if _checksum(databases[prefix]) != checksum:
                return None
    except (OSError, ValueError):
        return None
    return databases


def save_databases(
    root: Path,
    key: str,
    found: Walk,
    unknown: Iterable[str],
    keep: Mapping[str, Callable[[Path], None]],
) -> None:
    """Keep databases for the next time; where the root cannot be written to, do nothing."""
    folder = hidden_folder(root) / "layout"
    token = uuid.uuid4().hex
    files = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        older = [*folder.glob(f"*{DATABASE}"), *folder.glob(f"*{UNKNOWN}")]
        for number, (prefix, write) in enumerate(keep.items()):
            name = f"{token}-{number}{DATABASE}"
            write(folder / name)
            files[prefix] = (name, _checksum(folder / name))
        listed = folder / f"{token}{UNKNOWN}"
        listed.write_bytes(json.dumps(sorted(unknown)).encode())
        unknown_file = (listed.name, _checksum(listed))
        signature = _Signature(key, time.time_ns(), found.folders, unknown_file, files)
        signature.write(folder / NAME)
    except (OSError, sqlite3.Error):
        older = list(folder.glob(f"{token}*"))
    for path in older:
        with contextlib.suppress(OSError):  # Windows does not let go of a file in use
            path.unlink()


def _checksum(path: Path) -> int:
    """Return the CRC-32 of a file; a damaged database would give wrong answers, not errors."""
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            checksum = isal_zlib.crc32(block, checksum)
    return checksum


def _is_unchanged(
    root: Path, signature: _Signature, indexed: Callable[[], frozenset[str]], path: Path
) -> bool:
    """Say whether the files on disk that the index does not have are those they were.

    Only folders whose time changed are looked into. Files that the index has may come and go:
    the databases know them anyway.
    """
    base = os.path.join(root, "")  # noqa: PTH118 - text, as there may be thousands of folders
    changed = [
        folder
        for folder, mtime in signature.folders.items()
        if _mtime(base + folder) != mtime or mtime > signature.made_ns - RACE_NS
    ]
    if not changed:
        return True
    made_ns = time.time_ns()
    folders = dict(signature.folders)
    present: set[str] = set()
    for folder in changed:
        del folders[folder]
        found = walk_folder(
            root, start=folder, descend=lambda below: below not in signature.folders
        )
        folders |= found.folders
        present |= found.files
    listed, checksum = signature.unknown
    if _checksum(path.parent / listed) != checksum:
        return False
    unknown = json.loads((path.parent / listed).read_bytes())
    before = {name for name in unknown if name.rpartition("/")[0] in set(changed)}
    if present - indexed() != before:
        return False
    renewed = _Signature(signature.key, made_ns, folders, signature.unknown, signature.files)
    with contextlib.suppress(CacheError):  # a read-only root is looked at anew each time
        renewed.write(path)
    return True


def _named(entry: Sequence[Any]) -> tuple[str, int]:
    """Take a file's name, right in the folder of the databases, and its checksum."""
    return Path(str(entry[0])).name, int(entry[1])


def _mtime(path: str) -> int | None:
    """Return when a folder changed last, or `None` where there is none."""
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116 - of thousands of folders
    except OSError:
        return None
