"""The emulated Dataverse installation answers as a real one does."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from confusius_datasets.testing import LocalDataverse

PID = "doi:10.17617/3.7QCU1F"
LARGE = bytes(range(256)) * 40
FILES = {"README": b"", "code/table.csv": b"a,b\n1,2\n", "sub-01/fusi/x_pwd.nii.gz": LARGE}


@pytest.fixture
def dataverse() -> Iterator[LocalDataverse]:
    """Serve a dataset."""
    with LocalDataverse() as server:
        server.add_dataset(PID, FILES, ids={"sub-01/fusi/x_pwd.nii.gz": 343674})
        yield server


def list_files(
    server: LocalDataverse, version: str = ":latest-published", **query: str
) -> requests.Response:
    """Ask for the files of a version."""
    base = f"{server.environ['CONFUSIUS_DATAVERSE_URL']}/api/datasets/:persistentId/versions"
    params = {"persistentId": PID, **query}
    return requests.get(f"{base}/{version}/files", params=params, timeout=5)


def access(
    server: LocalDataverse, relpath: str, query: str = "", method: str = "GET", **more: Any
) -> requests.Response:
    """Ask for a file by its id."""
    address = f"{server.url('api')}/api/access/datafile/{server.file_id(PID, relpath)}{query}"
    return requests.request(method, address, timeout=5, **more)


def test_listing_of_a_version_has_folders_ids_and_checksums(dataverse: LocalDataverse) -> None:
    """One request lists all; a file at the root has no `directoryLabel`."""
    document = list_files(dataverse).json()

    entries = {entry["label"]: entry for entry in document["data"]}
    assert (document["status"], document["totalCount"]) == ("OK", 3)
    assert list(entries) == ["README", "table.csv", "x_pwd.nii.gz"]
    assert "directoryLabel" not in entries["README"]
    assert entries["x_pwd.nii.gz"]["directoryLabel"] == "sub-01/fusi"
    file = entries["x_pwd.nii.gz"]["dataFile"]
    md5 = hashlib.md5(LARGE).hexdigest()  # noqa: S324
    assert (file["id"], file["filesize"], file["tabularData"]) == (343674, len(LARGE), False)
    assert file["checksum"] == {"type": "MD5", "value": md5}
    assert file["md5"] == md5


@pytest.mark.parametrize("kind", ["SHA-1", "SHA-256", "SHA-512"])
def test_other_checksums_have_no_md5(dataverse: LocalDataverse, kind: str) -> None:
    """The field `md5` is there only where that is the checksum."""
    dataverse.add_dataset(PID, {"x": b"x"}, version="2.0", checksum=kind)

    file = list_files(dataverse).json()["data"][0]["dataFile"]

    value = hashlib.new(kind.replace("-", ""), b"x").hexdigest()
    assert file["checksum"] == {"type": kind, "value": value}
    assert "md5" not in file


def test_versions_are_found_by_number_and_by_name(dataverse: LocalDataverse) -> None:
    """The newest published version counts by its numbers; a draft is for those with a token."""
    dataverse.tokens = {"secret"}
    for version in ("2.0", "10.0", ":draft"):
        dataverse.add_dataset(PID, {f"of-{version}": b"x"}, version=version)

    def label(version: str, **headers: str) -> Any:
        base = f"{dataverse.url('api')}/api/datasets/:persistentId/versions/{version}/"
        answer = requests.get(base, params={"persistentId": PID}, headers=headers, timeout=5)
        return answer.json().get("data", {}).get("files", [{}])[0].get("label", answer.status_code)

    assert label(":latest-published") == label(":latest") == "of-10.0"
    assert label("2.0") == "of-2.0"
    assert label("3.0") == 404
    assert label(":draft") == 401
    assert label(":draft", **{"X-Dataverse-key": "secret"}) == "of-:draft"
    assert label(":latest", **{"X-Dataverse-key": "secret"}) == "of-:draft"
    assert label("2.0", **{"X-Dataverse-key": "wrong"}) == 401


def test_listing_is_cut_and_narrowed_as_asked(dataverse: LocalDataverse) -> None:
    """`limit` and `offset` cut, the count stays; an unknown order is 400 with a message."""
    page = list_files(dataverse, limit="1", offset="1").json()
    found = list_files(dataverse, searchText="table").json()
    wrong = list_files(dataverse, orderCriteria="Name")

    assert [entry["label"] for entry in page["data"]] == ["table.csv"]
    assert page["totalCount"] == 3
    assert [entry["label"] for entry in found["data"]] == ["table.csv"]
    assert (wrong.status_code, wrong.json()["status"]) == (400, "ERROR")


def test_access_leads_to_a_signed_address_with_ranges(dataverse: LocalDataverse) -> None:
    """303 to the store, which honours ranges, suffixes too, and has a validator."""
    answer = access(dataverse, "sub-01/fusi/x_pwd.nii.gz", allow_redirects=False)
    signed = answer.headers["Location"]

    tail = requests.get(signed, headers={"Range": "bytes=-22"}, timeout=5)

    assert answer.status_code == 303
    assert signed.startswith(dataverse.url("store"))
    assert (tail.status_code, tail.content) == (206, LARGE[-22:])
    assert tail.headers["Content-Range"] == f"bytes {len(LARGE) - 22}-{len(LARGE) - 1}/{len(LARGE)}"
    assert tail.headers["ETag"] == f'"{hashlib.md5(LARGE).hexdigest()}"'  # noqa: S324
    assert access(dataverse, "README").content == b""


def test_signed_address_is_for_get_and_expires(dataverse: LocalDataverse) -> None:
    """HEAD on it is 403, and so is everything after its time."""
    answer = access(dataverse, "sub-01/fusi/x_pwd.nii.gz", allow_redirects=False)
    signed = answer.headers["Location"]
    assert requests.head(signed, timeout=5).status_code == 403
    assert requests.get(signed, timeout=5).status_code == 200

    dataverse.advance(3601)

    expired = requests.get(signed, timeout=5)
    assert (expired.status_code, "expired" in expired.text) == (403, True)
    assert access(dataverse, "sub-01/fusi/x_pwd.nii.gz").content == LARGE
    dataverse.expire_signatures()
    assert requests.get(signed, timeout=5).status_code == 403


def test_streamed_file_has_no_validator(dataverse: LocalDataverse) -> None:
    """Without redirects: one range, suffixes too, no `ETag`, and `If-Range` is ignored."""
    dataverse.redirects = False
    relpath = "sub-01/fusi/x_pwd.nii.gz"

    whole = access(dataverse, relpath)
    part = access(dataverse, relpath, headers={"Range": "bytes=5-9", "If-Range": '"other"'})
    tail = access(dataverse, relpath, headers={"Range": "bytes=-3"})
    several = access(dataverse, relpath, headers={"Range": "bytes=1-2,5-6"})

    assert (whole.status_code, whole.content) == (200, LARGE)
    assert {"ETag", "Accept-Ranges"}.isdisjoint(whole.headers)
    assert (part.status_code, part.content) == (206, LARGE[5:10])
    assert part.headers["Accept-Ranges"] == "bytes"
    assert tail.content == LARGE[-3:]
    assert several.status_code == 416


def test_range_of_an_empty_streamed_file_is_404(dataverse: LocalDataverse) -> None:
    """An empty file must be asked for whole."""
    dataverse.redirects = False

    assert access(dataverse, "README").status_code == 200
    assert access(dataverse, "README", headers={"Range": "bytes=0-"}).status_code == 404


@pytest.mark.parametrize("redirects", [True, False])
def test_tabular_file_is_itself_only_as_original(
    dataverse: LocalDataverse, redirects: bool
) -> None:
    """The listing shows the converted table with the checksum of the upload."""
    dataverse.redirects = redirects
    dataverse.ingest(PID, "code/table.csv", b"a\tb\n1\t2\n\n")

    entry = list_files(dataverse).json()["data"][1]

    file = entry["dataFile"]
    original = access(dataverse, "code/table.csv", "?format=original").content
    assert (entry["label"], file["tabularData"], file["filesize"]) == ("table.tab", True, 9)
    assert (file["originalFileName"], file["originalFileSize"]) == ("table.csv", 8)
    assert access(dataverse, "code/table.csv").content == b"a\tb\n1\t2\n\n"
    assert original == FILES["code/table.csv"]
    assert file["md5"] == hashlib.md5(original).hexdigest()  # noqa: S324
    assert access(dataverse, "sub-01/fusi/x_pwd.nii.gz", "?format=original").content == LARGE


def test_refusals_are_json_with_a_message(dataverse: LocalDataverse) -> None:
    """403 for what is restricted, 400 for a guestbook, 404 for what is not there."""
    dataverse.tokens = {"secret"}
    dataverse.restrict(PID, "README")
    gone = requests.get(f"{dataverse.url('api')}/api/access/datafile/1", timeout=5)

    refused = access(dataverse, "README")
    allowed = access(dataverse, "README", headers={"X-Dataverse-key": "secret"})
    dataverse.guestbooks.add(PID)
    asked = access(dataverse, "code/table.csv")

    assert list_files(dataverse).json()["data"][0]["restricted"]
    assert [answer.status_code for answer in (gone, refused, allowed)] == [404, 403, 200]
    assert asked.status_code == 400
    assert "Guestbook" in asked.json()["message"]


def test_downloads_are_counted_unless_asked_not_to(dataverse: LocalDataverse) -> None:
    """`gbrecs=true` keeps the count as it is."""
    access(dataverse, "README", "?gbrecs=true")
    access(dataverse, "README")

    assert dataverse.downloads == {dataverse.file_id(PID, "README"): 1}


def test_replaced_and_removed_files_stay_listed(dataverse: LocalDataverse) -> None:
    """What a listing says and what access gives can differ, which tests need."""
    before = list_files(dataverse).json()
    dataverse.replace(PID, "README", b"other")
    dataverse.remove(PID, "code/table.csv")

    assert list_files(dataverse).json() == before
    assert access(dataverse, "README").content == b"other"
    assert access(dataverse, "code/table.csv").status_code == 404
