"""A server on this machine that emulates OSF: five hosts, projects, listings, signed addresses."""

from __future__ import annotations

import hashlib
import json
import re
import urllib.parse
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from confusius_datasets._index import INDEX_NAME
from confusius_datasets.testing.answers import Answer, RangeSupport, answer_json
from confusius_datasets.testing.faults import Request
from confusius_datasets.testing.host import LocalHost, md5_of, sha256_of

__all__ = ["LocalOSF"]

JSON_API = "application/vnd.api+json"

LARGEST_PAGE = 100
"""Entries on a page at most; larger wishes are cut without a word."""

FIELDS = {"id", "name", "kind", "path", "size", "provider", "tags"}
"""What listings can be filtered by."""

LOGIN_PAGE = b"<!DOCTYPE html>\n<html><head><title>OSF | Sign in</title></head></html>\n"


@dataclass(frozen=True, slots=True)
class _Stored:
    """A file on the server."""

    project: str
    name: str
    size: int
    md5: str
    sha256: str


class LocalOSF(LocalHost):
    """A server on this machine that emulates OSF; a context manager.

    Its servers: `api` (listings), `download` and `files` or, with `region`, `region` (redirects;
    `files` also lists folders for `?meta=` and sends bytes itself for `?direct`), `storage`.

    Parameters
    ----------
    page_size : int, default: 10
        Entries on a page of a listing that does not ask for `page[size]`.
    latency_s : float, default: 0
        Time that every request takes on the way, and every new connection once more.
    bandwidth : float, optional
        Bytes a second of each connection. If not provided, there is no limit.

    Attributes
    ----------
    requests : list of Request
        Every request that came in, in order.
    filters : bool
        Whether listings know `filter[…]`.
    repeated, hidden : set of str
        Names of entries that listings have twice, or that only `filter[name]` finds.
    etags : bool
        Whether the store gives validators.
    hashes : set of str
        Which of `md5` and `sha256` listings have.
    keeps_versions : bool
        Whether an address that was signed before a file was replaced still gives the replaced
        content, as the real store does, whose objects never change; otherwise the new content.
    region : str, optional
        Region that stores the files, for example `de-1`; downloads go through its host then.
    private : set of str
        Projects that only requests with one of `tokens` see.

    Examples
    --------
    >>> from confusius_datasets.testing import LocalOSF
    >>> with LocalOSF() as osf:
    ...     osf.add_dataset("43skw", "nunez-elizalde-2022-bids", {"README": b"x"})
    ...     sorted(osf.environ)
    ['CONFUSIUS_OSF_API_URL', 'CONFUSIUS_OSF_DOWNLOAD_URL']
    """

    ROLES: ClassVar[tuple[str, ...]] = ("api", "download", "files", "region", "storage")
    DATA_ROLE: ClassVar[str] = "storage"

    def __init__(
        self, *, page_size: int = 10, latency_s: float = 0.0, bandwidth: float | None = None
    ) -> None:
        super().__init__(latency_s=latency_s, bandwidth=bandwidth)
        self.page_size = page_size
        self.filters = True
        self.hashes = {"md5", "sha256"}
        self.keeps_versions = False
        self.region: str | None = None
        self.private: set[str] = set()
        self.repeated: set[str] = set()
        self.hidden: set[str] = set()
        self._trees: dict[str, dict[str, str]] = defaultdict(dict)  # project: path → id
        # A listing must not cost the size of the project: project, folder → names → path.
        self._children: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
        self._folders: dict[str, tuple[str, str]] = {}  # id → project, path
        self._stored: dict[str, _Stored] = {}
        self._objects: dict[str, bytes] = {}  # by sha256; OSF keeps earlier versions
        self._with_md5: dict[tuple[str, str], bool] = {}

    @property
    def environ(self) -> dict[str, str]:
        """Variables that point the package at this server."""
        return {
            "CONFUSIUS_OSF_API_URL": f"{self.url('api')}/v2",
            "CONFUSIUS_OSF_DOWNLOAD_URL": f"{self.url('download')}/download",
        }

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
        self._remove(project, f"{folder}/{relpath}")
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

    def osf_path(self, project: str, folder: str, relpath: str) -> str:
        """Return what an index calls a file.

        Parameters
        ----------
        project : str
            The project's id.
        folder : str
            Root folder of the dataset.
        relpath : str
            Path below it.

        Returns
        -------
        str
            A slash and the file's lasting id.
        """
        return f"/{self._trees[project][f'{folder}/{relpath}']}"

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
        text = json.dumps(change(json.loads(self._objects[stored.sha256])))
        self._store(project, f"{folder}/{INDEX_NAME}", text.encode())

    def throttle(self, per_second: int = 3, per_minute: int = 75) -> None:
        """Limit listings as OSF does: without a token, so many a second and a minute.

        Parameters
        ----------
        per_second : int, default: 3
            Requests in a second.
        per_minute : int, default: 75
            Requests in a minute.
        """
        self.limit("api", per_second, seconds=1, anonymous=True)
        self.limit("api", per_minute, seconds=60, anonymous=True)

    # What it answers.

    def respond(self, request: Request) -> Answer:
        """Say what a request is answered with when nothing goes wrong.

        Parameters
        ----------
        request : Request
            The request.

        Returns
        -------
        Answer
            The whole answer.
        """
        if request.role == "api":
            return self._answer_api(request)
        if request.role == "storage":
            return self._give(request)
        if request.role == "download":
            return self._redirect(request)
        return self._answer_files(request)

    def _may_see(self, project: str, request: Request) -> bool:
        """Say whether a project is public, or the request has a token for it."""
        return project not in self.private or request.token in self.tokens

    def _redirect(self, request: Request) -> Answer:
        """Answer for the first hop of a download."""
        if request.parts == ["login"]:
            # Who may not see a file ends here, with status 200.
            return Answer(200, LOGIN_PAGE, {"Content-Type": "text/html; charset=utf-8"})
        identifier = request.parts[-1]
        stored = self._stored.get(identifier)
        if stored is None:
            return _api_error(400 if identifier in self._folders else 404, "Not found.")
        if not self._may_see(stored.project, request):
            login = f"{self.url('download')}/login"
            return Answer(302, headers={"Location": login}, name=stored.name)
        host = self.url("region" if self.region else "files")
        query = urllib.parse.urlsplit(request.path).query
        target = f"{host}/v1/resources/{stored.project}/providers/osfstorage/{identifier}"
        location = f"{target}?{query}" if query else target
        return Answer(302, headers={"Location": location}, name=stored.name)

    def _answer_files(self, request: Request) -> Answer:
        """Answer for WaterButler: a listing, the bytes themselves, or the way to the store."""
        project, identifier = (*request.parts, "", "", "")[2], "".join(request.parts[5:6])
        if not self._may_see(project, request):
            stored = self._stored.get(identifier)
            return _api_error(403, "Forbidden", name=stored.name if stored else "")
        folder = self._folders.get(identifier, (project, ""))[1]
        if "meta" in request.query and (not identifier or identifier in self._folders):
            return self._list_at_once(project, folder)
        stored = self._stored.get(identifier)
        if stored is None or stored.project != project:
            return _api_error(404, "Not found.")
        if "direct" in request.query:
            return self._send(stored.name, self._objects[stored.sha256], "from-to", None)
        disposition = urllib.parse.quote(f'attachment; filename="{stored.name}"', safe="")
        signed = (
            f"response-content-disposition={disposition}&GoogleAccessId={identifier}"
            f"&Signature={self._signature}"
        )
        bucket = f"bucket/cos-osf-prod-files-{self.region or 'us-east1'}"
        location = f"{self.url('storage')}/{bucket}/{stored.sha256}?{signed}"
        return Answer(302, headers={"Location": location}, name=stored.name)

    def _give(self, request: Request) -> Answer:
        """Answer for the store of bytes, whose objects are named by their SHA-256."""
        headers = {"Content-Type": "application/xml"}
        disposition = request.query.get("response-content-disposition", "")
        name = disposition.partition('filename="')[2].removesuffix('"')
        sha256 = request.parts[-1]
        stored = self._stored.get(request.query.get("GoogleAccessId", ""))
        if not self.keeps_versions:
            sha256 = stored.sha256 if stored else ""
        if sha256 not in self._objects:
            return Answer(404, b"<Error><Code>NoSuchKey</Code></Error>", headers, name)
        if request.query.get("Signature") != str(self._signature):
            return Answer(403, b"<Error><Code>ExpiredToken</Code></Error>", headers, name)
        data = self._objects[sha256]
        etag = f'"{md5_of(data)}"' if self.etags else 'W/"weak"'
        return self._send(name, data, "all", etag)

    def _send(self, name: str, data: bytes, ranges: RangeSupport, etag: str | None) -> Answer:
        """Send a file."""
        # A host may suggest a name; nothing may come of it.
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Disposition": 'attachment; filename="../../evil"',
        }
        return Answer(200, data, headers, name, etag, ranges=ranges)

    def _list_at_once(self, project: str, folder: str) -> Answer:
        """List a folder as WaterButler does: all children in one answer, hashes included."""
        if project not in self._trees:
            return _api_error(404, "Not found.")
        data = []
        for entry in self._list_folder(project, folder):
            attributes = entry["attributes"]
            attributes |= {
                "materialized": attributes["materialized_path"],
                "sizeInt": attributes["size"],
                "resource": project,
            }
            data.append({**entry, "id": f"osfstorage{attributes['path']}"})
        return answer_json({"data": data})

    def _answer_api(self, request: Request) -> Answer:
        """Answer for the API's listings."""
        parts = request.parts
        project = parts[2] if len(parts) > 2 else ""
        folder = ""
        if project not in self._trees:
            return _api_error(404, "Not found.")
        if not self._may_see(project, request):
            return _api_error(401 if request.token is None else 403, "You do not have permission.")
        if len(parts) > 5:
            if self._folders.get(parts[5], ("", ""))[0] != project:
                return _api_error(404, "Not found.")
            folder = self._folders[parts[5]][1]
        paths = self._paths_below(project, folder)
        filters = _read_filters(request.query) if self.filters else []
        if any(field not in FIELDS for field, _, _ in filters):
            return _api_error(400, "Not a valid field for filtering.")
        if not any(field == "name" for field, _, _ in filters):
            paths = list(self._muddle(paths))
        for one in filters:
            paths = [path for path in paths if self._fits(project, path, one)]
        return self._give_page(request, project, paths)

    def _fits(self, project: str, path: str, wanted: tuple[str, str, str]) -> bool:
        """Say whether an entry passes a filter; names need only contain the text."""
        field, operator, value = wanted
        found = self._describe(project, path)["attributes"].get(field)
        if (operator or ("icontains" if field == "name" else "eq")) == "icontains":
            return value.lower() in str(found).lower()
        return str(found) == value

    def _muddle(self, paths: Iterable[str]) -> Iterable[str]:
        """Repeat some entries of a listing, and hide others."""
        for path in paths:
            name = path.rpartition("/")[2]
            if name not in self.hidden:
                yield from [path] * (2 if name in self.repeated else 1)

    def _give_page(self, request: Request, project: str, paths: list[str]) -> Answer:
        """Answer with one page of a listing."""
        query = request.query
        page = int(query.get("page", 1))
        size = min(int(query.get("page[size]", self.page_size)), LARGEST_PAGE)
        n_pages = max(-(-len(paths) // size), 1)
        if not 1 <= page <= n_pages:
            return _api_error(404, "Invalid page.")

        def link(number: int) -> str | None:
            if number == page or not 1 <= number <= n_pages:
                return None
            text = urllib.parse.urlencode(query | {"page": number})
            return f"{self.url('api')}{urllib.parse.urlsplit(request.path).path}?{text}"

        links = {
            "first": link(1),
            "last": link(n_pages),
            "prev": link(page - 1),
            "next": link(page + 1),
            "meta": {"total": len(paths), "per_page": size},
        }
        shown = paths[(page - 1) * size : page * size]
        entries = [self._describe(project, path) for path in shown]
        document = {"data": entries, "links": links, "meta": {"version": "2.0"}}
        return answer_json(document, content_type=JSON_API)

    # The tree.

    def _store(self, project: str, path: str, data: bytes) -> None:
        """Keep a file under a lasting id."""
        identifier = _identify(project, path)
        sha256 = sha256_of(data)
        self._trees[project][path] = identifier
        name = path.rpartition("/")[2]
        self._stored[identifier] = _Stored(project, name, len(data), md5_of(data), sha256)
        self._objects[sha256] = data
        while path:
            parent, _, name = path.rpartition("/")
            self._children[project, parent][name] = path
            if parent:
                self._folders[_identify(project, f"{parent}/")] = (project, parent)
            path = parent

    def _remove(self, project: str, path: str) -> None:
        """Forget a file, and the folders that are empty without it."""
        del self._stored[self._trees[project].pop(path)]
        while path:
            parent, _, name = path.rpartition("/")
            del self._children[project, parent][name]
            if self._children[project, parent]:
                break
            self._folders.pop(_identify(project, f"{parent}/"), None)
            path = parent

    def _write_index(self, project: str, folder: str) -> None:
        """Make the index of a dataset from what is stored."""
        document: dict[str, dict[str, Any]] = {}
        for relpath in self.relpaths(project, folder):
            identifier = self._trees[project][f"{folder}/{relpath}"]
            stored = self._stored[identifier]
            document[relpath] = {"osf_path": f"/{identifier}", "size": stored.size}
            if self._with_md5[project, folder]:
                document[relpath]["md5"] = stored.md5
        text = json.dumps(document, indent=2, sort_keys=True)
        self._store(project, f"{folder}/{INDEX_NAME}", text.encode())

    def _paths_below(self, project: str, folder: str) -> list[str]:
        """List what lies right in a folder, in OSF's order."""
        return sorted(self._children.get((project, folder), {}).values())

    def _list_folder(self, project: str, folder: str) -> list[dict[str, Any]]:
        """Describe what lies right in a folder."""
        return [self._describe(project, path) for path in self._paths_below(project, folder)]

    def _describe(self, project: str, path: str) -> dict[str, Any]:
        """Describe a file or a folder, as OSF's API does."""
        if identifier := self._trees[project].get(path):
            return self._describe_file(identifier, path)
        identifier = _identify(project, f"{path}/")
        link = f"{self.url('api')}/v2/nodes/{project}/files/osfstorage/{identifier}/"
        return {
            "id": identifier,
            "type": "files",
            "attributes": {
                "name": path.rpartition("/")[2],
                "kind": "folder",
                "path": f"/{identifier}/",
                "materialized_path": f"/{path}/",
                "size": None,
                "provider": "osfstorage",
            },
            "relationships": {"files": {"links": {"related": {"href": link}}}},
            "links": {},
        }

    def _describe_file(self, identifier: str, path: str) -> dict[str, Any]:
        """Describe a file."""
        stored = self._stored[identifier]
        hashes = {"md5": stored.md5, "sha256": stored.sha256}
        return {
            "id": identifier,
            "type": "files",
            "attributes": {
                "name": stored.name,
                "kind": "file",
                "path": f"/{identifier}",
                "materialized_path": f"/{path}",
                "size": stored.size,
                "provider": "osfstorage",
                "extra": {"hashes": {kind: hashes[kind] for kind in hashes if kind in self.hashes}},
            },
            "links": {"download": f"{self.url('download')}/download/{identifier}/"},
        }


def _identify(project: str, path: str) -> str:
    """Make the lasting id of a file or, with a slash at its end, a folder: 24 digits."""
    key = f"{project}/{path}".encode()
    return hashlib.sha1(key, usedforsecurity=False).hexdigest()[:24]


def _read_filters(query: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Read `filter[field]` and `filter[field][operator]`."""
    found = []
    for name, value in query.items():
        if match := re.fullmatch(r"filter\[(\w+)\](?:\[(\w+)\])?", name):
            found.append((match[1], match[2] or "", value))
    return found


def _api_error(status: int, detail: str, *, name: str = "") -> Answer:
    """Answer with an error, as OSF's API does."""
    document = {"errors": [{"detail": detail}]}
    return answer_json(document, status, name=name, content_type=JSON_API)
