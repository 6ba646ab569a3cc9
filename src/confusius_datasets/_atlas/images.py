"""From the images of an atlas, as BrainGlobe gives them, to labelled arrays in mm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from confusius_datasets._atlas.brainglobe import network_errors_named
from confusius_datasets._io.colors import label_colors
from confusius_datasets.errors import FileFormatError, MissingDependencyError

__all__ = ["dataset_of"]

DIMS = ("z", "y", "x")
"""Anterior to posterior, superior to inferior, right to left, for every atlas of BrainGlobe."""

NEEDED = ("metadata", "structures", "annotation", "hemispheres", "resolution", "shape")
"""What an object must have to be taken for one of BrainGlobe's."""


def dataset_of(opened: Any) -> tuple[xr.Dataset, float]:
    """Turn the images of an atlas that BrainGlobe opened into labelled arrays."""
    # Asked of the class: to compute some of these is to read whole images.
    missing = [name for name in NEEDED if not _has(opened, name)]
    if missing:
        raise TypeError(
            "'atlas' must be the name of an atlas or a BrainGlobeAtlas, not "
            f"{type(opened).__name__}, which has no '{missing[0]}'."
        )
    metadata = opened.metadata
    # Release 3 calls the image so, and prints a warning when asked by its older name.
    image = "template" if hasattr(type(opened), "template") else "reference"
    arrays = {
        "reference": (_read(opened, image, np.float32), {"cmap": "gray"}),
        "annotation": (_read(opened, "annotation", np.int32), _colors(opened.structures)),
        "hemispheres": (_read(opened, "hemispheres", np.int8), {}),
    }
    steps = [float(um) * 1e-3 for um in opened.resolution]
    coords = {
        dim: ((dim,), np.arange(size) * step, {"units": "mm", "voxdim": step})
        for dim, size, step in zip(DIMS, opened.shape, steps, strict=True)
    }
    attrs = {key: metadata[key] for key in ("name", "species", "orientation")}
    if "citation" in metadata:
        attrs["citation"] = metadata["citation"]
    data = {name: (DIMS, values, attributes) for name, (values, attributes) in arrays.items()}
    midline = opened.shape[2] / 2 * steps[2]
    return xr.Dataset(data, coords, attrs), midline


def _read(opened: Any, name: str, dtype: type[np.generic]) -> NDArray[Any]:
    """Read one of the images of an atlas, as the type it is kept in."""
    atlas = opened.metadata.get("name", "?")
    try:
        # Release 3 downloads an image when it is first asked for.
        with network_errors_named(atlas):
            values = np.asarray(getattr(opened, name))
    except (RuntimeError, ValueError, KeyError, IndexError, MemoryError) as error:
        raise FileFormatError(
            f"The image '{name}' of the atlas {atlas!r} cannot be read: {error}. Remove the local "
            "copy to download it again."
        ) from error
    if values.shape != tuple(opened.shape):
        raise FileFormatError(
            f"The image '{name}' of the atlas {atlas!r} has the shape {values.shape}, but its "
            f"metadata say {tuple(opened.shape)}. Remove the local copy to download it again."
        )
    if values.dtype.kind in "ui" and values.size and values.max() > np.iinfo(np.int32).max:
        raise FileFormatError(f"The image '{name}' of the atlas {atlas!r} has labels over 2**31.")
    return values.astype(dtype)


def _colors(structures: Mapping[Any, Any]) -> dict[str, Any]:
    """Say how labels are drawn and called."""
    entries = list(structures.values())
    lookup = {int(entry["id"]): list(entry["rgb_triplet"]) for entry in entries}
    try:
        colormap, norm = label_colors(lookup)
    except ImportError as error:
        raise MissingDependencyError(
            "matplotlib", extra="atlas", purpose="The colours of an atlas"
        ) from error
    return {
        "rgb_lookup": lookup,
        "roi_labels": {
            int(entry["id"]): f"{entry['name']} ({entry['acronym']})" for entry in entries
        },
        "cmap": colormap,
        "norm": norm,
    }


def _has(opened: Any, name: str) -> bool:
    """Say whether an object has an attribute, without computing it."""
    return hasattr(type(opened), name) or name in getattr(opened, "__dict__", {})
