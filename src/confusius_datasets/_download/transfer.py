"""One file, from its source into a partial file: attempts, resuming, helpers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import dataclass, field

from confusius_datasets._download.assembly import Assembly, Piece
from confusius_datasets._download.events import BytesReceived, Event, Waiting
from confusius_datasets._download.partial import PartialFile
from confusius_datasets._download.plan import DownloadSettings
from confusius_datasets._download.wording import word_mismatch
from confusius_datasets._index import FileEntry
from confusius_datasets._sources import ByteStream, From, FromTo, HttpClient, SourceCall, retry
from confusius_datasets.errors import (
    ChecksumError,
    OfflineError,
    RateLimitError,
    RemoteConnectionError,
    SourceError,
)

__all__ = ["DownloadContext", "Transfer"]

SLOW_BYTES_PER_S = 100
"""An attempt that receives fewer makes no progress."""

WORTH_HELP_S = 1.0
"""Seconds that a file must still take for others to help: each has to connect first."""

LONGEST_NAP_S = 0.5
"""Seconds after which a wait for helpers looks whether there is still something to wait for."""


@dataclass
class DownloadContext:
    """What all transfers of one call have in common."""

    source: SourceCall
    client: HttpClient
    settings: DownloadSettings
    on_event: Callable[[Event], None]
    stop: threading.Event = field(default_factory=threading.Event)
    received: int = 0
    _telling: threading.Lock = field(default_factory=threading.Lock)
    _announced: float = 0.0

    def tell(self, event: Event) -> None:
        """Pass an event on."""
        with self._telling:
            if isinstance(event, BytesReceived) and event.nbytes > 0:
                self.received += event.nbytes
            self.on_event(event)

    def sleep(self, seconds: float) -> None:
        """Wait; `CancelledError` once the download is stopped, which is nobody's fault."""
        if self.stop.wait(seconds):
            raise CancelledError

    def wait(self, seconds: float, error: SourceError) -> None:
        """Wait before the next attempt, and tell of it once for all who wait for the same."""
        if self.stop.is_set():
            raise CancelledError
        until = time.monotonic() + seconds
        with self._telling:
            known = until <= self._announced + 1.0
            self._announced = max(self._announced, until)
        if not known:
            self.tell(Waiting(seconds, str(error)))
        self.sleep(seconds)


