"""`CatalogueLayout`: a real `bids.BIDSLayout` over files that may not be here yet.

This is PyBIDS's surface: each of its methods that is answered otherwise. What the answers stand on
is beside it: `metadata` (what has been read), `statements` (SQL), `queries` and `typos` (filters).
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import sqlalchemy as sa
from bids import BIDSLayout
from bids.exceptions import BIDSEntityError

import confusius_datasets._layout.bidsfiles  # noqa: F401 - SQLAlchemy knows its classes then
from confusius_datasets._cache import PerProcess
from confusius_datasets._entities import DESCRIPTION_NAME
from confusius_datasets._index import Tables
from confusius_datasets._layout.catalogue import Condition, sort_values
from confusius_datasets._layout.conditions import build_condition
from confusius_datasets._layout.config import pybids_config
from confusius_datasets._layout.conveniences import ConvenientLayout
from confusius_datasets._layout.database import PrivateDatabase
from confusius_datasets._layout.explain import compile_pattern, word_unknown
from confusius_datasets._layout.files import is_derivative
from confusius_datasets._layout.metadata import Metadata
from confusius_datasets._layout.pybids import (
    BIDSMetadata,
    Config,
    DerivativeDatasets,
    Entity,
    LayoutPath,
    build_file_query,
    hashablefy,
    layouts_in_scope,
    listify,
    natural_sort,
    sanitize_filters,
    singular,
    value_of,
)
from confusius_datasets._layout.queries import check_choice, is_field_name, normalise_filters
from confusius_datasets._layout.sidecars import EnsureLocal, Sidecars
from confusius_datasets._layout.statements import (
    FileQuery,
    entities_of,
    files_at,
    find_own,
    select_files,
    sorted_files,
    sorted_paths,
    values_of,
)
from confusius_datasets._layout.tabulating import find_files, tabulate_files
from confusius_datasets._layout.typos import find_unknown_values
from confusius_datasets._text import count_files, warn_user
from confusius_datasets.errors import (
    ConfusiusDatasetsError,
    DamagedSidecarError,
    FilterError,
    InvalidPatternError,
    MissingFileError,
    UnknownEntityError,
    UnknownGetterError,
    UnknownTargetError,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CatalogueLayout"]

RESERVED = frozenset({"filters", "absolute_paths"})
"""Names that PyBIDS has an error of its own for."""

TOO_MUCH = ("too large", "too many", "too big", "at most")
"""What SQLite says of statements that are longer or deeper than it takes."""

INVALID_FILTERS = ("error", "drop", "allow")
"""What a query can do with a filter that is unknown."""

Method = TypeVar("Method", bound=Callable[..., Any])


def _one_at_a_time(method: Method) -> Method:
    """Let a method of a layout wait for those that other threads called on it."""

    @functools.wraps(method)
    def waiting(self: CatalogueLayout, *args: Any, **kwargs: Any) -> Any:
        with self.lock:
            return method(self, *args, **kwargs)

    return cast("Method", waiting)


class CatalogueLayout(ConvenientLayout):
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
        # PyBIDS's own constructor is not called: it wants the folder and its description on disk.
        # A session is one thread's at a time, and a fork may happen while another thread has it.
        self._locks: PerProcess[contextlib.AbstractContextManager[Any]] = (
            sources._locks if sources else PerProcess(threading.RLock)
        )
        self._top = root
        self._prefix = prefix
        self._root = LayoutPath(root / prefix)
        self._is_asking = False
        self._is_quiet = False
        self.is_derivative = bool(prefix) or is_derivative(root)
        self.regex_search = False
        self.sources = sources
        self.connection_manager = self._open_database(tables)
        self._sidecars = Sidecars(root, self.connection_manager, ensure_local)
        self.metadata = Metadata(root, prefix, self.connection_manager, self._sidecars)
        self.session.info.update(layout=self, root=str(root))
        self.derivatives = DerivativeDatasets()
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

    @property
    def lock(self) -> contextlib.AbstractContextManager[Any]:
        """The lock that threads of this process take in turn."""
        return self._locks.get()

    @_one_at_a_time
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

    def _derivatives_for_pybids(self) -> list[str]:
        """Name the folder of derivatives, if PyBIDS can open all that are described in it."""
        described = [one for one in self._own_derivatives() if one.description is not None]
        made_by = [one.description.get("GeneratedBy") for one in described if one.description]
        return [f"{self.root}/derivatives"] if described and all(made_by) else []

    # What a dataset says of itself.

    @functools.cached_property
    def description(self) -> dict[str, Any] | None:
        """Content of `dataset_description.json`, or `None`; made local when it is asked for."""
        relpath = f"{self._prefix}/{DESCRIPTION_NAME}".lstrip("/")
        with self.lock:
            if find_own(self, [str(self._top / relpath)]):
                self._sidecars.make_local([[relpath]])
            with contextlib.suppress(MissingFileError, DamagedSidecarError):
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

    # What it knows of names.

    @functools.cached_property
    def config(self) -> dict[str, Config]:
        """The configurations by their names."""
        return {config.name: config for config in self.session.query(Config).all()}

    @functools.cached_property
    def _names(self) -> frozenset[str]:
        """The entities that names of files of this layout's own dataset can have."""
        return frozenset(name for config in self.config.values() for name in config.entities)

    @_one_at_a_time
    def named_entities(self) -> set[str]:
        """Return the entities that names of files can have, here or in a related dataset."""
        return {
            name
            for one in layouts_in_scope(self.sources or self, "all")
            for config in one.config.values()
            for name in config.entities
        }

    @_one_at_a_time
    def labels_of(self, path: str) -> dict[str, Any]:
        """Return the entities in the path of a file, with PyBIDS's values."""
        catalogue = self.connection_manager.catalogue
        places = catalogue.locate([path]).values()
        return {name: one[name] for one in catalogue.labels(places) for name in sorted(one)}

    @_one_at_a_time
    def sidecars_of(self, path: str) -> list[str]:
        """List the sidecars of a file of this layout's own dataset, the most specific last."""
        return self._sidecars.of(path)

    def place_of(self, path: str) -> tuple[Path, str]:
        """Return the root of all datasets, and where in it the dataset of a file lies."""
        inside = [
            one._prefix for one in self._own_derivatives() if path.startswith(one.root + os.sep)
        ]
        return self._top, inside[0] if inside else self._prefix

    @_one_at_a_time
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

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        """Let PyBIDS ask for the entities so far, without more sidecars being read for that."""
        before, self._is_asking = self._is_asking, True
        try:
            yield
        finally:
            self._is_asking = before

    @contextlib.contextmanager
    def quietly(self) -> Iterator[None]:
        """Let PyBIDS's own methods ask for values that may exist nowhere."""
        with self.lock:
            before, self._is_quiet = self._is_quiet, True
            try:
                yield
            finally:
                self._is_quiet = before

    def _may_be_field(self, name: str) -> bool:
        """Say whether a name that is not an entity may be a metadata field.

        To be sure that it is none, all sidecars would have to be downloaded.
        """
        return is_field_name(name) or not self._sidecars.may_be_remote

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

    def _may_be_unread(self, name: str) -> bool:
        """Say whether a name may be a field of sidecars that have not been downloaded."""
        return is_field_name(name) and any(
            layout.metadata.missing_of_all()
            for layout in layouts_in_scope(self, "all")
            if isinstance(layout, CatalogueLayout)
        )

    @_one_at_a_time
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

    @_one_at_a_time
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
        with self._asking(), _naming_patterns(filters, regex_search=regex_search):
            if RESERVED & set(filters):
                return list(super().get(return_type, target, **options, **filters))
            ready, queries = self._find(target=target, **options, **filters)
            if target is not None and return_type == "id":
                return self._get_values(target, queries, of_all=not ready)
            if target is not None and return_type == "dir":
                return self._get_folders(target, queries)
            if return_type.startswith("file"):
                return sorted_paths(queries)
            if return_type == "object":
                return sorted_files(queries)
            options["invalid_filters"] = "allow"  # what is unknown has been dealt with
            return list(super().get(return_type, target, **options, **ready))

    def _find(
        self,
        return_type: str = "object",
        target: str | None = None,
        scope: str | list[str] = "all",
        regex_search: bool = False,
        invalid_filters: str = "error",
        **filters: Any,
    ) -> tuple[dict[str, Any], list[FileQuery]]:
        """Bring filters into PyBIDS's form, warn of unknown values, and build the queries."""
        check_choice("invalid_filters", invalid_filters, INVALID_FILTERS)
        options: dict[str, Any] = {
            "scope": scope,
            "regex_search": regex_search,
            "invalid_filters": invalid_filters,
        }
        ready = self._prepare(filters, target=target, **options)
        if not self._is_quiet and (unknown := find_unknown_values(self, {**options, **ready})):
            warn_user("".join(f"{text[:1].upper()}{text[1:]}\n" for text in unknown).rstrip())
        return ready, self._file_queries(ready, scope, regex_search=regex_search)

    @_one_at_a_time
    def find_paths(
        self,
        scope: str | list[str] = "all",
        regex_search: bool = False,
        invalid_filters: str = "error",
        **filters: Any,
    ) -> list[str]:
        """List the paths of the files of a query, in no order and without a word on its values."""
        with self._asking(), _naming_patterns(filters, regex_search=regex_search):
            ready = self._prepare(
                filters,
                target=None,
                scope=scope,
                regex_search=regex_search,
                invalid_filters=invalid_filters,
            )
            queries = self._file_queries(ready, scope, regex_search=regex_search)
            return [path for one in queries for path in one.paths()]

    def _prepare(
        self,
        filters: Mapping[str, Any],
        *,
        target: str | None,
        scope: str | list[str],
        regex_search: bool,
        invalid_filters: str,
    ) -> dict[str, Any]:
        """Bring filters into PyBIDS's form, read the metadata they need, refuse unknown names."""
        named = self.named_entities()
        ready = normalise_filters(filters, named)
        fields = set(ready) - named
        if invalid_filters != "allow":
            fields = {name for name in fields if self._may_be_field(name)}
        in_names = {name: value for name, value in ready.items() if name in named}
        looks = target is not None and target not in named and self._may_be_field(target)
        if fields or looks:
            self._read_candidates(
                self._file_queries(in_names, scope, regex_search=regex_search),
                download=bool(fields),
            )
        if invalid_filters != "allow" and fields - set(self.get_entities()):
            self._read_all(layouts_in_scope(self, "all"))  # one that no candidate has may be one
        known = [name for name in self.get_entities() if name in named or self._may_be_field(name)]
        if invalid_filters == "drop":
            ready = {name: value for name, value in ready.items() if name in known}
        elif invalid_filters == "error" and (unknown := sorted(set(ready) - set(known))):
            raise UnknownEntityError(
                f"{word_unknown(unknown[0], known)}If you're sure you want to impose this "
                "constraint, set invalid_filters='allow'."
            )
        if target is not None:
            self._check_target(target, known)
        return ready

    def _check_target(self, target: str, known: Sequence[str]) -> None:
        """Refuse a target that is unknown, unless sidecars that are not here may have it."""
        if target not in known and self._may_be_field(target):
            self._read_all_local()
            known = list(self.get_entities())
        if target not in known and not self._may_be_unread(target):
            reason = word_unknown(target, known, limit=None)
            raise UnknownTargetError(f"Unknown target: {reason}".rstrip())

    def _file_queries(
        self, filters: Mapping[str, Any], scope: str | list[str], *, regex_search: bool
    ) -> list[FileQuery]:
        """Build the query of files for each layout in a scope."""
        queries = []
        for layout in layouts_in_scope(self, scope):
            if isinstance(layout, CatalogueLayout):
                chosen = layout.condition(filters, regex_search=regex_search)
            else:
                chosen = build_file_query(layout, filters, regex_search=regex_search)
            queries.append(FileQuery(layout, chosen))
        return queries

    def condition(self, filters: Mapping[str, Any], *, regex_search: bool) -> Condition:
        """Return what the files of this layout's own dataset must fulfil."""
        return build_condition(
            self.connection_manager.catalogue,
            self.session,
            sanitize_filters(self, filters),
            named=frozenset(self.named_entities()),
            regex_search=regex_search,
        )

    def _read_candidates(self, queries: Iterable[FileQuery], *, download: bool) -> None:
        """Read the metadata of the files of queries; to look at values, of those that are here."""
        unread: set[str] = set()
        for query in queries:
            layout = query.layout
            if not isinstance(layout, CatalogueLayout):
                continue
            paths = query.paths()
            if download:
                layout.metadata.read(paths)
                continue
            for error in layout.metadata.read_local(paths).values():
                raise error
            unread |= {relpath for path in paths for relpath in layout.metadata.missing(path)}
        if unread:
            warn_user(
                f"{len(unread)} of the JSON sidecars that this asks for have not been downloaded, "
                f"the first of them {min(unread)}. The answer is that of the others; "
                "ds.download(extension='.json') fetches them."
            )

    def _get_values(self, target: str, queries: Iterable[FileQuery], *, of_all: bool) -> list[Any]:
        """List the values of an entity among the files of queries, by one statement each."""
        is_metadata = target not in self.named_entities()
        values: dict[Any, None] = {}
        for query in queries:
            chosen = None if of_all else query
            for row in values_of(query.layout, target, chosen, is_metadata=is_metadata):
                values[hashablefy(value_of(*row))] = None
        return sort_values(values)

    def _get_folders(self, target: str, queries: Iterable[FileQuery]) -> list[str]:
        """List the folders of an entity, as those of subjects, that have a file of the queries."""
        template = self.get_entities()[target].directory
        if template is None:
            raise ValueError(
                "Return type set to directory, but no directory template is defined for the "
                f"target entity ({target!r})."
            )
        names = [part.rstrip("}") for part in template.split("{") if part]
        entities = self.get_entities()
        found = set()
        for path in (path for query in queries for path in query.paths()):
            end = len(self.root) if path.startswith(self.root + os.sep) else None
            for name in names:
                pattern = re.compile(entities[name].pattern)
                match = pattern.match(path, end) if end is not None else None
                end = match.end() if match else None
            if end is not None and path[end : end + 1] == os.sep:
                found.add(path[:end])
        return list(natural_sort(list(found)))

    def _build_file_query(self, **kwargs: Any) -> Any:
        """Build the query of a layout's files, as `bids.BIDSLayout` does."""
        regex_search = bool(kwargs.get("regex_search"))
        condition = self.condition(kwargs.get("filters") or {}, regex_search=regex_search)
        return select_files(self.session, condition)

    @_one_at_a_time
    def to_df(self, metadata: bool = False, **filters: Any) -> pd.DataFrame:
        """Tabulate files, as `bids.BIDSLayout.to_df`, those of derivatives with their entities."""
        options = {"regex_search": False, **filters, "return_type": "filename"}
        with self._asking(), _naming_patterns(filters, regex_search=options["regex_search"]):
            if RESERVED & set(filters):
                self.get(**options)  # which says what is wrong
            found = find_files(self._find(**options)[1])
        if metadata:
            self.read_metadata([path for one in found for path in one.paths])
        return tabulate_files(found, layouts_in_scope(self, "all"), metadata=metadata)

    @_one_at_a_time
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

    @_one_at_a_time
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

    @_one_at_a_time
    def get_files(self, scope: str | list[str] = "all") -> Any:
        """Return all files by their paths, as `bids.BIDSLayout.get_files`."""
        return super().get_files(scope=scope)

    @_one_at_a_time
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

    @_one_at_a_time
    def values_of_file(self, path: str, *, metadata: bool | None) -> dict[str, Any]:
        """Return the entities of a file of this layout's own dataset, or its fields, or both."""
        catalogue = self.connection_manager.catalogue
        place = catalogue.locate([path]).get(path)
        if place is None:
            return {}
        labels = {} if metadata else next(catalogue.labels([place]))
        fields = {} if metadata is False else catalogue.fields([place]).get(place[0], {})
        return {**labels, **fields}

    @_one_at_a_time
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

    @_one_at_a_time
    def read_metadata(self, paths: Iterable[str]) -> None:
        """Read the metadata of files into the database, making sidecars local where needed."""
        asked = list(map(str, paths))
        for layout in (self, *self._own_derivatives()):
            layout.metadata.read(path for path in asked if path.startswith(layout.root + os.sep))

    @_one_at_a_time
    def associate(self, paths: Iterable[str]) -> None:
        """Write into the database which files belong together."""
        self.metadata.associate(paths)

    def _own_derivatives(self) -> list[CatalogueLayout]:
        """Return the derivatives that lie in this root; a user may have added others."""
        return [one for one in self.derivatives.values() if isinstance(one, CatalogueLayout)]

    def _read_all(self, layouts: Iterable[BIDSLayout]) -> None:
        """Read the metadata of every file of some layouts, passing over damaged sidecars."""
        for layout in layouts:
            if isinstance(layout, CatalogueLayout):  # others have theirs from the start
                layout.metadata.read_all()

    def _read_all_local(self) -> None:
        """Read the metadata that are here, of this layout and its derivatives."""
        for layout in layouts_in_scope(self, "all"):
            if isinstance(layout, CatalogueLayout):
                layout.metadata.read_all_local()


@contextlib.contextmanager
def _naming_patterns(filters: Mapping[str, Any], *, regex_search: bool) -> Iterator[None]:
    """Say what is wrong with a query that a database of PyBIDS's own refuses.

    Of a function that fails, SQLite says only that it did.
    """
    try:
        yield
    except InvalidPatternError:
        raise
    except (sa.exc.OperationalError, sa.exc.DataError) as error:
        if regex_search and "user-defined function" in str(error.orig):
            for name, value in filters.items():
                for one in value if isinstance(value, list | tuple) else [value]:
                    compile_pattern(name, str(one))
            raise KeyboardInterrupt from error  # nothing else ends a pattern that is right
        if not any(words in str(error.orig) for words in TOO_MUCH):
            raise
        raise FilterError(
            f"The query has too many filters or values for PyBIDS's database ({error.orig}). Ask "
            "with fewer, and put the answers together."
        ) from error
