"""What the index files of hosts have in common: strict JSON, checked entries, safe writing.

`JsonFormat` is the form that the ConfUSIus package reads, `{relpath: {"size": …, "md5": …}}` with
the host's own key for the locator.
"""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import json
import os
import re
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

from confusius_datasets._cache import (
    is_here,
    open_regular,
    read_blocks,
    word_unreadable,
    write_atomic,
)
from confusius_datasets._index import (
    INDEX_NAME,
    LARGEST_INTEGER,
    Checksum,
    DatasetIndex,
    FileEntry,
    FileRow,
    FillTables,
    KeptTables,
    LocalVersion,
    TableWriter,
    make_tables,
    row_of,
    write_entries,
)
from confusius_datasets._paths import INDEX_NAMES, check_relpath
from confusius_datasets._sources.protocol import Source
from confusius_datasets._text import quote, quote_short, shorten
from confusius_datasets.errors import DatasetIndexError, DoubtfulRowsError, UnsafePathError

__all__ = [
    "DIGEST_LENGTHS",
    "JsonFormat",
    "check_listed_path",
    "find_index_file",
    "form_of",
    "listed_size",
    "make_index",
    "parse_json_object",
    "read_index_file",
    "read_opened_index",
    "value_at",
    "write_index_file",
]

DIGEST_LENGTHS = {"sha512": 128, "sha256": 64, "sha1": 40, "git": 40, "md5": 32, "crc32": 8}
"""Hexadecimal digits of each algorithm an entry may carry, the strongest first."""

SMALL_NBYTES = 1 << 20
"""Bytes of an index up to which its tables are in memory rather than in a file."""

LONGEST_ENTRY_NBYTES = 1 << 23
"""Bytes of an index without the end of an entry, up to which it is read in pieces."""

PIECE_ENTRIES = 2_000
"""Entries of an index that are written at a time."""

WORTH_KEEPING_NBYTES = 1_000_000
"""Size of an index, of some five thousand files, from which on reading it anew takes longer than
opening what was made of it."""

Record = Mapping[str, object]


def find_index_file(source: Source, root: Path) -> Path:
    """Return where the index in a root is, or would be.

    That of a release may lie beside its folder, where ConfUSIus has put it.
    """
    path = root / source.index_name
    find_beside = getattr(source, "find_index_beside", None)
    beside: Path | None = find_beside(root) if find_beside and not is_here(path) else None
    return beside or path


def read_index_file(source: Source, root: Path) -> DatasetIndex:
    """Read the index in a root, or raise `FileNotFoundError`.

    A large one is read once: what was made of it is kept, and used while the file is the same.
    """
    path = find_index_file(source, root)
    with _open_index(path) as file:
        status = os.fstat(file.fileno())
        kept = KeptTables(root, "index")
        key = [source.index_name, source.host, status.st_mtime_ns, status.st_size, status.st_ino]
        is_large = status.st_size >= WORTH_KEEPING_NBYTES
        if is_large and (found := kept.load(key)):
            return DatasetIndex.of_tables(found[0])
        try:
            fill = _quick_fill(source, file) if is_large else None
            if fill is not None:
                tables = kept.save(key, fill, {}) or make_tables(fill, is_large=True)
                return DatasetIndex.of_tables(tables)
        except (DoubtfulRowsError, DatasetIndexError):
            pass  # read once more, with all checks and their words
        file.seek(0)
        index = _read_carefully(source, file.read(), path)
    if is_large:

        def fill_anew(connection: sqlite3.Connection) -> None:
            write_entries(connection, index.values(), is_checked=True)

        if saved := kept.save(key, fill_anew, {}):
            return DatasetIndex.of_tables(saved)
    return index


def read_opened_index(source: Source, file: BinaryIO, origin: str) -> DatasetIndex:
    """Read an index in a folder of others, where nothing is kept; a large one in pieces."""
    form = form_of(source)
    return form.read_file(file, origin) if form else source.read_index(file.read(), origin)


def form_of(source: Source) -> JsonFormat | None:
    """Return the form of a source's index file, if it is one that is read in pieces."""
    form = getattr(source, "index_format", None)
    return form if isinstance(form, JsonFormat) else None


