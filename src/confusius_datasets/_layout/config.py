"""PyBIDS's configurations with what fUSI-BIDS adds: datatypes, entities, path patterns."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, Literal, get_args

import bids.layout
from sqlalchemy import event

from confusius_datasets._entities import DATATYPES, FUSI_ENTITIES, INTEGER_ENTITIES
from confusius_datasets._layout.pybids import Config, Entity
from confusius_datasets.errors import ArgumentError

__all__ = ["is_fusi_path", "is_getter", "pybids_config"]

Base = Literal["bids", "bids-schema"]
"""The configurations of PyBIDS that can be extended."""

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

SUFFIX = r"(?:^|[_/\\])([a-zA-Z0-9+]+)\.[^/\\]+$"
"""The pattern of a suffix, as PyBIDS has it in `bids`."""

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


def pybids_config(base: Base = "bids") -> dict[str, Any]:
    """Return a configuration of PyBIDS, extended for functional ultrasound.

    It is for code that works with PyBIDS alone; `ds.layout` has it already. PyBIDS's own
    configurations do not know the datatypes `fusi`, `angio` and `susi` and the entities `pose` and
    `stat`, and `bids-schema` does not know the suffixes `pwd` and `tissuevel` either.

    Parameters
    ----------
    base : {"bids", "bids-schema"}, default: "bids"
        The configuration to extend. PyBIDS has `bids-schema` from 0.22 on.

    Returns
    -------
    dict
        What `bids.BIDSLayout` takes as `config`. For a derivative it is `[pybids_config(),
        "derivatives"]`; the schema has both in one. Written as JSON, it is a configuration for
        programs that take a path.

    Raises
    ------
    ArgumentError
        If there is no such configuration, or the installed PyBIDS does not have it.

    Examples
    --------
    >>> from bids import BIDSLayout
    >>> from confusius_datasets import fetch_sample, pybids_config
    >>> dataset = fetch_sample(subjects="mouse1", tasks="rest", progress=False)
    >>> layout = BIDSLayout(dataset.root, validate=False, config=pybids_config())
    >>> len(layout.get(datatype="fusi", suffix="pwd", extension=".nii.gz"))
    4
    """
    if base not in get_args(Base):
        raise ArgumentError(f"base={base!r}: expected 'bids' or 'bids-schema'.")
    installed = Path(bids.layout.__file__).parent / "config" / "bids.json"
    config: dict[str, Any] = json.loads(installed.read_text(encoding="utf-8"))
    if base == "bids-schema":
        config = _schema_config() | {"default_path_patterns": config["default_path_patterns"]}
    for entity in config["entities"]:
        if entity["name"] == "datatype":
            listed = re.findall("[a-z]+", entity["pattern"])
            entity["pattern"] = rf"[/\\]+({'|'.join(dict.fromkeys([*DATATYPES, *listed]))})[/\\]+"
        elif entity["name"] == "suffix":
            # The schema's list lacks ours, and takes a folder `angio` for a suffix.
            entity["pattern"] = SUFFIX
    for name, pattern in FUSI_ENTITIES.items():
        dtype = "int" if name in INTEGER_ENTITIES else "str"
        config["entities"].append({"name": name, "pattern": pattern, "dtype": dtype})
    config["default_path_patterns"] = [*PATH_PATTERNS, *config["default_path_patterns"]]
    return config


def _schema_config() -> dict[str, Any]:
    """Return name and entities of PyBIDS's configuration that follows the schema of BIDS."""
    try:
        schema = Config.load("bids-schema")
    except ValueError as error:
        raise ArgumentError(
            "The installed PyBIDS has no configuration 'bids-schema'. Leave base out, or install "
            "pybids 0.22 or later."
        ) from error
    entities = [
        {
            "name": entity.name,
            "pattern": entity.pattern,
            "mandatory": entity.mandatory,
            "directory": entity.directory,
            "dtype": entity._dtype,
        }
        for entity in schema.entities.values()
        if entity.name not in FUSI_ENTITIES
    ]
    return {"name": schema.name, "entities": entities}


def is_getter(name: str) -> bool:
    """Say whether every layout has a method `get_…`, whatever its files are."""
    names = {entity["name"] for entity in pybids_config()["entities"]}
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
