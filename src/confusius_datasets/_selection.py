"""Filters → a smaller index, by one rule; pure.

A file is kept when, for every filter given, it either lacks that entity or its value is listed. So
angiographies outlive a filter on tasks, and what aggregates over sessions one on sessions. Files
that belong to the whole root, such as `participants.tsv` or `code/`, pass every filter.
Nothing here knows hosts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

from confusius_datasets._entities import EntityParser, parse_entities
from confusius_datasets._index import DatasetIndex
from confusius_datasets._text import did_you_mean, list_some
from confusius_datasets.errors import FilterError, UnknownLabelError

__all__ = [
    "FILTER_ENTITIES",
    "Filters",
    "Naming",
    "dataset_name",
    "filterable_entities",
    "labels_of",
    "parse_filters",
    "select",
]

Filters = Mapping[str, frozenset[str]]
"""The labels each filter lists, by the name of the fetchers' argument."""

OTHER_DATATYPE = MappingProxyType({"angio": "susi", "susi": "angio"})
"""What the same folder is called in releases, and on the host before."""

Naming = Callable[[str], str | None]
"""Which of a root's datasets a file belongs to, as `dataset_name` says it for most."""

Parse = Callable[[str], Mapping[str, str]]
"""Reads the entities of a path."""

FILTER_ENTITIES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "subjects": ("subject", "sub-"),
        "sessions": ("session", "ses-"),
        "tasks": ("task", "task-"),
        "acqs": ("acquisition", "acq-"),
        "runs": ("run", "run-"),
        "datatypes": ("datatype", ""),
        "datasets": ("dataset", ""),
    }
)
"""PyBIDS's entity, and the prefix a label may carry, for each filter of the fetchers."""


def parse_filters(
    given: Mapping[str, str | Iterable[str] | None],
    *,
    valid: Mapping[str, Sequence[str]] | None = None,
    name: str = "the dataset",
) -> Filters:
    """Read the filters of a fetcher; `valid` has the values of those that it lists in full."""
    filters = {
        filter_name: _parse_labels(filter_name, value)
        for filter_name, value in given.items()
        if value is not None
    }
    for filter_name, choices in (valid or {}).items():
        if choices:
            known = {*choices, *map(OTHER_DATATYPE.get, choices)}
            for label in sorted(filters.get(filter_name, frozenset()) - known):
                raise _unknown(filter_name, label, choices, name)
    return MappingProxyType(filters)


def dataset_name(relpath: str) -> str | None:
    """Say which of a root's datasets a file belongs to, as the filter `datasets` names them."""
    parts = relpath.split("/")
    if parts[0] in ("derivatives", "sourcedata"):
        return parts[1] if len(parts) > 2 else None
    return "rawdata" if parts[0].startswith("sub-") else None


def select(
    index: DatasetIndex,
    filters: Filters,
    *,
    keep: Callable[[str, Filters], bool] | None = None,
    name: str = "the dataset",
    naming: Naming = dataset_name,
) -> DatasetIndex:
    """Return the files of an index that filters keep, and a dataset's own predicate too."""
    wanted = {
        FILTER_ENTITIES[filter_name][0]: labels
        for filter_name, labels in filters.items()
        if filter_name in FILTER_ENTITIES  # others are for the predicate alone
    }
    if keep is not None:
        index = index.restricted(lambda relpath: keep(relpath, filters))
    if not wanted:
        return index
    parse = EntityParser().parse
    known_labels = _known_labels(index, wanted, naming, parse)
    for filter_name in filters:
        entity = _entity(filter_name)
        if entity not in wanted:
            continue
        known = known_labels[entity]
        if entity == "datatype":
            wanted[entity] = frozenset(
                label if label in known else OTHER_DATATYPE.get(label, label)
                for label in wanted[entity]
            )
        for label in sorted(wanted[entity] - known):
            raise _unknown(filter_name, label, sorted(known), name)

    def is_selected(relpath: str) -> bool:
        found = filterable_entities(relpath, naming=naming, parse=parse)
        return all(
            entity not in found or found[entity] in labels for entity, labels in wanted.items()
        )

    return index.restricted(is_selected)


def _known_labels(
    index: Iterable[str], entities: Iterable[str], naming: Naming, parse: Parse
) -> dict[str, set[str]]:
    """Collect the labels of some entities; paths are parsed twice rather than all remembered."""
    known: dict[str, set[str]] = {entity: set() for entity in entities}
    for relpath in index:
        found = filterable_entities(relpath, naming=naming, parse=parse)
        for entity in known.keys() & found.keys():
            known[entity].add(found[entity])
    return known


def filterable_entities(
    relpath: str, *, naming: Naming = dataset_name, parse: Parse = parse_entities
) -> dict[str, str]:
    """Return what filters are matched with."""
    dataset = naming(relpath)
    if dataset is None:
        return {}
    entities = {**parse(relpath), "dataset": dataset}
    if "subject" not in entities:
        # A folder `angio` that no subject owns is not a datatype: `derivatives/Params/angio`.
        entities.pop("datatype", None)
    return entities


def labels_of(
    index: Iterable[str],
    filter_name: str,
    *,
    with_all: Iterable[str] = (),
    naming: Naming = dataset_name,
) -> set[str]:
    """Collect the labels of a filter, of files that have the entities of some other filters too."""
    needed = {_entity(name) for name in (filter_name, *with_all) if name in FILTER_ENTITIES}
    parse = EntityParser().parse
    each = (filterable_entities(relpath, naming=naming, parse=parse) for relpath in index)
    return {entities[_entity(filter_name)] for entities in each if needed <= entities.keys()}


def _parse_labels(name: str, value: str | Iterable[str]) -> frozenset[str]:
    """Read one filter's labels, without their prefix."""
    # An iterator is gone through once.
    listed = [value] if isinstance(value, str) or not isinstance(value, Iterable) else list(value)
    if not all(isinstance(label, str) for label in listed):
        raise FilterError(f"{name}={value!r}: expected a label or a list of labels, all text.")
    labels = frozenset(
        label.removeprefix(FILTER_ENTITIES.get(name, (name, ""))[1]) for label in listed
    )
    if not labels or "" in labels:
        raise FilterError(
            f"{name}={value!r} lists no label, so it would select nothing. Leave {name} out to "
            "select everything."
        )
    return labels


def _unknown(filter_name: str, label: str, known: Sequence[str], where: str) -> UnknownLabelError:
    """Word that a label does not exist."""
    entity = _entity(filter_name)
    has = f"It has {list_some(known)}." if known else f"It has no {entity} at all."
    return UnknownLabelError(
        f"{filter_name}: no {entity} {label!r} in {where}. {did_you_mean(label, known)}{has}"
    )


def _entity(filter_name: str) -> str:
    return FILTER_ENTITIES[filter_name][0] if filter_name in FILTER_ENTITIES else filter_name
