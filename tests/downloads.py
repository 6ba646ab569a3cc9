"""What the tests of downloads share: a dataset on a local server, and ways to fetch it."""

from __future__ import annotations

import ctypes
import hashlib
import io
import json
import os
import pickle
import random
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from confusius_datasets import BIDSDataset, fetch_sample
from confusius_datasets._download import DownloadSettings, Event, plan_download, run_plan
from confusius_datasets._index import Checksum, DatasetIndex, FileEntry
from confusius_datasets._sources import (
    ArchiveSource,
    DataverseSource,
    DirectorySource,
    ManifestSource,
    OpenNeuroSource,
    OSFSource,
    S3Source,
    ZenodoSource,
    get_client,
)
from confusius_datasets.testing import (
    Fault,
    LocalDataverse,
    LocalHost,
    LocalOpenNeuro,
    LocalOSF,
    LocalS3,
    LocalWeb,
    LocalZenodo,
    Request,
    ZipMember,
    build_zip,
)
from confusius_datasets.testing.answers import Answer
from marks import slow

PROJECT, FOLDER = "43skw", "small-bids"

FAST = DownloadSettings(retries=2, backoff_s=0.02, stall_timeout_s=1.0, longest_wait_s=5.0)
"""Settings for a host on this machine."""

SMALL_FILES = {f"sub-{number:02d}/sub-{number:02d}_pwd.json": 50 + number for number in range(12)}
LARGE = "sub-01/fusi/sub-01_task-rest_pwd.nii.gz"
MEBIBYTE = 1 << 20


RECORDING = {"subject": "mouse1", "session": "day1", "acquisition": "slice01", "task": "rest"}
"""One recording of the sample, whose making takes a tenth of the time of all."""


def fetch_recording(data_dir: str | Path) -> BIDSDataset:
    """Fetch that recording of the sample."""
    return fetch_sample(
        data_dir,
        subjects=RECORDING["subject"],
        sessions=RECORDING["session"],
        tasks=RECORDING["task"],
        acqs=RECORDING["acquisition"],
        progress=False,
    )


def random_bytes(nbytes: int, seed: str = "") -> bytes:
    """Make bytes that no other file has, the same in every run."""
    return random.Random(f"{nbytes} {seed}").randbytes(nbytes)


