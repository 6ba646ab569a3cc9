"""The command `confusius-datasets`, as it is typed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import confusius_datasets
from confusius_datasets import __version__
from confusius_datasets._cli import main
from confusius_datasets.testing import Fault, LocalDataverse, LocalOSF


def test_list_prints_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    """`list` is the table of datasets, by the names that every other command takes."""
    assert main(["list"]) == 0
    assert "│ nunez-elizalde-2022 " in capsys.readouterr().out


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


def test_option_that_is_repeated_adds(data_dir: Path) -> None:
    """`--subjects a --subjects b` selects both, as `--subjects a b` does."""
    words = "fetch sample --subjects mouse1 --subjects mouse2 --tasks rest --quiet"

    assert main(words.split()) == 0
    names = {path.name for path in (data_dir / "confusius-sample-bids").glob("sub-*")}
    assert names == {"sub-mouse1", "sub-mouse2"}


@pytest.mark.parametrize("name", ["sample", "fetch_sample"])
def test_fetch_takes_both_spellings_of_a_name(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The dataset's name and its function's are the same to it."""
    words = ["fetch", name, "--no-download", "--quiet", "--data-dir", str(tmp_path / "x")]

    assert main(words) == 0
    root = tmp_path / "x" / "confusius-sample-bids"
    assert "README.md" in {path.name for path in root.iterdir()}
    assert capsys.readouterr().out == f"{root}\n"


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


def run(words: str, capsys: pytest.CaptureFixture[str], *, status: int = 0) -> str:
    """Run a command, and return what it printed."""
    capsys.readouterr()
    assert main(words.split()) == status
    return capsys.readouterr().out


def run_json(words: str, capsys: pytest.CaptureFixture[str], *, status: int = 0) -> Any:
    """Run a command that prints JSON, and read it."""
    return json.loads(run(f"{words} --json", capsys, status=status))


