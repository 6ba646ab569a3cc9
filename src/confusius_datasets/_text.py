"""Words for people: short lists, nearest names, sizes, and warnings that point at the user's line.

Nothing here knows what a dataset is.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import importlib.util
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path

__all__ = [
    "LONGEST_LIST",
    "LONGEST_SAYING",
    "REPAIR_HINT",
    "add_hint",
    "count_files",
    "did_you_mean",
    "format_nbytes",
    "list_some",
    "print_once",
    "quote",
    "quote_short",
    "shorten",
    "warn_user",
]

LONGEST_LIST = 10
"""How many items a message lists before it only counts the rest."""

REPAIR_HINT = "It is in a downloaded dataset: ds.verify(repair=True) downloads damaged files again."
"""What to do about a file of a dataset that was downloaded."""

LONGEST_QUOTE = 60
"""Characters of a value that a message shows."""

LONGEST_SAYING = 200
"""Characters that a message shows of what a host, a file or a library says."""


def list_some(items: Iterable[str], *, limit: int = LONGEST_LIST) -> str:
    """Join items for a message: `a, b, … (3 in all)`."""
    listed = list(items)
    if len(listed) <= limit:
        return ", ".join(map(shorten, listed))
    return f"{', '.join(map(shorten, listed[:limit]))}, … ({len(listed)} in all)"


def quote_short(value: object, *, limit: int = LONGEST_QUOTE) -> str:
    """Show a value as Python writes it, cut to a length that fits into a message."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # numbers of many digits, lists in lists
        text = f"<{type(value).__name__}>"
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def quote(saying: object) -> str:
    """Show a name or a text of a host or a file as Python writes it, cut."""
    return quote_short(saying, limit=LONGEST_SAYING)


def shorten(saying: object, *, limit: int = LONGEST_SAYING) -> str:
    """Show what a host, a file or a library says: on one line, cut, nothing that moves a cursor."""
    begin = str(saying)[: 2 * limit]
    words = " ".join(begin.split())
    text = "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in words
    )
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def add_hint(error: Exception, hint: str) -> None:
    """Add to an error's message what to do next, once."""
    if hint not in str(error):
        error.args = (f"{error} {hint}", *error.args[1:])


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """Suggest the valid word nearest to a wrong one: `Did you mean 'CR020'? `, or nothing."""
    if len(word) > LONGEST_SAYING:  # nobody mistyped that, and comparing it takes long
        return ""
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


@functools.cache  # what was printed before comes from the cache, that is, not at all
def print_once(text: str) -> None:
    """Print a text if this process has not printed it before."""
    print(text)  # noqa: T201 - this is what it is for


def count_files(number: int) -> str:
    """Write a number of files: `1 file`, `2 files`."""
    return f"{number} file{'' if number == 1 else 's'}"


def format_nbytes(nbytes: int) -> str:
    """Write a number of bytes in SI units with four significant digits."""
    size = float(nbytes)
    units = ["B", "KB", "MB", "GB", "TB"]
    while abs(size) >= 1000 and len(units) > 1:
        size /= 1000
        units.pop(0)
    return f"{size:.4g} {units[0]}"


def warn_user(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn, pointing at the line outside this package from which the call came."""
    warnings.warn(message, category, stacklevel=_user_stacklevel())


def _user_stacklevel() -> int:
    """Count the frames from `warnings.warn` in `warn_user` up to the user's own line."""
    inside = _folders_inside()
    frame = sys._getframe(1)
    level = 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(inside):
        frame = frame.f_back
        level += 1
    return level


@functools.cache
def _folders_inside() -> tuple[str, ...]:
    """Return the files whose lines a user did not write.

    `xarray.open_dataset` calls our engine, and `contextlib` and `functools` stand between our own
    functions: a warning that pointed there would help nobody.
    """
    folders = [f"{Path(__file__).parent}/", str(contextlib.__file__), str(functools.__file__)]
    for name in ("xarray", "bids", "sqlalchemy"):
        with contextlib.suppress(ImportError, ValueError):
            spec = importlib.util.find_spec(name)
            if spec is not None and spec.origin is not None:
                folders.append(f"{Path(spec.origin).parent}/")
    return tuple(folders)
