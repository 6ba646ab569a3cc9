"""Questions to layouts in few statements, where PyBIDS would load every row.

Ours are answered by the numbers of files; a derivative that a user added is PyBIDS's own layout,
and is asked through its session.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from confusius_datasets._layout.catalogue import Catalogue, Condition, sort_naturally
from confusius_datasets._layout.pybids import (
    BIDSFile,
    Entity,
    Tag,
    natural_sort,
    tag_dtype,
    tag_value,
    value_of,
)

__all__ = [
    "FileQuery",
    "catalogue_of",
    "entities_of",
    "files_at",
    "find_own",
    "has_value",
    "select_files",
    "sorted_files",
    "sorted_paths",
    "tables_of",
    "values_of",
]

MOST_VALUES = 10_000
"""Values in one statement; SQLite has a limit."""

MANY = 5_000
"""Objects from which on looking for garbage among them takes half of the time of making them."""

RARE = 100_000
"""Objects after which garbage is looked for while many are made."""


@dataclass(frozen=True, slots=True)
class FileQuery:
    """Some files of one layout: by a condition of ours, or else by PyBIDS's query."""

    layout: Any
    chosen: Any

    def paths(self) -> list[str]:
        """List their paths, in no order."""
        catalogue = catalogue_of(self.layout)
        if catalogue is not None:
            return catalogue.paths(catalogue.find(self.chosen))
        return [path for (path,) in self.chosen.with_entities(BIDSFile.path)]

    def files(self) -> list[Any]:
        """Return the files, in no order."""
        if isinstance(self.chosen, Condition):
            return list(select_files(self.layout.session, self.chosen))
        return list(self.chosen.all())


def catalogue_of(layout: Any) -> Catalogue | None:
    """Return the files of a layout of ours; `None` for PyBIDS's own."""
    return getattr(layout.connection_manager, "catalogue", None)


def select_files(session: Any, condition: Condition) -> Any:
    """Build the query of the files that fulfil a condition."""
    test = sa.text(condition.sql).bindparams(**condition.values)
    return session.query(BIDSFile).filter(test)


def files_at(layout: Any, paths: Iterable[str]) -> list[Any]:
    """Return the files of a layout of ours that lie at some paths, in their order."""
    catalogue = layout.connection_manager.catalogue
    numbers = [file for file, _, _ in catalogue.locate(paths).values()]
    found: dict[str, Any] = {}
    for begin in range(0, len(numbers), MOST_VALUES):
        part = ", ".join(map(str, numbers[begin : begin + MOST_VALUES]))
        files = select_files(layout.session, Condition(f"files.id IN ({part})"))
        found |= {file.path: file for file in files}
    return [found[path] for path in paths if path in found]


def sorted_paths(queries: Sequence[FileQuery]) -> list[str]:
    """List the paths of files as PyBIDS sorts them."""
    found = []
    for query in queries:
        catalogue = catalogue_of(query.layout)
        if catalogue is None:
            return list(natural_sort(sorted(path for one in queries for path in one.paths())))
        found.append((catalogue, catalogue.find(query.chosen)))
    return sort_naturally(found)


def sorted_files(queries: Sequence[FileQuery]) -> list[Any]:
    """Return files as PyBIDS sorts them."""
    paths = sorted_paths(queries)
    with _rare_garbage_collection(len(paths)):
        files = {file.path: file for query in queries for file in query.files()}
    return [files[path] for path in paths]


@contextlib.contextmanager
def _rare_garbage_collection(n_objects: int) -> Iterator[None]:
    """Look for garbage less often while many objects are made, none of which is garbage."""
    before = gc.get_threshold()
    if n_objects < MANY or not 0 < before[0] < RARE:  # or another thread does the same
        yield
        return
    gc.set_threshold(RARE, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def find_own(layout: Any, paths: Sequence[str]) -> list[str]:
    """Return those of some paths that a layout has."""
    catalogue = catalogue_of(layout)
    if catalogue is not None:
        return list(catalogue.locate(paths))
    own: list[str] = []
    for part in _parts(paths):
        found = set(layout.session.scalars(sa.select(BIDSFile.path).where(BIDSFile.path.in_(part))))
        own += [path for path in part if path in found]
    return own


def values_of(
    layout: Any, target: str, query: FileQuery | None, *, is_metadata: bool
) -> Iterable[Any]:
    """Give the values of an entity, with their types; of the files of a query, or of all."""
    catalogue = catalogue_of(layout)
    if catalogue is not None:
        condition = query.chosen if query is not None else None
        find = catalogue.field_values if is_metadata else catalogue.values
        return find(target, condition)
    tags = sa.select(tag_value(), tag_dtype()).distinct()
    tags = tags.where(Tag.entity_name == target, Tag.is_metadata == is_metadata)
    if query is not None:
        chosen = query.chosen.with_entities(BIDSFile.path).subquery()
        tags = tags.where(Tag.file_path.in_(sa.select(chosen)))
    return list(layout.session.execute(tags))


def has_value(layout: Any, name: str, value: str | int) -> bool:
    """Say whether a file's name has an entity with a value."""
    catalogue = catalogue_of(layout)
    if catalogue is not None:
        return catalogue.has_value(name, value)
    stored = sa.cast(tag_value(), sa.Integer) if isinstance(value, int) else tag_value()
    found = sa.select(Tag.file_path).where(Tag.entity_name == name, stored == value).limit(1)
    return layout.session.scalar(found.where(Tag.is_metadata == False)) is not None  # noqa: E712


def tables_of(
    layout: Any, paths: Sequence[str], *, metadata: bool
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give paths with the entities of the files, and with their metadata if wanted."""
    catalogue = catalogue_of(layout)
    if catalogue is None:
        yield from _tables_of_others(layout, paths, metadata=metadata)
        return
    places = catalogue.locate(paths)
    fields = catalogue.fields(places.values()) if metadata else {}
    for (path, place), labels in zip(
        places.items(), catalogue.labels(places.values()), strict=True
    ):
        yield path, labels | fields.get(place[0], {})


def _tables_of_others(
    layout: Any, paths: Sequence[str], *, metadata: bool
) -> Iterator[tuple[str, dict[str, Any]]]:
    statement = sa.select(Tag.file_path, Tag.entity_name, tag_value(), tag_dtype())
    if not metadata:
        statement = statement.where(Tag.is_metadata == False)  # noqa: E712 - SQL's equality
    for part in _parts(paths):
        for path, name, text, dtype in layout.session.execute(
            statement.where(Tag.file_path.in_(part))
        ):
            yield path, {name: value_of(text, dtype)}


def entities_of(layout: Any, *, metadata: bool | None) -> list[Entity]:
    """List the entities, or those that names of files have, or those that are metadata fields."""
    query = layout.session.query(Entity)
    if metadata is not None:
        catalogue = catalogue_of(layout)
        if catalogue is None:
            # PyBIDS joins with every tag of every file; one tag is enough to know.
            tag = sa.select(Tag.file_path).where(
                Tag.entity_name == Entity.name, Tag.is_metadata == metadata
            )
            return list(query.filter(tag.exists()).all())
        known = catalogue.field_names() if metadata else catalogue.entities()
        return [entity for entity in query.all() if entity.name in known]
    return list(query.all())


def _parts(paths: Sequence[str]) -> Iterator[Sequence[str]]:
    """Cut a list into parts that fit into a statement."""
    for begin in range(0, len(paths), MOST_VALUES):
        yield paths[begin : begin + MOST_VALUES]
