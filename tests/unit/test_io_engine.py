"""The xarray engine, and the dispatch by extension."""

from __future__ import annotations

import ast
import inspect
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from builders import DIAGONAL, counting, write_nifti
from confusius_datasets._io import (
    FORMATS,
    LOADABLE_EXTENSIONS,
    chunks,
    engine,
    load,
    load_with_entities,
)
from confusius_datasets._io.engine import ConfusiusNiftiBackend
from confusius_datasets._io.formats import find_format
from confusius_datasets.errors import (
    ArgumentError,
    FileFormatError,
    MissingDependencyError,
    MissingFileError,
)

SHAPE = (5, 4, 3, 6)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Write a file with a sidecar."""
    return write_nifti(
        tmp_path / "sub-01_pwd.nii.gz",
        counting(SHAPE),
        sform=DIAGONAL,
        sidecar={"TaskName": "rest"},
    )


def test_engine_is_registered() -> None:
    """Installing the package is enough for xarray to know the engine."""
    assert "confusius-nifti" in xr.backends.list_engines()


def test_open_dataarray_equals_load(file: Path) -> None:
    """The engine and `load` give the same."""
    opened = xr.open_dataarray(file, engine="confusius-nifti")

    xr.testing.assert_identical(opened.drop_attrs(deep=False), load(file).drop_attrs(deep=False))
    assert opened.attrs.keys() == load(file).attrs.keys()


def test_open_dataset_without_engine_recognises_the_extension(file: Path) -> None:
    """The engine is found by the file's name."""
    dataset = xr.open_dataset(str(file))

    assert list(dataset.data_vars) == ["sub-01_pwd"]
    assert dataset["sub-01_pwd"].dims == ("time", "z", "y", "x")


def test_open_dataset_options_are_documented_and_closed() -> None:
    """Each option stands in signature and docstring, and no other is swallowed."""
    parameters = inspect.signature(ConfusiusNiftiBackend.open_dataset).parameters
    documented = inspect.getdoc(ConfusiusNiftiBackend.open_dataset) or ""

    assert [name for name in parameters if name != "self"] == list(
        ConfusiusNiftiBackend.open_dataset_parameters or ()
    )
    assert all(f"{name} :" in documented for name in parameters if name != "self")


def test_open_dataset_without_sidecars(file: Path) -> None:
    """`sidecars=False` leaves them alone."""
    dataset = xr.open_dataset(file, engine=ConfusiusNiftiBackend, sidecars=False)

    assert "task_name" not in dataset["sub-01_pwd"].attrs


def test_open_dataset_drops_variables(file: Path) -> None:
    """`drop_variables` leaves out what it names."""
    dataset = xr.open_dataset(file, engine=ConfusiusNiftiBackend, drop_variables=["time", "none"])

    assert "time" not in dataset.coords


def test_open_dataset_file_named_as_a_dimension(tmp_path: Path) -> None:
    """A file may be called as one of its dimensions is; engine and `load` agree on the name."""
    file = write_nifti(tmp_path / "x.nii", counting(SHAPE), sform=DIAGONAL)

    assert list(xr.open_dataset(file, engine=ConfusiusNiftiBackend).data_vars) == ["values"]
    assert xr.open_dataarray(file, engine=ConfusiusNiftiBackend).name == "values"
    assert load(file).name == "values"


def test_open_mfdataset_stacks_runs_by_name(tmp_path: Path) -> None:
    """Files whose variables have one name become one array, without gaps."""
    pytest.importorskip("dask")
    files = [
        write_nifti(
            tmp_path / f"sub-01_run-{run}_pwd.nii.gz", counting(SHAPE) + run, sform=DIAGONAL
        )
        for run in (1, 2)
    ]

    stacked = xr.open_mfdataset(
        files, engine="confusius-nifti", combine="nested", concat_dim="run", name="pwd"
    )

    assert list(stacked.data_vars) == ["pwd"]
    assert stacked.pwd.dims == ("run", "time", "z", "y", "x")
    assert stacked.pwd.dtype == np.float32
    for run in (1, 2):
        np.testing.assert_array_equal(stacked.pwd[run - 1], (counting(SHAPE) + run).T)


