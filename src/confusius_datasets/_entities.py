"""The one parser from a BIDS path below the root to its entities; pure.

Nothing here touches a disk or knows a dataset.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

__all__ = ["ENTITY_NAMES", "applicable_sidecars", "dataset_prefix", "parse_entities"]

ENTITY_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "sub": "subject",
        "ses": "session",
        "sample": "sample",
        "task": "task",
        "tracksys": "tracksys",
        "acq": "acquisition",
        "ce": "ceagent",
        "trc": "tracer",
        "rec": "reconstruction",
        "dir": "direction",
        "run": "run",
        "proc": "proc",
        "pose": "pose",
        "space": "space",
        "recording": "recording",
        "chunk": "chunk",
        "desc": "desc",
        "stat": "stat",
    }
)
"""PyBIDS's entity name for each key that stands in a file name."""

DATATYPES = ("fusi", "angio", "susi", "motion")
_DATATYPE = re.compile(rf"(?:^|/)(?:sub|ses)-[^/]+/({'|'.join(DATATYPES)})/")
_LABEL = re.compile(r"(?:^|[_/])([a-z]+)-([a-zA-Z0-9+]+)")


def parse_entities(relpath: str) -> dict[str, str]:
    """Read the entities of a BIDS path.

    Parameters
    ----------
    relpath : str
        Path below the root, with `/`.

    Returns
    -------
    dict of str to str
        Labels by PyBIDS's entity names, `suffix`, `extension` and `datatype` among them.

    Examples
    --------
    >>> parse_entities("sub-CR020/fusi/sub-CR020_task-kalatsky_pwd.nii.gz")["task"]
    'kalatsky'
    """
    entities = {
        ENTITY_NAMES[key]: label for key, label in _LABEL.findall(relpath) if key in ENTITY_NAMES
    }
    stem, dot, rest = relpath.rpartition("/")[2].partition(".")
    entities["suffix"] = stem.rpartition("_")[2]
    entities["extension"] = dot + rest
    if match := _DATATYPE.search(relpath):
        entities["datatype"] = match[1]
    return entities


def dataset_prefix(relpath: str) -> str:
    """Say which dataset of a root a path belongs to.

    Parameters
    ----------
    relpath : str
        Path below the root, with `/`.

    Returns
    -------
    str
        `derivatives/<name>` inside such a folder, or nothing for the raw dataset.

    Examples
    --------
    >>> dataset_prefix("derivatives/glm-speed/sub-rat83/x.tsv")
    'derivatives/glm-speed'
    """
    parts = relpath.split("/")
    return "/".join(parts[:2]) if parts[0] == "derivatives" and len(parts) > 2 else ""


def applicable_sidecars(relpath: str, jsons: Callable[[str], Iterable[str]]) -> list[str]:
    """List the JSON sidecars that a file inherits from.

    Parameters
    ----------
    relpath : str
        The data file, below the root.
    jsons : callable
        Gives the JSON files right in a folder, as paths below the root; the root is the empty text.

    Returns
    -------
    list of str
        From the dataset's root down, the most specific last.
    """
    own = parse_entities(relpath)
    prefix = dataset_prefix(relpath)
    folders = relpath.split("/")[:-1]
    first = len(prefix.split("/")) if prefix else 0
    found = []
    for depth in range(first, len(folders) + 1):
        for candidate in sorted(jsons("/".join(folders[:depth]))):
            theirs = parse_entities(candidate)
            theirs.pop("extension")
            if all(own.get(name) == label for name, label in theirs.items()):
                found.append(candidate)
    return found
