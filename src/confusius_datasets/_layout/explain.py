"""Why a query gives what it gives: counts for each filter, and words for what is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from confusius_datasets._layout.typos import list_values
from confusius_datasets._text import LONGEST_LIST, did_you_mean, list_some

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["explain", "explain_empty", "word_pattern", "word_unknown"]

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
        alone = len(layout.find_paths(**options, **{name: value}))
        left = len(layout.find_paths(**options, **together))
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
    has = list_values(layout, name)
    near = did_you_mean(str(value), has)
    return (
        f"No file matches {asked}: no file at all has {name}={value!r}. {near}"
        f"There are {list_some(has) or 'none'}."
    )


OPTIONS_MEANT = {
    "derivatives": "To choose derivatives, pass scope='derivatives'. ",
    "validate": "It is an option of BIDSLayout, not a filter. ",
}
"""What people write as a filter, and what they mean."""


def word_unknown(name: str, known: Iterable[str], *, limit: int | None = LONGEST_LIST) -> str:
    """Say that a name is not an entity, and what may have been meant."""
    if name in BIDS_KEYS:
        hint = f"PyBIDS calls it '{BIDS_KEYS[name]}'. "
    elif name in OPTIONS_MEANT:
        hint = OPTIONS_MEANT[name]
    else:
        names = list(known)
        listed = list_some(names, limit=len(names) if limit is None else limit)
        hint = did_you_mean(name, names) or f"There are {listed}. "
    return f"'{name}' is not a recognized entity. {hint}"


def word_pattern(filters: Mapping[str, Any]) -> str | None:
    """Say which value of a query is not a regular expression, though it must be one."""
    for name, value in filters.items():
        for pattern in map(str, value if isinstance(value, list | tuple) else [value]):
            try:
                re.compile(pattern)
            except re.error as error:
                return (
                    f"{name}={pattern!r} is not a regular expression: {error}. Put a backslash "
                    "before characters that stand for themselves, or leave regex_search out to "
                    "ask for exact values."
                )
    return None
