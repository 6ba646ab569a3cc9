"""`BIDSDataset`, what a user holds: a BIDS root whose missing files come when they are asked for.

Each method is a few lines over the rooms above. Nothing here knows a host's protocol.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from confusius_datasets._cache import is_here
from confusius_datasets._catalog import DatasetSpec
from confusius_datasets._entities import applicable_sidecars, parse_entities
from confusius_datasets._folder import Folder
from confusius_datasets._index import (
    INDEX_NAME,
    DatasetIndex,
    FileEntry,
    LocalVersion,
    lock_index,
)
from confusius_datasets._paths import HIDDEN_FOLDER
from confusius_datasets._sources import get_client, read_index_file, write_index_file
from confusius_datasets._text import format_nbytes, list_some
from confusius_datasets.errors import (
    AmbiguousMatchError,
    CacheError,
    ConfusiusDatasetsError,
    FilterError,
    NoMatchError,
)

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from bids.layout import BIDSFile

    from confusius_datasets._layout import CatalogueLayout
    from confusius_datasets._progress import ProgressOption
    from confusius_datasets._sources import Source

__all__ = ["BIDSDataset", "make_local", "open_dataset"]

NOT_FILTERS = frozenset({"download", "force", "return_type", "target"})
"""Arguments that some methods take, and that would be filters of files in the others."""


class BIDSDataset(Folder):
    """A dataset in BIDS layout, the whole of it, wherever its files are.

    The catalogue spans every file of the dataset; those that are not on this machine are downloaded
    when `get` or `load` answers with them. The object stands for its root folder too: `dataset /
    "sub-CR020"` is a path, `os.fspath` takes it, and as text it is the folder's path.

    Parameters
    ----------
    root : str or path-like
        Folder of the dataset.
    spec : DatasetSpec, optional
        Where missing files come from. If not provided, the dataset is what the folder holds.
    progress : bool or callable, default: True
        How downloads are shown: see `fetch_nunez_elizalde_2022`.

    Raises
    ------
    CacheError
        If the folder does not exist.

    Examples
    --------
    >>> from confusius_datasets import fetch_sample
    >>> dataset = fetch_sample(subjects="mouse1", tasks="rest", progress=False)
    >>> dataset.get_subjects()
    ['mouse1', 'mouse2']
    >>> dataset.load(subject="mouse1", session="day1", task="rest", acquisition="slice01").dims
    ('time', 'z', 'y', 'x')
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        spec: DatasetSpec | None = None,
        progress: ProgressOption = True,
    ) -> None:
        super().__init__(root)
        self._spec = spec
        self._progress = progress

    @property
    def name(self) -> str:
        """Name of the dataset; for a folder of one's own, the folder's."""
        return self._spec.name if self._spec else self._root.name

    def __reduce__(self) -> tuple[object, ...]:
        # A function that shows progress belongs to its process: it may be a window's method.
        progress = self._progress if isinstance(self._progress, bool) else False
        rebuild = partial(type(self), spec=self._spec, progress=progress)
        return (rebuild, (self._root,))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BIDSDataset):
            return NotImplemented
        return (self._root, self._spec) == (other._root, other._spec)

    def __hash__(self) -> int:
        return hash(self._root)

    def __repr__(self) -> str:
        if self._spec is None:
            return f"<BIDSDataset {self.name} at {self._root}, local files only>"
        try:
            index = self.index
        except (ConfusiusDatasetsError, OSError) as error:  # a repr must not fail
            return f"<BIDSDataset {self.name} at {self._root}: {type(error).__name__} in its index>"
        here = [entry for entry in index.values() if self._is_local(entry.relpath)]
        nbytes = sum(entry.size or 0 for entry in here)
        left = len(index) - len(here)
        rest = f"{left} files ({format_nbytes(index.nbytes - nbytes)}) left to download"
        return (
            f"<BIDSDataset {self.name} at {self._root}: {len(here)} of {len(index)} files "
            f"({format_nbytes(nbytes)} of {format_nbytes(index.nbytes)}) on disk, "
            f"{rest if left else 'nothing left to download'}>"
        )

    # The catalogue.

    @cached_property
    def index(self) -> DatasetIndex:
        """Every file the host has, by its path below the root; empty for a folder of one's own."""
        if self._spec is None:
            return DatasetIndex(())
        try:
            return read_index_file(self._spec.source, self._root)
        except FileNotFoundError as error:
            raise CacheError(
                f"{self._root / INDEX_NAME} is gone, so what {self.name} consists of is not known. "
                f"Call {self._spec.fetcher} again, or open_dataset for what is on disk."
            ) from error

    @cached_property
    def layout(self) -> CatalogueLayout:
        """PyBIDS's layout over the whole catalogue, files on this machine or not.

        It never downloads a data file; it downloads JSON sidecars where a query on metadata needs
        them.
        """
        from confusius_datasets._layout import open_layout

        if self._spec is None:
            return open_layout(self._root, None)
        return open_layout(self._root, lambda: self.index, ensure_local=self._ensure_local)

    def get(
        self,
        return_type: str = "object",
        target: str | None = None,
        scope: str | list[str] = "all",
        regex_search: bool = False,
        invalid_filters: str = "error",
        *,
        download: bool = True,
        progress: ProgressOption | None = None,
        **filters: Any,
    ) -> list[Any]:
        """Find files as PyBIDS does, and download those that are missing.

        Parameters
        ----------
        return_type : {"object", "file", "filename", "id", "dir"}, default: "object"
            What the answer consists of: `BIDSFile` objects, absolute paths, values of the entity
            `target`, or its folders. The last two download nothing.
        target : str, optional
            The entity whose values or folders are wanted.
        scope : str or list of str, default: "all"
            `all`, `raw`, `derivatives`, `self`, or names of pipelines.
        regex_search : bool, default: False
            Whether values are regular expressions to search for, instead of exact values.
        invalid_filters : {"error", "drop", "allow"}, default: "error"
            What to do with a filter that is no entity of the dataset.
        download : bool, default: True
            Whether to download the answers that are missing, with the JSON sidecars they inherit
            from. If `False`, the answer is the same and nothing is downloaded.
        progress : bool or callable, optional
            How the download is shown. If not provided, as the dataset was opened.
        **filters
            Values of entities or of metadata fields, as PyBIDS takes them: `subject`, `session`,
            `task`, `acquisition`, `run`, `datatype`, `suffix`, `extension`, …; a value, a list,
            `None` or a `Query`. A metadata field needs the JSON sidecars of the files that the
            other filters leave, which are downloaded; one that none of these has, all others too.

        Returns
        -------
        list of bids.layout.BIDSFile or str
            What `bids.BIDSLayout.get` gives on the fully downloaded dataset, in its order.

        Raises
        ------
        UnknownEntityError
            If a filter is no entity of the dataset.
        OfflineError
            If files are missing and the network may not be used; nothing is returned half-done.
        DownloadError
            If files could not be downloaded; those that could are kept.

        Examples
        --------
        >>> from confusius_datasets import fetch_sample
        >>> dataset = fetch_sample(download=False, progress=False)
        >>> for file in dataset.get(subject="mouse2", suffix="events", session="day1"):
        ...     print(file.filename)
        sub-mouse2_ses-day1_task-checkerboard_acq-slice01_events.tsv
        sub-mouse2_ses-day1_task-checkerboard_acq-slice02_events.tsv
        """
        found = self.layout.get(
            return_type=return_type,
            target=target,
            scope=scope,
            regex_search=regex_search,
            invalid_filters=invalid_filters,
            **filters,
        )
        if download and return_type not in ("id", "dir"):
            self._ensure_local(self._with_companions(found), progress)
        return list(found)

    def __getattr__(self, name: str) -> Callable[..., list[Any]]:
        # PyBIDS's getters of an entity's values, `get_subjects` and the like, never download.
        if name.startswith("get_"):
            getter: Callable[..., list[Any]] = getattr(self.layout, name)
            return getter
        hint = f"; the path of its folder has: use .root.{name}" if hasattr(Path, name) else ""
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{hint}")

    def __dir__(self) -> Iterator[str]:
        yield from super().__dir__()
        with contextlib.suppress(ConfusiusDatasetsError, OSError):  # as a repr, it must not fail
            yield from (f"get_{entity}s" for entity in self.layout.get_entities(metadata=False))

    def to_df(self, *, metadata: bool = False, **query: Any) -> pd.DataFrame:
        """Tabulate the files of a query; nothing is downloaded but JSON sidecars where needed.

        Parameters
        ----------
        metadata : bool, default: False
            Whether metadata fields get columns too.
        **query
            As in `get`.

        Returns
        -------
        pandas.DataFrame
            A row for each file: `path`, a column for each entity, `size` in bytes, `on_disk`.

        Raises
        ------
        UnknownEntityError
            If a filter is no entity of the dataset.

        Examples
        --------
        >>> from confusius_datasets import fetch_sample
        >>> dataset = fetch_sample(download=False, progress=False)
        >>> int(dataset.to_df(suffix="pwd", extension=".nii.gz", task="rest")["size"].sum())
        11800360
        """
        table = self.layout.to_df(metadata=metadata, **query)
        relpaths = [self._relpath(path) for path in table["path"]]
        table["size"] = [self._size(relpath) for relpath in relpaths]
        table["size"] = table["size"].astype("Int64")
        table["on_disk"] = [self._is_local(relpath) for relpath in relpaths]
        return table

    def explain(self, **query: Any) -> pd.DataFrame:
        """Show how many files each filter of a query leaves, alone and together with those before.

        Parameters
        ----------
        **query
            As in `get`.

        Returns
        -------
        pandas.DataFrame
            A row for each filter: `filter`, `value`, and the number of files it leaves `alone` and
            `together` with those before it.

        Raises
        ------
        UnknownEntityError
            If a filter is no entity of the dataset.

        Examples
        --------
        >>> from confusius_datasets import fetch_sample
        >>> dataset = fetch_sample(download=False, progress=False)
        >>> dataset.explain(session="day2", task="kalatsky").together.tolist()
        [26, 0]
        """
        from confusius_datasets._layout import explain

        return explain(self.layout, query)

    # Arrays.

    def load(
        self,
        *,
        chunks: Any = None,
        variable: str | None = None,
        progress: ProgressOption | None = None,
        **query: Any,
    ) -> xr.DataArray:
        """Load the one recording or image that matches, downloading it if it is missing.

        Parameters
        ----------
        chunks : optional
            Chunks of a dask array in the order of the dims. If not provided, the array is read when
            its values are first used.
        variable : str, optional
            Variable of a Zarr store. If not provided, the first.
        progress : bool or callable, optional
            How the download is shown. If not provided, as the dataset was opened.
        **query
            As in `get`; only files that can be loaded count.

        Returns
        -------
        (time, z, y, x) or (z, y, x) xarray.DataArray
            The values, with coordinates in the units of the file (mm and s in most), affines and
            sidecar fields in `attrs`, and the entities `subject`, `session`, `task`, `acquisition`
            and `run` it has as scalar coordinates.

        Raises
        ------
        NoMatchError
            If no file matches; the message says which filter emptied the result.
        AmbiguousMatchError
            If several match; the message names the entities that tell them apart.
        FilterError
            If a filter is no entity of the dataset, or is an argument of `get` alone.
        OfflineError, DownloadError
            As in `get`.
        FileFormatError
            If the file is damaged.

        Examples
        --------
        >>> from confusius_datasets import fetch_sample
        >>> dataset = fetch_sample(download=False, progress=False)
        >>> pwd = dataset.load(subject="mouse1", session="day1", suffix="pwd", task="rest",
        ...                    acquisition="slice02")
        >>> pwd.sizes["time"], str(pwd.acquisition.values)
        (120, 'slice02')
        """
        matches = self._loadable("load", query)
        if not matches:
            raise NoMatchError(self._word_no_match(query))
        if len(matches) > 1:
            raise AmbiguousMatchError(_word_ambiguity(matches, query))
        self._ensure_local(self._with_companions(matches), progress)
        return self._load_file(matches[0], chunks=chunks, variable=variable)

    def load_all(
        self,
        *,
        chunks: Any = None,
        variable: str | None = None,
        progress: ProgressOption | None = None,
        **query: Any,
    ) -> list[xr.DataArray]:
        """Load every recording or image that matches, downloading what is missing first.

        Parameters
        ----------
        chunks : optional
            As in `load`.
        variable : str, optional
            As in `load`.
        progress : bool or callable, optional
            As in `load`.
        **query
            As in `get`; only files that can be loaded count.

        Returns
        -------
        list of xarray.DataArray
            The arrays in the order of `get`, none where nothing matches; they are read when used,
            so that a long list costs no memory, and their entities are scalar coordinates, so that
            `xarray.concat` labels them by itself.

        Raises
        ------
        FilterError, OfflineError, DownloadError, FileFormatError
            As in `load`.

        Examples
        --------
        >>> import xarray as xr
        >>> from confusius_datasets import fetch_sample
        >>> dataset = fetch_sample(download=False, progress=False)
        >>> images = dataset.load_all(datatype="angio", session="day1")
        >>> xr.concat(images, dim="subject", join="override").subject.values.tolist()
        ['mouse1', 'mouse2']
        """
        matches = self._loadable("load_all", query)
        self._ensure_local(self._with_companions(matches), progress)
        return [self._load_file(file, chunks=chunks, variable=variable) for file in matches]

    # Bytes.

    def missing(self, **query: Any) -> pd.DataFrame:
        """List what a query would download.

        Parameters
        ----------
        **query
            As in `get`. If not provided, the whole dataset.

        Returns
        -------
        pandas.DataFrame
            A row for each file that is not on disk: `path` below the root, `size` in bytes.

        Raises
        ------
        FilterError
            If a filter is no entity of the dataset, or is an argument of `get` alone.

        Examples
        --------
        >>> from confusius_datasets import fetch_sample
        >>> dataset = fetch_sample(download=False, progress=False)
        >>> dataset.missing(task="checkerboard", suffix="pwd", extension=".nii.gz").shape[1]
        2
        """
        import pandas as pd

        from confusius_datasets._download import plan_download

        relpaths = self._with_companions(self._find("missing", query)) if query else self.index
        wanted = (self.index[relpath] for relpath in relpaths)
        entries = plan_download(wanted, self._root).entries
        return pd.DataFrame(
            {
                "path": pd.Series([entry.relpath for entry in entries], dtype="str"),
                "size": pd.Series([entry.size for entry in entries], dtype="Int64"),
            }
        )

    def download(
        self, *, force: bool = False, progress: ProgressOption | None = None, **query: Any
    ) -> list[Path]:
        """Download the files of a query, with the JSON sidecars they inherit from.

        Parameters
        ----------
        force : bool, default: False
            Whether to download again what is already here, which is how a file that changed
            upstream is renewed. The old file stays until the new one is whole.
        progress : bool or callable, optional
            How the download is shown. If not provided, as the dataset was opened.
        **query
            As in `get`. If not provided, the whole dataset.

        Returns
        -------
        list of pathlib.Path
            The files of the query, which are now on disk.

        Raises
        ------
        FilterError
            If a filter is no entity of the dataset, or is an argument of `get` alone.
        OfflineError
            If files are missing and the network may not be used.
        DownloadError
            If files could not be downloaded; those that could are kept.

        Examples
        --------
        >>> from confusius_datasets import fetch_sample
        >>> dataset = fetch_sample(download=False, progress=False)
        >>> len(dataset.download(suffix="events", subject="mouse1", extension=".tsv"))
        4
        """
        if not query:
            self._ensure_local(self.index, progress, force=force)
            return [self._root / relpath for relpath in self.index]
        files = self._find("download", query)
        self._ensure_local(self._with_companions(files), progress, force=force)
        return [Path(os.fspath(file)) for file in files]

    def verify(
        self, *, repair: bool = False, progress: ProgressOption | None = None
    ) -> pd.DataFrame:
        """Hash every file on disk again and compare it with the index.

        Parameters
        ----------
        repair : bool, default: False
            Whether to download again what is corrupt. What is missing stays so.
        progress : bool or callable, optional
            How the download is shown. If not provided, as the dataset was opened.

        Returns
        -------
        pandas.DataFrame
            A row for each file: `path` below the root and `status`, one of `ok`, `missing`,
            `corrupt`, `outdated` (a whole older version), `not in index`.

        Raises
        ------
        DownloadError
            If what is corrupt could not be repaired.

        Examples
        --------
        >>> from confusius_datasets import fetch_sample
        >>> dataset = fetch_sample(subjects="mouse1", progress=False)
        >>> "corrupt" in set(dataset.verify().status)
        False
        """
        import pandas as pd

        from confusius_datasets._download import FileStatus, verify_files

        statuses = verify_files(self.index.values(), self._root)
        corrupt = [relpath for relpath, status in statuses.items() if status is FileStatus.CORRUPT]
        if repair and corrupt:
            self._ensure_local(corrupt, progress, force=True)
            statuses |= verify_files((self.index[relpath] for relpath in corrupt), self._root)
        unknown = sorted(set(self._files_on_disk()) - set(self.index))
        statuses |= dict.fromkeys(unknown, FileStatus.NOT_IN_INDEX)
        return pd.DataFrame(
            {
                "path": pd.Series(list(statuses), dtype="str"),
                "status": pd.Series([str(status) for status in statuses.values()], dtype="str"),
            }
        )

    # The steps of the above.

    def _relpath(self, file: BIDSFile | str) -> str:
        """Return a file's path below the root, with `/`; whole, if it lies elsewhere.

        A layout may have been given a derivative that is not in the root.
        """
        path, base = os.fspath(file), os.path.join(self._root, "")  # noqa: PTH118 - thousands
        return path.removeprefix(base).replace(os.sep, "/")

    def _is_local(self, relpath: str) -> bool:
        """Say whether a file is on disk; of a Zarr store, all that the index has of it."""
        members = self._stores.get(relpath, [relpath])
        return all(is_here(self._root / member) for member in members)

    def _size(self, relpath: str) -> int | None:
        """Return the bytes of a file as the index has it, or else the disk."""
        if relpath in self.index:
            return self.index[relpath].size
        if members := self._stores.get(relpath):
            return sum(self.index[member].size or 0 for member in members)
        path = self._root / relpath
        return path.stat().st_size if path.is_file() else None

    @cached_property
    def _stores(self) -> dict[str, list[str]]:
        """The entries of each Zarr store, which are many files and one for PyBIDS."""
        stores: dict[str, list[str]] = {}
        for relpath in self.index:
            head, store, _ = relpath.partition(".zarr/")
            if store:
                stores.setdefault(f"{head}.zarr", []).append(relpath)
        return stores

    @cached_property
    def _jsons(self) -> dict[str, list[str]]:
        """The JSON files of the index by the folder they lie in."""
        jsons: dict[str, list[str]] = {}
        for relpath in self.index:
            if relpath.endswith(".json"):
                jsons.setdefault(relpath.rpartition("/")[0], []).append(relpath)
        return jsons

    def _with_companions(self, files: Iterable[BIDSFile | str]) -> list[str]:
        """List the files of an answer with what belongs to them, each once, in order."""
        if self._spec is None:
            return []
        relpaths: dict[str, None] = {}
        for file in files:
            relpath = self._relpath(file)
            if Path(relpath).is_absolute():
                continue  # no file of this dataset
            sidecars = applicable_sidecars(relpath, lambda folder: self._jsons.get(folder, ()))
            members = self._stores.get(relpath, [relpath])
            relpaths |= dict.fromkeys((*sidecars, *members))
        return [relpath for relpath in relpaths if relpath in self.index]

    def _ensure_local(
        self,
        relpaths: Iterable[str],
        progress: ProgressOption | None = None,
        *,
        force: bool = False,
    ) -> None:
        """Download what is missing of some files; those the host does not have are passed over."""
        if self._spec is None:
            return
        entries = [self.index[relpath] for relpath in relpaths if relpath in self.index]
        shown = self._progress if progress is None else progress
        try:
            make_local(entries, self._root, self._spec.source, progress=shown, force=force)
        finally:
            if any(entry.local for entry in entries):
                self.__dict__.pop("index", None)  # the one on disk says which are new by now
            if force and any(entry.relpath.endswith(".json") for entry in entries):
                self._renew_layout()

    def _renew_layout(self) -> None:
        """Have the layout opened anew, since it may have read sidecars that have changed."""
        from confusius_datasets._layout import CatalogueLayout

        old = self.__dict__.pop("layout", None)
        if old is not None:
            added = {
                name: layout
                for name, layout in old.derivatives.items()
                if not isinstance(layout, CatalogueLayout)
            }
            if added:
                self.layout.derivatives.update(added)

    def _files_on_disk(self) -> Iterator[str]:
        """Walk the files below the root, the index and our own folder left out."""
        for folder, folders, files in os.walk(self._root):
            if Path(folder) == self._root:
                folders[:] = [name for name in folders if name != HIDDEN_FOLDER]
            for name in files:
                relpath = self._relpath(str(Path(folder) / name))
                if relpath != INDEX_NAME:
                    yield relpath

    def _find(self, method: str, query: dict[str, Any]) -> list[BIDSFile]:
        """Find the files of a query that is to give files and nothing else."""
        if unfit := NOT_FILTERS & set(query):
            raise FilterError(
                f"{method} takes no {list_some(sorted(unfit))}: it is always about whole files. "
                "Use get for other answers."
            )
        found: list[BIDSFile] = self.layout.get(**query)
        return found

    def _loadable(self, method: str, query: dict[str, Any]) -> list[BIDSFile]:
        """Find the files of a query that can be loaded."""
        from confusius_datasets._io import LOADABLE_EXTENSIONS

        return [
            file
            for file in self._find(method, query)
            if file.filename.endswith(tuple(LOADABLE_EXTENSIONS))
        ]

    def _load_file(self, file: BIDSFile, **options: Any) -> xr.DataArray:
        """Load a file that is on disk, with its entities as coordinates."""
        from confusius_datasets._io import load_with_entities

        return load_with_entities(file.path, file.get_entities(), **options)

    def _word_no_match(self, query: dict[str, Any]) -> str:
        """Say which filter of a query leaves no file."""
        from confusius_datasets._layout import explain_empty

        return explain_empty(self.layout, query)


