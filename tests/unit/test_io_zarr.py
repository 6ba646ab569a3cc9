"""Zarr stores: the array that was saved comes back, and damage is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import xarray as xr
import zarr

from confusius_datasets._io import load
from confusius_datasets.errors import FileFormatError, MissingFileError, UnknownKeyError


def recording(name: str | None = "pwd") -> xr.DataArray:
    """Make an array like those that are saved."""
    return xr.DataArray(
        np.arange(24.0).reshape(2, 3, 4),
        dims=("time", "y", "x"),
        name=name,
        coords={
            "time": ("time", [0.3, 0.6], {"units": "s"}),
            "x": ("x", np.arange(4) * 0.1, {"units": "mm", "voxdim": 0.1}),
        },
        attrs={
            "affines": {"physical_to_sform": np.eye(4).tolist()},
            "plane_wave_angles": [-5, 0, 5],
        },
    )


def save(array: xr.DataArray | xr.Dataset, path: Path, *, version: int = 2, **kwargs: Any) -> Path:
    """Save an array; consolidated metadata of format 3 would warn."""
    array.to_zarr(path, zarr_format=version, consolidated=version == 2, **kwargs)
    return path


@pytest.mark.parametrize("version", [2, 3])
def test_array_comes_back_with_matrices(version: int, tmp_path: Path) -> None:
    """Values, coordinates, units and attributes are as saved; affines are matrices again."""
    saved = recording()

    loaded = load(save(saved, tmp_path / "a.zarr", version=version))

    assert loaded.name == "pwd"
    xr.testing.assert_equal(loaded, saved)
    assert loaded.x.attrs == {"units": "mm", "voxdim": 0.1}
    assert loaded.time.dtype == np.float64
    assert isinstance(loaded.attrs["affines"]["physical_to_sform"], np.ndarray)
    np.testing.assert_array_equal(loaded.attrs["affines"]["physical_to_sform"], np.eye(4))
    assert loaded.attrs["plane_wave_angles"] == [-5, 0, 5]


def test_store_without_consolidated_metadata_is_opened_without_a_warning(tmp_path: Path) -> None:
    """Whether metadata are consolidated is seen, not guessed."""
    recording().to_zarr(tmp_path / "a.zarr", zarr_format=2, consolidated=False)

    assert load(tmp_path / "a.zarr").shape == (2, 3, 4)


def test_values_are_in_the_chunks_of_the_store(tmp_path: Path) -> None:
    """The array is lazy, in the chunks it was saved in, or in those asked for."""
    path = save(recording().chunk({"time": 1}), tmp_path / "a.zarr")

    assert load(path).chunks == ((1, 1), (3,), (4,))
    assert load(path, chunks={"time": 2}).chunks == ((2,), (3,), (4,))
    assert load(path, chunks=(2, 3, 2)).chunks == ((2,), (3,), (2, 2))


def test_first_variable_is_loaded_unless_one_is_named(tmp_path: Path) -> None:
    """A store may hold several arrays."""
    both = xr.Dataset({"b": recording(), "a": 2 * recording()})
    path = save(both, tmp_path / "a.zarr")

    assert load(path).name == next(iter(xr.open_zarr(path).data_vars))
    assert float(load(path, variable="a")[0, 0, 1]) == 2
    assert load(path, variable="b").name == "b"


def test_unnamed_array_gets_the_name_xarray_gave_it(tmp_path: Path) -> None:
    """The name is as stored."""
    path = save(recording(None), tmp_path / "a.zarr")

    assert load(path).name == "__xarray_dataarray_variable__"


def test_labels_get_their_colours_back(tmp_path: Path) -> None:
    """`cmap` and `norm` are made from `rgb_lookup`, which JSON holds with texts for keys."""
    array = recording().assign_attrs(rgb_lookup={"2": [255, 0, 0], "8": [0, 0, 255]})

    loaded = load(save(array, tmp_path / "a.zarr"))

    assert loaded.attrs["cmap"](loaded.attrs["norm"](2)) == (1.0, 0.0, 0.0, 1.0)


def test_unknown_variable_names_the_nearest(tmp_path: Path) -> None:
    """A typing error is answered with what the store has."""
    path = save(recording(), tmp_path / "a.zarr")

    with pytest.raises(UnknownKeyError) as caught:
        load(path, variable="pdw")

    assert str(caught.value) == f"{path}: no variable 'pdw'. Did you mean 'pwd'? It has pwd."
    assert isinstance(caught.value, KeyError)


def _break_nothing(path: Path) -> None:
    path.mkdir()


def _break_file(path: Path) -> None:
    path.write_bytes(b"PK")


def _break_json(path: Path) -> None:
    path.mkdir()
    (path / "zarr.json").write_text("{nope", encoding="utf-8")


def _break_empty_group(path: Path) -> None:
    zarr.open_group(path, mode="w")


def _break_array(path: Path) -> None:
    zarr.save_array(path, np.zeros(3))


def _break_unlabelled(path: Path) -> None:
    zarr.open_group(path, mode="w").create_array("a", shape=(3,), dtype="f4")


def _break_shape(path: Path) -> None:
    save(recording(), path, version=3)
    document = json.loads((path / "pwd" / "zarr.json").read_bytes())
    document["shape"] = [10**12, 10**6, 4]
    (path / "pwd" / "zarr.json").write_text(json.dumps(document), encoding="utf-8")


def _break_coordinate(path: Path) -> None:
    save(recording(), path, version=3)
    document = json.loads((path / "x" / "zarr.json").read_bytes())
    document["shape"] = [10**12]
    document["chunk_grid"]["configuration"]["chunk_shape"] = [10**12]
    (path / "x" / "zarr.json").write_text(json.dumps(document), encoding="utf-8")


def _break_values(path: Path) -> None:
    save(recording(), path, version=3)
    (path / "x" / "c" / "0").write_bytes(b"garbage")


def _break_key(path: Path) -> None:
    save(recording(), path, version=3)
    text = (path / "zarr.json").read_text(encoding="utf-8")
    (path / "zarr.json").write_text(text.replace("node_type", "mode_type"), encoding="utf-8")


def _break_affines(path: Path) -> None:
    save(recording().assign_attrs(affines={"physical_to_sform": [[1, 2], ["a"]]}), path)


FAULTS = {
    "not a store": (_break_nothing, "not a Zarr group: it has no zarr.json or .zgroup"),
    "a file": (_break_file, "a Zarr store is a folder, and this is a file"),
    "no json": (_break_json, "not a Zarr store that xarray can open"),
    "no variable": (_break_empty_group, "the store holds no data variable"),
    "an array": (_break_array, "not a Zarr store that xarray can open"),
    "no dimensions": (_break_unlabelled, "dimension_names"),
    "shape": (_break_shape, "'pwd' claims the shape (1000000000000, 1000000, 4)"),
    "coordinate": (_break_coordinate, "'x' claims the shape (1000000000000,)"),
    "values": (_break_values, "not a Zarr store that xarray can open"),
    "key": (_break_key, "mode_type"),
    "affines": (_break_affines, "attrs['affines']['physical_to_sform'] must be a matrix"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_damage_is_named(fault: str, tmp_path: Path) -> None:
    """Whatever is wrong with a store, the error names the folder and what it is."""
    path = tmp_path / "broken.zarr"
    damage, message = FAULTS[fault]
    damage(path)

    with pytest.raises(FileFormatError) as caught:
        load(path)

    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_missing_store_is_a_missing_file(tmp_path: Path) -> None:
    """A path that leads nowhere is a `FileNotFoundError`."""
    with pytest.raises(MissingFileError, match="there is no such folder"):
        load(tmp_path / "none.zarr")


def test_wrong_argument_is_no_fault_of_the_store(tmp_path: Path) -> None:
    """An argument that `xarray.open_zarr` does not have is a `TypeError`."""
    path = save(recording(), tmp_path / "a.zarr")

    with pytest.raises(TypeError, match="colour"):
        load(path, colour="red")


@pytest.mark.parametrize("version", [2, 3])
def test_store_that_is_replaced_is_noticed(version: int, tmp_path: Path) -> None:
    """Values of another recording are never given with the times of the first."""
    path = save(recording(), tmp_path / "a.zarr", version=version)
    lazy, chunked = load(path), load(path, chunks=-1)
    shutil.rmtree(path)
    save(2 * recording(), path, version=version)

    for array in (lazy, chunked):
        with pytest.raises(FileFormatError, match=r"a\.zarr: the file changed since it was opened"):
            array.compute()
    assert float(load(path)[0, 0, 1]) == 2


def test_damaged_chunk_is_named(tmp_path: Path) -> None:
    """A chunk that cannot be decompressed is an error with the name of the store."""
    path = save(recording(), tmp_path / "a.zarr", version=3)
    (path / "pwd" / "c" / "0" / "0" / "0").write_bytes(b"garbage")

    with pytest.raises(FileFormatError, match=r"a\.zarr: a chunk of the store cannot be read"):
        load(path).compute()


def test_coordinates_of_several_axes_are_lazy_and_right(tmp_path: Path) -> None:
    """What is not an index is read when it is used, as the values are."""
    array = recording().assign_coords(pose_time=(("time", "x"), np.arange(8.0).reshape(2, 4)))

    loaded = load(save(array, tmp_path / "a.zarr", version=3))

    np.testing.assert_array_equal(loaded.pose_time, array.pose_time)
    xr.testing.assert_equal(loaded.compute(), array)


def test_options_of_open_zarr_are_applied(tmp_path: Path) -> None:
    """Groups, dropped variables and options about chunks are xarray's own."""
    path = tmp_path / "a.zarr"
    recording().chunk({"time": 1}).to_zarr(path, group="inner", zarr_format=3, consolidated=False)
    options: dict[str, Any] = {"group": "inner", "consolidated": False}

    assert load(path, drop_variables="x", **options).coords.keys() == {"time"}
    assert [*load(path, create_default_indexes=False, **options).xindexes] == []
    assert load(path, chunks={"time": 2}, **options).chunks == ((2,), (3,), (4,))
    np.testing.assert_array_equal(load(path, **options), recording())


