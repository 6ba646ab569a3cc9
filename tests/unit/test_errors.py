"""The tree of exceptions, and the suggestions in their messages."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest

from confusius_datasets import errors
from confusius_datasets._text import did_you_mean, list_some
from confusius_datasets.errors import (
    ChecksumError,
    ConfusiusDatasetsError,
    DownloadsFailedError,
    MissingDependencyError,
    OfflineError,
    SourceError,
)

CLASSES = [
    value
    for value in (getattr(errors, name) for name in errors.__all__)
    if inspect.isclass(value) and issubclass(value, ConfusiusDatasetsError)
]


def test_tree_every_error_has_our_base_and_a_builtin_one() -> None:
    """A caller may catch ours, or the builtin it would guess."""
    for error in CLASSES:
        builtins = [base for base in error.__mro__ if base.__module__ == "builtins"]

        assert error is ConfusiusDatasetsError or builtins[0] is not Exception, error


def test_tree_drawn_in_the_docstring_is_the_real_one() -> None:
    """The drawing names every class, below its base."""
    drawn = re.findall(r"(\w+Error)\b(?: \(\w+\))?  ", f"{errors.__doc__}  ")

    assert set(drawn) | {"ConfusiusDatasetsError"} == {error.__name__ for error in CLASSES}
    assert {error.__name__ for error in CLASSES} <= set(errors.__all__)


@pytest.mark.parametrize(
    ("error", "facts"),
    [
        (SourceError("m", url="http://x"), {"url": "http://x"}),
        (OfflineError("m", missing=["a", "b"]), {"missing": ("a", "b")}),
        (
            ChecksumError("m", relpath="a", expected="1", found="2"),
            {"relpath": "a", "expected": "1", "found": "2"},
        ),
        (MissingDependencyError("dask", extra="dask", purpose="chunks="), {"extra": "dask"}),
    ],
)
def test_pickle_keeps_the_message_and_the_facts(
    error: ConfusiusDatasetsError, facts: dict[str, object]
) -> None:
    """An error raised in a worker process arrives whole in the one that waits for it."""
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes

    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert {name: getattr(copy, name) for name in facts} == facts


def test_pickle_keeps_the_reasons_of_several_failures() -> None:
    """The reason for each file survives the way between processes."""
    error = DownloadsFailedError("m", failures={"a": ValueError("b")})

    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes

    assert repr(copy.failures) == repr(error.failures)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_error_can_be_made_as_dask_unpickles_it(
    kind: type[ConfusiusDatasetsError],
) -> None:
    """By `__new__` alone, also where an error is a `ValueError` and an `OSError`."""
    error = kind.__new__(kind)
    error.args = ("m",)

    assert type(error) is kind
    assert str(error) == "m"


def test_missing_dependency_message_names_the_extra() -> None:
    """The message says what to type."""
    error = MissingDependencyError("h5py", extra="scan", purpose="Reading SCAN files")

    assert str(error) == (
        "Reading SCAN files needs the package 'h5py', which is not installed. "
        "Install it with: pip install h5py (it is in the extra [scan] of confusius-datasets)"
    )


def test_did_you_mean_ignores_case() -> None:
    """A label in the wrong case is the likeliest slip."""
    assert did_you_mean("cr020", ["CR017", "CR020"]) == "Did you mean 'CR020'? "


def test_list_some_cuts_long_lists_and_counts_them() -> None:
    """A message shows ten items and says how many there are."""
    assert list_some(map(str, range(12))) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, … (12 in all)"
    assert list_some(map(str, range(10))) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9"
