"""Connections to hosts, whose answers make progress: headers, chunk lines and bodies alike.

`requests` finds the user's proxies and certificates, and urllib3 sends: what `requests` does around
that took a sixth of the time of a small file. A socket's own timeout is for one read: a host that
sends a byte a second never meets it. So what `http.client` reads goes through a meter. This file
imports `requests`, so import it when needed.
"""

from __future__ import annotations

import copy
import functools
import http.client
import importlib.metadata
import io
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import requests
import urllib3

from confusius_datasets._sources.http_errors import library_errors, origin_of
from confusius_datasets._text import quote
from confusius_datasets.errors import SettingError

if TYPE_CHECKING:
    from socket import socket

    from typing_extensions import Buffer

__all__ = ["PLAIN_ADDRESS", "Answer", "Connections", "Meter"]

SLOWEST_BYTES_PER_S = 100
"""A host that sends fewer has stalled."""

LONGEST_TIMEOUT_S = 1e9
"""What stands for no timeout at all; sockets know no infinity."""

LONGEST_HEAD_NBYTES = 1 << 20
"""Bytes of status line and headers, those of "100 Continue" and of a proxy included."""

CONNECT_TIMEOUT_S = 10.0
"""Seconds a host has to accept a connection, if the policy is not shorter."""

SHORTEST_TIMEOUT_S = 0.001
"""A timeout of 0 would not wait at all."""

KEPT_CONNECTIONS = 64
"""Idle connections that are kept of each host; there are never more than threads."""

SMALL_BODY_NBYTES = 1 << 16
"""Bytes of an unwanted body that are read so that its connection can be used again."""

UNWANTED_BODY_S = 1.0
"""Seconds that an unwanted body may take; a new connection takes less."""

REDIRECTS = (301, 302, 303, 307, 308)

_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_CERTIFICATE_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_ROUTE_VARIABLES = (*_PROXIES, *map(str.upper, _PROXIES), *_CERTIFICATE_VARIABLES)

_STAYS = r"[\w.~!$&'()*+,;=:@/-]++|%(?:2[0-9A-CF]|3[A-F]|40|[89A-F][0-9A-F])"
"""What stays as it is in an address; of what is encoded, only what has to be."""

PLAIN_ADDRESS = re.compile(
    rf"(https?://[a-z0-9][a-z0-9.-]*(?::\d+)?)(?![^?]*/\.)"
    rf"((?:/(?:{_STAYS})*+(?:\?(?:{_STAYS}|\?)++)?)?)",
    re.ASCII,
)
"""Addresses that `requests` sends as they are, in two parts: to which host, and what is asked."""


class Meter(io.RawIOBase):
    """The bytes of one answer, none of which may be late or too many.

    Parameters
    ----------
    raw : io.RawIOBase
        What the socket gives.
    socket : socket.socket
        The socket; its timeout is how long a host may be silent.
    """

    def __init__(self, raw: io.RawIOBase, socket: socket) -> None:
        self._raw = raw
        self._socket = socket
        self._timeout_s = self._stall_s = socket.gettimeout() or LONGEST_TIMEOUT_S
        self._spent = 0.0
        self._received = 0
        self.complaint = ""
        # No part of the headers may take longer than the first byte may.
        self.allow(LONGEST_HEAD_NBYTES, within_s=self._stall_s)

    def allow(self, nbytes: int | None, *, within_s: float | None = None) -> None:
        """Say how many bytes may come until this is said anew, and how long that may take."""
        self._left = nbytes
        self._deadline = None if within_s is None else time.monotonic() + within_s

    def readable(self) -> bool:
        """Say that this can be read."""
        return True

    def fileno(self) -> int:
        """Return the number of the socket."""
        return self._raw.fileno()

    def readinto(self, buffer: Buffer) -> int | None:
        """Read what there is, unless it comes too late, too slowly, or is too much."""
        begun = time.monotonic()
        patience = self._stall_s
        if self._deadline is not None:
            patience = min(patience, self._deadline - begun)
            if patience <= 0:
                raise self._timeout()
        # To set a timeout is a call of the system: one that is about the same will do.
        if not patience <= self._timeout_s <= 1.1 * patience:
            self._socket.settimeout(patience)
            self._timeout_s = patience
        nbytes: int | None = self._raw.readinto(buffer)
        # Only the time spent waiting for the host counts, not what is done with the bytes.
        self._spent += time.monotonic() - begun
        self._received += nbytes or 0
        if self._left is not None:
            self._left -= nbytes or 0
            if self._left < 0:
                self.complaint = "sends headers without end"
                raise OSError(self.complaint)
        if nbytes and self._spent >= self._stall_s:
            if self._received < SLOWEST_BYTES_PER_S * self._spent:
                raise self._timeout()
            self._spent, self._received = 0.0, 0
        return nbytes

    def close(self) -> None:
        """Let the socket go."""
        self._raw.close()
        super().close()

    def _timeout(self) -> TimeoutError:
        """Word that the host is too slow."""
        self.complaint = f"has stalled: {self._received} bytes in {self._spent:.0f} s"
        return TimeoutError(self.complaint)


