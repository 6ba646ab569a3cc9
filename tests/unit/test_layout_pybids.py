"""The names of PyBIDS and SQLAlchemy that the layout stands on exist, in the form it expects.

They are private, or not promised. When a release changes one, the test that fails here names it.
"""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import sqlalchemy as sa
from bids import BIDSLayout
from bids.layout import models
from bids.layout.db import ConnectionManager
from sqlalchemy.pool import StaticPool

from confusius_datasets._layout import CatalogueLayout
from confusius_datasets._layout.catalogue import OWN_CLASS
from confusius_datasets._layout.pybids import FILE_CLASSES, singular, tag_dtype, tag_value, value_of

TABLES = {
    models.BIDSFile: {"path", "filename", "dirname", "is_dir", "class_"},
    models.Tag: {"file_path", "entity_name", "_value", "_dtype", "is_metadata"},
    models.Entity: {"name", "mandatory", "pattern", "directory", "_dtype"},
    models.FileAssociation: {"src", "dst", "kind"},
    models.LayoutInfo: {"root", "_derivatives", "_config"},
    models.Config: {"name", "_default_path_patterns"},
}
"""Columns that are written to, or asked for, by name."""

SIGNATURES: dict[Any, list[str]] = {
    BIDSLayout._build_file_query: ["self", "kwargs"],
    BIDSLayout._get_fieldmaps: ["self", "path"],
    BIDSLayout._get_layouts_in_scope: ["self", "scope"],
    BIDSLayout._in_scope: ["self", "scope"],
    BIDSLayout._sanitize_query_dtypes: ["self", "entities"],
    BIDSLayout.__getattr__: ["self", "key"],
    BIDSLayout.get_tr: ["self", "derivatives", "filters"],
    BIDSLayout.save: ["self", "database_path", "replace_connection"],
    ConnectionManager._get_engine: ["self", "database_file"],
    models.BIDSFile.get_associations: ["self", "kind", "include_parents"],
    models.BIDSFile.get_entities: ["self", "metadata", "values"],
}
"""Parameters of what is overridden, or called, though it has an underscore."""


@pytest.mark.parametrize("model", TABLES, ids=lambda model: model.__name__)
def test_table_has_the_columns_that_are_written(model: Any) -> None:
    """Rows are inserted by statements of our own."""
    assert TABLES[model] <= {attribute.key for attribute in sa.inspect(model).column_attrs}


@pytest.mark.parametrize("function", SIGNATURES, ids=lambda function: function.__qualname__)
def test_function_takes_the_arguments_that_are_passed(function: Any) -> None:
    """An override with other parameters would break PyBIDS's own calls."""
    assert list(inspect.signature(function).parameters) == SIGNATURES[function]


@pytest.mark.parametrize(
    "name",
    sorted(
        name
        for name in set(vars(CatalogueLayout)) & set(dir(BIDSLayout)) - set(dir(object))
        if inspect.isfunction(inspect.unwrap(getattr(CatalogueLayout, name)))
    ),
)
def test_method_that_is_overridden_can_be_called_as_pybidss(name: str) -> None:
    """Every argument that PyBIDS's method takes, by its name and in its place."""
    theirs = inspect.signature(getattr(BIDSLayout, name)).parameters
    ours = inspect.signature(inspect.unwrap(getattr(CatalogueLayout, name))).parameters
    named = [one for one in theirs if one not in ("absolute_paths", "kwargs", "filters")]

    assert [one for one in ours if one in named] == named


def test_layout_has_the_attributes_that_are_set() -> None:
    """PyBIDS's constructor is not called, so its attributes are set by hand."""
    source = inspect.getsource(BIDSLayout.__init__)

    for name in ("_root", "derivatives", "sources", "regex_search", "is_derivative"):
        assert f"self.{name}" in source
    for name in ("database_file", "engine", "sessionmaker", "_session", "_database_reset"):
        assert f"self.{name}" in inspect.getsource(ConnectionManager.__init__)


def test_classes_of_files_are_those_of_the_database() -> None:
    """Each kind has PyBIDS's class under PyBIDS's name, and ours beside it."""
    known = sa.inspect(models.BIDSFile).polymorphic_map

    for name, base in FILE_CLASSES.items():
        assert known[name].class_ is base
        assert issubclass(known[OWN_CLASS + name].class_, base)
    assert "_associations" in sa.inspect(models.BIDSFile).relationships


def test_values_are_those_of_the_tags() -> None:
    """A tag's text and type give the value that PyBIDS's own class has."""
    for text, dtype in (("1", "int"), ("1.5", "float"), ("True", "bool"), ("[1]", "json")):
        loaded = _Loaded(text, dtype)
        models.Tag._init_on_load(loaded)
        assert value_of(text, dtype) == loaded.value
    assert (tag_value().key, tag_dtype().key) == ("_value", "_dtype")
    assert singular("subjects") == "subject"


class _Loaded:
    """What a tag has when it comes from the database."""

    value: Any

    def __init__(self, text: str, dtype: str) -> None:
        self._value = text
        self._dtype = dtype


def test_connection_of_an_engine_can_be_replaced() -> None:
    """After a fork, an engine goes on with a private copy of its database."""
    assert "pool" in vars(sa.create_engine("sqlite://", poolclass=StaticPool))
    assert list(inspect.signature(StaticPool.__init__).parameters)[:2] == ["self", "creator"]
