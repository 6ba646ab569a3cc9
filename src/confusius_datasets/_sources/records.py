"""What the index files of hosts have in common: strict JSON, checked entries, safe writing.

`JsonFormat` is the form that the ConfUSIus package reads, `{relpath: {"size": …, "md5": …}}` with
the host's own key for the locator.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from confusius_datasets._cache import write_atomic
from confusius_datasets._index import INDEX_NAME, Checksum, DatasetIndex, FileEntry, LocalVersion
from confusius_datasets._paths import INDEX_NAMES, check_relpath
from confusius_datasets._sources.protocol import Source
from confusius_datasets._text import quote_short
from confusius_datasets.errors import DatasetIndexError, UnsafePathError

__all__ = [
    "DIGEST_LENGTHS",
    "JsonFormat",
    "make_index",
    "parse_json_object",
    "read_index_file",
    "write_index_file",
]

DIGEST_LENGTHS = {"sha512": 128, "sha256": 64, "sha1": 40, "git": 40, "md5": 32, "crc32": 8}
"""Hexadecimal digits of each algorithm an entry may carry, the strongest first."""

Record = Mapping[str, object]


def read_index_file(source: Source, root: Path) -> DatasetIndex:
    """Read the index in a root, or raise `FileNotFoundError`."""
    path = root / source.index_name
    try:
        return source.read_index(path.read_bytes(), str(path))
    except DatasetIndexError as error:
        raise type(error)(f"{error} Fetch again with refresh=True to replace it.") from error


def write_index_file(source: Source, root: Path, index: DatasetIndex) -> None:
    """Put the index into a root, atomically; one that says the same is left alone.

    So a refresh that finds nothing new works in a read-only folder too, and what was made from
    the index stays younger than it.
    """
    path, data = root / source.index_name, source.format_index(index)
    with contextlib.suppress(OSError):
        if path.read_bytes() == data:
            return
    write_atomic(path, data)


def make_index(entries: Iterable[FileEntry], origin: str) -> DatasetIndex:
    """Make an index of what a host's listing says, once every path and hash is checked.

    Index files of ours, or of ConfUSIus, that were uploaded along with the data are left out.
    """
    listed = [entry for entry in entries if entry.relpath not in INDEX_NAMES]
    for entry in listed:
        _check_path(entry.relpath, origin)
        wrong = _Complaints(origin, entry.relpath)
        _parse_checksums({known.algorithm: known.hexdigest for known in entry.checksums}, wrong)
    return DatasetIndex(listed, origin=origin)


def _check_path(relpath: str, origin: str) -> None:
    """Refuse a path that would lead out of the root, and say who gave it."""
    try:
        check_relpath(relpath)
    except UnsafePathError as error:
        raise UnsafePathError(f"{origin}: {error}. Nothing was written.") from None


@dataclass(frozen=True, slots=True)
class JsonFormat:
    """The form of a `dataset_index.json`, in which each host has its own key for its locators."""

    host: str
    locator_key: str = ""

    def read(self, data: bytes | str, origin: str) -> DatasetIndex:
        """Read and check an index; the entry of the index itself is left out."""
        return self.parse(parse_json_object(data, origin), origin)

    def parse(self, document: Mapping[str, object], origin: str) -> DatasetIndex:
        """Make an index of a document, each entry checked."""
        entries = (
            self._parse_entry(relpath, record, origin)
            for relpath, record in document.items()
            if relpath != INDEX_NAME
        )
        return DatasetIndex(entries, origin=origin)

    def describe(self, index: DatasetIndex) -> dict[str, dict[str, object]]:
        """Make the document of an index."""
        return {relpath: self._format_entry(entry) for relpath, entry in index.items()}

    def format(self, index: DatasetIndex) -> bytes:
        """Write an index as UTF-8 JSON with sorted keys, an indent of two and a final newline."""
        document = self.describe(index)
        text = json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False)
        return f"{text}\n".encode()

    def _parse_entry(self, relpath: str, record: object, origin: str) -> FileEntry:
        """Read one entry, and refuse what is not of the schema."""
        _check_path(relpath, origin)
        wrong = _Complaints(origin, relpath)
        if not isinstance(record, dict):
            raise wrong("must be an object of facts", record)
        local: LocalVersion | None = None
        newest: Record = record
        # Since ConfUSIus takes `size` and `md5` for the local file's, news stand apart from them.
        if isinstance(newer := record.get("newer"), dict):
            local = LocalVersion(_parse_size(record, wrong), _parse_checksums(record, wrong))
            newest = newer
        # Written by our first version: the older checksum apart, beside the newer `md5`.
        elif isinstance(older := record.get("superseded"), dict):
            local = LocalVersion(None, _parse_checksums(older, wrong))
        return FileEntry(
            relpath,
            _parse_size(newest, wrong),
            _parse_checksums(newest, wrong),
            _parse_text(newest, "etag", wrong) or None,
            self._parse_locators(record, wrong),
            local,
        )

    def _parse_locators(self, record: Record, wrong: _Complaints) -> dict[str, str]:
        """Read the locators: the host's own under its own key, those of others by their names."""
        others = record.get("locators", {})
        if not isinstance(others, dict) or not all(isinstance(v, str) for v in others.values()):
            raise wrong("has 'locators' that must be an object of texts", others)
        own = _parse_text(record, self.locator_key, wrong) if self.locator_key else ""
        return others | {self.host: own} if own else others

    def _format_entry(self, entry: FileEntry) -> dict[str, object]:
        """Turn an entry into its JSON object."""
        newest = _format_facts(entry.size, entry.checksums)
        if entry.etag is not None:
            newest["etag"] = entry.etag
        record = newest
        if entry.local is not None:
            record = _format_facts(entry.local.size, entry.local.checksums) | {"newer": newest}
        own = self.host if self.locator_key else ""
        if locator := entry.locators.get(own):
            record[self.locator_key] = locator
        if others := {host: text for host, text in entry.locators.items() if host != own}:
            record["locators"] = others
        return record


