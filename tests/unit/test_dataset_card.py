"""What a notebook shows of a dataset, and the table of what is on disk."""

from __future__ import annotations

import html
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.pyplot
import numpy as np
import pytest

from confusius_datasets import BIDSDataset, fetch_sample, plot_coverage
from confusius_datasets._dataset.card import MOST_COLUMNS, MOST_ROWS
from confusius_datasets._sources import DirectorySource
from confusius_datasets._spec import DatasetSpec
from confusius_datasets.errors import ArgumentError

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture
def partly() -> BIDSDataset:
    """Fetch one task of one mouse of the sample."""
    return fetch_sample(subjects="mouse1", tasks="rest", datatypes="fusi", progress=False)


def lab(folder: Path, relpaths: list[str]) -> BIDSDataset:
    """Make a dataset whose host is a folder with some files."""
    for relpath in relpaths:
        (folder / "host" / relpath).parent.mkdir(parents=True, exist_ok=True)
        (folder / "host" / relpath).write_text("x" * 10)
    source = DirectorySource(folder / "host")
    spec = DatasetSpec(name="<b>lab</b>", folder="lab", source=source, license="CC0 & more")
    dataset = BIDSDataset(folder / "lab", spec=spec, progress=False)
    dataset.refresh()
    return dataset


class Text(HTMLParser):
    """Collects what a page shows, and checks that its tags are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.shown: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        """Note a tag."""
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close a tag."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Keep text, but for the style."""
        if data.strip() and self.open[-1] != "style":
            self.shown.append(data.strip())


def shown(dataset: BIDSDataset) -> list[str]:
    """Return the texts on a dataset's card."""
    text = Text()
    text.feed(str(dataset._repr_html_()))
    assert not text.open
    return text.shown


def test_card_says_what_the_dataset_is_and_what_is_here(partly: BIDSDataset) -> None:
    """Name, licence, host, folder, bytes, and recordings on disk of each subject and task."""
    texts = shown(partly)
    files, here = partly.index, [entry for entry in partly.to_df().on_disk if entry]

    assert texts[0] == partly.dataset_name
    assert texts[1].startswith("licence: CC0 1.0 · host: ")
    assert texts[2] == str(partly.root)
    assert f"({len(here)} of {len(files)} files)" in texts[3]
    row = texts.index("mouse1")
    assert texts[texts.index("subject \\ task") : row] == [
        *("subject \\ task", "none", "checkerboard", "rest"),
    ]
    assert texts[row : row + 4] == ["mouse1", "0 of 2", "0 of 4", "4 of 4"]


def test_card_escapes_what_a_dataset_is_called(tmp_path: Path) -> None:
    """A name is text and never becomes part of the page."""
    dataset = lab(tmp_path, ["sub-1/fusi/sub-1_task-a_pwd.nii"])
    page = str(dataset._repr_html_())

    assert "<b>" not in page
    assert html.escape("<b>lab</b>") in page
    assert "CC0 &amp; more" in page


def test_card_of_many_subjects_counts_the_rest(tmp_path: Path) -> None:
    """A long table ends with how much more there is."""
    names = [f"{n:03d}" for n in range(MOST_ROWS + 2)]
    relpaths = [f"sub-{n}/fusi/sub-{n}_task-a_pwd.nii" for n in names]
    relpaths += [f"sub-000/fusi/sub-000_task-t{n}_pwd.nii" for n in range(MOST_COLUMNS + 2)]

    text = " ".join(shown(lab(tmp_path, relpaths)))

    assert f"sub-{names[MOST_ROWS - 1]}"[4:] in text
    assert names[MOST_ROWS] not in text
    assert "2 more subjects and 3 more values of task: see coverage()" in text


