"""Damaged Zarr stores, NetCDF and SCAN files, and seek indexes."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from builders import write_nifti
from confusius_datasets import load
from confusius_datasets._io.bytes import readers, seek_index
from confusius_datasets.errors import FileFormatError
from mutations import damage_bytes, damage_some, run_trials
from scan_files import scan_v1_content, scan_v2_bytes, write_hdf5

ARRAY = xr.DataArray(
    np.arange(60.0).reshape(5, 3, 4),
    dims=("time", "z", "x"),
    coords={"time": np.arange(5.0), "x": np.arange(4.0)},
    name="pwd",
    attrs={"units": "mm", "affines": {"physical_to_lab": np.eye(4).tolist()}},
)


def walk(path: Path) -> list[Path]:
    """List the files of a store."""
    return [file for file in sorted(path.rglob("*")) if file.is_file()]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("zarr_format", "codec"), [(2, "blosc"), (2, "gzip"), (3, "blosc"), (3, "gzip"), (3, "sharded")]
)
def test_damaged_zarr_store_is_told(
    zarr_format: int, codec: str, trials: int, tmp_path: Path
) -> None:
    """Whatever is in a store, no foreign exception comes out, on opening or reading."""
    path = tmp_path / "a.zarr"
    ARRAY.to_zarr(path, zarr_format=zarr_format, encoding={"pwd": encoding_of(codec, zarr_format)})
    files = {file: file.read_bytes() for file in walk(path)}

    def trial(rng: random.Random) -> None:
        file = rng.choice(list(files))
        if rng.random() < 0.1:
            file.unlink()
        else:
            damage = damage_bytes if file.suffix == "" and file.name[0] != "." else damage_some
            file.write_bytes(damage(rng, files[file]))
        try:
            load(path).load()
        finally:
            file.write_bytes(files[file])

    run_trials(f"zarr {zarr_format} {codec}", max(trials // 3, 1), tmp_path, trial)


def encoding_of(codec: str, zarr_format: int) -> dict[str, Any]:
    """Say how values are compressed."""
    import numcodecs
    from zarr.codecs import BloscCodec, GzipCodec

    if codec == "sharded":
        return {"chunks": (1, 3, 4), "shards": (5, 3, 4)}
    if zarr_format == 2:
        return {"compressors": {"blosc": numcodecs.Blosc(), "gzip": numcodecs.GZip()}[codec]}
    return {"compressors": (BloscCodec() if codec == "blosc" else GzipCodec(),)}


def test_damaged_binary_scan_is_told(trials: int, tmp_path: Path) -> None:
    """Whatever a file of the second generation holds, it loads or is an error of ours."""
    data = np.arange(5 * 3 * 2 * 4, dtype="f8").reshape(1, 1, 5, 3, 2, 4)
    good = scan_v2_bytes(data, times=np.arange(1.0, 11.0).reshape(5, 1, 2))
    path = tmp_path / "a.scan"
    path.touch()

    def trial(rng: random.Random) -> None:
        path.write_bytes(damage_bytes(rng, good))
        load(path).load()

    run_trials("scan of the second generation", trials, tmp_path, trial)


HDF5_TRIALS = """
import random, sys, warnings
from pathlib import Path
from confusius_datasets import load
from mutations import damage_bytes, run_trials

good = Path(sys.argv[1])
data = good.read_bytes()
path = good.with_name("damaged" + good.suffix)
path.touch()

def trial(rng):
    path.write_bytes(damage_bytes(rng, data))
    print("trial", file=sys.stderr, flush=True)
    load(path).load()

run_trials(sys.argv[2], int(sys.argv[3]), good.parent, trial)
"""


def write_scan(path: Path) -> None:
    """Write a small recording of the first generation."""
    data = np.arange(5 * 3 * 2 * 4, dtype="f4").reshape(5, 3, 2, 4)
    write_hdf5(path, scan_v1_content("2Dscan", data, times=[0.4, 0.8, 1.2, 1.6, 2.0]))


def write_netcdf(path: Path) -> None:
    """Write a small NetCDF file."""
    ARRAY.drop_attrs().assign_attrs(units="mm", words="of variable length").to_netcdf(
        path, engine="h5netcdf"
    )


@pytest.mark.slow
@pytest.mark.parametrize(("name", "write"), [("a.scan", write_scan), ("a.nc", write_netcdf)])
def test_damaged_hdf5_file_is_told_and_hangs_nobody(
    name: str, write: Any, trials: int, tmp_path: Path
) -> None:
    """Whatever an HDF5 file holds, it loads or is an error of ours, and the library comes back."""
    good = tmp_path / "good" / name
    good.parent.mkdir()
    write(good)
    paths = [str(Path(__file__).parents[1]), *sys.path]
    script = f"import sys; sys.path[:0] = {paths!r}\n{HDF5_TRIALS}"
    command = [sys.executable, "-W", "ignore", "-c", script, str(good), f"hdf5 {name}", str(trials)]

    # In a process of its own: where libhdf5 hangs, no alarm is heard.
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60 + trials)

    print(done.stdout)
    assert done.returncode == 0, done.stderr.replace("trial\n", "")[-4000:]


def test_damaged_seek_index_changes_no_value(
    trials: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index that is damaged is made anew: values are those of the file."""
    monkeypatch.setattr(seek_index, "SMALLEST_SPACING", 1 << 16)
    monkeypatch.setattr(readers, "NEAR", 1 << 14)
    values = np.random.default_rng(3).integers(0, 99, (16, 16, 16, 60)).astype("i2")
    path = write_nifti(tmp_path / "inside" / "a.nii.gz", values, sform=np.eye(4))
    expected = values.T[30]
    array = load(path)
    for frame in (55, 30):  # backwards, so that an index is worth its while
        np.testing.assert_array_equal(array[frame].values, values.T[frame])
    (saved,) = tmp_path.rglob("*.gzidx")

    def trial(rng: random.Random) -> None:
        good = saved.read_bytes()
        saved.write_bytes(damage_bytes(rng, good))
        readers.READERS.forget()
        np.testing.assert_array_equal(load(path)[30].values, expected)

    run_trials("seek index", trials, tmp_path, trial)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("codec", ["blosc", "gzip"])
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_broken_chunk_is_told_whichever_codec_notices(
    zarr_format: int, codec: str, tmp_path: Path
) -> None:
    """Cut, emptied or with a size that is negative: a chunk is no raw error of its codec."""
    path = tmp_path / "a.zarr"
    ARRAY.to_zarr(path, zarr_format=zarr_format, encoding={"pwd": encoding_of(codec, zarr_format)})
    (chunk,) = (
        file for file in walk(path / "pwd") if file.name[0] != "." and file.suffix != ".json"
    )
    good = chunk.read_bytes()
    for bad in (good[: len(good) // 2], b"", good[:4] + b"\xff" * 8 + good[12:], b"\xff" * 40):
        chunk.write_bytes(bad)
        with pytest.raises(FileFormatError, match="cannot be read"):
            load(path).load()
