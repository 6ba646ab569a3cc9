"""Which files are missing, and how their bytes get to their places: whole, verified, or not at all.

`plan_download` decides, `run_plan` does: several files at once, into partial files of its own,
hashed on the way, renamed when they are whole. What happens is told as events. Nothing here knows
BIDS, or draws.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import threading
import time
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from confusius_datasets._cache import hidden_folder, lock
from confusius_datasets._index import Checksum, FileEntry, format_nbytes, resolve_below
from confusius_datasets._sources import Source
from confusius_datasets.errors import (
    CacheError,
    ChecksumError,
    DownloadError,
    DownloadsFailedError,
    FilterError,
    NotEnoughSpaceError,
    OfflineError,
    RateLimitError,
    RemoteConnectionError,
    SourceError,
)

__all__ = [
    "BytesReceived",
    "DownloadPlan",
    "DownloadSettings",
    "Event",
    "FileFailed",
    "FileFinished",
    "FileStarted",
    "PlanFinished",
    "PlanStarted",
    "Waiting",
    "plan_download",
    "run_plan",
    "verify_files",
]

SMALL = 1 << 20
"""Files up to this size are sidecars and tables rather than recordings: they come first."""

BLOCK = 1 << 20
"""Bytes read at a time when a local file is hashed."""


@dataclass(frozen=True, slots=True)
class DownloadPlan:
    """What is to be downloaded.

    Parameters
    ----------
    root : pathlib.Path
        Root of the dataset.
    entries : tuple of FileEntry
        The files, in the order in which they are begun.
    nbytes : int
        Their bytes, as far as sizes are known.
    unknown_sizes : int
        How many of them have no known size.
    force : bool, default: False
        Whether files that are at their places are replaced.
    """

    root: Path
    entries: tuple[FileEntry, ...]
    nbytes: int
    unknown_sizes: int
    force: bool = False


@dataclass(frozen=True, slots=True)
class DownloadSettings:
    """How downloads are carried out.

    Parameters
    ----------
    workers : int, default: 8
        Files that are downloaded at once.
    retries : int, default: 4
        Attempts in a row that may fail without a byte before a file is given up.
    backoff_s : float, default: 1
        Seconds before the first retry; doubled with each, with jitter.
    longest_wait_s : float, default: 3600
        Longest time to wait because a host asks for it.
    """

    workers: int = 8
    retries: int = 4
    backoff_s: float = 1.0
    longest_wait_s: float = 3600.0

    @classmethod
    def from_environment(cls) -> DownloadSettings:
        """Read `CONFUSIUS_DOWNLOAD_WORKERS`, `_RETRIES` and `_BACKOFF`."""
        names = {"workers": int, "retries": int, "backoff_s": float}
        given = {}
        for name, parse in names.items():
            variable = f"CONFUSIUS_DOWNLOAD_{name.removesuffix('_s').upper()}"
            if text := os.environ.get(variable):
                try:
                    given[name] = parse(text)
                except ValueError as error:
                    raise FilterError(f"{variable}={text!r} is no number.") from error
        return cls(**given)


@dataclass(frozen=True, slots=True)
class PlanStarted:
    """A plan is about to be carried out."""

    n_files: int
    nbytes: int | None


@dataclass(frozen=True, slots=True)
class FileStarted:
    """A file is begun; `nbytes` of it were here already."""

    relpath: str
    nbytes: int = 0


@dataclass(frozen=True, slots=True)
class BytesReceived:
    """Bytes of a file arrived; a negative number takes back what was received in vain."""

    relpath: str
    nbytes: int


@dataclass(frozen=True, slots=True)
class FileFinished:
    """A file is whole and at its place."""

    relpath: str


@dataclass(frozen=True, slots=True)
class FileFailed:
    """A file was given up."""

    relpath: str
    error: Exception


@dataclass(frozen=True, slots=True)
class Waiting:
    """Downloads pause because a host asked for it, or failed."""

    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class PlanFinished:
    """Nothing is under way any more."""


Event = (
    PlanStarted | FileStarted | BytesReceived | FileFinished | FileFailed | Waiting | PlanFinished
)
"""What `run_plan` tells as it goes."""


def plan_download(entries: Iterable[FileEntry], root: Path, *, force: bool = False) -> DownloadPlan:
    """Decide which of some files are to be downloaded, and in which order.

    Parameters
    ----------
    entries : iterable of FileEntry
        The files wanted; one that is named twice is taken once.
    root : pathlib.Path
        Root of their dataset.
    force : bool, default: False
        Whether files that are here are downloaded again.

    Returns
    -------
    DownloadPlan
        Small files first, so that an interrupted download is of use, then the largest first, so
        that none of them is left alone at the end.

    Raises
    ------
    UnsafePathError
        If a file would be written outside the root.
    """
    wanted = {entry.relpath: entry for entry in entries}
    missing = [
        entry
        for entry in wanted.values()
        if force or not resolve_below(root, entry.relpath).exists()
    ]
    missing.sort(key=lambda entry: _turn(entry))
    return DownloadPlan(
        root,
        tuple(missing),
        sum(entry.size or 0 for entry in missing),
        sum(entry.size is None for entry in missing),
        force,
    )


def _turn(entry: FileEntry) -> tuple[int, int]:
    """Order small files before large ones, and the largest of these first."""
    size = entry.size or 0
    return (0, 0) if size <= SMALL else (1, -size)


def run_plan(
    plan: DownloadPlan,
    source: Source,
    *,
    on_event: Callable[[Event], None] = lambda event: None,
    settings: DownloadSettings | None = None,
) -> None:
    """Download the files of a plan, several at once.

    Parameters
    ----------
    plan : DownloadPlan
        What to download.
    source : Source
        Where from.
    on_event : callable, optional
        Told what happens, from several threads but one at a time.
    settings : DownloadSettings, optional
        If not provided, those of the environment.

    Raises
    ------
    NotEnoughSpaceError
        If the disk has no room for the plan; nothing was downloaded.
    CacheError
        If the disk cannot be written to.
    OfflineError
        If the network may not be used.
    DownloadsFailedError
        If files failed for good, with the reason of each; the others are at their places.
    KeyboardInterrupt
        If the user interrupts; what was received is kept for the next call.
    """
    if not plan.entries:
        return
    _check_space(plan)
    run = _Run(plan, source, on_event, settings or DownloadSettings.from_environment())
    run.tell(PlanStarted(len(plan.entries), None if plan.unknown_sizes else plan.nbytes))
    with ThreadPoolExecutor(run.settings.workers, thread_name_prefix="download") as pool:
        futures = [pool.submit(run.fetch, entry) for entry in plan.entries]
        try:
            wait(futures)
        except KeyboardInterrupt:
            run.stop.set()
            pool.shutdown(cancel_futures=True)
            raise KeyboardInterrupt(_word_interruption(run)) from None
    _raise_first_fatal(futures)
    run.tell(PlanFinished())
    if run.failures:
        raise _word_failures(run)


@dataclass
class _Run:
    """What the workers of one call share."""

    plan: DownloadPlan
    source: Source
    on_event: Callable[[Event], None]
    settings: DownloadSettings
    stop: threading.Event = field(default_factory=threading.Event)
    failures: dict[str, Exception] = field(default_factory=dict)
    n_done: int = 0
    _telling: threading.Lock = field(default_factory=threading.Lock)
    _resume_at: float = 0.0

    def tell(self, event: Event) -> None:
        """Pass an event on, one at a time."""
        with self._telling:
            self.on_event(event)

    def fetch(self, entry: FileEntry) -> None:
        """Download one file; what fails for good is noted, what is fatal for all is raised."""
        if self.stop.is_set():
            return
        name = hashlib.sha1(entry.relpath.encode(), usedforsecurity=False).hexdigest()
        folder = hidden_folder(self.plan.root)
        try:
            with lock(folder / "locks" / f"{name}.lock"):
                self._fetch_locked(entry, folder / "partial", name)
        except OfflineError as error:
            self.stop.set()
            raise _word_offline(self.plan) from error
        except CacheError:
            self.stop.set()
            raise
        except (DownloadError, SourceError, ValueError) as error:
            self.failures[entry.relpath] = error
            self.tell(FileFailed(entry.relpath, error))

    def _fetch_locked(self, entry: FileEntry, folder: Path, name: str) -> None:
        """Download one file that no other process is downloading, as far as locks can tell."""
        target = resolve_below(self.plan.root, entry.relpath)
        if target.exists() and not self.plan.force:
            # Another process was faster.
            self.tell(FileStarted(entry.relpath, entry.size or 0))
            self.tell(FileFinished(entry.relpath))
            return
        try:
            with _Partial(folder, name, entry) as partial:
                self.tell(FileStarted(entry.relpath, partial.position))
                self._receive(entry, partial)
                partial.place(target)
        except OSError as error:
            if isinstance(error, (SourceError, DownloadError, OfflineError)):
                raise
            raise _word_disk(target, error) from error
        self.n_done += 1
        self.tell(FileFinished(entry.relpath))

    def _receive(self, entry: FileEntry, partial: _Partial) -> None:
        """Receive the bytes of a file, over as many attempts as it takes."""
        failed = 0
        mismatched = False
        while not self.stop.is_set():
            before = partial.position
            self._pause()
            try:
                self._attempt(entry, partial)
                partial.check(entry)
            except RateLimitError as error:
                self._hold(error)
                continue
            except RemoteConnectionError as error:
                failed = 1 if partial.position > before else failed + 1
                if failed > self.settings.retries:
                    raise
                self._back_off(failed, error)
                continue
            except ChecksumError:
                self.tell(BytesReceived(entry.relpath, -partial.position))
                partial.restart()
                if mismatched:
                    raise
                mismatched = True
                continue
            return
        raise RemoteConnectionError("The download was stopped.")

    def _attempt(self, entry: FileEntry, partial: _Partial) -> None:
        """Receive bytes until the stream ends or fails."""
        with self.source.open(entry, start=partial.position, validator=partial.validator) as stream:
            if stream.start != partial.position:
                # The host sends the whole file again: what is here is of no use.
                self.tell(BytesReceived(entry.relpath, -partial.position))
                partial.restart()
            partial.validator = stream.validator
            for piece in stream:
                partial.write(piece)
                self.tell(BytesReceived(entry.relpath, len(piece)))
                if self.stop.is_set():
                    raise RemoteConnectionError("The download was stopped.")

    def _pause(self) -> None:
        """Wait until the host may be asked again."""
        while (left := self._resume_at - time.monotonic()) > 0:
            if self.stop.wait(min(left, 1.0)):
                return

    def _hold(self, error: RateLimitError) -> None:
        """Let all workers wait because the host asked for it."""
        seconds = error.retry_after if error.retry_after is not None else self.settings.backoff_s
        if seconds > self.settings.longest_wait_s:
            raise error
        self._resume_at = max(self._resume_at, time.monotonic() + seconds)
        self.tell(Waiting(seconds, str(error)))

    def _back_off(self, failed: int, error: Exception) -> None:
        """Wait longer after each failure in a row, with jitter."""
        seconds = self.settings.backoff_s * 2 ** (failed - 1) * random.uniform(0.5, 1.5)
        self.tell(Waiting(seconds, str(error)))
        self.stop.wait(seconds)


class _Partial:
    """A file on its way: bytes in the hidden folder, hashed as they come; a context manager.

    A leftover of an earlier call is claimed by renaming it, and hashed again before it is gone on
    with. It is claimed only where a checksum will vouch for the result.
    """

    def __init__(self, folder: Path, name: str, entry: FileEntry) -> None:
        self.path = folder / f"{name}.{uuid.uuid4().hex}.part"
        self.validator: str | None = None
        self.position = 0
        self._algorithm = entry.checksum.algorithm if entry.checksum else "md5"
        self._hash = new_hash(self._algorithm)
        folder.mkdir(parents=True, exist_ok=True)
        if entry.checksum is not None:
            self._claim(folder, name)
        self._file: BinaryIO = self.path.open("ab")
        self._keep = entry.checksum is not None

    def _claim(self, folder: Path, name: str) -> None:
        """Take over the leftover of an earlier call, if there is one."""
        for leftover in sorted(
            folder.glob(f"{name}.*.part"), key=lambda path: -path.stat().st_size
        ):
            try:
                leftover.rename(self.path)
            except OSError:
                continue  # another process was faster
            for block in read_blocks(self.path):
                self._hash.update(block)
                self.position += len(block)
            return

    def __enter__(self) -> _Partial:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._file.close()
        if not self._keep or not self.position:
            self.path.unlink(missing_ok=True)

    def write(self, piece: bytes) -> None:
        """Append bytes."""
        self._file.write(piece)
        self._hash.update(piece)
        self.position += len(piece)

    def restart(self) -> None:
        """Begin anew."""
        self._file.truncate(0)
        self._hash = new_hash(self._algorithm)
        self.position = 0
        self.validator = None

    def check(self, entry: FileEntry) -> None:
        """Raise `ChecksumError` unless the bytes are those of the entry."""
        if entry.size is not None and self.position != entry.size:
            raise _word_mismatch(entry, f"{entry.size} bytes", f"{self.position} bytes")
        found = Checksum(self._algorithm, self._hash.hexdigest())
        if entry.checksum is not None and found != entry.checksum:
            raise _word_mismatch(entry, str(entry.checksum), str(found))

    def place(self, target: Path) -> None:
        """Put the whole file at its place."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        target.parent.mkdir(parents=True, exist_ok=True)
        self.path.replace(target)


