"""`Snapshot`: what is known of a dataset at one time, replaced as a whole and never changed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from confusius_datasets._entities import applicable_sidecars
from confusius_datasets._index import DatasetIndex

__all__ = ["Snapshot", "Stamp"]

Stamp = tuple[int, int, int] | None
"""Time, size and inode of an index file; `None` where there is no file."""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """An index, and what follows from it. Whoever derives more keeps the snapshot beside it."""

    index: DatasetIndex
    stamp: Stamp = None

    @cached_property
    def stores(self) -> dict[str, list[str]]:
        """The entries of each Zarr store, which are many files and one for PyBIDS."""
        stores: dict[str, list[str]] = {}
        for relpath in self.index:
            head, store, _ = relpath.partition(".zarr/")
            if store:
                stores.setdefault(f"{head}.zarr", []).append(relpath)
        return stores

    @cached_property
    def _jsons(self) -> dict[str, list[str]]:
        """The JSON files of the index by the folder they lie in."""
        jsons: dict[str, list[str]] = {}
        for relpath in self.index:
            if relpath.endswith(".json"):
                jsons.setdefault(relpath.rpartition("/")[0], []).append(relpath)
        return jsons

    def members(self, relpath: str) -> list[str]:
        """List the entries of a Zarr store, or the file itself."""
        return self.stores.get(relpath, [relpath])

    def with_sidecars(self, relpaths: Iterable[str]) -> list[str]:
        """List entries with the sidecars that apply to them, stores in full, each once."""
        found: dict[str, None] = {}
        for relpath in relpaths:
            sidecars = applicable_sidecars(relpath, lambda folder: self._jsons.get(folder, ()))
            found |= dict.fromkeys((*sidecars, *self.members(relpath)))
        return [relpath for relpath in found if relpath in self.index]
