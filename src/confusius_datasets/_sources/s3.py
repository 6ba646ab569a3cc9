"""The releases of `confusius-datasets` on S3: a catalogue of versions, and a manifest for each.

A version never changes once it is published. The bucket is public, and needs no credentials.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from confusius_datasets._index import DatasetIndex, FileEntry
from confusius_datasets._paths import HIDDEN_FOLDER
from confusius_datasets._sources.http import HttpClient, HttpStream
from confusius_datasets._sources.http_errors import shorten_url
from confusius_datasets._sources.manifest import quote_relpath
from confusius_datasets._sources.ranges import WHOLE, ByteRange
from confusius_datasets._sources.records import JsonFormat, parse_json_object
from confusius_datasets._text import quote, shorten
from confusius_datasets.errors import (
    DatasetIndexError,
    RemoteAccessError,
    RemoteNotFoundError,
    SourceError,
)

__all__ = ["S3Source"]

BUCKET_URL = "https://confusius-datasets.s3.us-west-2.amazonaws.com"
"""The bucket, unless `CONFUSIUS_S3_URL` names a copy of it."""

CATALOGUE_NAME = "last_versions.conf"
MANIFEST_NAME = "manifest.json"

S3_INDEX_NAME = "s3_index.json"
"""The index of the release in use, beside the folders of releases, as ConfUSIus has it."""

LARGEST_CATALOGUE_NBYTES = 1 << 20

HEAD_NBYTES = 1 << 16
"""Bytes of an index that have its first entry in them."""

S3_FORMAT = JsonFormat(host="s3", locator_key="version")

_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_FIRST_URL = re.compile(r'\s*\{\s*"(?:[^"\\]|\\.)*"\s*:\s*\{[^{}]*?"url"\s*:\s*"([^"]*)"')


@dataclass(frozen=True, slots=True)
class S3Source:
    """A release of a dataset or template.

    Parameters
    ----------
    folder : str
        Root folder of the dataset, as the catalogue has it.
    version : str, optional
        The release. If not provided, the newest one that the catalogue names.
    kind : {"datasets", "templates"}, default: "datasets"
        Section of the catalogue.
    """

    folder: str
    version: str | None = None
    kind: Literal["datasets", "templates"] = "datasets"

    host: ClassVar[str] = "s3"
    variables: ClassVar[tuple[str, ...]] = ("CONFUSIUS_S3_URL",)
    has_limit: ClassVar[bool] = False
    finds_by_path: ClassVar[bool] = True

    @property
    def index_name(self) -> str:
        """Name of its index file: a release has its own, hidden; the one beside it is shared."""
        return f"{HIDDEN_FOLDER}/{S3_INDEX_NAME}" if self.version else S3_INDEX_NAME

    def find_index_beside(self, root: Path) -> Path | None:
        """Return the index beside the folder of a release, if it is the one of that release.

        A folder that cannot be written to has no index of its own.
        """
        path = root.parent / S3_INDEX_NAME
        try:
            with path.open("rb") as file:
                head = file.read(HEAD_NBYTES).decode(errors="replace")
        except OSError:
            return None
        # All its addresses are of one release, so that the first one tells it.
        match = _FIRST_URL.match(head)
        if self.version is None or match is None:
            return None
        wanted = f"/{self.kind}/{self.folder}/{self.version}/"
        return path if wanted in urllib.parse.unquote(match[1]) else None

    def list_files(self, client: HttpClient) -> DatasetIndex:
        """Get the manifest of the release; without a version, of the newest one."""
        version = self.find_version(client)
        url = f"{_bucket_url()}/{self._prefix(version)}/{MANIFEST_NAME}"
        try:
            data = client.get_bytes(url)
        except (RemoteNotFoundError, RemoteAccessError) as error:
            # Where a bucket may not be listed, S3 answers 403 to what does not exist.
            raise RemoteNotFoundError(
                f"There is no release {quote(version)} of {self.folder!r} at "
                f"{shorten_url(url)}. "
                "Pass version='latest' for the newest one.",
                url=shorten_url(url),
            ) from error
        document = parse_json_object(data, shorten_url(url))
        if not document:
            raise DatasetIndexError(f"{shorten_url(url)} lists no file. Nothing was written.")
        for relpath, record in document.items():
            _check_record(relpath, record, shorten_url(url))
        records = {relpath: _with_version(record, version) for relpath, record in document.items()}
        return S3_FORMAT.parse(records, shorten_url(url))

    def find_version(self, client: HttpClient) -> str:
        """Return the version, which only the catalogue knows where none was named."""
        if self.version is not None:
            return _check_version(self.version, "the argument version=")
        url = f"{_bucket_url()}/{CATALOGUE_NAME}"
        data = client.get_bytes(url, limit=LARGEST_CATALOGUE_NBYTES)
        version = _read_catalogue(data, shorten_url(url)).get((self.kind, self.folder.casefold()))
        if version is None:
            raise RemoteNotFoundError(
                f"{shorten_url(url)} names no release of {self.folder!r}: it is published "
                "elsewhere only. Fetch it without version=.",
                url=shorten_url(url),
            )
        return _check_version(version, shorten_url(url))

    def open(
        self,
        entry: FileEntry,
        part: ByteRange = WHOLE,
        *,
        client: HttpClient,
        etag: str | None = None,
    ) -> HttpStream:
        """Open a file, or a part of it."""
        version = entry.locators.get(self.host) or self.find_version(client)
        prefix = self._prefix(_check_version(version, entry.relpath))
        return client.get(
            f"{_bucket_url()}/{prefix}/{quote_relpath(entry.relpath)}",
            part,
            etag=etag,
            size=entry.size,
            web_page=entry.relpath.endswith((".html", ".htm")),
        )

    def read_index(self, data: bytes, origin: str) -> DatasetIndex:
        """Read an `s3_index.json`, whose addresses must all be of one release of this dataset."""
        document = parse_json_object(data, origin)
        records, versions = {}, set()
        for relpath, record in document.items():
            url = record.get("url") if isinstance(record, dict) else None
            version = self._read_version(relpath, url)
            if version is None:
                raise DatasetIndexError(
                    f"{origin}: the entry {quote(relpath)} has no address of a release of "
                    f"{self.folder!r} (found {quote(url)})."
                )
            versions.add(version)
            records[relpath] = _with_version(record, version)
        if len(versions) > 1 or (self.version and versions - {self.version}):
            wanted = self.version or "one release"
            raise DatasetIndexError(f"{origin} is of {sorted(versions)}, expected {wanted}.")
        return S3_FORMAT.parse(records, origin)

    def format_index(self, index: DatasetIndex) -> bytes:
        """Write an index as ConfUSIus 0.8 does, with the addresses that it expects."""
        document = {}
        for relpath, record in S3_FORMAT.describe(index).items():
            version = record.pop("version", self.version)
            if record["md5"] is None:
                del record["md5"]
            url = f"{BUCKET_URL}/{self._prefix(str(version))}/{quote_relpath(relpath)}"
            document[relpath] = {"url": url, **record}
        return f"{json.dumps(document, indent=2)}\n".encode()

    def _prefix(self, version: str) -> str:
        """Return the folder of a release in the bucket, as part of an address."""
        return quote_relpath(f"{self.kind}/{self.folder}/{version}")

    def _read_version(self, relpath: str, url: object) -> str | None:
        """Read the version out of a file's address, if it is one of this dataset."""
        if not isinstance(url, str):
            return None
        try:
            # The base may be that of a copy, so only the path counts.
            path = urllib.parse.unquote(urllib.parse.urlsplit(url).path)
        except ValueError:  # "https://[x/"
            return None
        before, _, rest = path.partition(f"/{self.kind}/{self.folder}/")
        version, _, found = rest.partition("/")
        fits = found == relpath and _VERSION.fullmatch(version) is not None
        return version if fits and "/" not in before.strip("/") else None


