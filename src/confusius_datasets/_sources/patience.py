"""How long to wait for a host: retries, backing off, and pauses that all its askers share.

Nothing here sends a request or sleeps.
"""

from __future__ import annotations

import contextlib
import contextvars
import datetime
import email.utils
import os
import random
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from confusius_datasets.errors import NoRouteError, SettingError

__all__ = [
    "HostPauses",
    "Patience",
    "backoff_s",
    "current_patience",
    "most_retries",
    "parse_retry_after",
    "use_patience",
]


NO_ROUTE_RETRIES = 1
"""Retries where there was no connection from the start: whoever is offline wants to know soon."""

LONGEST_BACKOFF_S = 60.0
"""Longest time between two attempts where the host asks for none."""

_VARIABLE = "CONFUSIUS_DOWNLOAD_{}"


@dataclass(frozen=True, slots=True)
class Patience:
    """How patient to be with a host."""

    retries: int = 4
    backoff_s: float = 1.0
    stall_timeout_s: float = 30.0
    longest_wait_s: float = 3600.0

    @classmethod
    def from_environment(cls) -> Self:
        """Take the values that environment variables set, and the defaults for the rest."""
        given: dict[str, Any] = {}
        for field in fields(cls):
            variable = _VARIABLE.format(field.name.removesuffix("_s").upper())
            if text := os.environ.get(variable):
                given[field.name] = _parse_number(variable, text, whole=field.type == "int")
        return cls(**given)


def _parse_number(variable: str, text: str, *, whole: bool) -> float:
    """Read a number that is not negative from an environment variable."""
    try:
        number = int(text) if whole else float(text)
    except ValueError:
        number = -1
    if not 0 <= number < float("inf"):
        kind = "whole number" if whole else "number"
        raise SettingError(f"{variable}={text!r} must be a {kind}, 0 or more. Change or unset it.")
    return number


_current: contextvars.ContextVar[Patience | None] = contextvars.ContextVar("patience", default=None)


def current_patience() -> Patience:
    """Return the patience of this thread, or else of the environment."""
    return _current.get() or Patience.from_environment()


@contextlib.contextmanager
def use_patience(patience: Patience) -> Iterator[None]:
    """Let this thread be as patient as said."""
    token = _current.set(patience)
    try:
        yield
    finally:
        _current.reset(token)


def most_retries(error: Exception, patience: Patience, *, reached: bool) -> int:
    """Return how many attempts in a row may fail as one just has."""
    if isinstance(error, NoRouteError) and not reached:
        return min(NO_ROUTE_RETRIES, patience.retries)
    return patience.retries


def backoff_s(failed: int, patience: Patience) -> float:
    """Return how long to wait after some failures in a row."""
    seconds = patience.backoff_s * 2.0 ** min(failed - 1, 16)
    return min(seconds, max(LONGEST_BACKOFF_S, patience.backoff_s)) * random.uniform(0.5, 1.0)


def parse_retry_after(headers: Mapping[str, str], *, now: float | None = None) -> float | None:
    """Read how long a host asks to wait."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:12])
    until = _parse_date(text)
    if until is None:
        return None
    since = _parse_date(headers.get("Date", "")) or (time.time() if now is None else now)
    return max(until - since, 0.0)


def _parse_date(text: str) -> float | None:
    """Read an HTTP date as seconds since the epoch."""
    try:
        date = email.utils.parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=datetime.UTC)
    return date.timestamp()


class HostPauses:
    """Which hosts want no requests for now; shared by all threads.

    A host that says 429 is left alone by everyone, rather than asked by each in turn.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until: dict[str, float] = {}
        self._strikes: dict[str, int] = {}

    def left(self, host: str) -> float:
        """Say how long a host is still to be left alone."""
        return max(self._until.get(host, 0.0) - time.monotonic(), 0.0)

    def pause(self, host: str, seconds: float | None, patience: Patience) -> float:
        """Leave a host alone for as long as it asks, or longer each time if it does not say."""
        with self._lock:
            self._strikes[host] = self._strikes.get(host, 0) + 1
            # Asked to come back at once, one still leaves a moment: it has just refused.
            least = backoff_s(self._strikes[host], patience)
            until = time.monotonic() + (seconds or least)
            self._until[host] = max(self._until.get(host, 0.0), until)
        return self.left(host)

    def relax(self, host: str) -> None:
        """Take note that a host answers."""
        if host in self._strikes:
            with self._lock:
                self._strikes.pop(host, None)
