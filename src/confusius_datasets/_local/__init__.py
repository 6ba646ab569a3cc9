"""A root folder, and the host behind it if there is one.

`copy.py` has the object that everything above asks; `snapshot.py` what it knows at one time.
Nothing here knows PyBIDS or fetchers.
"""

from __future__ import annotations

from confusius_datasets._local.copy import LocalCopy
from confusius_datasets._local.snapshot import Snapshot

__all__ = ["LocalCopy", "Snapshot"]
