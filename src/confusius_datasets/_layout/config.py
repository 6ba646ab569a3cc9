"""PyBIDS's configuration with what fUSI-BIDS adds: datatypes, entities, path patterns."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import bids.layout
from sqlalchemy import event

from confusius_datasets._entities import DATATYPES, FUSI_ENTITIES, INTEGER_ENTITIES
from confusius_datasets._layout.pybids import Entity

__all__ = ["fusi_config", "is_fusi_path", "is_getter"]

_STEM = "sub-{subject}[/ses-{session}]/{datatype<%s>}/sub-{subject}[_ses-{session}]"
_TAIL = (
    "[_acq-{acquisition}][_ce-{ceagent}][_rec-{reconstruction}][_run-{run}][_proc-{proc}]"
    "[_pose-{pose}][_chunk-{chunk}]"
)
_RECORDED = "_task-{task}[_acq-{acquisition}][_rec-{reconstruction}][_run-{run}]"
_IMAGE = "{extension<.nii|.nii.gz|.json>|.nii.gz}"

# The suffix must be given, as for PyBIDS, and so must the datatype: `pwd` is that of several, and
# events are BOLD's where nobody says otherwise. Only `tissuevel` is of one datatype alone.
PATH_PATTERNS = (
    _STEM % "fusi" + "_task-{task}" + _TAIL + "_{suffix<pwd>}" + _IMAGE,
    (_STEM % "fusi").replace("<fusi>", "<fusi>|fusi")
    + "_task-{task}"
    + _TAIL
    + "_{suffix<tissuevel>}"
    + _IMAGE,
    _STEM % "angio|susi" + "[_task-{task}]" + _TAIL + "_{suffix<pwd>}" + _IMAGE,
    _STEM % "fusi" + _RECORDED + "_{suffix<events>}{extension<.tsv|.json>|.tsv}",
    _STEM % "fusi"
    + _RECORDED
    + "[_recording-{recording}]_{suffix<physio|stim>}{extension<.tsv.gz|.json>|.tsv.gz}",
)
"""How files of fUSI-BIDS are named, in the terms of `BIDSLayout.build_path`."""

_FUSI_PATH = re.compile(
    r"sub-(?P<sub>[a-zA-Z0-9+]+)/(?:ses-(?P<ses>[a-zA-Z0-9+]+)/)?(?:fusi|angio|susi)/"
    r"sub-(?P=sub)(?(ses)_ses-(?P=ses))(?:_[a-z]+-[a-zA-Z0-9+]+)*"
    r"_(?:(?:pwd|tissuevel)(?:\.nii|\.nii\.gz|\.json)"
    r"|events(?:\.tsv|\.json)|(?:physio|stim)(?:\.tsv\.gz|\.json))"
)
"""A path that those patterns can give; PyBIDS's validator knows none of them."""


def is_fusi_path(relpath: str) -> bool:
    """Say whether a path is one of fUSI-BIDS."""
    return _FUSI_PATH.fullmatch(relpath) is not None


def fusi_config() -> dict[str, Any]:
    """Return PyBIDS's configuration `bids`, extended for fUSI.

    It keeps the name `bids`: under another, PyBIDS would no longer add the dot to an extension.
    """
    installed = Path(bids.layout.__file__).parent / "config" / "bids.json"
    config: dict[str, Any] = json.loads(installed.read_text(encoding="utf-8"))
    for entity in config["entities"]:
        if entity["name"] == "datatype":
            entity["pattern"] = rf"[/\\]+({'|'.join(DATATYPES)})[/\\]+"
    for name, pattern in FUSI_ENTITIES.items():
        dtype = "int" if name in INTEGER_ENTITIES else "str"
        config["entities"].append({"name": name, "pattern": pattern, "dtype": dtype})
    config["default_path_patterns"] = [*PATH_PATTERNS, *config["default_path_patterns"]]
    return config


def is_getter(name: str) -> bool:
    """Say whether every layout has a method `get_…`, whatever its files are."""
    names = {entity["name"] for entity in fusi_config()["entities"]}
    asked = name.removeprefix("get_")
    return hasattr(bids.layout.BIDSLayout, name) or bool({asked, asked.removesuffix("s")} & names)


class _BelowRoot:
    """The pattern of an entity, searched for below a root: where a dataset lies says nothing."""

    def __init__(self, pattern: re.Pattern[str], root: str) -> None:
        self._pattern = pattern
        self._root = root

    def search(self, path: str) -> re.Match[str] | None:
        """Search the part of a path that is below the root."""
        inside = path.startswith(self._root + os.sep)
        return self._pattern.search(path[len(self._root) :] if inside else path)


@event.listens_for(Entity, "load")
def _match_below_root(entity: Any, context: Any) -> None:
    """Let an entity of one of our layouts look at paths as our parser does."""
    root = context.session.info.get("root")
    if root is not None and entity.regex is not None:
        entity.regex = _BelowRoot(entity.regex, root)
