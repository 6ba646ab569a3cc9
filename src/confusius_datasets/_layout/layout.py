"""`CatalogueLayout`: a real `bids.BIDSLayout` over files that may not be here yet.

This is PyBIDS's surface: each of its methods that is answered otherwise. What the answers stand on
is beside it: `family` (scopes and paths), `querying` (filters → conditions), `metadata` (what has
been read), `statements` (SQL), and `answers` and `tabulating` (what is made of the files found).
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids.exceptions import BIDSEntityError

import confusius_datasets._layout.bidsfiles  # noqa: F401 - SQLAlchemy knows its classes then
from confusius_datasets._index import Tables
from confusius_datasets._layout.answers import list_folders, list_values
from confusius_datasets._layout.config import pybids_config
from confusius_datasets._layout.database import PrivateDatabase
from confusius_datasets._layout.explain import word_unknown
from confusius_datasets._layout.metadata import Metadata
from confusius_datasets._layout.pybids import BIDSMetadata, Entity, layouts_in_scope, singular
from confusius_datasets._layout.querying import QueryingLayout, naming_patterns
from confusius_datasets._layout.sidecars import EnsureLocal, Sidecars
from confusius_datasets._layout.statements import (
    entities_of,
    files_at,
    sorted_files,
    sorted_paths,
)
from confusius_datasets._layout.tabulating import find_files, tabulate_files
from confusius_datasets._layout.turns import one_at_a_time
from confusius_datasets._text import count_files, warn_user
from confusius_datasets.errors import UnknownGetterError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CatalogueLayout"]

RESERVED = frozenset({"filters", "absolute_paths"})
"""Names that PyBIDS has an error of its own for."""


class CatalogueLayout(QueryingLayout):
    """A `BIDSLayout` whose files are given to it, instead of being looked for on the disk.

    Metadata are read when they are asked for, of the files they are asked of, and sidecars that are
    not here are made local first.
    """

    def __init__(
        self,
        root: Path,
        tables: Tables,
        *,
        prefix: str = "",
        ensure_local: EnsureLocal | None = None,
        sources: CatalogueLayout | None = None,
    ) -> None:
        super().__init__(root, prefix, sources)
        self.connection_manager = self._open_database(tables)
        self._sidecars = Sidecars(root, self.connection_manager, ensure_local)
        self.metadata = Metadata(root, prefix, self.connection_manager, self._sidecars)
        self.session.info.update(layout=self, root=str(root))
        if not prefix:
            for (name,) in tables.rows("SELECT path FROM dataset ORDER BY path"):
                if name:
                    self.derivatives[name] = CatalogueLayout(
                        root, tables, prefix=name, ensure_local=ensure_local, sources=self
                    )

    def _open_database(self, tables: Tables) -> PrivateDatabase:
        """Make PyBIDS's database over the tables of all files."""
        config: list[dict[str, Any] | str] = [pybids_config()]
        if self.is_derivative:
            config.append("derivatives")
        return PrivateDatabase(self._root, config, tables, self._prefix)

    @one_at_a_time
    def save(self, database_path: str | os.PathLike[str], replace_connection: bool = True) -> None:
        """Save the layout for `bids.BIDSLayout.load`, as `bids.BIDSLayout.save`.

        All metadata and associations are saved, so that all sidecars are read, and downloaded where
        they are missing. This layout goes on with its own database, whatever `replace_connection`
        is: it holds the same by then.
        """
        folder = Path(database_path)
        if damaged := self.metadata.read_all():
            path, error = next(iter(damaged.items()))
            warn_user(
                f"The metadata of {count_files(len(damaged))} are not saved, since a sidecar "
                f"cannot be read. The first is {self._sidecars.relpath(path)}: {error}"
            )
        self.metadata.associate_all()
        self.connection_manager.save(folder, derivatives=self._derivatives_for_pybids())
        for name, derivative in self.derivatives.items():
            derivative.save(folder / name)

    # What it knows of names.

    @one_at_a_time
    def labels_of(self, path: str) -> dict[str, Any]:
        """Return the entities in the path of a file, with PyBIDS's values."""
        catalogue = self.connection_manager.catalogue
        places = catalogue.locate([path]).values()
        return {name: one[name] for one in catalogue.labels(places) for name in sorted(one)}

    @one_at_a_time
    def sidecars_of(self, path: str) -> list[str]:
        """List the sidecars of a file of this layout's own dataset, the most specific last."""
        return self._sidecars.of(path)

    def __getattr__(self, key: str) -> Any:
        if not key.startswith("get_"):
            return super().__getattr__(key)
        name = key.removeprefix("get_")
        with self.lock:
            getter = self._getter(key)
            if getter is None and self._may_be_field(name):
                self._read_all_local()
                getter = self._getter(key)
            if getter is None and self._may_be_unread(name):
                # The getter answers with the values that are known, and says what is missing.
                return functools.partial(self.get, return_type="id", target=singular(name))
            if getter is None:
                with self._asking():
                    reason = word_unknown(name, self.get_entities())
                raise UnknownGetterError(f"{key!r} can't be called because {reason}".rstrip())
            return getter

    def _getter(self, key: str) -> Any:
        """Return PyBIDS's getter of the values of an entity, or `None`."""
        with self._asking(), contextlib.suppress(BIDSEntityError):
            getter = super().__getattr__(key)
            target = getter.keywords["target"]
            return getter if self._may_be_field(target) or target in self.named_entities() else None
        return None

    @one_at_a_time
    def __repr__(self) -> str:
        """Count subjects, sessions and runs, as `bids.BIDSLayout` words it."""
        subjects, sessions, runs = (
            self.connection_manager.catalogue.count_pairs(name)
            for name in ("subject", "session", "run")
        )
        return (
            f"BIDS Layout: ...{self.root[-30:]} | Subjects: {subjects} | "
            f"Sessions: {sessions} | Runs: {runs}"
        )

    # Queries.

    @one_at_a_time
    def get(
        self,
        return_type: str = "object",
        target: str | None = None,
        scope: str | list[str] = "all",
        regex_search: bool = False,
        invalid_filters: str = "error",
        **filters: Any,
    ) -> list[Any]:
        """Find files, as `bids.BIDSLayout.get`; metadata that a filter needs are read first."""
        options: dict[str, Any] = {
            "scope": scope,
            "regex_search": regex_search,
            "invalid_filters": invalid_filters,
        }
        with self._asking(), naming_patterns(filters, regex_search=regex_search):
            if RESERVED & set(filters):
                return list(super().get(return_type, target, **options, **filters))
            ready, queries = self._find(target=target, **options, **filters)
            if target is not None and return_type == "id":
                is_metadata = target not in self.named_entities()
                return list_values(target, queries, is_metadata=is_metadata, of_all=not ready)
            if target is not None and return_type == "dir":
                return list_folders(target, queries, self.root, self.get_entities())
            if return_type.startswith("file"):
                return sorted_paths(queries)
            if return_type == "object":
                return sorted_files(queries)
            options["invalid_filters"] = "allow"  # what is unknown has been dealt with
            return list(super().get(return_type, target, **options, **ready))

    @one_at_a_time
    def find_paths(
        self,
        scope: str | list[str] = "all",
        regex_search: bool = False,
        invalid_filters: str = "error",
        **filters: Any,
    ) -> list[str]:
        """List the paths of the files of a query, in no order and without a word on its values."""
        with self._asking(), naming_patterns(filters, regex_search=regex_search):
            ready = self._prepare(
                filters,
                target=None,
                scope=scope,
                regex_search=regex_search,
                invalid_filters=invalid_filters,
            )
            queries = self._file_queries(ready, scope, regex_search=regex_search)
            return [path for one in queries for path in one.paths()]

    @one_at_a_time
    def to_df(self, metadata: bool = False, **filters: Any) -> pd.DataFrame:
        """Tabulate files, as `bids.BIDSLayout.to_df`, those of derivatives with their entities."""
        options = {"regex_search": False, **filters, "return_type": "filename"}
        with self._asking(), naming_patterns(filters, regex_search=options["regex_search"]):
            if RESERVED & set(filters):
                self.get(**options)  # which says what is wrong
            found = find_files(self._find(**options)[1])
        if metadata:
            self.read_metadata([path for one in found for path in one.paths])
        return tabulate_files(found, layouts_in_scope(self, "all"), metadata=metadata)

    @one_at_a_time
    def get_entities(
        self, scope: str | list[str] = "all", metadata: bool | None = None
    ) -> dict[str, Entity]:
        """Return the entities of the layouts in a scope, as `bids.BIDSLayout.get_entities`.

        Metadata fields are among them, so that all sidecars are read, unless `metadata=False`.
        """
        layouts = layouts_in_scope(self, scope)
        if metadata is not False and not self._is_asking:
            self._read_all(layouts)
        return {
            entity.name: entity
            for layout in layouts
            for entity in entities_of(layout, metadata=metadata)
        }

    @one_at_a_time
    def get_file(self, filename: Any, scope: str | list[str] = "all") -> Any:
        """Return the file of a path, as `bids.BIDSLayout.get_file`."""
        path = self.path_of(filename)
        absolute = str(self._root.joinpath(path).absolute())
        for layout in layouts_in_scope(self, scope):
            if not isinstance(layout, CatalogueLayout):
                found = layout.get_file(absolute, scope="self")
            else:
                found = next(iter(files_at(layout, [absolute])), None)
            if found is not None:
                return found
        return None

    @one_at_a_time
    def get_files(self, scope: str | list[str] = "all") -> Any:
        """Return all files by their paths, as `bids.BIDSLayout.get_files`."""
        return super().get_files(scope=scope)

    @one_at_a_time
    def get_metadata(
        self, path: Any, include_entities: bool = False, scope: str | list[str] = "all"
    ) -> Any:
        """Return the metadata of a file, as `bids.BIDSLayout.get_metadata`."""
        known = self.path_of(path)
        self.read_metadata([known])
        for layout in layouts_in_scope(self, scope):
            if isinstance(layout, CatalogueLayout):
                fields = layout.values_of_file(known, metadata=None if include_entities else True)
            else:
                fields = layout.get_metadata(known, include_entities, scope="self")
            if fields:
                break
        found = BIDSMetadata(known)
        found.update(fields)
        return found

    @one_at_a_time
    def values_of_file(self, path: str, *, metadata: bool | None) -> dict[str, Any]:
        """Return the entities of a file of this layout's own dataset, or its fields, or both."""
        catalogue = self.connection_manager.catalogue
        place = catalogue.locate([path]).get(path)
        if place is None:
            return {}
        labels = {} if metadata else next(catalogue.labels([place]))
        fields = {} if metadata is False else catalogue.fields([place]).get(place[0], {})
        return {**labels, **fields}

    @one_at_a_time
    def associated(self, path: str, kind: str | None, *, back: bool) -> list[Any]:
        """Return the files that a file is linked to, or those that are linked to it."""
        here, there = ("dst", "src") if back else ("src", "dst")
        statement = f"SELECT DISTINCT {there} FROM associations WHERE {here} = ?"
        rows = self.connection_manager.catalogue.rows(
            f"{statement} AND kind = ?" if kind is not None else statement,
            (path, kind) if kind is not None else (path,),
        )
        return files_at(self, [other for (other,) in rows])

    # Metadata.

    @one_at_a_time
    def read_metadata(self, paths: Iterable[str]) -> None:
        """Read the metadata of files into the database, making sidecars local where needed."""
        asked = list(map(str, paths))
        for layout in (self, *self._own_derivatives()):
            layout.metadata.read(path for path in asked if path.startswith(layout.root + os.sep))

    @one_at_a_time
    def associate(self, paths: Iterable[str]) -> None:
        """Write into the database which files belong together."""
        self.metadata.associate(paths)
