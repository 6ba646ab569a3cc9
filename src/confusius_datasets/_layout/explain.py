"""Why a query gives what it gives: counts for each filter, and words for what is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from confusius_datasets.errors import did_you_mean, list_some

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["explain", "explain_empty", "word_unknown_entity"]

OPTIONS = ("scope", "regex_search", "invalid_filters")
"""Arguments of a query that are no filters."""

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
    """Count what each filter of a query leaves.

    Parameters
    ----------
    layout : bids.BIDSLayout
        The files.
    query : mapping of str to Any
        As `BIDSLayout.get` takes it.

    Returns
    -------
    pandas.DataFrame
        A row for each filter: `filter`, `value`, `alone` (files it leaves by itself), `together`
        (files it leaves with those before it).
    """
    import pandas as pd

    options = {name: query[name] for name in OPTIONS if name in query}
    filters = {name: value for name, value in query.items() if name not in OPTIONS}
    rows = []
    together: dict[str, Any] = {}
    for name, value in filters.items():
        together[name] = value
        alone = len(layout.get(return_type="filename", **options, **{name: value}))
        left = len(layout.get(return_type="filename", **options, **together))
        rows.append((name, value, alone, left))
    return pd.DataFrame(rows, columns=["filter", "value", "alone", "together"])


def explain_empty(layout: Any, query: Mapping[str, Any]) -> str:
    """Say which filter of a query leaves no file.

    Parameters
    ----------
    layout : bids.BIDSLayout
        The files.
    query : mapping of str to Any
        As `BIDSLayout.get` takes it; it matches nothing.

    Returns
    -------
    str
        The sentences of an error.
    """
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
    has = sorted({str(label) for label in layout.get(return_type="id", target=name)})
    near = did_you_mean(str(value), has)
    return (
        f"No file matches {asked}: no file at all has {name}={value!r}. {near}"
        f"There are {list_some(has) or 'none'}."
    )


def word_unknown_entity(name: str, known: Iterable[str]) -> str:
    """Say that a filter is no entity, and what may have been meant.

    Parameters
    ----------
    name : str
        The filter.
    known : iterable of str
        The entities there are.

    Returns
    -------
    str
        The sentences of an error.
    """
    if name in BIDS_KEYS:
        hint = f"PyBIDS calls it '{BIDS_KEYS[name]}'. "
    else:
        hint = did_you_mean(name, known)
    return (
        f"'{name}' is not a recognized entity. {hint}If you're sure you want to impose this "
        "constraint, set invalid_filters='allow'."
    )
