"""HDF5 files that would hang their reader, or that lead to other files and to code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr

from confusius_datasets._io import load
from confusius_datasets._io.hdf5 import check_heaps
from confusius_datasets.errors import FileFormatError
from scan_files import TEXTS, scan_v1_content, write_hdf5

DATA = np.arange(5 * 3 * 2 * 4, dtype="f4").reshape(5, 3, 2, 4)


def write_scan(path: Path, **changes: Any) -> Path:
    """Write a small recording."""
    content = scan_v1_content("2Dscan", DATA, times=[0.4, 0.8, 1.2, 1.6, 2.0])
    return write_hdf5(path, content | changes)


def write_netcdf(path: Path, **changes: Any) -> Path:
    """Write a small NetCDF file with a text."""
    array = xr.DataArray(np.zeros((2, 3)), dims=("time", "x"), name="pwd", attrs={"words": "long"})
    array.to_netcdf(path, engine="h5netcdf")
    with h5py.File(path, "a") as file:
        file.attrs["further"] = "a text of variable length"
        for name, value in changes.items():
            file[name] = value
    return path


def stop_heap(path: Path) -> Path:
    """Let the second object of the first heap be free space of no size, as damage makes it."""
    content = bytearray(path.read_bytes())
    heap = content.index(b"GCOL\x01")
    size = int.from_bytes(content[heap + 24 : heap + 32], "little")
    second = heap + 16 + 16 + -(-size // 8) * 8
    content[second : second + 16] = bytes(16)
    path.write_bytes(content)
    return path


LOAD = "import sys; from confusius_datasets import load; load(sys.argv[1]).load()"


@pytest.mark.slow
@pytest.mark.parametrize("write", [write_scan, write_netcdf])
def test_heap_that_never_ends_hangs_nobody(write: Any, tmp_path: Path) -> None:
    """A damaged size among the texts of a file is told; HDF5 would read it for ever."""
    path = stop_heap(write(tmp_path / ("a.scan" if write is write_scan else "a.nc")))

    # In a process of its own, as nothing ends the loop in this one.
    ended = subprocess.run(
        [sys.executable, "-c", LOAD, str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert f"FileFormatError: {path}: " in ended.stderr
    assert "free space of no size" in ended.stderr


@pytest.mark.parametrize("kind", ["plain", "pieces", "packed", "header"])
def test_texts_of_variable_length_are_read_however_they_are_stored(
    kind: str, tmp_path: Path
) -> None:
    """In one piece, in pieces, packed or in the header."""
    path = tmp_path / "a.scan"
    with h5py.File(path, "w") as file:
        for name, value in scan_v1_content("2Dscan", DATA, times=[1.0, 2, 3, 4, 5]).items():
            if not name.startswith("scanMetaData"):
                file[name] = value
        for name, text in TEXTS.items():
            place, text_type = f"scanMetaData/{name}", h5py.string_dtype()
            long = text * 2000 if name == "Project_tag" else text
            if kind == "header":
                created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
                created.set_layout(h5py.h5d.COMPACT)
                created_links = h5py.h5p.create(h5py.h5p.LINK_CREATE)
                created_links.set_create_intermediate_group(True)
                h5py.h5d.create(
                    file.id,
                    place.encode(),
                    h5py.h5t.py_create(text_type, logical=True),
                    h5py.h5s.create_simple((1, 1)),
                    created,
                    created_links,
                )
                file[place][...] = long
            else:
                options = {"chunks": (1, 1)} if kind in ("pieces", "packed") else {}
                packing = {"compression": "gzip"} if kind == "packed" else {}
                file.create_dataset(
                    place, data=np.array([[long]], dtype=text_type), **options, **packing
                )

    attrs = load(path).attrs

    assert attrs["iconeus_subject"] == TEXTS["Subject_tag"]
    assert attrs["iconeus_project"] == TEXTS["Project_tag"] * 2000


def external_dataset(path: Path, secret: Path) -> None:
    """Let the values of a dataset be another file's bytes."""
    with h5py.File(path, "a") as file:
        file.create_dataset("acqMetaData/time", (5, 1), "f8", external=[(str(secret), 0, 40)])


def virtual_dataset(path: Path, secret: Path) -> None:
    """Let the values of a dataset be those of another HDF5 file."""
    layout = h5py.VirtualLayout((5, 1), "f8")
    layout[...] = h5py.VirtualSource(secret, "x", (5, 1))
    with h5py.File(path, "a") as file:
        file.create_virtual_dataset("acqMetaData/time", layout)


def linked_dataset(path: Path, secret: Path) -> None:
    """Let a dataset be a link to another file."""
    with h5py.File(path, "a") as file:
        file["acqMetaData/time"] = h5py.ExternalLink(str(secret), "x")


def foreign_filter(path: Path, secret: Path) -> None:
    """Let a dataset need a plug-in."""
    created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    created.set_chunk((5, 1))
    created.set_filter(32001, h5py.h5z.FLAG_OPTIONAL)
    with h5py.File(path, "a") as file:
        file.require_group("acqMetaData")
        space = h5py.h5s.create_simple((5, 1))
        h5py.h5d.create(file.id, b"acqMetaData/time", h5py.h5t.IEEE_F64LE, space, created)
        file["acqMetaData/time"][...] = 1.0


@pytest.mark.parametrize(
    ("add", "message"),
    [
        (external_dataset, "lie in other files"),
        (virtual_dataset, "lie in other files"),
        (linked_dataset, "is a link to"),
        (foreign_filter, "needs the HDF5 filter 32001"),
    ],
)
@pytest.mark.parametrize("write", [write_scan, write_netcdf])
def test_file_that_leads_elsewhere_is_refused(
    add: Any, message: str, write: Any, tmp_path: Path
) -> None:
    """Neither other files nor plug-ins are opened because a file names them."""
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["x"] = np.ones((5, 1))
    path = tmp_path / ("a.scan" if write is write_scan else "a.nc")
    write(path, **({"acqMetaData/time": None} if write is write_scan else {}))
    add(path, secret)

    with pytest.raises(FileFormatError, match=message):
        load(path)


def test_good_heaps_are_let_through(tmp_path: Path) -> None:
    """Every file that HDF5 writes is one whose heaps come to an end."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        for number in range(300):
            file.attrs[f"a{number}"] = "x" * (number * 37 % 5000)
            if number % 3 == 0:
                del file.attrs[f"a{number // 2}"]

    check_heaps(path)
