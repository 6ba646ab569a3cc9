"""The beginning of a NIfTI file that is not here: header and first frames, as bytes arrive."""

from __future__ import annotations

import math
import tempfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from confusius_datasets._io.nifti.array import is_gzip
from confusius_datasets._io.nifti.header import HEADER_SIZE, NiftiHeader, parse_header
from confusius_datasets._io.nifti.opening import prepare_header, stem_of
from confusius_datasets._io.prepared import open_prepared
from confusius_datasets._io.versions import Origin
from confusius_datasets._text import shorten
from confusius_datasets.errors import FileFormatError

__all__ = ["BytesBetween", "preview_nifti"]

BytesBetween = Callable[[int, int], Iterable[bytes]]
"""Gives the bytes of a file from an offset up to another one, or fewer where it ends."""

FIRST_NBYTES = 1 << 15
"""Asked for at first; more than the header, since each request takes its time."""

GZIP_WRAPPER = 31
"""`wbits` for a gzip header and trailer."""


def preview_nifti(
    name: str, fields: Mapping[str, Any], read: BytesBetween, *, frames: int
) -> xr.DataArray:
    """Read header and first frames of a file of which only bytes can be asked for."""
    beginning = _Beginning(name, read)
    header = parse_header(beginning.upto(HEADER_SIZE), name=name)
    # The first frames come first in the file; of further axes, the first place only.
    taken = min(frames, header.shape[3]) if len(header.shape) > 3 else 1
    nbytes = math.prod(header.shape[:3]) * taken * header.dtype.itemsize
    data = beginning.upto(header.offset + nbytes)
    if len(data) < header.offset + nbytes:
        raise FileFormatError(
            f"{name}: the file on the host ends after {len(data)} bytes, and its header claims "
            f"{header.offset + nbytes} for the frames asked for."
        )
    return _load_beginning(name, header, data, fields, taken)


def _load_beginning(
    name: str, header: NiftiHeader, data: bytes, fields: Mapping[str, Any], taken: int
) -> xr.DataArray:
    """Load frames out of the bytes at the beginning of a file."""
    with tempfile.TemporaryDirectory(prefix="confusius-") as folder:
        file = Path(folder, f"{stem_of(Path(name).name)}.nii")
        file.write_bytes(data)
        prepared = prepare_header(Path(name), header, Origin.of(file), fields, kept=False)
        array = open_prepared(prepared)
        extras = [dim for dim in array.dims if dim not in ("time", "z", "y", "x")]
        parts: dict[Any, Any] = {dim: slice(0, 1) for dim in extras}
        if "time" in array.dims:
            parts["time"] = slice(0, taken)
        array = array.isel(parts).load()
    array.encoding.pop("source", None)  # of a file that is gone
    return array


class _Beginning:
    """What is known of a file from its start on; asks for no more than is needed."""

    def __init__(self, name: str, read: BytesBetween) -> None:
        self._name = name
        self._read = read
        self._data = bytearray()
        self._asked = 0
        self._inflater = zlib.decompressobj(GZIP_WRAPPER) if is_gzip(Path(name)) else None
        self._pending = b""

    def upto(self, nbytes: int) -> bytes:
        """Return the first bytes of the file, decompressed; fewer where it ends before."""
        self._take(b"", nbytes)
        while len(self._data) < nbytes:
            before = self._asked
            # A compressed file is asked for in pieces that grow, as nobody knows how much it takes.
            wanted = nbytes - len(self._data) if self._inflater is None else self._asked
            for piece in self._read(self._asked, self._asked + max(FIRST_NBYTES, wanted)):
                self._asked += len(piece)
                self._take(piece, nbytes)
            if self._asked == before:
                break
        return bytes(self._data)

    def _take(self, piece: bytes, nbytes: int) -> None:
        """Take bytes in; a run of zeros must not fill the memory when it is decompressed."""
        if self._inflater is None:
            self._data += piece
            return
        self._pending += piece
        try:
            while self._pending and len(self._data) < nbytes:
                self._data += self._inflater.decompress(self._pending, FIRST_NBYTES)
                self._pending = self._inflater.unconsumed_tail
        except zlib.error as error:
            raise FileFormatError(f"{self._name}: not a gzip file: {shorten(error)}.") from error