def test_open_dataset_name_of_a_coordinate_is_refused(file: Path) -> None:
    """A variable cannot have the name of a dimension."""
    with pytest.raises(ArgumentError, match="name is 'time', which is a dimension or coordinate"):
        xr.open_dataset(file, engine=ConfusiusNiftiBackend, name="time")


@pytest.mark.parametrize(
    "options",
    [
        {"decode_cf": False},
        {"decode_cf": True},
        {"decode_times": False, "decode_timedelta": False, "use_cftime": None},
        {"mask_and_scale": True, "concat_characters": False, "decode_coords": "all"},
    ],
)
def test_open_dataset_takes_the_decoder_options_of_xarray(
    file: Path, options: dict[str, Any]
) -> None:
    """Code that opens files of any engine with the same options opens ours."""
    opened = xr.open_dataarray(file, engine="confusius-nifti", **options)

    xr.testing.assert_equal(opened, load(file))


@pytest.mark.parametrize("options", [{"mask_and_scale": False}, {"decode_cf": False}])
def test_open_dataset_without_scaling_gives_the_stored_values(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    """`mask_and_scale=False` means the same as for every engine."""
    stored = counting(SHAPE, "i2")
    file = write_nifti(tmp_path / "a.nii.gz", stored, sform=DIAGONAL, scaling=(2.0, 1.0))

    array = xr.open_dataarray(file, engine="confusius-nifti", **options)

    assert array.dtype == np.int16
    np.testing.assert_array_equal(array, stored.T)
    np.testing.assert_array_equal(load(file), 2.0 * stored.T + 1)


def test_open_dataset_announces_chunks_of_whole_volumes(tmp_path: Path) -> None:
    """Large files are opened in chunks that suit them, small ones whole."""
    pytest.importorskip("dask")
    small = write_nifti(tmp_path / "s.nii", counting(SHAPE), sform=DIAGONAL)
    large = write_nifti(tmp_path / "l.nii", np.zeros((64, 64, 8, 1), "f4"), sform=DIAGONAL)
    content = bytearray(large.read_bytes())
    content[48:50] = (2000).to_bytes(2, "little")
    with large.open("wb") as opened:
        opened.write(content)
        opened.truncate(352 + 64 * 64 * 8 * 2000 * 4)  # sparse: takes no room

    arrays = [
        xr.open_dataarray(path, engine="confusius-nifti", chunks={}) for path in (small, large)
    ]

    assert arrays[0].chunks == ((6,), (3,), (4,), (5,))
    assert arrays[0].encoding["preferred_chunks"] == {"z": 3, "y": 4, "x": 5}
    assert arrays[1].chunks == ((1024, 976), (8,), (64,), (64,))


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("a.nii", True),
        ("b.nii.gz", True),
        (Path("c.nii"), True),
        ("d.gz", False),
        (b"n", False),
        ("s3://b/a.nii", False),
    ],
)
def test_guess_can_open_by_extension(name: Any, ours: bool) -> None:
    """Only what has our extensions is ours."""
    assert ConfusiusNiftiBackend().guess_can_open(name) is ours


def test_open_dataset_in_chunks_is_computed_in_them(file: Path) -> None:
    """The `chunks` of xarray itself give Dask arrays over the engine."""
    pytest.importorskip("dask")
    dataset = xr.open_dataset(file, engine="confusius-nifti", chunks={"time": 4})

    assert dataset["sub-01_pwd"].chunks == ((4, 2), (3,), (4,), (5,))
    np.testing.assert_array_equal(dataset.compute()["sub-01_pwd"], counting(SHAPE).T)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        (-1, ((6,), (3,), (4,), (5,))),
        ({"time": 4}, ((4, 2), (3,), (4,), (5,))),
        ((3, -1, 2, 5), ((3, 3), (3,), (2, 2), (5,))),
        ("auto", ((6,), (3,), (4,), (5,))),
        (2, ((2, 2, 2), (2, 1), (2, 2), (2, 2, 1))),
    ],
)
def test_load_chunks_are_in_the_order_of_the_dimensions(
    file: Path, sizes: Any, expected: tuple[tuple[int, ...], ...]
) -> None:
    """`chunks` gives Dask arrays, a tuple being in the order of the result."""
    pytest.importorskip("dask")
    array = load(file, chunks=sizes)

    assert array.chunks == expected
    np.testing.assert_array_equal(array.compute(), counting(SHAPE).T)


