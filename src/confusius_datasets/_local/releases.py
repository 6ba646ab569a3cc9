"""The releases of a dataset on disk: a folder each, and beside them the index of the one in use.

That index is what ConfUSIus reads and writes, so that either package uses what the other has.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

from confusius_datasets._cache import is_here
from confusius_datasets._index import DatasetIndex
from confusius_datasets._sources import S3Source, read_index_file, write_index_file
from confusius_datasets.errors import CacheError, DatasetIndexError

__all__ = ["select_release", "selected_version", "take_over_release"]


def selected_version(releases: S3Source, folder: Path) -> str | None:
    """Return the release in use, if there is one."""
    selected = _read_selected(releases, folder)
    return selected[0] if selected else None


def take_over_release(release: S3Source, root: Path) -> None:
    """Take the index of a release from beside its folder, where ConfUSIus has put it."""
    if is_here(root / release.index_name):
        return
    selected = _read_selected(release, root.parent)
    if selected and selected[0] == release.version:
        with contextlib.suppress(CacheError):
            write_index_file(release, root, selected[1])


def select_release(
    release: S3Source, root: Path, index: DatasetIndex, *, replaced: bool = False
) -> None:
    """Make a release the one in use; a release that was asked for by name replaces no other."""
    selected = selected_version(release, root.parent)
    if selected is None or (replaced and selected != release.version):
        with contextlib.suppress(CacheError):
            write_index_file(replace(release, version=None), root.parent, index)


def _read_selected(release: S3Source, folder: Path) -> tuple[str, DatasetIndex] | None:
    """Read the index beside the folders of releases; a damaged one is as good as none."""
    try:
        index = read_index_file(replace(release, version=None), folder)
    except (OSError, DatasetIndexError):
        return None
    versions = {entry.locators.get(release.host, "") for entry in index.values()}
    return (versions.pop(), index) if len(versions) == 1 else None
