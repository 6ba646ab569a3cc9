"""What tests need, ours and users': a local server that emulates OSF.

The server speaks what the package relies on: paginated listings with `filter[name]`, nested
folders, downloads that redirect over two further hosts, `Range` with validators. It can misbehave
on demand, keeps a log of every request, and listens on this machine only.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
import urllib.parse
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

__all__ = ["Fault", "LocalOSF", "Request"]

INDEX_NAME = "dataset_index.json"
PIECE = 1 << 16
ROLES = ("api", "files", "storage")


@dataclass(frozen=True, slots=True)
class Request:
    """One request that reached the server.

    Parameters
    ----------
    role : str
        `api`, `download`, `files` or `storage`: the host that was asked.
    path : str
        Path and query.
    headers : dict of str to str
        The request's headers, by lower-case name.
    status : int
        What was answered.
    name : str
        Name of the file it was about, if any.
    """

    role: str
    path: str
    headers: dict[str, str]
    status: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong, once.

    Parameters
    ----------
    kind : {"status", "drop", "stall", "html", "corrupt", "short", "chunked", "no-range"}
        What happens instead of the right answer.
    status : int, default: 503
        The status of `status`.
    headers : mapping of str to str, default: none
        Further headers of `status`.
    after : int, default: 0
        Bytes that still come before `drop` or `stall`.
    """

    kind: str
    status: int = 503
    headers: Mapping[str, str] = field(default_factory=dict)
    after: int = 0


@dataclass(slots=True)
class _Stored:
    """A file on the server."""

    name: str
    data: bytes

    @property
    def md5(self) -> str:
        """Hash of the content."""
        return hashlib.md5(self.data, usedforsecurity=False).hexdigest()


