"""Regions of an atlas: found by name, masked with what they hold, drawn as surfaces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atlas_folders import installed_release, point_brainglobe_at, tiny_atlas, write_atlas
from confusius_datasets import Atlas
from confusius_datasets.errors import (
    FileFormatError,
    FilterError,
    MissingFileError,
    OfflineError,
    UnknownKeyError,
)

NAME = "tiny_mouse_100um"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write the tiny atlas."""
    return write_atlas(point_brainglobe_at(tmp_path, monkeypatch), tiny_atlas())


@pytest.fixture
def atlas(place: Path) -> Atlas:
    """Open it."""
    return Atlas.from_brainglobe(NAME)


@pytest.mark.parametrize(
    ("pattern", "field", "found"),
    [
        ("AREA", "all", ["A", "B"]),
        ("^a", "all", ["A", "B"]),
        ("e", "all", ["grey", "A", "B"]),
        ("a", "acronym", ["A"]),
        ("gr", "acronym", []),
        ("gr.*", "acronym", ["grey"]),
        ("grey matter", "name", ["grey"]),
        ("grey", "name", []),
        ("zebra", "all", []),
    ],
)
def test_search_finds_by_expression(
    pattern: str, field: Any, found: list[str], atlas: Atlas
) -> None:
    """Anywhere in acronym or name, or the whole of one; the case does not count."""
    assert atlas.search(pattern, field)["acronym"].tolist() == found


def test_search_refuses_what_it_cannot_do(atlas: Atlas) -> None:
    """A broken expression and an unknown field are errors that say so."""
    with pytest.raises(FilterError, match="is not a regular expression"):
        atlas.search("(")
    with pytest.raises(FilterError, match="Invalid field: 'colour'"):
        atlas.search("A", "colour")  # type: ignore[arg-type]


def test_masks_hold_a_region_with_its_descendants(atlas: Atlas) -> None:
    """A mask has the region's identifier wherever the region or a part of it is."""
    masks = atlas.get_masks(["A", "grey", 3], ["both", "both", "left"])

    assert masks.dims == ("mask", "z", "y", "x")
    assert masks.dtype == np.int32
    assert masks["mask"].values.tolist() == ["A", "grey", "B_L"]
    assert [int((mask == key).sum()) for mask, key in zip(masks, (2, 8, 3), strict=True)] == [
        36,
        72,
        36,
    ]
    assert [int((mask != 0).sum()) for mask in masks] == [36, 72, 36]
    assert masks.attrs["roi_labels"] == atlas.annotation.attrs["roi_labels"]


@pytest.mark.parametrize(("side", "voxels"), [("both", 36), ("left", 0), ("right", 36)])
def test_mask_of_a_side_is_in_that_hemisphere(side: Any, voxels: int, atlas: Atlas) -> None:
    """Region A lies to the right, and one region has a leading axis too."""
    masks = atlas.get_masks("A", side)

    assert masks.shape == (1, 6, 5, 8)
    assert int((masks == 2).sum()) == voxels


@pytest.mark.parametrize("region", [np.int64(2), np.uint32(2), 2])
def test_identifier_may_be_of_any_integer_type(region: Any, atlas: Atlas) -> None:
    """A label that was read out of an array names its region."""
    assert atlas.get_masks(region).equals(atlas.get_masks("A"))


@pytest.mark.parametrize(
    ("region", "error", "message"),
    [
        (
            "nope",
            UnknownKeyError,
            "Acronym 'nope' not found in atlas. Use atlas.search() to find the correct acronym.",
        ),
        (
            "GREY",
            UnknownKeyError,
            "Acronym 'GREY' not found in atlas. Did you mean 'grey'? "
            "Use atlas.search() to find the correct acronym.",
        ),
        (
            12345,
            UnknownKeyError,
            "Structure id 12345 not found in atlas. "
            "Use atlas.search() to browse available structures.",
        ),
        (
            "2",
            UnknownKeyError,
            "Acronym '2' not found in atlas. Use atlas.search() to find the correct acronym.",
        ),
        (True, TypeError, "A region is named by an identifier or an acronym, not by a bool."),
        (
            2.0,
            TypeError,
            "A region is named by an identifier (int) or an acronym (str), not by float.",
        ),
    ],
)
def test_region_that_is_none_is_named(
    region: Any, error: type[Exception], message: str, atlas: Atlas
) -> None:
    """Acronyms have a case, texts are no identifiers, and messages are plain."""
    for ask in (lambda: atlas.get_masks([region]), lambda: atlas.ancestors(region)):
        with pytest.raises(error) as caught:
            ask()

        assert str(caught.value) == message
    if error is UnknownKeyError:
        assert issubclass(error, KeyError)


