"""A file that is put together from pieces which arrive in any order, written from front to back.

Whoever receives bytes hands them in; nothing here knows a network. Bytes that come before their
turn wait in memory, within a bounded window: so the file on disk is always the beginning of the
whole, can be hashed as it grows, and can be resumed.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from confusius_datasets._download.partial import PartialFile

__all__ = ["PIECE_NBYTES", "Assembly", "Piece"]

PIECE_NBYTES = 1 << 22
"""Bytes of a piece: large against what a round trip costs, small against the window."""


@dataclass(eq=False, slots=True)
class Piece:
    """A part of a file that somebody receives."""

    position: int
    stop: int | None
    owned: bool = True
    waiting: bytearray = field(default_factory=bytearray)

    @property
    def is_whole(self) -> bool:
        """Whether all of its bytes have arrived."""
        return self.position == self.stop


class Assembly:
    """Pieces of one file, and who receives them; safe to use from many threads."""

    def __init__(
        self, partial: PartialFile, size: int | None, *, window: int = 16, piece: int = PIECE_NBYTES
    ) -> None:
        self.size = size
        self._partial = partial
        self._piece = piece
        self._ahead = window
        self._window = window * piece
        self._changed = threading.Condition()
        self._closed = False
        self._shared = False
        self._failure: OSError | None = None
        # All of the rest is one piece, until somebody comes to help.
        self._pieces = [Piece(partial.position, size, owned=False)]

    @property
    def is_whole(self) -> bool:
        """Whether all bytes are written."""
        return self._partial.position == self.size

    @property
    def is_closed(self) -> bool:
        """Whether nothing is taken in any more."""
        return self._closed

    @property
    def is_shared(self) -> bool:
        """Whether others help, or have helped."""
        return self._shared

    def learn_size(self, size: int) -> None:
        """Take note of the size of the file, where it was not known before."""
        with self._changed:
            if self.size is None:
                self.size = size
                self._pieces[-1].stop = size

    def claim(self) -> Piece | None:
        """Take a piece that nobody is receiving."""
        with self._changed:
            if self._failure is not None:
                raise self._failure
            piece = self._find_free()
            if piece is None:
                return None
            if self._shared and piece.stop is not None:
                self._cut_to_size(piece, piece.stop - piece.position)
            piece.owned = True
            return piece

    def share(self) -> bool:
        """Let others help with what is left, if there is enough of it to gain."""
        with self._changed:
            if self._closed or self.size is None or not self._pieces:
                return False
            last = self._pieces[-1]
            if not self._shared and self.size - last.position >= 2 * self._piece:
                self._shared = True
                if last.owned:
                    self._cut(last, last.position + self._piece)
            return self._shared and self._find_free() is not None

    def _find_free(self) -> Piece | None:
        """Return the first piece within the window that nobody is receiving."""
        limit = self._partial.position + self._window
        for piece in self._pieces:
            if not piece.owned and not piece.is_whole and piece.position < limit:
                return piece
        return None

    def _cut_to_size(self, piece: Piece, rest: int) -> None:
        """Leave of a piece as much as one should take: less near the end, so all end at once."""
        nbytes = max(min(self._piece, rest // self._ahead), self._piece // 2)
        if rest > nbytes:
            self._cut(piece, piece.position + nbytes)

    def _cut(self, piece: Piece, at: int) -> None:
        """End a piece early, and leave the rest to be claimed."""
        after = self._pieces.index(piece) + 1
        self._pieces.insert(after, Piece(at, piece.stop, owned=False))
        piece.stop = at

    def take(self, piece: Piece, data: bytes) -> int:
        """Take bytes of a piece in."""
        with self._changed:
            if self._closed:
                return 0
            if piece.stop is not None:
                data = data[: piece.stop - piece.position]
            try:
                if self._pieces[0] is piece:
                    self._partial.write(data)
                else:
                    piece.waiting += data
                piece.position += len(data)
                if piece.is_whole:
                    self._advance()
                    self._changed.notify_all()
            except OSError as error:
                # What is on disk now is not known; whoever comes next must learn of it.
                self._failure, self._closed = error, True
                raise
            return len(data)

    def _advance(self) -> None:
        """Write what has been waiting for the pieces before it."""
        while self._pieces and self._pieces[0].is_whole:
            self._pieces.pop(0)
            if self._pieces and self._pieces[0].waiting:
                first = self._pieces[0]
                self._partial.write(bytes(first.waiting))
                first.waiting = bytearray()

    def give_back(self, piece: Piece) -> None:
        """Let others go on with a piece."""
        with self._changed:
            piece.owned = False
            self._changed.notify_all()

    def end_here(self, piece: Piece) -> None:
        """Take note that the file ends with a piece, where that could not be known before."""
        with self._changed:
            self.size = piece.stop = piece.position
            self._advance()
            self._changed.notify_all()

    def wait(self, seconds: float) -> None:
        """Wait until a piece is whole or given back."""
        with self._changed:
            self._changed.wait(seconds)

    def close(self) -> None:
        """Take nothing in any more, whoever hands it in."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
