"""Rules of selecting that hold for every index and every filter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confusius_datasets._entities import parse_entities
from confusius_datasets._index import DatasetIndex, FileEntry
from confusius_datasets._selection import FILTER_ENTITIES, dataset_name, parse_filters, select
from replicas import CYBIS_PATHS, NUNEZ_PATHS

LABELS = {
    "subjects": ["CR017", "CR020", "rat73", "rat75"],
    "sessions": ["20191113", "20191122", "20220523"],
    "tasks": ["spontaneous", "kalatsky", "openfield"],
    "acqs": ["slice01", "slice03", "slice32", "slice37"],
    "datatypes": ["fusi", "angio", "motion"],
    "datasets": ["rawdata", "allenccf_align", "glm-speed", "dlc-videos"],
}

PATHS = sorted({*NUNEZ_PATHS, *CYBIS_PATHS, "task-kalatsky_events.json", "code/sub-CR017_x.py"})
BOTH = DatasetIndex(FileEntry(relpath, 1) for relpath in PATHS)

filters = st.fixed_dictionaries(
    {},
    optional={
        name: st.lists(st.sampled_from(labels), min_size=1, max_size=3, unique=True)
        for name, labels in LABELS.items()
    },
)


@pytest.mark.slow
@given(filters)
def test_selecting_twice_changes_nothing(given_filters: dict[str, list[str]]) -> None:
    """The rule looks at one file at a time; a second pass finds the same."""
    wanted = parse_filters(given_filters)
    once = select(BOTH, wanted)

    kept = {path for path in once if path in select(BOTH, wanted)}

    assert kept == set(once)


@pytest.mark.slow
@given(filters, filters)
def test_more_filters_never_select_more(
    some: dict[str, list[str]], more: dict[str, list[str]]
) -> None:
    """Each filter only takes away."""
    assert set(select(BOTH, parse_filters(more | some))) <= set(select(BOTH, parse_filters(some)))


@pytest.mark.slow
@given(filters)
def test_each_file_is_kept_by_the_rule_alone(given_filters: dict[str, list[str]]) -> None:
    """A file is kept when it lacks the entity or has a listed value, or is the whole root's."""
    kept = set(select(BOTH, parse_filters(given_filters)))

    for relpath in BOTH:
        dataset = dataset_name(relpath)
        entities = parse_entities(relpath) | {"dataset": dataset} if dataset else {}
        values = {name: entities.get(FILTER_ENTITIES[name][0]) for name in given_filters}
        expected = all(
            value is None or value in given_filters[name] for name, value in values.items()
        )
        assert (relpath in kept) is expected, relpath
