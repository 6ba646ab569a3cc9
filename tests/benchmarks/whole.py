"""A whole dataset of 557 files: fetched, and from the start of a process to the values of one.

Run by hand, from the project's folder::

    CONFUSIUS_PYTHONS=/path/to/python .venv/bin/python tests/benchmarks/whole.py

A local server emulates OSF without latency; server and clients are processes of their own.
`CONFUSIUS_PYTHONS` names an interpreter with ConfUSIus, the reference, whose own fetcher gets the
same files from the same server. Without it, `requests` stands in: one file after another, with
their checksums. Of each, five runs, in turn.
"""

from __future__ import annotations

import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection
from pathlib import Path

import nibabel as nib
import numpy as np

PROJECT, FOLDER = "43skw", "nunez-elizalde-2022-bids"
N_FILES = 557
RUNS = 5

VALUES_S, REFERENCE_S = 0.8, 1.8
"""Most seconds from the start of a process to the values of a recording that is here.

The second is what the reference took where the budget was set: other machines are that much faster
or slower.
"""

RATIO, LEAST_RATIO = 4.0, 1.5
"""How many times faster a fetch must be than the reference: as a rule, and in each run."""

FETCH = """
import sys, time
from confusius_datasets import fetch_nunez_elizalde_2022 as fetch
import confusius_datasets._download, confusius_datasets._sources, requests
begun = time.perf_counter()
fetch(sys.argv[1], progress=False, print_citation=False)
print(time.perf_counter() - begun)
"""

FETCH_REFERENCE = """
import os, sys, time
import requests
from confusius.datasets import _osf, fetch_nunez_elizalde_2022 as fetch
_osf._OSF_DOWNLOAD_BASE = os.environ["CONFUSIUS_OSF_DOWNLOAD_URL"] + "/{}/"
get = requests.get
api = os.environ["CONFUSIUS_OSF_API_URL"]
_osf.requests.get = lambda url, **options: get(url.replace("https://api.osf.io/v2", api), **options)
begun = time.perf_counter()
fetch(sys.argv[1], print_citation=False)
print(time.perf_counter() - begun)
"""

FETCH_PLAINLY = """
import hashlib, json, os, pathlib, sys, time
import requests
root = pathlib.Path(sys.argv[1])
index = json.loads(pathlib.Path(sys.argv[2]).read_text())
begun = time.perf_counter()
with requests.Session() as session:
    for relpath, facts in index.items():
        path = root / relpath
        path.parent.mkdir(parents=True, exist_ok=True)
        url = os.environ["CONFUSIUS_OSF_DOWNLOAD_URL"] + facts["osf_path"] + "/"
        data = session.get(url).content
        assert hashlib.md5(data).hexdigest() == facts["md5"]
        path.write_bytes(data)
print(time.perf_counter() - begun)
"""

LOADED = "sub-002/ses-1/fusi/sub-002_ses-1_task-rest_acq-slice03_run-3_pwd.nii.gz"

BY_QUERY = """
import sys
from confusius_datasets import fetch_nunez_elizalde_2022 as fetch
dataset = fetch(sys.argv[1], progress=False, print_citation=False)
print(dataset.load(subject="002", session="1", run=3, suffix="pwd").values.sum(), flush=True)
"""

BY_PATH = """
import sys
from confusius_datasets import load
print(load(sys.argv[1] + "/%s").values.sum(), flush=True)
"""

BY_REFERENCE = """
import sys
from confusius.datasets import fetch_nunez_elizalde_2022 as fetch
import confusius
root = fetch(sys.argv[1], print_citation=False)
print(confusius.load(root / "%s").values.sum(), flush=True)
"""


def relpaths(n_files: int) -> Iterator[str]:
    """List the files of a tree: subjects of five sessions of ten runs, each with its sidecar."""
    yield from ("dataset_description.json", "pwd.json")
    for number in range(n_files - 2):
        subject, rest = divmod(number, 100)
        session, rest = divmod(rest, 20)
        run, kind = divmod(rest, 2)
        stem = f"sub-{subject + 1:03d}_ses-{session}_task-rest_acq-slice{run + 1:02d}_run-{run + 1}"
        extension = "json" if kind else "nii.gz"
        yield f"sub-{subject + 1:03d}/ses-{session}/fusi/{stem}_pwd.{extension}"


def make_files() -> dict[str, bytes]:
    """Make the files: recordings of 60 kB, and small sidecars."""
    values = np.random.default_rng(0).random((20, 1, 20, 40), dtype="float32")
    image = nib.Nifti1Image(values, np.eye(4))
    image.header.set_zooms((1, 1, 1, 0.4))  # as the sidecars say, or there would be warnings
    packed = gzip.compress(image.to_bytes(), 1)
    described = json.dumps({"Name": "whole", "BIDSVersion": "1.10.0"}).encode()
    return {
        relpath: packed
        if relpath.endswith(".gz")
        else described
        if relpath.startswith("dataset_")
        else json.dumps({"RepetitionTime": 0.4, "for": relpath}).encode()
        for relpath in relpaths(N_FILES)
    }