@dataclass
class Lab:
    """A dataset on a local server, and the folder it is fetched into; here on OSF.

    Parameters
    ----------
    host : LocalOSF
        The server.
    root : pathlib.Path
        Where the dataset goes.
    """

    host: LocalOSF
    root: Path
    files: dict[str, bytes] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    md5: bool = True
    redirects: ClassVar[int] = 1
    FIRST_ROLE: ClassVar[str] = "files"
    """The server that is asked for each file first, once the way there is known."""
    WAY_ROLE: ClassVar[str | None] = "download"
    """The server that tells the way to it, if that is another; the first files are asked there."""
    WHOLE_STATUS: ClassVar[int] = 200
    """What a whole file is answered with."""
    IS_ARCHIVE: ClassVar[bool] = False
    """Whether all files are in one, so that small neighbours come together."""
    HAS_IF_RANGE: ClassVar[bool] = True
    """Whether the rest of a file is asked for by the tag of its beginning."""
    KNOWS_SIZES: ClassVar[bool] = True
    """Whether the index has the size of every file."""
    TOKEN: ClassVar[tuple[str, str, str]] = ("OSF_TOKEN", "authorization", "Bearer ")
    """The variable of the host's token, and the header that carries it; nothing for none."""
    TOKEN_ROLES: ClassVar[frozenset[str]] = frozenset({"api", "download"})
    """The servers that are told the token."""

    @property
    def source(self) -> Any:
        """The dataset's source."""
        return OSFSource(PROJECT, FOLDER)

    def serve(self, sizes: Mapping[str, int], *, md5: bool = True) -> None:
        """Put files of some sizes on the server; without checksums, where it can do without."""
        self.md5 = md5
        self.files = {relpath: random_bytes(size, relpath) for relpath, size in sizes.items()}
        self.publish()

    def put(self, relpath: str, data: bytes) -> None:
        """Replace a file on the server, and renew its index."""
        self.files[relpath] = data
        self.publish()

    def publish(self) -> None:
        """Put the files and their index on the server."""
        self.host.add_dataset(PROJECT, FOLDER, self.files, md5=self.md5)

    def replace(self, relpath: str, data: bytes) -> None:
        """Replace a file on the server, whose index is wrong from then on."""
        self.host.replace(PROJECT, FOLDER, relpath, data)

    def etag(self, relpath: str) -> str:
        """Return the entity tag that the server gives a file, leaving no trace in its log."""
        entry, seen = self.index()[relpath], len(self.host.requests)
        with self.source.open(entry, client=get_client()) as stream:
            etag: str | None = stream.etag
        del self.host.requests[seen:]
        assert etag is not None
        return etag

    def ahead(self, relpath: str) -> int:
        """Return how many bytes come before those of a file, when it is asked for."""
        return 0

    def offset(self, request: Request) -> int:
        """Return the byte of a file from which on a request asked for it."""
        return int(request.headers.get("range", "bytes=0-")[6:].partition("-")[0])

    def index(self) -> DatasetIndex:
        """Get the index, leaving no trace in the log of requests."""
        seen = len(self.host.requests)
        index = self.source.list_files(get_client())
        del self.host.requests[seen:]
        return index

    def fetch(
        self,
        entries: list[FileEntry] | None = None,
        *,
        settings: DownloadSettings = FAST,
        on_event: Callable[[Event], None] | None = None,
        force: bool = False,
    ) -> None:
        """Download what is missing of the dataset."""
        wanted = list(self.index().values()) if entries is None else entries
        run_plan(
            plan_download(wanted, self.root, force=force),
            self.source,
            get_client(),
            settings=settings,
            on_event=on_event or self.events.append,
        )

    def tree(self) -> dict[str, bytes]:
        """Read every file at a final path."""
        return {
            path.relative_to(self.root).as_posix(): path.read_bytes()
            for path in self.root.rglob("*")
            if path.is_file() and ".confusius" not in path.parts
        }

    def partials(self) -> list[Path]:
        """List the partial files."""
        return sorted((self.root / ".confusius" / "partial").glob("*"))

    def requests_for(self, relpath: str) -> list[Request]:
        """List the requests for a file that reached the store."""
        return self.host.requests_for(relpath.rpartition("/")[2])

    def sent(self, relpath: str) -> int:
        """Count the bytes of a file that the store sent."""
        return sum(request.nbytes for request in self.requests_for(relpath))

    def statuses(self, relpath: str) -> list[int]:
        """List what the store answered to requests for a file."""
        return [request.status for request in self.requests_for(relpath)]

    def fail_for_good(self, relpath: str) -> None:
        """Let one file fail each time, and no other."""
        self.host.fail(relpath.rpartition("/")[2], Fault("status", status=404, times=0))

    def write_listing(self, path: Path) -> Path:
        """Write the index as a file that `start_fetching` reads, and return where it is."""
        path.write_bytes(self.source.format_index(self.index()))
        return path


SCRIPT = """
import json, pickle, sys
from pathlib import Path
from confusius_datasets._download import DownloadSettings, plan_download, run_plan
from confusius_datasets._sources import get_client
listing, root, options = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
source = pickle.loads(bytes.fromhex(sys.argv[4]))
{setup}
index = source.read_index(listing.read_bytes(), "listing")
print("ready", flush=True)
{wait}
run_plan(
    plan_download(index.values(), root),
    source,
    get_client(),
    settings=DownloadSettings(**options),
    on_event=lambda event: print(type(event).__name__, flush=True),
)
"""
"""A process that downloads what a listing names, and tells what happens."""


def start_fetching(
    lab: Lab,
    listing: Path,
    *,
    setup: str = "",
    wait: str = "",
    settings: DownloadSettings = FAST,
) -> subprocess.Popen[str]:
    """Start a process that downloads the dataset.

    Parameters
    ----------
    lab : Lab
        With the server and the root.
    listing : pathlib.Path
        The index, as `Lab.write_listing` makes it.
    setup, wait : str, optional
        Code that runs first, and right before the download.
    settings : DownloadSettings, optional
        How the process downloads.
    """
    names = ("retries", "backoff_s", "stall_timeout_s", "longest_wait_s", "workers")
    options = json.dumps({name: getattr(settings, name) for name in names})
    script = SCRIPT.format(setup=setup, wait=wait)
    source = pickle.dumps(lab.source).hex()
    return subprocess.Popen(
        [sys.executable, "-c", script, str(listing), str(lab.root), options, source],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | lab.host.environ | {"PYTHONPATH": str(Path(__file__).parent)},
    )


