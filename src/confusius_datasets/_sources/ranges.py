"""Parts of a file, as hosts are asked for them."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["WHOLE", "ByteRange", "From", "FromTo", "Last", "slice_of"]


@dataclass(frozen=True, slots=True)
class From:
    """The bytes of a file from an offset to its end."""

    start: int


@dataclass(frozen=True, slots=True)
class FromTo:
    """The bytes of a file from an offset up to another one, which is left out."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Last:
    """The last bytes of a file; all of it if it is shorter."""

    nbytes: int


ByteRange = From | FromTo | Last
"""A part of a file."""

WHOLE = From(0)
"""All of a file."""


def slice_of(part: ByteRange, size: int) -> tuple[int, int]:
    """Return where a part of a file of some size begins and ends."""
    match part:
        case From(start):
            span = (start, size)
        case FromTo(start, stop):
            span = (start, min(stop, size))
        case Last(nbytes):
            span = (max(size - nbytes, 0), size)
    return (min(span[0], span[1]), span[1])
