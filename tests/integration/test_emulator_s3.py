"""The emulated release bucket answers as S3 does."""

from __future__ import annotations

import configparser
import hashlib
import xml.etree.ElementTree as ET  # the documents are our own
from collections.abc import Iterator

import pytest
import requests

from confusius_datasets.testing import LocalS3

ROOT = "nunez-elizalde-2022-bids"
FILES = {"README": b"", "sub-01/a b+ü.json": b"{}", "sub-01/x_pwd.nii.gz": bytes(range(256)) * 40}
NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"


@pytest.fixture
def s3() -> Iterator[LocalS3]:
    """Serve a release."""
    with LocalS3() as server:
        server.add_release(ROOT, "1.0.0", FILES)
        yield server


def list_keys(address: str, **query: str | int) -> tuple[list[str], list[str]]:
    """Walk a listing; return keys and common prefixes as they stand there."""
    keys: list[str] = []
    prefixes: list[str] = []
    params: dict[str, str | int] = {"list-type": 2, **query}
    while True:
        answer = requests.get(address, params=params, timeout=5)
        document = ET.fromstring(answer.content)  # noqa: S314
        keys += [str(node.text) for node in document.iter(f"{NAMESPACE}Key")]
        nodes = document.iter(f"{NAMESPACE}CommonPrefixes")
        prefixes += [str(node[0].text) for node in nodes]
        token = document.findtext(f"{NAMESPACE}NextContinuationToken")
        assert (document.findtext(f"{NAMESPACE}IsTruncated") == "true") == bool(token)
        if not token:
            return keys, prefixes
        params["continuation-token"] = token