def test_session_of_a_day(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Find, look, fetch, check, repair, cite, free: each command does its part."""
    root = data_dir / "confusius-sample-bids"
    image = "sub-mouse1/ses-day1/fusi/sub-mouse1_ses-day1_task-rest_acq-slice01_pwd.nii.gz"
    query = "--subject sub-mouse1 --session day1 --task rest --acquisition slice01 --suffix pwd"

    facts = run_json("info sample", capsys)
    listed = run(f"ls sample {query}", capsys).splitlines()
    nothing = run(f"ls sample {query} --on-disk", capsys)
    got = run(f"get sample {query} --quiet", capsys).splitlines()
    long = run(f"ls sample {query} --long", capsys)
    (root / image).write_bytes(b"damaged")
    bad = run("verify sample --quiet", capsys, status=1)
    mended = run_json("verify sample --quiet --repair", capsys)
    cache = run_json("cache", capsys)
    gone = run(f"evict sample {query} --extension .nii.gz", capsys)

    assert facts["name"] == "sample"
    assert facts["labels"]["subject"] == ["mouse1", "mouse2"]
    assert facts["labels"]["task"] == ["checkerboard", "rest"]
    assert facts["n_files"] == 58
    assert facts["license"] == "CC0 1.0"
    assert listed == [image.replace(".nii.gz", ".json"), image]
    assert nothing == ""
    assert got == [str(root / relpath) for relpath in listed]
    assert re.search(rf"^ +[\d.]+ MB  here  {image}$", long, re.MULTILINE)
    assert f"corrupt: {image}" in bad and "--repair" in bad
    assert mended["counts"].get("corrupt") is None
    assert [(row["folder"], row["path"]) for row in cache] == [("confusius-sample-bids", str(root))]
    assert gone == "1 file deleted\n"
    assert not (root / image).exists()


def test_list_tells_part_from_whole(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A dataset of which one mouse is here is not called fetched."""
    run("fetch sample --subjects mouse1 --quiet", capsys)

    table = run("list", capsys)
    part = {row["name"]: row for row in run_json("list", capsys)}
    run("fetch sample --quiet", capsys)
    whole = run("list", capsys)

    assert re.search(r"│ sample +│ 24\.08 MB │ +50 % │", table)
    assert re.search(r"│ khallaf-2026 +│ 19\.49 GB │ +- │", table)
    assert 0 < part["sample"]["nbytes_on_disk"] < part["sample"]["nbytes"]
    assert re.search(r"│ sample .*│ +100 % │", whole)


def test_list_counts_releases_of_a_dataset(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They lie in folders of their own below the dataset's."""
    nothing = run_json("list", capsys)
    for version in ("1.0.0", "1.1.0"):
        root = data_dir / "nunez-elizalde-2022-bids" / version
        root.mkdir(parents=True)
        (root / "dataset_description.json").write_bytes(b"12345")

    rows = {row["name"]: row["nbytes_on_disk"] for row in run_json("list", capsys)}

    assert {row["nbytes_on_disk"] for row in nothing} == {0}
    assert {name: nbytes for name, nbytes in rows.items() if nbytes} == {"nunez-elizalde-2022": 10}


def test_dry_run_gets_the_index_and_says_what_would_come(
    osf: LocalOSF, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The numbers are those of the fetch that follows."""
    words = "fetch nunez-elizalde-2022 --subjects CR017 --tasks spontaneous"

    planned = run_json(f"{words} --dry-run", capsys)
    text = run(f"{words} --dry-run", capsys)
    root = data_dir / "nunez-elizalde-2022-bids"
    before = {path.name for path in root.iterdir()}
    run(f"{words} --quiet", capsys)
    after = run_json(f"{words} --dry-run", capsys)

    assert before == {"dataset_index.json", ".confusius"}
    assert planned["n_files"] == len(planned["files"]) > 0
    assert text.endswith(
        f"{planned['n_files']} files, {planned['nbytes'] / 1000:.4g} KB to download\n"
    )
    assert all((root / file["path"]).stat().st_size == file["size"] for file in planned["files"])
    assert after == {"n_files": 0, "nbytes": 0, "files": []}


def test_dataset_is_named_by_address_folder_or_release(
    osf: LocalOSF, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wherever a name goes, so does an address."""
    address = "osf:43skw/nunez-elizalde-2022-bids"
    root = data_dir / "nunez-elizalde-2022-bids"

    assert run(f"fetch {address} --subjects CR017 --quiet", capsys) == f"{root}\n"
    by_address = run(f"ls {address} --subject CR017 --suffix events", capsys)
    by_path = run(f"ls {root} --subject CR017 --suffix events", capsys)
    assert by_address == by_path != ""
    assert run_json(f"info {address}", capsys)["name"] == "nunez-elizalde-2022"


def test_template_gives_its_folder_where_an_array_cannot_be_printed(
    osf: LocalOSF, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A script gets a path, and JSON."""
    words = "fetch template-pepe-mariani-2026"
    root = data_dir / "pepe-mariani-2026-template"

    assert run(f"{words} --quiet", capsys) == f"{root}\n"
    told = run_json(words, capsys)
    assert (told["root"], told["n_files_on_disk"]) == (str(root), 1)


@pytest.mark.parametrize(
    "words",
    [
        "get landemard-2026 --suffix pwd",
        "get landemard-2026 --suffix pwd --json",
        "fetch landemard-2026 --json",
    ],
)
def test_licence_is_said_before_the_first_byte_where_the_output_is_for_a_script(
    words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On standard error, in the words of `fetch`; `--quiet` says nothing."""
    monkeypatch.setenv("CONFUSIUS_OFFLINE", "1")

    assert main(words.split()) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("If you use this dataset in your work, please cite the following")
    assert "Licence: CC BY-NC 4.0\nconfusius-datasets: The network may not be used" in said.err
    assert main([*words.split(), "--quiet"]) == 1
    assert "Licence" not in capsys.readouterr().err


def test_get_prints_paths_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a dataset and of a folder of one's own."""
    query = ["--subject", "mouse1", "--task", "rest", "--suffix", "pwd"]

    assert main(["get", "sample", *query, "--data-dir", str(tmp_path)]) == 0
    of_name = capsys.readouterr()
    (tmp_path / "confusius-sample-bids" / ".confusius" / "origin").unlink()
    assert main(["get", str(tmp_path / "confusius-sample-bids"), *query]) == 0
    of_folder = capsys.readouterr()

    assert all(Path(line).is_file() for line in of_name.out.splitlines())
    assert of_folder.out.splitlines() and set(of_folder.out.split()) <= set(of_name.out.split())


def test_cite_needs_no_network(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What to cite is known by the package."""
    monkeypatch.setenv("CONFUSIUS_OFFLINE", "1")

    assert "Landemard, A., Krumin" in run("cite landemard-2026", capsys)
    assert "Licence: CC BY-NC 4.0" in run("cite landemard-2026", capsys)
    assert run("cite fetch_pereira_2025 --bibtex", capsys).startswith("@article{Pereira2025,")
    assert run_json("cite pereira-2025", capsys)["license"] == "CC BY 4.0"


def test_query_takes_any_entity_and_field(capsys: pytest.CaptureFixture[str]) -> None:
    """Numbers are numbers, and repeated options add."""
    rest = run("ls sample --subject mouse1 --subject mouse2 --task rest --suffix pwd", capsys)
    field = run("ls sample --suffix pwd --extension .nii.gz --where TaskName=rest", capsys)

    assert len(rest.splitlines()) == 16
    assert field.splitlines() == [path for path in rest.splitlines() if path.endswith("nii.gz")]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("get sample", "get needs a query"),
        ("get sample --subject mouse1 mouse7", "subject='mouse7'"),
        ("ls sample --subject mouse7 --suffix pwd", "Did you mean 'mouse1'?"),
        ("ls sample --where rest", "expected NAME=VALUE"),
        ("ls osff:ab", "Did you mean 'osf'?"),
        ("verify no-such-dataset", "neither a dataset's name nor an address"),
        ("fetch sample --version 1.0", "sample has no filter --version"),
        ("fetch sample --reconstruction raw", "sample has no filter --reconstruction"),
    ],
)
def test_wrong_use_of_a_command_is_status_2(
    words: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is wrong is said in a line."""
    assert main(words.split()) == 2
    assert message in capsys.readouterr().err


def test_khallaf_has_options_of_its_own(
    edmond: LocalDataverse, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Labels that are numbers, the reconstruction, and the scanner's files."""
    words = "fetch khallaf-2026 --datasets rawdata --subjects 6036 --reconstruction raw"

    planned = run_json(f"{words} --sourcedata --dry-run", capsys)
    root = Path(run(f"{words} --runs 1 --quiet", capsys).strip())

    assert any(file["path"].startswith("sourcedata/") for file in planned["files"])
    assert [path.name for path in root.rglob("*pwd.nii")] == [
        "sub-6036_ses-Air_task-olfactory_run-1_pwd.nii"
    ]


def complete(line: str, tmp_path: Path) -> list[str]:
    """Ask for the completions of a line, as a shell does."""
    answer = tmp_path / "completions"
    environment = os.environ | {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
    }
    subprocess.run([sys.executable, "-m", "confusius_datasets"], env=environment, check=True)
    return answer.read_text().split("\n")


@pytest.mark.slow
def test_shell_completes_names_and_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Names of datasets, and the labels of an index that is on disk."""
    run("fetch sample --no-download --quiet", capsys)

    assert complete("confusius-datasets fetch nun", tmp_path) == ["nunez-elizalde-2022 "]
    assert complete("confusius-datasets ls sample --subject ", tmp_path) == ["mouse1", "mouse2"]
    assert complete("confusius-datasets fetch cybis-pereira-2026 --datasets glm-s", tmp_path) == [
        "glm-speed "
    ]
    for shell in ("bash", "zsh"):
        assert "confusius-datasets" in run(f"completion {shell}", capsys)


@pytest.mark.slow
def test_python_runs_the_package_as_the_command() -> None:
    """`python -m confusius_datasets` needs no scripts on the path."""
    done = subprocess.run(
        [sys.executable, "-m", "confusius_datasets", "cite", "sample"],
        capture_output=True,
        text=True,
        check=True,
    )

    cited = "The confusius-datasets developers. Sample dataset of confusius-datasets"
    assert done.stdout == f"{cited}\nLicence: CC0 1.0\n"


def test_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` says which one is installed."""
    with pytest.raises(SystemExit) as caught:
        main(["--version"])

    assert caught.value.code == 0
    assert capsys.readouterr().out == f"confusius-datasets {__version__}\n"


@pytest.mark.slow
def test_demo_tells_its_steps_and_draws_its_figure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tour prints the table, what it downloads, the array, and the path of a picture."""
    figure = tmp_path / "figure.png"

    assert main(["demo", "--output", str(figure)]) == 0

    said = capsys.readouterr().out
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "figure-atlas.png").read_bytes().startswith(b"\x89PNG")
    assert "Available Datasets" in said
    assert "not on disk yet" in said
    assert "<xarray.DataArray" in said
    assert said.rstrip().endswith(str(figure))


@pytest.mark.slow
def test_demo_may_be_given_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was downloaded the first time is not said to be missing."""
    words = ["demo", "--output", str(tmp_path / "figure.png")]
    main(words)
    capsys.readouterr()

    assert main(words) == 0
    said = capsys.readouterr().out
    assert (
        ">>> dataset.missing(**recording)\nEmpty FileTable\nColumns: [path, size, on_disk]\n"
        "Index: []\n\n0 files, 0 B; 0 of them on disk, 0 B\n"
        "# none: the files were downloaded before\n"
    ) in said
    assert "not on disk yet" not in said


@pytest.mark.slow
def test_demo_shows_what_its_calls_give(
    tmp_path: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What stands below `>>>` is what a session shows that runs the same lines."""
    main(["demo", "--output", str(tmp_path / "figure.png"), "--data-dir", str(tmp_path / "data")])
    said = capsys.readouterr().out
    fresh = confusius_datasets.fetch_sample(tmp_path / "fresh", download=False, progress=False)
    names: dict[str, Any] = {"dataset": fresh}
    shown = []

    for line in re.findall(r"^>>> (.*)$", said, flags=re.MULTILINE)[1:]:
        try:
            shown.append(f">>> {line}\n{eval(line, names)!r}\n")  # noqa: S307 - our own text
        except SyntaxError:
            exec(line, names)  # noqa: S102 - our own text

    assert [text.partition("\n")[0] for text in shown] == [
        ">>> dataset",
        ">>> dataset.missing(**recording)",
        ">>> dataset",
        ">>> pwd",
        ">>> events",
    ]
    for text in shown:
        assert text.replace(str(tmp_path / "fresh"), str(tmp_path / "data")) in said


@pytest.mark.parametrize("name", ["figure.xyz", "figure", ""])
def test_demo_refuses_a_path_that_is_no_picture_before_anything_is_done(
    name: str, tmp_path: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line says what is wrong, and no file is made."""
    assert main(["demo", "--output", str(tmp_path / name)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert not data_dir.exists()


def test_demo_without_matplotlib_names_it_before_anything_is_done(
    monkeypatch: pytest.MonkeyPatch, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever installed the package alone is told what to add."""
    for name in ("matplotlib", "matplotlib.figure", "matplotlib.backends.backend_agg"):
        monkeypatch.setitem(sys.modules, name, None)

    assert main(["demo"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "pip install matplotlib (it is in the extra [plot] of" in said.err
    assert not data_dir.exists()


@pytest.mark.slow
def test_folder_that_cannot_be_written_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A failure of the file system is said like any other."""
    (tmp_path / "file").touch()

    assert main(["demo", "--output", str(tmp_path / "file" / "figure.png")]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("confusius-datasets: ")
    assert "file" in error


COMMAND = [
    sys.executable,
    "-c",
    "import sys; from confusius_datasets._cli import main; sys.exit(main())",
]


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [["list"], ["demo"], ["fetch", "sample", "--no-download"]], ids=lambda words: words[0]
)
def test_reader_that_stops_reading_ends_the_command(words: list[str], tmp_path: Path) -> None:
    """`| head` is no error to be traced back."""
    process = subprocess.Popen(
        [*COMMAND, *words], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()

    with process:
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()
    assert process.returncode == 1


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_output_that_cannot_be_written_is_one_line() -> None:
    """A full disk behind `>` is said once, and not traced back."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, "list"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )

    assert done.returncode == 1
    assert done.stderr == "confusius-datasets: [Errno 28] No space left on device\n"


@pytest.mark.slow
def test_progress_is_told_in_lines_without_a_terminal(tmp_path: Path) -> None:
    """A job's log shows that a download began and ended, unless it is to be quiet."""
    words = ["fetch", "sample", "--subjects", "mouse1", "--data-dir"]

    told = subprocess.run(
        [*COMMAND, *words, str(tmp_path / "a")], capture_output=True, text=True, check=True
    )
    quiet = subprocess.run(
        [*COMMAND, *words, str(tmp_path / "b"), "--quiet"],
        capture_output=True,
        text=True,
        check=True,
    )

    lines = told.stderr.splitlines()
    assert all(re.match(r"confusius-datasets: [\d-]{10} \d\d:\d\d:\d\d ", line) for line in lines)
    texts = [line[len("confusius-datasets: 2026-11-27 12:00:00 ") :] for line in lines]
    assert texts[0] == "Downloading 32 files, 12.04 MB"
    assert texts[-1].startswith("Downloaded 32 files")
    assert quiet.stderr == ""


@pytest.mark.slow
def test_interruption_is_said_once(osf: LocalOSF) -> None:
    """Ctrl-C ends a download with status 130 and no traceback, saying what was kept."""
    name = "pepe-mariani-2026-fusi-template.nii.gz"
    osf.fail(name, Fault("silent", seconds=20, times=0))
    process = subprocess.Popen(
        [*COMMAND, "fetch", "template-pepe-mariani-2026"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not any(request.role == "storage" for request in osf.requests):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)

    _, error = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in error
    assert error.count("Interrupted") == 1
    assert error.endswith("The same call resumes there.\n")
