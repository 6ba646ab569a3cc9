"""Values of a query that exist nowhere in a dataset, with the nearest one that does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from confusius_datasets._entities import INTEGER_ENTITIES
from confusius_datasets._layout.pybids import layouts_in_scope, listify, value_of
from confusius_datasets._layout.queries import fits_database, normalise_filters
from confusius_datasets._layout.statements import has_value, values_of
from confusius_datasets._text import LONGEST_LIST, did_you_mean, list_some, quote_short
from confusius_datasets.errors import ConfusiusDatasetsError

__all__ = ["find_unknown_values", "list_values"]

MANY_VALUES = 100
"""Values of a filter from which on all that there are is asked once."""

SCOPES = frozenset({"all", "raw", "derivatives", "self"})


def find_unknown_values(layout: Any, query: Mapping[str, Any]) -> list[str]:
    """Word each value of a query that no file of the dataset has, and each unknown scope.

    Metadata fields are left out: which values they have, only their sidecars say.
    """
    found = [
        _word("scope", scope, list_values(layout, "scope"))
        for scope in listify(query.get("scope")) or []
        if isinstance(scope, str) and not _is_scope(layout, scope)
    ]
    if query.get("regex_search"):
        return found
    named = layout.named_entities()
    filters = {name: value for name, value in query.items() if name in named}
    for name, wanted in normalise_filters(filters, named).items():
        values = listify(wanted) or []
        if name == "extension" and len(values) > 1:
            continue  # [".nii", ".nii.gz"] is how every script asks for images
        unknown = _unknown_of(layout, name, values)
        if unknown:
            known = list_values(layout, name)
            found += [_word(name, value, known) for value in unknown[:LONGEST_LIST]]
        if len(unknown) > LONGEST_LIST:
            found.append(f"{len(unknown)} values of {name} are in no file at all.")
    return found


def _unknown_of(layout: Any, name: str, values: Sequence[Any]) -> list[Any]:
    """List the values that no file has; of many at once, not one after another."""
    texts = [value for value in values if isinstance(value, str | int | float)]
    if len(texts) <= MANY_VALUES:
        return [value for value in texts if not _exists(layout, name, value)]
    known = set(list_values(layout, name))
    return [value for value in texts if str(_as_entity(name, value)) not in known]


def list_values(layout: Any, name: str) -> list[str]:
    """List the values that a filter can have, as texts."""
    if name == "scope":
        return ["raw", "derivatives", *(key.rpartition("/")[2] for key in layout.derivatives)]
    is_metadata = name not in layout.named_entities()
    values = {
        str(value_of(text, dtype))
        for one in layouts_in_scope(layout, "all")
        for text, dtype in values_of(one, name, None, is_metadata=is_metadata)
    }
    return sorted(values)


def _is_scope(layout: Any, scope: str) -> bool:
    """Say whether a scope is known; one that only a missing description could name counts too."""
    if scope in SCOPES or scope in layout.derivatives:
        return True
    if scope in list_values(layout, "scope"):
        return True
    try:
        return any(scope == one.source_pipeline for one in layout.derivatives.values())
    except ConfusiusDatasetsError:  # a description cannot be had now
        return True


def _exists(layout: Any, name: str, value: str | float) -> bool:
    """Say whether a file's name has a value of an entity, compared as PyBIDS compares."""
    wanted = _as_entity(name, value)
    return wanted is not None and any(
        has_value(one, name, wanted) for one in layouts_in_scope(layout, "all")
    )


def _as_entity(name: str, value: str | float) -> str | int | None:
    """Turn a value into the type of its entity; `None` if it cannot be one."""
    if name not in INTEGER_ENTITIES:
        return str(value)
    try:
        number = int(value)
    except (ValueError, OverflowError):
        return None
    return number if fits_database(number) else None


def _word(name: str, value: object, known: list[str]) -> str:
    """Say that a value exists nowhere, and which is the nearest one."""
    near = did_you_mean(str(value), known)
    others = f"There are {list_some(known)}." if known else f"No file has {name}."
    return f"No file at all has {name}={quote_short(value)}. {near}{others}"
