"""The NIfTI header: bytes → `NiftiHeader`, checked before anything is believed; no files here.

It is read by hand and not through nibabel: a field of a damaged header is then an error of ours
that says so, and opening a file costs microseconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from confusius_datasets.errors import FileFormatError

__all__ = ["HEADER_SIZE", "NiftiHeader", "parse_header"]

HEADER_SIZE = 540
"""Bytes to read: the larger of the two headers, NIfTI-2's."""

ByteOrder = Literal["<", ">"]
BYTE_ORDERS: tuple[ByteOrder, ...] = ("<", ">")

_COMMON_TAIL = "qform_code sform_code quatern_b quatern_c quatern_d qoffset srow"

NIFTI1 = np.dtype(
    {
        "names": [
            *("dim", "datatype", "pixdim", "vox_offset", "scl_slope", "scl_inter", "xyzt_units"),
            *_COMMON_TAIL.split(),
            "magic",
        ],
        "formats": [
            *("8i2", "i2", "8f4", "f4", "f4", "f4", "u1"),
            *("i2", "i2", "f4", "f4", "f4", "3f4", "(3,4)f4"),
            "S4",
        ],
        "offsets": [40, 70, 76, 108, 112, 116, 123, 252, 254, 256, 260, 264, 268, 280, 344],
        "itemsize": 348,
    }
)
"""Where the fields that matter stand in a NIfTI-1 header."""

NIFTI2 = np.dtype(
    {
        "names": [
            *("magic", "datatype", "dim", "pixdim", "vox_offset", "scl_slope", "scl_inter"),
            *_COMMON_TAIL.split(),
            "xyzt_units",
        ],
        "formats": [
            *("S8", "i2", "8i8", "8f8", "i8", "f8", "f8"),
            *("i4", "i4", "f8", "f8", "f8", "3f8", "(3,4)f8"),
            "i4",
        ],
        "offsets": [4, 12, 16, 104, 168, 176, 184, 344, 348, 352, 360, 368, 376, 400, 500],
        "itemsize": 540,
    }
)
"""Where the fields that matter stand in a NIfTI-2 header."""

DATATYPES = {
    2: "u1",
    4: "i2",
    8: "i4",
    16: "f4",
    32: "c8",
    64: "f8",
    256: "i1",
    512: "u2",
    768: "u4",
    1024: "i8",
    1280: "u8",
    1792: "c16",
}
"""NumPy's type for each code of `datatype` that stands for numbers."""

UNREADABLE_DATATYPES = {
    0: "unknown",
    1: "single bits",
    128: "RGB colours",
    1536: "128-bit floats",
    2048: "256-bit complex numbers",
    2304: "RGBA colours",
}
"""What the other codes of `datatype` stand for."""

SPACE_UNITS = {1: "m", 2: "mm", 3: "um"}
TIME_UNITS = {8: "s", 16: "ms", 24: "us"}

MAXIMUM_NBYTES = 2**62
"""Data larger than this are a damaged header, and would overflow offsets."""

LARGEST_NUMBER = 1e38
"""Lengths and times beyond this, NaN among them, are no numbers; NIfTI-1 cannot even write them."""


@dataclass(frozen=True, slots=True)
class NiftiHeader:
    """What a NIfTI header says, in native numbers."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    offset: int
    slope: float | None
    inter: float
    pixdim: tuple[float, ...]
    sform: tuple[tuple[float, ...], ...] | None
    qform: tuple[tuple[float, ...], ...] | None
    sform_code: int
    qform_code: int
    space_unit: str | None
    time_unit: str | None

    @property
    def nbytes(self) -> int:
        """Bytes of the stored values."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def end(self) -> int:
        """Bytes that the file must have at least, decompressed."""
        return self.offset + self.nbytes


def parse_header(data: bytes, *, name: str) -> NiftiHeader:
    """Read a NIfTI-1 or NIfTI-2 header of either byte order."""
    layout, order = _recognise(data, name)
    fields = np.frombuffer(data, layout.newbyteorder(order), count=1)[0]
    _check_magic(bytes(fields["magic"]), layout, name)
    slope, inter = _scaling(float(fields["scl_slope"]), float(fields["scl_inter"]), name)
    pixdim = _pixdim(fields["pixdim"].astype(float), name)
    units = int(fields["xyzt_units"])
    codes = int(fields["sform_code"]), int(fields["qform_code"])
    header = NiftiHeader(
        shape=_shape([int(size) for size in fields["dim"]], name),
        dtype=_dtype(int(fields["datatype"]), order, name),
        offset=_offset(float(fields["vox_offset"]), layout.itemsize, name),
        slope=slope,
        inter=inter,
        pixdim=pixdim,
        sform=_rows(_sform(fields), "sform", name) if codes[0] > 0 else None,
        qform=_rows(_qform(fields, pixdim), "qform", name) if codes[1] > 0 else None,
        sform_code=codes[0],
        qform_code=codes[1],
        space_unit=SPACE_UNITS.get(units & 0x07),
        time_unit=TIME_UNITS.get(units & 0x38),
    )
    if header.end > MAXIMUM_NBYTES:
        raise FileFormatError(f"{name}: the header claims an impossible shape, {header.shape}.")
    return header


