"""The bytes of an HTTP answer as they arrive, and what can go wrong with them.

Answers that are not what was asked for are told from good ones here; nothing here sends a request.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import requests
import urllib3.exceptions

from confusius_datasets._sources.patience import current_patience
from confusius_datasets.errors import (
    HostUnreachableError,
    NoRouteError,
    RemoteAccessError,
    RemoteConnectionError,
    SourceError,
)

__all__ = ["HttpStream", "make_stream", "map_errors", "shorten"]

PIECE = 1 << 20
"""Most bytes that are given at a time."""

SLOWEST = 100
"""Bytes a second that are no progress: a host that sends fewer has stalled."""

_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


@dataclass(slots=True)
class HttpStream:
    """Bytes of one file as they arrive; a context manager that frees the connection."""

    response: requests.Response
    start: int
    total: int | None
    validator: str | None
    ranges: bool
    decoded: bool = False

    @property
    def url(self) -> str:
        """Where the bytes come from, without what must not be shown."""
        return shorten(self.response.url)

    def __iter__(self) -> Iterator[bytes]:
        patience = current_patience()
        spent, received = 0.0, 0
        pieces = self._read()
        while True:
            begun = time.monotonic()
            piece = next(pieces, b"")
            # Only the time spent waiting for the host counts, not what is done with the bytes.
            spent += time.monotonic() - begun
            if not piece:
                return
            received += len(piece)
            yield piece
            if spent >= patience.stall_timeout_s:
                if received < SLOWEST * spent:
                    raise self._stalled(received, spent)
                spent, received = 0.0, 0

    def _read(self) -> Iterator[bytes]:
        """Give bytes as soon as there are some."""
        raw = self.response.raw
        with map_errors(self.response.url):
            if self.decoded:
                yield from raw.stream(PIECE, decode_content=True)
                return
            # `read` would wait for a full piece, and a host that trickles would go unnoticed.
            while piece := raw.read1(PIECE, decode_content=False):
                yield piece

    def _stalled(self, received: int, spent: float) -> RemoteConnectionError:
        """Word that a host sends hardly anything."""
        shown = shorten(self.response.url)
        return RemoteConnectionError(
            f"{shown} has stalled: {received} bytes in {spent:.0f} s. Call again later.", url=shown
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the connection; it is kept if the body was read to its end."""
        self.response.close()


def make_stream(
    response: requests.Response, start: int, size: int | None, *, page: bool
) -> HttpStream | None:
    """Make a stream of an answer, if it is one to what was asked."""
    if response.status_code == 206:
        return _make_ranged(response, start)
    if response.status_code == 416:
        response.close()
        return None
    if not page and response.headers.get("Content-Type", "").lower().startswith("text/html"):
        shown = shorten(response.url)
        response.close()
        raise RemoteAccessError(
            f"{shown} answered with a web page instead of the file: it is private, was removed, or "
            "its host wants a login. If it is yours, set OSF_TOKEN.",
            url=shown,
        )
    length = response.headers.get("Content-Length", "")
    total = int(length) if length.isascii() and length.isdigit() else None
    encoded = response.headers.get("Content-Encoding", "identity").lower() != "identity"
    # Stores hand out a .gz file under this header too. Then what comes is already the file, as its
    # length shows.
    decoded = encoded and (total is None or total != size)
    ranges = response.headers.get("Accept-Ranges", "").lower() == "bytes" and not encoded
    return HttpStream(
        response, 0, None if decoded else total, _strong(response), ranges, decoded=decoded
    )


def _make_ranged(response: requests.Response, start: int) -> HttpStream | None:
    """Make a stream of an answer to a range, if it is the range that was asked for."""
    match = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    encoded = response.headers.get("Content-Encoding", "identity").lower() != "identity"
    if match is None or int(match[1]) != start or encoded:
        response.close()
        return None
    total = None if match[3] == "*" else int(match[3])
    return HttpStream(response, start, total, _strong(response), ranges=True)


def _strong(response: requests.Response) -> str | None:
    """Return the validator of an answer if equal ones mean equal bytes."""
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else None


def shorten(url: str) -> str:
    """Leave out of an address what must not be shown: a signature, a name and password."""
    address = url.partition("?")[0].partition("#")[0]
    scheme, colon, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{colon}{host.rpartition('@')[2]}{slash}{path}"


@contextlib.contextmanager
def map_errors(url: str, *, asking: bool = False) -> Iterator[None]:
    """Turn the exceptions of the libraries below into ours; the only place that knows them."""
    try:
        yield
    # An exception of requests is an OSError too, as those of sockets are.
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise _translate(error, shorten(url), asking=asking) from error


def _translate(error: Exception, shown: str, *, asking: bool) -> SourceError:
    """Say in our terms what an exception of the libraries below means."""
    reason = _reason(error)
    if isinstance(error, requests.exceptions.SSLError):
        return SourceError(
            f"{shown}: no secure connection ({reason}). Nothing was sent. If the network has "
            "certificates of its own, name them in REQUESTS_CA_BUNDLE.",
            url=shown,
        )
    if isinstance(error, _WRONG):
        return SourceError(f"{shown} cannot be asked: {reason}.", url=shown)
    if asking and (isinstance(error, _UNANSWERED) or _is_refused(error)):
        kind = NoRouteError if _is_refused(error) else HostUnreachableError
        return kind(
            f"{shown} does not answer ({reason}). Check the connection, then call again.", url=shown
        )
    return RemoteConnectionError(
        f"{shown} broke the connection off ({reason}). Call again: it goes on from there.",
        url=shown,
    )


def _is_refused(error: Exception) -> bool:
    """Say whether there was no connection in the first place."""
    inner = error.args[0] if error.args else None
    return isinstance(inner, urllib3.exceptions.MaxRetryError)


_UNANSWERED = (requests.exceptions.Timeout, requests.exceptions.ProxyError)
"""Raised while waiting for an answer."""

_WRONG = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
    requests.exceptions.InvalidHeader,
    urllib3.exceptions.LocationValueError,
)
"""Raised for what no retry makes right."""


def _reason(error: BaseException) -> str:
    """Find the innermost reason of a library's exception."""
    inner: BaseException = error
    while True:
        following = getattr(inner, "reason", None) or (inner.args[0] if inner.args else None)
        if not isinstance(following, BaseException):
            break
        inner = following
    text = str(inner.args[-1]) if isinstance(inner, OSError) and inner.args else str(inner)
    return text or type(inner).__name__
