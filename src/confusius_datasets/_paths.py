"""Which paths may exist, and which there are: below the root, in no other file's way.

Paths come from an index that somebody else wrote, so nothing about them is trusted.
"""

from __future__ import annotations

import functools
import os
import re
import stat
import sys
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from confusius_datasets._text import quote
from confusius_datasets.errors import CacheError, DatasetIndexError, UnsafePathError

__all__ = [
    "HIDDEN_FOLDER",
    "INDEX_NAMES",
    "Walk",
    "absolute_path",
    "check_below",
    "check_coexistence",
    "check_relpath",
    "find_unfit_names",
    "fold",
    "resolve_below",
    "walk_folder",
]

HIDDEN_FOLDER = ".confusius"
"""Folder of a root that is ours: partial files, locks, databases. PyBIDS skips dot folders."""

INDEX_NAMES = frozenset({"dataset_index.json", "dataverse_zip_index.json", "s3_index.json"})
"""Files in a root that say where its data come from; no entry of an index may replace them."""

LONGEST_NAME_NBYTES = 255
"""Bytes of a file's name on every file system in use."""

LONGEST_PATH_NBYTES = 2000
"""Bytes of a path below a root, of the 4096 that Linux has for the whole; others have fewer."""

LONGEST_ABSOLUTE_NBYTES = 1024 if sys.platform == "darwin" else 4096
"""Bytes of a path that the system opens, with the zero at its end."""

DEEPEST_PATH = 100
"""Parts of a path at most: no dataset has more, and some programs fail on deeper folders."""

RELEASES_INDEX = "s3_index.json"
"""A root with this file has folders of releases, which the ConfUSIus package keeps there."""

_DRIVE = re.compile(r"^[A-Za-z]:")
_PLAIN = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9_+.-]*(?:/[A-Za-z0-9_+.-]+)*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_WINDOWS_RESERVED = re.compile(r"(con|prn|aux|nul|com[1-9]|lpt[1-9])(\..*)?", re.IGNORECASE)
_RELEASE = re.compile(r"\d[A-Za-z0-9._+-]*")
_WINDOWS_REFUSED = re.compile(r'[<>:"|?*]|[. ]$')


def absolute_path(path: str | os.PathLike[str]) -> Path:
    """Make a path absolute: `~` is expanded, and links are kept, since BIDS reads their names."""
    text = os.fspath(path)
    if "\0" in text or not _is_encodable(text):
        raise CacheError(
            f"{text!r}: this path has a character that cannot be in the name of a file here, or "
            "that is not UTF-8. Choose another one."
        )
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
    if (
        len(parts) <= DEEPEST_PATH
        and len(relpath) * 4 <= LONGEST_PATH_NBYTES
        and _PLAIN.fullmatch(relpath)
        and ".." not in parts
        and "." not in parts
        and not is_reserved
    ):
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
        f"has more than {DEEPEST_PATH} parts": len(parts) > DEEPEST_PATH,
        "is longer than any system allows": len(relpath.encode(errors="replace"))
        > LONGEST_PATH_NBYTES,
    }
    for reason, holds in reasons.items():
        if holds:
            raise UnsafePathError(f"the path {quote(relpath)} {reason}")


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
        folded = fold(relpath)
        if folded in by_folded:
            raise DatasetIndexError(
                f"{origin}: the entries {quote(by_folded[folded])} and {quote(relpath)} "
                "are "
                "the same file where case, or the way accents are written, does not count. "
                "Nothing was written."
            )
        by_folded[folded] = relpath
    for folder in _folders(by_folded):
        if folder in by_folded:
            below = next(path for path in relpaths if fold(path).startswith(f"{folder}/"))
            raise DatasetIndexError(
                f"{origin}: the entry {quote(below)} runs through "
                f"{quote(by_folded[folder])}, which is a file. Nothing was written."
            )


def fold(relpath: str) -> str:
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


def find_unfit_names(
    relpaths: Iterable[str], *, windows: bool, root: Path | None = None
) -> dict[str, str]:
    """Find paths that a file system cannot have, each with the reason."""
    unfit = {}
    # Windows has no one limit: it depends on a setting of the system.
    longest = LONGEST_ABSOLUTE_NBYTES - len(os.fsencode(root)) - 2 if root and not windows else None
    if not windows:
        # Nearly all paths are shorter as a whole than a name may be.
        short = LONGEST_NAME_NBYTES if longest is None else min(LONGEST_NAME_NBYTES, longest)
        relpaths = [path for path in relpaths if len(path) > short or not path.isascii()]
    fit: set[str] = set()  # folders are those of many files
    for relpath in relpaths:
        if longest is not None and len(relpath) * 4 > longest < len(relpath.encode()):
            unfit[relpath] = f"has, with its folder, more than {LONGEST_ABSOLUTE_NBYTES - 1} bytes"
        folder, _, last = relpath.rpartition("/")
        # A letter has 4 bytes at most, and nearly all names are short.
        if not windows and folder in fit and len(last) * 4 <= LONGEST_NAME_NBYTES:
            continue
        for name in (last,) if folder in fit else relpath.split("/"):
            if len(name) * 4 > LONGEST_NAME_NBYTES < len(name.encode()):
                unfit[relpath] = f"has a name of more than {LONGEST_NAME_NBYTES} bytes"
            elif windows and _WINDOWS_RESERVED.fullmatch(name):
                unfit[relpath] = f"has the reserved name {name!r}"
            elif windows and _WINDOWS_REFUSED.search(name):
                unfit[relpath] = f"has the name {name!r} that Windows refuses"
        if relpath not in unfit:
            fit.add(folder)
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


