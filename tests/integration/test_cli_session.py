"""A session with the command, each line a process of its own, on a host and on the sample."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from confusius_datasets import BIDSDataset, fetch_sample
from confusius_datasets.testing import LocalOSF, LocalWeb

pytestmark = pytest.mark.slow

ADDRESS = "osf:abcde/whiskers-bids"

Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]


@pytest.fixture
def sample(tmp_path: Path) -> BIDSDataset:
    """Fetch what the host will serve into a folder of its own."""
    return fetch_sample(tmp_path / "source", subjects="mouse1", progress=False)


@pytest.fixture
def host(sample: BIDSDataset, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalOSF]:
    """Serve one mouse of the sample as a dataset on OSF."""
    files = {
        relpath: (sample.root / relpath).read_bytes()
        for relpath in sample.index
        if "sub-mouse2" not in relpath
    }
    with LocalOSF() as server:
        server.add_dataset("abcde", "whiskers-bids", files)
        for name, value in server.environ.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Give what runs a line, and compares its exit status."""

    def run_line(line: str, status: int = 0, **variables: str) -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "confusius_datasets", *line.split()],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env=os.environ | variables,
        )
        assert done.returncode == status, done
        assert "Traceback" not in done.stderr
        return done

    return run_line


def test_session_on_a_host(host: LocalOSF, run: Run, data_dir: Path) -> None:
    """Look, plan, fetch, check, mend and free: each line says what the one before did."""
    root = data_dir / "osf" / "abcde_whiskers-bids"
    query = "--subject mouse1 --session day1 --task rest --suffix pwd"
    image = (
        "sub-mouse1/ses-day1/fusi/sub-mouse1_ses-day1_task-rest_acq-slice01_pwd.nii.gz"  # of two
    )

    planned = run(f"fetch {ADDRESS} --tasks rest --dry-run")
    assert sorted(path.name for path in root.iterdir()) == [".confusius", "dataset_index.json"]
    n_files, size = re.findall(r"^(\d+) files, (.*) to download$", planned.stdout, re.MULTILINE)[0]
    assert image in planned.stdout.splitlines()

    fetched = run(f"fetch {ADDRESS} --tasks rest")
    assert f"Downloaded {n_files} files, {size}" in fetched.stderr
    assert fetched.stdout.startswith(f"<BIDSDataset {ADDRESS} at {root}: ")
    assert "to download" not in run(f"fetch {ADDRESS} --tasks rest").stderr
    assert run(f"fetch {ADDRESS} --tasks rest --dry-run --quiet").stdout.startswith("0 files")

    facts = json.loads(run(f"info {ADDRESS} --json").stdout)
    assert (facts["root"], facts["labels"]["subject"]) == (str(root), ["mouse1"])
    assert re.search(r"^on disk +\d+ files, ", run(f"info {root}").stdout, re.MULTILINE)

    listed = json.loads(run(f"ls {ADDRESS} {query} --json").stdout)
    assert [row["on_disk"] for row in listed] == [True] * 4
    assert run(f"ls {ADDRESS} {query}").stdout.splitlines() == [row["path"] for row in listed]

    (root / image).write_bytes(b"damaged")
    bad = run(f"verify {ADDRESS} --quiet", 1)
    assert bad.stdout.splitlines()[0] == f"corrupt: {image}"
    mended = json.loads(run(f"verify {ADDRESS} --repair --quiet --json").stdout)
    assert set(mended["counts"]) == {"ok", "missing"}

    freed = run(f"evict {ADDRESS} --task rest --extension .nii.gz")
    assert freed.stdout == "4 files deleted\n"
    assert run(f"verify {ADDRESS} --quiet").stderr == ""  # missing files are no fault
    got = run(f"get {ADDRESS} {query} --quiet")
    assert got.stdout.splitlines() == [str(root / row["path"]) for row in listed]
    assert got.stderr == ""

    cached = json.loads(run("cache --json").stdout)
    assert [row["folder"] for row in cached] == ["osf/abcde_whiskers-bids"]
    assert run("cache").stdout.splitlines()[-1].endswith("in all")
    assert run(f"cite {ADDRESS} --bibtex").stdout.startswith("@misc{abcde_whiskers_bids,")


def test_session_on_the_sample(run: Run, data_dir: Path) -> None:
    """The same without any network, as a lesson shows it."""
    offline: Any = {"CONFUSIUS_OFFLINE": "1"}
    root = data_dir / "confusius-sample-bids"

    assert run("fetch sample --subjects mouse1 --quiet", **offline).stdout == f"{root}\n"
    rows = {row["name"]: row for row in json.loads(run("list --json", **offline).stdout)}
    assert 0 < rows["sample"]["nbytes_on_disk"] < rows["sample"]["nbytes"]
    assert re.search(r"│ sample +│ 24.08 MB │ +50 % │", run("list").stdout)
    assert run("ls sample --task rest --suffix pwd --on-disk").stdout.count("\n") == 8
    assert json.loads(run("verify sample --json", **offline).stdout)["files"] == []
    assert run("cite sample").stdout.endswith("Licence: CC0 1.0\n")
    told = run("demo --output figure.png", **offline)
    assert (data_dir.parent / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert told.stdout.rstrip().endswith("figure.png")


def test_exit_statuses_are_those_of_the_page(host: LocalOSF, run: Run) -> None:
    """2 is for what was typed, 1 for what failed; both say so in a line on standard error."""
    wrong = ["fetch nope", f"fetch {ADDRESS} --subjects nobody", "ls sample --subject mouse7"]
    wrong += ["get sample", "verify sample --task kalatsky", "evict sample --suffix maskk"]
    for line in wrong:
        said = run(line, 2)
        assert (said.stdout, said.stderr.count("\n")) == ("", 1), line
        assert said.stderr.startswith("confusius-datasets: "), line
    for line in ("", "nonsense", "fetch", "ls sample --nonsense 1"):
        assert run(line, 2).stdout == ""
    run("ls sample", 2, CONFUSIUS_OFFLINE="perhaps")

    alone = run(f"fetch {ADDRESS}", 1, CONFUSIUS_OFFLINE="1")
    assert "CONFUSIUS_OFFLINE is set" in alone.stderr


def test_warning_of_the_command_is_a_line_like_its_errors(run: Run, tmp_path: Path) -> None:
    """No line of somebody's code is shown with it."""
    said = run("fetch sample --no-download --quiet", CONFUSIUS_MIRRORS=str(tmp_path / "nowhere"))

    lines = said.stderr.splitlines()
    assert lines and all(line.startswith("confusius-datasets: CONFUSIUS_MIRR") for line in lines)


def test_size_that_nobody_knows_is_a_question_mark(run: Run) -> None:
    """A host need not say sizes in its index."""
    with LocalWeb() as web:
        web.put("lab/sub-1/fusi/sub-1_pwd.nii", b"x" * 10)
        index = {"sub-1/fusi/sub-1_pwd.nii": {}}
        web.put("lab/dataset_index.json", json.dumps(index).encode())
        listed = run(f"ls {web.url('web')}/lab/dataset_index.json --long")

    assert listed.stdout.split() == ["?", "-", "sub-1/fusi/sub-1_pwd.nii"]
