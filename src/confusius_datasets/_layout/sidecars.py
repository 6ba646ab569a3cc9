"""JSON sidecars of one dataset: which apply to a file, and what they say, fetched where needed."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from confusius_datasets._cache import is_here
from confusius_datasets._entities import applicable_sidecars, parse_entities
from confusius_datasets._layout.database import PrivateDatabase
from confusius_datasets._paths import walk_folder
from confusius_datasets._sidecars import merge_sidecars, read_sidecar
from confusius_datasets._text import REPAIR_HINT, add_hint
from confusius_datasets.errors import DamagedSidecarError

__all__ = ["EnsureLocal", "Sidecars"]

EnsureLocal = Callable[[Sequence[str]], None]
"""Makes files local, given their paths below the root."""

KEPT = 1000
"""Sidecars whose content is remembered, as many files inherit from the same."""


class Sidecars:
    """The sidecars of a layout's own dataset."""

    def __init__(
        self, root: Path, database: PrivateDatabase, ensure_local: EnsureLocal | None
    ) -> None:
        self.base = os.path.join(root, "")  # noqa: PTH118 - text, with the separator at its end
        self._root = root
        self._database = database
        self._ensure_local = ensure_local
        self._content = functools.lru_cache(maxsize=KEPT)(self.read)

    @property
    def may_be_remote(self) -> bool:
        """Whether there is a host to fetch from what is not here."""
        return self._ensure_local is not None

    def relpath(self, path: str) -> str:
        """Return the path of a file below the root, with `/`."""
        return path[len(self.base) :].replace(os.sep, "/")

    def of(self, path: str) -> list[str]:
        """List the sidecars of a file, below the root, the most specific last."""
        return applicable_sidecars(self.relpath(path), self._database.catalogue.json_files)

    def missing(self, path: str) -> list[str]:
        """List the sidecars of a file that are not on disk, though a host has them."""
        if not self.may_be_remote:
            return []
        return [relpath for relpath in self.of(path) if not self.is_local(relpath)]

    def make_local(self, sidecars: Iterable[Sequence[str]]) -> None:
        """Make sidecars local, all at once."""
        if self._ensure_local is None:
            return
        wanted = dict.fromkeys(relpath for applying in sidecars for relpath in applying)
        missing = [relpath for relpath in wanted if not self.is_local(relpath)]
        if missing:
            self._ensure_local(missing)

    def fields_of(self, path: str) -> dict[str, Any]:
        """Merge the sidecars of a file; where it is not here itself, they need not be either."""
        try:
            return merge_sidecars(map(self._content, self.of(path)))
        except FileNotFoundError:
            if Path(path).exists():
                raise
            return {}

    @functools.cached_property
    def naming_subjects(self) -> frozenset[str | None]:
        """The subjects of sidecars that were here at first and name other files."""
        found: set[str | None] = set()
        for relpath in walk_folder(self._root).files:
            subject = parse_entities(relpath).get("subject") if relpath.endswith(".json") else ""
            if subject == "" or subject in found:
                continue
            with contextlib.suppress(OSError):  # whoever needs it is told
                if b"IntendedFor" in (self._root / relpath).read_bytes():
                    found.add(subject)
        return frozenset(found)

    def read(self, relpath: str) -> dict[str, Any]:
        """Read a JSON file of the dataset."""
        try:
            return read_sidecar(self._root / relpath)
        except DamagedSidecarError as error:
            if self.may_be_remote:
                add_hint(error, REPAIR_HINT)
            raise

    def is_local(self, relpath: str) -> bool:
        """Say whether a file is on disk."""
        return is_here(self._root / relpath)
