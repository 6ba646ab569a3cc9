"""Partial files: bytes on their way, each file with one writer, hashed as it grows.

What an interrupted call left behind is gone on with, if nobody can be writing it any more, or else
copied: the file that is put at a final place has only ever been written by who puts it there.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterable
from pathlib import Path

from confusius_datasets._cache import current_umask, hidden_folder
from confusius_datasets._download.background import BackgroundHash
from confusius_datasets._download.hashes import Hash, new_hash, read_blocks
from confusius_datasets._download.wording import word_mismatch
from confusius_datasets._index import Checksum, FileEntry
from confusius_datasets._paths import resolve_below
from confusius_datasets.errors import DownloadError

__all__ = ["PartialFile", "find_leftovers", "make_folders", "partial_folder"]

ABANDONED_S = 600.0
"""Seconds after which a partial file of another machine counts as left behind."""

LARGE = 1 << 23
"""Bytes that are worth a thread to hash them, and a system call to have them put on disk."""

GROUP_WRITE = 0o020
"""Permission bit of a folder that a group shares."""

_here: set[str] = set()
_here_lock = threading.Lock()


def partial_folder(root: Path) -> Path:
    """Return the folder of a dataset's partial files; it may not exist yet."""
    return hidden_folder(root) / "partial"


def find_leftovers(folder: Path, entries: Iterable[FileEntry]) -> dict[str, int]:
    """Find what earlier calls left behind of some files."""
    largest: dict[str, int] = {}
    with contextlib.suppress(OSError), os.scandir(folder) as listing:
        for item in listing:
            key = item.name.partition(".")[0]
            with contextlib.suppress(OSError):
                largest[key] = max(largest.get(key, 0), item.stat().st_size)
    if not largest:
        return {}
    return {entry.relpath: largest[_key(entry)] for entry in entries if _key(entry) in largest}


class PartialFile:
    """A file on its way; a context manager that keeps what can be gone on with."""

    def __init__(self, folder: Path, entry: FileEntry, *, leftover: bool = True) -> None:
        self.path = (
            folder / f"{_key(entry)}.{_machine()}-{os.getpid()}-{uuid.uuid4().hex[:12]}.part"
        )
        self.position = 0
        self._settling = 0  # bytes that the system was told to put on disk
        self._entry = entry
        self._algorithm = entry.checksum.algorithm if entry.checksum else "md5"
        self._hash: Hash = new_hash(self._algorithm, entry.size)
        with _here_lock:
            _here.add(self.path.name)
        # Without a checksum nothing would vouch for bytes of an earlier call.
        claimed = self._claim(folder) if leftover else None
        self._file = self.path.open("ab")
        if claimed is not None:
            self._adopt(claimed)
        self._hash = self._beside(self._hash)
        self.resumed = self.position > 0

    def __enter__(self) -> PartialFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._end_hash()
        with contextlib.suppress(OSError):  # a full disk refuses what was not flushed yet
            self._file.close()
        if self._entry.checksum is None or not self.position:
            self.path.unlink(missing_ok=True)
        with _here_lock:
            _here.discard(self.path.name)

    def write(self, data: bytes) -> None:
        """Append bytes."""
        self._file.write(data)
        self._hash.update(data)
        self.position += len(data)
        if self.position - self._settling >= LARGE:
            self._settle()

    def _settle(self) -> None:
        """Let the system begin to put bytes on disk, so that the last flush has not all of them."""
        if sys.platform == "linux":
            # Linux takes this as a reason to write the pages now; nearly all stay in memory too.
            behind = self.position - self._settling
            with contextlib.suppress(OSError):  # it is only advice
                os.posix_fadvise(
                    self._file.fileno(), self._settling, behind, os.POSIX_FADV_DONTNEED
                )
        self._settling = self.position

    def _beside(self, hash_: Hash) -> Hash:
        """Let a thread do the hashing, if the file is large enough to gain from it."""
        size = self._entry.size
        return BackgroundHash(hash_) if size is not None and size > LARGE else hash_

    def _end_hash(self) -> None:
        """Let go of the thread that hashes, if there is one."""
        if isinstance(self._hash, BackgroundHash):
            self._hash.close()

    def flush(self) -> None:
        """Hand what was written to the system, so that it outlives this process."""
        self._file.flush()

    def restart(self) -> None:
        """Begin anew."""
        self.flush()
        self._file.truncate(0)
        self._end_hash()
        self._hash = self._beside(new_hash(self._algorithm, self._entry.size))
        self.position = self._settling = 0
        self.resumed = False

    def check(self) -> None:
        """Make sure that the bytes are those the index promises."""
        self.flush()
        entry = self._entry
        if entry.size is not None and self.position != entry.size:
            raise word_mismatch(entry, f"{entry.size} bytes", f"{self.position} bytes")
        found = Checksum(self._algorithm, self._hash.hexdigest())
        if entry.checksum is not None and found != entry.checksum:
            raise word_mismatch(entry, str(entry.checksum), str(found))

    def place(self, root: Path) -> None:
        """Put the whole file at its place."""
        self.flush()
        os.fsync(self._file.fileno())
        target = resolve_below(root, self._entry.relpath)
        shared = make_folders(root, target.parent)
        if shared and os.name == "posix":
            os.fchmod(self._file.fileno(), 0o660 | (0o666 & ~current_umask()))
        self._file.close()
        try:
            self.path.replace(target)
        except FileNotFoundError as error:
            if self.path.exists():
                raise
            raise DownloadError(
                f"{self._entry.relpath}: its partial file {self.path} was removed by somebody "
                "else. Nothing was written. Call again.",
                relpath=self._entry.relpath,
            ) from error

    def _claim(self, folder: Path) -> Path | None:
        """Take over the largest leftover that nobody is writing, and clear smaller ones away."""
        file = _key(self._entry).partition("-")[0]
        with os.scandir(folder) as listing:
            names = [item.name for item in listing if item.name.startswith(f"{file}-")]
        found = [folder / name for name in names if name != self.path.name]
        chosen: Path | None = None
        for path in sorted(found, key=_size_of, reverse=True):
            state = _state_of(path)
            if state == "live":
                continue
            of_use = path.name.startswith(f"{_key(self._entry)}.") and self._entry.checksum
            with contextlib.suppress(OSError):  # another process was faster
                if not of_use or chosen is not None or self.path.exists():
                    path.unlink()
                elif state == "dead":
                    path.rename(self.path)
                    self._read_back(self.path)
                else:
                    chosen = path.rename(self.path.with_suffix(".claimed.part"))
        return chosen

    def _read_back(self, path: Path) -> None:
        """Hash what an earlier call left."""
        for block in read_blocks(path):
            self._hash.update(block)
            self.position += len(block)

    def _adopt(self, claimed: Path) -> None:
        """Copy a leftover whose writer may not be dead, and clear it away."""
        for block in read_blocks(claimed):
            self.write(block)
        claimed.unlink(missing_ok=True)


