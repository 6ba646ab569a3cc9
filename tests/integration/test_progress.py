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
    monkeypatch.setattr(_progress, "LOG_EVERY_S", 0.0)
    with caplog.at_level(logging.INFO, logger="confusius_datasets"), _progress.report(True) as take:
        for event in STORY:
            take(event)

    messages = [record.getMessage() for record in caplog.records]
    assert messages[0] == "Downloading 2 files, 5 MB"
    assert "1 of 2 files, 3.5 MB done" in messages
    assert "Waiting 7 s: osf.io wants no requests now" in messages
    assert "Downloaded 2 files, 5 MB" in messages
    assert {record.levelname for record in caplog.records} == {"INFO", "WARNING"}


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
