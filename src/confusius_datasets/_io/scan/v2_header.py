"""The header of a second-generation SCAN file: bytes → fields, in the vendor's order; pure.

Every count is compared with the bytes that are left before anything is made of it.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

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
SCAN_MODES = ("2D", "3D angio", "fUS 3D", "fUS 3D custom", "fUS 3D RCA", "3D angio RCA")


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
    probe: dict[str, str | float]
    emission: dict[str, float | NDArray[np.float64]]
    tags: dict[str, str]
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
    _skip_intents(cursor, shape[5])
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
    probe = _read_probe(cursor)
    depth, emission = _read_emission(cursor)
    tags = _read_tags(cursor)
    acquired, version = _read_end(cursor)
    header = ScanHeader(
        offset=len(data),
        shape=shape,
        steps=(dx, dy, dz),
        times=times,
        translations=translations,
        rotations=rotations,
        mode=mode,
        depth=depth,
        probe=probe,
        emission=emission,
        tags=tags,
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


def _skip_intents(cursor: _Cursor, count: int) -> None:
    """Pass over what the values along the sixth axis are, and how each was made."""
    for intent in cursor.array("<u4", count).astype(int).tolist():
        if intent == 0:
            cursor.skip(4 + 8 + 4 + 4)  # filter type, window, low and high cutoff
        elif intent in (1, 2, 3):
            cursor.skip(20)
        else:
            raise FileFormatError(
                f"{cursor.name}: unknown kind of values, {intent}; known are 0 to 3."
            )


def _read_probe(cursor: _Cursor) -> dict[str, str | float]:
    """Read what the probe is."""
    kind = cursor.choice(PROBE_TYPES, "probe type")
    frequency, pitch, _, focus, _ = cursor.floats(5)
    cursor.integer("H")  # elements
    model = cursor.text("H")
    cursor.text("H")  # name
    return {
        "probe_type": kind,
        "probe_model": model,
        "probe_center_frequency": frequency,
        "probe_pitch": pitch,
        "probe_focal_depth": focus,
    }


def _read_emission(
    cursor: _Cursor,
) -> tuple[tuple[float, float], dict[str, float | NDArray[np.float64]]]:
    """Read the imaged depth, and how the probe emitted."""
    near, far, frequency, repetition, _ = cursor.floats(5)
    cursor.skip(8)
    angles = cursor.array("<f8", cursor.integer())
    cursor.skip(24 * cursor.integer() + 8)
    cursor.floats(1)  # voltage
    cursor.skip(4)
    cursor.floats(1)  # delay after trigger
    cursor.skip(8 * cursor.integer())
    cursor.skip(1 + 1 + 8)  # multiplane, nothing, integration window
    return (near, far), {
        "transmit_frequency": frequency,
        "pulse_repetition_frequency": repetition,
        "plane_wave_angles": angles,
    }


def _read_tags(cursor: _Cursor) -> dict[str, str]:
    """Read the texts of provenance."""
    _, project, _, subject, session, _ = (cursor.text() for _ in range(6))
    cursor.skip(4 + 8 + 8)  # gender, transfer time, age
    cursor.text()  # the subject's description
    cursor.skip(4 + 4)  # weight
    _, scan, _, _, _, _, serial, _ = (cursor.text() for _ in range(8))
    return {
        "project": project,
        "subject": subject,
        "session": session,
        "scan": scan,
        "serial": _decode_hex(serial),
    }


def _decode_hex(text: str) -> str:
    """Decode a text that was written as the hexadecimal codes of its letters."""
    try:
        return bytes.fromhex(text).decode("ascii").rstrip("\0")
    except ValueError:
        return text


def _read_end(cursor: _Cursor) -> tuple[int, str]:
    """Read when it was acquired, and by which version of the software."""
    acquired = cursor.integer("q")
    cursor.skip(4)
    cursor.skip(4 * cursor.integer())  # times at which a stimulus was toggled
    return acquired, ".".join(str(number) for number in cursor.values("3I"))


def _check_numbers(header: ScanHeader, name: str) -> None:
    """Raise when what coordinates and poses are made of is not finite, or beyond reason."""
    groups = (header.steps, header.depth, header.times, header.translations, header.rotations)
    if not all(np.all(np.abs(group) <= LARGEST) for group in groups):  # false for NaN too
        raise FileFormatError(
            f"{name}: voxel sizes, depths, times or poses in the header are no possible numbers."
        )
