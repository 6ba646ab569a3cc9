"""Resampling an atlas: the rules at edges and ties, the output's labels, and the true values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import xarray as xr

from atlas_folders import point_brainglobe_at, tiny_atlas, write_atlas
from confusius_datasets import Atlas, load
from confusius_datasets._demo.phantom import phantom_atlas
from confusius_datasets.errors import ArgumentError, FilterError

NAME = "tiny_mouse_100um"
ROW = [55, 148, 545, 819, 69, 683, 759, 787]
LABELS = [0, 2, 2, 2, 3, 3, 3, 0]


def open_atlas(folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Atlas:
    """Write an atlas that differs from the tiny one, and open it."""
    write_atlas(point_brainglobe_at(folder, monkeypatch), tiny_atlas(**changes))
    return Atlas.from_brainglobe(NAME)


@pytest.fixture
def atlas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Atlas:
    """Open the tiny atlas, with the worked example's values in every row."""
    reference = np.tile(np.array(ROW, np.uint16), (6, 5, 1))
    annotation = np.tile(np.array(LABELS, np.uint32), (6, 5, 1))
    return open_atlas(tmp_path, monkeypatch, reference=reference, annotation=annotation)


def shifted(z: float = 0, y: float = 0, x: float = 0) -> np.ndarray[Any, Any]:
    """Make the transform that moves points."""
    matrix = np.eye(4)
    matrix[:3, 3] = [z, y, x]
    return matrix


def volume(
    z: Any, y: Any, x: Any, dims: tuple[str, str, str] = ("z", "y", "x"), **attrs: Any
) -> xr.DataArray:
    """Make a target."""
    coords = {
        dim: (dim, np.asarray(values, float), {"units": "mm"})
        for dim, values in zip(dims, (z, y, x), strict=True)
    }
    shape = [len(values) for _, values, _ in coords.values()]
    return xr.DataArray(np.zeros(shape), coords, dims, attrs=attrs)


@pytest.mark.parametrize(
    ("shift", "reference", "labels", "halves"),
    [
        (
            0.049,
            [100.57, 342.53, 679.26, 451.5, 369.86, 720.24, 772.72, 787],
            [0, 2, 2, 2, 3, 3, 3, 0],
            [2, 2, 2, 2, 1, 1, 1, 1],
        ),
        (
            0.051,
            [102.43, 350.47, 684.74, 436.5, 382.14, 721.76, 773.28, 0],
            [2, 2, 2, 3, 3, 3, 0, 0],
            [2, 2, 2, 1, 1, 1, 1, 0],
        ),
        (
            -0.049,
            [55, 102.43, 350.47, 684.74, 436.5, 382.14, 721.76, 773.28],
            [0, 2, 2, 2, 3, 3, 3, 0],
            [2, 2, 2, 2, 1, 1, 1, 1],
        ),
        (
            -0.051,
            [0, 100.57, 342.53, 679.26, 451.5, 369.86, 720.24, 772.72],
            [0, 0, 2, 2, 2, 3, 3, 3],
            [0, 2, 2, 2, 2, 1, 1, 1],
        ),
    ],
)
def test_worked_row_has_the_published_values(
    shift: float, reference: list[float], labels: list[int], halves: list[int], atlas: Atlas
) -> None:
    """Linear with the edge's value up to half a voxel outside, then 0; labels of the nearest."""
    moved = atlas.resample_like(atlas.reference, shifted(x=shift))

    np.testing.assert_allclose(moved.reference[2, 2], reference, rtol=1e-6)
    assert moved.annotation[2, 2].values.tolist() == labels
    assert moved.hemispheres[2, 2].values.tolist() == halves


