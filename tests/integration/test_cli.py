"""The command `confusius-datasets`, as it is typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from confusius_datasets import __version__
from confusius_datasets._cli import main
from confusius_datasets.testing import LocalOSF


def test_list_prints_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    """`list` is the table of datasets."""
    assert main(["list"]) == 0
    assert "fetch_nunez_elizalde_2022" in capsys.readouterr().out


def test_fetch_downloads_what_filters_select(
    osf: LocalOSF, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`fetch NAME` with filters downloads that part, and says where it is."""
    words = "fetch nunez-elizalde-2022 --subjects CR020 CR017 --tasks spontaneous --quiet"

    status = main(words.split())

    root = data_dir / "nunez-elizalde-2022-bids"
    assert status == 0
    assert {path.name for path in root.glob("sub-*")} == {"sub-CR017", "sub-CR020"}
    assert not list(root.rglob("*kalatsky*"))
    assert str(root) in capsys.readouterr().out


@pytest.mark.parametrize("name", ["sample", "fetch_sample"])
def test_fetch_takes_both_spellings_of_a_name(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The dataset's name and its function's are the same to it."""
    words = ["fetch", name, "--no-download", "--quiet", "--data-dir", str(tmp_path / "x")]

    assert main(words) == 0
    assert "README.md" in {path.name for path in (tmp_path / "x" / "sample-bids").iterdir()}
    assert "58 files" in capsys.readouterr().out


def test_fetch_template_prints_the_array(osf: LocalOSF, capsys: pytest.CaptureFixture[str]) -> None:
    """A template is fetched like a dataset."""
    assert main(["fetch", "template-pepe-mariani-2026"]) == 0
    assert "xarray.DataArray" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        ("fetch nunez-elizalde", 2, "Did you mean 'nunez-elizalde-2022'"),
        ("fetch sample --subjects mouse3", 2, "no subject 'mouse3' in sample"),
        ("fetch template-pepe-mariani-2026 --tasks rest", 2, "has no filter --tasks"),
        ("fetch cybis-pereira-2026 --tasks rest", 2, "it takes --datasets, --subjects"),
    ],
)
def test_wrong_arguments_are_one_line_and_status_2(
    words: str, status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A slip is answered by a sentence, not by a traceback."""
    assert main(words.split()) == status
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_failure_is_one_message_and_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What could not be done is said on standard error."""
    monkeypatch.setenv("CONFUSIUS_OFFLINE", "1")

    assert main(["fetch", "nunez-elizalde-2022"]) == 1
    assert "CONFUSIUS_OFFLINE" in capsys.readouterr().err


def test_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` says which one is installed."""
    with pytest.raises(SystemExit) as caught:
        main(["--version"])

    assert caught.value.code == 0
    assert capsys.readouterr().out == f"confusius-datasets {__version__}\n"


def test_demo_tells_its_steps_and_draws_its_figure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tour prints the table, what it downloads, the array, and the path of a picture."""
    figure = tmp_path / "figure.png"

    assert main(["demo", "--output", str(figure)]) == 0

    said = capsys.readouterr().out
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert "Available Datasets" in said
    assert "not on disk yet" in said
    assert "<xarray.DataArray" in said
    assert said.rstrip().endswith(str(figure))
