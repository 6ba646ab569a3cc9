"""Which dimensions a NIfTI file has, in its own order, and coordinates of those past time; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from confusius_datasets._io.nifti.fields import TIMING_FIELDS, is_numbers
from confusius_datasets._io.nifti.header import NiftiHeader
from confusius_datasets._text import quote_short

__all__ = ["Axis", "axes_of", "extra_fields"]

FIRST_AXES = ("x", "y", "z", "time")

EXTRA_AXES = (4, 5, 6)

RESERVED_NAMES = frozenset({*FIRST_AXES, "slice_time", *(f"dim{axis}" for axis in EXTRA_AXES)})
"""Names of other axes and coordinates, which no sidecar may give to an axis past time."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a file."""

    dim: str
    size: int
    coordinates: NDArray[Any] | None = None
    attrs: Mapping[str, Any] | None = None


def extra_fields() -> list[str]:
    """List the sidecar fields that describe axes past time."""
    return [
        f"ConfUSIusDim{axis}{what}"
        for axis in EXTRA_AXES
        for what in ("Name", "Coordinates", "Attrs")
    ]


def axes_of(header: NiftiHeader, fields: Mapping[str, Any], problems: list[str]) -> list[Axis]:
    """Name the axes of a file, and say which fields of its sidecar could not be used for that."""
    axes = [Axis(dim, size) for dim, size in zip(FIRST_AXES, header.shape, strict=False)]
    for number in range(len(FIRST_AXES), len(header.shape)):
        taken = {axis.dim for axis in axes}
        axes.append(_extra_axis(number, header, fields, problems, taken=taken))
    # NIfTI keeps the fourth axis for time, so a file of poses has one of length 1 there.
    is_timeless = len(axes) > len(FIRST_AXES) and axes[3].size == 1
    if is_timeless and not any(field in fields for field in TIMING_FIELDS):
        del axes[3]
    return axes


def _extra_axis(
    number: int,
    header: NiftiHeader,
    fields: Mapping[str, Any],
    problems: list[str],
    *,
    taken: set[str],
) -> Axis:
    """Describe an axis past time."""
    prefix = f"ConfUSIusDim{number}"
    size = header.shape[number]
    own = f"dim{number}"
    name = fields.get(f"{prefix}Name", own)
    if not isinstance(name, str) or not name or name in taken | RESERVED_NAMES - {own}:
        problems.append(
            f"`{prefix}Name` ({quote_short(name)}) cannot name a dimension. Ignoring it."
        )
        name = own
    step = header.pixdim[number + 1]
    coordinates = np.arange(size) * (step or 1.0)
    given = fields.get(f"{prefix}Coordinates")
    if isinstance(given, list) and len(given) == size:
        coordinates = np.array(given, float) if is_numbers(given) else np.array([*map(str, given)])
    elif given is not None:
        problems.append(f"`{prefix}Coordinates` must list {size} coordinates. Ignoring it.")
    attrs = fields.get(f"{prefix}Attrs")
    return Axis(name, size, coordinates, attrs if isinstance(attrs, dict) else {})
