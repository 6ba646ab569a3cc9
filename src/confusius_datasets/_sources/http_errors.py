"""What can go wrong with HTTP, in the package's own exceptions; the one place that words it.

Nothing here names a host: what its users can do about a refusal is handed in as hints.
"""

from __future__ import annotations

import http.client
import urllib.parse
from dataclasses import dataclass

from confusius_datasets._cache import OFFLINE_VARIABLE
from confusius_datasets._text import shorten
from confusius_datasets.errors import (
    HostUnreachableError,
    NoRouteError,
    OfflineError,
    RateLimitError,
    RemoteAccessError,
    RemoteConnectionError,
    RemoteNotFoundError,
    SourceError,
)

__all__ = [
    "NO_HINTS",
    "HostHints",
    "library_errors",
    "offline_error",
    "origin_of",
    "rate_limit_error",
    "shorten_url",
    "status_error",
    "translate",
    "web_page_error",
]


@dataclass(frozen=True, slots=True)
class HostHints:
    """What the users of a host can do, a sentence each.

    `access` where it refuses, `limit` where it limits requests, and `bad_request` where the host
    refuses with status 400, which means elsewhere that the request is wrong.
    """

    access: str = ""
    limit: str = ""
    bad_request: str = ""


NO_HINTS = HostHints()


def shorten_url(url: str) -> str:
    """Leave out of an address what must not be shown: a signature, a name and password."""
    address = url.partition("?")[0].partition("#")[0]
    scheme, colon, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    return shorten(f"{scheme}{colon}{host.rpartition('@')[2]}{slash}{path}")


def origin_of(url: str) -> str:
    """Return scheme, host and port of an address."""
    parts = urllib.parse.urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def offline_error(url: str) -> OfflineError:
    """Word that the network may not be used."""
    return OfflineError(
        f"{OFFLINE_VARIABLE} is set, so {shorten_url(url)} was not asked; unset it to use the "
        "network."
    )


def rate_limit_error(
    url: str, seconds: float, hints: HostHints, *, status: int | None = None
) -> RateLimitError:
    """Word that a host limits requests; without a status, that it did so a while ago."""
    host, shown = shorten(urllib.parse.urlsplit(url).netloc), shorten_url(url)
    asked = f"status {status} for {shown}" if status else f"{shown} was not asked"
    text = f"{host} limits requests: wait {seconds:.0f} s, then call again ({asked})."
    return RateLimitError(_join(text, hints.limit), url=shown, retry_after=seconds)


def web_page_error(url: str, hints: HostHints) -> RemoteAccessError:
    """Word that a page for people came in the place of a file."""
    text = (
        f"{shorten_url(url)} answered with a web page instead of the file: it is private, was "
        "removed, or its host asks for a login."
    )
    return RemoteAccessError(_join(text, hints.access), url=shorten_url(url))


def status_error(url: str, status: int, hints: HostHints) -> SourceError:
    """Turn a status into the error it stands for."""
    shown = shorten_url(url)
    if status in (404, 410):
        return RemoteNotFoundError(
            f"{shown} does not exist (status {status}). If the dataset has changed since its "
            "index was fetched, pass refresh=True.",
            url=shown,
        )
    if status == 400 and hints.bad_request:
        text = f"{shown} was refused (status 400)."
        return RemoteAccessError(_join(text, hints.bad_request), url=shown)
    if status in (401, 403):
        text = f"{shown} is not public (status {status})."
        return RemoteAccessError(_join(text, hints.access), url=shown)
    if status in (408, 425) or status >= 500:
        return RemoteConnectionError(
            f"{shown} failed with status {status}: the host has a problem. Call again later.",
            url=shown,
        )
    return SourceError(
        f"{shown} did not give what was asked for (status {status}). If it is a mirror, it is set "
        "up wrongly.",
        url=shown,
    )


def library_errors() -> tuple[type[Exception], ...]:
    """Return what requests, urllib3 and sockets raise, for an `except`.

    The last ones are what these libraries let through of answers and addresses that make no sense.
    """
    import urllib3.exceptions

    ours = (urllib3.exceptions.HTTPError, OSError)  # those of requests are OSErrors
    return (*ours, http.client.HTTPException, ValueError, OverflowError, LookupError)


def translate(error: Exception, url: str, *, asking: bool = False) -> SourceError:
    """Say in our terms what an exception of a library means.

    `asking` says that no answer has begun to come.
    """
    import requests
    import urllib3.exceptions as library

    wrong_address = (
        requests.exceptions.InvalidURL,
        requests.exceptions.InvalidSchema,
        requests.exceptions.MissingSchema,
        requests.exceptions.InvalidHeader,
        library.InvalidHeader,
        library.LocationValueError,
        *((ValueError, OverflowError, LookupError) if asking else ()),
    )
    shown, reason = shorten_url(url), _find_reason(error)
    # Once there was a connection, what breaks it may be passing.
    if asking and isinstance(error, library.SSLError):
        return SourceError(
            f"{shown}: no secure connection ({reason}). Nothing was sent. If the network has "
            "certificates of its own, name them in REQUESTS_CA_BUNDLE.",
            url=shown,
        )
    if isinstance(error, wrong_address):  # no retry makes this right
        return SourceError(f"{shown} cannot be asked: {reason}.", url=shown)
    if asking and isinstance(error, library.TimeoutError | library.ProxyError):
        no_route = not isinstance(error, library.ReadTimeoutError)
        kind = NoRouteError if no_route else HostUnreachableError
        return kind(
            f"{shown} does not answer ({reason}). Check the connection, then call again.", url=shown
        )
    return RemoteConnectionError(
        f"{shown} broke the connection off ({reason}). Call again: it goes on from there.",
        url=shown,
    )


def _find_reason(error: BaseException) -> str:
    """Find the innermost reason of a library's exception."""
    inner: BaseException = error
    while True:
        following = getattr(inner, "reason", None) or (inner.args[0] if inner.args else None)
        if not isinstance(following, BaseException):
            break
        inner = following
    text = str(inner.args[-1]) if isinstance(inner, OSError) and inner.args else str(inner)
    return shorten(text) or type(inner).__name__


def _join(text: str, hint: str) -> str:
    """Put a hint behind a sentence, if there is one."""
    return f"{text} {hint}" if hint else text
