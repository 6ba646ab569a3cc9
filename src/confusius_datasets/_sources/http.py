"""Addresses, answered: redirects walked by ourselves, hosts left alone, errors of ours.

Redirects are followed here, one by one, so that credentials go to the hosts they are meant for and
nothing goes from https to http. Where a redirect led is remembered, so that going on with a file
costs one request.
"""

from __future__ import annotations

import contextlib
import threading
import urllib.parse
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

import requests

from confusius_datasets._cache import OFFLINE_VARIABLE, is_offline
from confusius_datasets._sources.http_session import ask, origin
from confusius_datasets._sources.http_stream import HttpStream, make_stream, map_errors, shorten
from confusius_datasets._sources.patience import HostPauses, current_patience, parse_retry_after
from confusius_datasets.errors import (
    OfflineError,
    RateLimitError,
    RemoteAccessError,
    RemoteConnectionError,
    RemoteNotFoundError,
    SourceError,
)

__all__ = ["Credentials", "next_address", "open_stream"]

MOST_HOPS = 10
"""Redirects that are followed; OSF has two."""

SMALL_BODY = 1 << 16
"""Bytes of a redirect's body that are read so that its connection can be used again."""

ANSWERS = (200, 203, 206, 416)
"""Statuses of an answer to what was asked; 416 says that the range is none."""

