"""The table of datasets: what counts as on disk, and what a narrow terminal shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from confusius_datasets import list_datasets


def rows(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """Return the mark of each fetcher in the table that was printed."""
    lines = [line.split("│") for line in capsys.readouterr().out.splitlines() if "fetch_" in line]
    return {cells[1].strip(): cells[3].strip() for cells in lines}


def test_on_disk_is_what_has_anything_in_its_folder(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder that is empty, or holds nothing but what is ours, has no data; a file is some."""
    (data_dir / "nunez-elizalde-2022-bids").mkdir(parents=True)
    (data_dir / "cybis-pereira-2026-bids" / ".confusius" / "locks").mkdir(parents=True)
    (data_dir / "pepe-mariani-2026-template").mkdir()
    (data_dir / "pepe-mariani-2026-template" / "x.nii.gz").write_bytes(b"")

    list_datasets()

    marks = rows(capsys)
    assert [name for name, mark in marks.items() if mark == "✓"] == [
        "fetch_template_pepe_mariani_2026"
    ]
    assert {"fetch_cybis_pereira_2026", "fetch_nunez_elizalde_2022"} < set(marks)


def test_template_of_which_there_is_only_an_index_is_not_on_disk(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A download that failed leaves the index of a template, but a template is its image."""
    (data_dir / "pepe-mariani-2026-template").mkdir(parents=True)
    (data_dir / "pepe-mariani-2026-template" / "dataset_index.json").write_text("{}")
    (data_dir / "nunez-elizalde-2022-bids").mkdir()
    (data_dir / "nunez-elizalde-2022-bids" / "dataset_index.json").write_text("{}")

    list_datasets()

    marks = rows(capsys)
    assert marks["fetch_template_pepe_mariani_2026"] == "✗"
    assert marks["fetch_nunez_elizalde_2022"] == "✓"


def test_folder_may_be_named_and_is_not_made(
    tmp_path: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`data_dir` decides where to look, and looking changes nothing."""
    (tmp_path / "mine" / "cybis-pereira-2026-bids" / "code").mkdir(parents=True)

    list_datasets(tmp_path / "mine")
    list_datasets(str(tmp_path / "missing"))

    assert capsys.readouterr().out.count("✓") == 1
    assert not (tmp_path / "missing").exists()
    assert not data_dir.exists()


def test_narrow_terminal_gets_whole_names_and_sizes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name is broken rather than cut, since half a name is no use."""
    monkeypatch.setenv("COLUMNS", "40")

    list_datasets()

    out = capsys.readouterr().out
    column = "".join(line.split("│")[1].strip() for line in out.splitlines() if "│" in line)
    for name in ("fetch_cybis_pereira_2026", "fetch_template_pepe_mariani_2026"):
        assert name in column
    assert "12.88 GB" in out
    assert "…" not in out
    assert max(map(len, out.splitlines())) <= 40
