"""An empty answer can be explained, and an error says what may have been meant."""

from __future__ import annotations

from pathlib import Path

import pytest
from bids.exceptions import BIDSEntityError, TargetError

from confusius_datasets import BIDSFile, Query, open_dataset
from confusius_datasets._dataset import BIDSDataset
from confusius_datasets._layout import explain_empty
from confusius_datasets.errors import UnknownEntityError
from trees import inheritance_files, write_tree


@pytest.fixture
def dataset(tmp_path: Path) -> BIDSDataset:
    """Open the tree of sidecars at every level."""
    return open_dataset(write_tree(tmp_path / "tree", inheritance_files()))


def test_explain_counts_each_filter_alone_and_together(dataset: BIDSDataset) -> None:
    """Metadata fields, lists and queries count as any filter does, in the order they are given."""
    counts = dataset.explain(
        suffix="pwd", RepetitionTime=[0.4, 0.5], subject="02", run=Query.ANY, desc=None
    )

    assert list(counts.columns) == ["filter", "value", "alone", "together"]
    assert counts["filter"].tolist() == ["suffix", "RepetitionTime", "subject", "run", "desc"]
    for row in counts.itertuples():
        assert row.alone == len(dataset.get(**{row.filter: row.value}))
    assert counts["together"].tolist() == [12, 4, 2, 2, 2]


def test_explain_takes_the_query_as_it_was_asked(dataset: BIDSDataset) -> None:
    """The scope counts as a filter; what does not filter is left out of the counts."""
    counts = dataset.explain(
        return_type="id", target="subject", scope="glm", subject="01", regex_search=True
    )

    assert counts["filter"].tolist() == ["scope", "subject"]
    assert counts["alone"].tolist() == [3, 9]
    assert counts["together"].tolist() == [3, 1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("query", "message"),
    [
        (
            {"suffix": "pwd", "subject": "011"},
            "No file matches suffix='pwd', subject='011': no file at all has subject='011'. "
            "Did you mean '01'? There are 01, 02, 10.",
        ),
        (
            {"suffix": "pwd", "scope": "glmm"},
            "No file matches suffix='pwd', scope='glmm': no file at all has scope='glmm'. "
            "Did you mean 'glm'? There are raw, derivatives, glm, no-description.",
        ),
        (
            {"suffix": "pwd", "RepetitionTime": 3},
            "No file matches suffix='pwd', RepetitionTime=3: no file at all has RepetitionTime=3. "
            "There are 0.4, 0.5.",
        ),
        (
            {"suffix": "pwd", "datatype": "micr"},
            "No file matches suffix='pwd', datatype='micr': datatype='micr' leaves none of the "
            "files that the filters before it leave. See explain for the counts.",
        ),
    ],
)
def test_empty_answer_names_the_filter_that_emptied_it(
    dataset: BIDSDataset, query: dict[str, object], message: str
) -> None:
    """The first filter that leaves nothing is named, with the values that there are."""
    assert explain_empty(dataset.layout, query) == message


def test_unknown_names_are_pybidss_errors_with_a_way_on(dataset: BIDSDataset) -> None:
    """A filter, a target or a getter that is unknown is told in PyBIDS's word, or the nearest."""
    with pytest.raises(
        UnknownEntityError,
        match=r"^'acq' is not a recognized entity\. PyBIDS calls it 'acquisition'\. If you're sure "
        r"you want to impose this constraint, set invalid_filters='allow'\.$",
    ):
        dataset.get(acq="slice01")
    with pytest.raises(UnknownEntityError, match=r"Did you mean 'RepetitionTime'\?"):
        dataset.get(RepetitonTime=0.4)
    with pytest.raises(TargetError, match=r"'ses' is not .*\. PyBIDS calls it 'session'\.$"):
        dataset.get(return_type="id", target="ses")
    with pytest.raises(TargetError, match=r"'zzz' is not .*\. There are subject, session, "):
        dataset.get(return_type="id", target="zzz")
    with pytest.raises(BIDSEntityError, match=r"^'get_acqs' can't .* calls it 'acquisition'\.$"):
        dataset.get_acqs()
    assert not hasattr(dataset, "get_nonsense")


def test_names_for_queries_are_public(dataset: BIDSDataset) -> None:
    """`Query` and `BIDSFile` are PyBIDS's own, importable from the package."""
    import bids.layout

    assert Query is bids.layout.Query
    assert BIDSFile is bids.layout.BIDSFile
    assert all(isinstance(file, BIDSFile) for file in dataset.get())
