"""A made-up mouse brain: an atlas and a template that need no download, to try things with.

Ellipsoids stand for the regions. Identifiers, names and colours are those of the Allen atlas, the
shapes are not: nothing may be concluded from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from confusius_datasets._atlas import Atlas
from confusius_datasets._io.colors import label_colors

__all__ = ["PHANTOM_STRUCTURES", "phantom_atlas", "phantom_images", "phantom_template"]

SHAPE = (132, 80, 114)
STEP = 0.1

PHANTOM_STRUCTURES: tuple[tuple[int, str, str, tuple[int, int, int], tuple[int, ...]], ...] = (
    (997, "root", "root", (255, 255, 255), (997,)),
    (8, "grey", "Basic cell groups and regions", (191, 218, 227), (997, 8)),
    (315, "Isocortex", "Isocortex", (112, 255, 113), (997, 8, 315)),
    (385, "VISp", "Primary visual area", (8, 133, 140), (997, 8, 315, 385)),
    (322, "SSp", "Primary somatosensory area", (24, 128, 100), (997, 8, 315, 322)),
    (985, "MOp", "Primary motor area", (31, 157, 90), (997, 8, 315, 985)),
    (1080, "HIP", "Hippocampal region", (126, 208, 75), (997, 8, 1080)),
    (382, "CA1", "Field CA1", (126, 208, 75), (997, 8, 1080, 382)),
    (549, "TH", "Thalamus", (255, 112, 128), (997, 8, 549)),
    (672, "CP", "Caudoputamen", (152, 214, 249), (997, 8, 672)),
    (1009, "fiber tracts", "fiber tracts", (204, 204, 204), (997, 1009)),
    (776, "cc", "corpus callosum", (204, 204, 204), (997, 1009, 776)),
)
"""Identifier, acronym, name, colour, and path from the root, of each region."""

BRIGHTNESS = {8: 380, 322: 560, 385: 620, 985: 590, 776: 140, 382: 760, 549: 440, 672: 520}
"""Of each region in the template image."""

N_VESSELS = 26
"""In each slice of the template."""

TILT = 6.0
"""Degrees by which the template's head is turned about the axis from right to left."""


class _Structures(dict[Any, Any]):
    """The regions by identifier or acronym, with a tree where treelib is installed."""

    def __missing__(self, key: Any) -> Any:
        for entry in self.values():
            if entry["acronym"] == key:
                return entry
        raise KeyError(key)

    @property
    def tree(self) -> Any:
        """The hierarchy, as BrainGlobe gives it."""
        from treelib.tree import Tree

        tree = Tree()
        for key, entry in self.items():
            path = entry["structure_id_path"]
            parent = path[-2] if len(path) > 1 else None
            tree.create_node(f"{entry['acronym']} ({key})", key, parent=parent)
        return tree