def serve(pipe: Connection) -> None:
    """Run the server until the other end of a pipe hangs up."""
    from confusius_datasets.testing import LocalOSF

    with LocalOSF() as osf:
        osf.add_dataset(PROJECT, FOLDER, make_files())
        pipe.send(osf.environ)
        pipe.recv()


def run(script: str, *arguments: str, python: str, environ: dict[str, str]) -> tuple[float, str]:
    """Run a script in a new process; return the seconds to its last words, and these.

    Python's own end, 0.1 to 0.3 s with many packages imported, comes after them.
    """
    seconds, words = 0.0, ""
    begun = time.perf_counter()
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            [python, "-c", script, *arguments],
            env={**os.environ, **environ},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            words = line
            seconds = time.perf_counter() - begun
        if process.wait():
            errors.seek(0)
            raise SystemExit(errors.read())
    return seconds, words


def report() -> None:
    """Measure, and print times, ratios and budgets."""
    near, far = Pipe()
    server = get_context("spawn").Process(target=serve, args=(far,), daemon=True)
    server.start()
    environ = near.recv()
    reference = os.environ.get("CONFUSIUS_PYTHONS", "").split(os.pathsep)[0]
    with tempfile.TemporaryDirectory() as name:
        # Compiled modules are kept, or each process would compile all that it imports.
        environ |= {
            "PYTHONDONTWRITEBYTECODE": "",
            "PYTHONPYCACHEPREFIX": os.path.join(name, "compiled"),  # noqa: PTH118 - text
        }
        kept = _report_fetch(Path(name), environ, reference)
        _report_values(kept, environ, reference)
    near.send(None)
    server.join()


def _report_fetch(folder: Path, environ: dict[str, str], reference: str) -> Path:
    """Fetch with either, in turn, and return a folder of all datasets that has the files."""
    ours, theirs = [], []
    for number in range(RUNS):
        mine, yours = folder / f"ours-{number}", folder / f"theirs-{number}"
        mine.mkdir()
        yours.mkdir()
        ours.append(_seconds(FETCH, str(mine), python=sys.executable, environ=environ))
        index = str(next(mine.rglob("dataset_index.json")))
        if reference:
            theirs.append(_seconds(FETCH_REFERENCE, str(yours), python=reference, environ=environ))
        else:
            command = (FETCH_PLAINLY, str(yours), index)
            theirs.append(_seconds(*command, python=sys.executable, environ=environ))
    ratios = [yours / mine for mine, yours in zip(ours, theirs, strict=True)]
    ratio = statistics.median(theirs) / statistics.median(ours)
    is_met = ratio >= RATIO and min(ratios) >= LEAST_RATIO
    print(f"\n{N_FILES} files fetched, no latency, beside {_name(reference)}")
    print(f"  ours   {', '.join(f'{seconds:.2f}' for seconds in ours)} s")
    print(f"  theirs {', '.join(f'{seconds:.2f}' for seconds in theirs)} s")
    print(
        f"  {ratio:.1f} x, {min(ratios):.1f} x at least, of {RATIO:.0f} x and {LEAST_RATIO} x: "
        f"{'met' if is_met else 'MISSED'}"
    )
    return mine


def _report_values(folder: Path, environ: dict[str, str], reference: str) -> None:
    """Measure from the start of a process to values of a recording, all files being here."""
    root = next(folder.rglob("dataset_index.json")).parent
    ways = {
        "fetch, load": (BY_QUERY, str(folder), sys.executable),
        "by its path": (BY_PATH % LOADED, str(root), sys.executable),
    }
    if reference:
        ways["ConfUSIus"] = (BY_REFERENCE % LOADED, str(folder), reference)
    found: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(RUNS):
        for way, (script, argument, python) in ways.items():
            found[way].append(run(script, argument, python=python, environ=environ)[0])
    print(
        f"\nprocess start to values, {N_FILES} files here (a Python that does nothing: {_bare()})"
    )
    slowness = min(found["ConfUSIus"]) / REFERENCE_S if reference else 1
    most = VALUES_S * max(slowness, 1)
    for way, seconds in found.items():
        verdict = ""
        if way == "fetch, load":
            verdict = f"of {most:.2f} s: {'met' if min(seconds) <= most else 'MISSED'}"
        print(f"  {way:14}{min(seconds):.2f} s  {verdict}")


def _seconds(script: str, *arguments: str, python: str, environ: dict[str, str]) -> float:
    return float(run(script, *arguments, python=python, environ=environ)[1].split()[-1])


def _bare() -> str:
    """Measure the start of Python with what every way imports first."""
    script = "import numpy; print(flush=True)"
    seconds = min(run(script, python=sys.executable, environ={})[0] for _ in range(RUNS))
    return f"{seconds:.2f} s with NumPy"


def _name(reference: str) -> str:
    return "ConfUSIus" if reference else "requests one by one, checked"


if __name__ == "__main__":
    report()
