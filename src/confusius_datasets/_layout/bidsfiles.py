"""PyBIDS's files, which know the way to metadata that are not read yet.

They are of PyBIDS's own classes, and keep the session they came from alive: they can be used after
the layout is gone.
"""

from __future__ import annotations

from typing import Any

from bids.layout import models
from sqlalchemy import event
from sqlalchemy.orm import object_session

__all__ = ["CATALOGUE_CLASSES"]


class _WithMetadata:
    """Reads the sidecars of a file before its metadata are asked for."""

    def get_metadata(self) -> Any:
        """Return all metadata of the file, by the inheritance principle."""
        _read_metadata(self)
        return super().get_metadata()  # type: ignore[misc]

    def get_entities(self, metadata: bool | None = False, values: str = "tags") -> Any:
        """Return the entities of the file, and its metadata if they are asked for."""
        if metadata is not False:
            _read_metadata(self)
        return super().get_entities(metadata=metadata, values=values)  # type: ignore[misc]

    def get_associations(self, kind: str | None = None, include_parents: bool = False) -> Any:
        """Return the files that belong to this one."""
        _let_layout(self, "associate", [self.path])  # type: ignore[attr-defined]
        return super().get_associations(kind=kind, include_parents=include_parents)  # type: ignore[misc]


def _read_metadata(file: Any) -> None:
    """Let the layout that a file came from read the sidecars of the file."""
    _let_layout(file, "read_metadata", [file.path])


def _let_layout(file: Any, name: str, paths: list[str]) -> None:
    """Call a function of the layout that a file came from."""
    session = object_session(file)
    if session is not None and name in session.info:
        session.info[name](paths)


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
