"""OSF: the index through the paginated API, the files through its download addresses."""

from __future__ import annotations

import os
import re
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from confusius_datasets._index import INDEX_NAME, Checksum, DatasetIndex, FileEntry
from confusius_datasets._sources.http import HttpStream, get_json, open_stream
from confusius_datasets.errors import DatasetIndexError, RemoteNotFoundError, SourceError

__all__ = ["OSFSource"]

API_URL = "https://api.osf.io/v2"
DOWNLOAD_URL = "https://osf.io/download"
OSF_HOSTS = frozenset({"api.osf.io", "osf.io", "files.osf.io"})
_LOCATOR = re.compile(r"/?([A-Za-z0-9]+)/?")


@dataclass(frozen=True, slots=True)
class OSFSource:
    """A dataset on OSF: a folder with an index, or one file."""

    project: str
    folder: str | None = None
    file: str | None = None

    def fetch_index(self) -> DatasetIndex:
        """Get the index."""
        top = f"{_api_url()}/nodes/{self.project}/files/osfstorage/"
        if self.file is not None:
            return DatasetIndex([_describe(self._find(top, self.file, "file"))])
        folder = self._find(top, str(self.folder), "folder")
        below = str(folder["relationships"]["files"]["links"]["related"]["href"])
        url = str(self._find(below, INDEX_NAME, "file")["links"]["download"])
        with open_stream(url, token=_token(), token_hosts=_token_hosts()) as stream:
            data = b"".join(stream)
        return DatasetIndex.from_json(data, origin=url)

    def open(
        self,
        entry: FileEntry,
        *,
        start: int = 0,
        stop: int | None = None,
        validator: str | None = None,
    ) -> HttpStream:
        """Open a file at an offset."""
        match = _LOCATOR.fullmatch(entry.locator)
        if match is None:
            raise DatasetIndexError(f"The entry {entry.relpath!r} has no usable 'osf_path'.")
        return open_stream(
            f"{_download_url()}/{match[1]}/",
            start=start,
            stop=stop,
            validator=validator,
            token=_token(),
            token_hosts=_token_hosts(),
        )

    def _find(self, url: str, name: str, kind: str) -> dict[str, Any]:
        """Find an entry of a listing by its name."""
        for params in ({"filter[name]": name}, {}):
            for entry in _walk(url, params):
                attributes = entry["attributes"]
                if attributes["name"] == name and attributes["kind"] == kind:
                    return entry
        raise RemoteNotFoundError(
            f"OSF project {self.project} has no {kind} {name!r} at {url}.", url=url
        )


def _walk(url: str, params: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Give the entries of all pages of a listing."""
    following: str | None = url
    while following:
        page = get_json(following, params, token=_token(), token_hosts=_token_hosts())
        try:
            yield from page["data"]
            following = page["links"].get("next")
        except (TypeError, KeyError) as error:
            raise SourceError(f"{url} is no listing of OSF's API.", url=url) from error
        params = {}


def _describe(record: dict[str, Any]) -> FileEntry:
    """Make an entry of a file's record."""
    attributes = record["attributes"]
    md5 = attributes.get("extra", {}).get("hashes", {}).get("md5")
    checksum = Checksum("md5", md5) if md5 else None
    return FileEntry(attributes["name"], attributes.get("size"), checksum, attributes["path"])


def _api_url() -> str:
    return os.environ.get("CONFUSIUS_OSF_API_URL") or API_URL


def _download_url() -> str:
    return os.environ.get("CONFUSIUS_OSF_DOWNLOAD_URL") or DOWNLOAD_URL


def _token() -> str | None:
    return os.environ.get("OSF_TOKEN") or None


def _token_hosts() -> frozenset[str]:
    given = {urllib.parse.urlsplit(url).netloc for url in (_api_url(), _download_url())}
    return OSF_HOSTS | given
