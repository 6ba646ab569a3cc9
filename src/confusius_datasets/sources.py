"""For those who bring a dataset or a host of their own: what a spec and a source are made of.

A `DatasetSpec` names a dataset and the `Source` that has its files. `register_dataset` puts it into
the table, and `BIDSDataset(root, spec=spec)` is that dataset in a folder of your choice, its files
downloaded when they are asked for.
"""

from __future__ import annotations

from confusius_datasets._index import Checksum, DatasetIndex, FileEntry, LocalVersion
from confusius_datasets._sources import (
    ArchiveSource,
    ByteRange,
    ByteStream,
    DataverseSource,
    DirectorySource,
    From,
    FromTo,
    HttpClient,
    Last,
    ManifestSource,
    MirroredSource,
    OpenNeuroSource,
    OSFSource,
    S3Source,
    SampleSource,
    Source,
    ZenodoSource,
    get_client,
)
from confusius_datasets._spec import DatasetSpec

__all__ = [
    "ArchiveSource",
    "ByteRange",
    "ByteStream",
    "Checksum",
    "DatasetIndex",
    "DatasetSpec",
    "DataverseSource",
    "DirectorySource",
    "FileEntry",
    "From",
    "FromTo",
    "HttpClient",
    "Last",
    "LocalVersion",
    "ManifestSource",
    "MirroredSource",
    "OSFSource",
    "OpenNeuroSource",
    "S3Source",
    "SampleSource",
    "Source",
    "ZenodoSource",
    "get_client",
]
