"""Every kind of host against one file after another: python tests/benchmarks/hosts.py.

Local servers emulate OSF, S3 releases, an archive read by ranges, and Dataverse, at 50 ms and
10 MB/s a connection. Each serves 500 small files and 3 large ones, fetched by this library and by a
loop over the same source. Prints the ratios and the requests a file; then the time of processor
that a listing of 10 000 entries takes of every host, and the requests of a walk over OSF's folders.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

LATENCY_S, BANDWIDTH = 0.05, 10e6
N_SMALL, N_LARGE, LARGE_NBYTES = 500, 3, 20_000_000
HOSTS = ("osf", "s3", "zip", "dataverse")
LISTINGS = (*HOSTS, "web", "zenodo", "openneuro", "osf walk", "folder")
SAMPLED = 5
"""One after another, each fifth of the small files and one large one are fetched: the rate is the
same."""

PROJECT, FOLDER, PID = "43skw", "benchmark-bids", "doi:10.17617/3.7QCU1F"
RATIO_BUDGET, S3_BUDGET, ZIP_BUDGET = 8.0, 1.05, 0.1
LISTING_BUDGET_S, WALK_BUDGET = 1.0, 92


def make_files() -> dict[str, bytes]:
    """Make many small files and a few large ones."""
    rng = random.Random(0)
    files = {f"sub-{n:03d}/x.json": rng.randbytes(rng.randint(200, 20_000)) for n in range(N_SMALL)}
    return files | {f"large/{n}.nii": rng.randbytes(LARGE_NBYTES) for n in range(N_LARGE)}


def start_host(kind: str, files: Mapping[str, bytes], **limits: float) -> Any:
    """Make the server of a host, with the files on it."""
    from confusius_datasets import testing

    if kind == "osf":
        host: Any = testing.LocalOSF(**limits)
        host.add_dataset(PROJECT, FOLDER, files)
    elif kind == "osf walk":
        host = testing.LocalOSF(**limits)
        for path, data in files.items():
            host.add_file(PROJECT, f"{FOLDER}/{path}", data)
    elif kind == "s3":
        host = testing.LocalS3(**limits)
        host.add_release(FOLDER, "1.0.0", files)
    elif kind == "dataverse":
        host = testing.LocalDataverse(**limits)
        host.add_dataset(PID, files)
    elif kind == "zenodo":
        host = testing.LocalZenodo(**limits)
        host.add_record("1", files)
    elif kind == "openneuro":
        host = testing.LocalOpenNeuro(**limits)
        host.add_snapshot("ds000246", "1.0.1", files)
    else:
        host = testing.LocalWeb(**limits)
        host.add_folder("lab", files)
        host.etags = False  # it would hash the whole archive for each answer
        members = (testing.ZipMember(path, data) for path, data in files.items())
        host.put("lab/data.zip", testing.build_zip(members))
    return host


def serve(kind: str, pipe: Connection) -> None:
    """Run the server until the other end of a pipe hangs up."""
    limits = {"latency_s": LATENCY_S, "bandwidth": BANDWIDTH}
    files = make_files()
    n_small_bytes = sum(len(data) for data in files.values() if len(data) < LARGE_NBYTES)
    with start_host(kind, files, **limits) as host:
        pipe.send(dict(host.environ) | {"BENCHMARK_WEB": host.url(host.DATA_ROLE)})
        pipe.recv()
        # In an archive the small files come first.
        ranges = [request.headers.get("range", "bytes=0-") for request in host.requests]
        starts = [int(text[6:].partition("-")[0] or 1e12) for text in ranges]
        pipe.send((len(starts), sum(start < n_small_bytes for start in starts)))


def make_source(kind: str, web: str) -> Any:
    """Make the source of a host."""
    from confusius_datasets._index import FileEntry
    from confusius_datasets._sources import (
        ArchiveSource,
        DataverseSource,
        DirectorySource,
        ManifestSource,
        OpenNeuroSource,
        OSFSource,
        S3Source,
        ZenodoSource,
    )

    return {
        "osf": OSFSource(PROJECT, FOLDER),
        "s3": S3Source(FOLDER, "1.0.0"),
        "zip": ArchiveSource(ManifestSource(f"{web}/lab/x"), FileEntry("data.zip"), ""),
        "dataverse": DataverseSource("https://dataverse.example", PID),
        "web": ManifestSource(f"{web}/lab/manifest.json"),
        "zenodo": ZenodoSource("1"),
        "openneuro": OpenNeuroSource("ds000246", "1.0.1"),
        "osf walk": OSFSource(PROJECT, FOLDER),
        "folder": DirectorySource(Path(web)),
    }[kind]


def fetch_alone(kind: str, how: str, root: Path) -> None:
    """Fetch in this process, and print seconds and bytes."""
    from confusius_datasets._download import plan_download, run_plan
    from confusius_datasets._sources import get_client

    source, client = make_source(kind, os.environ["BENCHMARK_WEB"]), get_client()
    begun = time.perf_counter()
    index = source.list_files(client)
    if how == "ours":
        run_plan(plan_download(index.values(), root), source, client)
        wanted = list(index.values())
    else:
        small = [entry for entry in index.values() if (entry.size or 0) < LARGE_NBYTES]
        large = [entry for entry in index.values() if (entry.size or 0) >= LARGE_NBYTES]
        wanted = [*small[::SAMPLED], *large[:1]]
        begun = time.perf_counter()
        times = []
        for entry in wanted:
            at = time.perf_counter()
            with source.open(entry, client=client) as stream:
                (root / entry.relpath.replace("/", "-")).write_bytes(b"".join(stream))
            times.append(time.perf_counter() - at)
        print(SAMPLED * sum(times[:-1]) + N_LARGE * times[-1])
        return
    print(time.perf_counter() - begun)


def measure(kind: str, how: str) -> tuple[float, int, int]:
    """Measure one host: the seconds for all files, how many requests came, and for small files."""
    near, far = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    server = context.Process(target=serve, args=(kind, far), daemon=True)
    server.start()
    environ = near.recv()
    with tempfile.TemporaryDirectory() as root:
        command = [sys.executable, __file__, "--alone", kind, how, root]
        env = {**environ, "PATH": "", "PYTHONPATH": os.pathsep.join(sys.path)}
        answer = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True)
    near.send(None)
    n_requests, n_small = near.recv()
    server.join()
    return float(answer.stdout), n_requests, n_small


def measure_listing(kind: str, n_files: int = 10_000) -> float:
    """Measure the processor's time that a listing takes, without the server's."""
    from confusius_datasets._sources import get_client

    near, far = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    server = context.Process(target=serve_listing, args=(kind, n_files, far), daemon=True)
    server.start()
    environ = near.recv()
    os.environ.update(environ | {"OSF_TOKEN": "token"})
    source = make_source(kind, environ["BENCHMARK_WEB"])
    begun = time.process_time()
    index = source.list_files(get_client())
    spent = time.process_time() - begun
    near.send(None)
    server.join()
    if len(index) != n_files:
        raise SystemExit(f"{kind}: {len(index)} files instead of {n_files}")
    return spent


def serve_listing(kind: str, n_files: int, pipe: Connection) -> None:
    """Run a quick server of very many tiny files, or make a folder of them."""
    # A walk has a request for each folder, of which the public trees have about ninety.
    files = {f"sub-{n % 45:02d}/fusi/{n:05d}.json": b"%d" % n for n in range(n_files)}
    if kind == "folder":
        with tempfile.TemporaryDirectory() as folder:
            for relpath, data in files.items():
                (Path(folder) / relpath).parent.mkdir(parents=True, exist_ok=True)
                (Path(folder) / relpath).write_bytes(data)
            pipe.send({"BENCHMARK_WEB": folder})
            pipe.recv()
        return
    with start_host(kind, files) as host:
        pipe.send(dict(host.environ) | {"BENCHMARK_WEB": host.url(host.DATA_ROLE)})
        pipe.recv()


def count_walk() -> int:
    """Count the requests of a walk over 90 folders."""
    from confusius_datasets._sources import OSFSource, get_client
    from confusius_datasets.testing import LocalOSF

    with LocalOSF() as osf:
        for number in range(44):
            for name in ("a.json", "b.nii.gz"):
                osf.add_file(PROJECT, f"{FOLDER}/sub-{number:02d}/fusi/{name}", b"x")
        osf.add_file(PROJECT, f"{FOLDER}/code/run.py", b"x")
        os.environ.update(osf.environ | {"OSF_TOKEN": "token"})
        OSFSource(PROJECT, FOLDER).list_files(get_client())
        return len(osf.requests)


def main() -> None:
    """Measure every host, and print the table and whether the budgets are met."""
    met: dict[str, bool] = {}
    print(f"{N_SMALL} small files and {N_LARGE} large ones, {LATENCY_S * 1000:.0f} ms, 10 MB/s")
    print(f"{'':12}{'seconds':>10}{'one by one':>12}{'ratio':>8}{'requests a file':>18}")
    for kind in HOSTS:
        seconds, n_requests, n_small = measure(kind, "ours")
        loop, *_ = measure(kind, "loop")
        per_file = n_requests / (N_SMALL + N_LARGE)
        ratio = loop / seconds
        print(f"{kind:12}{seconds:>10.2f}{loop:>12.2f}{ratio:>7.1f}x{per_file:>18.3f}")
        met[f"{kind}: at least {RATIO_BUDGET:.0f} times one by one"] = ratio >= RATIO_BUDGET
        if kind == "s3":
            met[f"s3: at most {S3_BUDGET} requests a file"] = per_file <= S3_BUDGET
        if kind == "zip":
            print(f"{'':12}{n_small} requests for {N_SMALL} small neighbours in the archive")
            met["zip: at most one request for ten small neighbours"] = (
                n_small <= ZIP_BUDGET * N_SMALL
            )
    listings = {kind: round(measure_listing(kind), 3) for kind in LISTINGS}
    print("\nlistings of 10 000 entries, seconds of CPU:", json.dumps(listings))
    for kind, spent in listings.items():
        met[f"{kind}: listing below {LISTING_BUDGET_S:.0f} s of CPU"] = spent < LISTING_BUDGET_S
    walk = count_walk()
    print(f"a walk over 90 folders: {walk} requests\n")
    met[f"walk of 90 folders: at most {WALK_BUDGET} requests"] = walk <= WALK_BUDGET
    for budget, is_met in met.items():
        print(f"{budget}: {'met' if is_met else 'MISSED'}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--alone"]:
        fetch_alone(sys.argv[2], sys.argv[3], Path(sys.argv[4]))
    else:
        main()
