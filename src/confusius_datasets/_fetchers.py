"""The public `fetch_*` functions: explicit signatures and docstrings, then one shared call.

Nothing here knows a host's protocol.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from confusius_datasets._cache import cache_folder, get_datasets_dir, is_here, is_offline
from confusius_datasets._catalog import (
    CYBIS_PEREIRA_2026,
    LISTED,
    NUNEZ_ELIZALDE_2022,
    SAMPLE,
    TEMPLATE_PEPE_MARIANI_2026,
    DatasetSpec,
)
from confusius_datasets._dataset import BIDSDataset, make_local
from confusius_datasets._index import INDEX_NAME, DatasetIndex, lock_index
from confusius_datasets._paths import HIDDEN_FOLDER
from confusius_datasets._selection import (
    FILTER_ENTITIES,
    Filters,
    filterable_entities,
    parse_filters,
    select,
)
from confusius_datasets._sources import get_client, read_index_file, write_index_file
from confusius_datasets._text import format_nbytes, list_some
from confusius_datasets.errors import DatasetIndexError, OfflineError

if TYPE_CHECKING:
    import xarray as xr

    from confusius_datasets._progress import ProgressOption

__all__ = [
    "fetch_cybis_pereira_2026",
    "fetch_nunez_elizalde_2022",
    "fetch_sample",
    "fetch_template_pepe_mariani_2026",
    "list_datasets",
]

Labels = str | Iterable[str] | None
"""What a filter takes: a label, several, or `None` for all."""


def fetch_nunez_elizalde_2022(
    data_dir: str | os.PathLike[str] | None = None,
    *,
    datasets: Labels = None,
    subjects: Labels = None,
    sessions: Labels = None,
    tasks: Labels = None,
    acqs: Labels = None,
    datatypes: Labels = None,
    refresh: bool = False,
    download: bool = True,
    progress: ProgressOption = True,
    print_citation: bool = True,
) -> BIDSDataset:
    """Fetch recordings of neural activity and cerebral blood volume in awake mice (7 GB on OSF).

    A file is downloaded when, for every filter given, it either lacks that entity or has a listed
    value: angiographies have no task and no slice, so they always come along. What is on disk is
    never downloaded again, and with everything on disk no request is made.

    Parameters
    ----------
    data_dir : str or path-like, optional
        Folder of all datasets. If not provided, see `get_datasets_dir`.
    datasets : str or list of str, optional
        `rawdata` or `allenccf_align`. If not provided, both.
    subjects : str or list of str, optional
        Labels such as `CR020`, with or without `sub-`. If not provided, all.
    sessions : str or list of str, optional
        Labels such as `20191122`, with or without `ses-`. If not provided, all.
    tasks : str or list of str, optional
        Labels such as `spontaneous`, with or without `task-`. If not provided, all.
    acqs : str or list of str, optional
        Labels such as `slice03`, with or without `acq-`. If not provided, all.
    datatypes : str or list of str, optional
        `fusi` or `angio`. If not provided, both.
    refresh : bool, default: False
        Whether to get the host's index again first, to find files added since. Files that are on
        disk stay as they are; those that changed upstream are named in a warning.
    download : bool, default: True
        Whether to download the selected files. If `False`, only the index and the dataset's own
        metadata come.
    progress : bool or callable, default: True
        `True` draws a bar (or logs a line now and then where there is no terminal), `False` shows
        nothing; a function is called with the bytes done, the bytes in all, and a description.
    print_citation : bool, default: True
        Whether to print what to cite.

    Returns
    -------
    BIDSDataset
        The whole dataset, on disk or not; it can be used like the path of its root.

    Raises
    ------
    FilterError
        If a filter is no text, or lists nothing.
    UnknownLabelError
        If a label exists nowhere in the dataset; nothing is downloaded.
    OfflineError
        If files are missing and the network may not be used.
    SourceError
        If the host cannot be reached or does not have the dataset.
    DatasetIndexError
        If the index, the host's or the one on disk, cannot be trusted.
    CacheError
        If the folder cannot be written to, and something has to be.
    DownloadError
        If files could not be downloaded; those that could are kept.

    References
    ----------
    .. [1] Nunez-Elizalde, A. O., et al. (2022). Neural correlates of blood flow measured by
       ultrasound. Neuron, 110(10), 1631-1640.e4. https://doi.org/10.1016/j.neuron.2022.02.012
    .. [2] Data in fUSI-BIDS: https://osf.io/43skw/ (CC BY 4.0).

    Examples
    --------
    One mouse, one task, one slice (about 30 MB)::

        dataset = fetch_nunez_elizalde_2022(
            subjects="CR020", sessions="20191122", tasks="spontaneous", acqs="slice03"
        )
        pwd = dataset.load(
            subject="CR020", session="20191122", task="spontaneous", acquisition="slice03",
            suffix="pwd",
        )
    """
    return _fetch(
        NUNEZ_ELIZALDE_2022,
        data_dir,
        {
            "datasets": datasets,
            "subjects": subjects,
            "sessions": sessions,
            "tasks": tasks,
            "acqs": acqs,
            "datatypes": datatypes,
        },
        refresh=refresh,
        download=download,
        progress=progress,
        print_citation=print_citation,
    )


def fetch_cybis_pereira_2026(
    data_dir: str | os.PathLike[str] | None = None,
    *,
    datasets: Labels = None,
    subjects: Labels = None,
    sessions: Labels = None,
    acqs: Labels = None,
    datatypes: Labels = None,
    refresh: bool = False,
    download: bool = True,
    progress: ProgressOption = True,
    print_citation: bool = True,
) -> BIDSDataset:
    """Fetch recordings of freely moving rats on the vascular coding of speed (13 GB on OSF).

    A file is downloaded when, for every filter given, it either lacks that entity or has a listed
    value: maps that aggregate over sessions come along whatever `sessions` says. What is on disk
    is never downloaded again, and with everything on disk no request is made.

    Parameters
    ----------
    data_dir : str or path-like, optional
        Folder of all datasets. If not provided, see `get_datasets_dir`.
    datasets : str or list of str, optional
        `rawdata`, `glm-speed`, `glm-angular-speed`, `decode-speed`, `interanimal-decode-speed` or
        `dlc-videos`. If not provided, all.
    subjects : str or list of str, optional
        Labels such as `rat73`, with or without `sub-`. If not provided, all.
    sessions : str or list of str, optional
        Labels such as `20220523`, with or without `ses-`. If not provided, all.
    acqs : str or list of str, optional
        Labels such as `slice32`, with or without `acq-`. If not provided, all.
    datatypes : str or list of str, optional
        `fusi`, `angio` or `motion`. If not provided, all.
    refresh : bool, default: False
        As for `fetch_nunez_elizalde_2022`.
    download : bool, default: True
        As for `fetch_nunez_elizalde_2022`.
    progress : bool or callable, default: True
        As for `fetch_nunez_elizalde_2022`.
    print_citation : bool, default: True
        Whether to print what to cite.

    Returns
    -------
    BIDSDataset
        The whole dataset, on disk or not; it can be used like the path of its root.

    Raises
    ------
    ConfusiusDatasetsError
        As `fetch_nunez_elizalde_2022`, in the same cases.

    References
    ----------
    .. [1] Cybis Pereira, F., et al. (2026). A vascular code for speed in the spatial navigation
       system. Cell Reports, 45(1). https://doi.org/10.1016/j.celrep.2025.116791
    .. [2] Data in fUSI-BIDS: https://osf.io/2v6f7/ (CC BY 4.0).

    Examples
    --------
    The results of one analysis for all rats::

        dataset = fetch_cybis_pereira_2026(datasets="glm-speed")
    """
    return _fetch(
        CYBIS_PEREIRA_2026,
        data_dir,
        {
            "datasets": datasets,
            "subjects": subjects,
            "sessions": sessions,
            "acqs": acqs,
            "datatypes": datatypes,
        },
        refresh=refresh,
        download=download,
        progress=progress,
        print_citation=print_citation,
    )


def fetch_sample(
    data_dir: str | os.PathLike[str] | None = None,
    *,
    datasets: Labels = None,
    subjects: Labels = None,
    sessions: Labels = None,
    tasks: Labels = None,
    acqs: Labels = None,
    datatypes: Labels = None,
    refresh: bool = False,
    download: bool = True,
    progress: ProgressOption = True,
) -> BIDSDataset:
    """Fetch simulated recordings that the package makes itself: no network is needed (24 MB).

    Two mice, two sessions, two tasks (`rest`, and `checkerboard` with its events) and two slices,
    angiographies, and in `groundtruth` the voxels that respond. Apart from where the bytes come
    from, everything is as with the public datasets.

    Parameters
    ----------
    data_dir : str or path-like, optional
        Folder of all datasets. If not provided, see `get_datasets_dir`.
    datasets : str or list of str, optional
        `rawdata` or `groundtruth`. If not provided, both.
    subjects : str or list of str, optional
        `mouse1` or `mouse2`. If not provided, both.
    sessions : str or list of str, optional
        `day1` or `day2`. If not provided, both.
    tasks : str or list of str, optional
        `rest` or `checkerboard`. If not provided, both.
    acqs : str or list of str, optional
        `slice01` or `slice02`. If not provided, both.
    datatypes : str or list of str, optional
        `fusi` or `angio`. If not provided, both.
    refresh : bool, default: False
        As for `fetch_nunez_elizalde_2022`.
    download : bool, default: True
        As for `fetch_nunez_elizalde_2022`.
    progress : bool or callable, default: True
        As for `fetch_nunez_elizalde_2022`.

    Returns
    -------
    BIDSDataset
        The whole dataset, on disk or not; it can be used like the path of its root.

    Raises
    ------
    ConfusiusDatasetsError
        As `fetch_nunez_elizalde_2022`, but for those of the network.

    References
    ----------
    .. [1] Simulated for this package; CC0 1.0.

    Examples
    --------
    >>> from confusius_datasets import fetch_sample
    >>> dataset = fetch_sample(subjects="mouse1", tasks="rest", acqs="slice01", progress=False)
    >>> dataset.load(subject="mouse1", session="day1", task="rest", acquisition="slice01").shape
    (120, 1, 48, 64)
    """
    return _fetch(
        SAMPLE,
        data_dir,
        {
            "datasets": datasets,
            "subjects": subjects,
            "sessions": sessions,
            "tasks": tasks,
            "acqs": acqs,
            "datatypes": datatypes,
        },
        refresh=refresh,
        download=download,
        progress=progress,
        print_citation=False,
    )


def fetch_template_pepe_mariani_2026(
    data_dir: str | os.PathLike[str] | None = None,
    *,
    refresh: bool = False,
    progress: ProgressOption = True,
    print_citation: bool = True,
) -> xr.DataArray:
    """Fetch the mouse fUSI template of Pepe, Mariani et al. (5.5 MB on OSF) and load it.

    Parameters
    ----------
    data_dir : str or path-like, optional
        Folder of all datasets. If not provided, see `get_datasets_dir`.
    refresh : bool, default: False
        Whether to compare the local copy with the host's, and to download it again if it differs.
    progress : bool or callable, default: True
        As for `fetch_nunez_elizalde_2022`.
    print_citation : bool, default: True
        Whether to print what to cite.

    Returns
    -------
    (z, y, x) xarray.DataArray
        Power Doppler template; `z`, `y`, `x` in mm. `attrs["affines"]["physical_to_sform"]` leads
        from its coordinates into the space of the Allen mouse atlas in mm, and `attrs["citation"]`
        says what to cite.

    Raises
    ------
    OfflineError
        If the template is missing and the network may not be used.
    SourceError
        If the host cannot be reached or does not have the template.
    DownloadError
        If it could not be downloaded.
    FileFormatError
        If the local copy is damaged; `refresh=True` replaces it.

    References
    ----------
    .. [1] Pepe, C., et al. (2026). Structural and dynamic embedding of the mouse functional
       connectome revealed by functional ultrasound imaging (fUSI). bioRxiv.
       https://doi.org/10.64898/2026.02.05.704055
    .. [2] Data: https://osf.io/43tu9/ (CC BY 4.0).

    Examples
    --------
    The template, and the way from its coordinates into the atlas's space::

        template = fetch_template_pepe_mariani_2026()
        template.attrs["affines"]["physical_to_sform"]
    """
    from confusius_datasets._io import load

    spec = TEMPLATE_PEPE_MARIANI_2026
    path = _fetch_file(spec, data_dir, refresh=refresh, progress=progress)
    if print_citation:
        print(spec.notice)
    template = load(path)
    template.attrs["citation"] = spec.citation
    return template


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
    │ fetch_nunez_elizalde_2022        │ 6.983 GB │    ✗    │
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
    for spec in LISTED.values():
        mark = marks[0] if _holds_something(folder / spec.folder) else marks[1]
        table.add_row(spec.fetcher, format_nbytes(spec.nbytes), mark)
    console.print(table)


def _holds_something(folder: Path) -> bool:
    """Say whether a folder can be read and is not empty but for what is ours."""
    try:
        return any(path.name != HIDDEN_FOLDER for path in folder.iterdir())
    except OSError:
        return False


def _fetch(
    spec: DatasetSpec,
    data_dir: str | os.PathLike[str] | None,
    given: Mapping[str, Labels],
    *,
    refresh: bool,
    download: bool,
    progress: ProgressOption,
    print_citation: bool,
) -> BIDSDataset:
    """Fetch a dataset: what every fetcher of one does."""
    filters = parse_filters(given, valid=spec.choices, name=spec.name)
    root = get_datasets_dir(data_dir) / spec.folder
    index = _ensure_index(spec, root, refresh=refresh)
    selected = select(index, filters, name=spec.name)
    _warn_if_emptied(index, selected, filters, spec.name)
    wanted = selected if download else index.restricted(lambda entry: _describes(entry.relpath))
    dataset = BIDSDataset(root, spec=spec, progress=progress)
    if download or not is_offline():  # what describes the dataset is wanted, but not needed
        make_local(wanted.values(), root, spec.source, progress=progress)
    if print_citation and spec.notice:
        print(spec.notice)
    return dataset


def _fetch_file(
    spec: DatasetSpec,
    data_dir: str | os.PathLike[str] | None,
    *,
    refresh: bool,
    progress: ProgressOption,
) -> Path:
    """Fetch a dataset of one file, and return where it is.

    A refresh hashes the local copy: naming the one file there is asks for its newest version.
    """
    from confusius_datasets._download import verify_files

    root = get_datasets_dir(data_dir) / spec.folder
    path = root / str(spec.file)
    if refresh or not path.exists():
        index = _fetch_index(spec, root)
        stale = path.exists() and verify_files(index.values(), root)[path.name] != "ok"
        make_local(index.values(), root, spec.source, progress=progress, force=stale)
    return path


def _ensure_index(spec: DatasetSpec, root: Path, *, refresh: bool) -> DatasetIndex:
    """Return a dataset's index, from the disk where it is there, else from the host."""
    path = root / INDEX_NAME
    if path.exists() and not refresh:
        return read_index_file(spec.source, root)
    newest = _fetch_index(spec, root)
    with lock_index(root):
        index = _merge_with_local(spec, newest, path)
        write_index_file(spec.source, root, index)
    return index


