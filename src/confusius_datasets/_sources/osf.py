"""OSF: the index through the paginated API, the files through its download addresses.

Without a token the API answers 3 listings a second and 75 a minute, so entries are asked for by
name, and all pages are read only where that fails. A folder without an index is walked at that
pace. The keys of the index file, `OSF_TOKEN` and what its users can do about a refusal are known
here alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import time
import urllib.parse
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import IO, Any, ClassVar

from confusius_datasets._cache import read_blocks, read_kept, remove_kept, write_kept
from confusius_datasets._index import INDEX_NAME, Checksum, DatasetIndex, FileEntry, new_hash
from confusius_datasets._sources.archive import ArchiveSource
from confusius_datasets._sources.http import (
    Credentials,
    HostHints,
    HttpClient,
    HttpStream,
    next_address,
)
from confusius_datasets._sources.http_errors import shorten_url
from confusius_datasets._sources.protocol import Scheme, Source
from confusius_datasets._sources.ranges import WHOLE, ByteRange
from confusius_datasets._sources.records import (
    JsonFormat,
    check_listed_path,
    listed_size,
    make_index,
    value_at,
)
from confusius_datasets._sources.retry import Pace
from confusius_datasets._text import quote
from confusius_datasets.errors import (
    CacheError,
    DatasetIndexError,
    RateLimitError,
    RemoteAccessError,
    RemoteConnectionError,
    RemoteNotFoundError,
    SourceError,
)

__all__ = ["OSF_FORMAT", "OSF_SCHEME", "OSFSource"]

API_URL = "https://api.osf.io/v2"
"""OSF's API, unless `CONFUSIUS_OSF_API_URL` says otherwise."""

DOWNLOAD_URL = "https://osf.io/download"
"""Where OSF gives files by their ids, unless `CONFUSIUS_OSF_DOWNLOAD_URL` says otherwise."""

TOKEN_HOSTS = (
    "https://api.osf.io",
    "https://osf.io",
    "https://files.osf.io",
    # A host for each region: a private file in Frankfurt is refused without the token there.
    "https://files.*.osf.io",
)
"""OSF's own hosts; the store they redirect to is somebody else's."""

HINTS = HostHints(
    access="If it is yours, set OSF_TOKEN.",
    limit="OSF allows more with a token in OSF_TOKEN.",
)

OSF_FORMAT = JsonFormat(host="osf", locator_key="osf_path")
"""The form of the index on OSF, and in the folders of the ConfUSIus package."""

MOST_PAGES = 1000
"""Pages of one folder's listing, and"""

MOST_FOLDERS = 100_000
"""folders of a project: a listing that is longer goes round in circles."""

LISTING_LIMITS = ((3, 1.05), (75, 63.0))
"""Listings that OSF answers without a token, each in how many seconds; a little is to spare, since
what counts is when they arrive."""

LARGEST_PAGE_NBYTES = 1 << 24
"""Bytes of a page of 100 entries, with much room."""

KEEP_EVERY_S = 1.0
"""Seconds after which all that is known of a walk is written down anew."""

KEPT_WALK_S = 24 * 3600.0
"""Age from which a walk that was broken off is begun anew."""

ANNOUNCED_WAIT_S = 2.0
"""A walk that has to wait for so long says so, once."""

_LOCATOR = re.compile(r"/?([A-Za-z0-9]+)/?")
_FILE_ID = re.compile(r"[0-9a-f]{24}")
"""The id of a file; the shorter ones are other names, which the servers of files do not know."""

_FILES_ADDRESS = re.compile(r"(https?://[^/?#]+/v1/resources/\w+/providers/osfstorage/)(\w+)")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_log = logging.getLogger("confusius_datasets")


class _Shortcut:
    """The way to the files of one project, past OSF's own address of each.

    OSF redirects `osf.io/download/<id>` to a server of files, with the same id at its end. Where
    that is, the first file tells; so each of the others takes two requests instead of three, and
    none of the few that osf.io allows.
    """

    def __init__(self) -> None:
        self._base = ""
        self._is_wrong = False

    def get(self, identifier: str, get: Callable[[str], HttpStream]) -> HttpStream:
        """Open a file by its id."""
        is_known = self._base and _FILE_ID.fullmatch(identifier)
        if is_known and not self._is_wrong:
            try:
                return get(self._base + identifier)
            except (RemoteAccessError, RemoteNotFoundError) as error:
                if error.url != self._base + identifier:
                    raise
                # Gone, private, or in another component of the project: OSF itself knows.
                self._is_wrong = True
        # Without the last slash, OSF redirects once more.
        stream = get(f"{_download_url()}/{identifier}/")
        way = stream.way
        if len(way) > 1 and (match := _FILES_ADDRESS.fullmatch(way[1])) and match[2] == identifier:
            self._base = match[1]
        return stream


