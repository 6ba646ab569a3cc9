"""Surfaces of regions: read through BrainGlobe, cut at the midline, mapped; vertices in mm."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from confusius_datasets._atlas.brainglobe import network_errors_named
from confusius_datasets._cache import is_offline
from confusius_datasets.errors import FileFormatError, MissingFileError, OfflineError

__all__ = ["Faces", "Vertices", "keep_side", "map_points", "read_mesh"]

Vertices = NDArray[np.float64]
Faces = NDArray[np.int32]


def read_mesh(entry: Any) -> tuple[Vertices, Faces]:
    """Read the surface of a region."""
    acronym, path = entry["acronym"], entry["mesh_filename"]
    if path is None:
        raise MissingFileError(f"The atlas has no mesh of {acronym!r}.")
    path = Path(path)
    if path.exists():
        mesh = _read_local(entry, path)
    elif path.suffix:  # in the older layout nothing is downloaded later
        raise MissingFileError(f"{path}: the atlas has no mesh of {acronym!r}.")
    elif is_offline():
        raise OfflineError(
            f"CONFUSIUS_OFFLINE=1, and the mesh of {acronym!r} was never downloaded. Unset it.",
            missing=[str(path)],
        )
    else:
        with network_errors_named(f"mesh of {acronym}"):
            mesh = entry["mesh"]
    vertices = np.asarray(mesh.points, dtype=np.float64) * 1e-3
    faces = np.asarray(mesh.cells_dict.get("triangle", np.empty((0, 3))), dtype=np.int32)
    return vertices, faces


def _read_local(entry: Any, path: Path) -> Any:
    """Read a surface that is on disk."""
    from meshio import ReadError

    try:
        mesh = entry["mesh"]
    except (ReadError, OSError, RuntimeError, ValueError, IndexError, SystemExit) as error:
        raise FileFormatError(f"{path}: the mesh cannot be read: {error}.") from error
    if mesh is None or not len(mesh.points):
        raise FileFormatError(f"{path}: the mesh is empty.")
    return mesh


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
