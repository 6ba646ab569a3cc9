"""Downloads that are killed, interrupted, or run several at once: real processes."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from confusius_datasets._download.run import lock_name
from confusius_datasets._sources import get_client, http
from confusius_datasets.testing import Fault, LocalOSF
from downloads import FAST, LARGE, MEBIBYTE, QUICK, SERVERS, Lab, random_bytes, start_fetching

KILLS, FEWER_KILLS = 25, 8

PROCESSES = [(name, 2) for name in SERVERS] + [(name, 8) for name in sorted(QUICK)]
"""Hosts, and how many processes fetch from each at once."""

TREE = {f"sub-{number:02d}/sub-{number:02d}_pwd.json": 1000 for number in range(8)} | {
    f"sub-{number:02d}/fusi/sub-{number:02d}_run-{number}_pwd.nii.gz": size
    for number, size in enumerate([3 * MEBIBYTE, 2 * MEBIBYTE, MEBIBYTE, 12 * MEBIBYTE])
}

FLOCK_FOR_EVERYBODY = """
import fcntl
fcntl.flock = lambda *arguments: None
"""


def wait_for(process: subprocess.Popen[str], word: str) -> None:
    """Wait until a process has told of something."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == word:
            return
    raise AssertionError(f"the process ended without {word}: {process.communicate()[1]}")


def finish(process: subprocess.Popen[str]) -> None:
    """Wait for a process that must succeed."""
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors


@pytest.mark.slow
def test_kill_at_random_instants_leaves_whole_files_only(lab: Lab, tmp_path: Path) -> None:
    """Many kills: final paths hold whole files at every moment, and nothing is done twice.

    The last run completes the dataset. No file that was at its place is asked for again, and the
    bytes that were sent in all are those of the dataset and what was in the pipes at each kill.
    """
    lab.host.bandwidth = 2e6
    lab.serve(TREE)
    listing = lab.write_listing(tmp_path / "listing.json")
    chance = random.Random(7)
    requests_when_whole: dict[str, int] = {}
    kills = KILLS if lab.host.ROLES == LocalOSF.ROLES else FEWER_KILLS
    for _ in range(kills):
        process = start_fetching(lab, listing)
        wait_for(process, "ready")
        time.sleep(chance.uniform(0.0, 0.35))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        here = lab.tree()
        assert {relpath: lab.files[relpath] for relpath in here} == here
        for relpath in here:
            requests_when_whole.setdefault(relpath, len(lab.statuses(relpath)))
        if len(here) == len(TREE):
            lab.host.bandwidth = None
            break

    finish(start_fetching(lab, listing))

    assert lab.tree() == lab.files
    for relpath, number in requests_when_whole.items():
        assert len(lab.statuses(relpath)) == number
    assert lab.partials() == []
    received = sum(TREE.values())
    # What a socket held on either side at a kill is lost, on up to eight connections.
    assert sum(map(lab.sent, TREE)) < received + kills * 8 * MEBIBYTE / 4


@pytest.mark.slow
def test_kill_in_the_middle_of_a_file_keeps_its_bytes(lab: Lab, tmp_path: Path) -> None:
    """The next run asks for the rest of a large file, not for the whole."""
    lab.host.bandwidth = 4e6
    lab.serve({LARGE: 4 * MEBIBYTE})
    listing = lab.write_listing(tmp_path / "listing.json")
    process = start_fetching(lab, listing)
    wait_for(process, "BytesReceived")
    time.sleep(0.4)
    process.kill()
    process.communicate()
    (partial,) = lab.partials()
    kept = partial.stat().st_size
    seen = len(lab.host.requests_for(LARGE.rpartition("/")[2]))
    lab.host.bandwidth = None

    finish(start_fetching(lab, listing))

    # In an archive, another process asks for the member's header first.
    following = [
        r for r in lab.host.requests_for(LARGE.rpartition("/")[2])[seen:] if r.nbytes > 999
    ]
    assert lab.tree() == lab.files
    assert kept > MEBIBYTE / 2
    assert min(map(lab.offset, following)) == kept