@dataclass(frozen=True, slots=True)
class OSFSource:
    """A dataset on OSF: a folder, with or without an index, or one file.

    Parameters
    ----------
    project : str
        The project's id.
    folder : str, optional
        Path of the dataset's root in the project's storage. If not provided, all of it.
    file : str, optional
        Name of the one file in `folder` that is the dataset.
    """

    project: str
    folder: str | None = None
    file: str | None = None

    host: ClassVar[str] = "osf"
    index_name: ClassVar[str] = INDEX_NAME
    variables: ClassVar[tuple[str, ...]] = ("CONFUSIUS_OSF_API_URL", "CONFUSIUS_OSF_DOWNLOAD_URL")
    index_format: ClassVar[JsonFormat] = OSF_FORMAT

    def list_files(self, client: HttpClient) -> DatasetIndex:
        """Get the index, in three requests where the API knows filters, or else list the files."""
        api = _Api(client, self.project)
        url = f"{_api_url()}/nodes/{self.project}/files/osfstorage/"
        for name in filter(None, (self.folder or "").split("/")):
            url = _folder_url(self._find(api, url, name, "folder"), url)
        if self.file is not None:
            return make_index([_describe(self._find(api, url, self.file, "file"), url)], url)
        found, listing = self._search(api, url, INDEX_NAME, "file")
        if found is None:
            return _Walk(api, url).list_files(listing)
        return self._get_index(client, found, url)

    def _get_index(self, client: HttpClient, record: dict[str, Any], below: str) -> DatasetIndex:
        """Get the index file that a listing names."""
        url = next_address(below, _lead_back(_dig(record, below, "links", "download")))
        entry = _describe(record, below)
        with client.get_file(
            url,
            check=lambda file: _check_hash(file, entry, url),
            size=entry.size,
            credentials=_credentials(),
            hints=HINTS,
        ) as file:
            return OSF_FORMAT.read_file(file, url)

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
                f"The entry {entry.relpath!r} has no usable 'osf_path' ({quote(locator)}), so "
                "it "
                "cannot be downloaded. Fetch with refresh=True to renew the index."
            )

        def get(url: str) -> HttpStream:
            return client.get(
                url,
                part,
                etag=etag,
                size=entry.size,
                # OSF answers for a private or removed file with its login page, and status 200.
                web_page=entry.relpath.endswith((".html", ".htm")),
                credentials=_credentials(),
                hints=HINTS,
            )

        shortcut = client.recall((self, _download_url()), _Shortcut)
        stream = shortcut.get(match[1], get)
        if entry.checksum is None:
            # The store names an object by its content's hash.
            name = stream.url.rpartition("/")[2]
            stream.checksum = Checksum("sha256", name) if _SHA256.fullmatch(name) else None
        return stream

    def read_index(self, data: bytes, origin: str) -> DatasetIndex:
        """Read a `dataset_index.json`."""
        return OSF_FORMAT.read(data, origin)

    def format_index(self, index: DatasetIndex) -> bytes:
        """Write a `dataset_index.json`."""
        return OSF_FORMAT.format(index)

    def _find(self, api: _Api, url: str, name: str, kind: str) -> dict[str, Any]:
        """Find an entry of a listing by its name."""
        found, _ = self._search(api, url, name, kind)
        if found is None:
            raise RemoteNotFoundError(
                f"OSF project {self.project} has no {kind} {name!r} at {shorten_url(url)}. It may "
                "have been moved or renamed.",
                url=shorten_url(url),
            )
        return found

    def _search(
        self, api: _Api, url: str, name: str, kind: str
    ) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
        """Look for an entry by a filter, or else by reading all pages, which are returned too.

        Listings are known to repeat some entries and to hide others across pages.
        """
        # Without `[eq]` the filter means "contains" (https://developer.osf.io/#tag/Filtering).
        seen: list[dict[str, Any]] = []
        for params in ({"filter[name][eq]": name}, {}):
            seen.clear()
            try:
                for entry in api.list_pages(url, params):
                    seen.append(entry)
                    found = (
                        value_at(entry, "attributes", "name"),
                        value_at(entry, "attributes", "kind"),
                    )
                    # A mirror may ignore the filter, so names are compared here too.
                    if found == (name, kind):
                        return entry, seen
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
        return None, seen


