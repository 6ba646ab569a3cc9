"""Repositories with an API of their own: Dataverse, Zenodo, OpenNeuro."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from confusius_datasets._download import plan_download, run_plan
from confusius_datasets._index import Checksum, FileEntry
from confusius_datasets._sources import (
    ArchiveSource,
    DataverseSource,
    HttpClient,
    OpenNeuroSource,
    Source,
    ZenodoSource,
    get_client,
)
from confusius_datasets.errors import (
    ArgumentError,
    DatasetIndexError,
    DownloadError,
    RemoteAccessError,
    RemoteConnectionError,
    RemoteNotFoundError,
    SettingError,
    SourceError,
    UnsafePathError,
)
from confusius_datasets.testing import (
    Fault,
    LocalDataverse,
    LocalOpenNeuro,
    LocalZenodo,
    SourceTests,
)
from confusius_datasets.testing.host import md5_of, sha256_of
from downloads import FAST, random_bytes
from releases import ARCHIVE_PREFIX, khallaf_archive
from replicas import KHALLAF_PATHS, replica_files

SERVER, PID = "https://edmond.mpg.de", "doi:10.17617/3.7QCU1F"
RECORD, DATASET = "15476373", "ds000246"
FILES = {
    "README": b"hello",
    "sub-1/sub-1_scans.tsv": b"a\tb\n",
    "sub-1/fusi/x.nii.gz": random_bytes(300_000),
}


def fetch(source: Source, root: Path) -> dict[str, bytes]:
    """Fetch all of a dataset, and read it from the disk."""
    index = source.list_files(get_client())
    run_plan(plan_download(index.values(), root), source, get_client(), settings=FAST)
    return {relpath: (root / relpath).read_bytes() for relpath in index}


@pytest.fixture
def dataverse(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalDataverse]:
    """Serve a dataset, and point the package at the server."""
    with LocalDataverse() as server:
        for name, value in server.environ.items():
            monkeypatch.setenv(name, value)
        server.add_dataset(PID, FILES)
        yield server


@pytest.fixture
def zenodo(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalZenodo]:
    """Serve a record, and point the package at the server."""
    with LocalZenodo() as server:
        for name, value in server.environ.items():
            monkeypatch.setenv(name, value)
        server.add_record(RECORD, {"a b.tsv": b"x", "dataset.nii": FILES["sub-1/fusi/x.nii.gz"]})
        yield server


@pytest.fixture
def openneuro(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalOpenNeuro]:
    """Serve a snapshot, and point the package at the server."""
    monkeypatch.setenv("CONFUSIUS_DOWNLOAD_BACKOFF", "0.01")
    with LocalOpenNeuro() as server:
        for name, value in server.environ.items():
            monkeypatch.setenv(name, value)
        server.add_snapshot(DATASET, "1.0.1", FILES)
        yield server


class TestDataverseSource(SourceTests):
    """Dataverse, which redirects to a store."""

    redirects = True

    @pytest.fixture(autouse=True)
    def _server(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """Run the server for each test."""
        with LocalDataverse() as self.dataverse:
            for name, value in self.dataverse.environ.items():
                monkeypatch.setenv(name, value)
            yield

    def make_source(self, files: Mapping[str, bytes]) -> DataverseSource:
        """Make the newest version consist of some files."""
        self.dataverse.redirects = self.redirects
        kept = self.dataverse._versions.get(PID, {}).get("1.0", [])
        for file in kept:
            self.dataverse.remove(PID, file.relpath)
        self.dataverse.add_dataset(PID, files)
        return DataverseSource(SERVER, PID)


class TestDataverseSourceStreamed(TestDataverseSource):
    """Dataverse, which sends files itself: no entity tags, and 404 to a range of nothing."""

    redirects = False


class TestZenodoSource(SourceTests):
    """Zenodo."""

    @pytest.fixture(autouse=True)
    def _server(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """Run the server for each test."""
        with LocalZenodo() as self.zenodo:
            for name, value in self.zenodo.environ.items():
                monkeypatch.setenv(name, value)
            yield

    def make_source(self, files: Mapping[str, bytes]) -> ZenodoSource:
        """Make the record consist of some files."""
        self.zenodo.add_record(RECORD, files)
        return ZenodoSource(RECORD)


class TestOpenNeuroSource(SourceTests):
    """OpenNeuro."""

    @pytest.fixture(autouse=True)
    def _server(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """Run the server for each test."""
        with LocalOpenNeuro() as self.openneuro:
            for name, value in self.openneuro.environ.items():
                monkeypatch.setenv(name, value)
            yield

    def make_source(self, files: Mapping[str, bytes]) -> OpenNeuroSource:
        """Make the newest snapshot consist of some files."""
        self.openneuro.add_snapshot(DATASET, "1.0.0", files)
        return OpenNeuroSource(DATASET)

    def test_file_that_is_gone_is_an_error_of_ours(self) -> None:
        """An address names a version, which stays; only a removed version is gone."""
        entry = self.make_source({"x.nii": b"data" * 100}).list_files(get_client())["x.nii"]
        source = OpenNeuroSource(DATASET)
        gone = f"{entry.locators['openneuro']}0"

        with pytest.raises(RemoteNotFoundError, match="does not exist"):
            source.open(FileEntry("x.nii", locators={"openneuro": gone}), client=get_client())


# Dataverse.


@pytest.mark.parametrize(
    ("said", "algorithm"),
    [("MD5", "md5"), ("SHA-1", "sha1"), ("SHA-256", "sha256"), ("SHA-512", "sha512")],
)
def test_dataverse_lists_a_version_in_one_request_with_any_checksum(
    dataverse: LocalDataverse, tmp_path: Path, said: str, algorithm: str
) -> None:
    """Folders are where the listing says, and the checksum is the one the installation uses."""
    dataverse.add_dataset(PID, FILES, version="1.1", checksum=said)

    assert fetch(DataverseSource(SERVER, PID), tmp_path) == FILES
    listings = [request for request in dataverse.requests if "versions" in request.parts]
    index = DataverseSource(SERVER, PID).list_files(get_client())
    assert len(listings) == 1
    assert {entry.checksum.algorithm for entry in index.values() if entry.checksum} == {algorithm}


def test_dataverse_gives_the_version_that_is_named(
    dataverse: LocalDataverse, tmp_path: Path
) -> None:
    """An older version can be had; one that is not there is named."""
    dataverse.add_dataset(PID, {"README": b"new"}, version="2.0")

    assert fetch(DataverseSource(SERVER, PID, "1.0"), tmp_path) == FILES
    with pytest.raises(RemoteNotFoundError, match=r"no version '3\.0' of it"):
        DataverseSource(SERVER, PID, "3.0").list_files(get_client())
    with pytest.raises(RemoteNotFoundError, match="no dataset 'doi:x'"):
        DataverseSource(SERVER, "doi:x").list_files(get_client())


@pytest.mark.parametrize("redirects", [True, False])
def test_dataverse_gives_tables_as_they_were_uploaded(
    dataverse: LocalDataverse, tmp_path: Path, redirects: bool
) -> None:
    """A table that Dataverse converted has its own name, size and bytes."""
    dataverse.redirects = redirects
    dataverse.ingest(PID, "sub-1/sub-1_scans.tsv", b"converted and longer\n")

    assert fetch(DataverseSource(SERVER, PID), tmp_path) == FILES


def test_dataverse_address_that_expires_is_asked_for_anew(
    dataverse: LocalDataverse, tmp_path: Path
) -> None:
    """A presigned address is valid for an hour; what was received is kept."""
    source = DataverseSource(SERVER, PID)
    index = source.list_files(get_client())
    dataverse.fail("x.nii.gz", Fault("drop", after=200_000), role="store")
    expired = False

    def expire(event: object) -> None:
        nonlocal expired
        if not expired and dataverse.requests_for("x.nii.gz"):
            expired = True
            dataverse.advance(3700)

    plan = plan_download(index.values(), tmp_path)
    run_plan(plan, source, get_client(), settings=FAST, on_event=expire)

    statuses = [request.status for request in dataverse.requests_for("x.nii.gz")]
    assert (tmp_path / "sub-1/fusi/x.nii.gz").read_bytes() == FILES["sub-1/fusi/x.nii.gz"]
    assert statuses == [200, 403, 206]


def test_dataverse_says_what_to_do_about_guestbooks_and_restrictions(
    dataverse: LocalDataverse,
) -> None:
    """A guestbook and a restricted file are told apart; a token is for the installation alone."""
    source = DataverseSource(SERVER, PID)
    index = source.list_files(get_client())
    dataverse.restrict(PID, "README")

    with pytest.raises(RemoteAccessError, match="restricted: ask for access"):
        source.open(index["README"], client=get_client())
    dataverse.guestbooks.add(PID)
    with pytest.raises(RemoteAccessError, match="guestbook first"):
        source.open(index["sub-1/sub-1_scans.tsv"], client=get_client())


def test_dataverse_token_goes_to_the_installation_alone(
    dataverse: LocalDataverse, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The store sees no token, in no header."""
    dataverse.tokens.add("secret-token")
    dataverse.restrict(PID, "README")
    monkeypatch.setenv("DATAVERSE_TOKEN", "secret-token")

    assert fetch(DataverseSource(SERVER, PID), tmp_path) == FILES
    told = {
        (request.role, "secret-token" in str(request.headers)) for request in dataverse.requests
    }
    assert told == {("api", True), ("store", False)}


