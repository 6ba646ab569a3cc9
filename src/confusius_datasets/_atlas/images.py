"""From the images of an atlas, as BrainGlobe gives them, to labelled arrays in mm."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from confusius_datasets._atlas.brainglobe import (
    first_missing_part,
    read_image,
    read_metadata,
    read_regions,
)
from confusius_datasets._atlas.structures import Regions
from confusius_datasets._io.colors import label_colors
from confusius_datasets.errors import FileFormatError, MissingDependencyError

__all__ = ["DIMS", "dataset_of"]

DIMS = ("z", "y", "x")
"""Anterior to posterior, superior to inferior, right to left, for every atlas of BrainGlobe."""

DTYPES = {"template": "float32", "annotation": "int32", "hemispheres": "int8"}
"""The images that are read, and the type each is kept in."""


def dataset_of(opened: Any) -> tuple[xr.Dataset, Regions]:
    """Turn an atlas that BrainGlobe opened into labelled arrays and the regions they show."""
    if missing := first_missing_part(opened):
        raise TypeError(
            "'atlas' must be the name of an atlas or a BrainGlobeAtlas, not "
            f"{type(opened).__name__}, which has no '{missing}'."
        )
    metadata = read_metadata(opened)
    regions = read_regions(opened, str(metadata.get("name", "?")))
    images = {kind: _read(opened, kind, metadata) for kind in DTYPES}
    steps = [um * 1e-3 for um in metadata["resolution"]]
    coords = {
        dim: ((dim,), np.arange(size) * step, {"units": "mm", "voxdim": step})
        for dim, size, step in zip(DIMS, metadata["shape"], steps, strict=True)
    }
    data = {
        "reference": (DIMS, images["template"], {"cmap": "gray"}),
        "annotation": (DIMS, images["annotation"], _colors(regions)),
        "hemispheres": (DIMS, images["hemispheres"], {}),
    }
    attrs = {key: str(metadata[key]) for key in ("name", "species", "orientation", "citation")}
    return xr.Dataset(data, coords, attrs), regions


def _read(opened: Any, kind: str, metadata: dict[str, Any]) -> NDArray[Any]:
    """Read one of the images of an atlas, as the type it is kept in."""
    values, dtype = read_image(opened, kind), np.dtype(DTYPES[kind])
    image = f"The image '{kind}' of the atlas {metadata.get('name', '?')!r}"
    if values.shape != metadata["shape"]:
        raise FileFormatError(
            f"{image} has the shape {values.shape}, but its metadata say {metadata['shape']}. "
            "Remove the local copy to download it again."
        )
    if values.dtype.kind not in ("uif" if kind == "template" else "ui"):
        raise FileFormatError(f"{image} holds values of the type {values.dtype}, not numbers.")
    if dtype.kind == "i":
        bits = 8 * dtype.itemsize - 1
        if values.min() < -(2**bits) or values.max() >= 2**bits:
            raise FileFormatError(f"{image} has labels over 2**{bits}.")
    return values.astype(dtype)


def _colors(regions: Regions) -> dict[str, Any]:
    """Say how labels are drawn and called."""
    lookup = {key: list(region.rgb) for key, region in regions.by_id.items()}
    try:
        colormap, norm = label_colors(lookup)
    except ImportError as error:
        raise MissingDependencyError(
            "matplotlib", extra="atlas", purpose="The colours of an atlas"
        ) from error
    labels = {key: f"{region.name} ({region.acronym})" for key, region in regions.by_id.items()}
    return {"rgb_lookup": lookup, "roi_labels": labels, "cmap": colormap, "norm": norm}
