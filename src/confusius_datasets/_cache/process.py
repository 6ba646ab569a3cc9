"""State of one process, made anew after a fork."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar

__all__ = ["PerProcess"]

Made = TypeVar("Made")


class PerProcess(Generic[Made]):
    """State of one process, made anew after a fork; the one mechanism of the package for that.

    A forked process has copies of its parent's sockets, open databases, and locks that nobody will
    ever release. What is written to without a lock, as a database is, must be made anew on both
    sides: the child may still read what the parent had.
    """

    def __init__(self, make: Callable[[], Made], *, on_both_sides: bool = False) -> None:
        self._make = make
        self.on_both_sides = on_both_sides
        self._lock = threading.Lock()
        self._made: list[Made] = []
        _made_per_process.add(self)

    def get(self) -> Made:
        """Return this process's state, made when it is first asked for."""
        with self._lock:
            if not self._made:
                self._made.append(self._make())
            return self._made[0]

    def forget(self) -> None:
        """Begin anew in a child; what the parent uses is neither closed nor freed here."""
        self._lock = threading.Lock()
        _of_parents.extend(self._made)
        self._made = []

    def give_up(self) -> None:
        """Begin anew in the parent, where other threads may be asking at this moment."""
        with self._lock:
            self._made = []


_made_per_process: weakref.WeakSet[PerProcess[Any]] = weakref.WeakSet()
"""All there is to make anew. Module state, since `os.register_at_fork` knows no instances."""

_of_parents: list[object] = []
"""What a child took over by a fork, kept so that nothing closes it there."""


def _forget_all() -> None:
    """Let everything be made anew in a forked process."""
    for state in list(_made_per_process):
        state.forget()


def _give_up_shared() -> None:
    """Let what a forked process may still read be made anew in the parent."""
    for state in list(_made_per_process):
        if state.on_both_sides:
            state.give_up()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_forget_all, after_in_parent=_give_up_shared)
