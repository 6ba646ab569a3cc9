"""When volumes and slices were acquired: header and sidecar fields → coordinates; pure.

Sidecars speak in seconds; coordinates are in the time unit of the header.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from confusius_datasets._io.fields import SLICE_DIRECTIONS, is_number, is_numbers
from confusius_datasets.errors import FileFormatError

__all__ = ["Clock", "Coordinate", "acquisition_times", "slice_times"]

UNITS_PER_SECOND = {None: 1.0, "s": 1.0, "ms": 1e3, "us": 1e6}
"""Factor from a sidecar's seconds to a coordinate; a header that says no unit changes nothing."""

PIXDIM_TOLERANCE = 1e-3
"""Relative difference between `RepetitionTime` and `pixdim[4]` that still counts as agreement."""

REPETITION_FIELDS = ("RepetitionTime", "DelayAfterTrigger", "DelayTime")
"""What times say that are made of a repetition and its delays."""

SLICE_DIMENSIONS = {"i": "x", "j": "y", "k": "z"}


@dataclass(frozen=True, slots=True)
class Clock:
    """What a header says about time."""

    size: int | None
    step: float
    unit: str | None

    @property
    def factor(self) -> float:
        """What one second is in the unit of the header."""
        return UNITS_PER_SECOND[self.unit]


@dataclass(frozen=True, slots=True)
class Coordinate:
    """A coordinate to be, and the sidecar fields that it replaces."""

    values: NDArray[np.float64] | None
    dims: tuple[str, ...] = ()
    attrs: dict[str, Any] = field(default_factory=dict)
    consumed: frozenset[str] = frozenset()


def acquisition_times(clock: Clock, fields: Mapping[str, Any]) -> Coordinate:
    """Find the time of each volume, or of the only one."""
    if clock.size is None:
        values, consumed = _scalar_time(clock, fields)
        duration = None
    else:
        values, consumed, duration = _volume_times(clock, clock.size, fields)
    attrs: dict[str, Any] = {"volume_acquisition_reference": "start"}
    if clock.unit is not None:
        attrs["units"] = clock.unit
    if is_number(fields.get("FrameAcquisitionDuration")):
        duration = float(fields["FrameAcquisitionDuration"])
    if duration is not None:
        attrs["volume_acquisition_duration"] = duration * clock.factor
    return Coordinate(
        values,
        () if clock.size is None else ("time",),
        attrs,
        frozenset({*consumed, "FrameAcquisitionDuration"}),
    )


def _volume_times(
    clock: Clock, size: int, fields: Mapping[str, Any]
) -> tuple[NDArray[np.float64], tuple[str, ...], float | None]:
    """Find the time of each volume, the fields used for it, and the duration that follows."""
    if _is_usable_timing(fields, size):
        times = np.array([second * clock.factor for second in fields["VolumeTiming"]])
        return times, ("VolumeTiming",), None
    repetition = _number(fields, "RepetitionTime")
    if repetition is not None:
        _compare_with_pixdim(repetition * clock.factor, clock.step)
        delay = _number(fields, "DelayAfterTrigger") or 0.0
        times = delay * clock.factor + repetition * clock.factor * np.arange(size, dtype=np.float64)
        duration = _duration(repetition, _number(fields, "DelayTime") or 0.0)
        return times, REPETITION_FIELDS, duration
    if "VolumeTiming" in fields:
        _warn("Without a usable `VolumeTiming`, times are taken from the NIfTI header.")
    step = clock.step if clock.step > 0 else 1.0
    return np.arange(size, dtype=np.float64) * step, (), None


def _is_usable_timing(fields: Mapping[str, Any], size: int) -> bool:
    """Say whether `VolumeTiming` is there and has a time for each volume; warn if it has not."""
    if "VolumeTiming" not in fields:
        return False
    timing = fields["VolumeTiming"]
    if not is_numbers(timing) or not timing:
        _warn("`VolumeTiming` is not a list of one time or more. Ignoring it.")
        return False
    if len(timing) != size:
        _warn(
            f"`VolumeTiming` length ({len(timing)}) does not match the data time dimension "
            f"({size}). Ignoring it."
        )
        return False
    return True


def _compare_with_pixdim(repetition: float, step: float) -> None:
    """Warn when header and sidecar disagree on the time between volumes."""
    if step > 0 and abs(repetition - step) > PIXDIM_TOLERANCE * abs(step):
        _warn(
            f"Sidecar RepetitionTime ({repetition:g}) does not match pixdim[4] ({step:g}) in the "
            "NIfTI header. Using sidecar value."
        )


def _duration(repetition: float, delay: float) -> float | None:
    """Infer how long a volume took from what is left of a repetition."""
    if repetition > delay:
        return repetition - delay
    if delay > 0:
        _warn(
            "DelayTime is greater than or equal to RepetitionTime, so "
            "`time.attrs['volume_acquisition_duration']` cannot be inferred."
        )
    return None


def _scalar_time(
    clock: Clock, fields: Mapping[str, Any]
) -> tuple[NDArray[np.float64] | None, tuple[str, ...]]:
    """Find the time of a single volume, and the fields used for it."""
    timing = fields.get("VolumeTiming")
    if timing is not None:
        if not is_numbers(timing) or not timing:
            _warn("`VolumeTiming` is not a list of one time or more. Ignoring it.")
            return None, ()
        if len(timing) > 1:
            _warn(f"`VolumeTiming` has {len(timing)} times for one volume. Using the first.")
        return np.asarray(timing[0] * clock.factor, float), ("VolumeTiming",)
    delay = _number(fields, "DelayAfterTrigger")
    if delay is None and _number(fields, "RepetitionTime") is None:
        return None, ()
    return np.asarray((delay or 0.0) * clock.factor, float), REPETITION_FIELDS


def slice_times(
    time: Coordinate,
    clock: Clock,
    fields: Mapping[str, Any],
    sizes: Mapping[str, int],
    *,
    name: str,
) -> Coordinate:
    """Find the time of each slice."""
    if time.values is None or not {"SliceTiming", "SliceEncodingDirection"} <= fields.keys():
        return Coordinate(None)
    timing, direction = fields["SliceTiming"], fields["SliceEncodingDirection"]
    if direction not in SLICE_DIRECTIONS:
        raise FileFormatError(
            f"{name}: SliceEncodingDirection is {direction!r} in its sidecar; it may be "
            f"{', '.join(SLICE_DIRECTIONS)}."
        )
    dim = SLICE_DIMENSIONS[direction[0]]
    found = len(timing) if is_numbers(timing) else "no list of numbers"
    if found != sizes.get(dim, 0):
        raise FileFormatError(
            f"{name}: SliceTiming in its sidecar must have one time a slice: expected "
            f"{sizes.get(dim, 0)} along '{dim}', found {found}."
        )
    offsets = np.asarray(timing, float)[:: -1 if direction.endswith("-") else 1] * clock.factor
    return Coordinate(
        time.values[..., np.newaxis] + offsets,
        (*time.dims, dim),
        {"units": clock.unit or "s"},
        frozenset({"SliceTiming", "SliceEncodingDirection"}),
    )


def _number(fields: Mapping[str, Any], name: str) -> float | None:
    """Return a field if it is a number; what it should have been was said on reading."""
    value = fields.get(name)
    return float(value) if is_number(value) else None  # type: ignore[arg-type]


def _warn(message: str) -> None:
    """Warn the user about the sidecar at hand."""
    warnings.warn(message, UserWarning, stacklevel=4)
