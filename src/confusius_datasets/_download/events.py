"""What a download tells as it goes: small values, drawn or counted by whoever likes."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "BytesReceived",
    "Event",
    "FileFailed",
    "FileFinished",
    "FileStarted",
    "PlanFinished",
    "PlanStarted",
    "Waiting",
]


@dataclass(frozen=True, slots=True)
class PlanStarted:
    """A plan is about to be carried out; `nbytes` is `None` where sizes are not known."""

    n_files: int
    nbytes: int | None


@dataclass(frozen=True, slots=True)
class FileStarted:
    """A file is begun; `nbytes` of it were here already."""

    relpath: str
    nbytes: int = 0


@dataclass(frozen=True, slots=True)
class BytesReceived:
    """Bytes of a file arrived; a negative number takes back what was received in vain."""

    relpath: str
    nbytes: int


@dataclass(frozen=True, slots=True)
class FileFinished:
    """A file is whole and at its place."""

    relpath: str


@dataclass(frozen=True, slots=True)
class FileFailed:
    """A file was given up."""

    relpath: str
    error: Exception


@dataclass(frozen=True, slots=True)
class Waiting:
    """Some or all downloads pause, because a host asked for it or failed."""

    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class PlanFinished:
    """Nothing is under way any more."""


Event = (
    PlanStarted | FileStarted | BytesReceived | FileFinished | FileFailed | Waiting | PlanFinished
)
"""What `run_plan` tells as it goes."""
