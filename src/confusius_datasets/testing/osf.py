"""A server on this machine that emulates OSF: four hosts, projects, listings, signed addresses."""

from __future__ import annotations

import hashlib
import json
import threading
import time
import urllib.parse
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

from confusius_datasets._index import INDEX_NAME
from confusius_datasets.testing.faults import Fault, Request
from confusius_datasets.testing.server import Answer, Server

__all__ = ["LocalOSF"]

ROLES = ("api", "download", "files", "storage")

JSON_API = {"Content-Type": "application/vnd.api+json"}

NOT_FOUND = b'{"errors": [{"detail": "Not found."}]}'


@dataclass(slots=True)
class _Stored:
    """A file on the server."""

    name: str
    data: bytes
    md5: str


@dataclass(slots=True)
class _Limit:
    """How many requests a host answers in some time."""

    requests: int
    seconds: float
    since: float
    used: int = 0


class LocalOSF:
    """A server on this machine that emulates OSF; a context manager.

    Parameters
    ----------
    page_size : int, default: 10
        Entries on a page of a listing.
    latency_s : float, default: 0
        Time that every request takes on the way, and every new connection once more.
    bandwidth : float, optional
        Bytes a second of each connection. If not provided, there is no limit.

    Attributes
    ----------
    requests : list of Request
        Every request that came in, in order.
    filters : bool
        Whether listings know `filter[name]`.
    repeated, hidden : set of str
        Names of entries that listings have twice, or that only `filter[name]` finds.
    etags : bool
        Whether the store gives validators.

    Examples
    --------
    >>> from confusius_datasets.testing import LocalOSF
    >>> with LocalOSF() as osf:
    ...     osf.add_dataset("43skw", "nunez-elizalde-2022-bids", {"README": b"x"})
    ...     sorted(osf.environ)
    ['CONFUSIUS_OSF_API_URL', 'CONFUSIUS_OSF_DOWNLOAD_URL']
    """

    def __init__(
        self, *, page_size: int = 10, latency_s: float = 0.0, bandwidth: float | None = None
    ) -> None:
        self.page_size = page_size
        self.latency_s = latency_s
        self.bandwidth = bandwidth
        self.filters = True
        self.etags = True
        self.repeated: set[str] = set()
        self.hidden: set[str] = set()
        self.requests: list[Request] = []
        self._lock = threading.Lock()
        self._trees: dict[str, dict[str, str]] = defaultdict(dict)  # project: path → id
        self._stored: dict[str, _Stored] = {}
        self._with_md5: dict[tuple[str, str], bool] = {}
        self._faults: dict[tuple[str, str], deque[Fault]] = defaultdict(deque)
        self._limits: dict[str, _Limit] = {}
        self._signature = 1
        self._servers = {role: Server(self, role) for role in ROLES}

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
        return {
            "CONFUSIUS_OSF_API_URL": f"{self.url('api')}/v2",
            "CONFUSIUS_OSF_DOWNLOAD_URL": f"{self.url('download')}/download",
        }

    def url(self, role: str) -> str:
        """Return the base address of a host.

        Parameters
        ----------
        role : str
            `api`, `download`, `files` or `storage`.

        Returns
        -------
        str
            An address without a path. The store has another host name than the rest, as on OSF.
        """
        name = "127.0.0.1" if role == "storage" else "localhost"
        return f"http://{name}:{self._servers[role].port}"

    # What is on the server.

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
        """Put one file at the root of a project's storage, or replace it.

        Parameters
        ----------
        project : str
            The project's id.
        name : str
            Name of the file.
        data : bytes
            Its content.
        """
        self._store(project, name, data)

    def put(self, project: str, folder: str, relpath: str, data: bytes) -> None:
        """Add or replace a file of a dataset, and renew its index.

        Parameters
        ----------
        project : str
            The project's id.
        folder : str
            Root folder of the dataset.
        relpath : str
            Path below it.
        data : bytes
            The new content.
        """
        self._store(project, f"{folder}/{relpath}", data)
        self._write_index(project, folder)

    def replace(self, project: str, folder: str, relpath: str, data: bytes) -> None:
        """Replace a file of a dataset without renewing its index, which is wrong from then on.

        Parameters
        ----------
        project : str
            The project's id.
        folder : str
            Root folder of the dataset.
        relpath : str
            Path below it.
        data : bytes
            The new content.
        """
        self._store(project, f"{folder}/{relpath}", data)

    def remove(self, project: str, folder: str, relpath: str, *, index: bool = True) -> None:
        """Remove a file of a dataset.

        Parameters
        ----------
        project : str
            The project's id.
        folder : str
            Root folder of the dataset.
        relpath : str
            Path below it.
        index : bool, default: True
            Whether its index is renewed.
        """
        del self._stored[self._trees[project].pop(f"{folder}/{relpath}")]
        if index:
            self._write_index(project, folder)

    def relpaths(self, project: str, folder: str) -> list[str]:
        """List the files of a dataset.

        Parameters
        ----------
        project : str
            The project's id.
        folder : str
            Root folder of the dataset.

        Returns
        -------
        list of str
            Paths below the folder, its index left out.
        """
        prefix = f"{folder}/"
        below = [path for path in self._trees[project] if path.startswith(prefix)]
        return [path.removeprefix(prefix) for path in below if path != f"{prefix}{INDEX_NAME}"]

    def replace_index(
        self, project: str, folder: str, change: Callable[[dict[str, Any]], Mapping[str, Any]]
    ) -> None:
        """Change what the index of a dataset says.

        Parameters
        ----------
        project : str
            The project's id.
        folder : str
            Root folder of the dataset.
        change : callable
            Takes the index as it is and returns the new one.
        """
        stored = self._stored[self._trees[project][f"{folder}/{INDEX_NAME}"]]
        text = json.dumps(change(json.loads(stored.data)))
        self._store(project, f"{folder}/{INDEX_NAME}", text.encode())

    # What goes wrong.

    def fail(self, name: str, *faults: Fault, role: str = "storage") -> None:
        """Let the next requests about a file go wrong, one by one.

        Parameters
        ----------
        name : str
            The file's name, or `*` for any, which is also the name of what is about no file.
        *faults : Fault
            What goes wrong, in order.
        role : str, default: "storage"
            The host on which it does.
        """
        self._faults[role, name].extend(faults)

    def heal(self) -> None:
        """Let nothing more go wrong."""
        self._faults.clear()
        self._limits.clear()

    def limit(self, role: str, requests: int, *, seconds: float) -> None:
        """Let a host answer only so many requests in some time, and then 429 with `Retry-After`.

        Parameters
        ----------
        role : str
            The host.
        requests : int
            How many it answers.
        seconds : float
            In which time.
        """
        self._limits[role] = _Limit(requests, seconds, since=time.monotonic())

    def expire_signatures(self) -> None:
        """Let the store refuse every address that was signed until now."""
        self._signature += 1

    def hang_up(self) -> None:
        """Cut every connection there is."""
        for server in self._servers.values():
            server.hang_up()

    # What was asked.

    def requests_for(self, name: str, *, role: str = "storage") -> list[Request]:
        """List the requests about a file.

        Parameters
        ----------
        name : str
            The file's name.
        role : str, default: "storage"
            The host that was asked.

        Returns
        -------
        list of Request
            In the order in which they came.
        """
        return [record for record in self.requests if (record.role, record.name) == (role, name)]

    def n_connections(self, role: str) -> int:
        """Count the connections a host ever accepted.

        Parameters
        ----------
        role : str
            The host.

        Returns
        -------
        int
            How many.
        """
        return self._servers[role].n_connections

    def most_connections(self, role: str) -> int:
        """Count the connections a host had at once.

        Parameters
        ----------
        role : str
            The host.

        Returns
        -------
        int
            How many at most.
        """
        return self._servers[role].most_connections

    # What the servers call.

    def note(self, request: Request) -> None:
        """Remember a request.

        Parameters
        ----------
        request : Request
            The request, with its answer.
        """
        self.requests.append(request)

    def answer(self, role: str, url: urllib.parse.SplitResult) -> Answer:
        """Say what a request to one of the hosts is answered with.

        Parameters
        ----------
        role : str
            The host.
        url : urllib.parse.SplitResult
            Path and query.

        Returns
        -------
        Answer
            With what goes wrong.
        """
        if role == "api":
            answer = self._list(url)
        elif role == "storage":
            answer = self._give(url)
        else:
            answer = self._redirect(role, url)
        with self._lock:
            wait = self._left_to_wait(role)
            if wait is not None:
                headers = {"Retry-After": str(wait)}
                return Answer(429, b"Too many requests", headers, answer.name)
            return replace(answer, fault=self._take_fault(role, answer.name))

    def _left_to_wait(self, role: str) -> int | None:
        """Return how long a host wants no requests, if it has had too many."""
        limit = self._limits.get(role)
        if limit is None:
            return None
        now = time.monotonic()
        if now >= limit.since + limit.seconds:
            limit.since, limit.used = now, 0
        limit.used += 1
        left = limit.since + limit.seconds - now
        return None if limit.used <= limit.requests else int(left) + 1

    def _take_fault(self, role: str, name: str) -> Fault | None:
        """Take the next thing that goes wrong with a file."""
        for key in ((role, name), (role, "*")):
            if not (waiting := self._faults.get(key)):
                continue
            fault = waiting.popleft()
            if fault.times != 1:
                waiting.appendleft(replace(fault, times=max(fault.times - 1, 0)))
            return fault
        return None

    def _redirect(self, role: str, url: urllib.parse.SplitResult) -> Answer:
        """Answer for the first two hops of a download."""
        parts = url.path.strip("/").split("/")
        identifier = parts[-1]
        stored = self._stored.get(identifier)
        if stored is None:
            return Answer(404, NOT_FOUND)
        if role == "download":
            target = f"{self.url('files')}/v1/resources/node/providers/osfstorage/{identifier}"
            return Answer(302, headers={"Location": f"{target}?action=download"}, name=stored.name)
        signed = f"{self.url('storage')}/bucket/{identifier}?Signature={self._signature}"
        return Answer(302, headers={"Location": signed}, name=stored.name)

    def _give(self, url: urllib.parse.SplitResult) -> Answer:
        """Answer for the store of bytes."""
        stored = self._stored.get(url.path.rpartition("/")[2])
        if stored is None:
            return Answer(404, b"<Error>NoSuchKey</Error>", {"Content-Type": "application/xml"})
        if urllib.parse.parse_qs(url.query).get("Signature") != [str(self._signature)]:
            return Answer(403, b"<Error>ExpiredToken</Error>", name=stored.name)
        # A host may suggest a name; nothing may come of it.
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Disposition": 'attachment; filename="../../evil"',
        }
        etag = f'"{stored.md5}"' if self.etags else 'W/"weak"'
        return Answer(200, stored.data, headers, stored.name, etag)

    def _list(self, url: urllib.parse.SplitResult) -> Answer:
        """Answer for the API."""
        parts = url.path.strip("/").split("/")
        project = parts[2] if len(parts) > 2 else ""
        folder = urllib.parse.unquote(parts[5]) if len(parts) > 5 else ""
        if project not in self._trees:
            return Answer(404, NOT_FOUND, JSON_API)
        query = urllib.parse.parse_qs(url.query)
        entries = self._list_folder(project, folder)
        wanted = query.get("filter[name]")
        if wanted and self.filters:
            # As on OSF, the filter finds names that contain the text, whatever their case.
            text = wanted[0].lower()
            entries = [entry for entry in entries if text in entry["attributes"]["name"].lower()]
        else:
            entries = list(self._muddle(entries))
        return self._give_page(url, entries, query)

    def _muddle(self, entries: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
        """Repeat some entries of a listing, and hide others."""
        for entry in entries:
            name = entry["attributes"]["name"]
            if name not in self.hidden:
                yield from [entry] * (2 if name in self.repeated else 1)

    def _give_page(
        self,
        url: urllib.parse.SplitResult,
        entries: list[dict[str, Any]],
        query: dict[str, list[str]],
    ) -> Answer:
        """Answer with one page of a listing."""
        page = int(query.get("page", ["1"])[0])
        kept = {key: value for key, value in query.items() if key != "page"} | {"page": [page + 1]}
        following = f"{self.url('api')}{url.path}?{urllib.parse.urlencode(kept, doseq=True)}"
        first, last = (page - 1) * self.page_size, page * self.page_size
        links = {
            "next": following if last < len(entries) else None,
            "meta": {"total": len(entries), "per_page": self.page_size},
        }
        return Answer(
            200, json.dumps({"data": entries[first:last], "links": links}).encode(), JSON_API
        )

    # The tree.

    def _store(self, project: str, path: str, data: bytes) -> None:
        """Keep a file under a lasting id."""
        key = f"{project}/{path}".encode()
        identifier = hashlib.sha1(key, usedforsecurity=False).hexdigest()[:24]
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        self._trees[project][path] = identifier
        self._stored[identifier] = _Stored(path.rpartition("/")[2], data, md5)

    def _write_index(self, project: str, folder: str) -> None:
        """Make the index of a dataset from what is stored."""
        document: dict[str, dict[str, Any]] = {}
        for relpath in self.relpaths(project, folder):
            identifier = self._trees[project][f"{folder}/{relpath}"]
            stored = self._stored[identifier]
            document[relpath] = {"osf_path": f"/{identifier}", "size": len(stored.data)}
            if self._with_md5[project, folder]:
                document[relpath]["md5"] = stored.md5
        text = json.dumps(document, indent=2, sort_keys=True)
        self._store(project, f"{folder}/{INDEX_NAME}", text.encode())

    def _list_folder(self, project: str, parent: str) -> list[dict[str, Any]]:
        """Describe what lies right in a folder, as OSF's API does."""
        prefix = f"{parent}/" if parent else ""
        entries: dict[str, dict[str, Any]] = {}
        for path, identifier in sorted(self._trees[project].items()):
            if not path.startswith(prefix):
                continue
            name, slash, _ = path[len(prefix) :].partition("/")
            if not slash:
                entries[name] = self._describe_file(identifier, path)
            elif name not in entries:
                entries[name] = self._describe_folder(project, prefix + name)
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
            "links": {"download": f"{self.url('download')}/download/{identifier}/"},
        }
