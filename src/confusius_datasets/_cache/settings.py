"""Where data live on this machine, and whether the network may be used."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from confusius_datasets._cache.folders import Folder
from confusius_datasets._cache.wording import describe_owner
from confusius_datasets._paths import absolute_path
from confusius_datasets.errors import CacheError, SettingError

__all__ = [
    "DATA_VARIABLE",
    "OFFLINE_VARIABLE",
    "cache_folder",
    "get_datasets_dir",
    "is_offline",
]

DATA_VARIABLE = "CONFUSIUS_DATA"
"""Environment variable that names the folder of all datasets."""

OFFLINE_VARIABLE = "CONFUSIUS_OFFLINE"
"""Environment variable that forbids the network when it is set to a true value."""

TRUE_WORDS = frozenset({"1", "true", "yes", "on"})
"""What counts as true in an environment variable, in any case."""

FALSE_WORDS = frozenset({"", "0", "false", "no", "off"})
"""What counts as false."""


def cache_folder(data_dir: str | os.PathLike[str] | None = None) -> Path:
    """Say which folder holds the datasets, without touching the disk."""
    if given := "" if data_dir is None else os.fspath(data_dir):
        return absolute_path(given)
    if not (value := os.environ.get(DATA_VARIABLE, "")):
        return absolute_path(_platform_folder())
    try:
        return absolute_path(value)
    except CacheError as error:
        raise SettingError(f"{DATA_VARIABLE}={error}") from error


def _platform_folder() -> str:
    """Return the platform's cache folder of `confusius`."""
    try:
        # `appauthor=False`, or Windows would repeat the name: confusius\confusius\Cache.
        return platformdirs.user_cache_dir("confusius", appauthor=False)
    except RuntimeError as error:
        raise CacheError(
            f"This user has no home folder ({error}), so there is no cache in it. Pass data_dir=, "
            f"or set {DATA_VARIABLE}."
        ) from error


def get_datasets_dir(data_dir: str | os.PathLike[str] | None = None) -> Path:
    r"""Return the folder that holds the datasets, and make sure that it exists.

    The first of these that is given: `data_dir`, the environment variable `CONFUSIUS_DATA`, the
    platform's cache folder of `confusius` (`~/.cache/confusius` on Linux,
    `~/Library/Caches/confusius` on macOS, `%LOCALAPPDATA%\confusius\Cache` on Windows), which is
    shared with the ConfUSIus package. A leading `~` is expanded; an empty variable counts as unset.

    Parameters
    ----------
    data_dir : str or path-like, optional
        The folder to use instead of the environment's or the platform's.

    Returns
    -------
    pathlib.Path
        Absolute path of an existing folder.

    Raises
    ------
    CacheError
        If the folder does not exist and cannot be made, or `~` names a user who does not exist.
    SettingError
        If `CONFUSIUS_DATA` names the home of such a user.

    Examples
    --------
    >>> import tempfile
    >>> from confusius_datasets import get_datasets_dir
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     get_datasets_dir(folder).is_dir()
    True
    """
    folder = cache_folder(data_dir)
    try:
        if not folder.is_dir():
            Folder.at(folder, make=True).close()
    except OSError as error:
        raise CacheError(
            f"The folder for datasets {folder} cannot be made: {error.strerror or error}. "
            f"{describe_owner(folder, error)}"
            f"Pass data_dir=, or set {DATA_VARIABLE} to a folder you may write to."
        ) from error
    return folder


def is_offline() -> bool:
    """Say whether `CONFUSIUS_OFFLINE` forbids the network; a word it does not know is an error."""
    text = os.environ.get(OFFLINE_VARIABLE, "")
    word = text.strip().casefold()
    if word not in TRUE_WORDS | FALSE_WORDS:
        # To take a typing error for "online" would send requests that somebody forbade.
        raise SettingError(
            f"{OFFLINE_VARIABLE}={text!r} must be one of 1, true, yes, on, 0, false, no, off. "
            "Change or unset it."
        )
    return word in TRUE_WORDS
