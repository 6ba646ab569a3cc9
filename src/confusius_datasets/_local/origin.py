"""Where the files of a root come from: a name or an address that the hidden folder remembers."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from confusius_datasets._cache import hidden_folder, write_atomic
from confusius_datasets.errors import CacheError

__all__ = ["read_origin", "write_origin"]

ORIGIN_NAME = "origin"
"""File in the hidden folder that holds the name or the address, and nothing else."""

LONGEST_ORIGIN = 4096


def read_origin(root: Path) -> str | None:
    """Return what a root remembers; what another user wrote there is an error that names it."""
    path = hidden_folder(root) / ORIGIN_NAME
    try:
        with path.open("rb") as file:
            writer = os.fstat(file.fileno()).st_uid
            text = file.read(LONGEST_ORIGIN).decode().strip()
        owner = root.stat().st_uid
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise CacheError(f"{path} cannot be read: {error}. Delete it, and fetch again.") from error
    # Whoever may write into a shared folder must not choose from where others download.
    if hasattr(os, "geteuid") and writer not in (os.geteuid(), owner):
        raise CacheError(
            f"{path} says that the dataset is {text!r}, but another user wrote it there. If that "
            "is right, open the dataset by that name or address instead of the folder; if not, "
            "delete the file."
        )
    return text or None


def write_origin(root: Path, text: str) -> None:
    """Let a root remember where its files come from; one that cannot be written stays as it is."""
    with contextlib.suppress(CacheError):
        write_atomic(hidden_folder(root) / ORIGIN_NAME, f"{text}\n".encode())
