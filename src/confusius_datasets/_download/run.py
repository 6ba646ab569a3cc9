"""Carry out a plan: threads take files in turn, help each other, and stop together.

Other processes that carry out the same plan are told by locks which files are taken.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import hashlib
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError
from pathlib import Path

from confusius_datasets._cache import (
    Folder,
    FoldersBelow,
    LockState,
    is_file_here,
    is_here,
    lock,
    remove_lock,
)
from confusius_datasets._download.events import (
    Event,
    FileFailed,
    FileFinished,
    FileStarted,
    PlanFinished,
    PlanStarted,
)
from confusius_datasets._download.partial import (
    PartialFile,
    find_leftovers,
    open_partial_folder,
    partial_folder,
)
from confusius_datasets._download.plan import (
    SMALL_NBYTES,
    DownloadPlan,
    DownloadSettings,
    check_space,
    check_writable,
)
from confusius_datasets._download.transfer import DownloadContext, Transfer
from confusius_datasets._download.wording import (
    word_disk,
    word_failures,
    word_interruption,
    word_limit,
    word_offline,
)
from confusius_datasets._index import FileEntry
from confusius_datasets._sources import HttpClient, Source, begin_call, has_mirror_folders
from confusius_datasets.errors import (
    CacheError,
    DatasetIndexError,
    DownloadError,
    HostUnreachableError,
    OfflineError,
    RateLimitError,
    RemoteConnectionError,
    SourceError,
    UnsafePathError,
)

__all__ = ["FileLocks", "lock_name", "run_plan"]

SMALL_AT_ONCE = 3
"""Small files that are under way for each connection: their time is spent on round trips."""

TICK_S = 0.05
"""Seconds after which an idle thread looks for something to do again."""

FIRST_THREADS = 3
"""Threads that are started at once; as many again follow while this process has time to spare.

A host that answers immediately keeps a few of them busy, and more would be in each other's way.
"""

IDLE_SHARE = 0.5
"""Share of a processor's time that is to spare, for"""

LOOK_S = 0.02
"""seconds, before more threads are started."""

CLEANUP_S = 1.0
"""Seconds that threads have to clean up after an interruption."""

FATAL = {errno.ENOSPC, errno.EROFS, errno.EIO, getattr(errno, "EDQUOT", errno.ENOSPC)}
"""What a disk says when no other file can be written either."""


def run_plan(
    plan: DownloadPlan,
    source: Source,
    client: HttpClient,
    *,
    on_event: Callable[[Event], None] = lambda event: None,
    settings: DownloadSettings | None = None,
) -> None:
    """Download the files of a plan, several at once."""
    if not plan.entries:
        return
    settings = settings or DownloadSettings.from_environment()
    leftovers = _find_leftovers(plan)
    check_space(plan, 0 if plan.force else sum(leftovers.values()))
    check_writable(plan)
    try:
        folder = open_partial_folder(plan.root, make=True)
    except OSError as error:
        raise word_disk(partial_folder(plan.root), error) from error
    client = client.with_policy(settings).with_folder(plan.root)
    call = begin_call(source, plan.entries, plan.root)
    context = DownloadContext(call, client, settings, on_event)
    context.tell(PlanStarted(len(plan.entries), None if plan.unknown_sizes else plan.nbytes))
    run = _Run(plan, context, folder, leftovers)
    try:
        run.start()
        run.wait()
    except KeyboardInterrupt:
        raise KeyboardInterrupt(run.interrupt()) from None
    finally:
        run.release()
    context.tell(PlanFinished())
    run.raise_failures()


def _find_leftovers(plan: DownloadPlan) -> Mapping[str, int]:
    """Find what earlier calls left of the files of a plan; a folder that there is not has none."""
    with contextlib.suppress(OSError, UnsafePathError), open_partial_folder(plan.root) as folder:
        return find_leftovers(folder, plan.entries)
    return {}


