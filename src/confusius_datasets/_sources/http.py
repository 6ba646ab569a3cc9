"""The one HTTP client: kept-alive connections, redirects walked by ourselves, errors of ours.

Redirects are followed here so that credentials go to the hosts they are meant for only.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import re
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import requests
import requests.adapters
import urllib3.exceptions

from confusius_datasets._cache import OFFLINE_VARIABLE, is_offline
from confusius_datasets.errors import (
    OfflineError,
    RateLimitError,
    RemoteAccessError,
    RemoteConnectionError,
    RemoteNotFoundError,
    SourceError,
)

__all__ = ["HttpStream", "get_json", "open_stream"]

MOST_HOPS = 8
CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 30.0
PIECE = 1 << 18
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_sessions: dict[int, requests.Session] = {}
_lock = threading.Lock()


@dataclass
class HttpStream:
    """Bytes of an answer as they arrive."""

    response: requests.Response
    start: int
    total: int | None
    validator: str | None
    ranges: bool

    def __iter__(self) -> Iterator[bytes]:
        with mapped(self.response.url):
            yield from self.response.iter_content(PIECE)

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
        """Free the connection."""
        self.response.close()


def session() -> requests.Session:
    """Return this process's session, whose pools all threads share."""
    with _lock:
        if os.getpid() not in _sessions:
            made = requests.Session()
            adapter = requests.adapters.HTTPAdapter(pool_connections=16, pool_maxsize=64)
            made.mount("https://", adapter)
            made.mount("http://", adapter)
            version = importlib.metadata.version("confusius-datasets")
            made.headers["User-Agent"] = f"confusius-datasets/{version} (requests)"
            made.headers["Accept-Encoding"] = "identity"
            _sessions[os.getpid()] = made
        return _sessions[os.getpid()]


def open_stream(
    url: str,
    *,
    start: int = 0,
    stop: int | None = None,
    validator: str | None = None,
    token: str | None = None,
    token_hosts: frozenset[str] = frozenset(),
) -> HttpStream:
    """Open the bytes behind an address at an offset."""
    headers = {}
    if start or stop is not None:
        headers["Range"] = f"bytes={start}-{'' if stop is None else stop - 1}"
        if validator and start:
            headers["If-Range"] = validator
    response = _get(url, headers, token=token, token_hosts=token_hosts)
    content_range = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    etag = response.headers.get("ETag")
    strong = etag if etag and not etag.startswith("W/") else None
    if response.status_code == 206 and content_range:
        total = None if content_range[3] == "*" else int(content_range[3])
        return HttpStream(response, int(content_range[1]), total, strong, ranges=True)
    length = response.headers.get("Content-Length")
    ranges = response.headers.get("Accept-Ranges") == "bytes"
    return HttpStream(response, 0, int(length) if length else None, strong, ranges=ranges)


def get_json(
    url: str, params: Mapping[str, str], *, token: str | None, token_hosts: frozenset[str]
) -> Any:
    """Get a JSON document."""
    query = urllib.parse.urlencode(params)
    address = f"{url}{'&' if '?' in url else '?'}{query}" if query else url
    with contextlib.closing(_get(address, {}, token=token, token_hosts=token_hosts)) as response:
        try:
            with mapped(address):
                return response.json()
        except ValueError as error:
            raise SourceError(
                f"{address} answered with something that is no JSON.", url=url
            ) from error


def _get(
    url: str, headers: Mapping[str, str], *, token: str | None, token_hosts: frozenset[str]
) -> requests.Response:
    """Send a request and follow its redirects."""
    if is_offline():
        raise OfflineError(f"{OFFLINE_VARIABLE} is set, so {url} was not asked.")
    for _ in range(MOST_HOPS):
        own = dict(headers)
        if token and urllib.parse.urlsplit(url).netloc in token_hosts:
            own["Authorization"] = f"Bearer {token}"
        with mapped(url):
            response = session().get(
                url,
                headers=own,
                stream=True,
                allow_redirects=False,
                timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S),
            )
        if not response.is_redirect:
            _raise_for_status(response)
            return response
        target = urllib.parse.urljoin(url, response.headers["Location"])
        response.close()
        if url.startswith("https:") and not target.startswith("https:"):
            raise SourceError(f"{url} redirects to {target}, which is not secure.", url=url)
        url = target
    raise SourceError(f"{url}: more than {MOST_HOPS} redirects.", url=url)


def _raise_for_status(response: requests.Response) -> None:
    """Turn a status into the error it stands for."""
    status, url = response.status_code, response.url
    if status < 400:
        return
    response.close()
    shown = url.partition("?")[0]
    if status in (404, 410):
        raise RemoteNotFoundError(f"{shown} does not exist (status {status}).", url=shown)
    if status in (401, 403):
        raise RemoteAccessError(f"{shown} is not public (status {status}).", url=shown)
    if status in (429, 503):
        raise RateLimitError(f"{shown} answers no more requests now (status {status}).", url=shown)
    raise RemoteConnectionError(f"{shown} failed with status {status}.", url=shown)


@contextlib.contextmanager
def mapped(url: str) -> Iterator[None]:
    """Turn the exceptions of the libraries below into ours."""
    shown = url.partition("?")[0]
    try:
        yield
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise RemoteConnectionError(f"{shown} could not be reached: {error}", url=shown) from error
