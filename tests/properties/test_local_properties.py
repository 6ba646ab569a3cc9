"""A local copy is what a plain model in memory says, whatever is done to it and to its host."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from builders import entry_of
from confusius_datasets import BIDSDataset
from confusius_datasets._index import DatasetIndex
from confusius_datasets._local import LocalCopy
from confusius_datasets.errors import CacheError, DownloadError, SourceError
from confusius_datasets.sources import DatasetSpec, DirectorySource

RELPATHS = [
    "participants.tsv",
    "sub-1/fusi/sub-1_task-a_pwd.json",
    "sub-1/fusi/sub-1_task-a_pwd.nii.gz",
    "sub-2/fusi/sub-2_task-a_pwd.zarr/0/0",
    "sub-2/fusi/sub-2_task-a_pwd.zarr/zarr.json",
    "sub-2/sub-2_scans.tsv",
]
"""Files that the host may have."""

STRANGER = "sub-1/fusi/sub-1_task-mine_pwd.nii.gz"
"""A file that only a user puts into the folder."""

CONTENTS = [b"{}", b"[]", b'{"a": 1}' + b" " * 3000]
"""What a file may hold, two of them of one length; none empty, since nothing of it can be wrong."""

relpaths = st.sampled_from(RELPATHS)
some_relpaths = st.lists(relpaths, min_size=1, max_size=4, unique=True)
contents = st.sampled_from(CONTENTS)


def wholes(names: Iterable[str]) -> set[str]:
    """Return files, and in the place of a Zarr store's parts the store."""
    return {f"{name.partition('.zarr/')[0]}.zarr" if ".zarr/" in name else name for name in names}


