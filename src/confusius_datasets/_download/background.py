"""Hashing beside receiving: from a near host, a large file takes longer to hash than to come."""

from __future__ import annotations

import queue
import threading

from confusius_datasets._download.hashes import Hash

__all__ = ["BackgroundHash"]

BATCH = 1 << 20
"""Bytes that are handed over at a time: each time, a thread has to wake."""

MOST_WAITING = 8
"""Batches that may wait to be hashed; whoever hands in more waits."""


class BackgroundHash:
    """A hash that takes bytes in without making the caller wait for it, in a thread of its own."""

    def __init__(self, inner: Hash) -> None:
        self._inner = inner
        self._batch: list[bytes] = []
        self._nbytes = 0
        self._waiting: queue.Queue[list[bytes] | None] = queue.Queue(MOST_WAITING)
        self._thread = threading.Thread(target=self._run, name="download-hash", daemon=True)
        self._thread.start()

    def update(self, data: bytes, /) -> None:
        """Take bytes in."""
        self._batch.append(data)
        self._nbytes += len(data)
        if self._nbytes >= BATCH:
            self._hand_over()

    def hexdigest(self) -> str:
        """Return the digest of all bytes until now, in lower-case hexadecimal."""
        self._hand_over()
        self._waiting.join()
        return self._inner.hexdigest()

    def close(self) -> None:
        """End the thread; nothing can be taken in after it."""
        self._waiting.put(None)
        self._thread.join()

    def _hand_over(self) -> None:
        """Let the thread have what has been taken in."""
        if self._batch:
            self._waiting.put(self._batch)
            self._batch, self._nbytes = [], 0

    def _run(self) -> None:
        """Hash until told to end."""
        while (batch := self._waiting.get()) is not None:
            for data in batch:
                self._inner.update(data)
            self._waiting.task_done()
