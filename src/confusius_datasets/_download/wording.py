"""What downloads say when they fail: what happened, what was expected and found, what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from confusius_datasets._cache import NO_SPACE, OFFLINE_VARIABLE, word_unwritable
from confusius_datasets._index import FileEntry
from confusius_datasets._text import count_files, format_nbytes
from confusius_datasets.errors import (
    CacheError,
    ChecksumError,
    DownloadsFailedError,
    OfflineError,
    RateLimitError,
)

__all__ = [
    "word_disk",
    "word_failures",
    "word_interruption",
    "word_limit",
    "word_mismatch",
    "word_offline",
]

LONGEST_LIST = 10
"""Failures that are listed; the rest is counted."""


def word_offline(
    root: Path, missing: Sequence[FileEntry], *, unreachable: Exception | None = None
) -> OfflineError:
    """Word that files are missing and the network may not, or cannot, be used."""
    sizes = [entry.size for entry in missing if entry.size is not None]
    nbytes = format_nbytes(sum(sizes)) if sizes else "of unknown size"
    reason = f"{OFFLINE_VARIABLE} is set" if unreachable is None else f"{unreachable}".rstrip(".")
    way = "unset it" if unreachable is None else "call again with a network"
    are = "is" if len(missing) == 1 else "are"
    return OfflineError(
        f"{reason}, and {count_files(len(missing))} ({nbytes}) {are} not in {root}, the first "
        f"{missing[0].relpath}; {way}, or copy them from a machine that has them.",
        missing=[entry.relpath for entry in missing],
    )


def word_mismatch(
    entry: FileEntry,
    expected: str,
    found: str,
    *,
    url: str | None = None,
    authority: str = "the index",
) -> ChecksumError:
    """Word that what arrived is not what the index promises, or what its host says."""
    origin = f" (from {url})" if url else ""
    return ChecksumError(
        f"{entry.relpath}: received {found}, {authority} says {expected}{origin}. Nothing was "
        "written. Fetch again; if it repeats, the index is out of date: pass refresh=True.",
        relpath=entry.relpath,
        expected=expected,
        found=found,
    )


def word_failures(
    root: Path, failures: Mapping[str, Exception], *, n_files: int, n_untried: int
) -> DownloadsFailedError:
    """Word which files failed, and why."""
    groups: dict[str, list[str]] = {}
    for relpath, error in failures.items():
        groups.setdefault(_reason(root, relpath, error), []).append(relpath)
    lines = [
        f"  {relpaths[0]}: {reason}"
        if len(relpaths) == 1
        else f"  {count_files(len(relpaths))}, the first {relpaths[0]}: {reason}"
        for reason, relpaths in list(groups.items())[:LONGEST_LIST]
    ]
    if len(groups) > LONGEST_LIST:
        lines.append(f"  … ({len(failures)} in all)")
    if n_untried:
        lines.append(
            f"  {count_files(n_untried)} more were not tried, since the host keeps failing."
        )
    wrong = all(isinstance(error, ChecksumError) for error in failures.values())
    if wrong and len(failures) == n_files > 1:
        hint = "None of them is what the index says: it is out of date. Pass refresh=True."
    else:
        hint = "What was finished is kept; the same call tries the rest again."
    listed = "\n".join(lines)
    return DownloadsFailedError(
        f"{len(failures)} of {count_files(n_files)} could not be downloaded to {root}:\n"
        f"{listed}\n{hint}",
        failures=failures,
    )


def _reason(root: Path, relpath: str, error: Exception) -> str:
    """Return what an error says but for the file, so that equal reasons are told once."""
    return str(error).removeprefix(f"{root / relpath} ").removeprefix(f"{relpath}: ")


def word_limit(error: RateLimitError, *, n_done: int, n_files: int) -> RateLimitError:
    """Word that a host wants to be left alone for longer than one would wait."""
    return RateLimitError(
        f"{error} {n_done} of {count_files(n_files)} are finished; the same call goes on with the "
        "rest.",
        url=error.url,
        retry_after=error.retry_after,
    )


def word_interruption(root: Path, *, n_done: int, n_files: int, nbytes: int) -> str:
    """Word how far an interrupted download came."""
    return (
        f"Interrupted: {n_done} of {count_files(n_files)} are downloaded to {root}, "
        f"{format_nbytes(nbytes)} were received. The same call resumes there."
    )


def word_disk(path: Path, error: OSError) -> CacheError:
    """Word that a file cannot be written."""
    is_full = error.errno in NO_SPACE
    kept = "Finished files are kept, and so is what was received of this one. " if is_full else ""
    return word_unwritable(path, error, kept=kept or "Finished files are kept. ")