@pytest.mark.parametrize(
    ("shift", "reference", "labels"),
    [
        (0.0625, [101.5, 346.5, 682, 444, 376, 721, 773, 0], [2, 2, 2, 3, 3, 3, 0, 0]),
        (-0.0625, [55, 101.5, 346.5, 682, 444, 376, 721, 773], LABELS),
    ],
)
def test_tie_goes_to_the_higher_index(
    shift: float,
    reference: list[float],
    labels: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Half a voxel before the first centre is inside, half a voxel after the last is not.

    With steps of 0.125 mm all coordinates are exact, and so are the ties.
    """
    atlas = open_atlas(
        tmp_path,
        monkeypatch,
        resolution=(125.0, 125.0, 125.0),
        reference=np.tile(np.array(ROW, np.uint16), (6, 5, 1)),
        annotation=np.tile(np.array(LABELS, np.uint32), (6, 5, 1)),
    )

    moved = atlas.resample_like(atlas.reference, shifted(x=shift))

    np.testing.assert_array_equal(moved.reference[2, 2], np.float32(reference))
    assert moved.annotation[2, 2].values.tolist() == labels


@pytest.mark.parametrize("how", ["linear", "nearest", "bspline"])
def test_identity_changes_nothing(how: Any, atlas: Atlas) -> None:
    """On its own grid an atlas stays as it is, whatever the interpolation."""
    same = atlas.resample_like(atlas.reference, np.eye(4), reference_interpolation=how)

    if how == "bspline":
        np.testing.assert_allclose(same.reference, atlas.reference, rtol=1e-6)
    else:
        np.testing.assert_array_equal(same.reference, atlas.reference)
    np.testing.assert_array_equal(same.annotation, atlas.annotation)
    np.testing.assert_array_equal(same.hemispheres, atlas.hemispheres)


def test_shift_by_a_voxel_moves_planes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The transform pulls: a shift forward brings the next plane, and the last one is outside."""
    atlas = open_atlas(tmp_path, monkeypatch)

    moved = atlas.resample_like(atlas.reference, shifted(z=0.1))

    np.testing.assert_allclose(moved.reference[:-1], atlas.reference[1:], rtol=1e-6)
    np.testing.assert_array_equal(moved.annotation[:-1], atlas.annotation[1:])
    assert not moved.annotation[-1].any()
    assert not moved.reference[-1].any()


def test_components_follow_the_order_of_axes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Axes are paired by position: a permutation on swapped axes gives the transposed labels."""
    atlas = open_atlas(tmp_path, monkeypatch)
    target = atlas.reference.transpose("x", "y", "z")

    swapped = atlas.resample_like(target, np.eye(4)[[2, 1, 0, 3]])

    assert swapped.annotation.dims == ("x", "y", "z")
    np.testing.assert_array_equal(swapped.annotation, atlas.annotation.values.T)
    np.testing.assert_array_equal(swapped.reference, atlas.reference.values.T)


def test_target_may_descend_and_be_uneven(atlas: Atlas) -> None:
    """Values are taken at the coordinates themselves, whatever their steps."""
    target = volume([0.5, 0.1, 0.0], [0.2], [0.7, 0.3, 0.25, 0.1])

    taken = atlas.resample_like(target, np.eye(4))

    np.testing.assert_allclose(taken.reference[1, 0], [787, 819, 682, 148], rtol=1e-6)
    assert taken.annotation[1, 0].values.tolist()[:2] == [0, 2]
    assert taken.annotation.shape == (3, 1, 4)


def test_resampled_atlas_can_be_resampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There and back is where one began, through a descending grid too."""
    atlas = open_atlas(tmp_path, monkeypatch)
    backwards = atlas.reference.isel(x=slice(None, None, -1))

    there = atlas.resample_like(backwards, np.eye(4))
    back = there.resample_like(atlas.reference, np.eye(4))

    np.testing.assert_array_equal(there.annotation, atlas.annotation[:, :, ::-1])
    np.testing.assert_array_equal(back.annotation, atlas.annotation)
    np.testing.assert_allclose(back.reference, atlas.reference, rtol=1e-6)


def test_single_slice_can_be_resampled_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An axis of one voxel is as wide as its coordinate says."""
    atlas = open_atlas(tmp_path, monkeypatch)
    piece = atlas.reference.isel(z=[2])

    once = atlas.resample_like(piece, np.eye(4))
    near = once.resample_like(piece, shifted(z=0.04))
    far = once.resample_like(piece, shifted(z=0.06))

    np.testing.assert_array_equal(near.annotation, once.annotation)
    assert once.resolution == pytest.approx((0.1, 0.1, 0.1))
    assert not far.annotation.any()


def test_single_slice_of_unknown_width_is_taken_to_be_1_mm_wide(atlas: Atlas) -> None:
    """That is a guess, so it is said."""
    once = atlas.resample_like(volume([0.2], [0, 0.1], [0.1, 0.2]), np.eye(4))

    with pytest.warns(UserWarning, match="'z', and its coordinate does not say how wide"):
        again = once.resample_like(volume([0.69], [0, 0.1], [0.1, 0.2]), np.eye(4))

    np.testing.assert_array_equal(again.annotation, once.annotation)


def test_arguments_may_be_named(atlas: Atlas) -> None:
    """The volume is `reference` and the matrix `transform`, as in the ConfUSIus package."""
    same = atlas.resample_like(reference=atlas.reference, transform=np.eye(4))

    np.testing.assert_array_equal(same.annotation, atlas.annotation)


def test_output_is_labelled_as_the_target(atlas: Atlas) -> None:
    """Coordinates and affines are the target's, everything else the atlas's; neither changes."""
    affines = {"physical_to_sform": np.eye(4)}
    target = volume([0, 0.1], [0, 0.1], [0, 0.1], affines=affines, citation="not copied")
    target = target.assign_coords(subject="mouse1")

    made = atlas.resample_like(target, np.eye(4).tolist())

    for array in (made.reference, made.annotation, made.hemispheres):
        for name in ("z", "y", "x", "subject"):
            xr.testing.assert_identical(array.coords[name], target.coords[name])
        np.testing.assert_array_equal(array.attrs["affines"]["physical_to_sform"], np.eye(4))
        assert array.attrs["affines"]["physical_to_sform"] is not affines["physical_to_sform"]
        assert "citation" not in array.attrs
    assert made.reference.attrs["cmap"] == "gray"
    assert made.annotation.attrs["rgb_lookup"] == atlas.annotation.attrs["rgb_lookup"]
    assert (made.reference.dtype, made.annotation.dtype, made.hemispheres.dtype) == (
        np.float32,
        np.int32,
        np.int8,
    )
    assert made.structures is atlas.structures
    assert (made.name, made.species) == (atlas.name, atlas.species)
    assert "affines" not in atlas.annotation.attrs


def test_target_without_affines_gives_none(atlas: Atlas) -> None:
    """Matrices of an earlier target would be wrong on this one."""
    target = volume([0, 0.1], [0, 0.1], [0, 0.1], affines={"physical_to_sform": np.eye(4)})
    once = atlas.resample_like(target, np.eye(4))

    again = once.resample_like(volume([0], [0], [0]), np.eye(4))

    assert "affines" not in again.reference.attrs
    assert "affines" not in again.annotation.attrs


FAULTY: dict[str, tuple[Any, Any, str]] = {
    "time": (
        lambda target: target.expand_dims("time"),
        np.eye(4),
        "'reference' must not have a time dimension; got dims ('time', 'z', 'y', 'x').",
    ),
    "flat": (lambda target: target[0], np.eye(4), "must have three dimensions; got dims"),
    "poses": (lambda target: target.expand_dims("pose"), np.eye(4), "three dimensions"),
    "no coordinate": (
        lambda target: target.drop_vars("y"),
        np.eye(4),
        "Missing required coordinate 'y'",
    ),
    "unit": (
        lambda target: target.assign_coords(x=("x", [0, 1], {"units": "um"})),
        np.eye(4),
        "Coordinate 'x' of 'reference' is in 'um', but an atlas is in mm.",
    ),
    "words": (
        lambda target: target.assign_coords(x=("x", ["a", "b"])),
        np.eye(4),
        "holds no numbers",
    ),
    "nan": (
        lambda target: target.assign_coords(x=("x", [0, np.nan])),
        np.eye(4),
        "values that are not finite",
    ),
    "matrix": (lambda target: target, np.eye(3), "'transform' has the shape (3, 3)"),
    "matrices": (lambda target: target, np.ones((2, 4, 4)), "must have (4, 4)"),
    "text": (lambda target: target, "eye", "is not a matrix of numbers"),
    "nan matrix": (lambda target: target, np.full((4, 4), np.nan), "not finite"),
    "projective": (lambda target: target, np.ones((4, 4)), "is not affine"),
    "singular": (lambda target: target, np.diag([1, 0, 1, 1]), "cannot be inverted"),
}


@pytest.mark.parametrize("fault", FAULTY)
def test_arguments_that_do_not_fit_are_refused(fault: str, atlas: Atlas) -> None:
    """A target has three axes in mm, a transform is affine and has an inverse."""
    change, transform, message = FAULTY[fault]
    target = change(volume([0, 0.1], [0, 0.1], [0, 0.1]))

    with pytest.raises(ArgumentError) as caught:
        atlas.resample_like(target, transform)

    assert message in str(caught.value)


def test_interpolation_that_is_none_is_refused(atlas: Atlas) -> None:
    """A typing error is answered with the nearest name; a plain array is no target."""
    with pytest.raises(FilterError, match=r"interpolation: 'liner'\. Did you mean 'linear'"):
        atlas.resample_like(atlas.reference, np.eye(4), reference_interpolation="liner")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"must be an xarray.DataArray, not ndarray"):
        atlas.resample_like(np.zeros((2, 2, 2)), np.eye(4))  # type: ignore[arg-type]


def test_transform_that_would_lose_something_is_refused(atlas: Atlas) -> None:
    """An imaginary part, a mask or the kind of a deformation is not dropped in silence."""
    masked = np.ma.masked_array(np.eye(4), mask=np.eye(4, k=1))
    spline = xr.DataArray(np.eye(4), attrs={"type": "bspline_transform"})

    for transform in (np.eye(4) + 1j, masked):
        with pytest.raises(ArgumentError, match="is complex or masked"):
            atlas.resample_like(atlas.reference, transform)
    with pytest.raises(ArgumentError, match=r"is a 'bspline_transform'; only \(4, 4\) affine"):
        atlas.resample_like(atlas.reference, spline)
    with pytest.raises(TypeError, match="sitk_threads"):
        atlas.resample_like(atlas.reference, np.eye(4), sitk_threads=1)  # type: ignore[call-arg]
    same = atlas.resample_like(atlas.reference, xr.DataArray(np.eye(4)) + 0j)
    np.testing.assert_array_equal(same.annotation, atlas.annotation)


@pytest.mark.parametrize("how", ["linear", "nearest", "bspline"])
def test_resampling_by_numbers_equals_scipy(how: Any, atlas: Atlas) -> None:
    """On a grid given by shape, spacing and origin, inside the atlas, values are scipy's."""
    from scipy import ndimage

    turn = np.eye(4)
    turn[1:3, 1:3] = [[0.96, -0.28], [0.28, 0.96]]
    turn[:3, 3] = [0.03, 0.07, 0.04]
    shape, spacing, origin = (4, 5, 6), (0.11, 0.04, 0.07), (0.02, 0.1, 0.05)

    made = atlas.resample(
        turn, shape=shape, spacing=spacing, origin=origin, reference_interpolation=how
    )

    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij")).astype(float)
    place = grid * np.reshape(spacing, (3, 1, 1, 1)) + np.reshape(origin, (3, 1, 1, 1))
    index = (np.tensordot(turn[:3, :3], place, 1) + turn[:3, 3].reshape(3, 1, 1, 1)) / 0.1
    sizes = np.reshape(atlas.annotation.shape, (3, 1, 1, 1))
    assert ((index > -0.5) & (index < sizes - 0.5)).all()
    order = {"linear": 1, "nearest": 0, "bspline": 3}[how]
    mode = "mirror" if how == "bspline" else "nearest"
    stored = atlas.reference.values.astype(float)
    expected = ndimage.map_coordinates(stored, index, order=order, mode=mode)
    np.testing.assert_allclose(made.reference, expected, rtol=1e-5, atol=1e-3)
    labels = ndimage.map_coordinates(atlas.annotation.values, index, order=0, mode="nearest")
    np.testing.assert_array_equal(made.annotation, labels)
    assert made.annotation.z.values.tolist() == pytest.approx([0.02, 0.13, 0.24, 0.35])
    assert made.annotation.x.attrs == {"units": "mm", "voxdim": 0.07}


def test_resampling_by_numbers_is_that_of_a_volume(atlas: Atlas) -> None:
    """The same as `resample_like`, in any order of the dimensions, surfaces included."""
    swap = np.eye(4)[[2, 1, 0, 3]]
    target = volume([0.1, 0.2], [0.0, 0.1, 0.2], [0.3, 0.4, 0.5, 0.6], dims=("x", "y", "z"))

    by_numbers = atlas.resample(
        swap, shape=(2, 3, 4), spacing=(0.1,) * 3, origin=(0.1, 0, 0.3), dims=("x", "y", "z")
    )
    like = atlas.resample_like(target, swap)

    assert by_numbers.annotation.dims == ("x", "y", "z")
    np.testing.assert_array_equal(by_numbers.annotation, like.annotation)
    np.testing.assert_allclose(by_numbers.reference, like.reference, rtol=1e-6)
    np.testing.assert_allclose(by_numbers.get_mesh("A")[0], like.get_mesh("A")[0])
    assert "affines" not in by_numbers.reference.attrs


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": (2, 3)}, "'shape' has 2 elements; expected three"),
        ({"shape": (2, 3, 0)}, "Along 'x', the shape must be 1 or more"),
        ({"shape": (2, 3, 4.5)}, "expected a whole number of voxels"),
        ({"spacing": (0.1, -0.1, 0.1)}, "Along 'y', the shape must be 1 or more, the spacing"),
        ({"spacing": (0.1, 0.1, "wide")}, "got 4, 'wide', 0"),
        ({"origin": (np.nan, 0, 0)}, "Along 'z'"),
        ({"dims": ("z", "y", "time")}, "'dims' must be 'z', 'y' and 'x' in some order"),
    ],
)
def test_grid_that_does_not_fit_is_refused(
    change: dict[str, Any], message: str, atlas: Atlas
) -> None:
    """Shape, spacing and origin are three numbers each, for the three dimensions."""
    grid: dict[str, Any] = {"shape": (2, 3, 4), "spacing": (0.1,) * 3, "origin": (0, 0, 0)}

    with pytest.raises(ArgumentError) as caught:
        atlas.resample(np.eye(4), **(grid | change))

    assert message in str(caught.value)


