"""`LocalCopy`: a root folder, and the host behind it if there is one."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from confusius_datasets._cache import (
    PerProcess,
    describe_owner,
    is_file_here,
    is_here,
    open_below,
    word_in_the_way,
    word_unreadable,
)
from confusius_datasets._index import DatasetIndex, FileEntry, LocalVersion, lock_index
from confusius_datasets._local.remote import RemoteFiles
from confusius_datasets._local.snapshot import FOLDERS_KEPT, Snapshot, Stamp
from confusius_datasets._paths import INDEX_NAMES, Walk, resolve_below, walk_folder
from confusius_datasets._sources import (
    find_index_file,
    find_index_nearby,
    get_client,
    read_index_file,
    with_mirror_folders,
    write_index_file,
)
from confusius_datasets._text import count_files, list_some, warn_user
from confusius_datasets.errors import (
    CacheError,
    DatasetIndexError,
    OfflineError,
    UnsafePathError,
)

if TYPE_CHECKING:
    from confusius_datasets._download import Event, FileStatus
    from confusius_datasets._progress import ProgressOption
    from confusius_datasets._sources import Source

__all__ = ["LocalCopy"]

MEASURABLE_NBYTES = 1_000_000
"""A smaller download says how long a host takes to answer, not how fast it sends."""


class LocalCopy:
    """A root folder with its catalogue, and the host that has what is missing.

    The catalogue is a snapshot of the index file, replaced as a whole when that file changes,
    whichever process changed it. A folder of one's own has no source, and so an empty catalogue.
    `folder` is what the root is called in a folder of datasets, somebody else's too.
    """

    def __init__(
        self, root: Path, source: Source | None = None, *, name: str = "", folder: str = ""
    ) -> None:
        self.root = root
        self.name = name or root.name
        self._folder = folder or root.name
        self.rate: float | None = None  # of the last download, in bytes a second
        self._source = source
        self._snapshot = Snapshot(DatasetIndex())
        # A plain lock that another thread held at a fork would stay locked in the child.
        self._lock = PerProcess(threading.RLock)

    @property
    def has_host(self) -> bool:
        """Whether missing files come from somewhere."""
        return self._source is not None

    # The catalogue.

    @property
    def snapshot(self) -> Snapshot:
        """The catalogue as the index file has it now; read again only if the file has changed."""
        if self._source is None:
            return self._snapshot
        with self._lock.get():
            stamp = self._stamp()
            if stamp is None or stamp != self._snapshot.stamp:
                self._snapshot = self._read_snapshot(self._source, stamp)
            return self._snapshot

    @property
    def index(self) -> DatasetIndex:
        """Every file the host has, by its path below the root; empty without a host."""
        return self.snapshot.index

    def _index_path(self, source: Source) -> Path:
        return find_index_file(source, self.root)

    def _stamp(self) -> Stamp:
        """Tell one version of the index file from another; each is a new file, renamed."""
        if self._source is None:
            return None
        try:
            status = self._index_path(self._source).stat()
        except OSError:
            return None
        return (status.st_mtime_ns, status.st_size, status.st_ino)

    def _read_snapshot(self, source: Source, stamp: Stamp) -> Snapshot:
        known = self._snapshot.stamp is not None
        try:
            return Snapshot(read_index_file(source, self.root), stamp)
        except (CacheError, DatasetIndexError):
            if known:  # another program may be writing it, and not by renaming
                return self._snapshot
            raise
        except FileNotFoundError as error:
            if known:
                return self._snapshot
            raise CacheError(
                f"{self._index_path(source)} is missing, so the files of {self.name} are not "
                "known. Fetch the dataset again, or use open_dataset for what is on disk."
            ) from error

    def open(
        self, *, refresh: bool = False, check: Callable[[DatasetIndex], None] | None = None
    ) -> None:
        """Make sure that there is an index, from the disk or the host; warn of what is outdated.

        `check` may refuse the host's index before a folder is made for it.
        """
        if self._source is None:
            return
        # An index that may not be read is told before the host is asked for another.
        path = self._index_path(self._source)
        if is_file_here(path.parent, path.name) and not refresh:
            return
        nearby = None if refresh else find_index_nearby(self._source, self._folder)
        if outdated := self.refresh(check=check, newest=nearby):
            warn_user(
                f"{count_files(len(outdated))} in {self.root} changed upstream since downloaded: "
                f"{list_some(outdated)}. What is on disk was left as it is; to get the new "
                "version, call ds.download(..., force=True) on the dataset, with a query that "
                "matches it."
            )

    def refresh(
        self,
        *,
        check: Callable[[DatasetIndex], None] | None = None,
        newest: DatasetIndex | None = None,
    ) -> list[str]:
        """Merge the host's index into the one on disk; return what is here in an older version."""
        if self._source is None:
            return []
        newest = self._list_files(self._source) if newest is None else newest
        if check is not None:
            check(newest)
        outdated: list[str] = []

        def merge(local: DatasetIndex | None) -> DatasetIndex | None:
            if local is None:
                return newest  # none yet, or a damaged one, which a refresh repairs
            if local.says_the_same(newest):
                return None
            outdated.extend(filter(self._exists, local.changed(newest)))
            return local.merged(newest, on_disk=self._exists, is_same=self._is_whole)

        self._rewrite_index(self._source, merge)
        return outdated

    def _list_files(self, source: Source) -> DatasetIndex:
        """Ask the host what there is, and say which dataset it is about where that is forbidden."""
        try:
            return source.list_files(get_client().with_folder(self.root))
        except OfflineError as error:
            known = is_here(self._index_path(source))
            raise OfflineError(
                "The network may not be used (CONFUSIUS_OFFLINE is set), and the index of "
                f"{self.name} {'cannot be refreshed' if known else f'is not in {self.root}'}. "
                "Unset it, or fetch on a machine with a network and copy the folder."
            ) from error

    def _rewrite_index(
        self, source: Source, change: Callable[[DatasetIndex | None], DatasetIndex | None]
    ) -> None:
        """Change the index on disk, which another process may have replaced since it was read."""
        with lock_index(self.root):
            try:
                local = read_index_file(source, self.root)
            except (FileNotFoundError, DatasetIndexError):
                local = None
            changed = change(local)
            if changed is not None:
                write_index_file(source, self.root, changed)
        with self._lock.get():
            self._snapshot = self._read_snapshot(source, self._stamp())

    # What is on disk.

    def _is_whole(self, entry: FileEntry) -> bool:
        """Say whether a file on disk is the one that an entry describes; it is hashed for that."""
        from confusius_datasets._download import FileStatus, verify_files

        return verify_files([entry], self.root)[entry.relpath] is FileStatus.OK

    def _exists(self, relpath: str) -> bool:
        return os.path.isfile(self.root / relpath)  # noqa: PTH113 - as `is_here`

    def is_local(self, relpath: str) -> bool:
        """Say whether a file is on disk; of a Zarr store, all that the index has of it."""
        members = self.snapshot.members(relpath)
        if members == [relpath] and relpath not in self.index:
            return is_here(self.root / relpath)  # the user's own, which may be a store: a folder
        return all(map(self._exists, members))

    def size(self, relpath: str) -> int | None:
        """Return the bytes of a file or store as the index has it, or else the disk."""
        index = self.index
        if entry := index.get(relpath):
            return entry.size
        if members := index.below(relpath) if relpath.endswith(".zarr") else []:
            return sum(entry.size or 0 for entry in members)
        path = self.root / relpath
        return path.stat().st_size if path.is_file() else None

    def here(self) -> frozenset[str]:
        """List the files on disk, by one walk instead of a question for each."""
        return walk_folder(self.root, into_all=True).files

    def count_here(self) -> tuple[int, int, str]:
        """Count the entries whose files are on disk, and their bytes; say what is in the way."""
        index, found = self.index, walk_folder(self.root, into_all=True)
        sizes = [
            size
            for folder, names in _by_folder(found.files).items()
            for name, size in index.sizes_in(folder).items()
            if name in names and not name.endswith(".zarr")
        ]
        said = ""
        if in_the_way := self._find_in_the_way(found):
            said = f", and something else where {list_some(in_the_way, limit=3)} should be"
        if unreadable := self._find_unreadable(found):
            folders = list_some((folder or "." for folder in unreadable), limit=3)
            said += f", and folders that cannot be read: {folders}"
        return len(sizes), sum(size or 0 for size in sizes), said

    def _find_unreadable(self, found: Walk) -> list[str]:
        """List folders that this user may not read and that the index has files in."""
        return sorted(
            folder for folder in found.unreadable if not folder or self.index.has_folder(folder)
        )

    def _find_in_the_way(self, found: Walk) -> list[str]:
        """List folders that are where the index has files, and files where it has folders."""
        index = self.index
        in_the_way = []
        for folder, names in _by_folder((found.folders.keys() | found.odd) - {""}).items():
            taken = {name for name in names & index.sizes_in(folder).keys() if name[-5:] != ".zarr"}
            in_the_way += [f"{folder}/{name}" if folder else name for name in taken]
        for folder, names in _by_folder(found.files).items():
            known = {name for name in index.sizes_in(folder) if name[-5:] != ".zarr"}
            others = [f"{folder}/{name}" if folder else name for name in names - known]
            in_the_way += [relpath for relpath in others if index.has_folder(relpath)]
        return sorted(in_the_way)

    def describe(self, relpaths: Iterable[str]) -> list[tuple[int | None, bool]]:
        """Return the size of each file or store, and whether it is on disk."""
        here = self.here()
        sizes_in = lru_cache(FOLDERS_KEPT)(self.index.sizes_in)
        facts = []
        for relpath in relpaths:
            folder, _, name = relpath.rpartition("/")
            sizes = sizes_in(folder)
            # Of a store, all parts must be here; what the index lacks, only the disk knows.
            is_plain = name in sizes and not name.endswith(".zarr")
            facts.append(
                (sizes[name], relpath in here)
                if is_plain
                else (self.size(relpath), self.is_local(relpath))
            )
        return facts

    def missing(self, relpaths: Iterable[str] | None = None) -> list[FileEntry]:
        """List the entries, of some or of all, whose files are not on disk, in download order."""
        from confusius_datasets._download import plan_download

        return list(plan_download(self._entries(relpaths), self.root).entries)

    def missing_sizes(self) -> tuple[list[str], list[int | None]]:
        """List the paths of all that is not on disk, and the sizes, in download order."""
        from confusius_datasets._download import check_places, turn_of

        found = walk_folder(self.root, into_all=True)
        if in_the_way := self._find_in_the_way(found):
            raise word_in_the_way(self.root, in_the_way)
        for folder in self._find_unreadable(found):
            raise word_unreadable(self.root / folder, found.unreadable[folder])
        relpaths, sizes = self.index.sizes()
        missing = [place for place, path in enumerate(relpaths) if path not in found.files]
        turns = list(map(turn_of, sizes))
        missing.sort(key=turns.__getitem__)
        relpaths = [relpaths[place] for place in missing]
        check_places(relpaths, self.root, has_links=found.has_links)
        return relpaths, [sizes[place] for place in missing]

    def walk(self, *, into_stores: bool = False) -> Walk:
        """Walk over what is on disk, whether or not the index knows it."""
        return walk_folder(self.root, into_stores=into_stores)

    def verify(self, relpaths: Iterable[str] | None = None) -> dict[str, FileStatus]:
        """Hash files again and compare them with the index; of all, also find what it lacks."""
        from confusius_datasets._download import FileStatus, verify_files

        statuses = verify_files(self._entries(relpaths), self.root)
        if relpaths is None:
            found = self.walk(into_stores=True).files
            strangers = sorted(found - INDEX_NAMES - statuses.keys())
            statuses |= dict.fromkeys(strangers, FileStatus.NOT_IN_INDEX)
        return statuses

    def _entries(self, relpaths: Iterable[str] | None) -> Iterator[FileEntry]:
        """Give the entries of some files, or of all; what the host does not have is left out."""
        index = self.index
        return index.entries(index if relpaths is None else relpaths)

    def remote_files(self) -> RemoteFiles:
        """Return what reads parts of files that are not here, and stores nothing."""
        source = self._source and with_mirror_folders(self._source, self._folder)
        return RemoteFiles(self.root, source, self.index)

    # What changes it.

    def ensure(
        self, relpaths: Iterable[str], *, progress: ProgressOption = False, force: bool = False
    ) -> None:
        """Download what is missing of some files, or all of them anew."""
        from confusius_datasets._download import FileFinished, plan_download, run_plan
        from confusius_datasets._progress import report

        plan = plan_download(self._entries(relpaths), self.root, force=force)
        if self._source is None or not plan.entries:
            return
        finished: set[str] = set()
        with report(progress) as show:

            def on_event(event: Event) -> None:
                if isinstance(event, FileFinished):
                    finished.add(event.relpath)
                show(event)

            try:
                source = with_mirror_folders(self._source, self._folder)
                begin = time.monotonic()
                run_plan(plan, source, get_client(), on_event=on_event)
                if plan.nbytes >= MEASURABLE_NBYTES:
                    self.rate = plan.nbytes / max(time.monotonic() - begin, 1e-6)
            finally:
                # Also where others failed: the index must not call what came outdated.
                came = [entry for entry in plan.entries if entry.relpath in finished]
                self._note_versions(
                    {
                        entry.relpath: LocalVersion(entry.size, entry.checksums)
                        for entry in came
                        if entry.local is not None
                    },
                    anew=force and bool(came),
                )

    def evict(self, relpaths: Iterable[str], *, force: bool = False) -> list[str]:
        """Delete files; without force, only if all of them are as the host can give them again."""
        from confusius_datasets._download import FileStatus

        snapshot = self.snapshot
        members = [member for relpath in relpaths for member in snapshot.members(relpath)]
        here = [relpath for relpath in dict.fromkeys(members) if self._exists(relpath)]
        for relpath in here:
            resolve_below(self.root, relpath)
        if not force:
            statuses = self.verify(here)
            lost = [relpath for relpath in here if statuses.get(relpath) != FileStatus.OK]
            if lost:
                raise CacheError(
                    f"{count_files(len(lost))} in {self.root} would be lost, since the host does "
                    f"not have them as they are here: {list_some(lost)}. Nothing was deleted."
                )
        try:
            for relpath in here:
                self._remove(relpath)
        except OSError as error:
            path = self.root / relpath
            reason = f"{error.strerror}. {describe_owner(path, error)}".strip()
            raise CacheError(f"{path}: cannot be deleted: {reason}") from error
        finally:
            gone = [entry for entry in self._entries(here) if not self._exists(entry.relpath)]
            self._note_versions(
                {entry.relpath: None for entry in gone if entry.local is not None},
                anew=len(gone) < len(here),
            )
        return here

    def _remove(self, relpath: str) -> None:
        """Remove a file, and folders that become empty."""
        folder, _, name = relpath.rpartition("/")
        with open_below(self.root, folder) as opened:
            opened.remove(name)
        while folder:
            folder, _, name = folder.rpartition("/")
            try:
                with open_below(self.root, folder) as opened:
                    opened.remove_folder(name)
            except (OSError, UnsafePathError):  # not empty, most of the time
                return

    def _note_versions(self, now: Mapping[str, LocalVersion | None], *, anew: bool) -> None:
        """Note which versions of files, once older ones, are on disk now; `None` for no file.

        `anew` says that what was read from files may no longer hold, such as sidecars.
        """

        def note(index: DatasetIndex | None) -> DatasetIndex | None:
            if index is None:
                return None
            known = [index[relpath] for relpath in now if relpath in index]
            return index.updated(
                replace(entry, local=_unlike(entry, now[entry.relpath])) for entry in known
            )

        if self._source is not None and now:
            self._rewrite_index(self._source, note)
        elif anew:
            with self._lock.get():
                self._snapshot = replace(self._snapshot)


def _by_folder(relpaths: Iterable[str]) -> dict[str, set[str]]:
    """Gather the names of files by their folders."""
    names: dict[str, set[str]] = {}
    for relpath in relpaths:
        folder, _, name = relpath.rpartition("/")
        names.setdefault(folder, set()).add(name)
    return names


def _unlike(entry: FileEntry, version: LocalVersion | None) -> LocalVersion | None:
    """Return a version of a file if it is not the one that the entry describes."""
    return None if version == LocalVersion(entry.size, entry.checksums) else version
