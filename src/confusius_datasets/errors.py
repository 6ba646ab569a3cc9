"""The exceptions of the package, and the one way to suggest what was meant.

Every error is a `ConfusiusDatasetsError` and also the builtin a caller would guess::

    ConfusiusDatasetsError
    ├── FilterError (ValueError)          an argument of a fetcher or query is wrong
    │   ├── UnknownLabelError             … a label, dataset or datatype that exists nowhere
    │   ├── UnknownEntityError            … an entity that no file has
    │   └── UnknownKeyError (KeyError)    … a variable or a structure that a file lacks
    ├── MatchError (LookupError)          a query that had to match exactly one file did not
    │   ├── NoMatchError                  … matched none
    │   └── AmbiguousMatchError           … matched several
    ├── DatasetIndexError (ValueError)    an index that cannot be trusted
    │   └── UnsafePathError               … for an entry that would leave the root
    ├── CacheError (OSError)              the local folder cannot do what is asked
    │   └── NotEnoughSpaceError           … for lack of space
    ├── SourceError (OSError)             a host did not give what was asked
    │   ├── RemoteNotFoundError           … because it has no such file (FileNotFoundError)
    │   ├── RemoteAccessError             … because it refuses (PermissionError)
    │   ├── RemoteConnectionError         … because it cannot be reached (ConnectionError)
    │   └── RateLimitError                … because it was asked too often
    ├── OfflineError (ConnectionError)    files are missing and the network may not be used
    ├── DownloadError (OSError)           a file could not be downloaded
    │   ├── ChecksumError                 … its bytes are not those the index promises
    │   └── DownloadsFailedError          … several of them, each with its reason
    ├── FileFormatError (ValueError)      a local file is not what its name says
    │   └── MissingFileError              … or is not there at all (FileNotFoundError)
    └── MissingDependencyError (ImportError)  an optional package is needed

A layout has four more, each the one here and that of PyBIDS for the same trouble, so that either
can be caught.

This module imports nothing of ours.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "AmbiguousMatchError",
    "CacheError",
    "ChecksumError",
    "ConfusiusDatasetsError",
    "DatasetIndexError",
    "DownloadError",
    "DownloadsFailedError",
    "FileFormatError",
    "FilterError",
    "MatchError",
    "MissingDependencyError",
    "MissingFileError",
    "NoMatchError",
    "NotEnoughSpaceError",
    "OfflineError",
    "RateLimitError",
    "RemoteAccessError",
    "RemoteConnectionError",
    "RemoteNotFoundError",
    "SourceError",
    "UnknownEntityError",
    "UnknownKeyError",
    "UnknownLabelError",
    "UnsafePathError",
    "did_you_mean",
    "list_some",
]

LONGEST_LIST = 10
"""How many items a message lists before it only counts the rest."""


class ConfusiusDatasetsError(Exception):
    """Base of every error this package raises on purpose."""


class FilterError(ConfusiusDatasetsError, ValueError):
    """An argument of a fetcher or of a query is wrong; nothing was done."""


class UnknownLabelError(FilterError):
    """A label, dataset name or datatype exists nowhere in the index."""


class UnknownEntityError(FilterError):
    """A query names an entity that no file of the dataset has."""


class UnknownKeyError(FilterError, KeyError):
    """A file or an atlas has no variable or structure of that name."""

    __str__ = Exception.__str__  # a KeyError would show the message's repr


class MatchError(ConfusiusDatasetsError, LookupError):
    """A query that had to match exactly one file matched none or several."""


class NoMatchError(MatchError):
    """No file matches the query."""


class AmbiguousMatchError(MatchError):
    """Several files match a query that had to match one."""


class DatasetIndexError(ConfusiusDatasetsError, ValueError):
    """An index is damaged, of an unknown form, or says something impossible."""


class UnsafePathError(DatasetIndexError):
    """An entry of an index, if followed, would be written outside the root."""


class CacheError(ConfusiusDatasetsError, OSError):
    """The folder that holds the data cannot be read or written as asked."""


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


class MissingDependencyError(ConfusiusDatasetsError, ImportError):
    """An optional package is needed for what was asked.

    Parameters
    ----------
    package : str
        The package that could not be imported.
    extra : str
        The extra of this distribution that brings it.
    purpose : str
        What it is needed for, as a noun phrase.
    """

    def __init__(self, package: str, *, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package '{package}', which is not installed. "
            f"Install it with: pip install 'confusius-datasets[{extra}]'"
        )
        self.package = package
        self.extra = extra
        self.purpose = purpose

    def __reduce__(self) -> tuple[object, ...]:
        rebuild = functools.partial(type(self), extra=self.extra, purpose=self.purpose)
        return (rebuild, (self.package,))


def list_some(items: Iterable[str], *, limit: int = LONGEST_LIST) -> str:
    """Join items for a message, cut at a length a reader still takes in.

    Parameters
    ----------
    items : iterable of str
        What to list, in order.
    limit : int, default: 10
        How many to show before the rest is only counted.

    Returns
    -------
    str
        The items separated by commas.

    Examples
    --------
    >>> list_some(["a", "b", "c"], limit=2)
    'a, b, … (3 in all)'
    """
    listed = list(items)
    if len(listed) <= limit:
        return ", ".join(listed)
    return f"{', '.join(listed[:limit])}, … ({len(listed)} in all)"


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """Suggest the valid words nearest to a wrong one.

    Parameters
    ----------
    word : str
        What was given.
    candidates : iterable of str
        What would have been valid.

    Returns
    -------
    str
        A question that ends in one space, or nothing when no candidate is near.

    Examples
    --------
    >>> did_you_mean("CR02", ["CR017", "CR020"])
    "Did you mean 'CR020'? "
    >>> did_you_mean("zebra", ["CR017", "CR020"])
    ''
    """
    by_folded = {candidate.casefold(): candidate for candidate in candidates}
    near = set(difflib.get_close_matches(word.casefold(), by_folded, n=len(by_folded) or 1))
    if not near:
        return ""
    # Of equally near ones the first, where difflib would take the last.
    matcher = difflib.SequenceMatcher(b=word.casefold())

    def ratio(candidate: str) -> float:
        matcher.set_seq1(candidate)
        return matcher.ratio()

    nearest = max((folded for folded in by_folded if folded in near), key=ratio)
    return f"Did you mean {by_folded[nearest]!r}? "
