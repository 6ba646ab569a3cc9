"""Files of queries → the answers that are not files: values of an entity, and folders."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from confusius_datasets._layout.catalogue import sort_values
from confusius_datasets._layout.pybids import hashablefy, natural_sort, value_of
from confusius_datasets._layout.statements import FileQuery, values_of

__all__ = ["list_folders", "list_values"]


def list_values(
    target: str, queries: Iterable[FileQuery], *, is_metadata: bool, of_all: bool
) -> list[Any]:
    """List the values of an entity among the files of queries, by one statement each."""
    values: dict[Any, None] = {}
    for query in queries:
        chosen = None if of_all else query
        for row in values_of(query.layout, target, chosen, is_metadata=is_metadata):
            values[hashablefy(value_of(*row))] = None
    return sort_values(values)


def list_folders(
    target: str, queries: Iterable[FileQuery], root: str, entities: Mapping[str, Any]
) -> list[str]:
    """List the folders of an entity, as those of subjects, that have a file of the queries."""
    template = entities[target].directory
    if template is None:
        raise ValueError(
            "Return type set to directory, but no directory template is defined for the "
            f"target entity ({target!r})."
        )
    names = [part.rstrip("}") for part in template.split("{") if part]
    found = set()
    for path in (path for query in queries for path in query.paths()):
        end = len(root) if path.startswith(root + os.sep) else None
        for name in names:
            pattern = re.compile(entities[name].pattern)
            match = pattern.match(path, end) if end is not None else None
            end = match.end() if match else None
        if end is not None and path[end : end + 1] == os.sep:
            found.add(path[:end])
    return list(natural_sort(list(found)))
