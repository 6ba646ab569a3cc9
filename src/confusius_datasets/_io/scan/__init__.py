"""Iconeus files: `.scan` of both generations, and `.bps` that position them in the brain.

`v1` reads HDF5, `v2` the packed binary one whose header `v2_header` parses; both give the `parts`
that they share. `bps` reads positioning files, and `opening` puts them together.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from confusius_datasets._io.formats import Format

if TYPE_CHECKING:
    from confusius_datasets._io.prepared import Prepared

__all__ = ["SCAN"]


def _open(path: Path, *, bps_path: str | os.PathLike[str] | None = None) -> Prepared:
    from confusius_datasets._io.scan.opening import prepare_scan

    return prepare_scan(path, bps_path=bps_path)


SCAN = Format(extensions=(".scan",), open=_open)
