"""Surfaces of regions: cut at the midline, mapped by a matrix; pure, vertices in mm."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Faces", "Vertices", "keep_side", "map_points"]

Vertices = NDArray[np.float64]
Faces = NDArray[np.int32]


def keep_side(
    vertices: Vertices, faces: Faces, side: Literal["left", "right"], midline: float
) -> tuple[Vertices, Faces]:
    """Keep the part of a surface that lies in a hemisphere."""
    left = vertices[:, 2] >= midline
    kept = left if side == "left" else ~left
    numbers = np.cumsum(kept) - 1
    whole = kept[faces].all(axis=1)
    return vertices[kept], numbers[faces[whole]].astype(np.int32)


def map_points(points: Vertices, matrix: NDArray[np.float64]) -> Vertices:
    """Map points by an affine matrix."""
    return np.asarray(points @ matrix[:3, :3].T + matrix[:3, 3], dtype=np.float64)
