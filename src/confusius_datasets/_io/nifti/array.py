"""The values of a NIfTI file: where they lie in it, and how many of them one read takes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from confusius_datasets._io.bytes import PlainReader, Reader, Session, shared_reader
from confusius_datasets._io.lazy import LazyArray, Positions
from confusius_datasets._io.nifti.header import NiftiHeader
from confusius_datasets._io.versions import Origin

__all__ = ["NiftiArray", "is_gzip", "true_dtype"]

SCRATCH_NBYTES = 1 << 20
"""Scattered values are picked out of pieces of at most this size, and converted in such pieces."""

PAGE_NBYTES = 1 << 12
"""Rows up to this size are read together with what lies between them: a call costs as much."""


class NiftiArray(LazyArray):
    """A lazy array over a NIfTI file."""

    def __init__(
        self, origin: Origin, header: NiftiHeader, shape: tuple[int, ...], *, kept: bool = True
    ) -> None:
        super().__init__(origin, shape, true_dtype(header))
        self.header = header
        self.kept = kept

    def fill(self, values: NDArray[Any], positions: Sequence[Positions]) -> None:
        """Fill an array with the values at the crossings of positions along each axis."""
        layout = _Layout(self.shape, self.header)
        first, last = layout.span(positions)
        start = self.header.offset + first * layout.itemsize
        stop = self.header.offset + (last + 1) * layout.itemsize
        with self._reader().session(start, stop) as session:
            layout.read(session, values, positions, begin=0)
        # In place and at last: reading in the other byte order would take a second array.
        if layout.swapped:
            values.byteswap(inplace=True)

    def _reader(self) -> Reader:
        """Return the reader of the file."""
        path, version = self.origin.files[0]
        if is_gzip(path):
            return shared_reader(path, version, self.header.end, kept=self.kept)
        return PlainReader(path)


class _Layout:
    """How the values of an array lie in a file, and how to get some of them."""

    def __init__(self, shape: tuple[int, ...], header: NiftiHeader) -> None:
        self.header = header
        self.itemsize = header.dtype.itemsize
        self.strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
        # Scaled values are converted piece by piece; others get their byte order in place, at last.
        self.scaled = header.slope is not None
        self.swapped = not self.scaled and not header.dtype.isnative
        self.piece_dtype = header.dtype if self.scaled else header.dtype.newbyteorder("=")

    def span(self, positions: Sequence[Positions]) -> tuple[int, int]:
        """Return the flat index of the first and of the last value, within the axes given."""
        strides = self.strides[-len(positions) :]
        ends = [(int(along[0]), int(along[-1])) for along in positions]
        first = sum(end[0] * stride for end, stride in zip(ends, strides, strict=True))
        last = sum(end[1] * stride for end, stride in zip(ends, strides, strict=True))
        return first, last

    def read(
        self,
        session: Session,
        values: NDArray[np.generic],
        positions: Sequence[Positions],
        *,
        begin: int,
    ) -> None:
        """Fill an array with what lies at the crossings of positions along the last axes.

        `begin` is the flat index at which the block of these axes begins.
        """
        low, high = self.span(positions)
        length = high - low + 1
        offset = self.header.offset + (begin + low) * self.itemsize
        if length == values.size and not self.scaled:
            session.read_into(offset, _bytes_of(values))
        elif length * self.itemsize <= SCRATCH_NBYTES:
            piece = np.empty(length, self.piece_dtype)
            session.read_into(offset, _bytes_of(piece))
            self._pick(piece, values, positions, low)
        else:
            self._read_by_rows(session, values, positions, begin=begin)

    def _read_by_rows(
        self,
        session: Session,
        values: NDArray[np.generic],
        positions: Sequence[Positions],
        *,
        begin: int,
    ) -> None:
        """Fill an array in parts along its first axis."""
        rows, *inner = positions
        stride = self.strides[-len(positions)]
        for start, stop in self._groups(rows, stride, values.size == len(rows) * stride):
            if inner and stop - start == 1:
                row = begin + int(rows[start]) * stride
                self.read(session, values[start], inner, begin=row)
            else:
                part = slice(start, stop)
                self.read(session, values[part], (rows[part], *inner), begin=begin)

    def _groups(self, rows: Positions, stride: int, full: bool) -> Iterator[tuple[int, int]]:
        """Part rows into groups that are read at once: what lies between them is read in vain."""
        fitting = max(1, SCRATCH_NBYTES // (stride * self.itemsize))
        # Small rows: one read for what fits into scratch memory, gaps included.
        if stride * self.itemsize <= PAGE_NBYTES:
            breaks = np.flatnonzero(np.diff(rows // fitting)) + 1
        # Whole rows: neighbours are read straight into the array, however many they are.
        elif full:
            breaks = np.flatnonzero(np.diff(rows) != 1) + 1
            if self.scaled:
                breaks = np.union1d(breaks, np.arange(fitting, len(rows), fitting))
        else:
            breaks = np.arange(1, len(rows))
        edges = [0, *breaks.tolist(), len(rows)]
        return itertools.pairwise(edges)

    def _pick(
        self,
        piece: NDArray[Any],
        values: NDArray[np.generic],
        positions: Sequence[Positions],
        low: int,
    ) -> None:
        """Put what was asked for out of a piece of the file into its place."""
        if piece.size == values.size:
            picked = piece.reshape(values.shape)
        else:
            strides = self.strides[-len(positions) :]
            crossings = zip(np.ix_(*positions), strides, strict=True)
            picked = piece[sum(along * stride for along, stride in crossings) - low]
        if not self.scaled:
            values[...] = picked
            return
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = picked.astype(values.dtype)
            scaled *= self.header.slope
            scaled += self.header.inter
        values[...] = scaled


def _bytes_of(values: NDArray[np.generic]) -> memoryview:
    """View an array's memory as single bytes."""
    return memoryview(values.reshape(-1).view(np.uint8).data)


def true_dtype(header: NiftiHeader) -> np.dtype[np.generic]:
    """Say of which type the values are, once scaled."""
    stored = header.dtype.newbyteorder("=")
    return stored if header.slope is None else np.result_type(stored, np.float64)


def is_gzip(path: Path) -> bool:
    """Say whether a file is compressed, by its name."""
    return path.name.endswith(".gz")