class LocalOSF:
    """A server on this machine that emulates OSF; a context manager.

    Parameters
    ----------
    page_size : int, default: 10
        Entries on a page of a listing.

    Examples
    --------
    >>> from confusius_datasets.testing import LocalOSF
    >>> with LocalOSF() as osf:
    ...     osf.add_dataset("43skw", "nunez-elizalde-2022-bids", {"README": b"x"})
    ...     sorted(osf.environ)
    ['CONFUSIUS_OSF_API_URL', 'CONFUSIUS_OSF_DOWNLOAD_URL']
    """

    def __init__(self, *, page_size: int = 10) -> None:
        self.page_size = page_size
        self.requests: list[Request] = []
        self._lock = threading.Lock()
        self._trees: dict[str, dict[str, str]] = defaultdict(dict)  # project: path → id
        self._stored: dict[str, _Stored] = {}
        self._with_md5: dict[tuple[str, str], bool] = {}
        self._faults: dict[str, deque[Fault]] = defaultdict(deque)
        self._servers = {role: _Server(self, role) for role in ROLES}

    def __enter__(self) -> Self:
        for server in self._servers.values():
            server.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for server in self._servers.values():
            server.stop()

    @property
    def environ(self) -> dict[str, str]:
        """Variables that point the package at this server."""
        api = self.url("api")
        return {
            "CONFUSIUS_OSF_API_URL": f"{api}/v2",
            "CONFUSIUS_OSF_DOWNLOAD_URL": f"{api}/download",
        }

    def url(self, role: str) -> str:
        """Return the base address of a host: `api`, `files` or `storage`."""
        # Names differ as they do between OSF and its storage, so that credentials can go astray.
        name = "127.0.0.1" if role == "storage" else "localhost"
        return f"http://{name}:{self._servers[role].server_address[1]}"

    def add_dataset(
        self, project: str, folder: str, files: Mapping[str, bytes], *, md5: bool = True
    ) -> None:
        """Put a dataset and its index on the server.

        Parameters
        ----------
        project : str
            The project's id.
        folder : str
            Its root folder.
        files : mapping of str to bytes
            Content by path below the folder.
        md5 : bool, default: True
            Whether the index has checksums.
        """
        self._with_md5[project, folder] = md5
        for relpath, data in files.items():
            self._store(project, f"{folder}/{relpath}", data)
        self._write_index(project, folder)

    def add_file(self, project: str, name: str, data: bytes) -> None:
        """Put one file at the root of a project's storage."""
        self._store(project, name, data)

    def put(self, project: str, folder: str, relpath: str, data: bytes) -> None:
        """Add or replace a file of a dataset, and renew its index."""
        self._store(project, f"{folder}/{relpath}", data)
        self._write_index(project, folder)

    def remove(self, project: str, folder: str, relpath: str) -> None:
        """Remove a file of a dataset, and renew its index."""
        del self._trees[project][f"{folder}/{relpath}"]
        self._write_index(project, folder)

    def replace_index(
        self, project: str, folder: str, change: Callable[[dict[str, Any]], Mapping[str, Any]]
    ) -> None:
        """Change what the index of a dataset says."""
        stored = self._stored[self._trees[project][f"{folder}/{INDEX_NAME}"]]
        stored.data = json.dumps(change(json.loads(stored.data))).encode()

    def fail(self, name: str, *faults: Fault) -> None:
        """Let the next requests for a file's bytes go wrong, one by one.

        Parameters
        ----------
        name : str
            The file's name, or `*` for any.
        *faults : Fault
            What goes wrong, in order.
        """
        self._faults[name].extend(faults)

    def _store(self, project: str, path: str, data: bytes) -> None:
        """Keep a file under a lasting id."""
        identifier = hashlib.sha1(f"{project}/{path}".encode(), usedforsecurity=False).hexdigest()[
            :24
        ]
        self._trees[project][path] = identifier
        self._stored[identifier] = _Stored(path.rpartition("/")[2], data)

    def _write_index(self, project: str, folder: str) -> None:
        """Make the index of a dataset from what is stored."""
        document = {}
        for path, identifier in self._trees[project].items():
            if path.startswith(f"{folder}/") and path != f"{folder}/{INDEX_NAME}":
                stored = self._stored[identifier]
                document[path[len(folder) + 1 :]] = {
                    "osf_path": f"/{identifier}",
                    "size": len(stored.data),
                } | ({"md5": stored.md5} if self._with_md5[project, folder] else {})
        text = json.dumps(document, indent=2, sort_keys=True)
        self._store(project, f"{folder}/{INDEX_NAME}", text.encode())

    def take_fault(self, name: str) -> Fault | None:
        """Take the next thing that goes wrong with a file."""
        with self._lock:
            for key in (name, "*"):
                if self._faults[key]:
                    return self._faults[key].popleft()
        return None

    def stored(self, identifier: str) -> _Stored | None:
        """Look a file up by its id."""
        return self._stored.get(identifier)

    def log(self, request: Request) -> None:
        """Remember a request."""
        with self._lock:
            self.requests.append(request)

    def list_folder(self, project: str, parent: str) -> list[dict[str, Any]] | None:
        """Describe what lies right in a folder, as OSF's API does."""
        if project not in self._trees:
            return None
        prefix = f"{parent}/" if parent else ""
        entries: dict[str, dict[str, Any]] = {}
        for path, identifier in sorted(self._trees[project].items()):
            if path.startswith(prefix):
                name, slash, _ = path[len(prefix) :].partition("/")
                if slash:
                    entries[name] = self._describe_folder(project, prefix + name)
                else:
                    entries[name] = self._describe_file(identifier, path)
        return list(entries.values())

    def _describe_folder(self, project: str, path: str) -> dict[str, Any]:
        """Describe a folder."""
        quoted = urllib.parse.quote(path, safe="")
        link = f"{self.url('api')}/v2/nodes/{project}/files/osfstorage/{quoted}/"
        return {
            "id": quoted,
            "type": "files",
            "attributes": {"name": path.rpartition("/")[2], "kind": "folder", "size": None},
            "relationships": {"files": {"links": {"related": {"href": link}}}},
            "links": {},
        }

    def _describe_file(self, identifier: str, path: str) -> dict[str, Any]:
        """Describe a file."""
        stored = self._stored[identifier]
        return {
            "id": identifier,
            "type": "files",
            "attributes": {
                "name": stored.name,
                "kind": "file",
                "path": f"/{identifier}",
                "materialized_path": f"/{path}",
                "size": len(stored.data),
                "extra": {"hashes": {"md5": stored.md5}},
            },
            "links": {"download": f"{self.url('api')}/download/{identifier}/"},
        }


