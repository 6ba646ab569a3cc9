"""When volumes and slices were acquired: header and sidecar fields → coordinates; pure.

Sidecars speak in seconds; coordinates are in the time unit of the header. Whatever a sidecar says,
times are finite and increase: a field that would break this is left out, and said to be.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from confusius_datasets._io.nifti.fields import SLICE_DIRECTIONS, is_number, is_numbers

__all__ = ["Clock", "Coordinate", "acquisition_times", "slice_times"]

UNITS_PER_SECOND = {None: 1.0, "s": 1.0, "ms": 1e3, "us": 1e6}
"""Factor from a sidecar's seconds to a coordinate; a header that says no unit changes nothing."""

PIXDIM_TOLERANCE = 1e-3
"""Relative difference between `RepetitionTime` and `pixdim[4]` that still counts as agreement."""

REPETITION_FIELDS = ("RepetitionTime", "DelayAfterTrigger", "DelayTime")
"""Fields that are used up when times are a repetition and its delays."""

SLICE_DIMENSIONS = {"i": "x", "j": "y", "k": "z"}

Times = NDArray[np.float64]


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

    values: Times | None
    dims: tuple[str, ...] = ()
    attrs: dict[str, Any] = field(default_factory=dict)
    consumed: frozenset[str] = frozenset()


def acquisition_times(clock: Clock, fields: Mapping[str, Any], problems: list[str]) -> Coordinate:
    """Find the time of each volume, or of the only one."""
    if clock.size is None:
        values, consumed = _scalar_time(clock, fields, problems)
    else:
        values, consumed = _volume_times(clock, clock.size, fields, problems)
    attrs: dict[str, Any] = {"volume_acquisition_reference": "start"}
    if clock.unit is not None:
        attrs["units"] = clock.unit
    # Said outright it holds for any source of times; it follows from a repetition alone.
    duration = _number(fields, "FrameAcquisitionDuration")
    if duration is None and clock.size is not None and "RepetitionTime" in consumed:
        duration = _duration(fields, problems)
    if duration is not None and math.isfinite(duration * clock.factor):
        attrs["volume_acquisition_duration"] = duration * clock.factor
    return Coordinate(
        values,
        () if clock.size is None else ("time",),
        attrs,
        frozenset({*consumed, "FrameAcquisitionDuration"}),
    )


def _volume_times(
    clock: Clock, size: int, fields: Mapping[str, Any], problems: list[str]
) -> tuple[Times, tuple[str, ...]]:
    """Find the time of each volume, and the fields used for it: those of the first good source."""
    if "VolumeTiming" in fields:
        times = _listed_times(clock, size, fields["VolumeTiming"], problems)
        if times is not None:
            return times, ("VolumeTiming",)
    repetition = _number(fields, "RepetitionTime")
    if repetition is not None and repetition > 0:  # of others, validation has said it
        repeated = _repeated_times(clock, size, repetition, fields, problems)
        if repeated is not None:
            return repeated
    if "VolumeTiming" in fields or "RepetitionTime" in fields:
        problems.append("Times are taken from the NIfTI header.")
    times = np.arange(size, dtype=np.float64) * clock.step
    return (times if _is_increasing(times) else np.arange(size, dtype=np.float64)), ()


def _listed_times(clock: Clock, size: int, timing: object, problems: list[str]) -> Times | None:
    """Return the times of `VolumeTiming`, or say why they cannot be used."""
    if not isinstance(timing, list) or not is_numbers(timing) or not timing:
        problems.append("`VolumeTiming` is not a list of one time or more. Ignoring it.")
        return None
    if len(timing) != size:
        problems.append(
            f"`VolumeTiming` length ({len(timing)}) does not match the data time dimension "
            f"({size}). Ignoring it."
        )
        return None
    times = np.array([float(second) * clock.factor for second in timing])
    if not _is_increasing(times):
        problems.append("`VolumeTiming` does not increase from volume to volume. Ignoring it.")
        return None
    return times


