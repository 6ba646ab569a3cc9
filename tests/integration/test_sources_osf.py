"""OSF: projects without an index, mirrors, regions, and what the store tells."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from confusius_datasets._download import BytesReceived, plan_download, run_plan
from confusius_datasets._index import Checksum, FileEntry
from confusius_datasets._sources import HttpClient, OSFSource, get_client
from confusius_datasets._sources import osf as osf_module
from confusius_datasets._sources.http import Credentials
from confusius_datasets._sources.osf import TOKEN_HOSTS
from confusius_datasets._sources.retry import Pace
from confusius_datasets.errors import (
    CacheError,
    DownloadError,
    RateLimitError,
    RemoteNotFoundError,
    SettingError,
    SourceError,
    UnsafePathError,
)
from confusius_datasets.testing import Fault, LocalOSF, SourceTests
from confusius_datasets.testing.answers import answer_json
from confusius_datasets.testing.host import md5_of, sha256_of
from downloads import FAST

PROJECT, FOLDER = "abcde", "suite-bids"


def serve_without_index(osf: LocalOSF, files: Mapping[str, bytes], folder: str = FOLDER) -> None:
    """Put files in a folder that has no index."""
    for relpath, data in files.items():
        osf.add_file(PROJECT, f"{folder}/{relpath}", data)


class TestOSFSourceWithoutIndex(SourceTests):
    """OSF, where a folder has no index and is walked."""

    @pytest.fixture(autouse=True)
    def _server(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """Run the server for each test; with a token it need not be asked slowly."""
        with LocalOSF() as self.osf:
            for name, value in self.osf.environ.items():
                monkeypatch.setenv(name, value)
            monkeypatch.setenv("OSF_TOKEN", "t")
            yield

    def make_source(self, files: Mapping[str, bytes]) -> OSFSource:
        """Make the folder hold some files."""
        for relpath in list(self.osf.relpaths(PROJECT, FOLDER)):
            self.osf.remove(PROJECT, FOLDER, relpath, index=False)
        serve_without_index(self.osf, files)
        return OSFSource(PROJECT, FOLDER)


@pytest.fixture
def known(osf: LocalOSF, monkeypatch: pytest.MonkeyPatch) -> LocalOSF:
    """Serve nothing yet, and ask with a token, which OSF does not limit."""
    monkeypatch.setenv("OSF_TOKEN", "t")
    osf.requests.clear()
    return osf


def test_walk_takes_a_request_a_folder_and_knows_both_hashes(known: LocalOSF) -> None:
    """A tree of 90 folders takes at most 92 requests, whatever the pages' usual size."""
    files = {f"sub-{n:02d}/fusi/x_{m}.json": b"%d" % n for n in range(44) for m in range(15)}
    files |= {f"derivatives/{n}.tsv": b"t" for n in range(99)}
    serve_without_index(known, files)

    index = OSFSource(PROJECT, FOLDER).list_files(get_client())

    assert set(index) == set(files)
    assert len(known.requests) == 92
    for relpath in ("sub-00/fusi/x_0.json", "derivatives/98.tsv"):
        data = files[relpath]
        both = (Checksum("sha256", sha256_of(data)), Checksum("md5", md5_of(data)))
        assert (index[relpath].size, index[relpath].checksums) == (len(data), both)


def test_walk_that_was_broken_off_goes_on(known: LocalOSF, tmp_path: Path) -> None:
    """What was listed is kept; the next walk asks for the rest alone, and leaves nothing behind."""
    files = {f"sub-{n:02d}/fusi/x.json": b"%d" % n for n in range(10)}
    serve_without_index(known, files)
    known.limit("api", 12, seconds=10_000)
    with pytest.raises(RateLimitError):
        OSFSource(PROJECT, FOLDER).list_files(HttpClient(FAST).with_folder(tmp_path))
    answered = sum(request.status == 200 for request in known.requests)
    (kept,) = (tmp_path / ".confusius").iterdir()
    with kept.open("a") as file:
        file.write('["cut sho')
    known.heal()
    known.requests.clear()

    index = OSFSource(PROJECT, FOLDER).list_files(HttpClient(FAST).with_folder(tmp_path))

    assert set(index) == set(files)
    # Both calls look for the folder and for an index in it, which reads the folder's listing.
    assert (answered, len(known.requests)) == (12, 23 - 12 + 3)
    assert list((tmp_path / ".confusius").iterdir()) == []


@pytest.mark.slow
def test_walk_is_paced_without_a_token(osf: LocalOSF) -> None:
    """A host that limits listings as OSF does refuses none of a walk."""
    serve_without_index(osf, {"a/x": b"1", "b/x": b"2", "c/x": b"3"})
    osf.throttle()
    osf.advance(60)

    index = OSFSource(PROJECT, FOLDER).list_files(HttpClient(FAST))

    assert len(index) == 3
    assert [request.status for request in osf.requests] == [200] * 6


