"""The one way from a spec to a dataset or a template: what is downloaded up front, and printed.

Every `fetch_*` is a call of one of these two. Nothing here knows a host's protocol.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import inspect
import numbers
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from confusius_datasets._cache import cache_folder, is_file_here, is_here, is_offline
from confusius_datasets._dataset import BIDSDataset, open_local_copy
from confusius_datasets._index import DatasetIndex, FileEntry
from confusius_datasets._local import (
    LocalCopy,
    read_origin,
    select_release,
    selected_version,
    take_over_release,
    write_origin,
)
from confusius_datasets._selection import (
    FILTER_ENTITIES,
    Filters,
    labels_of,
    parse_filters,
    select,
)
from confusius_datasets._sources import S3Source, find_version_nearby, has_mirror_folders
from confusius_datasets._spec import DatasetSpec
from confusius_datasets._text import list_some, print_once, warn_user
from confusius_datasets.errors import (
    ArgumentError,
    CacheError,
    DatasetIndexError,
    OfflineError,
    SourceError,
    UnknownArgumentError,
)

if TYPE_CHECKING:
    import xarray as xr

    from confusius_datasets._progress import ProgressOption

__all__ = [
    "Labels",
    "check_labels",
    "fetch",
    "fetch_template",
    "fetcher",
    "number_labels",
    "plan",
    "root_of",
]

Labels = str | Iterable[str] | None
"""What a filter takes: a label, several, or `None` for all."""

LATEST = "latest"
"""What stands for the newest release."""

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

OTHER_NAMES = {
    **{entity: name for name, (entity, _) in FILTER_ENTITIES.items()},
    "scope": "datasets",
    "suffix": "datatypes",
    "root": "data_dir",
    "path": "data_dir",
    "force": "refresh",
}
"""What PyBIDS and others call arguments of a fetcher, with the fetcher's own name."""