_ADDRESS = re.compile(r"([a-z0-9]+)((?:/[^/]+)*)/?", re.IGNORECASE)


def _read_address(rest: str, version: str | None) -> tuple[str, Source]:
    """Read the address of a project, or of a folder, an image or an archive in it."""
    match = _ADDRESS.fullmatch(rest)
    if match is None:
        raise ValueError
    project, path = match[1].lower(), match[2].strip("/")
    folder, _, name = path.rpartition("/")
    is_file = name.endswith((".nii.gz", ".nii", ".scan", ".zip"))
    where = (folder or None, name) if is_file else (path or None, None)
    source = OSFSource(project, *where)
    in_archive = ArchiveSource(source, FileEntry(name)) if name.endswith(".zip") else source
    return f"{project}/{path}".rstrip("/"), in_archive


OSF_SCHEME = Scheme("osf", "osf:PROJECT or osf:PROJECT/FOLDER", _read_address)


class _Api:
    """The listings of one project, asked for no faster than OSF answers."""

    def __init__(self, client: HttpClient, project: str) -> None:
        self.client = client
        self._project = project
        self._pace = Pace(() if _credentials().token else LISTING_LIMITS)
        self._announced = False

    def list_pages(
        self, url: str, params: Mapping[str, str] = MappingProxyType({})
    ) -> Iterator[dict[str, Any]]:
        """Give the entries of all pages of a listing; a page is asked for when it is needed."""
        query = urllib.parse.urlencode({**params, "page[size]": "100"})  # 10 unless asked for
        address = f"{url}{'&' if '?' in url else '?'}{query}"
        seen: set[str] = set()
        while address not in seen:
            seen.add(address)
            if len(seen) > MOST_PAGES:
                shown = shorten_url(url)
                raise SourceError(f"{shown} lists pages without end. Nothing was read.", url=shown)
            self._wait()
            page = self.client.get_json(
                address, limit=LARGEST_PAGE_NBYTES, credentials=_credentials(), hints=HINTS
            )
            yield from _read_page(page, url)
            following = value_at(page, "links", "next")
            if not isinstance(following, str):
                return
            address = next_address(address, _lead_back(following))

    def _wait(self) -> None:
        """Wait for one's turn, and tell whoever waits long why."""
        seconds = self._pace.left()
        if seconds >= ANNOUNCED_WAIT_S and not self._announced:
            self._announced = True
            _log.warning(
                "OSF project %s has no index: its folders are listed one by one, 75 a minute. "
                "With a token in OSF_TOKEN it is faster.",
                self._project,
            )
        time.sleep(max(seconds, 0.0))
        self._pace.note()


