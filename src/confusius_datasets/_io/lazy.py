"""The one lazy array: what is asked for of any format is read when it is asked for.

Pickles as a path and what is needed to read it: Dask's workers open the file themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

from confusius_datasets._damage import damage_errors
from confusius_datasets._io.versions import Origin

__all__ = ["LazyArray", "Positions", "as_slice"]

Positions = NDArray[np.intp]
"""Where values are along an axis, each once and in ascending order."""


class LazyArray(BackendArray):
    """A lazy array for xarray to wrap; subclasses say how positions along each axis are read."""

    def __init__(self, origin: Origin, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.origin = origin
        self.shape = shape
        self.dtype = dtype

    def fill(self, values: NDArray[Any], positions: Sequence[Positions]) -> None:
        """Fill an array with the values at the crossings of positions along each axis."""
        raise TypeError(f"{type(self).__name__} does not say how it is read")

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        if not isinstance(key, indexing.VectorizedIndexer):
            # Not through xarray's adapter, which stumbles over empty slices of negative step.
            return self._read(key.tuple)
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        """Read what a tuple of integers, slices and 1-D arrays asks for."""
        asked = [np.arange(size)[part] for size, part in zip(self.shape, key, strict=True)]
        ordered = [
            (np.ravel(along), None) if _is_ascending(part) else _in_file_order(np.ravel(along))
            for along, part in zip(asked, key, strict=True)
        ]
        positions = [ascending for ascending, _ in ordered]
        values = np.empty([len(ascending) for ascending in positions], self.dtype)
        if values.size:
            self._fill_unchanged(values, positions)
        for axis, (_, order) in enumerate(ordered):
            if order is not None:
                values = np.take(values, order, axis=axis)
        return values.reshape([n for part in asked for n in part.shape])

    def _fill_unchanged(self, values: NDArray[Any], positions: Sequence[Positions]) -> None:
        """Fill an array from the file that was opened, and from no other."""
        self.origin.check()
        try:
            with damage_errors(self.origin.path):
                self.fill(values, positions)
        finally:
            # Also what was replaced while it was read is an error, and the one worth telling.
            self.origin.check()


def as_slice(positions: Positions) -> slice | Positions:
    """Turn positions without gaps into a slice, which every library reads faster."""
    low, high = int(positions[0]), int(positions[-1])
    return slice(low, high + 1) if high - low == len(positions) - 1 else positions


def _is_ascending(part: Any) -> bool:
    """Say whether what is asked along an axis is sure to be in the order of the file."""
    return not isinstance(part, np.ndarray) and not (
        isinstance(part, slice) and part.step is not None and part.step < 0
    )


def _in_file_order(positions: Positions) -> tuple[Positions, Positions | None]:
    """Sort positions, each once, and say where each one asked for is among them, unless in place.

    So a file is read forwards, and each value of it once.
    """
    if (np.diff(positions) > 0).all():  # `unique` costs as much as a small read
        return positions, None
    return np.unique(positions, return_inverse=True)
