"""Iconeus SCAN files of the second generation: a packed little-endian header, then float64 values.

The header is read field after field in the order of the vendor's layout; nothing is searched for.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from confusius_datasets._damage import file_errors
from confusius_datasets._io.lazy import LazyArray, Positions
from confusius_datasets._io.matrices import Matrix
from confusius_datasets._io.prepared import Coordinates
from confusius_datasets._io.scan.parts import (
    METRES_TO_MM,
    ScanContents,
    axis,
    clock_attrs,
    to_lab,
)
from confusius_datasets._io.scan.v2_header import (
    FIXED_SIZE,
    ScanHeader,
    check_fixed_part,
    parse_scan_header,
)
from confusius_datasets._io.versions import Origin

__all__ = ["read_scan_v2"]


class BinaryValues(LazyArray):
    """The values of a file, in our order of axes; mapped only while some are read."""

    def __init__(self, origin: Origin, header: ScanHeader) -> None:
        lateral, elevation, depth, n_time, n_pose, n_kinds = header.shape
        self.offset = header.offset
        self.stored = (n_kinds, n_pose, n_time, depth, elevation, lateral)
        outer = tuple(count for _, count in outer_axes(header))
        super().__init__(origin, (*outer, elevation, depth, lateral), np.dtype(np.float64))

    def fill(self, values: NDArray[Any], positions: Sequence[Positions]) -> None:
        """Fill an array with the values at the crossings of positions along each axis."""
        # A map that stays open would keep Windows from replacing or deleting the file.
        with file_errors(self.origin.path):
            mapped = np.memmap(self.origin.path, "<f8", "r", offset=self.offset, shape=self.stored)
        ours = mapped.transpose(0, 2, 1, 4, 3, 5).reshape(self.shape)
        values[...] = ours[np.ix_(*positions)]


def read_scan_v2(origin: Origin) -> ScanContents:
    """Read what a binary SCAN file says, its values left alone."""
    header = _read_header(origin.path)
    values = BinaryValues(origin, header)
    dims = (*(dim for dim, _ in outer_axes(header)), "z", "y", "x")
    poses = to_lab(_probe_to_lab(header))
    return ScanContents(
        values,
        dims,
        _axes(header) | _clock(header, dims),
        poses if "pose" in dims else poses[0],
        header.tags["scan"],
        _attrs(header),
        is_power_doppler=header.intents == (0,),
    )


def outer_axes(header: ScanHeader) -> list[tuple[str, int]]:
    """List the axes before those of space: as in the first generation, none of a single entry."""
    _, _, _, n_time, n_pose, n_kinds = header.shape
    axes = [("dim6", n_kinds), ("time", n_time), ("pose", n_pose)]
    return [(dim, count) for dim, count in axes if count > 1]


def _read_header(path: Path) -> ScanHeader:
    """Read a header, and make sure that the values it promises are there."""
    with path.open("rb") as file:
        start = file.read(FIXED_SIZE)
        size = check_fixed_part(start, path.stat().st_size, name=str(path))
        data = start + file.read(size - FIXED_SIZE)
    return parse_scan_header(data, name=str(path))


def _axes(header: ScanHeader) -> Coordinates:
    """Make the coordinates of voxels: centred on the probe, in depth from where imaging begins."""
    lateral, elevation, depth, _, n_pose, n_kinds = header.shape
    dx, dy, dz = (METRES_TO_MM * step for step in header.steps)
    coords: Coordinates = {
        "z": axis("z", (np.arange(elevation) - (elevation - 1) / 2) * dy, dy),
        "y": axis("y", header.depth[0] + np.arange(depth) * dz, dz),
        "x": axis("x", (np.arange(lateral) - (lateral - 1) / 2) * dx, dx),
    }
    for dim, count in (("pose", n_pose), ("dim6", n_kinds)):
        if count > 1:
            coords[dim] = ((dim,), np.arange(count), {})
    return coords


def _clock(header: ScanHeader, dims: tuple[str, ...]) -> Coordinates:
    """Say when volumes ended: when the last of their slices did, of the last of their poses."""
    pose_times = header.times.max(axis=2)
    attrs = clock_attrs(pose_times)
    times = pose_times.max(axis=1)
    each = tuple(dim for dim in dims if dim == "time")
    if not each:  # the only volume has a time, but no axis of times
        times, pose_times = times[0], pose_times[0]
    coords: Coordinates = {"time": (each, times, attrs)}
    if "pose" in dims:
        coords["pose_time"] = ((*each, "pose"), pose_times, dict(attrs))
    return coords


def _probe_to_lab(header: ScanHeader) -> Matrix:
    """Make the probe's matrix of each pose, in m: rotations about x, then y, then z."""
    n_pose = header.shape[4]
    cosines, sines = np.cos(header.rotations).T, np.sin(header.rotations).T
    turns = np.zeros((3, n_pose, 3, 3))
    for index, (cosine, sine) in enumerate(zip(cosines, sines, strict=True)):
        after, last = (index + 1) % 3, (index + 2) % 3
        turns[index, :, index, index] = 1
        turns[index, :, after, after] = turns[index, :, last, last] = cosine
        turns[index, :, after, last] = -sine
        turns[index, :, last, after] = sine
    poses = np.tile(np.eye(4), (n_pose, 1, 1))
    poses[:, :3, :3] = turns[2] @ turns[1] @ turns[0]
    poses[:, :3, 3] = header.translations
    return poses


def _attrs(header: ScanHeader) -> dict[str, Any]:
    """Name provenance and settings as they are named for the first generation, and further."""
    tags = header.tags
    moment = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    try:
        moment += datetime.timedelta(seconds=header.acquired)
    except OverflowError:
        date = acquired = str(header.acquired)
    else:
        date, acquired = f"{moment:%Y-%m-%d %H:%M:%S}", moment.isoformat()
    return {
        "iconeus_scan_format": "v2",
        "iconeus_scan_mode": header.mode,
        "device_serial_number": tags["serial"],
        "software_version": header.version,
        "iconeus_subject": tags["subject"],
        "iconeus_session": tags["session"],
        "iconeus_scan": tags["scan"],
        "iconeus_project": tags["project"],
        "iconeus_date": date,
        "iconeus_datetime": acquired,
        "imaging_depth": header.depth,
        **header.settings,
    }