def fetcher(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Let a fetcher answer a keyword it does not have with the one that was meant.

    `progress_callback` is understood as well: so the reference package calls `progress`.
    """
    known = list(inspect.signature(function).parameters)

    @functools.wraps(function)
    def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        for name in [name for name in kwargs if name not in known]:
            if name == "progress_callback" and "progress" not in kwargs:
                callback = kwargs.pop(name)
                if callback is not None:
                    kwargs["progress"] = callback
            else:
                raise _unknown_argument(function.__name__, name, known)
        return function(*args, **kwargs)

    return call


def _unknown_argument(function: str, name: str, known: list[str]) -> UnknownArgumentError:
    """Name the argument that was meant."""
    meant = [OTHER_NAMES.get(name, ""), *difflib.get_close_matches(name, known, n=1)]
    nearest = next((other for other in meant if other in known), None)
    hint = f"Did you mean {nearest!r}? " if nearest else ""
    if name == "progress_callback":
        hint = "It is the same as 'progress', which is given too. "
    return UnknownArgumentError(
        f"{function} has no argument {name!r}. {hint}It takes {', '.join(known)}."
    )


def fetch(
    spec: DatasetSpec,
    data_dir: str | os.PathLike[str] | None,
    given: Mapping[str, Labels],
    *,
    refresh: bool,
    download: bool,
    progress: ProgressOption,
    print_citation: bool,
    version: str | None = None,
    root: Path | None = None,
) -> BIDSDataset:
    """Fetch a dataset, into its usual folder unless `root` is given: what every fetcher does."""
    filters = parse_filters(given, valid=spec.filters, name=spec.name)
    is_latest = version == LATEST
    if version is not None:
        spec = _find_release(spec, data_dir, version, refresh=refresh)
    local = _local_copy(spec, data_dir, root)
    _check_origin(spec, local.root)
    # Before anything is downloaded: a licence may forbid what somebody is about to do.
    _print_notice(spec, print_citation)
    check = None
    if root is None and isinstance(data_dir, str) and not is_here(cache_folder(data_dir)):
        check = functools.partial(_refuse_label, spec, data_dir)
        check(_usual_index(spec))
    if spec.release and not refresh:
        take_over_release(spec.release, local.root)
    local.open(refresh=refresh, check=check)
    _remember_origin(spec, local.root)
    if spec.release and root is None:
        select_release(spec.release, local.root, local.index, replaced=is_latest)
    index = local.index
    selected = select(index, filters, keep=spec.keep, name=spec.name, naming=spec.naming)
    _warn_if_emptied(index, selected, filters, spec)
    # A folder that was opened by its path may be read-only; what it has is enough.
    described = [] if root else filter(_describes, index)
    wanted = selected if download else described
    # What describes the dataset is wanted, but not needed; offline, a mirror may have it.
    is_due = download or not is_offline()
    if is_due or has_mirror_folders():
        with contextlib.suppress(*(() if is_due else (OfflineError,))):
            local.ensure(wanted, progress=progress)
    return open_local_copy(local, spec, progress=progress)


def plan(
    spec: DatasetSpec,
    data_dir: str | os.PathLike[str] | None,
    given: Mapping[str, Labels],
    *,
    refresh: bool,
    version: str | None = None,
    root: Path | None = None,
) -> list[FileEntry]:
    """List what a fetch would download; the index alone comes."""
    filters = parse_filters(given, valid=spec.filters, name=spec.name)
    if version is not None:
        spec = _find_release(spec, data_dir, version, refresh=refresh)
    local = _local_copy(spec, data_dir, root)
    _check_origin(spec, local.root)
    if spec.release and not refresh:
        take_over_release(spec.release, local.root)
    local.open(refresh=refresh)
    selected = select(local.index, filters, keep=spec.keep, name=spec.name, naming=spec.naming)
    return local.missing(selected)


def fetch_template(
    spec: DatasetSpec,
    data_dir: str | os.PathLike[str] | None,
    *,
    refresh: bool,
    progress: ProgressOption,
    print_citation: bool,
    version: str | None = None,
) -> xr.DataArray:
    """Fetch a template, and load it.

    A refresh hashes the local copy: naming the one file there is asks for its newest version.
    """
    from confusius_datasets._io import load

    is_latest = version == LATEST
    if version is not None:
        spec = _find_release(spec, data_dir, version, refresh=refresh)
    local = _local_copy(spec, data_dir)
    file = str(spec.file)
    path = local.root / file
    _print_notice(spec, print_citation)
    if refresh or not is_file_here(local.root, file):
        # No warning of an outdated file, as `open` gives it: it is renewed right here.
        if refresh:
            local.refresh()
        else:
            local.open()
        stale = is_here(path) and local.verify([file])[file] != "ok"
        local.ensure([file], progress=progress, force=stale)
        _remember_origin(spec, local.root)
        if spec.release:
            select_release(spec.release, local.root, local.index, replaced=is_latest)
    template = load(path)
    template.attrs["citation"] = spec.citation
    return template


def _find_release(
    spec: DatasetSpec, data_dir: str | os.PathLike[str] | None, version: str, *, refresh: bool
) -> DatasetSpec:
    """Return the release that is asked for; the latest is the selected one until a refresh."""
    if version == LATEST and spec.releases is not None:
        folder = root_of(spec, cache_folder(data_dir))
        known = None if refresh else selected_version(spec.releases, folder)
        version = known or _find_newest_version(spec, spec.releases, nearby=not refresh)
    return spec.at_release(version)


def _find_newest_version(spec: DatasetSpec, releases: S3Source, *, nearby: bool) -> str:
    """Ask the host which release is the newest one; where that fails, look into the mirrors."""
    try:
        return spec.find_newest_version()
    except (OfflineError, SourceError) as error:
        known = find_version_nearby(releases, spec.folder) if nearby else None
        if known is None:
            raise
        if not isinstance(error, OfflineError):
            warn_user(
                f"Nobody says which release of {spec.name} is the newest, so it is {known}, the "
                "newest in the folders of CONFUSIUS_MIRRORS. Call again with refresh=True later. "
                f"The reason: {error}"
            )
        return known


def number_labels(labels: Labels | int | Iterable[int]) -> Labels:
    """Write labels that are numbers as text, as names of files have them."""
    if labels is None or isinstance(labels, str):
        return labels
    listed: list[Any] = list(labels) if isinstance(labels, Iterable) else [labels]
    return [str(label) if _is_number(label) else label for label in listed]


def check_labels(dataset: BIDSDataset, given: Mapping[str, Labels]) -> None:
    """Refuse labels that a folder without a host does not have; there is nothing to download."""
    filters = parse_filters(given, name=dataset.name)
    if not filters:  # or a large folder would be looked through for nothing
        return
    relpaths = LocalCopy(dataset.root).walk().files
    index = DatasetIndex(map(FileEntry, relpaths), origin=str(dataset.root))
    select(index, filters, name=dataset.name)


def root_of(spec: DatasetSpec, folder: Path) -> Path:
    """Return the root of a dataset below a folder; one of an earlier name is found."""
    roots = [folder / name for name in (spec.folder, *spec.earlier_folders)]
    if len(roots) == 1:
        return roots[0]
    return next((root for root in roots if is_here(root / spec.source.index_name)), roots[0])


def _local_copy(
    spec: DatasetSpec, data_dir: str | os.PathLike[str] | None, root: Path | None = None
) -> LocalCopy:
    """Return the local copy of a dataset, which may be empty, without touching the disk."""
    root = root or root_of(spec, cache_folder(data_dir))
    return LocalCopy(root, spec.source, name=spec.name, folder=spec.folder)


def _check_origin(spec: DatasetSpec, root: Path) -> None:
    """Refuse a folder that holds another dataset; two addresses may give one folder's name."""
    known = _known_origin(root)
    if known not in (None, spec.origin):
        raise CacheError(
            f"{root} holds {known}, so {spec.origin} cannot be fetched into it. Choose another "
            "folder with data_dir=, or delete this one."
        )


def _remember_origin(spec: DatasetSpec, root: Path) -> None:
    """Let a root remember its dataset, so that its path is enough to open it again."""
    if _known_origin(root) is None:
        write_origin(root, spec.origin)


def _known_origin(root: Path) -> str | None:
    """Return what a root remembers, if that can be read."""
    try:
        return read_origin(root)
    except CacheError:
        return None


def _print_notice(spec: DatasetSpec, wanted: bool) -> None:
    """Print what to cite, and the licence, once for each dataset in a process."""
    if wanted and spec.notice:
        print_once(spec.notice)


def _usual_index(spec: DatasetSpec) -> DatasetIndex:
    """Return the index in the usual folder of datasets, where there is one."""
    try:
        return _local_copy(spec, None).index
    except (CacheError, DatasetIndexError):
        return DatasetIndex()


def _refuse_label(spec: DatasetSpec, data_dir: str, index: DatasetIndex) -> None:
    """Refuse a label that stands where the folder of all datasets belongs.

    `fetch_x("CR020")` would otherwise download everything into a new folder of that name.
    """
    for name in spec.filters:
        if name not in FILTER_ENTITIES:
            continue
        known = {*spec.filters[name], *labels_of(index, name, naming=spec.naming)}
        if data_dir.removeprefix(FILTER_ENTITIES[name][1]) in known:
            raise ArgumentError(
                f"{data_dir!r} is a label of {spec.name}, and there is no such folder. The first "
                f"argument is the folder of all datasets: did you mean {name}={data_dir!r}? For a "
                f"new folder of this name, write {'./' + data_dir!r}."
            )


def _describes(relpath: str) -> bool:
    """Say whether a file describes a dataset as a whole: one in the root, or a description."""
    return "/" not in relpath or (
        relpath.startswith("derivatives/") and relpath.endswith("/dataset_description.json")
    )


def _warn_if_emptied(
    index: DatasetIndex, selected: DatasetIndex, filters: Filters, spec: DatasetSpec
) -> None:
    """Warn when labels that exist one by one leave nothing together."""
    emptied, left = [], []
    for name in filters:
        others = {other: filters[other] for other in filters if other != name}
        if name not in FILTER_ENTITIES or not others:
            continue
        if labels_of(selected, name, naming=spec.naming):
            continue
        possible = select(index, others, keep=spec.keep, naming=spec.naming)
        if there := sorted(labels_of(possible, name, with_all=others, naming=spec.naming)):
            emptied.append(f"{name}={', '.join(sorted(filters[name]))}")
            left.append(f"{name} {list_some(there)}")
    if emptied:
        warn_user(
            f"No file of {spec.name} with {' or '.join(emptied)} matches the other filters; with "
            f"them, there is {'; '.join(left)}."
        )


def _is_number(label: object) -> bool:
    return isinstance(label, numbers.Integral) and not isinstance(label, bool)
