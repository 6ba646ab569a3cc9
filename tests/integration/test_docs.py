"""The documents are true: their code runs, and the reference is the docstrings'."""

from __future__ import annotations

import ast
import contextlib
import doctest
import importlib
import io
import itertools
import os
import pkgutil
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import pytest

import confusius_datasets
from atlas_folders import install_atlas
from confusius_datasets import fetch_sample, list_datasets
from confusius_datasets.testing import LocalOSF

PROJECT = Path(confusius_datasets.__file__).parents[2]
if not (PROJECT / "README.md").exists():  # the package may be installed elsewhere
    PROJECT = Path(__file__).parents[2]

PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

NOT_RUN = {"", "text", "pycon", "json"}
"""Tags of blocks that are no code to run; `pycon` is the docstrings', run as doctests."""


def blocks_of(page: Path, language: str) -> list[str]:
    """Return a page's code blocks in a language."""
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [code for tag, code in found if tag == language]


@pytest.fixture
def anywhere(osf: LocalOSF, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a page an empty working folder, the local server, an atlas, and no window."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    matplotlib.use("Agg")
    install_atlas(tmp_path / "home", monkeypatch, "allen_mouse_100um")
    return folder


@pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_of_a_page_run_in_order(page: Path, anywhere: Path) -> None:
    """Pasted one after another into one session, the blocks of a page give what they say."""
    names: dict[str, object] = {"__name__": "page"}
    for code in blocks_of(page, "python"):
        for statement, said in statements_of(code):
            shown = run_statement(statement, names)
            assert not said or OUTPUT.check_output(said, shown, OPTIONS), (statement, said, shown)


OUTPUT = doctest.OutputChecker()

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def statements_of(code: str) -> Iterator[tuple[str, str]]:
    """Give the statements of a block, each with the output that stands in comments below it."""
    lines = code.splitlines()
    for node in ast.parse(code).body:
        said = itertools.takewhile(lambda line: line.startswith("# "), lines[node.end_lineno :])
        yield (
            "\n".join(lines[node.lineno - 1 : node.end_lineno]),
            "".join(f"{line[2:]}\n" for line in said),
        )


def run_statement(statement: str, names: dict[str, object]) -> str:
    """Run a statement as a session does, and return what it shows."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        try:
            value = eval(statement, names)  # noqa: S307 - our own documents
        except SyntaxError:
            value = exec(statement, names)  # noqa: S102 - no expression
    return printed.getvalue() + ("" if value is None else f"{value!r}\n")


@pytest.mark.parametrize("page", PAGES[1:], ids=lambda page: page.name)
def test_shell_blocks_of_a_page_run(page: Path, anywhere: Path) -> None:
    """The commands of the guide work as printed (the README's two are run from a clean clone)."""
    scripts = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    for code in blocks_of(page, "bash"):
        subprocess.run(["bash", "-euc", code], env=environment, check=True, capture_output=True)  # noqa: S607


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_says_whether_it_runs(page: Path) -> None:
    """A block is code that is run, or says that it is none."""
    tags = {tag for tag, _ in BLOCK.findall(page.read_text(encoding="utf-8"))}

    assert tags <= NOT_RUN | {"python", "bash"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    """A relative link names a file that is there."""
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", text):
        assert (page.parent / target).exists(), target


def test_api_reference_is_current() -> None:
    """The reference is what the docstrings say now."""
    make = runpy.run_path(str(PROJECT / "docs" / "make_api.py"))["make_page"]

    assert (PROJECT / "docs" / "api.md").read_text(encoding="utf-8") == make()


MODULES = sorted(
    info.name for info in pkgutil.walk_packages(confusius_datasets.__path__, "confusius_datasets.")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_docstrings_give_what_they_show(name: str, anywhere: Path) -> None:
    """Every example in a docstring is run, and gives the output that stands below it."""
    failed, _ = doctest.testmod(
        importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE
    )

    assert failed == 0


@pytest.mark.parametrize("name", ["quickstart.py", "sample_analysis.py"])
def test_example_runs_whole(name: str, anywhere: Path) -> None:
    """An example is a script that works when started."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(PROJECT / "examples" / name)],
        check=False,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    if name == "sample_analysis.py":
        assert (anywhere / "sample_analysis.png").stat().st_size > 10_000


SPECIFICATION = [
    """
import confusius_datasets as cf
from confusius_datasets import fetch_nunez_elizalde_2022

root = fetch_nunez_elizalde_2022(
    subjects=["CR020"],
    sessions=["20191122"],
    tasks=["spontaneous"],
    acqs=["slice03"],
)
pwd = cf.load(
   root
    / "sub-CR020"
    / "ses-20191122"
    / "fusi"
    / "sub-CR020_ses-20191122_task-spontaneous_acq-slice03_pwd.nii.gz"
)
assert pwd.dims == ('time', 'z', 'y', 'x')
""",
    """
from confusius_datasets import get_datasets_dir
print(get_datasets_dir())
""",
    """
from confusius_datasets import fetch_nunez_elizalde_2022
bids_root = fetch_nunez_elizalde_2022(
    subjects=["CR017", "CR020"],
    tasks=["spontaneous"],
    acqs=["slice03"],
)
for nii in sorted((bids_root / "sub-CR020").rglob("*_pwd.nii.gz")):
    print(nii.relative_to(bids_root))
bids_root = fetch_nunez_elizalde_2022(subjects=["CR020"], refresh=True)
""",
    """
from confusius_datasets import fetch_cybis_pereira_2026
bids_root = fetch_cybis_pereira_2026(datasets="glm-speed")
bids_root = fetch_cybis_pereira_2026(
    datasets="rawdata",
    subjects="rat73",
    sessions="20220523",
    acqs="slice32",
)
bids_root = fetch_cybis_pereira_2026(
    datasets=["rawdata", "dlc-videos"], subjects=["rat75", "rat73"]
)
""",
    """
from confusius_datasets import Atlas
from confusius_datasets import fetch_template_pepe_mariani_2026

template = fetch_template_pepe_mariani_2026()
atlas = Atlas.from_brainglobe("allen_mouse_100um")
resampled_atlas = atlas.resample_like(
    template,
    template.attrs["affines"]["physical_to_sform"],
)
assert resampled_atlas.annotation.shape == template.shape
""",
]


@pytest.mark.parametrize("code", SPECIFICATION, ids=["load", "dir", "nunez", "cybis", "atlas"])
def test_code_that_users_were_promised_runs(code: str, anywhere: Path) -> None:
    """What the page on datasets shows works with the module's name changed, and nothing else."""
    exec(compile(code, "specification", "exec"), {"__name__": "page"})  # noqa: S102


def test_table_that_users_were_promised_is_printed(
    osf: LocalOSF, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table of datasets is the page's, mark for mark."""
    list_datasets()

    title, *table = capsys.readouterr().out.splitlines()
    assert title.strip() == "Available Datasets"
    assert table == [
        "┏━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━┳━━━━━━━━━┓",
        "┃ Fetch function                   ┃     Size ┃ On disk ┃",
        "┡━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━╇━━━━━━━━━┩",
        "│ fetch_cybis_pereira_2026         │ 12.88 GB │    ✗    │",
        "│ fetch_nunez_elizalde_2022        │ 6.983 GB │    ✗    │",
        "│ fetch_template_pepe_mariani_2026 │ 5.508 MB │    ✗    │",
        "└──────────────────────────────────┴──────────┴─────────┘",
    ]


def test_table_has_plain_words_where_marks_cannot_be_shown(osf: LocalOSF) -> None:
    """A terminal without Unicode gets yes and no, and a table it can draw."""
    fetch_sample(download=False)
    command = [sys.executable, "-c", "import confusius_datasets as c; c.list_datasets()"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}

    done = subprocess.run(command, env=environment, check=True, capture_output=True)

    assert done.stdout.isascii()
    assert done.stdout.count(b" no ") == 3


def test_promises_of_downloads_name_tests_that_exist() -> None:
    """Each promise of the page is held by tests, and they are there."""
    page = (PROJECT / "docs" / "downloads.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (?!promise|variable|`|-)(.*) \| (.*) \|$", page, re.MULTILINE)
    code = "\n".join(path.read_text("utf-8") for path in (PROJECT / "tests").rglob("test_*.py"))
    defined = set(re.findall(r"def (test_\w+)", code))

    assert len(rows) > 20
    for promise, tests in rows:
        named = set(re.findall(r"`(test_\w+)`", tests))
        assert named and named <= defined, promise
