"""A zip archive read by ranges: what is asked for, what comes, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from confusius_datasets._download import plan_download, run_plan
from confusius_datasets._index import Checksum, FileEntry
from confusius_datasets._sources import (
    ArchiveSource,
    From,
    HttpClient,
    ManifestSource,
    get_client,
)
from confusius_datasets.errors import (
    ConfusiusDatasetsError,
    DatasetIndexError,
    DownloadError,
    SettingError,
    SourceError,
)
from confusius_datasets.testing import Fault, LocalWeb, SourceTests, ZipMember, build_zip
from downloads import FAST, random_bytes
from releases import ARCHIVE_PREFIX, khallaf_archive
from replicas import KHALLAF_PATHS, replica_files

NAME = "fUSI data.zip"


def archive_source(web: LocalWeb, data: bytes, prefix: str | None = "p/") -> ArchiveSource:
    """Put an archive on a web server."""
    web.put(f"lab/{NAME}", data)
    return ArchiveSource(ManifestSource(f"{web.url('web')}/lab/x"), FileEntry(NAME), prefix)


class TestArchiveSource(SourceTests):
    """An archive of stored members."""

    method = "stored"
    zip64 = True

    @pytest.fixture(autouse=True)
    def _server(self) -> Iterator[None]:
        """Run the server for each test."""
        with LocalWeb() as self.web:
            yield

    def make_source(self, files: Mapping[str, bytes]) -> ArchiveSource:
        """Make the archive hold some files."""
        members = [ZipMember("p/"), ZipMember("other/x", b"not of this dataset")]
        members += [
            ZipMember(f"p/{relpath}", data, method=self.method, zip64=self.zip64)  # type: ignore[arg-type]
            for relpath, data in files.items()
        ]
        return archive_source(self.web, build_zip(members, zip64=self.zip64))


class TestArchiveSourceDeflated(TestArchiveSource):
    """An archive of packed members, without ZIP64."""

    method = "deflated"
    zip64 = False


class TestArchiveSourceWithoutRanges(TestArchiveSource):
    """An archive on a host without ranges: small ones are read whole each time."""

    def make_source(self, files: Mapping[str, bytes]) -> ArchiveSource:
        """Make the archive hold some files."""
        self.web.ranges = "none"
        return super().make_source(files)


@pytest.fixture
def web() -> Iterator[LocalWeb]:
    """Serve nothing yet."""
    with LocalWeb() as server:
        yield server


def fetch(source: ArchiveSource, root: Path) -> dict[str, bytes]:
    """Fetch all of an archive, and read it from the disk."""
    index = source.list_files(get_client())
    run_plan(plan_download(index.values(), root), source, get_client(), settings=FAST)
    return {relpath: (root / relpath).read_bytes() for relpath in index}


def test_replica_comes_as_it_is(web: LocalWeb, tmp_path: Path) -> None:
    """The tree of a public archive: folders are no files, names have no prefix."""
    files = replica_files(KHALLAF_PATHS)

    found = fetch(archive_source(web, khallaf_archive(files), ARCHIVE_PREFIX), tmp_path)

    assert found == files


def test_small_neighbours_come_in_one_request_and_the_directory_in_another(
    web: LocalWeb, tmp_path: Path
) -> None:
    """Ten small neighbours cost one request; a large member between them one of its own."""
    files = {f"a/{n:02d}.json": random_bytes(3000, str(n)) for n in range(10)}
    files["b/large.nii"] = random_bytes(1 << 21)
    files |= {f"c/{n:02d}.json": random_bytes(70_000, str(n)) for n in range(10)}
    data = build_zip(
        ZipMember(path, content, local_extra=b"UT\5\0abcde") for path, content in files.items()
    )
    source = archive_source(web, data, "")

    assert fetch(source, tmp_path) == files
    assert len(web.requests) == 1 + 1 + 1 + 1


@pytest.mark.parametrize("method", ["stored", "deflated"])
def test_members_of_every_make_are_read(web: LocalWeb, tmp_path: Path, method: str) -> None:
    """Sizes after the data, old encodings, extra fields, comments, bytes before the archive."""
    files = {f"{n}é.bin": bytes(range(200)) * 900 * (1 + 3 * (n % 2)) for n in range(4)}
    members = [
        ZipMember(
            path,
            data,
            method=method,  # type: ignore[arg-type]
            descriptor=n % 2 == 0,
            zip64=n == 3,
            encoding="cp437" if n == 1 else "utf-8",
            local_extra=b"xx\1\0!" * n,
        )
        for n, (path, data) in enumerate(files.items())
    ]
    data = build_zip(members, comment=b"c" * 500)

    assert fetch(archive_source(web, data, ""), tmp_path) == files


def test_large_member_goes_on_where_it_broke(web: LocalWeb, tmp_path: Path) -> None:
    """A stored member is resumed by a range within the archive."""
    files = {"x.nii": random_bytes(3 << 20)}
    source = archive_source(web, build_zip(ZipMember(f"p/{p}", d) for p, d in files.items()))
    index = source.list_files(get_client())
    web.fail(NAME, Fault("drop", after=2 << 20), role="web")

    run_plan(plan_download(index.values(), tmp_path), source, get_client(), settings=FAST)

    assert (tmp_path / "x.nii").read_bytes() == files["x.nii"]
    assert sum(request.nbytes for request in web.requests) < (3 << 20) + 200_000


def test_packed_member_begins_again_where_it_broke(web: LocalWeb, tmp_path: Path) -> None:
    """What is packed has no parts."""
    files = {"x.nii": random_bytes(1 << 20)}
    members = (ZipMember(f"p/{path}", data, method="deflated") for path, data in files.items())
    source = archive_source(web, build_zip(members))
    index = source.list_files(get_client())
    web.fail(NAME, Fault("drop", after=1 << 19), role="web")

    run_plan(plan_download(index.values(), tmp_path), source, get_client(), settings=FAST)

    assert (tmp_path / "x.nii").read_bytes() == files["x.nii"]


def test_wrong_bytes_in_a_group_are_asked_for_once_more(web: LocalWeb, tmp_path: Path) -> None:
    """A member whose CRC-32 is wrong is not taken from memory again."""
    files = {f"{n}.json": b"{%d}" % n for n in range(5)}
    data = build_zip(ZipMember(f"p/{path}", content) for path, content in files.items())
    source = archive_source(web, data)
    index = source.list_files(get_client())
    spoilt = bytearray(data)
    spoilt[data.index(b"{3}") + 1] ^= 1
    web.put(f"lab/{NAME}", bytes(spoilt))

    with pytest.raises(DownloadError, match=r"3\.json: received crc32"):
        run_plan(plan_download(index.values(), tmp_path), source, get_client(), settings=FAST)

    assert len(list(tmp_path.glob("*.json"))) == 4
    assert len(web.requests) == 3


def test_index_file_is_that_of_confusius(web: LocalWeb, tmp_path: Path) -> None:
    """Size and CRC as numbers; one that ConfUSIus wrote, without places, works too."""
    files = {"README": b"hello", "sub-1/x.nii": random_bytes(5000)}
    source = archive_source(web, build_zip(ZipMember(f"p/{p}", d) for p, d in files.items()))
    index = source.list_files(get_client())

    document = json.loads(source.format_index(index))
    assert {path: set(record) for path, record in document.items()} == {
        path: {"size", "crc", "member"} for path in files
    }
    assert document["README"]["crc"] == 0x3610A686
    theirs = {
        path: {"size": record["size"], "crc": record["crc"]} for path, record in document.items()
    }
    read = source.read_index(json.dumps(theirs).encode(), "x")
    client = HttpClient(FAST)
    run_plan(plan_download(read.values(), tmp_path), source, client)

    assert index["README"].checksums == read["README"].checksums == (Checksum("crc32", "3610a686"),)
    assert all((tmp_path / path).read_bytes() == data for path, data in files.items())
    for crc in (-1, 1 << 32, True, "12"):
        with pytest.raises(DatasetIndexError, match="number of 32 bits"):
            source.read_index(json.dumps({"a": {"size": 1, "crc": crc}}).encode(), "x")


def test_root_is_where_the_description_is(web: LocalWeb) -> None:
    """Without a prefix, the highest folder with a description is the dataset."""
    names = ["__MACOSX/x", "my data/README", "my data/dataset_description.json"]
    names += ["my data/derivatives/a/dataset_description.json", "my data/dataset_index.json"]
    data = build_zip(ZipMember(name, b"{}") for name in names)

    assert list(archive_source(web, data, None).list_files(get_client())) == [
        "README",
        "dataset_description.json",
        "derivatives/a/dataset_description.json",
    ]
    other = build_zip([ZipMember("a/b", b"1"), ZipMember("c", b"2")])
    assert list(archive_source(web, other, None).list_files(HttpClient(FAST))) == ["a/b", "c"]


GOOD = ZipMember("p/a", b"first" * 100)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([GOOD, ZipMember("p/b", b"first" * 100, at="p/a")], "overlaps|same place"),
        ([GOOD, ZipMember("p/b", b"second", offset=40)], "overlaps"),
        ([GOOD, ZipMember("p/b", b"x", offset=1 << 31)], "overlaps|damaged"),
        ([ZipMember("p/b", b"x" * 20, encrypted=True)], "is encrypted"),
        ([ZipMember("p/b", b"/etc/passwd", mode=0o120777)], "is a link"),
        ([ZipMember("p/b", b"x", mode=0o060666)], "is a link or a device"),
        ([ZipMember("p/b", bytes(1000), method="deflated", size=1 << 30)], "beyond measure"),
        (
            [
                ZipMember(f"p/{n}", random_bytes(1 << 20, f"{n}"), method="deflated", size=1 << 28)
                for n in range(5)
            ],
            r"expand more than 200 times would become 1\.342 GB",
        ),
        ([ZipMember("p/b", b"x", size=2)], "two different sizes|beyond measure"),
        ([ZipMember("p/../../b", b"x")], "climbs out"),
        ([ZipMember("p//etc/passwd", b"x")], "is absolute"),
        ([ZipMember("p/C:\\b", b"x")], "drive letter"),
        ([ZipMember("p/.confusius/b", b"x")], "folder kept"),
        ([GOOD, ZipMember("p/A", b"x")], "same file"),
        ([GOOD, ZipMember("p/a/b", b"x")], "runs through"),
        ([GOOD, GOOD], "same file|overlaps|twice"),
        ([ZipMember("q/b", b"x")], "no member below 'p/'"),
        ([], "no member below"),
    ],
)
def test_archive_that_nobody_should_unpack_is_refused_before_a_file_is_written(
    web: LocalWeb, tmp_path: Path, members: list[ZipMember], message: str
) -> None:
    """Overlaps, expansion, encryption, links and paths that lead out make it unusable."""
    with pytest.raises(ConfusiusDatasetsError, match=message):
        fetch(archive_source(web, build_zip(members)), tmp_path)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (ZipMember("p/b", b"x" * 90, local_name="p/c"), "not the one of 'p/b'"),
        (ZipMember("p/b", b"x" * 90, local_name="p/b" * 20), "not the one of 'p/b'"),
        (ZipMember("p/b", bytes(5000), method="deflated", size=4000), "expands too far"),
        (ZipMember("p/b", b"x" * 90, crc=7), "received crc32"),
    ],
)
@pytest.mark.parametrize("neighbours", [1, 0])
def test_member_that_is_not_what_the_directory_says_is_not_kept(
    web: LocalWeb, tmp_path: Path, member: ZipMember, message: str, neighbours: int
) -> None:
    """A wrong header, a bomb, and a wrong CRC are found by themselves and among neighbours."""
    members = [*[ZipMember("p/a", b"good")] * neighbours, member]
    source = archive_source(web, build_zip(members))

    with pytest.raises(DownloadError, match=message):
        fetch(source, tmp_path)

    assert not (tmp_path / "b").exists()
    assert (tmp_path / "a").exists() == bool(neighbours)


@pytest.mark.parametrize(
    "data",
    [b"", b"PK", b"x" * 100_000, build_zip([GOOD])[:-30], build_zip([GOOD], n_entries=9)[40:]],
)
def test_what_is_no_archive_is_named(web: LocalWeb, data: bytes) -> None:
    """Damage is an error of ours that names the archive."""
    with pytest.raises(ConfusiusDatasetsError, match=r"fUSI data\.zip|fUSI%20data"):
        archive_source(web, data).list_files(get_client())


def test_setting_that_cannot_be_used_is_no_damage(
    web: LocalWeb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named as what it is, before anything is asked of the host."""
    source = archive_source(web, build_zip([ZipMember("p/x", b"x")]))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "gone.pem"))

    with pytest.raises(SettingError, match=r"^REQUESTS_CA_BUNDLE=.*no such file"):
        source.list_files(HttpClient())

    assert web.requests == []


