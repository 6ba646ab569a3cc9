"""Opening atlases: from a local folder without a network, and with nothing of it changed."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from atlas_folders import (
    TinyAtlas,
    install_atlas,
    installed_release,
    point_brainglobe_at,
    tiny_atlas,
    write_atlas,
    write_release_2,
    write_release_3,
)
from confusius_datasets import Atlas, fetch_brainglobe_atlas
from confusius_datasets._atlas.brainglobe import network_errors_named
from confusius_datasets._atlas.folder import BrainGlobeFolder
from confusius_datasets.errors import (
    CacheError,
    FileFormatError,
    FilterError,
    MissingDependencyError,
    OfflineError,
    RemoteConnectionError,
    RemoteNotFoundError,
    SourceError,
)

NAME = "tiny_mouse_100um"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point BrainGlobe at an empty folder."""
    return point_brainglobe_at(tmp_path / "home", monkeypatch)


@pytest.fixture
def opened(root: Path) -> Atlas:
    """Open the tiny atlas."""
    write_atlas(root, tiny_atlas())
    return Atlas.from_brainglobe(NAME)


def digest(folder: Path) -> dict[str, str]:
    """Return what is in a folder, file by file."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_images_are_on_one_grid_in_mm(opened: Atlas) -> None:
    """The three arrays have types, dimensions and coordinates of their own, from 0 mm on."""
    tiny = tiny_atlas()

    for array, dtype in (
        (opened.reference, np.float32),
        (opened.annotation, np.int32),
        (opened.hemispheres, np.int8),
    ):
        assert array.dims == ("z", "y", "x")
        assert array.dtype == dtype
        assert float(array.z[0]) == float(array.y[0]) == float(array.x[0]) == 0
        np.testing.assert_allclose(array.z, np.arange(6) * 0.1)
        np.testing.assert_allclose(array.x, np.arange(8) * 0.1)
        assert array.y.attrs == {"units": "mm", "voxdim": pytest.approx(0.1)}
    np.testing.assert_array_equal(opened.reference, tiny.reference)
    np.testing.assert_array_equal(opened.annotation, tiny.annotation)
    assert opened.hemispheres[0, 0].values.tolist() == [2, 2, 2, 2, 1, 1, 1, 1]
    assert opened.reference.attrs == {"cmap": "gray"}
    assert (opened.reference.name, opened.annotation.name) == ("reference", "annotation")


def test_properties_are_the_metadata(opened: Atlas) -> None:
    """Name, species, orientation, resolution and citation are as the files say."""
    assert opened.name == "tiny_mouse"
    assert opened.species == "Mus musculus"
    assert opened.orientation == "asr"
    assert opened.resolution == pytest.approx((0.1, 0.1, 0.1))
    assert opened.citation == "Nobody et al. (2026)"
    assert repr(opened) == (
        "Atlas(name='tiny_mouse', species='Mus musculus', orientation='asr', shape=(6, 5, 8))"
    )


@pytest.mark.parametrize(("size", "first_left"), [(5, 2), (7, 4), (8, 4)])
def test_symmetric_atlas_is_halved_as_python_rounds(size: int, first_left: int, root: Path) -> None:
    """Without an image of its own, the left hemisphere begins at half of the last axis."""
    annotation = np.ones((2, 2, size), np.uint32)
    write_atlas(root, tiny_atlas(annotation=annotation, reference=annotation.astype(np.uint16)))

    halves = Atlas.from_brainglobe(NAME).hemispheres[0, 0].values

    assert halves.tolist() == [2] * first_left + [1] * (size - first_left)


def test_stored_hemispheres_are_read(root: Path) -> None:
    """An atlas that is not symmetric brings the image."""
    halves = np.full((6, 5, 8), 2, np.uint8)
    halves[:, :, 3:] = 1
    write_atlas(root, tiny_atlas(hemispheres=halves))

    np.testing.assert_array_equal(Atlas.from_brainglobe(NAME).hemispheres, halves)


def test_lookup_is_a_table_in_the_order_of_the_file(opened: Atlas) -> None:
    """By identifier: acronym, name and colour."""
    assert opened.lookup.index.name == "id"
    assert opened.lookup.index.tolist() == [997, 8, 2, 3]
    assert opened.lookup.columns.tolist() == ["acronym", "name", "rgb_triplet"]
    assert opened.lookup.loc[2].tolist() == ["A", "Area (first)", [255, 0, 0]]
    assert opened.structures["grey"]["id"] == 8


def test_colours_are_those_of_the_regions(opened: Atlas) -> None:
    """Outside is transparent, a region has its colour, what lies between two the lower one's."""
    cmap, norm = opened.cmap, opened.norm

    assert norm.boundaries.tolist() == [2, 3, 8, 997, 998]
    assert cmap(norm(0)) == (0, 0, 0, 0)
    assert cmap(norm(2)) == (1, 0, 0, 1)
    assert cmap(norm(3)) == cmap(norm(7)) == (0, 0, 1, 1)
    assert cmap(norm(2000)) == (1, 1, 1, 1)
    assert opened.annotation.attrs["rgb_lookup"][8] == [191, 218, 227]
    assert opened.annotation.attrs["roi_labels"][2] == "Area (first) (A)"
    assert {"cmap", "norm"} <= opened.annotation.attrs.keys()