def _open_index(path: Path) -> BinaryIO:
    try:
        return open_regular(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise word_unreadable(path, error) from error


def _quick_fill(source: Source, file: BinaryIO) -> FillTables | None:
    """Return what reads an index file in pieces, where the source's form allows that."""
    form = form_of(source)
    if form is None:
        return None

    def fill(connection: sqlite3.Connection) -> None:
        file.seek(0)
        form.fill(connection, read_blocks(file))

    return fill


def _read_carefully(source: Source, data: bytes, path: Path) -> DatasetIndex:
    try:
        return source.read_index(data, str(path))
    except DatasetIndexError as error:
        raise type(error)(f"{error} Fetch again with refresh=True to replace it.") from error


def write_index_file(source: Source, root: Path, index: DatasetIndex) -> None:
    """Put the index into a root, atomically; one that says the same is left alone.

    So a refresh that finds nothing new works in a read-only folder too, and what was made from
    the index stays younger than it.
    """
    path = root / source.index_name
    form = form_of(source)

    def pieces() -> Iterable[bytes]:
        return form.pieces(index) if form else [source.format_index(index)]

    if not _has_content(path, pieces()):
        write_atomic(path, pieces())


def _has_content(path: Path, pieces: Iterable[bytes]) -> bool:
    """Say whether a file holds some bytes and no others."""
    try:
        with open_regular(path) as file:
            return all(file.read(len(piece)) == piece for piece in pieces) and not file.read(1)
    except OSError:
        return False


def make_index(entries: Iterable[FileEntry], origin: str) -> DatasetIndex:
    """Make an index of what a host's listing says, once every path and hash is checked.

    Index files of ours, or of ConfUSIus, that were uploaded along with the data are left out.
    """
    listed = [entry for entry in entries if entry.relpath not in INDEX_NAMES]
    for entry in listed:
        check_listed_path(entry.relpath, origin)
        wrong = _Complaints(origin, entry.relpath)
        _parse_size({"size": entry.size}, wrong)
        _parse_checksums({known.algorithm: known.hexdigest for known in entry.checksums}, wrong)
    return DatasetIndex(listed, origin=origin)


def value_at(document: Any, *keys: str) -> Any:
    """Return what is deep in a host's document; nothing where that is not as it should be."""
    for key in keys:
        document = document.get(key) if isinstance(document, dict) else None
    return document


def listed_size(value: object) -> int | None:
    """Return a size that a listing says; what is no number of bytes is not known."""
    is_size = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return value if is_size else None  # type: ignore[return-value]


def check_listed_path(relpath: str, origin: str) -> None:
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
        content = data.encode(errors="surrogatepass") if isinstance(data, str) else data
        return self.read_file(io.BytesIO(content), origin)

    def read_file(self, file: IO[bytes], origin: str) -> DatasetIndex:
        """Read and check an index as `read`, in pieces; one with anything unusual as a whole."""
        is_large = file.seek(0, os.SEEK_END) > SMALL_NBYTES
        file.seek(0)
        with contextlib.suppress(DoubtfulRowsError, DatasetIndexError):
            fill = functools.partial(self.fill, blocks=read_blocks(file))
            return DatasetIndex.of_tables(make_tables(fill, is_large=is_large))
        file.seek(0)
        return self.parse(parse_json_object(file.read(), origin), origin)

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

    def fill(self, connection: sqlite3.Connection, blocks: Iterable[bytes]) -> None:
        """Write an index into tables, quickly; `DoubtfulRowsError` for whatever is unusual in it.

        It is read in pieces, so that it is never in memory as a whole.
        """
        writer = TableWriter(connection)
        try:
            for piece in _cut(blocks):
                writer.add(self._rows(piece))
        except (ValueError, RecursionError) as error:
            raise DoubtfulRowsError(str(error)) from error
        writer.finish(host=self.host)

    def _rows(self, piece: bytes) -> list[FileRow]:
        """Turn a piece of an index into rows, by the shortest way that leaves no check out."""
        text = piece.decode()
        rows: list[FileRow] = []
        n_quotes = 0
        for relpath, record in json.loads(text).items():
            if len(record) != 3 or relpath == INDEX_NAME:
                return self._rows_of_all_kinds(text)
            size, md5 = record.get("size"), record.get("md5")
            locator = record.get(self.locator_key)
            digest = bytes.fromhex(md5) if type(md5) is str and len(md5) == 32 else b""
            # `fromhex` passes over spaces, and so gives less.
            if (
                type(size) is not int
                or not 0 <= size < LARGEST_INTEGER
                or type(locator) is not str
                or not locator.isascii()
                or not locator
                or len(digest) != 16
            ):
                return self._rows_of_all_kinds(text)
            rows.append((relpath, size, digest, locator, None))
            n_quotes += 12
        # Of a key that came twice, the dictionary has one, but the text has its quotes.
        return rows if text.count('"') == n_quotes else self._rows_of_all_kinds(text)

    def _rows_of_all_kinds(self, text: str) -> list[FileRow]:
        """Turn a piece of an index into rows, with all checks."""
        document = parse_json_object(text, "")
        return [
            row_of(self._parse_entry(relpath, record, ""), self.host)
            for relpath, record in document.items()
            if relpath != INDEX_NAME
        ]

    def format(self, index: DatasetIndex) -> bytes:
        """Write an index as UTF-8 JSON with sorted keys, an indent of two and a final newline."""
        return b"".join(self.pieces(index))

    def pieces(self, index: DatasetIndex) -> Iterator[bytes]:
        """Give what `format` writes, piece by piece."""
        entries = iter(index.values())
        before = ""
        while some := list(itertools.islice(entries, PIECE_ENTRIES)):
            document = {entry.relpath: self._format_entry(entry) for entry in some}
            text = json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False)
            yield (before + text[1:-2] if before else text[:-2]).encode()
            before = ","
        yield b"\n}\n" if before else b"{}\n"

    def _parse_entry(self, relpath: str, record: object, origin: str) -> FileEntry:
        """Read one entry, and refuse what is not of the schema."""
        check_listed_path(relpath, origin)
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


