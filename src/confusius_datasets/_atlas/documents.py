"""What a local copy of an atlas says about itself, checked before BrainGlobe opens it.

BrainGlobe trusts these files: a wrong shape makes it ask for more memory than there is, a place
outside its folder is followed, and images whose values were never downloaded are asked of the
network. So all that is checked here first, for both layouts: TIFF and JSON (release 2), OME-Zarr
and CSV (release 3).
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections import Counter
from pathlib import Path
from typing import Any

from confusius_datasets._cache import is_offline
from confusius_datasets._text import list_some, quote_short, shorten
from confusius_datasets.errors import FileFormatError, OfflineError

__all__ = ["REMEDY", "check_release_2", "check_release_3", "find_image"]

REMEDY = "It was left as it is: remove it to have it downloaded again."

METADATA_KEYS = ("name", "species", "orientation", "symmetric", "resolution", "shape")

COLUMNS = {
    "identifier",
    "parent_identifier",
    "name",
    "abbreviation",
    "color_hex_triplet",
    "root_identifier_path",
}
"""Of the table of regions."""

LONGEST_NAME_NBYTES = 255
"""Of a file, on every file system in use; with a longer one the system refuses even to look."""

MOST_VOXELS = 2**33
"""Seven times as many as the largest atlas of a mouse has (10 um)."""

STORES = {
    "template": "template.ome.zarr",
    "annotation": "annotations_compressed.ome.zarr",
    "hemispheres": "hemispheres.ome.zarr",
}
"""The image of each kind in release 3."""

MASKS_STORE = "annotations.ome.zarr"
"""One mask for each region; BrainGlobe reads their list when it opens an atlas that has them."""


def check_release_2(folder: Path) -> None:
    """Check that a folder of release 2 is complete."""
    metadata = _read_metadata(folder / "metadata.json")
    names = ["structures.json", "reference.tiff", "annotation.tiff"]
    if not metadata["symmetric"]:
        names.append("hemispheres.tiff")
    for name in names:
        _require_file(folder / name)


def check_release_3(manifest: Path) -> None:
    """Check that what a manifest of release 3 refers to is there, and has the shape it says."""
    metadata = _read_metadata(manifest)
    root = manifest.parents[3]
    _check_terminology(root / _location(manifest, metadata, "terminology") / "terminology.csv")
    kinds = ["template", "annotation"] + ([] if metadata["symmetric"] else ["hemispheres"])
    for kind in kinds:
        level = find_image(root, metadata, kind, document=manifest)
        _check_array(level, metadata["shape"])
        if is_offline() and not (level / "c").exists():
            raise OfflineError(
                f"CONFUSIUS_OFFLINE=1, and the values of {level} were never downloaded. "
                "Unset it to download them.",
                missing=[str(level)],
            )
    masks = root / _location(manifest, metadata, "annotation_set") / MASKS_STORE
    if masks.exists():
        # Zarr's older format can name codecs that run code when they decode.
        _read_group(masks)


def _check_terminology(path: Path) -> None:
    """Check that the table of regions has its columns, and each region once."""
    _require_file(path)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise FileFormatError(
            f"{path}: cannot be read as CSV: {shorten(error)}. {REMEDY}"
        ) from error
    if not rows or COLUMNS - rows[0].keys():
        raise FileFormatError(
            f"{path}: not a table of regions, with the columns {', '.join(sorted(COLUMNS))}. "
            f"{REMEDY}"
        )
    identifiers = Counter(row["identifier"] for row in rows)
    if repeated := [key for key, count in identifiers.items() if count > 1]:
        raise FileFormatError(
            f"{path}: the same identifier twice: {list_some(map(quote_short, repeated))}. {REMEDY}"
        )


def find_image(root: Path, metadata: dict[str, Any], kind: str, *, document: Path) -> Path:
    """Find the folder of an image's values at the atlas's resolution."""
    parts = ("annotation_set", "template") if kind == "template" else ("annotation_set",)
    store = root / _location(document, metadata, *parts) / STORES[kind]
    group = _read_group(store)
    try:
        scales = {
            str(level["path"]): level["coordinateTransformations"][0]["scale"][-3:]
            for level in group["attributes"]["ome"]["multiscales"][0]["datasets"]
        }
        for path, scale in scales.items():
            pairs = zip(scale, metadata["resolution"], strict=True)
            if all(math.isclose(mm * 1000, um, rel_tol=1e-3) for mm, um in pairs):
                return store / _checked_place(path)
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise FileFormatError(
            f"{store / 'zarr.json'}: not the description of an OME-Zarr image: "
            f"{shorten(repr(error))}. {REMEDY}"
        ) from error
    raise FileFormatError(
        f"{store / 'zarr.json'}: no level of the image has the resolution of the atlas, "
        f"{metadata['resolution']} um. {REMEDY}"
    )


def _read_metadata(path: Path) -> dict[str, Any]:
    """Read the metadata of an atlas, and check that what is needed is there."""
    metadata = _read_json(path)
    if missing := [key for key in METADATA_KEYS if key not in metadata]:
        raise FileFormatError(f"{path}: the metadata lack {', '.join(missing)}. {REMEDY}")
    for key, kinds in (("shape", int), ("resolution", int | float)):
        values = metadata[key]
        if not _are_three_sizes(values, kinds):
            raise FileFormatError(
                f"{path}: '{key}' is {quote_short(values)}; expected three positive numbers. "
                f"{REMEDY}"
            )
    if math.prod(metadata["shape"]) > MOST_VOXELS:
        raise FileFormatError(
            f"{path}: 'shape' is {metadata['shape']}, more voxels than any atlas has. {REMEDY}"
        )
    return metadata


def _are_three_sizes(values: Any, kinds: Any) -> bool:
    return (
        isinstance(values, list)
        and len(values) == 3
        and all(isinstance(value, kinds) and 0 < value < MOST_VOXELS for value in values)
    )


def _location(document: Path, metadata: dict[str, Any], *keys: str) -> Path:
    """Read where a part of an atlas lies, relative to BrainGlobe's data."""
    part: Any = metadata
    try:
        for key in keys:
            part = part[key]
        return _checked_place(part["location"].removeprefix("/"))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise FileFormatError(
            f"{document}: the manifest does not say where '{keys[-1]}' is: "
            f"{shorten(repr(error))}. {REMEDY}"
        ) from error


