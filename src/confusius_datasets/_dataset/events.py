"""Tables that come with recordings: participants, and events on the clock of the recording."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from confusius_datasets._damage import damage_errors, table_errors
from confusius_datasets._text import shorten
from confusius_datasets.errors import FileFormatError, MissingFileError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PARTICIPANTS_NAME", "join_events", "read_participants"]

PARTICIPANTS_NAME = "participants.tsv"

MISSING_WORDS = ("n/a",)
"""How BIDS writes a value that is missing; pandas would also take `NA` or `null` for it."""


LABELS = ("participant_id", "subject", "session_id")
"""Columns that are text, even where all labels look like numbers: 007 is not 7."""


def _read_table(path: Path) -> pd.DataFrame:
    """Read a table of BIDS: separated by tabs, `n/a` for what is missing."""
    import pandas as pd

    with damage_errors(path), table_errors(path):
        return pd.read_csv(
            path,
            sep="\t",
            na_values=list(MISSING_WORDS),
            keep_default_na=False,
            dtype=dict.fromkeys(LABELS, str),
            encoding="utf-8-sig",
        )


def read_participants(root: Path, *, is_known: bool) -> pd.DataFrame:
    """Read the table of participants, with a column of subjects as queries name them."""
    path = root / PARTICIPANTS_NAME
    if not path.is_file():
        remedy = (
            'Call ds.download(suffix="participants") first'
            if is_known
            else "The dataset has no such file; ds.get_subjects() lists its subjects"
        )
        raise MissingFileError(f"{path}: there is no table of participants. {remedy}.")
    table = _read_table(path)
    if "participant_id" not in table:
        raise FileFormatError(
            f"{path}: expected a column 'participant_id', found {', '.join(map(str, table))}."
        )
    table.insert(0, "subject", table["participant_id"].str.removeprefix("sub-"))
    return table


def join_events(
    files: Iterable[Any], first_times: Callable[[str], Iterable[float]]
) -> pd.DataFrame:
    """Put tables of events together, with the entities of each file, and times of recordings."""
    import pandas as pd

    tables = [_read_events(file.path, file.get_entities(), first_times) for file in files]
    if not tables:
        return pd.DataFrame(columns=["onset", "duration", "time"])
    return pd.concat(tables, ignore_index=True)


def _read_events(
    path: str | os.PathLike[str],
    entities: Mapping[str, Any],
    first_times: Callable[[str], Iterable[float]],
) -> pd.DataFrame:
    """Read a table of events."""
    table = _read_table(Path(path))
    if "onset" not in table:
        raise FileFormatError(
            f"{path}: expected a column 'onset', found {', '.join(map(str, table)) or 'none'}."
        )
    starts = set(first_times(os.fspath(path)))
    # Without a recording there is no clock; those that begin at different times have no common one.
    start = starts.pop() if len(starts) == 1 else float("nan")
    try:
        table["time"] = table["onset"].astype(float) + start
    except (TypeError, ValueError, OverflowError) as error:
        raise FileFormatError(
            f"{path}: the column 'onset' must hold seconds as numbers: {shorten(error)}. Correct "
            "it."
        ) from error
    labels = {
        name: value
        for name, value in entities.items()
        if name not in ("suffix", "extension", "datatype") and name not in table
    }
    return table.assign(**labels)[[*labels, *table.columns]]