WAVELENGTHS = (3.0, 2.4, 3.6)
"""Of the smooth volume, in mm, along each axis."""

AMPLITUDE = 1000.0
STEP = 0.1


def smooth(z: Any, y: Any, x: Any) -> Any:
    """Return a smooth volume's value at points in mm: a product of sines on a constant."""
    waves = (
        np.sin(2 * np.pi * along / length)
        for along, length in zip((z, y, x), WAVELENGTHS, strict=True)
    )
    product = 1.0
    for wave in waves:
        product = product * wave
    return 2000 + AMPLITUDE * product


@pytest.mark.parametrize("how", ["linear", "bspline"])
def test_rotated_and_shifted_volume_has_the_true_values(
    how: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the formula itself, the error is within what the interpolation allows.

    Between samples a step h apart, linear interpolation along an axis errs by at most h²/8 times
    the greatest second derivative, and along three by the sum over the axes, since averaging
    amplifies nothing. That derivative along an axis of wavelength L is at most A (2π/L)²: together
    1000 · 0.01/8 · Σ(2π/L)² = 17.9. Samples are stored as whole numbers, which adds at most 0.5.

    A cubic spline through samples errs by 5/384 · h⁴ times the greatest fourth derivative along an
    axis, and amplifies what comes in by at most 1.55: together at most
    1.55² · 5/384 · 1000 · 0.0001 · Σ(2π/L)⁴ = 0.24, and 1.55³ · 0.5 = 1.86 from the rounding. At
    the edges its mirrored continuation is not the volume's own; that decays by 0.27 a voxel, to
    nothing 10 voxels inside, where it is compared.
    """
    shape = (40, 36, 44)
    axes = [np.arange(size) * STEP for size in shape]
    stored = np.rint(smooth(*np.meshgrid(*axes, indexing="ij"))).astype(np.uint16)
    annotation = np.ones(shape, np.uint32)
    atlas = open_atlas(tmp_path, monkeypatch, reference=stored, annotation=annotation)
    angle = np.deg2rad(20)
    turn = np.eye(4)
    turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    turn[:3, 3] = [0.53, 0.9, -0.31]
    target = volume(np.arange(20) * 0.13, 0.4 + np.arange(18) * 0.11, 0.6 + np.arange(15) * 0.17)
    grid = np.stack([*np.meshgrid(*(target[dim] for dim in "zyx"), indexing="ij")])
    z, y, x = np.tensordot(turn[:3, :3], grid, 1) + turn[:3, 3].reshape(3, 1, 1, 1)
    depth = 0.0 if how == "linear" else 1.0  # mm from the edges
    inner = np.ones(target.shape, bool)
    for points, size in zip((z, y, x), shape, strict=True):
        inner &= (points >= depth) & (points <= (size - 1) * STEP - depth)
    curvatures = [(2 * np.pi / length) ** 2 for length in WAVELENGTHS]
    linear = AMPLITUDE * STEP**2 / 8 * sum(curvatures) + 0.5
    spline = 1.55**2 * 5 / 384 * AMPLITUDE * STEP**4 * sum(c**2 for c in curvatures)
    spline += 1.55**3 * 0.5
    bound = linear if how == "linear" else spline

    made = atlas.resample_like(target, turn, reference_interpolation=how)

    error = np.abs(made.reference.values - smooth(z, y, x))[inner]
    assert inner.sum() > 300
    assert error.max() <= bound
    assert (linear, spline) == pytest.approx((18.4, 2.1), abs=0.05)


def test_labels_of_a_rotated_volume_are_those_of_the_nearest_voxel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ball stays a ball: labels are wrong only within half a voxel's diagonal of its surface."""
    shape = (40, 36, 44)
    axes = np.meshgrid(*(np.arange(size) * STEP for size in shape), indexing="ij")
    centre, radius = np.array([2.0, 1.8, 2.1]), 1.1
    distance = np.sqrt(sum((along - c) ** 2 for along, c in zip(axes, centre, strict=True)))
    annotation = np.where(distance <= radius, 2, 0).astype(np.uint32)
    atlas = open_atlas(
        tmp_path, monkeypatch, annotation=annotation, reference=annotation.astype(np.uint16)
    )
    angle = np.deg2rad(33)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    turn[:3, 3] = [0.4, -0.2, 0.1]
    target = volume(*[np.arange(30) * 0.12 for _ in range(3)])

    made = atlas.resample_like(target, turn).annotation.values

    grid = np.stack([*np.meshgrid(*(target[dim] for dim in "zyx"), indexing="ij")])
    points = np.tensordot(turn[:3, :3], grid, 1) + turn[:3, 3].reshape(3, 1, 1, 1)
    away = np.sqrt(((points - centre.reshape(3, 1, 1, 1)) ** 2).sum(0)) - radius
    half_diagonal = STEP * np.sqrt(3) / 2
    assert (made[away < -half_diagonal] == 2).all()
    assert (made[away > half_diagonal] == 0).all()


SHEARED = [[0.098, 0.004, -0.003, 0.5], [0.002, 0.105, 0.006, 0.7], [-0.005, 0.001, 0.11, 1.2]]
"""An sform as the published template has one, from (i, j, k, 1) to (x, y, z)."""


@pytest.mark.parametrize("mirrored", [False, True])
def test_template_shows_the_region_that_its_sform_leads_to(mirrored: bool, tmp_path: Path) -> None:
    """From the file to the label: each voxel's is that of the atlas where the sform puts it."""
    sform = np.vstack([SHEARED, [0, 0, 0, 1]])
    if mirrored:
        sform[0] = [-0.098, -0.004, 0.003, 9.5]
    image = nib.Nifti1Image(np.zeros((70, 60, 50), np.float32), sform)
    image.header.set_xyzt_units("mm")
    image.set_sform(sform, code=1)
    image.set_qform(np.diag([0.1, 0.1, 0.11, 1.0]), code=1)
    image.to_filename(tmp_path / "template.nii.gz")
    template = load(tmp_path / "template.nii.gz")
    atlas = phantom_atlas()

    made = atlas.resample_like(template, template.attrs["affines"]["physical_to_sform"])

    stored = nib.load(tmp_path / "template.nii.gz").affine
    voxels = np.stack(np.meshgrid(*map(np.arange, image.shape), indexing="ij"))
    world = np.tensordot(stored[:3, :3], voxels, 1) + stored[:3, 3].reshape(3, 1, 1, 1)
    index = np.floor(world[::-1] / 0.1 + 0.5).astype(int)
    sizes = np.array(atlas.annotation.shape).reshape(3, 1, 1, 1)
    inside = ((index >= 0) & (index < sizes)).all(axis=0)
    expected = np.zeros(image.shape, np.int32)
    expected[inside] = atlas.annotation.values[tuple(index[:, inside])]
    np.testing.assert_array_equal(made.annotation.transpose("x", "y", "z"), expected)
    assert (expected != 0).mean() > 0.5
