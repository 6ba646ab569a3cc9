"""Which files a layout has: those of the index and those on disk, by PyBIDS's rules."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from confusius_datasets._entities import DESCRIPTION_NAME, dataset_prefix

__all__ = ["Scan", "file_class", "files_by_dataset", "is_derivative", "scan", "whole"]

OTHER_INDEXES = frozenset(
    {"dataset_index.json", "dataverse_zip_index.json", "manifest.json", "s3_index.json"}
)
"""Files in a root that say where data come from, and are no part of them."""

RELEASES_INDEX = "s3_index.json"
"""A root with this file has folders of releases, which another program keeps there."""

CONFIGURATION = "layout_config.json"
"""File with settings for PyBIDS, which it does not index."""

_IGNORED = re.compile(r"^/(code|models|sourcedata|stimuli)|/\.")
"""What PyBIDS leaves out: four kinds of folders in a dataset's root, and whatever is hidden."""

_RELEASE = re.compile(r"\d[A-Za-z0-9._+-]*")


@dataclass(frozen=True, slots=True)
class Scan:
    """What was found below a root."""

    files: frozenset[str]
    folders: dict[str, int]


def files_by_dataset(relpaths: Iterable[str]) -> dict[str, list[str]]:
    """Sort files by the dataset they belong to: the raw one, or a derivative."""
    datasets: dict[str, list[str]] = {"": []}
    listed = sorted(relpaths)
    described = {
        path[: -len(DESCRIPTION_NAME) - 1]
        for path in listed
        if path.endswith(f"/{DESCRIPTION_NAME}")
    }
    for relpath in listed:
        prefix = dataset_prefix(relpath, described)
        inside = f"/{relpath[len(prefix) :].lstrip('/')}"
        if prefix:
            datasets.setdefault(prefix, [])
        elif relpath in OTHER_INDEXES:
            continue
        if not _is_left_out(inside):
            datasets[prefix].append(relpath)
    return datasets


def scan(
    root: Path, *, start: str = "", descend: Callable[[str], bool] = lambda folder: True
) -> Scan:
    """Walk the files on disk, but for hidden folders and releases that another program keeps."""
    releases = (root / RELEASES_INDEX).exists()
    files: set[str] = set()
    folders: dict[str, int] = {}
    pending = [(start, frozenset({os.path.realpath(root / start)}))]
    while pending:
        folder, above = pending.pop()
        try:
            # The time is taken first: a file that comes while the folder is read changes it.
            folders[folder] = (root / folder).stat().st_mtime_ns
            entries = list(os.scandir(root / folder))
        except OSError:
            continue
        for entry in entries:
            relpath = f"{folder}/{entry.name}" if folder else entry.name
            if not _is_folder(entry) or entry.name.endswith(".zarr"):
                files.add(relpath)
            elif not entry.name.startswith(".") and not (
                releases and not folder and _RELEASE.fullmatch(entry.name)
            ):
                real = os.path.realpath(entry.path) if entry.is_symlink() else ""
                if real not in above and descend(
                    relpath
                ):  # or a link to a parent would be walked for ever
                    pending.append((relpath, above | {real} if real else above))
    return Scan(frozenset(files), folders)


def is_derivative(root: Path) -> bool:
    """Say whether a dataset's own description, as far as it is on disk, calls it a derivative."""
    try:
        description = json.loads((root / DESCRIPTION_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(description, dict) and description.get("DatasetType") == "derivative"


def whole(relpath: str) -> str:
    """Return the Zarr store that a file is part of, or the file itself."""
    head, store, _ = relpath.partition(".zarr/")
    return f"{head}.zarr" if store else relpath


def file_class(name: str) -> str:
    """Say as which of PyBIDS's kinds of files a name is known."""
    # As `"".join(Path(name).suffixes)`, at a tenth of the cost.
    _, dot, rest = name.lstrip(".").partition(".")
    extension = "" if name.endswith(".") else dot + rest
    if extension.endswith((".nii", ".nii.gz", ".gii")):
        return "image_file"
    if extension in (".tsv", ".tsv.gz"):
        return "data_file"
    return "json_file" if extension == ".json" else "file"


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Say whether an entry of a folder is one itself, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_left_out(inside: str) -> bool:
    """Say whether PyBIDS leaves a path of a dataset out."""
    if _IGNORED.search(inside) or inside.endswith(f"/{CONFIGURATION}"):
        return True
    # Derivatives of a derivative are datasets of their own; PyBIDS enters neither.
    return inside.startswith("/derivatives/") and inside.count("/") > 2