class _Run:
    """One plan being carried out, by several threads."""

    def __init__(
        self,
        plan: DownloadPlan,
        context: DownloadContext,
        folder: Folder,
        leftovers: Container[str],
    ) -> None:
        self._plan = plan
        self._leftovers = leftovers
        self._context = context
        self._folder = folder
        self._targets = FoldersBelow(plan.root)
        self._waiting = collections.deque(plan.entries)
        self._taken_by_others: collections.deque[tuple[float, FileEntry]] = collections.deque()
        self._active: dict[str, Transfer] = {}
        self._failures: dict[str, Exception] = {}
        self._n_left = len(plan.entries)
        self._n_done = 0
        self._failures_in_a_row = 0  # files that failed in a row while nothing was received
        self._fatal: BaseException | None = None
        self._lock = threading.Lock()
        # Large bodies share the connections; small files only wait for answers.
        self._connections = threading.BoundedSemaphore(context.settings.workers)
        self._locks = FileLocks(plan.root, plan.entries)
        n_small = sum((entry.size or 0) <= SMALL_NBYTES for entry in plan.entries)
        workers = context.settings.workers
        # Threads of our own: those of an executor keep an interrupted interpreter from ending.
        self._threads = [
            threading.Thread(target=self._work, name=f"download-{number}", daemon=True)
            for number in range(max(workers, min(n_small, SMALL_AT_ONCE * workers)))
        ]

    def start(self) -> None:
        """Start a few threads, and more for as long as the processor has time to spare."""
        waiting, n_next = collections.deque(self._threads), FIRST_THREADS
        while waiting:
            for _ in range(min(n_next, len(waiting))):
                waiting.popleft().start()
            n_next = len(self._threads) - len(waiting)
            while True:
                begun, busy = time.monotonic(), time.process_time()
                if self._context.stop.wait(LOOK_S):
                    return
                elapsed, spent = time.monotonic() - begun, time.process_time() - busy
                if spent < (1.0 - IDLE_SHARE) * elapsed:
                    break

    def wait(self) -> None:
        """Wait until all threads have ended."""
        for thread in self._threads:
            while thread.is_alive():
                # Without a timeout, an interruption would not get through everywhere.
                thread.join(0.2)

    def release(self) -> None:
        """Let other processes have what is left, and close what is open."""
        self._targets.close()
        self._locks.release()
        if not any(thread.is_alive() for thread in self._threads):
            self._folder.close()

    def interrupt(self) -> str:
        """Stop, and say how much is done."""
        self._context.stop.set()
        until = time.monotonic() + CLEANUP_S
        for thread in self._threads:
            # One that waits for a silent host is left behind: it writes nothing any more.
            if thread.ident is not None:
                thread.join(max(until - time.monotonic(), 0.0))
        return word_interruption(
            self._plan.root,
            n_done=self._n_done,
            n_files=len(self._plan.entries),
            nbytes=self._context.received,
        )

    def raise_failures(self) -> None:
        """Raise what went wrong, if anything did."""
        n_files, n_failed = len(self._plan.entries), len(self._failures)
        offline = (error for error in self._failures.values() if isinstance(error, OfflineError))
        fatal = self._fatal or next(offline, None)
        if isinstance(fatal, HostUnreachableError | OfflineError):
            reason = fatal if isinstance(fatal, HostUnreachableError) else None
            missing = [
                entry
                for entry in self._plan.entries
                if not is_here(self._plan.root / entry.relpath)
            ]
            error = word_offline(self._plan.root, missing or self._plan.entries, unreachable=reason)
            raise error from fatal
        if isinstance(fatal, RateLimitError):
            error_ = word_limit(fatal, n_done=self._n_done, n_files=n_files)
            raise error_ from fatal
        if fatal is not None:
            raise fatal
        if self._failures:
            raise word_failures(
                self._plan.root,
                self._failures,
                n_files=n_files,
                n_untried=max(n_files - self._n_done - n_failed, 0),
            )

    def _work(self) -> None:
        """Take files in turn, help others when there are none, and end when all is done."""
        try:
            while self._n_left and not self._context.stop.is_set():
                entry = self._take_turn()
                if entry is not None:
                    self._fetch(entry)
                elif not self._help():
                    self._context.sleep(TICK_S)
        except CancelledError:
            pass
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
            self._give_up(error)

    def _take_turn(self) -> FileEntry | None:
        """Take the next file, or one that another process may have finished by now."""
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            if self._taken_by_others and self._taken_by_others[0][0] <= time.monotonic():
                return self._taken_by_others.popleft()[1]
            return None

    def _help(self) -> bool:
        """Help with a large file; say whether there was something to do."""
        if not self._active or not self._connections.acquire(blocking=False):
            return False
        try:
            return any(transfer.help() for transfer in list(self._active.values()))
        finally:
            self._connections.release()

    def _fetch(self, entry: FileEntry) -> None:
        """Download one file; what fails for good is noted, what is fatal for all is raised."""
        try:
            with self._locks.hold(entry) as state:
                # Where locks are unavailable the download goes on: they only save work.
                if state is LockState.TAKEN:
                    with self._lock:
                        self._taken_by_others.append((time.monotonic() + 2 * TICK_S, entry))
                    return
                self._fetch_locked(entry)
        except RateLimitError as error:
            self._fail(entry, error)
            self._leave_the_rest(error)
        except OfflineError as error:
            self._fail(entry, error, fatal=not has_mirror_folders())  # which may have the others
        except (SourceError, DownloadError, CacheError, DatasetIndexError) as error:
            self._fail(entry, error)
        except OSError as error:
            worded = word_disk(self._plan.root / entry.relpath, error)
            worded.__cause__ = error
            self._fail(entry, worded, fatal=error.errno in FATAL)
        else:
            self._failures_in_a_row = 0
        with self._lock:
            self._n_left -= 1
            if not self._n_left:
                self._context.stop.set()  # so that nobody sleeps on, or helps with what is whole

    def _fetch_locked(self, entry: FileEntry) -> None:
        """Download one file that no other process is downloading, as far as locks can tell."""
        tell = self._context.tell
        if not self._plan.force and is_file_here(self._plan.root, entry.relpath):
            tell(FileStarted(entry.relpath, entry.size or 0))
            self._finish(entry)
            return
        with contextlib.ExitStack() as stack:
            is_large = entry.size is None or entry.size > SMALL_NBYTES
            if is_large:
                stack.enter_context(self._connection())
            # Of a large file, another process may have left something since this one began.
            leftover = is_large or entry.relpath in self._leftovers
            partial = PartialFile(self._folder, entry, leftover=leftover)
            stack.enter_context(partial)
            tell(FileStarted(entry.relpath, partial.position))
            transfer = Transfer(self._context, entry, partial)
            stack.callback(transfer.close)
            self._active[entry.relpath] = transfer
            stack.callback(self._active.pop, entry.relpath)
            transfer.run()
            partial.place(self._targets)
        self._finish(entry)

    @contextlib.contextmanager
    def _connection(self) -> Iterator[None]:
        """Occupy one of the connections for large bodies."""
        while not self._connections.acquire(timeout=4 * TICK_S):
            self._context.sleep(0.0)
        try:
            yield
        finally:
            self._connections.release()

    def _finish(self, entry: FileEntry) -> None:
        """Note that a file is at its place."""
        with self._lock:
            self._n_done += 1
        self._context.tell(FileFinished(entry.relpath))

    def _fail(self, entry: FileEntry, error: Exception, *, fatal: bool = False) -> None:
        """Note that a file failed for good, and stop if the others would fail as well."""
        _free_frames(error)
        with self._lock:
            self._failures[entry.relpath] = error
            lost = isinstance(error, RemoteConnectionError) and not self._context.received
            self._failures_in_a_row = self._failures_in_a_row + 1 if lost else 0
        self._context.tell(FileFailed(entry.relpath, error))
        if fatal or (isinstance(error, HostUnreachableError) and lost):
            self._give_up(error)
        elif self._failures_in_a_row > self._context.settings.workers:
            self._context.stop.set()

    def _leave_the_rest(self, error: Exception) -> None:
        """Leave the files that nobody has begun; those under way may need no more requests."""
        with self._lock:
            self._fatal = self._fatal or error
            self._n_left -= len(self._waiting) + len(self._taken_by_others)
            self._waiting.clear()
            self._taken_by_others.clear()

    def _give_up(self, error: BaseException) -> None:
        """Stop all threads because of an error; the first one counts."""
        with self._lock:
            self._fatal = self._fatal or error
        self._context.stop.set()