def read_tree(root: Path) -> dict[str, bytes]:
    """Read every file below a root but for the index and what is hidden."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and ".confusius" not in path.parts and path.name != "dataset_index.json"
    }


class LocalCopyMachine(RuleBasedStateMachine):
    """A folder, its host, and what both should hold."""

    @initialize(files=st.dictionaries(relpaths, contents, min_size=3), here=st.booleans())
    def begin(self, files: dict[str, bytes], here: bool) -> None:
        """Serve some files, read the host's index for the first time, and download all or none."""
        self.folder = Path(tempfile.mkdtemp())
        self.host_root, self.root = self.folder / "host", self.folder / "root"
        self.host: dict[str, bytes] = {}
        self.newest: dict[str, bytes] = {}  # what the index has, by path
        self.older: dict[str, bytes] = {}  # where the index says that another version is on disk
        self.disk: dict[str, bytes] = {}
        self.serve(files)
        self.spec = DatasetSpec(name="model", folder="root", source=DirectorySource(self.host_root))
        self.root.mkdir()
        self.local = LocalCopy(self.root, self.spec.source)
        self.dataset = BIDSDataset(self.root, spec=self.spec, progress=False)
        self.local.open()
        self.newest = dict(self.host)
        if here:
            self.local.ensure(self.newest)
            self.came(list(self.newest))

    def teardown(self) -> None:
        """Delete the folders."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def serve(self, files: dict[str, bytes]) -> None:
        """Make the host have some files and no others."""
        shutil.rmtree(self.host_root, ignore_errors=True)
        self.host_root.mkdir()
        for relpath, content in files.items():
            self.write(self.host_root / relpath, content)
        index = DatasetIndex(entry_of(relpath, content) for relpath, content in files.items())
        text = DirectorySource(self.host_root).format_index(index)
        (self.host_root / "dataset_index.json").write_bytes(text)
        self.host = dict(files)

    def write(self, path: Path, content: bytes) -> None:
        """Put a file at a path."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    # What happens.

    @rule(relpath=relpaths, content=contents)
    def change_upstream(self, relpath: str, content: bytes) -> None:
        """Give the host a file, or another version of it."""
        self.serve(self.host | {relpath: content})

    @rule(relpath=relpaths)
    def remove_upstream(self, relpath: str) -> None:
        """Take a file away from the host."""
        self.serve({name: content for name, content in self.host.items() if name != relpath})

    @rule(by_another=st.booleans())
    def refresh(self, by_another: bool) -> None:
        """Merge the index with the host's, by this object or by that of another process."""
        local = LocalCopy(self.root, self.spec.source) if by_another else self.local

        outdated = local.refresh()

        known = {name for name in self.newest if name in self.disk}
        here = {name: self.older.get(name, self.newest[name]) for name in known}
        kept = {name: self.newest[name] for name in known if name not in self.host}
        self.older = {
            name: version
            for name, version in here.items()
            if (name in kept and name in self.older) or version != self.host.get(name, version)
        }
        self.newest = self.host | kept
        assert outdated == sorted(name for name in here if name in self.host and name in self.older)

    @rule(names=some_relpaths, force=st.booleans())
    def download(self, names: list[str], force: bool) -> None:
        """Files come as the index describes them; a host that has others is not believed."""
        wanted = [name for name in names if name in self.newest]
        wanted = [name for name in wanted if force or name not in self.disk]
        good = [name for name in wanted if self.host.get(name) == self.newest[name]]

        if good == wanted:
            self.local.ensure(names, force=force)
        else:
            with pytest.raises((DownloadError, SourceError)):
                self.local.ensure(names, force=force)
        self.came(good)

    def came(self, names: list[str]) -> None:
        """Note what was downloaded."""
        for name in names:
            self.disk[name] = self.newest[name]
            self.older.pop(name, None)

    @rule(names=some_relpaths, force=st.booleans(), calls=st.integers(1, 4))
    @precondition(lambda self: hasattr(os, "fork") and threading.active_count() == 1)
    def kill_while_downloading(self, names: list[str], force: bool, calls: int) -> None:
        """Let a download be killed at any instant: it leaves whole files, old ones or new ones."""
        child = os.fork()
        if child == 0:
            self.download_until_killed(names, force=force, calls=calls)
        os.waitpid(child, 0)

        found = read_tree(self.root)
        for name in set(names) & set(self.newest):
            if name in found and found[name] != self.disk.get(name):
                assert found[name] == self.newest[name]
                assert force or name not in self.disk
                self.disk[name] = found[name]
        # How far the child came in noting that versions are new, only the index says.
        index = self.local.index
        for name in set(names) & set(self.older):
            if index[name].local is None:
                assert self.disk[name] == self.newest[name]
                del self.older[name]

    def download_until_killed(self, names: list[str], *, force: bool, calls: int) -> None:
        """Download in a child process, which dies when it is told of progress for the nth time."""
        told = []

        def show(done: int, total: int | None, text: str) -> None:
            told.append(text)
            if len(told) == calls:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            self.local.ensure(names, progress=show, force=force)
        finally:
            os._exit(0)

    @rule(
        names=st.permutations([*RELPATHS, STRANGER]).map(lambda names: names[:3]),
        force=st.booleans(),
    )
    def evict(self, names: list[str], force: bool) -> None:
        """Disk is freed of what the host can give again, or of nothing."""
        here = [name for name in names if name in self.disk]
        safe = all(self.disk[name] == self.newest.get(name) for name in here)

        if force or safe:
            assert sorted(self.local.evict(names, force=force)) == sorted(here)
            for name in here:
                del self.disk[name]
                self.older.pop(name, None)
        else:
            with pytest.raises(CacheError, match="would be lost"):
                self.local.evict(names)

    @rule(relpath=st.sampled_from([*RELPATHS, STRANGER]), content=contents)
    def edit_on_disk(self, relpath: str, content: bytes) -> None:
        """Let a user write a file."""
        self.write(self.root / relpath, content)
        self.disk[relpath] = content

    @rule(relpath=st.sampled_from([*RELPATHS, STRANGER]))
    def delete_on_disk(self, relpath: str) -> None:
        """Let a user delete a file, and the store it was the last part of."""
        (self.root / relpath).unlink(missing_ok=True)
        for folder in sorted(self.root.rglob("*"), reverse=True):
            if folder.is_dir() and ".confusius" not in folder.parts and not any(folder.iterdir()):
                folder.rmdir()
        self.disk.pop(relpath, None)

    # What holds then.

    @rule()
    def verify(self) -> None:
        """Each file is what its bytes are, compared with the index."""
        expected = dict.fromkeys(self.disk.keys() - self.newest.keys(), "not in index")
        for name, newest in self.newest.items():
            here = self.disk.get(name)
            expected[name] = (
                "missing"
                if here is None
                else "ok"
                if here == newest
                else "outdated"
                if here == self.older.get(name)
                else "corrupt"
            )

        assert {name: str(status) for name, status in self.local.verify().items()} == expected

    @rule()
    def query(self) -> None:
        """Find by a new dataset what index or disk have, by an open one all of the index."""
        table = BIDSDataset(self.root, spec=self.spec, progress=False).to_df()
        on_disk = dict(zip(table.path, table.on_disk, strict=True))

        assert on_disk.keys() == wholes({*self.newest, *self.disk})
        assert set(self.dataset.to_df().path) >= wholes(self.newest)
        for name, is_here in on_disk.items():
            parts = {part for part in self.newest if part.startswith(f"{name}/")} or {name}
            assert is_here == all((self.root / part).exists() for part in parts)

    @invariant()
    def index_and_disk_are_as_in_the_model(self) -> None:
        """Every object of the folder has the index as it is now, and no file is half a file."""
        expected = {
            name: entry_of(name, content).checksums for name, content in self.newest.items()
        }
        older = {name: entry_of(name, content).checksums for name, content in self.older.items()}

        for index in (self.local.index, self.dataset.index):
            assert {name: entry.checksums for name, entry in index.items()} == expected
            assert {
                name: entry.local.checksums for name, entry in index.items() if entry.local
            } == older
        assert read_tree(self.root) == self.disk
        missing = {entry.relpath for entry in self.local.missing()}
        assert missing == self.newest.keys() - self.disk.keys()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_local_copy_is_as_the_model_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random histories of a folder and its host end as those of a dictionary."""
    monkeypatch.setenv("CONFUSIUS_DOWNLOAD_RETRIES", "0")

    run_state_machine_as_test(
        LocalCopyMachine,
        settings=settings(max_examples=20, stateful_step_count=20, deadline=None),
    )
