"""Where data live, and how files are put there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import platformdirs
import platformdirs.macos
import platformdirs.windows
import pytest

from confusius_datasets import get_datasets_dir
from confusius_datasets._cache import (
    LockState,
    cache_folder,
    is_here,
    is_offline,
    lock,
    write_atomic,
)
from confusius_datasets.errors import CacheError, SettingError


def test_datasets_dir_argument_wins_and_is_made(tmp_path: Path) -> None:
    """The argument comes before the variable, and the folder exists afterwards."""
    folder = get_datasets_dir(tmp_path / "mine")

    assert folder == tmp_path / "mine"
    assert folder.is_dir()


def test_datasets_dir_variable_comes_second(data_dir: Path) -> None:
    """Without an argument, `CONFUSIUS_DATA` decides."""
    assert get_datasets_dir() == data_dir


def test_datasets_dir_falls_back_to_the_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty variable counts as unset, and the platform's cache folder of confusius is used."""
    monkeypatch.setenv("CONFUSIUS_DATA", "")

    assert cache_folder() == Path(platformdirs.user_cache_dir("confusius", appauthor=False))


@pytest.mark.skipif(sys.platform != "linux", reason="a variable that only Linux has")
def test_datasets_dir_on_linux_is_where_xdg_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`XDG_CACHE_HOME` moves the cache folder; without it, it is `~/.cache`."""
    monkeypatch.delenv("CONFUSIUS_DATA")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    usual = cache_folder()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))

    assert usual == tmp_path / ".cache" / "confusius"
    assert cache_folder() == tmp_path / "xdg" / "confusius"


def test_datasets_dir_empty_argument_counts_as_none(data_dir: Path) -> None:
    """An empty text is no folder, so what comes next decides."""
    assert cache_folder("") == data_dir


def test_platform_folders_are_those_of_the_confusius_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The name is not repeated on Windows, and macOS has its own place."""
    monkeypatch.setattr(
        platformdirs.windows, "get_win_folder", lambda _: "C:\\Users\\alice\\AppData\\Local"
    )
    windows = platformdirs.windows.Windows("confusius", appauthor=False).user_cache_dir
    mac = platformdirs.macos.MacOS("confusius", appauthor=False).user_cache_dir

    assert windows.replace("/", "\\") == "C:\\Users\\alice\\AppData\\Local\\confusius\\Cache"
    assert mac.endswith("/Library/Caches/confusius")


def test_datasets_dir_expands_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A leading ~ is the user's home, in the argument and in the variable."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("CONFUSIUS_DATA", "~/lab")

    assert cache_folder() == tmp_path / "lab"
    assert cache_folder("~/other") == tmp_path / "other"


@pytest.mark.skipif(sys.platform == "win32", reason="a home folder that only POSIX can lack")
def test_datasets_dir_without_a_home_says_what_to_set(tmp_path: Path) -> None:
    """A user id without an entry and without `HOME` is told of the two other ways."""
    script = (
        "import pwd, os\n"
        "def nobody(number): raise KeyError('getpwuid(): uid not found')\n"
        "pwd.getpwuid = nobody\n"
        "import confusius_datasets as c\n"
        "try: c.get_datasets_dir()\n"
        "except c.errors.CacheError as error: print(error)\n"
    )
    environment = {"PATH": os.environ["PATH"]}

    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )

    assert "has no home folder" in done.stdout
    assert "data_dir=, or set CONFUSIUS_DATA" in done.stdout


def test_datasets_dir_in_the_home_of_nobody_is_an_error_of_ours() -> None:
    """A user that there is not has no home, and the message names the folder."""
    with pytest.raises(CacheError, match="~no-such-user/data: '~' names the home of a user"):
        get_datasets_dir("~no-such-user/data")


def test_variable_that_names_the_home_of_nobody_is_an_error_of_the_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is wrong is the variable, and the message begins with it."""
    monkeypatch.setenv("CONFUSIUS_DATA", "~no-such-user/data")

    with pytest.raises(SettingError, match=r"^CONFUSIUS_DATA=~no-such-user/data: '~' names the ho"):
        get_datasets_dir()


def test_path_that_cannot_be_is_not_here(tmp_path: Path) -> None:
    """A name too long for the file system is an answer, not an error."""
    assert is_here(tmp_path)
    assert not is_here(tmp_path / "missing")
    assert not is_here(tmp_path / ("x" * 300))


def test_datasets_dir_that_cannot_be_made_names_the_way_out(tmp_path: Path) -> None:
    """Where a file is in the way, the error says which folder and what to set."""
    (tmp_path / "file").write_text("")

    with pytest.raises(CacheError, match=r"file/x cannot be made: .* set CONFUSIUS_DATA"):
        get_datasets_dir(tmp_path / "file" / "x")


@pytest.mark.parametrize(
    ("value", "offline"), [("1", True), ("TRUE", True), ("", False), ("0", False), ("no", False)]
)
def test_offline_switch_reads_the_usual_words(
    value: str, offline: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`CONFUSIUS_OFFLINE` is a yes-or-no question."""
    monkeypatch.setenv("CONFUSIUS_OFFLINE", value)

    assert is_offline() is offline


@pytest.mark.parametrize("value", ["ture", "2", "offline"])
def test_offline_switch_that_is_misspelt_is_an_error(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who forbids the network and mistypes it must not be online."""
    monkeypatch.setenv("CONFUSIUS_OFFLINE", value)

    with pytest.raises(SettingError, match=f"CONFUSIUS_OFFLINE='{value}' must be one of 1, true"):
        is_offline()


def test_write_atomic_honours_the_umask(tmp_path: Path) -> None:
    """A file in a shared cache is as readable as the umask says, not private."""
    path = tmp_path / "deep" / "file.json"
    before = os.umask(0o027)
    try:
        write_atomic(path, b"new")
    finally:
        os.umask(before)

    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o640
    assert [entry.name for entry in path.parent.iterdir()] == ["file.json"]


def test_write_atomic_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    """When the rename cannot be done, what was there stays and no temporary file is left."""
    path = tmp_path / "folder"
    (path / "full").mkdir(parents=True)

    with pytest.raises(CacheError, match="folder cannot be written"):
        write_atomic(path, b"new")

    assert (path / "full").is_dir()
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")] == []


def test_lock_keeps_a_second_holder_out_until_it_is_freed(tmp_path: Path) -> None:
    """While one holds the lock, another process does not get it; afterwards it does."""
    script = (
        "import sys, pathlib; from confusius_datasets._cache import lock\n"
        "with lock(pathlib.Path(sys.argv[1]), 'a.lock', timeout=0.1) as state: print(state.value)"
    )

    def ask() -> str:
        command = [sys.executable, "-c", script, str(tmp_path)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    with lock(tmp_path, "a.lock") as state:
        during = ask()
    after = ask()

    assert (state, during, after) == (LockState.HELD, "taken", "held")


def test_lock_where_none_can_be_made_says_so(tmp_path: Path) -> None:
    """Where there can be no lock, one is neither held nor somebody else's."""
    (tmp_path / "file").write_text("")

    with lock(tmp_path / "file", "a.lock") as state:
        assert state is LockState.UNAVAILABLE
