"""A small fUSI-BIDS dataset made by the package itself, so that everything can be tried offline.

Two mice, two sessions, two tasks, two slices, angiographies, events and the true map of what
responds. It is a `Source` like any host. The bytes are the same on every machine: the arithmetic
keeps to operations that IEEE 754 rounds exactly, the noise is cut from the raw bits of a generator,
and the gzip files hold stored blocks, since compressed ones differ between zlib builds.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from confusius_datasets._index import INDEX_NAME, Checksum, DatasetIndex, FileEntry
from confusius_datasets._sources.http import HttpClient
from confusius_datasets._sources.memory import MemoryStream
from confusius_datasets._sources.ranges import WHOLE, ByteRange, slice_of
from confusius_datasets._sources.records import JsonFormat
from confusius_datasets.errors import RemoteNotFoundError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    FloatArray = npt.NDArray[np.float64]

__all__ = ["SampleSource"]

SUBJECTS = ("mouse1", "mouse2")
SESSIONS = ("day1", "day2")
TASKS = ("rest", "checkerboard")
SLICES = ("slice01", "slice02")

N_X, N_Y, N_VOLUMES = 64, 48, 120
"""Voxels across and in depth, and volumes of a recording."""

N_ANGIO = 9
"""Slices of an angiography; the recorded ones are among them."""

N_VESSELS = 22
"""Vessels of a mouse that dive from the surface."""

SLICE_OF_ANGIO = MappingProxyType({"slice01": 2, "slice02": 6})
"""Where in the angiography each recorded slice lies."""

STEP_X, STEP_Y, STEP_Z = 0.125, 0.125, 0.25
"""Voxel size in mm; powers of two, so that coordinates are exact."""

REPETITION_TIME = 0.5
"""Seconds between volumes."""

STIMULUS_DURATION = 5.0
"""Seconds of each checkerboard."""

RESPONSE = 0.3
"""Relative rise of the signal in a responding voxel at the height of the response."""

NOISE = 0.06
"""Relative standard deviation of the noise of a voxel."""

FORMAT = JsonFormat(host="sample")
"""The form of its index; the files need no locators."""


@dataclass(frozen=True, slots=True)
class SampleSource:
    """The source of the sample dataset: every file is made when it is asked for."""

    host: ClassVar[str] = "sample"
    index_name: ClassVar[str] = INDEX_NAME

    def list_files(self, client: HttpClient) -> DatasetIndex:
        """Make the index of the sample dataset."""
        return _make_index()

    def open(
        self,
        entry: FileEntry,
        part: ByteRange = WHOLE,
        *,
        client: HttpClient,
        etag: str | None = None,
    ) -> MemoryStream:
        """Make a file and open it, or a part of it."""
        make = _makers().get(entry.relpath)
        if make is None:
            raise RemoteNotFoundError(
                f"The sample dataset has no file {entry.relpath!r}. Fetch it with refresh=True to "
                "renew its index."
            )
        content = make()
        start, stop = slice_of(part, len(content))
        return MemoryStream(content[start:stop], start, len(content))

    def read_index(self, data: bytes, origin: str) -> DatasetIndex:
        """Read an index."""
        return FORMAT.read(data, origin)

    def format_index(self, index: DatasetIndex) -> bytes:
        """Write an index."""
        return FORMAT.format(index)


@cache
def _make_index() -> DatasetIndex:
    """Make every file once, to know its size and checksum."""
    return DatasetIndex(_describe(relpath, make()) for relpath, make in _makers().items())


def _describe(relpath: str, content: bytes) -> FileEntry:
    """Make the entry of a file."""
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return FileEntry(relpath, len(content), (Checksum("md5", md5),))


@cache
def _makers() -> Mapping[str, Callable[[], bytes]]:
    """Map each path of the dataset to the function that makes its bytes."""
    makers: dict[str, Callable[[], bytes]] = {
        "README.md": README.encode,
        "dataset_description.json": partial(_json, DESCRIPTION),
        "participants.tsv": partial(_table, PARTICIPANTS),
        "pwd.json": partial(_json, HARDWARE),
        "task-checkerboard_events.json": partial(_json, EVENTS_COLUMNS),
        "derivatives/groundtruth/dataset_description.json": partial(_json, TRUTH_DESCRIPTION),
    }
    for subject in SUBJECTS:
        for session in SESSIONS:
            makers |= _session_makers(subject, session)
    return MappingProxyType(makers)


def _session_makers(subject: str, session: str) -> dict[str, Callable[[], bytes]]:
    """Map the paths of one session to the functions that make their bytes."""
    name = f"sub-{subject}_ses-{session}"
    folder = f"sub-{subject}/ses-{session}"
    makers: dict[str, Callable[[], bytes]] = {
        f"{folder}/angio/{name}_pwd.nii.gz": partial(_angiography, subject)
    }
    for acq in SLICES:
        truth = f"derivatives/groundtruth/{folder}/fusi/{name}_acq-{acq}_desc-responding_mask"
        makers[f"{truth}.nii.gz"] = partial(_truth, subject, acq)
        for task in TASKS:
            stem = f"{folder}/fusi/{name}_task-{task}_acq-{acq}"
            makers[f"{stem}_pwd.nii.gz"] = partial(_recording, subject, session, task, acq)
            makers[f"{stem}_pwd.json"] = partial(_json, SIDECARS[task])
            if task == "checkerboard":
                makers[f"{stem}_events.tsv"] = partial(_events, subject, session, acq)
    return makers


# What the files hold: images.


def _recording(subject: str, session: str, task: str, acq: str) -> bytes:
    """Make the power Doppler series of one slice."""
    import numpy as np

    anatomy = _anatomy(subject, SLICE_OF_ANGIO[acq])
    bits = _bits(f"{subject}/{session}/{task}/{acq}")
    gain = 1 + NOISE * _noise(bits, (N_VOLUMES, N_Y, N_X))
    gain *= (1 + 0.25 * NOISE * _noise(bits, (N_VOLUMES,)))[:, None, None]
    if task == "checkerboard":
        course = _response(_onsets(subject, session, acq))
        responding = _responding(subject, SLICE_OF_ANGIO[acq])
        gain += RESPONSE * course[:, None, None] * responding
    series = np.maximum(anatomy * gain, 0.0)
    return _nifti(series.transpose(2, 1, 0)[:, :, None, :], SLICE_OF_ANGIO[acq])


def _angiography(subject: str) -> bytes:
    """Make the volume of a mouse's vessels."""
    import numpy as np

    volume = np.stack([_anatomy(subject, k) for k in range(N_ANGIO)])
    return _nifti(volume.transpose(2, 1, 0), 0)