@pytest.mark.slow
@pytest.mark.parametrize(("lab", "number"), PROCESSES, indirect=["lab"])
def test_processes_at_once_download_each_file_once(lab: Lab, tmp_path: Path, number: int) -> None:
    """However many processes fetch the same dataset, each file is transferred once."""
    lab.serve(TREE)
    lab.host.latency_s, lab.host.bandwidth = 0.01, 20e6
    listing = lab.write_listing(tmp_path / "listing.json")
    processes = [start_fetching(lab, listing) for _ in range(number)]

    for process in processes:
        finish(process)

    assert lab.tree() == lab.files
    for relpath in TREE:
        # What a cut request has in its pipes is lost: much, where a busy machine reads late.
        assert lab.sent(relpath) < TREE[relpath] + max(MEBIBYTE, TREE[relpath] // 2)
    small = [relpath for relpath in TREE if relpath.endswith(".json")]
    if lab.IS_ARCHIVE:  # neighbours come together, to each process that needs one of them
        assert len(lab.host.requests_for("data.zip")) <= number
    else:
        assert [len(lab.statuses(relpath)) for relpath in small] == [1] * len(small)
    assert lab.partials() == []


@pytest.mark.slow
@pytest.mark.parametrize(("lab", "number"), PROCESSES, indirect=["lab"])
def test_processes_at_once_where_locks_lie_end_with_the_same_tree(
    lab: Lab, tmp_path: Path, number: int
) -> None:
    """Where every lock succeeds for everybody, work is done twice and the tree is the same."""
    lab.serve(TREE)
    lab.host.latency_s = 0.1  # so that both ask before either has all
    listing = lab.write_listing(tmp_path / "listing.json")
    processes = [
        start_fetching(lab, listing, setup=FLOCK_FOR_EVERYBODY, wait="sys.stdin.readline()")
        for _ in range(number)
    ]
    for process in processes:  # so that they begin together, however busy the machine is
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()

    for process in processes:
        finish(process)

    assert lab.tree() == lab.files
    assert lab.partials() == []
    assert max(len(lab.statuses(relpath)) for relpath in TREE) > 1  # the locks did nothing


@pytest.mark.slow
def test_lock_of_a_killed_process_blocks_nobody(lab: Lab, tmp_path: Path) -> None:
    """A process that dies in the middle of a file leaves no lock that has to be waited for."""
    lab.serve({LARGE: MEBIBYTE})
    lab.host.fail(LARGE.rpartition("/")[2], Fault("stall", after=1000, seconds=20))
    listing = lab.write_listing(tmp_path / "listing.json")
    process = start_fetching(lab, listing, settings=replace(FAST, stall_timeout_s=30.0))
    wait_for(process, "BytesReceived")
    process.kill()
    process.communicate()
    begun = time.monotonic()

    lab.fetch()

    assert time.monotonic() - begun < 5
    assert lab.tree() == lab.files


def test_lock_that_cannot_be_had_does_not_stop_a_download(lab: Lab) -> None:
    """Where a lock file is none (another user's, say), work goes on without it."""
    lab.serve({LARGE: 1000})
    lab.fetch()
    (lab.root / LARGE).unlink()
    locks = lab.root / ".confusius" / "locks"
    for path in locks.iterdir():
        path.unlink()
    (locks / lock_name(lab.index()[LARGE])).mkdir()

    lab.fetch()

    assert lab.tree() == lab.files


@pytest.mark.slow
def test_waiting_process_goes_on_when_the_other_is_killed(lab: Lab, tmp_path: Path) -> None:
    """A file that another process was downloading is taken over when that one dies."""
    lab.host.bandwidth = 1e6
    lab.serve({LARGE: 2 * MEBIBYTE})
    listing = lab.write_listing(tmp_path / "listing.json")
    first = start_fetching(lab, listing)
    wait_for(first, "BytesReceived")
    second = start_fetching(lab, listing)
    wait_for(second, "PlanStarted")
    time.sleep(0.3)
    first.kill()
    first.communicate()
    lab.host.bandwidth = None

    finish(second)

    assert lab.tree() == lab.files


@pytest.mark.slow
def test_interruption_stops_soon_and_says_how_far_it_came(lab: Lab, tmp_path: Path) -> None:
    """Ctrl-C ends the download within two seconds, with a message; the next call resumes."""
    lab.host.bandwidth = 1e6
    lab.serve({"README": 10, LARGE: 8 * MEBIBYTE})
    listing = lab.write_listing(tmp_path / "listing.json")
    process = start_fetching(lab, listing)
    wait_for(process, "FileFinished")
    wait_for(process, "BytesReceived")
    time.sleep(0.5)
    begun = time.monotonic()

    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)

    assert time.monotonic() - begun < 2
    assert process.returncode != 0
    assert "KeyboardInterrupt: Interrupted: 1 of 2 files are downloaded" in errors
    assert "The same call resumes there." in errors
    kept = sum(path.stat().st_size for path in lab.partials())
    assert kept > 0

    lab.host.bandwidth = None
    lab.fetch()
    assert lab.tree() == lab.files
    assert lab.sent(LARGE) < 8 * MEBIBYTE + 3 * MEBIBYTE


