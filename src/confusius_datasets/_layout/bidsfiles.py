"""PyBIDS's files, which know the way to metadata that are not read yet.

They are of PyBIDS's own classes, and keep the session they came from alive: they can be used after
the layout is gone. A session is one thread's at a time, so they wait for one another.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator, Mapping
from typing import Any

from bids.layout import models
from sqlalchemy import event
from sqlalchemy.orm import object_session

__all__ = ["CATALOGUE_CLASSES"]


class _Entities(Mapping[str, Any]):
    """The entities of a file, and its metadata, which are read when something needs them."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._layout = _layout_of(file)
        self._labels: Mapping[str, Any] = (
            self._layout.labels_of(file.path) if self._layout else file.labels
        )

    def __getitem__(self, name: str) -> Any:
        if name in self._labels:
            return self._labels[name]
        if self._layout is None or name in self._layout.named_entities():
            raise KeyError(name)  # an entity is in a file's name, or the file lacks it
        return self._fields[name]

    def __iter__(self) -> Iterator[str]:
        yield from self._labels
        yield from self._fields

    def __len__(self) -> int:
        return len(self._labels) + len(self._fields)

    def __repr__(self) -> str:
        return repr(dict(self))

    def copy(self) -> dict[str, Any]:
        """Return all of it as a dictionary."""
        return dict(self)

    @functools.cached_property
    def _fields(self) -> Mapping[str, Any]:
        """The metadata, but for what is called as an entity."""
        if self._layout is None:
            return {}
        named = self._layout.named_entities()
        fields = self._file.get_entities(metadata=True)
        return {name: value for name, value in fields.items() if name not in named}


class _WithMetadata:
    """Reads the sidecars of a file before its metadata are asked for; usable from any thread."""

    @property
    def entities(self) -> Mapping[str, Any]:
        """Values of the file's entities and of its metadata; the latter are read if need be."""
        return _Entities(self)

    @property
    def relpath(self) -> Any:
        """Path below the layout's root."""
        layout = _layout_of(self)
        return os.path.relpath(self, layout.root) if layout else super().relpath  # type: ignore[call-overload,misc]

    def get_metadata(self) -> Any:
        """Return all metadata of the file, by the inheritance principle."""
        with _lock_of(self):
            return super().get_metadata()  # type: ignore[misc]

    def get_entities(self, metadata: bool | None = False, values: str = "tags") -> Any:
        """Return the entities of the file, and its metadata if they are asked for."""
        with _lock_of(self):
            layout = _layout_of(self)
            if layout and metadata is not False:
                layout.read_metadata([self.path])  # type: ignore[attr-defined]
            return super().get_entities(metadata=metadata, values=values)  # type: ignore[misc]

    def get_associations(self, kind: str | None = None, include_parents: bool = False) -> Any:
        """Return the files that belong to this one."""
        with _lock_of(self):
            layout, session = _layout_of(self), object_session(self)
            if layout and session:
                layout.associate([self.path])  # type: ignore[attr-defined]
                session.expire(self, ["_associations"])
            found = super().get_associations(kind=kind, include_parents=include_parents)  # type: ignore[misc]
            return list(found)

    def __copy__(self) -> Any:
        return self  # it stands for what the database says of a file

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        # In another process there is no session; PyBIDS's files lose their entities on the way.
        kind = vars(type(self))["__mapper_args__"]["polymorphic_identity"]
        return (_detached, (kind, self.path, dict(_Entities(self)._labels)))  # type: ignore[attr-defined]


def _detached(kind: str, path: str, labels: dict[str, Any]) -> Any:
    """Make a file without a layout, which knows its path and the entities in it."""
    file = CATALOGUE_CLASSES[kind](path)
    file.labels = labels
    return file


def _layout_of(file: Any) -> Any:
    """Return the layout that a file came from, or `None`."""
    session = object_session(file)
    return session.info.get("layout") if session else None


def _lock_of(file: Any) -> contextlib.AbstractContextManager[Any]:
    """Return the lock of the layout that a file came from."""
    layout = _layout_of(file)
    lock: contextlib.AbstractContextManager[Any] = (
        layout.lock if layout else contextlib.nullcontext()
    )
    return lock


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