def _truth(subject: str, acq: str) -> bytes:
    """Make the map of what responds to the checkerboard."""
    responding = _responding(subject, SLICE_OF_ANGIO[acq]) > 0
    return _nifti(responding.transpose()[:, :, None], SLICE_OF_ANGIO[acq], dtype="uint8")


@cache
def _anatomy(subject: str, k: int) -> FloatArray:
    """Draw one slice: a dome of tissue, vessels that dive from its surface, larger ones below."""
    import numpy as np

    y, x = _grid()
    depth = y - _surface(k)
    grain = (_bits(f"{subject}/tissue/{k}").random_raw(N_Y * N_X) >> 11).reshape(N_Y, N_X)
    image = 30.0 + 20.0 * grain.astype(np.float64) / float(1 << 53)
    for place, slope, bend, width, reach, brightness in _vessels(subject):
        # A vessel wanders with depth and from slice to slice, and ends where it has branched.
        centre = place + slope * (y - 1.0) + bend * (y - 2.5) * (y - 2.5)
        across = (x - centre - 0.15 * slope * (k - N_ANGIO // 2)) / width
        image = image + brightness * _bump(across) * _bump(np.maximum(depth, 0.0) / reach)
    # Below the cortex, one bent vessel a side, and a large one beneath it.
    aside = np.abs(x - 4.0)
    bent = (y - 2.9 - 0.22 * (aside - 1.2) * (aside - 1.2)) / 0.14
    image = image + 170.0 * _bump(bent) * _bump((aside - 1.8) / 1.4)
    for centre_x, centre_y in ((2.3, 4.6), (5.7, 4.5)):
        distance = (x - centre_x) * (x - centre_x) + (y - centre_y) * (y - centre_y)
        image = image + 450.0 / (1.0 + distance * distance * 400.0)
    # On the surface, the vessels that all others come from, largest at the midline.
    image = image + (260.0 + 300.0 * _bump(aside / 0.35)) * _bump((depth - 0.1) / 0.14)
    return image * _inside(k) + 4.0  # above the brain there is gel, and little to hear


def _bump(distance: FloatArray) -> FloatArray:
    """Return 1 at 0, a half at a distance of 1, and next to nothing at 3."""
    square = distance * distance
    return 1.0 / (1.0 + square * square)


def _vessels(subject: str) -> list[tuple[float, ...]]:
    """List a mouse's diving vessels: place, slope, bend, width and reach in mm, brightness."""
    raw = (_bits(f"{subject}/vessels").random_raw(N_VESSELS * 6) >> 11).tolist()
    unit = iter([value / float(1 << 53) for value in raw])
    return [
        (
            0.2 + 0.35 * i + 0.3 * next(unit),
            0.3 * next(unit) - 0.15,
            0.06 * next(unit) - 0.03,
            0.05 + 0.07 * next(unit),
            0.8 + (4.5 if i % 4 == 0 else 1.2) * next(unit),
            140.0 + 300.0 * next(unit),
        )
        for i in range(N_VESSELS)
    ]


def _responding(subject: str, k: int) -> FloatArray:
    """Give each voxel's share of the response: a patch of cortex, 1 in its middle, 0 outside."""
    import numpy as np

    y, x = _grid()
    centre_x = 5.6 if subject == "mouse1" else 2.4
    from_centre = ((x - centre_x) / 1.1) * ((x - centre_x) / 1.1) + ((y - 2.0) / 0.75) * (
        (y - 2.0) / 0.75
    )
    return np.maximum(1.0 - from_centre, 0.0) * _inside(k)


def _grid() -> tuple[FloatArray, FloatArray]:
    """Return depth as a column and lateral position as a row, in mm from the corner."""
    import numpy as np

    y = np.arange(N_Y, dtype=np.float64)[:, None] * STEP_Y
    x = np.arange(N_X, dtype=np.float64)[None, :] * STEP_X
    return y, x


def _surface(k: int) -> FloatArray:
    """Return the depth of the brain's surface at each lateral position, in mm."""
    _, x = _grid()
    from_midline = (x - 4.0) / 4.6
    return 0.7 + 0.04 * abs(k - N_ANGIO // 2) + 1.6 * from_midline * from_midline


def _inside(k: int) -> FloatArray:
    """Return 1 in the brain, 0 above its surface, and what a voxel has of both on it."""
    import numpy as np

    y, _ = _grid()
    return np.clip((y - _surface(k)) / STEP_Y + 0.5, 0.0, 1.0)


# … and time.


def _onsets(subject: str, session: str, acq: str) -> list[float]:
    """List when the checkerboards of a recording begin, in s; no two recordings agree."""
    raw = _bits(f"{subject}/{session}/{acq}/onsets").random_raw(4).tolist()
    return [6.0 + 13.5 * i + 0.5 * (value % 6) for i, value in enumerate(raw)]


def _response(onsets: list[float]) -> FloatArray:
    """Return the time course of the response: the checkerboards, delayed and smeared, at most 1."""
    import numpy as np

    time = np.arange(N_VOLUMES) * REPETITION_TIME
    kernel = [_kernel(lag * REPETITION_TIME) for lag in range(16)]
    whole = math.fsum(kernel)  # `sum` rounds otherwise from Python 3.12 on
    course = np.zeros(N_VOLUMES)
    for onset in onsets:
        for lag, weight in enumerate(kernel):
            since = time - onset - lag * REPETITION_TIME
            course = course + weight / whole * ((since >= 0) & (since < STIMULUS_DURATION))
    return course


def _kernel(lag: float) -> float:
    """Weigh a lag in s: rises to its peak near 1.5 s and is gone after 6 s."""
    scaled = lag / 1.5
    return scaled * scaled / (1.0 + scaled * scaled * scaled * scaled * scaled)


# Randomness, and bytes.


def _bits(name: str) -> np.random.PCG64:
    """Return the stream of raw bits that belongs to a name."""
    import numpy as np

    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    return np.random.PCG64(seed)


def _noise(bits: np.random.PCG64, shape: tuple[int, ...]) -> FloatArray:
    """Return noise of mean 0 and variance 1: four 16-bit uniform numbers added up."""
    import numpy as np

    count = 1
    for length in shape:
        count *= length
    raw = bits.random_raw(count)
    total = np.zeros(count)
    for shift in (0, 16, 32, 48):
        total = total + ((raw >> shift) & 0xFFFF).astype(np.float64)
    # The sum of four uniform numbers on [0, 65535] has variance 65536² / 3.
    deviation = 65536.0 / 1.7320508075688772
    return ((total - 2.0 * 65535.0) / deviation).reshape(shape)


def _nifti(array: npt.NDArray[Any], k: int, *, dtype: str = "float32") -> bytes:
    """Write an (x, y, z[, time]) array as a `.nii.gz`, the first of its slices being number `k`."""
    import nibabel as nib
    import numpy as np

    affine = np.diag([STEP_X, STEP_Y, STEP_Z, 1.0])
    affine[:3, 3] = (-STEP_X * (N_X - 1) / 2, 0.0, STEP_Z * (k - N_ANGIO // 2))
    image = nib.Nifti1Image(array.astype(dtype), affine)
    image.header.set_xyzt_units("mm", "sec")
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    for name in ("quatern_b", "quatern_c", "quatern_d"):
        image.header[name] = 0.0  # computed from eigenvectors, whose signs differ between machines
    if array.ndim == 4:
        image.header["pixdim"][4] = REPETITION_TIME
    return _gzip_stored(image.to_bytes())


def _gzip_stored(content: bytes) -> bytes:
    """Wrap bytes as a gzip file of stored blocks (RFC 1951 §3.2.4, RFC 1952)."""
    pieces = [b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"]
    for offset in range(0, len(content), 0xFFFF):
        block = content[offset : offset + 0xFFFF]
        final = offset + 0xFFFF >= len(content)
        pieces += [struct.pack("<BHH", final, len(block), len(block) ^ 0xFFFF), block]
    pieces.append(struct.pack("<II", zlib.crc32(content), len(content) & 0xFFFFFFFF))
    return b"".join(pieces)


def _json(document: Mapping[str, object]) -> bytes:
    """Write a JSON file."""
    return (json.dumps(document, indent=2) + "\n").encode()


def _table(rows: list[tuple[str, ...]]) -> bytes:
    """Write a TSV file, the first row being its header."""
    return "".join("\t".join(row) + "\n" for row in rows).encode()


def _events(subject: str, session: str, acq: str) -> bytes:
    """Write when the checkerboards of a recording were shown."""
    onsets = _onsets(subject, session, acq)
    header = ("onset", "duration", "trial_type")
    return _table([header, *((str(o), str(STIMULUS_DURATION), "checkerboard") for o in onsets)])


# What the files hold: text.

README = """# Sample dataset of confusius-datasets

Simulated functional ultrasound recordings: no animal was involved. Two mice, two sessions, two
tasks and two slices, in fUSI-BIDS layout. During the task `checkerboard`, a patch of cortex
responds to a stimulus (see the events files); `derivatives/groundtruth` says which voxels do.
"""

DESCRIPTION = {
    "Name": "Sample dataset of confusius-datasets",
    "BIDSVersion": "1.10.0",
    "DatasetType": "raw",
    "License": "CC0-1.0",
    "Authors": ["The confusius-datasets developers"],
}

TRUTH_DESCRIPTION = {
    "Name": "Voxels of the sample dataset that respond",
    "BIDSVersion": "1.10.0",
    "DatasetType": "derivative",
    "License": "CC0-1.0",
    "GeneratedBy": [{"Name": "groundtruth"}],
}

PARTICIPANTS: list[tuple[str, ...]] = [
    ("participant_id", "species"),
    ("sub-mouse1", "Mus musculus"),
    ("sub-mouse2", "Mus musculus"),
]

HARDWARE = {
    "Manufacturer": "confusius-datasets",
    "ManufacturersModelName": "simulation",
    "ProbeType": "linear",
    "ProbeCentralFrequency": 15000000.0,
    "UltrasoundTransmitFrequency": 15000000.0,
    "CompoundSamplingFrequency": 500.0,
}

SIDECARS: Mapping[str, Mapping[str, object]] = {
    "rest": {
        "TaskName": "rest",
        "TaskDescription": "The screen is grey.",
        "RepetitionTime": REPETITION_TIME,
        "DelayTime": 0.1,
    },
    "checkerboard": {
        "TaskName": "checkerboard",
        "TaskDescription": "A checkerboard flickers for five seconds, four times.",
        "RepetitionTime": REPETITION_TIME,
        "DelayTime": 0.1,
    },
}

EVENTS_COLUMNS = {
    "onset": {"Description": "When the checkerboard appears.", "Units": "s"},
    "duration": {"Description": "How long it is shown.", "Units": "s"},
    "trial_type": {"Levels": {"checkerboard": "Flickering checkerboard."}},
}
