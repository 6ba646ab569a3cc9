"""What all fetchers have in common: their arguments, what they print, what they warn of."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from confusius_datasets import (
    BIDSDataset,
    fetch_cybis_pereira_2026,
    fetch_nunez_elizalde_2022,
    fetch_sample,
)
from confusius_datasets.errors import ArgumentError, UnknownLabelError
from confusius_datasets.testing import LocalOSF


@pytest.mark.parametrize("label", ["CR020", "sub-CR020", "20191122", "kalatsky", "slice03"])
def test_label_in_the_place_of_the_folder_is_refused_before_a_folder_is_made(
    osf: LocalOSF, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, label: str
) -> None:
    """`fetch_x("CR020")` is a slip that the index of the host shows."""
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ArgumentError, match=rf"'{label}' is a label.*=\'{label}\'\?"):
        fetch_nunez_elizalde_2022(label, progress=False)

    assert list(tmp_path.iterdir()) == []
    assert len([record for record in osf.requests if record.role == "storage"]) == 1  # the index


def test_label_in_the_place_of_the_folder_needs_no_request_where_an_index_is_here(
    osf: LocalOSF, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the spec or the usual folder knows is known without the host."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArgumentError, match="mean datasets='glm-speed'"):
        fetch_cybis_pereira_2026("glm-speed")
    assert osf.requests == []
    fetch_nunez_elizalde_2022(download=False, progress=False)
    seen = len(osf.requests)

    with pytest.raises(ArgumentError, match="mean subjects='CR020'"):
        fetch_nunez_elizalde_2022("CR020", progress=False)

    assert len(osf.requests) == seen


def test_folder_named_like_a_label_can_be_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that exists is taken, and so is one that is written as a path."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mouse1").mkdir()
    options: dict[str, Any] = {"download": False, "progress": False}

    assert fetch_sample("mouse1", **options).root.parent == tmp_path / "mouse1"
    assert fetch_sample("./mouse2", **options).root.parent == tmp_path / "mouse2"
    assert fetch_sample(Path("day1"), **options).root.parent == tmp_path / "day1"


def test_labels_that_exist_but_not_together_give_one_warning(osf: LocalOSF) -> None:
    """It names every filter that is left without a file, and what there would be."""
    with pytest.warns(UserWarning) as caught:
        fetch_nunez_elizalde_2022(subjects="CR022", sessions="20191113", progress=False)

    assert [str(warning.message) for warning in caught] == [
        "No file of nunez-elizalde-2022 with subjects=CR022 or sessions=20191113 matches the other "
        "filters; with them, there is subjects CR017; sessions 20201011."
    ]
    assert caught[0].filename == __file__


def test_unknown_label_of_runs_is_refused_like_any_other(osf: LocalOSF) -> None:
    """A slip is no silent empty download."""
    with warnings.catch_warnings(), pytest.raises(UnknownLabelError, match="Did you mean"):
        fetch_nunez_elizalde_2022(sessions="2019112", progress=False)


def test_citation_and_licence_are_printed_once_for_each_dataset(
    osf: LocalOSF, capsys: pytest.CaptureFixture[str]
) -> None:
    """A loop over subjects does not say the same twelve times; another dataset is another text."""
    for subject in ("CR017", "CR020"):
        fetch_nunez_elizalde_2022(subjects=subject, progress=False)
    fetch_cybis_pereira_2026(datasets="glm-speed", progress=False)

    said = capsys.readouterr().out
    assert said.count("Nunez-Elizalde, A. O.") == 1
    assert said.count("Cybis Pereira, F.") == 1
    assert said.count("Licence: CC BY 4.0") == 2


def test_progress_callback_is_understood_as_in_the_reference(osf: LocalOSF) -> None:
    """Code that was written for ConfUSIus keeps its bar; `None` is its default."""
    fetch: Callable[..., Any] = fetch_nunez_elizalde_2022
    heard: list[tuple[int, int | None, str]] = []

    fetch(datasets="allenccf_align", progress_callback=lambda *told: heard.append(told))
    fetch(datasets="allenccf_align", progress_callback=None)

    total = heard[0][1]
    assert heard[0] == (0, total, "Preparing download...")
    assert heard[-1] == (total, total, "Download complete.")


def test_names_of_a_dataset_are_its_folders_and_its_short_one() -> None:
    """`name` is what a path says; `dataset_name` is how the dataset is called elsewhere."""
    dataset = fetch_sample(download=False, progress=False)

    assert dataset.name == dataset.root.name == "confusius-sample-bids"
    assert dataset.dataset_name == "sample"
    assert BIDSDataset(dataset.root).dataset_name == "confusius-sample-bids"
