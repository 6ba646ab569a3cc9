"""Events → a bar, a callback, log lines, or nothing; the only file that draws progress."""

from __future__ import annotations

import contextlib
import logging
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

__all__ = ["ProgressOption", "report"]

ProgressOption = bool | Callable[[int, int | None, str], None]
"""`True` for a bar, `False` for nothing, or a function of bytes done, bytes in all, and a text."""

LOG_EVERY_S = 10.0
"""Seconds between two lines of the log."""

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
    """Draw a bar over all bytes, or log a line now and then where there is nothing to draw on."""
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
        yield _Logger()
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


class _Logger:
    """Logs how far a download is, now and then."""

    def __init__(self) -> None:
        self._n_files = 0
        self._n_done = 0
        self._done = 0
        self._total: int | None = None
        self._next = 0.0

    def __call__(self, event: Event) -> None:
        """Take an event."""
        if isinstance(event, PlanStarted):
            self._n_files, self._total = event.n_files, event.nbytes
            self._next = time.monotonic() + LOG_EVERY_S
            total = "of unknown size" if event.nbytes is None else format_nbytes(event.nbytes)
            _log.info("Downloading %s, %s", count_files(event.n_files), total)
        elif isinstance(event, FileStarted | BytesReceived):
            self._done += event.nbytes
        elif isinstance(event, FileFinished):
            self._n_done += 1
        elif isinstance(event, Waiting):
            _log.warning("Waiting %.0f s: %s", event.seconds, event.reason)
        elif isinstance(event, PlanFinished):
            _log.info("Downloaded %s, %s", count_files(self._n_done), format_nbytes(self._done))
        if time.monotonic() >= self._next and self._n_files:
            self._next = time.monotonic() + LOG_EVERY_S
            _log.info(
                "%d of %s, %s done",
                self._n_done,
                count_files(self._n_files),
                format_nbytes(self._done),
            )
