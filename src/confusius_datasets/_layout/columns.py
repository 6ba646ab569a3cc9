"""Entities of many files → the columns of a table, without a dictionary for each file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["Labels", "spread"]

Labels = tuple[Sequence[int], Sequence[Mapping[str, Any]]]
"""Of each file the number of its labels, and the labels that have these numbers."""


def spread(parts: Sequence[Labels], n_files: int) -> dict[str, np.ndarray]:
    """Put labels into columns, `NaN` where a file has none; of several parts, the first counts."""
    columns: dict[str, np.ndarray] = {}
    for numbers, labels in reversed(parts):
        codes = np.asarray(numbers, dtype=np.intp)
        for name in sorted({name for each in labels for name in each}):
            column = columns.setdefault(name, np.full(n_files, np.nan, dtype=object))
            has = np.array([name in each for each in labels], dtype=bool)
            values = np.empty(len(labels), dtype=object)
            values[:] = [each.get(name) for each in labels]
            chosen = has[codes]
            column[chosen] = values[codes[chosen]]
    return columns
