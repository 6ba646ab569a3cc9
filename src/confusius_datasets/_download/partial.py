"""Partial files: what was received of a file, one writer each, hashed as it grows.

What an interrupted call left behind is resumed if nobody can be writing it any more, or else
copied: the file that is put at a final place has only ever been written by who puts it there. The
name of a partial file says of which file and content it is, and who writes it::

    <file>-<content>.<machine>-<process>-<random>.part

The content is a checksum, or the entity tag of a host without checksums.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import enum
import errno
import functools
import hashlib
import os
import queue
import re
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterable
from pathlib import Path

from confusius_datasets._cache import (
    Folder,
    FoldersBelow,
    hidden_folder,
    is_ours,
    open_hidden,
    read_blocks,
)
from confusius_datasets._download.wording import word_mismatch
from confusius_datasets._index import Checksum, FileEntry, Hash, new_hash
from confusius_datasets.errors import DownloadError

__all__ = [
    "BackgroundHash",
    "PartialFile",
    "find_leftovers",
    "open_partial_folder",
    "partial_folder",
]

PARTIAL = "partial"
"""Folder in the hidden one for partial files."""

ABANDONED_S = 600.0
"""Seconds after which a partial file of another machine counts as left behind."""

LARGE_NBYTES = 1 << 23
"""Bytes that are worth a thread to hash them, and a system call to have them put on disk."""

BATCH_NBYTES = 1 << 20
"""Bytes that are handed to a hashing thread at a time: each time, the thread has to wake."""

MOST_WAITING = 8
"""Batches that may wait to be hashed; whoever hands in more waits."""

LONGEST_ETAG = 90
"""Characters of an entity tag that fit into the name of a file."""

_NAME = re.compile(
    r"(?P<file>[0-9a-f]+)-(?P<content>[^.]*)\."
    r"(?P<writer>(?P<machine>[0-9a-f]+)-(?P<pid>[0-9]{1,10})-[0-9a-f]+)\."
)
"""How the name of a partial file begins."""


class _WriterState(enum.Enum):
    """What became of the writer of a partial file."""

    LIVE = enum.auto()
    DEAD = enum.auto()
    SILENT = enum.auto()  # on another machine, and has written nothing for long


_writing: set[str] = set()
"""Writers of this process. Module state: a process id cannot tell two threads apart."""


def partial_folder(root: Path) -> Path:
    """Return the folder of a dataset's partial files; it may not exist yet."""
    return hidden_folder(root) / PARTIAL


def open_partial_folder(root: Path, *, make: bool = False) -> Folder:
    """Open the folder of a dataset's partial files."""
    return open_hidden(root, PARTIAL, make=make)


def find_leftovers(folder: Folder, entries: Iterable[FileEntry]) -> dict[str, int]:
    """Find the files of which earlier calls left something, with how many bytes are of use."""
    found: dict[str, list[tuple[str, int]]] = {}
    for name in folder.list_names():
        file, _, content = name.partition(".")[0].partition("-")
        with contextlib.suppress(OSError):
            status = folder.status(name)
            found.setdefault(file, []).append((content, status.st_size if is_ours(status) else 0))
    left = {entry.relpath: (entry, found.get(_name_file(entry))) for entry in entries if found}
    return {
        relpath: max((size for content, size in sizes if _fits(content, entry)), default=0)
        for relpath, (entry, sizes) in left.items()
        if sizes
    }


