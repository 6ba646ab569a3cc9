"""A server on this machine that emulates a Dataverse installation and its object store."""

from __future__ import annotations

import hashlib
import urllib.parse
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from confusius_datasets.testing.answers import Answer, answer_json
from confusius_datasets.testing.faults import Request
from confusius_datasets.testing.host import LocalHost, md5_of
from confusius_datasets.testing.s3 import s3_error

__all__ = ["LocalDataverse"]

HASHES = {"MD5": "md5", "SHA-1": "sha1", "SHA-256": "sha256", "SHA-512": "sha512"}
"""What Dataverse calls its checksums, and Python does."""

ORDERS = {"NameAZ", "NameZA", "Newest", "Oldest", "Size", "Type"}


@dataclass(slots=True)
class _DataFile:
    """A file of a version."""

    id: int
    label: str
    directory: str
    original: bytes
    checksum: str
    restricted: bool = False
    table: bytes | None = None  # what Dataverse made of a tabular file
    said: dict[str, Any] = field(default_factory=dict)  # what listings say once it was replaced

    @property
    def relpath(self) -> str:
        """The path that was uploaded."""
        return f"{self.directory}/{self.label}" if self.directory else self.label

    @property
    def shown(self) -> str:
        """The name that listings have."""
        return self.label if self.table is None else f"{self.label.rpartition('.')[0]}.tab"