@pytest.mark.parametrize(
    ("host", "is_told"),
    [("", True), ("{host}", True), ("http://{host}/", True), ("other.example", False)],
)
def test_dataverse_token_goes_to_the_host_that_it_is_for(
    dataverse: LocalDataverse, monkeypatch: pytest.MonkeyPatch, host: str, *, is_told: bool
) -> None:
    """Of many installations, one gave the token; addresses of others may come from strangers."""
    here = dataverse.url("api").partition("://")[2]
    dataverse.tokens.add("secret-token")
    monkeypatch.setenv("DATAVERSE_TOKEN", "secret-token")
    monkeypatch.setenv("DATAVERSE_HOST", host.format(host=here))

    DataverseSource(SERVER, PID).list_files(get_client())

    told = {"secret-token" in str(request.headers) for request in dataverse.requests}
    assert told == {is_told}


def test_zip_on_dataverse_takes_one_access_and_ranges(
    dataverse: LocalDataverse, tmp_path: Path
) -> None:
    """The archive is found by its id, and is never read whole."""
    files = replica_files(KHALLAF_PATHS)
    files["sourcedata/IPM/IPM_5622_4Dscan_5.source.scan"] = random_bytes(2 << 20)
    archive = khallaf_archive(files)
    dataverse.add_dataset(PID, {"fUSI data.zip": archive}, ids={"fUSI data.zip": 343674})
    entry = FileEntry("fUSI data.zip", len(archive), locators={"dataverse": "343674"})
    source = ArchiveSource(DataverseSource(SERVER, PID), entry, ARCHIVE_PREFIX)

    index = source.list_files(get_client())
    wanted = [entry for entry in index.values() if "sourcedata" not in entry.relpath]
    run_plan(plan_download(wanted, tmp_path), source, get_client(), settings=FAST)

    assert {relpath: files[relpath] for relpath in index} == files
    assert all((tmp_path / e.relpath).read_bytes() == files[e.relpath] for e in wanted)
    assert sum(request.nbytes for request in dataverse.requests) < len(archive) / 2
    assert len([request for request in dataverse.requests if request.role == "api"]) <= 2
    by_name = ArchiveSource(DataverseSource(SERVER, PID), FileEntry("fUSI data.zip"))
    assert set(by_name.list_files(HttpClient(FAST))) == set(files)


