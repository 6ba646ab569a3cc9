"""A Zarr store whose Blosc chunks are as long as they say. This imports `zarr`: import it late."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from zarr.storage import LocalStore

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype

__all__ = ["CheckedStore"]

HEADER_NBYTES = 16
"""Header of a Blosc chunk; its last four bytes are the length of the chunk (c-blosc, README)."""


class CheckedStore(LocalStore):
    """A folder of chunks, to be read.

    Blosc believes the length in the header, whatever the length of the bytes it is given: a chunk
    that was cut short would be read past its end, and give an error or wrong values by chance.
    """

    def __init__(
        self, root: Path | str, *, read_only: bool = True, blosc: Collection[str] = ()
    ) -> None:
        super().__init__(root, read_only=read_only)
        self.blosc = tuple(f"{folder}/" for folder in blosc)

    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Read a file of the store, or a part of it."""
        value = await super().get(key, prototype, byte_range)
        name = key.rpartition("/")[2]
        is_chunk = key.startswith(self.blosc) and name != "zarr.json" and not name.startswith(".z")
        if value is not None and byte_range is None and is_chunk:
            said = int.from_bytes(value[:HEADER_NBYTES].to_bytes()[-4:], "little")
            if len(value) < HEADER_NBYTES or said > len(value):
                raise ValueError(f"the chunk {key} has {len(value)} bytes, and says {said}")
        return value
