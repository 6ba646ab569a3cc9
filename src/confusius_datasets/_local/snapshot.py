"""`Snapshot`: what is known of a dataset at one time, replaced as a whole and never changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache

from confusius_datasets._entities import applicable_sidecars
from confusius_datasets._index import DatasetIndex

__all__ = ["FOLDERS_KEPT", "Snapshot", "Stamp"]

FOLDERS_KEPT = 1000
"""Folders of which the files are remembered."""

Stamp = tuple[int, int, int] | None
"""Time, size and inode of an index file; `None` where there is no file."""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """An index, and what follows from it. Whoever derives more keeps the snapshot beside it."""

    index: DatasetIndex
    stamp: Stamp = None

    @cached_property
    def _jsons(self) -> Callable[[str], list[str]]:
        """List the JSON files right in a folder; many files ask for the same."""
        return lru_cache(FOLDERS_KEPT)(self._jsons_in)

    def _jsons_in(self, folder: str) -> list[str]:
        base = f"{folder}/" if folder else ""
        names = self.index.names_in(folder)
        return [base + name for name in names if name.endswith(".json")]

    def members(self, relpath: str) -> list[str]:
        """List the entries of a Zarr store, or the file itself."""
        below = self.index.below(relpath) if relpath.endswith(".zarr") else []
        return [entry.relpath for entry in below] or [relpath]

    def with_sidecars(self, relpaths: Iterable[str]) -> list[str]:
        """List entries with the sidecars that apply to them, stores in full, each once."""
        found: dict[str, None] = {}
        for relpath in relpaths:
            sidecars = applicable_sidecars(relpath, self._jsons)
            found |= dict.fromkeys((*sidecars, *self.members(relpath)))
        return [relpath for relpath in found if relpath in self.index]
