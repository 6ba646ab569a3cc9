"""What a user sees of a download: in a terminal, in a notebook, in a log, through a function."""

from __future__ import annotations

import io
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress, TransferSpeedColumn

from confusius_datasets import _progress
from confusius_datasets._download import (
    BytesReceived,
    Event,
    FileFinished,
    FileStarted,
    PlanFinished,
    PlanStarted,
    Waiting,
)
from confusius_datasets.testing import LocalOSF

STORY: list[Event] = [
    PlanStarted(2, 5_000_000),
    FileStarted("sub-01/a.json", 0),
    BytesReceived("sub-01/a.json", 1_000_000),
    FileFinished("sub-01/a.json"),
    FileStarted("sub-01/b.nii.gz", 2_500_000),
    BytesReceived("sub-01/b.nii.gz", 500_000),
    BytesReceived("sub-01/b.nii.gz", -3_000_000),
    Waiting(7.0, "osf.io wants no requests now"),
    BytesReceived("sub-01/b.nii.gz", 4_000_000),
    FileFinished("sub-01/b.nii.gz"),
    PlanFinished(),
]
"""Two files, one of them resumed and then begun anew."""

LINE = r"{} % of 5 MB downloaded, {} of 2 files, [\d.]+ [KMGT]?B/s"
"""How far a download is, with the share and the number of files to be filled in."""

JOB = """
import sys
sys.path[:0] = {path!r}
from confusius_datasets import _progress
from test_progress import STORY
_progress.FIRST_LINE_S = {first_line_s}
with _progress.report({progress}) as take:
    for event in STORY:
        take(event)
"""
"""A program that does not know what logging is."""

SCRIPT = """
from confusius_datasets import fetch_nunez_elizalde_2022
fetch_nunez_elizalde_2022(subjects="CR020", print_citation=False)
"""


def test_function_hears_of_bytes_that_never_go_back() -> None:
    """A function is told a number that only grows, the total, and what is going on."""
    heard: list[tuple[int, int | None, str]] = []
    with _progress.report(lambda *told: heard.append(told)) as take:
        for event in STORY:
            take(event)

    assert heard[0] == (0, 5_000_000, "Preparing download...")
    assert heard[-1] == (5_000_000, 5_000_000, "Download complete.")
    assert [done for done, _, _ in heard] == sorted(done for done, _, _ in heard)
    assert (3_500_000, 5_000_000, "Downloading b.nii.gz") in heard


