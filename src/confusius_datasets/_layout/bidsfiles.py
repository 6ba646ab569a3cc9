"""PyBIDS's files, which know the way to metadata that are not read yet.

They are of PyBIDS's own classes, and keep the session they came from alive: they can be used after
the layout is gone. A session is one thread's at a time, so they wait for one another.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import event
from sqlalchemy.orm import object_session

from confusius_datasets._cache import is_here
from confusius_datasets._damage import image_errors, table_errors, text_errors
from confusius_datasets._layout.catalogue import OWN_CLASS
from confusius_datasets._layout.pybids import FILE_CLASSES, bids_sort
from confusius_datasets._sidecars import merge_sidecars, read_sidecar
from confusius_datasets.errors import MissingFileError

__all__ = ["CATALOGUE_CLASSES"]


class _Entities(Mapping[str, Any]):
    """The entities of a file, and its metadata, which are read when something needs them."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def __getitem__(self, name: str) -> Any:
        if name in self._file.labels:
            return self._file.labels[name]
        layout = _layout_of(self._file)
        if layout is None or name in layout.named_entities():
            raise KeyError(name)  # an entity is in a file's name, or the file lacks it
        return self._file.fields[name]

    def __iter__(self) -> Iterator[str]:
        yield from self._file.labels
        yield from self._file.fields

    def __len__(self) -> int:
        return len(self._file.labels) + len(self._file.fields)

    def __repr__(self) -> str:
        return repr(dict(self))

    def copy(self) -> dict[str, Any]:
        """Return all of it as a dictionary."""
        return {**self._file.labels, **self._file.fields}


class _WithMetadata:
    """Reads the sidecars of a file before its metadata are asked for; usable from any thread."""

    if TYPE_CHECKING:
        path: str  # a column of PyBIDS's classes; SQLAlchemy would take this one for another

    apart = None
    """What a file has instead of a layout, in a process that it was sent to."""

    @property
    def entities(self) -> Mapping[str, Any]:
        """Values of the file's entities and of its metadata; the latter are read if need be."""
        return _Entities(self)

    @functools.cached_property
    def labels(self) -> dict[str, Any]:
        """Values of the entities in the file's path; read once, as they never change."""
        layout = _layout_of(self)
        return layout.labels_of(self.path) if layout else {}

    @functools.cached_property
    def fields(self) -> dict[str, Any]:
        """Values of the file's metadata, but for those that are called as an entity."""
        layout = _layout_of(self)
        if layout is None:
            return {}
        named = layout.named_entities()
        fields = self.get_entities(metadata=True)
        return {name: value for name, value in fields.items() if name not in named}

    @property
    def relpath(self) -> Any:
        """Path below the layout's root."""
        layout = _layout_of(self)
        if layout is None and self.apart is None:
            return super().relpath  # type: ignore[misc]
        return os.path.relpath(self.path, layout.root if layout else self.apart.root)  # type: ignore[attr-defined]

    def get_metadata(self) -> Any:
        """Return all metadata of the file, by the inheritance principle."""
        if _layout_of(self) is None and self.apart is not None:
            return self.apart.read_metadata()
        with _lock_of(self):
            return super().get_metadata()  # type: ignore[misc]

    def get_entities(self, metadata: bool | None = False, values: str = "tags") -> Any:
        """Return the entities of the file, and its metadata if they are asked for."""
        if _layout_of(self) is None and self.apart is not None and values == "tags":
            fields = self.apart.read_metadata() if metadata is not False else {}
            return fields if metadata else {**self.labels, **fields}
        with _lock_of(self):
            layout = _layout_of(self)
            if layout is None:
                return super().get_entities(metadata=metadata, values=values)  # type: ignore[misc]
            if metadata is not False:
                layout.read_metadata([self.path])
            if metadata is None and values == "tags":
                return self.entities
            which = metadata if isinstance(metadata, bool) else None
            found = layout.values_of_file(self.path, metadata=which)
            if values.startswith("obj"):
                entities = layout.get_entities(scope="self", metadata=which)
                found = {name: entities[name] for name in found}
            return bids_sort(found)

    def get_associations(self, kind: str | None = None, include_parents: bool = False) -> Any:
        """Return the files that belong to this one."""
        with _lock_of(self):
            layout = _layout_of(self)
            if layout is None:
                found = super().get_associations(kind=kind, include_parents=include_parents)  # type: ignore[misc]
                return list(found)
            layout.associate([self.path])
            back = kind is None and not include_parents
            linked = layout.associated(self.path, kind, back=back)
            return [
                other
                for file in linked
                for other in (_with_parents(file, layout) if include_parents else [file])
            ]

    def __copy__(self) -> Any:
        return self  # it stands for what the database says of a file

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        # In another process there is no session; PyBIDS's files lose their entities on the way.
        kind = vars(type(self))["__mapper_args__"]["polymorphic_identity"]
        layout = _layout_of(self)
        if layout is None:
            return (_detached, (kind, self.path, self.labels, self.apart))
        top, _ = layout.place_of(self.path)
        apart = _Apart(layout.root, str(top), tuple(layout.sidecars_of(self.path)))
        return (_detached, (kind, self.path, self.labels, apart))


