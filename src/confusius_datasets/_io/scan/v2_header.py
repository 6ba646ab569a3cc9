"""The header of a second-generation SCAN file: bytes → fields, in the vendor's order; pure.

Every count is compared with the bytes that are left before anything is made of it.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from confusius_datasets._io.scan.parts import LARGEST
from confusius_datasets.errors import FileFormatError

__all__ = ["FIXED_SIZE", "ScanHeader", "check_fixed_part", "parse_scan_header"]

FIXED_SIZE = 0x8C
"""Where the part of the header begins that has no fixed offsets."""

HEADER_SIZE_OFFSET = 0x20
"""Where the sizes of header and values stand; that of the values may be 0, which leaves it open."""

SHAPE_OFFSET = 0x5C
N_SIZES = 6

ITEMSIZE = 8
"""Values are float64."""

MAXIMUM_SIZE = 1 << 28
"""No header has as many bytes: its longest fields are a few numbers a slice."""

PROBE_TYPES = ("linear", "multi-array", "RCA", "phased", "matrix")
SCAN_MODES = ("2Dscan", "3Dscan", "4Dscan", "4DscanCustom", "4DscanRCA", "3DscanRCA")
"""What the first generation calls the modes that are numbers here."""

FILTERS = ("static SVD", "dynamic SVD", "Butterworth")
SEXES = ("undefined", "male", "female", "other")
WEIGHT_UNITS = ("mg", "g", "kg")


@dataclass(frozen=True, slots=True)
class ScanHeader:
    """The fields of a header that end up in an array, in the file's own units."""

    offset: int
    shape: tuple[int, ...]
    steps: tuple[float, float, float]
    times: NDArray[np.float64]
    translations: NDArray[np.float64]
    rotations: NDArray[np.float64]
    mode: str
    depth: tuple[float, float]
    tags: dict[str, str]
    settings: dict[str, Any]
    """What is kept under its own name."""
    intents: tuple[int, ...]
    acquired: int
    version: str


def check_fixed_part(start: bytes, file_size: int, *, name: str) -> int:
    """Compare what the fixed part of a header claims with the size of its file."""
    if len(start) < FIXED_SIZE:
        raise FileFormatError(
            f"{name}: the file ends within its header: {len(start)} bytes of at least {FIXED_SIZE}."
        )
    size, payload = struct.unpack_from("<2Q", start, HEADER_SIZE_OFFSET)
    shape = struct.unpack_from(f"<{N_SIZES}Q", start, SHAPE_OFFSET)
    if not FIXED_SIZE <= size <= MAXIMUM_SIZE:
        raise FileFormatError(
            f"{name}: the header claims a size of {size} bytes; it has at least {FIXED_SIZE}, and "
            f"at most {MAXIMUM_SIZE}."
        )
    if size > file_size:
        raise FileFormatError(
            f"{name}: the file ends within its header: {file_size} bytes of {size}."
        )
    if min(shape) < 1:
        raise FileFormatError(f"{name}: the header claims an impossible shape, {shape}.")
    held, needed = file_size - size, math.prod(shape) * ITEMSIZE
    if needed != (payload or held) or needed > held:
        raise FileFormatError(
            f"{name}: values of the shape {shape} take {needed} bytes; the header announces "
            f"{payload or held}, and the file holds {held}. Copy it again."
        )
    return int(size)


