"""From NIfTI affines to coordinates and to matrices that act on them; pure.

World axes stand in the file's order (x, y, z) in NIfTI affines, in ours (z, y, x) in the matrices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from confusius_datasets._io.matrices import Matrices, Matrix
from confusius_datasets._io.nifti.header import LARGEST_NUMBER, NiftiHeader
from confusius_datasets._text import shorten

__all__ = ["NO_FORM", "Geometry", "decompose", "geometry_of", "physical_to_world"]

SMALLEST_CONDITION = 1e-10
"""A column of which less than this is left, relative to itself, makes an affine singular."""

SCALE_TOLERANCE = 0.07
"""Relative difference between the voxel sizes of affine and `pixdim` that counts as agreement."""

NO_FORM = (
    "Both sform_code and qform_code are 0 in the NIfTI header. Coordinates will be computed from "
    "the voxel dimensions only, which may not reflect the true spatial orientation of the data."
)


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where the voxels are."""

    origin: tuple[float, float, float]
    steps: tuple[float, float, float]
    affines: Matrices
    problems: tuple[str, ...] = ()

    def has(self, form: str) -> bool:
        """Say whether a form of the header could be used."""
        return f"physical_to_{form}" in self.affines


def geometry_of(header: NiftiHeader) -> Geometry:
    """Derive coordinates and matrices from the forms of a header that can be used.

    The first usable one of sform and qform gives the coordinates; without one the voxel sizes do.
    """
    problems = list(header.problems)
    # Both matrices act on the coordinates of the array, which come from the first usable form.
    usable: dict[str, Matrix] = {}
    steps: tuple[float, float, float] | None = None
    for form, affine in (("sform", header.sform), ("qform", header.qform)):
        if affine is None:
            continue
        reason, found = _check(affine)
        if found is None:
            problems.append(f"The {form} {reason}. It is ignored.")
            continue
        usable[f"physical_to_{form}"] = affine
        steps = steps or found
        if form == "sform" and (contradiction := _contradiction(affine, header)):
            problems.append(contradiction)
    if steps is None:
        if header.sform is None and header.qform is None:
            problems.insert(0, NO_FORM)
        else:
            problems.append("Coordinates are computed from the voxel dimensions only.")
        x, y, z = header.pixdim[1:4]
        return Geometry((0.0, 0.0, 0.0), (x, y, z), Matrices(), tuple(problems))
    origin = next(iter(usable.values()))[:3, 3]
    matrices = {key: physical_to_world(form, origin, steps) for key, form in usable.items()}
    x, y, z = origin.tolist()
    return Geometry((x, y, z), steps, Matrices(matrices), tuple(problems))


def _check(affine: Matrix) -> tuple[str, tuple[float, float, float] | None]:
    """Find the steps of an affine, or say why it has none."""
    if not (np.abs(affine) < LARGEST_NUMBER).all():  # also false for NaN
        return "has entries that are not finite numbers", None
    try:
        with np.errstate(over="raise", invalid="raise"):
            steps = decompose(affine[:3, :3])
            physical_to_world(affine, affine[:3, 3], steps)
    except (np.linalg.LinAlgError, FloatingPointError) as error:
        return f"is singular: {shorten(error)}", None
    return "", steps


def _contradiction(sform: Matrix, header: NiftiHeader) -> str | None:
    """Say where the voxel sizes of the sform are not those of the header, if they are not."""
    sizes = np.linalg.norm(sform[:3, :3], axis=0)
    stored = np.array(header.pixdim[1:4])
    if (np.abs(sizes - stored) <= SCALE_TOLERANCE * stored).all():
        return None
    return (
        f"The sform has voxels of {_sizes(sizes)}, but pixdim says {_sizes(stored)}. Coordinates "
        "follow the sform; other programs may follow pixdim."
    )


def _sizes(values: NDArray[np.float64]) -> str:
    """Write the sizes of a voxel."""
    return " x ".join(f"{value:.4g}" for value in values)


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
            raise np.linalg.LinAlgError(f"its columns {linear.T.tolist()} span no volume")
        axes.append(rest / length)
        steps.append(length)
    # As in ConfUSIus, a mirrored image has x descending, whichever axis was flipped.
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