def check_below(root: Path, relpaths: Iterable[str]) -> None:
    """Refuse what `resolve_below` refuses, among many files; each folder is looked at once."""
    is_link = functools.cache(_is_link)
    for relpath in {path[: path.rfind("/") + 1]: path for path in relpaths}.values():
        check_relpath(relpath)
        if _may_lead_away(root, relpath, is_link):
            resolve_below(root, relpath)


def _is_link(path: str) -> bool | None:
    """Say whether something is a link; `None` where there is nothing."""
    try:
        return stat.S_ISLNK(os.lstat(path).st_mode)
    except OSError:
        return None


def _may_lead_away(
    root: Path, relpath: str, is_link: Callable[[str], bool | None] = _is_link
) -> bool:
    """Say whether a folder on the way to a file may be a link; resolving paths takes far longer."""
    if os.name == "nt":
        return True  # folders can be mounted elsewhere there without being links
    folder = os.fspath(root)
    for name in relpath.split("/")[:-1]:
        folder = f"{folder}/{name}"
        if (found := is_link(folder)) is not False:
            return found is not None  # nothing is below what does not exist
    return False


@dataclass(frozen=True, slots=True)
class Walk:
    """What was found below a root, by paths relative to it."""

    files: frozenset[str]
    folders: dict[str, int]
    """When each folder that was read had changed last, in ns."""

    unreadable: dict[str, PermissionError] = field(default_factory=dict)
    """Folders that this user may not read."""

    odd: frozenset[str] = frozenset()
    """What is neither file nor folder, such as a pipe, where all files are wanted."""

    has_links: bool = True
    """Whether a folder may be a link, so that what is below it lies elsewhere.

    It is only looked at where all files are wanted.
    """


def walk_folder(
    root: Path,
    *,
    start: str = "",
    descend: Callable[[str], bool] = lambda folder: True,
    into_stores: bool = False,
    into_all: bool = False,
) -> Walk:
    """List the files below a root, or below one of its folders.

    Left out are hidden folders (ours, and `.git` and the like) and releases that another program
    keeps. Linked folders are followed, as PyBIDS does. A Zarr store counts as one file, unless its
    parts are wanted. With `into_all`, only our own folder is left out, and so are links to nothing:
    an index may have files anywhere.
    """
    into_stores = into_stores or into_all
    releases = os.path.exists(root / RELEASES_INDEX)  # noqa: PTH110 - of a root that is unreadable
    files: set[str] = set()
    odd: set[str] = set()
    unreadable: dict[str, PermissionError] = {}
    folders: dict[str, int] = {}
    # On Windows folders can be mounted elsewhere without being links.
    has_links = not into_all or os.name == "nt"
    pending: list[tuple[str, tuple[str, ...]]] = [(start, (os.path.realpath(root / start),))]
    while pending:
        folder, reals = pending.pop()
        try:
            # The time is taken first: a file that comes while the folder is read changes it.
            folders[folder] = (root / folder).stat().st_mtime_ns
            entries = list(os.scandir(root / folder))
        except PermissionError as error:
            unreadable[folder] = error
            continue
        except OSError:
            continue
        has_links = has_links or any(map(_may_be_link, entries))
        for entry in entries:
            relpath = f"{folder}/{entry.name}" if folder else entry.name
            if not _is_folder(entry) or (entry.name.endswith(".zarr") and not into_stores):
                if not into_all or _is_file(entry):
                    files.add(relpath)
                elif not entry.is_symlink() or os.path.exists(entry.path):  # noqa: PTH110
                    odd.add(relpath)
            elif entry.name != HIDDEN_FOLDER and (
                into_all
                or not (
                    entry.name.startswith(".")
                    or (releases and not folder and _RELEASE.fullmatch(entry.name))
                )
            ):
                below = _reals_below(entry, reals)
                if below and descend(relpath):
                    pending.append((relpath, below))
    return Walk(frozenset(files), folders, unreadable, frozenset(odd), has_links)


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


def _may_be_link(entry: os.DirEntry[str]) -> bool:
    """Say whether an entry of a folder is a link, or cannot be looked at."""
    try:
        return entry.is_symlink()
    except OSError:
        return True


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Say whether an entry of a folder is a file itself, or a link to one."""
    try:
        return entry.is_file()
    except OSError:
        return False


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Say whether an entry of a folder is one itself, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:
        return False
