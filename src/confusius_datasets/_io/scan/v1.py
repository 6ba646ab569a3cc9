"""Iconeus SCAN files of the first generation: HDF5, as MATLAB writes it.

A file is open only while something is read from it, so that arrays pickle and leave no handle.
"""

from __future__ import annotations

import contextlib
import datetime
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from confusius_datasets._damage import DAMAGE_ERRORS
from confusius_datasets._io.hdf5 import check_heaps, find_dataset, read_variable_text
from confusius_datasets._io.lazy import LazyArray, Positions
from confusius_datasets._io.matrices import Matrix
from confusius_datasets._io.prepared import Coordinates
from confusius_datasets._io.scan.parts import (
    LARGEST,
    METRES_TO_MM,
    ScanContents,
    axis,
    clock_attrs,
    to_lab,
)
from confusius_datasets._io.versions import Origin
from confusius_datasets._text import list_some, quote, shorten
from confusius_datasets.errors import (
    ConfusiusDatasetsError,
    FileFormatError,
    MissingDependencyError,
)

__all__ = ["HDF5_SIGNATURE", "read_brain_to_lab", "read_scan_v1"]

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"

VOLUMES = ("time", "z", "y", "x")
POSES = ("pose", "z", "y", "x")
VOLUMES_OF_POSES = ("time", "pose", "z", "y", "x")

MODES = {
    "2Dscan": (VOLUMES,),
    "3Dscan": (POSES,),
    "4Dscan": (VOLUMES_OF_POSES,),
    "4DscanCustom": (VOLUMES_OF_POSES,),
    # A matrix probe records a volume at once, without moving from pose to pose.
    "3DscanRCA": (POSES, VOLUMES),
    "4DscanRCA": (VOLUMES_OF_POSES, VOLUMES),
}
"""Dimensions of what each acquisition mode may record."""

STORED_AXES = {VOLUMES: 4, POSES: 5, VOLUMES_OF_POSES: 6}
"""Axes of `/Data`, which end in depth, elevation, lateral in every mode."""

PROVENANCE = {
    "device_serial_number": "Machine_SN",
    "software_version": "Neuroscan_version",
    "iconeus_subject": "Subject_tag",
    "iconeus_session": "Session_tag",
    "iconeus_scan": "Scan_tag",
    "iconeus_project": "Project_tag",
    "iconeus_date": "Date",
}
"""Attributes, by the field of `/scanMetaData` they come from."""

LOCKING_DIFFERS = "locking flag values don't match"
"""What HDF5 says of a file that this process itself has open, with a lock."""

IN_USE = ("already open for write", "unable to lock", "being used by another process")
"""What HDF5, or Windows, says of a file that another program is writing."""

LONGEST_TEXT = 1 << 16
"""Texts of a fixed length that is larger are a damaged type."""

MAXIMUM_COMPRESSION = 1032
"""No deflate data decompress to more than this many times their size."""


