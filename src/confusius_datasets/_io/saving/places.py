"""Whole files at their places: written beside them first, then renamed."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from confusius_datasets.errors import CacheError

__all__ = ["check_free", "in_its_place"]


def check_free(path: Path, *, overwrite: bool) -> None:
    """Refuse a path that is taken."""
    if overwrite or not os.path.lexists(path):
        return
    raise FileExistsError(f"{path} exists already. Pass overwrite=True to replace it.")


@contextlib.contextmanager
def in_its_place(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """Give a path to write to; what is there in the end, file or folder, is renamed to its place.

    The array may be read from the very file that it replaces, so that stays until the end.
    """
    check_free(path, overwrite=overwrite)
    token = secrets.token_hex(4)
    # The extension stays at the end: the libraries that write look at it.
    partial = path.with_name(f".{token}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        if path.is_dir():
            old = path.with_name(f".{token}.old.{path.name}")
            path.rename(old)
            partial.rename(path)
            shutil.rmtree(old)
        else:
            partial.replace(path)
    except OSError as error:
        if error.filename is None or isinstance(error, CacheError):
            raise
        raise CacheError(f"{path}: cannot be written: {error.strerror or error}.") from error
    finally:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)