class LocalDataverse(LocalHost):
    """A server on this machine that emulates a Dataverse installation; a context manager.

    Its servers: `api` (listings, access) and `store` (presigned addresses).

    Parameters
    ----------
    latency_s : float, default: 0
        Time that every request takes on the way, and every new connection once more.
    bandwidth : float, optional
        Bytes a second of each connection. If not provided, there is no limit.

    Attributes
    ----------
    redirects : bool
        Whether access is answered with 303 to the store. If not, the server streams the bytes
        itself: without a validator, and with 404 for a range of an empty file.
    expiry_s : int
        How long a presigned address is valid; see `advance`.
    guestbooks : set of str
        Datasets whose files need an answered guestbook.
    downloads : collections.Counter
        Downloads counted for each file's id; those with `gbrecs=true` are not.

    Examples
    --------
    >>> from confusius_datasets.testing import LocalDataverse
    >>> with LocalDataverse() as dataverse:
    ...     dataverse.add_dataset("doi:10.17617/3.7QCU1F", {"a/b.tsv": b"x"}, ids={"a/b.tsv": 7})
    ...     dataverse.file_id("doi:10.17617/3.7QCU1F", "a/b.tsv")
    7
    """

    ROLES: ClassVar[tuple[str, ...]] = ("api", "store")
    DATA_ROLE: ClassVar[str] = "store"

    def __init__(self, *, latency_s: float = 0.0, bandwidth: float | None = None) -> None:
        super().__init__(latency_s=latency_s, bandwidth=bandwidth)
        self.redirects = True
        self.expiry_s = 3600
        self.guestbooks: set[str] = set()
        self.downloads: Counter[int] = Counter()
        self._versions: dict[str, dict[str, list[_DataFile]]] = {}
        self._files: dict[int, tuple[str, _DataFile]] = {}
        self._next_id = 1000

    @property
    def environ(self) -> dict[str, str]:
        """Variables that point the package at this server."""
        return {"CONFUSIUS_DATAVERSE_URL": self.url("api")}

    def add_dataset(
        self,
        pid: str,
        files: Mapping[str, bytes],
        *,
        version: str = "1.0",
        checksum: str = "MD5",
        ids: Mapping[str, int] | None = None,
    ) -> None:
        """Put a version of a dataset on the server.

        Parameters
        ----------
        pid : str
            Persistent id, for example `doi:10.17617/3.7QCU1F`.
        files : mapping of str to bytes
            Content by path.
        version : str, default: "1.0"
            Number of the version, or `:draft`, which only requests with a token see.
        checksum : {"MD5", "SHA-1", "SHA-256", "SHA-512"}, default: "MD5"
            Which checksum listings have.
        ids : mapping of str to int, optional
            Ids of some files by path. Others get the next free one.
        """
        entries = []
        for relpath, data in files.items():
            directory, _, label = relpath.rpartition("/")
            self._next_id += 1
            identifier = (ids or {}).get(relpath, self._next_id)
            entry = _DataFile(identifier, label, directory, data, checksum)
            self._files[identifier] = (pid, entry)
            entries.append(entry)
        self._versions.setdefault(pid, {})[version] = entries

    def file_id(self, pid: str, relpath: str) -> int:
        """Return the id of a file of the newest version.

        Parameters
        ----------
        pid : str
            Persistent id of the dataset.
        relpath : str
            Path that was uploaded.

        Returns
        -------
        int
            The id, which no other file of the server has.
        """
        return self._find(pid, relpath).id

    def restrict(self, pid: str, relpath: str) -> None:
        """Let only requests with one of `tokens` have a file.

        Parameters
        ----------
        pid : str
            Persistent id of the dataset.
        relpath : str
            Path that was uploaded.
        """
        self._find(pid, relpath).restricted = True

    def ingest(self, pid: str, relpath: str, table: bytes) -> None:
        """Make a file tabular: listings show a `.tab`, and give it unless the original is asked.

        Parameters
        ----------
        pid : str
            Persistent id of the dataset.
        relpath : str
            Path that was uploaded.
        table : bytes
            What Dataverse converted it to.
        """
        self._find(pid, relpath).table = table

    def replace(self, pid: str, relpath: str, data: bytes) -> None:
        """Replace what access gives of a file, and nothing of what the listing says.

        Parameters
        ----------
        pid : str
            Persistent id of the dataset.
        relpath : str
            Path that was uploaded.
        data : bytes
            The new content.
        """
        entry = self._find(pid, relpath)
        entry.said = _describe(entry)["dataFile"]
        entry.original = data

    def remove(self, pid: str, relpath: str) -> None:
        """Let access to a file fail with 404, though listings still have it.

        Parameters
        ----------
        pid : str
            Persistent id of the dataset.
        relpath : str
            Path that was uploaded.
        """
        del self._files[self._find(pid, relpath).id]

    def respond(self, request: Request) -> Answer:
        """Say what a request is answered with when nothing goes wrong.

        Parameters
        ----------
        request : Request
            The request.

        Returns
        -------
        Answer
            A listing, the bytes, or the way to them.
        """
        if request.role == "store":
            return self._answer_store(request)
        key = request.headers.get("x-dataverse-key")
        if key is not None and key not in self.tokens:
            return _error(401, f"User with token {key[:4]}… not found.")
        match request.parts:
            case ["api", "datasets", _, "versions", version, *rest] if rest in ([], ["files"]):
                return self._answer_version(request, version, files_only=bool(rest))
            case ["api", "access", "datafile", identifier]:
                return self._answer_access(request, identifier)
        return _error(404, "API endpoint does not exist on this server.")

    # Listings.

    def _answer_version(self, request: Request, version: str, *, files_only: bool) -> Answer:
        """Answer with the files of a version."""
        pid = request.query.get("persistentId", "")
        versions = self._versions.get(pid)
        if versions is None:
            return _error(404, f"Dataset with Persistent ID {pid} not found.")
        known = "x-dataverse-key" in request.headers
        if version == ":draft" and not known:
            return _error(401, "User :guest is not permitted to perform requested action.")
        name = self._resolve(versions, version, known=known)
        if name not in versions:
            return _error(404, f"Dataset version {version} of dataset {pid} not found")
        entries = versions[name]
        if not files_only:
            document = {"id": 1, "versionNumber": name, "files": list(map(_describe, entries))}
            return answer_json({"status": "OK", "data": document})
        return _answer_files(entries, request.query)

    @staticmethod
    def _resolve(versions: Mapping[str, object], version: str, *, known: bool) -> str:
        """Return the number of the version that is meant."""
        if version == ":latest" and known and ":draft" in versions:
            return ":draft"
        if version not in (":latest", ":latest-published"):
            return version
        published = [number for number in versions if number != ":draft"]
        return max(published, key=lambda text: [int(part) for part in text.split(".")], default="")

    # Bytes.

    def _answer_access(self, request: Request, identifier: str) -> Answer:
        """Answer with the bytes of a file, or the way to them."""
        if identifier == ":persistentId":
            identifier = request.query.get("persistentId", "").rpartition("/")[2]
        known = self._files.get(int(identifier)) if identifier.isdecimal() else None
        if known is None:
            return _error(404, f"File with ID {identifier} not found.")
        pid, entry = known
        if entry.restricted and "x-dataverse-key" not in request.headers:
            return _error(403, "Not authorized to access this object.", name=entry.label)
        if pid in self.guestbooks:
            message = "You may not download this file without the required Guestbook response."
            return _error(400, message, name=entry.label)
        if request.query.get("gbrecs") != "true":
            self.downloads[entry.id] += 1
        original = entry.table is None or request.query.get("format") == "original"
        if self.redirects:
            return Answer(303, headers={"Location": self._sign(entry, original)}, name=entry.label)
        return _stream(entry, original, request)

    def _sign(self, entry: _DataFile, original: bool) -> str:
        """Make a presigned address."""
        name = entry.label if original else entry.shown
        query = {
            "response-content-disposition": f"attachment; filename*=UTF-8''{name}",
            "response-content-type": "application/octet-stream",
            "X-Amz-Date": str(int(self.now())),
            "X-Amz-Expires": str(self.expiry_s),
            "X-Amz-Signature": str(self._signature),
        }
        path = f"store/{entry.id}{'.orig' if original and entry.table is not None else ''}"
        return f"{self.url('store')}/{path}?{urllib.parse.urlencode(query)}"

    def _answer_store(self, request: Request) -> Answer:
        """Answer for the object store, whose addresses are signed for GET alone."""
        identifier, _, original = request.parts[-1].partition(".")
        known = self._files.get(int(identifier)) if identifier.isdecimal() else None
        if known is None:
            return s3_error(404, "NoSuchKey", "The specified key does not exist.")
        entry, query = known[1], request.query
        if request.method != "GET" or query.get("X-Amz-Signature") != str(self._signature):
            message = "The request signature we calculated does not match the signature you gave."
            return s3_error(403, "SignatureDoesNotMatch", message, key=entry.label)
        if self.now() >= int(query["X-Amz-Date"]) + int(query["X-Amz-Expires"]):
            return s3_error(403, "AccessDenied", "Request has expired", key=entry.label)
        data = entry.original if original or entry.table is None else entry.table
        etag = f'"{md5_of(data)}"' if self.etags else None
        invalid = s3_error(416, "InvalidRange", "The requested range is not satisfiable").body
        headers = {"Content-Type": "application/octet-stream"}
        return Answer(200, data, headers, entry.label, etag, ranges="all", invalid_range=invalid)

    def _find(self, pid: str, relpath: str) -> _DataFile:
        """Find a file of the newest version."""
        versions = self._versions[pid]
        newest = versions[self._resolve(versions, ":latest", known=True)]
        return next(entry for entry in newest if entry.relpath == relpath)