@dataclass
class WebLab(Lab):
    """The same on a web server: one hop, entity tags, and no checksums in the index."""

    host: LocalWeb  # type: ignore[assignment]
    redirects: ClassVar[int] = 0
    FIRST_ROLE: ClassVar[str] = "web"
    WAY_ROLE: ClassVar[str | None] = None
    TOKEN: ClassVar[tuple[str, str, str]] = ("", "", "")
    TOKEN_ROLES: ClassVar[frozenset[str]] = frozenset()

    @property
    def source(self) -> ManifestSource:
        """The dataset's source."""
        return ManifestSource(f"{self.host.url('web')}/{FOLDER}/dataset_index.json")

    def publish(self) -> None:
        """Put the files and their index on the server."""
        self.host.add_folder(FOLDER, self.files, index="dataset_index.json", hashes=None)

    def replace(self, relpath: str, data: bytes) -> None:
        """Replace a file on the server, whose index is wrong from then on."""
        self.host.put(f"{FOLDER}/{relpath}", data)


@dataclass
class S3Lab(Lab):
    """The same as a release on S3: one hop, and SHA-256."""

    host: LocalS3  # type: ignore[assignment]
    redirects: ClassVar[int] = 0
    FIRST_ROLE: ClassVar[str] = "bucket"
    WAY_ROLE: ClassVar[str | None] = None
    TOKEN: ClassVar[tuple[str, str, str]] = ("", "", "")
    TOKEN_ROLES: ClassVar[frozenset[str]] = frozenset()

    @property
    def source(self) -> S3Source:
        """The dataset's source."""
        return S3Source(FOLDER, "1.0.0")

    def publish(self) -> None:
        """Put the files and their manifest on the server."""
        self.host.add_release(FOLDER, "1.0.0", self.files)

    def replace(self, relpath: str, data: bytes) -> None:
        """Replace a file on the server, whose manifest is wrong from then on."""
        self.host.bucket.put(f"datasets/{FOLDER}/1.0.0/{relpath}", data)


@dataclass
class DataverseLab(Lab):
    """The same on Dataverse: one redirect to a store, and checksums in the listing."""

    host: LocalDataverse  # type: ignore[assignment]
    redirects: ClassVar[int] = 1
    FIRST_ROLE: ClassVar[str] = "api"
    WAY_ROLE: ClassVar[str | None] = None
    TOKEN: ClassVar[tuple[str, str, str]] = ("DATAVERSE_TOKEN", "x-dataverse-key", "")
    TOKEN_ROLES: ClassVar[frozenset[str]] = frozenset({"api"})

    @property
    def source(self) -> DataverseSource:
        """The dataset's source."""
        return DataverseSource("https://dataverse.example", "doi:10.1/x")

    def publish(self) -> None:
        """Put the files on the server, which lists them."""
        self.host.add_dataset("doi:10.1/x", self.files)

    def replace(self, relpath: str, data: bytes) -> None:
        """Replace a file on the server, whose listing is wrong from then on."""
        self.host.replace("doi:10.1/x", relpath, data)


@dataclass
class ZenodoLab(Lab):
    """The same as a record of Zenodo: one hop, and MD5 in the record."""

    host: LocalZenodo  # type: ignore[assignment]
    redirects: ClassVar[int] = 0
    FIRST_ROLE: ClassVar[str] = "web"
    WAY_ROLE: ClassVar[str | None] = None
    TOKEN: ClassVar[tuple[str, str, str]] = ("ZENODO_TOKEN", "authorization", "Bearer ")
    TOKEN_ROLES: ClassVar[frozenset[str]] = frozenset({"web"})

    @property
    def source(self) -> ZenodoSource:
        """The dataset's source."""
        return ZenodoSource("15476373")

    def publish(self) -> None:
        """Put the files on the server, whose record names them."""
        self.host.add_record("15476373", self.files)

    def replace(self, relpath: str, data: bytes) -> None:
        """Replace a file on the server, whose record is wrong from then on."""
        self.host.spoil("15476373", relpath, data)