def phantom_images() -> tuple[NDArray[np.uint16], NDArray[np.uint32]]:
    """Draw the made-up brain on the grid of `allen_mouse_100um`."""
    z, y, x = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    side = np.abs(x - (SHAPE[2] - 1) / 2)

    def ellipsoid(centre: Sequence[float], radii: Sequence[float]) -> NDArray[np.bool_]:
        along = ((z - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2
        return np.asarray(along + ((side - centre[2]) / radii[2]) ** 2 <= 1)

    annotation = np.zeros(SHAPE, np.uint32)
    brain = ellipsoid((66, 42, 0), (60, 34, 52))
    beneath = ellipsoid((66, 46, 0), (56, 29, 43))
    annotation[brain] = 8
    cortex = brain & ~beneath & (y < 48)
    annotation[cortex] = 322
    annotation[cortex & (z > 78) & (side < 38)] = 385
    annotation[cortex & (z < 52) & (side < 34)] = 985
    annotation[beneath & ~ellipsoid((66, 48, 0), (52, 27, 39)) & (y < 40)] = 776
    inner = annotation == 8
    annotation[inner & ellipsoid((80, 32, 16), (16, 8, 15))] = 382
    annotation[inner & ellipsoid((76, 50, 9), (18, 12, 12))] = 549
    annotation[inner & ellipsoid((48, 44, 20), (18, 14, 11))] = 672
    reference = np.zeros(SHAPE)
    for label, value in BRIGHTNESS.items():
        reference[annotation == label] = value
    ripple = 60 * np.sin(z / 2.3) * np.sin(y / 1.9) * np.sin(side / 2.7)
    return np.where(brain, reference + ripple, 0).astype(np.uint16), annotation


def phantom_atlas() -> Atlas:
    """Make the atlas of the made-up brain."""
    reference, annotation = phantom_images()
    keys = ("id", "acronym", "name", "rgb_triplet", "structure_id_path")
    entries = [dict(zip(keys, region, strict=True)) for region in PHANTOM_STRUCTURES]
    structures = _Structures({entry["id"]: {**entry, "mesh_filename": None} for entry in entries})
    lookup = {region[0]: list(region[3]) for region in PHANTOM_STRUCTURES}
    colormap, norm = label_colors(lookup)
    hemispheres = np.full(SHAPE, 2, np.int8)
    hemispheres[..., SHAPE[2] // 2 :] = 1
    dims = ("z", "y", "x")
    coords = {
        dim: (dim, np.arange(size) * STEP, {"units": "mm", "voxdim": STEP})
        for dim, size in zip(dims, SHAPE, strict=True)
    }
    attrs = {
        "rgb_lookup": lookup,
        "roi_labels": {region[0]: f"{region[2]} ({region[1]})" for region in PHANTOM_STRUCTURES},
        "cmap": colormap,
        "norm": norm,
    }
    dataset = xr.Dataset(
        {
            "reference": (dims, reference.astype(np.float32), {"cmap": "gray"}),
            "annotation": (dims, annotation.astype(np.int32), attrs),
            "hemispheres": (dims, hemispheres),
        },
        coords,
        {"name": "phantom_mouse", "species": "none", "orientation": "asr"},
    )
    return Atlas(dataset, structures, midline=SHAPE[2] / 2 * STEP)


def phantom_template() -> xr.DataArray:
    """Make a power Doppler template of the made-up brain, its head tilted, with vessels in it."""
    dims, sizes, steps = ("z", "y", "x"), (64, 84, 102), (0.2, 0.1, 0.1)
    coords = {
        dim: (dim, np.arange(size) * step, {"units": "mm", "voxdim": step})
        for dim, size, step in zip(dims, sizes, steps, strict=True)
    }
    cosine, sine = np.cos(np.deg2rad(TILT)), np.sin(np.deg2rad(TILT))
    to_atlas = np.eye(4)
    to_atlas[:2, :2] = [[cosine, -sine], [sine, cosine]]
    to_atlas[:3, 3] = [0.6, -0.7, 0.6]
    empty = xr.DataArray(np.zeros(sizes, np.float32), coords, dims)
    on_grid = phantom_atlas().resample_like(empty, to_atlas)
    z, y, x = (empty[dim].values for dim in dims)
    vessels = _vessels(z, y, x)
    speckle = np.random.default_rng(0).gamma(60, 1 / 60, sizes)
    blood = on_grid.reference.values * (0.55 + vessels) * speckle
    return xr.DataArray(
        (blood + 15 * speckle).astype(np.float32),
        coords,
        dims,
        name="phantom_template",
        attrs={"affines": {"physical_to_sform": to_atlas}},
    )


def _vessels(z: NDArray[Any], y: NDArray[Any], x: NDArray[Any]) -> NDArray[np.float64]:
    """Draw vessels that come down from the surface of each slice, most of them not very deep."""
    random = np.random.default_rng(1)
    brightness = np.zeros((len(z), len(y), len(x)))
    for _ in range(N_VESSELS):
        # One value a slice: slices lie further apart than vessels are wide.
        place, slope, bend, width, depth, strength = (
            random.uniform(low, high, (len(z), 1, 1))
            for low, high in (
                *((x[0], x[-1]), (-0.12, 0.12), (-0.03, 0.03), (0.06, 0.16), (2, 9), (0.3, 1)),
            )
        )
        down = y[:, np.newaxis]
        centre = place + slope * (down - 3) + bend * (down - 3) ** 2
        across = np.exp(-(((x - centre) / width) ** 2))
        brightness += strength * across / (1 + (down / depth) ** 6)
    return brightness