def _free_frames(error: BaseException | None) -> None:
    """Let go of what the calls that failed hold: an error may be kept, and open folders with it."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def lock_name(entry: FileEntry) -> str:
    """Return the name of a file's lock: one of its own, or for small files one of 16.

    A lock costs about as much as a request to a near host, so that small files share them.
    """
    digest = hashlib.sha1(entry.relpath.encode(), usedforsecurity=False).hexdigest()
    is_small = entry.size is not None and entry.size <= SMALL_NBYTES
    return f"small-{digest[0]}.lock" if is_small else f"{digest}.lock"


class FileLocks:
    """The locks of the files of one plan; safe to use from many threads.

    A lock is held until the last of its files in the plan is done.
    """

    def __init__(self, root: Path, entries: Iterable[FileEntry]) -> None:
        self._root = root
        self._left = collections.Counter(map(lock_name, entries))
        self._held: dict[str, LockState] = {}
        self._releases: dict[str, contextlib.ExitStack] = {}
        self._mutex = threading.Lock()
        self._works = _try_locks(root)

    @contextlib.contextmanager
    def hold(self, entry: FileEntry) -> Iterator[LockState]:
        """Keep other processes from downloading a file, and note afterwards that it is done."""
        name = lock_name(entry)
        state = self._take(name)
        try:
            yield state
        finally:
            if state is not LockState.TAKEN:
                self._put_back(name)

    def release(self) -> None:
        """Free all locks, whatever is left to do."""
        with self._mutex:
            for name in list(self._releases):
                self._free(name)

    def _take(self, name: str) -> LockState:
        """Take a lock, unless this plan has it."""
        with self._mutex:
            if name not in self._held:
                stack = contextlib.ExitStack()
                state = LockState.UNAVAILABLE
                if self._works:
                    state = stack.enter_context(lock(self._root, name, timeout=0))
                if state is LockState.TAKEN:
                    return state
                self._held[name], self._releases[name] = state, stack
            return self._held[name]

    def _put_back(self, name: str) -> None:
        """Note that a file is done, and free its lock after the last one."""
        with self._mutex:
            self._left[name] -= 1
            if self._left[name] <= 0:
                self._free(name)

    def _free(self, name: str) -> None:
        """Free a lock, if it has not been freed."""
        self._held.pop(name, None)
        if name in self._releases:
            self._releases.pop(name).close()


def _try_locks(root: Path) -> bool:
    """Say whether a file system has locks at all."""
    name = f"probe-{uuid.uuid4().hex}.lock"
    with lock(root, name, timeout=0) as state:
        works = state is LockState.HELD
    remove_lock(root, name)
    return works
