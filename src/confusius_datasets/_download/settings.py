"""How downloads are carried out."""

from __future__ import annotations

from dataclasses import dataclass

from confusius_datasets._sources import RetryPolicy

__all__ = ["DownloadSettings"]


@dataclass(frozen=True, slots=True)
class DownloadSettings(RetryPolicy):
    """How downloads are carried out: how much at once, and how patiently."""

    workers: int = 8

    def __post_init__(self) -> None:
        # A setting of none at all would wait for ever.
        object.__setattr__(self, "workers", max(self.workers, 1))
