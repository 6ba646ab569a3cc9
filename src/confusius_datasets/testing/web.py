"""A server on this machine that emulates a plain web folder."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Mapping
from typing import ClassVar, Literal

from confusius_datasets.testing.answers import Answer, RangeSupport
from confusius_datasets.testing.faults import Request
from confusius_datasets.testing.host import LocalHost, md5_of, sha256_of

__all__ = ["LocalWeb"]

NOT_FOUND = b"<html><head><title>404 Not Found</title></head></html>\n"


class LocalWeb(LocalHost):
    """A server on this machine that emulates a web server with folders; a context manager.

    Its one server is `web`. An address is what points the package at it: `url("web")` and the path
    of a folder's list.

    Parameters
    ----------
    latency_s : float, default: 0
        Time that every request takes on the way, and every new connection once more.
    bandwidth : float, optional
        Bytes a second of each connection. If not provided, there is no limit.

    Attributes
    ----------
    etags : bool
        Whether files are sent with an entity tag.
    ranges : {"none", "from-to", "all"}
        Which ranges the server honours.
    private : set of str
        Folders that only requests with one of `tokens` see.

    Examples
    --------
    >>> from confusius_datasets.testing import LocalWeb
    >>> with LocalWeb() as web:
    ...     web.add_folder("data/mine", {"README": b"x"}).rpartition("/")[2]
    'manifest.json'
    """

    ROLES: ClassVar[tuple[str, ...]] = ("web",)
    DATA_ROLE: ClassVar[str] = "web"

    def __init__(self, *, latency_s: float = 0.0, bandwidth: float | None = None) -> None:
        super().__init__(latency_s=latency_s, bandwidth=bandwidth)
        self.ranges: RangeSupport = "all"
        self.private: set[str] = set()
        self._files: dict[str, bytes] = {}

    def add_folder(
        self,
        folder: str,
        files: Mapping[str, bytes],
        *,
        index: Literal["manifest.json", "dataset_index.json"] = "manifest.json",
        hashes: Literal["sha256", "md5"] | None = "sha256",
    ) -> str:
        """Put a dataset and its list into a folder.

        Parameters
        ----------
        folder : str
            Path of the folder.
        files : mapping of str to bytes
            Content by path below it.
        index : {"manifest.json", "dataset_index.json"}, default: "manifest.json"
            Name of the list.
        hashes : {"sha256", "md5"}, optional
            Which hash the list has. With None, it has sizes alone.

        Returns
        -------
        str
            Address of the list.
        """
        entries: dict[str, dict[str, object]] = {}
        for relpath, data in files.items():
            self.put(f"{folder}/{relpath}", data)
            entries[relpath] = {"size": len(data)}
            if hashes:
                entries[relpath][hashes] = (md5_of if hashes == "md5" else sha256_of)(data)
        self.put(f"{folder}/{index}", json.dumps(entries, indent=2, sort_keys=True).encode())
        return f"{self.url('web')}/{urllib.parse.quote(folder)}/{index}"

    def put(self, path: str, data: bytes) -> None:
        """Add or replace one file, and no list.

        Parameters
        ----------
        path : str
            Path from the root of the server.
        data : bytes
            Its content.
        """
        self._files[path] = data

    def remove(self, path: str) -> None:
        """Remove one file, and change no list.

        Parameters
        ----------
        path : str
            Path from the root of the server.
        """
        del self._files[path]

    def respond(self, request: Request) -> Answer:
        """Say what a request is answered with when nothing goes wrong.

        Parameters
        ----------
        request : Request
            The request.

        Returns
        -------
        Answer
            A file, or an error.
        """
        path = "/".join(request.parts)
        name = path.rpartition("/")[2]
        if request.method not in ("GET", "HEAD"):
            return Answer(405, headers={"Allow": "GET, HEAD"}, name=name)
        hidden = any(path.startswith(f"{folder}/") for folder in self.private)
        if hidden and request.token not in self.tokens:
            return Answer(401, headers={"WWW-Authenticate": "Bearer"}, name=name)
        if path not in self._files:
            return Answer(404, NOT_FOUND, {"Content-Type": "text/html"}, name)
        data = self._files[path]
        headers = {"Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}
        if self.ranges != "none":
            headers["Accept-Ranges"] = "bytes"
        etag = f'"{len(data):x}-{md5_of(data)[:12]}"' if self.etags else None
        return Answer(200, data, headers, name, etag, ranges=self.ranges)