class PartialFile:
    """A download in progress. On exit the partial file is kept if it can be resumed, else deleted.

    `etag` is the entity tag of the content it holds, where nothing but that vouches for it.
    """

    def __init__(self, folder: Folder, entry: FileEntry, *, leftover: bool = True) -> None:
        self.position = 0
        self.etag: str | None = None
        self._folder = folder
        self._entry = entry
        self._writer = f"{_name_machine()}-{os.getpid()}-{uuid.uuid4().hex[:12]}"
        self._settling = 0  # bytes that the system was told to put on disk
        self._algorithm = entry.checksum.algorithm if entry.checksum else ""
        self._hash = self._new_hash()
        self._name = self._name_for(_name_content(entry, None))
        self._file: int | None = None
        self._told: Checksum | None = None
        _writing.add(self._writer)
        try:
            self._open(leftover=leftover)
        except BaseException as error:
            self.__exit__(type(error))
            raise
        self.resumed = self.position > 0

    def _open(self, *, leftover: bool) -> None:
        """Open the file, with what an earlier call left of it."""
        claimed = self._claim() if leftover else None
        self._file = self._folder.open_to_append(self._name)
        if claimed is not None:
            self._adopt(claimed)
        self._hash = self._hash_beside(self._hash)

    def __enter__(self) -> PartialFile:
        return self

    @property
    def path(self) -> Path:
        """Where the bytes are."""
        return self._folder.path / self._name

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._end_hash()
        self._close()
        can_be_resumed = self._entry.checksum is not None or self.etag is not None
        if not (can_be_resumed and self.position):
            self._folder.unlink(self._name)
        _writing.discard(self._writer)

    def write(self, data: bytes) -> None:
        """Append bytes."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
        if self._hash is not None:
            self._hash.update(data)
        self.position += len(data)
        if self.position - self._settling >= LARGE_NBYTES:
            self._settle()

    def note_etag(self, etag: str | None) -> None:
        """Note in the name of which content the bytes will be, before the first of them comes."""
        if self._entry.checksum is not None or self.position or etag == self.etag:
            return
        content = _name_content(self._entry, etag)
        self.etag = etag if _read_etag(content) is not None else None
        self._close()  # Windows renames no open file
        renamed = self._name_for(content)
        with contextlib.suppress(FileNotFoundError):  # somebody clears the folder
            self._folder.replace(self._name, self._folder, renamed)
        self._name = renamed
        self._file = self._folder.open_to_append(renamed)

    def note_checksum(self, checksum: Checksum | None) -> None:
        """Note what the host says the whole hashes to, where the index says nothing."""
        self._told = checksum if self._entry.checksum is None else None

    def restart(self) -> None:
        """Begin anew."""
        os.ftruncate(self._descriptor, 0)
        self._end_hash()
        self._hash = self._hash_beside(self._new_hash())
        self.position = self._settling = 0
        self.resumed = False

    def check(self) -> None:
        """Make sure that the bytes are those the index promises."""
        entry = self._entry
        if entry.size is not None and self.position != entry.size:
            raise word_mismatch(entry, f"{entry.size} bytes", f"{self.position} bytes")
        expected, authority = entry.checksum, "the index"
        if self._hash is not None:
            found = Checksum(self._algorithm, self._hash.hexdigest())
        elif self._told is not None:
            expected, found = self._told, self._hash_again(self._told.algorithm)
            authority = "its host"
        else:
            return
        if found != expected:
            raise word_mismatch(entry, str(expected), str(found), authority=authority)

    def _hash_again(self, algorithm: str) -> Checksum:
        """Hash what is on disk; nobody knew with what to hash it when it came."""
        hash_ = new_hash(algorithm, self.position)
        with self._folder.open(self._name, "rb") as file:
            for block in read_blocks(file):
                hash_.update(block)
        return Checksum(algorithm, hash_.hexdigest())

    def place(self, targets: FoldersBelow) -> None:
        """Put the whole file at its place."""
        os.fsync(self._descriptor)
        parent, _, name = self._entry.relpath.rpartition("/")
        try:
            target = targets.open(parent)
            target.share(self._descriptor)
            self._close()  # Windows renames no open file
            self._folder.replace(self._name, target, name)
        except FileNotFoundError as error:
            if self._is_left():
                raise
            raise DownloadError(
                f"{self._entry.relpath}: its partial file {self.path} was removed by somebody "
                "else. Nothing was written. Call again.",
                relpath=self._entry.relpath,
            ) from error

    @property
    def _descriptor(self) -> int:
        """The number of the open file."""
        if self._file is None:
            raise OSError(errno.EBADF, "the partial file is closed", str(self.path))
        return self._file

    def _close(self) -> None:
        """Close the file, if it is open."""
        descriptor, self._file = self._file, None
        if descriptor is not None:
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _is_left(self) -> bool:
        """Say whether the partial file is still there."""
        with contextlib.suppress(FileNotFoundError):
            return bool(self._folder.status(self._name))
        return False

    def _name_for(self, content: str) -> str:
        """Return the name of this writer's file of some content."""
        return f"{_name_file(self._entry)}-{content}.{self._writer}.part"

    def _settle(self) -> None:
        """Let the system begin to put bytes on disk, so that the last flush has not all of them."""
        if sys.platform == "linux":
            # Linux takes this as a reason to write the pages now; nearly all stay in memory too.
            behind = self.position - self._settling
            with contextlib.suppress(OSError):  # it is only advice
                os.posix_fadvise(self._descriptor, self._settling, behind, os.POSIX_FADV_DONTNEED)
        self._settling = self.position

    def _new_hash(self) -> Hash | None:
        """Return a fresh hash, if there is something to compare it with."""
        return new_hash(self._algorithm, self._entry.size) if self._algorithm else None

    def _hash_beside(self, hash_: Hash | None) -> Hash | None:
        """Let a thread do the hashing, if the file is large enough to gain from it."""
        is_large = self._entry.size is not None and self._entry.size > LARGE_NBYTES
        return BackgroundHash(hash_) if hash_ is not None and is_large else hash_

    def _end_hash(self) -> None:
        """Let go of the thread that hashes, if there is one."""
        if isinstance(self._hash, BackgroundHash):
            self._hash.close()

    def _claim(self) -> str | None:
        """Take over the largest leftover that nobody is writing, and clear others away.

        Returns the one that must be copied, since its writer may be alive on another machine.
        """
        folder, file = self._folder, f"{_name_file(self._entry)}-"
        names = [name for name in folder.list_names() if name.startswith(file)]
        found = [(name, _status_of(folder, name)) for name in names]
        to_copy: str | None = None
        claimed = False
        for name, status in sorted(found, key=lambda each: -each[1].st_size if each[1] else 1):
            state = _state_of(name, status)
            if status is None or state is _WriterState.LIVE:
                continue
            content = name.partition(".")[0].removeprefix(file)
            with contextlib.suppress(OSError):  # another process was faster
                if claimed or not self._is_usable(content, state, status):
                    folder.remove(name)
                elif state is _WriterState.DEAD:
                    folder.replace(name, folder, self._name_for(content))
                    self._name = self._name_for(content)
                    self.etag = None if self._algorithm else _read_etag(content)
                    self._read_back()
                    claimed = True
                else:
                    to_copy = f"{self._name.removesuffix('.part')}.claimed.part"
                    folder.replace(name, folder, to_copy)
                    claimed = True
        return to_copy

    def _is_usable(self, content: str, state: _WriterState, status: os.stat_result) -> bool:
        """Say whether a leftover can be gone on with."""
        # No checksum would notice bytes that a crash of the machine lost: only the same one, not
        # restarted since, vouches for them.
        is_vouched = self._algorithm or state is _WriterState.DEAD
        is_too_long = status.st_size > (self._entry.size or status.st_size)
        fits = _fits(content, self._entry) and is_ours(status)
        return bool(fits and is_vouched and not is_too_long)

    def _read_back(self) -> None:
        """Hash what an earlier call left."""
        if self._hash is None:
            self.position = self._folder.status(self._name).st_size
            return
        with self._folder.open(self._name, "rb") as file:
            for block in read_blocks(file):
                self._hash.update(block)
                self.position += len(block)

    def _adopt(self, claimed: str) -> None:
        """Copy a leftover whose writer may not be dead, and clear it away."""
        with self._folder.open(claimed, "rb") as file:
            for block in read_blocks(file):
                self.write(block)
        self._folder.unlink(claimed)


