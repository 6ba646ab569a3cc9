"""Zenodo: the files of a record; an archive among them is read by `ArchiveSource`."""

from __future__ import annotations

import os
import re
import urllib.parse
from dataclasses import dataclass
from typing import Any, ClassVar

from confusius_datasets._index import INDEX_NAME, Checksum, DatasetIndex, FileEntry
from confusius_datasets._sources.archive import ArchiveSource
from confusius_datasets._sources.http import Credentials, HostHints, HttpClient, HttpStream
from confusius_datasets._sources.http_errors import shorten_url
from confusius_datasets._sources.protocol import Scheme, Source
from confusius_datasets._sources.ranges import WHOLE, ByteRange
from confusius_datasets._sources.records import JsonFormat, listed_size, make_index
from confusius_datasets.errors import ArgumentError, RemoteNotFoundError, SourceError

__all__ = ["ZENODO_SCHEME", "ZenodoSource"]

SITE_URL = "https://zenodo.org"
"""Zenodo, unless `CONFUSIUS_ZENODO_URL` names another one."""

HINTS = HostHints(
    access="If it is yours or was shared with you, set ZENODO_TOKEN.",
    limit="Zenodo allows more with a token in ZENODO_TOKEN.",
)

ZENODO_FORMAT = JsonFormat(host="zenodo", locator_key="record")

_CHECKSUM = re.compile(r"(md5|sha256|sha512):([0-9a-fA-F]+)")


@dataclass(frozen=True, slots=True)
class ZenodoSource:
    """The files of a record on Zenodo.

    Parameters
    ----------
    record : str
        The record's id; that of all versions of a deposit stands for the newest one.
    """

    record: str

    host: ClassVar[str] = "zenodo"
    index_name: ClassVar[str] = INDEX_NAME
    index_format: ClassVar[JsonFormat] = ZENODO_FORMAT
    variables: ClassVar[tuple[str, ...]] = ("CONFUSIUS_ZENODO_URL",)
    finds_by_path: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.record.isdecimal():
            raise ArgumentError(
                f"{self.record!r} is not the id of a Zenodo record: expected digits, as in "
                "'15476373'."
            )

    def list_files(self, client: HttpClient) -> DatasetIndex:
        """Get the record."""
        url = f"{_site_url()}/api/records/{self.record}"
        try:
            page = client.get_json(url, credentials=_credentials(), hints=HINTS)
        except RemoteNotFoundError as error:
            raise RemoteNotFoundError(
                f"Zenodo has no record {self.record}, or it was deleted ({url}).", url=url
            ) from error
        records = page.get("files") if isinstance(page, dict) else None
        if not isinstance(records, list):
            raise SourceError(
                f"{url} is not a record of Zenodo's API. Check CONFUSIUS_ZENODO_URL.", url=url
            )
        # The id of a deposit leads to a version, whose files these are.
        record = str(page.get("id", self.record))
        return make_index((_describe(file, record, url) for file in records), shorten_url(url))

    def open(
        self,
        entry: FileEntry,
        part: ByteRange = WHOLE,
        *,
        client: HttpClient,
        etag: str | None = None,
    ) -> HttpStream:
        """Open a file, or a part of it."""
        record = entry.locators.get(self.host, "")
        key = urllib.parse.quote(entry.relpath, safe="")
        # Not the API's address of a file, which knows no ranges (zenodo#2593).
        return client.get(
            f"{_site_url()}/records/{record if record.isdecimal() else self.record}"
            f"/files/{key}?download=1",
            part,
            etag=etag,
            size=entry.size,
            web_page=entry.relpath.endswith((".html", ".htm")),
            credentials=_credentials(),
            hints=HINTS,
        )

    def read_index(self, data: bytes, origin: str) -> DatasetIndex:
        """Read an index."""
        return ZENODO_FORMAT.read(data, origin)

    def format_index(self, index: DatasetIndex) -> bytes:
        """Write an index."""
        return ZENODO_FORMAT.format(index)


def _describe(file: Any, record: str, url: str) -> FileEntry:
    """Make an entry of a file's record."""
    key = file.get("key") if isinstance(file, dict) else None
    if not isinstance(key, str):
        raise SourceError(f"{url}: a file has no key, so this is not a record of Zenodo.", url=url)
    match = _CHECKSUM.fullmatch(str(file.get("checksum")))
    return FileEntry(
        key,
        listed_size(file.get("size")),
        (Checksum(match[1], match[2].lower()),) if match else (),
        locators={ZenodoSource.host: record},
    )


def _site_url() -> str:
    """Return the address of Zenodo."""
    return (os.environ.get("CONFUSIUS_ZENODO_URL") or SITE_URL).rstrip("/")


def _credentials() -> Credentials:
    """Return who asks, at Zenodo only."""
    return Credentials.from_environment("ZENODO_TOKEN", _site_url())


def _read_address(rest: str, version: str | None) -> tuple[str, Source]:
    """Read the address of a record, or of an archive in it."""
    match = re.fullmatch(r"([0-9]+)(?:/(.+\.zip))?", rest)
    if match is None:
        raise ValueError
    source = ZenodoSource(match[1])
    return rest, ArchiveSource(source, FileEntry(match[2])) if match[2] else source


ZENODO_SCHEME = Scheme("zenodo", "zenodo:RECORD or zenodo:RECORD/FILE.zip", _read_address)
