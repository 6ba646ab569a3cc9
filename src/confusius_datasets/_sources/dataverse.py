"""Dataverse: one listing of a version, and files through redirects to a store."""

from __future__ import annotations

import os
import re
import urllib.parse
from dataclasses import dataclass
from typing import Any, ClassVar

from confusius_datasets._index import INDEX_NAME, Checksum, DatasetIndex, FileEntry
from confusius_datasets._sources.archive import ArchiveSource
from confusius_datasets._sources.http import NOBODY, Credentials, HostHints, HttpClient, HttpStream
from confusius_datasets._sources.http_errors import shorten_url
from confusius_datasets._sources.protocol import Scheme, Source
from confusius_datasets._sources.ranges import WHOLE, ByteRange
from confusius_datasets._sources.records import JsonFormat, listed_size, make_index, value_at
from confusius_datasets._text import quote
from confusius_datasets.errors import DatasetIndexError, RemoteNotFoundError, SourceError

__all__ = ["DATAVERSE_SCHEME", "DataverseSource"]

HASHES = {"MD5": "md5", "SHA-1": "sha1", "SHA-256": "sha256", "SHA-512": "sha512"}
"""What Dataverse calls its checksums, and we do."""

HINTS = HostHints(
    access="It is restricted: ask for access on the dataset's page, then set DATAVERSE_TOKEN.",
    bad_request=(
        "The dataset asks everyone to answer its guestbook first: do so on its page, and set "
        "DATAVERSE_TOKEN, or download the files there."
    ),
)

DATAVERSE_FORMAT = JsonFormat(host="dataverse", locator_key="datafile")

_LOCATOR = re.compile(r"(\d+)(:original)?")


@dataclass(frozen=True, slots=True)
class DataverseSource:
    """A dataset on a Dataverse installation.

    Parameters
    ----------
    server : str
        Address of the installation, for example `https://edmond.mpg.de`; the environment variable
        `CONFUSIUS_DATAVERSE_URL` names another one in its place.
    pid : str
        The dataset's persistent id, for example `doi:10.17617/3.7QCU1F`.
    version : str, default: ":latest-published"
        Which version, for example `1.2`.
    """

    server: str
    pid: str
    version: str = ":latest-published"

    host: ClassVar[str] = "dataverse"
    index_name: ClassVar[str] = INDEX_NAME
    index_format: ClassVar[JsonFormat] = DATAVERSE_FORMAT
    variables: ClassVar[tuple[str, ...]] = ("CONFUSIUS_DATAVERSE_URL",)

    def list_files(self, client: HttpClient) -> DatasetIndex:
        """List the files of the version, in one request."""
        version = urllib.parse.quote(self.version, safe=":")
        query = urllib.parse.urlencode({"persistentId": self.pid}, safe=":/")
        url = f"{self._base}/api/datasets/:persistentId/versions/{version}/files?{query}"
        try:
            page = client.get_json(url, credentials=self._credentials(), hints=HINTS)
        except RemoteNotFoundError as error:
            raise RemoteNotFoundError(
                f"{self._base} has no dataset {self.pid!r}, or no version {self.version!r} of it.",
                url=shorten_url(url),
            ) from error
        records = page.get("data") if isinstance(page, dict) else None
        if not isinstance(records, list):
            raise SourceError(
                f"{shorten_url(url)} is not a listing of Dataverse's API. Check the server's "
                "address.",
                url=shorten_url(url),
            )
        return make_index((_describe(record, url) for record in records), shorten_url(url))

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
                f"The entry {entry.relpath!r} has no usable 'datafile' ({quote(locator)}), so "
                "it cannot "
                "be downloaded. Fetch with refresh=True to renew the index."
            )
        # Of a table, Dataverse gives a conversion unless the upload is asked for.
        query = "?format=original" if match[2] else ""
        return client.get(
            f"{self._base}/api/access/datafile/{match[1]}{query}",
            part,
            etag=etag,
            size=entry.size,
            web_page=entry.relpath.endswith((".html", ".htm")),
            credentials=self._credentials(),
            hints=HINTS,
        )

    def read_index(self, data: bytes, origin: str) -> DatasetIndex:
        """Read an index."""
        return DATAVERSE_FORMAT.read(data, origin)

    def format_index(self, index: DatasetIndex) -> bytes:
        """Write an index."""
        return DATAVERSE_FORMAT.format(index)

    @property
    def _base(self) -> str:
        """Address of the installation."""
        return (os.environ.get("CONFUSIUS_DATAVERSE_URL") or self.server).rstrip("/")

    def _credentials(self) -> Credentials:
        """Return who asks, at this installation only, and only if the token is for it."""
        owner = os.environ.get("DATAVERSE_HOST", "").strip().rstrip("/")
        if owner and owner.rpartition("://")[2].lower() != self._base.rpartition("://")[2].lower():
            return NOBODY
        return Credentials.from_environment(
            "DATAVERSE_TOKEN", self._base, header="X-Dataverse-key", prefix=""
        )


def _describe(record: Any, url: str) -> FileEntry:
    """Make an entry of a file's record."""
    file = value_at(record, "dataFile")
    if listed_size(value_at(file, "id")) is None:
        raise SourceError(
            f"{shorten_url(url)}: an entry has no dataFile.id, so this is not a listing of "
            "Dataverse's API.",
            url=shorten_url(url),
        )
    is_table = bool(file.get("tabularData"))
    name = file.get("originalFileName") if is_table else None
    size = file.get("originalFileSize") if is_table else file.get("filesize")
    folder, label = record.get("directoryLabel") or "", name or record.get("label")
    if not isinstance(folder, str) or not isinstance(label, str):
        raise SourceError(
            f"{shorten_url(url)}: an entry has no label, so this is not a listing of Dataverse's "
            "API.",
            url=shorten_url(url),
        )
    algorithm = HASHES.get(str(value_at(file, "checksum", "type")))
    digest = str(value_at(file, "checksum", "value")).lower()
    return FileEntry(
        f"{folder}/{label}" if folder else label,
        listed_size(size),
        (Checksum(algorithm, digest),) if algorithm else (),
        locators={DataverseSource.host: f"{file['id']}{':original' if is_table else ''}"},
    )


_ADDRESS = re.compile(r"([A-Za-z0-9.-]+)/((?:doi|hdl):[^/]+(?:/[^/]+)+?)(?:/([^/]+\.zip))?")

_VERSION = re.compile(r"\d+(?:\.\d+)?|:(?:draft|latest|latest-published)")


def _read_address(rest: str, version: str | None) -> tuple[str, Source]:
    """Read the address of a dataset on an installation, or of an archive in it."""
    match = _ADDRESS.fullmatch(rest)
    if match is None or not _VERSION.fullmatch(version or "1.0"):
        raise ValueError
    server, pid, archive = match.groups()
    source = DataverseSource(f"https://{server.lower()}", pid, version or ":latest-published")
    return rest, ArchiveSource(source, FileEntry(archive)) if archive else source


DATAVERSE_SCHEME = Scheme(
    "dataverse", "dataverse:HOST/doi:… (with @VERSION or /FILE.zip)", _read_address, versioned=True
)
