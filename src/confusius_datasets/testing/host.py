"""What every emulated host has: its servers, faults, limits, a clock, and a log of requests."""

from __future__ import annotations

import functools
import hashlib
import math
import threading
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import ClassVar, Self

from confusius_datasets.testing.answers import Answer
from confusius_datasets.testing.faults import Fault, Request
from confusius_datasets.testing.server import Server

__all__ = ["Limit", "LocalHost", "md5_of", "sha256_of"]


@dataclass(slots=True)
class Limit:
    """How many requests a host answers in any stretch of some seconds.

    Parameters
    ----------
    requests : int
        How many.
    seconds : float
        The stretch.
    anonymous : bool, default: False
        Whether requests with a token are free.
    """

    requests: int
    seconds: float
    anonymous: bool = False
    times: deque[float] = field(default_factory=deque)

    def forget(self, now: float) -> None:
        """Drop the requests that no longer count.

        Parameters
        ----------
        now : float
            The time, in seconds.
        """
        while self.times and self.times[0] <= now - self.seconds:
            self.times.popleft()

    def left_to_wait(self, now: float) -> float:
        """Return the seconds until a request is answered again.

        Parameters
        ----------
        now : float
            The time, in seconds.

        Returns
        -------
        float
            0 if one may come now.
        """
        self.forget(now)
        if len(self.times) < self.requests:
            return 0.0
        return self.times[0] + self.seconds - now if self.times else self.seconds


