"""The fields of fUSI-BIDS sidecars and what their values must be, as one table; pure.

Old and new names of a field both stand here, since both are found in published datasets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from confusius_datasets._text import quote_short

__all__ = [
    "KNOWN_FIELDS",
    "SLICE_DIRECTIONS",
    "TIMING_FIELDS",
    "is_number",
    "is_numbers",
    "problems_of",
]

SLICE_DIRECTIONS = ("i", "j", "k", "i-", "j-", "k-")
"""What `SliceEncodingDirection` may be."""

TIMING_FIELDS = (
    *("RepetitionTime", "VolumeTiming", "SliceTiming", "SliceEncodingDirection"),
    *("DelayTime", "DelayAfterTrigger", "FrameAcquisitionDuration"),
)
"""The fields that say when volumes were acquired."""


def is_number(value: object) -> bool:
    """Say whether a JSON value is a finite number."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # JSON's whole numbers have no largest one, floats have
        return False


def is_numbers(value: object) -> bool:
    """Say whether a JSON value is a list of finite numbers."""
    return isinstance(value, list) and all(is_number(item) for item in value)


Check = Callable[[Any], bool]
Rule = tuple[Check, str]


def _list_of(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(check(item) for item in value)


def _any_of(*checks: Check) -> Check:
    return lambda value: any(check(value) for check in checks)


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _pair(value: Any) -> bool:
    return is_numbers(value) and len(value) == 2


def _positive(value: Any) -> bool:
    return is_number(value) and value > 0


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


TEXT: Rule = (_text, "should be a text")
TEXTS: Rule = (_any_of(_text, _list_of(_text)), "should be a text or a list of texts")
NUMBER: Rule = (is_number, "should be a number")
NUMBERS: Rule = (is_numbers, "should be a list of numbers")
POSITIVE: Rule = (_positive, "should be a number greater than 0")
NOT_NEGATIVE: Rule = (lambda value: is_number(value) and value >= 0, "should be 0 or greater")
LENGTH: Rule = (
    _any_of(is_number, is_numbers),
    "should be a number, or one for each direction",
)
APERTURE: Rule = (
    _any_of(_list_of(_whole), _list_of(_list_of(_whole))),
    "should be a list of whole numbers, or one for each dimension",
)

_RULES: tuple[tuple[Rule, str], ...] = (
    (
        TEXT,
        "Manufacturer ManufacturersModelName StationName SoftwareVersion ProbeManufacturer "
        "ProbeType ProbeModel SequenceName BeamformingMethod TaskName TaskDescription CogAtlasID "
        "CogPOID InstitutionName InstitutionAddress InstitutionalDepartmentName",
    ),
    (TEXTS, "DeviceSerialNumber ProbeSerialNumber ClutterFilters"),
    (NUMBER, "ProbeRadiusOfCurvature"),
    (LENGTH, "ProbePitch ProbeFocalWidth ProbeFocalDepth ProbeAperture"),
    (APERTURE, "TransmitAperture ReceiveAperture"),
    (
        POSITIVE,
        "ProbeCentralFrequency ProbeCenterFrequency UltrasoundTransmitFrequency TransmitFrequency "
        "UltrasoundPulseRepetitionFrequency PulseRepetitionFrequency CompoundSamplingFrequency "
        "BeamformingSoundVelocity ClutterFilterWindowDuration ClutterFilterWindowStride "
        "PowerDopplerIntegrationDuration PowerDopplerIntegrationStride RepetitionTime "
        "FrameAcquisitionDuration",
    ),
    (NOT_NEGATIVE, "ProbeVoltage TransmitVoltage DelayTime DelayAfterTrigger"),
    (NUMBERS, "VolumeTiming SliceTiming"),
)

KNOWN_FIELDS: Mapping[str, Rule] = {
    **{field: rule for rule, fields in _RULES for field in fields.split()},
    "ProbeNumberOfElements": (
        _any_of(_whole, lambda value: _pair(value) and all(map(_whole, value))),
        "should be a whole number, or two",
    ),
    "Depth": (_pair, "should be two numbers, [minimum, maximum]"),
    "PlaneWaveAngles": (
        _any_of(is_numbers, _list_of(_pair)),
        "should be a list of angles, or of pairs of them",
    ),
    "VirtualSources": (
        _any_of(lambda value: _whole(value) and value > 0, _list_of(is_numbers)),
        "should be a number of sources, or a list of their positions",
    ),
    "SliceEncodingDirection": (
        lambda value: value in SLICE_DIRECTIONS,
        f"should be one of {', '.join(SLICE_DIRECTIONS)}",
    ),
}
"""What the value of each known field must be, and how to say it."""


def problems_of(fields: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Find what is wrong with the fields of a sidecar."""
    problems = [
        (field, f"{KNOWN_FIELDS[field][1]}, not {quote_short(value, limit=40)}")
        for field, value in fields.items()
        if field in KNOWN_FIELDS and not KNOWN_FIELDS[field][0](value)
    ]
    return problems + _timing_problems(fields.keys())


def _timing_problems(fields: Any) -> list[tuple[str, str]]:
    """Find what is wrong with the timing fields taken together."""
    problems = []
    repeated, listed = "RepetitionTime" in fields, "VolumeTiming" in fields
    duration, slices = "FrameAcquisitionDuration" in fields, "SliceTiming" in fields
    if repeated and listed:
        problems.append(("VolumeTiming", "RepetitionTime and VolumeTiming are mutually exclusive"))
    if listed and not duration and not slices:
        reason = "FrameAcquisitionDuration is REQUIRED with VolumeTiming when SliceTiming is absent"
        problems.append(("FrameAcquisitionDuration", reason))
    if repeated and duration:
        reason = "must not be provided together with RepetitionTime"
        problems.append(("FrameAcquisitionDuration", reason))
    if not repeated and not listed and any(field in fields for field in TIMING_FIELDS):
        reason = "RepetitionTime or VolumeTiming is recommended with any other timing field"
        problems.append(("RepetitionTime", reason))
    if slices and "SliceEncodingDirection" not in fields:
        problems.append(("SliceTiming", "needs SliceEncodingDirection"))
    return problems
