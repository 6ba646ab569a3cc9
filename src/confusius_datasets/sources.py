"""For those who bring a dataset or a host of their own: what a spec and a source are made of.

A `DatasetSpec` names a dataset and the `Source` that has its files; `BIDSDataset(root, spec=spec)`
is that dataset, its files downloaded into `root` when they are asked for.
"""

from __future__ import annotations

from confusius_datasets._index import Checksum, DatasetIndex, FileEntry, LocalVersion
from confusius_datasets._sources import (
    ByteRange,
    ByteStream,
    DirectorySource,
    From,
    FromTo,
    HttpClient,
    Last,
    OSFSource,
    Source,
    get_client,
)
from confusius_datasets._spec import DatasetSpec

__all__ = [
    "ByteRange",
    "ByteStream",
    "Checksum",
    "DatasetIndex",
    "DatasetSpec",
    "DirectorySource",
    "FileEntry",
    "From",
    "FromTo",
    "HttpClient",
    "Last",
    "LocalVersion",
    "OSFSource",
    "Source",
    "get_client",
]
