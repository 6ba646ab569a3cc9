"""`QueryingLayout`: filters of a query → conditions on files, reading the metadata they need."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from bids import BIDSLayout

from confusius_datasets._layout.catalogue import Condition
from confusius_datasets._layout.conditions import build_condition
from confusius_datasets._layout.explain import compile_pattern, word_unknown
from confusius_datasets._layout.family import FamilyLayout
from confusius_datasets._layout.pybids import build_file_query, layouts_in_scope, sanitize_filters
from confusius_datasets._layout.queries import check_choice, is_field_name, normalise_filters
from confusius_datasets._layout.statements import FileQuery, select_files
from confusius_datasets._layout.typos import find_unknown_values
from confusius_datasets._text import warn_user
from confusius_datasets.errors import (
    FilterError,
    InvalidPatternError,
    UnknownEntityError,
    UnknownTargetError,
)

__all__ = ["QueryingLayout", "naming_patterns"]

TOO_MUCH = ("too large", "too many", "too big", "at most")
"""What SQLite says of statements that are longer or deeper than it takes."""

INVALID_FILTERS = ("error", "drop", "allow")
"""What a query can do with a filter that is unknown."""


class QueryingLayout(FamilyLayout):
    """A layout that prepares filters, and finds which files they leave."""

    def __init__(self, root: Path, prefix: str, sources: QueryingLayout | None) -> None:
        super().__init__(root, prefix, sources)
        self._is_asking = False
        self._is_quiet = False
        self.regex_search = False

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        """Let PyBIDS ask for the entities so far, without more sidecars being read for that."""
        before, self._is_asking = self._is_asking, True
        try:
            yield
        finally:
            self._is_asking = before

    @contextlib.contextmanager
    def quietly(self) -> Iterator[None]:
        """Let PyBIDS's own methods ask for values that may exist nowhere."""
        with self.lock:
            before, self._is_quiet = self._is_quiet, True
            try:
                yield
            finally:
                self._is_quiet = before

    def _may_be_field(self, name: str) -> bool:
        """Say whether a name that is not an entity may be a metadata field.

        To be sure that it is none, all sidecars would have to be downloaded.
        """
        return is_field_name(name) or not self._sidecars.may_be_remote

    def _may_be_unread(self, name: str) -> bool:
        """Say whether a name may be a field of sidecars that have not been downloaded."""
        return is_field_name(name) and any(
            layout.metadata.missing_of_all()
            for layout in layouts_in_scope(self, "all")
            if isinstance(layout, QueryingLayout)
        )

    def _find(
        self,
        return_type: str = "object",
        target: str | None = None,
        scope: str | list[str] = "all",
        regex_search: bool = False,
        invalid_filters: str = "error",
        **filters: Any,
    ) -> tuple[dict[str, Any], list[FileQuery]]:
        """Bring filters into PyBIDS's form, warn of unknown values, and build the queries."""
        check_choice("invalid_filters", invalid_filters, INVALID_FILTERS)
        options: dict[str, Any] = {
            "scope": scope,
            "regex_search": regex_search,
            "invalid_filters": invalid_filters,
        }
        ready = self._prepare(filters, target=target, **options)
        if not self._is_quiet and (unknown := find_unknown_values(self, {**options, **ready})):
            warn_user("\n".join(unknown))
        return ready, self._file_queries(ready, scope, regex_search=regex_search)

    def _prepare(
        self,
        filters: Mapping[str, Any],
        *,
        target: str | None,
        scope: str | list[str],
        regex_search: bool,
        invalid_filters: str,
    ) -> dict[str, Any]:
        """Bring filters into PyBIDS's form, read the metadata they need, refuse unknown names."""
        named = self.named_entities()
        ready = normalise_filters(filters, named)
        fields = set(ready) - named
        if invalid_filters != "allow":
            fields = {name for name in fields if self._may_be_field(name)}
        in_names = {name: value for name, value in ready.items() if name in named}
        looks = target is not None and target not in named and self._may_be_field(target)
        if fields or looks:
            self._read_candidates(
                self._file_queries(in_names, scope, regex_search=regex_search),
                download=bool(fields),
            )
        if invalid_filters != "allow" and fields - set(self.get_entities()):
            self._read_all(layouts_in_scope(self, "all"))  # one that no candidate has may be one
        known = [name for name in self.get_entities() if name in named or self._may_be_field(name)]
        if invalid_filters == "drop":
            ready = {name: value for name, value in ready.items() if name in known}
        elif invalid_filters == "error" and (unknown := sorted(set(ready) - set(known))):
            raise UnknownEntityError(
                f"{word_unknown(unknown[0], known)}If you're sure you want to impose this "
                "constraint, set invalid_filters='allow'."
            )
        if target is not None:
            self._check_target(target, known)
        return ready

    def _check_target(self, target: str, known: Sequence[str]) -> None:
        """Refuse a target that is unknown, unless sidecars that are not here may have it."""
        if target not in known and self._may_be_field(target):
            self._read_all_local()
            known = list(self.get_entities())
        if target not in known and not self._may_be_unread(target):
            reason = word_unknown(target, known, limit=None)
            raise UnknownTargetError(f"Unknown target: {reason}".rstrip())

    def _file_queries(
        self, filters: Mapping[str, Any], scope: str | list[str], *, regex_search: bool
    ) -> list[FileQuery]:
        """Build the query of files for each layout in a scope."""
        queries = []
        for layout in layouts_in_scope(self, scope):
            if isinstance(layout, QueryingLayout):
                chosen = layout.condition(filters, regex_search=regex_search)
            else:
                chosen = build_file_query(layout, filters, regex_search=regex_search)
            queries.append(FileQuery(layout, chosen))
        return queries

    def condition(self, filters: Mapping[str, Any], *, regex_search: bool) -> Condition:
        """Return what the files of this layout's own dataset must fulfil."""
        return build_condition(
            self.connection_manager.catalogue,
            self.session,
            sanitize_filters(self, filters),
            named=frozenset(self.named_entities()),
            regex_search=regex_search,
        )

    def _read_candidates(self, queries: Iterable[FileQuery], *, download: bool) -> None:
        """Read the metadata of the files of queries; to look at values, of those that are here."""
        unread: set[str] = set()
        for query in queries:
            layout = query.layout
            if not isinstance(layout, QueryingLayout):
                continue
            paths = query.paths()
            if download:
                layout.metadata.read(paths)
                continue
            for error in layout.metadata.read_local(paths).values():
                raise error
            unread |= {relpath for path in paths for relpath in layout.metadata.missing(path)}
        if unread:
            warn_user(
                f"{len(unread)} of the JSON sidecars that this asks for have not been downloaded, "
                f"the first of them {min(unread)}. The answer is that of the others; "
                "ds.download(extension='.json') fetches them."
            )

    def _build_file_query(self, **kwargs: Any) -> Any:
        """Build the query of a layout's files, as `bids.BIDSLayout` does."""
        regex_search = bool(kwargs.get("regex_search"))
        condition = self.condition(kwargs.get("filters") or {}, regex_search=regex_search)
        return select_files(self.session, condition)

    def _read_all(self, layouts: Iterable[BIDSLayout]) -> None:
        """Read the metadata of every file of some layouts, passing over damaged sidecars."""
        for layout in layouts:
            if isinstance(layout, QueryingLayout):  # others have theirs from the start
                layout.metadata.read_all()

    def _read_all_local(self) -> None:
        """Read the metadata that are here, of this layout and its derivatives."""
        for layout in layouts_in_scope(self, "all"):
            if isinstance(layout, QueryingLayout):
                layout.metadata.read_all_local()


@contextlib.contextmanager
def naming_patterns(filters: Mapping[str, Any], *, regex_search: bool) -> Iterator[None]:
    """Say what is wrong with a query that a database of PyBIDS's own refuses.

    Of a function that fails, SQLite says only that it did.
    """
    try:
        yield
    except InvalidPatternError:
        raise
    except (sa.exc.OperationalError, sa.exc.DataError) as error:
        if regex_search and "user-defined function" in str(error.orig):
            for name, value in filters.items():
                for one in value if isinstance(value, list | tuple) else [value]:
                    compile_pattern(name, str(one))
            raise KeyboardInterrupt from error  # nothing else ends a pattern that is right
        if not any(words in str(error.orig) for words in TOO_MUCH):
            raise
        raise FilterError(
            f"The query has too many filters or values for PyBIDS's database ({error.orig}). Ask "
            "with fewer, and put the answers together."
        ) from error