def make_local(
    entries: Iterable[FileEntry],
    root: Path,
    source: Source,
    *,
    progress: ProgressOption,
    force: bool = False,
) -> None:
    """Download what is missing of some files, and note in the index what was renewed by that."""
    from confusius_datasets._download import Event, FileFinished, plan_download, run_plan
    from confusius_datasets._progress import report

    plan = plan_download(entries, root, force=force)
    if not plan.entries:
        return
    finished: set[str] = set()
    with report(progress) as show:

        def on_event(event: Event) -> None:
            if isinstance(event, FileFinished):
                finished.add(event.relpath)
            show(event)

        try:
            run_plan(plan, source, get_client(), on_event=on_event)
        finally:
            renewed = [entry for entry in plan.entries if entry.relpath in finished]
            _note_renewed(renewed, root, source)


def _note_renewed(entries: Iterable[FileEntry], root: Path, source: Source) -> None:
    """Note in the index on disk which versions of files, once older ones, are here by now."""
    renewed = {
        entry.relpath: LocalVersion(entry.size, entry.checksums) for entry in entries if entry.local
    }
    if not renewed:
        return
    with lock_index(root):
        # Another process may have written a newer index than the one the download went by.
        index = read_index_file(source, root)
        index = index.updated(
            replace(
                index[relpath], local=here if here.checksums != index[relpath].checksums else None
            )
            for relpath, here in renewed.items()
            if relpath in index
        )
        write_index_file(source, root, index)