@dataclass
class OpenNeuroLab(Lab):
    """The same as a snapshot on OpenNeuro: one hop, and the hashes of git and git-annex."""

    host: LocalOpenNeuro  # type: ignore[assignment]
    redirects: ClassVar[int] = 0
    FIRST_ROLE: ClassVar[str] = "s3"
    WAY_ROLE: ClassVar[str | None] = None
    KNOWS_SIZES: ClassVar[bool] = False
    TOKEN: ClassVar[tuple[str, str, str]] = ("OPENNEURO_TOKEN", "cookie", "accessToken=")
    TOKEN_ROLES: ClassVar[frozenset[str]] = frozenset({"api"})

    @property
    def source(self) -> OpenNeuroSource:
        """The dataset's source."""
        return OpenNeuroSource("ds000246", "1.0.1")

    def publish(self) -> None:
        """Put the files on the server, whose snapshot names them."""
        self.host.add_snapshot("ds000246", "1.0.1", self.files)

    def replace(self, relpath: str, data: bytes) -> None:
        """Replace the bytes at a file's address, which the snapshot describes otherwise."""
        self.host.bucket.spoil(f"ds000246/{relpath}", data)


class LocalArchive(LocalWeb):
    """A web server with one archive; a request within one member is one about that member."""

    def __init__(self) -> None:
        super().__init__()
        self.members: dict[str, tuple[int, int]] = {}  # where each begins and ends, by path

    def store(self, files: Mapping[str, bytes]) -> None:
        """Replace the archive; the large file is no neighbour of the others."""
        others = [ZipMember(f"p/{path}", data) for path, data in files.items() if path != LARGE]
        large = [ZipMember(f"p/{LARGE}", files[LARGE])] if LARGE in files else []
        data = build_zip([*others, ZipMember("apart", bytes(100_000)), *large])
        self.put("lab/data.zip", data)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members, end = archive.infolist(), archive.start_dir
        stops = [*(member.header_offset for member in members[1:]), end]
        self.members = {
            member.filename.removeprefix("p/"): (member.header_offset, stop)
            for member, stop in zip(members, stops, strict=True)
        }

    def respond(self, request: Request) -> Answer:
        """Answer as a web server, and note which member it is about."""
        answer = super().respond(request)
        first, _, last = request.headers.get("range", "")[6:].partition("-")
        if not (first and last):
            return answer
        meant = [
            relpath
            for relpath, (start, stop) in self.members.items()
            if start <= int(last) and int(first) < stop
        ]
        return replace(answer, name=meant[0].rpartition("/")[2]) if len(meant) == 1 else answer


@dataclass
class ArchiveLab(Lab):
    """The same as an archive on a web server, read by ranges: CRC-32, and neighbours at once."""

    host: LocalArchive  # type: ignore[assignment]
    redirects: ClassVar[int] = 0
    FIRST_ROLE: ClassVar[str] = "web"
    WAY_ROLE: ClassVar[str | None] = None
    WHOLE_STATUS: ClassVar[int] = 206
    IS_ARCHIVE: ClassVar[bool] = True
    HAS_IF_RANGE: ClassVar[bool] = False
    TOKEN: ClassVar[tuple[str, str, str]] = ("", "", "")
    TOKEN_ROLES: ClassVar[frozenset[str]] = frozenset()

    @property
    def source(self) -> ArchiveSource:
        """The dataset's source."""
        container = ManifestSource(f"{self.host.url('web')}/lab/x")
        return ArchiveSource(container, FileEntry("data.zip"), "p/")

    def publish(self) -> None:
        """Put the archive on the server."""
        self.host.store(self.files)

    def replace(self, relpath: str, data: bytes) -> None:
        """Replace a member by one of the same size: where it is stays right, its CRC does not."""
        assert len(data) == len(self.files[relpath])
        self.host.store(self.files | {relpath: data})

    def requests_for(self, relpath: str) -> list[Request]:
        """List the requests for a member, and those for the whole archive."""
        names = {relpath.rpartition("/")[2], "data.zip"}
        return [
            request
            for request in self.host.requests
            if request.name in names and (request.name != "data.zip" or request.status == 200)
        ]

    def fail_for_good(self, relpath: str) -> None:
        """Let one member have other bytes: its neighbours come in the same request."""
        self.replace(relpath, bytes(len(self.files[relpath])))

    def ahead(self, relpath: str) -> int:
        """Return the size of a member's header."""
        start, stop = self.host.members[relpath]
        return stop - start - len(self.files[relpath])

    def offset(self, request: Request) -> int:
        """Return the byte of a member from which on a request asked for it."""
        first = super().offset(request)
        relpath, start = next(
            (relpath, start)
            for relpath, (start, stop) in self.host.members.items()
            if start <= first < stop
        )
        return max(first - start - self.ahead(relpath), 0)