def _stream(entry: _DataFile, original: bool, request: Request) -> Answer:
    """Answer with the bytes as the server itself sends them."""
    data = entry.original if original or entry.table is None else entry.table
    headers = {"Content-Type": "application/octet-stream"}
    asked = request.headers.get("range")
    if asked and not data:
        return _error(404, "Datafile not found.", name=entry.label)
    if asked and "," in asked:
        return Answer(416, headers={"Content-Range": f"bytes */{len(data)}"}, name=entry.label)
    return Answer(200, data, headers, entry.label, ranges="all")


def _answer_files(entries: list[_DataFile], query: Mapping[str, str]) -> Answer:
    """Answer with a listing, narrowed, ordered and cut as the query says."""
    order = query.get("orderCriteria", "NameAZ")
    if order not in ORDERS:
        return _error(400, f"Invalid order criteria: {order}")
    found = [entry for entry in entries if query.get("searchText", "") in entry.shown]
    if query.get("accessStatus") == "Restricted":
        found = [entry for entry in found if entry.restricted]
    found.sort(key=lambda entry: entry.shown, reverse=order == "NameZA")
    first = int(query.get("offset", 0))
    last = first + int(query["limit"]) if "limit" in query else None
    page = [_describe(entry) for entry in found[first:last]]
    return answer_json({"status": "OK", "totalCount": len(found), "data": page})


def _describe(entry: _DataFile) -> dict[str, Any]:
    """Describe a file as a listing does."""
    hexdigest = hashlib.new(HASHES[entry.checksum], entry.original).hexdigest()
    shown = entry.original if entry.table is None else entry.table
    file: dict[str, Any] = {
        "id": entry.id,
        "persistentId": "",
        "filename": entry.shown,
        "contentType": "application/octet-stream",
        "filesize": len(shown),
        "storageIdentifier": f"s3://store:{entry.id}",
        "checksum": {"type": entry.checksum, "value": hexdigest},
        "tabularData": entry.table is not None,
    }
    if entry.checksum == "MD5":
        file["md5"] = hexdigest
    if entry.table is not None:
        # The checksum stays that of the upload.
        file |= {
            "contentType": "text/tab-separated-values",
            "originalFileFormat": "text/csv",
            "originalFileSize": len(entry.original),
            "originalFileName": entry.label,
        }
    described = {"label": entry.shown, "restricted": entry.restricted, "version": 1}
    if entry.directory:
        described["directoryLabel"] = entry.directory
    return described | {"datasetVersionId": 1, "dataFile": entry.said or file}


def _error(status: int, message: str, *, name: str = "") -> Answer:
    """Answer with an error, as Dataverse does."""
    return answer_json({"status": "ERROR", "message": message}, status, name=name)
