"""Filters of a query: the forms a value can have, and which names and values cannot be meant.

Nothing here asks a database.
"""

from __future__ import annotations

import datetime
import enum
import math
import numbers
import os
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from confusius_datasets._layout.pybids import listify
from confusius_datasets._text import did_you_mean, quote_short
from confusius_datasets.errors import FilterError

__all__ = ["check_choice", "fits_database", "is_field_name", "normalise_filters", "spellings_of"]


MOST_FILTERS = 500
"""Filters of one query; SQLite nests conditions 1000 deep at most."""


def normalise_filters(filters: Mapping[str, Any], named: Collection[str]) -> dict[str, Any]:
    """Bring the values of filters into the forms that PyBIDS takes: one value, or a list."""
    if len(filters) > MOST_FILTERS:
        raise FilterError(
            f"The query has {len(filters)} filters, and at most {MOST_FILTERS} are understood. "
            "Ask with some of them, and choose among the answers."
        )
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
            plain = [_single(name, _plain(one)) for one in plain]
        else:
            plain = _single(name, plain)
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


def fits_database(number: int) -> bool:
    """Say whether SQLite can hold a number; others are compared as text."""
    return -(2**63) <= number < 2**63


def _single(name: str, value: Any) -> Any:
    """Return one value in a form that a database can compare, or refuse it."""
    if isinstance(value, bool | bytes | enum.Enum) or value is None:
        return value
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
            raise FilterError(
                f"{name}={quote_short(value)} holds half a character, which no text of a dataset "
                "can. Write it out."
            )
        return value
    if isinstance(value, int):
        return value if fits_database(value) else _as_text(name, value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, numbers.Number | os.PathLike | datetime.date | list | tuple | dict | set):
        return _as_text(name, value)
    raise FilterError(
        f"{name}={quote_short(value)} is a {type(value).__name__}, which no value of a file is. "
        "Pass texts or numbers."
    )


def _as_text(name: str, value: object) -> str:
    """Write what a database cannot hold as it is, a number of more than 64 bits for example."""
    try:
        return str(value)
    except (ValueError, RecursionError) as error:  # Python writes 4300 digits at most
        raise FilterError(
            f"The value of {name}, a {type(value).__name__}, is too long to be compared."
        ) from error


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
    try:
        as_float = float(value)
    except OverflowError:
        return [str(value)]
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
            f"{name}={quote_short(value)} is unknown. {did_you_mean(str(value), choices)}It can "
            f"be {listed}."
        )