def _word_ambiguity(matches: Sequence[BIDSFile], query: dict[str, Any]) -> str:
    """Say what tells several matches apart."""
    values: dict[str, dict[str, None]] = {}
    each = [parse_entities(file.filename) for file in matches]
    for entities in each:
        for name in entities:
            values.setdefault(name, {})
    for name, seen in values.items():
        seen |= dict.fromkeys(entities.get(name, "none") for entities in each)
    differ = [
        f"{name} ({list_some(seen, limit=4)})" for name, seen in values.items() if len(seen) > 1
    ]
    asked = ", ".join(f"{name}={value!r}" for name, value in query.items()) or "an empty query"
    names = list_some([file.filename for file in matches], limit=4)
    return (
        f"{len(matches)} files match {asked}: {names}. They differ in {' and '.join(differ)}: name "
        "these, or call load_all."
        if differ
        else f"{len(matches)} files match {asked}: {names}. Name the scope, or call load_all."
    )


def open_dataset(root: str | os.PathLike[str]) -> BIDSDataset:
    """Open any local BIDS folder as a dataset; nothing is ever downloaded into it.

    Parameters
    ----------
    root : str or path-like
        Folder of the dataset; a leading `~` is expanded.

    Returns
    -------
    BIDSDataset
        The dataset, with `get`, `load` and the rest over the files that are there.

    Raises
    ------
    CacheError
        If there is no such folder.

    Examples
    --------
    >>> from confusius_datasets import fetch_sample, open_dataset
    >>> dataset = open_dataset(fetch_sample(tasks="rest", progress=False))
    >>> dataset.get_subjects()
    ['mouse1', 'mouse2']
    """
    return BIDSDataset(root)
