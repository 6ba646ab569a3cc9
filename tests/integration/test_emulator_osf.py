"""The emulated OSF answers as the real one does, where no index helps."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from confusius_datasets.testing import LocalOSF

PROJECT, FOLDER = "43skw", "walked-bids"
IMAGE = bytes(range(256)) * 40
FILES = {"README": b"x", "sub-01/fusi/x_pwd.nii.gz": IMAGE} | {
    f"sub-{number:03d}/a.json": b"%d" % number for number in range(2, 130)
}


@pytest.fixture
def osf() -> Iterator[LocalOSF]:
    """Serve a dataset."""
    with LocalOSF() as server:
        server.add_dataset(PROJECT, FOLDER, FILES)
        yield server


def listing(server: LocalOSF) -> str:
    """Return the address of the dataset's folder."""
    root = f"{server.url('api')}/v2/nodes/{PROJECT}/files/osfstorage/"
    (entry,) = requests.get(root, timeout=5).json()["data"]
    return str(entry["relationships"]["files"]["links"]["related"]["href"])


def walk(address: str, **params: Any) -> list[dict[str, Any]]:
    """Collect the entries of all pages."""
    entries = []
    while address:
        page = requests.get(address, params=params, timeout=5).json()
        entries += page["data"]
        address, params = page["links"]["next"], {}
    return entries


def names(entries: list[dict[str, Any]]) -> list[str]:
    """Return the names of entries."""
    return [entry["attributes"]["name"] for entry in entries]


def test_page_has_ten_entries_or_up_to_a_hundred(osf: LocalOSF) -> None:
    """The default is 10; more than 100 is cut to 100 without a word."""
    address = listing(osf)

    pages = {
        size: requests.get(address, params={"page[size]": size} if size else {}, timeout=5).json()
        for size in (0, 50, 100, 1000)
    }

    assert {size: len(page["data"]) for size, page in pages.items()} == {
        0: 10,
        50: 50,
        100: 100,
        1000: 100,
    }
    assert pages[1000]["links"]["meta"] == {"total": 131, "per_page": 100}
    assert pages[0]["links"]["first"] is None
    assert "page=14" in pages[0]["links"]["last"]


def test_tree_is_walked_folder_by_folder(osf: LocalOSF) -> None:
    """Every file is found once, with size, md5 and SHA-256, in one request a folder and page."""
    folders, found = [listing(osf)], {}
    seen = len(osf.requests)
    while folders:
        for entry in walk(folders.pop(), **{"page[size]": 100}):
            attributes = entry["attributes"]
            if attributes["kind"] == "folder":
                folders.append(entry["relationships"]["files"]["links"]["related"]["href"])
            else:
                path = attributes["materialized_path"].removeprefix(f"/{FOLDER}/")
                found[path] = (attributes["size"], attributes["extra"]["hashes"])

    del found["dataset_index.json"]
    assert set(found) == set(FILES)
    assert found["sub-01/fusi/x_pwd.nii.gz"] == (
        len(IMAGE),
        {
            "md5": hashlib.md5(IMAGE).hexdigest(),  # noqa: S324
            "sha256": hashlib.sha256(IMAGE).hexdigest(),
        },
    )
    n_folders = 1 + len({path.rpartition("/")[0] for path in FILES if "/" in path}) + 1
    assert len(osf.requests) - seen == n_folders + 1  # the top folder has two pages


def test_filter_contains_or_equals(osf: LocalOSF) -> None:
    """`filter[name]` finds parts of names, whatever their case; `[eq]` is equality."""
    address = listing(osf)

    assert names(walk(address, **{"filter[name]": "readme"})) == ["README"]
    assert len(walk(address, **{"filter[name]": "SUB-00"})) == 8
    assert walk(address, **{"filter[name][eq]": "readme"}) == []
    assert names(walk(address, **{"filter[name][eq]": "README"})) == ["README"]
    assert names(walk(address, **{"filter[kind]": "file"})) == ["README", "dataset_index.json"]
    wrong = requests.get(address, params={"filter[colour]": "x"}, timeout=5)
    assert wrong.status_code == 400


def test_listings_are_throttled_without_a_token(osf: LocalOSF) -> None:
    """Three a second and 75 a minute, with the time to wait; a token is free."""
    address = listing(osf)
    osf.throttle()
    osf.freeze()
    headers = {"Authorization": "Bearer x"}

    burst = [requests.get(address, timeout=5) for _ in range(4)]
    free = requests.get(address, headers=headers, timeout=5)
    paced = []
    for _ in range(73):
        osf.advance(0.5)
        paced.append(requests.get(address, timeout=5))

    assert [answer.status_code for answer in burst] == [200, 200, 200, 429]
    assert burst[3].headers["Retry-After"] == "1"
    assert free.status_code == 200
    # The first of the paced ones falls into the second of the burst.
    assert [answer.status_code for answer in paced] == [429] + [200] * 72
    refused = requests.get(address, timeout=5)
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "24")


