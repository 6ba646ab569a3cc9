"""PyBIDS's files, which know the way to metadata that are not read yet.

They are of PyBIDS's own classes, and keep the session they came from alive: they can be used after
the layout is gone. A session is one thread's at a time, so they wait for one another.
"""

from __future__ import annotations

import contextlib
from typing import Any

from bids.layout import models
from sqlalchemy import event
from sqlalchemy.orm import object_session

__all__ = ["CATALOGUE_CLASSES"]


class _WithMetadata:
    """Reads the sidecars of a file before its metadata are asked for; usable from any thread."""

    @property
    def entities(self) -> Any:
        """Values of the file's entities, and of its metadata as far as they are read."""
        with _lock_of(self):
            found = vars(models.BIDSFile)["entities"].__get__(self, type(self))
            len(found)  # which reads them
            return found

    @property
    def relpath(self) -> Any:
        """Path below the layout's root."""
        with _lock_of(self):
            return super().relpath  # type: ignore[misc]

    def get_metadata(self) -> Any:
        """Return all metadata of the file, by the inheritance principle."""
        with _lock_of(self):
            _let_layout(self, "read_metadata")
            return super().get_metadata()  # type: ignore[misc]

    def get_entities(self, metadata: bool | None = False, values: str = "tags") -> Any:
        """Return the entities of the file, and its metadata if they are asked for."""
        with _lock_of(self):
            if metadata is not False:
                _let_layout(self, "read_metadata")
            return super().get_entities(metadata=metadata, values=values)  # type: ignore[misc]

    def get_associations(self, kind: str | None = None, include_parents: bool = False) -> Any:
        """Return the files that belong to this one."""
        with _lock_of(self):
            _let_layout(self, "associate")
            found = super().get_associations(kind=kind, include_parents=include_parents)  # type: ignore[misc]
            return list(found)


def _lock_of(file: Any) -> contextlib.AbstractContextManager[Any]:
    """Return the lock of the layout that a file came from."""
    session = object_session(file)
    lock: contextlib.AbstractContextManager[Any] | None = session and session.info.get("lock")
    return lock or contextlib.nullcontext()


def _let_layout(file: Any, name: str) -> None:
    """Call a function of the layout that a file came from, for this file."""
    session = object_session(file)
    if session is not None and name in session.info:
        session.info[name]([file.path])


def _keep_session(file: Any, context: Any) -> None:
    """Keep the session of a file alive as long as the file."""
    file.kept_session = context.session


def _make(base: Any, identity: str) -> Any:
    """Make the subclass of one of PyBIDS's classes, of the same name."""
    members = {"__mapper_args__": {"polymorphic_identity": identity}, "__module__": __name__}
    # SQLAlchemy looks classes up by name, and two of one name would be ambiguous to it.
    made = type(f"Catalogue{base.__name__}", (_WithMetadata, base), members)
    made.__name__ = base.__name__
    event.listen(made, "load", _keep_session)
    return made


CATALOGUE_CLASSES = {
    f"catalogue_{kind}": _make(base, f"catalogue_{kind}")
    for kind, base in {
        "file": models.BIDSFile,
        "data_file": models.BIDSDataFile,
        "image_file": models.BIDSImageFile,
        "json_file": models.BIDSJSONFile,
    }.items()
}
"""Our subclass for each kind of file in the database."""