def parse_json_object(data: bytes | str, origin: str) -> dict[str, object]:
    """Read a JSON object in which no key comes twice."""
    try:
        document = json.loads(data, object_pairs_hook=_refuse_repeated_keys)
    except DatasetIndexError as error:
        raise DatasetIndexError(f"{origin}: {error}.") from None
    except (ValueError, RecursionError) as error:
        raise DatasetIndexError(
            f"{origin} is not a whole JSON document: {error}. "
            "It was cut short, or is something else."
        ) from error
    if not isinstance(document, dict):
        raise DatasetIndexError(
            f"{origin} holds a JSON {type(document).__name__}, not an object of files."
        )
    return document


def _refuse_repeated_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Build a JSON object; Python would silently keep the last of repeated keys."""
    document = dict(pairs)
    if len(document) != len(pairs):
        ((repeated, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise DatasetIndexError(f"the key {repeated!r} comes twice")
    return document


@dataclass(frozen=True, slots=True)
class _Complaints:
    """Words what is wrong with an entry."""

    origin: str
    relpath: str

    def __call__(self, what: str, value: object) -> DatasetIndexError:
        return DatasetIndexError(
            f"{self.origin}: the entry {self.relpath!r} {what} (found {quote_short(value)}). "
            "Nothing was written."
        )


def _parse_size(record: Record, wrong: _Complaints) -> int | None:
    """Read the size of a file, where it is said."""
    size = record.get("size")
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 0):
        raise wrong("has a 'size' that must be a number of bytes or null", size)
    return size


def _parse_text(record: Record, key: str, wrong: _Complaints) -> str:
    """Read a text that may be missing."""
    text = record.get(key, "")
    if not isinstance(text, str):
        raise wrong(f"has a {key!r} that must be text", text)
    return text


def _parse_checksums(record: Record, wrong: _Complaints) -> tuple[Checksum, ...]:
    """Read the checksums of a file, the strongest first."""
    found = []
    for algorithm, length in DIGEST_LENGTHS.items():
        digest = record.get(algorithm)
        if digest is None:
            continue
        if not isinstance(digest, str) or not re.fullmatch(rf"[0-9a-fA-F]{{{length}}}", digest):
            raise wrong(f"has an {algorithm!r} that must be {length} hexadecimal digits", digest)
        found.append(Checksum(algorithm, digest.lower()))
    return tuple(found)


def _format_facts(size: int | None, checksums: tuple[Checksum, ...]) -> dict[str, object]:
    """Write size and checksums of one version of a file."""
    facts: dict[str, object] = {"size": size, "md5": None}  # ConfUSIus refuses to do without
    facts.update({checksum.algorithm: checksum.hexdigest for checksum in checksums})
    return facts