def _checked_place(text: str) -> Path:
    """Refuse a place that leads out of the folder: BrainGlobe would download to it."""
    parts = text.split("/")
    is_plain = re.fullmatch(r"[\w.+-]+(/[\w.+-]+)*", text) and ".." not in parts
    if not is_plain or max(len(part.encode()) for part in parts) > LONGEST_NAME_NBYTES:
        raise ValueError(f"{quote_short(text)} is not a place below the folder")
    return Path(text)


def _check_array(level: Path, shape: list[int]) -> None:
    """Check that an image has the atlas's shape, before memory is taken for it."""
    array = _read_json(level / "zarr.json")
    found = array.get("shape")
    if array.get("node_type") != "array" or found != shape:
        stated = quote_short(tuple(found) if isinstance(found, list) else found)
        raise FileFormatError(
            f"{level}: this image of the atlas has the shape {stated}, but its metadata say "
            f"{tuple(shape)}. {REMEDY}"
        )


def _read_group(store: Path) -> dict[str, Any]:
    """Read what a Zarr group of version 3 says."""
    group = _read_json(store / "zarr.json")
    if group.get("zarr_format") != 3 or group.get("node_type") != "group":
        raise FileFormatError(f"{store / 'zarr.json'}: not a group of Zarr version 3. {REMEDY}")
    return group


def _read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object."""
    _require_file(path)
    try:
        document = json.loads(path.read_bytes())
    # Nested too deeply, Python's parser gives up with a RecursionError.
    except (OSError, ValueError, RecursionError) as error:
        raise FileFormatError(
            f"{path}: cannot be read as JSON: {shorten(error)}. {REMEDY}"
        ) from error
    if not isinstance(document, dict):
        raise FileFormatError(f"{path}: not a JSON object. {REMEDY}")
    return document


def _require_file(path: Path) -> None:
    """Raise when a file of an atlas is not there, or its folder may not be read."""
    try:
        is_there = path.is_file()
    except OSError as error:
        raise FileFormatError(
            f"{path}: this file of the atlas cannot be read: {shorten(error)}."
        ) from error
    if not is_there:
        raise FileFormatError(f"{path}: this file of the atlas is missing. {REMEDY}")
