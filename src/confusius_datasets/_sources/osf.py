"""OSF: the index through the paginated API, the files through its download addresses.

Without a token the API answers 3 listings a second and 75 a minute, so entries are asked for by
name, and all pages are read only where that fails. The keys of the index file, `OSF_TOKEN` and what
its users can do about a refusal are known here alone.
"""

from __future__ import annotations

import hashlib
import os
import re
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from confusius_datasets._index import INDEX_NAME, Checksum, DatasetIndex, FileEntry
from confusius_datasets._sources.http import (
    Credentials,
    HostHints,
    HttpClient,
    HttpStream,
    next_address,
)
from confusius_datasets._sources.http_errors import shorten_url
from confusius_datasets._sources.ranges import WHOLE, ByteRange
from confusius_datasets._sources.records import JsonFormat
from confusius_datasets.errors import (
    DatasetIndexError,
    RateLimitError,
    RemoteAccessError,
    RemoteConnectionError,
    RemoteNotFoundError,
    SourceError,
)

__all__ = ["OSF_FORMAT", "OSFSource"]

API_URL = "https://api.osf.io/v2"
"""OSF's API, unless `CONFUSIUS_OSF_API_URL` says otherwise."""

DOWNLOAD_URL = "https://osf.io/download"
"""Where OSF gives files by their ids, unless `CONFUSIUS_OSF_DOWNLOAD_URL` says otherwise."""

TOKEN_HOSTS = (
    "https://api.osf.io",
    "https://osf.io",
    # Where OSF keeps a project: a private file in Frankfurt is refused without the token there.
    "https://files.osf.io",
    "https://files.us.osf.io",
    "https://files.de-1.osf.io",
    "https://files.ca-1.osf.io",
    "https://files.au-1.osf.io",
)
"""OSF's own hosts; the store they redirect to is somebody else's."""

HINTS = HostHints(
    access="If it is yours, set OSF_TOKEN.",
    limit="OSF allows more with a token in OSF_TOKEN.",
)

OSF_FORMAT = JsonFormat(host="osf", locator_key="osf_path")
"""The form of the index on OSF, and in the folders of the ConfUSIus package."""

MOST_PAGES = 1000
"""Pages of a listing that are read; one that is longer goes round in circles."""

_LOCATOR = re.compile(r"/?([A-Za-z0-9]+)/?")


@dataclass(frozen=True, slots=True)
class OSFSource:
    """A dataset on OSF: a folder with an index, or one file."""

    project: str
    folder: str | None = None
    file: str | None = None

    host: ClassVar[str] = "osf"
    index_name: ClassVar[str] = INDEX_NAME

    def list_files(self, client: HttpClient) -> DatasetIndex:
        """Get the index, in three requests where the API knows filters."""
        top = f"{_api_url()}/nodes/{self.project}/files/osfstorage/"
        if self.file is not None:
            return DatasetIndex([_describe(self._find(client, top, self.file, "file"), top)])
        folder = self._find(client, top, str(self.folder), "folder")
        below = next_address(
            top, _dig(folder, top, "relationships", "files", "links", "related", "href")
        )
        record = self._find(client, below, INDEX_NAME, "file")
        url = next_address(top, _dig(record, below, "links", "download"))
        entry = _describe(record, below)
        data = client.get_bytes(
            url,
            check=lambda data: _check_md5(data, entry, url),
            size=entry.size,
            credentials=_credentials(),
            hints=HINTS,
        )
        return self.read_index(data, url)

    def open(
        self,
        entry: FileEntry,
        part: ByteRange = WHOLE,
        *,
        client: HttpClient,
        etag: str | None = None,
    ) -> HttpStream:
        """Open a file, or a part of it."""
        locator = entry.locators.get(self.host, "")
        match = _LOCATOR.fullmatch(locator)
        if match is None:
            raise DatasetIndexError(
                f"The entry {entry.relpath!r} has no usable 'osf_path' ({locator!r}), so it "
                "cannot be downloaded. Fetch with refresh=True to renew the index."
            )
        return client.get(
            f"{_download_url()}/{match[1]}/",  # without the last slash, OSF redirects once more
            part,
            etag=etag,
            size=entry.size,
            # OSF answers for a private or removed file with its login page, and status 200.
            web_page=entry.relpath.endswith((".html", ".htm")),
            credentials=_credentials(),
            hints=HINTS,
        )

    def read_index(self, data: bytes, origin: str) -> DatasetIndex:
        """Read a `dataset_index.json`."""
        return OSF_FORMAT.read(data, origin)

    def format_index(self, index: DatasetIndex) -> bytes:
        """Write a `dataset_index.json`."""
        return OSF_FORMAT.format(index)

    def _find(self, client: HttpClient, url: str, name: str, kind: str) -> dict[str, Any]:
        """Find an entry of a listing by its name: by a filter, or else by reading all pages.

        Listings are known to repeat some entries and to hide others across pages.
        """
        # `filter[name]` means "contains, in any case" (https://developer.osf.io/#tag/Filtering), so
        # names are compared here too.
        for params in ({"filter[name]": name}, {}):
            try:
                for entry in _list_pages(client, url, params):
                    attributes = entry.get("attributes", {})
                    if attributes.get("name") == name and attributes.get("kind") == kind:
                        return entry
            except RemoteNotFoundError as error:
                raise RemoteNotFoundError(
                    f"OSF has no public project {self.project!r}, or no folder in it, at "
                    f"{shorten_url(url)}. {HINTS.access}",
                    url=shorten_url(url),
                ) from error
            except (RemoteConnectionError, RateLimitError, RemoteAccessError):
                raise
            except SourceError:
                if not params:
                    raise
                # A mirror need not know filters.
        raise RemoteNotFoundError(
            f"OSF project {self.project} has no {kind} {name!r} at {shorten_url(url)}. It may "
            "have been moved or renamed.",
            url=shorten_url(url),
        )


