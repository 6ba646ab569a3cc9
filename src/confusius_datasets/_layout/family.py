"""`FamilyLayout`: one dataset of a root among its relatives, the raw data and its derivatives.

What belongs to a scope, and under which paths and names files are known.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from pathlib import Path
from typing import Any

from bids import BIDSLayout

from confusius_datasets._cache import PerProcess
from confusius_datasets._entities import DESCRIPTION_NAME
from confusius_datasets._layout.conveniences import ConvenientLayout
from confusius_datasets._layout.files import is_derivative
from confusius_datasets._layout.metadata import Metadata
from confusius_datasets._layout.pybids import (
    Config,
    DerivativeDatasets,
    LayoutPath,
    layouts_in_scope,
    listify,
)
from confusius_datasets._layout.sidecars import Sidecars
from confusius_datasets._layout.statements import find_own
from confusius_datasets._layout.turns import one_at_a_time
from confusius_datasets.errors import (
    ConfusiusDatasetsError,
    DamagedSidecarError,
    MissingFileError,
    UnreadableFileError,
)

__all__ = ["FamilyLayout"]


class FamilyLayout(ConvenientLayout):
    """A layout that knows its place among the datasets of a root."""

    metadata: Metadata
    _sidecars: Sidecars

    def __init__(self, root: Path, prefix: str, sources: FamilyLayout | None) -> None:
        # PyBIDS's own constructor is not called: it wants the folder and its description on disk.
        # A session is one thread's at a time, and a fork may happen while another thread has it.
        self._locks: PerProcess[contextlib.AbstractContextManager[Any]] = (
            sources._locks if sources else PerProcess(threading.RLock)
        )
        self._top = root
        self._prefix = prefix
        self._root = LayoutPath(root / prefix)
        self.is_derivative = bool(prefix) or is_derivative(root)
        self.sources = sources
        self.derivatives = DerivativeDatasets()

    @property
    def lock(self) -> contextlib.AbstractContextManager[Any]:
        """The lock that threads of this process take in turn."""
        return self._locks.get()

    # What a dataset says of itself.

    @functools.cached_property
    def description(self) -> dict[str, Any] | None:
        """Content of `dataset_description.json`, or `None`; made local when it is asked for."""
        relpath = f"{self._prefix}/{DESCRIPTION_NAME}".lstrip("/")
        with self.lock:
            if find_own(self, [str(self._top / relpath)]):
                self._sidecars.make_local([[relpath]])
            with contextlib.suppress(MissingFileError, DamagedSidecarError, UnreadableFileError):
                return self._sidecars.read(relpath)
            return None

    @property
    def source_pipeline(self) -> str | None:
        """Name of the pipeline that made a derivative, or else of its folder."""
        if not self.is_derivative:
            return None
        description = self.description or {}
        made_by = description.get("GeneratedBy")
        steps = made_by if isinstance(made_by, list) and made_by else []
        # The second is how it was written before BIDS 1.4.
        for step in (*steps, description.get("PipelineDescription")):
            if isinstance(step, dict) and isinstance(step.get("Name"), str):
                return str(step["Name"])
        return self._prefix.rpartition("/")[2] or None

    def _in_scope(self, scope: str | list[str]) -> bool:
        """Say whether this layout is in a scope; a derivative is also known by its folder."""
        scopes = set(listify(scope))
        if "all" in scopes:
            return True
        if not self.is_derivative:
            return "raw" in scopes
        if scopes & {"derivatives", self._prefix or None, self._prefix.rpartition("/")[2] or None}:
            return True
        named = scopes - {"raw", "self"}
        try:
            return bool(named) and self.source_pipeline in named
        except ConfusiusDatasetsError:  # its description cannot be had now
            if named <= self._folder_names():
                return False
            raise

    def _get_layouts_in_scope(self, scope: str | list[str]) -> list[BIDSLayout]:
        """List this layout and its derivatives, as far as they are in a scope."""
        if scope == "self":
            return [self]
        # PyBIDS gives them in no order.
        found = [self] if self._in_scope(scope) else []
        for derivative in self.derivatives.values():
            found += layouts_in_scope(derivative, scope)
        return found

    def _folder_names(self) -> set[str]:
        """Return the names of all derivatives' folders, which need no description to be known."""
        family = self.sources.derivatives if self.sources else self.derivatives
        return {name.rpartition("/")[2] for name in family}

    def _own_derivatives(self) -> list[FamilyLayout]:
        """Return the derivatives that lie in this root; a user may have added others."""
        return [one for one in self.derivatives.values() if isinstance(one, FamilyLayout)]

    def _derivatives_for_pybids(self) -> list[str]:
        """Name the folder of derivatives, if PyBIDS can open all that are described in it."""
        described = [one for one in self._own_derivatives() if one.description is not None]
        made_by = [one.description.get("GeneratedBy") for one in described if one.description]
        return [f"{self.root}/derivatives"] if described and all(made_by) else []

    # Names and paths.

    @functools.cached_property
    def config(self) -> dict[str, Config]:
        """The configurations by their names."""
        return {config.name: config for config in self.session.query(Config).all()}

    @one_at_a_time
    def named_entities(self) -> set[str]:
        """Return the entities that names of files can have, here or in a related dataset."""
        return {
            name
            for one in layouts_in_scope(self.sources or self, "all")
            for config in one.config.values()
            for name in config.entities
        }

    def place_of(self, path: str) -> tuple[Path, str]:
        """Return the root of all datasets, and where in it the dataset of a file lies."""
        inside = [
            one._prefix for one in self._own_derivatives() if path.startswith(one.root + os.sep)
        ]
        return self._top, inside[0] if inside else self._prefix

    @one_at_a_time
    def path_of(self, path: Any) -> str:
        """Return the path of a file as the layout has it, however it is written."""
        given: str = os.fspath(getattr(path, "path", path))
        if find_own(self, [given]):
            return given
        root = str(self._top)
        absolute: str = os.path.normpath(os.path.join(self.root, given))  # noqa: PTH118 - keeps links
        from_here: str = os.path.abspath(given)  # noqa: PTH100 - keeps links
        candidates = [given, absolute, from_here]
        for one in (absolute, from_here):
            folder, name = os.path.split(one)
            # A link of the file itself, as git-annex makes them, leads out of the dataset.
            inside = os.path.relpath(os.path.realpath(folder), os.path.realpath(root))
            candidates.append(os.path.normpath(os.path.join(root, inside, name)))  # noqa: PTH118
        for layout in layouts_in_scope(self, "all"):
            known = set(find_own(layout, candidates))
            for candidate in candidates:
                if candidate in known:
                    return candidate
        return given
