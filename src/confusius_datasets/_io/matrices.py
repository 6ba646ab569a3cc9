"""The affines of an array, as they stand in its attributes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Matrices", "Matrix"]

Matrix = NDArray[np.float64]


class Matrices(dict[str, Matrix]):
    """A dictionary of matrices that compares by value.

    xarray compares attributes with `==`, which for a plain dictionary of arrays is an error: two
    loads of one file would be neither identical nor mergeable (xarray#8148).
    """

    __hash__ = None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, dict):
            return NotImplemented
        return self.keys() == other.keys() and all(
            _is_equal(matrix, other[name]) for name, matrix in self.items()
        )

    def __ne__(self, other: object) -> bool:
        return not self == other

    def copy(self) -> Matrices:
        """Return a dictionary of the same matrices."""
        return Matrices(self)


def _is_equal(first: Matrix, second: Any) -> bool:
    """Compare by value; NaN equals NaN, as in xarray."""
    try:
        return np.array_equal(first, np.asarray(second, dtype=np.float64), equal_nan=True)
    except (TypeError, ValueError):
        return False