def test_pace_keeps_below_every_limit() -> None:
    """However fast the answers come, no stretch of time has more requests than it may."""
    now, sent = 0.0, []
    pace = Pace(((3, 1.0), (75, 60.0)), clock=lambda: now)
    for _ in range(200):
        now += max(pace.left(), 0.001)
        pace.note()
        sent.append(now)

    for most, seconds in ((3, 1.0), (75, 60.0)):
        gaps = [later - earlier for earlier, later in zip(sent, sent[most:], strict=False)]
        assert min(gaps) >= seconds - 1e-9
    assert sent[-1] < 3 * 60


def test_folder_below_folders_and_whole_storage(known: LocalOSF) -> None:
    """A root may lie deeper in the storage, or be all of it."""
    serve_without_index(known, {"README": b"r"}, "data/v1/bids")

    assert set(OSFSource(PROJECT, "data/v1/bids").list_files(get_client())) == {"README"}
    assert set(OSFSource(PROJECT).list_files(get_client())) == {"data/v1/bids/README"}


def test_listing_that_goes_in_circles_ends(
    known: LocalOSF, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that is named twice ends a listing."""
    serve_without_index(known, {"README": b"r"})
    api = known._answer_api

    def answer(request: Any) -> Any:
        found = api(request)
        document = json.loads(found.body)
        document["links"] = {"next": f"{known.url('api')}{request.path}"}
        return replace(found, body=json.dumps(document).encode())

    monkeypatch.setattr(known, "_answer_api", answer)

    assert set(OSFSource(PROJECT, FOLDER).list_files(get_client())) == {"README"}
    assert len(known.requests) == 3


def test_pages_without_end_are_an_error(known: LocalOSF, monkeypatch: pytest.MonkeyPatch) -> None:
    """However new the address of each page is, a listing ends."""
    serve_without_index(known, {"README": b"r"})
    monkeypatch.setattr(osf_module, "MOST_PAGES", 20)
    api = known._answer_api

    def answer(request: Any) -> Any:
        document = json.loads(api(request).body)
        page = int(request.query.get("more", 0)) + 1
        base = request.path.partition("?")[0]
        document["links"] = {"next": f"{known.url('api')}{base}?more={page}"}
        return answer_json(document)

    monkeypatch.setattr(known, "_answer_api", answer)

    with pytest.raises(SourceError, match="lists pages without end"):
        OSFSource(PROJECT, FOLDER).list_files(get_client())
    assert len(known.requests) <= 60


def test_folders_in_folders_without_end_are_an_error(
    known: LocalOSF, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path that is longer than any system allows ends a walk."""
    serve_without_index(known, {"README": b"r"})
    real = known._answer_api
    base = f"{known.url('api')}/v2/nodes/{PROJECT}/files/osfstorage"

    def answer(request: Any) -> Any:
        number = request.parts[-1]
        if not number.startswith("deep") and "filter" in request.path:
            return real(request)  # finds the folder, and no index in it
        depth = int(number.removeprefix("deep")) if number.startswith("deep") else 0
        following = f"deep{depth + 1}"
        record = {
            "attributes": {"name": "x" * 100, "kind": "folder", "path": f"/{following}/"},
            "relationships": {"files": {"links": {"related": {"href": f"{base}/{following}/"}}}},
        }
        return answer_json({"data": [record], "links": {"next": None}})

    monkeypatch.setattr(known, "_answer_api", answer)

    with pytest.raises(UnsafePathError, match="longer than any system allows"):
        OSFSource(PROJECT, FOLDER).list_files(get_client())
    assert len(known.requests) < 30


def test_name_that_leads_out_is_refused(known: LocalOSF) -> None:
    """A folder that is walked has the same rules as an index."""
    known.add_file(PROJECT, f"{FOLDER}/CON\\x", b"r")

    with pytest.raises(UnsafePathError, match="has a backslash"):
        OSFSource(PROJECT, FOLDER).list_files(get_client())


def test_links_of_osf_in_the_answers_of_a_mirror_lead_to_the_mirror(
    known: LocalOSF, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mirror that hands OSF's answers on unchanged is still the only host that is asked."""
    known.add_dataset(PROJECT, FOLDER, {f"{n}.json": b"{}" for n in range(120)})
    known.filters = False
    api = known._answer_api

    def answer(request: Any) -> Any:
        found = api(request)
        text = found.body.decode().replace(f"{known.url('api')}/v2", "https://api.osf.io/v2")
        text = text.replace(f"{known.url('download')}/", "https://osf.io/")
        return replace(found, body=text.encode())

    monkeypatch.setattr(known, "_answer_api", answer)

    assert len(OSFSource(PROJECT, FOLDER).list_files(get_client())) == 120


# What the store tells, and who is told the token.


def test_name_of_the_object_is_the_check_where_the_index_has_no_hash(
    osf: LocalOSF, tmp_path: Path
) -> None:
    """Bytes that do not hash to the name of the store's object are refused."""
    data = bytes(range(256)) * 500
    osf.add_dataset(PROJECT, FOLDER, {"x.nii": data, "y.nii": data[::-1]}, md5=False)
    source = OSFSource(PROJECT, FOLDER)
    index = source.list_files(get_client())
    osf.fail("x.nii", Fault("corrupt", times=0))

    with pytest.raises(DownloadError, match=f"its host says sha256 {sha256_of(data)}"):
        run_plan(plan_download(index.values(), tmp_path), source, get_client(), settings=FAST)

    assert (tmp_path / "y.nii").read_bytes() == data[::-1]
    assert not (tmp_path / "x.nii").exists()


# The way to a file.


def read_all(source: OSFSource, entries: Iterable[FileEntry]) -> list[bytes]:
    """Read files one after another, by one client."""
    found = []
    for entry in entries:
        with source.open(entry, client=get_client()) as stream:
            found.append(stream.read_all(1 << 20))
    return found


def test_osf_itself_is_asked_for_the_first_file_alone(osf: LocalOSF) -> None:
    """The server of files is the same for a project, and knows the ids: two requests a file."""
    files = {f"sub-0{number}_pwd.json": bytes([number]) for number in range(5)}
    osf.add_dataset(PROJECT, FOLDER, files)
    source = OSFSource(PROJECT, FOLDER)
    index = source.list_files(get_client())
    osf.requests.clear()

    assert read_all(source, index.values()) == list(files.values())
    roles = [request.role for request in osf.requests]
    assert roles == ["download", "files", "storage"] + ["files", "storage"] * 4


def test_file_that_the_server_of_files_does_not_know_is_asked_of_osf(osf: LocalOSF) -> None:
    """One in another component of the project; the way is not tried again after that."""
    osf.add_dataset(PROJECT, FOLDER, {"a.json": b"a", "b.json": b"b", "c.json": b"c"})
    osf.add_dataset("fghij", FOLDER, {"x.json": b"x"})
    source = OSFSource(PROJECT, FOLDER)
    a, b, c = source.list_files(get_client()).values()
    (x,) = OSFSource("fghij", FOLDER).list_files(get_client()).values()
    osf.requests.clear()

    assert read_all(source, [a, b, x, c]) == [b"a", b"b", b"x", b"c"]
    asked = [request.role for request in osf.requests]
    way = ["download", "files", "storage"]
    assert asked == [*way, "files", "storage", "files", *way, *way]


def test_file_that_is_gone_is_said_by_its_address_on_osf(osf: LocalOSF) -> None:
    """The error names the address that people know, and what to do."""
    osf.add_dataset(PROJECT, FOLDER, {"a.json": b"a", "b.json": b"b"})
    source = OSFSource(PROJECT, FOLDER)
    entries = list(source.list_files(get_client()).values())
    osf.remove(PROJECT, FOLDER, "b.json", index=False)

    with pytest.raises(RemoteNotFoundError, match=f"{osf.url('download')}/download/.*refresh=True"):
        read_all(source, entries)


@pytest.mark.parametrize("keeps_versions", [True, False])
@pytest.mark.parametrize("expires", [True, False])
@pytest.mark.parametrize("etags", [True, False])
def test_file_that_is_replaced_midway_is_one_version_or_the_other(
    osf: LocalOSF, tmp_path: Path, *, keeps_versions: bool, expires: bool, etags: bool
) -> None:
    """Without a hash in the index, what is put together hashes to the name of one object.

    The store may still give the old object under the old address, or forget it; and a new address
    names the new one.
    """
    old, new = bytes(range(256)) * 1000, bytes(range(255, -1, -1)) * 1000
    osf.keeps_versions, osf.etags = keeps_versions, etags
    osf.add_dataset(PROJECT, FOLDER, {"x.nii": old}, md5=False)
    source = OSFSource(PROJECT, FOLDER)
    index = source.list_files(get_client())
    osf.fail("x.nii", Fault("drop", after=100_000))
    replaced = False

    def replace_once(event: object) -> None:
        nonlocal replaced
        if isinstance(event, BytesReceived) and not replaced:
            replaced = True
            osf.replace(PROJECT, FOLDER, "x.nii", new)
            if expires:
                osf.expire_signatures()

    run_plan(
        plan_download(index.values(), tmp_path),
        source,
        get_client(),
        settings=FAST,
        on_event=replace_once,
    )

    # Bytes are old only where the address of the old object was still good for the rest of it.
    expected = old if keeps_versions and not expires else new
    assert (tmp_path / "x.nii").read_bytes() == expected


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://files.osf.io/v1/x", True),
        ("https://files.de-1.osf.io/v1/x", True),
        ("https://files.kr-7.osf.io/v1/x", True),
        ("https://files.a.b.osf.io/v1/x", False),
        ("https://files..osf.io/v1/x", False),
        ("https://files.x@evil.osf.io/v1/x", False),
        ("http://files.de-1.osf.io/v1/x", False),
        ("https://files.de-1.osf.io:81/v1/x", False),
        ("https://files.de-1.osf.io.evil.org/v1/x", False),
        ("https://evil.org/files.de-1.osf.io", False),
        ("https://storage.googleapis.com/x", False),
    ],
)
def test_token_goes_to_every_region_and_to_no_stranger(url: str, told: bool) -> None:
    """A region is one part of a name, at OSF's own address, over https."""
    assert bool(Credentials.for_addresses("t", *TOKEN_HOSTS).headers_for(url)) is told