@pytest.mark.parametrize("where", ["time", "pwd"])
@pytest.mark.parametrize(
    "codecs",
    [
        {"compressor": {"id": "pickle"}},
        {"filters": [{"id": "delta", "dtype": "<f8"}, {"id": "pickle"}]},
        {"dtype": "|O", "filters": [{"id": "msgpack2"}], "compressor": {"id": "zstd"}},
        {"compressor": {"id": "something-new"}},
    ],
    ids=lambda codecs: str(next(iter(codecs))),
)
def test_store_that_names_a_codec_which_may_run_code_is_refused(
    codecs: dict[str, Any], where: str, tmp_path: Path
) -> None:
    """Nothing of such a store is decoded, neither its values nor a coordinate."""
    path = save(recording(), tmp_path / "a.zarr")
    metadata = path / where / ".zarray"
    metadata.write_text(json.dumps(json.loads(metadata.read_text()) | codecs))
    (path / ".zmetadata").unlink()

    with pytest.raises(FileFormatError, match="which may run code, so it was not opened"):
        load(path)


def test_codec_in_consolidated_or_nested_metadata_is_found(tmp_path: Path) -> None:
    """Metadata in one file count as those beside the arrays, and so do codecs within codecs."""
    path = save(recording(), tmp_path / "a.zarr")
    document = json.loads((path / ".zmetadata").read_text())
    document["metadata"]["pwd/.zarray"]["compressor"] = {"id": "pickle"}
    (path / ".zmetadata").write_text(json.dumps(document))
    sharded = save(recording(), tmp_path / "b.zarr", version=3)
    array = json.loads((sharded / "pwd" / "zarr.json").read_text())
    inner = {
        "name": "sharding_indexed",
        "configuration": {"codecs": [{"name": "numcodecs.pickle"}]},
    }
    array["codecs"] = [inner]
    (sharded / "pwd" / "zarr.json").write_text(json.dumps(array))

    for store in (path, sharded):
        with pytest.raises(FileFormatError, match="codec 'pickle', which may run code"):
            load(store)