def test_download_ends_at_an_object_named_by_its_sha256(osf: LocalOSF) -> None:
    """Two redirects lead to the store; the last part of the path is the hash."""
    (entry,) = walk(listing(osf), **{"filter[name][eq]": "README"})

    answer = requests.get(entry["links"]["download"], timeout=5)

    assert [step.status_code for step in answer.history] == [302, 302]
    assert answer.url.startswith(osf.url("storage"))
    path = answer.url.partition("?")[0]
    assert path.rpartition("/")[2] == hashlib.sha256(answer.content).hexdigest()


def test_replaced_file_leaves_its_old_object_where_versions_are_kept(osf: LocalOSF) -> None:
    """A signed address is one of a content, not of a file."""
    osf.keeps_versions = True
    (entry,) = walk(listing(osf), **{"filter[name][eq]": "README"})
    signed = requests.get(entry["links"]["download"], timeout=5).url

    osf.put(PROJECT, FOLDER, "README", b"new")

    assert requests.get(signed, timeout=5).content == b"x"
    assert requests.get(entry["links"]["download"], timeout=5).content == b"new"


def test_files_of_a_region_come_through_its_host_with_the_token(osf: LocalOSF) -> None:
    """A private file in another region needs the token there, too."""
    (entry,) = walk(listing(osf), **{"filter[name][eq]": "README"})
    osf.region, osf.private, osf.tokens = "de-1", {PROJECT}, {"secret"}
    headers = {"Authorization": "Bearer secret"}
    address = entry["links"]["download"]

    anonymous = requests.get(address, timeout=5)
    first = requests.get(address, headers=headers, allow_redirects=False, timeout=5)
    location = first.headers["Location"]
    second = requests.get(location, headers=headers, allow_redirects=False, timeout=5)

    assert (anonymous.status_code, "Sign in" in anonymous.text) == (200, True)
    assert location.startswith(osf.url("region"))
    assert requests.get(location, timeout=5).status_code == 403
    assert "/cos-osf-prod-files-de-1/" in second.headers["Location"]
    assert requests.get(second.headers["Location"], timeout=5).content == b"x"
    root = f"{osf.url('api')}/v2/nodes/{PROJECT}/files/osfstorage/"
    assert requests.get(root, timeout=5).status_code == 401
    assert requests.get(root, headers=headers, timeout=5).status_code == 200


def test_waterbutler_lists_a_folder_at_once(osf: LocalOSF) -> None:
    """`?meta=` gives all children in one answer, hashes included."""
    base = f"{osf.url('files')}/v1/resources/{PROJECT}/providers/osfstorage"
    (top,) = requests.get(f"{base}/?meta=", timeout=5).json()["data"]

    data = requests.get(f"{base}{top['attributes']['path']}?meta=", timeout=5).json()["data"]

    readme = next(entry for entry in data if entry["attributes"]["name"] == "README")
    assert len(data) == 131
    assert readme["attributes"]["extra"]["hashes"]["sha256"] == hashlib.sha256(b"x").hexdigest()
    assert readme["id"] == f"osfstorage{readme['attributes']['path']}"


def test_waterbutler_knows_no_suffix_ranges(osf: LocalOSF) -> None:
    """Where it sends the bytes itself, `a-` and `a-b` are honoured, and no validator is sent."""
    image = f"{osf.url('files')}/v1/resources/{PROJECT}/providers/osfstorage"
    identifier = osf.osf_path(PROJECT, FOLDER, "sub-01/fusi/x_pwd.nii.gz")

    def get(asked: str) -> requests.Response:
        headers = {"Range": asked}
        return requests.get(f"{image}{identifier}?direct", headers=headers, timeout=5)

    assert (get("bytes=5-9").status_code, get("bytes=5-9").content) == (206, IMAGE[5:10])
    assert (get("bytes=-5").status_code, get("bytes=-5").content) == (200, IMAGE)
    assert "ETag" not in get("bytes=5-").headers


def test_folder_and_unknown_ids_cannot_be_downloaded(osf: LocalOSF) -> None:
    """400 for a folder, 404 for what is not there, and 404 beyond the last page."""
    address = listing(osf)
    folder = address.strip("/").rpartition("/")[2]
    base = osf.environ["CONFUSIUS_OSF_DOWNLOAD_URL"]

    assert requests.get(f"{base}/{folder}/", timeout=5).status_code == 400
    assert requests.get(f"{base}/0123/", timeout=5).status_code == 404
    assert requests.get(address, params={"page": 99}, timeout=5).status_code == 404


def test_removed_file_takes_its_empty_folders_with_it(osf: LocalOSF) -> None:
    """A folder without files is no longer listed."""
    osf.remove(PROJECT, FOLDER, "sub-01/fusi/x_pwd.nii.gz")

    assert "sub-01" not in names(walk(listing(osf), **{"page[size]": 100}))
