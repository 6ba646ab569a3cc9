"""A local file that is not what its name says: what damage raises → our errors; what stands there.

Whoever reads a file of the user's, by whichever library, reads it inside one of these.
"""

from __future__ import annotations

import contextlib
import lzma
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from confusius_datasets._cache import describe_owner, is_here, open_regular
from confusius_datasets._paths import INDEX_NAMES
from confusius_datasets._text import REPAIR_HINT, add_hint, shorten
from confusius_datasets.errors import (
    ConfusiusDatasetsError,
    FileFormatError,
    MissingFileError,
    UnreadableFileError,
)

__all__ = [
    "DAMAGE_ERRORS",
    "damage_errors",
    "explain_content",
    "file_errors",
    "image_errors",
    "table_errors",
    "text_errors",
]

DAMAGE_ERRORS = (
    *(ArithmeticError, AssertionError, AttributeError, BufferError, EOFError, LookupError, OSError),
    # blosc raises a SystemError for a chunk of negative size.
    *(RuntimeError, SystemError, TypeError, ValueError, lzma.LZMAError, struct.error, zlib.error),
)
"""What damage surfaces as, depending on the library that meets it."""

AGAIN = "Fetch or copy it again."
"""What helps with most damaged files."""

START_NBYTES = 512
"""Bytes by which a web page or a pointer is known."""

_PAGE = re.compile(rb"\s*<(?:!doctype|html|\?xml|head|body)", re.IGNORECASE)
_ANNEX_POINTER = re.compile(rb"/annex/objects/(\S+)")
_LFS_POINTER = re.compile(rb"version https://git-lfs\.github\.com/spec/")


@contextlib.contextmanager
def file_errors(path: Path) -> Iterator[None]:
    """Turn whatever reading a file raises into our errors."""
    try:
        yield
    except ConfusiusDatasetsError:
        raise
    except FileNotFoundError as error:
        raise MissingFileError(f"{path}: the file is gone. Fetch it again.") from error
    except PermissionError as error:
        owner = describe_owner(Path(error.filename or path), error)
        raise UnreadableFileError(
            f"{path}: cannot be read: {error.strerror or error}. {owner}Ask for permission to read "
            "it."
        ) from error
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read: {error.strerror or error}.") from error
    except (*DAMAGE_ERRORS, MemoryError) as error:
        raise _word_damage(path, error) from error


@contextlib.contextmanager
def damage_errors(path: Path) -> Iterator[None]:
    """Let any error about a file be ours, and say how one of a downloaded dataset is repaired."""
    with _hinting(path), file_errors(path):
        yield


@contextlib.contextmanager
def text_errors(path: Path) -> Iterator[None]:
    """Do the same for a file of text, which may be a web page or a pointer in its place."""
    with damage_errors(path):
        _check_content(path)
        yield


@contextlib.contextmanager
def table_errors(path: Path) -> Iterator[None]:
    """Do the same for a table that pandas reads; what is wrong with options is the caller's."""
    from pandas.errors import EmptyDataError, ParserError

    from confusius_datasets.errors import DamagedTableError, EmptyTableError

    with _hinting(path):
        with file_errors(path):
            _check_content(path)
        try:
            yield
        except EmptyDataError as error:
            raise EmptyTableError(
                f"{path}: the file is empty; a table was expected. {AGAIN}"
            ) from error
        except (PermissionError, FileNotFoundError):
            with file_errors(path):
                raise
        except (EOFError, OSError, ParserError, UnicodeError, zlib.error) as error:
            raise DamagedTableError(
                f"{path}: not a table separated by tabs, or a damaged one: {shorten(error)}. "
                f"{AGAIN}"
            ) from error


@contextlib.contextmanager
def image_errors(path: Path) -> Iterator[None]:
    """Do the same for an image that nibabel opens for PyBIDS, which wraps whatever it raises."""
    with _hinting(path):
        try:
            yield
        except ValueError as error:
            cause = error.__cause__ or error
            if isinstance(cause, TypeError | ImportError):  # an option, or a package
                raise
            with file_errors(path):
                # Not before: surfaces in GIFTI begin as a web page in XML does.
                _check_content(path)
                raise _word_damage(path, cause) from error


def explain_content(start: bytes) -> str | None:
    """Say what a file with these first bytes is, if it only stands in for the data."""
    if pointer := _ANNEX_POINTER.match(start):
        key = pointer[1].decode("ascii", "replace")
        return (
            f"this is a pointer of git-annex ({key}), not the data. Get the content with "
            "'datalad get' or 'git annex get'."
        )
    if _LFS_POINTER.match(start):
        return "this is a pointer of Git LFS, not the data. Get the content with 'git lfs pull'."
    if _PAGE.match(start):
        return (
            "this is a web page that was saved under the name of the data, as a failed download "
            "leaves it. Delete the file and download it again."
        )
    return None


def _check_content(path: Path) -> None:
    """Refuse what only stands in for the data."""
    with open_regular(path) as file:
        reason = explain_content(file.read(START_NBYTES))
    if reason is not None:
        raise FileFormatError(f"{path}: {reason}")


def _word_damage(path: Path, error: BaseException) -> FileFormatError:
    return FileFormatError(
        f"{path}: cannot be read: it is damaged, or something else than its name says "
        f"({shorten(error) or type(error).__name__}). {AGAIN}"
    )


@contextlib.contextmanager
def _hinting(path: Path) -> Iterator[None]:
    """Add to an error about a file of a downloaded dataset how it is repaired."""
    try:
        yield
    except MissingFileError:
        raise
    except FileFormatError as error:
        if any(is_here(folder / name) for folder in path.parents for name in INDEX_NAMES):
            add_hint(error, REPAIR_HINT)
        raise
