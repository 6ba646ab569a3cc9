"""What is said of files that cannot be read or written: why, whose they are, what to do."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from confusius_datasets._text import list_some
from confusius_datasets.errors import CacheError, NotEnoughSpaceError

__all__ = [
    "NO_SPACE",
    "describe_owner",
    "word_in_the_way",
    "word_no_folder",
    "word_unreadable",
    "word_unwritable",
]

NO_SPACE = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
"""What a disk, a quota, or a limit on the size of files says when there is no room."""

REFUSED = {errno.EACCES, errno.EPERM}
"""What permissions say."""


def word_unreadable(path: Path, error: OSError) -> CacheError:
    """Word that a file or folder cannot be read."""
    if isinstance(error, IsADirectoryError):
        return CacheError(f"{path}: a file belongs here, and there is a folder. Move it away.")
    return CacheError(
        f"{path} cannot be read: {error.strerror or error}. {describe_owner(path, error)}"
        "Ask for permission to read it, or choose another folder with data_dir= or CONFUSIUS_DATA."
    )


def word_unwritable(path: Path, error: OSError, *, kept: str = "") -> CacheError:
    """Word that a file cannot be written; `kept` is a sentence on what is left of it."""
    if isinstance(error, CacheError):
        return error
    reason = error.strerror or str(error)
    if error.errno in NO_SPACE:
        return NotEnoughSpaceError(
            f"{path} cannot be written: {reason}. {kept}Free some space, then call again; or "
            "choose another folder with data_dir= or CONFUSIUS_DATA."
        )
    return CacheError(
        f"{path} cannot be written: {reason}. {describe_owner(path, error)}{kept}"
        "Make the folder writable, or choose another one with data_dir= or CONFUSIUS_DATA."
    )


def word_no_folder(path: Path) -> CacheError:
    """Word that there is a file where a folder belongs."""
    return CacheError(
        f"{path}: a folder belongs here, and there is a file. Move it away, or choose another "
        "folder with data_dir= or CONFUSIUS_DATA."
    )


def word_in_the_way(root: Path, relpaths: Sequence[str]) -> CacheError:
    """Word that something else is where files of a dataset belong, or folders."""
    path = root / relpaths[0]
    kind = "a folder" if path.is_dir() else "a file" if path.is_file() else "no plain file"
    return CacheError(
        f"{root}: where {list_some(relpaths)} should be, there is {kind}. Move it away."
    )


def describe_owner(path: Path, error: OSError) -> str:
    """Say whose a file is and what its mode is, where permissions stand in the way."""
    if error.errno not in REFUSED or os.name != "posix" or not path.is_absolute():
        return ""
    for nearest in (path, *path.parents):
        try:
            status = nearest.lstat()
        except OSError:  # of a file in a folder that may not be entered, the folder is what counts
            continue
        mode = f"{stat.S_IMODE(status.st_mode):04o} ({stat.filemode(status.st_mode)})"
        return f"{nearest} belongs to {_name_user(status.st_uid)} and has the mode {mode}. "
    return ""


def _name_user(number: int) -> str:
    """Return the name of a user, or the number of one who has none."""
    import pwd

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"
