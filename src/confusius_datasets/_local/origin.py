"""Where the files of a root come from: a name or an address that the hidden folder remembers."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from confusius_datasets._cache import (
    hidden_folder,
    open_hidden,
    own_name,
    read_kept,
    word_unreadable,
    write_kept,
)
from confusius_datasets._sources import is_address
from confusius_datasets._text import quote, shorten
from confusius_datasets.errors import CacheError, UnsafePathError

__all__ = ["read_origin", "recall_origin", "write_origin"]

ORIGIN_NAME = "origin"
"""File in the hidden folder that holds the name or the address, and nothing else."""

LONGEST_ORIGIN = 4096


def read_origin(root: Path) -> str | None:
    """Return what a root remembers, as this user or the owner of the root wrote it."""
    for content in read_kept(root, ORIGIN_NAME):
        return _text_of(content, hidden_folder(root) / ORIGIN_NAME)
    return None


def recall_origin(root: Path) -> str | None:
    """Return what a root remembers; an address of another user's is an error that names it."""
    path = hidden_folder(root) / ORIGIN_NAME
    text, writer = _read(root, path)
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


def _read(root: Path, path: Path) -> tuple[str | None, int]:
    """Read what was written, and whose file it is; ours counts where it stands beside another."""
    for name in dict.fromkeys((own_name(ORIGIN_NAME), ORIGIN_NAME)):
        try:
            with open_hidden(root) as folder, folder.open(name, "rb") as file:
                content = file.read(LONGEST_ORIGIN)
                return _text_of(content, path), os.fstat(file.fileno()).st_uid
        except FileNotFoundError:
            continue
        except PermissionError as error:
            raise word_unreadable(path, error) from error
        except (OSError, UnsafePathError) as error:
            raise _unusable(path, error) from error
    return None, 0


def _text_of(content: bytes, path: Path) -> str | None:
    try:
        return content[:LONGEST_ORIGIN].decode().strip() or None
    except UnicodeDecodeError as error:
        raise _unusable(path, error) from error


def _unusable(path: Path, error: Exception) -> CacheError:
    return CacheError(f"{path} cannot be read: {shorten(error)}. Delete it, and fetch again.")


def write_origin(root: Path, text: str) -> None:
    """Let a root remember where its files come from; one that cannot be written stays as it is."""
    with contextlib.suppress(CacheError):
        write_kept(root, ORIGIN_NAME, f"{text}\n".encode(), durable=True)
