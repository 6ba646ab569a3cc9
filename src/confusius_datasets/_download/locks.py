"""Locks between processes that fetch the same dataset: they save work, and guarantee nothing."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from confusius_datasets._cache import LockState, lock
from confusius_datasets._download.plan import SMALL
from confusius_datasets._index import FileEntry

__all__ = ["FileLocks", "lock_name"]


def lock_name(entry: FileEntry) -> str:
    """Return the name of a file's lock: one of its own, or for small files one of 16.

    A lock costs about as much as a request to a near host, so that small files share them.
    """
    digest = hashlib.sha1(entry.relpath.encode(), usedforsecurity=False).hexdigest()
    is_small = entry.size is not None and entry.size <= SMALL
    return f"small-{digest[0]}.lock" if is_small else f"{digest}.lock"


class FileLocks:
    """The locks of the files of one plan; safe to use from many threads.

    A lock is held until the last of its files in the plan is done.
    """

    def __init__(self, folder: Path, entries: Iterable[FileEntry]) -> None:
        self._folder = folder
        self._left = Counter(map(lock_name, entries))
        self._held: dict[str, LockState] = {}
        self._releases: dict[str, contextlib.ExitStack] = {}
        self._mutex = threading.Lock()
        self._works = _try_locks(folder)

    @contextlib.contextmanager
    def hold(self, entry: FileEntry) -> Iterator[LockState]:
        """Keep other processes from downloading a file, and note afterwards that it is done."""
        name = lock_name(entry)
        state = self._take(name)
        try:
            yield state
        finally:
            if state is not LockState.TAKEN:
                self._put_back(name)

    def release(self) -> None:
        """Free all locks, whatever is left to do."""
        with self._mutex:
            for name in list(self._releases):
                self._free(name)

    def _take(self, name: str) -> LockState:
        """Take a lock, unless this plan has it."""
        with self._mutex:
            if name not in self._held:
                stack = contextlib.ExitStack()
                state = LockState.UNAVAILABLE
                if self._works:
                    state = stack.enter_context(lock(self._folder / name, timeout=0))
                if state is LockState.TAKEN:
                    return state
                self._held[name], self._releases[name] = state, stack
            return self._held[name]

    def _put_back(self, name: str) -> None:
        """Note that a file is done, and free its lock after the last one."""
        with self._mutex:
            self._left[name] -= 1
            if self._left[name] <= 0:
                self._free(name)

    def _free(self, name: str) -> None:
        """Free a lock, if it has not been freed."""
        self._held.pop(name, None)
        if name in self._releases:
            self._releases.pop(name).close()


def _try_locks(folder: Path) -> bool:
    """Say whether a file system has locks at all."""
    path = folder / f"probe-{uuid.uuid4().hex}.lock"
    with lock(path, timeout=0) as state:
        works = state is LockState.HELD
    with contextlib.suppress(OSError):
        os.unlink(path)  # noqa: PTH108 - newer versions of the lock have done so
    return works