class LocalHost:
    """A host on this machine that emulates one of the internet; a context manager.

    A subclass names its servers (`ROLES`) and says what it answers (`respond`).

    Parameters
    ----------
    latency_s : float, default: 0
        Time that every request takes on the way, and every new connection once more.
    bandwidth : float, optional
        Bytes a second of each connection. If not provided, there is no limit.

    Attributes
    ----------
    requests : list of Request
        Every request that came in, in order.
    etags : bool
        Whether files are sent with strong validators.
    tokens : set of str
        Tokens that open what is private.
    """

    ROLES: ClassVar[tuple[str, ...]] = ()
    """Its servers, each on a port of its own."""

    DATA_ROLE: ClassVar[str] = ""
    """The one that sends the bytes of files."""

    def __init__(self, *, latency_s: float = 0.0, bandwidth: float | None = None) -> None:
        self.latency_s = latency_s
        self.bandwidth = bandwidth
        self.etags = True
        self.tokens: set[str] = set()
        self.requests: list[Request] = []
        self._lock = threading.Lock()
        self._faults: dict[tuple[str, str], deque[Fault]] = defaultdict(deque)
        self._limits: dict[str, dict[float, Limit]] = defaultdict(dict)
        self._ahead_s = 0.0
        self._frozen_at: float | None = None
        self._signature = 1
        self._servers = {role: Server(self, role) for role in self.ROLES}

    def __enter__(self) -> Self:
        for server in self._servers.values():
            server.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for server in self._servers.values():
            server.stop()

    @property
    def environ(self) -> dict[str, str]:
        """Variables that point the package at this host."""
        return {}

    def url(self, role: str) -> str:
        """Return the base address of a server.

        Parameters
        ----------
        role : str
            Which server.

        Returns
        -------
        str
            An address without a path. Where there are several servers, the one of the bytes has
            another host name than the rest, as on the internet.
        """
        name = "127.0.0.1" if role == self.DATA_ROLE else "localhost"
        return f"http://{name}:{self._servers[role].port}"

    def respond(self, request: Request) -> Answer:
        """Say what a request is answered with when nothing goes wrong.

        Parameters
        ----------
        request : Request
            The request.

        Returns
        -------
        Answer
            The whole answer; ranges are cut from it afterwards.
        """
        raise TypeError(f"{type(self).__name__} does not say what it answers")

    # What goes wrong.

    def fail(self, name: str, *faults: Fault, role: str | None = None) -> None:
        """Let the next requests about a file go wrong, one by one.

        Parameters
        ----------
        name : str
            The file's name, or `*` for any, which is also the name of what is about no file.
        *faults : Fault
            What goes wrong, in order.
        role : str, optional
            The server on which it does. If not provided, the one that sends the files.
        """
        self._faults[role or self.DATA_ROLE, name].extend(faults)

    def heal(self) -> None:
        """Let nothing more go wrong."""
        self._faults.clear()
        self._limits.clear()

    def limit(self, role: str, requests: int, *, seconds: float, anonymous: bool = False) -> None:
        """Let a server answer only so many requests in some time, and refuse the others.

        Several limits with different times hold together.

        Parameters
        ----------
        role : str
            The server.
        requests : int
            How many it answers.
        seconds : float
            In which time.
        anonymous : bool, default: False
            Whether requests with a token are free.
        """
        self._limits[role][seconds] = Limit(requests, seconds, anonymous)

    def expire_signatures(self) -> None:
        """Let the host refuse every address that was signed until now."""
        self._signature += 1

    def advance(self, seconds: float) -> None:
        """Move the host's clock forward: signed addresses expire, limits are free again.

        Parameters
        ----------
        seconds : float
            How far.
        """
        self._ahead_s += seconds

    def freeze(self) -> None:
        """Stop the host's clock: from now on `advance` alone moves it."""
        self._frozen_at = time.monotonic()

    def now(self) -> float:
        """Return the time of the host's clock.

        Returns
        -------
        float
            In seconds; it never goes back.
        """
        running = time.monotonic() if self._frozen_at is None else self._frozen_at
        return running + self._ahead_s

    def hang_up(self) -> None:
        """Cut every connection there is."""
        for server in self._servers.values():
            server.hang_up()

    # What was asked.

    def requests_for(self, name: str, *, role: str | None = None) -> list[Request]:
        """List the requests about a file.

        Parameters
        ----------
        name : str
            The file's name.
        role : str, optional
            The server that was asked. If not provided, the one that sends the files.

        Returns
        -------
        list of Request
            In the order in which they came.
        """
        wanted = (role or self.DATA_ROLE, name)
        return [record for record in self.requests if (record.role, record.name) == wanted]

    def n_connections(self, role: str) -> int:
        """Count the connections a server ever accepted.

        Parameters
        ----------
        role : str
            The server.

        Returns
        -------
        int
            How many.
        """
        return self._servers[role].n_connections

    def most_connections(self, role: str) -> int:
        """Count the connections a server had at once.

        Parameters
        ----------
        role : str
            The server.

        Returns
        -------
        int
            How many at most.
        """
        return self._servers[role].most_connections

    # What the servers call.

    def note(self, request: Request) -> None:
        """Remember a request.

        Parameters
        ----------
        request : Request
            The request, with its answer.
        """
        self.requests.append(request)

    def answer(self, request: Request) -> Answer:
        """Say what a request is answered with.

        Parameters
        ----------
        request : Request
            The request.

        Returns
        -------
        Answer
            With what goes wrong.
        """
        answer = self.respond(request)
        with self._lock:
            wait_s = self._count(request)
            if wait_s > 0:
                return self.refuse(request, math.ceil(wait_s), answer.name)
            return replace(answer, fault=self._take_fault(request.role, answer.name))

    def refuse(self, request: Request, wait_s: int, name: str) -> Answer:
        """Say what a request over the limit is answered with.

        Parameters
        ----------
        request : Request
            The request.
        wait_s : int
            Seconds until the next one is answered.
        name : str
            Name of the file it is about.

        Returns
        -------
        Answer
            429 with `Retry-After`.
        """
        return Answer(429, b"Too many requests", {"Retry-After": str(wait_s)}, name)

    def limits(self, role: str) -> list[Limit]:
        """List the limits of a server.

        Parameters
        ----------
        role : str
            The server.

        Returns
        -------
        list of Limit
            Those of the shortest time first.
        """
        return [limit for _, limit in sorted(self._limits.get(role, {}).items())]

    def _count(self, request: Request) -> float:
        """Count a request; return the seconds to wait if it is one too many."""
        now = self.now()
        known = "authorization" in request.headers
        counted = [one for one in self.limits(request.role) if not (one.anonymous and known)]
        wait_s = max((limit.left_to_wait(now) for limit in counted), default=0.0)
        if wait_s == 0:
            for limit in counted:
                limit.times.append(now)
        return wait_s

    def _take_fault(self, role: str, name: str) -> Fault | None:
        """Take the next thing that goes wrong with a file."""
        for key in ((role, name), (role, "*")):
            if not (waiting := self._faults.get(key)):
                continue
            fault = waiting.popleft()
            if fault.times != 1:
                waiting.appendleft(replace(fault, times=max(fault.times - 1, 0)))
            return fault
        return None


@functools.lru_cache(maxsize=8)  # a large file is asked for in many ranges
def md5_of(data: bytes) -> str:
    """Hash with md5.

    Parameters
    ----------
    data : bytes
        Any bytes.

    Returns
    -------
    str
        Hexadecimal digits.
    """
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def sha256_of(data: bytes) -> str:
    """Hash with SHA-256.

    Parameters
    ----------
    data : bytes
        Any bytes.

    Returns
    -------
    str
        Hexadecimal digits.
    """
    return hashlib.sha256(data).hexdigest()