def parse_scan_header(data: bytes, *, name: str) -> ScanHeader:
    """Parse a header."""
    shape = struct.unpack_from(f"<{N_SIZES}Q", data, SHAPE_OFFSET)
    cursor = _Cursor(data, FIXED_SIZE, name)
    intents, settings = _read_intents(cursor, shape[5])
    dx, dy, dz, *_ = cursor.floats(6)
    if not min(dx, dy, dz) > 0:
        raise FileFormatError(f"{name}: the voxel size is {(dx, dy, dz)} m; it must be positive.")
    _, elevation, _, n_time, n_pose, _ = shape
    times = cursor.array("<f8", n_time, n_pose, elevation)
    cursor.array("<u4", n_time, n_pose, elevation)  # when volumes should have been taken
    translations = cursor.array("<f8", n_pose, 3)
    rotations = cursor.array("<f8", n_pose, 3)
    cursor.skip(4)
    mode = cursor.choice(SCAN_MODES, "acquisition mode")
    cursor.skip(4)
    settings |= _read_probe(cursor)
    depth, emission = _read_emission(cursor)
    tags, subject = _read_tags(cursor)
    acquired, toggles, version = _read_end(cursor)
    header = ScanHeader(
        offset=len(data),
        shape=shape,
        steps=(dx, dy, dz),
        times=times,
        translations=translations,
        rotations=rotations,
        mode=mode,
        depth=depth,
        tags=tags,
        settings={**settings, **emission, **subject, **toggles},
        intents=intents,
        acquired=acquired,
        version=version,
    )
    _check_numbers(header, name)
    return header


class _Cursor:
    """A place in a header, which moves on as fields are read and never past the end."""

    def __init__(self, data: bytes, offset: int, name: str) -> None:
        self.data = data
        self.offset = offset
        self.name = name

    def skip(self, size: int) -> int:
        """Move on, and return where this began."""
        begin = self.offset
        if begin + size > len(self.data):
            raise FileFormatError(
                f"{self.name}: the header claims {size} bytes at offset {begin}, but ends at "
                f"{len(self.data)}. It is damaged, or of a version that is not known."
            )
        self.offset += size
        return begin

    def values(self, form: str) -> tuple[int | float, ...]:
        """Read packed numbers."""
        return struct.unpack_from(f"<{form}", self.data, self.skip(struct.calcsize(f"<{form}")))

    def floats(self, count: int) -> tuple[float, ...]:
        """Read float64 numbers."""
        return tuple(float(value) for value in self.values(f"{count}d"))

    def integer(self, form: str = "I") -> int:
        """Read a whole number."""
        return int(self.values(form)[0])

    def array(self, dtype: str, *shape: int) -> NDArray[np.float64]:
        """Read an array of numbers."""
        count = math.prod(shape)
        begin = self.skip(count * np.dtype(dtype).itemsize)
        values = np.frombuffer(self.data, dtype, count, offset=begin)
        return values.reshape(shape).astype(np.float64)

    def text(self, form: str = "I") -> str:
        """Read a text after its length in bytes."""
        size = self.integer(form)
        begin = self.skip(size)
        return self.data[begin : begin + size].decode("utf-8", "replace").rstrip("\0")

    def choice(self, names: tuple[str, ...], what: str) -> str:
        """Read a number that stands for a word."""
        code = self.integer()
        if code >= len(names):
            raise FileFormatError(
                f"{self.name}: unknown {what} {code}; known are 0 to {len(names) - 1}."
            )
        return names[code]


def _read_intents(cursor: _Cursor, count: int) -> tuple[tuple[int, ...], dict[str, Any]]:
    """Read what the values along the sixth axis are, and how the first of them was filtered."""
    settings: dict[str, Any] = {}
    intents = tuple(cursor.array("<u4", count).astype(int).tolist())
    for intent in intents:
        if intent == 0:
            code = cursor.integer()
            kind = FILTERS[code] if code < len(FILTERS) else f"filter {code}"
            (window,) = cursor.floats(1)
            cutoffs = cursor.values("2f" if kind == "Butterworth" else "2I")
            settings = settings or {
                "clutter_filters": kind,
                "clutter_filter_window_duration": window,
                "clutter_filter_cutoffs": cutoffs,
            }
        elif intent in (1, 2, 3):
            cursor.skip(20)
        else:
            raise FileFormatError(
                f"{cursor.name}: unknown kind of values, {intent}; known are 0 to 3."
            )
    return intents, settings


