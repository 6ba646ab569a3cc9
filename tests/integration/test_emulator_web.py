"""The emulated web folder answers as a plain web server does."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest
import requests

from confusius_datasets.testing import LocalWeb

FILES = {"README": b"", "sub-01/a b.json": b"{}", "sub-01/x_pwd.nii.gz": bytes(range(256)) * 40}


@pytest.fixture
def web() -> Iterator[LocalWeb]:
    """Serve nothing yet."""
    with LocalWeb() as server:
        yield server


@pytest.mark.parametrize(
    ("index", "hashes"),
    [("manifest.json", "sha256"), ("dataset_index.json", "md5"), ("manifest.json", None)],
)
def test_list_describes_the_files_beside_it(web: LocalWeb, index: str, hashes: str | None) -> None:
    """The list names size and hash of each file, and is reached by its address."""
    address = web.add_folder("my data/v1", FILES, index=index, hashes=hashes)  # type: ignore[arg-type]

    document = requests.get(address, timeout=5).json()

    assert set(document) == set(FILES)
    for relpath, data in FILES.items():
        hashed = {hashes: hashlib.new(hashes, data).hexdigest()} if hashes else {}
        assert document[relpath] == {"size": len(data), **hashed}
        beside = address.removesuffix(index) + relpath.replace(" ", "%20")
        assert requests.get(beside, timeout=5).content == data


@pytest.mark.parametrize("etags", [True, False])
@pytest.mark.parametrize(("ranges", "status"), [("all", 206), ("none", 200)])
def test_ranges_and_tags_are_there_or_not(
    web: LocalWeb, etags: bool, ranges: str, status: int
) -> None:
    """A web server may know ranges without a tag, a tag without ranges, both or neither."""
    web.etags, web.ranges = etags, ranges  # type: ignore[assignment]
    web.put("x", b"0123456789")

    answer = requests.get(f"{web.url('web')}/x", headers={"Range": "bytes=-3"}, timeout=5)

    assert (answer.status_code, answer.content) == (
        (206, b"789") if status == 206 else (200, b"0123456789")
    )
    assert ("ETag" in answer.headers) == etags
    assert ("Accept-Ranges" in answer.headers) == (ranges == "all")


def test_tag_changes_with_the_content(web: LocalWeb) -> None:
    """A range of what was replaced is not mixed with the old one."""
    web.put("x", b"0123456789")
    etag = requests.head(f"{web.url('web')}/x", timeout=5).headers["ETag"]
    web.put("x", b"9876543210")
    headers = {"Range": "bytes=5-", "If-Range": etag}

    assert requests.get(f"{web.url('web')}/x", headers=headers, timeout=5).content == b"9876543210"


def test_private_and_missing_files_are_refused(web: LocalWeb) -> None:
    """401 without a token, 404 as a web page, 405 for other methods."""
    web.add_folder("private", FILES)
    web.private, web.tokens = {"private"}, {"secret"}
    address = f"{web.url('web')}/private/README"

    assert requests.get(address, timeout=5).status_code == 401
    headers = {"Authorization": "Bearer secret"}
    assert requests.get(address, headers=headers, timeout=5).status_code == 200
    web.remove("private/README")
    gone = requests.get(address, headers=headers, timeout=5)
    assert (gone.status_code, gone.headers["Content-Type"]) == (404, "text/html")
    assert requests.post(address, timeout=5).status_code == 405
