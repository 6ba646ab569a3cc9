"""Ways to be somebody else: calls that are made by another user, in a process of their own."""

from __future__ import annotations

import importlib.metadata
import os
import signal
import sys
import traceback
from collections.abc import Callable

import pytest

__all__ = ["ALICE", "AS_OTHERS", "BOB", "LAB", "run_as"]

ALICE, BOB, LAB = 41001, 41002, 41100
"""Two users with a group each of their own, and the group that both are in."""

AS_OTHERS = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can be somebody else"
)


def run_as(user: int, call: Callable[[], object], *, umask: int = 0o077) -> None:
    """Make a call as another user; an error if it fails there.

    The process is forked, since the interpreter may lie where only this user can read.
    """
    importlib.metadata.version("confusius-datasets")  # imports what could not be read there
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            signal.alarm(60)
            os.setgroups([LAB])
            os.setgid(user)
            os.setuid(user)
            os.umask(umask)
            call()
            code = 0
        except BaseException:  # noqa: BLE001 - told by the exit code
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(pid, 0)

    assert os.waitstatus_to_exitcode(status) == 0
