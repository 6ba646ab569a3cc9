"""The one parser from a BIDS path below the root to its entities; pure.

It finds what the patterns of PyBIDS find, with the datatypes and entities that fUSI adds, and looks
at the path below the root only: where a cache lies says nothing about its files. Nothing here
touches a disk or knows a dataset.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType

__all__ = [
    "DATATYPES",
    "DESCRIPTION_NAME",
    "FUSI_ENTITIES",
    "INTEGER_ENTITIES",
    "applicable_sidecars",
    "dataset_prefix",
    "parse_entities",
]

DATATYPES = (
    *("anat", "beh", "dwi", "eeg", "fmap", "func", "ieeg", "meg", "micr", "motion", "mrs"),
    *("nirs", "perf", "pet", "fusi", "angio", "susi"),
)
"""Folders that name a datatype: those PyBIDS knows, then those of fUSI-BIDS in its drafts."""

FUSI_ENTITIES: Mapping[str, str] = MappingProxyType(
    {"pose": r"[_/\\]+pose-([0-9]+)", "stat": r"[_/\\]+stat-([a-zA-Z0-9+]+)"}
)
"""Patterns of the entities that the public fUSI datasets have and PyBIDS does not."""

INTEGER_ENTITIES = frozenset({"run", "pose"})
"""Entities whose values are numbers, whatever their padding."""

DESCRIPTION_NAME = "dataset_description.json"
"""File whose folder is the root of a dataset."""

PATHS_KEPT = 8192
"""Paths whose entities are remembered: a sidecar is held against every file of its folder."""

_LABEL = "([a-zA-Z0-9+]+)"
_INDEX = "([0-9]+)"

_KEYS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "session": ("ses", _LABEL),
        "sample": ("sample", _LABEL),
        "task": ("task", _LABEL),
        "tracksys": ("tracksys", _LABEL),
        "acquisition": ("acq", _LABEL),
        "nucleus": ("nuc", _LABEL),
        "volume": ("voi", _LABEL),
        "ceagent": ("ce", _LABEL),
        "staining": ("stain", _LABEL),
        "tracer": ("trc", _LABEL),
        "reconstruction": ("rec", _LABEL),
        "direction": ("dir", _LABEL),
        "run": ("run", r"(\d+)"),
        "proc": ("proc", _LABEL),
        "modality": ("mod", _LABEL),
        "echo": ("echo", _INDEX),
        "flip": ("flip", _INDEX),
        "inv": ("inv", _INDEX),
        "mt": ("mt", "(on|off)"),
        "part": ("part", "(imag|mag|phase|real)"),
        "recording": ("recording", _LABEL),
        "space": ("space", _LABEL),
        "chunk": ("chunk", _INDEX),
    }
)
"""Key and values of each entity that stands behind a separator."""

_LOOSE_KEYS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "atlas": ("atlas", _LABEL),
        "roi": ("roi", _LABEL),
        "label": ("label", _LABEL),
        "desc": ("desc", _LABEL),
        "hemi": ("hemi", "(L|R)"),
        "segmentation": ("seg", _LABEL),
        "res": ("res", _LABEL),
        "den": ("den", _LABEL),
        "model": ("model", _LABEL),
        "subset": ("subset", _LABEL),
    }
)
"""Key and values of each entity that PyBIDS finds anywhere, without a separator."""


def _keyed() -> Iterator[tuple[str, str, str]]:
    """List each entity that has a key, with the key and a pattern that begins with it.

    What stands before the key in a pattern is a character, or may be only that one.
    """
    yield ("subject", "sub-", rf"[/\\]+sub-{_LABEL}")
    for name, (key, values) in _KEYS.items():
        yield (name, f"{key}-", rf"[_/\\]+{key}-{values}")
    for name, pattern in FUSI_ENTITIES.items():
        yield (name, f"{name}-", pattern)
    for name, (key, values) in _LOOSE_KEYS.items():
        yield (name, f"{key}-", f"{key}-{values}")
    for name in ("from", "to", "mode"):
        yield (name, f"{name}-", rf"(?:^|_){name}-{_LABEL}.*xfm")


_KEYED = [(name, key, re.compile(pattern).search) for name, key, pattern in _keyed()]

_OTHERS = [
    ("scans", "scans", re.compile(r"(.*\_scans.tsv)$").search),
    ("fmap", ".nii", re.compile(r"(phasediff|magnitude[1-2]|phase[1-2]|fieldmap|epi)\.nii").search),
    ("datatype", "", re.compile(rf"[/\\]+({'|'.join(DATATYPES)})[/\\]+").search),
]
"""The entities without a key, with a text that must be in the path."""

_OF_NAMES = [
    ("suffix", re.compile(r"(?:^|[_/\\])([a-zA-Z0-9+]+)\.[^/\\]+$").search),
    ("extension", re.compile(r"[^./\\](\.[^/\\]+)$").search),
]
"""The entities that lie at the end of a file's name."""


