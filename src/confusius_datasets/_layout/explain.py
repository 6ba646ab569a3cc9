"""Why a query gives what it gives: counts for each filter, and words for what is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from confusius_datasets._layout.typos import list_values
from confusius_datasets._text import LONGEST_LIST, did_you_mean, list_some, quote

if TYPE_CHECKING:
    import pandas as pd
    from bids.layout import BIDSFile

__all__ = ["compile_pattern", "explain", "explain_empty", "explain_several", "word_unknown"]

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
    asked = _write(query) or "an empty query"
    counts = explain(layout, query)
    empty = counts[counts["together"] == 0]
    if empty.empty:
        call = _write(query)
        return (
            f"No file that matches {asked} can be loaded; see get for what there is. A table is "
            f"read with ds.get({call})[0].get_df()."
        )
    name = empty.iloc[0]["filter"]
    value = query[name]  # a table of numbers would give NumPy's
    if empty.iloc[0]["alone"]:
        return (
            f"No file matches {asked}: {_write({name: value})} leaves none of the files that "
            "the filters before it leave. See explain for the counts."
        )
    has = list_values(layout, name)
    near = did_you_mean(str(value), has)
    return (
        f"No file matches {asked}: no file at all has {_write({name: value})}. {near}"
        f"{f'There are {list_some(has)}.' if has else f'No file has {name}.'}"
    )


def _write(query: Mapping[str, Any]) -> str:
    """Write a query as one would type it, long values cut."""
    each = (f"{name}={quote(value)}" for name, value in query.items())
    return ", ".join(each)


OPTIONS_MEANT = {
    "derivatives": "To choose derivatives, pass scope='derivatives'. ",
    "validate": "It is an option of BIDSLayout, not a filter. ",
}
"""What people write as a filter, and what they mean."""


def explain_several(matches: Sequence[BIDSFile], query: Mapping[str, Any]) -> str:
    """Say what tells several matches apart, with a call that gives one of them."""
    asked = _write(query)
    names = list_some([file.filename for file in matches], limit=4)
    start = f"{len(matches)} files match {asked or 'an empty query'}: {names}."
    each = [_named_values(file) for file in matches]
    differ = {
        name: dict.fromkeys(entities.get(name) for entities in each)
        for name in dict.fromkeys(name for entities in each for name in entities)
    }
    differ = {name: values for name, values in differ.items() if len(values) > 1}
    wanted = {name: each[0].get(name) for name in differ}
    if sum({name: one.get(name) for name in wanted} == wanted for one in each) > 1:
        # Names may differ in keys that are not entities, and folders in scope alone.
        return (
            f"{start} No entity tells them apart. Name the scope, or call load_all, or load one by "
            f"its path: load({matches[0].path!r})."
        )
    told = [f"{name} ({list_some(map(str, values), limit=6)})" for name, values in differ.items()]
    listed = f" {told[0]}" if len(told) == 1 else "".join(f"\n  - {line}" for line in told)
    call = _write({**query, **wanted})
    return (
        f"{start} They differ in{listed}\nName these, or call load_all. One of them: load({call})"
    )


def _named_values(file: BIDSFile) -> dict[str, Any]:
    """Return the entities of a file in the form that one would type them."""
    entities = file.get_entities()
    return {
        name: int(value) if isinstance(value, int) else str(value)
        for name, value in entities.items()
    }


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


def compile_pattern(name: str, pattern: str) -> re.Pattern[str]:
    """Compile a pattern of a query, which is found in any case."""
    try:
        return re.compile(pattern, re.IGNORECASE)
    except (re.error, OverflowError, RecursionError, MemoryError) as error:
        # Imported here, since it brings SQLAlchemy, whose error this is too.
        from sqlalchemy.exc import OperationalError

        from confusius_datasets.errors import InvalidPatternError

        raise InvalidPatternError(
            f"{name}={quote(pattern)} is not a regular expression: "
            f"{error}. Put a backslash before characters that stand for themselves, or leave "
            "regex_search out to ask for exact values.",
            OperationalError(None, None, error),
        ) from None
