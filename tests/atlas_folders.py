"""Writes small atlases in BrainGlobe's on-disk layouts, and points BrainGlobe at them.

Release 2 of `brainglobe-atlasapi` reads a folder of TIFF and JSON, release 3 OME-Zarr and CSV. The
writers need neither: the files are made by hand.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from confusius_datasets._demo.phantom import PHANTOM_STRUCTURES, phantom_images

Structure = tuple[int, str, str, tuple[int, int, int], list[int]]


@dataclass(frozen=True)
class TinyAtlas:
    """What an atlas's files say."""

    name: str
    resolution: tuple[float, float, float]
    reference: NDArray[Any]
    annotation: NDArray[Any]
    structures: Sequence[Structure]
    hemispheres: NDArray[Any] | None = None
    meshes: Mapping[int, tuple[NDArray[Any], NDArray[Any]]] | None = None
    species: str = "Mus musculus"

    def metadata(self) -> dict[str, Any]:
        """Return what both layouts say about it."""
        return {
            "name": self.name.rpartition("_")[0],
            "citation": "Nobody et al. (2026)",
            "atlas_link": "https://example.org",
            "species": self.species,
            "symmetric": self.hemispheres is None,
            "resolution": list(self.resolution),
            "orientation": "asr",
            "version": "1.2",
            "shape": list(self.annotation.shape),
            "additional_references": [],
        }


TINY_STRUCTURES: list[Structure] = [
    (997, "root", "root", (255, 255, 255), [997]),
    (8, "grey", "Grey matter", (191, 218, 227), [997, 8]),
    (2, "A", "Area (first)", (255, 0, 0), [997, 8, 2]),
    (3, "B", "Area (second)", (0, 0, 255), [997, 8, 3]),
]


def tetrahedron(corner: Sequence[float], size: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """Make a small closed surface; vertices (z, y, x) in micrometres."""
    points = np.array(corner) + size * np.vstack([np.zeros(3), np.eye(3)])
    return points, np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])


def tiny_atlas(name: str = "tiny_mouse_100um", **changes: Any) -> TinyAtlas:
    """Make an atlas of 6 x 5 x 8 voxels with two regions side by side."""
    annotation = np.zeros((6, 5, 8), np.uint32)
    annotation[1:5, 1:4, 1:4] = 2
    annotation[1:5, 1:4, 4:7] = 3
    reference = np.random.default_rng(0).integers(0, 1000, annotation.shape).astype(np.uint16)
    right, left = tetrahedron((100, 100, 100), 150), tetrahedron((100, 100, 500), 150)
    both = np.vstack([right[0], left[0]]), np.vstack([right[1], left[1] + 4])
    atlas = TinyAtlas(
        *(name, (100.0, 100.0, 100.0), reference, annotation, TINY_STRUCTURES),
        meshes={2: right, 3: left, 8: both},
    )
    return replace(atlas, **changes)


@functools.cache
def allen_like() -> TinyAtlas:
    """Make a phantom of a mouse's brain on the grid of `allen_mouse_100um`."""
    reference, annotation = phantom_images()
    structures: list[Structure] = [(*region[:4], list(region[4])) for region in PHANTOM_STRUCTURES]
    steps = (100.0, 100.0, 100.0)
    return TinyAtlas("allen_mouse_100um", steps, reference, annotation, structures)


def write_release_2(root: Path, atlas: TinyAtlas, version: str = "1.2") -> Path:
    """Write an atlas as release 2 has it, and return its folder."""
    import tifffile

    folder = root / f"{atlas.name}_v{version}"
    (folder / "meshes").mkdir(parents=True)
    (folder / "metadata.json").write_text(json.dumps(atlas.metadata()), encoding="utf-8")
    keys = ("id", "acronym", "name", "rgb_triplet", "structure_id_path")
    structures = [dict(zip(keys, structure, strict=True)) for structure in atlas.structures]
    (folder / "structures.json").write_text(json.dumps(structures), encoding="utf-8")
    tifffile.imwrite(folder / "reference.tiff", atlas.reference)
    tifffile.imwrite(folder / "annotation.tiff", atlas.annotation)
    if atlas.hemispheres is not None:
        tifffile.imwrite(folder / "hemispheres.tiff", atlas.hemispheres)
    for key, (points, faces) in (atlas.meshes or {}).items():
        lines = [f"v {' '.join(map(str, point))}" for point in points.tolist()]
        lines += [f"f {' '.join(str(corner + 1) for corner in face)}" for face in faces.tolist()]
        (folder / "meshes" / f"{key}.obj").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def write_release_3(root: Path, atlas: TinyAtlas, version: str = "1_2") -> Path:
    """Write an atlas as release 3 has it, and return its manifest."""
    data = root / "brainglobe-atlasapi"
    parts = {kind: f"{kind}/{atlas.name}/{version}" for kind in ("terminologies", "templates")}
    labels = f"annotation-sets/{atlas.name}/{version}"

    def component(place: str) -> dict[str, Any]:
        return {"name": atlas.name, "version": version, "location": f"/{place}"}

    terminology, template = component(parts["terminologies"]), component(parts["templates"])
    manifest = {
        **atlas.metadata(),
        "version": version,
        "location": f"/atlases/{atlas.name}/{version}",
        "terminology": terminology,
        "template": template,
        "annotation_set": {
            **component(labels),
            "template": template,
            "terminology": terminology,
        },
    }
    path = data / "atlases" / atlas.name / version / "manifest.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(manifest), encoding="utf-8")
    _write_terminology(data / parts["terminologies"], atlas)
    _write_image(data / parts["templates"] / "template.ome.zarr", atlas.reference, atlas)
    _write_image(data / labels / "annotations_compressed.ome.zarr", atlas.annotation, atlas)
    if atlas.hemispheres is not None:
        _write_image(data / labels / "hemispheres.ome.zarr", atlas.hemispheres, atlas)
    _write_draco(data / labels / "annotations.precomputed" / "mesh", atlas)
    return path