class _Server(ThreadingHTTPServer):
    """One of the hosts."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, osf: LocalOSF, role: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.osf = osf
        self.role = role
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening."""
        self.shutdown()
        self.server_close()
        self._thread.join()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep quiet about clients that hang up."""


class _Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        """Answer a request."""
        parsed = urllib.parse.urlsplit(self.path)
        answer = {"api": self._api, "files": self._files, "storage": self._storage}
        answer[self.server.role](parsed)

    def _note(self, status: int, *, role: str = "", name: str = "") -> None:
        """Log the request with its answer."""
        headers = {key.lower(): value for key, value in self.headers.items()}
        role = role or self.server.role
        self.server.osf.log(Request(role, self.path, headers, status, name))

    def _send(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Send a whole answer."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _api(self, url: urllib.parse.SplitResult) -> None:
        """Answer for the API, and for the first hop of a download."""
        parts = url.path.strip("/").split("/")
        osf = self.server.osf
        if parts[0] == "download":
            self._note(302, role="download")
            target = f"{osf.url('files')}/v1/resources/node/providers/osfstorage/{parts[1]}"
            self._send(302, Location=f"{target}?action=download&direct&version=1")
            return
        query = urllib.parse.parse_qs(url.query)
        folder = urllib.parse.unquote(parts[5]) if len(parts) > 5 else ""
        entries = osf.list_folder(parts[2], folder)
        if entries is None:
            self._note(404)
            self._send(404, b'{"errors": [{"detail": "Not found."}]}')
            return
        if wanted := query.get("filter[name]"):
            entries = [entry for entry in entries if entry["attributes"]["name"] == wanted[0]]
        page = int(query.get("page", ["1"])[0])
        first, last = (page - 1) * osf.page_size, page * osf.page_size
        following = f"{osf.url('api')}{url.path}?page={page + 1}"
        document = {
            "data": entries[first:last],
            "links": {
                "next": following if last < len(entries) else None,
                "meta": {"total": len(entries), "per_page": osf.page_size},
            },
        }
        self._note(200)
        self._send(200, json.dumps(document).encode(), Content_Type="application/vnd.api+json")

    def _files(self, url: urllib.parse.SplitResult) -> None:
        """Answer for the second hop of a download: a signed address of the store."""
        self._note(302)
        identifier = url.path.rpartition("/")[2]
        signed = f"{self.server.osf.url('storage')}/bucket/{identifier}?Signature=abc"
        self._send(302, Location=signed)

    def _storage(self, url: urllib.parse.SplitResult) -> None:
        """Answer for the store of bytes."""
        stored = self.server.osf.stored(url.path.rpartition("/")[2])
        if stored is None:
            self._note(404)
            self._send(404, b"<Error>NoSuchKey</Error>", Content_Type="application/xml")
            return
        fault = self.server.osf.take_fault(stored.name)
        if fault is None:
            self._serve(stored, fault)
        elif fault.kind == "status":
            self._note(fault.status, name=stored.name)
            self._send(fault.status, b"trouble", **fault.headers)
        elif fault.kind == "html":
            self._note(200, name=stored.name)
            self._send(200, b"<!DOCTYPE html><html>Sign in</html>", Content_Type="text/html")
        else:
            self._serve(stored, fault)

    def _serve(self, stored: _Stored, fault: Fault | None) -> None:
        """Send a file or a range of it."""
        kind = fault.kind if fault else ""
        data = stored.data
        etag = f'"{stored.md5}"'
        start, stop = 0, len(data)
        asked = self.headers.get("Range", "")
        same = self.headers.get("If-Range", etag) == etag
        ranged = asked.startswith("bytes=") and same and kind != "no-range"
        if ranged:
            low, _, high = asked.removeprefix("bytes=").partition("-")
            start, stop = int(low), min(int(high) + 1, len(data)) if high else len(data)
        if ranged and start >= len(data):
            self._note(416, name=stored.name)
            self._send(416, Content_Range=f"bytes */{len(data)}")
            return
        body = data[start:stop]
        if kind == "corrupt":
            body = bytes(byte ^ 1 for byte in body)
        if kind == "short":
            body = body[:-1]
        self._note(206 if ranged else 200, name=stored.name)
        self.send_response(206 if ranged else 200)
        self.send_header("ETag", etag)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Type", "application/octet-stream")
        if ranged:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
        if kind == "chunked":
            self._send_chunked(body)
            return
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if kind in ("drop", "stall") and fault:
            self.wfile.write(body[: fault.after])
            self.wfile.flush()
            if kind == "stall":
                time.sleep(3)
            self.close_connection = True
            return
        for offset in range(0, len(body), PIECE):
            self.wfile.write(body[offset : offset + PIECE])

    def _send_chunked(self, body: bytes) -> None:
        """Send a body of a length that is not said beforehand."""
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for offset in range(0, len(body), PIECE):
            piece = body[offset : offset + PIECE]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")
