"""How downloads are carried out."""

from __future__ import annotations

from dataclasses import dataclass

from confusius_datasets._sources.patience import Patience

__all__ = ["DownloadSettings"]


@dataclass(frozen=True, slots=True)
class DownloadSettings(Patience):
    """How downloads are carried out: how much at once, and how patiently.

    Parameters
    ----------
    retries : int, default: 4
        Attempts in a row that may fail without any progress before a file is given up.
    backoff_s : float, default: 1
        Seconds before the first retry; doubled with each, with jitter.
    stall_timeout_s : float, default: 30
        Seconds without progress after which an attempt is given up.
    longest_wait_s : float, default: 3600
        Longest time to wait because a host asks for it.
    workers : int, default: 8
        Connections that carry large files at once. Small files, which cost round trips rather than
        bandwidth, are asked for three times as many at once: their way leads over three hosts, and
        each of these then has about so many requests.
    """

    workers: int = 8

    def __post_init__(self) -> None:
        # A setting of none at all would wait for ever.
        object.__setattr__(self, "workers", max(self.workers, 1))
