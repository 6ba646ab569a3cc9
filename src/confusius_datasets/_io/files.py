"""Local files, from a path as a user gives it to one that can be opened.

Nothing here knows a format.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from confusius_datasets._entities import DATATYPES, DERIVATIVES, DESCRIPTION_NAME, parse_entities
from confusius_datasets._paths import INDEX_NAMES, absolute_path
from confusius_datasets.errors import CacheError, FileFormatError, MissingFileError

__all__ = [
    "check_exists",
    "check_local_file",
    "dataset_root",
    "find_roots",
    "is_address",
    "local_path",
    "unfinished_download",
]

ROOT_MARKS = (DESCRIPTION_NAME, *INDEX_NAMES)
"""A folder that holds one of these is the root of a dataset."""

UNFINISHED_EXTENSIONS = (".part", ".partial", ".crdownload", ".download", ".tmp", ".aria2")
"""What browsers and downloaders put behind a name until a download is complete."""

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")  # two letters at least: C:// is a drive


def is_address(path: str | os.PathLike[str]) -> bool:
    """Say whether a text is the address of something elsewhere, such as `https://…`."""
    return isinstance(path, str) and _ADDRESS.match(path) is not None


def local_path(path: str | os.PathLike[str]) -> Path:
    """Make a path absolute; what cannot be the path of a file on this machine is refused."""
    if is_address(path):
        raise MissingFileError(
            f"{path}: this is an address, and only files on this machine can be loaded. Download "
            "the file first, or open its dataset with open_dataset."
        )
    try:
        return absolute_path(path)
    except TypeError as error:
        raise TypeError(
            f"path must be a pathlib.Path or castable to it, not {type(path).__name__}."
        ) from error
    except CacheError as error:  # whoever loads a file expects errors about files
        raise MissingFileError(str(error)) from error


def check_local_file(path: Path) -> None:
    """Refuse a path at which there is no file."""
    check_exists(path)
    if path.is_dir():
        raise FileFormatError(f"{path}: this is a folder; a file was expected.")
    if not path.is_file():  # to open a pipe would wait for whoever is at its other end
        raise FileFormatError(f"{path}: this is a pipe or a device; a plain file was expected.")


def check_exists(path: Path, kind: str = "file") -> None:
    """Refuse a path at which there is nothing, and say so of a link to nothing."""
    if path.exists():
        return
    if not path.is_symlink():
        raise MissingFileError(
            f"{path}: path argument must be a valid {kind} path, and there is no such {kind}."
        )
    # DataLad links what it has not got yet into the store of git-annex (datalad#7).
    target = os.readlink(path)  # noqa: PTH115 - the text of the link, for the message
    is_annexed = "annex/objects" in target.replace("\\", "/")
    remedy = f"Get it with 'datalad get {path.name}'." if is_annexed else "Fetch or copy it again."
    raise MissingFileError(
        f"{path}: this is a link to {target}, and there is nothing: the content is not on this "
        f"machine. {remedy}"
    )


def unfinished_download(name: str) -> bool:
    """Say whether a file's name is that of a download that did not finish."""
    return name.endswith(UNFINISHED_EXTENSIONS)


def dataset_root(path: Path) -> Path:
    """Find the root of the dataset that a file lies in, or where it would be if it has no marks.

    That is what holds the subject's folder, or else the folder of the file's session or datatype,
    or the file itself.
    """
    roots = find_roots(path)
    if roots:
        return roots[0]
    subject = f"sub-{parse_entities(path.name).get('subject', '')}"
    for folder in path.parents:
        if folder.name == subject or (subject == "sub-" and folder.name.startswith(subject)):
            # Folders of `derivatives/` are datasets, also without a description.
            is_derivative = folder.parent.name == DERIVATIVES
            return folder.parent.parent if is_derivative else folder.parent
    root = path.parent
    while root.name in DATATYPES or root.name.startswith("ses-"):
        root = root.parent
    return root


def find_roots(path: Path) -> list[Path]:
    """Find the roots of the datasets that a file lies in, the innermost first."""
    return [folder for folder in path.parents if any(_has(folder, mark) for mark in ROOT_MARKS)]


def _has(folder: Path, name: str) -> bool:
    """Say whether there is a file in a folder, which this user may not be allowed to enter."""
    return os.path.isfile(folder / name)  # noqa: PTH113 - `Path.is_file` raises for such a folder
