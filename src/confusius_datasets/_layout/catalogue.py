"""The files of one dataset as the plain tables have them: found, sorted and described by number.

PyBIDS's tables are views over these, and their paths are computed: SQLite has no index of them. So
what is asked of paths is asked here of folders and names instead.
"""

from __future__ import annotations

import functools
import itertools
import os
import re
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import numpy as np

from confusius_datasets._entities import INTEGER_ENTITIES
from confusius_datasets._layout.columns import Labels
from confusius_datasets._layout.pybids import natural_sort, value_of

__all__ = [
    "OWN_CLASS",
    "Catalogue",
    "Condition",
    "Place",
    "sort_naturally",
    "sort_values",
    "view_statements",
]

OWN_CLASS = "catalogue_"
"""What our classes of files are called in the database, before PyBIDS's name of the class."""

MOST_NUMBERS = 10_000
"""Numbers in one statement; SQLite has a limit of its length."""

LARGE_SHARE = 1 / 10
"""Share of the files of a folder from which on reading it is quicker than looking each up."""

FOLDERS_KEPT = 1000
"""Folders of which the JSON files are remembered."""

KEYS_KEPT = 20_000
"""Texts whose order is remembered: folders, endings of names, values."""

Place = tuple[int, int, int]
"""Numbers of a file, its folder and its name."""

_DIGITS = re.compile("[0-9]+")


@dataclass(frozen=True, slots=True)
class Condition:
    """What files must fulfil, in terms of the view `files`."""

    sql: str = "1"
    values: Mapping[str, Any] = field(default_factory=dict)


def view_statements(dataset: int, base: str, spoken: Collection[str]) -> list[str]:
    """Return the statements that make PyBIDS's tables of one dataset."""

    def quote(text: str) -> str:
        return "'" + text.replace("'", "''") + "'"

    def native(path: str) -> str:
        return path if os.sep == "/" else f"replace({path}, '/', {quote(os.sep)})"

    filename = "iif(n.prefixed, d.prefix, '') || n.text"
    root = quote(base)
    ending = "substr(n.text, instr(n.text, '.'))"
    # Of a file, the folder and the name are found by their numbers, never the other way round.
    files = (
        "FROM tables.file f CROSS JOIN tables.folder d ON d.id = f.folder "
        f"AND d.dataset = {dataset} CROSS JOIN tables.name n ON n.id = f.name"
    )
    path = f"{root} || iif(d.path = '', '', {native('d.path')} || {quote(os.sep)}) || {filename}"
    label = f"CASE v.entity WHEN 'scans' THEN {root} || substr(v.text, 2) ELSE v.text END"
    integers = ", ".join(map(quote, sorted(INTEGER_ENTITIES)))
    names = ", ".join(map(quote, sorted(spoken)))
    tags = (
        f"SELECT {path} AS file_path, v.entity AS entity_name, {label} AS _value, "
        f"iif(v.entity IN ({integers}), 'int', 'str') AS _dtype, 0 AS is_metadata {files} "
        "JOIN tables.{kind}_tag t ON t.{kind} = f.{kind} JOIN tables.value v ON v.id = t.value "
        f"WHERE v.entity IN ({names})"
    )
    return [
        f"CREATE TEMP VIEW files AS SELECT {path} AS path, {filename} AS filename, "
        f"iif(d.path = '', {quote(base[:-1] or base)}, {root} || {native('d.path')}) AS dirname, "
        f"0 AS is_dir, '{OWN_CLASS}' || CASE WHEN n.text GLOB '*.nii' OR n.text GLOB '*.nii.gz' "
        f"OR n.text GLOB '*.gii' THEN 'image_file' WHEN {ending} IN ('.tsv', '.tsv.gz') "
        f"THEN 'data_file' WHEN {ending} = '.json' THEN 'json_file' ELSE 'file' END AS class_, "
        f"f.id AS id, f.folder AS folder, f.name AS name {files}",
        f"CREATE TEMP VIEW tags AS {tags.replace('{kind}', 'folder')} "
        f"UNION ALL {tags.replace('{kind}', 'name')} UNION ALL SELECT files.path, m.entity_name, "
        "m._value, m._dtype, 1 FROM metadata m CROSS JOIN files ON files.id = m.file",
    ]


