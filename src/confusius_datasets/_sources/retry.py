"""How long to wait for a host that fails or limits requests, and the one loop that tries again.

Nothing here sends a request.
"""

from __future__ import annotations

import datetime
import email.utils
import os
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self, TypeVar

from confusius_datasets._text import quote_short
from confusius_datasets.errors import (
    NoRouteError,
    RateLimitError,
    RemoteConnectionError,
    SettingError,
    SourceError,
)

__all__ = ["Pace", "RetryPolicy", "parse_retry_after", "retry"]

NO_ROUTE_RETRIES = 1
"""Retries where there was no connection from the start: whoever is offline wants to know soon."""

LONGEST_BACKOFF_S = 60.0
"""Longest time between two attempts where the host asks for none."""

LARGEST_NUMBER = 1_000_000_000
"""No count or time is set to more; sockets take no time that is much longer."""

_VARIABLE = "CONFUSIUS_DOWNLOAD_{}"

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often, and after which time, a host is asked again."""

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

    def backoff(self, failures_in_a_row: int) -> float:
        """Return how long to wait after some failures: twice as long each time, within bounds."""
        seconds = self.backoff_s * 2.0 ** min(max(failures_in_a_row, 1) - 1, 16)
        # Spread at random, or all who failed together would come back together.
        return min(seconds, max(LONGEST_BACKOFF_S, self.backoff_s)) * random.uniform(0.5, 1.0)

    def wait_after(
        self, error: SourceError, failures_in_a_row: int, *, answered: bool = False
    ) -> float | None:
        """Return how long to wait after an error, or `None` to give up.

        `answered` says whether the host has answered before, so that there is a network at all.
        """
        most = self.retries
        if isinstance(error, NoRouteError) and not answered:
            most = min(NO_ROUTE_RETRIES, most)
        if failures_in_a_row > most:
            return None
        if isinstance(error, RateLimitError) and error.retry_after is not None:
            return error.retry_after if error.retry_after <= self.longest_wait_s else None
        return self.backoff(failures_in_a_row)


def _parse_number(variable: str, text: str, *, whole: bool) -> float:
    """Read a number that is not negative from an environment variable."""
    try:
        number = int(text) if whole else float(text)
    except ValueError:
        number = -1
    if not 0 <= number <= LARGEST_NUMBER:
        kind = "whole number" if whole else "number"
        raise SettingError(
            f"{variable}={quote_short(text)} must be a {kind}, 0 or more. Change or unset it."
        )
    return number


def retry(
    attempt: Callable[[], _Result],
    policy: RetryPolicy,
    *,
    wait: Callable[[float, SourceError], None],
    moved: Callable[[SourceError], bool] = lambda error: False,
    answered: Callable[[], bool] = lambda: False,
) -> _Result:
    """Try until it works, or until it has failed too often in a row.

    `moved` says whether an attempt that failed brought something, so that the count begins anew.
    """
    failures_in_a_row = 0
    while True:
        try:
            return attempt()
        except (RateLimitError, RemoteConnectionError) as error:
            failures_in_a_row = 0 if moved(error) else failures_in_a_row + 1
            seconds = policy.wait_after(error, failures_in_a_row, answered=answered())
            if seconds is None:
                raise
            wait(seconds, error)


class Pace:
    """Keeps requests below a host's limits, so many in any stretch of some seconds each."""

    def __init__(
        self,
        limits: Iterable[tuple[int, float]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._sent = [(seconds, deque[float](maxlen=most)) for most, seconds in limits]

    def left(self) -> float:
        """Return the seconds until a request may be sent."""
        now = self._clock()
        full = ((seconds, sent) for seconds, sent in self._sent if len(sent) == sent.maxlen)
        return max((sent[0] + seconds - now for seconds, sent in full), default=0.0)

    def note(self) -> None:
        """Take note that a request is sent."""
        now = self._clock()
        for _, sent in self._sent:
            sent.append(now)


def parse_retry_after(headers: Mapping[str, str], *, now: float | None = None) -> float | None:
    """Read how long a host asks to wait: `Retry-After` is a number of seconds or a date."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:12])
    until = _parse_date(text)
    if until is None:
        return None
    # By the host's own clock where it tells the time: the one here may be wrong.
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
