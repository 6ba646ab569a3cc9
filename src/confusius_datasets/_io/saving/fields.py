"""Attributes and times of an array → the fields of a sidecar that give them back; pure.

What a field becomes is known to the readers alone. So fields are tried: those are taken of which
the reader makes what the array has.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from confusius_datasets._io.nifti.attributes import (
    IRREGULAR_FIELDS,
    PREFIX,
    PREFIXED_FIELDS,
    attribute_name,
)
from confusius_datasets._io.nifti.fields import KNOWN_FIELDS
from confusius_datasets._io.nifti.timing import (
    SLICE_DIMENSIONS,
    UNITS_PER_SECOND,
    Clock,
    Coordinate,
    acquisition_times,
)
from confusius_datasets._text import list_some, warn_user

__all__ = [
    "Timing",
    "encode_attributes",
    "encode_slices",
    "encode_times",
    "plain",
    "plain_attributes",
]

FIELDS = {
    attribute_name(field): field
    for field in (
        *KNOWN_FIELDS,
        *IRREGULAR_FIELDS,  # the names that ConfUSIus knows go before those of later drafts
        *(f"{PREFIX}{bare}" for bare in PREFIXED_FIELDS),
    )
}
"""The field that becomes an attribute."""

DIGITS = (12, 9, 6)
"""Digits of a second to which a repetition is rounded, to find the number that was meant."""

REFERENCES = {"start": 0.0, "center": 0.5, "end": 1.0}
"""Where in the acquisition of a volume its time lies."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How times are written: fields of the sidecar, and `pixdim[4]`."""

    fields: Mapping[str, Any]
    step: float = 0.0


def plain(value: Any) -> Any:
    """Turn a value into what JSON holds; a `TypeError` or `ValueError` says that it cannot."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    json.dumps(value, allow_nan=False)
    return value


def plain_attributes(attrs: Mapping[str, Any], *, of: str) -> dict[str, Any]:
    """Turn attributes into what JSON holds; those that cannot be are left out with a warning."""
    kept, left = {}, []
    for name, value in attrs.items():
        # What no file can hold is made anew of `rgb_lookup` when the file is loaded.
        if name in ("cmap", "norm") and "rgb_lookup" in attrs and not isinstance(value, str):
            continue
        try:
            kept[str(name)] = plain(value)
        except (TypeError, ValueError):
            left.append(str(name))
    if left:
        warn_user(f"Attributes of {of} that a file cannot hold are left out: {list_some(left)}.")
    return kept


def encode_attributes(attrs: Mapping[str, Any], *, of: str) -> dict[str, Any]:
    """Name the fields that become the attributes of an array, but for what the header says."""
    said = ("affines", "sform_code", "qform_code")
    others = {name: value for name, value in attrs.items() if name not in said}
    return {
        FIELDS.get(name, name): value for name, value in plain_attributes(others, of=of).items()
    }


def encode_times(
    time: xr.DataArray, size: int | None, others: Mapping[str, Any], *, coarse: bool
) -> Timing:
    """Find the fields that give the times of volumes; `coarse` for the numbers of NIfTI-1."""
    unit = time.attrs.get("units")
    clock_unit = unit if unit in UNITS_PER_SECOND else None
    values, attrs = _at_start(time, clock_unit)
    for timing in _candidates(values, attrs, UNITS_PER_SECOND[clock_unit], coarse=coarse):
        if not timing.fields.keys() & others.keys():
            clock = Clock(size, timing.step, clock_unit)
            found = acquisition_times(clock, {**others, **timing.fields}, [])
            if _is_as(found, values, attrs, others):
                return timing
    return Timing(_listed(values, attrs, UNITS_PER_SECOND[clock_unit]))


def _at_start(time: xr.DataArray, unit: str | None) -> tuple[NDArray[np.float64], dict[str, Any]]:
    """Move times to the start of each volume, as NIfTI files have them."""
    values = np.asarray(time.values, dtype=np.float64)
    attrs: dict[str, Any] = {"volume_acquisition_reference": "start"}
    if unit is not None:
        attrs["units"] = unit
    duration = time.attrs.get("volume_acquisition_duration")
    if duration is not None:
        attrs["volume_acquisition_duration"] = float(duration)
    reference = time.attrs.get("volume_acquisition_reference", "start")
    if reference != "start" and duration is None:
        warn_user(
            f"The times are of the {reference} of each volume, and how long a volume took is not "
            "known: they are saved as those of its start."
        )
        return values, attrs
    return values - REFERENCES.get(reference, 0.0) * float(duration or 0.0), attrs


def _candidates(
    values: NDArray[np.float64], attrs: Mapping[str, Any], factor: float, *, coarse: bool
) -> Iterator[Timing]:
    """Give the ways to write times, the plainest first."""
    duration = attrs.get("volume_acquisition_duration")
    if values.ndim == 0 or len(values) == 0:
        yield Timing(_listed(values, attrs, factor))
        return
    if len(values) > 1 and values[0] >= 0:  # a delay cannot be negative
        step = float(values[1] - values[0])
        yield Timing({}, step=float(np.float32(step)) if coarse else step)
        mean = float(values[-1] - values[0]) / (len(values) - 1) / factor
        for repetition in dict.fromkeys(
            [*(round(mean, digits) for digits in DIGITS), step / factor, mean]
        ):
            fields = {"RepetitionTime": repetition}
            if values[0]:
                fields["DelayAfterTrigger"] = float(values[0]) / factor
            exact = None if duration is None else repetition - duration / factor
            for delay in dict.fromkeys([exact and round(exact, 9), exact]):
                rest = {"DelayTime": delay} if delay else {}
                yield Timing({**fields, **rest}, step=repetition * factor)
    elif len(values) == 1:
        yield Timing({})
    yield Timing(_listed(values, attrs, factor))


def _listed(values: NDArray[np.float64], attrs: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """List the time of each volume, and how long it took."""
    fields: dict[str, Any] = {"VolumeTiming": (np.atleast_1d(values) / factor).tolist()}
    if "volume_acquisition_duration" in attrs:
        fields["FrameAcquisitionDuration"] = attrs["volume_acquisition_duration"] / factor
    return fields


def _is_as(
    found: Coordinate,
    values: NDArray[np.float64],
    attrs: Mapping[str, Any],
    others: Mapping[str, Any],
) -> bool:
    """Say whether a reader finds these times, and leaves the fields that are attributes."""
    if found.values is None or not np.array_equal(found.values, values):
        return False
    if found.consumed & others.keys() or found.attrs.keys() != attrs.keys():
        return False
    return all(
        math.isclose(found.attrs[key], attrs[key], rel_tol=1e-12)
        if isinstance(attrs[key], float)
        else found.attrs[key] == attrs[key]
        for key in attrs
    )


def encode_slices(array: xr.DataArray) -> dict[str, Any] | None:
    """Find the fields that give the time of each slice, if there are such."""
    slices, time = array.coords["slice_time"], array.coords.get("time")
    (dim,) = [dim for dim in slices.dims if dim != "time"] or [None]
    directions = {dim: direction for direction, dim in SLICE_DIMENSIONS.items()}
    if time is None or dim not in directions:
        return None
    offsets = slices.values - time.values[..., np.newaxis]
    first = offsets.reshape(-1, offsets.shape[-1])[0]
    if not np.allclose(offsets, first):
        return None
    factor = UNITS_PER_SECOND.get(time.attrs.get("units"), 1.0)
    seconds = [round(offset, 12) for offset in (first / factor).tolist()]
    return {"SliceTiming": seconds, "SliceEncodingDirection": directions[str(dim)]}
