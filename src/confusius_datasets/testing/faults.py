"""What a test server is told to do wrong, and what it remembers of a request."""

from __future__ import annotations

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

        - `status`: another status, see `status` and `headers`;
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
    times : int, optional
        How many requests it happens to. If not provided, one; 0 means every one.

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
        `api`, `download`, `files` or `storage`: the host that was asked.
    path : str
        Path and query.
    headers : dict of str to str
        The request's headers, by lower-case name.
    status : int
        What was answered.
    name : str
        Name of the file it was about, if any.
    nbytes : int
        Bytes of the body that were sent; it grows while they are.
    """

    time: float
    method: str
    role: str
    path: str
    headers: dict[str, str]
    status: int
    name: str = ""
    nbytes: int = 0
