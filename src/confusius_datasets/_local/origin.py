"""Where the files of a root come from: a name or an address that the hidden folder remembers."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from confusius_datasets._cache import hidden_folder, write_atomic
from confusius_datasets._sources import is_address
from confusius_datasets._text import quote, shorten
from confusius_datasets.errors import CacheError

__all__ = ["read_origin", "recall_origin", "write_origin"]

ORIGIN_NAME = "origin"
"""File in the hidden folder that holds the name or the address, and nothing else."""

LONGEST_ORIGIN = 4096


def read_origin(root: Path) -> str | None:
    """Return what a root remembers, whoever wrote it there."""
    return _read(hidden_folder(root) / ORIGIN_NAME)[0]


def recall_origin(root: Path) -> str | None:
    """Return what a root remembers; an address of another user's is an error that names it."""
    path = hidden_folder(root) / ORIGIN_NAME
    text, writer = _read(path)
    # A name leads to a dataset that this machine knows anyway. But whoever may write into a shared
    # folder must not choose from which address others download.
    if text is None or not is_address(text) or not hasattr(os, "geteuid"):
        return text
    if writer != os.geteuid():
        raise CacheError(
            f"{path} says that the dataset is {quote(text)}, but another user wrote it there. "
            "If that is right, open the dataset by that address instead of the folder; if not, "
            "delete the file."
        )
    return text


def _read(path: Path) -> tuple[str | None, int]:
    """Read what was written, and whose file it is."""
    try:
        with path.open("rb") as file:
            writer = os.fstat(file.fileno()).st_uid
            return file.read(LONGEST_ORIGIN).decode().strip() or None, writer
    except FileNotFoundError:
        return None, 0
    except (OSError, UnicodeDecodeError) as error:
        raise CacheError(
            f"{path} cannot be read: {shorten(error)}. Delete it, and fetch again."
        ) from error


def write_origin(root: Path, text: str) -> None:
    """Let a root remember where its files come from; one that cannot be written stays as it is."""
    with contextlib.suppress(CacheError):
        write_atomic(hidden_folder(root) / ORIGIN_NAME, f"{text}\n".encode())
