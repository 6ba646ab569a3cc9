"""One line before a query downloads much by itself: how much, for how long, how to avoid it."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from confusius_datasets._text import count_files, format_nbytes
from confusius_datasets.errors import SettingError

if TYPE_CHECKING:
    from confusius_datasets._index import FileEntry

__all__ = ["tell_if_large"]

VARIABLE = "CONFUSIUS_NOTICE_NBYTES"
DEFAULT_NBYTES = 1_000_000_000

_log = logging.getLogger("confusius_datasets")


def tell_if_large(entries: Sequence[FileEntry], rate: float | None) -> None:
    """Tell of a large download before it begins; `rate` is in bytes a second, if it is known."""
    nbytes = sum(entry.size or 0 for entry in entries)
    if nbytes > _limit():
        # A warning of the log: without any configuration it is shown on standard error.
        _log.warning(
            "Downloading %s (%s)%s. To keep to what is on disk, pass on_disk=True.",
            format_nbytes(nbytes),
            count_files(len(entries)),
            _word_duration(nbytes, rate),
        )


def _word_duration(nbytes: int, rate: float | None) -> str:
    """Say how long a download will take, at the rate of the one before."""
    if rate is None:
        return ""
    seconds = max(nbytes / rate, 1.0)
    length = f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
    if seconds >= 100 * 60:
        length = f"{seconds / 3600:.1f} h"
    return f", about {length} at {format_nbytes(round(rate))}/s as measured before"


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
