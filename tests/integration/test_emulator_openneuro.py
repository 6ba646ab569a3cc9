"""The emulated OpenNeuro answers as the real one does."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from confusius_datasets.testing import Fault, LocalOpenNeuro

DATASET = "ds000246"
IMAGE = bytes(range(256)) * 40
OLD = {"README": b"old", "gone.txt": b"x", "sub-01/fusi/x_pwd.nii.gz": IMAGE}
NEW = {"README": b"new", "sub-01/fusi/x_pwd.nii.gz": IMAGE}
FILES_QUERY = (
    'query { snapshot(datasetId: "ds000246", tag: "%s") '
    "{ id files(recursive: true) { filename urls size id } } }"
)


@pytest.fixture
def openneuro() -> Iterator[LocalOpenNeuro]:
    """Serve two snapshots of a dataset."""
    with LocalOpenNeuro() as server:
        server.add_snapshot(DATASET, "1.0.0", OLD)
        server.add_snapshot(DATASET, "1.0.1", NEW)
        yield server


def ask(server: LocalOpenNeuro, query: str, variables: Any = None, **more: Any) -> dict[str, Any]:
    """Send a query; an error about access comes with status 200, too."""
    address = f"{server.environ['CONFUSIUS_OPENNEURO_URL']}/crn/graphql"
    document = {"query": query, "variables": variables}
    answer = requests.post(address, json=document, timeout=5, **more)
    assert answer.status_code == 200
    return answer.json()


def files_of(server: LocalOpenNeuro, tag: str) -> dict[str, dict[str, Any]]:
    """List the files of a snapshot by path."""
    files = ask(server, FILES_QUERY % tag)["data"]["snapshot"]["files"]
    return {file["filename"]: file for file in files}


def test_tags_and_newest_snapshot_are_found(openneuro: LocalOpenNeuro) -> None:
    """A dataset names its snapshots, and which is the newest."""
    tags = ask(openneuro, '{ dataset(id:"ds000246") { snapshots { id } } }')
    newest = ask(
        openneuro,
        "query Newest($id: ID!) { found: dataset(id: $id) { latestSnapshot { tag } } }",
        {"id": DATASET},
    )

    assert tags["data"]["dataset"]["snapshots"] == [
        {"id": "ds000246:1.0.0"},
        {"id": "ds000246:1.0.1"},
    ]
    assert newest == {"data": {"found": {"latestSnapshot": {"tag": "1.0.1"}}}}


def test_snapshot_keeps_its_files_by_version(openneuro: LocalOpenNeuro) -> None:
    """The addresses of an older snapshot still give its own content."""
    old, new = files_of(openneuro, "1.0.0"), files_of(openneuro, "1.0.1")

    assert (set(old), set(new)) == (set(OLD), set(NEW))
    for files, contents in ((old, OLD), (new, NEW)):
        for path, data in contents.items():
            (address,) = files[path]["urls"]
            assert f"/openneuro.org/{DATASET}/{path}?versionId=" in address
            assert requests.get(address, timeout=5).content == data


def test_head_of_the_bucket_is_the_newest_state(openneuro: LocalOpenNeuro) -> None:
    """What was deleted is missing there, whatever the older snapshot has."""
    base = f"{openneuro.url('s3')}/openneuro.org"
    listing = requests.get(base, params={"list-type": 2, "prefix": f"{DATASET}/"}, timeout=5).text

    assert listing.count("<Key>") == len(NEW)
    assert requests.get(f"{base}/{DATASET}/README", timeout=5).content == b"new"
    assert requests.get(f"{base}/{DATASET}/gone.txt", timeout=5).status_code == 404


def test_id_is_a_checksum_of_git_or_of_the_annex(openneuro: LocalOpenNeuro) -> None:
    """Texts have the hash of their git blob, images a key with size and hash."""
    openneuro.add_snapshot("ds1", "1", {"a.nii.gz": IMAGE}, backend="MD5E")
    files = files_of(openneuro, "1.0.1")
    query = '{ dataset(id:"ds1") { latestSnapshot { files(recursive:true) { id annexed } } } }'

    (file,) = ask(openneuro, query)["data"]["dataset"]["latestSnapshot"]["files"]

    sha256, md5 = hashlib.sha256(IMAGE).hexdigest(), hashlib.md5(IMAGE).hexdigest()  # noqa: S324
    assert files["README"]["id"] == hashlib.sha1(b"blob 3\0new").hexdigest()  # noqa: S324
    assert files["sub-01/fusi/x_pwd.nii.gz"]["id"] == f"SHA256E-s10240--{sha256}.nii.gz"
    assert file == {"id": f"MD5E-s10240--{md5}.nii.gz", "annexed": True}


def test_one_level_is_walked_by_tree(openneuro: LocalOpenNeuro) -> None:
    """Without `recursive`, folders have an id that is asked for next."""
    query = (
        'query { snapshot(datasetId: "ds000246", tag: "1.0.1") '
        "{ files%s { filename id directory } } }"
    )

    names, tree = [], ""
    for _ in range(3):
        listed = ask(openneuro, query % tree)["data"]["snapshot"]["files"]
        names.append(sorted(file["filename"] for file in listed))
        folders = [file["id"] for file in listed if file["directory"]]
        tree = f'(tree: "{folders[0]}")' if folders else ""

    assert names == [["README", "sub-01"], ["fusi"], ["x_pwd.nii.gz"]]


def test_errors_come_with_status_200(openneuro: LocalOpenNeuro) -> None:
    """An unknown dataset, an unknown tag and a host in trouble look alike but for the message."""
    openneuro.fail_query("504 Gateway Timeout")

    trouble = ask(openneuro, FILES_QUERY % "1.0.1")
    tag = ask(openneuro, FILES_QUERY % "9.9.9")
    dataset = ask(openneuro, '{ dataset(id:"ds9") { id } }')

    assert trouble["errors"][0]["message"] == "504 Gateway Timeout"
    assert tag["errors"][0]["message"] == "Unexpected end of JSON input"
    assert dataset["errors"][0]["message"] == "You do not have access to read this dataset."
    assert trouble["data"] is tag["data"] is dataset["data"] is None


def test_query_that_asks_for_what_there_is_not_is_400(openneuro: LocalOpenNeuro) -> None:
    """A field that does not exist, and no query at all, are the client's fault."""
    address = f"{openneuro.url('api')}/crn/graphql"
    wrong = ('{ dataset(id:"ds000246") { name } }', "{ dataset", "", '{ dataset(id="x") { id } }')

    for query in wrong:
        answer = requests.post(address, json={"query": query}, timeout=5)
        assert (answer.status_code, "errors" in answer.json()) == (400, True), query


