"""How long a host is waited for."""

from __future__ import annotations

import time

import pytest

from confusius_datasets._download import DownloadSettings
from confusius_datasets._sources import RetryPolicy, retry
from confusius_datasets._sources.http import HostPauses
from confusius_datasets._sources.retry import parse_retry_after
from confusius_datasets.errors import (
    HostUnreachableError,
    NoRouteError,
    RateLimitError,
    RemoteConnectionError,
    RemoteNotFoundError,
    SettingError,
    SourceError,
)

NOON = "Wed, 25 Nov 2026 12:00:00 GMT"
NOON_S = 1795608000.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("99999999999999999999", 999999999999.0),
        ("Wed, 25 Nov 2026 12:02:00 GMT", 120.0),
        ("Wed, 25 Nov 2026 11:00:00 GMT", 0.0),
        ("Wednesday, 25-Nov-26 12:02:00 GMT", 120.0),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("٣", None),
        ("Wed, 99 Nov 2026 12:00:00 GMT", None),
    ],
)
def test_retry_after_is_read_in_all_its_forms(text: str, seconds: float | None) -> None:
    """Seconds and dates are understood, and nonsense is nothing."""
    assert parse_retry_after({"Retry-After": text}, now=NOON_S) == seconds


def test_retry_after_that_is_a_date_goes_by_the_hosts_clock() -> None:
    """A clock that is wrong on this machine does no harm."""
    headers = {"Retry-After": "Wed, 25 Nov 2026 12:00:30 GMT", "Date": NOON}

    assert parse_retry_after(headers, now=0.0) == 30.0


def test_backoff_doubles_within_bounds_and_is_spread() -> None:
    """Each failure waits longer, none for ever, and not all for the same time."""
    policy = RetryPolicy(backoff_s=1.0)

    for failed in (1, 2, 3, 50):
        longest = min(2.0 ** (failed - 1), 60.0)
        waits = [policy.backoff(failed) for _ in range(200)]
        assert longest / 2 <= min(waits) < max(waits) <= longest


def count_attempts(
    error: SourceError, policy: RetryPolicy, *, moves: int = 0, answered: bool = False
) -> tuple[int, list[float]]:
    """Let every attempt fail the same way; return how many there were, and the waits."""
    waits: list[float] = []
    attempts = 0

    def attempt() -> None:
        nonlocal attempts
        attempts += 1
        raise error

    with pytest.raises(type(error)) as caught:
        retry(
            attempt,
            policy,
            wait=lambda seconds, reason: waits.append(seconds),
            moved=lambda reason: attempts <= moves,
            answered=lambda: answered,
        )
    assert caught.value is error
    return attempts, waits


def test_no_route_is_retried_less_than_a_host_that_was_there() -> None:
    """Whoever is offline learns it soon; a host that has answered is given its time."""
    policy = RetryPolicy(retries=4)

    assert count_attempts(NoRouteError("x"), policy)[0] == 2
    assert count_attempts(NoRouteError("x"), policy, answered=True)[0] == 5
    assert count_attempts(HostUnreachableError("x"), policy)[0] == 5
    assert count_attempts(NoRouteError("x"), RetryPolicy(retries=0))[0] == 1


def test_attempts_that_bring_something_do_not_count() -> None:
    """Only failures in a row end the loop."""
    policy = RetryPolicy(retries=2)

    assert count_attempts(RemoteConnectionError("x"), policy, moves=7)[0] == 10


def test_wait_is_what_the_host_asks_within_bounds() -> None:
    """`retry_after` is waited for exactly; more than the longest wait is an error at once."""
    policy = RetryPolicy(retries=2, longest_wait_s=60)

    assert count_attempts(RateLimitError("x", retry_after=60), policy) == (3, [60, 60])
    assert count_attempts(RateLimitError("x", retry_after=61), policy) == (1, [])


def test_other_errors_are_not_retried() -> None:
    """What no retry makes right is raised at once."""
    assert count_attempts(RemoteNotFoundError("x"), RetryPolicy()) == (1, [])


def test_pause_holds_for_the_host_that_asked() -> None:
    """One host's wish is no other's, and the longest wish counts."""
    pauses = HostPauses()
    pauses.pause("a", 10.0, RetryPolicy())
    pauses.pause("a", 1.0, RetryPolicy())

    assert 9 < pauses.left("a") <= 10
    assert pauses.left("b") == 0


@pytest.mark.slow
def test_pause_of_a_host_that_does_not_say_grows_until_it_answers() -> None:
    """Refusals without a time are waited for longer each time."""
    pauses, policy = HostPauses(), RetryPolicy(backoff_s=0.001)
    for _ in range(12):
        longest = pauses.pause("a", None, policy)
    pauses.relax("a")
    time.sleep(longest)

    assert longest > 0.5
    assert pauses.pause("a", None, policy) < 0.01


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each setting has its variable; what is not set has its default."""
    monkeypatch.setenv("CONFUSIUS_DOWNLOAD_WORKERS", "3")
    monkeypatch.setenv("CONFUSIUS_DOWNLOAD_STALL_TIMEOUT", "2.5")
    monkeypatch.setenv("CONFUSIUS_DOWNLOAD_RETRIES", "")

    settings = DownloadSettings.from_environment()

    assert settings == DownloadSettings(workers=3, stall_timeout_s=2.5)


@pytest.mark.parametrize("text", ["many", "-1", "1.5", "inf", "nan"])
def test_setting_that_is_no_number_is_named(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """A wrong variable is an error that says which, and what it has."""
    monkeypatch.setenv("CONFUSIUS_DOWNLOAD_RETRIES", text)

    with pytest.raises(SettingError, match=f"CONFUSIUS_DOWNLOAD_RETRIES='{text}' must be a whole"):
        DownloadSettings.from_environment()


def test_no_workers_at_all_are_one() -> None:
    """A download always has somebody to do it."""
    assert DownloadSettings(workers=0).workers == 1