NOT_ANY_MORE = (400, 401, 403, 404, 410)
"""What the store answers to a signed address that has expired."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """A token, and where it may be sent."""

    token: str = field(repr=False)
    origins: frozenset[str]

    @classmethod
    def for_addresses(cls, token: str, *urls: str) -> Credentials:
        """Let a token be sent to the hosts of some addresses."""
        return cls(token, frozenset(map(origin, urls) if token else ()))

    def headers_for(self, url: str) -> dict[str, str]:
        """Return the headers that prove who asks, for hosts that may know."""
        return {"Authorization": f"Bearer {self.token}"} if origin(url) in self.origins else {}


NOBODY = Credentials("", frozenset())


class _Addresses:
    """Where redirects led, for as long as it is of use; shared by all threads."""

    def __init__(self, most: int = 256) -> None:
        self._lock = threading.Lock()
        self._found: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._most = most

    def get(self, url: str, credentials: Credentials) -> str | None:
        """Return the address behind another, if it is known."""
        return self._found.get((url, credentials.token))

    def set(self, url: str, credentials: Credentials, target: str | None) -> None:
        """Remember the address behind another, or forget it."""
        with self._lock:
            self._found.pop((url, credentials.token), None)
            if target is not None:
                self._found[url, credentials.token] = target
            if len(self._found) > self._most:
                self._found.popitem(last=False)


_addresses = _Addresses()
_pauses = HostPauses()


def open_stream(
    url: str,
    *,
    start: int = 0,
    stop: int | None = None,
    validator: str | None = None,
    credentials: Credentials = NOBODY,
    size: int | None = None,
    page: bool = False,
) -> HttpStream:
    """Open the bytes behind an address at an offset."""
    ranged = bool(start) or stop is not None
    headers = _range_headers(start, stop, validator) if ranged else {}
    response = _ask_again(url, headers, credentials) if ranged else None
    response = response or _walk(url, headers, credentials)
    stream = make_stream(response, start, size, page=page)
    if stream is None:
        # The range cannot be had, or the answer is another one than was asked for.
        stream = make_stream(_walk(url, {}, credentials), 0, size, page=page)
    if stream is None:
        raise SourceError(f"{shorten(url)} gives no usable answer.", url=shorten(url))
    return stream


def _range_headers(start: int, stop: int | None, validator: str | None) -> dict[str, str]:
    """Ask for a range, and for it only while the content is the same."""
    headers = {"Range": f"bytes={start}-{'' if stop is None else stop - 1}"}
    return headers | ({"If-Range": validator} if validator else {})


def _ask_again(
    url: str, headers: Mapping[str, str], credentials: Credentials
) -> requests.Response | None:
    """Ask where the redirects led the last time, unless that is no longer of use."""
    target = _addresses.get(url, credentials)
    if target is None:
        return None
    response = _send(target, headers, credentials)
    if response.is_redirect or response.status_code in NOT_ANY_MORE:
        _addresses.set(url, credentials, None)
        _let_go(response)
        return None
    _raise_for_status(response)
    return response


def _walk(url: str, headers: Mapping[str, str], credentials: Credentials) -> requests.Response:
    """Send a request and follow its redirects; twice if what they lead to has just expired."""
    for attempt in (1, 2):
        address = url
        for _ in range(MOST_HOPS + 1):
            response = _send(address, headers, credentials)
            if not response.is_redirect:
                break
            location = response.headers["Location"]
            _let_go(response)
            address = next_address(address, location)
        else:
            raise SourceError(
                f"{shorten(url)} redirects more than {MOST_HOPS} times, the last time to "
                f"{shorten(address)}. If it is a mirror, it is set up wrongly.",
                url=shorten(url),
            )
        if response.status_code != 403 or address == url or attempt == 2:
            break
        _let_go(response)
    _raise_for_status(response)
    _addresses.set(url, credentials, address if address != url else None)
    return response


def next_address(url: str, location: str) -> str:
    """Say where a redirect leads, if it may be followed."""
    target = urllib.parse.urljoin(url, location)
    scheme = urllib.parse.urlsplit(target).scheme
    if scheme == "https" or (scheme == "http" and urllib.parse.urlsplit(url).scheme == "http"):
        return target
    raise SourceError(
        f"{shorten(url)} redirects to {shorten(target)}, which is not secure; it was not followed.",
        url=shorten(url),
    )


def _send(url: str, headers: Mapping[str, str], credentials: Credentials) -> requests.Response:
    """Send one request, unless the network is forbidden or the host is to be left alone."""
    if is_offline():
        raise OfflineError(
            f"{OFFLINE_VARIABLE} is set, so {shorten(url)} was not asked; unset it to use the "
            "network."
        )
    host = urllib.parse.urlsplit(url).netloc
    if (left := _pauses.left(host)) > 0:
        raise _word_limit(url, left, "still wants no requests")
    patience = current_patience()
    with map_errors(url, asking=True):
        response = ask(url, {**headers, **credentials.headers_for(url)}, patience.stall_timeout_s)
    asked = parse_retry_after(response.headers)
    if response.status_code == 429 or (response.status_code == 503 and asked is not None):
        _let_go(response)
        seconds = _pauses.pause(host, asked, patience)
        raise _word_limit(url, seconds, f"wants no requests now (status {response.status_code})")
    _pauses.relax(host)
    return response


def _word_limit(url: str, seconds: float, what: str) -> RateLimitError:
    """Word that a host wants to be left alone."""
    host = urllib.parse.urlsplit(url).netloc
    return RateLimitError(
        f"{host} {what} for {seconds:.0f} s (asked for {shorten(url)}). Call again after that; "
        "with a token in OSF_TOKEN, OSF allows more.",
        url=shorten(url),
        retry_after=seconds,
    )


def _let_go(response: requests.Response) -> None:
    """Give up an answer whose body does not matter, so that its connection can be used again."""
    with contextlib.suppress(RemoteConnectionError), map_errors(response.url):
        response.raw.read(SMALL_BODY)
    response.close()


def _raise_for_status(response: requests.Response) -> None:
    """Turn a status into the error it stands for."""
    status, shown = response.status_code, shorten(response.url)
    if status in ANSWERS:
        return
    _let_go(response)
    if status in (404, 410):
        raise RemoteNotFoundError(
            f"{shown} does not exist (status {status}). If the dataset has changed since its "
            "index was fetched, pass refresh=True.",
            url=shown,
        )
    if status in (401, 403):
        raise RemoteAccessError(
            f"{shown} is not public (status {status}). If it is yours, set OSF_TOKEN.", url=shown
        )
    if status in (408, 425) or status >= 500:
        raise RemoteConnectionError(
            f"{shown} failed with status {status}; that is the host's trouble. Call again later.",
            url=shown,
        )
    raise SourceError(
        f"{shown} did not give what was asked for (status {status}). If it is a mirror, it is set "
        "up wrongly.",
        url=shown,
    )
