"""The NIfTI header: bytes → `NiftiHeader`, checked before anything is believed; no files here.

nibabel parses. Its own checks are not used: they log, repair or refuse in ways that say nothing
about the file, and a header that claims more than the file holds passes them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import nibabel
import numpy as np
from nibabel.quaternions import quat2mat
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from confusius_datasets._damage import explain_content
from confusius_datasets.errors import FileFormatError

__all__ = ["HEADER_SIZE", "NiftiHeader", "parse_header"]

HEADER_SIZE = 540
"""Bytes to read: the larger of the two headers, NIfTI-2's."""

HEADER_CLASSES: dict[int, Any] = {348: nibabel.Nifti1Header, 540: nibabel.Nifti2Header}
"""nibabel's classes by the first field of a header, which is its own size."""

UNREADABLE_DATATYPES = {
    0: "unknown",
    1: "single bits",
    1536: "128-bit floats",
    2048: "256-bit complex numbers",
}
"""What the codes of `datatype` stand for that NumPy has no type for on every machine."""

SPACE_UNITS = {1: "m", 2: "mm", 3: "um"}
TIME_UNITS = {8: "s", 16: "ms", 24: "us"}
"""Our units by their codes; of a code outside of the standard nibabel makes a `KeyError`."""

LINE_ENDS = ((0, 0, 0, 0), (13, 10, 26, 10))
"""What stands behind the magic of NIfTI-2; a transfer as text would have changed it."""

MAXIMUM_NBYTES = 2**62
"""Data larger than this are a damaged header, and would overflow offsets."""

LARGEST_NUMBER = 1e38
"""Lengths and times beyond this, and NaN, are damage: NIfTI-1 cannot even write them."""

Affine = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class NiftiHeader:
    """What a NIfTI header says, in native numbers."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    offset: int
    slope: float | None
    inter: float
    pixdim: tuple[float, ...]
    sform: Affine | None
    qform: Affine | None
    sform_code: int
    qform_code: int
    space_unit: str | None
    time_unit: str | None
    problems: tuple[str, ...] = field(default=())
    """What is wrong with it that does not keep the values from being read."""

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
    fields = _recognise(data, name)
    _check_magic(fields, name)
    dtype = _dtype(fields, name)
    slope, inter = (None, 0.0) if dtype.names else _scaling(fields, name)
    pixdim, problems = _pixdim(fields["pixdim"].astype(float))
    codes = int(fields["sform_code"]), int(fields["qform_code"])
    units = int(fields["xyzt_units"])
    header = NiftiHeader(
        shape=_shape([int(size) for size in fields["dim"]], name),
        dtype=dtype,
        offset=_offset(fields, name),
        slope=slope,
        inter=inter,
        pixdim=pixdim,
        sform=fields.get_sform() if codes[0] > 0 else None,
        qform=_qform(fields, pixdim) if codes[1] > 0 else None,
        sform_code=codes[0],
        qform_code=codes[1],
        space_unit=SPACE_UNITS.get(units & 0x07),
        time_unit=TIME_UNITS.get(units & 0x38),
        problems=tuple(problems),
    )
    if header.end > MAXIMUM_NBYTES:
        raise FileFormatError(f"{name}: the header claims an impossible shape, {header.shape}.")
    return header


def _recognise(data: bytes, name: str) -> nibabel.Nifti1Header:
    """Tell the version and the byte order from the first field, which is the header's own size."""
    if not data:
        raise FileFormatError(f"{name}: the file is empty.")
    for size, header_class in HEADER_CLASSES.items():
        for order in "<>":
            if data[:4] == np.array(size, f"{order}i4").tobytes():
                if len(data) < size:
                    raise FileFormatError(
                        f"{name}: the file ends within its header: {len(data)} bytes of {size}."
                    )
                header: nibabel.Nifti1Header = header_class(data[:size], order, check=False)
                return header
    reason = explain_content(data) or (
        f"it begins with {data[:4]!r}, and not with the size of such a header (348 or 540)."
    )
    raise FileFormatError(f"{name}: not a NIfTI-1 or NIfTI-2 file: {reason}")