def _fetch_index(spec: DatasetSpec, root: Path) -> DatasetIndex:
    """Get a dataset's index from its host, saying which dataset it is where that is forbidden."""
    try:
        return spec.source.list_files(get_client())
    except OfflineError as error:
        what = spec.name if spec.file else f"the index of {spec.name}"
        known = (root / (spec.file or INDEX_NAME)).exists()
        raise OfflineError(
            f"The network may not be used (CONFUSIUS_OFFLINE is set), and {what} "
            f"{'cannot be refreshed' if known else f'is not in {root}'}. Unset it, or "
            "fetch on a machine with a network and copy the folder."
        ) from error


def _merge_with_local(spec: DatasetSpec, newest: DatasetIndex, path: Path) -> DatasetIndex:
    """Merge the host's index with the one on disk, and warn of what changed upstream."""
    try:
        local = read_index_file(spec.source, path.parent)
    except FileNotFoundError:
        return newest
    except DatasetIndexError:
        return newest  # a damaged index is what refresh=True repairs
    from confusius_datasets._download import FileStatus, verify_files

    root = path.parent
    changed = [relpath for relpath in local.changed(newest) if is_here(root / relpath)]
    if changed:
        files = "1 file" if len(changed) == 1 else f"{len(changed)} files"
        warnings.warn(
            f"{files} in {root} changed upstream since downloaded: {list_some(changed)}. What is "
            "on disk was left as it is; to get the new version, call ds.download(..., force=True) "
            "on the dataset, with a query that matches it.",
            stacklevel=5,
        )
    return local.merged(
        newest,
        on_disk=lambda relpath: is_here(root / relpath),
        is_same=lambda entry: verify_files([entry], root)[entry.relpath] is FileStatus.OK,
    )


def _describes(relpath: str) -> bool:
    """Say whether a file describes a dataset as a whole: one in the root, or a description."""
    return "/" not in relpath or (
        relpath.startswith("derivatives/") and relpath.endswith("/dataset_description.json")
    )


def _warn_if_emptied(
    index: DatasetIndex, selected: DatasetIndex, filters: Filters, name: str
) -> None:
    """Warn when labels that exist one by one leave nothing together."""
    for filter_name, labels in filters.items():
        entity = FILTER_ENTITIES[filter_name][0]
        others = {other: filters[other] for other in filters if other != filter_name}
        if not others or _values(selected, entity):
            continue
        if there := sorted(_values(select(index, others), entity)):
            warnings.warn(
                f"No file of {name} with {filter_name}={', '.join(sorted(labels))} matches the "
                f"other filters; with them, there is {list_some(there)}.",
                stacklevel=4,
            )


def _values(index: DatasetIndex, entity: str) -> set[str]:
    """Collect the values that an entity has in an index."""
    each = map(filterable_entities, index)
    return {entities[entity] for entities in each if entity in entities}
