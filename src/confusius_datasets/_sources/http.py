"""HTTP for all hosts: one client that sends requests, follows redirects and leaves hosts alone.

Redirects are followed here, one by one, so that credentials go to the hosts they are meant for and
nothing goes from https to http. Where a redirect led is remembered, so that going on with a file
costs one request. What is special about a host is handed in: credentials, and hints for messages.
`requests` is imported when the first client is made: a dataset that is on disk needs none.
"""

from __future__ import annotations

import contextlib
import copy
import json
import logging
import os
import re
import tempfile
import threading
import time
import urllib.parse
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from confusius_datasets._cache import NO_SPACE, PerProcess, is_offline
from confusius_datasets._index import Checksum
from confusius_datasets._sources.closing import Closing
from confusius_datasets._sources.http_errors import (
    NO_HINTS,
    HostHints,
    library_errors,
    offline_error,
    origin_of,
    rate_limit_error,
    shorten_url,
    status_error,
    translate,
    web_page_error,
)
from confusius_datasets._sources.ranges import WHOLE, ByteRange, From, FromTo, Last
from confusius_datasets._sources.retry import RetryPolicy, parse_retry_after, retry
from confusius_datasets._text import format_nbytes, quote_short
from confusius_datasets.errors import (
    CacheError,
    NotEnoughSpaceError,
    RemoteConnectionError,
    SettingError,
    SourceError,
)

if TYPE_CHECKING:
    from confusius_datasets._sources.connections import Answer

__all__ = [
    "NOBODY",
    "Credentials",
    "HostHints",
    "HostPauses",
    "HttpClient",
    "HttpStream",
    "get_client",
    "next_address",
]

MOST_HOPS = 10
"""Redirects that are followed; OSF has two."""

PIECE_NBYTES = 1 << 20
"""Most bytes that a stream gives at a time."""

LARGEST_DOCUMENT_NBYTES = 1 << 30
"""Bytes of an index; that of a million files has 200 MB."""

SPOOLED_NBYTES = 1 << 22
"""Bytes of a document up to which it is received into memory rather than into a file."""

LARGEST_LISTING_NBYTES = 1 << 28
"""Bytes of one answer of an API; OpenNeuro and Dataverse list a whole dataset in one."""

MOST_BETWEEN_PIECES_NBYTES = 4 * PIECE_NBYTES
"""Bytes that may come before the next piece of a body does: lengths of chunks, last headers."""

ANNOUNCED_WAIT_S = 2.0
"""Waits from this length on are warnings in the log."""

EXPIRED_STATUSES = (400, 401, 403, 404, 410)
"""What stores answer to a signed address that has expired: S3 403, Google Cloud Storage 400."""

_TOKEN = re.compile(r"[!-:<-~]+")
"""What may stand in a header, and in a cookie without ending it."""

_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.ASCII)
_log = logging.getLogger("confusius_datasets")

_Made = TypeVar("_Made")


@dataclass(frozen=True, slots=True)
class Credentials:
    """A token, the header that carries it, and where it may be sent."""

    token: str = field(repr=False)
    origins: frozenset[str]
    header: str = "Authorization"
    prefix: str = "Bearer "

    @classmethod
    def for_addresses(
        cls, token: str, *urls: str, header: str = "Authorization", prefix: str = "Bearer "
    ) -> Credentials:
        """Let a token be sent to the hosts of some addresses; `*` stands for one part of a name."""
        return cls(token, frozenset(map(origin_of, urls) if token else ()), header, prefix)

    @classmethod
    def from_environment(
        cls, variable: str, *urls: str, header: str = "Authorization", prefix: str = "Bearer "
    ) -> Credentials:
        """Take the token of an environment variable, if it is set."""
        token = os.environ.get(variable, "").strip()
        if token and not _TOKEN.fullmatch(token):
            raise SettingError(
                f"{variable} holds a line break, a space or another character that no token has. "
                "Nothing was sent. Set it again, from the host's page of tokens."
            )
        return cls.for_addresses(token, *urls, header=header, prefix=prefix)

    def headers_for(self, url: str) -> dict[str, str]:
        """Return the headers that prove who asks, for hosts that may know."""
        return {self.header: f"{self.prefix}{self.token}"} if self._may_know(origin_of(url)) else {}

    def _may_know(self, origin: str) -> bool:
        """Say whether the token is for a host."""
        if origin in self.origins:
            return True
        patterns = (known for known in self.origins if "*" in known)
        return any(
            re.fullmatch(re.escape(pattern).replace(r"\*", "[a-z0-9-]+"), origin)
            for pattern in patterns
        )