def _write_terminology(folder: Path, atlas: TinyAtlas) -> None:
    """Write the table of regions."""
    header = "identifier,parent_identifier,annotation_value,name,abbreviation,color_hex_triplet"
    lines = [f"{header},root_identifier_path"]
    for key, acronym, name, rgb, path in atlas.structures:
        parent = path[-2] if len(path) > 1 else ""
        color = "#" + "".join(f"{part:02X}" for part in rgb)
        lines.append(f'{key},{parent},{key},"{name}",{acronym},{color},"{path}"')
    folder.mkdir(parents=True)
    (folder / "terminology.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_image(folder: Path, values: NDArray[Any], atlas: TinyAtlas) -> None:
    """Write an OME-Zarr image of one level, in one chunk without compression."""
    scale = [um * 1e-3 for um in atlas.resolution]
    axes = [{"name": name, "type": "space", "unit": "millimeter"} for name in "zyx"]
    level = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": scale}]}
    image = {"name": folder.stem, "axes": axes, "datasets": [level]}
    attributes = {"ome": {"version": "0.5", "multiscales": [image]}}
    group = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    shape = list(values.shape)
    array = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": shape,
        "data_type": values.dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": shape}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
        "attributes": {},
        "dimension_names": list("zyx"),
    }
    (folder / "0" / "c" / "0" / "0").mkdir(parents=True)
    (folder / "zarr.json").write_text(json.dumps(group), encoding="utf-8")
    (folder / "0" / "zarr.json").write_text(json.dumps(array), encoding="utf-8")
    (folder / "0" / "c" / "0" / "0" / "0").write_bytes(np.ascontiguousarray(values).tobytes())


def _write_draco(folder: Path, atlas: TinyAtlas) -> None:
    """Write surfaces as release 3 has them: nanometres, components reversed."""
    folder.mkdir(parents=True)
    for key, (points, faces) in (atlas.meshes or {}).items():
        nanometres = np.ascontiguousarray(points[:, ::-1] * 1000, np.float32)
        content = _encode_draco(nanometres.tobytes(), faces.astype(np.uint32).tobytes())
        (folder / str(key)).write_bytes(content)


@functools.cache  # it takes 50 ms, and most atlases have the same surfaces
def _encode_draco(points: bytes, faces: bytes) -> bytes:
    """Encode a surface; points are three float32 each, and faces three uint32."""
    import DracoPy

    return DracoPy.encode(
        np.frombuffer(points, np.float32).reshape(-1, 3),
        np.frombuffer(faces, np.uint32).reshape(-1, 3),
        quantization_bits=24,
    )


def installed_release() -> int:
    """Say which of the two layouts the installed package reads."""
    from importlib.metadata import version

    return 3 if int(version("brainglobe-atlasapi").partition(".")[0]) >= 3 else 2


def write_atlas(root: Path, atlas: TinyAtlas) -> Path:
    """Write an atlas in the layout of the installed release."""
    write = write_release_3 if installed_release() == 3 else write_release_2
    return write(root, atlas)


def point_brainglobe_at(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make an empty BrainGlobe folder, configured through the environment; return it."""
    root, config = home / ".brainglobe", home / ".config" / "brainglobe"
    for folder in (root, config):
        folder.mkdir(parents=True, exist_ok=True)
    text = f"[default_dirs]\nbrainglobe_dir = {root}\ninterm_download_dir = {root}\n"
    (config / "bg_config.conf").write_text(text, encoding="utf-8")
    monkeypatch.setenv("BRAINGLOBE_CONFIG_DIR", str(config))
    return root


def install_atlas(home: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> Path:
    """Put an atlas into a BrainGlobe folder below a folder of the test's, and use that."""
    root = point_brainglobe_at(home, monkeypatch)
    atlas = allen_like() if name == "allen_mouse_100um" else tiny_atlas(name)
    return write_atlas(root, atlas)
