"""Events → a bar, a callback, log lines, or nothing; the only file that draws progress."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from confusius_datasets._download import (
    BytesReceived,
    Event,
    FileFinished,
    FileStarted,
    PlanFinished,
    PlanStarted,
    Waiting,
)
from confusius_datasets._text import count_files, format_nbytes

if TYPE_CHECKING:
    from rich.progress import Progress
    from rich.table import Table

__all__ = ["TIME_FORMAT", "ProgressOption", "report"]

ProgressOption = bool | Callable[[int, int | None, str], None]
"""`True` for a bar, `False` for nothing, or a function of bytes done, bytes in all, and a text."""

FIRST_LINE_S = 2.0
"""Seconds before the first line on how far a download is; a short one needs none."""

LONGEST_PAUSE_S = 60.0
"""Longest time between two such lines; each pause is twice the one before, up to that."""

TIME_FORMAT = "%Y-%m-%d %H:%M:%S"
"""How a line says when it was written; the log of a job is read the day after."""

CALL_EVERY = 1 << 20
"""Bytes between two calls of a function."""

REDRAW_EVERY_S = 0.2
"""Seconds between two states of a bar in a notebook."""

_log = logging.getLogger("confusius_datasets")


@contextlib.contextmanager
def report(progress: ProgressOption) -> Iterator[Callable[[Event], None]]:
    """Show what a download tells."""
    if callable(progress):
        yield _Caller(progress)
    elif not progress:
        yield lambda event: None
    else:
        with _bar() as take:
            yield take


class _Caller:
    """Tells a function of the bytes that are done, a mebibyte or more at a time."""

    def __init__(self, tell: Callable[[int, int | None, str], None]) -> None:
        self._tell = tell
        self._total: int | None = None
        self._done = 0
        self._told = 0
        self._text = ""

    def __call__(self, event: Event) -> None:
        """Take an event."""
        if isinstance(event, PlanStarted):
            self._total = event.nbytes
            self._say("Preparing download...")
        elif isinstance(event, FileStarted):
            self._done += event.nbytes
            self._say(f"Downloading {event.relpath.rpartition('/')[2]}")
        elif isinstance(event, BytesReceived):
            self._done += event.nbytes
            if self._done - self._told >= CALL_EVERY:
                self._say(self._text)
        elif isinstance(event, PlanFinished):
            self._say("Download complete.")

    def _say(self, text: str) -> None:
        """Call the function; what it is told never goes backwards."""
        self._text = text
        self._told = max(self._done, self._told)
        self._tell(self._told, self._total, text)


@contextlib.contextmanager
def _bar() -> Iterator[Callable[[Event], None]]:
    """Draw a bar over all bytes, or write a line now and then where there is nothing to draw on."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    console = Console(stderr=True)
    if not (console.is_terminal or console.is_jupyter):
        # A job without a terminal rarely sets logging up, and would then say nothing for hours.
        yield _Lines(logged=_log.hasHandlers())
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=console, transient=False)
    if console.is_jupyter:
        yield _NotebookBar(bar)
        return
    with bar:
        yield _Bar(bar)


class _Bar:
    """Turns events into the state of a bar of rich."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task = bar.add_task("Downloading", total=None, start=False)
        self._n_files = 0
        self._n_done = 0

    def __call__(self, event: Event) -> None:
        """Take an event."""
        bar, task = self._bar, self._task
        if isinstance(event, PlanStarted):
            self._n_files = event.n_files
            bar.update(task, total=event.nbytes)
            bar.start_task(task)
        elif isinstance(event, BytesReceived) and event.nbytes > 0:
            bar.advance(task, event.nbytes)
        elif isinstance(event, FileStarted | BytesReceived):
            # Bytes that were here before, or were in vain, are done or undone at no speed.
            bar.tasks[0].completed += event.nbytes
        elif isinstance(event, FileFinished):
            self._n_done += 1
        elif isinstance(event, Waiting):
            bar.console.print(f"Waiting {event.seconds:.0f} s: {event.reason}")
        bar.update(task, description=f"{self._n_done}/{self._n_files} files")


class _NotebookBar(_Bar):
    """Shows the bar below a notebook's cell; rich's own way there needs a further package."""

    def __init__(self, bar: Progress) -> None:
        from IPython.display import display

        super().__init__(bar)
        self._next = 0.0
        self._shown = display(self._table(), display_id=True)

    def __call__(self, event: Event) -> None:
        """Take an event."""
        super().__call__(event)
        now = time.monotonic()
        if now >= self._next or isinstance(event, PlanFinished):
            self._next = now + REDRAW_EVERY_S
            self._shown.update(self._table())

    def _table(self) -> Table:
        """Return what the bar looks like now."""
        return self._bar.make_tasks_table(self._bar.tasks)


def _print_line(text: str) -> None:
    """Print a line with the time on standard error."""
    if sys.stderr is not None:  # a program with windows may have none
        # A download does not fail because nobody listens any more.
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(f"{time.strftime(TIME_FORMAT)} {text}\n")


class _Lines:
    """Says now and then how far a download is: to the log, or else on standard error.

    A log also hears of the beginning and the end; on standard error a short download says nothing.
    """

    def __init__(self, *, logged: bool) -> None:
        self._say = _log.info if logged else _print_line
        self._warn = _log.warning if logged else _print_line
        self._says_ends = logged
        self._n_files = 0
        self._n_done = 0
        self._done = 0
        self._total: int | None = None
        self._received = 0  # since the last line
        self._pause = FIRST_LINE_S
        self._last = self._next = 0.0

    def __call__(self, event: Event) -> None:
        """Take an event."""
        if isinstance(event, PlanStarted):
            self._begin(event)
        elif isinstance(event, FileStarted | BytesReceived):
            self._done += event.nbytes
            if isinstance(event, BytesReceived):  # the others were here before
                self._received += max(event.nbytes, 0)
        elif isinstance(event, FileFinished):
            self._n_done += 1
        elif isinstance(event, Waiting):
            self._warn(f"Waiting {event.seconds:.0f} s: {event.reason}")
        if isinstance(event, PlanFinished):
            if self._says_ends:
                self._say(f"Downloaded {count_files(self._n_done)}, {format_nbytes(self._done)}")
        elif self._n_files and time.monotonic() >= self._next:
            self._tell()

    def _begin(self, event: PlanStarted) -> None:
        self._n_files, self._total = event.n_files, event.nbytes
        self._last = time.monotonic()
        self._next = self._last + self._pause
        if self._says_ends:
            total = "of unknown size" if event.nbytes is None else format_nbytes(event.nbytes)
            self._say(f"Downloading {count_files(event.n_files)}, {total}")

    def _tell(self) -> None:
        """Say how far it is, and choose when to say it next."""
        now = time.monotonic()
        rate = self._received / max(now - self._last, 1e-9)
        far = format_nbytes(self._done)
        if self._total:
            far = f"{self._done * 100 // self._total} % of {format_nbytes(self._total)}"
        self._say(
            f"{far} downloaded, {self._n_done} of {count_files(self._n_files)}, "
            f"{format_nbytes(int(rate))}/s"
        )
        self._says_ends = True
        self._pause = min(2 * self._pause, LONGEST_PAUSE_S)
        self._last, self._next, self._received = now, now + self._pause, 0
