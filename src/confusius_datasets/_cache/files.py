"""Files of a root, and those that we keep in its hidden folder, where others may put things too.

In the hidden folder no link is followed, only plain files of one link are opened, and nothing is
written in place. What is read there was written by us or by the owner of the root; where somebody
else has something, it is left alone, and our own file stands beside it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, BinaryIO, cast

from confusius_datasets._cache.folders import Folder, LinkError, is_plain, open_below
from confusius_datasets._cache.wording import (
    word_in_the_way,
    word_no_folder,
    word_unreadable,
    word_unwritable,
)
from confusius_datasets._paths import HIDDEN_FOLDER
from confusius_datasets.errors import CacheError, UnsafePathError

__all__ = [
    "hidden_folder",
    "is_file_here",
    "is_here",
    "is_ours",
    "open_hidden",
    "open_kept",
    "open_regular",
    "own_name",
    "read_blocks",
    "read_kept",
    "remove_kept",
    "write_atomic",
    "write_kept",
]

BLOCK_NBYTES = 1 << 20
"""Bytes of a file that are read at a time."""

LARGEST_KEPT_NBYTES = 1 << 30
"""More than anything that is read as a whole."""


def is_here(path: Path) -> bool:
    """Say whether something is at a path."""
    return os.path.exists(path)  # noqa: PTH110 - `Path.exists` raises where a name is too long


def is_file_here(root: Path, relpath: str) -> bool:
    """Say whether a file is at its place; an error where something else is in its way."""
    try:
        # Thousands of files are asked for, and `Path` is slow.
        mode = os.stat(os.path.join(root, relpath)).st_mode  # noqa: PTH116, PTH118
    except PermissionError as error:
        raise word_unreadable(root / relpath, error) from error
    except NotADirectoryError:
        path = root / relpath
        raise word_no_folder(next(p for p in reversed(path.parents) if not p.is_dir())) from None
    except (OSError, ValueError):
        return False
    if stat.S_ISREG(mode):
        return True
    raise word_in_the_way(root, [relpath])


def open_regular(path: Path) -> BinaryIO:
    """Open a file to be read; what is no file, such as a pipe, is an error instead of a wait."""
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
    file = os.fdopen(os.open(path, flags), "rb", buffering=0)
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return cast("BinaryIO", file)
    file.close()
    raise OSError(errno.EINVAL, "it is no file", os.fspath(path))


def read_blocks(file: IO[bytes]) -> Iterator[bytes]:
    """Give the bytes of a file from where it stands, some at a time."""
    while block := file.read(BLOCK_NBYTES):
        yield block


def write_atomic(path: Path, data: bytes | Iterable[bytes], *, durable: bool = True) -> None:
    """Put bytes at a path so that every reader sees the old file or the new one, never a part.

    What is large comes in pieces. In a root, a part lies in the hidden folder.
    """
    try:
        with Folder.at(path.parent, make=True) as folder, _hidden_or_none(path.parent) as hidden:
            folder.write(path.name, data, durable=durable, begun_in=hidden)
    except OSError as error:
        raise word_unwritable(path, error) from error


@contextlib.contextmanager
def _hidden_or_none(folder: Path) -> Iterator[Folder | None]:
    """Open the hidden folder of what may be a root, if it has one that can be written to."""
    with contextlib.ExitStack() as stack:
        hidden = None
        with contextlib.suppress(OSError, UnsafePathError, CacheError):
            hidden = stack.enter_context(open_hidden(folder))
            if not os.access(hidden.path, os.W_OK):
                hidden = None
        yield hidden


def hidden_folder(root: Path) -> Path:
    """Return the folder of a root that is ours alone; it may not exist yet."""
    return root / HIDDEN_FOLDER


def open_hidden(root: Path, name: str = "", *, make: bool = False) -> Folder:
    """Open our folder in a root, or one in that; to make it, what is in its place is removed.

    The folder of all that is ours is never removed: a user may have put something else there.
    """
    hidden = open_below(root, HIDDEN_FOLDER, make=make, links=False)
    if not name:
        return hidden
    with hidden:
        try:
            return hidden.enter(name, make=make)
        except (CacheError, LinkError) as error:
            if not make:
                raise _not_usable(hidden.path / name) from error
        hidden.unlink(name)
        try:
            return hidden.enter(name, make=True)
        except LinkError as error:
            raise _not_usable(hidden.path / name) from error


def open_kept(root: Path, name: str) -> BinaryIO:
    """Open a file of the hidden folder to be read; an `OSError` if it cannot be believed."""
    parent, _, last = name.rpartition("/")
    owners = {root.stat().st_uid, *_me()}
    with open_hidden(root, parent) as folder:
        file = folder.open(last, "rb")
        if not _me() or os.fstat(file.fileno()).st_uid in owners:
            return file
        file.close()
        raise _not_usable(folder.path / last)


def read_kept(root: Path, name: str, *, within_s: float = float("inf")) -> Iterator[bytes]:
    """Give what was kept in the hidden folder by a name lately, and then what we have beside it."""
    for each in dict.fromkeys((name, own_name(name))):
        content = None
        with contextlib.suppress(OSError, UnsafePathError), open_kept(root, each) as file:
            if time.time() - os.fstat(file.fileno()).st_mtime < within_s:
                content = file.read(LARGEST_KEPT_NBYTES)
        if content is not None:
            yield content


def write_kept(root: Path, name: str, data: bytes, *, durable: bool = False) -> None:
    """Keep something in the hidden folder: by a name, or beside what somebody else has there."""
    parent, _, last = name.rpartition("/")
    try:
        with open_hidden(root, parent, make=True) as folder:
            if not _is_free(folder, last):
                last = own_name(last)
            folder.write(last, data, durable=durable)
    except OSError as error:
        raise word_unwritable(hidden_folder(root) / name, error) from error
    except UnsafePathError as error:
        raise CacheError(str(error)) from error


def remove_kept(root: Path, prefix: str) -> None:
    """Remove what we keep right in the hidden folder by names that begin in some way."""
    with contextlib.suppress(OSError, UnsafePathError), open_hidden(root) as folder:
        for name in folder.list_names():
            with contextlib.suppress(OSError):
                if name.startswith(prefix) and is_ours(folder.status(name)):
                    folder.remove(name)


def is_ours(status: os.stat_result) -> bool:
    """Say whether something in the hidden folder can be a file that we left there.

    In a shared cache, others may plant a link to a file of ours, or a pipe that never ends.
    """
    return is_plain(status) and (not _me() or status.st_uid in _me())


def _is_free(folder: Folder, name: str) -> bool:
    """Say whether a file may be put in the place of what a name stands for."""
    try:
        status = folder.status(name)
    except FileNotFoundError:
        return True
    is_junk = not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode))
    return is_junk or not _me() or status.st_uid in _me()


def _me() -> set[int]:
    """Return our number, on systems where users have one."""
    return {os.geteuid()} if hasattr(os, "geteuid") else set()


def own_name(name: str) -> str:
    """Return the name of our own file where somebody else has one by a name."""
    stem, dot, extension = name.partition(".")
    return "".join((stem, *(f"-{number}" for number in _me()), dot, extension))


def _not_usable(path: Path) -> OSError:
    return OSError(errno.EPERM, "it is no file of ours or of the root's owner", os.fspath(path))