class Transfer:
    """The download of one file."""

    def __init__(self, context: DownloadContext, entry: FileEntry, partial: PartialFile) -> None:
        self._context = context
        self._entry = entry
        self._partial = partial
        # With the tag of what an earlier call left, the host says whether that is still its file.
        self._etag = partial.etag
        self._ranges = False
        self._helped_in_vain = 0
        self._begun, self._here = time.monotonic(), partial.position
        self._best = partial.position  # the farthest that any attempt came
        self._attempt_begun, self._seen = self._begun, context.received
        self._assembly = Assembly(partial, entry.size, window=2 * context.settings.workers)

    def run(self) -> None:
        """Receive the file, over as many attempts as it takes, and check it."""
        context, wrong = self._context, 0
        while True:
            try:
                retry(
                    self._attempt,
                    context.settings,
                    wait=context.wait,
                    moved=self._has_moved,
                    answered=lambda: bool(context.received),
                )
            except ChecksumError as error:
                resumed = self._partial.resumed
                self._restart()
                # What an earlier call left may have been of other content, which is no answer.
                if not resumed and not context.source.give_up(self._entry, error):
                    wrong += 1
                if wrong > 1:
                    raise
            except SourceError as error:
                if not context.source.give_up(self._entry, error):
                    raise
            else:
                return

    def _attempt(self) -> None:
        """Receive the rest of the file and check the whole."""
        self._attempt_begun, self._seen = time.monotonic(), self._context.received
        self._receive_all()
        self._partial.check()

    def _has_moved(self, error: SourceError) -> bool:
        """Say whether an attempt that failed brought something."""
        if isinstance(error, RateLimitError):
            # Others may have been answered meanwhile: then it is a matter of taking turns.
            return self._context.received > self._seen
        progress = self._partial.position - self._best
        self._best = max(self._best, self._partial.position)
        elapsed = time.monotonic() - self._attempt_begun
        return progress > 0 and progress >= SLOW_BYTES_PER_S * elapsed

    def help(self) -> bool:
        """Receive pieces that the one who runs this transfer has not come to yet."""
        # Without an entity tag or checksum, ranges of different contents could be mixed unnoticed.
        vouched = self._etag is not None or self._entry.checksum is not None
        assembly = self._assembly
        if not (self._ranges and vouched) or self._helped_in_vain > 2:
            return False
        # Once shared, a file goes faster: no reason to stop helping.
        if not (assembly.is_shared or self._takes_long()):
            return False
        piece = assembly.claim() if assembly.share() else None
        if piece is None:
            return False
        before = piece.position
        try:
            self._receive(assembly, piece)
        except (SourceError, OfflineError, ChecksumError):
            # Whoever runs the transfer learns by itself what is wrong, and deals with it.
            self._helped_in_vain += piece.position == before
        finally:
            assembly.give_back(piece)
        return True

    def _takes_long(self) -> bool:
        """Say whether so much is left, at the speed until now, that help is of use."""
        size, done = self._assembly.size, self._partial.position
        elapsed = time.monotonic() - self._begun
        return size is None or (size - done) * elapsed > WORTH_HELP_S * (done - self._here)

    def close(self) -> None:
        """Let helpers hand nothing in any more."""
        self._assembly.close()

    def _receive_all(self) -> None:
        """Receive pieces until the file is whole."""
        while not self._assembly.is_whole:
            self._check_stop()
            assembly = self._assembly
            piece = assembly.claim()
            if piece is None:
                assembly.wait(LONGEST_NAP_S)
                continue
            try:
                self._receive(assembly, piece, alone=True)
            finally:
                assembly.give_back(piece)

    def _receive(self, assembly: Assembly, piece: Piece, *, alone: bool = False) -> None:
        """Receive a piece, or as much of it as comes."""
        asked = None if piece.stop == assembly.size else piece.stop
        part = From(piece.position) if asked is None else FromTo(piece.position, asked)
        context = self._context
        with context.source.open(
            self._entry, part, client=context.client, etag=self._etag
        ) as stream:
            if self._fits(stream, piece):
                if alone:
                    self._learn(stream, assembly)
                self._pour(stream, assembly, piece, asked)
            elif alone:
                self._start_again(stream)
            else:
                self._ranges = False

    def _fits(self, stream: ByteStream, piece: Piece) -> bool:
        """Say whether a stream goes on from where the piece is, with the same content."""
        if stream.start != piece.position:
            return False
        if stream.etag is None and self._entry.checksum is not None:
            return True  # a mix of two contents would not have the checksum
        return self._etag is None or stream.etag == self._etag

    def _start_again(self, stream: ByteStream) -> None:
        """Receive the file from its start: the host has other content by now, or gives no parts."""
        self._restart()
        piece = self._assembly.claim()
        if stream.start != 0 or piece is None:
            return
        try:
            self._learn(stream, self._assembly)
            self._pour(stream, self._assembly, piece, None)
        finally:
            self._assembly.give_back(piece)

    def _learn(self, stream: ByteStream, assembly: Assembly) -> None:
        """Take note of what the host says of the file."""
        if stream.total is not None and self._entry.size not in (None, stream.total):
            raise word_mismatch(
                self._entry, f"{self._entry.size} bytes", f"{stream.total} bytes", url=stream.url
            )
        if self._entry.checksum is None and None not in (self._entry.etag, stream.etag):
            self._check_etag(stream)
        if stream.total is not None:
            assembly.learn_size(stream.total)
        self._partial.note_etag(stream.etag)
        self._partial.note_checksum(stream.checksum)
        self._etag = stream.etag
        self._ranges = stream.ranges

    def _check_etag(self, stream: ByteStream) -> None:
        """Compare entity tags where the index has nothing better that vouches for the content."""
        expected, found = f"entity tag {self._entry.etag}", f"entity tag {stream.etag}"
        if expected != found:
            raise word_mismatch(self._entry, expected, found, url=stream.url)

    def _pour(
        self, stream: ByteStream, assembly: Assembly, piece: Piece, asked: int | None
    ) -> None:
        """Pass the bytes of a stream on, until it ends or the rest is somebody else's."""
        for data in stream:
            self._check_stop()
            taken = assembly.take(piece, data)
            self._context.tell(BytesReceived(self._entry.relpath, taken))
            to_the_end = asked is None and piece.stop in (None, assembly.size)
            if taken < len(data) and to_the_end and not assembly.is_closed:
                raise word_mismatch(
                    self._entry, f"{assembly.size} bytes", "more than that", url=stream.url
                )
            # A piece that was cut meanwhile is whole before its stream is.
            if taken < len(data) or (piece.is_whole and not to_the_end and piece.stop != asked):
                return
        if piece.stop is None:
            assembly.end_here(piece)
        elif piece.position < piece.stop:
            self._reject_early_end(stream, piece)

    def _reject_early_end(self, stream: ByteStream, piece: Piece) -> None:
        """Say that a stream ended before it should."""
        if stream.total is None:
            # The host did not say how much would come, so this is what it takes for the file.
            expected, found = f"{piece.stop} bytes", f"{piece.position} bytes"
            raise word_mismatch(self._entry, expected, found, url=stream.url)
        raise RemoteConnectionError(
            f"{self._entry.relpath}: the connection ended after {piece.position} of "
            f"{stream.total} bytes. Call again: it goes on from there.",
            url=stream.url,
        )

    def _restart(self) -> None:
        """Throw away what was received."""
        self._assembly.close()
        self._context.tell(BytesReceived(self._entry.relpath, -self._partial.position))
        self._partial.restart()
        self._etag, self._ranges = None, False
        window = 2 * self._context.settings.workers
        self._assembly = Assembly(self._partial, self._entry.size, window=window)

    def _check_stop(self) -> None:
        """Raise `CancelledError` if the download is stopped."""
        if self._context.stop.is_set():
            raise CancelledError
