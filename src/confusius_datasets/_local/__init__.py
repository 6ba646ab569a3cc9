"""A root folder, and the host behind it if there is one.

`copy.py` has the object that everything above asks; `snapshot.py` what it knows at one time;
`origin.py` what a root remembers of its host; `remote.py` looks at what is not here;
`releases.py` the folders of releases. Nothing here knows PyBIDS or fetchers.
"""

from __future__ import annotations

from confusius_datasets._local.copy import LocalCopy
from confusius_datasets._local.origin import read_origin, recall_origin, write_origin
from confusius_datasets._local.releases import (
    select_release,
    selected_version,
    take_over_release,
)
from confusius_datasets._local.remote import RemoteFiles
from confusius_datasets._local.snapshot import Snapshot

__all__ = [
    "LocalCopy",
    "RemoteFiles",
    "Snapshot",
    "read_origin",
    "recall_origin",
    "select_release",
    "selected_version",
    "take_over_release",
    "write_origin",
]
