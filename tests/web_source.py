"""A host that is as unlike OSF as can be: one hop, entity tags, and no checksums."""

from __future__ import annotations

import urllib.parse
from dataclasses import dataclass
from typing import ClassVar

from confusius_datasets._index import INDEX_NAME, DatasetIndex, FileEntry
from confusius_datasets._sources import WHOLE, ByteRange, HttpClient
from confusius_datasets._sources.http import HttpStream
from confusius_datasets._sources.records import JsonFormat

FORMAT = JsonFormat(host="web")


@dataclass(frozen=True, slots=True)
class WebSource:
    """A folder of a web server with a list of its files; it needs no locators."""

    folder_url: str

    host: ClassVar[str] = "web"
    index_name: ClassVar[str] = INDEX_NAME

    def list_files(self, client: HttpClient) -> DatasetIndex:
        """Get the list."""
        url = f"{self.folder_url}/{INDEX_NAME}"
        return self.read_index(client.get_bytes(url), url)

    def open(
        self,
        entry: FileEntry,
        part: ByteRange = WHOLE,
        *,
        client: HttpClient,
        etag: str | None = None,
    ) -> HttpStream:
        """Open a file, or a part of it."""
        url = f"{self.folder_url}/{urllib.parse.quote(entry.relpath)}"
        is_page = entry.relpath.endswith(".html")
        return client.get(url, part, etag=etag, size=entry.size, web_page=is_page)

    def read_index(self, data: bytes, origin: str) -> DatasetIndex:
        """Read an index."""
        return FORMAT.read(data, origin)

    def format_index(self, index: DatasetIndex) -> bytes:
        """Write an index."""
        return FORMAT.format(index)
