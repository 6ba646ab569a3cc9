"""What every test runs under: no network but loopback, no variables of ours, an empty cache."""

from __future__ import annotations

import gc
import ipaddress
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from confusius_datasets._cache import PerProcess
from confusius_datasets._open import DATASETS
from confusius_datasets._sources import http
from confusius_datasets._sources.http import HttpClient
from confusius_datasets._text import print_once

settings.register_profile(
    "confusius",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("confusius")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # So a shell starts what is to run in the background; the processes of tests are interrupted.
    signal.signal(signal.SIGINT, signal.default_int_handler)

TOKENS = {"OSF_TOKEN", "DATAVERSE_TOKEN", "DATAVERSE_HOST", "OPENNEURO_TOKEN", "ZENODO_TOKEN"}

LOCAL_NAMES = {"localhost", ""}


def _is_loopback(host: object) -> bool:
    """Say whether an address stays on this machine."""
    if not isinstance(host, str) or host in LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let `--fuzz 4000` try as many damaged inputs of each kind as one has time for."""
    parser.addoption(
        "--fuzz",
        type=int,
        default=None,
        metavar="N",
        help="damaged inputs that are tried of each kind in tests/fuzz",
    )


def pytest_collection_finish() -> None:
    """Look for garbage less: not in what was imported and collected, and in old objects seldom."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*gc.get_threshold()[:2], 200)


@pytest.fixture(scope="session", autouse=True)
def _refuse_the_network() -> Iterator[None]:
    """Let no test of the whole run reach an address that is not this machine's."""
    patch = pytest.MonkeyPatch()
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def guarded_connect(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and not _is_loopback(address[0]):
            raise AssertionError(f"a test reached for {address!r}, beyond this machine")
        connect(self, address)

    def guarded_look_up(host: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if not _is_loopback(name):
            raise AssertionError(f"a test looked up {name!r}, beyond this machine")
        return look_up(host, *args, **kwargs)

    patch.setattr(socket.socket, "connect", guarded_connect)
    patch.setattr(socket, "getaddrinfo", guarded_look_up)
    yield
    patch.undo()


@pytest.fixture(autouse=True)
def _print_anew() -> None:
    """Let every test print what a process prints once."""
    print_once.cache_clear()


@pytest.fixture(autouse=True)
def _connect_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test learn of a host what an earlier one at the same port has asked for."""
    monkeypatch.setattr(http, "_shared_client", PerProcess(HttpClient))


@pytest.fixture(autouse=True)
def _register_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test leave a dataset in the table."""
    monkeypatch.setattr(DATASETS, "_registered", {})


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give every test an empty folder of datasets, and clear the variables that we read."""
    for name in list(os.environ):
        if name.startswith("CONFUSIUS_") or name in TOKENS or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    folder = tmp_path / "data"
    monkeypatch.setenv("CONFUSIUS_DATA", str(folder))
    return folder