def verify_files(entries: Iterable[FileEntry], root: Path, *, workers: int = 4) -> dict[str, str]:
    """Hash files on disk again and compare them with what the index says.

    Parameters
    ----------
    entries : iterable of FileEntry
        The files.
    root : pathlib.Path
        Root of their dataset.
    workers : int, default: 4
        Files that are hashed at once.

    Returns
    -------
    dict of str to str
        For each path, in order: `ok`, `missing`, `corrupt`, or `outdated` (an older
        version, whole).
    """
    listed = list(entries)
    with ThreadPoolExecutor(workers) as pool:
        statuses = pool.map(lambda entry: _verify(entry, root / entry.relpath), listed)
        return {entry.relpath: status for entry, status in zip(listed, statuses, strict=True)}


def _verify(entry: FileEntry, path: Path) -> str:
    """Compare one file with its entry."""
    if not path.is_file():
        return "missing"
    expected = [entry.checksum] if entry.checksum else []
    expected += [entry.superseded] if entry.superseded else []
    for checksum in expected:
        digest = new_hash(checksum.algorithm)
        for block in read_blocks(path):
            digest.update(block)
        if digest.hexdigest() == checksum.hexdigest:
            return "ok" if checksum == entry.checksum else "outdated"
    if expected:
        return "corrupt"
    return "ok" if entry.size in (None, path.stat().st_size) else "corrupt"


