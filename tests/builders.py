"""Entries of indexes and NIfTI files, made for tests; the one place that makes them."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from confusius_datasets._index import Checksum, FileEntry

MD5 = "90bc4b3d7b4bd1b0e8e7a1f8a2b3c4d5"
"""Checksum of an entry that stands for no file."""


def make_entry(relpath: str, size: int | None = 1, *, md5: str | None = MD5) -> FileEntry:
    """Make an entry as OSF lists it, of a file that there need not be."""
    checksums = (Checksum("md5", md5),) if md5 else ()
    return FileEntry(relpath, size, checksums, locators={"osf": "/abc"})


def entry_of(relpath: str, content: bytes, *, checksum: bool = True) -> FileEntry:
    """Describe a file's content as a host does."""
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return FileEntry(relpath, len(content), (Checksum("md5", md5),) if checksum else ())


def nifti_bytes(values: NDArray[Any] | None = None, affine: NDArray[Any] | None = None) -> bytes:
    """Make a plain NIfTI file; a tiny one of zeros where nothing is said."""
    values = np.zeros((2, 2, 1), "f4") if values is None else values
    image = nibabel.Nifti1Image(values, np.eye(4) if affine is None else affine)
    return bytes(image.to_bytes())


def affine_of(linear: Any, origin: Any = (0.0, 0.0, 0.0)) -> NDArray[np.float64]:
    """Put a linear part, or its diagonal, and an origin together."""
    linear = np.asarray(linear, float)
    affine = np.eye(4)
    affine[:3, :3] = np.diag(linear) if linear.ndim == 1 else linear
    affine[:3, 3] = origin
    return affine


DIAGONAL = affine_of((0.125, 0.25, 0.5), (-0.25, 1.0, -0.5))
"""Affine of the simplest example."""


def counting(shape: tuple[int, ...], dtype: Any = "f4") -> NDArray[Any]:
    """Make an array in which every value says where it is."""
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def write_nifti(
    path: Path,
    data: NDArray[Any],
    *,
    sform: NDArray[np.float64] | None = None,
    qform: NDArray[np.float64] | None = None,
    codes: tuple[int, int] = (1, 1),
    pixdim: dict[int, float] | None = None,
    units: tuple[str, str] = ("mm", "sec"),
    sidecar: dict[str, Any] | None = None,
    image_class: Any = nibabel.Nifti1Image,
    byteorder: str = "<",
    scaling: tuple[float, float] | None = None,
) -> Path:
    """Write an array as a NIfTI file, with what its header says spelled out.

    `codes` are those of the sform and of the qform; a form that is not given has code 0.
    """
    header = image_class.header_class(endianness=byteorder)
    header.set_data_dtype(data.dtype)
    header.set_data_shape(data.shape)
    header.set_xyzt_units(*units)
    if sform is not None:
        header["pixdim"][1:4] = np.linalg.norm(sform[:3, :3], axis=0)
    for axis, size in (pixdim or {}).items():
        header["pixdim"][axis] = size
    if qform is not None:
        header.set_qform(qform, codes[1])
    header.set_sform(np.eye(4) if sform is None else sform, 0 if sform is None else codes[0])
    if qform is None:
        header["qform_code"] = 0
    if scaling is not None:
        header["scl_slope"], header["scl_inter"] = scaling
    header["vox_offset"] = header.single_vox_offset
    header["magic"] = header.single_magic
    stored = data.astype(data.dtype.newbyteorder(byteorder)).tobytes(order="F")
    content = header.binaryblock + b"\0\0\0\0" + stored
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith(".gz"):
        content = gzip.compress(content, compresslevel=1)
    path.write_bytes(content)
    if sidecar is not None:
        stem = path.name.removesuffix(".gz").removesuffix(".nii")
        path.with_name(f"{stem}.json").write_text(json.dumps(sidecar), encoding="utf-8")
    return path


def sum_backwards(file: Path) -> float:
    """Add up frames of a file from its end on; here, where other processes can import it."""
    from confusius_datasets._io import load

    array = load(file)
    return sum(float(array.isel(time=time).sum()) for time in range(50, 0, -15))
