"""The emulated Zenodo answers as the real one does."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest
import requests

from confusius_datasets.testing import LocalZenodo

DATA = bytes(range(256)) * 40
MD5 = hashlib.md5(DATA).hexdigest()  # noqa: S324


@pytest.fixture
def zenodo() -> Iterator[LocalZenodo]:
    """Serve two versions of a deposit."""
    with LocalZenodo() as server:
        server.add_record("15476373", {"data set.zip": DATA, "empty.txt": b""}, concept="15476372")
        server.add_record("9999", {"data set.zip": b"older"}, concept="15476372")
        yield server


def get(server: LocalZenodo, path: str, **headers: str) -> requests.Response:
    """Ask for a path under a user agent of one's own."""
    given = {"User-Agent": "a-lab/1.0"} | headers
    return requests.get(f"{server.environ['CONFUSIUS_ZENODO_URL']}{path}", headers=given, timeout=5)


def test_record_lists_its_files_with_md5(zenodo: LocalZenodo) -> None:
    """Both forms of the listing name key, size and checksum, and link to the API's content."""
    record = get(zenodo, "/api/records/15476373").json()
    entries = get(zenodo, "/api/records/15476373/files").json()["entries"]

    file = record["files"][0]
    assert record["files"] == entries
    assert (file["key"], file["size"], file["checksum"]) == ("data set.zip", 10240, f"md5:{MD5}")
    assert file["links"]["self"].endswith("/api/records/15476373/files/data%20set.zip/content")


def test_concept_leads_to_the_newest_version(zenodo: LocalZenodo) -> None:
    """The number of all versions is redirected to that of the newest, by number."""
    answer = get(zenodo, "/api/records/15476372/versions/latest")

    assert answer.history[0].status_code == 301
    assert answer.json()["id"] == 15476373
    assert get(zenodo, "/api/records/15476372").json()["id"] == 15476373
    assert get(zenodo, "/api/records/9999/versions/latest").json()["id"] == 15476373


def test_download_address_knows_ranges_and_the_api_does_not(zenodo: LocalZenodo) -> None:
    """Below `/records/` there are ranges and a validator, below `/api/` neither."""
    page = "/records/15476373/files/data%20set.zip?download=1"
    content = "/api/records/15476373/files/data%20set.zip/content"

    part = get(zenodo, page, Range="bytes=-22")
    whole = get(zenodo, content, Range="bytes=-22")

    assert (part.status_code, part.content) == (206, DATA[-22:])
    assert (part.headers["ETag"], part.headers["Content-MD5"]) == (f'"md5:{MD5}"', MD5)
    assert get(zenodo, page, Range="bytes=5-", **{"If-Range": '"other"'}).status_code == 200
    assert (whole.status_code, whole.content) == (200, DATA)
    assert {"ETag", "Accept-Ranges"}.isdisjoint(whole.headers)


@pytest.mark.parametrize("agent", ["python-requests/2.32", "pooch/1.8", "aria2/1.37"])
def test_some_user_agents_are_refused(zenodo: LocalZenodo, agent: str) -> None:
    """Programs that do not say whose they are get 403."""
    assert get(zenodo, "/api/records/9999", **{"User-Agent": agent}).status_code == 403
    assert get(zenodo, "/api/records/9999").status_code == 200


def test_guests_are_limited_and_told_so(zenodo: LocalZenodo) -> None:
    """Each answer counts down; the one too many is 429 with a time; a token is free."""
    zenodo.limit_guests(per_minute=2)

    answers = [get(zenodo, "/api/records/9999") for _ in range(3)]
    free = get(zenodo, "/api/records/9999", Authorization="Bearer x")
    zenodo.advance(61)

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["1", "0", "0"]
    assert answers[2].headers["X-RateLimit-Limit"] == "2"
    assert 1 <= int(answers[2].headers["Retry-After"]) <= 60
    assert answers[2].json()["status"] == 429
    assert free.status_code == 200
    assert get(zenodo, "/api/records/9999").status_code == 200


def test_deleted_missing_and_restricted_records_are_told_apart(zenodo: LocalZenodo) -> None:
    """410, 404 and 403, each as JSON."""
    zenodo.tokens = {"secret"}
    zenodo.restrict("15476373")
    zenodo.delete_record("9999")
    page = "/records/15476373/files/empty.txt"

    answers = [get(zenodo, path) for path in ("/api/records/9999", "/api/records/1", page)]

    assert [answer.status_code for answer in answers] == [410, 404, 403]
    assert [answer.json()["status"] for answer in answers] == [410, 404, 403]
    assert get(zenodo, page, Authorization="Bearer secret").status_code == 200
