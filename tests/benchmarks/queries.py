"""Queries on large catalogues, beside plain PyBIDS on the same tree.

Run by hand, from the project's folder::

    python tests/benchmarks/queries.py          # 500, 30 000 and, without PyBIDS, 100 000 files
    python tests/benchmarks/queries.py --files 500 --most-for-pybids 0
    python tests/benchmarks/queries.py --files --million   # catalogues alone, up to a million

Every tool runs in a process of its own, so that peak memory is its own, and all but PyBIDS in three
of them, of which the best counts. bids2table is measured too where it is installed. Below each
table stands whether the budgets for a tree of its size are met: as they stand, or for the speed of
this machine, by what PyBIDS takes here and took where the budgets were set.

After the trees come catalogues, with nothing on disk but an index of ConfUSIus's form. They are
measured in multiples of what `json.loads` takes for the same index in the same minute. Of a million
files, what goes through all of them is done in a process each, for its peak memory. The last rows
are a whole dataset's: see `whole.py`.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import json
import logging
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import timeit
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import whole
from whole import relpaths

TOOLS = ("ours", "ours, metadata", "ours, kept", "PyBIDS", "PyBIDS, metadata", "bids2table")

MEMORY = "peak memory"

BUDGETS = {
    30_000: [
        ("ours", "first answer", 1.5),
        ("ours, metadata", "first answer", 5.0),
        ("ours, kept", "first answer", 0.1),
        ("ours", "get_subjects", 0.010),
    ],
    100_000: [("ours", "selective", 0.015), ("ours", MEMORY, 300), ("ours, metadata", MEMORY, 300)],
}
"""Most seconds, or MB, that a measure may take; `first answer` opens the tree, too."""

PYBIDS_S = 10.0
"""Seconds that PyBIDS took for its first answer of 30 000 files where the budgets were set."""

CATALOGUES = {10_000: [False], 30_000: [False], 100_000: [False]}
"""Sizes of catalogues, and whether the name of every recording is unlike all others."""

MILLION = {1_000_000: [False, True]}

JSON_S = {10_000: 0.009, 30_000: 0.028, 100_000: 0.1, 1_000_000: 1.35}
"""Seconds that `json.loads` took of each index where the budgets were set."""

CATALOGUE_BUDGETS: dict[tuple[int, bool], dict[str, float]] = {
    (10_000, False): {"selective": 0.002},
    (30_000, False): {"first answer": 0.4, MEMORY: 180, "associations": 0.05},
    (100_000, False): {
        "again": 0.1,
        MEMORY: 190,
        "selective": 0.002,
        "half, as names": 0.12,
        "half, as objects": 0.6,
        "to_df": 0.6,
        "missing": 0.3,
    },
    (1_000_000, False): {
        "first answer": 8,
        "again": 0.15,
        MEMORY: 300,
        "memory, again": 180,
        "selective": 0.002,
        "get_subjects": 0.025,
        "repr": 0.05,
        "database": 0.75,
    },
    (1_000_000, True): {"first answer": 20, "database": 2},
}
"""Most seconds, MB, or multiples of the index that a measure of a catalogue may take."""

STREAMS: dict[str, float | None] = {
    "select, plan": 300,
    "plan of a subject": 300,
    "verify a subject": 300,
    "refresh": 300,
    "missing": None,
    "verify": None,
}
"""Most MB of what goes through a million files; the last two end in a table of all of them."""

REPEATS = 3

SELECTIVE = {"subject": "002", "session": "1", "run": 3, "suffix": "pwd", "extension": ".nii.gz"}

BROAD = {"suffix": "pwd", "extension": ".nii.gz"}


def write_tree(root: Path, n_files: int) -> None:
    """Write the tree: empty images, small sidecars."""
    for relpath in relpaths(n_files):
        path = root / relpath
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {"RepetitionTime": 0.4, "TaskName": "rest", "ProbePitch": 0.1}
        if relpath == "dataset_description.json":
            content = {"Name": "benchmark", "BIDSVersion": "1.10.0"}
        path.write_text(json.dumps(content) if path.suffix == ".json" else "")
    if hasattr(os, "sync"):
        os.sync()  # or the first tool would wait for it


def open_ours(root: Path) -> Any:
    """Open the tree with this package."""
    from confusius_datasets import open_dataset

    return open_dataset(root).layout


def open_pybids(root: Path, *, metadata: bool) -> Any:
    """Open the tree with PyBIDS alone."""
    from bids.layout import BIDSLayout, BIDSLayoutIndexer

    from confusius_datasets._layout.config import pybids_config

    indexer = BIDSLayoutIndexer(validate=False, index_metadata=metadata)
    return BIDSLayout(root, validate=False, config=[pybids_config()], indexer=indexer)


def measure(tool: str, root: Path) -> dict[str, float]:
    """Measure one tool, in this process."""
    results: dict[str, float] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        answer = work()
        results[name] = time.perf_counter() - start
        return answer

    if tool == "bids2table":
        import bids2table

        logging.disable()
        table = timed("first answer", lambda: bids2table.index_dataset(root).to_pandas())
        timed("selective", lambda: table[(table["sub"] == "002") & (table["run"] == 3)])
        timed("broad", lambda: table[(table["suffix"] == "pwd") & (table["ext"] == ".nii.gz")])
        timed("get_subjects", lambda: sorted(table["sub"].dropna().unique()))
    else:
        timed("import", _import_all)
        layout = timed("first answer", lambda: _first_answer(tool, root))
        timed("selective", lambda: layout.get(**SELECTIVE))
        timed("broad", lambda: layout.get(**BROAD))
        timed("get_subjects", lambda: layout.get_subjects())
        timed("to_df", lambda: layout.to_df(**BROAD))
        if tool != "PyBIDS":
            timed("on metadata", lambda: layout.get(RepetitionTime=0.4, **SELECTIVE))
    results[MEMORY] = _peak_mb()
    return results


def _peak_mb() -> float:
    """Return the most memory that this process has had."""
    with contextlib.suppress(OSError):
        # `getrusage` of a new process begins with what its parent had.
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(re.search(r"VmHWM:\s*(\d+)", status)[1]) / 1024  # type: ignore[index]
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _import_all() -> None:
    """Import what opening a tree needs."""
    import bids.layout  # noqa: F401 - only to have it imported

    from confusius_datasets import _layout, open_dataset  # noqa: F401 - likewise


def _first_answer(tool: str, root: Path) -> Any:
    """Open the tree and answer a query."""
    if tool.startswith("ours"):
        layout = open_ours(root)
    else:
        layout = open_pybids(root, metadata=tool.endswith("metadata"))
    if tool.endswith("metadata"):
        layout.get(return_type="id", target="RepetitionTime")  # which is in every sidecar
    else:
        layout.get(**SELECTIVE)
    return layout


def measure_apart(tool: str, root: Path) -> dict[str, float] | None:
    """Measure one tool in a process of its own; `None` where it is not installed."""
    command = [sys.executable, __file__, "--measure", tool, "--root", str(root)]
    answers: list[dict[str, float]] = []
    for _ in range(1 if tool.startswith("PyBIDS") else REPEATS):
        if not tool.endswith("kept"):
            shutil.rmtree(root / ".confusius", ignore_errors=True)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"  {tool}: not measured ({done.stderr.strip().splitlines()[-1]})")
            return None
        answers.append(json.loads(done.stdout))
    best = {name: min(answer[name] for answer in answers) for name in answers[0]}
    return best | {MEMORY: max(answer[MEMORY] for answer in answers)}


def report(n_files: int, *, most_for_pybids: int) -> None:
    """Measure every tool on a tree of some size, and print times, ratios and budgets."""
    folder = Path(tempfile.mkdtemp(prefix="queries-"))
    try:
        root = folder / "tree"
        write_tree(root, n_files)
        print(f"\n{n_files} files")
        rows: dict[str, dict[str, float]] = {}
        for tool in TOOLS:
            if tool.startswith("PyBIDS") and n_files > most_for_pybids:
                continue
            if tool == "ours, kept":
                measure_apart("ours", root)
                time.sleep(2.5)  # fresh folders are looked into once more
            if (found := measure_apart(tool, root)) is not None:
                rows[tool] = found
            if tool == "ours, kept":
                sizes = [file.stat().st_size for file in root.glob(".confusius/layout/*.sqlite")]
        print_table(rows)
        print(f"  database on disk: {f'{sum(sizes) / 1e6:.0f} MB' if sizes else 'none, too small'}")
        print_budgets(n_files, rows)
    finally:
        shutil.rmtree(folder)


def print_table(rows: dict[str, dict[str, float]]) -> None:
    """Print a row for each measure, and how many times slower PyBIDS is than us."""
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    print(f"  {'':14}" + "".join(f"{tool:>18}" for tool in rows) + f"{'PyBIDS / ours':>16}")
    for name in names:
        cells = [_cell(name, row.get(name)) for row in rows.values()]
        ours, theirs = rows["ours"].get(name), rows.get("PyBIDS", {}).get(name)
        ratio = f"{theirs / ours:.1f}" if ours and theirs else ""
        print(f"  {name:14}" + "".join(f"{cell:>18}" for cell in cells) + f"{ratio:>16}")


def print_budgets(n_files: int, rows: dict[str, dict[str, float]]) -> None:
    """Print whether each budget of a tree's size is met."""
    slowness = rows.get("PyBIDS", {}).get("first answer", PYBIDS_S) / PYBIDS_S
    for tool, name, most in BUDGETS.get(n_files, []):
        found = rows[tool][name]
        verdict = "met" if found <= most else "MISSED"
        if most < found <= most * slowness and name != MEMORY:
            verdict = f"met for this machine, which is {slowness:.1f} times slower"
        print(f"  budget {verdict}: {tool}, {name}: {_cell(name, found)} of {_cell(name, most)}")


