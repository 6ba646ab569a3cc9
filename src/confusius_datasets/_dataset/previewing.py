"""The first frames of a recording that is not here, with its sidecars; nothing is stored."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from confusius_datasets._cache import is_here
from confusius_datasets._io import preview
from confusius_datasets._sidecars import merge_sidecars, read_sidecar
from confusius_datasets.errors import ChecksumError, FileFormatError, SourceError

if TYPE_CHECKING:
    import xarray as xr

    from confusius_datasets._index import FileEntry
    from confusius_datasets._local import LocalCopy, RemoteFiles

__all__ = ["preview_remote"]

LARGEST_SIDECAR = 1 << 24
"""Bytes at which a sidecar is cut off, whatever the host says its size is."""


def preview_remote(local: LocalCopy, relpath: str, frames: int) -> xr.DataArray:
    """Read header, sidecars and first frames of a file from a folder of others, or its host."""
    remote = local.remote_files()
    fields = merge_sidecars(_sidecars(local, remote, relpath))
    while True:
        try:
            return preview(relpath, fields, partial(remote.read, relpath), frames=frames)
        except (FileFormatError, SourceError) as error:
            if not remote.give_up(relpath, error):
                raise


def _sidecars(local: LocalCopy, remote: RemoteFiles, relpath: str) -> Iterator[dict[str, Any]]:
    """Read the sidecars that apply to a file, the most specific last, from disk or elsewhere."""
    snapshot = local.snapshot
    with tempfile.TemporaryDirectory(prefix="confusius-") as folder:
        for sidecar in snapshot.with_sidecars([relpath]):
            if sidecar == relpath:
                continue
            if is_here(local.root / sidecar):
                yield read_sidecar(local.root / sidecar)
            else:
                yield _read_remote(remote, snapshot.index[sidecar], Path(folder))


def _read_remote(remote: RemoteFiles, entry: FileEntry, folder: Path) -> dict[str, Any]:
    """Read a sidecar that is not here; unlike a part of a file, it can be told by its hash."""
    from confusius_datasets._download import FileStatus, verify_files

    relpath = entry.relpath
    path = folder / relpath
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        path.write_bytes(b"".join(remote.read(relpath, 0, LARGEST_SIDECAR)))
        if verify_files([entry], folder)[relpath] is FileStatus.OK:
            break
        # The host has the last word, whatever its index says.
        if not remote.give_up(relpath, ChecksumError(f"{relpath} is not what the index says.")):
            break
    return read_sidecar(path)
