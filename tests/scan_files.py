"""Writes Iconeus files of both generations, as the tests need them."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

VOXELS_TO_PROBE = np.array(
    [
        [1.1e-4, 0, 0, -2.2e-4],
        [0, 4e-4, 0, -6e-4],
        [0, 0, -5e-5, -1e-3],
        [0, 0, 0, 1],
    ]
)
"""Lateral steps of 0.11 mm, elevation of 0.4 mm, depth of 0.05 mm from 1.05 mm on."""

POSE = np.array(
    [
        [0.0, -1.0, 0.0, 1e-3],
        [1.0, 0.0, 0.0, 2e-3],
        [0.0, 0.0, 1.0, 3e-3],
        [0.0, 0.0, 0.0, 1.0],
    ]
)
"""A probe turned by a quarter about its third axis and shifted by 1, 2 and 3 mm."""

BRAIN_TO_LAB = np.array(
    [
        [0.0, 0.0, 1.0, 4e-3],
        [1.0, 0.0, 0.0, 5e-3],
        [0.0, 1.0, 0.0, 6e-3],
        [0.0, 0.0, 0.0, 1.0],
    ]
)

TEXTS = {
    "Machine_SN": "SN-07",
    "Neuroscan_version": "1.4.2",
    "Subject_tag": "mouse3",
    "Session_tag": "day2",
    "Scan_tag": "checkerboard",
    "Project_tag": "vision",
    "Date": "2021-10-22 14:14:12",
}


def write_hdf5(path: Path, content: Mapping[str, Any]) -> Path:
    """Write datasets by their path in the file; those that are `None` are left out."""
    with h5py.File(path, "w") as file:
        for name, value in content.items():
            if value is not None:
                file[name] = value
    return path


def scan_v1_content(
    mode: str,
    data: np.ndarray[Any, Any],
    *,
    n_pose: int = 1,
    n_block: int = 1,
    times: Sequence[float] | None = None,
    poses: np.ndarray[Any, Any] = POSE,
) -> dict[str, Any]:
    """Make the datasets of a first-generation file."""
    depth, elevation, lateral = data.shape[-3:]
    numbers = {
        "imgDim/sizeX": lateral,
        "imgDim/sizeY": elevation,
        "imgDim/sizeZ": depth,
        "imgDim/npose": n_pose,
        "imgDim/nblockRepeat": n_block,
    }
    content: dict[str, Any] = {"Data": data}
    content |= {f"acqMetaData/{name}": np.array([[float(n)]]) for name, n in numbers.items()}
    content["acqMetaData/acquisitionMode"] = np.array([[mode.encode()]], dtype="S")
    content["acqMetaData/voxelsToProbe"] = VOXELS_TO_PROBE
    content["acqMetaData/probeToLab"] = poses
    content["acqMetaData/time"] = None if times is None else np.array(times)[:, np.newaxis]
    text = h5py.string_dtype()
    for name, value in TEXTS.items():
        content[f"scanMetaData/{name}"] = np.array([[value]], dtype=text)
    return content


def _text(value: str, form: str = "I") -> bytes:
    """Pack a text after its length."""
    return struct.pack(f"<{form}", len(value.encode())) + value.encode()


def scan_v2_bytes(
    data: np.ndarray[Any, Any],
    *,
    times: np.ndarray[Any, Any],
    rotations: Sequence[Sequence[float]] = ((0.0, 0.0, 0.0),),
    translations: Sequence[Sequence[float]] = ((1e-3, 2e-3, 3e-3),),
    intents: Sequence[int] = (0,),
    fields: Mapping[str, Any] | None = None,
    announce: bool = True,
) -> bytes:
    """Make a second-generation file.

    The axes of `data` are the file's: kind, pose, time, depth, elevation, lateral.

    `times` has the shape (time, pose, elevation); `fields` replaces texts and numbers by name.
    """
    said = {
        "depth_near": 2.0,
        "project": "vision",
        "project_description": "",
        "subject": "mouse3",
        "session": "day2",
        "subject_description": "",
        "treatment": "",
        "scan": "checkerboard",
        "serial": b"SN-07".hex(),
        "mode": 0,
        "acquired": 1_634_911_200,
        **(fields or {}),
    }
    n_kinds, n_pose, n_time, depth, elevation, lateral = data.shape
    parts = [struct.pack(f"<{len(intents)}I", *intents)]
    for intent in intents:
        if intent == 0:
            parts.append(struct.pack("<IdII", 0, 0.4, 60, 200))
        elif intent == 2:
            parts.append(struct.pack("<ff12x", 1.0, 2.0))
        else:
            parts.append(bytes(20))
    parts += [
        struct.pack("<6d", 1.1e-4, 4e-4, 1e-4, 0.4, 0.0, 0.0),
        np.ascontiguousarray(times, "<f8").tobytes(),
        np.arange(elevation * n_time * n_pose, dtype="<u4").tobytes(),
        np.array(translations, "<f8").tobytes(),
        np.array(rotations, "<f8").tobytes(),
        struct.pack("<4xI4x", said["mode"]),
        struct.pack("<I5dH", 0, 15.625, 0.11, 1.5, 8.0, 0.0, 128),
        _text("IcoPrime-4D", "H"),
        _text("the probe", "H"),
        struct.pack("<5d8x", said["depth_near"], 10.0, 15.625, 5500.0, 62.5),
        struct.pack("<I3d", 3, -10.0, 0.0, 10.0),
        struct.pack("<I24x8xd4xdI8x?xd", 1, 20.0, 0.0, 1, False, 0.4),
    ]
    parts += [_text(said[name]) for name in ("project", "project", "project_description")]
    parts[-3] = _text("sequence 7")
    parts += [_text(said["subject"]), _text(said["session"]), _text("Mus musculus")]
    parts += [
        struct.pack("<IqQ", 1, 1_634_911_300, 90),
        _text(said["subject_description"]),
        struct.pack("<If", 1, 25.0),
        *(_text(text) for text in (said["treatment"], said["scan"], "study", "task", "", "me")),
        _text(said["serial"]),
        _text(b"rev B".hex()),
        struct.pack("<qII2f", said["acquired"], 0, 2, 1.0, 2.0),
        struct.pack("<3I", 2, 1, 7),
    ]
    packed = b"".join(parts)
    size = 0x8C + len(packed)
    payload = math.prod(data.shape) * 8
    head = bytearray(0x8C)
    head[:4] = b"scan"
    struct.pack_into("<2Q", head, 0x20, size, payload if announce else 0)
    struct.pack_into("<6Q", head, 0x5C, lateral, elevation, depth, n_time, n_pose, n_kinds)
    return bytes(head) + packed + np.ascontiguousarray(data, "<f8").tobytes()
