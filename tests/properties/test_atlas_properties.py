"""Resampling follows its rules for any transform and grid."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from confusius_datasets._atlas.resampling import Grid, Resampler

SHAPE = (4, 3, 5)
STEPS = (0.25, 0.5, 0.125)

VALUES = np.random.default_rng(7).integers(1, 100, SHAPE).astype(np.float32)


def grid(origin: Any, steps: Any, shape: Any) -> Grid:
    """Make a grid."""
    axes = zip(origin, steps, shape, strict=True)
    points = tuple(start + np.arange(size) * step for start, step, size in axes)
    return Grid(("z", "y", "x"), points, (1.0, 1.0, 1.0))


SOURCE = grid((0.0, 0.0, 0.0), STEPS, SHAPE)

MATRICES = hnp.arrays(np.float64, (3, 4), elements=st.floats(-1.5, 1.5, width=32))
"""Rows of affine matrices."""


def by_the_rules(point: np.ndarray[Any, Any]) -> tuple[float, float]:
    """Compute one voxel's linear and nearest value, one axis after another, in plain numbers."""
    index = [along / step for along, step in zip(point, STEPS, strict=True)]
    if any(not -0.5 <= i < size - 0.5 for i, size in zip(index, SHAPE, strict=True)):
        return 0.0, 0.0
    nearest = VALUES[tuple(int(np.floor(i + 0.5)) for i in index)]
    total = 0.0
    for corner in np.ndindex(2, 2, 2):
        weight, voxel = 1.0, []
        for i, size, side in zip(index, SHAPE, corner, strict=True):
            i = min(max(i, 0.0), size - 1.0)
            low = min(int(i), size - 2)
            weight *= (i - low) if side else 1 - (i - low)
            voxel.append(low + side)
        total += weight * float(VALUES[tuple(voxel)])
    return total, float(nearest)


@settings(max_examples=60)
@given(rows=MATRICES, origin=st.tuples(*[st.floats(-1, 1, width=32)] * 3))
def test_values_are_those_of_the_rules(rows: np.ndarray[Any, Any], origin: Any) -> None:
    """Each voxel has what the rules give for it, computed apart from all others."""
    target = grid(origin, (0.3, -0.2, 0.15), (3, 4, 2))
    transform = np.vstack([rows, [0, 0, 0, 1]])
    resampler = Resampler(SOURCE, target, transform)

    linear, nearest = resampler.interpolate(VALUES, "linear"), resampler.nearest(VALUES)[0]

    for voxel in np.ndindex(target.shape):
        place = [points[i] for points, i in zip(target.points, voxel, strict=True)]
        point = rows[:, :3] @ place + rows[:, 3]
        index = point / np.array(STEPS)
        # Beside an edge or a tie, the order of additions decides.
        if np.abs(index + 0.5 - np.rint(index + 0.5)).min() < 1e-9:
            continue
        expected = by_the_rules(point)
        np.testing.assert_allclose(linear[voxel], expected[0], rtol=1e-5, atol=1e-4)
        assert nearest[voxel] == expected[1]


@settings(max_examples=60)
@given(shift=st.tuples(*[st.integers(-5, 5)] * 3))
def test_shift_by_whole_voxels_moves_values(shift: tuple[int, int, int]) -> None:
    """Voxels that have a neighbour there take its value, the others are 0, in every way."""
    transform = np.eye(4)
    transform[:3, 3] = np.multiply(shift, STEPS)
    resampler = Resampler(SOURCE, SOURCE, transform)
    expected = np.zeros(SHAPE, np.float32)
    for voxel in np.ndindex(SHAPE):
        other = tuple(np.add(voxel, shift))
        if all(0 <= i < size for i, size in zip(other, SHAPE, strict=True)):
            expected[voxel] = VALUES[other]

    np.testing.assert_array_equal(resampler.nearest(VALUES)[0], expected)
    np.testing.assert_array_equal(resampler.interpolate(VALUES, "linear"), expected)
    np.testing.assert_array_equal(resampler.interpolate(VALUES, "nearest"), expected)
    np.testing.assert_allclose(resampler.interpolate(VALUES, "bspline"), expected, atol=1e-3)


@settings(max_examples=40)
@given(rows=MATRICES)
def test_linear_values_stay_between_those_of_the_volume(rows: np.ndarray[Any, Any]) -> None:
    """Interpolation invents nothing: each value is 0, or between the least and the greatest."""
    target = grid((-0.5, -0.5, -0.5), (0.2, 0.3, 0.1), (5, 5, 5))
    resampler = Resampler(SOURCE, target, np.vstack([rows, [0, 0, 0, 1]]))

    values = resampler.interpolate(VALUES, "linear")

    inside = values[values != 0]
    assert (inside >= VALUES.min() - 1e-3).all()
    assert (inside <= VALUES.max() + 1e-3).all()
    assert set(np.unique(resampler.nearest(VALUES)[0])) <= {0.0, *np.unique(VALUES)}
