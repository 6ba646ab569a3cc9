"""What this process has open."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

__all__ = ["list_open"]


def list_open(root: Path) -> list[str]:
    """List the files and folders, at a path or below it, that this process has open."""
    descriptors = Path("/proc/self/fd")
    if not descriptors.is_dir():  # not on this system: then there is nothing to see
        return []
    found = []
    for link in descriptors.iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed by now
            found.append(os.readlink(link))  # noqa: PTH115 - it says " (deleted)" too
    return [path for path in found if path.startswith(os.fspath(root))]