def _list_pages(client: HttpClient, url: str, params: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Give the entries of all pages of a listing; a page is asked for when it is needed."""
    query = urllib.parse.urlencode(params)
    address = f"{url}{'&' if '?' in url else '?'}{query}" if query else url
    for _ in range(MOST_PAGES):
        page = client.get_json(address, credentials=_credentials(), hints=HINTS)
        entries = page.get("data") if isinstance(page, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise SourceError(
                f"{shorten_url(url)} is not a listing of OSF's API. Check CONFUSIUS_OSF_API_URL.",
                url=shorten_url(url),
            )
        yield from entries
        following = (page.get("links") or {}).get("next")
        if not isinstance(following, str):
            return
        address = next_address(address, following)


def _check_md5(data: bytes, entry: FileEntry, url: str) -> None:
    """Make sure that an index is the one the listing describes."""
    found = hashlib.md5(data, usedforsecurity=False).hexdigest()
    if entry.checksum is not None and entry.checksum.hexdigest != found:
        raise RemoteConnectionError(
            f"{shorten_url(url)}: received md5 {found}, the listing says "
            f"{entry.checksum.hexdigest}. Nothing was written. Call again later.",
            url=shorten_url(url),
        )


def _describe(record: dict[str, Any], url: str) -> FileEntry:
    """Make an entry of a file's record."""
    attributes = record.get("attributes", {})
    size = attributes.get("size")
    md5 = ((attributes.get("extra") or {}).get("hashes") or {}).get("md5")
    return FileEntry(
        _dig(record, url, "attributes", "name"),
        size if isinstance(size, int) else None,
        (Checksum("md5", md5.lower()),) if isinstance(md5, str) else (),
        locators={OSFSource.host: str(attributes.get("path", ""))},
    )


def _dig(record: dict[str, Any], url: str, *keys: str) -> str:
    """Read a text deep in a record."""
    value: Any = record
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    if not isinstance(value, str):
        raise SourceError(
            f"{shorten_url(url)}: an entry has no {'.'.join(keys)}, so this is not a listing of "
            "OSF's API. Check CONFUSIUS_OSF_API_URL.",
            url=shorten_url(url),
        )
    return value


def _api_url() -> str:
    """Return the address of the API."""
    return (os.environ.get("CONFUSIUS_OSF_API_URL") or API_URL).rstrip("/")


def _download_url() -> str:
    """Return the address below which files are."""
    return (os.environ.get("CONFUSIUS_OSF_DOWNLOAD_URL") or DOWNLOAD_URL).rstrip("/")


def _credentials() -> Credentials:
    """Return who asks: whoever `OSF_TOKEN` stands for, at OSF's hosts only."""
    token = os.environ.get("OSF_TOKEN", "").strip()
    return Credentials.for_addresses(token, *TOKEN_HOSTS, _api_url(), _download_url())