class BackgroundHash:
    """A hash that is computed in a thread of its own.

    From a near host, a large file takes longer to hash than to arrive.
    """

    def __init__(self, inner: Hash) -> None:
        self._inner = inner
        self._batch: list[bytes] = []
        self._nbytes = 0
        self._waiting: queue.Queue[list[bytes] | None] = queue.Queue(MOST_WAITING)
        self._thread = threading.Thread(target=self._run, name="download-hash", daemon=True)
        self._thread.start()

    def update(self, data: bytes, /) -> None:
        """Take bytes in."""
        self._batch.append(data)
        self._nbytes += len(data)
        if self._nbytes >= BATCH_NBYTES:
            self._hand_over()

    def hexdigest(self) -> str:
        """Return the digest of all bytes until now, in lower-case hexadecimal."""
        self._hand_over()
        self._waiting.join()
        return self._inner.hexdigest()

    def close(self) -> None:
        """End the thread; nothing can be taken in after it."""
        self._waiting.put(None)
        self._thread.join()

    def _hand_over(self) -> None:
        """Let the thread have what has been taken in."""
        if self._batch:
            self._waiting.put(self._batch)
            self._batch, self._nbytes = [], 0

    def _run(self) -> None:
        """Hash until told to end."""
        while (batch := self._waiting.get()) is not None:
            for data in batch:
                self._inner.update(data)
            self._waiting.task_done()


