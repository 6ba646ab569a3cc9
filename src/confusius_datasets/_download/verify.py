"""Files on disk against what the index says of them."""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from confusius_datasets._cache import open_regular, read_blocks, word_unreadable
from confusius_datasets._index import Checksum, FileEntry, new_hash

__all__ = ["FileStatus", "verify_files"]


AT_ONCE = 100
"""Files that wait to be hashed; of more, not even the entries are held."""


class FileStatus(enum.StrEnum):
    """What a file on disk is, compared with its entry."""

    OK = "ok"
    MISSING = "missing"
    CORRUPT = "corrupt"
    OUTDATED = "outdated"  # a whole older version
    NOT_IN_INDEX = "not in index"


def verify_files(
    entries: Iterable[FileEntry], root: Path, *, workers: int = 4
) -> dict[str, FileStatus]:
    """Hash files on disk again and compare them with what the index says."""
    statuses: dict[str, FileStatus] = {}
    waiting: deque[tuple[str, Future[FileStatus]]] = deque()

    def take_first() -> None:
        relpath, status = waiting.popleft()
        statuses[relpath] = status.result()

    with ThreadPoolExecutor(workers, thread_name_prefix="verify") as pool:
        for entry in entries:
            path = root / entry.relpath
            statuses[entry.relpath] = FileStatus.MISSING  # it has its place in the order now
            if _is_here(path):
                waiting.append((entry.relpath, pool.submit(_verify, entry, path)))
            if len(waiting) > AT_ONCE:
                take_first()
        while waiting:
            take_first()
    return statuses


def _is_here(path: Path) -> bool:
    """Say whether something is at a path; what may not be looked at is an error, not missing."""
    try:
        path.stat()
    except PermissionError as error:
        raise word_unreadable(path, error) from error
    except OSError:
        return False
    return True


def _verify(entry: FileEntry, path: Path) -> FileStatus:
    """Compare one file with its entry."""
    try:
        size = path.stat().st_size
    except OSError:
        return FileStatus.MISSING
    if not path.is_file():
        return FileStatus.CORRUPT  # a folder in its place
    expected = [entry.checksum, entry.local_checksum]
    try:
        found = _hash(path, {checksum.algorithm for checksum in expected if checksum}, size)
    except OSError:
        return FileStatus.CORRUPT  # what cannot be read is of no use
    if _is_as(found, size, entry.checksum, entry.size):
        return FileStatus.OK
    if entry.local is not None and _is_as(found, size, entry.local_checksum, entry.local.size):
        return FileStatus.OUTDATED
    return FileStatus.CORRUPT


def _hash(path: Path, algorithms: set[str], size: int) -> set[Checksum]:
    """Hash a file, in one go for all algorithms."""
    hashes = {algorithm: new_hash(algorithm, size) for algorithm in algorithms}
    if hashes:
        with open_regular(path) as file:
            for block in read_blocks(file):
                for digest in hashes.values():
                    digest.update(block)
    return {Checksum(algorithm, digest.hexdigest()) for algorithm, digest in hashes.items()}


def _is_as(found: set[Checksum], size: int, checksum: Checksum | None, nbytes: int | None) -> bool:
    """Say whether a file is one version, by its checksum or else by its size."""
    return checksum in found if checksum is not None else nbytes in (None, size)