class Hdf5Values(LazyArray):
    """The `/Data` of a file, in our order of axes."""

    def __init__(self, origin: Origin, stored: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.n_stored = len(stored)
        self.n_blocks = stored[2] if len(stored) == 6 else 1
        depth, elevation, lateral = stored[-3:]
        poses = stored[1:2] if len(stored) == 6 else ()
        shape = (stored[0] * self.n_blocks, *poses, elevation, depth, lateral)
        super().__init__(origin, shape, dtype)

    def fill(self, values: NDArray[Any], positions: Sequence[Positions]) -> None:
        """Fill an array with the values at the crossings of positions along each axis."""
        # HDF5 selects lists of positions one by one; a box around them is read at once instead.
        first, *rest = positions
        box = [slice(int(along.min()), int(along.max()) + 1) for along in rest]
        within = np.ix_(*(along - along.min() for along in rest))
        with open_hdf5(self.origin.path) as file:
            data = _dataset(file, "Data", self.origin.path)
            for start, stop in _runs(first):
                begin, end = int(first[start]), int(first[stop - 1]) + 1
                piece = self._read_box(data, begin, end, box)
                values[start:stop] = piece[(slice(None), *within)]

    def _read_box(self, data: Any, begin: int, end: int, box: Sequence[slice]) -> NDArray[Any]:
        """Read a box of the file, in our order of axes."""
        *poses, z, y, x = box
        if self.n_stored == 4:
            piece = data[begin:end, y, z, x]
        elif self.n_stored == 5:
            piece = data[begin:end, 0, y, z, x]
        else:
            volumes = (divmod(time, self.n_blocks) for time in range(begin, end))
            piece = np.stack([data[scan, poses[0], block, y, z, x] for scan, block in volumes])
        # The file has depth before elevation, our (z, y, x) has elevation first.
        return np.asarray(np.swapaxes(piece, -3, -2))


def read_scan_v1(origin: Origin) -> ScanContents:
    """Read what an HDF5 SCAN file says, its values left alone."""
    path = origin.path
    with open_hdf5(path) as file:
        mode = _read_text(file, "acqMetaData/acquisitionMode", path)
        data = _dataset(file, "Data", path)
        dims = _dims_of(mode, data, path)
        _check_shape(file, data, mode, dims, path)
        values = Hdf5Values(origin, tuple(data.shape), data.dtype)
        coords = _read_axes(file, values.shape, path)
        n_pose = values.shape[dims.index("pose")] if "pose" in dims else None
        if n_pose is not None:
            coords["pose"] = (("pose",), np.arange(n_pose), {})
        # An angiography of a matrix probe need not say when it was taken.
        is_timed = find_dataset(file, "acqMetaData/time", path) is not None
        if "time" in dims and (is_timed or mode != "3DscanRCA"):
            coords |= _read_times(file, values.shape[0], n_pose, path)
        texts = {
            name: _read_text(file, f"scanMetaData/{key}", path) for name, key in PROVENANCE.items()
        }
        lab = to_lab(_read_poses(file, n_pose, path))
    attrs = {"iconeus_scan_format": "v1", "iconeus_scan_mode": mode, **texts, **_datetime(texts)}
    scan = texts["iconeus_scan"]
    return ScanContents(values, dims, coords, lab, scan, attrs, is_power_doppler=True)


def _datetime(texts: dict[str, str]) -> dict[str, str]:
    """Write the date as in the second generation, as far as it can be read: without a zone."""
    with contextlib.suppress(ValueError):
        return {
            "iconeus_datetime": datetime.datetime.fromisoformat(texts["iconeus_date"]).isoformat()
        }
    return {}


def read_brain_to_lab(path: Path) -> Matrix:
    """Read the matrix of an HDF5 BPS file, in metres."""
    with open_hdf5(path) as file:
        return _read_array(file, "BrainToLab", path, shape=(4, 4))


@contextlib.contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """Open an HDF5 file for reading, and close it whatever happens."""
    try:
        with _open_without_lock(path) as file:
            yield file
    except ConfusiusDatasetsError:
        raise
    # h5py turns damage into whatever the C library made of it.
    except DAMAGE_ERRORS as error:
        if isinstance(error, OSError) and any(words in str(error) for words in IN_USE):
            raise FileFormatError(
                f"{path}: the file is in use by another program, which has it open for writing. "
                "Close it there, or wait until it is written. If no program has it open, one ended "
                "without closing it: 'h5clear -s' on the file takes the mark away."
            ) from error
        raise FileFormatError(
            f"{path}: the HDF5 file is damaged or incomplete: {shorten(error)}. Fetch or copy it "
            "again."
        ) from error


def _open_without_lock(path: Path) -> Any:
    """Open an HDF5 file without a lock: many network file systems have none (h5py#1101)."""
    try:
        import h5py
    except ImportError as error:
        raise MissingDependencyError(
            "h5py", extra="scan", purpose="Loading this kind of .scan or .bps file"
        ) from error
    try:
        return h5py.File(path, "r", locking=False)
    except OSError as error:
        if LOCKING_DIFFERS not in str(error):
            raise
        return h5py.File(path, "r")


def _dataset(file: Any, name: str, path: Path) -> Any:
    """Return a dataset of a file, having made sure that what it claims can be in it."""
    import h5py

    found = find_dataset(file, name, path)
    if not isinstance(found, h5py.Dataset):
        raise FileFormatError(
            f"{path}: no dataset '/{name}' in the file, which an Iconeus file of this kind has. "
            f"At its top there are {list_some(sorted(file)) or 'none'}."
        )
    claimed = math.prod(found.shape or (0,)) * found.dtype.itemsize
    if claimed > MAXIMUM_COMPRESSION * found.id.get_storage_size():
        raise FileFormatError(
            f"{path}: '/{name}' claims the shape {found.shape}, {claimed} bytes, but the file "
            f"holds {found.id.get_storage_size()} bytes of it. Fetch or copy it again."
        )
    return found


def _read_array(file: Any, name: str, path: Path, *, shape: tuple[int, ...]) -> Matrix:
    """Read an array of numbers of a known shape; axes of length 1 do not count."""
    found = _dataset(file, name, path)
    squeezed = tuple(size for size in found.shape if size != 1)
    if squeezed != tuple(size for size in shape if size != 1):
        raise FileFormatError(f"{path}: '/{name}' has the shape {found.shape}, not {shape}.")
    if found.dtype.kind not in "iuf":
        raise FileFormatError(f"{path}: '/{name}' holds {found.dtype} and no numbers.")
    values = np.asarray(found[()], dtype=np.float64).reshape(shape)
    if not np.all(np.abs(values) <= LARGEST):  # false for NaN too
        raise FileFormatError(f"{path}: '/{name}' holds values that are no possible numbers.")
    return values


def _read_count(file: Any, name: str, path: Path) -> int:
    """Read a positive whole number."""
    value = float(_read_array(file, name, path, shape=()))
    if value < 1 or value != int(value):
        raise FileFormatError(
            f"{path}: '/{name}' is {value:g}; it must be a whole number, 1 or more."
        )
    return int(value)


def _read_text(file: Any, name: str, path: Path) -> str:
    """Read a text; a field that is missing or empty is an empty text."""
    import h5py

    if find_dataset(file, name, path) is None:
        return ""
    found = _dataset(file, name, path)
    if h5py.check_string_dtype(found.dtype) is None or found.dtype.itemsize > LONGEST_TEXT:
        raise FileFormatError(f"{path}: '/{name}' holds {found.dtype} and no text.")
    if not found.size:
        return ""
    if h5py.check_string_dtype(found.dtype).length is None:
        return _variable_text(found, path).decode("utf-8", "replace")
    value = found[(0,) * len(found.shape)]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _variable_text(found: Any, path: Path) -> bytes:
    """Read the first text of a dataset of texts of variable length."""
    offset = found.id.get_offset()
    if offset is None:  # in pieces, or in the header
        check_heaps(path)
        value = found[(0,) * len(found.shape)]
        return value if isinstance(value, bytes) else str(value).encode()
    created = found.file.id.get_create_plist()
    text = read_variable_text(path, offset, created.get_sizes())
    return text.rstrip(b"\0")


def _dims_of(mode: str, data: Any, path: Path) -> tuple[str, ...]:
    """Say which dimensions a file of a mode has, by the axes of its data."""
    if mode not in MODES:
        raise FileFormatError(
            f"{path}: Unknown acquisitionMode: {quote(mode)}. Known are {', '.join(MODES)}."
        )
    fitting = [dims for dims in MODES[mode] if STORED_AXES[dims] == len(data.shape)]
    return fitting[0] if fitting else MODES[mode][0]


def _check_shape(file: Any, data: Any, mode: str, dims: tuple[str, ...], path: Path) -> None:
    """Compare the shape of `/Data` with what the metadata say."""
    size = {axis: _read_count(file, f"acqMetaData/imgDim/size{axis}", path) for axis in "XYZ"}
    spatial = (size["Z"], size["Y"], size["X"])
    shape = tuple(data.shape)
    expected: tuple[int | str, ...] = ("time", *spatial)
    if "pose" in dims:
        n_pose = _read_count(file, "acqMetaData/imgDim/npose", path)
        expected = (n_pose, 1, *spatial)
        if "time" in dims:
            n_blocks = _read_count(file, "acqMetaData/imgDim/nblockRepeat", path)
            expected = ("scan", n_pose, n_blocks, *spatial)
    fits = len(shape) == len(expected) and all(
        isinstance(size, str) or found == size for found, size in zip(shape, expected, strict=True)
    )
    if not fits or data.dtype.kind not in "iuf":
        raise FileFormatError(
            f"{path}: '/Data' has the shape {shape} and the type {data.dtype}, but a {mode} of "
            f"this size has numbers in the shape ({', '.join(map(str, expected))})."
        )


def _read_axes(file: Any, shape: tuple[int, ...], path: Path) -> Coordinates:
    """Read the coordinates of voxels in the probe's frame."""
    to_probe = METRES_TO_MM * _read_array(file, "acqMetaData/voxelsToProbe", path, shape=(4, 4))
    coords: Coordinates = {}
    # Voxels are counted from 1; depth points down, the probe's third axis up.
    for dim, row, sign, size in zip("zyx", (1, 2, 0), (1, -1, 1), shape[-3:], strict=True):
        step, origin = to_probe[row, row], to_probe[row, 3]
        coords[dim] = axis(dim, sign * (step * np.arange(1, size + 1) + origin), abs(step))
    return coords


def _read_times(file: Any, n_time: int, n_pose: int | None, path: Path) -> Coordinates:
    """Read when volumes ended; of a volume that is made of poses, when the last of them did."""
    shape = (n_time,) if n_pose is None else (n_time, n_pose)
    times = _read_array(file, "acqMetaData/time", path, shape=(math.prod(shape),)).reshape(shape)
    attrs = clock_attrs(times)
    if n_pose is None:
        return {"time": (("time",), times, attrs)}
    return {
        "time": (("time",), times.max(axis=1), attrs),
        "pose_time": (("time", "pose"), times, dict(attrs)),
    }


def _read_poses(file: Any, n_pose: int | None, path: Path) -> Matrix:
    """Read where the probe was: one matrix, or one a pose."""
    shape = (4, 4) if n_pose is None else (n_pose, 4, 4)
    return _read_array(file, "acqMetaData/probeToLab", path, shape=shape)


def _runs(positions: Positions) -> Iterator[tuple[int, int]]:
    """Part positions into stretches that ascend by one."""
    breaks = (np.flatnonzero(np.diff(positions) != 1) + 1).tolist()
    yield from zip([0, *breaks], [*breaks, len(positions)], strict=True)
