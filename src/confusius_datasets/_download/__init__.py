"""Which files are missing, and how their bytes get to their places: whole, verified, or not at all.

`plan_download` decides, `run_plan` does: several files at once, into partial files of its own,
hashed on the way, renamed when they are whole. What happens is told as events. Nothing here knows
BIDS, or draws.
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
from confusius_datasets._download.plan import DownloadPlan, plan_download
from confusius_datasets._download.run import run_plan
from confusius_datasets._download.settings import DownloadSettings
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
    "plan_download",
    "run_plan",
    "verify_files",
]
