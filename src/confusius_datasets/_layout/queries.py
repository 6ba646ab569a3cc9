"""Filters of a query: the forms a value can have, and which names and values cannot be meant.

Nothing here asks a database.
"""

from __future__ import annotations

import numbers
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from confusius_datasets._layout.pybids import listify
from confusius_datasets._text import did_you_mean, quote_short
from confusius_datasets.errors import FilterError

__all__ = ["check_choice", "is_field_name", "normalise_filters", "spellings_of"]


def normalise_filters(filters: Mapping[str, Any], named: Collection[str]) -> dict[str, Any]:
    """Bring the values of filters into the forms that PyBIDS takes: one value, or a list."""
    normal = {}
    for name, value in filters.items():
        plain = _plain(value)
        if isinstance(plain, list | tuple):
            if not plain:
                # PyBIDS would take it for no filter at all, and answer with the whole dataset.
                raise FilterError(
                    f"{name}={quote_short(value)} lists no value, so no file could match. Leave "
                    f"{name} out to select every file."
                )
            plain = [_plain(one) for one in plain]
        if name == "extension":
            plain = [_dotted(one) for one in listify(plain)] if plain is not None else [None]
        elif name not in named:
            plain = _with_spellings(plain)
        normal[name] = plain
    return normal


def _plain(value: Any) -> Any:
    """Turn what can be iterated over into a list, and NumPy's scalars into Python's."""
    if hasattr(value, "tolist"):  # arrays, their scalars, and columns of tables
        return value.tolist()
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | list | tuple | type):
        return list(value)
    return value


def _dotted(extension: Any) -> Any:
    """Begin an extension with its dot."""
    return f".{extension.lstrip('.')}" if isinstance(extension, str) else extension


def _with_spellings(value: Any) -> Any:
    """Add the other spelling of numbers: JSON has `2` and `2.0`, and the database their texts."""
    listed = value if isinstance(value, list) else [value]
    spelt = [spelling for one in listed for spelling in spellings_of(one)]
    return spelt if isinstance(value, list) or len(spelt) > 1 else value


def spellings_of(value: Any) -> list[Any]:
    """List a number as the database may have it; whatever is not a number is alone."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return [value]
    as_float = float(value)
    if not as_float.is_integer() or as_float != value:
        return [value]
    return [str(int(as_float)), str(as_float)]


def is_field_name(name: str) -> bool:
    """Say whether a name looks like a metadata field: BIDS begins them with a capital."""
    return name[:1].isupper()


def check_choice(name: str, value: str, choices: Collection[str]) -> None:
    """Refuse a value of an option that is not one of its choices; PyBIDS would ignore it."""
    if value not in choices:
        listed = ", ".join(repr(choice) for choice in choices)
        raise FilterError(
            f"{name}={value!r} is unknown. {did_you_mean(str(value), choices)}It can be {listed}."
        )
