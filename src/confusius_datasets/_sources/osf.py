"""OSF: the index through the paginated API, the files through its download addresses.

The API answers 100 requests an hour without a token, so that entries are asked for by name, and no
tree is walked but where that fails.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
import re
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from confusius_datasets._index import INDEX_NAME, Checksum, DatasetIndex, FileEntry
from confusius_datasets._sources.http import Credentials, next_address, open_stream
from confusius_datasets._sources.http_stream import HttpStream, shorten
from confusius_datasets._sources.patience import backoff_s, current_patience, most_retries
from confusius_datasets.errors import (
    DatasetIndexError,
    RateLimitError,
    RemoteAccessError,
    RemoteConnectionError,
    RemoteNotFoundError,
    SourceError,
)

__all__ = ["OSFSource"]

API_URL = "https://api.osf.io/v2"
"""OSF's API, unless `CONFUSIUS_OSF_API_URL` says otherwise."""

DOWNLOAD_URL = "https://osf.io/download"
"""Where OSF gives files by their ids, unless `CONFUSIUS_OSF_DOWNLOAD_URL` says otherwise."""

TOKEN_HOSTS = ("https://api.osf.io", "https://osf.io", "https://files.osf.io")
"""OSF's own hosts; the store they redirect to is somebody else's."""

MOST_PAGES = 1000
"""Pages of a listing that are read; one that is longer goes round in circles."""

ANNOUNCED_WAIT_S = 2.0
"""Waits from this length on are announced in the log."""

_LOCATOR = re.compile(r"/?([A-Za-z0-9]+)/?")
_log = logging.getLogger("confusius_datasets")
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class OSFSource:
    """A dataset on OSF: a folder with an index, or one file."""

    project: str
    folder: str | None = None
    file: str | None = None

    def fetch_index(self) -> DatasetIndex:
        """Get the index, in three requests where the API knows filters."""
        top = f"{_api_url()}/nodes/{self.project}/files/osfstorage/"
        if self.file is not None:
            return DatasetIndex([_describe(self._find(top, self.file, "file"), top)])
        folder = self._find(top, str(self.folder), "folder")
        below = next_address(
            top, _dig(folder, top, "relationships", "files", "links", "related", "href")
        )
        record = self._find(below, INDEX_NAME, "file")
        url = next_address(top, _dig(record, below, "links", "download"))
        data = _patiently(lambda: _read_index(url, _describe(record, below)))
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
            raise DatasetIndexError(
                f"The entry {entry.relpath!r} has no usable 'osf_path' ({entry.locator!r}), so it "
                "cannot be downloaded. Fetch with refresh=True to renew the index."
            )
        return open_stream(
            f"{_download_url()}/{match[1]}/",
            start=start,
            stop=stop,
            validator=validator,
            credentials=_credentials(),
            size=entry.size,
            page=entry.relpath.endswith((".html", ".htm")),
        )

    def _find(self, url: str, name: str, kind: str) -> dict[str, Any]:
        """Find an entry of a listing by its name: by a filter, or else by walking all pages.

        Listings are known to repeat some entries and to hide others across pages.
        """
        for params in ({"filter[name]": name}, {}):
            try:
                for entry in _walk(url, params):
                    attributes = entry.get("attributes", {})
                    if attributes.get("name") == name and attributes.get("kind") == kind:
                        return entry
            except RemoteNotFoundError as error:
                raise RemoteNotFoundError(
                    f"OSF has no public project {self.project!r}, or no folder in it, at "
                    f"{shorten(url)}. If it is yours, set OSF_TOKEN.",
                    url=shorten(url),
                ) from error
            except (RemoteConnectionError, RateLimitError, RemoteAccessError):
                raise
            except SourceError:
                if not params:
                    raise
                # A mirror need not know filters.
        raise RemoteNotFoundError(
            f"OSF project {self.project} has no {kind} {name!r} at {shorten(url)}. It may "
            "have been moved or renamed.",
            url=shorten(url),
        )


def _walk(url: str, params: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Give the entries of all pages of a listing, asking for a page when it is wanted."""
    query = urllib.parse.urlencode(params)
    address = f"{url}{'&' if '?' in url else '?'}{query}" if query else url
    for _ in range(MOST_PAGES):
        page = _patiently(functools.partial(_read_json, address))
        entries = page.get("data") if isinstance(page, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise SourceError(
                f"{shorten(url)} is no listing of OSF's API. Check CONFUSIUS_OSF_API_URL.",
                url=shorten(url),
            )
        yield from entries
        onward = (page.get("links") or {}).get("next")
        if not isinstance(onward, str):
            return
        address = next_address(address, onward)


def _read_json(url: str) -> Any:
    """Get a JSON document."""
    with open_stream(url, credentials=_credentials()) as stream:
        data = b"".join(stream)
    try:
        return json.loads(data)
    except ValueError as error:
        raise SourceError(
            f"{shorten(url)} answered with something that is no JSON. Check the connection: "
            "a login page may stand in between.",
            url=shorten(url),
        ) from error


def _read_index(url: str, entry: FileEntry) -> bytes:
    """Get the index file, and check that it is the one the listing describes."""
    with open_stream(url, credentials=_credentials(), size=entry.size) as stream:
        data = b"".join(stream)
    found = hashlib.md5(data, usedforsecurity=False).hexdigest()
    if entry.checksum is not None and entry.checksum.hexdigest != found:
        raise RemoteConnectionError(
            f"{shorten(url)}: received md5 {found}, the listing says {entry.checksum.hexdigest}. "
            "Nothing was written. Call again later.",
            url=shorten(url),
        )
    return data


def _patiently(ask: Callable[[], _Result]) -> _Result:
    """Ask for a small document, again where the host wants it later or fails."""
    patience = current_patience()
    failed = 0
    while True:
        try:
            return ask()
        except (RateLimitError, RemoteConnectionError) as error:
            failed += 1
            limited = isinstance(error, RateLimitError)
            seconds = error.retry_after if isinstance(error, RateLimitError) else None
            seconds = backoff_s(failed, patience) if seconds is None else seconds
            most = most_retries(error, patience, reached=False)
            if failed > most or (limited and seconds > patience.longest_wait_s):
                raise
            level = logging.WARNING if seconds >= ANNOUNCED_WAIT_S else logging.INFO
            _log.log(level, "Waiting %.0f s: %s", seconds, error)
            time.sleep(seconds)


def _describe(record: dict[str, Any], url: str) -> FileEntry:
    """Make an entry of a file's record."""
    attributes = record.get("attributes", {})
    size = attributes.get("size")
    md5 = ((attributes.get("extra") or {}).get("hashes") or {}).get("md5")
    return FileEntry(
        _dig(record, url, "attributes", "name"),
        size if isinstance(size, int) else None,
        Checksum("md5", md5.lower()) if isinstance(md5, str) else None,
        str(attributes.get("path", "")),
    )


def _dig(record: dict[str, Any], url: str, *keys: str) -> str:
    """Read a text deep in a record."""
    value: Any = record
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    if not isinstance(value, str):
        raise SourceError(
            f"{shorten(url)}: an entry has no {'.'.join(keys)}, so this is no listing of OSF's "
            "API. Check CONFUSIUS_OSF_API_URL.",
            url=shorten(url),
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
