"""The replicas as other hosts have them: released on S3, and in one archive on Dataverse."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from confusius_datasets.testing import ZipMember, build_zip

ARCHIVE_PREFIX = "naked_mole_rat_fusi_dataset/"

RENAMED_FIELDS = {
    "ProbeCentralFrequency": "ProbeCenterFrequency",
    "UltrasoundTransmitFrequency": "TransmitFrequency",
    "UltrasoundPulseRepetitionFrequency": "PulseRepetitionFrequency",
    "ProbeVoltage": "TransmitVoltage",
}

STRUCTURAL = re.compile(r"((?:^|[/:\"])(?:sub|ses)-[^/]+/)angio/")
"""The folder of a subject or a session; `derivatives/Params/angio` is not one."""

LEFT_OUT = {"code/conversion_manifest.tsv"}


def released(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Make the release of a dataset from what is on OSF: `susi`, newer names of fields."""
    release = {}
    for relpath, data in files.items():
        if relpath in LEFT_OUT:
            continue
        if relpath.startswith(("sourcedata/", "code/")):
            release[relpath] = data
        else:
            release[STRUCTURAL.sub(r"\1susi/", relpath)] = _rewrite(relpath, data)
    release[".bidsignore"] = files.get(".bidsignore", b"") + b"manifest.json\n"
    return release


def _rewrite(relpath: str, data: bytes) -> bytes:
    """Rewrite what names folders or fields."""
    if relpath.endswith("_scans.tsv"):
        folder = relpath.rpartition("/")[0]
        return _rewrite_scans(data.decode(), folder)
    if not relpath.endswith(".json"):
        return data
    document = json.loads(data)
    changed = _rewrite_fields(document)
    return data if changed == document else json.dumps(changed).encode()


def _rewrite_scans(text: str, folder: str) -> bytes:
    """Give a table of scans its right header, whole paths, and one cell for each value."""
    rows = [re.split(r"[\t ]", line) for line in text.splitlines()[1:]]
    lines = ["filename\tacq_time"]
    for name, time in rows:
        path = name if "/" in name else f"{'fusi' if '_task-' in name else 'angio'}/{name}"
        lines.append(f"{re.sub('^angio/', 'susi/', path)}\t{time}")
    return "\n".join([*lines, ""]).encode()


def _rewrite_fields(document: dict[str, Any]) -> dict[str, Any]:
    """Rename fields, and the folders in those that name files."""
    changed = {}
    for field, value in document.items():
        if field == "PowerDopplerIntegrationStride":
            continue
        if field in ("IntendedFor", "Sources", "RawSources"):
            value = json.loads(STRUCTURAL.sub(r"\1susi/", json.dumps(value)))
        changed[RENAMED_FIELDS.get(field, field)] = value
    return changed


def khallaf_archive(files: Mapping[str, bytes], *, zip64: bool = True) -> bytes:
    """Make the archive of a dataset: stored members below a folder, folders as members too."""
    folders = {ARCHIVE_PREFIX}
    for relpath in files:
        parts = relpath.split("/")[:-1]
        folders |= {ARCHIVE_PREFIX + "/".join(parts[: n + 1]) + "/" for n in range(len(parts))}
    contents = {ARCHIVE_PREFIX + relpath: data for relpath, data in files.items()}
    names = sorted(folders | contents.keys())
    members = [ZipMember(name, contents.get(name, b""), zip64=zip64) for name in names]
    return build_zip(members, zip64=zip64)