class _CRC32:
    """CRC-32 with the face of a hash."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes) -> None:
        """Take bytes in."""
        self._value = zlib.crc32(data, self._value)

    def hexdigest(self) -> str:
        """Return eight hexadecimal digits."""
        return f"{self._value:08x}"


def new_hash(algorithm: str) -> hashlib._Hash | _CRC32:
    """Return a fresh hash of an algorithm an index may name."""
    return _CRC32() if algorithm == "crc32" else hashlib.new(algorithm, usedforsecurity=False)


def read_blocks(path: Path) -> Iterator[bytes]:
    """Give the bytes of a file in blocks."""
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            yield block


def _check_space(plan: DownloadPlan) -> None:
    """Raise where the disk has no room for a plan."""
    folder = next(path for path in (plan.root, *plan.root.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    if plan.nbytes > free:
        raise NotEnoughSpaceError(
            f"{plan.root}: the download needs {format_nbytes(plan.nbytes)} and the disk has "
            f"{format_nbytes(free)} left. Free some space, narrow the filters, or choose another "
            "folder with data_dir= or CONFUSIUS_DATA."
        )


def _raise_first_fatal(futures: Iterable[Future[None]]) -> None:
    """Raise what stopped the whole run, if anything did."""
    for future in futures:
        if not future.cancelled() and (error := future.exception()) is not None:
            raise error


def _word_offline(plan: DownloadPlan) -> OfflineError:
    """Word that files are missing and the network may not be used."""
    missing = [entry.relpath for entry in plan.entries]
    return OfflineError(
        f"CONFUSIUS_OFFLINE is set, and {len(missing)} files ({format_nbytes(plan.nbytes)}) are "
        f"not in {plan.root}, the first {missing[0]}; unset it, or copy them from a machine that "
        "has them.",
        missing=missing,
    )


def _word_mismatch(entry: FileEntry, expected: str, found: str) -> ChecksumError:
    """Word that what arrived is not what the index promises."""
    return ChecksumError(
        f"{entry.relpath}: received {found}, the index says {expected}. Nothing was written. "
        "Fetch again; if it repeats, the index is out of date: pass refresh=True.",
        relpath=entry.relpath,
        expected=expected,
        found=found,
    )


def _word_failures(run: _Run) -> DownloadsFailedError:
    """Word which files failed, and why."""
    lines = "".join(f"\n  {relpath}: {error}" for relpath, error in list(run.failures.items())[:10])
    more = f"\n  … ({len(run.failures)} in all)" if len(run.failures) > 10 else ""
    stale = len(run.failures) == len(run.plan.entries) > 1 and all(
        isinstance(error, ChecksumError) for error in run.failures.values()
    )
    hint = (
        "None of them is what the index says, so the index is out of date: pass refresh=True."
        if stale
        else "The others are finished; the same call tries again."
    )
    return DownloadsFailedError(
        f"{len(run.failures)} of {len(run.plan.entries)} files of {run.plan.root} could not be "
        f"downloaded:{lines}{more}\n{hint}",
        failures=run.failures,
    )


def _word_interruption(run: _Run) -> str:
    """Word how far a run came."""
    return (
        f"{run.n_done} of {len(run.plan.entries)} files are downloaded to {run.plan.root}; what "
        "was received of the others is kept. The same call resumes."
    )


def _word_disk(target: Path, error: OSError) -> CacheError:
    """Word that the disk failed."""
    return CacheError(
        f"{target} cannot be written: {error.strerror or error}. What was received is kept where "
        "possible; free space or make the folder writable, then call again."
    )
