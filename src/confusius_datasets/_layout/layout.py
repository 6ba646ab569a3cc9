"""`CatalogueLayout`: a real `bids.BIDSLayout` over files that may not be here yet."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import bids.layout.layout
import sqlalchemy as sa
from bids import BIDSLayout
from bids.exceptions import BIDSEntityError
from bids.layout.models import BIDSFile, Config, DerivativeDatasets, Entity, Tag
from bids.utils import listify, natural_sort
from sqlalchemy.orm import with_loader_criteria

from confusius_datasets._entities import INTEGER_ENTITIES
from confusius_datasets._layout.associations import Association, associate, intended_for
from confusius_datasets._layout.bidsfiles import CATALOGUE_CLASSES
from confusius_datasets._layout.config import fusi_config
from confusius_datasets._layout.database import (
    BATCH,
    PrivateDatabase,
    add_associations,
    add_files,
    add_metadata,
    labels,
    metadata_row,
)
from confusius_datasets._layout.explain import is_slip, word_pattern, word_unknown
from confusius_datasets._layout.files import is_derivative
from confusius_datasets._layout.sidecars import EnsureLocal, Sidecars, parts
from confusius_datasets.errors import (
    ConfusiusDatasetsError,
    DamagedSidecarError,
    InvalidPatternError,
    MissingFileError,
    UnknownEntityError,
    UnknownGetterError,
    UnknownTargetError,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CatalogueLayout"]

FEW = 2000
"""A filter that leaves fewer files than this is worth going through first."""

RESERVED = frozenset({"filters", "absolute_paths"})
"""Names that PyBIDS has an error of its own for."""


Method = TypeVar("Method", bound=Callable[..., Any])


def _one_at_a_time(method: Method) -> Method:
    """Let a method of a layout wait for those that other threads called on it."""

    @functools.wraps(method)
    def waiting(self: CatalogueLayout, *args: Any, **kwargs: Any) -> Any:
        with self.lock:
            return method(self, *args, **kwargs)

    return cast("Method", waiting)


class CatalogueLayout(BIDSLayout):  # type: ignore[misc]
    """A `BIDSLayout` whose files are given to it, instead of being looked for on the disk.

    Metadata are read when they are asked for, of the files they are asked of, and sidecars that are
    not here are made local first.
    """

    def __init__(
        self,
        root: Path,
        datasets: Mapping[str, Sequence[str]] | Mapping[str, Path],
        *,
        prefix: str = "",
        ensure_local: EnsureLocal | None = None,
        sources: CatalogueLayout | None = None,
    ) -> None:
        # PyBIDS's own constructor is not called: it wants the folder and its description on disk.
        self.lock: contextlib.AbstractContextManager[Any] = (
            sources.lock if sources else threading.RLock()
        )
        self._top = root
        self._prefix = prefix
        self._root = bids.layout.layout.Path(root / prefix)
        self._ensure_local = ensure_local
        self._with_metadata: set[str] = set()
        self._has_all_metadata = False
        self._ambiguous: set[str] = set()
        self._is_asking = False
        self._is_associated = False
        self._with_targets: set[str] = set()
        self.is_derivative = bool(prefix) or is_derivative(root)
        self.regex_search = False
        self.sources = sources
        self.connection_manager = self._open_database(datasets[prefix])
        self._sidecars = Sidecars(root, self.connection_manager, ensure_local)
        self.session.info.update(layout=self, root=str(root))
        self.derivatives = DerivativeDatasets()
        if not prefix:
            for name in datasets:
                if name:
                    self.derivatives[name] = CatalogueLayout(
                        root, datasets, prefix=name, ensure_local=ensure_local, sources=self
                    )

    def _open_database(self, content: Sequence[str] | Path) -> PrivateDatabase:
        """Make PyBIDS's database of the dataset's files, or take over one that was kept."""
        config: list[dict[str, Any] | str] = [fusi_config()]
        if self.is_derivative:
            config.append("derivatives")
        if isinstance(content, Path):
            return PrivateDatabase(self._root, config, content)
        database = PrivateDatabase(self._root, config)
        names = set(database.session.scalars(sa.select(Entity.name)))
        database.session.commit()
        with database.writable() as connection:
            add_files(connection, content, self._top, names, kinds=CATALOGUE_CLASSES)
        return database

    def keep(self, path: Path) -> None:
        """Write the database of this layout's own dataset to a new file."""
        with contextlib.closing(sqlite3.connect(path)) as target:
            target.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")
            self.connection_manager.connection.backup(target)

    # What a dataset says of itself.

    @functools.cached_property
    def description(self) -> dict[str, Any] | None:
        """Content of `dataset_description.json`, or `None`; made local when it is asked for."""
        relpath = f"{self._prefix}/dataset_description.json".lstrip("/")
        with self.lock:
            if self._sidecars.own([str(self._top / relpath)]):
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
        family = (self.sources or self)._get_layouts_in_scope("all")
        return {
            name for one in family for config in one.config.values() for name in config.entities
        }

    @_one_at_a_time
    def labels_of(self, path: str) -> dict[str, Any]:
        """Return the entities in the path of a file, with PyBIDS's values."""
        found = labels(self._sidecars.relpath(path), self._sidecars.base, self._names)
        return {name: _value_of(value, dtype) for name, value, dtype in sorted(found)}

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        """Let PyBIDS ask for the entities so far, without more sidecars being read for that."""
        before, self._is_asking = self._is_asking, True
        try:
            yield
        finally:
            self._is_asking = before

    def _is_slip(self, name: str) -> bool:
        """Say whether a name is that of an entity but for a slip.

        To be sure that it is no metadata field, all sidecars would have to be downloaded.
        """
        return self._ensure_local is not None and is_slip(name, self.named_entities())

    def __getattr__(self, key: str) -> Any:
        if not key.startswith("get_"):
            return super().__getattr__(key)
        name = key.removeprefix("get_")
        with self.lock:
            getter = self._getter(key)
            if getter is None and not self._is_slip(name):
                self._read_family()
                getter = self._getter(key)
            if getter is None:
                with self._asking():
                    reason = word_unknown(name, self.get_entities())
                raise UnknownGetterError(f"{key!r} can't be called because {reason}".rstrip())
            return getter

    def _getter(self, key: str) -> Any:
        """Return PyBIDS's getter of the values of an entity, or `None`."""
        with self._asking(), contextlib.suppress(BIDSEntityError):
            return super().__getattr__(key)
        return None

    @_one_at_a_time
    def __repr__(self) -> str:
        """Count subjects, sessions and runs, as `bids.BIDSLayout` words it."""
        one, other = sa.orm.aliased(Tag), sa.orm.aliased(Tag)
        counts = {}
        for name in ("subject", "session", "run"):
            value = sa.cast(one._value, sa.Integer) if name in INTEGER_ENTITIES else one._value
            pairs = sa.select(value, other._value).distinct()
            pairs = pairs.where(one.entity_name == name, one.is_metadata == False)  # noqa: E712
            pairs = pairs.where(other.file_path == one.file_path, other.entity_name == "subject")
            statement = sa.select(sa.func.count()).select_from(pairs.subquery())
            counts[name] = self.session.scalar(statement)
        return (
            f"BIDS Layout: ...{self.root[-30:]} | Subjects: {counts['subject']} | "
            f"Sessions: {counts['session']} | Runs: {counts['run']}"
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
        with self._asking(), _naming_patterns(filters, regex_search=regex_search):
            if not RESERVED & set(filters):
                self._prepare(scope, regex_search, invalid_filters, filters, target=target)
                queries = functools.partial(
                    self._file_queries, scope, regex_search, invalid_filters, filters
                )
                if return_type == "id" and target is not None:
                    return self._get_values(target, queries(), of_all=not filters)
                if return_type.startswith("file"):
                    paths = [path for _, query in queries() for (path,) in _paths_of(query)]
                    return list(natural_sort(paths))
            found: list[Any] = super().get(
                return_type=return_type,
                target=target,
                scope=scope,
                regex_search=regex_search,
                invalid_filters=invalid_filters,
                **filters,
            )
            return found

    def _prepare(
        self,
        scope: str | list[str],
        regex_search: bool,
        invalid_filters: str,
        filters: Mapping[str, Any],
        *,
        target: str | None,
    ) -> None:
        """Read the metadata that a query asks for, and refuse names that are unknown even then."""
        named = self.named_entities()
        asked = set(filters) if target is None else {*filters, target}
        fields = asked - named
        if not fields:
            return
        if invalid_filters == "allow":
            wanted = fields
        else:
            wanted = {name for name in fields if not self._is_slip(name)}
        if wanted:
            rest = {name: value for name, value in filters.items() if name in named}
            for layout, query in self._file_queries(scope, regex_search, "allow", rest):
                if isinstance(layout, CatalogueLayout):
                    layout.read_metadata(path for (path,) in _paths_of(query))
        if wanted - set(self.get_entities()) and (target or invalid_filters != "allow"):
            self._read_family()  # a field that no candidate has may still be one
        known = self.get_entities()
        unknown = sorted(set(filters) - set(known))
        if unknown and invalid_filters == "error":
            raise UnknownEntityError(
                f"{word_unknown(unknown[0], known)}If you're sure you want to impose this "
                "constraint, set invalid_filters='allow'."
            )
        if target is not None and target not in known:
            raise UnknownTargetError(f"Unknown target: {word_unknown(target, known)}".rstrip())

    def _file_queries(
        self,
        scope: str | list[str],
        regex_search: bool,
        invalid_filters: str,
        filters: Mapping[str, Any],
    ) -> Iterator[tuple[BIDSLayout, Any]]:
        """Build the query of files for each layout in a scope."""
        if invalid_filters == "drop":
            known = self.get_entities()
            filters = {name: value for name, value in filters.items() if name in known}
        if "extension" in filters:
            dotted = [
                f".{value.lstrip('.')}" if isinstance(value, str) else value
                for value in listify(filters["extension"])
            ]
            filters = {**filters, "extension": dotted}
        for layout in self._get_layouts_in_scope(scope):
            yield (
                layout,
                layout._build_file_query(filters=filters, regex_search=regex_search),
            )

    def _get_values(
        self, target: str, queries: Iterable[tuple[BIDSLayout, Any]], *, of_all: bool
    ) -> list[Any]:
        """List the values of an entity among the files of queries, by one statement each."""
        is_metadata = target not in self.named_entities()
        values: dict[Any, None] = {}
        for layout, query in queries:
            tags = sa.select(Tag._value, Tag._dtype).distinct()
            tags = tags.where(Tag.entity_name == target, Tag.is_metadata == is_metadata)
            if not of_all:
                tags = tags.where(Tag.file_path.in_(sa.select(_paths_of(query).subquery())))
            for text, dtype in layout.session.execute(tags):
                values[bids.utils.hashablefy(_value_of(text, dtype))] = None
        return list(natural_sort(list(values)))

    def _build_file_query(self, **kwargs: Any) -> Any:
        """Build the query of a layout's files, as `bids.BIDSLayout` does."""
        # A file has an entity once, so grouping by path changes nothing but the speed.
        query = super()._build_file_query(**kwargs).group_by(None)
        filters = kwargs.get("filters") or {}
        if self._ambiguous & set(filters):
            query = query.options(_without_fields_of(sorted(self._ambiguous)))
        if not kwargs.get("regex_search"):
            paths = self._narrow(filters)
            if paths is not None:
                query = query.filter(BIDSFile.path.in_(paths))
        return query

    def _narrow(self, filters: Mapping[str, Any]) -> list[str] | None:
        """List the files that the most selective filter leaves, if there is one that leaves few.

        SQLite knows how many files an entity has, but not how unlike its values are in that.
        """
        best: list[str] | None = None
        for name, value in filters.items():
            wanted = listify(value)
            if name in INTEGER_ENTITIES | self._ambiguous or not wanted:
                continue  # numbers are compared by their value, not as text
            if all(isinstance(label, str) for label in wanted):
                statement = (
                    sa.select(Tag.file_path)
                    .where(Tag.entity_name == name, Tag._value.in_(wanted))
                    .limit(FEW if best is None else len(best))
                )
                paths = list(self.session.scalars(statement))
                if len(paths) < FEW and (best is None or len(paths) < len(best)):
                    best = paths
        return best

    @_one_at_a_time
    def to_df(self, metadata: bool = False, **filters: Any) -> pd.DataFrame:
        """Tabulate files, as `bids.BIDSLayout.to_df`."""
        import pandas as pd

        paths = self.get(**{**filters, "return_type": "filename"})
        if metadata:
            self.read_metadata(paths)
        # Column by column, as PyBIDS's list of all values takes ten times the memory.
        place = {path: number for number, path in enumerate(sorted(set(paths)))}
        columns: dict[str, list[Any]] = {}
        tagged: set[int] = set()
        is_text = True
        for path, name, value in self._values_of(list(place), metadata=metadata):
            if name not in columns:
                columns[name] = [float("nan")] * len(place)
            columns[name][place[path]] = value
            tagged.add(place[path])
            is_text = is_text and isinstance(value, str)
        table = pd.DataFrame(
            {name: columns[name] for name in sorted(columns)},
            index=pd.Index(list(place), name="path"),
            dtype=None if is_text else object,
        )
        table.columns.name = "entity"
        # Files without any entity of this layout come last, as PyBIDS appends them.
        alone = [number for path, number in place.items() if number not in tagged]
        return table.iloc[[*sorted(tagged), *alone]].reset_index()

    def _values_of(self, paths: Sequence[str], *, metadata: bool) -> Iterator[tuple[str, str, Any]]:
        """Give path, name and value of the entities of files, and of their metadata if wanted."""
        statement = sa.select(Tag.file_path, Tag.entity_name, Tag._value, Tag._dtype)
        if not metadata:
            statement = statement.where(Tag.is_metadata == False)  # noqa: E712 - SQL's equality
        value_of = functools.cache(_value_of)  # the same few, many times
        for part in parts(paths):
            rows = self.session.execute(statement.where(Tag.file_path.in_(part)))
            for path, name, text, dtype in rows:
                # A list or dictionary may be changed by its owner.
                yield path, name, (_value_of if dtype == "json" else value_of)(text, dtype)

    @_one_at_a_time
    def get_entities(
        self, scope: str | list[str] = "all", metadata: bool | None = None
    ) -> dict[str, Entity]:
        """Return the entities of the layouts in a scope, as `bids.BIDSLayout.get_entities`.

        Metadata fields are among them, so that all sidecars are read, unless `metadata=False`.
        """
        found: dict[str, Entity] = {}
        for layout in self._get_layouts_in_scope(scope):
            if metadata is not False and not self._is_asking:
                _read_all_metadata(layout)
            query = layout.session.query(Entity)
            if metadata is not None:
                # PyBIDS joins with every tag of every file; one tag is enough to know.
                tag = sa.select(Tag.file_path).where(
                    Tag.entity_name == Entity.name, Tag.is_metadata == metadata
                )
                query = query.filter(tag.exists())
            found |= {entity.name: entity for entity in query.all()}
        return found

    @_one_at_a_time
    def get_file(self, filename: Any, scope: str | list[str] = "all") -> Any:
        """Return the file of a path, as `bids.BIDSLayout.get_file`."""
        return super().get_file(filename, scope=scope)

    @_one_at_a_time
    def get_files(self, scope: str | list[str] = "all") -> Any:
        """Return all files by their paths, as `bids.BIDSLayout.get_files`."""
        return super().get_files(scope=scope)

    @_one_at_a_time
    def get_metadata(
        self, path: Any, include_entities: bool = False, scope: str | list[str] = "all"
    ) -> Any:
        """Return the metadata of a file, as `bids.BIDSLayout.get_metadata`."""
        self.read_metadata([str(getattr(path, "path", path))])
        return super().get_metadata(path, include_entities=include_entities, scope=scope)

    # Metadata.

    @_one_at_a_time
    def read_metadata(self, paths: Iterable[str]) -> None:
        """Read the metadata of files into the database, making sidecars local where needed."""
        asked = [path for path in dict.fromkeys(map(str, paths)) if path not in self._with_metadata]
        new = [] if self._has_all_metadata else self._sidecars.own(asked)
        self._sidecars.make_local(map(self._sidecars.of, new))
        for begin in range(0, len(new), BATCH):
            batch = new[begin : begin + BATCH]
            rows = [
                metadata_row(path, field, value)
                for path in batch
                for field, value in self._sidecars.fields_of(path).items()
            ]
            with self.connection_manager.writable() as connection:
                add_metadata(connection, rows)
            self._ambiguous |= {row[1] for row in rows} & self.named_entities()
            self._with_metadata.update(batch)
        for derivative in self._own_derivatives():
            inside = [path for path in asked if path.startswith(derivative.root + os.sep)]
            if inside:
                derivative.read_metadata(inside)

    @_one_at_a_time
    def read_all_metadata(self) -> None:
        """Read the metadata of every file of this layout's own dataset."""
        if not self._has_all_metadata:
            self.read_metadata(self.session.scalars(sa.select(BIDSFile.path)).all())
            self._has_all_metadata = True
            self._with_metadata.clear()

    def _read_family(self) -> None:
        """Read the metadata of every file of this layout and its derivatives."""
        for layout in self._get_layouts_in_scope("all"):
            _read_all_metadata(layout)

    def _own_derivatives(self) -> list[CatalogueLayout]:
        """Return the derivatives that lie in this root; a user may have added others."""
        return [one for one in self.derivatives.values() if isinstance(one, CatalogueLayout)]

    @_one_at_a_time
    def associate(self, paths: Iterable[str]) -> None:
        """Write into the database which files belong together.

        Most of it follows from the paths. What sidecars say with `IntendedFor` counts of those
        that are on disk, and of those of the files asked for, which are made local.
        """
        asked = list(paths)
        self.read_metadata(asked)
        if not self._is_associated:
            asked = natural_sort(self.session.scalars(sa.select(BIDSFile.path)).all())
            self.read_metadata(filter(self._sidecars.are_local, asked))
            self._write_associations(associate(map(self._sidecars.relpath, asked)))
            self._is_associated = True
        fields = self.session.query(Tag).filter(Tag.entity_name == "IntendedFor")
        said = {tag.file_path: tag.value for tag in fields.filter(Tag.is_metadata == True)}  # noqa: E712
        for path in said.keys() & set(asked) - self._with_targets:
            relpath = self._sidecars.relpath(path)
            self._write_associations(intended_for(relpath, said[path], self._prefix))
        self._with_targets |= said.keys() & set(asked)

    def _write_associations(self, found: Iterable[Association]) -> None:
        """Write into the database which files belong together."""
        with self.connection_manager.writable() as connection:
            add_associations(connection, found, self._top)


def _value_of(text: str, dtype: str) -> Any:
    """Turn a value as the database has it into what PyBIDS gives."""
    if dtype == "json":
        return json.loads(text)
    if dtype == "bool":
        return text == "True"
    return bids.layout.models.type_map[dtype](text)


@contextlib.contextmanager
def _naming_patterns(filters: Mapping[str, Any], *, regex_search: bool) -> Iterator[None]:
    """Name the value that is no regular expression; the database says that there is one."""
    try:
        yield
    except sa.exc.OperationalError as error:
        reason = word_pattern(filters) if regex_search else None
        if reason is None:
            raise
        raise InvalidPatternError(reason, error) from None


def _paths_of(query: Any) -> Any:
    """Let a query of files give their paths alone."""
    return query.with_entities(BIDSFile.path)


def _read_all_metadata(layout: BIDSLayout) -> None:
    """Read all metadata of a layout; those that a user added to ours have theirs from the start."""
    if isinstance(layout, CatalogueLayout):
        layout.read_all_metadata()


def _without_fields_of(names: Sequence[str]) -> Any:
    """Let a query look for some entities in the names of files alone, not in metadata."""
    return with_loader_criteria(
        Tag,
        lambda tag: sa.or_(tag.is_metadata == False, tag.entity_name.not_in(names)),  # noqa: E712
        include_aliases=True,
    )
