"""Where data live on this machine, and how files are put there safely.

`settings.py` has the folder of all datasets and the offline switch; `folders.py` files relative to
open folders; `files.py` the files of a root and of its hidden folder; `locks.py` locks between
processes; `process.py` what a fork makes anew. Nothing here knows what a dataset is.
"""

from __future__ import annotations

from confusius_datasets._cache.files import (
    hidden_folder,
    is_file_here,
    is_here,
    is_ours,
    open_hidden,
    open_kept,
    open_regular,
    own_name,
    read_blocks,
    read_kept,
    remove_kept,
    write_atomic,
    write_kept,
)
from confusius_datasets._cache.folders import Folder, FoldersBelow, open_below
from confusius_datasets._cache.locks import LockState, lock, remove_lock
from confusius_datasets._cache.process import PerProcess
from confusius_datasets._cache.settings import (
    DATA_VARIABLE,
    OFFLINE_VARIABLE,
    cache_folder,
    get_datasets_dir,
    is_offline,
)
from confusius_datasets._cache.wording import (
    NO_SPACE,
    describe_owner,
    word_in_the_way,
    word_unreadable,
    word_unwritable,
)

__all__ = [
    "DATA_VARIABLE",
    "NO_SPACE",
    "OFFLINE_VARIABLE",
    "Folder",
    "FoldersBelow",
    "LockState",
    "PerProcess",
    "cache_folder",
    "describe_owner",
    "get_datasets_dir",
    "hidden_folder",
    "is_file_here",
    "is_here",
    "is_offline",
    "is_ours",
    "lock",
    "open_below",
    "open_hidden",
    "open_kept",
    "open_regular",
    "own_name",
    "read_blocks",
    "read_kept",
    "remove_kept",
    "remove_lock",
    "word_in_the_way",
    "word_unreadable",
    "word_unwritable",
    "write_atomic",
    "write_kept",
]
