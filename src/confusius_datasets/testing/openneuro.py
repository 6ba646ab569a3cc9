"""A server on this machine that emulates OpenNeuro's API and its bucket."""

from __future__ import annotations

import hashlib
import json
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from confusius_datasets.testing.answers import Answer, answer_json
from confusius_datasets.testing.faults import Fault, Request
from confusius_datasets.testing.graphql import GraphQLError, execute, parse_query
from confusius_datasets.testing.host import LocalHost, md5_of, sha256_of
from confusius_datasets.testing.s3 import Bucket, s3_error

__all__ = ["LocalOpenNeuro"]

NO_ACCESS = "You do not have access to read this dataset."

PLAIN = (".json", ".tsv", ".txt", ".md", ".bidsignore", "README", "CHANGES", "LICENSE")
"""How the names of files end that are in git itself, not annexed."""

JSON_TYPE = {"Content-Type": "application/json"}

PART_NBYTES = 1 << 30
"""Size of the parts in which git-annex exports larger files."""


@dataclass(slots=True)
class _File:
    """A file of a snapshot."""

    data: bytes
    key: str
    size: int
    urls: list[str] | None


class LocalOpenNeuro(LocalHost):
    """A server on this machine that emulates OpenNeuro; a context manager.

    Its servers: `api` (GraphQL, and objects that are not exported) and `s3` (the bucket
    `openneuro.org`, path style).

    Parameters
    ----------
    latency_s : float, default: 0
        Time that every request takes on the way, and every new connection once more.
    bandwidth : float, optional
        Bytes a second of each connection. If not provided, there is no limit.

    Attributes
    ----------
    bucket : Bucket
        The public bucket. Its head is the newest state of each dataset, and no snapshot.
    private : set of str
        Datasets that only requests with one of `tokens` (cookie `accessToken`) see.

    Examples
    --------
    >>> from confusius_datasets.testing import LocalOpenNeuro
    >>> with LocalOpenNeuro() as openneuro:
    ...     openneuro.add_snapshot("ds000246", "1.0.1", {"README": b"x"})
    ...     openneuro.bucket.keys()
    ['ds000246/README']
    """

    ROLES: ClassVar[tuple[str, ...]] = ("api", "s3")
    DATA_ROLE: ClassVar[str] = "s3"

    def __init__(self, *, latency_s: float = 0.0, bandwidth: float | None = None) -> None:
        super().__init__(latency_s=latency_s, bandwidth=bandwidth)
        self.bucket = Bucket("openneuro.org", part_nbytes=PART_NBYTES)
        self.private: set[str] = set()
        self._snapshots: dict[str, dict[str, dict[str, _File]]] = {}

    @property
    def environ(self) -> dict[str, str]:
        """Variables that point the package at this server."""
        return {"CONFUSIUS_OPENNEURO_URL": self.url("api")}

    def add_snapshot(
        self,
        dataset: str,
        tag: str,
        files: Mapping[str, bytes],
        *,
        backend: Literal["SHA256E", "MD5E"] = "SHA256E",
    ) -> None:
        """Put a snapshot on the server, the newest of its dataset from now on.

        Parameters
        ----------
        dataset : str
            Id of the dataset, for example `ds000246`.
        tag : str
            The snapshot's tag.
        files : mapping of str to bytes
            Content by path. Texts are identified by their git blob, others by an annex key.
        backend : {"SHA256E", "MD5E"}, default: "SHA256E"
            Which annex keys.
        """
        snapshots = self._snapshots.setdefault(dataset, {})
        earlier = next(reversed(snapshots.values()), {})
        for relpath in earlier.keys() - files.keys():
            self.bucket.delete(f"{dataset}/{relpath}")
        found = {}
        for relpath, data in files.items():
            old = earlier.get(relpath)
            if old is None or old.data != data:
                version = self.bucket.put(f"{dataset}/{relpath}", data)
                path = urllib.parse.quote(f"{self.bucket.name}/{dataset}/{relpath}")
                urls = [f"{self.url('s3')}/{path}?versionId={version}"]
                found[relpath] = _File(data, _identify(relpath, data, backend), len(data), urls)
            else:
                found[relpath] = replace(old)
        snapshots[tag] = found

    def misreport_size(self, dataset: str, tag: str, relpath: str, size: int) -> None:
        """Let the API say a wrong size of a file.

        Parameters
        ----------
        dataset, tag : str
            The snapshot.
        relpath : str
            The file.
        size : int
            What is said.
        """
        self._snapshots[dataset][tag][relpath].size = size

    def drop_urls(self, dataset: str, tag: str, relpath: str, *, null: bool = False) -> None:
        """Let the API give no address of a file, as for one that was removed.

        Parameters
        ----------
        dataset, tag : str
            The snapshot.
        relpath : str
            The file.
        null : bool, default: False
            Whether there is null instead of an empty list.
        """
        self._snapshots[dataset][tag][relpath].urls = None if null else []

    def unexport(self, dataset: str, tag: str, relpath: str) -> None:
        """Let a file be served by OpenNeuro itself, as one that is not in the bucket.

        Parameters
        ----------
        dataset, tag : str
            The snapshot.
        relpath : str
            The file.
        """
        file = self._snapshots[dataset][tag][relpath]
        name = urllib.parse.quote(relpath, safe="")
        address = f"{self.url('api')}/crn/datasets/{dataset}/objects/{file.key}?filename={name}"
        file.urls = [address]

    def replace(self, dataset: str, tag: str, relpath: str, data: bytes) -> None:
        """Let the address of a file give other bytes than the API describes.

        Parameters
        ----------
        dataset, tag : str
            The snapshot.
        relpath : str
            The file.
        data : bytes
            What is sent.
        """
        file = self._snapshots[dataset][tag][relpath]
        version = self.bucket.put(f"{dataset}/{relpath}", data)
        path = urllib.parse.quote(f"{self.bucket.name}/{dataset}/{relpath}")
        file.urls = [f"{self.url('s3')}/{path}?versionId={version}"]

    def fail_query(self, message: str, *, times: int = 1) -> None:
        """Let the next queries be answered with an error and status 200.

        Parameters
        ----------
        message : str
            The error's message, for example `504 Gateway Timeout`.
        times : int, default: 1
            How many queries; 0 means every one.
        """
        body = json.dumps({"errors": [{"message": message}], "data": None}).encode()
        self.fail(
            "*", Fault("status", status=200, body=body, headers=JSON_TYPE, times=times), role="api"
        )

    def fail_file(self, name: str, *, times: int = 1, role: str | None = None) -> None:
        """Let the next requests for a file be answered with a small error page and status 200.

        Parameters
        ----------
        name : str
            The file's name, or `*` for any.
        times : int, default: 1
            How many requests; 0 means every one.
        role : str, optional
            The server. If not provided, the bucket.
        """
        body = b'{"error": "an unknown error occurred accessing this file"}'
        self.fail(
            name, Fault("status", status=200, body=body, headers=JSON_TYPE, times=times), role=role
        )

    def respond(self, request: Request) -> Answer:
        """Say what a request is answered with when nothing goes wrong.

        Parameters
        ----------
        request : Request
            The request.

        Returns
        -------
        Answer
            An answer to a query, a file, a listing of the bucket, or an error.
        """
        parts = request.parts
        if request.role == "s3":
            self.bucket.etags = self.etags
            if parts[0] != self.bucket.name:
                return s3_error(404, "NoSuchBucket", "The specified bucket does not exist")
            key = "/".join(parts[1:])
            if not key:
                return self.bucket.answer_list(request.query)
            return self.bucket.answer_get(key, request)
        match parts:
            case ["crn", "graphql"] if request.method == "POST":
                return self._answer_query(request)
            case ["crn", "datasets", dataset, "objects", key]:
                return self._answer_object(dataset, key, request)
        return answer_json({"error": "not found"}, 404)

    # The API.

    def _answer_query(self, request: Request) -> Answer:
        """Answer a GraphQL query."""
        try:
            asked = json.loads(request.body)
            selections = parse_query(asked["query"])
            # The names of the arguments are OpenNeuro's.
            there = {
                "dataset": lambda **given: self._resolve_dataset(given["id"], request),
                "snapshot": lambda **given: self._resolve_snapshot(
                    given["datasetId"], given["tag"], request
                ),
            }
            data = execute(selections, there, asked.get("variables") or {})
        except PermissionError as error:
            return answer_json({"errors": [{"message": str(error)}], "data": None})
        except (GraphQLError, KeyError, TypeError, ValueError) as error:
            return answer_json({"errors": [{"message": str(error)}]}, 400)
        return answer_json({"data": data})

    def _check_access(self, dataset: str, request: Request) -> None:
        """Refuse what is not there or private; the two look alike."""
        cookies = request.headers.get("cookie", "").split("; ")
        known = any(f"accessToken={token}" in cookies for token in self.tokens)
        if dataset not in self._snapshots or (dataset in self.private and not known):
            raise PermissionError(NO_ACCESS)

    def _resolve_dataset(self, dataset: str, request: Request) -> dict[str, Any]:
        """Describe a dataset."""
        self._check_access(dataset, request)
        tags = list(self._snapshots[dataset])
        return {
            "id": dataset,
            "latestSnapshot": self._describe_snapshot(dataset, tags[-1]),
            "snapshots": [self._describe_snapshot(dataset, tag) for tag in tags],
        }

    def _resolve_snapshot(self, dataset: str, tag: str, request: Request) -> dict[str, Any]:
        """Describe a snapshot; the error about a tag that is not there says little."""
        self._check_access(dataset, request)
        if tag not in self._snapshots[dataset]:
            raise PermissionError("Unexpected end of JSON input")
        return self._describe_snapshot(dataset, tag)

    def _describe_snapshot(self, dataset: str, tag: str) -> dict[str, Any]:
        """Describe a snapshot, its files only if they are asked for."""
        files = self._snapshots[dataset][tag]

        def list_files(recursive: bool = False, tree: str = "") -> list[dict[str, Any]]:
            return _list_files(files, recursive, tree)

        size = sum(file.size for file in files.values())
        created = "2026-01-01T00:00:00.000Z"
        hexsha = hashlib.sha1(f"{dataset}:{tag}".encode(), usedforsecurity=False).hexdigest()
        more = {"hexsha": hexsha, "readme": None, "description": None, "deprecated": None}
        described = {"id": f"{dataset}:{tag}", "tag": tag, "size": size, "created": created}
        return described | more | {"files": list_files}

    def _answer_object(self, dataset: str, key: str, request: Request) -> Answer:
        """Answer with a file that is not exported, for which there are no ranges."""
        try:
            self._check_access(dataset, request)
        except PermissionError as error:
            return answer_json({"error": str(error)}, 403)
        name = request.query.get("filename", "").rpartition("/")[2]
        for files in self._snapshots[dataset].values():
            for file in files.values():
                if file.key == key:
                    return Answer(200, file.data, name=name)
        return answer_json({"error": "not found"}, 404, name=name)


