"""Loading against nibabel, in one run: python tests/benchmarks/loading.py.

Writes a 4-D float32 image of about 100 MB, as `.nii` and as `.nii.gz`, and times the same work with
this library, with nibabel, and with ConfUSIus where it is installed. Each case runs in a process of
its own, so that its peak memory is its own. Prints ratios, and each budget with what was measured.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SHAPE = (112, 128, 9, 200)
NBYTES = int(np.prod(SHAPE)) * 4
REPEATS = 7
OPENINGS = 200
"""How often a file is opened, with header, sidecars and coordinates, but without its values."""

SAMPLED = 10
"""Of nibabel's single frames of a `.nii.gz` only each tenth is read, and counted tenfold."""


def write_images(folder: Path) -> None:
    """Write an image with speckle, drift and noise, as plain and as compressed file."""
    import nibabel

    rng = np.random.default_rng(0)
    vessels = rng.gamma(2.0, 50.0, size=(*SHAPE[:3], 1)).astype("f4")
    values = vessels * (1 + 0.05 * rng.standard_normal(SHAPE, dtype="f4"))
    image = nibabel.Nifti1Image(values, np.diag([0.1, 0.05, 0.4, 1]))
    image.header.set_xyzt_units("mm", "sec")
    for extension in (".nii", ".nii.gz"):
        nibabel.save(image, folder / f"sub-01_pwd{extension}")
        nibabel.save(image.slicer[:9, :9, :, :2], folder / f"tiny_pwd{extension}")


def ours(path: Path) -> dict[str, Callable[[], Any]]:
    """Return the work as this library does it."""
    from confusius_datasets._io import load

    def frames() -> None:
        array = load(path)
        for frame in range(SHAPE[3]):
            _ = array.isel(time=frame).values

    return {
        "open": lambda: [load(path) for _ in range(OPENINGS)],
        "whole": lambda: load(path).values,
        "frames": frames,
        "voxel": lambda: load(path).isel(x=50, y=60, z=4).values,
    }


def plain_nibabel(path: Path) -> dict[str, Callable[[], Any]]:
    """Return the work as nibabel does it without the help of indexed_gzip."""
    import nibabel
    from nibabel import _compression

    _compression.HAVE_INDEXED_GZIP = False
    step = SAMPLED if path.name.endswith(".gz") else 1
    # Without the copy, a plain file would only be mapped, and nothing read.
    read = functools.partial(np.array, copy=None if step > 1 else True)

    def frames() -> None:
        proxy = nibabel.load(path).dataobj
        for frame in range(step // 2, SHAPE[3], step):
            _ = read(proxy[..., frame])

    return {
        "open": lambda: [nibabel.load(path) for _ in range(OPENINGS)],
        "whole": lambda: read(nibabel.load(path).dataobj),
        "get_fdata": lambda: nibabel.load(path).get_fdata(),
        "frames": frames,
        "voxel": lambda: read(nibabel.load(path).dataobj[50, 60, 4]),
    }


def confusius(path: Path) -> dict[str, Callable[[], Any]]:
    """Return the work as the ConfUSIus package does it."""
    from confusius import load

    def frames() -> None:
        array = load(path)
        for frame in range(0, SHAPE[3], SAMPLED):
            _ = array.isel(time=frame).values

    return {"whole": lambda: load(path).compute(), "frames": frames}


PEERS: dict[str, Callable[[Path], dict[str, Callable[[], Any]]]] = {
    "ours": ours,
    "nibabel": plain_nibabel,
    "confusius": confusius,
}


def peak_nbytes() -> int:
    """Return the largest memory that this process has had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def measure(peer: str, work: str, path: Path) -> None:
    """Do one piece of work, and print its time and the memory it took on top."""
    # What the packages themselves take is no part of the work.
    tiny = path.with_name(path.name.replace("sub-01", "tiny"))
    PEERS[peer](tiny)["whole"]()
    do = PEERS[peer](path)[work]
    before = peak_nbytes()
    times = []
    peak = 0
    for _ in range(1 if work == "frames" and peer != "ours" else REPEATS):
        start = time.perf_counter()
        do()
        times.append(time.perf_counter() - start)
        peak = peak or peak_nbytes() - before
    print(min(times), peak)


def run(peer: str, work: str, path: Path) -> tuple[float, float]:
    """Measure in a process of its own: seconds, and peak memory as a multiple of the array."""
    command = [sys.executable, __file__, peer, work, str(path)]
    environment = {**os.environ, "CONFUSIUS_DATA": str(path.parent / "cache")}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    seconds, peak = done.stdout.split()
    is_sampled = work == "frames" and peer != "ours" and path.name.endswith(".gz")
    return float(seconds) * (SAMPLED if is_sampled else 1), float(peak) / NBYTES


def main() -> None:
    """Measure everything, and print it."""
    with tempfile.TemporaryDirectory() as folder:
        # In a process of its own: on Linux, processes start with their parent's peak memory.
        subprocess.run([sys.executable, __file__, folder], check=True)
        found: dict[tuple[str, str, str], tuple[float, float]] = {}
        print(f"{'file':8}{'work':12}{'who':11}{'seconds':>9}{'ratio':>8}{'memory/array':>14}")
        for extension in (".nii.gz", ".nii"):
            path = Path(folder) / f"sub-01_pwd{extension}"
            for work in ("open", "whole", "get_fdata", "frames", "voxel"):
                for peer in ("ours", "nibabel", "confusius"):
                    if (peer == "ours" and work == "get_fdata") or (
                        peer == "confusius"
                        and (work not in ("whole", "frames") or not _is_installed(peer))
                    ):
                        continue
                    found[extension, work, peer] = run(peer, work, path)
                    _print_row(found, extension, work, peer)
        _print_budgets(found)


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _print_row(
    found: dict[tuple[str, str, str], tuple[float, float]], extension: str, work: str, peer: str
) -> None:
    seconds, memory = found[extension, work, peer]
    same = found[extension, "whole" if work == "get_fdata" else work, "ours"]
    ratio = seconds / same[0]
    print(f"{extension:8}{work:12}{peer:11}{seconds:9.3f}{ratio:8.1f}{memory:14.2f}", flush=True)


def _print_budgets(found: dict[tuple[str, str, str], tuple[float, float]]) -> None:
    rows = []
    for extension in (".nii.gz", ".nii"):
        whole = found[extension, "whole", "ours"][0]
        for work, peer, budget in (("whole", "dataobj", 1.3), ("get_fdata", "get_fdata", 2.0)):
            ratio = found[extension, work, "nibabel"][0] / whole
            rows.append((f"whole {extension}, nibabel's {peer}", ratio, budget))
    frames = (found[".nii.gz", "frames", peer][0] for peer in ("nibabel", "ours"))
    rows.append(("200 frames of .nii.gz, nibabel", next(frames) / next(frames), 20.0))
    for what, measured, budget in rows:
        verdict = "ok" if measured >= budget else "MISSED"
        print(f"{what}: {measured:.1f} times as fast, budget {budget}: {verdict}")
    for extension in (".nii.gz", ".nii"):
        memory = found[extension, "whole", "ours"][1]
        verdict = "ok" if memory <= 1.2 else "MISSED"
        what = f"peak memory of a whole {extension}"
        print(f"{what}: {memory:.2f} times the array, budget 1.2: {verdict}")


if __name__ == "__main__":
    if len(sys.argv) == 4:
        measure(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
    elif len(sys.argv) == 2:
        write_images(Path(sys.argv[1]))
    else:
        main()
