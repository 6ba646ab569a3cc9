"""Answers of the test servers: preconditions, byte ranges, and bodies that go wrong."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from confusius_datasets.testing.faults import Fault, Request

__all__ = ["Answer", "RangeSupport", "answer_json", "finish_answer", "parse_range"]

RangeSupport = Literal["none", "from-to", "all"]
"""Which ranges a host honours: none, `a-` and `a-b`, or suffixes (`-n`) too."""

WEB_PAGE = b"<!DOCTYPE html>\n<html><head><title>OSF | Sign in</title></head></html>\n"


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a request, as the host means it.

    Parameters
    ----------
    status : int
        The status.
    body : bytes, default: nothing
        The whole body; a range is cut from it afterwards.
    headers : mapping of str to str, default: none
        Headers, without those of the body's length.
    name : str, default: nothing
        Name of the file it is about.
    etag : str, optional
        Validator, with its quotes. If not provided, none is sent, and `If-Range` is ignored.
    fault : Fault, optional
        What goes wrong.
    ranges : {"none", "from-to", "all"}, default: "none"
        Which ranges are honoured.
    invalid_range : bytes, default: nothing
        Body of a 416.
    """

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
    etag: str | None = None
    fault: Fault | None = None
    ranges: RangeSupport = "none"
    invalid_range: bytes = b""


def answer_json(
    document: Any, status: int = 200, *, name: str = "", content_type: str = "application/json"
) -> Answer:
    """Answer with a JSON document.

    Parameters
    ----------
    document : any
        What is sent.
    status : int, default: 200
        The status.
    name : str, default: nothing
        Name of the file it is about.
    content_type : str, default: "application/json"
        The type.

    Returns
    -------
    Answer
        Without ranges or validator.
    """
    return Answer(status, json.dumps(document).encode(), {"Content-Type": content_type}, name)


def finish_answer(answer: Answer, request: Request) -> Answer:
    """Apply what the request asks for and what goes wrong.

    Parameters
    ----------
    answer : Answer
        As the host means it.
    request : Request
        What was asked.

    Returns
    -------
    Answer
        What is sent.
    """
    fault = answer.fault
    kind = fault.kind if fault else ""
    headers = dict(answer.headers) | dict(fault.headers if fault else {})
    if fault and kind == "status":
        return replace(answer, status=fault.status, body=fault.body, headers=headers)
    if kind == "html":
        page = {"Content-Type": "text/html; charset=utf-8"}
        return replace(answer, status=200, body=WEB_PAGE, headers=page)
    if answer.status != 200:
        return replace(answer, headers=headers)
    if kind != "no-range" and answer.etag is not None:
        headers["ETag"] = answer.etag
        if answer.ranges != "none":
            headers["Accept-Ranges"] = "bytes"
    answer = replace(answer, headers=headers)
    return _refuse_by_validator(answer, request) or _cut_to_range(answer, request, kind)


def _refuse_by_validator(answer: Answer, request: Request) -> Answer | None:
    """Answer 304 or 412 where a precondition says so."""
    if answer.etag is None:
        return None
    if request.headers.get("if-none-match") == answer.etag:
        return replace(answer, status=304, body=b"")
    if request.headers.get("if-match", answer.etag) not in (answer.etag, "*"):
        return replace(answer, status=412, body=b"")
    return None


def _cut_to_range(answer: Answer, request: Request, kind: str) -> Answer:
    """Give the part of a body that was asked for, changed as a fault wants it."""
    headers, size = dict(answer.headers), len(answer.body)
    asked = None
    current = answer.etag is None or request.headers.get("if-range", answer.etag) == answer.etag
    if current and answer.ranges != "none" and kind not in ("no-range", "gzip"):
        suffixes = answer.ranges == "all"
        asked = parse_range(request.headers.get("range", ""), size, suffixes=suffixes)
    if asked is None:
        return replace(answer, body=_spoil(answer.body, headers, kind), headers=headers)
    headers["Accept-Ranges"] = "bytes"
    if not asked:
        headers["Content-Range"] = f"bytes */{size}"
        return replace(answer, status=416, body=answer.invalid_range, headers=headers)
    said = asked.start + 1 if kind == "wrong-range" else asked.start
    headers["Content-Range"] = f"bytes {said}-{asked.stop - 1}/{size}"
    # A copy of a large body costs as much as sending it.
    body = answer.body if len(asked) == size else answer.body[asked.start : asked.stop]
    return replace(answer, status=206, body=_spoil(body, headers, kind), headers=headers)


def parse_range(value: str, size: int, *, suffixes: bool = True) -> range | None:
    """Read the header `Range`.

    Parameters
    ----------
    value : str
        The header, empty if there is none.
    size : int
        Size of the whole body in bytes.
    suffixes : bool, default: True
        Whether `bytes=-n` is known.

    Returns
    -------
    range or None
        The bytes asked for; empty if they lie outside the body. None if the header is to be
        ignored: another unit, several ranges, or something else than numbers.
    """
    unit, _, text = value.partition("=")
    first, dash, last = text.partition("-")
    numbers = first.isdecimal() or (suffixes and not first and last.isdecimal())
    if unit != "bytes" or not dash or not numbers or not (last.isdecimal() or not last):
        return None
    if not first:
        return range(max(size - int(last), 0), size)
    if last and int(last) < int(first):
        return None
    return range(int(first), min(int(last) + 1, size) if last else size)


def _spoil(body: bytes, headers: dict[str, str], kind: str) -> bytes:
    """Change a body as a fault wants it."""
    changes: dict[str, Callable[[bytes], bytes]] = {
        "corrupt": lambda data: bytes(byte ^ 1 for byte in data),
        "short": lambda data: data[:-1],
        "long": lambda data: data + b"!",
        "gzip": lambda data: gzip.compress(data, mtime=0),
    }
    if kind in ("gzip", "stored-gzip"):
        headers["Content-Encoding"] = "gzip"
    return changes[kind](body) if kind in changes else body
