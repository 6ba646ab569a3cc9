"""PyBIDS's configuration with what fUSI-BIDS adds: datatypes, entities, path patterns."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import bids.layout
from bids.layout.models import Entity
from sqlalchemy import event

from confusius_datasets._entities import DATATYPES, FUSI_ENTITIES, INTEGER_ENTITIES

__all__ = ["fusi_config"]

_STEM = "sub-{subject}[/ses-{session}]/"
_TAIL = (
    "[_acq-{acquisition}][_ce-{ceagent}][_rec-{reconstruction}][_run-{run}][_proc-{proc}]"
    "[_pose-{pose}][_chunk-{chunk}]"
)
_IMAGE = "{extension<.nii|.nii.gz|.json>|.nii.gz}"

PATH_PATTERNS = (
    _STEM
    + "{datatype<fusi>|fusi}/sub-{subject}[_ses-{session}]_task-{task}"
    + _TAIL
    + "_{suffix<pwd|tissuevel>|pwd}"
    + _IMAGE,
    _STEM
    + "{datatype<angio|susi>|angio}/sub-{subject}[_ses-{session}][_task-{task}]"
    + _TAIL
    + "_{suffix<pwd>|pwd}"
    + _IMAGE,
    _STEM + "{datatype<fusi>|fusi}/sub-{subject}[_ses-{session}]_task-{task}[_acq-{acquisition}]"
    "[_rec-{reconstruction}][_run-{run}]_{suffix<events>}{extension<.tsv|.json>|.tsv}",
    _STEM + "{datatype<fusi>|fusi}/sub-{subject}[_ses-{session}]_task-{task}[_acq-{acquisition}]"
    "[_rec-{reconstruction}][_run-{run}][_recording-{recording}]_{suffix<physio|stim>}"
    "{extension<.tsv.gz|.json>|.tsv.gz}",
)
"""How files of fUSI-BIDS are named, in the terms of `BIDSLayout.build_path`."""


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
