"""The exceptions of the package, all of them.

Every error is a `ConfusiusDatasetsError` and also the builtin a caller would guess::

    ConfusiusDatasetsError
    ├── ArgumentError (ValueError)            an argument of a function cannot be used
    │   ├── UnknownArgumentError (TypeError)  … a fetcher has no argument of this name
    │   ├── UnknownDatasetError (CacheError)  … neither a name, nor an address, nor a folder
    │   └── FilterError                       … a filter of a fetcher or of a query
    │       ├── UnknownLabelError             … … a label or dataset that is nowhere (NoMatchError)
    │       ├── UnknownEntityError            … … an entity that no file has
    │       │   ├── UnknownGetterError        … … … asked for as a method (PyBIDS: BIDSEntityError)
    │       │   └── UnknownTargetError        … … … asked for as a target (PyBIDS: TargetError)
    │       ├── InvalidPatternError           … … not a regular expression (SQLAlchemy's, too)
    │       └── UnknownKeyError (KeyError)    … … a variable or a structure that a file lacks
    ├── SettingError (ValueError)             an environment variable has an unusable value
    ├── MatchError (LookupError)              a query that had to match exactly one file did not
    │   ├── NoMatchError                      … matched none
    │   └── AmbiguousMatchError               … matched several
    ├── DatasetIndexError (ValueError)        an index that cannot be trusted
    │   └── UnsafePathError                   … for an entry that would leave the root
    ├── CacheError (OSError)                  the local folder cannot do what is asked
    │   └── NotEnoughSpaceError               … for lack of space
    ├── SourceError (OSError)                 a host did not give what was asked
    │   ├── RemoteNotFoundError               … because it has no such file (FileNotFoundError)
    │   ├── RemoteAccessError                 … because it refuses (PermissionError)
    │   ├── RemoteConnectionError             … because it cannot be reached (ConnectionError)
    │       └── HostUnreachableError          … … since it never answered
    │           └── NoRouteError              … … … there is no network, name or listener
    │   └── RateLimitError                    … because it was asked too often
    ├── OfflineError (ConnectionError)        files are missing and the network may not be used
    ├── DownloadError (OSError)               a file could not be downloaded
    │   ├── ChecksumError                     … its bytes are not those the index promises
    │   └── DownloadsFailedError              … several of them, each with its reason
    ├── FileFormatError (ValueError)          a local file is not what its name says
    │   ├── DamagedSidecarError (OSError)     … a JSON sidecar that cannot be read
    │   ├── DamagedTableError (OSError)       … a table that cannot be read (pandas: ParserError)
    │   ├── EmptyTableError                   … … since it is empty (pandas: EmptyDataError)
    │   ├── UnreadableFileError (CacheError)  … or may not be read
    │   └── MissingFileError                  … or is missing (FileNotFoundError)
    └── MissingDependencyError (ImportError)  an optional package is needed

Those that are PyBIDS's, SQLAlchemy's or pandas's too, so that either can be caught, are made when
they are first used: importing PyBIDS takes a second.

This module imports nothing of ours.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

__all__ = [
    "AmbiguousMatchError",
    "ArgumentError",
    "CacheError",
    "ChecksumError",
    "ConfusiusDatasetsError",
    "DamagedSidecarError",
    "DamagedTableError",
    "DatasetIndexError",
    "DownloadError",
    "DownloadsFailedError",
    "EmptyTableError",
    "FileFormatError",
    "FilterError",
    "HostUnreachableError",
    "InvalidPatternError",
    "MatchError",
    "MissingDependencyError",
    "MissingFileError",
    "NoMatchError",
    "NoRouteError",
    "NotEnoughSpaceError",
    "OfflineError",
    "RateLimitError",
    "RemoteAccessError",
    "RemoteConnectionError",
    "RemoteNotFoundError",
    "SettingError",
    "SourceError",
    "UnknownArgumentError",
    "UnknownDatasetError",
    "UnknownEntityError",
    "UnknownGetterError",
    "UnknownKeyError",
    "UnknownLabelError",
    "UnknownTargetError",
    "UnreadableFileError",
    "UnsafePathError",
]


class ConfusiusDatasetsError(Exception):
    """Base of every error this package raises on purpose."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if issubclass(cls, OSError):
            # Of a ValueError that is an OSError too, `__new__` would be the former's, which refuses
            # the latter. Whoever unpickles errors by it, as Dask does, would get a TypeError.
            cls.__new__ = OSError.__new__  # type: ignore[method-assign]