def write_index(root: Path, n_files: int, *, is_unique: bool) -> None:
    """Write an index alone; its recordings are named alike, or each unlike all others."""

    def named(number: int, relpath: str) -> str:
        label = hashlib.md5(b"%d" % (number // 2), usedforsecurity=False).hexdigest()[:10]
        return relpath.replace("_run-", f"_rec-{label}_run-") if is_unique else relpath

    paths = [named(number, relpath) for number, relpath in enumerate(relpaths(n_files))]
    document = {
        path: {
            "md5": hashlib.md5(path.encode(), usedforsecurity=False).hexdigest(),
            "osf_path": f"/{hashlib.sha256(path.encode()).hexdigest()[:24]}",
            "size": 1000 + number,
        }
        for number, path in enumerate(paths)
    }
    text = json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False)
    (root / "dataset_index.json").write_text(f"{text}\n")


def measure_catalogue(root: Path, *, is_again: bool) -> dict[str, float]:
    """Measure a catalogue in this process; what is remembered is asked for once more."""
    from confusius_datasets._dataset import BIDSDataset
    from confusius_datasets.sources import DatasetSpec, OSFSource

    _import_all()
    results: dict[str, float] = {}

    def timed(name: str, work: Callable[[], Any], *, repeats: int = 1) -> Any:
        for _ in range(repeats):
            start, busy = time.perf_counter(), time.process_time()
            answer = work()
            took, busy = time.perf_counter() - start, time.process_time() - busy
            results[name] = min(results.get(name, took), took)
            # Beside other work on the same machine, this tells more.
            results[f"CPU, {name}"] = min(results.get(f"CPU, {name}", busy), busy)
        return answer

    spec = DatasetSpec(name="catalogue", folder="c", source=OSFSource("43skw", folder="c"))
    dataset = BIDSDataset(root, spec=spec, progress=False)
    timed("again" if is_again else "first answer", lambda: dataset.layout.get(**SELECTIVE))
    peak = _peak_mb()
    results["memory, again" if is_again else MEMORY] = peak
    if not is_again:
        return results
    timed("selective", lambda: dataset.layout.get(subject="002", extension=".nii.gz"), repeats=5)
    timed("get_subjects", dataset.get_subjects, repeats=3)
    timed("repr", lambda: repr(dataset), repeats=3)
    if len(dataset.index) <= 100_000:
        query = {"extension": ".nii.gz"}
        timed("half, as names", lambda: dataset.layout.get(return_type="filename", **query))
        timed("half, as objects", lambda: dataset.layout.get(**query))
        timed("missing", dataset.missing, repeats=2)
        timed("to_df", dataset.to_df, repeats=2)
        (root / "pwd.json").write_text("{}")
        (root / "sub-002/ses-1/fusi").mkdir(parents=True)
        image = dataset.layout.get(**SELECTIVE)[0]
        Path(image.path.replace(".nii.gz", ".json")).write_text("{}")
        timed("associations", image.get_associations)
    return results


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve a folder from another process, whose memory does not count, and give the address."""
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        try:
            assert server.stdout is not None
            port = re.search(r"port (\d+)", server.stdout.readline())[1]  # type: ignore[index]
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def measure_stream(what: str, root: Path) -> dict[str, float]:
    """Measure what goes through all files, in this process."""
    from confusius_datasets._dataset import BIDSDataset
    from confusius_datasets._selection import parse_filters, select
    from confusius_datasets.sources import DatasetSpec, OSFSource

    class Arriving(OSFSource):
        """A host whose index is the one that is here."""

        def list_files(self, client: Any) -> Any:
            with serving(root) as url:
                link = {"download": f"{url}/{self.index_name}"}
                record = {"attributes": {"name": self.index_name}, "links": link}
                return self._get_index(client, record, url)

    _import_all()
    spec = DatasetSpec(name="catalogue", folder="c", source=Arriving("43skw", folder="c"))
    dataset = BIDSDataset(root, spec=spec, progress=False)

    def select_and_plan() -> None:
        chosen = select(dataset.index, parse_filters({"subjects": "002", "sessions": "1"}))
        dataset._local.missing(chosen)

    works: dict[str, Callable[[], Any]] = {
        "select, plan": select_and_plan,
        "plan of a subject": lambda: dataset.missing(subject="002"),
        "verify a subject": lambda: dataset.verify(subject="002"),
        "refresh": dataset.refresh,
        "missing": dataset.missing,
        "verify": dataset.verify,
    }
    start = time.perf_counter()
    works[what]()
    return {"seconds": time.perf_counter() - start, MEMORY: _peak_mb()}


def report_streams(root: Path) -> None:
    """Print time and peak memory of what goes through all files, and the budgets."""
    for what, most in STREAMS.items():
        command = [sys.executable, __file__, "--measure", what, "--root", str(root)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout)
        verdict = "" if most is None else "met" if found[MEMORY] <= most else "MISSED"
        print(f"  {what:18}{found['seconds']:.1f} s, {f'{found[MEMORY]:.0f} MB':28}{verdict}")


def report_catalogue(n_files: int, *, is_unique: bool) -> None:
    """Measure a catalogue, cold and again, and print its budgets."""
    folder = Path(tempfile.mkdtemp(prefix="catalogue-"))
    try:
        write_index(folder, n_files, is_unique=is_unique)
        index = folder / "dataset_index.json"
        data = index.read_bytes()
        json_s = min(timeit.repeat(functools.partial(json.loads, data), number=1, repeat=REPEATS))
        del data
        found: dict[str, float] = {}
        for mode in ("cold", "again") * (1 if n_files > 100_000 else REPEATS):
            if mode == "cold":
                for path in (".confusius", "sub-002", "pwd.json"):
                    shutil.rmtree(folder / path, ignore_errors=True)
            command = [sys.executable, __file__, "--measure", mode, "--root", str(folder)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            for name, value in json.loads(done.stdout).items():
                best = max if "memory" in name else min
                found[name] = best(found.get(name, value), value)
        kept = sum(path.stat().st_size for path in folder.rglob("*.sqlite"))
        found["database"] = kept / index.stat().st_size
        _print_catalogue(n_files, found, json_s, is_unique=is_unique)
        if n_files >= 1_000_000 and not is_unique:
            report_streams(folder)
    finally:
        shutil.rmtree(folder)


def _print_catalogue(
    n_files: int, found: dict[str, float], json_s: float, *, is_unique: bool
) -> None:
    """Print the measures of a catalogue, and whether its budgets are met."""
    kind = "all names unlike" if is_unique else "recordings named alike"
    print(f"\n{n_files} files in a catalogue, {kind}; json.loads {json_s * 1000:.0f} ms")
    slowness = json_s / JSON_S[n_files]
    budgets = CATALOGUE_BUDGETS.get((n_files, is_unique), {})
    for name, value in found.items():
        if name.startswith("CPU, "):
            continue
        most = budgets.get(name)
        is_time = name != "database" and "memory" not in name
        text = f"{value * 1000:.1f} ms, {value / json_s:.2f} x json.loads" if is_time else ""
        if is_time:
            text += f", {found[f'CPU, {name}'] * 1000:.1f} ms of CPU"
        text = text or (f"{value:.2f} x the index" if name == "database" else f"{value:.0f} MB")
        verdict = "" if most is None else "met" if value <= most else "MISSED"
        if verdict == "MISSED" and is_time and value <= most * slowness:
            verdict = f"met for this machine, which is {slowness:.1f} times slower now"
        print(f"  {name:18}{text:56}{verdict}")


def _cell(name: str, value: float | None) -> str:
    """Write a measure with its unit."""
    if value is None:
        return ""
    return f"{value:.0f} MB" if name == MEMORY else f"{value * 1000:.1f} ms"


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--million", action="store_true", help="catalogues of a million files, too")
    parser.add_argument("--files", type=int, nargs="*", default=[500, 30_000, 100_000])
    parser.add_argument("--most-for-pybids", type=int, default=30_000, metavar="N")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure in ("cold", "again"):
        print(json.dumps(measure_catalogue(options.root, is_again=options.measure == "again")))
        return
    if options.measure in STREAMS:
        print(json.dumps(measure_stream(options.measure, options.root)))
        return
    if options.measure:
        print(json.dumps(measure(options.measure, options.root)))
        return
    for n_files in options.files:
        report(n_files, most_for_pybids=options.most_for_pybids)
    for n_files, kinds in (CATALOGUES | (MILLION if options.million else {})).items():
        for is_unique in kinds:
            report_catalogue(n_files, is_unique=is_unique)
    whole.report()


if __name__ == "__main__":
    main()