class Catalogue:
    """The files of one dataset."""

    def __init__(
        self,
        connection: Callable[[], sqlite3.Connection],
        base: str,
        dataset: int,
        spoken: Collection[str],
    ) -> None:
        self._connection = connection
        self.base = base
        self.dataset = dataset
        self.spoken = frozenset(spoken)
        self.json_files = functools.lru_cache(FOLDERS_KEPT)(self._json_files)

    def rows(self, statement: str, values: Any = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a statement."""
        return self._connection().execute(statement, values).fetchall()

    @functools.cached_property
    def totals(self) -> tuple[int, int, int]:
        """How many files, folders and names the tables have."""
        return tuple(  # type: ignore[return-value]
            self.rows(f"SELECT max(id) FROM tables.{table}")[0][0] or 1
            for table in ("file", "folder", "name")
        )

    # Files and their paths.

    def find(self, condition: Condition) -> list[Place]:
        """Find files."""
        # The view `files` would look at each name as well.
        statement = (
            "SELECT files.id, files.folder, files.name FROM tables.file files CROSS JOIN "
            f"tables.folder d ON d.id = files.folder AND d.dataset = {self.dataset} "
            f"WHERE {condition.sql}"
        )
        return self.rows(statement, condition.values)

    def locate(self, paths: Iterable[str]) -> dict[str, Place]:
        """Find the files of this dataset among some absolute paths, in their order."""
        names: dict[str, list[str]] = {}
        given = list(paths)
        for path in given:
            if path.startswith(self.base):
                folder, _, name = path[len(self.base) :].rpartition(os.sep)
                names.setdefault(folder, []).append(name)
        found: dict[str, Place] = {}
        for folder, wanted in names.items():
            start = f"{self.base}{folder}{os.sep}" if folder else self.base
            for name, place in self._in_folder(folder.replace(os.sep, "/"), wanted):
                found[start + name] = place
        return {path: found[path] for path in given if path in found}

    def _in_folder(self, path: str, wanted: Sequence[str]) -> Iterator[tuple[str, Place]]:
        """Find some of the files right in a folder."""
        for folder, prefix in self.rows(
            "SELECT id, prefix FROM tables.folder WHERE path = ? AND dataset = ?",
            (path, self.dataset),
        ):
            statement = (
                "SELECT n.text, n.prefixed, f.id, n.id FROM tables.file f "
                "JOIN tables.name n ON n.id = f.name WHERE f.folder = ?"
            )
            counted = "SELECT count(*) FROM tables.file WHERE folder = ?"
            if len(wanted) > LARGE_SHARE * self.rows(counted, (folder,))[0][0]:
                rows = self.rows(statement, (folder,))
            else:
                rows = []
                for name in wanted:
                    short = name[len(prefix) :] if prefix and name.startswith(prefix) else None
                    either = "(n.text = ? AND n.prefixed = 0 OR n.text = ? AND n.prefixed = 1)"
                    rows += self.rows(f"{statement} AND {either}", (folder, name, short))
            for text, prefixed, file, number in rows:
                yield (prefix + text if prefixed else text), (file, folder, number)

    def paths(self, places: Sequence[Place]) -> list[str]:
        """Return the paths of files, in their order."""
        starts, names = self._texts(places)
        return [starts[folder][names[name][1]] + names[name][0] for _, folder, name in places]

    def with_sort_keys(self, places: Sequence[Place]) -> list[tuple[str, str]] | None:
        """Return paths after texts in whose order PyBIDS sorts; `None` where only it knows."""
        starts, names = self._texts(places)
        size = len(self.base)
        below = [text[size:] for start in starts.values() for text in start]
        if not all(text.isascii() for text in (*below, *(text for text, _ in names.values()))):
            return None
        # By the number of the folder, once without and once with its prefix.
        keyed = [
            {
                number: (_natural_key(start[short][size:]), start[short])
                for number, start in starts.items()
            }
            for short in (0, 1)
        ]
        endings = {
            number: (keyed[short], _natural_key(text), text)
            for number, (text, short) in names.items()
        }
        found = []
        for _, folder, name in places:
            of_folders, key, text = endings[name]
            folder_key, start = of_folders[folder]
            found.append((folder_key + key, start + text))
        return found

    def _texts(
        self, places: Sequence[Place]
    ) -> tuple[dict[int, tuple[str, str]], dict[int, tuple[str, int]]]:
        """Return what paths begin with, by their folders, and how they end, by their names."""
        folders, names = set(map(itemgetter(1), places)), set(map(itemgetter(2), places))
        return self._folder_texts(folders), self._name_texts(names)

    def _folder_texts(self, numbers: Collection[int]) -> dict[int, tuple[str, str]]:
        """Return what paths in folders begin with, without and with the folder's prefix."""
        found = {}
        for number, path, prefix in self._by_numbers("SELECT id, path, prefix", "folder", numbers):
            start = self.base + (f"{path}/".replace("/", os.sep) if path else "")
            found[number] = (start, start + prefix)
        return found

    def _name_texts(self, numbers: Collection[int]) -> dict[int, tuple[str, int]]:
        """Return the texts of names, and whether the prefix of the folder belongs before them."""
        rows = self._by_numbers("SELECT id, text, prefixed", "name", numbers)
        return {number: (text, prefixed) for number, text, prefixed in rows}

    def _by_numbers(self, select: str, table: str, numbers: Collection[int]) -> Iterator[Any]:
        """Give the rows of some numbers."""
        listed = sorted(numbers)
        for begin in range(0, len(listed), MOST_NUMBERS):
            part = ", ".join(map(str, listed[begin : begin + MOST_NUMBERS]))
            yield from self.rows(f"{select} FROM tables.{table} WHERE id IN ({part})")

    def _json_files(self, folder: str) -> list[str]:
        """List the JSON files right in a folder, by their paths below the root."""
        base = f"{folder}/" if folder else ""
        rows = self.rows(
            "SELECT iif(n.prefixed, d.prefix, '') || n.text FROM tables.folder d "
            "CROSS JOIN tables.file f ON f.folder = d.id CROSS JOIN tables.name n ON n.id = f.name "
            "WHERE d.path = ? AND d.dataset = ? AND n.text GLOB '*.json' ORDER BY f.id",
            (folder, self.dataset),
        )
        return [base + name for (name,) in rows]

    # Entities.

    def values(self, entity: str, condition: Condition | None = None) -> list[tuple[str, str]]:
        """List the values of an entity in the paths of some files or of all, with their types."""
        if entity not in self.spoken:
            return []
        select = "SELECT DISTINCT v.text FROM tables.value v"
        where = "WHERE v.dataset = :dataset AND v.entity = :entity"
        parameters: dict[str, Any] = {"dataset": self.dataset, "entity": entity}
        if condition is not None:
            parameters |= condition.values
            select = " UNION ".join(
                f"{select} JOIN tables.{kind}_tag t ON t.value = v.id {where} AND t.{kind} IN "
                f"(SELECT files.{kind} FROM files WHERE {condition.sql})"
                for kind in ("folder", "name")
            )
        else:
            select = f"{select} {where}"
        dtype = "int" if entity in INTEGER_ENTITIES else "str"
        found = self.rows(select, parameters)
        if entity != "scans":  # all others are as they are
            return [(text, dtype) for (text,) in found]
        return [(self.label(entity, text), dtype) for (text,) in found]

    def label(self, entity: str, text: str) -> str:
        """Return a value as PyBIDS's database has it; that of `scans` is a path."""
        return self.base + text[1:] if entity == "scans" else text

    def has_value(self, entity: str, value: str | int) -> bool:
        """Say whether the path of a file has an entity with a value."""
        text = "CAST(text AS INTEGER)" if isinstance(value, int) else "text"
        if entity == "scans":
            return (value, "str") in self.values(entity)
        statement = f"SELECT 1 FROM tables.value WHERE dataset = ? AND entity = ? AND {text} = ?"
        return entity in self.spoken and bool(self.rows(statement, (self.dataset, entity, value)))

    def entities(self) -> set[str]:
        """Return the entities that the paths of files have."""
        statement = "SELECT DISTINCT entity FROM tables.value WHERE dataset = ?"
        return {name for (name,) in self.rows(statement, (self.dataset,))} & self.spoken

    def count_pairs(self, entity: str) -> int:
        """Count the values of an entity, apart for each subject."""
        value = "CAST(v.text AS INTEGER)" if entity in INTEGER_ENTITIES else "v.text"
        pairs = " UNION ".join(
            f"SELECT {value}, s.text FROM tables.file f CROSS JOIN tables.{one}_tag t "
            f"ON t.{one} = f.{one} CROSS JOIN tables.value v ON v.id = t.value "
            f"CROSS JOIN tables.{other}_tag u ON u.{other} = f.{other} "
            "CROSS JOIN tables.value s ON s.id = u.value WHERE v.dataset = :dataset "
            "AND v.entity = :entity AND s.entity = 'subject'"
            if "name" in (one, other)
            else f"SELECT {value}, s.text FROM tables.value v CROSS JOIN tables.folder_tag t "
            "ON t.value = v.id CROSS JOIN tables.folder_tag u ON u.folder = t.folder "
            "CROSS JOIN tables.value s ON s.id = u.value WHERE v.dataset = :dataset "
            "AND v.entity = :entity AND s.entity = 'subject'"
            for one, other in itertools.product(("folder", "name"), repeat=2)
        )
        values = {"dataset": self.dataset, "entity": entity}
        return int(self.rows(f"SELECT count(*) FROM ({pairs})", values)[0][0])

    def numbered_labels(self, places: Sequence[Place]) -> list[Labels]:
        """Return the entities in the paths of files: those of folders, and those of names."""
        found: list[Labels] = []
        for kind, part in (("folder", 1), ("name", 2)):
            numbers, codes = np.unique([place[part] for place in places], return_inverse=True)
            labels = self._labels_of(kind, numbers.tolist())
            found.append((codes.tolist(), [labels.get(number, {}) for number in numbers.tolist()]))
        return found

    def labels(self, places: Iterable[Place]) -> Iterator[dict[str, Any]]:
        """Give the entities in the paths of files, with PyBIDS's values."""
        listed = list(places)
        of_folders = self._labels_of("folder", {folder for _, folder, _ in listed})
        of_names = self._labels_of("name", {name for *_, name in listed})
        none: dict[str, Any] = {}
        for _, folder, name in listed:
            yield {**of_folders.get(folder, none), **of_names.get(name, none)}

    def _labels_of(self, kind: str, numbers: Collection[int]) -> dict[int, dict[str, Any]]:
        """Return the entities of folders or of names."""
        found: dict[int, dict[str, Any]] = {}
        convert = functools.cache(value_of)  # the same few, many times
        listed = sorted(numbers)
        for begin in range(0, len(listed), MOST_NUMBERS):
            part = ", ".join(map(str, listed[begin : begin + MOST_NUMBERS]))
            for number, entity, text in self.rows(
                f"SELECT t.{kind}, v.entity, v.text FROM tables.{kind}_tag t "
                f"JOIN tables.value v ON v.id = t.value WHERE t.{kind} IN ({part})"
            ):
                if entity in self.spoken:
                    dtype = "int" if entity in INTEGER_ENTITIES else "str"
                    value = convert(self.label(entity, text), dtype)
                    found.setdefault(number, {})[entity] = value
        return found

    # Metadata.

    def fields(self, places: Iterable[Place]) -> dict[int, dict[str, Any]]:
        """Return the metadata read so far of files, by their numbers."""
        found: dict[int, dict[str, Any]] = {}
        listed = [file for file, _, _ in places]
        for begin in range(0, len(listed), MOST_NUMBERS):
            part = ", ".join(map(str, listed[begin : begin + MOST_NUMBERS]))
            for file, name, text, dtype in self.rows(
                f"SELECT file, entity_name, _value, _dtype FROM metadata WHERE file IN ({part})"
            ):
                found.setdefault(file, {})[name] = value_of(text, dtype)
        return found

    def field_values(self, name: str, condition: Condition | None) -> list[tuple[str, str]]:
        """List the values of a metadata field, of some files or of all, with their types."""
        statement = "SELECT DISTINCT _value, _dtype FROM metadata WHERE entity_name = :entity"
        values: dict[str, Any] = {"entity": name}
        if condition is not None:
            statement += f" AND file IN (SELECT files.id FROM files WHERE {condition.sql})"
            values |= condition.values
        return self.rows(statement, values)

    def field_names(self) -> set[str]:
        """Return the metadata fields that have been read."""
        return {name for (name,) in self.rows("SELECT DISTINCT entity_name FROM metadata")}


@functools.lru_cache(maxsize=KEYS_KEPT)
def _natural_key(text: str) -> str:
    """Write a text so that plain order is PyBIDS's: by the values of numbers, cases alike.

    A number begins with what comes before every letter, and with its length.
    """
    return _DIGITS.sub(_number_key, text.lower())


def _number_key(match: re.Match[str]) -> str:
    digits = match[0].lstrip("0")
    return f"\0{chr(len(digits))}{digits}"


def sort_values(values: Iterable[Any]) -> list[Any]:
    """Sort the values of an entity as PyBIDS does."""
    listed = list(values)
    if all(isinstance(one, str) and one.isascii() and "\0" not in one for one in listed):
        return sorted(listed, key=_natural_key)
    return list(natural_sort(listed))


def sort_naturally(found: Sequence[tuple[Catalogue, Sequence[Place]]]) -> list[str]:
    """Return the paths of files of several datasets of one root, as PyBIDS sorts them."""
    pairs: list[tuple[str, str]] = []
    for catalogue, places in found:
        keyed = catalogue.with_sort_keys(places)
        if keyed is None:
            everything = [path for one, listed in found for path in one.paths(listed)]
            return list(natural_sort(sorted(everything)))
        pairs += keyed
    pairs.sort()
    return [path for _, path in pairs]
