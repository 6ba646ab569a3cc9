"""The first frames of a recording on a host, with its sidecars; nothing is stored."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from confusius_datasets._cache import is_here
from confusius_datasets._io import preview
from confusius_datasets._sidecars import merge_sidecars, read_sidecar

if TYPE_CHECKING:
    import xarray as xr

    from confusius_datasets._local import LocalCopy

__all__ = ["preview_remote"]

LARGEST_SIDECAR = 1 << 24
"""Bytes at which a sidecar is cut off, whatever the host says its size is."""


def preview_remote(local: LocalCopy, relpath: str, frames: int) -> xr.DataArray:
    """Read header, sidecars and first frames of a file from its host."""
    fields = merge_sidecars(_sidecars(local, relpath))
    return preview(relpath, fields, partial(local.remote_files().read, relpath), frames=frames)


def _sidecars(local: LocalCopy, relpath: str) -> Iterator[dict[str, Any]]:
    """Read the sidecars that apply to a file, the most specific last, from disk or host."""
    remote = local.remote_files()
    with tempfile.TemporaryDirectory(prefix="confusius-") as folder:
        for sidecar in local.snapshot.with_sidecars([relpath]):
            if sidecar == relpath:
                continue
            path = local.root / sidecar
            if not is_here(path):
                path = Path(folder, Path(sidecar).name)
                path.write_bytes(b"".join(remote.read(sidecar, 0, LARGEST_SIDECAR)))
            yield read_sidecar(path)
