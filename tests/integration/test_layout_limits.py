"""Queries of any size: many values, many patterns, long numbers, patterns that take for ever."""

from __future__ import annotations

import json
import selectors
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from confusius_datasets import open_dataset
from confusius_datasets._dataset import BIDSDataset
from confusius_datasets.errors import FilterError, InvalidPatternError, UnknownLabelError
from trees import write_tree

LONG = 2**70
STEM = f"sub-{'a' * 40}/fusi/sub-{'a' * 40}_run-{LONG}"
FILES = {
    "dataset_description.json": b'{"Name": "x", "BIDSVersion": "1.9.0"}',
    "sub-02/fusi/sub-02_run-1_pwd.nii.gz": b"",
    "sub-02/fusi/sub-02_run-1_pwd.json": b'{"Number": 9007199254740993, "Text": "left"}',
    f"{STEM}_pwd.nii.gz": b"",
    f"{STEM}_pwd.json": json.dumps({"Number": LONG, "Text": "a" * 40, "Far": 1e999}).encode(),
}


@pytest.fixture
def dataset(tmp_path: Path) -> BIDSDataset:
    """Open a folder with two recordings, one of which has long values."""
    return open_dataset(write_tree(tmp_path / "bids", FILES))


def images(dataset: BIDSDataset, **query: Any) -> int:
    """Count the images that match."""
    return len(dataset.get(extension=".nii.gz", **query))


@pytest.mark.parametrize("name", ["subject", "Text"])
def test_a_thousand_patterns_are_matched(dataset: BIDSDataset, name: str) -> None:
    """SQLite nests a thousand conditions at most; patterns are no conditions of it."""
    patterns = ["^A{40}$", *(f"x{number}" for number in range(5000))]

    assert images(dataset, **{name: patterns}, regex_search=True) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value"), [("subject", "02"), ("run", 1), ("Text", "left"), ("Number", LONG)]
)
def test_values_by_the_hundred_thousand_are_compared(
    dataset: BIDSDataset, name: str, value: Any
) -> None:
    """A list of any length is compared, and its unknown values are summed up in the warning."""
    others = [10_000 + number for number in range(300_000)]
    wanted = [value, *(others if isinstance(value, int) else map(str, others))]

    if name[0].isupper():
        assert images(dataset, **{name: wanted}) == 1
        return
    with pytest.warns(UserWarning, match=f"300000 values of {name} are in no file") as caught:
        assert images(dataset, **{name: wanted}) == 1
    assert len(str(caught[0].message)) < 2000


def test_many_filters_are_understood_and_too_many_refused(dataset: BIDSDataset) -> None:
    """Two hundred filters work; what SQLite could not nest is refused before it is asked."""
    names = [f"Field{number}" for number in range(501)]

    assert images(dataset, invalid_filters="allow", **dict.fromkeys(names[:200])) == 2
    with pytest.raises(FilterError) as caught:
        dataset.get(invalid_filters="allow", **dict.fromkeys(names))
    assert str(caught.value) == (
        "The query has 501 filters, and at most 500 are understood. Ask with some of them, and "
        "choose among the answers."
    )


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ({"run": LONG}, 1),
        ({"run": [1, LONG]}, 2),
        ({"run": [LONG, "1"]}, 2),
        ({"run": 2**63}, 0),
        ({"run": -(2**63) - 1}, 0),
        ({"run": 10**400}, 0),
        ({"run": 1e300}, 0),
        ({"run": float("inf")}, 0),
        ({"run": Decimal(1)}, 1),
        ({"Number": LONG}, 1),
        ({"Number": [LONG, 5]}, 1),
        ({"Number": 9007199254740993}, 1),
        ({"Number": 10**400}, 0),
        ({"Far": float("inf")}, 1),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:No file at all")
def test_numbers_beyond_64_bits_are_compared_as_text(
    dataset: BIDSDataset, query: dict[str, Any], count: int
) -> None:
    """No number is too large for a query, in names of files or in sidecars."""
    assert images(dataset, **query) == count


@pytest.mark.parametrize(
    "value",
    [10**4400, "\ud800", object(), ["a", "b\udcff"]],
    ids=["long", "half", "object", "list"],
)
@pytest.mark.parametrize("name", ["run", "subject", "Number"])
def test_value_that_cannot_be_compared_is_refused(
    dataset: BIDSDataset, name: str, value: Any
) -> None:
    """What no database could hold is a `FilterError` that names the filter, not an error of it."""
    for regex_search in (False, True):
        with pytest.raises(FilterError, match=name):
            dataset.get(**{name: value}, regex_search=regex_search)


@pytest.mark.parametrize("pattern", ["(", "a{1,99999999999999999999}", "(" * 5000 + ")" * 5000])
def test_pattern_that_cannot_be_compiled_is_named(dataset: BIDSDataset, pattern: str) -> None:
    """However a pattern is wrong, the error is the same one, and short."""
    with pytest.raises(
        InvalidPatternError, match=r"subject=.* is not a regular expression"
    ) as caught:
        dataset.get(subject=pattern, regex_search=True)

    assert len(str(caught.value)) < 500


def test_label_that_is_unknown_is_shown_in_short(dataset: BIDSDataset) -> None:
    """A value as long as a book makes no message as long as a book."""
    with pytest.raises(UnknownLabelError) as caught:
        dataset.missing(subject=["x" * 100_000] * 300)

    assert len(str(caught.value)) < 3000


SEARCH = """
import sys
from confusius_datasets import open_dataset
dataset = open_dataset(sys.argv[1])
dataset.get(suffix="pwd")
print("ready", flush=True)
dataset.get(**{sys.argv[2]: "^(a+)+b"}, regex_search=True)
"""
"""A pattern that takes longer than the universe has lasted, on forty letters."""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
@pytest.mark.parametrize("name", ["subject", "Text"])
def test_pattern_that_takes_for_ever_is_interrupted(tmp_path: Path, name: str) -> None:
    """Ctrl-C ends a search with `KeyboardInterrupt`, also within the match of one value."""
    root = write_tree(tmp_path / "bids", FILES)
    command = [sys.executable, "-c", SEARCH, str(root), name]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "ready\n"
        # select() takes no descriptor above 1023, and a whole test run has more files open.
        errors_to_read = selectors.DefaultSelector()
        errors_to_read.register(process.stderr, selectors.EVENT_READ)
        try:
            # It says nothing when it begins to match, which is some moments after the word.
            for _ in range(60):
                if errors_to_read.select(1.0):
                    break
                process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        finally:
            errors_to_read.close()
            process.kill()

    assert errors.rstrip().endswith("KeyboardInterrupt")
