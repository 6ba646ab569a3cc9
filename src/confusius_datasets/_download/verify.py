"""Files on disk against what the index says of them."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from confusius_datasets._download.hashes import new_hash, read_blocks
from confusius_datasets._index import Checksum, FileEntry

__all__ = ["verify_files"]


def verify_files(entries: Iterable[FileEntry], root: Path, *, workers: int = 4) -> dict[str, str]:
    """Hash files on disk again and compare them with what the index says."""
    listed = list(entries)
    with ThreadPoolExecutor(workers, thread_name_prefix="verify") as pool:
        statuses = pool.map(lambda entry: _verify(entry, root / entry.relpath), listed)
        return {entry.relpath: status for entry, status in zip(listed, statuses, strict=True)}


def _verify(entry: FileEntry, path: Path) -> str:
    """Compare one file with its entry."""
    try:
        size = path.stat().st_size
    except OSError:
        return "missing"
    if not path.is_file():
        return "corrupt"  # a folder in its place
    if entry.checksum is None:
        return "ok" if entry.size in (None, size) else "corrupt"
    try:
        return _verify_checksum(entry, path)
    except OSError:
        return "corrupt"  # what cannot be read is of no use


def _verify_checksum(entry: FileEntry, path: Path) -> str:
    """Hash a file, in one go for all algorithms of which there is something to compare with."""
    expected = [checksum for checksum in (entry.checksum, entry.superseded) if checksum is not None]
    hashes = {checksum.algorithm: new_hash(checksum.algorithm) for checksum in expected}
    for block in read_blocks(path):
        for digest in hashes.values():
            digest.update(block)
    found = {Checksum(algorithm, digest.hexdigest()) for algorithm, digest in hashes.items()}
    if entry.checksum in found:
        return "ok"
    return "outdated" if entry.superseded in found else "corrupt"
