"""What the layout stands on of PyBIDS and SQLAlchemy beyond their documented interfaces.

PyBIDS has no extension points for what is done here: a database that is filled in bulk, queries
that are narrowed first, metadata that are read when they are asked for. Every name that another
release may change is taken from here, and `tests/unit/test_layout_pybids.py` holds the form of
each. Nothing here knows datasets.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from bids.external import inflect
from bids.layout import BIDSLayout
from bids.layout.db import ConnectionManager
from bids.layout.layout import Path as LayoutPath
from bids.layout.models import (
    BIDSDataFile,
    BIDSFile,
    BIDSImageFile,
    BIDSJSONFile,
    Config,
    DerivativeDatasets,
    Entity,
    LayoutInfo,
    Tag,
    type_map,
)
from bids.layout.utils import BIDSMetadata
from bids.utils import hashablefy, listify, natural_sort
from sqlalchemy.orm import sessionmaker
from sqlalchemy.pool import StaticPool

try:
    from bids.utils import bids_sort
except ImportError:  # PyBIDS before 0.22 gives entities in the order of its database

    def bids_sort(unsorted: dict[str, Any]) -> dict[str, Any]:
        """Leave entities in their order."""
        return unsorted


__all__ = [
    "FILE_CLASSES",
    "BIDSFile",
    "BIDSMetadata",
    "Config",
    "ConnectionManager",
    "DerivativeDatasets",
    "Entity",
    "LayoutInfo",
    "LayoutPath",
    "StaticPool",
    "Tag",
    "bids_sort",
    "build_file_query",
    "connection_of",
    "hashablefy",
    "layouts_in_scope",
    "listify",
    "make_sessions",
    "natural_sort",
    "replace_connection",
    "sanitize_filters",
    "singular",
    "tag_dtype",
    "tag_value",
    "value_of",
]

FILE_CLASSES: Mapping[str, Any] = {
    "file": BIDSFile,
    "data_file": BIDSDataFile,
    "image_file": BIDSImageFile,
    "json_file": BIDSJSONFile,
}
"""PyBIDS's classes by the names that its database has for them (`polymorphic_identity`)."""


def tag_value(tag: Any = Tag) -> Any:
    """Return the column of a tag's value, as text."""
    return tag._value


def tag_dtype(tag: Any = Tag) -> Any:
    """Return the column of the name of a tag's type."""
    return tag._dtype


def value_of(text: str, dtype: str) -> Any:
    """Turn a value as the database has it into what PyBIDS gives."""
    import json

    if dtype == "json":
        return json.loads(text)
    if dtype == "bool":
        return text == "True"
    return type_map[dtype](text)


def singular(name: str) -> str:
    """Return the entity that a getter of many is called after, as PyBIDS finds it."""
    return str(inflect.engine().singular_noun(name) or name)


def layouts_in_scope(layout: BIDSLayout, scope: str | Sequence[str]) -> list[BIDSLayout]:
    """List a layout and its derivatives, as far as they are in a scope."""
    found: list[BIDSLayout] = layout._get_layouts_in_scope(scope)
    return found


def build_file_query(
    layout: BIDSLayout, filters: Mapping[str, Any], *, regex_search: bool = False
) -> Any:
    """Build the query of a layout's own files."""
    return layout._build_file_query(filters=dict(filters), regex_search=regex_search)


def sanitize_filters(layout: BIDSLayout, filters: Mapping[str, Any]) -> dict[str, Any]:
    """Turn the values of filters into the types of their entities, where that is possible."""
    return dict(layout._sanitize_query_dtypes(dict(filters)))


def make_sessions(engine: sa.Engine) -> Any:
    """Make what PyBIDS gets its session from."""
    # Files are used from other threads, without a query, so nothing of theirs may expire.
    return sessionmaker(bind=engine, expire_on_commit=False)


def connection_of(engine: sa.Engine) -> sqlite3.Connection:
    """Return the one connection of an engine, as SQLite has it."""
    connection = engine.raw_connection().driver_connection
    assert isinstance(connection, sqlite3.Connection)  # noqa: S101 - for the type checker
    return connection


def replace_connection(engine: sa.Engine, connection: sqlite3.Connection) -> None:
    """Let an engine go on with another connection."""
    reopen: Any = lambda: connection  # noqa: E731 - SQLAlchemy's type for it is private
    engine.pool = StaticPool(reopen)