def _repeated_times(
    clock: Clock, size: int, repetition: float, fields: Mapping[str, Any], problems: list[str]
) -> tuple[Times, tuple[str, ...]] | None:
    """Make times of a repetition and its delay, or of the repetition alone."""
    step = repetition * clock.factor
    if clock.step > 0 and abs(step - clock.step) > PIXDIM_TOLERANCE * abs(clock.step):
        problems.append(
            f"Sidecar RepetitionTime ({step:g}) does not match pixdim[4] ({clock.step:g}) in the "
            "NIfTI header. Using sidecar value."
        )
    delay = (_number(fields, "DelayAfterTrigger") or 0.0) * clock.factor
    with np.errstate(over="ignore", invalid="ignore"):
        times = step * np.arange(size, dtype=np.float64)
        if _is_increasing(delay + times):
            return delay + times, REPETITION_FIELDS
    if not _is_increasing(times):
        problems.append("`RepetitionTime` gives times that do not increase. Ignoring it.")
        return None
    # So large a delay swallows the repetitions when it is added.
    problems.append("With `DelayAfterTrigger`, times do not increase. Ignoring it.")
    return times, ("RepetitionTime", "DelayTime")


def _is_increasing(times: Times) -> bool:
    """Say whether times are finite and strictly increasing."""
    return bool(np.isfinite(times).all() and (np.diff(times) > 0).all())


def _duration(fields: Mapping[str, Any], problems: list[str]) -> float | None:
    """Infer how long a volume took from what is left of a repetition."""
    repetition = _number(fields, "RepetitionTime") or 0.0
    delay = _number(fields, "DelayTime") or 0.0
    if repetition > delay:
        return repetition - delay
    if delay > 0:
        problems.append(
            "DelayTime is greater than or equal to RepetitionTime, so "
            "`time.attrs['volume_acquisition_duration']` cannot be inferred."
        )
    return None


def _scalar_time(
    clock: Clock, fields: Mapping[str, Any], problems: list[str]
) -> tuple[Times | None, tuple[str, ...]]:
    """Find the time of a single volume, and the fields used for it."""
    timing = fields.get("VolumeTiming")
    if timing is not None:
        if not is_numbers(timing) or not timing:
            problems.append("`VolumeTiming` is not a list of one time or more. Ignoring it.")
        else:
            if len(timing) > 1:
                problems.append(
                    f"`VolumeTiming` has {len(timing)} times for one volume. Using the first."
                )
            if math.isfinite(timing[0] * clock.factor):
                return np.asarray(timing[0] * clock.factor, float), ("VolumeTiming",)
            problems.append("`VolumeTiming` is not a finite time. Ignoring it.")
    delay = _number(fields, "DelayAfterTrigger")
    repetition = _number(fields, "RepetitionTime")
    if delay is None and (repetition is None or repetition <= 0):
        return None, ()
    start = (delay or 0.0) * clock.factor
    return np.asarray(start if math.isfinite(start) else 0.0, float), REPETITION_FIELDS


def slice_times(
    time: Coordinate,
    clock: Clock,
    fields: Mapping[str, Any],
    sizes: Mapping[str, int],
    problems: list[str],
) -> Coordinate:
    """Find the time of each slice; fields that do not fit the image are left as they are."""
    if time.values is None or not {"SliceTiming", "SliceEncodingDirection"} <= fields.keys():
        return Coordinate(None)
    timing, direction = fields["SliceTiming"], fields["SliceEncodingDirection"]
    if direction not in SLICE_DIRECTIONS or not is_numbers(timing):
        return Coordinate(None)  # validation has said it
    dim = SLICE_DIMENSIONS[direction[0]]
    expected = sizes.get(dim, 0)
    if len(timing) != expected:
        problems.append(
            f"`SliceTiming` has {len(timing)} times, but the image has {expected} slices along "
            f"'{dim}'. Ignoring it."
        )
        return Coordinate(None)
    with np.errstate(over="ignore", invalid="ignore"):
        offsets = np.asarray(timing, float)[:: -1 if direction.endswith("-") else 1] * clock.factor
        values = time.values[..., np.newaxis] + offsets
    if not np.isfinite(values).all():
        problems.append("`SliceTiming` has times that are beyond any number. Ignoring it.")
        return Coordinate(None)
    return Coordinate(
        values,
        (*time.dims, dim),
        {"units": clock.unit or "s"},
        frozenset({"SliceTiming", "SliceEncodingDirection"}),
    )


def _number(fields: Mapping[str, Any], name: str) -> float | None:
    """Return a field if it is a number; what it should have been was said on reading."""
    value = fields.get(name)
    return float(value) if is_number(value) else None  # type: ignore[arg-type]
