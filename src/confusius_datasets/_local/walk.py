"""The one walk over a folder on disk, for the layout, for `verify`, and for whatever asks next."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Walk", "walk_folder"]

RELEASES_INDEX = "s3_index.json"
"""A root with this file has folders of releases, which the ConfUSIus package keeps there."""

_RELEASE = re.compile(r"\d[A-Za-z0-9._+-]*")


@dataclass(frozen=True, slots=True)
class Walk:
    """What was found below a root, by paths relative to it."""

    files: frozenset[str]
    folders: dict[str, int]
    """When each folder that was read had changed last, in ns."""


def walk_folder(
    root: Path,
    *,
    start: str = "",
    descend: Callable[[str], bool] = lambda folder: True,
    into_stores: bool = False,
) -> Walk:
    """List the files below a root, or below one of its folders.

    Left out are hidden folders (ours, and `.git` and the like) and releases that another program
    keeps. Linked folders are followed, as PyBIDS does. A Zarr store counts as one file, unless its
    parts are wanted.
    """
    releases = (root / RELEASES_INDEX).exists()
    files: set[str] = set()
    folders: dict[str, int] = {}
    pending: list[tuple[str, tuple[str, ...]]] = [(start, (os.path.realpath(root / start),))]
    while pending:
        folder, reals = pending.pop()
        try:
            # The time is taken first: a file that comes while the folder is read changes it.
            folders[folder] = (root / folder).stat().st_mtime_ns
            entries = list(os.scandir(root / folder))
        except OSError:
            continue
        for entry in entries:
            relpath = f"{folder}/{entry.name}" if folder else entry.name
            if not _is_folder(entry) or (entry.name.endswith(".zarr") and not into_stores):
                files.add(relpath)
            elif not (
                entry.name.startswith(".")
                or (releases and not folder and _RELEASE.fullmatch(entry.name))
            ):
                below = _reals_below(entry, reals)
                if below and descend(relpath):
                    pending.append((relpath, below))
    return Walk(frozenset(files), folders)


def _reals_below(entry: os.DirEntry[str], reals: tuple[str, ...]) -> tuple[str, ...]:
    """Return the real paths of the folders above and of this one; nothing for a way in circles.

    Of each stretch without links only the last folder is kept: a link back to one of its parents is
    recognised by that.
    """
    *above, last = reals
    if not entry.is_symlink():
        return (*above, os.path.join(last, entry.name))  # noqa: PTH118 - of thousands of folders
    real = os.path.realpath(entry.path)
    inside = os.path.join(real, "")  # noqa: PTH118 - text, with the separator at its end
    circles = any(os.path.join(known, "").startswith(inside) for known in reals)  # noqa: PTH118
    return () if circles else (*reals, real)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Say whether an entry of a folder is one itself, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:
        return False
