"""JSON sidecars of an image: which apply, what they say, and the attributes they become.

Inheritance goes from the root of the image's dataset down, the most specific last.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from confusius_datasets._entities import applicable_sidecars
from confusius_datasets._io.files import dataset_root
from confusius_datasets._io.matrices import Matrix
from confusius_datasets._io.nifti.fields import KNOWN_FIELDS
from confusius_datasets._sidecars import merge_sidecars, read_sidecar

__all__ = ["attribute_name", "find_sidecars", "read_sidecars", "sidecar_affines", "to_attributes"]

PREFIX = "ConfUSIus"

PREFIXED_FIELDS = (
    *("Affines", "Cmap", "LongName", "Units", "Voxdim", "SformCode", "QformCode"),
    *("BmodeIntegrationDuration", "BmodeIntegrationStride"),
    *("AxialVelocityIntegrationDuration", "AxialVelocityIntegrationStride"),
    *("AxialVelocityLag", "AxialVelocitySpatialKernel"),
    *("AxialVelocityAbsolute", "AxialVelocityEstimationMethod"),
    *(f"Dim{axis}{what}" for axis in (4, 5, 6) for what in ("Name", "Coordinates", "Attrs")),
)
"""Fields that ConfUSIus writes with its own prefix, without it."""

IRREGULAR_FIELDS = {
    "UltrasoundTransmitFrequency": "transmit_frequency",
    "UltrasoundPulseRepetitionFrequency": "pulse_repetition_frequency",
    "FrameAcquisitionDuration": "volume_acquisition_duration",
}
"""Fields whose attribute is named otherwise."""

_BEFORE_WORD = re.compile(r"([A-Z]+)([A-Z][a-z])")
_BEFORE_CAPITAL = re.compile(r"([a-z0-9])([A-Z])")


def find_sidecars(path: Path, *, stem: str, root: Path | None = None) -> list[Path]:
    """List the JSON sidecars that apply to an image of a dataset; its root is found, or given."""
    own = path.with_name(f"{stem}.json")
    inherited = _inherited_sidecars(path, root or dataset_root(path))
    # Its own sidecar has the last word, also where the file's name is not one of BIDS.
    if own.is_file():
        return [*(sidecar for sidecar in inherited if sidecar != own), own]
    return inherited


def _inherited_sidecars(path: Path, root: Path) -> list[Path]:
    """List the sidecars between a root and an image that apply to it."""

    def jsons(folder: str) -> list[str]:
        files = (file for file in (root / folder).glob("*.json") if file.is_file())
        return [file.relative_to(root).as_posix() for file in files]

    relpath = path.relative_to(root).as_posix()
    return [root / sidecar for sidecar in applicable_sidecars(relpath, jsons)]


def read_sidecars(paths: Iterable[Path]) -> dict[str, Any]:
    """Read sidecars into one, the later ones winning key by key."""
    return merge_sidecars(map(read_sidecar, paths))


def to_attributes(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Rename the fields of a sidecar to the attributes they become."""
    return {attribute_name(field): value for field, value in fields.items()}


def attribute_name(field: str) -> str:
    """Name the attribute of a field."""
    if field.startswith(PREFIX):
        bare = field.removeprefix(PREFIX)
        return _snake_case(bare) if bare in PREFIXED_FIELDS else field
    if field in IRREGULAR_FIELDS:
        return IRREGULAR_FIELDS[field]
    return _snake_case(field) if field in KNOWN_FIELDS else field


def _snake_case(field: str) -> str:
    """Put underscores between the words of a name, capitals in a row being one word."""
    return _BEFORE_CAPITAL.sub(r"\1_\2", _BEFORE_WORD.sub(r"\1_\2", field)).lower()


def sidecar_affines(given: object, problems: list[str]) -> dict[str, Matrix]:
    """Make matrices of the affines in a sidecar; what is not one is left out."""
    affines = {}
    for name, rows in given.items() if isinstance(given, dict) else [("affines", given)]:
        try:
            matrix = np.array(rows, dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            matrix = np.empty(0)
        if matrix.shape[-2:] == (4, 4):
            affines[name] = matrix
        else:
            problems.append(
                f"`ConfUSIusAffines` has no matrix of 4 by 4 for '{name}'. Ignoring it."
            )
    return affines
