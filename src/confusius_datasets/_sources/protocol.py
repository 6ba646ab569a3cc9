"""What a host must be able to do for the rest of the package."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from confusius_datasets._index import Checksum, DatasetIndex, FileEntry
from confusius_datasets._sources.http import HttpClient
from confusius_datasets._sources.ranges import WHOLE, ByteRange

__all__ = ["ByteStream", "Scheme", "Source"]


class ByteStream(Protocol):
    """Bytes of one file as they arrive; a context manager that frees the connection."""

    @property
    def start(self) -> int:
        """Offset of the first byte: as asked, or 0 when the host sends the file from its start."""
        ...

    @property
    def total(self) -> int | None:
        """Size of the whole file in bytes, when the host says it."""
        ...

    @property
    def etag(self) -> str | None:
        """Strong entity tag of the content, when the host gives one."""
        ...

    @property
    def checksum(self) -> Checksum | None:
        """Hash of the whole file, when the host tells it along with the bytes."""
        ...

    @property
    def ranges(self) -> bool:
        """Whether the host honours ranges."""
        ...

    @property
    def url(self) -> str | None:
        """Where the bytes come from, for messages: without signatures and passwords."""
        ...

    def __iter__(self) -> Iterator[bytes]:
        """Give the bytes, in pieces of bounded size."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def close(self) -> None:
        """Free the connection."""
        ...


class Source(Protocol):
    """A host of one dataset. Implementations are small frozen dataclasses that pickle.

    Whatever a source needs of the network it asks of the client it is given, which knows how often
    a host may be asked. A source that needs no network ignores it.
    """

    @property
    def host(self) -> str:
        """Name of the host: the key of its locators in a `FileEntry`."""
        ...

    @property
    def index_name(self) -> str:
        """Name of its index file in the root of a dataset."""
        ...

    def list_files(self, client: HttpClient) -> DatasetIndex:
        """List the files that the host has now.

        Parameters
        ----------
        client : HttpClient
            What to send requests with.

        Returns
        -------
        DatasetIndex
            Every file of the dataset.

        Raises
        ------
        SourceError
            If the host cannot be reached, refuses, or has no such dataset.
        OfflineError
            If the network may not be used.
        DatasetIndexError
            If what it answers is not an index.
        """
        ...

    def open(
        self,
        entry: FileEntry,
        part: ByteRange = WHOLE,
        *,
        client: HttpClient,
        etag: str | None = None,
    ) -> ByteStream:
        """Open a file, or a part of it.

        Parameters
        ----------
        entry : FileEntry
            The file, from this source's index.
        part : From, FromTo or Last, default: From(0)
            The bytes that are wanted.
        client : HttpClient
            What to send requests with.
        etag : str, optional
            Entity tag of the bytes already here. If the content has changed since, the stream
            starts at 0.

        Returns
        -------
        ByteStream
            An open stream, to be used as a context manager. Its `start` is 0 where the host cannot
            give a part.

        Raises
        ------
        SourceError
            If the host cannot be reached, refuses, or has no such file.
        OfflineError
            If the network may not be used.
        """
        ...

    def read_index(self, data: bytes, origin: str) -> DatasetIndex:
        """Read the host's kind of index file.

        Parameters
        ----------
        data : bytes
            The content of the file.
        origin : str
            The path or address it comes from, for messages.

        Returns
        -------
        DatasetIndex
            Its entries.

        Raises
        ------
        UnsafePathError
            If a path would lead outside the root.
        DatasetIndexError
            If it is damaged, or is something else.
        """
        ...

    def format_index(self, index: DatasetIndex) -> bytes:
        """Write the host's kind of index file.

        Parameters
        ----------
        index : DatasetIndex
            The entries.

        Returns
        -------
        bytes
            What `read_index` reads. Size and checksums are those of the file on disk, also where
            the host has a newer one: other programs read this file too.
        """
        ...


@dataclass(frozen=True, slots=True)
class Scheme:
    """A kind of address, `name:…`.

    `read` takes what follows the colon, and the version if one was given. It returns the same in
    its usual spelling with the source, or raises `ValueError`.
    """

    name: str
    form: str
    read: Callable[[str, str | None], tuple[str, Source]]
    versioned: bool = False