def _with_version(record: Any, version: str) -> Mapping[str, object]:
    """Note in a record of which release it is; what is no record is refused later."""
    return {**record, "version": version} if isinstance(record, dict) else record


def _check_record(relpath: str, record: object, origin: str) -> None:
    """Refuse what a manifest must not say."""
    known = record if isinstance(record, dict) else {}
    if relpath == MANIFEST_NAME or known.get("size") is None or known.get("sha256") is None:
        raise DatasetIndexError(
            f"{origin}: the entry {quote(relpath)} must have a size and a sha256, and must "
            "not be the "
            "manifest itself. Nothing was written."
        )


def _check_version(version: str, origin: str) -> str:
    """Refuse a version that would lead to another folder."""
    if not _VERSION.fullmatch(version):
        raise DatasetIndexError(
            f"{origin}: {quote(version)} is not a version: expected letters, digits and any "
            "of '._+-'."
        )
    return version


def _read_catalogue(data: bytes, origin: str) -> dict[tuple[str, str], str]:
    """Read the newest version of each root folder, by section and name without case."""
    # With interpolation, a `%` in a value would be an error.
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(data.decode())
    except (configparser.Error, UnicodeDecodeError) as error:
        # Among these: two names that differ in case only, which the parser takes for one.
        raise SourceError(
            f"{origin} is not a catalogue of releases: {shorten(error)}", url=origin
        ) from error
    return {
        (section, name): version
        for section in parser.sections()
        for name, version in parser.items(section)
    }


def _bucket_url() -> str:
    """Return the address of the bucket."""
    return (os.environ.get("CONFUSIUS_S3_URL") or BUCKET_URL).rstrip("/")
