"""What a user holds: a BIDS root whose missing files are downloaded when they are asked for.

`folder.py` makes it work wherever a path does; `dataset.py` has its queries, arrays and downloads,
with the steps that have an idea of their own beside it: tables, coverage, the card of a notebook,
events, stacking, words.
Nothing here knows a host's protocol.
"""

from __future__ import annotations

from confusius_datasets._dataset.cache import cache_info
from confusius_datasets._dataset.dataset import BIDSDataset, open_local_copy

__all__ = ["BIDSDataset", "cache_info", "open_local_copy"]