NOBODY = Credentials("", frozenset())


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is asked for, along all redirects."""

    url: str
    part: ByteRange
    etag: str | None
    credentials: Credentials
    hints: HostHints
    web_page: bool = False
    body: bytes | None = None

    @property
    def headers(self) -> dict[str, str]:
        """Ask for a part, and for it only while the content is the same."""
        if self.body is not None:
            return {"Content-Type": "application/json"}
        if self.part == WHOLE:
            return {}
        match self.part:
            case From(start):
                span = f"{start}-"
            case FromTo(start, stop):
                span = f"{start}-{stop - 1}"
            case Last(nbytes):
                span = f"-{nbytes}"
        return {"Range": f"bytes={span}"} | ({"If-Range": self.etag} if self.etag else {})


class HttpClient:
    """Sends requests for all threads: connections, pauses and learned redirects are shared.

    Parameters
    ----------
    policy : RetryPolicy, optional
        How often to try again. If not provided, as environment variables say at the time.

    Attributes
    ----------
    folder : pathlib.Path or None
        Root in whose hidden folder a source may keep what took it many requests, so that another
        process need not send them again; see `with_folder`.
    """

    def __init__(self, policy: RetryPolicy | None = None) -> None:
        from confusius_datasets._sources.connections import Connections

        self._policy = policy
        self.folder: Path | None = None
        self._memory = _Memory()
        self._connections = Connections()
        self._pauses = HostPauses()
        self._redirects = _Redirects()

    @property
    def policy(self) -> RetryPolicy:
        """How often to try again, and how long to wait."""
        return self._policy or RetryPolicy.from_environment()

    def with_policy(self, policy: RetryPolicy) -> HttpClient:
        """Return a client for one call, which shares everything with this one except the policy.

        It looks proxies and certificates up once for each host.
        """
        other = copy.copy(self)
        other._policy = policy
        other._connections = self._connections.for_call()
        return other

    def with_folder(self, folder: Path) -> HttpClient:
        """Return a client that shares everything with this one but `folder`."""
        other = copy.copy(self)
        other.folder = folder
        return other

    def recall(self, key: Hashable, make: Callable[[], _Made], *, anew: bool = False) -> _Made:
        """Return what a source found out and needs again, or find it out; a few are kept."""
        found: _Made = self._memory.get(key, make, anew=anew)
        return found

    def close(self) -> None:
        """Close all idle connections; the client can still be used."""
        self._connections.close()

    def get(
        self,
        url: str,
        part: ByteRange = WHOLE,
        *,
        etag: str | None = None,
        size: int | None = None,
        web_page: bool = False,
        body: bytes | None = None,
        credentials: Credentials = NOBODY,
        hints: HostHints = NO_HINTS,
    ) -> HttpStream:
        """Open the bytes behind an address; from the start where a part cannot be had.

        `size` is that of the file, where it is known, and `web_page` says that it may be one:
        others are taken for the login page of a host. With a `body`, it is posted as JSON.
        """
        # Dataverse answers 404 to a range of an empty file.
        part = WHOLE if size == 0 else part
        wanted = _Wanted(url, part, etag, credentials, hints, web_page, body)
        answer = None if part == WHOLE else self._ask_again(wanted)
        answer = answer or self._walk(wanted)
        stream = self._read(answer, wanted, size)
        if stream is None:
            # The part cannot be had, or another one than was asked for came.
            whole = replace(wanted, part=WHOLE, etag=None)
            stream = self._read(self._walk(whole), whole, size)
        if stream is None:
            shown = shorten_url(url)
            raise SourceError(f"{shown} answers neither with a part nor with the whole.", url=shown)
        return stream

    def get_bytes(
        self,
        url: str,
        *,
        check: Callable[[bytes], None] = lambda data: None,
        limit: int = LARGEST_DOCUMENT_NBYTES,
        size: int | None = None,
        body: bytes | None = None,
        credentials: Credentials = NOBODY,
        hints: HostHints = NO_HINTS,
    ) -> bytes:
        """Get a small document, and try again where the host limits requests or fails.

        `check` raises `RemoteConnectionError` for what should be asked for again.
        """

        def attempt() -> bytes:
            with self.get(
                url, size=size, body=body, credentials=credentials, hints=hints
            ) as stream:
                data = stream.read_all(limit)
            check(data)
            return data

        return self.retry(attempt)

    def get_file(
        self,
        url: str,
        *,
        check: Callable[[IO[bytes]], None] = lambda file: None,
        limit: int = LARGEST_DOCUMENT_NBYTES,
        size: int | None = None,
        credentials: Credentials = NOBODY,
        hints: HostHints = NO_HINTS,
    ) -> IO[bytes]:
        """Get a document that may be large, as `get_bytes`, into a file that is gone when closed.

        `check` is given the file, and may read it.
        """

        def attempt() -> IO[bytes]:
            with contextlib.ExitStack() as unless_checked:
                with self.get(url, size=size, credentials=credentials, hints=hints) as stream:
                    file = unless_checked.enter_context(stream.receive(limit))
                check(file)
                file.seek(0)
                unless_checked.pop_all()
                return file

        return self.retry(attempt)

    def retry(self, attempt: Callable[[], _Made]) -> _Made:
        """Try until it works, as patiently as the policy says."""
        return retry(attempt, self.policy, wait=_log_and_sleep)

    def get_json(
        self,
        url: str,
        *,
        check: Callable[[Any], None] = lambda document: None,
        limit: int = LARGEST_LISTING_NBYTES,
        body: bytes | None = None,
        credentials: Credentials = NOBODY,
        hints: HostHints = NO_HINTS,
    ) -> Any:
        """Get a JSON document, as `get_bytes` does; `check` is given the document."""
        found: list[Any] = []

        def read(data: bytes) -> None:
            found[:] = [_parse_json(data, url)]
            check(found[0])

        self.get_bytes(
            url, check=read, limit=limit, body=body, credentials=credentials, hints=hints
        )
        return found[0]

    def _ask_again(self, wanted: _Wanted) -> Answer | None:
        """Ask where the redirects led the last time, unless that address has expired."""
        target = self._redirects.get(wanted)
        if target is None:
            return None
        answer = self._send(target, wanted)
        gone = answer.location is not None or answer.status in EXPIRED_STATUSES
        if gone or _is_stray_page(answer, wanted):
            self._redirects.set(wanted.url, wanted, None)
            answer.let_go()
            return None
        _check_status(answer, wanted)
        return answer

    def _walk(self, wanted: _Wanted) -> Answer:
        """Send a request and follow its redirects; twice if what they lead to may be passing.

        Signed addresses live from seconds to an hour, and proxies between may have kept a redirect.
        Stores lose sight of a file for a moment, and a page for people comes while a host is in
        trouble (openneuro#562, #1693).
        """
        answer, address = self._follow(wanted)
        lost = address != wanted.url and answer.status in (403, 404)
        if lost or _is_stray_page(answer, wanted):
            answer.let_go()
            answer, address = self._follow(wanted)
        _check_status(answer, wanted)
        # Whoever asks again may begin further along the way.
        for begin in (wanted.url, *answer.way[1:-1]):
            self._redirects.set(begin, wanted, address if address != wanted.url else None)
        return answer

    def _follow(self, wanted: _Wanted) -> tuple[Answer, str]:
        """Follow redirects to an answer, and say where it came from."""
        address = wanted.url
        way: list[str] = []
        for _ in range(MOST_HOPS + 1):
            answer = self._send(address, wanted)
            way.append(answer.url)
            location = answer.location
            if location is None:
                answer.way = way
                return answer, address
            answer.let_go()
            address = next_address(address, location)
        raise SourceError(
            f"{shorten_url(wanted.url)} redirects more than {MOST_HOPS} times, the last time to "
            f"{shorten_url(address)}. If it is a mirror, it is set up wrongly.",
            url=shorten_url(wanted.url),
        )

    def _send(self, url: str, wanted: _Wanted) -> Answer:
        """Send one request, unless the network is forbidden or the host is to be left alone."""
        if is_offline():
            raise offline_error(url)
        try:
            host = urllib.parse.urlsplit(url).netloc
        except ValueError as error:  # "http://[::1"
            raise translate(error, url, asking=True) from error
        if (left := self._pauses.left(host)) > 0:
            raise rate_limit_error(url, left, wanted.hints)
        policy = self.policy
        headers = wanted.headers | wanted.credentials.headers_for(url)
        try:
            answer = self._connections.send(url, headers, policy.stall_timeout_s, wanted.body)
        except SettingError:
            raise
        except library_errors() as error:
            raise translate(error, url, asking=True) from error
        asked = parse_retry_after(answer.headers) if answer.status in (429, 503) else None
        # S3 says "SlowDown" with 503; without Retry-After, a 503 is a host that fails.
        if answer.status == 429 or (answer.status == 503 and asked is not None):
            answer.let_go()
            seconds = self._pauses.pause(host, asked, policy)
            raise rate_limit_error(url, seconds, wanted.hints, status=answer.status)
        self._pauses.relax(host)
        return answer

    def _read(self, answer: Answer, wanted: _Wanted, size: int | None) -> HttpStream | None:
        """Make a stream of an answer, if it is one to what was asked."""
        encoded = answer.headers.get("Content-Encoding", "identity").lower() != "identity"
        if answer.status == 206:
            span = _read_content_range(answer, wanted.part)
            if span is None or encoded:
                answer.close()
                return None
            return HttpStream(answer, self.policy, *span, etag=_strong_etag(answer))
        if answer.status == 416:  # the range lies outside the file
            answer.close()
            return None
        if _is_stray_page(answer, wanted):
            answer.close()
            raise web_page_error(answer.url, wanted.hints)
        total = _read_size(answer.headers.get("Content-Length", ""))
        # Stores hand out a .gz file under this header too. Then what comes is already the file, as
        # its length shows.
        decoded = encoded and (total is None or total != size)
        return HttpStream(
            answer,
            self.policy,
            0,
            None if decoded else total,
            etag=_strong_etag(answer),
            ranges=answer.headers.get("Accept-Ranges", "").lower() == "bytes" and not encoded,
            decoded=decoded,
        )


_shared_client = PerProcess(HttpClient)
"""Module state, since a host counts the requests of a process, not those of one dataset."""


def get_client() -> HttpClient:
    """Return the client of this process; a fork gets one of its own."""
    return _shared_client.get()


@dataclass(slots=True)
class HttpStream(Closing):
    """Bytes of one file as they arrive; a context manager that frees the connection."""

    answer: Answer
    policy: RetryPolicy
    start: int
    total: int | None
    etag: str | None = None
    ranges: bool = True
    decoded: bool = False
    checksum: Checksum | None = None

    @property
    def url(self) -> str:
        """Where the bytes come from, without what must not be shown."""
        return shorten_url(self.answer.url)

    @property
    def way(self) -> list[str]:
        """The addresses that were asked, from the first to that of the bytes."""
        return self.answer.way

    def __iter__(self) -> Iterator[bytes]:
        meter, pieces = self.answer.meter, self._receive()
        while True:
            meter.allow(MOST_BETWEEN_PIECES_NBYTES)
            try:
                piece = next(pieces, b"")
            except library_errors() as error:
                if meter.complaint:
                    raise RemoteConnectionError(
                        f"{self.url} {meter.complaint}. Call again later.", url=self.url
                    ) from error
                raise translate(error, self.answer.url) from error
            if not piece:
                return
            yield piece

    def read_all(self, limit: int) -> bytes:
        """Read the rest, unless it is more than there can be."""
        return b"".join(self._up_to(limit))

    def receive(self, limit: int) -> IO[bytes]:
        """Receive the rest into a file, unless it is more than there can be.

        It is on disk only if it is large.
        """
        file = tempfile.SpooledTemporaryFile(SPOOLED_NBYTES)  # noqa: SIM115 - for the caller
        try:
            for piece in self._up_to(limit):
                _write_temporary(file, piece)
        except BaseException:
            file.close()
            raise
        file.seek(0)
        return file

    def _up_to(self, limit: int) -> Iterator[bytes]:
        """Give the rest, unless it is more than there can be."""
        nbytes = 0
        for piece in self:
            nbytes += len(piece)
            if nbytes > limit:
                raise SourceError(
                    f"{self.url} sends more than {format_nbytes(limit)}, which is too much for a "
                    "listing or an index. Check its address.",
                    url=self.url,
                )
            yield piece

    def _receive(self) -> Iterator[bytes]:
        """Give bytes as soon as there are some."""
        raw = self.answer.raw
        if self.decoded:
            yield from raw.stream(PIECE_NBYTES, decode_content=True)
            return
        # `read` would wait for a full piece.
        while piece := raw.read1(PIECE_NBYTES, decode_content=False):
            yield piece
            if raw.length_remaining == 0:
                return

    def close(self) -> None:
        """Free the connection; it is kept if the body was read to its end."""
        self.answer.close()


def _write_temporary(file: IO[bytes], piece: bytes) -> None:
    try:
        file.write(piece)
    except OSError as error:
        kind = NotEnoughSpaceError if error.errno in NO_SPACE else CacheError
        raise kind(
            f"{tempfile.gettempdir()} cannot be written: {error.strerror or error}. A large index "
            "is received there. Free some space, or set TMPDIR to another folder."
        ) from error


class _Redirects:
    """Where redirects led, for as long as it is of use; shared by all threads."""

    def __init__(self, most: int = 512) -> None:
        self._lock = threading.Lock()
        self._found: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._most = most

    def get(self, wanted: _Wanted) -> str | None:
        """Return the address behind another, if it is known."""
        return self._found.get((wanted.url, wanted.credentials.token))

    def set(self, url: str, wanted: _Wanted, target: str | None) -> None:
        """Remember the address behind another, or forget it."""
        key = (url, wanted.credentials.token)
        with self._lock:
            self._found.pop(key, None)
            if target is not None:
                self._found[key] = target
            if len(self._found) > self._most:
                self._found.popitem(last=False)


class _Memory:
    """What sources found out, for as long as it is of use; shared by all threads."""

    def __init__(self, most: int = 16) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[Hashable, tuple[threading.Lock, list[Any]]] = OrderedDict()
        self._most = most

    def get(self, key: Hashable, make: Callable[[], Any], *, anew: bool) -> Any:
        """Return what is known, or find it out; others who ask for the same wait meanwhile."""
        with self._lock:
            finding, found = self._known.setdefault(key, (threading.Lock(), []))
            self._known.move_to_end(key)
            if len(self._known) > self._most:
                self._known.popitem(last=False)
        with finding:
            if anew or not found:
                found[:] = [make()]
            return found[0]


class HostPauses:
    """Which hosts are to be left alone for now; shared by all threads.

    A host that says 429 is left alone by everyone, rather than asked by each in turn.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until: dict[str, float] = {}
        self._refusals_in_a_row: dict[str, int] = {}

    def left(self, host: str) -> float:
        """Say how long a host is still to be left alone."""
        return max(self._until.get(host, 0.0) - time.monotonic(), 0.0)

    def pause(self, host: str, seconds: float | None, policy: RetryPolicy) -> float:
        """Leave a host alone for as long as it asks, or longer each time if it does not say."""
        with self._lock:
            refusals = self._refusals_in_a_row.get(host, 0) + 1
            self._refusals_in_a_row[host] = refusals
            # Asked to come back at once, we still wait a moment: the host has just refused.
            until = time.monotonic() + (seconds or policy.backoff(refusals))
            self._until[host] = max(self._until.get(host, 0.0), until)
        return self.left(host)

    def relax(self, host: str) -> None:
        """Take note that a host answers."""
        if host in self._refusals_in_a_row:
            with self._lock:
                self._refusals_in_a_row.pop(host, None)


def next_address(url: str, location: str) -> str:
    """Say where a redirect leads, if it may be followed."""
    try:
        is_whole = location.startswith(("https://", "http://"))
        target = location if is_whole else urllib.parse.urljoin(url, location)
        scheme = urllib.parse.urlsplit(target).scheme
    except ValueError as error:
        raise SourceError(
            f"{shorten_url(url)} redirects to {quote_short(location)}, which is no address.",
            url=shorten_url(url),
        ) from error
    if scheme == "https" or (scheme == "http" and urllib.parse.urlsplit(url).scheme == "http"):
        return target
    raise SourceError(
        f"{shorten_url(url)} redirects to {shorten_url(target)}, which is not secure; it was not "
        "followed.",
        url=shorten_url(url),
    )


def _check_status(answer: Answer, wanted: _Wanted) -> None:
    """Turn a status into the error it stands for."""
    if answer.status not in (200, 203, 206, 416):
        answer.let_go()
        raise status_error(answer.url, answer.status, wanted.hints)


def _is_stray_page(answer: Answer, wanted: _Wanted) -> bool:
    """Say whether a page for people came with a good status in the place of a file."""
    content_type = answer.headers.get("Content-Type", "").lower()
    is_page = answer.status in (200, 203) and content_type.startswith("text/html")
    return is_page and not wanted.web_page


def _parse_json(data: bytes, url: str) -> Any:
    """Read the document that an address answered with."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise SourceError(
            f"{shorten_url(url)} answered with something other than JSON. Check the "
            "connection: a login page may stand in between.",
            url=shorten_url(url),
        ) from error


def _read_content_range(answer: Answer, part: ByteRange) -> tuple[int, int | None] | None:
    """Return the start of a part and the size of the whole, if the part is the one asked for."""
    # Some proxies answer a range with another one, from their cache.
    match = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    if match is None:
        return None
    first, last = int(match[1]), int(match[2])
    total = None if match[3] == "*" else int(match[3])
    match part:
        case From(start):
            fits = first == start
        case FromTo(start, stop):
            fits = first == start and last < stop
        case Last(nbytes):
            fits = total is not None and (first, last) == (max(total - nbytes, 0), total - 1)
    return (first, total) if fits else None


def _read_size(text: str) -> int | None:
    """Read a number of bytes, where it is one that a file can have."""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


def _strong_etag(answer: Answer) -> str | None:
    """Return the entity tag of an answer if equal ones mean equal bytes."""
    etag = answer.headers.get("ETag", "")
    # A weak one (W/"…") means equal content, not equal bytes: RFC 9110, 8.8.1.
    return etag if etag.startswith('"') else None


def _log_and_sleep(seconds: float, error: SourceError) -> None:
    """Wait, and tell those who read the log why."""
    level = logging.WARNING if seconds >= ANNOUNCED_WAIT_S else logging.INFO
    _log.log(level, "Waiting %.0f s: %s", seconds, error)
    time.sleep(seconds)