def test_catalogue_leads_to_the_manifest_and_it_to_the_files(s3: LocalS3) -> None:
    """The catalogue names the version, the manifest size and SHA-256 of each file but itself."""
    base = s3.environ["CONFUSIUS_S3_URL"]
    catalogue = configparser.ConfigParser(interpolation=None)
    catalogue.read_string(requests.get(f"{base}/last_versions.conf", timeout=5).text)
    folder = f"{base}/datasets/{ROOT}/{catalogue['datasets'][ROOT]}"

    manifest = requests.get(f"{folder}/manifest.json", timeout=5).json()

    assert set(manifest) == set(FILES)
    assert catalogue.sections() == ["datasets", "templates"]
    for relpath, data in FILES.items():
        assert manifest[relpath] == {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    address = f"{folder}/sub-01/a%20b%2B%C3%BC.json"
    assert requests.get(address, timeout=5).content == b"{}"


def test_older_version_stays_and_the_catalogue_names_the_newest(s3: LocalS3) -> None:
    """A pinned version is reached by its manifest, whatever the catalogue says."""
    s3.add_release(ROOT, "1.1.0", {"README": b"new"})
    s3.add_release("huang-2025-template", "1.0.0", {"x.nii.gz": b"t"}, kind="templates")
    base = s3.url("bucket")

    catalogue = requests.get(f"{base}/last_versions.conf", timeout=5).text
    old = requests.get(f"{base}/datasets/{ROOT}/1.0.0/manifest.json", timeout=5)

    assert f"{ROOT} = 1.1.0" in catalogue
    assert "huang-2025-template = 1.0.0" in catalogue.partition("[templates]")[2]
    assert len(old.json()) == len(FILES)


def test_both_styles_of_address_give_the_object(s3: LocalS3) -> None:
    """The bucket stands in the host name or at the beginning of the path."""
    key = f"datasets/{ROOT}/1.0.0/sub-01/x_pwd.nii.gz"
    virtual = {"Host": "confusius-datasets.s3.us-west-2.amazonaws.com"}

    by_path = requests.get(f"{s3.url('path')}/confusius-datasets/{key}", timeout=5)
    by_host = requests.get(f"{s3.url('path')}/{key}", headers=virtual, timeout=5)
    neither = requests.get(f"{s3.url('path')}/other/{key}", timeout=5)

    assert by_path.content == by_host.content == FILES["sub-01/x_pwd.nii.gz"]
    assert neither.status_code == 404
    assert "<Code>NoSuchBucket</Code>" in neither.text


@pytest.mark.parametrize(
    ("asked", "status", "part"),
    [
        ("bytes=0-", 206, slice(0, None)),
        ("bytes=5-9", 206, slice(5, 10)),
        ("bytes=-7", 206, slice(-7, None)),
        ("bytes=-99999", 206, slice(0, None)),
        ("bytes=10-99999", 206, slice(10, None)),
        ("bytes=9-5", 200, slice(0, None)),
        ("bytes=1-2,5-6", 200, slice(0, None)),
    ],
)
def test_range_is_honoured(s3: LocalS3, asked: str, status: int, part: slice) -> None:
    """Ranges of one piece, suffixes too; what is no such range is ignored."""
    data = FILES["sub-01/x_pwd.nii.gz"]
    address = f"{s3.url('bucket')}/datasets/{ROOT}/1.0.0/sub-01/x_pwd.nii.gz"

    answer = requests.get(address, headers={"Range": asked}, timeout=5)

    assert (answer.status_code, answer.content) == (status, data[part])
    assert answer.headers["ETag"] == f'"{hashlib.md5(data).hexdigest()}"'  # noqa: S324
    if status == 206:
        first = data.index(data[part]) if asked != "bytes=-7" else len(data) - 7
        last = first + len(data[part]) - 1
        assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{len(data)}"


def test_range_outside_and_validators(s3: LocalS3) -> None:
    """416 names the size; `If-Range`, `If-Match` and `If-None-Match` compare the `ETag`."""
    base = f"{s3.url('bucket')}/datasets/{ROOT}/1.0.0"
    address = f"{base}/sub-01/x_pwd.nii.gz"
    etag = requests.head(address, timeout=5).headers["ETag"]

    def status(url: str, **headers: str) -> int:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return requests.get(url, headers=given, timeout=5).status_code

    outside = requests.get(address, headers={"Range": "bytes=99999-"}, timeout=5)
    assert (outside.status_code, outside.headers["Content-Range"]) == (416, "bytes */10240")
    assert "<Code>InvalidRange</Code>" in outside.text
    assert status(f"{base}/README", Range="bytes=0-") == 416
    assert status(address, Range="bytes=5-", If_Range=etag) == 206
    assert status(address, Range="bytes=5-", If_Range='"other"') == 200
    assert status(address, If_None_Match=etag) == 304
    assert status(address, If_Match='"other"') == 412


def test_head_has_the_size_and_no_body(s3: LocalS3) -> None:
    """HEAD answers with size, `ETag` and `Accept-Ranges`; its errors have no body."""
    base = f"{s3.url('bucket')}/datasets/{ROOT}/1.0.0"

    there = requests.head(f"{base}/sub-01/x_pwd.nii.gz", timeout=5)
    gone = requests.head(f"{base}/gone", timeout=5)

    assert (there.headers["Content-Length"], there.headers["Accept-Ranges"]) == ("10240", "bytes")
    assert (gone.status_code, gone.content) == (404, b"")


def test_large_object_has_the_etag_of_its_parts(s3: LocalS3) -> None:
    """Above the size of a part, the `ETag` is no md5 of the object."""
    s3.bucket.part_nbytes = 1000
    s3.bucket.put("large", b"x" * 2500)

    etag = requests.head(f"{s3.url('bucket')}/large", timeout=5).headers["ETag"]

    md5s = [hashlib.md5(b"x" * size).digest() for size in (1000, 1000, 500)]  # noqa: S324
    assert etag == f'"{hashlib.md5(b"".join(md5s)).hexdigest()}-3"'  # noqa: S324


@pytest.mark.parametrize(
    ("listable", "status", "code"), [(True, 404, "NoSuchKey"), (False, 403, "AccessDenied")]
)
def test_missing_object_is_404_or_403(s3: LocalS3, listable: bool, status: int, code: str) -> None:
    """Where nobody may list the bucket, nobody learns that an object is missing."""
    s3.bucket.listable = listable

    answer = requests.get(f"{s3.url('bucket')}/gone&<", timeout=5)

    assert answer.status_code == status
    assert ET.fromstring(answer.content).findtext("Code") == code  # noqa: S314
    assert requests.get(s3.url("bucket"), timeout=5).ok == listable


def test_version_of_an_object_stays_when_it_is_replaced_or_deleted(s3: LocalS3) -> None:
    """`versionId` gives what was there; the plain address what is."""
    first = s3.bucket.put("x", b"old")
    s3.bucket.put("x", b"new")
    address = f"{s3.url('bucket')}/x"
    assert requests.get(address, timeout=5).content == b"new"

    s3.bucket.delete("x")

    assert requests.get(address, timeout=5).status_code == 404
    assert requests.get(address, params={"versionId": first}, timeout=5).content == b"old"
    assert requests.get(address, params={"versionId": "none"}, timeout=5).status_code == 404


def test_listing_comes_in_pages_with_opaque_tokens(s3: LocalS3) -> None:
    """All keys below a prefix, once each, however small the pages."""
    for number in range(25):
        s3.bucket.put(f"ds/sub-{number:02d}/a b&.tsv", b"x")
    address = s3.url("bucket")

    keys, _ = list_keys(address, prefix="ds/", **{"max-keys": 7, "encoding-type": "url"})
    plain, _ = list_keys(address, prefix="ds/sub-03")
    top, prefixes = list_keys(address, prefix="ds/", delimiter="/", **{"max-keys": 4})

    assert keys == [f"ds/sub-{number:02d}/a%20b%26.tsv" for number in range(25)]
    assert plain == ["ds/sub-03/a b&.tsv"]
    assert (top, prefixes) == ([], [f"ds/sub-{number:02d}/" for number in range(25)])
    assert len(s3.requests) == 4 + 1 + 7
    wrong = requests.get(address, params={"continuation-token": "sub-03"}, timeout=5)
    assert wrong.status_code == 400


def test_slow_down_is_503_in_xml_and_so_is_a_limit(s3: LocalS3) -> None:
    """S3 says 503 `SlowDown`, and no time to wait."""
    address = f"{s3.url('bucket')}/last_versions.conf"
    s3.slow_down("last_versions.conf")

    first, second = (requests.get(address, timeout=5) for _ in range(2))
    s3.limit("bucket", 0, seconds=60)
    third = requests.get(address, timeout=5)

    assert [first.status_code, second.status_code, third.status_code] == [503, 200, 503]
    assert "<Code>SlowDown</Code>" in first.text
    assert "Retry-After" not in third.headers