def test_opening_changes_nothing(root: Path, tmp_path: Path) -> None:
    """A local copy is read where it lies; no file is made or changed, not even BrainGlobe's own."""
    write_atlas(root, tiny_atlas())
    before = digest(tmp_path)

    Atlas.from_brainglobe(NAME)

    assert digest(tmp_path) == before


def test_opening_asks_no_network(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a local copy not a socket is opened, whether or not that is forbidden."""
    import socket

    write_atlas(root, tiny_atlas())

    def refuse(*args: Any) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)

    assert Atlas.from_brainglobe(NAME).name == "tiny_mouse"
    monkeypatch.setenv("CONFUSIUS_OFFLINE", "1")
    assert Atlas.from_brainglobe(NAME, check_latest=True).name == "tiny_mouse"


def test_folder_may_be_given(tmp_path: Path, root: Path) -> None:
    """`brainglobe_dir` goes before the configuration, `config_dir` before the environment."""
    write_atlas(tmp_path / "elsewhere", tiny_atlas(species="Rattus norvegicus"))
    config = tmp_path / "config"
    config.mkdir()
    text = f"[default_dirs]\nbrainglobe_dir = {tmp_path / 'elsewhere'}\n"
    (config / "bg_config.conf").write_text(text, encoding="utf-8")

    by_folder = Atlas.from_brainglobe(NAME, brainglobe_dir=tmp_path / "elsewhere")
    by_config = Atlas.from_brainglobe(NAME, config_dir=config)

    assert by_folder.species == by_config.species == "Rattus norvegicus"


@pytest.mark.parametrize(
    "content", [b"garbage", b"[default_dirs]\nbrainglobe_dir = /a\nbrainglobe_dir = /b", b"\xff["]
)
@pytest.mark.parametrize("given", [False, True])
def test_broken_configuration_is_named(tmp_path: Path, content: bytes, given: bool) -> None:
    """The error has the file and what to do, whether the folder is asked for or the network."""
    (tmp_path / "bg_config.conf").write_bytes(content)
    options: dict[str, Any] = {"config_dir": tmp_path}
    if given:
        options["brainglobe_dir"] = tmp_path / "atlases"

    with pytest.raises(FileFormatError) as caught:
        Atlas.from_brainglobe(NAME, **options)

    assert str(caught.value).startswith(f"{tmp_path / 'bg_config.conf'}: this configuration of")
    assert str(caught.value).endswith("Correct the file, or delete it: BrainGlobe makes a new one.")


def test_broken_configuration_is_not_read_for_an_atlas_that_is_here(root: Path) -> None:
    """With the folder given and the atlas in it, nothing needs to be known."""
    write_atlas(root, tiny_atlas())
    (root / "bg_config.conf").write_text("garbage", encoding="utf-8")

    atlas = Atlas.from_brainglobe(NAME, brainglobe_dir=root, config_dir=root, check_latest=False)

    assert atlas.name == "tiny_mouse"


def test_folder_without_configuration_is_below_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BrainGlobe's own default holds where nothing else is said."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("BRAINGLOBE_CONFIG_DIR", raising=False)

    found = BrainGlobeFolder.find()

    assert found.path == tmp_path / ".brainglobe"
    assert found.config == tmp_path / ".config" / "brainglobe" / "bg_config.conf"


@pytest.mark.parametrize("release", [2, 3])
def test_newest_version_is_taken_unless_one_is_named(release: int, root: Path) -> None:
    """Versions sort as numbers do, in both layouts."""
    write = write_release_2 if release == 2 else write_release_3
    separator = "." if release == 2 else "_"
    places = (
        {
            version: write(root, tiny_atlas(), version.replace("_", separator))
            for version in ("1_2", "1_10", "1_9")
        }
        if release == 2
        else {}
    )
    if release == 3:
        for version in ("1_2", "1_10", "1_9"):
            manifest = root / "brainglobe-atlasapi" / "atlases" / NAME / version / "manifest.json"
            manifest.parent.mkdir(parents=True)
            manifest.write_text("{}", encoding="utf-8")
            places[version] = manifest
    folder = BrainGlobeFolder(root, root / "none.conf")

    assert folder.find_atlas(NAME, None, release=release) == places["1_10"]
    assert folder.find_atlas(NAME, "1.9", release=release) == places["1_9"]
    assert folder.find_atlas(NAME, "2.0", release=release) is None
    assert folder.find_atlas("other_mouse_100um", None, release=release) is None


def test_version_of_three_numbers_is_found_by_name_only(root: Path) -> None:
    """Release 3 leaves such a version aside unless it is asked for."""
    for version in ("1_2", "1_2_3"):
        manifest = root / "brainglobe-atlasapi" / "atlases" / NAME / version / "manifest.json"
        manifest.parent.mkdir(parents=True)
        manifest.write_text("{}", encoding="utf-8")
    folder = BrainGlobeFolder(root, root / "none.conf")

    assert folder.find_atlas(NAME, None, release=3) == manifest.parents[1] / "1_2" / manifest.name
    assert folder.find_atlas(NAME, "1.2.3", release=3) == manifest


def test_user_without_home_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no home folder is known, as in some containers, the error says what to give."""

    def refuse(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", refuse)
    monkeypatch.delenv("BRAINGLOBE_CONFIG_DIR", raising=False)

    with pytest.raises(CacheError, match="does not exist on this machine"):
        Atlas.from_brainglobe(NAME)


def test_open_atlas_is_taken_as_it_is(root: Path) -> None:
    """One that BrainGlobe's own class has opened works too, without its deprecated alias."""
    from brainglobe_atlasapi import core

    atlas = core.Atlas(write_atlas(root, tiny_atlas()))

    assert Atlas.from_brainglobe(atlas).name == "tiny_mouse"


@pytest.mark.parametrize("thing", [None, 3, Path("allen_mouse_100um")])
def test_what_is_no_atlas_is_a_type_error(thing: Any) -> None:
    """Neither a name nor an atlas."""
    with pytest.raises(TypeError, match="must be the name of an atlas or a BrainGlobeAtlas"):
        Atlas.from_brainglobe(thing)


def test_unknown_argument_is_a_type_error() -> None:
    """A typing error in an argument is not passed over."""
    with pytest.raises(TypeError, match="check_last"):
        Atlas.from_brainglobe(NAME, check_last=True)  # type: ignore[call-arg]


@pytest.mark.parametrize("name", ["../elsewhere", "", "a/b", "*"])
def test_name_that_is_no_name_is_refused(name: str, root: Path) -> None:
    """A name is one of a folder, and no pattern or path."""
    with pytest.raises(FilterError, match="cannot be the name of an atlas"):
        Atlas.from_brainglobe(name)


def test_version_that_is_none_is_refused(root: Path) -> None:
    """A version is numbers."""
    with pytest.raises(FilterError, match="cannot be a version"):
        Atlas.from_brainglobe(NAME, version="latest")


def test_missing_atlas_offline_says_where_it_was_looked_for(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is asked of the network when that is forbidden."""
    monkeypatch.setenv("CONFUSIUS_OFFLINE", "1")

    with pytest.raises(OfflineError) as caught:
        Atlas.from_brainglobe(NAME)

    assert str(caught.value) == (
        f"CONFUSIUS_OFFLINE=1, and the atlas '{NAME}' is not in {root}. "
        "Unset it to download the atlas."
    )


def test_copy_in_the_other_layout_is_pointed_out(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A release cannot read the other's folder: one is told so."""
    monkeypatch.setenv("CONFUSIUS_OFFLINE", "1")
    other = write_release_2 if installed_release() == 3 else write_release_3
    place = other(root, tiny_atlas(meshes=None))

    with pytest.raises(OfflineError, match="is in the layout of brainglobe-atlasapi") as caught:
        Atlas.from_brainglobe(NAME)

    assert str(place) in str(caught.value)


FILES = {
    2: ["metadata.json", "structures.json", "reference.tiff", "annotation.tiff"],
    3: [
        f"terminologies/{NAME}/1_2/terminology.csv",
        f"templates/{NAME}/1_2/template.ome.zarr/zarr.json",
        f"annotation-sets/{NAME}/1_2/annotations_compressed.ome.zarr/zarr.json",
    ],
}[installed_release()]


def data_folder(place: Path) -> Path:
    """Return the folder that an atlas's files are relative to."""
    return place if installed_release() == 2 else place.parents[3]


@pytest.mark.parametrize("relpath", FILES)
@pytest.mark.parametrize("kind", ["missing", "garbage"])
def test_damaged_copy_is_named_and_left_alone(relpath: str, kind: str, root: Path) -> None:
    """A folder with a missing or broken file is the user's still: the error says what is wrong."""
    file = data_folder(write_atlas(root, tiny_atlas())) / relpath
    if kind == "missing":
        file.unlink()
    else:
        file.write_bytes(b"\x00garbage")
    before = digest(root)

    with pytest.raises(FileFormatError):
        Atlas.from_brainglobe(NAME)

    assert digest(root) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"species": None}, "the metadata lack species"),
        ({"shape": [6, 5]}, "'shape' is [6, 5]; expected three positive numbers"),
        ({"resolution": [100, 100, -1]}, "expected three positive numbers"),
        ({"shape": [6, 5, 9]}, "has the shape (6, 5, 8), but its metadata say (6, 5, 9)"),
    ],
)
def test_metadata_that_do_not_fit_are_named(
    change: dict[str, Any], message: str, root: Path
) -> None:
    """What the metadata claim is compared with the images before anything is made of it."""
    place = write_atlas(root, tiny_atlas())
    file = place / "metadata.json" if installed_release() == 2 else place
    document = json.loads(file.read_bytes()) | change
    document = {key: value for key, value in document.items() if value is not None}
    file.write_text(json.dumps(document), encoding="utf-8")

    with pytest.raises(FileFormatError) as caught:
        Atlas.from_brainglobe(NAME)

    assert message in str(caught.value)


