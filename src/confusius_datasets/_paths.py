"""Which paths may exist: below the root, on every operating system, in no other file's way.

Paths come from an index that somebody else wrote, so nothing about them is trusted.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from confusius_datasets.errors import CacheError, DatasetIndexError, UnsafePathError

__all__ = [
    "HIDDEN_FOLDER",
    "INDEX_NAMES",
    "absolute_path",
    "check_coexistence",
    "check_relpath",
    "find_unfit_names",
    "resolve_below",
]

HIDDEN_FOLDER = ".confusius"
"""Folder of a root that is ours: partial files, locks, databases. PyBIDS skips dot folders."""

INDEX_NAMES = frozenset({"dataset_index.json", "dataverse_zip_index.json", "s3_index.json"})
"""Files in a root that say where its data come from; no entry of an index may replace them."""

LONGEST_NAME_NBYTES = 255
"""Bytes of a file's name on every file system in use."""

_DRIVE = re.compile(r"^[A-Za-z]:")
_PLAIN = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9_+.-]*(?:/[A-Za-z0-9_+.-]+)*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_WINDOWS_RESERVED = re.compile(r"(con|prn|aux|nul|com[1-9]|lpt[1-9])(\..*)?", re.IGNORECASE)
_WINDOWS_REFUSED = re.compile(r'[<>:"|?*]|[. ]$')


def absolute_path(path: str | os.PathLike[str]) -> Path:
    """Make a path absolute: `~` is expanded, and links are kept, since BIDS reads their names."""
    try:
        expanded = Path(path).expanduser()
    except RuntimeError as error:
        raise CacheError(
            f"{os.fspath(path)}: '~' names the home of a user who does not exist on this machine. "
            "Give the full path."
        ) from error
    return Path(os.path.abspath(expanded))  # noqa: PTH100 - `Path.resolve` would follow links


def check_relpath(relpath: str) -> None:
    """Refuse a path that would not stay below the root, on any operating system."""
    parts = relpath.split("/")
    is_reserved = parts[0].casefold() in INDEX_NAMES
    if _PLAIN.fullmatch(relpath) and ".." not in parts and "." not in parts and not is_reserved:
        return  # the usual case, decided in one pass: an index has tens of thousands of paths
    reasons = {
        "is empty": not relpath,
        "is absolute": relpath.startswith("/"),
        "has a drive letter": _DRIVE.match(relpath) is not None,
        "has a backslash": "\\" in relpath,
        "has a control character": _CONTROL.search(relpath) is not None,
        "cannot be encoded": not _is_encodable(relpath),
        "climbs out of the root with '..'": ".." in parts,
        "has an empty or '.' part": "" in parts or "." in parts,
        "names the folder kept for partial files": parts[0].casefold() == HIDDEN_FOLDER,
        "stands where the index belongs": is_reserved,
    }
    for reason, holds in reasons.items():
        if holds:
            raise UnsafePathError(f"the path {relpath!r} {reason}")


def _is_encodable(relpath: str) -> bool:
    """Say whether a text is valid Unicode (JSON can smuggle in lone surrogates)."""
    try:
        relpath.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_coexistence(relpaths: list[str], origin: str) -> None:
    """Refuse paths that could not exist beside each other on every file system."""
    by_folded: dict[str, str] = {}
    for relpath in relpaths:
        folded = _fold(relpath)
        if folded in by_folded:
            raise DatasetIndexError(
                f"{origin}: the entries {by_folded[folded]!r} and {relpath!r} are the same file "
                "where case, or the way accents are written, does not count. Nothing was written."
            )
        by_folded[folded] = relpath
    for folder in _folders(by_folded):
        if folder in by_folded:
            below = next(path for path in relpaths if _fold(path).startswith(f"{folder}/"))
            raise DatasetIndexError(
                f"{origin}: the entry {below!r} runs through {by_folded[folder]!r}, which is a "
                "file. Nothing was written."
            )


def _fold(relpath: str) -> str:
    """Write a path as the least discerning file system does: without case, accents composed."""
    folded = relpath.casefold()
    return folded if folded.isascii() else unicodedata.normalize("NFC", folded)


def _folders(relpaths: Iterable[str]) -> set[str]:
    """Collect every folder that some path lies in, at any depth."""
    folders: set[str] = set()
    for relpath in relpaths:
        parent = relpath.rpartition("/")[0]
        while parent and parent not in folders:
            folders.add(parent)
            parent = parent.rpartition("/")[0]
    return folders


def find_unfit_names(relpaths: Iterable[str], *, windows: bool) -> dict[str, str]:
    """Find paths that a file system cannot have, each with the reason."""
    unfit = {}
    for relpath in relpaths:
        for name in relpath.split("/"):
            if len(name.encode()) > LONGEST_NAME_NBYTES:
                unfit[relpath] = f"has a name of more than {LONGEST_NAME_NBYTES} bytes"
            elif windows and _WINDOWS_RESERVED.fullmatch(name):
                unfit[relpath] = f"has the reserved name {name!r}"
            elif windows and _WINDOWS_REFUSED.search(name):
                unfit[relpath] = f"has the name {name!r} that Windows refuses"
    return unfit


def resolve_below(root: Path, relpath: str) -> Path:
    """Turn a path of the index into one on this machine that is sure to lie below the root."""
    check_relpath(relpath)
    path = root / relpath
    if _may_lead_away(root, relpath) and not path.parent.resolve().is_relative_to(root.resolve()):
        raise UnsafePathError(
            f"{path} lies behind a symbolic link that leads out of {root}; nothing is written "
            "there. Replace the link by a folder."
        )
    return path


def _may_lead_away(root: Path, relpath: str) -> bool:
    """Say whether a folder on the way to a file may be a link; resolving paths takes far longer."""
    if os.name == "nt":
        return True  # folders can be mounted elsewhere there without being links
    folder = os.fspath(root)
    for name in relpath.split("/")[:-1]:
        folder = f"{folder}/{name}"
        if os.path.islink(folder):  # noqa: PTH114 - thousands of files, and `Path` is slow
            return True
    return False
