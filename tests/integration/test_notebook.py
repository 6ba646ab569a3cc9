"""A day's work in a notebook: every cell runs in a kernel of its own, and shows what it should."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from atlas_folders import install_atlas

pytest.importorskip("ipykernel")
manager = pytest.importorskip("jupyter_client.manager")

NOTEBOOK = Path(__file__).parents[2] / "examples" / "a_days_work.ipynb"

LONGEST_CELL_S = 300
"""Seconds after which a cell counts as hanging, on the busiest machine."""


class Shown:
    """What one cell shows: printed text, and its values in each form they have."""

    def __init__(self) -> None:
        self.text = ""
        self.html = ""
        self.n_images = 0

    def __call__(self, message: dict[str, Any]) -> None:
        """Take a message of the kernel."""
        content = message["content"]
        if message["msg_type"] == "stream" and content["name"] == "stdout":
            self.text += content["text"]
        elif message["msg_type"] in ("execute_result", "display_data"):
            data = content["data"]
            self.text += data.get("text/plain", "")
            self.html += data.get("text/html", "")
            self.n_images += "image/png" in data


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Start a kernel in an empty folder, with an atlas, and without the progress of a terminal."""
    install_atlas(tmp_path / "home", monkeypatch, "allen_mouse_100um")
    kernels = manager.KernelManager()
    # This Python, and no kernel that somebody has installed under the usual name.
    kernels.kernel_spec.argv[0] = sys.executable
    kernels.start_kernel(cwd=str(tmp_path), env=os.environ | {"IPYTHONDIR": str(tmp_path / "ip")})
    client = kernels.blocking_client()
    try:
        client.start_channels()
        client.wait_for_ready(timeout=LONGEST_CELL_S)
        yield client
    finally:
        client.stop_channels()
        kernels.shutdown_kernel(now=True)


def run(kernel: Any, source: str) -> Shown:
    """Run a cell as one does by hand; an error in it is one here."""
    shown = Shown()
    reply = kernel.execute_interactive(source, output_hook=shown, timeout=LONGEST_CELL_S)
    content = reply["content"]
    trace = re.sub(r"\x1b\[[\d;]*m", "", "\n".join(content.get("traceback", ())))
    assert content["status"] == "ok", f"{source}\n{trace}"
    return shown


@pytest.mark.slow
def test_notebook_of_a_days_work_runs(kernel: Any) -> None:
    """No cell fails, and those that one looks at show tables, cards and pictures."""
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]

    shown = {"".join(cell["source"]): run(kernel, "".join(cell["source"])) for cell in code}

    def one(part: str) -> Shown:
        (found,) = [output for source, output in shown.items() if part in source]
        return found

    assert len(cells) >= 40
    assert not any(cell["outputs"] for cell in code)
    assert "fetch_nunez_elizalde_2022" in one("list_datasets").text
    card = one("fetch_sample(download=False").html
    assert all(word in card for word in ("sample", "CC0", "mouse1", "checkerboard"))
    assert one("repr(ds)").text.startswith("<BIDSDataset sample at ")
    assert "2 files, 1.475 MB; 0 of them on disk, 0 B" in one("rest = ").text
    assert one("first.sizes").text == "({'time': 2, 'z': 1, 'y': 48, 'x': 64}, 2)"
    assert "(time: 120," in one('pwd = ds.load(**rest, suffix="pwd")').text
    assert "0.25" in one("ds.coverage()").text
    assert "Did you mean 'mouse1'?" in one("mouse3").text
    assert "They differ in" in one("AmbiguousMatchError").text
    assert float(one("xr.corr").text) >= 0.5
    for part in ("plot_coverage", "decibels=True);", "vmin=-1", 'regions=["Isocortex"]'):
        found = [output for source, output in shown.items() if part in source]
        assert found and all(output.n_images == 1 for output in found), part
    assert "osf:abcde/whiskers-bids" in one("cd.open_dataset").html
    assert one("females = ").html.count("<tr") == 1 + 10
    assert one("first.shape").text == "((9, 48, 64), '0 files, 0 B; 0 of them on disk, 0 B')"
    assert one("stack=").text == "[(('time', 'z', 'y', 'x'), (120, 2, 48, 64))]"
    assert one(".equals(").text == "True"
    assert one("cd.save").text.count("True correlation") == 3
    hint = one("to_confusius").text.strip()  # empty where ConfUSIus is installed
    assert not hint or hint.endswith("pip install confusius")
    assert one("repair=True").text.count("'corrupt': 1") == 1
    assert "@misc{" in one("bibtex").text
    assert one("ours.evict").text.startswith("4 4 files, 5.9 MB")
    assert "osf/abcde_whiskers-bids" in one("cache_info").text
    assert int(one("still = ").text) == 4
