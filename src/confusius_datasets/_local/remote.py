"""Parts of files as folders of others and the host have them; nothing is written to the disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from confusius_datasets._index import DatasetIndex
from confusius_datasets._sources import FromTo, Source, begin_call, get_client
from confusius_datasets.errors import MissingFileError, OfflineError

__all__ = ["RemoteFiles"]


class RemoteFiles:
    """Reads parts of files; whose bytes turn out to be wrong is left alone from then on."""

    def __init__(self, root: Path, source: Source | None, index: DatasetIndex) -> None:
        self._root = root
        self._index = index
        # Told of no file, or an archive would read small ones whole.
        self._call = None if source is None else begin_call(source, (), None)

    def read(self, relpath: str, start: int, stop: int) -> Iterator[bytes]:
        """Give the bytes of a file from an offset up to another one, or fewer where it ends."""
        if self._call is None:
            raise MissingFileError(f"{self._root / relpath}: there is no such file, and no host.")
        entry, part = self._index[relpath], FromTo(start, stop)
        try:
            stream = self._call.open(entry, part, client=get_client())
        except OfflineError as error:
            raise OfflineError(
                f"The network may not be used (CONFUSIUS_OFFLINE is set), and {relpath} is not on "
                "disk. Unset it.",
                missing=[relpath],
            ) from error
        with stream:
            # A host may send more than the part: from the start of the file, or to its end.
            position = stream.start
            for piece in stream:
                yield piece[max(start - position, 0) : max(stop - position, 0)]
                position += len(piece)
                if position >= stop:
                    break

    def give_up(self, relpath: str, error: Exception) -> bool:
        """Leave alone whose bytes of a file were wrong; say whether somebody else has it."""
        return self._call is not None and self._call.give_up(self._index[relpath], error)