def parse_entities(relpath: str) -> dict[str, str]:
    """Read the entities of a BIDS path."""
    path = f"/{relpath}"
    # Looking for fixed texts first, and from there on, saves most of the searching.
    found = {
        name: match[1]
        for name, key, search in _KEYED
        if key in path and (match := search(path, path.find(key) - 1))
    }
    for name, text, search in _OTHERS:
        if text in path and (match := search(path)):
            found[name] = match[1]
    return found | _end_of(path)


def _end_of(path: str) -> dict[str, str]:
    """Read the suffix and the extension of a path that begins with `/`."""
    last = path.rfind("/")
    dot = path.find(".", last)
    suffix = path[max(last, path.rfind("_", last, dot)) + 1 : dot]
    # So it is in nearly all names, and takes a quarter of the time.
    is_plain = dot > 0 and suffix.isalnum() and suffix.isascii() and dot < len(path) - 1
    if is_plain and "\\" not in path and "\n" not in path:
        return {"suffix": suffix, "extension": path[dot:]}
    return {name: match[1] for name, search in _OF_NAMES if (match := search(path, last))}


def dataset_prefix(relpath: str) -> str:
    """Say which dataset of a root a path belongs to."""
    if not relpath.startswith("derivatives/"):
        return ""
    parts = relpath.split("/")
    return "/".join(parts[:2]) if len(parts) > 2 else ""


def applicable_sidecars(relpath: str, jsons: Callable[[str], Iterable[str]]) -> list[str]:
    """List the JSON sidecars that a file inherits from.

    A sidecar applies when it lies in the file's folder or above it in the same dataset, has the
    file's suffix, and has no entity that the file lacks or has otherwise.
    """
    extension, own = _comparable(relpath)
    if "suffix" not in own or extension in ("", ".json"):
        return []
    folders = relpath.split("/")[:-1]
    prefix = dataset_prefix(relpath)
    found = []
    for depth in range(2 if prefix else 0, len(folders) + 1):
        listed = jsons("/".join(folders[:depth]))
        applying = [path for path in listed if _applies(path, own)]
        if len(applying) > 1:
            # BIDS wants one at most in a folder; the first has the last word for PyBIDS.
            applying.sort(key=_natural_order, reverse=True)
        found += applying
    return found


def _natural_order(relpath: str) -> list[str | int]:
    """Order texts with numbers in them as PyBIDS does: by the numbers' values, cases alike."""
    parts = re.split("([0-9]+)", relpath)
    return [int(part) if part.isdigit() else part.lower() for part in parts]


def _applies(sidecar: str, own: Mapping[str, str | int]) -> bool:
    """Say whether a JSON file says nothing that a file's entities contradict."""
    extension, theirs = _comparable(sidecar)
    return extension == ".json" and "suffix" in theirs and theirs.items() <= own.items()


@functools.lru_cache(maxsize=PATHS_KEPT)
def _comparable(relpath: str) -> tuple[str, Mapping[str, str | int]]:
    """Read the extension of a path and its other entities, numbers by their value."""
    labels = parse_entities(relpath)
    extension = labels.pop("extension", "")
    return extension, {
        name: int(label) if name in INTEGER_ENTITIES else label for name, label in labels.items()
    }
