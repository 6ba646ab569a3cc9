"""A server on this machine that emulates Zenodo."""

from __future__ import annotations

import math
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from confusius_datasets.testing.answers import Answer, answer_json
from confusius_datasets.testing.faults import Request
from confusius_datasets.testing.host import LocalHost, md5_of

__all__ = ["LocalZenodo"]

REFUSED_AGENTS = ("python-requests", "python-urllib", "pooch", "aria2")
"""How the user agents begin that get 403: programs that do not say whose they are."""


@dataclass(slots=True)
class _Record:
    """A record: one version of a deposit."""

    concept: str
    files: dict[str, bytes]
    deleted: bool = False
    restricted: bool = False
    spoilt: dict[str, bytes] = field(default_factory=dict)  # what is sent in place of a file


class LocalZenodo(LocalHost):
    """A server on this machine that emulates Zenodo; a context manager.

    Its one server is `web`.

    Parameters
    ----------
    latency_s : float, default: 0
        Time that every request takes on the way, and every new connection once more.
    bandwidth : float, optional
        Bytes a second of each connection. If not provided, there is no limit.

    Attributes
    ----------
    refused_agents : tuple of str
        Beginnings of user agents that get 403.

    Examples
    --------
    >>> from confusius_datasets.testing import LocalZenodo
    >>> with LocalZenodo() as zenodo:
    ...     zenodo.add_record("15476373", {"dataset.zip": b"x"})
    ...     sorted(zenodo.environ)
    ['CONFUSIUS_ZENODO_URL']
    """

    ROLES: ClassVar[tuple[str, ...]] = ("web",)
    DATA_ROLE: ClassVar[str] = "web"

    def __init__(self, *, latency_s: float = 0.0, bandwidth: float | None = None) -> None:
        super().__init__(latency_s=latency_s, bandwidth=bandwidth)
        self.refused_agents = REFUSED_AGENTS
        self._records: dict[str, _Record] = {}

    @property
    def environ(self) -> dict[str, str]:
        """Variables that point the package at this server."""
        return {"CONFUSIUS_ZENODO_URL": self.url("web")}

    def add_record(
        self, record: str, files: Mapping[str, bytes], *, concept: str | None = None
    ) -> None:
        """Put a record on the server.

        Parameters
        ----------
        record : str
            Its id.
        files : mapping of str to bytes
            Content by key; keys have no folders in practice.
        concept : str, optional
            Id that all versions of the deposit share. If not provided, the record is alone.
        """
        self._records[record] = _Record(concept or record, dict(files))

    def replace(self, record: str, key: str, data: bytes | None) -> None:
        """Replace or, with None, remove a file of a record.

        Parameters
        ----------
        record : str
            Id of the record.
        key : str
            The file's key.
        data : bytes, optional
            The new content.
        """
        del self._records[record].files[key]
        if data is not None:
            self._records[record].files[key] = data

    def spoil(self, record: str, key: str, data: bytes) -> None:
        """Let the address of a file give other bytes than the record describes.

        Parameters
        ----------
        record : str
            Id of the record.
        key : str
            The file's key.
        data : bytes
            What is sent.
        """
        self._records[record].spoilt[key] = data

    def delete_record(self, record: str) -> None:
        """Delete a record: it is 410 from then on.

        Parameters
        ----------
        record : str
            Its id.
        """
        self._records[record].deleted = True

    def restrict(self, record: str) -> None:
        """Let only requests with one of `tokens` have the files of a record.

        Parameters
        ----------
        record : str
            Its id.
        """
        self._records[record].restricted = True

    def limit_guests(self, per_minute: int = 60, per_hour: int = 2000) -> None:
        """Limit requests without a token as Zenodo documents it.

        Parameters
        ----------
        per_minute : int, default: 60
            Requests in a minute.
        per_hour : int, default: 2000
            Requests in an hour.
        """
        self.limit("web", per_minute, seconds=60, anonymous=True)
        self.limit("web", per_hour, seconds=3600, anonymous=True)

    def answer(self, request: Request) -> Answer:
        """Say what a request is answered with, and how many more may come.

        Parameters
        ----------
        request : Request
            The request.

        Returns
        -------
        Answer
            With what goes wrong, and with `X-RateLimit-…` where there is a limit.
        """
        answer = super().answer(request)
        if not (limits := self.limits("web")):
            return answer
        now = self.now()
        tightest = min(limits, key=lambda one: one.requests - len(one.times))
        ends_in = tightest.times[0] + tightest.seconds - now if tightest.times else 0.0
        headers = {
            "X-RateLimit-Limit": str(tightest.requests),
            "X-RateLimit-Remaining": str(max(tightest.requests - len(tightest.times), 0)),
            "X-RateLimit-Reset": str(math.ceil(now + ends_in)),
        }
        return replace(answer, headers=dict(answer.headers) | headers)

    def refuse(self, request: Request, wait_s: int, name: str) -> Answer:
        """Say what a request over the limit is answered with.

        Parameters
        ----------
        request : Request
            The request.
        wait_s : int
            Seconds until the next one is answered.
        name : str
            Name of the file it is about.

        Returns
        -------
        Answer
            429 with `Retry-After`.
        """
        refusal = _error(429, f"{wait_s} s until the next request.", name=name)
        return replace(refusal, headers=dict(refusal.headers) | {"Retry-After": str(wait_s)})

    def respond(self, request: Request) -> Answer:
        """Say what a request is answered with when nothing goes wrong.

        Parameters
        ----------
        request : Request
            The request.

        Returns
        -------
        Answer
            A record, a file, or an error.
        """
        agent = request.headers.get("user-agent", "").lower()
        if not agent or agent.startswith(self.refused_agents):
            page = b"<html><body>Unusual traffic</body></html>\n"
            return Answer(403, page, {"Content-Type": "text/html"})
        parts = request.parts
        api = parts[:1] == ["api"]
        match parts[1:] if api else parts:
            case ["records", identifier, *rest]:
                pass
            case _:
                return _error(404, "The requested URL was not found on the server.")
        found = self._find(identifier)
        if isinstance(found, Answer):
            return found
        if api and rest == ["versions", "latest"]:
            return self._redirect_to_newest(found.concept)
        if not api:
            return self._answer_download(found, request, rest)
        return self._answer_api(identifier, found, request, rest)

    def _find(self, identifier: str) -> _Record | Answer:
        """Find a record; a concept leads to its newest version."""
        record = self._records.get(identifier)
        if record is None and any(one.concept == identifier for one in self._records.values()):
            return self._redirect_to_newest(identifier)
        if record is None:
            return _error(404, "The persistent identifier does not exist.")
        return _error(410, "The record has been deleted.") if record.deleted else record

    def _redirect_to_newest(self, concept: str) -> Answer:
        """Lead to the newest version of a deposit."""
        newest = max(
            (name for name, record in self._records.items() if record.concept == concept), key=int
        )
        return Answer(301, headers={"Location": f"{self.url('web')}/api/records/{newest}"})

    def _answer_api(
        self, identifier: str, record: _Record, request: Request, rest: list[str]
    ) -> Answer:
        """Answer for the API: a record, its files, or a whole file."""
        match rest:
            case []:
                files = [self._describe(identifier, key) for key in record.files]
                return answer_json({"id": int(identifier), "files": files})
            case ["files"]:
                entries = [self._describe(identifier, key) for key in record.files]
                return answer_json({"enabled": True, "entries": entries})
            case ["files", key, "content"] if key in record.files:
                refusal = self._refuse_file(record, request, key)
                # The API knows no ranges and sends no validator (zenodo#2593).
                return refusal or Answer(200, record.files[key], name=_name(key))
        return _error(404, "Not found.")

    def _answer_download(self, record: _Record, request: Request, rest: list[str]) -> Answer:
        """Answer with a file, which the store sends: ranges and a validator are there."""
        match rest:
            case ["files", key] if key in record.files:
                pass
            case _:
                return _error(404, "Not found.")
        data = record.spoilt.get(key, record.files[key])
        headers = {"Content-Type": "application/octet-stream", "Content-MD5": md5_of(data)}
        etag = f'"md5:{md5_of(data)}"' if self.etags else None
        refusal = self._refuse_file(record, request, key)
        return refusal or Answer(200, data, headers, _name(key), etag, ranges="all")

    def _refuse_file(self, record: _Record, request: Request, key: str) -> Answer | None:
        """Refuse a file of a restricted record to those without a token."""
        if record.restricted and request.token not in self.tokens:
            return _error(403, "Permission denied.", name=_name(key))
        return None

    def _describe(self, record: str, key: str) -> dict[str, Any]:
        """Describe a file."""
        data = self._records[record].files[key]
        link = f"{self.url('web')}/api/records/{record}/files/{urllib.parse.quote(key, safe='')}"
        return {
            "id": md5_of(f"{record}/{key}".encode()),
            "key": key,
            "size": len(data),
            "checksum": f"md5:{md5_of(data)}",
            "links": {"self": f"{link}/content", "content": f"{link}/content"},
        }


def _name(key: str) -> str:
    """Return the name of a file, by which faults and requests are found."""
    return key.rpartition("/")[2]


def _error(status: int, message: str, *, name: str = "") -> Answer:
    """Answer with an error, as Zenodo does."""
    return answer_json({"status": status, "message": message}, status, name=name)
