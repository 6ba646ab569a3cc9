"""The documents are true: their code runs, their links lead somewhere, nothing is left out."""

from __future__ import annotations

import ast
import contextlib
import doctest
import importlib
import inspect
import io
import itertools
import os
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import pytest

import confusius_datasets
from atlas_folders import install_atlas
from confusius_datasets import errors, fetch_sample, list_datasets
from confusius_datasets._cli import main
from confusius_datasets.testing import LocalDataverse, LocalOSF

PROJECT = Path(confusius_datasets.__file__).parents[2]
if not (PROJECT / "README.md").exists():  # the package may be installed elsewhere
    PROJECT = Path(__file__).parents[2]

DOCS = PROJECT / "docs"

PAGES = [
    PROJECT / "README.md",
    *sorted(page for page in DOCS.rglob("*.md") if page.relative_to(DOCS).parts[0] != "generated"),
]
"""Every page that is written by hand."""

BLOCK = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

NOT_RUN = {"text", "json", "{toctree}", "{eval-rst}"}
"""Tags of blocks that are not code to run; those in braces are for Sphinx."""


def name_of(page: Path) -> str:
    """Name a page by its path in the repository."""
    return page.relative_to(PROJECT).as_posix()


def blocks_of(page: Path, language: str) -> list[str]:
    """Return a page's code blocks in a language."""
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [code for tag, code in found if tag == language]


@pytest.fixture
def anywhere(
    osf: LocalOSF, edmond: LocalDataverse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Give a page an empty working folder, the local server, an atlas, and no window."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    matplotlib.use("Agg")
    install_atlas(tmp_path / "home", monkeypatch, "allen_mouse_100um")
    return folder


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive")
@pytest.mark.parametrize("page", PAGES, ids=name_of)
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


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES[1:], ids=name_of)
def test_shell_blocks_of_a_page_run(page: Path, anywhere: Path) -> None:
    """The commands of the guide work as printed (the README's two are run from a clean clone)."""
    scripts = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    for code in blocks_of(page, "bash"):
        subprocess.run(["bash", "-euc", code], env=environment, check=True, capture_output=True)  # noqa: S607


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_says_whether_it_runs(page: Path) -> None:
    """A block is code that is run, or says that it is not."""
    tags = {tag for tag, _ in BLOCK.findall(page.read_text(encoding="utf-8"))}

    assert tags <= NOT_RUN | {"python", "bash"}


LINK = re.compile(r"\]\((?!https?://)([^)#\s]*)(?:#([^)\s]+))?\)")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    """A relative link names a file that is there, and a heading in it, as a code host has them."""
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        linked = page.parent / target if target else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors_of(linked), f"{target}#{anchor}"


def anchors_of(page: Path) -> set[str]:
    """Collect the anchors that a code host makes of a page's headings."""
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_in_the_contents_of_the_site() -> None:
    """Every page can be reached from the lists of contents of the site."""
    listed = {DOCS / "index.md"}
    for page in PAGES:
        entries = [entry for block in blocks_of(page, "{toctree}") for entry in block.split()]
        listed |= {(page.parent / f"{entry}.md").resolve() for entry in entries if entry[0] != ":"}

    assert set(PAGES[1:]) <= listed


def test_every_public_name_has_an_api_page() -> None:
    """Sphinx makes a page for each name that the reference lists, and these are the public ones."""
    blocks = blocks_of(DOCS / "reference" / "api.md", "{eval-rst}")
    assert all(".. autosummary::\n   :toctree: ../generated/api\n" in block for block in blocks)
    listed = [line.strip() for block in blocks for line in block.splitlines() if line[:3] == "   "]

    assert sorted(name for name in listed if name[0] != ":") == sorted(confusius_datasets.__all__)


def test_every_error_is_in_the_reference() -> None:
    """The page of errors says of each class when it comes and what to do."""
    page = (DOCS / "reference" / "errors.md").read_text(encoding="utf-8")

    for name in set(errors.__all__) - {"ConfusiusDatasetsError"}:
        assert f"`{name}`" in page, name
    assert ".. automodule:: confusius_datasets.errors\n   :members:" in page