class _MeteredResponse(http.client.HTTPResponse):
    """An answer that is read through a meter."""

    def __init__(self, sock: socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.meter = Meter(self.fp.detach(), sock)
        # With a small file, head and body come at once.
        self.fp = io.BufferedReader(self.meter, SMALL_BODY_NBYTES)

    def begin(self) -> None:
        """Read status line and headers; what comes then may take longer."""
        super().begin()
        self.meter.allow(None)


@dataclass(slots=True)
class Answer:
    """What a host answered, where it came from, and the addresses that led there."""

    url: str
    raw: urllib3.BaseHTTPResponse
    way: list[str]

    @property
    def status(self) -> int:
        """The status of the answer."""
        return self.raw.status

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, whose names are found in upper and lower case."""
        return self.raw.headers

    @property
    def location(self) -> str | None:
        """Where a redirect leads; `None` for all other answers."""
        return self.raw.headers.get("Location") if self.raw.status in REDIRECTS else None

    @property
    def meter(self) -> Meter:
        """What the answer is read through."""
        # There is no public way to what urllib3 wraps; `requests` takes cookies from there, too.
        meter: Meter = self.raw._original_response.meter  # type: ignore[attr-defined]
        return meter

    def let_go(self) -> None:
        """Give up an answer whose body does not matter, so that its connection is used again."""
        # Whoever sends it byte after byte would keep a thread for hours.
        self.meter.allow(2 * SMALL_BODY_NBYTES, within_s=UNWANTED_BODY_S)
        try:
            self.raw.read(SMALL_BODY_NBYTES)
        except library_errors():
            pass  # a connection that broke is not used again
        self.close()

    def close(self) -> None:
        """Free the connection; it is kept if the body was read to its end."""
        self.raw.close()
        self.raw.release_conn()


@dataclass(frozen=True, slots=True)
class _Route:
    """The way to a host: what sends a request there, and whether it is told whole addresses."""

    ask: Callable[..., urllib3.BaseHTTPResponse]
    tells_all: bool


class Connections:
    """Kept-alive connections, headers of ours, and the user's proxies and certificates."""

    def __init__(self) -> None:
        self._session = requests.Session()
        self._adapter = _Adapter(pool_connections=16, pool_maxsize=KEPT_CONNECTIONS)
        version = importlib.metadata.version("confusius-datasets")
        self._headers = {
            "User-Agent": f"confusius-datasets/{version} (+requests)",
            "Accept-Encoding": "identity",
        }
        self._routes: dict[tuple[str | None, ...], _Route] = {}
        self._of_call: dict[str, _Route] | None = None

    def for_call(self) -> Connections:
        """Return the same connections for one call: what the environment says then, counts."""
        other = copy.copy(self)
        other._of_call = {}
        return other

    def send(
        self, url: str, headers: Mapping[str, str], timeout_s: float, body: bytes | None = None
    ) -> Answer:
        """Send one request.

        A session of `requests` would look for passwords in ~/.netrc, keep cookies, and read the
        whole body of a redirect however long it is.
        """
        method = "GET" if body is None else "POST"
        sent = {**self._headers, **headers}
        if match := PLAIN_ADDRESS.fullmatch(url):
            origin, target = match[1], match[2] or "/"
        else:
            request = requests.PreparedRequest()
            request.prepare(method=method, url=url, headers=sent, data=body)
            url, sent = str(request.url), cast("dict[str, str]", dict(request.headers))
            origin, target = origin_of(url), request.path_url
        route = self._route(origin)
        raw = route.ask(
            method,
            url if route.tells_all else target,
            body=body,
            headers=sent,
            timeout=_timeout(timeout_s),
            preload_content=False,
            decode_content=False,
        )
        return Answer(url, raw, [url])

    def close(self) -> None:
        """Close the idle connections."""
        self._routes.clear()
        self._adapter.close()

    def _route(self, origin: str) -> _Route:
        """Find the way to a host, once in a call."""
        if self._of_call is None:
            return self._find_route(origin)
        if origin not in self._of_call:
            self._of_call[origin] = self._find_route(origin)
        return self._of_call[origin]

    def _find_route(self, origin: str) -> _Route:
        """Find the way to a host; `requests` takes long to look up proxies and certificates."""
        key = (origin, *map(os.environ.get, _ROUTE_VARIABLES))
        route = self._routes.get(key)
        if route is None:
            address = f"{origin}/"
            found = self._session.merge_environment_settings(address, {}, None, None, None)
            verify, proxies = found["verify"], found["proxies"]
            _check_certificates(verify)
            request = requests.Request("GET", address).prepare()
            pool = self._adapter.get_connection_with_tls_context(request, verify, proxies)
            self._adapter.cert_verify(pool, address, verify, None)
            tells_all = self._adapter.request_url(request, proxies) != request.path_url
            route = self._routes[key] = _Route(_sender(pool), tells_all)
        return route


@functools.lru_cache(16)
def _timeout(seconds: float) -> urllib3.Timeout:
    """Return the timeouts of a request to a host that may be silent for so long."""
    seconds = max(seconds, SHORTEST_TIMEOUT_S)
    return urllib3.Timeout(connect=min(CONNECT_TIMEOUT_S, seconds), read=seconds)


def _check_certificates(place: object) -> None:
    """Refuse certificates that an environment variable names, and that are not there."""
    if not isinstance(place, str) or Path(place).exists():
        return
    named = [name for name in _CERTIFICATE_VARIABLES if os.environ.get(name) == place]
    raise SettingError(
        f"{' or '.join(named)}={quote(place)}: there is no such file "
        "or folder of certificates. Nothing was sent. Correct or unset it."
    )


class _Adapter(requests.adapters.HTTPAdapter):
    """What makes connections for `requests`, with a meter on each, through proxies too."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pools of connections to hosts."""
        super().init_poolmanager(*args, **kwargs)
        _meter_pools(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        """Make the pools of connections to a proxy."""
        manager = super().proxy_manager_for(*args, **kwargs)
        _meter_pools(manager)
        return manager


def _meter_pools(manager: Any) -> None:
    """Let a manager make pools whose connections give answers with a meter."""
    pools = manager.pool_classes_by_scheme
    manager.pool_classes_by_scheme = {scheme: _metered(pool) for scheme, pool in pools.items()}


@functools.cache
def _metered(pool: Any) -> Any:
    """Derive a class of pools whose connections give answers with a meter."""
    if issubclass(pool, _Asking):
        return pool
    connection = type("Connection", (pool.ConnectionCls,), {"response_class": _MeteredResponse})
    return type("Pool", (_Asking, pool), {"ConnectionCls": connection})


class _Asking:
    """What we add to the pools of urllib3."""

    def ask(self: Any, method: str, target: str, **options: Any) -> urllib3.BaseHTTPResponse:
        """Send one request to the pool's own host, without a proxy.

        `urlopen` looks at each character of an address, and for retries and redirects besides,
        which takes a tenth of the time of a small file.
        """
        connection = self._get_conn()
        try:
            answer: urllib3.BaseHTTPResponse = self._make_request(
                connection, method, target, response_conn=connection, **options
            )
        except BaseException:
            connection.close()
            self._put_conn(None)  # room for another
            raise
        return answer


def _sender(pool: Any) -> Callable[..., urllib3.BaseHTTPResponse]:
    """Return what sends requests through a pool."""
    if pool.proxy is None:
        ask: Callable[..., urllib3.BaseHTTPResponse] = pool.ask
        return ask
    # When to try again is not for a library to say, which knows of no pauses.
    return functools.partial(
        pool.urlopen, retries=urllib3.Retry(False), redirect=False, assert_same_host=False
    )
