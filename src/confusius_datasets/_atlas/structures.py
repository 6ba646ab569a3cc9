"""The regions of an atlas: which there are, which holds which, which one is meant."""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from confusius_datasets._text import did_you_mean, quote_short, shorten
from confusius_datasets.errors import FileFormatError, FilterError, UnknownKeyError

__all__ = ["Region", "Regions"]


@dataclass(frozen=True, slots=True)
class Region:
    """One region, as the atlas's table has it."""

    key: int
    acronym: str
    name: str
    rgb: tuple[int, int, int]
    path: tuple[int, ...]
    """Identifiers from the root down to the region itself."""


class Regions:
    """The regions of an atlas, over BrainGlobe's dictionary of them."""

    def __init__(self, structures: Mapping[Any, Any], *, source: str = "the atlas") -> None:
        self.structures = structures
        self.by_id = {
            region.key: region
            for region in (_as_region(entry, source) for entry in structures.values())
        }
        self.by_acronym = {region.acronym: key for key, region in self.by_id.items()}
        if not self.by_id:
            raise FileFormatError(f"{source}: there are no regions in it.")
        _check_hierarchy(self.by_id, source)

    @functools.cached_property
    def table(self) -> pd.DataFrame:
        """One row a region, in the order of the atlas."""
        columns = ["acronym", "name", "rgb_triplet"]
        rows = [[region.acronym, region.name, list(region.rgb)] for region in self.by_id.values()]
        return pd.DataFrame(rows, columns=columns, index=pd.Index(list(self.by_id), name="id"))

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
        if key not in self.by_id:
            raise UnknownKeyError(
                f"Structure id {key} not found in atlas. "
                "Use atlas.search() to browse available structures."
            )
        return key

    def with_descendants(self, key: int) -> list[int]:
        """List a region and all that it holds."""
        return [other for other, region in self.by_id.items() if key in region.path]

    def search(self, pattern: str, field: Literal["all", "acronym", "name"]) -> pd.DataFrame:
        """Find regions by a regular expression."""
        if field not in ("all", "acronym", "name"):
            raise FilterError(f"Invalid field: {field!r}. It must be one of all, acronym, name.")
        try:
            expression = re.compile(pattern, re.IGNORECASE)
        except re.error as error:
            raise FilterError(
                f"{pattern!r} is not a regular expression: {error}. To search for it as it stands, "
                "pass it through re.escape first."
            ) from error
        if field == "all":
            columns = [self.table["acronym"], self.table["name"]]
            hits = [any(map(expression.search, texts)) for texts in zip(*columns, strict=True)]
        else:
            hits = [expression.fullmatch(text) is not None for text in self.table[field]]
        found: pd.DataFrame = self.table[hits]
        return found


def _as_region(entry: Any, source: str) -> Region:
    """Read one row of the table of regions."""
    try:
        key, acronym, name = int(entry["id"]), entry["acronym"], entry["name"]
        red, green, blue = (int(part) for part in entry["rgb_triplet"])
        path = tuple(int(part) for part in entry["structure_id_path"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise FileFormatError(
            f"{source}: a region cannot be read: {shorten(repr(error))}."
        ) from error
    # An empty cell arrives as NaN.
    if not isinstance(acronym, str) or not acronym:
        raise FileFormatError(f"{source}: the region {key} has no acronym.")
    if not all(0 <= part <= 255 for part in (red, green, blue)):
        raise FileFormatError(f"{source}: the region {key} has the colour {red, green, blue}.")
    return Region(
        key, acronym, name if isinstance(name, str) else acronym, (red, green, blue), path
    )


def _check_hierarchy(regions: Mapping[int, Region], source: str) -> None:
    """Check that each region hangs from the root, by way of regions that there are."""
    for key, region in regions.items():
        parents = region.path[:-1]
        nearest = regions.get(parents[-1]) if parents else None
        is_sound = (
            region.path[-1:] == (key,)
            and all(parent in regions for parent in parents)
            # So no region can be its own ancestor.
            and (nearest is None or len(nearest.path) < len(region.path))
        )
        if not is_sound:
            raise FileFormatError(
                f"{source}: the region {key} ({region.acronym}) has the path "
                f"{quote_short(list(region.path))}, which does not lead to it from the root."
            )
