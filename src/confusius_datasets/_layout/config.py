"""PyBIDS's configuration with what fUSI-BIDS adds: datatypes, entities, path patterns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import bids.layout

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

    Returns
    -------
    dict
        As `bids.layout.BIDSLayout` takes it in `config`.
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