def test_directory_larger_than_any_is_not_read(
    web: LocalWeb, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory does not grow with what a directory claims."""
    monkeypatch.setattr("confusius_datasets._sources.zip_bytes.LARGEST_DIRECTORY_NBYTES", 100_000)
    members = [ZipMember(f"p/{n:06d}", b"") for n in range(4000)]

    with pytest.raises(SourceError, match="larger than any can be"):
        archive_source(web, build_zip(members)).list_files(get_client())


def test_directory_is_found_on_a_host_without_suffix_ranges(
    web: LocalWeb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer to a suffix tells the size, and then the end is asked for by its offset."""
    monkeypatch.setattr("confusius_datasets._sources.zip_bytes.SKIPPED_NBYTES", 1000)
    files = {"x.nii": random_bytes(1 << 23), "y.json": b"{}"}
    data = build_zip(ZipMember(f"p/{path}", content) for path, content in files.items())
    web.ranges = "from-to"

    assert fetch(archive_source(web, data), tmp_path) == files
    assert web.requests[0].headers["range"].startswith("bytes=-")
    assert sum(request.nbytes for request in web.requests) < 1.5 * len(data)


def test_place_that_cannot_be_is_refused(web: LocalWeb) -> None:
    """A locator comes from a file that others can write."""
    source = archive_source(web, build_zip([GOOD]))

    wrong = ("", "1 2", "5 1 9 0 p/a", "0 99 9 7 p/a", "-1 99 9 0 p/a", "a b c d e", "0 9 9 0 p/a")
    for locator in wrong:
        with pytest.raises(DatasetIndexError, match="no usable place"):
            source.open(FileEntry("a", 5, locators={"zip": locator}), client=get_client())
    beyond = FileEntry("a", 5, locators={"zip": "900000 900100 5 0 p/a"})
    with pytest.raises(SourceError, match="has changed"):
        source.open(beyond, From(2), client=get_client())
