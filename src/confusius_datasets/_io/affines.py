"""From NIfTI affines to coordinates and to matrices that act on them; pure.

World axes stand in the file's order (x, y, z) in NIfTI affines, in ours (z, y, x) in the matrices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from confusius_datasets._io.header import NiftiHeader
from confusius_datasets.errors import FileFormatError

__all__ = ["Geometry", "decompose", "geometry_of", "physical_to_world"]

Matrix = NDArray[np.float64]

SMALLEST_CONDITION = 1e-10
"""An axis shorter than this, relative to its column, is no axis: the affine is singular."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where the voxels are."""

    origin: tuple[float, float, float]
    steps: tuple[float, float, float]
    affines: dict[str, Matrix]


def geometry_of(header: NiftiHeader, *, name: str) -> Geometry:
    """Derive coordinates and matrices from the forms of a header."""
    forms = {
        f"physical_to_{form}": np.array(rows)
        for form, rows in (("sform", header.sform), ("qform", header.qform))
        if rows is not None
    }
    if not forms:
        x, y, z = header.pixdim[1:4]
        return Geometry((0.0, 0.0, 0.0), (x, y, z), {})
    key, primary = next(iter(forms.items()))
    origin = primary[:3, 3]
    try:
        with np.errstate(over="raise", invalid="raise"):
            steps = decompose(primary[:3, :3])
            matrices = {key: physical_to_world(form, origin, steps) for key, form in forms.items()}
    except (np.linalg.LinAlgError, FloatingPointError) as error:
        raise FileFormatError(
            f"{name}: the {key.removeprefix('physical_to_')} is singular: {error}"
        ) from error
    x, y, z = origin.tolist()
    return Geometry((x, y, z), steps, matrices)


def decompose(linear: Matrix) -> tuple[float, float, float]:
    """Find the step along each axis, by orthogonalising the columns in their order."""
    axes: list[Matrix] = []
    steps: list[float] = []
    for column in linear.T:
        rest = column.copy()
        for axis in axes:
            rest -= (axis @ column) * axis
        length = float(np.linalg.norm(rest))
        if not length > SMALLEST_CONDITION * float(np.linalg.norm(column)):
            raise np.linalg.LinAlgError(f"its columns {linear.T.tolist()} span no volume.")
        axes.append(rest / length)
        steps.append(length)
    if np.linalg.det(np.array(axes)) < 0:
        steps[0] = -steps[0]
    x, y, z = steps
    return x, y, z


def physical_to_world(form: Matrix, origin: Matrix, steps: tuple[float, float, float]) -> Matrix:
    """Build the matrix that maps coordinates to the world of a form."""
    matrix = np.eye(4)
    matrix[:3, :3] = form[:3, :3] / np.array(steps)
    matrix[:3, 3] = form[:3, 3] - matrix[:3, :3] @ origin
    reverse = [2, 1, 0, 3]
    return matrix[np.ix_(reverse, reverse)]