def _name_file(entry: FileEntry) -> str:
    """Return the part of a partial file's name that says of which file it is."""
    return hashlib.sha1(entry.relpath.encode(), usedforsecurity=False).hexdigest()[:20]


def _name_content(entry: FileEntry, etag: str | None) -> str:
    """Return the part of a partial file's name that says of which content it is."""
    if entry.checksum is not None:
        return entry.checksum.hexdigest[:12]
    if etag is None or len(etag) > LONGEST_ETAG or not etag.isascii():
        return "unknown"
    return f"etag_{base64.urlsafe_b64encode(etag.encode()).decode()}"


def _read_etag(content: str) -> str | None:
    """Return the entity tag that a partial file's name has, if it has one."""
    if not content.startswith("etag_"):
        return None
    try:
        return base64.urlsafe_b64decode(content.removeprefix("etag_")).decode("ascii")
    except (binascii.Error, ValueError):
        return None


def _fits(content: str, entry: FileEntry) -> bool:
    """Say whether a leftover can be resumed: what vouches for it is what the index promises."""
    if entry.checksum is not None:
        return content == _name_content(entry, None)
    etag = _read_etag(content)
    return etag is not None and entry.etag in (None, etag)


def _status_of(folder: Folder, name: str) -> os.stat_result | None:
    """Return what is known of a file that may be gone."""
    with contextlib.suppress(OSError):
        return folder.status(name)
    return None


@functools.cache
def _name_machine() -> str:
    """Return a name of this machine, and of the part of it in which process ids mean the same."""
    facts = [socket.gethostname(), str(uuid.getnode())]
    with contextlib.suppress(OSError):
        facts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii"))
        facts.append(str(os.stat("/proc/self/ns/pid").st_ino))  # noqa: PTH116 - as Path, resolved
    return hashlib.sha1("\n".join(facts).encode(), usedforsecurity=False).hexdigest()[:12]


def _state_of(name: str, status: os.stat_result | None) -> _WriterState:
    """Say what became of the writer of a partial file, as far as can be known."""
    parts = _NAME.match(name)
    if status is None or (parts and parts["writer"] in _writing):
        return _WriterState.LIVE
    if os.name == "nt" or not parts:
        return _WriterState.DEAD  # files that are open cannot be renamed there, others are not ours
    if parts["machine"] == _name_machine():
        pid = int(parts["pid"])
        is_other = pid != os.getpid() and _is_running(pid)
        return _WriterState.LIVE if is_other else _WriterState.DEAD
    is_old = time.time() - status.st_mtime > ABANDONED_S
    return _WriterState.SILENT if is_old else _WriterState.LIVE


def _is_running(pid: int) -> bool:
    """Say whether there is a process of that id."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True  # somebody else's
    return True