def test_attributes_may_be_called_as_codecs_are(tmp_path: Path) -> None:
    """Attributes are the user's own, whatever they are called."""
    array = recording().assign_attrs(filters=["pickle"], compressor="none")

    assert load(save(array, tmp_path / "a.zarr")).attrs["filters"] == ["pickle"]


def test_metadata_nested_without_end_are_an_error_of_ours(tmp_path: Path) -> None:
    """A damaged store is named, however it is damaged."""
    path = save(recording(), tmp_path / "a.zarr", version=3)
    (path / "pwd" / "zarr.json").write_text("[" * 100_000)

    with pytest.raises(FileFormatError, match=r"its pwd/zarr\.json is not valid JSON"):
        load(path)


@pytest.mark.parametrize("version", [2, 3])
def test_blosc_chunk_that_was_cut_short_is_not_read_past_its_end(
    version: int, tmp_path: Path
) -> None:
    """Blosc believes its header: what lies behind the bytes in memory would count as values."""
    blosc: Any = numcodecs.Blosc() if version == 2 else zarr.codecs.BloscCodec(cname="lz4")
    noise = np.random.default_rng(0).normal(size=(4, 5, 6)).astype("f4")
    array = xr.DataArray(noise, dims=("z", "y", "x"), name="pwd")
    path = save(
        array, tmp_path / "a.zarr", version=version, encoding={"pwd": {"compressors": [blosc]}}
    )
    assert np.array_equal(load(path).values, noise)
    (chunk,) = (
        file
        for file in (path / "pwd").rglob("*0*")
        if file.is_file() and not file.name.startswith(".z")
    )
    content = chunk.read_bytes()

    for length in (0, 3, 15, 16, len(content) // 2, len(content) - 1):
        chunk.write_bytes(content[:length])
        with pytest.raises(FileFormatError, match=f"has {length} bytes"):
            load(path).load()
