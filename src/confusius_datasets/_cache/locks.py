"""Locks between processes, as far as a file system has them."""

from __future__ import annotations

import contextlib
import enum
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from confusius_datasets._cache.files import open_hidden
from confusius_datasets._cache.folders import Folder
from confusius_datasets.errors import UnsafePathError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["LockState", "lock", "remove_lock"]

LOCKS = "locks"
"""Folder in the hidden one for locks."""

POLL_S = 0.05
"""Seconds after which a lock that somebody else has is asked for again."""


class LockState(enum.Enum):
    """What came of asking for a lock."""

    HELD = "held"
    """We have it."""

    TAKEN = "taken"
    """Another process has it."""

    UNAVAILABLE = "unavailable"
    """The file system or its permissions allow no lock."""


@contextlib.contextmanager
def lock(root: Path, name: str, *, timeout: float = -1) -> Iterator[LockState]:
    """Keep other processes that ask for the same lock of a root waiting, as far as possible.

    A lock saves work; it guarantees nothing: on some cluster file systems it succeeds for
    everybody. It dies with its process, so a killed one blocks nobody.
    """
    try:
        file = _acquire(root, name, timeout)
    except (OSError, UnsafePathError):
        yield LockState.UNAVAILABLE
        return
    if file is None:
        yield LockState.TAKEN
        return
    try:
        yield LockState.HELD
    finally:
        with contextlib.suppress(OSError):  # what was done under the lock is done
            _let_go(file)
        with contextlib.suppress(OSError):
            file.close()


def remove_lock(root: Path, name: str) -> None:
    """Remove the file of a lock that nobody will ask for again."""
    with contextlib.suppress(OSError, UnsafePathError), open_hidden(root, LOCKS) as folder:
        folder.remove(name)


def _acquire(root: Path, name: str, timeout: float) -> BinaryIO | None:
    """Return the locked file, or nothing where another process has it for too long."""
    # Never a file whose mere existence is the lock: a killed process would leave it behind.
    until = time.monotonic() + timeout
    with open_hidden(root, LOCKS, make=True) as folder:
        while True:
            file = _open(folder, name)
            try:
                is_ours = _try(file)
                # It may have been removed while it was waited for: then others lock a new one.
                if is_ours and os.fstat(file.fileno()).st_nlink:
                    return file
            except BaseException:
                file.close()
                raise
            file.close()
            if not is_ours and timeout >= 0 and time.monotonic() >= until:
                return None
            if not is_ours:
                time.sleep(POLL_S)


def _open(folder: Folder, name: str) -> BinaryIO:
    """Open a file to be locked, which may be another user's."""
    try:
        file = folder.open(name, "a+b")
    except PermissionError:
        return folder.open(name, "rb")  # enough on most file systems
    folder.share(file.fileno())
    return file


if sys.platform == "win32":

    def _try(file: BinaryIO) -> bool:
        file.seek(0)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

    def _let_go(file: BinaryIO) -> None:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)

else:

    def _try(file: BinaryIO) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _let_go(file: BinaryIO) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)
