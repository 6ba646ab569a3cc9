"""`Folder`: an object that code written for the path of a folder works with.

Nothing here knows what is in the folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from confusius_datasets._paths import absolute_path

__all__ = ["Folder"]


class Folder:
    """A folder that stands for its path, in text and wherever a path is taken.

    It has the methods of `pathlib.Path` with which one looks around in a folder; `root` has the
    others.

    Parameters
    ----------
    root : str or path-like
        The folder; a leading `~` is expanded.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as name:
    ...     folder = Folder(name)
    ...     str(folder) == name, folder / "a" == Path(name, "a"), list(folder.iterdir())
    (True, True, [])
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._root = absolute_path(root)

    @property
    def root(self) -> Path:
        """The folder, an absolute path."""
        return self._root

    def __truediv__(self, other: str | os.PathLike[str]) -> Path:
        return self._root / other

    def __fspath__(self) -> str:
        return str(self._root)

    def __str__(self) -> str:
        return str(self._root)

    def exists(self) -> bool:
        """Say whether the folder is there still, as `pathlib.Path.exists`.

        Returns
        -------
        bool
            Whether it is.
        """
        return self._root.exists()

    def is_dir(self) -> bool:
        """Say whether the folder is one still, as `pathlib.Path.is_dir`.

        Returns
        -------
        bool
            Whether it is.
        """
        return self._root.is_dir()

    def joinpath(self, *others: str | os.PathLike[str]) -> Path:
        """Return a path below the folder, as `pathlib.Path.joinpath`.

        Parameters
        ----------
        *others : str or path-like
            Its parts.

        Returns
        -------
        pathlib.Path
            The path; there need not be a file.
        """
        return self._root.joinpath(*others)

    def iterdir(self) -> Iterator[Path]:
        """List what is right in the folder, as `pathlib.Path.iterdir`.

        Returns
        -------
        iterator of pathlib.Path
            What is on disk, in no order.
        """
        return self._root.iterdir()

    def glob(self, pattern: str) -> Iterator[Path]:
        """Find paths that match a pattern, as `pathlib.Path.glob`.

        Parameters
        ----------
        pattern : str
            Such as `sub-*/*/fusi/*_pwd.nii.gz`.

        Returns
        -------
        iterator of pathlib.Path
            What is on disk, in no order.
        """
        return iter(self._root.glob(pattern))

    def rglob(self, pattern: str) -> Iterator[Path]:
        """Find paths at any depth that match a pattern, as `pathlib.Path.rglob`.

        Parameters
        ----------
        pattern : str
            Such as `*_pwd.nii.gz`.

        Returns
        -------
        iterator of pathlib.Path
            What is on disk, in no order.
        """
        return iter(self._root.rglob(pattern))
