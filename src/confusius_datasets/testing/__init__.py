"""What tests need, ours and users': a local server that emulates OSF, and a suite for sources.

`LocalOSF` speaks what the package relies on: paginated listings with `filter[name]`, nested
folders, downloads that redirect over two further hosts, `Range` with validators. It misbehaves on
demand, keeps a log of every request, and listens on this machine only. `SourceTests` is what every
source of data must pass. Importing this module imports neither `requests` nor `pytest`.
"""

from __future__ import annotations

from confusius_datasets.testing.faults import Fault, Request
from confusius_datasets.testing.osf import LocalOSF
from confusius_datasets.testing.sources import SourceTests

__all__ = ["Fault", "LocalOSF", "Request", "SourceTests"]