def test_labels_that_do_not_fit_are_named(root: Path) -> None:
    """Labels are 32-bit numbers with a sign."""
    annotation = tiny_atlas().annotation.copy()
    annotation[0, 0, 0] = 2**31
    write_atlas(root, tiny_atlas(annotation=annotation))

    with pytest.raises(FileFormatError, match=r"labels over 2\*\*31"):
        Atlas.from_brainglobe(NAME)


def test_images_that_were_never_downloaded_are_named_offline(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newer layout may have all but the values; offline that is an error before any request."""
    if installed_release() == 2:
        assert not (root / "brainglobe-atlasapi").exists()  # the older layout is always whole
        return
    data = data_folder(write_atlas(root, tiny_atlas()))
    chunk = data / "templates" / NAME / "1_2" / "template.ome.zarr" / "0" / "c"
    (chunk / "0" / "0" / "0").unlink()
    (chunk / "0" / "0").rmdir()
    (chunk / "0").rmdir()
    chunk.rmdir()
    monkeypatch.setenv("CONFUSIUS_OFFLINE", "1")

    with pytest.raises(OfflineError, match="were never downloaded"):
        Atlas.from_brainglobe(NAME)


def image_files(place: Path) -> dict[str, Path]:
    """Return the file that holds the values of each image of the tiny atlas."""
    data = data_folder(place)
    if installed_release() == 2:
        return {name: data / f"{name}.tiff" for name in ("reference", "annotation")}
    stores = {
        "reference": data / "templates" / NAME / "1_2" / "template.ome.zarr",
        "annotation": data / "annotation-sets" / NAME / "1_2" / "annotations_compressed.ome.zarr",
    }
    return {name: store / "0" / "c" / "0" / "0" / "0" for name, store in stores.items()}


@pytest.mark.parametrize("image", ["reference", "annotation"])
@pytest.mark.parametrize("content", [b"", b"\x01\x02", b"<html>504</html>"])
def test_damaged_image_names_its_file(image: str, content: bytes, root: Path) -> None:
    """Values that are cut off, empty or a web page are told by the file that holds them."""
    place = write_atlas(root, tiny_atlas())
    file = image_files(place)[image]
    file.write_bytes(content)

    with pytest.raises(FileFormatError, match="this part of the atlas cannot be read") as caught:
        Atlas.from_brainglobe(NAME)

    assert str(file) in str(caught.value)
    assert file.read_bytes() == content


def test_damaged_image_of_many_chunks_names_the_image(root: Path) -> None:
    """Where any of several chunks may be the damaged one, the folder of them is named."""
    if installed_release() == 2:
        assert not image_files(root)["reference"].exists()  # one file holds the whole image
        return
    file = image_files(write_atlas(root, tiny_atlas()))["annotation"]
    file.write_bytes(b"\x01")
    (file.parent / "1").write_bytes(b"\x01")

    with pytest.raises(FileFormatError) as caught:
        Atlas.from_brainglobe(NAME)

    assert str(caught.value).startswith(f"{file.parents[3]}: this part of the atlas")


REGION_FAULTS = {
    "twice": ('3,8,3,"Area (second)"', '2,8,2,"Area (second)"', "the same identifier twice: '2'"),
    "no acronym": (",B,", ",,", "the region 3 has no acronym"),
    "no colour": ("#0000FF", "blue", "cannot be read"),
    "lost": ('"[997, 8, 3]"', '"[997, 5, 3]"', "the region 3 (B) has the path [997, 5, 3]"),
    "not a number": ("3,8,3,", "three,8,3,", "cannot be read"),
    "no column": ("abbreviation", "acronym", "not a table of regions, with the columns"),
}


@pytest.mark.parametrize("fault", REGION_FAULTS)
def test_damaged_table_of_regions_is_named(fault: str, root: Path) -> None:
    """Each region is there once, with acronym and colour, and hangs from the root."""
    before, after, message = REGION_FAULTS[fault]
    if installed_release() == 2:
        before, after, message = '"acronym": "B"', '"acronym": null', "the region 3 has no acronym"
    file = (
        data_folder(write_atlas(root, tiny_atlas())) / FILES[1 if installed_release() == 2 else 0]
    )
    text = file.read_text(encoding="utf-8")
    assert before in text
    file.write_text(text.replace(before, after), encoding="utf-8")

    with pytest.raises(FileFormatError) as caught:
        Atlas.from_brainglobe(NAME)

    assert message in str(caught.value)


def test_region_without_a_name_goes_by_its_acronym(root: Path) -> None:
    """An empty cell does not make the atlas unreadable, and searching works."""
    file = (
        data_folder(write_atlas(root, tiny_atlas())) / FILES[1 if installed_release() == 2 else 0]
    )
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace('"Area (second)"', '""'), encoding="utf-8")

    atlas = Atlas.from_brainglobe(NAME)

    assert atlas.lookup.loc[3, "name"] in ("", "B")
    assert atlas.search("area")["acronym"].tolist() == ["A"]


MANIFEST_FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "huge": ({"shape": [10**6, 10**6, 10**6]}, "more voxels than any atlas has"),
    "infinite": ({"resolution": [100, 100, float("inf")]}, "expected three positive numbers"),
    "whole numbers": ({"shape": [6.5, 5, 8]}, "expected three positive numbers"),
    "resolution": ({"resolution": [50, 50, 50]}, "no level of the image has the resolution"),
    "outside": ({"terminology": {"location": "/../../x"}}, "not a place below the folder"),
    "absolute": ({"terminology": {"location": "//etc"}}, "not a place below the folder"),
    "long": ({"terminology": {"location": "/" + "n" * 300}}, "not a place below the folder"),
    "no place": ({"terminology": None}, "does not say where 'terminology' is"),
}


@pytest.mark.parametrize("fault", MANIFEST_FAULTS)
def test_manifest_that_cannot_be_trusted_is_refused(fault: str, root: Path) -> None:
    """Before BrainGlobe takes memory, follows a path or downloads to it."""
    change, message = MANIFEST_FAULTS[fault]
    place = write_atlas(root, tiny_atlas())
    if installed_release() == 2:
        place, change = place / "metadata.json", {"shape": [10**6, 10**6, 10**6]}
        message = MANIFEST_FAULTS["huge"][1]
    document = json.loads(place.read_bytes()) | change
    place.write_text(json.dumps(document), encoding="utf-8")

    with pytest.raises(FileFormatError) as caught:
        Atlas.from_brainglobe(NAME)

    assert message in str(caught.value)
    assert str(place) in str(caught.value) or "template.ome.zarr" in str(caught.value)


def test_manifest_nested_beyond_reason_is_named(root: Path) -> None:
    """Python's own parser gives up on it."""
    place = write_atlas(root, tiny_atlas())
    file = place / "metadata.json" if installed_release() == 2 else place
    file.write_text('{"a":' * 100_000, encoding="utf-8")

    with pytest.raises(FileFormatError, match="cannot be read as JSON"):
        Atlas.from_brainglobe(NAME)


def test_masks_of_the_older_zarr_are_never_decoded(root: Path, tmp_path: Path) -> None:
    """Its codecs may be pickles, which run code."""
    if installed_release() == 2:
        assert image_files(root)["annotation"].suffix == ".tiff"  # the older layout has no masks
        return
    data = data_folder(write_atlas(root, tiny_atlas()))
    masks = data / "annotation-sets" / NAME / "1_2" / "annotations.ome.zarr"
    (masks / "annotation_values").mkdir(parents=True)
    (masks / ".zgroup").write_text('{"zarr_format": 2}', encoding="utf-8")
    array = {
        "zarr_format": 2,
        "shape": [1],
        "chunks": [1],
        "dtype": "|O",
        "compressor": None,
        "fill_value": None,
        "order": "C",
        "filters": [{"id": "pickle", "protocol": 5}],
    }
    (masks / "annotation_values" / ".zarray").write_text(json.dumps(array), encoding="utf-8")
    traces = tmp_path / "traces"

    class Hostile:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (traces,)

    (masks / "annotation_values" / "0").write_bytes(pickle.dumps(Hostile()))

    with pytest.raises(FileFormatError, match=r"annotations\.ome\.zarr"):
        Atlas.from_brainglobe(NAME)

    assert not traces.exists()


def test_options_have_no_effect_on_an_open_atlas_and_that_is_said(root: Path) -> None:
    """They choose what is opened."""
    from brainglobe_atlasapi import core

    atlas = core.Atlas(write_atlas(root, tiny_atlas()))

    with pytest.warns(UserWarning, match="brainglobe_dir, version has no effect") as caught:
        opened = Atlas.from_brainglobe(atlas, brainglobe_dir=root, version="1.2")

    assert caught[0].filename == __file__
    assert opened.name == "tiny_mouse"


def test_missing_package_names_the_extra(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without BrainGlobe one is told what to install."""
    import sys

    monkeypatch.setitem(sys.modules, "brainglobe_atlasapi", None)

    with pytest.raises(MissingDependencyError, match=r"pip install brainglobe-atlasapi .*atlas"):
        Atlas.from_brainglobe(NAME)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConnectionError("no route"), RemoteConnectionError),
        (FileNotFoundError("x is not a valid atlas name!"), RemoteNotFoundError),
        (FileNotFoundError("Requested version 9 for x not found in remote."), RemoteNotFoundError),
        (RuntimeError("Event loop is closed"), SourceError),
        (SystemExit(1), SourceError),
    ],
)
def test_failures_of_the_network_are_named(error: Exception, expected: type[Exception]) -> None:
    """What BrainGlobe raises becomes an error of ours, which says which atlas it was about."""
    with pytest.raises(expected, match="'x_mouse_10um'"), network_errors_named("x_mouse_10um"):
        raise error


def test_atlas_without_a_released_version_says_to_name_one() -> None:
    """That is not a lost connection, and not an unknown atlas."""
    with pytest.raises(RemoteNotFoundError) as caught, network_errors_named("x_mouse_10um"):
        raise FileNotFoundError("x_mouse_10um has no released version available. Specify one.")

    assert str(caught.value) == (
        "BrainGlobe has the atlas 'x_mouse_10um', but no released version of it. Name the version "
        "that you want, such as version='1.0'."
    )


def test_interruption_is_left_as_it_is() -> None:
    """Ctrl-C during a download is not a damaged atlas."""
    with pytest.raises(KeyboardInterrupt), network_errors_named("x_mouse_10um"):
        raise KeyboardInterrupt


def test_download_is_left_to_brainglobe(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a local copy BrainGlobe's own class is asked, with the folder that was found."""
    import brainglobe_atlasapi
    from brainglobe_atlasapi import core

    asked: dict[str, Any] = {}

    def download(name: str, **options: Any) -> Any:
        asked.update(options, name=name)
        return core.Atlas(write_atlas(root, tiny_atlas()))

    monkeypatch.setattr(brainglobe_atlasapi, "BrainGlobeAtlas", download)

    assert Atlas.from_brainglobe(NAME).name == "tiny_mouse"
    assert asked["name"] == NAME
    assert asked["brainglobe_dir"] == root
    assert asked["check_latest"] is False


def unreachable(name: str, **options: Any) -> Any:
    """Stand for BrainGlobe's own class where its server does not answer."""
    if installed_release() == 2:
        raise FileNotFoundError("Last versions cache file not found.")
    raise ValueError(f"{name} is not a valid atlas name!")


def test_server_that_does_not_answer_makes_no_atlas_unknown(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Release 3 then calls every name invalid; the error is about the connection all the same."""
    import brainglobe_atlasapi

    monkeypatch.setattr(brainglobe_atlasapi, "BrainGlobeAtlas", unreachable)

    with pytest.raises(RemoteConnectionError, match="'allen_mouse_100um'"):
        Atlas.from_brainglobe("allen_mouse_100um")


def test_local_copy_is_used_when_the_latest_cannot_be_asked_for(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A question that cannot be answered is a warning, since the atlas itself is there."""
    import brainglobe_atlasapi

    write_atlas(root, tiny_atlas())
    monkeypatch.setattr(brainglobe_atlasapi, "BrainGlobeAtlas", unreachable)

    with pytest.warns(UserWarning, match=f"newer version of {NAME} could not be found out"):
        atlas = Atlas.from_brainglobe(NAME, check_latest=True)

    assert atlas.name == "tiny_mouse"


def test_dataset_has_images_and_what_describes_them(root: Path) -> None:
    """The three images on one grid; attributes as the ConfUSIus package has them."""
    write_atlas(root, tiny_atlas())

    dataset = fetch_brainglobe_atlas(NAME)

    atlas = Atlas.from_brainglobe(NAME)
    assert set(dataset.data_vars) == {"reference", "annotation", "hemispheres"}
    for name in dataset.data_vars:
        xr.testing.assert_equal(dataset[name], getattr(atlas, str(name)))
    assert [str(array.dtype) for array in dataset.values()] == ["float32", "int32", "int8"]
    assert dataset["z"].attrs == {"units": "mm", "voxdim": pytest.approx(0.1)}
    described = {key: dataset.attrs[key] for key in ("name", "species", "orientation", "citation")}
    assert described == {
        "name": "tiny_mouse",
        "species": "Mus musculus",
        "orientation": "asr",
        "citation": "Nobody et al. (2026)",
    }
    assert dataset.attrs["structures"]["grey"]["id"] == 8
    np.testing.assert_array_equal(dataset.attrs["affines"]["physical_to_base"], np.eye(4))
    assert dataset["hemispheres"].attrs == {"left": 1, "right": 2}
    assert dataset["annotation"].attrs["rgb_lookup"][2] == [255, 0, 0]


def test_dataset_is_fetched_from_the_folder_that_is_given(tmp_path: Path, root: Path) -> None:
    """`data_dir` is BrainGlobe's folder; without the atlas in it, offline is an error."""
    write_atlas(tmp_path / "elsewhere", tiny_atlas(species="Rattus norvegicus"))

    dataset = fetch_brainglobe_atlas(NAME, data_dir=tmp_path / "elsewhere")

    assert dataset.attrs["species"] == "Rattus norvegicus"
    with pytest.raises(TypeError, match="'atlas_name' must be a text, not NoneType"):
        fetch_brainglobe_atlas(None)  # type: ignore[arg-type]


def test_dataset_of_a_resampled_atlas_leads_back_to_its_own_space(opened: Atlas) -> None:
    """`physical_to_base` maps a voxel's place to the one in the atlas that was sampled there."""
    matrix = np.array([[1, 0, 0, 0.1], [0, 0.8, -0.6, 0.2], [0, 0.6, 0.8, 0], [0, 0, 0, 1]])

    twice = opened.resample_like(opened.reference, matrix).resample_like(opened.reference, matrix)
    dataset = twice.to_dataset()

    to_base = dataset.attrs["affines"]["physical_to_base"]
    np.testing.assert_allclose(to_base, matrix @ matrix, atol=1e-12)
    assert "left" not in twice.hemispheres.attrs
    assert "structures" not in opened.resample_like(opened.reference, np.eye(4)).annotation.attrs


def test_atlas_pickles(opened: Atlas) -> None:
    """An atlas works in another process."""
    again = pickle.loads(pickle.dumps(opened))  # noqa: S301

    assert again.annotation.equals(opened.annotation)
    assert again.get_masks("A").equals(opened.get_masks("A"))


def test_installed_phantom_is_the_size_of_the_real_atlas(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The atlas that documents run with stands where the real one would."""
    install_atlas(tmp_path, monkeypatch, "allen_mouse_100um")

    atlas = Atlas.from_brainglobe("allen_mouse_100um")

    assert atlas.annotation.shape == (132, 80, 114)
    assert float(atlas.annotation.z[-1]) == pytest.approx(13.1)
    assert int((atlas.hemispheres[0, 0] == 2).sum()) == 57
    assert isinstance(tiny_atlas(), TinyAtlas)
