"""OpenNeuro: a snapshot by GraphQL, and its files by addresses that name their versions.

The bucket's newest state is no snapshot, so it is never read by path. Errors come with status 200,
sizes are at times wrong, and a file that was removed has no address.
"""

from __future__ import annotations

import json
import os
import re
import urllib.parse
from dataclasses import dataclass
from typing import Any, ClassVar

from confusius_datasets._index import INDEX_NAME, Checksum, DatasetIndex, FileEntry, new_hash
from confusius_datasets._sources.http import (
    NOBODY,
    Credentials,
    HostHints,
    HttpClient,
    HttpStream,
    next_address,
)
from confusius_datasets._sources.memory import MemoryStream
from confusius_datasets._sources.protocol import ByteStream, Scheme, Source
from confusius_datasets._sources.ranges import WHOLE, ByteRange, slice_of
from confusius_datasets._sources.records import JsonFormat, listed_size, make_index, value_at
from confusius_datasets._text import list_some
from confusius_datasets.errors import (
    ArgumentError,
    RemoteAccessError,
    RemoteConnectionError,
    RemoteNotFoundError,
    SourceError,
)

__all__ = ["OPENNEURO_SCHEME", "OpenNeuroSource"]

SITE_URL = "https://openneuro.org"
"""OpenNeuro, unless `CONFUSIUS_OPENNEURO_URL` names another one."""

HINTS = HostHints(access="If it is yours or was shared with you, set OPENNEURO_TOKEN.")

OPENNEURO_FORMAT = JsonFormat(host="openneuro", locator_key="url")

FILES = "id files(recursive: true) { filename urls size id }"

ERROR_PAGE_NBYTES = 200
"""A body shorter than this may be an error page (`{"error": …}` with status 200)."""

LARGEST_TEXT_NBYTES = 1 << 26
"""Bytes of a file that git itself keeps."""

