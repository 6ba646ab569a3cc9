"""Folders that are opened once, and files that are made, renamed and removed relative to them.

In a shared folder, somebody else can swap a folder for a link at any moment. What is looked up in
an open folder stays in it. Windows opens nothing relative to a folder: there, paths are looked at
before and after.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
import uuid
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO, cast

from confusius_datasets._cache.wording import word_no_folder
from confusius_datasets.errors import UnsafePathError

__all__ = ["Folder", "FoldersBelow", "LinkError", "is_plain", "open_below"]

IS_RELATIVE = {os.open, os.mkdir, os.rename, os.stat, os.unlink, os.rmdir} <= os.supports_dir_fd
"""Whether names are looked up in an open folder."""

FOLDER_FLAGS = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)

SAFELY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""No link is followed, and nobody waits for whoever is at the other end of a pipe."""

MOST_KEPT = 8
"""Folders that are kept open; files come in order, so that all threads work in a few of them."""

CLOSED = -1
"""Descriptor of a closed folder. With `None`, the system would look in the working folder."""

LONGEST_PREFIX = 100
"""Characters of a file's name that the name of its unfinished version begins with."""


class Folder:
    """An open folder. What is done in it is done there, wherever its path leads to meanwhile."""

    def __init__(self, path: Path, descriptor: int | None, top: Path | None = None) -> None:
        self.path = path
        self._descriptor = descriptor
        self._top = top
        """What it must stay below, where names are not looked up in open folders."""
        self._shared_above: os.stat_result | None = None
        """A folder on the way to it that a group shares."""

    @classmethod
    def at(cls, path: Path, *, make: bool = False) -> Folder:
        """Open a folder by its path; links are followed, as whoever names it wants them to be."""
        try:
            return cls(path, _open_folder(path, make=make)) if IS_RELATIVE else cls._look_at(path)
        except FileNotFoundError:
            if not make or path.parent == path:
                raise
        with cls.at(path.parent, make=True) as parent:
            return parent.enter(path.name, make=True)

    @classmethod
    def _look_at(cls, path: Path, top: Path | None = None) -> Folder:
        if not stat.S_ISDIR(path.stat().st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
        return cls(path, None, top)

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close it; nothing can be done in it after that."""
        descriptor = self._descriptor
        if descriptor is None or descriptor == CLOSED:
            return
        self._descriptor = CLOSED
        with contextlib.suppress(OSError):
            os.close(descriptor)

    def enter(self, name: str, *, make: bool = False) -> Folder:
        """Open a folder right in this one, and make it if need be; a link is an error."""
        try:
            return self._enter(name, make=make)
        except FileNotFoundError:
            if not make:
                raise
        with contextlib.suppress(FileExistsError):
            os.mkdir(self._at(name), dir_fd=self._descriptor)
            made = self._enter(name, make=True)
            if made._descriptor is not None:
                self.share(made._descriptor)
            return made
        return self._enter(name, make=True)

    def _enter(self, name: str, *, make: bool) -> Folder:
        folder = self._open(name, make=make)
        # Another thread may have made it at this moment, and not have shared it yet.
        folder._shared_above = self._sharing()
        return folder

    def _open(self, name: str, *, make: bool) -> Folder:
        path = self.path / name
        try:
            if IS_RELATIVE:
                return Folder(path, _open_folder(name, os.O_NOFOLLOW, self._descriptor, make=make))
            if not stat.S_ISLNK(path.lstat().st_mode):
                return self._look_at(path, self._top)
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENOTDIR, errno.EMLINK):
                raise
            if not stat.S_ISLNK(self.status(name).st_mode):
                raise word_no_folder(path) from error
        raise LinkError(
            f"{path} is a symbolic link, and nothing is written there. Replace the link by a "
            "folder."
        )

    def _at(self, name: str) -> str:
        """Return what the system is given for a name in this folder."""
        return name if IS_RELATIVE else os.fspath(self.path / name)

    def status(self, name: str | None = None) -> os.stat_result:
        """Return what the system knows of a file in this folder, links not followed, or of it."""
        if name is not None:
            return os.stat(self._at(name), dir_fd=self._descriptor, follow_symlinks=False)
        return self.path.stat() if self._descriptor is None else os.fstat(self._descriptor)

    def list_names(self) -> list[str]:
        """List what is in the folder."""
        if not IS_RELATIVE:
            return [path.name for path in self.path.iterdir()]
        # Opened anew: several threads that read through one descriptor share their place in it.
        descriptor = os.open(".", FOLDER_FLAGS, dir_fd=self._descriptor)
        try:
            return os.listdir(descriptor)  # noqa: PTH208 - of a descriptor
        finally:
            os.close(descriptor)

    def open(self, name: str, mode: str) -> BinaryIO:
        """Open a plain file of one link right in this folder; an error for everything else."""
        return cast("BinaryIO", open(self._at(name), mode, opener=self._descriptor_of))

    def open_to_append(self, name: str) -> int:
        """Open a plain file to append to, and make it if need be, without a buffer.

        A file object asks the system six things more.
        """
        return self._descriptor_of(self._at(name), os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def _descriptor_of(self, name: str, flags: int) -> int:
        descriptor = os.open(name, flags | SAFELY, 0o666, dir_fd=self._descriptor)
        status = os.fstat(descriptor)
        # Whose it is, is not asked: on some network file systems our own files are another user's.
        if is_plain(status) and (IS_RELATIVE or os.path.samestat(status, os.lstat(name))):
            return descriptor
        os.close(descriptor)
        raise FileExistsError(errno.EEXIST, "somebody else put something in its place", name)

    def write(
        self,
        name: str,
        data: bytes | Iterable[bytes],
        *,
        durable: bool = True,
        begun_in: Folder | None = None,
    ) -> None:
        """Put bytes into a file, so that every reader sees the old file or the new one.

        A process that is killed meanwhile leaves its part here, or in the folder `begun_in`.
        """
        place = begun_in or self
        temporary = f".{name[:LONGEST_PREFIX]}.{uuid.uuid4().hex}"
        try:
            with place.open(temporary, "xb") as file:
                file.writelines([data] if isinstance(data, bytes) else data)
                file.flush()
                self.share(file.fileno())
                if durable:
                    os.fsync(file.fileno())
            place.replace(temporary, self, name)
        except BaseException:
            place.unlink(temporary)
            raise

    def replace(self, name: str, folder: Folder, new: str) -> None:
        """Rename a file, in place of what there is, perhaps into another folder."""
        folder.check()
        source, target = self._at(name), folder._at(new)
        os.replace(source, target, src_dir_fd=self._descriptor, dst_dir_fd=folder._descriptor)
        try:
            folder.check()
        except UnsafePathError:
            folder.unlink(new)
            raise

    def unlink(self, name: str) -> None:
        """Remove a file, if there is one that may be removed."""
        with contextlib.suppress(OSError):
            os.unlink(self._at(name), dir_fd=self._descriptor)

    def remove(self, name: str) -> None:
        """Remove a file, or say why not."""
        self.check()
        os.unlink(self._at(name), dir_fd=self._descriptor)

    def remove_folder(self, name: str) -> None:
        """Remove an empty folder."""
        self.check()
        os.rmdir(self._at(name), dir_fd=self._descriptor)

    def check(self) -> None:
        """Make sure that the path still leads here, where it alone says which folder is meant."""
        top = self._top
        if top is not None and not self.path.resolve().is_relative_to(top.resolve()):
            raise _leads_away(self.path, top)

    def share(self, descriptor: int) -> None:
        """Give what was just made in this folder to its group, where that may write to the folder.

        What the mask of permissions takes away counts for everybody else.
        """
        above = self._sharing()
        if os.name != "posix" or above is None:
            return
        status = os.fstat(descriptor)
        bits = 0o070 | above.st_mode & stat.S_ISGID if stat.S_ISDIR(status.st_mode) else 0o060
        with contextlib.suppress(OSError):  # who is not in that group cannot give to it
            if status.st_gid != above.st_gid:
                os.fchown(descriptor, -1, above.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(status.st_mode) | bits)

    def _sharing(self) -> os.stat_result | None:
        """Return what is known of the nearest folder, from this one on upwards, of a group."""
        status = self.status()
        everybody = stat.S_ISVTX | stat.S_IWOTH  # as /tmp has it: there, everything is one user's
        is_shared = status.st_mode & stat.S_IWGRP and status.st_mode & everybody != everybody
        return status if is_shared else self._shared_above


def _open_folder(
    path: str | Path, flags: int = 0, parent: int | None = None, *, make: bool = False
) -> int:
    """Open a folder; one in which nothing will be made need not be readable, if it can be entered.

    Its files can be read by their names then.
    """
    try:
        return os.open(path, FOLDER_FLAGS | flags, dir_fd=parent)
    except PermissionError:
        if make or not hasattr(os, "O_PATH"):  # Linux has it
            raise
        return os.open(path, FOLDER_FLAGS | flags | os.O_PATH, dir_fd=parent)


class LinkError(Exception):
    """A link stands where a folder belongs; it may lead elsewhere in the root."""


def _leads_away(path: Path, root: Path) -> UnsafePathError:
    return UnsafePathError(
        f"{path} lies behind a symbolic link that leads out of {root}; nothing is written there. "
        "Replace the link by a folder."
    )


def is_plain(status: os.stat_result) -> bool:
    """Say whether something is a plain file that has no other name."""
    return stat.S_ISREG(status.st_mode) and status.st_nlink <= 1


def open_below(root: Path, folder: str = "", *, make: bool = False, links: bool = True) -> Folder:
    """Open a folder below a root; with `links`, some may lead elsewhere in the root, none out."""
    try:
        return _descend(root, folder.split("/") if folder else [], make=make)
    except LinkError as error:
        if not links:
            raise UnsafePathError(str(error)) from None
    real, top = (Path(os.path.realpath(path)) for path in (root / folder, root))
    try:
        if real.is_relative_to(top):
            return _descend(root, real.relative_to(top).parts, make=make)
    except LinkError:
        pass  # put there since the real path was found, or it leads in a circle
    raise _leads_away(root / folder, root)


def _descend(root: Path, parts: Sequence[str], *, make: bool) -> Folder:
    """Open one folder after another; a link is an error."""
    folder = Folder.at(root, make=make)
    if not IS_RELATIVE:
        folder._top = root
    for part in parts:
        with folder as above:
            folder = above.enter(part, make=make)
    return folder


class FoldersBelow:
    """Folders below a root, the last of which stay open: files come folder by folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[Folder, list[str], list[os.stat_result]]] = OrderedDict()

    def open(self, relpath: str) -> Folder:
        """Open a folder for as long as somebody needs it, and make it if need be."""
        with self._lock:
            folder, way, known = self._kept.pop(relpath, (None, [], []))
            # Somebody may have moved it, or put a link on the way to it.
            if folder is None or not _is_same_way(way, known):
                folder = open_below(self._root, relpath, make=True)
                parts = folder.path.relative_to(self._root).parts
                way = [os.path.join(self._root, *parts[:n]) for n in range(len(parts) + 1)]  # noqa: PTH118
                try:
                    known = _look_along(way)
                except OSError:
                    folder.close()
                    raise
                if not (os.path.samestat(known[-1], folder.status()) and _has_no_link(known)):
                    return folder  # moved since it was opened: the next file opens it anew
            self._kept[relpath] = folder, way, known
            if len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)  # closed once nobody needs it
            return folder

    def close(self) -> None:
        """Keep none of them any longer."""
        with self._lock:
            self._kept.clear()


def _look_along(way: Sequence[str]) -> list[os.stat_result]:
    """Look at a root, which may be a link, and at the folders below it, which may not."""
    return [os.stat(way[0]), *map(os.lstat, way[1:])]  # noqa: PTH116 - `Path` is slow


def _has_no_link(known: Sequence[os.stat_result]) -> bool:
    return not any(stat.S_ISLNK(status.st_mode) for status in known)


def _is_same_way(way: Sequence[str], known: Sequence[os.stat_result]) -> bool:
    """Say whether a way still leads through the folders that are known."""
    try:
        return all(map(os.path.samestat, _look_along(way), known))
    except OSError:
        return False
