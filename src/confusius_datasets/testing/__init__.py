"""What tests need, ours and users': hosts emulated on this machine, and a suite for sources.

`LocalOSF`, `LocalS3`, `LocalDataverse`, `LocalZenodo`, `LocalOpenNeuro` and `LocalWeb` speak what
the package relies on, with the traps of the real hosts. They misbehave on demand, keep a log of
every request, and listen on this machine only. `build_zip` makes archives, hostile ones too.
`SourceTests` is what every source of data must pass. Importing this module imports neither
`requests` nor `pytest`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from confusius_datasets.testing.archives import ZipMember, build_zip
    from confusius_datasets.testing.dataverse import LocalDataverse
    from confusius_datasets.testing.faults import Fault, Request
    from confusius_datasets.testing.host import LocalHost
    from confusius_datasets.testing.openneuro import LocalOpenNeuro
    from confusius_datasets.testing.osf import LocalOSF
    from confusius_datasets.testing.s3 import LocalS3
    from confusius_datasets.testing.sources import SourceTests
    from confusius_datasets.testing.web import LocalWeb
    from confusius_datasets.testing.zenodo import LocalZenodo

__all__ = [
    "Fault",
    "LocalDataverse",
    "LocalHost",
    "LocalOSF",
    "LocalOpenNeuro",
    "LocalS3",
    "LocalWeb",
    "LocalZenodo",
    "Request",
    "SourceTests",
    "ZipMember",
    "build_zip",
]

_HOMES = {
    "Fault": "faults",
    "LocalDataverse": "dataverse",
    "LocalHost": "host",
    "LocalOSF": "osf",
    "LocalOpenNeuro": "openneuro",
    "LocalS3": "s3",
    "LocalWeb": "web",
    "LocalZenodo": "zenodo",
    "Request": "faults",
    "SourceTests": "sources",
    "ZipMember": "archives",
    "build_zip": "archives",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
