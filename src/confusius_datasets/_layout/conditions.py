"""Filters of a query → a condition on the numbers of files, as PyBIDS's own joins would have it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from bids.layout import Query

from confusius_datasets._layout.catalogue import Catalogue, Condition
from confusius_datasets._layout.explain import compile_pattern
from confusius_datasets._layout.pybids import listify
from confusius_datasets._layout.queries import fits_database

__all__ = ["build_condition"]

FEW = 2_000
"""Folders or names up to which SQLite may gather those that match; of more, it asks for each."""

FEW_VALUES = 1_000
"""Values up to which a statement lists them by their numbers."""

LARGE_SHARE = 1 / 3
"""Share of all files from which on going through all of them is quicker."""


@dataclass(slots=True)
class _Term:
    """One filter: a test of each file, and a way to find files by it, if there is one."""

    test: str
    driver: str = ""
    n_files: float = float("inf")


@dataclass(slots=True)
class _Builder:
    catalogue: Catalogue
    session: Any
    values: dict[str, Any] = field(default_factory=dict)

    def bind(self, value: Any) -> str:
        """Name a value in the statement."""
        name = f"p{len(self.values)}"
        self.values[name] = value
        return f":{name}"

    def compare(self, column: str, wanted: Sequence[Any]) -> str:
        """Write the comparison of a value with those wanted, as PyBIDS compares."""
        numbers, texts = list(wanted), []
        if isinstance(wanted[0], int):
            # SQLite's numbers have 64 bits: PyBIDS raises an OverflowError for longer ones.
            texts = [str(one) for one in wanted if isinstance(one, int) and not fits_database(one)]
            numbers = [one for one in wanted if not isinstance(one, int) or fits_database(one)]
        clauses = [f"{column} IN {self.listed(texts)}"] if texts else []
        if numbers:
            cast = f"CAST({column} AS INTEGER)" if isinstance(wanted[0], int) else column
            clauses.append(f"{cast} IN {self.listed(numbers)}")
        return " OR ".join(clauses)

    def listed(self, values: Sequence[Any]) -> str:
        """Write a list of values; of many in one text, as SQLite binds a limited number."""
        if len(values) <= FEW_VALUES:
            return f"({', '.join(map(self.bind, values))})"
        said = json.dumps([one for one in values if isinstance(one, str | int | float)])
        return f"(SELECT value FROM json_each({self.bind(said)}))"

    def matching(self, name: str, wanted: Sequence[Any], *, is_named: bool) -> str:
        """Write the comparison with all values in which one of some patterns is found.

        Matched here, not by a function in SQLite: a pattern may take for ever, and SQLite would
        swallow the interrupt; nor does it take a thousand of them.
        """
        columns = "SELECT DISTINCT text FROM tables.value WHERE dataset = :d AND entity = :name"
        if not is_named:
            columns = "SELECT DISTINCT _value FROM metadata WHERE entity_name = :name"
        values = {"d": self.catalogue.dataset, "name": name}
        texts = self.session.scalars(sa.text(columns), values if is_named else {"name": name})
        patterns = [compile_pattern(name, str(one)) for one in wanted]
        place = self.catalogue.base if is_named and name == "scans" else None
        found = [
            text
            for text in texts.all()
            if isinstance(text, str)
            and _is_match(patterns, text if place is None else f"{place}{text[1:]}")
        ]
        return f"{'text' if is_named else '_value'} IN {self.listed(found)}"

    def holders(self, entity: str, clause: str) -> _Term:
        """Write the test that a path has one of the values that fulfil a clause."""
        dataset = self.catalogue.dataset
        condition = f"dataset = {dataset} AND entity = {self.bind(entity)} AND ({clause})"
        statement = f"SELECT id, folders, names FROM tables.value WHERE {condition}"
        # Through SQLAlchemy, whose errors PyBIDS's users know.
        found = self.session.execute(sa.text(statement), self.values).all()
        if not found or entity not in self.catalogue.spoken:
            return _Term("0", "files.id IN ()", 0)
        numbers = ", ".join(str(number) for number, _, _ in found)
        if len(found) > FEW_VALUES:
            numbers = f"SELECT id FROM tables.value WHERE {condition}"
        n_all, n_folders, n_names = self.catalogue.totals
        tests, drivers = [], []
        estimate = 0.0
        for kind, total, place in (("folder", n_folders, 1), ("name", n_names, 2)):
            uses = sum(row[place] for row in found)
            if not uses:
                continue
            estimate += uses * n_all / total
            tagged = f"SELECT {kind} FROM tables.{kind}_tag WHERE value IN ({numbers})"
            drivers.append((kind, tagged))
            if uses <= FEW:
                # The sign keeps SQLite from beginning with this one.
                tests.append(f"+files.{kind} IN ({tagged})")
            else:
                tests.append(
                    f"EXISTS (SELECT 1 FROM tables.{kind}_tag t WHERE t.{kind} = files.{kind} "
                    f"AND +t.value IN ({numbers}))"
                )
        if len(drivers) == 1:
            driver = f"files.{drivers[0][0]} IN ({drivers[0][1]})"
        else:
            each = (f"SELECT id FROM tables.file WHERE {kind} IN ({one})" for kind, one in drivers)
            driver = f"files.id IN ({' UNION ALL '.join(each)})"
        return _Term(f"({' OR '.join(tests)})", driver, estimate)

    def fields(self, name: str, clause: str) -> _Term:
        """Write the test that the metadata of a file have one of the values of a clause."""
        tagged = f"SELECT file FROM metadata WHERE entity_name = {self.bind(name)} AND ({clause})"
        counted = f"SELECT count(*) FROM ({tagged} LIMIT {FEW})"
        number = self.session.execute(sa.text(counted), self.values).scalar()
        estimate = number if number < FEW else float("inf")
        return _Term(f"+files.id IN ({tagged})", f"files.id IN ({tagged})", estimate)


def _is_match(patterns: Iterable[re.Pattern[str]], text: str) -> bool:
    """Say whether one of some patterns is found in a text."""
    return any(pattern.search(text) for pattern in patterns)


def build_condition(
    catalogue: Catalogue,
    session: Any,
    filters: Mapping[str, Any],
    *,
    named: frozenset[str],
    regex_search: bool,
) -> Condition:
    """Build the condition of filters; `named` are the entities that are looked for in paths."""
    builder = _Builder(catalogue, session)
    terms = []
    for name, value in filters.items():
        term = _term(builder, name, value, is_named=name in named, regex_search=regex_search)
        if term is not None:
            terms.append(term)
    tests = [term.test for term in terms]
    best = min(terms, key=lambda term: term.n_files, default=None)
    if best is not None and best.driver and best.n_files < catalogue.totals[0] * LARGE_SHARE:
        tests[terms.index(best)] = best.driver
    sql = " AND ".join(tests) or "1"
    used = set(re.findall(r":(p\d+)\b", sql))
    return Condition(sql, {name: value for name, value in builder.values.items() if name in used})


def _term(
    builder: _Builder, name: str, value: Any, *, is_named: bool, regex_search: bool
) -> _Term | None:
    """Build the test of one filter; `None` where every file passes it."""
    wanted = [None] if value is None else list(listify(value))
    if not wanted or Query.OPTIONAL in wanted:
        return None
    special = [one for one in (None, Query.NONE, Query.REQUIRED) if one in wanted]
    for one in special:  # once each, as PyBIDS does: what is left of them is an error
        wanted.remove(one)
    required = Query.REQUIRED in special
    none = len(special) > required
    if none and required:
        return None
    find = builder.holders if is_named else builder.fields
    term = None
    if wanted and regex_search:
        term = find(name, builder.matching(name, wanted, is_named=is_named))
    elif wanted:
        column = "text" if is_named else "_value"
        if is_named and name == "scans":  # which is a path
            column = f"({builder.bind(builder.catalogue.base)} || substr(text, 2))"
        term = find(name, builder.compare(column, wanted))
    if required:
        return find(name, "1")
    if not none:
        return term
    tests = [f"NOT {find(name, '1').test}", *([term.test] if term else [])]
    return _Term(f"({' OR '.join(tests)})")
