"""Downloads against the plainest loop and pooch, in one run: python tests/benchmarks/download.py.

A local server emulates OSF (two redirects, three hosts) with a set round trip and bandwidth of each
connection. The same files are fetched by this library, by `requests` one after another, unchecked
and with their checksums, and by pooch where it is installed; server and clients are processes of
their own. Prints files/s and MB/s, the ratios, the share of the ideal (eight connections to the
store, busy all the time), and each budget with what was measured.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import multiprocessing
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path

PROJECT, FOLDER = "43skw", "benchmark-bids"
WORKERS = 8
LATENCY_S, BANDWIDTH = 0.05, 10e6
PEERS = ("ours", "requests", "requests, md5", "pooch")
SAMPLED = 4
"""Over a slow line the peers fetch each fourth of the small files only: their rate is the same."""
BUDGETS = {
    ("small", True, "requests"): 8.0,
    ("large", True, "requests"): 4.0,
    ("small", False, "requests"): 1.0,
    ("large", False, "requests, md5"): 1.0,
}
"""Ratios to reach. From a host on the same machine a large file comes faster than it can be hashed,
so there the loop that does the same work is what to compare with; the other one is printed too."""

REPEATS = 7
"""Runs of the cases that take no time, of one peer after another in turn; the median counts."""


def make_files(case: str) -> dict[str, bytes]:
    """Make the files of a case: many small ones, or one large one."""
    rng = random.Random(0)
    sizes = [100_000_000] if case == "large" else [rng.randint(10_000, 200_000) for _ in range(400)]
    return {f"sub-{number:03d}/file.bin": rng.randbytes(size) for number, size in enumerate(sizes)}


def serve(case: str, limited: bool, pipe: Connection) -> None:
    """Run the server until the other end of a pipe hangs up."""
    from confusius_datasets.testing import LocalOSF

    limits = {"latency_s": LATENCY_S, "bandwidth": BANDWIDTH} if limited else {}
    with LocalOSF(**limits) as osf:
        osf.add_dataset(PROJECT, FOLDER, make_files(case))
        pipe.send(osf.environ)
        pipe.recv()
        pipe.send(len(osf.requests))


def fetch_ours(url: str, files: Mapping[str, Mapping[str, str]], folder: Path) -> None:
    """Fetch files with this library."""
    from confusius_datasets._download import plan_download, run_plan
    from confusius_datasets._index import Checksum, FileEntry
    from confusius_datasets._sources import OSFSource, get_client

    entries = [
        FileEntry(
            relpath,
            int(file["size"]),
            (Checksum("md5", file["md5"]),),
            locators={"osf": file["osf_path"]},
        )
        for relpath, file in files.items()
    ]
    run_plan(plan_download(entries, folder), OSFSource(PROJECT, FOLDER), get_client())


def fetch_requests(
    url: str, files: Mapping[str, Mapping[str, str]], folder: Path, *, check: bool = False
) -> None:
    """Fetch files one after another, with nothing resumed, and checked only where asked for."""
    import requests

    with requests.Session() as session:
        for relpath, file in files.items():
            path = folder / relpath
            path.parent.mkdir(parents=True, exist_ok=True)
            with (
                session.get(f"{url}{file['osf_path']}/", stream=True) as response,
                path.open("wb") as target,
            ):
                response.raise_for_status()
                digest = hashlib.md5(usedforsecurity=False)
                for piece in response.iter_content(1 << 20):
                    target.write(piece)
                    if check:
                        digest.update(piece)
            if check and digest.hexdigest() != file["md5"]:
                raise ValueError(relpath)


def fetch_pooch(url: str, files: Mapping[str, Mapping[str, str]], folder: Path) -> None:
    """Fetch files with pooch, one after another, since it knows no other way."""
    import pooch

    pooch.get_logger().setLevel("ERROR")
    registry = {relpath: f"md5:{file['md5']}" for relpath, file in files.items()}
    urls = {relpath: f"{url}{file['osf_path']}/" for relpath, file in files.items()}
    client = pooch.create(path=folder, base_url=url, registry=registry, urls=urls)
    for relpath in files:
        client.fetch(relpath)


def run_alone(peer: str, url: str, listing: Path, folder: Path) -> None:
    """Fetch what a listing names, and print seconds, and mebibytes of memory that it took."""
    files = json.loads(listing.read_text())
    fetch = {
        "ours": fetch_ours,
        "requests": fetch_requests,
        "requests, md5": functools.partial(fetch_requests, check=True),
        "pooch": fetch_pooch,
    }[peer]
    ours = ["confusius_datasets._download", "confusius_datasets._sources", "requests"]
    for name in ours if peer == "ours" else [peer.partition(",")[0]]:
        importlib.import_module(name)  # only the work is timed
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.perf_counter()
    fetch(url, files, folder)
    seconds = time.perf_counter() - begun
    for relpath, file in files.items():
        digest = hashlib.md5((folder / relpath).read_bytes(), usedforsecurity=False).hexdigest()
        if digest != file["md5"]:
            raise SystemExit(f"{peer}: {relpath} is wrong")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(seconds, (peak - before) / 1024)


def measure(peer: str, case: str, *, limited: bool) -> tuple[float, float, int]:
    """Measure one peer: files a second, bytes a second, and requests a file."""
    near, far = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    server = context.Process(target=serve, args=(case, limited, far), daemon=True)
    server.start()
    environ = near.recv()
    files = describe(make_files(case))
    if limited and peer != "ours" and len(files) > 1:
        files = dict(list(files.items())[::SAMPLED])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        listing = folder / "listing.json"
        listing.write_text(json.dumps(files))
        url = environ["CONFUSIUS_OSF_DOWNLOAD_URL"]
        command = [sys.executable, __file__, "--alone", peer, url, str(listing)]
        answer = subprocess.run(
            [*command, str(folder / "root")],
            env={**environ, "PATH": ""},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    near.send(None)
    n_requests = near.recv()
    server.join()
    seconds = float(answer.stdout.split()[0])
    nbytes = sum(int(file["size"]) for file in files.values())
    return len(files) / seconds, nbytes / seconds, round(n_requests / len(files))


def describe(files: Mapping[str, bytes]) -> dict[str, dict[str, str]]:
    """Describe files as an index does."""
    described = {}
    for relpath, data in files.items():
        key = f"{PROJECT}/{FOLDER}/{relpath}".encode()
        described[relpath] = {
            "osf_path": f"/{hashlib.sha1(key, usedforsecurity=False).hexdigest()[:24]}",
            "size": str(len(data)),
            "md5": hashlib.md5(data, usedforsecurity=False).hexdigest(),
        }
    return described


def ideal(case: str) -> float:
    """Return the bytes a second of eight connections to the store that are always busy."""
    sizes = [len(data) for data in make_files(case).values()]
    waits = 0.0 if case == "large" else LATENCY_S * len(sizes)
    return sum(sizes) / ((waits + sum(sizes) / BANDWIDTH) / WORKERS)


def main() -> None:
    """Measure every case, and print the table and the budgets."""
    peers = [peer for peer in PEERS if peer != "pooch" or importlib.util.find_spec("pooch")]
    ratios: dict[tuple[str, bool, str], float] = {}
    for limited in (True, False):
        line = f"{LATENCY_S * 1000:.0f} ms, {BANDWIDTH / 1e6:.0f} MB/s" if limited else "no limits"
        for case in ("small", "large"):
            rates = {}
            print(f"\n{'400 files of 10-200 kB' if case == 'small' else 'one of 100 MB'}, {line}")
            print(f"{'':14}{'files/s':>10}{'MB/s':>10}{'ours is':>12}{'of the ideal':>16}")
            runs: dict[str, list[tuple[float, float, int]]] = {peer: [] for peer in peers}
            for _ in range(1 if limited else REPEATS):
                for peer in peers:
                    runs[peer].append(measure(peer, case, limited=limited))
            for peer in peers:
                rates[peer] = statistics.median(run[1] for run in runs[peer])
                files = statistics.median(run[0] for run in runs[peer])
                share = f"{rates[peer] / ideal(case):.0%}" if limited else "-"
                ratio = rates["ours"] / rates[peer]
                print(
                    f"{peer:14}{files:>10.1f}{rates[peer] / 1e6:>10.1f}{ratio:>11.1f}x{share:>16}"
                )
            ratios |= {(case, limited, peer): rates["ours"] / rates[peer] for peer in peers}
    print("\nbudgets")
    for (case, limited, peer), budget in BUDGETS.items():
        ratio = ratios[case, limited, peer]
        met = "met" if ratio >= budget else "MISSED"
        line = "slow line" if limited else "no limits"
        print(f"{case}, {line}: {ratio:.1f}x {peer}, of at least {budget:.0f}x: {met}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--alone"]:
        run_alone(sys.argv[2], sys.argv[3], Path(sys.argv[4]), Path(sys.argv[5]))
    else:
        main()
