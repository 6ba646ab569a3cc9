"""`BIDSDataset`, what a user holds: a BIDS root whose missing files come when they are asked for.

Each method is a few lines over the local copy and the layout. Nothing here knows a host.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from confusius_datasets._cache import PerProcess
from confusius_datasets._dataset.folder import Folder
from confusius_datasets._index import DatasetIndex
from confusius_datasets._local import LocalCopy, Snapshot
from confusius_datasets._spec import DatasetSpec
from confusius_datasets._text import format_nbytes, list_some
from confusius_datasets.errors import (
    AmbiguousMatchError,
    CacheError,
    ConfusiusDatasetsError,
    FilterError,
    NoMatchError,
    UnknownLabelError,
)

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from bids.layout import BIDSFile

    from confusius_datasets._layout import CatalogueLayout
    from confusius_datasets._progress import ProgressOption

__all__ = ["BIDSDataset", "open_local_copy"]

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
    spec : confusius_datasets.sources.DatasetSpec, optional
        The dataset, and where its missing files come from; the folder need not exist yet. If not
        provided, the dataset is what the folder holds.
    progress : bool or callable, default: True
        How downloads are shown: see `fetch_nunez_elizalde_2022`.

    Raises
    ------
    CacheError
        If the folder does not exist, and there is no `spec` to fill it from.

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
        if spec is None and not self._root.is_dir():
            raise CacheError(f"There is no folder {self._root}, so it holds no dataset.")
        self._spec = spec
        self._progress = progress
        self._local = (
            LocalCopy(self._root, spec.source, name=spec.name) if spec else LocalCopy(self._root)
        )
        self._opened: tuple[Snapshot, CatalogueLayout] | None = None
        self._opening = PerProcess(threading.RLock)

    @property
    def name(self) -> str:
        """Name of the dataset; for a folder of one's own, the folder's."""
        return self._local.name

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
        if not self._local.has_host:
            return f"<BIDSDataset {self.name} at {self._root}, local files only>"
        try:
            index, here = self.index, self._local.on_disk()
        except (ConfusiusDatasetsError, OSError) as error:  # a repr must not fail
            return f"<BIDSDataset {self.name} at {self._root}: {type(error).__name__} in its index>"
        nbytes = sum(entry.size or 0 for entry in here)
        left = len(index) - len(here)
        rest = f"{left} files ({format_nbytes(index.nbytes - nbytes)}) left to download"
        return (
            f"<BIDSDataset {self.name} at {self._root}: {len(here)} of {len(index)} files "
            f"({format_nbytes(nbytes)} of {format_nbytes(index.nbytes)}) on disk, "
            f"{rest if left else 'nothing left to download'}>"
        )

    # The catalogue.

    @property
    def index(self) -> DatasetIndex:
        """Every file the host has, by its path below the root; empty for a folder of one's own."""
        return self._local.index

    @property
    def layout(self) -> CatalogueLayout:
        """PyBIDS's layout over the whole catalogue, files on this machine or not.

        It never downloads a data file; it downloads JSON sidecars where a query on metadata needs
        them. When the index changes, this is another layout.
        """
        with self._opening.get():
            snapshot = self._local.snapshot
            if self._opened is None or self._opened[0] is not snapshot:
                layout = self._open_layout(snapshot)
                if self._opened is not None:
                    layout.derivatives.update(_added_derivatives(self._opened[1]))
                self._opened = (snapshot, layout)
            return self._opened[1]

    def _open_layout(self, snapshot: Snapshot) -> CatalogueLayout:
        from confusius_datasets._layout import open_layout

        return open_layout(
            self._root,
            (lambda: snapshot.index) if self._local.has_host else None,
            ensure_local=self._ensure_local,
        )

    def refresh(self) -> list[str]:
        """Get the host's index again; what is on disk stays as it is.

        Returns
        -------
        list of str
            Files on disk in an older version than the host's, by their paths below the root;
            `download(..., force=True)` renews them.

        Raises
        ------
        SourceError
            If the host cannot be reached or does not have the dataset.
        OfflineError
            If the network may not be used.
        DatasetIndexError
            If the host's index cannot be trusted.
        CacheError
            If the folder cannot be written to.

        Examples
        --------
        >>> import tempfile
        >>> from pathlib import Path
        >>> from confusius_datasets import BIDSDataset
        >>> from confusius_datasets.sources import DatasetSpec, DirectorySource
        >>> share, here = Path(tempfile.mkdtemp()), Path(tempfile.mkdtemp())
        >>> _ = (share / "participants.tsv").write_text("participant_id")
        >>> spec = DatasetSpec(name="our-lab", folder="our-lab", source=DirectorySource(share))
        >>> dataset = BIDSDataset(here, spec=spec, progress=False)
        >>> dataset.refresh()
        []
        >>> list(dataset.index), dataset.missing().path.tolist()
        (['participants.tsv'], ['participants.tsv'])
        """
        return self._local.refresh()

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

    def __getattr__(self, name: str) -> Any:
        # PyBIDS's getters of an entity's values, `get_subjects` and the like, never download.
        if name.startswith("get_"):
            return getattr(self.layout, name)
        if hasattr(type(self), name):
            # A property failed with an AttributeError, and Python came here instead of saying so.
            return object.__getattribute__(self, name)
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
        table["size"] = [self._local.size(relpath) for relpath in relpaths]
        table["size"] = table["size"].astype("Int64")
        table["on_disk"] = [self._local.is_local(relpath) for relpath in relpaths]
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
        UnknownLabelError
            If a value exists nowhere in the dataset; it is a `NoMatchError`, too.
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
            raise AmbiguousMatchError(self._word_several(matches, query))
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

        relpaths = self._with_companions(self._find("missing", query)) if query else None
        entries = self._local.missing(relpaths)
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
            index = self.index
            self._ensure_local(index, progress, force=force)
            return [self._root / relpath for relpath in index]
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

        statuses = self._local.verify()
        corrupt = [relpath for relpath, status in statuses.items() if status == "corrupt"]
        if repair and corrupt:
            self._ensure_local(corrupt, progress, force=True)
            statuses |= self._local.verify(corrupt)
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

    def _with_companions(self, files: Iterable[BIDSFile | str]) -> list[str]:
        """List the files of an answer with what belongs to them, each once, in order."""
        relpaths = map(self._relpath, files)
        ours = [relpath for relpath in relpaths if not Path(relpath).is_absolute()]
        return self._local.snapshot.with_sidecars(ours)

    def _ensure_local(
        self,
        relpaths: Iterable[str],
        progress: ProgressOption | None = None,
        *,
        force: bool = False,
    ) -> None:
        """Download what is missing of some files; those the host does not have are passed over."""
        shown = self._progress if progress is None else progress
        self._local.ensure(relpaths, progress=shown, force=force)

    def _find(self, method: str, query: dict[str, Any]) -> list[BIDSFile]:
        """Find the files of a query that is to give files and nothing else."""
        if unfit := NOT_FILTERS & set(query):
            raise FilterError(
                f"{method} takes no {list_some(sorted(unfit))}: it is always about whole files. "
                "Use get for other answers."
            )
        from confusius_datasets._layout import find_unknown_values

        # An answer of no files is PyBIDS's; here, where files are meant, a typo must not pass.
        if unknown := find_unknown_values(self.layout, query):
            raise UnknownLabelError(f"{method}: {' '.join(unknown)}")
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

    def _word_several(self, matches: Sequence[BIDSFile], query: dict[str, Any]) -> str:
        """Say what tells several matches apart."""
        from confusius_datasets._layout import explain_several

        return explain_several(matches, query)


def open_local_copy(
    local: LocalCopy, spec: DatasetSpec, *, progress: ProgressOption
) -> BIDSDataset:
    """Make the dataset of a local copy whose index has been read already."""
    dataset = BIDSDataset(local.root, spec=spec, progress=progress)
    dataset._local = local
    return dataset


def _added_derivatives(layout: CatalogueLayout) -> dict[str, Any]:
    """Return the derivatives that a user added to a layout; they are plain PyBIDS's."""
    ours = type(layout)
    return {name: added for name, added in layout.derivatives.items() if type(added) is not ours}