def _check_magic(fields: nibabel.Nifti1Header, name: str) -> None:
    """Refuse what is not a NIfTI file in one piece."""
    magic, expected = bytes(fields["magic"].item()), bytes(fields.single_magic)
    ends = tuple(map(int, fields["eol_check"])) if fields.sizeof_hdr == 540 else LINE_ENDS[0]
    if magic == expected and ends in LINE_ENDS:
        return
    if magic[:3] in (b"ni1", b"ni2"):
        raise FileFormatError(
            f"{name}: this is the header of a two-file NIfTI (.hdr and .img). Only single-file "
            "NIfTI-1 and NIfTI-2 are supported: convert it first."
        )
    raise FileFormatError(
        f"{name}: wrong magic {magic!r}: expected {expected!r}. Only NIfTI-1 and NIfTI-2 formats "
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


def _dtype(fields: nibabel.Nifti1Header, name: str) -> np.dtype[np.generic]:
    """Read the type of the stored values."""
    code = int(fields["datatype"])
    # For codes that NumPy has no type for, nibabel gives `void`, which would read as nothing.
    if code not in UNREADABLE_DATATYPES:
        try:
            dtype: np.dtype[np.generic] = fields.get_data_dtype()
        except KeyError:
            pass
        else:
            return dtype
    meaning = UNREADABLE_DATATYPES.get(code, "no type at all")
    raise FileFormatError(
        f"{name}: datatype {code} ({meaning}) cannot be read: integers of 8 to 64 bits, floats of "
        "32 and 64 bits, complex numbers of them, and colours can."
    )


def _offset(fields: nibabel.Nifti1Header, name: str) -> int:
    """Read where the values begin."""
    value = float(fields["vox_offset"])
    smallest = int(fields.single_vox_offset)
    if value == 0:  # left unset by some writers; then the values follow the header
        return smallest
    if not smallest <= value < MAXIMUM_NBYTES:  # also false for NaN
        raise FileFormatError(
            f"{name}: vox_offset is {value:g}, but values begin at {smallest} or later."
        )
    return int(value)


def _scaling(fields: nibabel.Nifti1Header, name: str) -> tuple[float | None, float]:
    """Read the scaling; a slope of 0 or NaN means none."""
    try:
        slope, inter = fields.get_slope_inter()
    except HeaderDataError as error:
        raise FileFormatError(
            f"{name}: scl_slope is {float(fields['scl_slope']):g} but scl_inter is "
            f"{float(fields['scl_inter']):g}."
        ) from error
    if slope is None or (slope == 1 and inter == 0):
        return None, 0.0
    return float(slope), float(inter)


def _pixdim(values: NDArray[np.float64]) -> tuple[tuple[float, ...], list[str]]:
    """Read the steps along each axis, and say which of them cannot be used.

    A voxel size that is negative loses its sign, and zero becomes one, as for nibabel. A step in
    time or along a further axis that is not a number counts as not given.
    """
    # One bad number must not hide the values: the forms decide where the voxels are.
    usable = np.abs(values) < LARGEST_NUMBER
    problems = [
        f"pixdim[{axis}], the voxel size along {dim}, is {values[axis]:g}. It is taken to be 1."
        for axis, dim in ((1, "x"), (2, "y"), (3, "z"))
        if not usable[axis]
    ]
    steps = np.where(usable, values, 0.0)
    spatial = np.abs(steps[1:4])
    steps[1:4] = np.where(spatial == 0, 1.0, spatial)
    return tuple(steps.tolist()), problems


def _qform(fields: nibabel.Nifti1Header, pixdim: tuple[float, ...]) -> Affine:
    """Build the qform affine from quaternion, voxel sizes and offset."""
    # Not through `get_qform`, which refuses half turns that rounding made longer than 1, and
    # files whose pixdim[0] is 0.
    b, c, d = (float(fields[f"quatern_{axis}"]) for axis in "bcd")
    rest = 1.0 - b * b - c * c - d * d
    # After a half turn only rounding errors are left of the first part: nibabel also takes 0.
    rounding = 3 * float(np.finfo(fields["quatern_b"].dtype.newbyteorder("=")).eps)
    first = math.sqrt(rest) if rest >= rounding else 0.0
    affine = np.eye(4)
    with np.errstate(over="ignore", invalid="ignore"):  # what is not a number is found out later
        sizes = (pixdim[1], pixdim[2], pixdim[3] * (-1.0 if pixdim[0] == -1 else 1.0))
        affine[:3, :3] = quat2mat([first, b, c, d]) * sizes
    affine[:3, 3] = [float(fields[f"qoffset_{axis}"]) for axis in "xyz"]
    return affine