def test_card_of_very_many_files_has_no_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A notebook must not wait; the table is a call away."""
    dataset = lab(tmp_path, [f"sub-1/fusi/sub-1_task-{n}_pwd.nii" for n in range(4)])
    monkeypatch.setattr("confusius_datasets._dataset.dataset.MOST_IN_CARD", 3)

    texts = shown(dataset)

    assert texts[-2:] == ["Subjects and tasks: see", "coverage()"]
    assert "0 B of 40 B on disk (0 of 4 files)" in texts


def test_card_of_a_local_folder_and_of_an_unknown_one(partly: BIDSDataset, tmp_path: Path) -> None:
    """All of a local folder is here; without an index there is no card, but no error either."""
    texts = shown(BIDSDataset(partly.root))
    unknown = DatasetSpec(name="no", folder="no", source=DirectorySource(tmp_path / "no"))

    assert "local folder" in texts[1]
    assert texts[texts.index("mouse1") + 1] == "4 of 4"
    assert BIDSDataset(tmp_path / "root", spec=unknown)._repr_html_() is None


def test_coverage_gives_numbers_of_the_same_table(partly: BIDSDataset) -> None:
    """Subjects by task or any other entity; parts of a Zarr store count as one file."""
    fraction = partly.coverage()
    n_files = partly.coverage("session", values="n_files")

    assert fraction.loc["mouse1"].to_dict() == {"": 0.0, "checkerboard": 0.0, "rest": 1.0}
    assert fraction.columns.name == "task"
    assert n_files.loc["mouse2"].to_dict() == {"day1": 5, "day2": 5}
    with pytest.raises(ArgumentError, match="Did you mean 'nbytes'"):
        partly.coverage(values="bytes")
    with pytest.raises(ArgumentError, match="Did you mean 'session'"):
        partly.coverage("sesion")


def test_coverage_counts_stores_and_files_without_a_size(tmp_path: Path) -> None:
    """A store is one file to whoever looks, and its bytes are those of its parts."""
    store = [f"sub-1/fusi/sub-1_task-a_pwd.zarr/{name}" for name in ("zarr.json", "c/0")]
    dataset = lab(
        tmp_path, [*store, "sub-2/fusi/sub-2_task-a_pwd.nii", "derivatives/x/sub-3_m.nii"]
    )
    dataset.download(subject="2")

    assert dataset.coverage(values="nbytes").to_dict() == {"a": {"1": 20, "2": 10}}
    assert dataset.coverage().to_dict() == {"a": {"1": 0.0, "2": 1.0}}
    assert dataset.coverage(values="n_files").to_dict() == {"a": {"1": 1, "2": 1}}


def test_plot_of_coverage_has_a_cell_for_each_pair(partly: BIDSDataset) -> None:
    """Colours follow the bytes, texts the files, and the first subject is on top."""
    matplotlib.use("Agg")
    panel = plot_coverage(partly)
    texts = {text.get_text() for text in panel.texts}
    (mesh,) = panel.collections

    assert texts == {"4 of 4", "0 of 4", "0 of 2"}
    np.testing.assert_array_equal(np.ravel(mesh.get_array()), [0, 0, 1, 0, 0, 0])
    assert [label.get_text() for label in panel.get_xticklabels()] == [
        "none",
        "checkerboard",
        "rest",
    ]
    assert [label.get_text() for label in panel.get_yticklabels()] == ["mouse1", "mouse2"]
    assert panel.yaxis_inverted()
    panel.figure.canvas.draw()
    (bar,) = panel.child_axes
    label, whole = bar.yaxis.label.get_window_extent(), panel.figure.bbox
    assert [tick.get_text() for tick in bar.get_yticklabels()] == ["0%", "50%", "100%"]
    assert whole.y0 <= label.y0 and label.y1 <= whole.y1 and label.x1 <= whole.x1
    matplotlib.pyplot.close(panel.figure)


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_card_is_shown_by_a_browser(partly: BIDSDataset, theme: str, tmp_path: Path) -> None:
    """Headless Chromium lays the card out: texts are seen, and full cells are coloured."""
    colors = {"light": "color:#111;background:#fff", "dark": "color:#eee;background:#111"}[theme]
    script = """
    const cell = text => [...document.querySelectorAll('td')].find(td => td.innerText == text);
    const full = cell('4 of 4'), box = full.getBoundingClientRect();
    const report = {text: document.querySelector('.cfd-card').innerText.split('\\n')[0],
      color: getComputedStyle(full).color, filled: getComputedStyle(full).backgroundImage,
      wide: box.width > 20 && box.height > 8, cells: document.querySelectorAll('td').length,
      bar: document.querySelector('.cfd-bar i').getBoundingClientRect().width > 1};
    document.body.setAttribute('data-report', JSON.stringify(report));
    """
    page = tmp_path / "page.html"
    page.write_text(
        f"<!doctype html><meta charset=utf-8><body style='{colors}'>{partly._repr_html_()}"
        f"<script>{script}</script></body>",
        encoding="utf-8",
    )

    dom = run_chromium(tmp_path, "--dump-dom", page.as_uri())

    start = dom.index('data-report="') + len('data-report="')
    report = html.unescape(dom[start : dom.index('"', start)])
    rgb = {"light": "rgb(17, 17, 17)", "dark": "rgb(238, 238, 238)"}[theme]
    assert '"text":"sample' in report
    assert f'"color":"{rgb}"' in report
    assert '"wide":true' in report
    assert '"bar":true' in report
    assert '"cells":6' in report
    assert "linear-gradient" in report
    assert "100%" in report


def run_chromium(folder: Path, *arguments: str) -> str:
    """Run a browser of its own, which asks nobody for anything."""
    options = (
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        f"--user-data-dir={folder / 'profile'}",
    )
    done = subprocess.run(
        [str(CHROMIUM), *options, *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=90,
    )
    return done.stdout
