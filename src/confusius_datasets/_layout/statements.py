"""Questions to PyBIDS's database in one statement each, where PyBIDS would load every row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from confusius_datasets._entities import INTEGER_ENTITIES
from confusius_datasets._layout.pybids import (
    BIDSFile,
    Entity,
    Tag,
    aliased,
    listify,
    tag_dtype,
    tag_value,
    with_loader_criteria,
)

__all__ = [
    "all_paths",
    "count_pairs",
    "entities_of",
    "find_own",
    "has_value",
    "narrow",
    "parts",
    "paths_of",
    "tags_of",
    "values_of",
    "without_fields_of",
]

FEW = 2000
"""A filter that leaves fewer files than this is worth going through first."""

MOST_VALUES = 10_000
"""Values in one statement; SQLite has a limit."""


def parts(paths: Sequence[str]) -> Iterator[Sequence[str]]:
    """Cut a list into parts that fit into a statement."""
    for begin in range(0, len(paths), MOST_VALUES):
        yield paths[begin : begin + MOST_VALUES]


def paths_of(query: Any) -> list[str]:
    """List the paths of a query of files."""
    return [path for (path,) in query.with_entities(BIDSFile.path)]


def all_paths(session: Any) -> list[str]:
    """List the paths of every file."""
    return list(session.scalars(sa.select(BIDSFile.path)))


def find_own(session: Any, paths: Sequence[str]) -> list[str]:
    """Return those of some paths that the database has."""
    own: list[str] = []
    for part in parts(paths):
        found = set(session.scalars(sa.select(BIDSFile.path).where(BIDSFile.path.in_(part))))
        own += [path for path in part if path in found]
    return own


def values_of(session: Any, target: str, query: Any | None, *, is_metadata: bool) -> Iterable[Any]:
    """Give the values of an entity, with their types; of the files of a query, or of all."""
    tags = sa.select(tag_value(), tag_dtype()).distinct()
    tags = tags.where(Tag.entity_name == target, Tag.is_metadata == is_metadata)
    if query is not None:
        chosen = query.with_entities(BIDSFile.path).subquery()
        tags = tags.where(Tag.file_path.in_(sa.select(chosen)))
    return list(session.execute(tags))


def has_value(session: Any, name: str, value: str | int) -> bool:
    """Say whether a file's name has an entity with a value."""
    stored = sa.cast(tag_value(), sa.Integer) if isinstance(value, int) else tag_value()
    found = sa.select(Tag.file_path).where(Tag.entity_name == name, stored == value).limit(1)
    return session.scalar(found.where(Tag.is_metadata == False)) is not None  # noqa: E712


def tags_of(session: Any, paths: Sequence[str], *, metadata: bool) -> Iterator[Any]:
    """Give path, name, value and type of the entities of files, and of their metadata if wanted."""
    statement = sa.select(Tag.file_path, Tag.entity_name, tag_value(), tag_dtype())
    if not metadata:
        statement = statement.where(Tag.is_metadata == False)  # noqa: E712 - SQL's equality
    for part in parts(paths):
        yield from session.execute(statement.where(Tag.file_path.in_(part)))


def entities_of(session: Any, *, metadata: bool | None) -> list[Entity]:
    """List the entities, or those that names of files have, or those that are metadata fields."""
    query = session.query(Entity)
    if metadata is not None:
        # PyBIDS joins with every tag of every file; one tag is enough to know.
        tag = sa.select(Tag.file_path).where(
            Tag.entity_name == Entity.name, Tag.is_metadata == metadata
        )
        query = query.filter(tag.exists())
    return list(query.all())


def count_pairs(session: Any, name: str) -> int:
    """Count the values of an entity, apart for each subject."""
    one, other = aliased(Tag), aliased(Tag)
    value = tag_value(one)
    if name in INTEGER_ENTITIES:
        value = sa.cast(value, sa.Integer)
    pairs = sa.select(value, tag_value(other)).distinct()
    pairs = pairs.where(one.entity_name == name, one.is_metadata == False)  # noqa: E712
    pairs = pairs.where(other.file_path == one.file_path, other.entity_name == "subject")
    return int(session.scalar(sa.select(sa.func.count()).select_from(pairs.subquery())))


def narrow(session: Any, filters: Mapping[str, Any], *, besides: Iterable[str]) -> list[str] | None:
    """List the files that the most selective filter leaves, if there is one that leaves few.

    SQLite knows how many files have an entity, but not how many have each of its values.
    """
    best: list[str] | None = None
    for name, value in filters.items():
        wanted = listify(value)
        if name in besides or not wanted:
            continue
        if all(isinstance(label, str) for label in wanted):
            statement = (
                sa.select(Tag.file_path)
                .where(Tag.entity_name == name, tag_value().in_(wanted))
                .limit(FEW if best is None else len(best))
            )
            paths = list(session.scalars(statement))
            if len(paths) < FEW and (best is None or len(paths) < len(best)):
                best = paths
    return best


def without_fields_of(names: Sequence[str]) -> Any:
    """Let a query look for some entities in the names of files alone, not in metadata."""
    return with_loader_criteria(
        Tag,
        lambda tag: sa.or_(tag.is_metadata == False, tag.entity_name.not_in(names)),  # noqa: E712
        include_aliases=True,
    )