class LocalFolder(LocalHost):
    """A folder of this machine, which nobody is asked for: it has no servers."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.path = Path(self._folder.name)

    def __exit__(self, *_: object) -> None:
        """Remove the folder."""
        self._folder.cleanup()


@dataclass
class FolderLab(Lab):
    """The same in a folder with an index."""

    host: LocalFolder  # type: ignore[assignment]
    redirects: ClassVar[int] = 0

    @property
    def source(self) -> DirectorySource:
        """The dataset's source."""
        return DirectorySource(self.host.path)

    def publish(self) -> None:
        """Put the files and their index into the folder."""
        entries = []
        for relpath, data in self.files.items():
            path = self.host.path / relpath
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            checksums = (Checksum("md5", md5(data)),) if self.md5 else ()
            entries.append(FileEntry(relpath, len(data), checksums))
        index = self.source.format_index(DatasetIndex(entries))
        (self.host.path / self.source.index_name).write_bytes(index)


LABS: dict[str, tuple[type[LocalHost], type[Lab]]] = {
    "osf": (LocalOSF, Lab),
    "web": (LocalWeb, WebLab),
    "s3": (LocalS3, S3Lab),
    "dataverse": (LocalDataverse, DataverseLab),
    "zenodo": (LocalZenodo, ZenodoLab),
    "openneuro": (LocalOpenNeuro, OpenNeuroLab),
    "zip": (LocalArchive, ArchiveLab),
    "folder": (LocalFolder, FolderLab),
}
"""Every kind of host, and the lab for it."""

SERVERS = [name for name in LABS if name != "folder"]
"""Those that are asked over the network, which may go wrong."""


TOKENS = {name for _, lab in LABS.values() if (name := lab.TOKEN[0])}
"""The variables of all tokens."""

QUICK = {"osf", "web"}
"""Two unlike hosts, which are enough for the quick tests."""


def hosts(*names: str, without: Container[str] = ()) -> list[Any]:
    """List kinds of hosts, all servers unless some are named, as parameters of `lab`."""
    return [
        name if name in QUICK else slow(name) for name in names or SERVERS if name not in without
    ]


def on_hosts(*names: str, without: Container[str] = ()) -> pytest.MarkDecorator:
    """Run a test on some kinds of hosts: those that can go wrong in its way."""
    return pytest.mark.parametrize("lab", hosts(*names, without=without), indirect=True)


@contextmanager
def make_lab(name: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[Lab]:
    """Run a server of a kind, and point the package at it."""
    host, lab = LABS[name]
    with host() as server:
        for variable, value in server.environ.items():
            monkeypatch.setenv(variable, value)
        yield lab(server, folder / "root")  # type: ignore[arg-type]


def md5(data: bytes) -> str:
    """Hash bytes as an index has it."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2
"""Linux capabilities by which root passes over the permissions of files."""


@contextmanager
def heeding_permissions() -> Iterator[None]:
    """Let permissions of files bind this thread, and those it starts, even if it is root's.

    The capabilities are taken out of the effective set only, and put back at the end: see
    capset(2), whose interface this is.
    """
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3, this thread
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; low words, then high ones
    if libc.capget(header, sets) != 0:
        raise OSError(ctypes.get_errno(), "capget failed")
    effective = sets[0]
    sets[0] = effective & ~(1 << CAP_DAC_OVERRIDE | 1 << CAP_DAC_READ_SEARCH)
    if libc.capset(header, sets) != 0:
        raise OSError(ctypes.get_errno(), "capset failed")
    try:
        yield
    finally:
        sets[0] = effective
        libc.capset(header, sets)
