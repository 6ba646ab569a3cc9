"""One request and its answer: kept-alive connections, headers of ours, and the user's proxies."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import threading
import urllib.parse
from collections.abc import Hashable, Mapping
from typing import Any

import requests
import requests.adapters
from urllib3.connectionpool import HTTPConnectionPool

__all__ = ["ask", "origin", "session"]

CONNECT_TIMEOUT_S = 10.0
"""Seconds a host has to accept a connection, if the patience is not shorter."""

KEPT_CONNECTIONS = 64
"""Idle connections that are kept of each host; there are never more than threads."""

_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
TELLING = (*_PROXIES, *map(str.upper, _PROXIES), "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""Variables that say how hosts are reached."""


class _Adapter(requests.adapters.HTTPAdapter):
    """What requests sends with, but for looking the same connections up anew for each request."""

    def __init__(self) -> None:
        super().__init__(pool_connections=16, pool_maxsize=KEPT_CONNECTIONS)
        self._pools: dict[Hashable, HTTPConnectionPool] = {}

    def get_connection_with_tls_context(
        self,
        request: requests.PreparedRequest,
        verify: bool | str,
        proxies: dict[str, str] | None = None,
        cert: Any = None,
    ) -> HTTPConnectionPool:
        """Return the connections to a host."""
        key = (origin(request.url or ""), verify, tuple((proxies or {}).items()), cert)
        pool = self._pools.get(key)
        if pool is None or pool.pool is None:  # closed, since there were too many hosts
            pool = super().get_connection_with_tls_context(request, verify, proxies, cert)
            self._pools[key] = pool
        return pool

    def request_url(self, request: requests.PreparedRequest, proxies: dict[str, str] | None) -> str:
        """Return what is named in the first line of a request."""
        return super().request_url(request, proxies) if proxies else request.path_url


_sessions: dict[int, requests.Session] = {}
_sessions_lock = threading.Lock()


def session() -> requests.Session:
    """Return this process's session; its pools keep connections for all threads."""
    with _sessions_lock:
        # A forked process must not share its parent's sockets.
        if os.getpid() not in _sessions:
            _sessions[os.getpid()] = _make_session()
        return _sessions[os.getpid()]


def _make_session() -> requests.Session:
    """Set a session up."""
    made = requests.Session()
    adapter = _Adapter()
    made.mount("https://", adapter)
    made.mount("http://", adapter)
    version = importlib.metadata.version("confusius-datasets")
    made.headers["User-Agent"] = f"confusius-datasets/{version} (+requests)"
    made.headers["Accept-Encoding"] = "identity"
    return made


def ask(url: str, headers: Mapping[str, str], timeout_s: float) -> requests.Response:
    """Send one request, past the session, which would look for proxies up to four times for each.

    Nor are hosts looked up in ~/.netrc, or cookies taken: these are credentials too.
    """
    here = session()
    request = _template(origin(url)).copy()
    request.url = requests.utils.requote_uri(url)
    request.headers.update(headers)
    surroundings = _surroundings(origin(url), tuple(map(os.environ.get, TELLING)))
    timeouts = (min(CONNECT_TIMEOUT_S, timeout_s), timeout_s)
    return here.get_adapter(url).send(request, timeout=timeouts, **surroundings)


@functools.lru_cache(maxsize=64)
def _template(origin: str) -> requests.PreparedRequest:
    """Prepare a request to a host, which takes as long as sending one; the rest is to be set."""
    return requests.Request("GET", origin, dict(session().headers)).prepare()


@functools.lru_cache(maxsize=64)
def _surroundings(origin: str, told: tuple[str | None, ...]) -> Mapping[str, Any]:
    """Find the proxy and the certificates that a host is to be asked with."""
    return session().merge_environment_settings(f"{origin}/", {}, True, None, None)


def origin(url: str) -> str:
    """Return scheme, host and port of an address."""
    parts = urllib.parse.urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