def _read_page(page: Any, url: str) -> list[dict[str, Any]]:
    """Return the entries of a page."""
    entries = page.get("data") if isinstance(page, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise SourceError(
            f"{shorten_url(url)} is not a listing of OSF's API. Check CONFUSIUS_OSF_API_URL.",
            url=shorten_url(url),
        )
    return entries


class _Walk:
    """A folder without an index, listed folder by folder.

    What is known is kept, a line for each folder, so that a walk that was broken off goes on.
    """

    def __init__(self, api: _Api, url: str) -> None:
        self._api = api
        self._url = url
        name = hashlib.sha1(url.encode(), usedforsecurity=False).hexdigest()[:16]
        self._root = api.client.folder
        self._name = f"walk-{name}.jsonl"
        self._known: dict[str, list[dict[str, Any]]] = {}
        self._lines: list[bytes] = []
        self._kept_at = 0.0
        self._read_kept()

    def list_files(self, top: list[dict[str, Any]]) -> DatasetIndex:
        """List the files of all folders; the listing of the first one is known."""
        self._known.setdefault(self._url, _digest(top, self._url))
        entries: list[FileEntry] = []
        waiting, seen = deque([(self._url, "")]), {self._url}
        while waiting:
            url, folder = waiting.popleft()
            for record in self._list_and_keep(url):
                relpath = f"{folder}{record['name']}"
                check_listed_path(relpath, shorten_url(url))  # also of folders without an end
                if record["kind"] == "file":
                    entries.append(_make_entry(relpath, record))
                elif record["kind"] == "folder" and record["url"] not in seen:
                    seen.add(record["url"])
                    waiting.append((record["url"], f"{relpath}/"))
            if len(seen) > MOST_FOLDERS:
                raise SourceError(
                    f"{shorten_url(self._url)} lists folders without end.", url=shorten_url(url)
                )
        if self._root is not None:
            remove_kept(self._root, self._name.removesuffix(".jsonl"))
        return make_index(entries, shorten_url(self._url))

    def _list_and_keep(self, url: str) -> list[dict[str, Any]]:
        """List one folder, and keep what is known now and then, and before an error."""
        if url not in self._known:
            try:
                self._known[url] = _digest(self._api.list_pages(url), url)
            except BaseException:
                self._keep()
                raise
            self._lines.append(json.dumps([url, self._known[url]]).encode() + b"\n")
            if time.monotonic() - self._kept_at > KEEP_EVERY_S:
                self._keep()
        return self._known[url]

    def _read_kept(self) -> None:
        """Read what a walk that was broken off has kept, unless it is old."""
        if self._root is None:
            return
        for content in read_kept(self._root, self._name, within_s=KEPT_WALK_S):
            for line in content.splitlines(keepends=True):
                # The last line may be cut short, and others are what the disk made of them.
                with contextlib.suppress(ValueError, TypeError, RecursionError):
                    url, records = json.loads(line)
                    if isinstance(records, list) and all(map(_is_record, records)):
                        self._known[url] = records
                        self._lines.append(line)

    def _keep(self) -> None:
        """Write down what is known of folders; a folder of the disk that refuses is no matter."""
        if self._root is not None:
            with contextlib.suppress(CacheError):
                write_kept(self._root, self._name, b"".join(self._lines))
            self._kept_at = time.monotonic()


def _digest(entries: Iterable[dict[str, Any]], url: str) -> list[dict[str, Any]]:
    """Take what a walk needs of a listing, each name once."""
    records: dict[tuple[str, str], dict[str, Any]] = {}
    for entry in entries:
        name, kind = _dig(entry, url, "attributes", "name"), _dig(entry, url, "attributes", "kind")
        record = {"name": name, "kind": kind}
        if kind == "folder":
            record["url"] = _folder_url(entry, url)
        else:
            record |= _facts(entry)
        records[kind, name] = record
    return list(records.values())


def _is_record(record: object) -> bool:
    """Say whether a record that was kept is one that `_digest` makes."""
    texts = [value_at(record, key) for key in ("name", "kind")]
    if texts[1] == "folder":
        texts.append(value_at(record, "url"))
    elif not isinstance(record, dict) or not {"size", "path"} <= record.keys():
        return False
    return all(isinstance(text, str) for text in texts)


def _check_hash(file: IO[bytes], entry: FileEntry, url: str) -> None:
    """Make sure that an index is the one the listing describes."""
    if (expected := entry.checksum) is None:
        return
    hash_ = new_hash(expected.algorithm)
    for block in read_blocks(file):
        hash_.update(block)
    found = Checksum(expected.algorithm, hash_.hexdigest())
    if expected != found:
        raise RemoteConnectionError(
            f"{shorten_url(url)}: received {found}, the listing says {expected.hexdigest}. Nothing "
            "was written. Call again later.",
            url=shorten_url(url),
        )


def _describe(record: dict[str, Any], url: str) -> FileEntry:
    """Make an entry of a file's record."""
    return _make_entry(_dig(record, url, "attributes", "name"), _facts(record))


def _facts(record: dict[str, Any]) -> dict[str, Any]:
    """Take what an entry needs of a file's record."""
    facts = {key: value_at(record, "attributes", key) for key in ("size", "path")}
    for name in ("sha256", "md5"):
        facts[name] = value_at(record, "attributes", "extra", "hashes", name)
    return facts


def _make_entry(relpath: str, facts: dict[str, Any]) -> FileEntry:
    """Make an entry of what is known of a file."""
    return FileEntry(
        relpath,
        listed_size(facts["size"]),
        tuple(
            Checksum(name, facts[name].lower())
            for name in ("sha256", "md5")
            if isinstance(facts.get(name), str)
        ),
        locators={OSFSource.host: str(facts["path"] or "")},
    )


def _folder_url(record: dict[str, Any], url: str) -> str:
    """Return the address of a folder's listing."""
    link = _dig(record, url, "relationships", "files", "links", "related", "href")
    return next_address(url, _lead_back(link))


def _lead_back(link: str) -> str:
    """Let a link to OSF in the answer of a mirror lead to the mirror."""
    for official, used in ((API_URL, _api_url()), (DOWNLOAD_URL, _download_url())):
        if link.startswith(f"{official}/"):
            return used + link.removeprefix(official)
    return link


def _dig(record: dict[str, Any], url: str, *keys: str) -> str:
    """Read a text deep in a record."""
    value = value_at(record, *keys)
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
    return Credentials.from_environment("OSF_TOKEN", *TOKEN_HOSTS, _api_url(), _download_url())