def _recognise(data: bytes, name: str) -> tuple[np.dtype[np.void], ByteOrder]:
    """Tell the version and the byte order from the first field, which is the header's own size."""
    if not data:
        raise FileFormatError(f"{name}: the file is empty.")
    for layout in (NIFTI1, NIFTI2):
        for order in BYTE_ORDERS:
            if data[:4] == np.array(layout.itemsize, f"{order}i4").tobytes():
                if len(data) < layout.itemsize:
                    raise FileFormatError(
                        f"{name}: the file ends within its header: {len(data)} bytes of "
                        f"{layout.itemsize}."
                    )
                return layout, order
    raise FileFormatError(
        f"{name}: not a NIfTI-1 or NIfTI-2 file: it begins with {data[:4]!r}, and not with the "
        "size of such a header (348 or 540)."
    )


def _check_magic(magic: bytes, layout: np.dtype[np.void], name: str) -> None:
    """Refuse what is no single-file NIfTI."""
    wanted = (b"n+1",) if layout is NIFTI1 else (b"n+2", b"n+2\0\r\n\x1a\n")
    if magic in wanted:
        return
    if magic[:3] in (b"ni1", b"ni2"):
        raise FileFormatError(
            f"{name}: this is the header of a two-file NIfTI (.hdr and .img). Only single-file "
            "NIfTI-1 and NIfTI-2 are supported: convert it first."
        )
    raise FileFormatError(
        f"{name}: wrong magic {magic!r}: expected {wanted[-1]!r}. Only NIfTI-1 and NIfTI-2 formats "
        "are supported."
    )


def _shape(dim: list[int], name: str) -> tuple[int, ...]:
    """Read the number of axes and their sizes."""
    ndim = dim[0]
    if not 1 <= ndim <= 7:
        raise FileFormatError(f"{name}: dim[0] is {ndim}: a file has 1 to 7 axes.")
    shape = tuple(dim[1 : ndim + 1])
    if min(shape) < 1:
        raise FileFormatError(f"{name}: the header claims an impossible shape, {shape}.")
    return shape


def _dtype(code: int, order: ByteOrder, name: str) -> np.dtype[np.generic]:
    """Read the type of the stored values."""
    if code in DATATYPES:
        return np.dtype(order + DATATYPES[code])
    meaning = UNREADABLE_DATATYPES.get(code, "no type at all")
    raise FileFormatError(
        f"{name}: datatype {code} ({meaning}) cannot be read: integers of 8 to 64 bits, floats of "
        "32 and 64 bits and complex numbers of them can."
    )


def _offset(value: float, header_size: int, name: str) -> int:
    """Read where the values begin."""
    smallest = header_size + 4
    if value == 0:  # left unset by some writers; then the values follow the header
        return smallest
    if not smallest <= value < MAXIMUM_NBYTES:  # false for NaN, too
        raise FileFormatError(
            f"{name}: vox_offset is {value:g}, but values begin at {smallest} or later."
        )
    return int(value)


def _scaling(slope: float, inter: float, name: str) -> tuple[float | None, float]:
    """Read the scaling; a slope of 0 or NaN means none."""
    if slope == 0 or not math.isfinite(slope) or (slope == 1 and inter == 0):
        return None, 0.0
    if not math.isfinite(inter):
        raise FileFormatError(f"{name}: scl_slope is {slope:g} but scl_inter is {inter:g}.")
    return slope, inter


def _pixdim(values: NDArray[np.float64], name: str) -> tuple[float, ...]:
    """Read the steps along each axis.

    A voxel size that is negative loses its sign, and zero becomes one. A step in time or along a
    further axis that is no number counts as not given.
    """
    usable = np.abs(values) < LARGEST_NUMBER
    if not usable[1:4].all():
        raise FileFormatError(f"{name}: pixdim has a voxel size that is no number.")
    spatial = np.abs(values[1:4])
    steps = np.where(usable, values, 0.0)
    steps[1:4] = np.where(spatial == 0, 1.0, spatial)
    return tuple(steps.tolist())


def _sform(fields: np.void) -> NDArray[np.float64]:
    """Read the sform affine."""
    return np.vstack([fields["srow"].astype(float), (0.0, 0.0, 0.0, 1.0)])


def _qform(fields: np.void, pixdim: tuple[float, ...]) -> NDArray[np.float64]:
    """Build the qform affine from quaternion, voxel sizes and offset."""
    b, c, d = (float(fields[f"quatern_{axis}"]) for axis in "bcd")
    rest = 1.0 - b * b - c * c - d * d
    # Rounding of the other three is all that is left of a half turn: nibabel, too, takes it for 0.
    rounding = 3 * float(np.finfo(fields["quatern_b"].dtype.newbyteorder("=")).eps)
    a = math.sqrt(rest) if rest >= rounding else 0.0
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    handedness = -1.0 if pixdim[0] == -1 else 1.0
    affine = np.eye(4)
    with np.errstate(over="ignore", invalid="ignore"):  # what is no number is found out later
        # A quaternion that rounding or damage made longer than 1 is still no more than a rotation.
        rotation /= a * a + b * b + c * c + d * d
        affine[:3, :3] = rotation * (pixdim[1], pixdim[2], handedness * pixdim[3])
    affine[:3, 3] = fields["qoffset"].astype(float)
    return affine


def _rows(affine: NDArray[np.float64], form: str, name: str) -> tuple[tuple[float, ...], ...]:
    """Make an affine a plain value, once it is known to hold numbers only."""
    if not (np.abs(affine) < LARGEST_NUMBER).all():
        raise FileFormatError(f"{name}: the {form} holds entries that are no numbers.")
    return tuple(tuple(row) for row in affine.tolist())