def _list_files(files: Mapping[str, _File], recursive: bool, tree: str) -> list[dict[str, Any]]:
    """List the files of a snapshot: all, or one level with its folders."""
    folders = {"": ""} | {
        _tree_id(folder): folder for path in files for folder in _folders_above(path)
    }
    start = f"{folders[tree]}/" if tree else ""
    listed: dict[str, dict[str, Any]] = {}
    for path, file in files.items():
        if not path.startswith(start):
            continue
        first, deeper, _ = path[len(start) :].partition("/")
        if deeper and not recursive:
            listed[first] = _describe_file(first, _tree_id(start + first), 0, [], directory=True)
        else:
            shown = path[len(start) :]
            listed[path] = _describe_file(shown, file.key, file.size, file.urls, directory=False)
    return list(listed.values())


def _describe_file(
    name: str, identifier: str, size: int, urls: list[str] | None, *, directory: bool
) -> dict[str, Any]:
    """Describe a file or a folder."""
    return {
        "filename": name,
        "id": identifier,
        "key": identifier,
        "size": size,
        "urls": urls,
        "directory": directory,
        "annexed": "--" in identifier,
    }


def _folders_above(path: str) -> list[str]:
    """List the folders a path is in."""
    parts = path.split("/")[:-1]
    return ["/".join(parts[: n + 1]) for n in range(len(parts))]


def _tree_id(folder: str) -> str:
    """Make the id of a folder."""
    return hashlib.sha1(f"tree {folder}".encode(), usedforsecurity=False).hexdigest()


def _identify(relpath: str, data: bytes, backend: str) -> str:
    """Make the id of a file: its git blob's hash, or an annex key."""
    name = relpath.rpartition("/")[2]
    if name.endswith(PLAIN):
        blob = b"blob %d\0" % len(data) + data
        return hashlib.sha1(blob, usedforsecurity=False).hexdigest()
    hexdigest = (md5_of if backend == "MD5E" else sha256_of)(data)
    # git-annex keeps at most two short extensions.
    ends = "".join(f".{part}" for part in name.split(".")[1:][-2:] if len(part) <= 4)
    return f"{backend}-s{len(data)}--{hexdigest}{ends}"
