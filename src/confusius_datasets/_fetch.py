"""The one way from a spec to a dataset or a template: what is downloaded up front, and printed.

Every `fetch_*` is a call of one of these two. Nothing here knows a host's protocol.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from confusius_datasets._cache import get_datasets_dir, is_here, is_offline
from confusius_datasets._dataset import BIDSDataset, open_local_copy
from confusius_datasets._index import DatasetIndex
from confusius_datasets._local import LocalCopy
from confusius_datasets._selection import (
    FILTER_ENTITIES,
    Filters,
    filterable_entities,
    parse_filters,
    select,
)
from confusius_datasets._spec import DatasetSpec
from confusius_datasets._text import list_some, warn_user

if TYPE_CHECKING:
    import xarray as xr

    from confusius_datasets._progress import ProgressOption

__all__ = ["Labels", "fetch", "fetch_template"]

Labels = str | Iterable[str] | None
"""What a filter takes: a label, several, or `None` for all."""


def fetch(
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
    filters = parse_filters(given, valid=spec.filters, name=spec.name)
    local = LocalCopy(get_datasets_dir(data_dir) / spec.folder, spec.source, name=spec.name)
    local.open(refresh=refresh)
    index = local.index
    selected = select(index, filters, keep=spec.keep, name=spec.name)
    _warn_if_emptied(index, selected, filters, spec.name)
    wanted = selected if download else filter(_describes, index)
    if download or not is_offline():  # what describes the dataset is wanted, but not needed
        local.ensure(wanted, progress=progress)
    dataset = open_local_copy(local, spec, progress=progress)
    if print_citation and spec.notice:
        print(spec.notice)
    return dataset


def fetch_template(
    spec: DatasetSpec,
    data_dir: str | os.PathLike[str] | None,
    *,
    refresh: bool,
    progress: ProgressOption,
    print_citation: bool,
) -> xr.DataArray:
    """Fetch a template, and load it.

    A refresh hashes the local copy: naming the one file there is asks for its newest version.
    """
    from confusius_datasets._io import load

    local = LocalCopy(get_datasets_dir(data_dir) / spec.folder, spec.source, name=spec.name)
    file = str(spec.file)
    path = local.root / file
    if refresh or not is_here(path):
        # No warning of an outdated file, as `open` gives it: it is renewed right here.
        local.refresh()
        stale = is_here(path) and local.verify([file])[file] != "ok"
        local.ensure([file], progress=progress, force=stale)
    if print_citation:
        print(spec.notice)
    template = load(path)
    template.attrs["citation"] = spec.citation
    return template


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
        if filter_name not in FILTER_ENTITIES:
            continue
        entity = FILTER_ENTITIES[filter_name][0]
        others = {other: filters[other] for other in filters if other != filter_name}
        if not others or _values(selected, entity):
            continue
        if there := sorted(_values(select(index, others), entity)):
            warn_user(
                f"No file of {name} with {filter_name}={', '.join(sorted(labels))} matches the "
                f"other filters; with them, there is {list_some(there)}."
            )


def _values(index: DatasetIndex, entity: str) -> set[str]:
    """Collect the values that an entity has in an index."""
    each = map(filterable_entities, index)
    return {entities[entity] for entities in each if entity in entities}