_DATASET = re.compile(r"[A-Za-z]{2}\d{6}")
_TAG = re.compile(r"[A-Za-z0-9._+-]+")
_KEY = re.compile(r"(MD5|SHA1|SHA256|SHA512)E?-s(\d+)--([0-9a-f]+)(\..*)?")
_BLOB = re.compile(r"[0-9a-f]{40}")
_TRANSIENT = re.compile(
    r"(504|502|connect ECONNREFUSED).*|.*due to timeout|fetch failed", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class OpenNeuroSource:
    """A snapshot of a dataset on OpenNeuro.

    Parameters
    ----------
    dataset : str
        The dataset's id, for example `ds000246`.
    tag : str, optional
        The snapshot. If not provided, the newest one.
    """

    dataset: str
    tag: str | None = None

    host: ClassVar[str] = "openneuro"
    index_name: ClassVar[str] = INDEX_NAME
    index_format: ClassVar[JsonFormat] = OPENNEURO_FORMAT
    variables: ClassVar[tuple[str, ...]] = ("CONFUSIUS_OPENNEURO_URL",)

    def __post_init__(self) -> None:
        if not _DATASET.fullmatch(self.dataset) or not _TAG.fullmatch(self.tag or "1"):
            raise ArgumentError(
                f"{self.dataset!r} with tag {self.tag!r} is not a snapshot of OpenNeuro: expected "
                "an id as 'ds000246' and a tag as '1.0.1'."
            )

    def list_files(self, client: HttpClient) -> DatasetIndex:
        """List the files of the snapshot; a tag is looked up first."""
        records = client.recall(self._key, lambda: self._get_records(client), anew=True)
        return make_index(map(_describe, records.values()), f"{self.dataset} on OpenNeuro")

    def open(
        self,
        entry: FileEntry,
        part: ByteRange = WHOLE,
        *,
        client: HttpClient,
        etag: str | None = None,
    ) -> ByteStream:
        """Open a file, or a part of it."""
        url = self._find_url(entry, client)
        site = _site_url()
        credentials = _credentials() if url.startswith(f"{site}/") else NOBODY
        # What git keeps is small, and checked as a whole: its hash needs a size nobody knows.
        is_text = any(checksum.algorithm == "git" for checksum in entry.checksums)
        stream = client.get(
            url,
            WHOLE if is_text else part,
            etag=None if is_text else etag,
            size=entry.size,
            web_page=entry.relpath.endswith((".html", ".htm")),
            credentials=credentials,
            hints=HINTS,
        )
        if is_text:
            return _check_text(entry, stream, part, etag)
        if part == WHOLE and stream.total is not None and stream.total < ERROR_PAGE_NBYTES:
            return _check_small(entry, stream)
        return stream

    def read_index(self, data: bytes, origin: str) -> DatasetIndex:
        """Read an index."""
        return OPENNEURO_FORMAT.read(data, origin)

    def format_index(self, index: DatasetIndex) -> bytes:
        """Write an index."""
        return OPENNEURO_FORMAT.format(index)

    @property
    def _key(self) -> tuple[str, OpenNeuroSource]:
        """What a client remembers the snapshot by."""
        return ("openneuro", self)

    def _find_url(self, entry: FileEntry, client: HttpClient) -> str:
        """Return the address of a file; one that is signed is not kept, but asked for anew."""
        site = _site_url()
        if locator := entry.locators.get(self.host):
            return next_address(site, locator)
        records = client.recall(self._key, lambda: self._get_records(client))
        url = _first_url(records.get(entry.relpath, {}))
        if url is None:
            raise RemoteNotFoundError(
                f"{entry.relpath} was removed from {self.dataset} on OpenNeuro: it has no address "
                "any more. Use filters that leave it out, or another snapshot.",
                url=f"{site}/datasets/{self.dataset}",
            )
        return next_address(site, url)

    def _get_records(self, client: HttpClient) -> dict[str, dict[str, Any]]:
        """Get what the API says of each file."""
        if self.tag is None:
            query = f"query($id: ID!) {{ dataset(id: $id) {{ latestSnapshot {{ {FILES} }} }} }}"
            answer = self._ask(client, query, {"id": self.dataset})
            snapshot = value_at(answer, "dataset", "latestSnapshot")
        else:
            self._check_tag(client, self.tag)
            query = (
                "query($id: ID!, $tag: String!) "
                f"{{ snapshot(datasetId: $id, tag: $tag) {{ {FILES} }} }}"
            )
            answer = self._ask(client, query, {"id": self.dataset, "tag": self.tag})
            snapshot = answer.get("snapshot")
        files = snapshot.get("files") if isinstance(snapshot, dict) else None
        if not isinstance(files, list) or not all(
            isinstance(value_at(file, "filename"), str) for file in files
        ):
            raise self._error("has no snapshot, or is not one of OpenNeuro's answers")
        records = {file["filename"]: file for file in files}
        if len(records) != len(files):
            raise self._error("lists a file twice")
        return records

    def _check_tag(self, client: HttpClient, tag: str) -> None:
        """Make sure that there is a snapshot; the error about one that is not there says little."""
        query = "query($id: ID!) { dataset(id: $id) { snapshots { id } } }"
        answer = self._ask(client, query, {"id": self.dataset})
        listed = value_at(answer, "dataset", "snapshots")
        ids = [value_at(one, "id") for one in listed] if isinstance(listed, list) else []
        tags = [str(one).rpartition(":")[2] for one in ids]
        if tag not in tags:
            raise RemoteNotFoundError(
                f"{self.dataset} on OpenNeuro has no snapshot {tag!r}. It has {list_some(tags)}.",
                url=f"{_site_url()}/datasets/{self.dataset}",
            )

    def _ask(self, client: HttpClient, query: str, variables: dict[str, str]) -> dict[str, Any]:
        """Send a query."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        url = f"{_site_url()}/crn/graphql"
        answer = client.get_json(
            url, body=body, check=self._check_answer, credentials=_credentials(), hints=HINTS
        )
        data: dict[str, Any] = answer["data"]
        return data

    def _check_answer(self, answer: Any) -> None:
        """Raise the error that an answer with status 200 holds."""
        errors = answer.get("errors") if isinstance(answer, dict) else None
        if errors:
            first = errors[0] if isinstance(errors, list) else errors
            message = str(first.get("message")) if isinstance(first, dict) else str(first)
            raise self._word(message)
        if not isinstance(answer, dict) or not isinstance(answer.get("data"), dict):
            raise self._error("is not answered by OpenNeuro's API. Check CONFUSIUS_OPENNEURO_URL")

    def _word(self, message: str) -> SourceError:
        """Turn the message of an error into the error it stands for."""
        url = f"{_site_url()}/crn/graphql"
        if _TRANSIENT.fullmatch(message):
            return RemoteConnectionError(
                f"OpenNeuro has a problem ({message}). Call again later.", url=url
            )
        if "do not have access" in message:
            return RemoteAccessError(
                f"OpenNeuro has no dataset {self.dataset}, or it is private. {HINTS.access}",
                url=url,
            )
        return self._error(f"cannot be listed: OpenNeuro says {message[:200]!r}")

    def _error(self, what: str) -> SourceError:
        """Word what is wrong with the dataset."""
        return SourceError(f"{self.dataset} {what}.", url=f"{_site_url()}/crn/graphql")


def _describe(record: dict[str, Any]) -> FileEntry:
    """Make an entry of a file's record; the size it has is believed where nothing is better."""
    size = record.get("size")
    checksums: tuple[Checksum, ...] = ()
    identifier = str(record.get("id"))
    if match := _KEY.fullmatch(identifier):
        size, checksums = int(match[2]), (Checksum(match[1].lower(), match[3]),)
    elif _BLOB.fullmatch(identifier):
        # The API is wrong about sizes at times, and these files are small.
        size, checksums = None, (Checksum("git", identifier),)
    url = _first_url(record)
    return FileEntry(
        record["filename"],
        listed_size(size),
        checksums,
        locators={OpenNeuroSource.host: url} if url and not _is_signed(url) else {},
    )


def _first_url(record: dict[str, Any]) -> str | None:
    """Return the address of a file; one that was removed has none."""
    urls = record.get("urls")
    first = urls[0] if isinstance(urls, list) and urls else None
    return first if isinstance(first, str) else None


def _is_signed(url: str) -> bool:
    """Say whether an address is for a few days, and for whoever has it."""
    query = url.partition("?")[2]  # `urlsplit` takes exception to some hosts
    keys = urllib.parse.parse_qs(query)
    return any(key.lower().startswith(("x-amz-", "signature")) for key in keys)


def _check_text(
    entry: FileEntry, stream: HttpStream, part: ByteRange, etag: str | None
) -> MemoryStream:
    """Read a file that git itself keeps, and check it."""
    with stream:
        data = stream.read_all(LARGEST_TEXT_NBYTES)
    expected = next(known for known in entry.checksums if known.algorithm == "git")
    hash_ = new_hash("git", len(data))
    hash_.update(data)
    if hash_.hexdigest() != expected.hexdigest:
        raise _passing_error(entry, stream, f"{len(data)} bytes that are not the file's")
    start, stop = slice_of(part if etag in (None, stream.etag) else WHOLE, len(data))
    return MemoryStream(data[start:stop], start, len(data), stream.etag, url=stream.url)


def _check_small(entry: FileEntry, stream: HttpStream) -> MemoryStream:
    """Read a small body, unless it is an error page."""
    with stream:
        data = stream.read_all(LARGEST_TEXT_NBYTES)
    try:
        document = json.loads(data)
    except ValueError:
        document = None
    if isinstance(document, dict) and set(document) == {"error"} and len(data) != entry.size:
        raise _passing_error(entry, stream, f"an error page ({document['error']})")
    return MemoryStream(data, 0, len(data), stream.etag, stream.ranges, url=stream.url)


def _passing_error(entry: FileEntry, stream: HttpStream, what: str) -> RemoteConnectionError:
    """Word that something else came in the place of a file."""
    return RemoteConnectionError(
        f"{entry.relpath}: received {what}, from {stream.url}. Call again later; if it repeats, "
        "pass refresh=True.",
        url=stream.url,
    )


def _site_url() -> str:
    """Return the address of OpenNeuro."""
    return (os.environ.get("CONFUSIUS_OPENNEURO_URL") or SITE_URL).rstrip("/")


def _credentials() -> Credentials:
    """Return who asks, at OpenNeuro only: the store is somebody else's."""
    return Credentials.from_environment(
        "OPENNEURO_TOKEN", _site_url(), header="Cookie", prefix="accessToken="
    )


def _read_address(rest: str, version: str | None) -> tuple[str, Source]:
    """Read the address of a dataset."""
    if not _DATASET.fullmatch(rest):
        raise ValueError
    return rest.lower(), OpenNeuroSource(rest.lower(), version)


OPENNEURO_SCHEME = Scheme(
    "openneuro", "openneuro:ds000246 or openneuro:ds000246@1.0.1", _read_address, versioned=True
)