def _cut(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Cut an index, written with an indent of two, into JSON objects of some of its entries.

    There is no newline in a JSON string. If the cut were not between two entries, the brackets
    would not match, and the piece would not be read.
    """
    rest = b""
    for number, block in enumerate(blocks):
        if number == 0 and not block.startswith(b'{\n  "'):
            raise DoubtfulRowsError("written otherwise")
        rest += block
        end = rest.rfind(b"\n  },\n")
        if end >= 0:
            piece, rest = rest[:end], b"{" + rest[end + len("\n  },\n") :]
            yield piece + b"}}"
        elif len(rest) > LONGEST_ENTRY_NBYTES:
            # To append block after block takes time that grows with the square of the length.
            raise DoubtfulRowsError("an entry without end")
    yield rest


def parse_json_object(data: bytes | str, origin: str) -> dict[str, object]:
    """Read a JSON object in which no key comes twice."""
    try:
        document = json.loads(data, object_pairs_hook=_refuse_repeated_keys)
        escape = "\\u" if isinstance(data, str) else b"\\u"
        if escape in data or not data.isascii():  # type: ignore[operator]
            # Half a character is none, escaped or, for `json`, as three bytes. Keys may be paths,
            # which are looked at by themselves.
            values = list(document.values()) if isinstance(document, dict) else document
            json.dumps(values, ensure_ascii=False).encode()
    except DatasetIndexError as error:
        raise DatasetIndexError(f"{origin}: {error}.") from None
    except (ValueError, RecursionError) as error:
        raise DatasetIndexError(
            f"{origin} is not a whole JSON document: {shorten(error)}. "
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
        raise DatasetIndexError(f"the key {quote(repeated)} comes twice")
    return document


@dataclass(frozen=True, slots=True)
class _Complaints:
    """Words what is wrong with an entry."""

    origin: str
    relpath: str

    def __call__(self, what: str, value: object) -> DatasetIndexError:
        return DatasetIndexError(
            f"{self.origin}: the entry {quote(self.relpath)} {what} (found "
            f"{quote_short(value)}). "
            "Nothing was written."
        )


def _parse_size(record: Record, wrong: _Complaints) -> int | None:
    """Read the size of a file, where it is said."""
    size = record.get("size")
    if size is None:
        return None
    if listed_size(size) is None or not isinstance(size, int) or size >= LARGEST_INTEGER:
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