def _read_probe(cursor: _Cursor) -> dict[str, Any]:
    """Read what the probe is."""
    kind = cursor.choice(PROBE_TYPES, "probe type")
    frequency, pitch, aperture, focus, radius = cursor.floats(5)
    elements = cursor.integer("H")
    return {
        "probe_type": kind,
        "probe_model": cursor.text("H"),
        "probe_name": cursor.text("H"),
        "probe_center_frequency": frequency,
        "probe_pitch": pitch,
        "probe_aperture": aperture,
        "probe_focal_depth": focus,
        "probe_radius_of_curvature": radius,
        "probe_number_of_elements": elements,
    }


def _read_emission(cursor: _Cursor) -> tuple[tuple[float, float], dict[str, Any]]:
    """Read the imaged depth, and how the probe emitted."""
    near, far, frequency, repetition, sampling = cursor.floats(5)
    cursor.skip(8)
    angles = cursor.array("<f8", cursor.integer())
    cursor.skip(24 * cursor.integer() + 8)
    (voltage,) = cursor.floats(1)
    cursor.skip(4)
    (delay,) = cursor.floats(1)
    cursor.skip(8 * cursor.integer())
    cursor.skip(1 + 1)  # multiplane, and nothing
    (integration,) = cursor.floats(1)
    return (near, far), {
        "transmit_frequency": frequency,
        "pulse_repetition_frequency": repetition,
        "sampling_frequency": sampling,
        "plane_wave_angles": angles,
        "probe_voltage": voltage,
        "delay_after_trigger": delay,
        "power_doppler_integration_duration": integration,
    }


def _read_tags(cursor: _Cursor) -> tuple[dict[str, str], dict[str, Any]]:
    """Read the texts of provenance, and what is said about subject and task where it is."""
    sequence, project, description, subject, session, species = (cursor.text() for _ in range(6))
    sex = cursor.integer()
    cursor.skip(8)  # when the file was transferred
    age = cursor.integer("Q")
    subject_description = cursor.text()
    unit = cursor.integer()
    (weight,) = cursor.values("f")
    treatment, scan, study, task, task_description, _, serial, _ = (cursor.text() for _ in range(8))
    tags = {
        "project": project,
        "subject": subject,
        "session": session,
        "scan": scan,
        "serial": _decode_hex(serial),
    }
    said = {
        "sequence_name": sequence,
        "project_description": description,
        "species": species,
        "sex": SEXES[sex] if 0 < sex < len(SEXES) else "",
        "age_days": age,
        "subject_description": subject_description,
        "weight": weight,
        "weight_units": WEIGHT_UNITS[unit] if weight and unit < len(WEIGHT_UNITS) else "",
        "treatment": treatment,
        "study_type": study,
        "task_name": task,
        "task_description": task_description,
    }
    return tags, {name: value for name, value in said.items() if value}


def _decode_hex(text: str) -> str:
    """Decode a text that was written as the hexadecimal codes of its letters."""
    try:
        return bytes.fromhex(text).decode("ascii").rstrip("\0")
    except ValueError:
        return text


def _read_end(cursor: _Cursor) -> tuple[int, dict[str, Any], str]:
    """Read when it was acquired, when a stimulus was toggled, and the version of the software."""
    acquired = cursor.integer("q")
    cursor.skip(4)
    toggles = cursor.array("<f4", cursor.integer())
    stimulation = {"stimulation_toggle_times": toggles} if toggles.size else {}
    return acquired, stimulation, ".".join(str(number) for number in cursor.values("3I"))


def _check_numbers(header: ScanHeader, name: str) -> None:
    """Raise when what coordinates and poses are made of is not finite, or beyond reason."""
    groups = (header.steps, header.depth, header.times, header.translations, header.rotations)
    if not all(np.all(np.abs(group) <= LARGEST) for group in groups):  # false for NaN too
        raise FileFormatError(
            f"{name}: voxel sizes, depths, times or poses in the header are no possible numbers."
        )
