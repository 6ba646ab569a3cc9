"""What a user holds: a BIDS root whose missing files are downloaded when they are asked for.

`folder.py` makes it work wherever a path does; `dataset.py` has its queries, arrays and downloads.
Nothing here knows a host's protocol.
"""

from __future__ import annotations

from confusius_datasets._dataset.dataset import BIDSDataset, open_local_copy

__all__ = ["BIDSDataset", "open_local_copy"]
