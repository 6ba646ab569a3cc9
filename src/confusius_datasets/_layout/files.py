"""Which files a layout has: those of the index and those on disk, by PyBIDS's rules."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from pathlib import Path

from confusius_datasets._entities import DESCRIPTION_NAME, dataset_prefix
from confusius_datasets._paths import INDEX_NAMES
from confusius_datasets._sidecars import read_sidecar
from confusius_datasets.errors import FileFormatError

__all__ = ["file_class", "files_by_dataset", "is_derivative", "whole"]

OTHER_INDEXES = INDEX_NAMES | {"manifest.json"}
"""Files in a root that say where data come from, and are no part of them."""

CONFIGURATION = "layout_config.json"
"""File with settings for PyBIDS, which it does not index."""

_IGNORED = re.compile(r"^/(code|models|sourcedata|stimuli)|/\.")
"""What PyBIDS leaves out: four kinds of folders in a dataset's root, and whatever is hidden."""


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


def is_derivative(root: Path) -> bool:
    """Say whether a dataset's own description, as far as it is on disk, calls it a derivative."""
    with contextlib.suppress(FileFormatError):
        return read_sidecar(root / DESCRIPTION_NAME).get("DatasetType") == "derivative"
    return False


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


def _is_left_out(inside: str) -> bool:
    """Say whether PyBIDS leaves a path of a dataset out."""
    if _IGNORED.search(inside) or inside.endswith(f"/{CONFIGURATION}"):
        return True
    # Derivatives of a derivative are datasets of their own; PyBIDS enters neither.
    return inside.startswith("/derivatives/") and inside.count("/") > 2
