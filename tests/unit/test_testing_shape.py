"""The public face of what tests need."""

from __future__ import annotations

import subprocess
import sys

import pytest

from confusius_datasets import testing


def test_public_names_are_there_and_listed() -> None:
    """Every name of `__all__` is found when it is first used."""
    assert set(testing.__all__) <= set(dir(testing))
    for name in testing.__all__:
        assert getattr(testing, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'LocalMoon'"):
        testing.LocalMoon  # noqa: B018


def test_names_bring_neither_requests_nor_pytest() -> None:
    """The emulated hosts stand on the standard library."""
    script = (
        "import sys; from confusius_datasets.testing import *;"
        "print([name for name in ('requests', 'pytest') if name in sys.modules])"
    )
    command = [sys.executable, "-c", script]

    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"
