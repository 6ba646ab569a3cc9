"""One line before a query downloads much by itself: how much, for how long, how to avoid it."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from confusius_datasets._text import count_files, format_nbytes
from confusius_datasets.errors import SettingError

if TYPE_CHECKING:
    from confusius_datasets._index import FileEntry

__all__ = ["Notice"]

VARIABLE = "CONFUSIUS_NOTICE_NBYTES"
DEFAULT_NBYTES = 1_000_000_000

MEASURABLE_NBYTES = 1_000_000
"""A smaller download says how long a host takes to answer, not how fast it sends."""

_log = logging.getLogger("confusius_datasets")


class Notice:
    """Measures the downloads of a dataset, and tells of a large one before it begins."""

    def __init__(self) -> None:
        self._rate: float | None = None

    @contextlib.contextmanager
    def timing(self, entries: Sequence[FileEntry], *, is_told: bool) -> Iterator[None]:
        """Measure a download, and tell of it first if it is large and nobody named it so."""
        nbytes = sum(entry.size or 0 for entry in entries)
        if is_told and nbytes > _limit():
            # A warning of the log: without any configuration it is shown on standard error.
            _log.warning(
                "Downloading %s (%s)%s. To keep to what is on disk, pass on_disk=True.",
                format_nbytes(nbytes),
                count_files(len(entries)),
                self._word_duration(nbytes),
            )
        begin = time.monotonic()
        yield
        if nbytes >= MEASURABLE_NBYTES:
            self._rate = nbytes / max(time.monotonic() - begin, 1e-6)

    def _word_duration(self, nbytes: int) -> str:
        """Say how long a download will take, at the rate of the one before."""
        if self._rate is None:
            return ""
        seconds = nbytes / self._rate
        length = f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
        return f", about {length} at {format_nbytes(round(self._rate))}/s as measured before"


def _limit() -> int:
    """Return the number of bytes that may be downloaded without a word."""
    text = os.environ.get(VARIABLE, "")
    if not text:
        return DEFAULT_NBYTES
    try:
        limit = int(float(text))
    except (ValueError, OverflowError) as error:
        raise SettingError(f"{VARIABLE}={text!r}: expected a number of bytes.") from error
    return limit
