"""A web folder that lists its files itself, in a `manifest.json` or a `dataset_index.json`."""

from __future__ import annotations

import functools
import urllib.parse
from dataclasses import dataclass
from typing import ClassVar

from confusius_datasets._index import INDEX_NAME, DatasetIndex, FileEntry
from confusius_datasets._sources.archive import ArchiveSource
from confusius_datasets._sources.http import HttpClient, HttpStream
from confusius_datasets._sources.http_errors import shorten_url
from confusius_datasets._sources.osf import OSF_FORMAT
from confusius_datasets._sources.protocol import Scheme, Source
from confusius_datasets._sources.ranges import WHOLE, ByteRange
from confusius_datasets._sources.records import JsonFormat

__all__ = ["WEB_SCHEMES", "ManifestSource", "quote_relpath"]


@dataclass(frozen=True, slots=True)
class ManifestSource:
    """A dataset in a folder of a web server, found by the address of its list.

    Parameters
    ----------
    url : str
        Address of the list. The files lie beside it, and a query of it is theirs too.
    """

    url: str

    host: ClassVar[str] = "web"
    index_name: ClassVar[str] = INDEX_NAME
    index_format: ClassVar[JsonFormat] = OSF_FORMAT
    finds_by_path: ClassVar[bool] = True

    def list_files(self, client: HttpClient) -> DatasetIndex:
        """Get the list."""
        with client.get_file(self.url) as file:
            return OSF_FORMAT.read_file(file, shorten_url(self.url))

    def open(
        self,
        entry: FileEntry,
        part: ByteRange = WHOLE,
        *,
        client: HttpClient,
        etag: str | None = None,
    ) -> HttpStream:
        """Open a file, or a part of it."""
        return client.get(
            self._url_of(entry.relpath),
            part,
            etag=etag,
            size=entry.size,
            web_page=entry.relpath.endswith((".html", ".htm")),
        )

    def read_index(self, data: bytes, origin: str) -> DatasetIndex:
        """Read a list; one that was copied from OSF keeps OSF's locators."""
        return OSF_FORMAT.read(data, origin)

    def format_index(self, index: DatasetIndex) -> bytes:
        """Write an index in the same form."""
        return OSF_FORMAT.format(index)

    def _url_of(self, relpath: str) -> str:
        """Return the address of a file beside the list."""
        parts = urllib.parse.urlsplit(self.url)
        folder = parts.path.rpartition("/")[0]
        return parts._replace(path=f"{folder}/{quote_relpath(relpath)}", fragment="").geturl()


def quote_relpath(relpath: str) -> str:
    """Write a path as part of an address; S3 takes a bare `+` for a space."""
    return urllib.parse.quote(relpath, safe="/")


def _read_address(name: str, rest: str, version: str | None) -> tuple[str, Source]:
    """Read the address of a list, or of an archive."""
    parts = urllib.parse.urlsplit(f"{name}:{rest}")
    # A port that is none is an error of `urlsplit`, once it is asked for.
    if parts.username is not None or not parts.hostname or parts.port == 0:
        raise ValueError("a server's name, without a password, is needed")
    source = ManifestSource(f"{name}:{rest}")
    file = urllib.parse.unquote(parts.path.rpartition("/")[2])
    if file.lower().endswith(".zip"):
        return rest, ArchiveSource(source, FileEntry(file))
    if file not in LIST_NAMES:
        raise ValueError("it must end with the name of the file that lists the others")
    return rest, source


LIST_NAMES = ("manifest.json", INDEX_NAME)
"""Files by which a web folder says what is in it."""

WEB_SCHEMES = tuple(
    Scheme(
        name,
        f"https://HOST/FOLDER/FILE, FILE being {', '.join(LIST_NAMES)} or an archive (.zip)",
        functools.partial(_read_address, name),
    )
    for name in ("https", "http")
)