@pytest.mark.slow
def test_interruption_while_a_host_is_silent_stops_soon_too(lab: Lab, tmp_path: Path) -> None:
    """A host that does not answer does not keep an interrupted process alive."""
    lab.serve({LARGE: 1000})
    listing = lab.write_listing(tmp_path / "listing.json")
    lab.host.fail(LARGE.rpartition("/")[2], Fault("silent", seconds=20, times=0))
    process = start_fetching(lab, listing, settings=replace(FAST, stall_timeout_s=60.0))
    wait_for(process, "FileStarted")
    time.sleep(0.3)
    begun = time.monotonic()

    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)

    assert time.monotonic() - begun < 3
    assert "Interrupted: 0 of 1 file" in errors


@pytest.mark.slow
def test_many_files_need_bounded_sockets_threads_and_open_files(lab: Lab, tmp_path: Path) -> None:
    """1 000 files are fetched by a process that may have 150 files open.

    Each of at most 24 threads has a socket, a lock, a partial file and two folders.
    """
    lab.serve({f"sub-{n % 50:02d}/sub-{n % 50:02d}_run-{n}_pwd.json": 200 for n in range(1000)})
    listing = lab.write_listing(tmp_path / "listing.json")
    report = tmp_path / "report.json"
    setup = """
import resource, threading, atexit
resource.setrlimit(resource.RLIMIT_NOFILE, (150, 150))
most = 0
def watch():
    global most
    while True:
        most = max(most, threading.active_count())
        threading.Event().wait(0.02)
threading.Thread(target=watch, daemon=True).start()
atexit.register(lambda: Path(REPORT).write_text(json.dumps(most)))
""".replace("REPORT", repr(str(report)))

    finish(start_fetching(lab, listing, setup=setup))

    assert lab.tree() == lab.files
    assert json.loads(report.read_text()) <= 3 * FAST.workers + 3
    for role in {request.role for request in lab.host.requests}:
        assert lab.host.most_connections(role) <= 3 * FAST.workers + 1  # of this process
        # Kept alive: connections are made once, not once a file.
        assert lab.host.n_connections(role) <= 4 * FAST.workers


@pytest.mark.slow
def test_memory_does_not_grow_with_the_size_of_a_file(lab: Lab, tmp_path: Path) -> None:
    """A file of 150 MB is received by a process that may grow by 100 MB."""
    size = 150_000_000
    lab.files = {LARGE: random_bytes(MEBIBYTE) * (size // MEBIBYTE)}
    lab.publish()
    listing = lab.write_listing(tmp_path / "listing.json")
    report = tmp_path / "report.json"
    setup = """
import resource, atexit
import requests
import confusius_datasets._sources
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
atexit.register(lambda: Path(REPORT).write_text(json.dumps(peak() - before)))
""".replace("REPORT", repr(str(report)))

    patient = replace(FAST, stall_timeout_s=30.0)  # the server hashes what it sends
    finish(start_fetching(lab, listing, setup=setup, settings=patient))

    assert (lab.root / LARGE).stat().st_size == len(lab.files[LARGE])
    assert json.loads(report.read_text()) < 100_000_000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_fork_gets_a_client_of_its_own(lab: Lab) -> None:
    """A child downloads, whatever locks threads of its parent held at that moment."""
    lab.serve({LARGE: 1000})
    entries = list(lab.index().values())
    parent = get_client()
    with http._shared_client._lock:  # as another thread might
        pid = os.fork()
        if pid == 0:
            signal.alarm(20)
            lab.fetch(entries)
            os._exit(0 if get_client() is not parent else 1)
    _, status = os.waitpid(pid, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert lab.tree() == lab.files
    assert get_client() is parent
