"""The hosts of data, a file each: list the files, open one at a range, keep the index.

A host writes and reads its own kind of index file, and finds a file by a locator of its own. What
differs between hosts stays in this folder: the HTTP client under them (`http.py`) is told of no
host, and nothing here knows BIDS or filters.
"""

from __future__ import annotations

from confusius_datasets._sources.addresses import is_address, list_forms, parse_address
from confusius_datasets._sources.archive import ArchiveSource
from confusius_datasets._sources.calls import SourceCall, begin_call
from confusius_datasets._sources.dataverse import DataverseSource
from confusius_datasets._sources.directory import DirectorySource
from confusius_datasets._sources.folders import (
    find_index_nearby,
    find_version_nearby,
    has_mirror_folders,
    with_mirror_folders,
)
from confusius_datasets._sources.http import HttpClient, get_client
from confusius_datasets._sources.manifest import ManifestSource
from confusius_datasets._sources.mirrored import MirroredSource
from confusius_datasets._sources.openneuro import OpenNeuroSource
from confusius_datasets._sources.osf import OSFSource
from confusius_datasets._sources.protocol import ByteStream, Source
from confusius_datasets._sources.ranges import WHOLE, ByteRange, From, FromTo, Last
from confusius_datasets._sources.records import (
    find_index_file,
    read_index_file,
    write_index_file,
)
from confusius_datasets._sources.retry import RetryPolicy, retry
from confusius_datasets._sources.s3 import S3Source
from confusius_datasets._sources.sample import SampleSource
from confusius_datasets._sources.zenodo import ZenodoSource

__all__ = [
    "WHOLE",
    "ArchiveSource",
    "ByteRange",
    "ByteStream",
    "DataverseSource",
    "DirectorySource",
    "From",
    "FromTo",
    "HttpClient",
    "Last",
    "ManifestSource",
    "MirroredSource",
    "OSFSource",
    "OpenNeuroSource",
    "RetryPolicy",
    "S3Source",
    "SampleSource",
    "Source",
    "SourceCall",
    "ZenodoSource",
    "begin_call",
    "find_index_file",
    "find_index_nearby",
    "find_version_nearby",
    "get_client",
    "has_mirror_folders",
    "is_address",
    "list_forms",
    "parse_address",
    "read_index_file",
    "retry",
    "with_mirror_folders",
    "write_index_file",
]
