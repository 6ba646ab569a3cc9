"""A name, an address or a folder → a dataset; and the table of all that have a name.

Nothing here knows a host's protocol.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from confusius_datasets._cache import cache_folder, is_here
from confusius_datasets._catalog import (
    CYBIS_PEREIRA_2026,
    KHALLAF_2026,
    LANDEMARD_2026,
    NUNEZ_ELIZALDE_2022,
    PEPE_MARIANI_2026,
    PEREIRA_2025,
    SAMPLE,
    TEMPLATE_HUANG_2025,
    TEMPLATE_PEPE_MARIANI_2026,
)
from confusius_datasets._dataset import BIDSDataset
from confusius_datasets._fetch import Labels, check_labels, fetch, fetcher, plan, root_of
from confusius_datasets._index import FileEntry
from confusius_datasets._local import LocalCopy, recall_origin
from confusius_datasets._paths import HIDDEN_FOLDER, INDEX_NAMES, absolute_path, check_relpath
from confusius_datasets._selection import labels_of
from confusius_datasets._spec import DatasetSpec, is_address, list_forms, spec_at
from confusius_datasets._text import did_you_mean, format_nbytes, warn_user
from confusius_datasets.errors import (
    ArgumentError,
    ConfusiusDatasetsError,
    UnknownDatasetError,
    UnsafePathError,
)

if TYPE_CHECKING:
    from confusius_datasets._progress import ProgressOption

__all__ = [
    "DATASETS",
    "fetch_dataset",
    "find_named",
    "known_labels",
    "list_datasets",
    "locate",
    "open_dataset",
    "plan_fetch",
    "register_dataset",
]

PUBLISHED = (
    CYBIS_PEREIRA_2026,
    KHALLAF_2026,
    LANDEMARD_2026,
    NUNEZ_ELIZALDE_2022,
    PEPE_MARIANI_2026,
    PEREIRA_2025,
    TEMPLATE_HUANG_2025,
    TEMPLATE_PEPE_MARIANI_2026,
)
"""The public datasets, in the order of the table."""

ENTRY_POINTS = "confusius_datasets.datasets"
"""Group of entry points by which an installed package brings datasets."""


class DatasetTable(Mapping[str, DatasetSpec]):
    """Every dataset by its name: public ones, those of installed packages, those of this session.

    The sample is last.
    """

    def __init__(self) -> None:
        self._registered: dict[str, DatasetSpec] = {}

    @cached_property
    def _fixed(self) -> dict[str, DatasetSpec]:
        """The datasets that no session changes."""
        found = {spec.name: spec for spec in (*PUBLISHED, SAMPLE)}
        for point in importlib.metadata.entry_points(group=ENTRY_POINTS):
            try:
                spec = point.load()
                _check_spec(spec, found)
            except Exception as error:  # noqa: BLE001 - of others: it must not break our table
                source = point.dist.name if point.dist else point.value
                warn_user(f"{source}: the dataset {point.name!r} cannot be used: {error}")
            else:
                found[spec.name] = spec
        return found

    def add(self, spec: DatasetSpec) -> None:
        """Add a dataset, or put it in the place of one that was added before."""
        others = {name: known for name, known in self.items() if name not in self._registered}
        others |= {n: known for n, known in self._registered.items() if n != spec.name}
        _check_spec(spec, others)
        self._registered[spec.name] = spec

    def __getitem__(self, name: str) -> DatasetSpec:
        return self._registered[name] if name in self._registered else self._fixed[name]

    def __iter__(self) -> Iterator[str]:
        yield from (name for name in self._fixed if name != SAMPLE.name)
        yield from self._registered
        yield SAMPLE.name

    def __len__(self) -> int:
        return len(self._fixed) + len(self._registered)


# What a session registers must be found by every later call of it, whoever makes the call.
DATASETS = DatasetTable()
"""Every dataset by its name."""


def register_dataset(spec: DatasetSpec) -> None:
    """Add a dataset of your own to the table of this session.

    `fetch_dataset` and `open_dataset` take its name from then on, and `list_datasets` lists it.
    A dataset of the same name that was registered before is replaced. For every session, let a
    package of yours have an entry point in the group `confusius_datasets.datasets` that names the
    spec.

    Parameters
    ----------
    spec : confusius_datasets.sources.DatasetSpec
        The dataset.

    Raises
    ------
    ArgumentError
        If it is not a spec, if its name or folder cannot be used, or if one of them is taken by a
        public dataset or by one of an installed package.

    Examples
    --------
    A folder on a shared disk, by name::

        share = DirectorySource(Path("/mnt/share/whiskers"))
        register_dataset(DatasetSpec(name="whiskers", folder="whiskers-bids", source=share))
        dataset = fetch_dataset("whiskers", subjects="01")
    """
    DATASETS.add(spec)


def _check_spec(spec: object, others: Mapping[str, DatasetSpec]) -> None:
    """Refuse what cannot stand in the table beside others."""
    if not isinstance(spec, DatasetSpec):
        raise ArgumentError(f"expected a DatasetSpec, not {type(spec).__name__}.")
    if not _NAME.fullmatch(spec.name):
        raise ArgumentError(
            f"{spec.name!r} cannot be the name of a dataset: expected small letters, digits and "
            "dashes, such as 'our-lab-2026'."
        )
    try:
        check_relpath(spec.folder)
    except UnsafePathError as error:
        raise ArgumentError(f"the folder of {spec.name} cannot be used: {error}.") from error
    for other in others.values():
        taken = {name.casefold() for name in (other.folder, *other.earlier_folders)}
        if spec.name == other.name or spec.folder.casefold() in taken:
            raise ArgumentError(
                f"the name {spec.name!r} and the folder {spec.folder!r} cannot be used: there is "
                f"{other.name!r} already, in {other.folder!r}."
            )


_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")


@fetcher
def open_dataset(
    where: str | os.PathLike[str],
    /,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    refresh: bool = False,
    progress: ProgressOption = True,
) -> BIDSDataset:
    """Open a dataset by its folder, its address or its name; no data are downloaded yet.

    The index and what describes the dataset come, unless they are on disk; recordings come when
    `get` or `load` answers with them. A folder into which a dataset was fetched remembers from
    where; any other folder is a dataset of the files that are in it.

    Parameters
    ----------
    where : str or path-like
        A folder, with a leading `~` expanded; a name such as `"nunez-elizalde-2022"`; or an address
        such as `"osf:43skw/nunez-elizalde-2022-bids"` or `"https://lab.example/data/manifest.json"`.
        A text that is a name stands for that dataset; write `"./sample"` for a folder called so.
    data_dir : str or path-like, optional
        Folder of all datasets, for what is not a folder itself. If not provided, see
        `get_datasets_dir`.
    refresh : bool, default: False
        Whether to get the host's index again first, to find files added since.
    progress : bool or callable, default: True
        As for `fetch_nunez_elizalde_2022`.

    Returns
    -------
    BIDSDataset
        The whole dataset, with `get`, `load` and the rest.

    Raises
    ------
    UnknownDatasetError
        If it is neither a folder, nor the name of a dataset, nor an address.
    ArgumentError
        If it is an address, but not a right one; the message shows the forms.
    CacheError
        If another user wrote into the folder from where its files would come.
    SourceError, OfflineError, DatasetIndexError
        As for `fetch_nunez_elizalde_2022`.

    Examples
    --------
    >>> from confusius_datasets import open_dataset
    >>> dataset = open_dataset("sample", progress=False)
    >>> dataset.get_subjects()
    ['mouse1', 'mouse2']
    >>> open_dataset(dataset.root) == dataset
    True
    """
    place = locate(where)
    if place.spec is None:
        return BIDSDataset(where, progress=progress)
    return fetch(
        place.spec,
        data_dir,
        {},
        root=place.root,
        version=place.version,
        refresh=refresh,
        download=False,
        progress=progress,
        print_citation=False,
    )


@fetcher
def fetch_dataset(
    where: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None = None,
    *,
    datasets: Labels = None,
    subjects: Labels = None,
    sessions: Labels = None,
    tasks: Labels = None,
    acqs: Labels = None,
    runs: Labels = None,
    datatypes: Labels = None,
    version: str | None = None,
    refresh: bool = False,
    download: bool = True,
    progress: ProgressOption = True,
    print_citation: bool = True,
) -> BIDSDataset:
    """Fetch a dataset by its address, its name or its folder, or the part that filters select.

    Parameters
    ----------
    where : str or path-like
        As for `open_dataset`.
    data_dir : str or path-like, optional
        As for `open_dataset`.
    datasets : str or list of str, optional
        `rawdata`, or folders in `derivatives/` and `sourcedata/`. If not provided, all.
    subjects : str or list of str, optional
        Labels, with or without `sub-`. If not provided, all.
    sessions : str or list of str, optional
        Labels, with or without `ses-`. If not provided, all.
    tasks : str or list of str, optional
        Labels, with or without `task-`. If not provided, all.
    acqs : str or list of str, optional
        Labels, with or without `acq-`. If not provided, all.
    runs : str or list of str, optional
        Labels, with or without `run-`. If not provided, all.
    datatypes : str or list of str, optional
        Folders such as `fusi` or `angio`. If not provided, all.
    version : str, optional
        A release, where the host has releases. If not provided, what the address says, or the
        newest.
    refresh : bool, default: False
        As for `fetch_nunez_elizalde_2022`.
    download : bool, default: True
        As for `fetch_nunez_elizalde_2022`.
    progress : bool or callable, default: True
        As for `fetch_nunez_elizalde_2022`.
    print_citation : bool, default: True
        Whether to print what to cite and the licence, where they are known.

    Returns
    -------
    BIDSDataset
        The whole dataset, on disk or not; it can be used like the path of its root.

    Raises
    ------
    UnknownDatasetError, ArgumentError, CacheError
        As for `open_dataset`.
    ConfusiusDatasetsError
        As `fetch_nunez_elizalde_2022`, in the same cases.

    Examples
    --------
    >>> from confusius_datasets import fetch_dataset
    >>> dataset = fetch_dataset("sample", subjects="mouse1", tasks="rest", progress=False)
    >>> len(dataset.missing(subject="mouse1", task="rest"))
    0
    """
    place = locate(where, version=version)
    given = {
        "datasets": datasets,
        "subjects": subjects,
        "sessions": sessions,
        "tasks": tasks,
        "acqs": acqs,
        "runs": runs,
        "datatypes": datatypes,
    }
    if place.spec is None:
        dataset = BIDSDataset(where, progress=progress)
        check_labels(dataset, given)
        return dataset
    return fetch(
        place.spec,
        data_dir,
        given,
        root=place.root,
        version=place.version,
        refresh=refresh,
        download=download,
        progress=progress,
        print_citation=print_citation,
    )


def plan_fetch(
    where: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None,
    given: Mapping[str, Labels],
    *,
    version: str | None = None,
    refresh: bool = False,
) -> list[FileEntry]:
    """List what `fetch_dataset` would download; the index alone comes."""
    place = locate(where, version=version)
    if place.spec is None:
        return []
    return plan(
        place.spec, data_dir, given, root=place.root, version=place.version, refresh=refresh
    )


def known_labels(
    where: str, filter_name: str, data_dir: str | os.PathLike[str] | None = None
) -> list[str]:
    """List the labels of a filter as far as they are known without asking anybody."""
    try:
        spec, root, version = locate(where)
        if spec is None or version is not None:
            return []
        local = LocalCopy(root or root_of(spec, cache_folder(data_dir)), spec.source)
        found = labels_of(local.index, filter_name, naming=spec.naming)
    except (ConfusiusDatasetsError, OSError):
        found = set()
    spec = find_named(where)
    return sorted(found | set(spec.filters.get(filter_name, ()) if spec else ()))


class Place(NamedTuple):
    """A dataset: its spec if it has a host, its root if that was given, the release wanted."""

    spec: DatasetSpec | None
    root: Path | None = None
    version: str | None = None


def locate(where: str | os.PathLike[str], *, version: str | None = None) -> Place:
    """Find out which dataset is meant by a name, an address or a folder."""
    if isinstance(where, str):
        if is_address(where):
            return _find_at(where, version)
        if spec := find_named(where):
            return Place(spec, None, version or where.partition("@")[2] or None)
        if not is_here(absolute_path(where)):
            raise UnknownDatasetError(
                f"There is no folder {absolute_path(where)}, and {where!r} is neither a dataset's "
                f"name nor an address. {did_you_mean(where, DATASETS)}Names are "
                f"{', '.join(DATASETS)}; an address is {list_forms()}."
            )
    root = absolute_path(where)
    if version is not None:
        raise ArgumentError(f"{root} is a folder, and has the version it has. Leave version out.")
    origin = recall_origin(root)
    return Place(None if origin is None else _recall(root, origin), root)


def find_named(name: str) -> DatasetSpec | None:
    """Return the dataset of a name, which may also be that of its fetcher, and have a version."""
    plain = name.partition("@")[0].removeprefix("fetch_").replace("_", "-")
    return DATASETS.get(plain)


def _recall(root: Path, origin: str) -> DatasetSpec | None:
    """Return the dataset that a folder remembers."""
    if is_address(origin):
        return _find_at(origin).spec
    spec, version = find_named(origin), origin.partition("@")[2]
    if spec is None:
        warn_user(
            f"{root} was fetched as {origin!r}, a name that is not known here, so what is missing "
            "cannot be downloaded. Install or register what has that dataset."
        )
    return spec.at_release(version) if spec and version else spec


def _find_at(address: str, version: str | None = None) -> Place:
    """Return the dataset of an address; one of the table is that one, in its own folder."""
    spec = spec_at(address, version)
    return Place(next((known for known in DATASETS.values() if spec.name in known.addresses), spec))


def list_datasets(data_dir: str | os.PathLike[str] | None = None) -> None:
    """Print a table of the public datasets: function, size of the whole, whether it is on disk.

    Parameters
    ----------
    data_dir : str or path-like, optional
        Folder of all datasets. If not provided, see `get_datasets_dir`.

    Examples
    --------
    >>> from confusius_datasets import list_datasets
    >>> list_datasets()
                    Available Datasets
    ┏━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━┳━━━━━━━━━┓
    ┃ Fetch function                   ┃     Size ┃ On disk ┃
    ┡━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━╇━━━━━━━━━┩
    │ fetch_cybis_pereira_2026         │ 12.88 GB │    ✗    │
    │ fetch_khallaf_2026               │ 19.49 GB │    ✗    │
    │ fetch_landemard_2026             │ 42.04 GB │    ✗    │
    │ fetch_nunez_elizalde_2022        │ 6.983 GB │    ✗    │
    │ fetch_pepe_mariani_2026          │ 37.56 GB │    ✗    │
    │ fetch_pereira_2025               │ 29.96 GB │    ✗    │
    │ fetch_template_huang_2025        │ 16.34 MB │    ✗    │
    │ fetch_template_pepe_mariani_2026 │ 5.508 MB │    ✗    │
    └──────────────────────────────────┴──────────┴─────────┘
    """
    from rich.console import Console
    from rich.table import Table

    console = Console()
    marks = ("✓", "✗") if console.encoding.startswith("utf") else ("yes", "no")
    table = Table(title="Available Datasets")
    table.add_column("Fetch function", overflow="fold")  # a name cut short is no name
    table.add_column("Size", justify="right", no_wrap=True)
    table.add_column("On disk", justify="center", no_wrap=True)
    folder = cache_folder(data_dir)
    for spec in DATASETS.values():
        if spec is SAMPLE:  # made by the package itself: nothing to choose from a table for
            continue
        mark = marks[0] if _is_on_disk(spec, root_of(spec, folder)) else marks[1]
        call = spec.fetcher or f"fetch_dataset({spec.name!r})"
        table.add_row(call, format_nbytes(spec.nbytes) if spec.nbytes else "?", mark)
    console.print(table)


def _is_on_disk(spec: DatasetSpec, root: Path) -> bool:
    """Say whether a root can be read and has more in it than what is ours."""
    # An index alone counts for a dataset, as it does in ConfUSIus; a template is its one image.
    ours = {HIDDEN_FOLDER} if spec.file is None else {HIDDEN_FOLDER, *INDEX_NAMES}
    try:
        return any(path.name not in ours for path in root.iterdir())
    except OSError:
        return False
