"""What a test server is told to do wrong, and what it remembers of a request."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

__all__ = ["Fault", "FaultKind", "Request"]

FaultKind = Literal[
    "status",
    "drop",
    "stall",
    "trickle",
    "html",
    "corrupt",
    "short",
    "long",
    "chunked",
    "no-length",
    "gzip",
    "stored-gzip",
    "no-range",
    "wrong-range",
    "silent",
]
"""The ways in which an answer can be wrong."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    Parameters
    ----------
    kind : str
        What happens instead of the right answer:

        - `status`: another answer, see `status`, `headers` and `body`;
        - `drop`: the connection is cut after `after` bytes of the body;
        - `stall`: after `after` bytes nothing more comes for `seconds`;
        - `silent`: the request is not answered for `seconds`;
        - `trickle`: one byte comes every `seconds`;
        - `html`: a web page comes with status 200;
        - `corrupt`: every byte is wrong;
        - `short`, `long`: a whole answer has a byte too few or too many;
        - `chunked`: the length is not said, the body comes in chunks;
        - `no-length`: the length is not said, the connection's end is the body's;
        - `gzip`: the body is compressed on the way, with `Content-Encoding`;
        - `stored-gzip`: the body is the file as it is, under a false `Content-Encoding`;
        - `no-range`: `Range` is ignored;
        - `wrong-range`: `Content-Range` is not what was asked.
    status : int, default: 503
        The status of `status`.
    headers : mapping of str to str, default: none
        Further headers of the answer.
    after : int, default: 0
        Bytes of the body that still come before `drop` and `stall`.
    seconds : float, default: 30
        How long `stall` and `silent` last, and the time between two bytes of `trickle`.
    times : int, default: 1
        How many requests it happens to; 0 means every one.
    body : bytes, default: a word
        Body of `status`; with status 200, something that is not the file.

    Raises
    ------
    ValueError
        If there is no such kind.

    Examples
    --------
    >>> from confusius_datasets.testing import Fault
    >>> Fault("drop", after=1000).times
    1
    """

    kind: FaultKind
    status: int = 503
    headers: Mapping[str, str] = field(default_factory=dict)
    after: int = 0
    seconds: float = 30.0
    times: int = 1
    body: bytes = b"trouble\n"

    def __post_init__(self) -> None:
        if self.kind not in get_args(FaultKind):
            raise ValueError(f"There is no fault {self.kind!r}; there is {get_args(FaultKind)}.")


@dataclass(slots=True)
class Request:
    """One request that reached a test server.

    Parameters
    ----------
    time : float
        When, in seconds of `time.monotonic`.
    method : str
        `GET`, or what else was asked.
    role : str
        The host that was asked, for example `api` or `storage`.
    path : str
        Path and query.
    headers : dict of str to str
        The request's headers, by lower-case name.
    status : int, default: 0
        What was answered; 0 until it is.
    name : str, default: nothing
        Name of the file it was about, if any.
    nbytes : int, default: 0
        Bytes of the answer's body that were sent; it grows while they are.
    body : bytes, default: nothing
        Body of the request.
    """

    time: float
    method: str
    role: str
    path: str
    headers: dict[str, str]
    status: int = 0
    name: str = ""
    nbytes: int = 0
    body: bytes = b""

    @property
    def parts(self) -> list[str]:
        """The parts of the path, decoded, without empty ones at its ends."""
        path = urllib.parse.urlsplit(self.path).path
        return [urllib.parse.unquote(part) for part in path.strip("/").split("/")]

    @property
    def query(self) -> dict[str, str]:
        """The query's values by name; of a name that stands several times, the first."""
        text = urllib.parse.urlsplit(self.path).query
        values = urllib.parse.parse_qs(text, keep_blank_values=True)
        return {name: given[0] for name, given in values.items()}

    @property
    def token(self) -> str | None:
        """The token of `Authorization`, if there is one."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token if scheme.lower() == "bearer" else None