@pytest.mark.parametrize(
    ("regions", "sides", "message"),
    [
        (
            ["A", "B"],
            ["left"],
            "'sides' has 1 elements but 'regions' has 2 elements; they must have the same length.",
        ),
        (
            "A",
            "up",
            "Invalid side value(s): ['up']. Each element must be one of ['both', 'left', 'right'].",
        ),
        ([], "both", "'regions' is empty; name at least one region."),
    ],
)
def test_masks_refuse_arguments_that_do_not_fit(
    regions: Any, sides: Any, message: str, atlas: Atlas
) -> None:
    """Nothing is guessed about sides and regions."""
    with pytest.raises(FilterError) as caught:
        atlas.get_masks(regions, sides)

    assert str(caught.value) == message


def test_ancestors_lead_from_the_root(atlas: Atlas) -> None:
    """The region itself is not among them."""
    assert [node.tag for node in atlas.ancestors("A")] == ["root (997)", "grey (8)"]
    assert atlas.ancestors("root") == []


def test_tree_is_printed(atlas: Atlas, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole hierarchy, or what is below a region."""
    atlas.show_tree()
    whole = capsys.readouterr().out
    atlas.show_tree("grey")
    part = capsys.readouterr().out

    assert whole.split("\n")[0] == "root (997)"
    assert part.split("\n")[:2] == ["grey (8)", "├── A (2)"]


def corners(vertices: np.ndarray[Any, Any]) -> list[list[float]]:
    """Return points in an order of their own, rounded."""
    return sorted(np.round(vertices, 4).tolist())


def test_mesh_is_in_mm(atlas: Atlas) -> None:
    """The surface stands in the space of the arrays."""
    vertices, faces = atlas.get_mesh("A")

    assert (vertices.dtype, faces.dtype) == (np.float64, np.int32)
    assert corners(vertices) == [
        [0.1, 0.1, 0.1],
        [0.1, 0.1, 0.25],
        [0.1, 0.25, 0.1],
        [0.25, 0.1, 0.1],
    ]
    assert faces.shape == (4, 3)
    assert sorted(set(faces.ravel().tolist())) == [0, 1, 2, 3]


def test_mesh_is_cut_at_the_midline(atlas: Atlas) -> None:
    """A side has the vertices on it, and the faces that have all of theirs there."""
    whole, right, left = (atlas.get_mesh("grey", side)[0] for side in ("both", "right", "left"))  # type: ignore[arg-type]

    assert len(whole) == 8
    assert corners(right) == corners(atlas.get_mesh("A")[0])
    assert corners(left) == corners(atlas.get_mesh("B")[0])
    assert atlas.get_mesh("A", "left")[0].shape == (0, 3)
    assert atlas.get_mesh("A", "left")[1].shape == (0, 3)


def test_mesh_follows_the_atlas(atlas: Atlas) -> None:
    """After resampling, surfaces are where the labels are."""
    shift = np.eye(4)
    shift[:3, 3] = [0.1, -0.2, 0.3]
    moved = atlas.resample_like(atlas.reference, shift).resample_like(atlas.reference, shift)

    expected = atlas.get_mesh("A")[0] - 2 * shift[:3, 3]

    np.testing.assert_allclose(moved.get_mesh("A")[0], expected)
    assert corners(moved.get_mesh("grey", "left")[0]) == corners(moved.get_mesh("B")[0])


def test_missing_mesh_is_named(place: Path, atlas: Atlas, monkeypatch: pytest.MonkeyPatch) -> None:
    """A region without a surface, and one whose surface may not be downloaded."""
    monkeypatch.setenv("CONFUSIUS_OFFLINE", "1")
    expected = MissingFileError if installed_release() == 2 else OfflineError

    with pytest.raises(expected, match="mesh of 'root'"):
        atlas.get_mesh("root")
    with pytest.raises(FilterError, match=r"Invalid side value\(s\): \['up'\]"):
        atlas.get_mesh("A", "up")  # type: ignore[arg-type]


def test_damaged_mesh_is_named(atlas: Atlas) -> None:
    """A file that is no surface is named."""
    path = Path(atlas.structures["A"]["mesh_filename"])
    path.write_bytes(b"garbage")

    with pytest.raises(FileFormatError) as caught:
        atlas.get_mesh("A")

    assert str(path) in str(caught.value)
