"""Errors of a layout that are also PyBIDS's for the same trouble, so that either can be caught."""

from __future__ import annotations

from bids.exceptions import BIDSEntityError, TargetError
from sqlalchemy.exc import OperationalError

from confusius_datasets.errors import FileFormatError, FilterError, UnknownEntityError

__all__ = ["DamagedSidecarError", "InvalidPatternError", "UnknownGetterError", "UnknownTargetError"]


class DamagedSidecarError(FileFormatError, OSError):
    """A JSON sidecar cannot be read; PyBIDS calls that an `OSError`."""


class UnknownTargetError(UnknownEntityError, TargetError):  # type: ignore[misc]
    """A query wants the values of an entity that no file has."""


class UnknownGetterError(UnknownEntityError, BIDSEntityError):  # type: ignore[misc]
    """A layout has no such method, as no file has such an entity."""


class InvalidPatternError(FilterError, OperationalError):
    """A filter is no regular expression; PyBIDS passes on what its database says of that."""

    def __init__(self, message: str, error: OperationalError) -> None:
        orig = error.orig if error.orig is not None else error
        OperationalError.__init__(self, error.statement, error.params, orig)
        self.args = (message,)

    def __str__(self) -> str:
        return str(self.args[0])