def test_listing_of_dataverse_that_leads_out_is_refused(dataverse: LocalDataverse) -> None:
    """A folder's name comes from whoever uploaded."""
    dataverse.add_dataset(PID, {"../../x/y": b"1"}, version="9.0")

    with pytest.raises(UnsafePathError, match="climbs out"):
        DataverseSource(SERVER, PID).list_files(get_client())
    for locator in ("", "../1", "1?x", "1:other"):
        with pytest.raises(DatasetIndexError, match="no usable 'datafile'"):
            DataverseSource(SERVER, PID).open(
                FileEntry("a", locators={"dataverse": locator}), client=get_client()
            )


# Zenodo.


def test_zenodo_files_come_from_the_address_that_knows_ranges(
    zenodo: LocalZenodo, tmp_path: Path
) -> None:
    """One listing, and one request below `/records/` a file, with the listing's MD5."""
    index = ZenodoSource(RECORD).list_files(get_client())

    found = fetch(ZenodoSource(RECORD), tmp_path)

    assert index["a b.tsv"].checksums == (Checksum("md5", md5_of(b"x")),)
    assert found["dataset.nii"] == FILES["sub-1/fusi/x.nii.gz"]
    assert all(request.parts[0] == "records" for request in zenodo.requests[2:])
    assert all("confusius-datasets" in one.headers["user-agent"] for one in zenodo.requests)


