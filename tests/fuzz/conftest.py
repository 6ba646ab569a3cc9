"""How many damaged inputs of each kind are tried."""

from __future__ import annotations

import pytest

ORDINARY = 100
"""Trials of a kind in the ordinary run."""


@pytest.fixture
def trials(request: pytest.FixtureRequest) -> int:
    """Return the number of `--fuzz`, or a few hundred."""
    return int(request.config.getoption("--fuzz") or ORDINARY)


@pytest.fixture(autouse=True)
def _quiet_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing wait for a host that is on this machine."""
    monkeypatch.setenv("OSF_TOKEN", "known")  # who has one is not paced
    monkeypatch.setenv("CONFUSIUS_DOWNLOAD_RETRIES", "0")
    monkeypatch.setenv("CONFUSIUS_DOWNLOAD_BACKOFF", "0")
    monkeypatch.setenv("CONFUSIUS_DOWNLOAD_STALL_TIMEOUT", "2")