def test_private_dataset_needs_the_cookie(openneuro: LocalOpenNeuro) -> None:
    """The token is a cookie, and a dataset without it is as if it were not there."""
    openneuro.private, openneuro.tokens = {DATASET}, {"secret"}
    query = '{ dataset(id:"ds000246") { id } }'

    assert "errors" in ask(openneuro, query)
    assert "errors" in ask(openneuro, query, cookies={"accessToken": "other"})
    assert ask(openneuro, query, cookies={"accessToken": "secret"})["data"]["dataset"] == {
        "id": DATASET
    }


def test_sizes_and_addresses_can_be_wrong_or_missing(openneuro: LocalOpenNeuro) -> None:
    """The API's size may lie; a removed file has an empty list or null for addresses."""
    image = "sub-01/fusi/x_pwd.nii.gz"
    openneuro.misreport_size(DATASET, "1.0.1", image, 5)
    openneuro.drop_urls(DATASET, "1.0.1", "README")
    openneuro.drop_urls(DATASET, "1.0.0", "README", null=True)
    openneuro.replace(DATASET, "1.0.0", image, b"other")

    new, old = files_of(openneuro, "1.0.1"), files_of(openneuro, "1.0.0")

    assert (new[image]["size"], new["README"]["urls"], old["README"]["urls"]) == (5, [], None)
    answer = requests.get(new[image]["urls"][0], timeout=5)
    assert answer.headers["Content-Length"] == "10240"


def test_replaced_file_is_described_as_before(openneuro: LocalOpenNeuro) -> None:
    """A file whose bytes are wrong is found by its id alone."""
    before = files_of(openneuro, "1.0.1")["README"]
    openneuro.replace(DATASET, "1.0.1", "README", b"bad")

    after = files_of(openneuro, "1.0.1")["README"]

    assert (after["id"], after["size"]) == (before["id"], before["size"])
    assert requests.get(after["urls"][0], timeout=5).content == b"bad"


def test_file_that_is_not_exported_comes_whole(openneuro: LocalOpenNeuro) -> None:
    """OpenNeuro sends it itself, and knows no ranges there."""
    image = "sub-01/fusi/x_pwd.nii.gz"
    openneuro.unexport(DATASET, "1.0.1", image)

    (address,) = files_of(openneuro, "1.0.1")[image]["urls"]
    answer = requests.get(address, headers={"Range": "bytes=5-"}, timeout=5)

    assert address.startswith(f"{openneuro.url('api')}/crn/datasets/{DATASET}/objects/SHA256E-")
    assert (answer.status_code, answer.content) == (200, IMAGE)


def test_small_error_page_comes_with_status_200(openneuro: LocalOpenNeuro) -> None:
    """Instead of a file, JSON with the one key `error` may come; other faults go on working."""
    (address,) = files_of(openneuro, "1.0.1")["README"]["urls"]
    openneuro.fail_file("README")
    openneuro.fail("README", Fault("status", status=503))

    answers = [requests.get(address, timeout=5) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 503, 200]
    assert list(answers[0].json()) == ["error"]
    assert answers[2].content == b"new"
