"""The regions of an atlas: which there are, which holds which, which one is meant."""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Mapping
from typing import Any, Literal

import pandas as pd

from confusius_datasets._text import did_you_mean
from confusius_datasets.errors import FilterError, UnknownKeyError

__all__ = ["Regions"]


class Regions:
    """The regions of an atlas, over BrainGlobe's dictionary of them."""

    def __init__(self, structures: Mapping[Any, Any]) -> None:
        self.structures = structures
        self.entries: dict[int, Any] = {int(entry["id"]): entry for entry in structures.values()}
        self.by_acronym = {str(entry["acronym"]): key for key, entry in self.entries.items()}

    @functools.cached_property
    def table(self) -> pd.DataFrame:
        """One row a region, in the order of the atlas."""
        columns = ("acronym", "name", "rgb_triplet")
        rows = [[entry[column] for column in columns] for entry in self.entries.values()]
        index = pd.Index(list(self.entries), name="id")
        return pd.DataFrame(rows, columns=list(columns), index=index)

    def find(self, region: int | str) -> int:
        """Say which region is meant."""
        if isinstance(region, str):
            if region not in self.by_acronym:
                raise UnknownKeyError(
                    f"Acronym {region!r} not found in atlas. "
                    f"{did_you_mean(region, self.by_acronym)}"
                    "Use atlas.search() to find the correct acronym."
                )
            return self.by_acronym[region]
        if isinstance(region, bool):
            raise TypeError("A region is named by an identifier or an acronym, not by a bool.")
        try:
            key = operator.index(region)
        except TypeError as error:
            raise TypeError(
                "A region is named by an identifier (int) or an acronym (str), not by "
                f"{type(region).__name__}."
            ) from error
        if key not in self.entries:
            raise UnknownKeyError(
                f"Structure id {key} not found in atlas. "
                "Use atlas.search() to browse available structures."
            )
        return key

    def acronym(self, key: int) -> str:
        """Return a region's acronym."""
        return str(self.entries[key]["acronym"])

    def with_descendants(self, key: int) -> list[int]:
        """List a region and all that it holds."""
        return [other for other, entry in self.entries.items() if key in entry["structure_id_path"]]

    def search(self, pattern: str, field: Literal["all", "acronym", "name"]) -> pd.DataFrame:
        """Find regions by a regular expression."""
        if field not in ("all", "acronym", "name"):
            raise FilterError(f"Invalid field: {field!r}. It must be one of all, acronym, name.")
        try:
            expression = re.compile(pattern, re.IGNORECASE)
        except re.error as error:
            raise FilterError(
                f"{pattern!r} is no regular expression: {error}. To search for it as it stands, "
                "pass it through re.escape first."
            ) from error
        if field == "all":
            columns = [self.table["acronym"], self.table["name"]]
            hits = [any(map(expression.search, texts)) for texts in zip(*columns, strict=True)]
        else:
            hits = [expression.fullmatch(text) is not None for text in self.table[field]]
        found: pd.DataFrame = self.table[hits]
        return found
