"""What the database knows so far of one dataset's metadata and of which files belong together.

Both are read when they are asked for, of the files they are asked of, and stay in the database.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from confusius_datasets._layout.associations import Association, associate, intended_for
from confusius_datasets._layout.catalogue import Condition
from confusius_datasets._layout.conditions import build_condition
from confusius_datasets._layout.database import PrivateDatabase
from confusius_datasets._layout.pybids import natural_sort
from confusius_datasets._layout.rows import BATCH, add_associations, add_metadata, metadata_row
from confusius_datasets._layout.sidecars import Sidecars
from confusius_datasets.errors import FileFormatError

__all__ = ["Metadata"]


MOST_SUBJECTS = 20
"""Subjects whose files are associated one after another; of more, all are at once."""


class Metadata:
    """The metadata of a layout's own dataset, as far as its database has them."""

    def __init__(self, top: Path, prefix: str, database: PrivateDatabase, files: Sidecars) -> None:
        self._top = top
        self._prefix = prefix
        self._database = database
        self._sidecars = files
        self._known: set[str] = set()
        self._has_all = False
        self._associated: set[str | None] = set()
        self._with_targets: set[str] = set()

    def read(self, paths: Iterable[str]) -> None:
        """Read the metadata of files, after making their sidecars local; all must be readable."""
        new = self._unknown(paths)
        self._sidecars.make_local(map(self._sidecars.of, new))
        for error in self._write(new).values():
            raise error

    def read_local(self, paths: Iterable[str]) -> dict[str, FileFormatError]:
        """Read the metadata of files whose sidecars are here; return what could not be read."""
        return self._write([path for path in self._unknown(paths) if not self.missing(path)])

    def read_all(self) -> dict[str, FileFormatError]:
        """Read the metadata of every file of the dataset; return what could not be read."""
        if self._has_all:
            return {}
        new = self._unknown(self._all_paths())
        self._sidecars.make_local(map(self._sidecars.of, new))
        failed = self._write(new)
        if not failed:
            self._has_all = True
            self._known.clear()
        return failed

    def read_all_local(self) -> dict[str, FileFormatError]:
        """Read the metadata of every file whose sidecars are here; return what was damaged."""
        return {} if self._has_all else self.read_local(self._all_paths())

    def missing(self, path: str) -> list[str]:
        """List the sidecars of a file that are not on disk."""
        return [] if self._has_all or path in self._known else self._sidecars.missing(path)

    def missing_of_all(self) -> set[str]:
        """List the sidecars of the dataset that apply to a file and are not on disk."""
        if self._has_all or not self._sidecars.may_be_remote:
            return set()
        paths = self._all_paths()
        return {relpath for path in paths for relpath in self.missing(path)}

    def associate(self, paths: Iterable[str]) -> None:
        """Write into the database which files belong together.

        Most of it follows from the paths. What sidecars say with `IntendedFor` counts of those
        that are on disk, and of those of the files asked for, which are made local.
        """
        asked = list(paths)
        self.read(asked)
        for subject in self._subjects(asked):
            asked += self._associate_near(subject)
        self._link_targets(asked)

    def associate_all(self) -> None:
        """Write into the database what belongs together, by every sidecar that can be read."""
        self._link_targets(self._associate_near(None))

    def _associate_near(self, subject: str | None) -> list[str]:
        """Associate the files of a subject, or all, by their paths; return them."""
        near = natural_sort(self._all_paths() if subject is None else self._near(subject))
        self.read_local(near)  # another file's damaged sidecar says nothing of this one
        self._link(associate(map(self._sidecars.relpath, near)))
        self._associated.add(subject)
        return list(near)

    def _link_targets(self, paths: Sequence[str]) -> None:
        """Associate files with those that they name."""
        said = self._targets(paths)
        for path in said.keys() & set(paths) - self._with_targets:
            relpath = self._sidecars.relpath(path)
            self._link(intended_for(relpath, said[path], self._prefix))
        self._with_targets |= said.keys()

    def _subjects(self, paths: Iterable[str]) -> set[str | None]:
        """Return the subjects whose files are to be associated; `None` for the whole dataset.

        What belongs to a file of a subject are files of the same one, and such as have none. But a
        file may be named by any other with `IntendedFor`.
        """
        if None in self._associated:
            return set()
        catalogue = self._database.catalogue
        labels = catalogue.labels(catalogue.locate(paths).values())
        wanted = {one.get("subject") for one in labels} - self._associated
        naming = self._sidecars.naming_subjects
        are_apart = all(naming <= {subject} for subject in wanted)
        is_few = len(wanted) + len(self._associated) <= MOST_SUBJECTS
        return wanted if None not in wanted and are_apart and is_few else {None}

    def _near(self, subject: str) -> list[str]:
        """List the files of a subject, and those that have none."""
        catalogue = self._database.catalogue
        found = build_condition(
            catalogue,
            self._database.session,
            {"subject": [subject, None]},
            named=frozenset({"subject"}),
            regex_search=False,
        )
        return catalogue.paths(catalogue.find(found))

    def _targets(self, paths: Iterable[str]) -> dict[str, Any]:
        """Return what files say with `IntendedFor`, as far as their metadata have been read."""
        places = self._database.catalogue.locate(paths)
        fields = self._database.catalogue.fields(places.values())
        found = {path: fields.get(file, {}) for path, (file, _, _) in places.items()}
        return {path: one["IntendedFor"] for path, one in found.items() if "IntendedFor" in one}

    def _all_paths(self) -> list[str]:
        catalogue = self._database.catalogue
        return catalogue.paths(catalogue.find(Condition()))

    def _unknown(self, paths: Iterable[str]) -> list[str]:
        """Return those files of the dataset whose metadata have not been read."""
        if self._has_all:
            return []
        asked = [path for path in dict.fromkeys(map(str, paths)) if path not in self._known]
        return list(self._database.catalogue.locate(asked))

    def _write(self, paths: Sequence[str]) -> dict[str, FileFormatError]:
        """Write the metadata of files into the database; return why the others could not be."""
        failed: dict[str, FileFormatError] = {}
        for begin in range(0, len(paths), BATCH):
            read: dict[str, dict[str, Any]] = {}
            for path in paths[begin : begin + BATCH]:
                try:
                    read[path] = self._sidecars.fields_of(path)
                except FileFormatError as error:
                    failed[path] = error
            places = self._database.catalogue.locate(read)
            rows = []
            for path, labels in zip(
                places, self._database.catalogue.labels(places.values()), strict=True
            ):
                # What the name says counts, as in PyBIDS.
                fields = {name: one for name, one in read[path].items() if name not in labels}
                rows += [metadata_row(places[path][0], *item) for item in fields.items()]
            with self._database.writable() as connection:
                add_metadata(connection, rows)
            self._known.update(read)
        return failed

    def _link(self, found: Iterable[Association]) -> None:
        """Write into the database which files belong together."""
        with self._database.writable() as connection:
            add_associations(connection, found, self._top)