@pytest.mark.parametrize(
    "token", ["SECRET\nSECRET2", "SECRET\u2603", "SECRET SECRET2", "SECRET\x7f"]
)
def test_token_that_no_header_can_carry_is_refused_by_its_name(
    osf: LocalOSF, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    """The variable is named, its value is not, and nothing is asked."""
    monkeypatch.setenv("OSF_TOKEN", token)
    osf.requests.clear()

    with pytest.raises(SettingError, match="OSF_TOKEN holds a line break") as caught:
        OSFSource(PROJECT, FOLDER).list_files(get_client())

    assert "SECRET" not in str(caught.value)
    assert osf.requests == []


@pytest.mark.parametrize(
    ("fault", "role"),
    [
        (Fault("html"), "storage"),
        (Fault("status", status=404), "storage"),
        (Fault("status", status=403), "storage"),
        (Fault("html"), "download"),
    ],
)
@pytest.mark.parametrize("name", ["dataset_index.json", "x.nii"])
def test_trouble_that_passes_is_asked_for_once_more(
    osf: LocalOSF, tmp_path: Path, fault: Fault, role: str, name: str
) -> None:
    """One web page, or one refusal of the store, fails neither an index nor a file."""
    osf.add_dataset(PROJECT, FOLDER, {"x.nii": b"data"})
    osf.fail(name, fault, role=role)
    source = OSFSource(PROJECT, FOLDER)

    index = source.list_files(get_client())
    run_plan(plan_download(index.values(), tmp_path), source, get_client(), settings=FAST)

    assert (tmp_path / "x.nii").read_bytes() == b"data"


def test_web_page_that_stays_is_final_after_the_second(osf: LocalOSF) -> None:
    """A page that comes again is an error, and no third request."""
    osf.add_dataset(PROJECT, FOLDER, {"x.nii": b"data"})
    source = OSFSource(PROJECT, FOLDER)
    entry = source.list_files(get_client())["x.nii"]
    osf.fail("x.nii", Fault("html", times=0))

    with pytest.raises(SourceError, match="answered with a web page"):
        source.open(entry, client=get_client())

    assert len(osf.requests_for("x.nii")) == 2


@pytest.mark.parametrize("fault", [Fault("corrupt"), Fault("drop", after=100), Fault("html")])
def test_large_index_is_received_into_a_file(
    osf: LocalOSF, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    """It is checked there, and asked for again where it is wrong, as a small one in memory."""
    monkeypatch.setattr("confusius_datasets._sources.http.SPOOLED_NBYTES", 100)
    files = {f"sub-{number}/x.nii": b"data" for number in range(9)}
    osf.add_dataset(PROJECT, FOLDER, files)
    osf.fail("dataset_index.json", fault, role="storage")

    index = OSFSource(PROJECT, FOLDER).list_files(get_client())

    assert set(index) == set(files)
    assert len(osf.requests_for("dataset_index.json", role="storage")) == 2


def test_large_index_without_room_for_it_is_an_error_of_ours(
    osf: LocalOSF, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The message names the folder, and how to choose another one."""
    monkeypatch.setattr("confusius_datasets._sources.http.SPOOLED_NBYTES", 100)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    osf.add_dataset(PROJECT, FOLDER, {"sub-1/x.nii": b"data", "sub-2/x.nii": b"data"})

    with pytest.raises(CacheError) as caught:
        OSFSource(PROJECT, FOLDER).list_files(get_client())

    assert str(caught.value) == (
        f"{tmp_path / 'gone'} cannot be written: No such file or directory. A large index is "
        "received there. Free some space, or set TMPDIR to another folder."
    )