def _with_parents(file: Any, layout: Any) -> list[Any]:
    """List a file and all that it inherits from."""
    parents = file.get_associations("Child") if _layout_of(file) is layout else []
    return [file, *(other for parent in parents for other in _with_parents(parent, layout))]


class _Apart:
    """What a file takes along to a process without its layout: its root, and its sidecars."""

    def __init__(self, root: str, top: str, sidecars: Sequence[str]) -> None:
        self.root = root
        self._top = top
        self._sidecars = sidecars

    def read_metadata(self) -> dict[str, Any]:
        """Merge the sidecars, where they are on disk here, too."""
        return merge_sidecars(read_sidecar(Path(self._top) / path) for path in self._sidecars)


def _detached(kind: str, path: str, labels: dict[str, Any], apart: _Apart | None) -> Any:
    """Make a file without a layout."""
    file = CATALOGUE_CLASSES[kind](path)
    file.labels = labels
    file.apart = apart
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


READING = {
    "get_df": table_errors,
    "get_dict": text_errors,
    "get_image": image_errors,
    "get_json": text_errors,
}
"""PyBIDS's methods that read a file, each of one kind of files, and what words their errors."""


def _reading(method: Any, errors: Callable[[Path], contextlib.AbstractContextManager[None]]) -> Any:
    """Let a method that reads a file say what to do where it is damaged, or not here."""

    @functools.wraps(method)
    def reading(file: Any, *args: Any, **kwargs: Any) -> Any:
        if not is_here(Path(file.path)):
            raise MissingFileError(
                f"{file.path} is not on this machine. Find it with ds.get(...) instead of "
                "ds.layout.get(...), which downloads it, or call ds.download(...)."
            )
        with errors(Path(file.path)):
            return method(file, *args, **kwargs)

    return reading


def _make(base: Any, identity: str) -> Any:
    """Make the subclass of one of PyBIDS's classes, of the same name."""
    members: dict[str, Any] = {
        "__mapper_args__": {"polymorphic_identity": identity},
        "__module__": __name__,
        **{
            name: _reading(getattr(base, name), errors)
            for name, errors in READING.items()
            if hasattr(base, name)
        },
    }
    # SQLAlchemy looks classes up by name, and two of one name would be ambiguous to it.
    made = type(f"Catalogue{base.__name__}", (_WithMetadata, base), members)
    made.__name__ = base.__name__
    event.listen(made, "load", _keep_session)
    return made


CATALOGUE_CLASSES = {
    OWN_CLASS + kind: _make(base, OWN_CLASS + kind) for kind, base in FILE_CLASSES.items()
}
"""Our subclass for each kind of file in the database."""
