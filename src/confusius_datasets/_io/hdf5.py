"""What HDF5 files may not do here: hang the process, or lead to other files and to code.

libhdf5 2.0 walks the heap that holds texts of variable length by the sizes in it. Where one of them
is damaged, it goes round for ever, deaf to Ctrl-C. So such texts are read here, where each step
moves on, or their heaps are gone through before. The form is that of "Global Heap" in the HDF5 File
Format Specification, III.E: https://support.hdfgroup.org/documentation/hdf5/latest/
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from confusius_datasets._text import shorten
from confusius_datasets.errors import FileFormatError

__all__ = ["HeapError", "check_heaps", "find_dataset", "read_variable_text", "refuse_links"]

SIGNATURE = b"GCOL\x01\0\0\0"

SEARCHED_NBYTES = 1 << 26
"""Bytes at either end of a file in which heaps are looked for; texts are written with the rest of
the header, so they are not among the values."""

SAFE_FILTERS = frozenset({1, 2, 3, 4, 5, 6, 32000})
"""Filters that come with HDF5 and h5py. For others HDF5 looks for a plug-in, which is code."""

LARGEST_HEAP_NBYTES = 1 << 26
"""Collections have 4096 bytes, or those of the one text that is longer."""


class HeapError(ValueError):
    """The bytes are not those of a heap."""


def read_variable_text(path: Path, offset: int, sizes: tuple[int, int]) -> bytes:
    """Read a text of variable length, whose reference lies at some offset.

    `sizes` are the bytes of addresses and of lengths in the file.
    """
    n_address, n_length = sizes
    with path.open("rb") as file:
        reference = _read(file, offset, 4 + n_address + 4)
        nbytes = int.from_bytes(reference[:4], "little")
        address = int.from_bytes(reference[4 : 4 + n_address], "little")
        index = int.from_bytes(reference[4 + n_address :], "little")
        if nbytes == 0 or index == 0:
            return b""
        start = _read(file, address, 8 + n_length)
        size = int.from_bytes(start[8:], "little")
        if not start.startswith(SIGNATURE) or not len(start) < size <= LARGEST_HEAP_NBYTES:
            raise HeapError("a text is kept where there is no heap of texts")
        heap = _read(file, address, size)
    return _find(heap, _aligned(len(start)), index, n_length)[:nbytes]


def check_heaps(path: Path) -> None:
    """Refuse a file with a heap that libhdf5 would never come to the end of."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        starts = {0, max(size - SEARCHED_NBYTES, 0)}
        for start in sorted(starts):
            data = _read(file, start, min(SEARCHED_NBYTES, size - start))
            place = data.find(SIGNATURE)
            while place >= 0:
                nbytes = int.from_bytes(data[place + 8 : place + 16], "little")
                for _ in _objects(data[place : place + min(nbytes, LARGEST_HEAP_NBYTES)], 16, 8):
                    pass
                place = data.find(SIGNATURE, place + 1)


def _find(heap: bytes, position: int, wanted: int, n_length: int) -> bytes:
    """Find an object in a heap by its number."""
    for index, begin, size in _objects(heap, position, n_length):
        if index == wanted:
            return heap[begin : begin + size]
    raise HeapError("a text is not in the heap of texts")


def _objects(heap: bytes, position: int, n_length: int) -> Iterator[tuple[int, int, int]]:
    """Give the objects of a heap; each begins with its number, how often it is used, its size."""
    head = _aligned(8 + n_length)
    while position + head <= len(heap):
        index = int.from_bytes(heap[position : position + 2], "little")
        size = int.from_bytes(heap[position + 8 : position + 8 + n_length], "little")
        # Number 0 is free space, whose size has its own beginning in it: 0 would stand still.
        if index == 0 and size == 0:
            raise HeapError("the heap of texts has free space of no size")
        begin = position + head
        if index and begin + size > len(heap):
            return
        if index:
            yield index, begin, size
        position = begin + _aligned(size) if index else position + size


def _aligned(nbytes: int) -> int:
    """Round up to a multiple of eight, as heaps are laid out."""
    return -(-nbytes // 8) * 8


def _read(file: BinaryIO, offset: int, nbytes: int) -> bytes:
    """Read bytes that must be there."""
    try:
        file.seek(offset)
    except (OverflowError, ValueError, OSError) as error:
        raise HeapError("a text is kept at an impossible place") from error
    data = file.read(nbytes)
    if len(data) < nbytes:
        raise HeapError("the file ends within the heap of texts")
    return data


def find_dataset(file: Any, name: str, path: Path) -> Any:
    """Return what is at a path in an HDF5 file, `None` if nothing is; links are not followed."""
    import h5py

    found = file
    for part in name.split("/"):
        link = found.get(part, getlink=True) if isinstance(found, h5py.Group) else None
        if link is None:
            return None
        if not isinstance(link, h5py.HardLink):
            raise FileFormatError(
                f"{path}: '/{name}' is a link to elsewhere, which is not followed. Write the file "
                "anew, with its values in it."
            )
        found = found[part]
    _refuse_elsewhere(found, path)
    return found


def _refuse_elsewhere(found: Any, path: Path) -> None:
    """Refuse a dataset whose values lie in other files, or that need other code to be read."""
    import h5py

    if not isinstance(found, h5py.Dataset):
        return
    created = found.id.get_create_plist()
    if created.get_external_count() or found.is_virtual:
        raise FileFormatError(
            f"{path}: the values of '{shorten(found.name)}' lie in other files, which are not "
            "opened. Write the file anew, with its values in it."
        )
    filters = {created.get_filter(number)[0] for number in range(created.get_nfilters())}
    if foreign := filters - SAFE_FILTERS:
        raise FileFormatError(
            f"{path}: '{shorten(found.name)}' needs the HDF5 filter {min(foreign)}, a plug-in, "
            "which is not loaded. Write the file anew with gzip compression."
        )


def refuse_links(group: Any, path: Path) -> None:
    """Refuse a file that leads to other files or to code, wherever in it."""
    import h5py

    waiting, seen = [group], set()
    while waiting:
        each = waiting.pop()
        # A group may lie within itself.
        if hash(each.id) in seen:
            continue
        seen.add(hash(each.id))
        for name in each:
            link = each.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                raise FileFormatError(
                    f"{path}: '{shorten(name)}' is a link to another file, which is not followed. "
                    "Write the file anew, with its values in it."
                )
            found = each.get(name) if isinstance(link, h5py.HardLink) else None
            if isinstance(found, h5py.Group):
                waiting.append(found)
            _refuse_elsewhere(found, path)
