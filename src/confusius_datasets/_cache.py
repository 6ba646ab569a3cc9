"""Where data live on this machine, and how files are put there safely.

The folder that holds all datasets, the environment variables that choose it, the offline switch,
atomic writing, and locks between processes. Nothing here knows what a dataset is.
"""

from __future__ import annotations

import contextlib
import enum
import os
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

import platformdirs

from confusius_datasets._paths import HIDDEN_FOLDER, absolute_path
from confusius_datasets.errors import CacheError, SettingError

__all__ = [
    "LockState",
    "PerProcess",
    "cache_folder",
    "current_umask",
    "get_datasets_dir",
    "hidden_folder",
    "is_here",
    "is_offline",
    "lock",
    "lock_folder",
    "write_atomic",
]

DATA_VARIABLE = "CONFUSIUS_DATA"
"""Environment variable that names the folder of all datasets."""

OFFLINE_VARIABLE = "CONFUSIUS_OFFLINE"
"""Environment variable that forbids the network when it is set to a true value."""

TRUE_WORDS = frozenset({"1", "true", "yes", "on"})
"""What counts as true in an environment variable, in any case."""

FALSE_WORDS = frozenset({"", "0", "false", "no", "off"})
"""What counts as false."""


def cache_folder(data_dir: str | os.PathLike[str] | None = None) -> Path:
    """Say which folder holds the datasets, without touching the disk."""
    if given := "" if data_dir is None else os.fspath(data_dir):
        return absolute_path(given)
    if not (value := os.environ.get(DATA_VARIABLE, "")):
        return absolute_path(_platform_folder())
    try:
        return absolute_path(value)
    except CacheError as error:
        raise SettingError(f"{DATA_VARIABLE}={error}") from error


def _platform_folder() -> str:
    """Return the platform's cache folder of `confusius`."""
    try:
        # `appauthor=False`, or Windows would repeat the name: confusius\confusius\Cache.
        return platformdirs.user_cache_dir("confusius", appauthor=False)
    except RuntimeError as error:
        raise CacheError(
            f"This user has no home folder ({error}), so there is no cache in it. Pass data_dir=, "
            f"or set {DATA_VARIABLE}."
        ) from error


