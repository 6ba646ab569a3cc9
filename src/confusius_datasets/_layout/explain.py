"""Why a query gives what it gives: counts for each filter, and words for what is wrong."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from confusius_datasets._text import did_you_mean, list_some

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["explain", "explain_empty", "is_slip", "word_pattern", "word_unknown"]

NEARLY = 0.8
"""How much of a name must be that of an entity to be taken for it, by `difflib`'s ratio."""

OPTIONS = ("regex_search", "invalid_filters")
"""Arguments of a query that say how to filter."""

ABOUT_ANSWERS = ("return_type", "target", "download", "progress")
"""Arguments of a query that do not change which files it is about."""

BIDS_KEYS = {
    "sub": "subject",
    "ses": "session",
    "acq": "acquisition",
    "ce": "ceagent",
    "rec": "reconstruction",
    "dir": "direction",
    "mod": "modality",
    "trc": "tracer",
    "stain": "staining",
    "nuc": "nucleus",
    "voi": "volume",
    "seg": "segmentation",
    "subjects": "subject",
    "sessions": "session",
    "tasks": "task",
    "acqs": "acquisition",
    "runs": "run",
}
"""What people write for an entity, and PyBIDS's name of it."""


def explain(layout: Any, query: Mapping[str, Any]) -> pd.DataFrame:
    """Count what each filter of a query leaves."""
    import pandas as pd

    options = {name: query[name] for name in OPTIONS if name in query}
    others = {*OPTIONS, *ABOUT_ANSWERS}
    filters = {name: value for name, value in query.items() if name not in others}
    rows = []
    together: dict[str, Any] = {}
    for name, value in filters.items():
        together[name] = value
        alone = len(layout.get(return_type="filename", **options, **{name: value}))
        left = len(layout.get(return_type="filename", **options, **together))
        rows.append((name, value, alone, left))
    return pd.DataFrame(rows, columns=["filter", "value", "alone", "together"])


def explain_empty(layout: Any, query: Mapping[str, Any]) -> str:
    """Say which filter of a query leaves no file."""
    asked = ", ".join(f"{name}={value!r}" for name, value in query.items()) or "an empty query"
    counts = explain(layout, query)
    empty = counts[counts["together"] == 0]
    if empty.empty:
        return f"No file that matches {asked} can be loaded; see get for what there is."
    name, value = empty.iloc[0]["filter"], empty.iloc[0]["value"]
    if empty.iloc[0]["alone"]:
        return (
            f"No file matches {asked}: {name}={value!r} leaves none of the files that the filters "
            "before it leave. See explain for the counts."
        )
    has = _values_there_are(layout, name)
    near = did_you_mean(str(value), has)
    return (
        f"No file matches {asked}: no file at all has {name}={value!r}. {near}"
        f"There are {list_some(has) or 'none'}."
    )


def _values_there_are(layout: Any, name: str) -> list[str]:
    """List the values that a filter can have."""
    if name == "scope":
        return ["raw", "derivatives", *(key.rpartition("/")[2] for key in layout.derivatives)]
    return sorted({str(label) for label in layout.get(return_type="id", target=name)})


def is_slip(name: str, entities: Iterable[str]) -> bool:
    """Say whether a name is all but certainly meant for an entity, and not for a metadata field."""
    if name in BIDS_KEYS:
        return True
    near = difflib.get_close_matches(name, list(entities), n=1, cutoff=NEARLY)
    return name[:1].islower() and bool(near)


def word_unknown(name: str, known: Iterable[str]) -> str:
    """Say that a name is no entity, and what may have been meant."""
    if name in BIDS_KEYS:
        hint = f"PyBIDS calls it '{BIDS_KEYS[name]}'. "
    else:
        names = list(known)
        hint = did_you_mean(name, names) or f"There are {list_some(names)}. "
    return f"'{name}' is not a recognized entity. {hint}"


def word_pattern(filters: Mapping[str, Any]) -> str | None:
    """Say which value of a query is no regular expression, though it is to be one."""
    for name, value in filters.items():
        for pattern in map(str, value if isinstance(value, list | tuple) else [value]):
            try:
                re.compile(pattern)
            except re.error as error:
                return (
                    f"{name}={pattern!r} is no regular expression: {error}. Put a backslash before "
                    "what is meant as it is, or leave regex_search out to ask for exact values."
                )
    return None
