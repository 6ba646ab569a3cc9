"""Which files a dataset has: entries, and the index that holds them in plain SQL tables.

Entries say what a host promises of a file. How a host writes that down is known to the host alone
(`_sources`); nothing here knows JSON of hosts, HTTP or PyBIDS. `entries.py` has what is said of one
file; `dataset_index.py` the index; `tables.py`, `writer.py` and `kept.py` how it lies in a
database, how that is filled, and how it is used again.
"""

from __future__ import annotations

from confusius_datasets._index.dataset_index import (
    DatasetIndex,
    check_paths,
    lock_index,
    row_of,
    write_entries,
)
from confusius_datasets._index.entries import (
    INDEX_NAME,
    LARGEST_INTEGER,
    Checksum,
    FileEntry,
    Hash,
    LocalVersion,
    new_hash,
)
from confusius_datasets._index.kept import FillTables, KeptTables, make_tables
from confusius_datasets._index.tables import Connection, Tables, insert_rows
from confusius_datasets._index.writer import FileRow, TableWriter

__all__ = [
    "INDEX_NAME",
    "LARGEST_INTEGER",
    "Checksum",
    "Connection",
    "DatasetIndex",
    "FileEntry",
    "FileRow",
    "FillTables",
    "Hash",
    "KeptTables",
    "LocalVersion",
    "TableWriter",
    "Tables",
    "check_paths",
    "insert_rows",
    "lock_index",
    "make_tables",
    "new_hash",
    "row_of",
    "write_entries",
]
