"""What the tests of downloads share: a dataset on a local server, and ways to fetch it."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import pickle
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from confusius_datasets._download import DownloadSettings, Event, plan_download, run_plan
from confusius_datasets._index import DatasetIndex, FileEntry
from confusius_datasets._sources import (
    DataverseSource,
    ManifestSource,
    OSFSource,
    S3Source,
    get_client,
)
from confusius_datasets.testing import LocalDataverse, LocalOSF, LocalS3, LocalWeb

PROJECT, FOLDER = "43skw", "small-bids"

FAST = DownloadSettings(retries=2, backoff_s=0.02, stall_timeout_s=1.0, longest_wait_s=5.0)
"""Settings for a host on this machine."""

SMALL_FILES = {f"sub-{number:02d}/sub-{number:02d}_pwd.json": 50 + number for number in range(12)}
LARGE = "sub-01/fusi/sub-01_task-rest_pwd.nii.gz"
MEBIBYTE = 1 << 20


def random_bytes(nbytes: int, seed: str = "") -> bytes:
    """Make bytes that no other file has, the same in every run."""
    return random.Random(f"{nbytes} {seed}").randbytes(nbytes)


@dataclass
class Lab:
    """A dataset on a local server, and the folder it is fetched into.

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
    redirects: ClassVar[int] = 2

    @property
    def source(self) -> Any:
        """The dataset's source."""
        return OSFSource(PROJECT, FOLDER)

    def serve(self, sizes: Mapping[str, int], *, md5: bool = True) -> None:
        """Put files of some sizes on the server."""
        self.files = {relpath: random_bytes(size, relpath) for relpath, size in sizes.items()}
        self.host.add_dataset(PROJECT, FOLDER, self.files, md5=md5)

    def replace(self, relpath: str, data: bytes) -> None:
        """Replace a file on the server, whose index is wrong from then on."""
        self.host.replace(PROJECT, FOLDER, relpath, data)

    def put(self, relpath: str, data: bytes) -> None:
        """Replace a file on the server, and renew its index."""
        self.files[relpath] = data
        self.host.put(PROJECT, FOLDER, relpath, data)

    def etag(self, relpath: str) -> str:
        """Return the entity tag that the server gives a file."""
        return f'"{md5(self.files[relpath])}"'

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

    def sent(self, relpath: str) -> int:
        """Count the bytes of a file that the store sent."""
        name = relpath.rpartition("/")[2]
        return sum(request.nbytes for request in self.host.requests_for(name))

    def statuses(self, relpath: str) -> list[int]:
        """List what the store answered to requests for a file."""
        name = relpath.rpartition("/")[2]
        return [request.status for request in self.host.requests_for(name)]

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

    @property
    def source(self) -> ManifestSource:
        """The dataset's source."""
        return ManifestSource(f"{self.host.url('web')}/{FOLDER}/dataset_index.json")

    def serve(self, sizes: Mapping[str, int], *, md5: bool = True) -> None:
        """Put files of some sizes on the server."""
        self.files = {relpath: random_bytes(size, relpath) for relpath, size in sizes.items()}
        self.host.add_folder(FOLDER, self.files, index="dataset_index.json", hashes=None)

    def replace(self, relpath: str, data: bytes) -> None:
        """Replace a file on the server, whose index is wrong from then on."""
        self.host.put(f"{FOLDER}/{relpath}", data)

    def put(self, relpath: str, data: bytes) -> None:
        """Replace a file on the server, and renew its index."""
        self.files[relpath] = data
        self.host.add_folder(FOLDER, self.files, index="dataset_index.json", hashes=None)

    def etag(self, relpath: str) -> str:
        """Return the entity tag that the server gives a file."""
        with self.source.open(FileEntry(relpath), client=get_client()) as stream:
            etag = stream.etag
        self.host.requests.pop()
        assert etag is not None
        return etag


@dataclass
class S3Lab(Lab):
    """The same as a release on S3: one hop, and SHA-256."""

    host: LocalS3  # type: ignore[assignment]
    redirects: ClassVar[int] = 0

    @property
    def source(self) -> S3Source:
        """The dataset's source."""
        return S3Source(FOLDER, "1.0.0")

    def serve(self, sizes: Mapping[str, int], *, md5: bool = True) -> None:
        """Put files of some sizes on the server."""
        self.files = {relpath: random_bytes(size, relpath) for relpath, size in sizes.items()}
        self.host.add_release(FOLDER, "1.0.0", self.files)

    def replace(self, relpath: str, data: bytes) -> None:
        """Replace a file on the server, whose manifest is wrong from then on."""
        self.host.bucket.put(f"datasets/{FOLDER}/1.0.0/{relpath}", data)

    def put(self, relpath: str, data: bytes) -> None:
        """Replace a file on the server, and renew its manifest."""
        self.files[relpath] = data
        self.host.add_release(FOLDER, "1.0.0", self.files)


@dataclass
class DataverseLab(Lab):
    """The same on Dataverse: one redirect to a store, and checksums in the listing."""

    host: LocalDataverse  # type: ignore[assignment]
    redirects: ClassVar[int] = 1

    @property
    def source(self) -> DataverseSource:
        """The dataset's source."""
        return DataverseSource("https://dataverse.example", "doi:10.1/x")

    def serve(self, sizes: Mapping[str, int], *, md5: bool = True) -> None:
        """Put files of some sizes on the server."""
        self.files = {relpath: random_bytes(size, relpath) for relpath, size in sizes.items()}
        self.host.add_dataset("doi:10.1/x", self.files)

    def replace(self, relpath: str, data: bytes) -> None:
        """Replace a file on the server, whose listing is wrong from then on."""
        self.host.replace("doi:10.1/x", relpath, data)

    def put(self, relpath: str, data: bytes) -> None:
        """Replace a file on the server, and renew its listing."""
        self.files[relpath] = data
        self.host.add_dataset("doi:10.1/x", self.files)


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
