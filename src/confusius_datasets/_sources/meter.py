"""Connections whose answers make progress: headers, chunk lines and bodies are measured alike.

A socket's own timeout is for one read: a host that sends a byte a second never meets it. So what
`http.client` reads goes through a meter. This file imports `requests`, so import it when needed.
"""

from __future__ import annotations

import functools
import http.client
import io
import time
from typing import TYPE_CHECKING, Any

import requests

if TYPE_CHECKING:
    from socket import socket

    from typing_extensions import Buffer

__all__ = ["Adapter", "Meter", "meter_of"]

SLOWEST_BYTES_PER_S = 100
"""A host that sends fewer has stalled."""

LONGEST_TIMEOUT_S = 1e9
"""What stands for no timeout at all; sockets know no infinity."""

LONGEST_HEAD_NBYTES = 1 << 20
"""Bytes of status line and headers, those of "100 Continue" and of a proxy included."""


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
        self._stall_s = socket.gettimeout() or LONGEST_TIMEOUT_S
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
        self._socket.settimeout(patience)
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


class _Answer(http.client.HTTPResponse):
    """An answer that is read through a meter."""

    def __init__(self, sock: socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.meter = Meter(self.fp.detach(), sock)
        self.fp = io.BufferedReader(self.meter)

    def begin(self) -> None:
        """Read status line and headers; what comes then may take longer."""
        super().begin()
        self.meter.allow(None)


class Adapter(requests.adapters.HTTPAdapter):
    """What sends requests for `requests`, with a meter on each answer, through proxies too."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pools of connections to hosts."""
        super().init_poolmanager(*args, **kwargs)
        _meter_pools(self.poolmanager)

    def build_response(self, req: requests.PreparedRequest, resp: Any) -> requests.Response:
        """Make an answer without cookies, which nobody may keep, and without a guessed encoding."""
        response = requests.Response()
        response.status_code, response.reason = resp.status, resp.reason
        response.headers = requests.structures.CaseInsensitiveDict(resp.headers)
        response.url, response.raw = str(req.url), resp
        response.request, response.connection = req, self
        return response

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        """Make the pools of connections to a proxy."""
        manager = super().proxy_manager_for(*args, **kwargs)
        _meter_pools(manager)
        return manager


def meter_of(response: requests.Response) -> Meter:
    """Return the meter of an answer that one of our adapters got."""
    # `requests` itself takes cookies from there: there is no other way to what urllib3 wraps.
    meter: Meter = response.raw._original_response.meter
    return meter


def _meter_pools(manager: Any) -> None:
    """Let a manager make pools whose connections give answers with a meter."""
    pools = manager.pool_classes_by_scheme
    manager.pool_classes_by_scheme = {scheme: _metered(pool) for scheme, pool in pools.items()}


@functools.cache
def _metered(pool: Any) -> Any:
    """Derive a class of pools whose connections give answers with a meter."""
    if getattr(pool.ConnectionCls, "response_class", None) is _Answer:
        return pool
    connection = type("Connection", (pool.ConnectionCls,), {"response_class": _Answer})
    return type("Pool", (pool,), {"ConnectionCls": connection})
