"""Work in forked processes that are killed, at a call or at an instant that is given."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable

__all__ = ["count_calls", "measure_s", "run_for", "run_to_call"]

Work = Callable[[], object]


def count_calls(work: Work) -> int:
    """Count the calls of Python and C functions that some work takes."""
    n_calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal n_calls
        n_calls += 1

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return n_calls


def measure_s(work: Work) -> float:
    """Return the seconds that some work takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def run_to_call(work: Work, number: int) -> bool:
    """Run work in a forked process that is killed at its nth call; say whether it was."""
    n_calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal n_calls
        n_calls += 1
        if n_calls == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return _run_forked(work, lambda: sys.setprofile(count))


def run_for(work: Work, seconds: float) -> bool:
    """Run work in a forked process that is killed after some time; say whether it was."""

    def wind_up() -> None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # which ends the process, also within C code
        signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-6))

    return _run_forked(work, wind_up)


def _run_forked(work: Work, prepare: Callable[[], None]) -> bool:
    child = os.fork()
    if child == 0:
        try:
            prepare()
            work()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])