def get_datasets_dir(data_dir: str | os.PathLike[str] | None = None) -> Path:
    r"""Return the folder that holds the datasets, and make sure that it exists.

    The first of these that is given: `data_dir`, the environment variable `CONFUSIUS_DATA`, the
    platform's cache folder of `confusius` (`~/.cache/confusius` on Linux,
    `~/Library/Caches/confusius` on macOS, `%LOCALAPPDATA%\confusius\Cache` on Windows), which is
    shared with the ConfUSIus package. A leading `~` is expanded; an empty variable counts as unset.

    Parameters
    ----------
    data_dir : str or path-like, optional
        The folder to use instead of the environment's or the platform's.

    Returns
    -------
    pathlib.Path
        Absolute path of an existing folder.

    Raises
    ------
    CacheError
        If the folder does not exist and cannot be made, or `~` names a user who does not exist.
    SettingError
        If `CONFUSIUS_DATA` names the home of such a user.

    Examples
    --------
    >>> import tempfile
    >>> from confusius_datasets import get_datasets_dir
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     get_datasets_dir(folder).is_dir()
    True
    """
    folder = cache_folder(data_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CacheError(
            f"The folder for datasets {folder} cannot be made: {error.strerror or error}. "
            f"Pass data_dir=, or set {DATA_VARIABLE} to a folder you may write to."
        ) from error
    return folder


def is_offline() -> bool:
    """Say whether `CONFUSIUS_OFFLINE` forbids the network; a word it does not know is an error."""
    text = os.environ.get(OFFLINE_VARIABLE, "")
    word = text.strip().casefold()
    if word not in TRUE_WORDS | FALSE_WORDS:
        # To take a typing error for "online" would send requests that somebody forbade.
        raise SettingError(
            f"{OFFLINE_VARIABLE}={text!r} must be one of 1, true, yes, on, 0, false, no, off. "
            "Change or unset it."
        )
    return word in TRUE_WORDS


def is_here(path: Path) -> bool:
    """Say whether something is at a path."""
    return os.path.exists(path)  # noqa: PTH110 - `Path.exists` raises where a name is too long


def hidden_folder(root: Path) -> Path:
    """Return the folder of a root that is ours alone; it may not exist yet."""
    return root / HIDDEN_FOLDER


def lock_folder(root: Path) -> Path:
    """Return the folder of a dataset's locks; it may not exist yet."""
    return hidden_folder(root) / "locks"


def write_atomic(path: Path, data: bytes | Iterable[bytes], *, durable: bool = True) -> None:
    """Put bytes at a path so that every reader sees the old file or the new one, never a part.

    What is large comes in pieces.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines([data] if isinstance(data, bytes) else data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        # mkstemp gives 0600; a lab's shared cache needs what the umask says.
        Path(temporary).chmod(0o666 & ~current_umask())
        Path(temporary).replace(path)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise _unwritable(path, error) from error
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _unwritable(path: Path, error: OSError) -> CacheError:
    """Word the failure to write a file."""
    return CacheError(
        f"{path} cannot be written: {error.strerror or error}. "
        f"Make {path.parent} writable, or choose another folder with data_dir= or {DATA_VARIABLE}."
    )


def current_umask() -> int:
    """Return the mask of permissions that new files must not have."""
    # The mask can only be read by setting it. On Linux, /proc tells without that race.
    with contextlib.suppress(OSError, ValueError, StopIteration):
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return int(
            next(line for line in status.splitlines() if line.startswith("Umask")).split()[1], 8
        )
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


class LockState(enum.Enum):
    """What came of asking for a lock."""

    HELD = "held"
    """We have it."""

    TAKEN = "taken"
    """Another process has it."""

    UNAVAILABLE = "unavailable"
    """The file system or its permissions allow no lock."""


@contextlib.contextmanager
def lock(path: Path, *, timeout: float = -1) -> Iterator[LockState]:
    """Keep other processes that ask for the same lock waiting, as far as the file system can.

    A lock saves work; it guarantees nothing: on some cluster file systems it succeeds for
    everybody. It dies with its process, so a killed one blocks nobody.
    """
    import filelock  # imported when first used: it is no part of importing the package

    # Never a file whose mere existence is the lock: a killed process would leave it behind.
    held = filelock.FileLock(
        path, timeout=timeout, mode=0o666, fallback_to_soft=False, thread_local=False
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        held.acquire()
    except filelock.Timeout:
        yield LockState.TAKEN
        return
    except (OSError, NotImplementedError):
        yield LockState.UNAVAILABLE
        return
    try:
        yield LockState.HELD
    finally:
        held.release()


Made = TypeVar("Made")


class PerProcess(Generic[Made]):
    """State of one process, made anew after a fork; the one mechanism of the package for that.

    A forked process has copies of its parent's sockets, open databases, and locks that nobody will
    ever release. What is written to without a lock, as a database is, must be made anew on both
    sides: the child may still read what the parent had.
    """

    def __init__(self, make: Callable[[], Made], *, on_both_sides: bool = False) -> None:
        self._make = make
        self.on_both_sides = on_both_sides
        self._lock = threading.Lock()
        self._made: list[Made] = []
        _made_per_process.add(self)

    def get(self) -> Made:
        """Return this process's state, made when it is first asked for."""
        with self._lock:
            if not self._made:
                self._made.append(self._make())
            return self._made[0]

    def forget(self) -> None:
        """Begin anew in a child; what the parent uses is neither closed nor freed here."""
        self._lock = threading.Lock()
        _of_parents.extend(self._made)
        self._made = []

    def give_up(self) -> None:
        """Begin anew in the parent, where other threads may be asking at this moment."""
        with self._lock:
            self._made = []


_made_per_process: weakref.WeakSet[PerProcess[Any]] = weakref.WeakSet()
"""All there is to make anew. Module state, since `os.register_at_fork` knows no instances."""

_of_parents: list[object] = []
"""What a child took over by a fork, kept so that nothing closes it there."""


def _forget_all() -> None:
    """Let everything be made anew in a forked process."""
    for state in list(_made_per_process):
        state.forget()


def _give_up_shared() -> None:
    """Let what a forked process may still read be made anew in the parent."""
    for state in list(_made_per_process):
        if state.on_both_sides:
            state.give_up()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_forget_all, after_in_parent=_give_up_shared)
