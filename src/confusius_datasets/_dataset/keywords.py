"""Keywords of queries, so that a session can complete them: `ds.load(sub<TAB>`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["QUERY_KEYWORDS", "completes_query"]

QUERY_KEYWORDS = (
    *("subject", "session", "task", "acquisition", "reconstruction", "run", "recording"),
    *("space", "desc", "pose", "chunk", "stat", "datatype", "suffix", "extension", "scope"),
)
"""What queries are made of most; any other entity or metadata field is taken, too."""

Method = TypeVar("Method", bound=Callable[..., Any])


def completes_query(method: Method) -> Method:
    """Name the keywords that stand for `**query` in the signature that sessions show."""
    signature = inspect.signature(method)
    *named, rest = signature.parameters.values()
    taken = signature.parameters
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Any)
        for name in QUERY_KEYWORDS
        if name not in taken
    ]
    shown = signature.replace(parameters=[*named, *added, rest])
    method.__signature__ = shown  # type: ignore[attr-defined]
    return method