class ArgumentError(ConfusiusDatasetsError, ValueError):
    """An argument of a function cannot be used; nothing was done."""


class UnknownArgumentError(ArgumentError, TypeError):
    """A function has no argument of the name that was given; nothing was done."""


class SettingError(ConfusiusDatasetsError, ValueError):
    """An environment variable has a value that makes no sense; nothing was done."""


class FilterError(ArgumentError):
    """A filter of a fetcher or of a query is wrong; nothing was done."""


class UnknownEntityError(FilterError):
    """A query names an entity that no file of the dataset has."""


class UnknownKeyError(FilterError, KeyError):
    """A file or an atlas has no variable or structure of that name."""

    __str__ = Exception.__str__  # a KeyError would show the message's repr


class MatchError(ConfusiusDatasetsError, LookupError):
    """A query that had to match exactly one file matched none or several."""


class NoMatchError(MatchError):
    """No file matches the query."""


class UnknownLabelError(FilterError, NoMatchError):
    """A label, dataset name, datatype or scope exists nowhere in the dataset."""


class AmbiguousMatchError(MatchError):
    """Several files match a query that had to match one."""


class DatasetIndexError(ConfusiusDatasetsError, ValueError):
    """An index is damaged, of an unknown form, or says something impossible."""


class DoubtfulRowsError(Exception):
    """Paths are out of order, or not obviously fit to stand beside each other."""


class UnsafePathError(DatasetIndexError):
    """An entry of an index, if followed, would be written outside the root."""


class CacheError(ConfusiusDatasetsError, OSError):
    """The folder that holds the data cannot be read or written as asked."""


class UnknownDatasetError(ArgumentError, CacheError):
    """What should be a dataset is neither a known name, nor an address, nor a folder."""


class NotEnoughSpaceError(CacheError):
    """The disk has no room for what would be downloaded."""


class SourceError(ConfusiusDatasetsError, OSError):
    """A host did not give what was asked.

    Parameters
    ----------
    message : str
        What happened, and what to do next.
    url : str, optional
        The address that was asked.
    """

    def __init__(self, message: str, *, url: str | None = None) -> None:
        super().__init__(message)
        self.url = url


class RemoteNotFoundError(SourceError, FileNotFoundError):
    """The host has no such file."""


class RemoteAccessError(SourceError, PermissionError):
    """The host refuses to hand the file out."""


class RemoteConnectionError(SourceError, ConnectionError):
    """The host cannot be reached."""


class HostUnreachableError(RemoteConnectionError):
    """The host does not answer at all."""


class NoRouteError(HostUnreachableError):
    """There is no connection to the host: no network, no such name, or nobody listens."""


class RateLimitError(SourceError):
    """The host answers no more requests for now.

    Parameters
    ----------
    message : str
        What happened, and what to do next.
    url : str, optional
        The address that was asked.
    retry_after : float, optional
        Seconds to wait, where the host says it.
    """

    def __init__(
        self, message: str, *, url: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message, url=url)
        self.retry_after = retry_after