def test_every_option_of_the_command_is_in_the_reference(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What `--help` lists, for the command and each of its parts, stands on its page."""
    page = (DOCS / "reference" / "cli.md").read_text(encoding="utf-8")
    with contextlib.suppress(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    commands = re.findall(r"^    (\w+) ", shown, flags=re.MULTILINE)
    for command in commands:
        with contextlib.suppress(SystemExit):
            main([command, "--help"])
        shown += capsys.readouterr().out

    assert len(commands) >= 3
    for word in {*re.findall(r"--[a-z][\w-]+", shown), *commands}:
        assert word in page, word


FETCHERS = [
    name
    for name in confusius_datasets.__all__
    if name.startswith("fetch_") and name != "fetch_dataset"
]


@pytest.mark.parametrize("name", FETCHERS)
def test_every_dataset_has_a_page(name: str) -> None:
    """Its page names each filter, each label that the docstring knows, and every source."""
    dataset = name.removeprefix("fetch_").replace("_", "-")
    page = (DOCS / "datasets" / f"{dataset}.md").read_text(encoding="utf-8")
    fetcher = getattr(confusius_datasets, name)
    text = inspect.getdoc(fetcher) or ""
    described = dict(
        re.findall(r"^(\w+) : str or list of str.*\n((?:    .*\n)+)", text, re.MULTILINE)
    )
    labels = {label for lines in described.values() for label in re.findall(r"`([\w-]+)`", lines)}
    named = {name, dataset, *described, *labels} - PREFIXES

    assert set(described) == set(inspect.signature(fetcher).parameters) & FILTERS
    for word in named:
        assert f"`{word}`" in page, word
    for url in re.findall(r"https://\S+?(?=[.,)]?\s|$)", text.partition("References\n")[2]):
        assert url in page, url


FILTERS = {"datasets", "subjects", "sessions", "tasks", "acqs", "runs", "datatypes"}

PREFIXES = {"sub-", "ses-", "task-", "acq-", "run-"}


def test_sizes_of_datasets_are_those_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    """The pages have the sizes that the table of datasets prints, and their bytes agree."""
    list_datasets()
    rows = re.findall(r"│ fetch_(\w+) +│ +(\S+ \S+) │", capsys.readouterr().out)
    index = (DOCS / "datasets" / "index.md").read_text(encoding="utf-8")

    assert len(rows) >= 3
    for name, size in rows:
        page = (DOCS / "datasets" / f"{name.replace('_', '-')}.md").read_text(encoding="utf-8")
        shown = re.search(r"^\| size \| (.+) \(([\d ]+) bytes\) \|$", page, re.MULTILINE)
        assert shown, name
        nbytes = int(shown.group(2).replace(" ", ""))
        unit = 1e9 if size.endswith("GB") else 1e6
        assert shown.group(1) == size
        assert f"{nbytes / unit:.4g}" == size.split()[0]
        assert f"| {size} |" in index


MODULES = sorted(
    info.name for info in pkgutil.walk_packages(confusius_datasets.__path__, "confusius_datasets.")
)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_examples_of_docstrings_give_what_they_show(name: str, anywhere: Path) -> None:
    """Every example in a docstring is run, and gives the output that stands below it."""
    failed, _ = doctest.testmod(
        importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE
    )

    assert failed == 0


EXAMPLES = sorted((PROJECT / "examples").glob("*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("script", EXAMPLES, ids=name_of)
def test_example_runs_whole(script: Path, anywhere: Path) -> None:
    """An example is a script that works when started, and needs no screen to do so."""
    no_screen = "ignore:FigureCanvasAgg is non-interactive:UserWarning"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-W", no_screen, str(script)],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | {"MPLBACKEND": "Agg"},
    )

    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_example_writes_its_figure_where_it_is_told(anywhere: Path) -> None:
    """With the name of a file, the analysis needs no screen and leaves a picture."""
    command = [sys.executable, "-W", "error", str(PROJECT / "examples" / "sample_analysis.py")]
    subprocess.run([*command, "figure.png"], check=True, capture_output=True)

    assert (anywhere / "figure.png").stat().st_size > 10_000


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


@pytest.mark.slow
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
        "│ fetch_khallaf_2026               │ 19.49 GB │    ✗    │",
        "│ fetch_landemard_2026             │ 42.04 GB │    ✗    │",
        "│ fetch_nunez_elizalde_2022        │ 6.983 GB │    ✗    │",
        "│ fetch_pepe_mariani_2026          │ 37.56 GB │    ✗    │",
        "│ fetch_pereira_2025               │ 29.96 GB │    ✗    │",
        "│ fetch_template_huang_2025        │ 16.34 MB │    ✗    │",
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
    assert done.stdout.count(b" no ") == 8


@pytest.mark.parametrize("name", ["downloads", "security"])
def test_promises_of_a_page_name_tests_that_exist(name: str) -> None:
    """Each promise of the page is held by tests, and they are there."""
    page = (PROJECT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    tables = re.findall(r"^\| promise .*\n\|[-|]*\n((?:\|.*\n)+)", page, re.MULTILINE)
    rows = re.findall(r"^\| (.*) \| (.*) \|$", "".join(tables), re.MULTILINE)
    code = "\n".join(path.read_text("utf-8") for path in (PROJECT / "tests").rglob("test_*.py"))
    defined = set(re.findall(r"def (test_\w+)", code))

    assert len(rows) > 15
    for promise, tests in rows:
        named = set(re.findall(r"`(test_\w+)`", tests))
        assert named and named <= defined, promise