def _key(entry: FileEntry) -> str:
    """Return the part of a partial file's name that says which content it is of."""
    content = entry.checksum.hexdigest[:12] if entry.checksum else "unknown"
    return (
        f"{hashlib.sha1(entry.relpath.encode(), usedforsecurity=False).hexdigest()[:20]}-{content}"
    )


def _size_of(path: Path) -> int:
    """Return the size of a file that may be gone."""
    try:
        return path.stat().st_size
    except OSError:
        return -1


@functools.cache
def _machine() -> str:
    """Return a name of this machine, and of the part of it in which process ids mean the same."""
    facts = [socket.gethostname(), str(uuid.getnode())]
    with contextlib.suppress(OSError):
        facts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii"))
        facts.append(str(os.stat("/proc/self/ns/pid").st_ino))  # noqa: PTH116 - as Path, resolved
    return hashlib.sha1("\n".join(facts).encode(), usedforsecurity=False).hexdigest()[:12]


def _state_of(path: Path) -> str:
    """Say whether the writer of a partial file is `live`, `dead`, or has been `silent` for long."""
    if path.name in _here:
        return "live"
    machine, _, rest = path.name.split(".")[1].partition("-")
    pid = rest.partition("-")[0]
    if os.name == "nt":
        return "dead"  # files that are open cannot be renamed there
    if machine == _machine() and pid.isdigit():
        return "live" if int(pid) != os.getpid() and _is_running(int(pid)) else "dead"
    try:
        return "silent" if time.time() - path.stat().st_mtime > ABANDONED_S else "live"
    except OSError:
        return "live"


def _is_running(pid: int) -> bool:
    """Say whether there is a process of that id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # somebody else's
    return True


def make_folders(root: Path, folder: Path) -> bool:
    """Make a folder below a root, writable by the group where its parent is."""
    if folder.is_dir():
        return bool(folder.stat().st_mode & GROUP_WRITE)
    if folder == root or folder.parent == folder:
        folder.mkdir(parents=True, exist_ok=True)
        return bool(folder.stat().st_mode & GROUP_WRITE)
    shared = make_folders(root, folder.parent)
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
        if shared:
            folder.chmod(folder.stat().st_mode | 0o070)
    return shared