def test_zenodo_deposit_leads_to_its_newest_version(zenodo: LocalZenodo, tmp_path: Path) -> None:
    """The id of all versions is that of the newest one's files, also while they are fetched."""
    zenodo.add_record("101", {"a": b"old"}, concept="100")
    zenodo.add_record("102", {"a": b"new"}, concept="100")

    assert fetch(ZenodoSource("100"), tmp_path) == {"a": b"new"}


def test_zenodo_says_what_is_gone_or_restricted(
    zenodo: LocalZenodo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A deleted record, an unknown one, a restricted one; a token opens that."""
    zenodo.add_record("7", {"a": b"1"})
    zenodo.delete_record("7")

    for record in ("7", "8"):
        with pytest.raises(RemoteNotFoundError, match=f"Zenodo has no record {record}"):
            ZenodoSource(record).list_files(get_client())
    zenodo.restrict(RECORD)
    entry = ZenodoSource(RECORD).list_files(get_client())["a b.tsv"]
    with pytest.raises(RemoteAccessError, match="set ZENODO_TOKEN"):
        ZenodoSource(RECORD).open(entry, client=get_client())
    zenodo.tokens.add("t")
    monkeypatch.setenv("ZENODO_TOKEN", "t")
    assert fetch(ZenodoSource(RECORD), tmp_path)["a b.tsv"] == b"x"
    with pytest.raises(ArgumentError, match="not the id of a Zenodo record"):
        ZenodoSource("../1")


def test_zip_on_zenodo_is_read_by_ranges(zenodo: LocalZenodo, tmp_path: Path) -> None:
    """An archive needs no listing: its name is its address."""
    files = replica_files(KHALLAF_PATHS)
    zenodo.add_record("9", {"dataset.zip": khallaf_archive(files)})

    assert fetch(ArchiveSource(ZenodoSource("9"), FileEntry("dataset.zip")), tmp_path) == files
    assert not any(request.parts[0] == "api" for request in zenodo.requests)


# OpenNeuro.


@pytest.mark.parametrize("backend", ["SHA256E", "MD5E"])
def test_openneuro_snapshot_is_what_its_tag_says(
    openneuro: LocalOpenNeuro, tmp_path: Path, backend: str
) -> None:
    """An older snapshot comes as it was, though the bucket's head has moved on."""
    other = {"README": b"changed", "sub-1/fusi/x.nii.gz": b"newer" * 100}
    openneuro.add_snapshot(DATASET, "2.0.0", other, backend=backend)  # type: ignore[arg-type]

    assert fetch(OpenNeuroSource(DATASET, "1.0.1"), tmp_path / "old") == FILES
    assert fetch(OpenNeuroSource(DATASET), tmp_path / "new") == other
    index = OpenNeuroSource(DATASET).list_files(get_client())
    hashed = {"SHA256E": ("sha256", sha256_of), "MD5E": ("md5", md5_of)}[backend]
    expected = Checksum(hashed[0], hashed[1](b"newer" * 100))
    assert index["sub-1/fusi/x.nii.gz"].checksums == (expected,)
    assert index["README"].checksums[0].algorithm == "git"


def test_openneuro_asks_for_the_tags_first(openneuro: LocalOpenNeuro) -> None:
    """A tag that is not there is an error that lists those that are."""
    with pytest.raises(RemoteNotFoundError, match=r"no snapshot '7\.0\.0'\. It has 1\.0\.1"):
        OpenNeuroSource(DATASET, "7.0.0").list_files(get_client())

    assert len(openneuro.requests) == 1


@pytest.mark.parametrize(
    "message", ["504 Gateway Timeout", "fetch failed", "aborted due to timeout"]
)
def test_openneuro_error_that_passes_is_asked_again(
    openneuro: LocalOpenNeuro, message: str
) -> None:
    """Errors come with status 200; some of them pass."""
    openneuro.fail_query(message, times=2)

    assert set(OpenNeuroSource(DATASET).list_files(get_client())) == set(FILES)


@pytest.mark.parametrize(
    ("message", "kind", "text"),
    [
        ("You do not have access to read this dataset.", RemoteAccessError, "OPENNEURO_TOKEN"),
        ("Unexpected end of JSON input", SourceError, "OpenNeuro says 'Unexpected end"),
    ],
)
def test_openneuro_error_that_stays_is_not_asked_again(
    openneuro: LocalOpenNeuro, message: str, kind: type[Exception], text: str
) -> None:
    """What no retry makes right is told at once."""
    openneuro.fail_query(message, times=0)

    with pytest.raises(kind, match=text):
        OpenNeuroSource(DATASET).list_files(get_client())
    assert len(openneuro.requests) == 1


def test_openneuro_sizes_are_not_believed(openneuro: LocalOpenNeuro, tmp_path: Path) -> None:
    """The API says wrong sizes at times; the key and the bytes count."""
    for relpath in FILES:
        openneuro.misreport_size(DATASET, "1.0.1", relpath, 77)

    assert fetch(OpenNeuroSource(DATASET), tmp_path) == FILES


@pytest.mark.parametrize("null", [True, False])
def test_openneuro_file_that_was_removed_fails_alone(
    openneuro: LocalOpenNeuro, tmp_path: Path, null: bool
) -> None:
    """A file without an address is named; the others come."""
    openneuro.drop_urls(DATASET, "1.0.1", "sub-1/fusi/x.nii.gz", null=null)

    with pytest.raises(DownloadError, match="was removed from ds000246"):
        fetch(OpenNeuroSource(DATASET), tmp_path)
    assert (tmp_path / "README").read_bytes() == FILES["README"]


@pytest.mark.parametrize("relpath", ["README", "sub-1/fusi/x.nii.gz"])
def test_openneuro_wrong_bytes_are_not_kept(
    openneuro: LocalOpenNeuro, tmp_path: Path, relpath: str
) -> None:
    """Other bytes of the same length are found by the key, and by the id of a git blob."""
    openneuro.replace(DATASET, "1.0.1", relpath, bytes(len(FILES[relpath])))

    with pytest.raises((DownloadError, RemoteConnectionError), match=relpath):
        fetch(OpenNeuroSource(DATASET), tmp_path)
    assert not (tmp_path / relpath).exists()


def test_openneuro_error_page_in_place_of_a_file_passes(
    openneuro: LocalOpenNeuro, tmp_path: Path
) -> None:
    """A small document with an error and status 200 is asked for again."""
    openneuro.fail_file("x.nii.gz", times=2)
    openneuro.fail_file("README")

    assert fetch(OpenNeuroSource(DATASET), tmp_path) == FILES


def test_openneuro_file_that_is_not_exported_comes_from_its_own_server(
    openneuro: LocalOpenNeuro, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The token is a cookie for OpenNeuro alone; the store never sees it."""
    openneuro.tokens.add("secret")
    openneuro.private.add(DATASET)
    openneuro.unexport(DATASET, "1.0.1", "sub-1/fusi/x.nii.gz")
    with pytest.raises(RemoteAccessError, match="or it is private"):
        OpenNeuroSource(DATASET).list_files(get_client())
    monkeypatch.setenv("OPENNEURO_TOKEN", "secret")
    openneuro.requests.clear()

    assert fetch(OpenNeuroSource(DATASET), tmp_path) == FILES
    told = {(one.role, one.headers.get("cookie")) for one in openneuro.requests}
    assert told == {("api", "accessToken=secret"), ("s3", None)}


def test_openneuro_id_that_is_none_is_refused_before_a_request() -> None:
    """What is put into a query or an address is checked."""
    for dataset, tag in (("../x", None), ("ds1", None), ("ds000246", "1/2"), ("ds000246", 'a"b')):
        with pytest.raises(ArgumentError, match="is not a snapshot of OpenNeuro"):
            OpenNeuroSource(dataset, tag)


@pytest.mark.parametrize(
    ("variable", "source"),
    [
        ("DATAVERSE_TOKEN", DataverseSource(SERVER, PID)),
        ("ZENODO_TOKEN", ZenodoSource(RECORD)),
        ("OPENNEURO_TOKEN", OpenNeuroSource(DATASET)),
    ],
)
@pytest.mark.parametrize("token", ["SECRET\nX: y", "SECRET\u2603", "SECRET; other=1"])
def test_token_that_no_header_can_carry_is_refused_by_its_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, source: Source, token: str
) -> None:
    """The variable is named, its value is not."""
    monkeypatch.setenv(variable, token)

    with pytest.raises(SettingError, match=f"^{variable} holds") as caught:
        source.list_files(get_client())
    assert "SECRET" not in str(caught.value)
