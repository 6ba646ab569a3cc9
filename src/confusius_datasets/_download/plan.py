"""Decide what to download, in which order and how; nothing is changed here."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from confusius_datasets._cache import is_file_here
from confusius_datasets._index import LARGEST_INTEGER, FileEntry
from confusius_datasets._paths import check_below, find_unfit_names
from confusius_datasets._sources import RetryPolicy
from confusius_datasets._text import count_files, format_nbytes, list_some, quote_short
from confusius_datasets.errors import CacheError, NotEnoughSpaceError

__all__ = [
    "SMALL_NBYTES",
    "DownloadPlan",
    "DownloadSettings",
    "check_places",
    "check_space",
    "check_writable",
    "plan_download",
    "turn_of",
]

SMALL_NBYTES = 1 << 20
"""Files up to this size are sidecars and tables rather than recordings: they come first."""


@dataclass(frozen=True, slots=True)
class DownloadPlan:
    """What is to be downloaded."""

    root: Path
    entries: tuple[FileEntry, ...]
    nbytes: int
    unknown_sizes: int
    force: bool = False


@dataclass(frozen=True, slots=True)
class DownloadSettings(RetryPolicy):
    """How a plan is carried out: how much at once, and how patiently."""

    workers: int = 8

    def __post_init__(self) -> None:
        object.__setattr__(self, "workers", max(self.workers, 1))  # none would wait for ever


def plan_download(entries: Iterable[FileEntry], root: Path, *, force: bool = False) -> DownloadPlan:
    """Decide which of some files are to be downloaded, and in which order."""
    # Also of files that are here: something else may be in their place.
    found = {
        entry.relpath: entry for entry in entries if not is_file_here(root, entry.relpath) or force
    }
    check_places(list(found), root)
    missing = sorted(found.values(), key=lambda entry: turn_of(entry.size))
    return DownloadPlan(
        root,
        tuple(missing),
        sum(entry.size or 0 for entry in missing),
        sum(entry.size is None for entry in missing),
        force,
    )


def turn_of(size: int | None) -> int:
    """Order small files before large ones, and the largest of these first."""
    return 0 if size is None or size <= SMALL_NBYTES else LARGEST_INTEGER - size


def check_places(relpaths: list[str], root: Path, *, has_links: bool = True) -> None:
    """Refuse files that cannot be where they belong, before anything is downloaded.

    Without links below the root, none of them can lead out of it.
    """
    if unfit := find_unfit_names(relpaths, windows=os.name == "nt", root=root):
        reasons = [
            f"{quote_short(relpath, limit=100)} {reason}" for relpath, reason in unfit.items()
        ]
        raise CacheError(
            f"{count_files(len(unfit))} cannot exist on this file system: {list_some(reasons)}. "
            "Use filters that leave them out, or a folder on another file system with data_dir=."
        )
    if has_links:
        check_below(root, relpaths)


def check_writable(plan: DownloadPlan) -> None:
    """Refuse a plan of which no file can be put in its place, before anything is downloaded."""
    refused = None
    for parent in dict.fromkeys((plan.root / entry.relpath).parent for entry in plan.entries):
        folder = next(path for path in (parent, *parent.parents) if path.exists())
        try:
            if not _is_writable(folder):
                with tempfile.TemporaryFile(dir=folder):  # the system's own word counts
                    pass
        except OSError as error:
            refused = refused or (folder, error)
        else:
            return
    if refused is not None:
        folder, cause = refused
        raise CacheError(
            f"{count_files(len(plan.entries))} cannot be written to {plan.root}, the first "
            f"{plan.entries[0].relpath}: {folder}: {cause.strerror or cause}. Nothing was "
            "downloaded. Make the folder writable, or choose another one with data_dir= or "
            "CONFUSIUS_DATA."
        ) from cause


def _is_writable(folder: Path) -> bool:
    """Say whether files can be made in a folder, as far as its permissions tell."""
    effective = os.access in os.supports_effective_ids
    return os.access(folder, os.W_OK | os.X_OK, effective_ids=effective)


def check_space(plan: DownloadPlan, here: int) -> None:
    """Refuse a plan for which the disk has no room."""
    folder = next(path for path in (plan.root, *plan.root.parents) if path.exists())
    free, needed = shutil.disk_usage(folder).free, max(plan.nbytes - here, 0)
    if needed > free:
        raise NotEnoughSpaceError(
            f"{plan.root}: the download needs {format_nbytes(needed)} more and the disk has "
            f"{format_nbytes(free)} left. Nothing was downloaded. Free some space, narrow the "
            "filters, or choose another folder with data_dir= or CONFUSIUS_DATA."
        )
