"""Which files are missing, and how their bytes get to their places: whole, verified, or not at all.

`plan_download` decides, `run_plan` does: several files at once, each into a partial file of its
own that is hashed as it grows, checked, and renamed to its place. What happens is told as events.
Files go through `run` (threads and locks), `transfer` (one file, with its attempts), `assembly`
(pieces in order) and `partial` (bytes on disk). Nothing here knows BIDS, a host, or draws.
"""

from __future__ import annotations

from confusius_datasets._download.events import (
    BytesReceived,
    Event,
    FileFailed,
    FileFinished,
    FileStarted,
    PlanFinished,
    PlanStarted,
    Waiting,
)
from confusius_datasets._download.plan import (
    DownloadPlan,
    DownloadSettings,
    check_places,
    plan_download,
    turn_of,
)
from confusius_datasets._download.run import run_plan
from confusius_datasets._download.verify import FileStatus, verify_files

__all__ = [
    "BytesReceived",
    "DownloadPlan",
    "DownloadSettings",
    "Event",
    "FileFailed",
    "FileFinished",
    "FileStarted",
    "FileStatus",
    "PlanFinished",
    "PlanStarted",
    "Waiting",
    "check_places",
    "plan_download",
    "run_plan",
    "turn_of",
    "verify_files",
]