def test_load_chunks_of_too_few_axes_names_the_dimensions(file: Path) -> None:
    """A tuple has an entry for each dimension, and the message says which there are."""
    pytest.importorskip("dask")
    with pytest.raises(ValueError, match="has the dimensions time, z, y, x: give one entry"):
        load(file, chunks=(1, 2))


def test_load_automatic_chunks_of_large_arrays(tmp_path: Path) -> None:
    """Automatic chunks are Dask's own, of whole volumes."""
    pytest.importorskip("dask")
    file = write_nifti(tmp_path / "l.nii", np.zeros((64, 64, 8, 1), "f4"), sform=DIAGONAL)
    content = bytearray(file.read_bytes())
    content[48:50] = (2000).to_bytes(2, "little")
    with file.open("wb") as opened:
        opened.write(content)
        opened.truncate(352 + 64 * 64 * 8 * 2000 * 4)  # sparse: takes no room

    assert load(file, chunks="auto").chunks == ((1024, 976), (8,), (64,), (64,))


def test_load_chunks_without_dask_names_the_extra(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunks need Dask, and the message says how to get it."""
    monkeypatch.setattr(chunks, "find_spec", lambda _: None)

    with pytest.raises(MissingDependencyError, match=r"pip install dask .*\[dask\]"):
        load(file, chunks={"time": 2})


def test_load_chunks_of_another_version_have_another_name(file: Path) -> None:
    """Dask does not take the chunks of a file that was replaced for those of the old one."""
    pytest.importorskip("dask")
    first, again = (load(file, chunks=-1).__dask_keys__() for _ in range(2))
    os.utime(file, ns=(0, 0))

    assert first == again
    assert load(file, chunks=-1).__dask_keys__() != first


def test_load_refuses_options_of_another_format(file: Path) -> None:
    """An option that only Zarr stores have is no option of a NIfTI file."""
    with pytest.raises(TypeError, match=r"load has no option consolidated for \.nii\.gz files"):
        load(file, consolidated=True)
    with pytest.raises(TypeError, match=r"load has no option bps_path for \.nii\.gz files"):
        load(file, bps_path="a.bps")


@pytest.mark.parametrize("name", ["a.NII.GZ", "a.hdr", "a.nii.bz2", "a"])
def test_load_unknown_extension_lists_the_known(name: str, tmp_path: Path) -> None:
    """Another extension is refused before the file is looked for."""
    with pytest.raises(ValueError, match=r"Unsupported file extension in 'a") as caught:
        load(tmp_path / name)

    assert isinstance(caught.value, FileFormatError)
    assert str(caught.value).endswith("Supported extensions are: .nii, .nii.gz, .scan, .zarr, .nc.")


def test_load_upper_case_extension_suggests_the_right_one() -> None:
    """The case counts, and the message says what was probably meant."""
    with pytest.raises(FileFormatError) as caught:
        load("sub-01_pwd.NII.GZ")

    assert str(caught.value) == (
        "Unsupported file extension in 'sub-01_pwd.NII.GZ'. Did you mean '.nii.gz'? "
        "Supported extensions are: .nii, .nii.gz, .scan, .zarr, .nc."
    )


def test_load_what_is_no_path_is_a_type_error() -> None:
    """Only paths can be loaded."""
    with pytest.raises(TypeError, match=r"path must be a pathlib\.Path or castable to it, not int"):
        load(3)  # type: ignore[arg-type]


def test_load_expands_the_home_folder(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A leading `~` is the home folder."""
    monkeypatch.setenv("HOME", str(file.parent))
    monkeypatch.setenv("USERPROFILE", str(file.parent))

    assert load(f"~/{file.name}").sizes["time"] == 6


def test_load_home_of_nobody_is_a_missing_file() -> None:
    """A `~` that names no user of this machine is an error with the path."""
    with pytest.raises(MissingFileError, match=r"~no-such-user/a\.nii: '~' names the home"):
        load("~no-such-user/a.nii")


def test_load_link_keeps_its_own_name_and_sidecar(file: Path, tmp_path: Path) -> None:
    """A link is loaded as what it is called, wherever it leads."""
    store = tmp_path / "store"
    store.mkdir()
    file.rename(store / "MD5E-0.nii.gz")
    file.symlink_to(store / "MD5E-0.nii.gz")

    array = load(file)

    assert array.name == "sub-01_pwd"
    assert array.attrs["task_name"] == "rest"


def test_load_with_entities_adds_scalar_coordinates(file: Path) -> None:
    """The entities that tell files apart are coordinates; a run is a number."""
    entities = {
        "subject": "01",
        "acquisition": "slice03",
        "run": "02",
        "suffix": "pwd",
        "session": None,
    }

    array = load_with_entities(file, entities, root=file.parent)

    assert {name: array[name].item() for name in ("subject", "acquisition", "run")} == {
        "subject": "01",
        "acquisition": "slice03",
        "run": 2,
    }
    assert "suffix" not in array.coords
    assert "session" not in array.coords
    assert not {"subject", "run"} & load(file).coords.keys()


def test_load_with_entities_labels_a_concatenation(file: Path) -> None:
    """Arrays on one grid are labelled by themselves when they are joined, without a warning."""
    entities = {"subject": "01", "task": "rest"}
    slices = [
        load_with_entities(file, {**entities, "acquisition": f"slice{n:02d}"}, root=file.parent)
        for n in (3, 4)
    ]

    joined = xr.concat(slices, dim="acquisition")

    assert joined.acquisition.values.tolist() == ["slice03", "slice04"]
    assert joined.sizes["acquisition"] == 2
    assert joined.subject.item() == "01"
    assert list(joined.attrs["affines"]) == ["physical_to_sform"]


def test_loadable_extensions_are_those_of_the_message() -> None:
    """What a query may offer to load is what `load` takes."""
    assert LOADABLE_EXTENSIONS == (".nii", ".nii.gz", ".scan", ".zarr", ".nc")


@pytest.mark.parametrize(
    "opener",
    [
        load,
        lambda file: xr.open_dataarray(file, engine="confusius-nifti"),
        lambda file: xr.open_dataset(file, engine=ConfusiusNiftiBackend),
    ],
    ids=["load", "open_dataarray", "open_dataset"],
)
def test_warnings_point_at_the_line_that_loads(tmp_path: Path, opener: Any) -> None:
    """Whoever reads a warning about header or sidecar finds the line of their own that loads."""
    file = write_nifti(
        tmp_path / "a_pwd.nii",
        counting(SHAPE),
        sidecar={"RepetitionTime": "no", "VolumeTiming": [1], "rgb_lookup": 3},
    )

    with pytest.warns(UserWarning) as caught:
        opener(file)

    assert [warning.filename for warning in caught] == [__file__] * 2
    assert str(caught[0].message).startswith("Both sform_code and qform_code are 0")
    assert str(caught[1].message).startswith("fUSI-BIDS validation warning:")
    assert str(caught[1].message).count("\n  - ") == 6


def test_format_registry_has_each_extension_once() -> None:
    """A file's name stands for one format."""
    extensions = [extension for format_ in FORMATS for extension in format_.extensions]

    assert len(set(extensions)) == len(extensions)
    for extension in extensions:
        assert extension in find_format(FORMATS, Path(f"sub-01_pwd{extension}")).extensions


def test_files_of_the_room_do_not_import_in_a_circle() -> None:
    """Among the files that load, imports point one way, those inside functions included."""
    folder = Path(engine.__file__).parent
    package = "confusius_datasets._io"
    imports: dict[str, set[str]] = {}
    for path in folder.rglob("*.py"):
        parts = path.relative_to(folder).with_suffix("").parts
        module = ".".join([package, *(part for part in parts if part != "__init__")])
        imports[module] = {
            str(node.module)
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith(package)
        }

    while free := [module for module, needed in imports.items() if not needed & imports.keys()]:
        for module in free:
            del imports[module]

    assert imports == {}
