"""`CatalogueLayout`: a real `bids.BIDSLayout` over files that may not be here yet."""

from __future__ import annotations

import contextlib
import functools
import json
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import bids.layout.layout
import sqlalchemy as sa
from bids import BIDSLayout
from bids.layout.models import BIDSFile, DerivativeDatasets, Entity, Tag
from bids.utils import listify, natural_sort

from confusius_datasets._entities import INTEGER_ENTITIES, applicable_sidecars
from confusius_datasets._layout.associations import associate, intended_for
from confusius_datasets._layout.bidsfiles import CATALOGUE_CLASSES
from confusius_datasets._layout.config import fusi_config
from confusius_datasets._layout.database import (
    PrivateDatabase,
    add_associations,
    add_files,
    add_metadata,
    merge,
    metadata_row,
)
from confusius_datasets._layout.explain import word_unknown_entity
from confusius_datasets.errors import UnknownEntityError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CatalogueLayout"]

EnsureLocal = Callable[[Sequence[str]], None]

MOST_VALUES = 10_000
"""Values in one statement; SQLite has a limit."""

FEW = 2000
"""A filter that leaves fewer files than this is worth going through first."""


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

    Parameters
    ----------
    root : pathlib.Path
        Root of the whole dataset.
    datasets : mapping of str to sequence of str or pathlib.Path
        For each dataset, by its folder, its paths below the root; or its database, as `keep` wrote
        it.
    prefix : str, default: ""
        Folder of the dataset that this layout is of; the raw one has the others as derivatives.
    ensure_local : callable, optional
        Makes files local, given their paths below the root. If not provided, all are local.
    sources : CatalogueLayout, optional
        The layout that this one's dataset is derived from.
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
        self._jsons: dict[str, list[str]] | None = None
        self._contents: dict[str, dict[str, Any]] = {}
        self._is_associated = False
        self._description: dict[str, Any] | None = None
        self._knows_description = False
        self.is_derivative = bool(prefix) or self._is_called_derivative()
        self.regex_search = False
        self.sources = sources
        self.connection_manager = self._open_database(datasets[prefix])
        self.session.info.update(
            lock=self.lock, read_metadata=self.read_metadata, associate=self.associate
        )
        self.derivatives = DerivativeDatasets()
        if not prefix:
            for name in datasets:
                if name:
                    self.derivatives[name] = CatalogueLayout(
                        root, datasets, prefix=name, ensure_local=ensure_local, sources=self
                    )

    def _is_called_derivative(self) -> bool:
        """Say whether the root's own description, if it is here, calls it a derivative."""
        if not (self._top / "dataset_description.json").exists():
            return False
        return (self.description or {}).get("DatasetType") == "derivative"

    def _open_database(self, content: Sequence[str] | Path) -> PrivateDatabase:
        """Make PyBIDS's database of the dataset's files, or take over one that was kept."""
        if isinstance(content, Path):
            return PrivateDatabase(content)
        config = [fusi_config(), "derivatives"] if self.is_derivative else [fusi_config()]
        init_args = {"root": self._root, "derivatives": None, "config": config}
        database = PrivateDatabase(config=config, init_args=init_args)
        names = set(database.session.scalars(sa.select(Entity.name)))
        database.session.commit()
        with database.writable() as connection:
            add_files(connection, content, self._top, names, kinds=CATALOGUE_CLASSES)
        return database

    def keep(self, path: Path) -> None:
        """Write the database of this layout's own dataset to a new file.

        Parameters
        ----------
        path : pathlib.Path
            Where.
        """
        with contextlib.closing(sqlite3.connect(path)) as target:
            self.connection_manager.connection.backup(target)

    # What a dataset says of itself.

    @property
    def description(self) -> dict[str, Any] | None:
        """Content of `dataset_description.json`, or `None`; made local when it is asked for."""
        if not self._knows_description:
            relpath = f"{self._prefix}/dataset_description.json".lstrip("/")
            self._description = self._read_json(relpath, optional=True)
            self._knows_description = True
        return self._description

    @property
    def source_pipeline(self) -> str | None:
        """Name of the pipeline that made a derivative, or else of its folder."""
        if not self.is_derivative:
            return None
        description = self.description or {}
        made_by = description.get("GeneratedBy")
        names = [
            step["Name"]
            for step in (made_by if isinstance(made_by, list) else [])
            if isinstance(step, dict) and "Name" in step
        ]
        return names[0] if names else self._prefix.rpartition("/")[2] or None

    def _in_scope(self, scope: str | list[str]) -> bool:
        """Say whether this layout is in a scope; a derivative is also known by its folder."""
        scopes = set(listify(scope))
        if "all" in scopes:
            return True
        if not self.is_derivative:
            return "raw" in scopes
        if scopes & {"derivatives", self._prefix, self._prefix.rpartition("/")[2]}:
            return True
        named = scopes - {"raw", "derivatives", "self"} - self._folder_names()
        return bool(named) and self.source_pipeline in named

    def _folder_names(self) -> set[str]:
        """Return the names of all derivatives' folders, which need no description to be known."""
        family = self.sources.derivatives if self.sources else self.derivatives
        return {name.rpartition("/")[2] for name in family}

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
        self._prepare(scope, regex_search, invalid_filters, filters, target=target)
        if return_type == "id" and target in self.get_entities():
            return self._get_values(str(target), scope, regex_search, invalid_filters, filters)
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
        """Read the metadata of the candidates of a query, if it asks for any."""
        known = {
            name
            for layout in self._get_layouts_in_scope("all")
            for config in layout.config.values()
            for name in config.entities
        }
        fields = (set(filters) | ({target} if target else set())) - known - {"filters"}
        if not fields:
            return
        rest = {name: value for name, value in filters.items() if name in known}
        candidates = super().get(
            return_type="filename", scope=scope, regex_search=regex_search, **rest
        )
        self.read_metadata(candidates)
        unknown = sorted((set(filters) - set(self.get_entities())) - {"filters"})
        if unknown and invalid_filters == "error":
            raise UnknownEntityError(word_unknown_entity(unknown[0], self.get_entities()))

    def _get_values(
        self,
        target: str,
        scope: str | list[str],
        regex_search: bool,
        invalid_filters: str,
        filters: Mapping[str, Any],
    ) -> list[Any]:
        """List the values of an entity among the files of a query, by one statement a layout."""
        known = self.get_entities()
        if invalid_filters == "drop":
            filters = {name: value for name, value in filters.items() if name in known}
        if "extension" in filters:
            dotted = [
                f".{value.lstrip('.')}" if isinstance(value, str) else value
                for value in listify(filters["extension"])
            ]
            filters = {**filters, "extension": dotted}
        is_metadata = target not in self.get_entities(metadata=False)
        values: dict[Any, None] = {}
        for layout in self._get_layouts_in_scope(scope):
            tags = sa.select(Tag._value, Tag._dtype).distinct()
            tags = tags.where(Tag.entity_name == target, Tag.is_metadata == is_metadata)
            if filters:
                query = layout._build_file_query(filters=filters, regex_search=regex_search)
                paths = query.with_entities(BIDSFile.path).subquery()
                tags = tags.where(Tag.file_path.in_(sa.select(paths)))
            for text, dtype in layout.session.execute(tags):
                values[_value_of(text, dtype)] = None
        return list(natural_sort(list(values)))

    def _build_file_query(self, **kwargs: Any) -> Any:
        """Build the query of a layout's files, as `bids.BIDSLayout` does."""
        # A file has an entity once, so grouping by path changes nothing but the speed.
        query = super()._build_file_query(**kwargs).group_by(None)
        if not kwargs.get("regex_search"):
            paths = self._narrow(kwargs.get("filters") or {})
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
            if name in INTEGER_ENTITIES or not wanted:
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
        wanted = set(paths)
        statement = sa.select(Tag.file_path, Tag.entity_name, Tag._value, Tag._dtype)
        if not metadata:
            statement = statement.where(Tag.is_metadata == False)  # noqa: E712 - SQL's equality
        rows = [
            (path, name, _value_of(text, dtype))
            for path, name, text, dtype in self.session.execute(statement)
            if path in wanted
        ]
        table = pd.DataFrame(rows, columns=["path", "entity", "value"])
        table = table.pivot(index="path", columns="entity", values="value")
        # Files without any entity of this layout come last, as PyBIDS appends them.
        alone = [path for path in paths if path not in table.index]
        return table.reindex([*table.index, *alone]).rename_axis(index="path").reset_index()

    @_one_at_a_time
    def get_entities(
        self, scope: str | list[str] = "all", metadata: bool | None = None
    ) -> dict[str, Entity]:
        """Return the entities of the layouts in a scope, as `bids.BIDSLayout.get_entities`."""
        found: dict[str, Entity] = {}
        for layout in self._get_layouts_in_scope(scope):
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
        """Read the metadata of files into the database, making sidecars local where needed.

        Parameters
        ----------
        paths : iterable of str
            Absolute paths; those of other layouts are passed on to these.
        """
        asked = [path for path in dict.fromkeys(map(str, paths)) if path not in self._with_metadata]
        new = self._own(asked)
        if new:
            sidecars = {path: self._sidecars_of(path) for path in new}
            self._make_local(sidecars.values())
            rows = [
                metadata_row(path, field, value)
                for path, applying in sidecars.items()
                for field, value in merge(map(self._content, applying)).items()
            ]
            with self.connection_manager.writable() as connection:
                add_metadata(connection, rows)
            self.session.expire_all()
            self._with_metadata.update(new)
        if len(asked) > len(new):
            for derivative in self.derivatives.values():
                derivative.read_metadata(asked)

    @_one_at_a_time
    def associate(self, paths: Iterable[str]) -> None:
        """Write into the database which files belong together.

        Most of it follows from the paths. What sidecars say with `IntendedFor` counts of those
        that are on disk, and of those of the files asked for, which are made local.

        Parameters
        ----------
        paths : iterable of str
            Absolute paths of the files asked for.
        """
        self.read_metadata(paths)
        if self._is_associated:
            return
        files = natural_sort(self.session.scalars(sa.select(BIDSFile.path)).all())
        relpaths = [Path(path).relative_to(self._top).as_posix() for path in files]
        self.read_metadata(
            path for path in files if all(map(self._is_local, self._sidecars_of(path)))
        )
        names = {name for config in self.config.values() for name in config.entities}
        found = list(associate(relpaths, names))
        fields = self.session.query(Tag).filter(Tag.entity_name == "IntendedFor")
        for tag in fields.filter(Tag.is_metadata == True):  # noqa: E712 - SQL's equality
            relpath = Path(tag.file_path).relative_to(self._top).as_posix()
            found += intended_for(relpath, tag.value)
        with self.connection_manager.writable() as connection:
            add_associations(connection, found, self._top)
        self.session.expire_all()
        self._is_associated = True

    def _is_local(self, relpath: str) -> bool:
        """Say whether a file is on disk."""
        return (self._top / relpath).exists()

    def _own(self, paths: Sequence[str]) -> list[str]:
        """Return those of some files that are in this layout's own dataset."""
        found: set[str] = set()
        for begin in range(0, len(paths), MOST_VALUES):
            part = paths[begin : begin + MOST_VALUES]
            found.update(
                self.session.scalars(sa.select(BIDSFile.path).where(BIDSFile.path.in_(part)))
            )
        return [path for path in paths if path in found]

    def _sidecars_of(self, path: str) -> list[str]:
        """List the sidecars of a file, below the root, the most specific last."""
        if self._jsons is None:
            self._jsons = {}
            statement = sa.select(BIDSFile.path).where(BIDSFile.filename.endswith(".json"))
            for found in self.session.scalars(statement):
                relpath = Path(found).relative_to(self._top).as_posix()
                self._jsons.setdefault(relpath.rpartition("/")[0], []).append(relpath)
        relpath = Path(path).relative_to(self._top).as_posix()
        jsons = self._jsons
        return applicable_sidecars(relpath, lambda folder: jsons.get(folder, ()))

    def _make_local(self, sidecars: Iterable[Sequence[str]]) -> None:
        """Make sidecars local, all at once."""
        wanted = dict.fromkeys(relpath for applying in sidecars for relpath in applying)
        missing = [relpath for relpath in wanted if not self._is_local(relpath)]
        if missing and self._ensure_local is not None:
            self._ensure_local(missing)

    def _content(self, relpath: str) -> dict[str, Any]:
        """Return the content of a sidecar, read once."""
        if relpath not in self._contents:
            self._contents[relpath] = self._read_json(relpath, optional=False) or {}
        return self._contents[relpath]

    def _read_json(self, relpath: str, *, optional: bool) -> dict[str, Any] | None:
        """Read a JSON object."""
        path = self._top / relpath
        if optional and not path.exists() and self._ensure_local is not None:
            self._ensure_local([relpath])
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            if optional:
                return None
            raise OSError(f"{path}: this JSON sidecar cannot be read: {error}") from error
        return content if isinstance(content, dict) else None


def _value_of(text: str, dtype: str) -> Any:
    """Turn a value as the database has it into what PyBIDS gives."""
    if dtype == "json":
        return bids.utils.hashablefy(json.loads(text))
    if dtype == "bool":
        return text == "True"
    return bids.layout.models.type_map[dtype](text)