def test_nothing_is_shown_when_nothing_is_wanted(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """`False` means neither a bar nor a line of the log."""
    with caplog.at_level(logging.DEBUG), _progress.report(False) as take:
        for event in STORY:
            take(event)

    assert caplog.records == []
    assert capfd.readouterr() == ("", "")


def test_log_has_a_line_now_and_then(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a terminal, the beginning, how far it is, waits and the end are logged."""
    monkeypatch.setattr(_progress, "FIRST_LINE_S", 0.0)
    with caplog.at_level(logging.INFO, logger="confusius_datasets"), _progress.report(True) as take:
        for event in STORY:
            take(event)

    messages = [record.getMessage() for record in caplog.records]
    assert messages[0] == "Downloading 2 files, 5 MB"
    assert any(re.fullmatch(LINE.format(70, 1), message) for message in messages)
    assert "Waiting 7 s: osf.io wants no requests now" in messages
    assert messages[-1] == "Downloaded 2 files, 5 MB"
    assert {record.levelname for record in caplog.records} == {"INFO", "WARNING"}


def lines_of_job(*, first_line_s: float, progress: bool = True) -> list[str]:
    """Run a program without a terminal; return what it says on standard error."""
    path = [str(Path(__file__).parent)]
    job = JOB.format(path=path, first_line_s=first_line_s, progress=progress)
    done = subprocess.run(
        [sys.executable, "-c", job], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout == ""
    return done.stderr.splitlines()


@pytest.mark.slow
def test_job_without_a_terminal_sees_that_a_download_runs() -> None:
    """Nobody set logging up: lines on standard error have the time, the share and the speed."""
    lines = lines_of_job(first_line_s=0.0)

    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", line) for line in lines)
    texts = [line[20:] for line in lines]
    assert any(re.fullmatch(LINE.format(70, 1), text) for text in texts)
    assert "Waiting 7 s: osf.io wants no requests now" in texts
    assert texts[-1] == "Downloaded 2 files, 5 MB"


@pytest.mark.slow
def test_job_hears_nothing_of_a_short_download_but_waits() -> None:
    """What is over before the first line is due needs none; `False` means silence."""
    lines = lines_of_job(first_line_s=1e6)

    assert [line[20:] for line in lines] == ["Waiting 7 s: osf.io wants no requests now"]
    assert lines_of_job(first_line_s=0.0, progress=False) == []


def test_pauses_between_lines_grow_and_a_size_may_be_unknown(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A download of hours fills no log; without sizes the bytes are told instead of a share."""
    clock = 0.0
    monkeypatch.setattr(_progress.time, "monotonic", lambda: clock)
    with caplog.at_level(logging.INFO, logger="confusius_datasets"), _progress.report(True) as take:
        take(PlanStarted(3, None))
        for _ in range(600):
            clock += 1.0
            take(BytesReceived("a", 1_000_000))

    messages = [record.getMessage() for record in caplog.records]
    assert messages[0] == "Downloading 3 files, of unknown size"
    assert messages[1] == "2 MB downloaded, 0 of 3 files, 1 MB/s"
    assert messages[2] == "6 MB downloaded, 0 of 3 files, 1 MB/s"
    assert 12 < len(messages) < 18


def test_standard_error_that_is_gone_stops_no_download(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program with windows has none, and a closed one raises."""
    for stream in (None, closed := io.StringIO()):
        closed.close()
        monkeypatch.setattr(sys, "stderr", stream)
        _progress._print_line("12 % of 5 MB")


def test_bar_counts_what_was_here_without_calling_it_speed() -> None:
    """After resuming, the bar stands where the bytes are, and its speed is the network's."""
    clock = 0.0
    console = Console(file=io.StringIO(), force_terminal=True)
    bar = Progress(TransferSpeedColumn(), console=console, get_time=lambda: clock)
    take = _progress._Bar(bar)

    take(PlanStarted(1, 1_001_000_000))
    take(FileStarted("a", 1_000_000_000))
    for _ in range(11):
        take(BytesReceived("a", 50_000))
        clock += 1.0

    (task,) = bar.tasks
    assert task.completed == 1_000_550_000
    assert task.speed == pytest.approx(50_000)
    assert task.time_remaining == pytest.approx(450_000 / 50_000)
    assert task.description == "0/1 files"


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="a terminal is made with POSIX's pty")
def test_terminal_shows_one_bar_over_all_bytes(osf: LocalOSF) -> None:
    """In a terminal there is a bar with files, bytes, speed and time; the output stays clean."""
    import pty

    main, other = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100", "LINES": "30"}
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, stderr=other, env=environment
    ) as process:
        os.close(other)
        shown = b""
        with os.fdopen(main, "rb", buffering=0) as terminal:
            try:
                while data := terminal.read(1 << 16):
                    shown += data
            except OSError:
                pass  # the other end is closed: how Linux says that this is all
        assert process.stdout is not None
        printed = process.stdout.read()

    text = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", shown).decode()
    last = [line for line in re.split(r"[\r\n]+", text) if "files" in line][-1]
    n_files = last.partition("/")[0].strip()
    assert re.search(rf"{n_files}/{n_files} files .*?([\d.]+)/\1 kB", last)
    assert printed == b""


@pytest.fixture
def kernel(osf: LocalOSF, tmp_path: Path) -> Iterator[object]:
    """Start a notebook's kernel, a process of its own that is told of the local server."""
    from jupyter_client.manager import KernelManager

    manager = KernelManager(kernel_name="python3")
    environment = os.environ | {"IPYTHONDIR": str(tmp_path), "JUPYTER_RUNTIME_DIR": str(tmp_path)}
    manager.start_kernel(env=environment, cwd=str(tmp_path))
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning", "ignore::ResourceWarning")
def test_notebook_shows_one_bar_that_moves(kernel: object) -> None:
    """In a notebook one display is made and changed, to the last byte, and nothing is warned of."""
    messages: list[dict[str, object]] = []
    kernel.execute_interactive(SCRIPT, timeout=60, output_hook=messages.append)  # type: ignore[attr-defined]

    kinds = [str(message["msg_type"]) for message in messages]
    displays = [m["content"] for m in messages if "display_data" in str(m["msg_type"])]
    texts = [str(content["data"]["text/plain"]) for content in displays]  # type: ignore[index]
    assert kinds.count("display_data") == 1
    assert kinds.count("update_display_data") >= 1
    assert "stream" not in kinds and "error" not in kinds
    assert re.search(r"(\d+)/\1 files.*?([\d.]+)/\2 kB", texts[-1], re.DOTALL)
