"""Which sidecars apply to a file: this package's rule and PyBIDS's, each stated on its own.

Neither uses the package's own function, so that the tests can compare it with them.
"""

from __future__ import annotations

import functools
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from bids.layout.models import Config
from bids.utils import natural_sort

from confusius_datasets._layout.config import pybids_config

NUMBERED = {"run", "echo", "flip", "inv", "chunk", "pose", "split"}
"""Keys whose values are numbers, as the design says."""

Folders = Mapping[str, list[str]]
"""The files of a tree by the folder they lie in."""


def by_folder(relpaths: Iterable[str]) -> Folders:
    """Sort files by the folder they lie in."""
    folders = defaultdict(list)
    for path in relpaths:
        folders[str(PurePosixPath(path).parent)].append(path)
    return folders


@functools.cache
def parts_of_name(relpath: str) -> tuple[frozenset[tuple[str, Any]], str, str]:
    """Cut a name into pairs of key and value, suffix and extension."""
    stem, _, extension = PurePosixPath(relpath).name.partition(".")
    *pairs, suffix = stem.split("_")
    found = set()
    for key, _, value in (pair.partition("-") for pair in pairs):
        found.add((key, int(value) if key in NUMBERED and value.isdigit() else value))
    return frozenset(found), suffix, f".{extension}"


def folders_up(relpath: str, folders: Folders) -> Iterator[str]:
    """List the folders of a file up to the root of its dataset, the nearest first."""

    def is_described(folder: PurePosixPath) -> bool:
        return str(folder / "dataset_description.json") in folders.get(str(folder), [])

    for folder in PurePosixPath(relpath).parents:
        yield str(folder)
        above, top = folder.parent, folder.parent.parent
        is_derivative = above.name == "derivatives" and (str(top) == "." or is_described(top))
        if is_described(folder) or (is_derivative and not is_described(above)):
            return


def sidecars_by_rule(relpath: str, folders: Folders, extension: str = ".json") -> list[str]:
    """List the sidecars of a file by the rule of this package, the most specific last."""
    pairs, suffix, _ = parts_of_name(relpath)
    found: list[str] = []
    for folder in folders_up(relpath, folders):
        applying = []
        for path in natural_sort(sorted(folders.get(folder, [])))[::-1]:
            theirs = parts_of_name(path)
            if theirs[0] <= pairs and theirs[1:] == (suffix, extension):
                applying.append(path)
        stem = PurePosixPath(relpath).name.partition(".")[0]
        applying.sort(key=lambda path: PurePosixPath(path).name.partition(".")[0] == stem)
        applying.sort(key=lambda path: len(parts_of_name(path)[0]))
        found = applying + found
    return found


RAW = tuple(Config.load(pybids_config()).entities.values())
DERIVED = (*RAW, *Config.load("derivatives").entities.values())


@functools.cache
def entities_by_pybids(relpath: str, *, is_derived: bool) -> dict[str, Any]:
    """Read the entities of a path with PyBIDS's patterns."""
    known = DERIVED if is_derived else RAW
    matches = {one.name: (one, one.regex.search(f"/{relpath}")) for one in known}
    return {name: one._astype(match[1]) for name, (one, match) in matches.items() if match}


def sidecars_by_pybids(
    relpath: str, folders: Folders, extension: str = ".json", *, is_derived: bool = False
) -> list[str]:
    """List the sidecars that PyBIDS takes for a file of the same dataset, the last word last."""
    own = dict(entities_by_pybids(relpath, is_derived=is_derived))
    if "suffix" not in own or own.pop("extension", ".json") == ".json":
        return []
    found = []
    for folder in map(str, PurePosixPath(relpath).parents):
        for path in natural_sort(folders.get(folder, [])):
            theirs = dict(entities_by_pybids(path, is_derived=is_derived))
            if theirs.pop("extension", None) == extension and "suffix" in theirs:
                found += [path] if theirs.items() <= own.items() else []
    return found[::-1]


def without_differences(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Leave out of a tree the files that have other metadata by PyBIDS's rule than by ours."""
    differing = {
        path
        for path, ours, theirs in _rules_of(files)
        if _merge(files, ours) != _merge(files, theirs)
    }
    return {path: content for path, content in files.items() if _whole(path) not in differing}


def linked_otherwise(files: Mapping[str, bytes]) -> set[str]:
    """List the files that the rules link otherwise, and those that are linked to them."""
    found: set[str] = set()
    for path, ours, theirs in _rules_of(files):
        if ours != theirs:
            found |= {path, *ours, *theirs}
    return found


def _rules_of(files: Mapping[str, bytes]) -> Iterator[tuple[str, list[str], list[str]]]:
    """Give each file with its sidecars by both rules, and what it stands below if it has any."""
    relpaths = dict.fromkeys(map(_whole, files))
    folders = by_folder(relpaths)
    description = json.loads(files.get("dataset_description.json") or b"{}")
    is_derived = description.get("DatasetType") == "derivative"
    families: dict[str, list[str]] = defaultdict(list)
    for path in relpaths:
        families[_dataset_of(path)].append(path)
    for prefix, family in families.items():
        inside = by_folder(family)
        for path in family:
            extension = f".{PurePosixPath(path).name.partition('.')[2]}"
            if extension == ".json":
                continue
            derived = is_derived or bool(prefix)
            ours = sidecars_by_rule(path, folders)
            theirs = sidecars_by_pybids(path, inside, is_derived=derived)
            if ours or theirs:
                # PyBIDS links files below one another only where there is a sidecar.
                ours += sidecars_by_rule(path, folders, extension)
                theirs += sidecars_by_pybids(path, inside, extension, is_derived=derived)
            yield path, ours, theirs


def _whole(relpath: str) -> str:
    """Return the Zarr store that a file is part of, or the file itself."""
    head, store, _ = relpath.partition(".zarr/")
    return f"{head}.zarr" if store else relpath


def _dataset_of(relpath: str) -> str:
    """Name the derivative that a file belongs to."""
    parts = relpath.split("/")
    return "/".join(parts[:2]) if parts[0] == "derivatives" and len(parts) > 2 else ""


def _merge(files: Mapping[str, bytes], relpaths: Iterable[str]) -> dict[str, Any]:
    """Merge the sidecars among some files; a null takes the field away."""
    merged: dict[str, Any] = {}
    for path in relpaths:
        if path.endswith(".json"):
            merged |= json.loads(files[path])
    return {field: value for field, value in merged.items() if value is not None}
