"""`BIDSDataset`, what a user holds: a BIDS root whose missing files come when they are asked for.

Each method is a few lines over the local copy and the layout. Nothing here knows a host.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from confusius_datasets._cache import PerProcess
from confusius_datasets._dataset.about import (
    format_bibtex,
    page_of,
    read_description,
    word_citation,
)
from confusius_datasets._dataset.card import Card
from confusius_datasets._dataset.events import PARTICIPANTS_NAME, join_events, read_participants
from confusius_datasets._dataset.folder import Folder
from confusius_datasets._dataset.keywords import completes_query
from confusius_datasets._dataset.notice import tell_if_large
from confusius_datasets._entities import parse_entities
from confusius_datasets._index import DatasetIndex, FileEntry
from confusius_datasets._local import LocalCopy, Snapshot
from confusius_datasets._paths import INDEX_NAMES
from confusius_datasets._selection import OTHER_DATATYPE
from confusius_datasets._spec import DatasetSpec
from confusius_datasets._text import format_nbytes, list_some, warn_user
from confusius_datasets.errors import (
    AmbiguousMatchError,
    ArgumentError,
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

    from confusius_datasets._dataset.tables import FileTable
    from confusius_datasets._layout import CatalogueLayout
    from confusius_datasets._progress import ProgressOption

__all__ = ["BIDSDataset", "open_local_copy"]

NOT_FILTERS = frozenset({"download", "force", "on_disk", "return_type", "target"})
"""Arguments that some methods take, and that would be filters of files in the others."""


MOST_IN_CARD = 20_000
"""Files from which on a notebook shows no table: reading all their names would take a second."""


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
            LocalCopy(self._root, spec.source, name=spec.name, folder=spec.folder)
            if spec
            else LocalCopy(self._root)
        )
        self._opened: tuple[Snapshot | None, CatalogueLayout] | None = None
        self._opening = PerProcess(threading.RLock)

    @property
    def name(self) -> str:
        """Name of the folder, as that of its path."""
        return self._root.name

    @property
    def dataset_name(self) -> str:
        """Short name of the dataset; of a folder of one's own, the folder's."""
        return self._local.name

    # What is told of it.

    @property
    def citation(self) -> str:
        """What to cite when the data are used; an empty text where that is not known.

        Where the package does not know a dataset, this and the other facts come from its
        `dataset_description.json`, if that is on disk.
        """
        return (self._spec.citation if self._spec else "") or word_citation(self._description)

    @property
    def bibtex(self) -> str:
        """The citation as an entry of BibTeX."""
        given = self._spec.bibtex if self._spec else ""
        return given or format_bibtex(self.name, self.citation, self.url, self._description)

    @property
    def license(self) -> str:
        """The licence of the data."""
        return (self._spec.license if self._spec else "") or self._described("License")

    @property
    def url(self) -> str:
        """The address of a page about the dataset."""
        return (self._spec.url if self._spec else "") or page_of(self._described("DatasetDOI"))

    @property
    def version(self) -> str | None:
        """The release of the data; `None` where the files may change on the host."""
        return self._spec.version if self._spec else None

    @property
    def _description(self) -> dict[str, Any]:
        return read_description(self._root)

    def _described(self, field: str) -> str:
        """Return a text of the description; where it has none, or no text, an empty one."""
        value = self._description.get(field)
        return value if isinstance(value, str) else ""

    @property
    def participants(self) -> pd.DataFrame:
        """The table `participants.tsv`, with a column `subject` without `sub-`; not downloaded.

        So it goes into queries: `ds.get(subject=ds.participants.query("sex == 'F'").subject)`.
        Where the file is not on disk, a `MissingFileError` says what to call.
        """
        return read_participants(self._root, is_known=PARTICIPANTS_NAME in self.index)

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
            return f"<BIDSDataset {self.dataset_name} at {self._root}, local files only>"
        try:
            index = self.index
            n_here, nbytes, in_the_way = self._local.count_here()
        except (ConfusiusDatasetsError, OSError) as error:  # a repr must not fail
            failed = f"{type(error).__name__} in its index"
            return f"<BIDSDataset {self.dataset_name} at {self._root}: {failed}>"
        left = len(index) - n_here
        rest = f"{left} files ({format_nbytes(index.nbytes - nbytes)}) left to download"
        return (
            f"<BIDSDataset {self.dataset_name} at {self._root}: {n_here} of {len(index)} files "
            f"({format_nbytes(nbytes)} of {format_nbytes(index.nbytes)}) on disk, "
            f"{rest if left else 'nothing left to download'}{in_the_way}>"
        )

    def _repr_html_(self) -> str | None:
        try:
            return self._card().to_html()
        except (ConfusiusDatasetsError, OSError):  # a notebook falls back to the text
            return None

    def _card(self) -> Card:
        """Put together what a notebook shows."""
        known = None if self._local.has_host else self._entries_and_local()
        if known is None:  # the index has all of it without a look at each entry
            n_files, total = len(self.index), self.index.nbytes
            n_here, here, _ = self._local.count_here()
        else:
            entries, _ = known
            n_files = n_here = len(entries)
            total = here = sum(entry.size or 0 for entry in entries)
        is_shown = n_files <= MOST_IN_CARD
        source = self._spec.source if self._spec else None
        facts = {
            "version": self.version or "",
            "licence": self.license,
            "host": source.host if source else "local folder",
        }
        return Card(
            name=self.dataset_name,
            root=str(self._root),
            facts=facts,
            coverage=self._coverage(*(known or self._entries_and_local())) if is_shown else None,
            n_files=n_files,
            n_here=n_here,
            nbytes=total,
            nbytes_here=here,
        )

    def _entries_and_local(self) -> tuple[Collection[FileEntry], Container[str]]:
        """Return every entry, and the paths on disk; of a folder of one's own, what it holds."""
        # One walk over what is here: asking for each file takes seconds where there are many.
        local = self._local.walk(into_stores=True).files
        if self._local.has_host:
            return self.index.values(), local
        paths = sorted(local - INDEX_NAMES)
        return [FileEntry(path, self._local.size(path)) for path in paths], local

    def _coverage(
        self, entries: Collection[FileEntry], here: Container[str], by: str | None = None
    ) -> pd.DataFrame:
        from confusius_datasets._dataset.coverage import tabulate_coverage
        from confusius_datasets._io import LOADABLE_EXTENSIONS

        return tabulate_coverage(entries, here.__contains__, LOADABLE_EXTENSIONS, by)

    def coverage(self, by: str | None = None, *, values: str = "fraction") -> pd.DataFrame:
        """Tabulate how much is on disk: subjects by task or session; nothing is downloaded.

        Recordings and images of the dataset itself count, not those of derivatives.

        Parameters
        ----------
        by : str, optional
            Entity whose values are the columns. If not provided, the first of `task`, `session`,
            `datatype` and `suffix` that the files have.
        values : str, default: "fraction"
            What the cells hold: the `fraction` of the bytes that is on disk, from 0 to 1, or one of
            `n_files`, `n_on_disk`, `nbytes` and `nbytes_on_disk`.

        Returns
        -------
        pandas.DataFrame
            A row for each subject, a column for each value, named `""` for files without the
            entity; `NaN` where a subject has no files.

        Raises
        ------
        ArgumentError
            If `values` is none of those, or no recording has the entity `by`.

        Examples
        --------
        >>> from confusius_datasets import fetch_sample
        >>> dataset = fetch_sample(subjects="mouse1", tasks="rest", progress=False)
        >>> float(dataset.coverage().loc["mouse1", "rest"])
        1.0
        """
        from confusius_datasets._dataset.coverage import pivot_coverage

        return pivot_coverage(self._coverage(*self._entries_and_local(), by), values)

    # A dataset is not a list of files, and says what to call instead.

    def __len__(self) -> int:
        raise TypeError(
            "A dataset has no length. len(ds.get_subjects()) counts subjects, "
            "len(ds.to_df(suffix='pwd')) files, and len(ds.index) all files of the host."
        )

    def __bool__(self) -> bool:
        return True

    def __getitem__(self, key: object) -> NoReturn:
        # Iteration comes here, too: an `__iter__` would make every `listify` take it for a list.
        if isinstance(key, str):
            raise TypeError(
                f"A dataset has no items. ds / {key!r} is a path, ds.load({key!r}) loads a file by "
                "its path, and ds.get(subject=…) finds files."
            )
        raise TypeError(
            "A dataset is not a list of files. ds.get(suffix='pwd') is one, to loop over or to "
            "index; ds.load_all(...) loads them."
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
        them. When the index changes, this is another layout. It knows what else was in the folder
        when it was opened; `refresh(local=True)` looks again.
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
            snapshot.index if self._local.has_host else None,
            ensure_local=self._ensure_local if self._local.has_host else None,
        )

    def refresh(self, *, local: bool = False) -> list[str]:
        """Get the host's index again, and look again at the folder; what is on disk stays as it is.

        Files of your own that were put into the folder, such as a derivative, are found by queries
        from then on. A folder of one's own has no host to ask.

        Parameters
        ----------
        local : bool, default: False
            Whether to look at the folder alone, and not to ask the host.

        Returns
        -------
        list of str
            Files on disk in an older version than the host's, by their paths below the root;
            `download(..., force=True)` renews them. None where the host was not asked.

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
        outdated = [] if local else self._local.refresh()
        with self._opening.get():
            if self._opened is not None:  # the next use opens another one, of any snapshot
                self._opened = (None, self._opened[1])
        return outdated

    @completes_query
    def get(
        self,
        return_type: str = "object",
        target: str | None = None,
        scope: str | list[str] = "all",
        regex_search: bool = False,
        invalid_filters: str = "error",
        *,
        download: bool = True,
        on_disk: bool = False,
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
        on_disk : bool, default: False
            Whether to answer with what is on disk only; then nothing is downloaded.
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
        query = {
            "scope": scope,
            "regex_search": regex_search,
            "invalid_filters": invalid_filters,
            **self._as_named_here(filters),
        }
        found = self.layout.get(return_type=return_type, target=target, **query)
        if on_disk:
            return self._keep_local(found, return_type, target, query)
        if download and return_type not in ("id", "dir"):
            self._ensure_local(self._with_companions(found), progress, notice=True)
        return list(found)

    def _as_named_here(self, query: dict[str, Any]) -> dict[str, Any]:
        """Ask for `susi` where a dataset has that instead of `angio`, or the other way round.

        Drafts of fUSI-BIDS renamed the datatype: releases have the one, trees on OSF the other.
        """
        asked = query.get("datatype")
        labels = list(asked) if isinstance(asked, list | tuple) else [asked]
        known = [label for label in labels if isinstance(label, str) and label in OTHER_DATATYPE]
        if not known:
            return query
        has = self.layout.get(return_type="id", target="datatype")
        for label in known:
            other = OTHER_DATATYPE[label]
            if label not in has and other in has:
                warn_user(
                    f"{self.dataset_name} has no datatype={label!r}: it is called {other!r} here."
                )
                labels[labels.index(label)] = other
        return {**query, "datatype": labels if isinstance(asked, list | tuple) else labels[0]}

    def _keep_local(
        self, found: list[Any], return_type: str, target: str | None, query: dict[str, Any]
    ) -> list[Any]:
        """Keep those answers of a query that a file on disk gives."""
        if return_type not in ("id", "dir"):
            return list(filter(self._is_local, found))
        files = filter(self._is_local, self.layout.get(**query))
        if return_type == "id":
            has = {file.get_entities().get(target) for file in files}
            return [value for value in found if value in has]
        parents = {str(parent) for file in files for parent in Path(file.path).parents}
        return [folder for folder in found if str(folder) in parents]

    def _is_local(self, file: BIDSFile | str) -> bool:
        """Say whether a file of an answer is on disk."""
        return self._local.is_local(self._relpath(file))

    def __getattr__(self, name: str) -> Any:
        # PyBIDS's getters of an entity's values, `get_subjects` and the like, never download.
        if name.startswith("get_"):
            return self._getter(name)
        if hasattr(type(self), name):
            # A property failed with an AttributeError, and Python came here instead of saying so.
            return object.__getattribute__(self, name)
        hint = f"; the path of its folder has: use .root.{name}" if hasattr(Path, name) else ""
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{hint}")

    def _getter(self, name: str) -> Any:
        """Return a method of the layout; `hasattr` must work where there is no layout, too."""
        try:
            return getattr(self.layout, name)
        except (ConfusiusDatasetsError, OSError) as error:
            from confusius_datasets._layout import is_getter

            if isinstance(error, AttributeError) or is_getter(name):
                raise  # whoever asks for a real getter is told what is wrong with the dataset
            raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}") from error

    def __dir__(self) -> Iterator[str]:
        yield from super().__dir__()
        with contextlib.suppress(ConfusiusDatasetsError, OSError):  # as a repr, it must not fail
            yield from (f"get_{entity}s" for entity in self.layout.get_entities(metadata=False))

    @completes_query
    def to_df(self, *, metadata: bool = False, on_disk: bool = False, **query: Any) -> FileTable:
        """Tabulate the files of a query; nothing is downloaded but JSON sidecars where needed.

        Parameters
        ----------
        metadata : bool, default: False
            Whether metadata fields get columns too.
        on_disk : bool, default: False
            Whether to list the files that are on disk only.
        **query
            As in `get`.

        Returns
        -------
        pandas.DataFrame
            A row for each file: `path` below the root, a column for each entity, `size` in bytes,
            `on_disk`. Shown, it ends with the totals. `missing` and `verify` give tables of the
            same form, so that they merge on `path`.

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
        import pandas as pd

        from confusius_datasets._dataset.tables import FileTable

        table = FileTable(self.layout.to_df(metadata=metadata, **self._as_named_here(query)))
        relpaths = self._relpaths(table["path"].tolist())
        facts = self._local.describe(relpaths)
        table["path"] = relpaths
        table["size"] = pd.array([size for size, _ in facts], dtype="Int64")
        table["on_disk"] = [is_here for _, is_here in facts]
        return table[table["on_disk"]].reset_index(drop=True) if on_disk else table

    @completes_query
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

    @completes_query
    def load(
        self,
        path: str | os.PathLike[str] | None = None,
        /,
        *,
        chunks: Any = None,
        variable: str | None = None,
        loader: Callable[[Path], Any] | None = None,
        on_disk: bool = False,
        progress: ProgressOption | None = None,
        **query: Any,
    ) -> Any:
        """Load the one recording or image that matches, downloading it if it is missing.

        Parameters
        ----------
        path : str, path-like or bids.layout.BIDSFile, optional
            A file of the dataset instead of a query: what `get` gave, or a path, which may be
            relative to the root.
        chunks : optional
            Chunks of a dask array in the order of the dims. If not provided, the array is read when
            its values are first used.
        variable : str, optional
            Variable of a Zarr store. If not provided, the first.
        loader : callable, optional
            What to load the file with instead, such as `confusius.load`: given the path, its result
            is returned as it is. If not provided, `confusius_datasets.load`.
        on_disk : bool, default: False
            Whether only files on disk count. JSON sidecars that are missing still come along.
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
        if path is not None:
            if query:
                raise FilterError("load takes the path of a file or a query, not both.")
            return self._load_path(path, progress, loader=loader, chunks=chunks, variable=variable)
        file = self._find_one("load", query, on_disk=on_disk)
        self._ensure_local(self._with_companions([file]), progress, notice=True)
        return self._load_file(file.path, loader=loader, chunks=chunks, variable=variable)

    @completes_query
    def load_all(
        self,
        *,
        chunks: Any = None,
        variable: str | None = None,
        loader: Callable[[Path], Any] | None = None,
        stack: str | None = None,
        on_disk: bool = False,
        progress: ProgressOption | None = None,
        **query: Any,
    ) -> list[Any]:
        """Load every recording or image that matches, downloading what is missing first.

        Parameters
        ----------
        chunks : optional
            As in `load`.
        variable : str, optional
            As in `load`.
        loader : callable, optional
            As in `load`.
        stack : str, optional
            Entity along which to stack the files that differ in it alone, such as `chunk` or `run`:
            see Notes. If not provided, each file is an array.
        on_disk : bool, default: False
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
        ArgumentError
            If no file has the entity `stack`, or a `loader` is given with it.

        Notes
        -----
        With `stack`, files that agree in all other entities are one acquisition. Where their arrays
        continue one another along `pose`, `z`, `time`, `y` or `x`, they are put together along it,
        in the order of the entity's values; otherwise the entity becomes the first dimension. Their
        metadata must agree, and their grids but for that dimension: else it is a `FileFormatError`.

        Examples
        --------
        >>> import xarray as xr
        >>> from confusius_datasets import fetch_sample
        >>> dataset = fetch_sample(download=False, progress=False)
        >>> images = dataset.load_all(datatype="angio", session="day1")
        >>> xr.concat(images, dim="subject", join="override").subject.values.tolist()
        ['mouse1', 'mouse2']
        """
        if loader is not None and stack is not None:
            raise ArgumentError("stack puts together arrays of this package: leave out loader.")
        matches = self._loadable("load_all", query, on_disk=on_disk)
        self._ensure_local(self._with_companions(matches), progress, notice=True)
        arrays = [
            self._load_file(file.path, loader=loader, chunks=chunks, variable=variable)
            for file in matches
        ]
        if stack is None:
            return arrays
        from confusius_datasets._dataset.stacking import stack_arrays

        return stack_arrays(arrays, [file.get_entities() for file in matches], stack)

    @completes_query
    def preview(self, *, frames: int = 1, **query: Any) -> xr.DataArray:
        """Look at the first frames of a recording that is not here; nothing is stored.

        Its header, its sidecars and as much of it as is needed come from a folder of
        `CONFUSIUS_MIRRORS`, or else from the host: some ten kilobytes for each frame.

        Parameters
        ----------
        frames : int, default: 1
            How many frames to get.
        **query
            As in `load`: one recording or image must match.

        Returns
        -------
        (time, z, y, x) or (z, y, x) xarray.DataArray
            The first frames as `load` gives them, in memory.

        Raises
        ------
        NoMatchError, AmbiguousMatchError, FilterError
            As in `load`.
        ArgumentError
            If `frames` is not a number greater than 0.
        FileFormatError
            If the file is not a `.nii` or `.nii.gz` file, or is damaged.
        OfflineError
            If the file is neither on disk nor in such a folder, and the network may not be used.
        SourceError
            If the host cannot be reached or does not have the file.

        Examples
        --------
        >>> from confusius_datasets import fetch_sample
        >>> dataset = fetch_sample(download=False, progress=False)
        >>> first = dataset.preview(subject="mouse2", session="day1", task="rest", suffix="pwd",
        ...                         acquisition="slice01")
        >>> first.sizes["time"], len(dataset.missing(subject="mouse2", datatype="fusi")) > 0
        (1, True)
        """
        if not isinstance(frames, int) or frames < 1:
            raise ArgumentError(f"frames must be a whole number greater than 0, not {frames!r}.")
        file = self._find_one("preview", query, on_disk=False)
        relpath = self._relpath(file)
        if self._is_local(file):
            array: xr.DataArray = self._load_file(file.path, loader=None)
            shown = array.isel(time=slice(0, frames)) if "time" in array.dims else array
            return shown.compute()
        from confusius_datasets._dataset.previewing import preview_remote
        from confusius_datasets._io import with_entities

        return with_entities(preview_remote(self._local, relpath, frames), file.get_entities())

    # Tables of a recording.

    @completes_query
    def events(self, *, progress: ProgressOption | None = None, **query: Any) -> pd.DataFrame:
        """Read the tables of events of a query into one, downloading what is missing.

        Parameters
        ----------
        progress : bool or callable, optional
            How the download is shown. If not provided, as the dataset was opened.
        **query
            As in `get`; only tables of events count. With `task`, `subject` and so on of a
            recording, its events.

        Returns
        -------
        pandas.DataFrame
            A row for each event: the entities of its file, the columns of the file (`onset` and
            `duration` in s as they are there), and `time`, the onset on the clock of the recording:
            `onset` plus the time of its first volume, in s. It is `NaN` where a table has no
            recording, or where its recordings begin at different times.

        Raises
        ------
        FilterError
            If a filter is no entity of the dataset, or is an argument of `get` alone.
        FileFormatError
            If a file is not a table of events.
        OfflineError, DownloadError
            As in `get`.

        Examples
        --------
        >>> from confusius_datasets import fetch_sample
        >>> dataset = fetch_sample(download=False, progress=False)
        >>> events = dataset.events(subject="mouse1", session="day1", task="checkerboard")
        >>> events.groupby("acquisition").size().to_dict()
        {'slice01': 4, 'slice02': 4}
        """
        asked = {"suffix": "events", "extension": ".tsv", **query}
        files = self._find("events", asked)
        self._ensure_local(self._with_companions(files), progress, notice=True)
        return join_events(files, self._first_times)

    def _first_times(self, events: str) -> Iterator[float]:
        """Find the time of the first volume of each recording that a table of events belongs to.

        It follows from the sidecars, so that no recording is downloaded for it.
        """
        from confusius_datasets._io import LOADABLE_EXTENSIONS, first_time

        entities = self.layout.labels_of(events)
        shared = {
            name: value
            for name, value in entities.items()
            if name not in ("suffix", "extension", "datatype")
        }
        folder = os.path.join(os.path.dirname(events), "")  # noqa: PTH118, PTH120 - text to compare
        for path in self.layout.get(return_type="filename", **shared):
            if path.startswith(folder) and path.endswith(LOADABLE_EXTENSIONS):
                yield first_time(self.layout.get_metadata(path))

    # Bytes.

    @completes_query
    def missing(self, **query: Any) -> FileTable:
        """List all that a query would download, sidecars included.

        Parameters
        ----------
        **query
            As in `get`. If not provided, the whole dataset.

        Returns
        -------
        pandas.DataFrame
            A row for each file that is not on disk, with the columns of `to_df`.

        Raises
        ------
        FilterError
            If a filter is no entity of the dataset, or is an argument of `get` alone.

        Examples
        --------
        >>> from confusius_datasets import fetch_sample
        >>> dataset = fetch_sample(download=False, progress=False)
        >>> missing = dataset.missing(task="rest", suffix="events", extension=".tsv")
        >>> missing.totals
        '0 files, 0 B; 0 of them on disk, 0 B'
        """
        from confusius_datasets._dataset.tables import tabulate

        if query:
            relpaths = self._with_companions(self._find("missing", query))
            missing = self._local.missing(relpaths)
            relpaths, sizes = [one.relpath for one in missing], [one.size for one in missing]
        else:
            relpaths, sizes = self._local.missing_sizes()
        return tabulate(relpaths, sizes=sizes, on_disk=[False] * len(relpaths), root=self._root)

    @completes_query
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

    @completes_query
    def verify(
        self, *, repair: bool = False, progress: ProgressOption | None = None, **query: Any
    ) -> FileTable:
        """Hash files on disk again and compare them with the index.

        Parameters
        ----------
        repair : bool, default: False
            Whether to download again what is corrupt. What is missing stays so.
        progress : bool or callable, optional
            How the download is shown. If not provided, as the dataset was opened.
        **query
            As in `get`; the sidecars of the files are verified too. If not provided, the whole
            dataset.

        Returns
        -------
        pandas.DataFrame
            A row for each file, with the columns of `to_df` and `status`, one of `ok`, `missing`,
            `corrupt`, `outdated` (a whole older version), `not in index`.

        Raises
        ------
        FilterError
            If a filter is no entity of the dataset, or is an argument of `get` alone.
        DownloadError
            If what is corrupt could not be repaired.

        Examples
        --------
        >>> from confusius_datasets import fetch_sample
        >>> dataset = fetch_sample(subjects="mouse1", progress=False)
        >>> set(dataset.verify(subject="mouse1", task="rest").status)
        {'ok'}
        """
        from confusius_datasets._dataset.tables import tabulate
        from confusius_datasets._download import FileStatus

        if query:
            found = self._find("verify", query)
            statuses = self._local.verify(self._with_companions(found))
            strangers = [path for path in map(self._relpath, found) if not self._is_indexed(path)]
            statuses |= dict.fromkeys(strangers, FileStatus.NOT_IN_INDEX)
        else:
            statuses = self._local.verify()
        corrupt = [path for path, status in statuses.items() if status is FileStatus.CORRUPT]
        if repair and corrupt:
            self._ensure_local(corrupt, progress, force=True)
            statuses |= self._local.verify(corrupt)
        return tabulate(
            list(statuses),
            sizes=[size for size, _ in self._local.describe(statuses)],
            on_disk=[status is not FileStatus.MISSING for status in statuses.values()],
            root=self._root,
            status=map(str, statuses.values()),
        )

    @completes_query
    def evict(self, *, force: bool = False, **query: Any) -> list[Path]:
        """Delete files of a query from this machine; they are downloaded when they are asked for.

        Parameters
        ----------
        force : bool, default: False
            Whether to delete files, too, that the host could not give again: those that changed
            here or on the host, and those that it does not have.
        **query
            As in `get`. If not provided, the whole dataset. JSON sidecars stay where the query does
            not match them, since other files may need them.

        Returns
        -------
        list of pathlib.Path
            The files that were deleted.

        Raises
        ------
        FilterError
            If a filter is no entity of the dataset, or is an argument of `get` alone.
        CacheError
            If a file would be lost, and `force` is not given: nothing is deleted then. Also if a
            file cannot be deleted.

        Examples
        --------
        >>> from confusius_datasets import fetch_sample
        >>> dataset = fetch_sample(subjects="mouse1", progress=False)
        >>> len(dataset.evict(subject="mouse1", task="checkerboard", extension=".nii.gz"))
        4
        """
        relpaths = map(self._relpath, self._find("evict", query)) if query else iter(self.index)
        return [self._root / relpath for relpath in self._local.evict(relpaths, force=force)]

    # The steps of the above.

    def _relpath(self, file: BIDSFile | str) -> str:
        """Return a file's path below the root, with `/`; whole, if it lies elsewhere.

        A layout may have been given a derivative that is not in the root.
        """
        return self._relpaths([os.fspath(file)])[0]

    def _relpaths(self, paths: Iterable[str]) -> list[str]:
        base = os.path.join(self._root, "")  # noqa: PTH118 - text, with the separator at its end
        return [path.removeprefix(base).replace(os.sep, "/") for path in paths]

    def _is_indexed(self, relpath: str) -> bool:
        """Say whether the host has a file, or parts of a store."""
        snapshot = self._local.snapshot
        return any(member in snapshot.index for member in snapshot.members(relpath))

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
        notice: bool = False,
    ) -> None:
        """Download what is missing of some files; those the host does not have are passed over.

        `notice` says that a query asked for them, and not a call that is named after downloads.
        """
        shown = self._progress if progress is None else progress
        wanted = relpaths if isinstance(relpaths, DatasetIndex) else list(relpaths)
        missing = self._local.missing(wanted)
        if not force:
            wanted = [entry.relpath for entry in missing]
        if wanted:
            if notice:
                tell_if_large(missing, self._local.rate)
            self._local.ensure(wanted, progress=shown, force=force)

    def _find(self, method: str, query: dict[str, Any]) -> list[BIDSFile]:
        """Find the files of a query that is to give files and nothing else."""
        if unfit := NOT_FILTERS & set(query):
            raise FilterError(
                f"{method} takes no {list_some(sorted(unfit))}: it is always about whole files. "
                "Use get for other answers."
            )
        from confusius_datasets._layout import find_unknown_values

        query = self._as_named_here(query)
        # An answer of no files is PyBIDS's; here, where files are meant, a typo must not pass.
        if unknown := find_unknown_values(self.layout, query):
            raise UnknownLabelError("\n".join(unknown))
        found: list[BIDSFile] = self.layout.get(**query)
        return found

    def _loadable(
        self, method: str, query: dict[str, Any], *, on_disk: bool = False
    ) -> list[BIDSFile]:
        """Find the files of a query that can be loaded."""
        from confusius_datasets._io import LOADABLE_EXTENSIONS

        return [
            file
            for file in self._find(method, query)
            if file.filename.endswith(tuple(LOADABLE_EXTENSIONS))
            and (not on_disk or self._is_local(file))
        ]

    def _find_one(self, method: str, query: dict[str, Any], *, on_disk: bool) -> BIDSFile:
        """Find the one file of a query that can be loaded."""
        matches = self._loadable(method, query, on_disk=on_disk)
        if not matches:
            raise NoMatchError(self._word_no_match(query))
        if len(matches) > 1:
            raise AmbiguousMatchError(self._word_several(matches, query))
        return matches[0]

    def _load_path(
        self,
        path: str | os.PathLike[str],
        progress: ProgressOption | None,
        *,
        loader: Callable[[Path], Any] | None,
        **options: Any,
    ) -> Any:
        """Load a file by its path, which may be relative to the root."""
        absolute = os.path.normpath(self._root / Path(path).expanduser())
        real, real_root = os.path.realpath(absolute), os.path.realpath(self._root)
        if os.path.commonpath([absolute, self._root]) != str(self._root) and (
            os.path.commonpath([real, real_root]) == real_root
        ):  # the same folder by another way, such as a link
            absolute = os.path.normpath(self._root / os.path.relpath(real, real_root))
        companions = self._with_companions([self._relpath(absolute)])
        self._ensure_local(companions, progress, notice=True)
        return self._load_file(absolute, loader=loader, **options)

    def _load_file(self, path: str, *, loader: Callable[[Path], Any] | None, **options: Any) -> Any:
        """Load a file that is on disk, with its entities as coordinates."""
        if loader is not None:
            return loader(Path(path))
        from confusius_datasets._io import load_with_entities

        # PyBIDS would read the whole schema of BIDS to sort the entities of a file.
        entities = parse_entities(self._relpath(path))
        return load_with_entities(path, entities, root=self._root, **options)

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
