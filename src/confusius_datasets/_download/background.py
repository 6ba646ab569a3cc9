"""Writing beside receiving: hashing a large file takes as long as receiving it from a near host."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

__all__ = ["BackgroundWriter"]

BATCH = 1 << 20
"""Bytes that are handed over at a time: each time, a thread has to wake."""

MOST_WAITING = 8
"""Batches that may wait to be written; whoever hands in more waits."""


class BackgroundWriter:
    """Writes what it is given in a thread of its own, in order.

    Parameters
    ----------
    write : callable
        Writes bytes; called by that thread alone.
    """

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._failure: OSError | None = None
        self._batch: list[bytes] = []
        self._nbytes = 0
        self._waiting: queue.Queue[list[bytes] | None] = queue.Queue(MOST_WAITING)
        self._thread = threading.Thread(target=self._run, name="download-writer", daemon=True)
        self._thread.start()

    def put(self, data: bytes) -> None:
        """Hand bytes in.

        Parameters
        ----------
        data : bytes
            What follows.

        Raises
        ------
        OSError
            If bytes that were handed in before could not be written.
        """
        self._raise_failure()
        self._batch.append(data)
        self._nbytes += len(data)
        if self._nbytes >= BATCH:
            self._hand_over()

    def drain(self) -> None:
        """Wait until all is written.

        Raises
        ------
        OSError
            If it could not be.
        """
        self._hand_over()
        self._waiting.join()
        self._raise_failure()

    def close(self) -> None:
        """Write what is waiting, and end the thread."""
        self._hand_over()
        self._waiting.put(None)
        self._thread.join()

    def _hand_over(self) -> None:
        """Let the thread have what has been handed in."""
        self._waiting.put(self._batch)
        self._batch, self._nbytes = [], 0

    def _raise_failure(self) -> None:
        """Raise what the disk said, if it refused."""
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        """Write until told to end; after a failure, only take things off the queue."""
        while (batch := self._waiting.get()) is not None:
            try:
                for data in batch if self._failure is None else ():
                    self._write(data)
            except OSError as error:
                self._failure = error
            finally:
                self._waiting.task_done()