class OfflineError(ConfusiusDatasetsError, ConnectionError):
    """Files are missing locally and the network may not be used.

    Parameters
    ----------
    message : str
        What is missing, and how to get it.
    missing : sequence of str, optional
        Paths of the missing files, relative to the root.
    """

    def __init__(self, message: str, *, missing: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.missing = tuple(missing)


class DownloadError(ConfusiusDatasetsError, OSError):
    """A file could not be downloaded; nothing was left at its place.

    Parameters
    ----------
    message : str
        What happened, and what to do next.
    relpath : str, optional
        The file, relative to the root.
    """

    def __init__(self, message: str, *, relpath: str | None = None) -> None:
        super().__init__(message)
        self.relpath = relpath


class ChecksumError(DownloadError):
    """What arrived has not the size or checksum that the index promises.

    Parameters
    ----------
    message : str
        What happened, and what to do next.
    relpath : str, optional
        The file, relative to the root.
    expected, found : str, optional
        Size or checksum as the index has it, and as it arrived.
    """

    def __init__(
        self,
        message: str,
        *,
        relpath: str | None = None,
        expected: str | None = None,
        found: str | None = None,
    ) -> None:
        super().__init__(message, relpath=relpath)
        self.expected = expected
        self.found = found


class DownloadsFailedError(DownloadError):
    """Files failed for good while the others were finished.

    Parameters
    ----------
    message : str
        What happened, and what to do next.
    failures : mapping of str to Exception, optional
        The reason for each file, by path relative to the root.
    """

    def __init__(self, message: str, *, failures: Mapping[str, Exception] | None = None) -> None:
        super().__init__(message)
        self.failures = dict(failures or {})


class FileFormatError(ConfusiusDatasetsError, ValueError):
    """A local file is damaged, or not of the format its name says."""


class MissingFileError(FileFormatError, FileNotFoundError):
    """A local file that was to be loaded does not exist."""


class DamagedSidecarError(FileFormatError, OSError):
    """A JSON sidecar cannot be read; PyBIDS calls that an `OSError`."""


class UnreadableFileError(FileFormatError, CacheError):
    """A local file may not be read by this user; the message names its owner and mode."""


class MissingDependencyError(ConfusiusDatasetsError, ImportError):
    """An optional package is needed for what was asked.

    Parameters
    ----------
    package : str
        The package that could not be imported.
    extra : str
        The extra of this distribution that brings it, or nothing.
    purpose : str
        What it is needed for, as a noun phrase.
    """

    def __init__(self, package: str, *, extra: str, purpose: str) -> None:
        # By its own name: that works wherever this package itself was installed from.
        beside = f" (it is in the extra [{extra}] of confusius-datasets)" if extra else ""
        super().__init__(
            f"{purpose} needs the package '{package}', which is not installed. "
            f"Install it with: pip install {package}{beside}"
        )
        self.package = package
        self.extra = extra
        self.purpose = purpose

    def __reduce__(self) -> tuple[object, ...]:
        rebuild = functools.partial(type(self), extra=self.extra, purpose=self.purpose)
        return (rebuild, (self.package,))


def _make_unknown_getter_error() -> type[Exception]:
    from bids.exceptions import BIDSEntityError

    class UnknownGetterError(UnknownEntityError, BIDSEntityError):  # type: ignore[misc]
        """A layout has no such method, as no file has such an entity."""

    return UnknownGetterError


def _make_unknown_target_error() -> type[Exception]:
    from bids.exceptions import TargetError

    class UnknownTargetError(UnknownEntityError, TargetError):  # type: ignore[misc]
        """A query wants the values of an entity that no file has."""

    return UnknownTargetError


def _make_invalid_pattern_error() -> type[Exception]:
    from sqlalchemy.exc import OperationalError

    class InvalidPatternError(FilterError, OperationalError):
        """A filter is not a regular expression; plain PyBIDS passes on its database's error."""

        def __init__(self, message: str, error: OperationalError) -> None:
            orig = error.orig if error.orig is not None else error
            OperationalError.__init__(self, error.statement, error.params, orig)
            self.args = (message,)

        def __str__(self) -> str:
            return str(self.args[0])

    return InvalidPatternError


def _make_damaged_table_error() -> type[Exception]:
    from pandas.errors import ParserError

    class DamagedTableError(FileFormatError, ParserError, OSError, EOFError):  # type: ignore[misc]
        """A table is no text separated by tabs, or its compression is damaged."""

    return DamagedTableError


def _make_empty_table_error() -> type[Exception]:
    from pandas.errors import EmptyDataError

    class EmptyTableError(FileFormatError, EmptyDataError):  # type: ignore[misc]
        """A table has nothing in it, not even names of columns."""

    return EmptyTableError


_MADE_WHEN_USED = {
    "DamagedTableError": _make_damaged_table_error,
    "EmptyTableError": _make_empty_table_error,
    "InvalidPatternError": _make_invalid_pattern_error,
    "UnknownGetterError": _make_unknown_getter_error,
    "UnknownTargetError": _make_unknown_target_error,
}

if TYPE_CHECKING:
    from sqlalchemy.exc import OperationalError

    class UnknownGetterError(UnknownEntityError, AttributeError):
        """A layout has no such method, as no file has such an entity."""

    class UnknownTargetError(UnknownEntityError):
        """A query wants the values of an entity that no file has."""

    class InvalidPatternError(FilterError, OperationalError):
        """A filter is not a regular expression; plain PyBIDS passes on its database's error."""

        def __init__(self, message: str, error: OperationalError) -> None: ...

    class DamagedTableError(FileFormatError, OSError, EOFError):
        """A table is no text separated by tabs, or its compression is damaged."""

    class EmptyTableError(FileFormatError):
        """A table has nothing in it, not even names of columns."""


def __getattr__(name: str) -> Any:
    if name not in _MADE_WHEN_USED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = _MADE_WHEN_USED[name]()
    made.__qualname__ = name  # pickled by this name
    return globals().setdefault(name, made)


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
