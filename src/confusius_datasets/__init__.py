"""Public functional-ultrasound datasets as xarray arrays: one mouse, one task, one slice, now.

The public names are all here. They are resolved when first used, so that importing the package
imports none of the large ones it stands on. The exceptions are in `confusius_datasets.errors`;
what a dataset or host of one's own is made of, in `confusius_datasets.sources`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bids.layout import BIDSFile, Query

    from confusius_datasets import errors as errors
    from confusius_datasets import sources as sources
    from confusius_datasets._atlas import Atlas
    from confusius_datasets._cache import get_datasets_dir
    from confusius_datasets._catalog import (
        fetch_brainglobe_atlas,
        fetch_cybis_pereira_2026,
        fetch_khallaf_2026,
        fetch_landemard_2026,
        fetch_nunez_elizalde_2022,
        fetch_pepe_mariani_2026,
        fetch_pereira_2025,
        fetch_sample,
        fetch_template_huang_2025,
        fetch_template_pepe_mariani_2026,
    )
    from confusius_datasets._dataset import BIDSDataset, cache_info
    from confusius_datasets._io import load, save, to_confusius
    from confusius_datasets._layout import pybids_config
    from confusius_datasets._open import (
        fetch_dataset,
        list_datasets,
        open_dataset,
        register_dataset,
    )
    from confusius_datasets._plot import plot_coverage, plot_slice, plot_template_with_atlas

__version__ = "0.1.0"

__all__ = [
    "Atlas",
    "BIDSDataset",
    "BIDSFile",
    "Query",
    "cache_info",
    "fetch_brainglobe_atlas",
    "fetch_cybis_pereira_2026",
    "fetch_dataset",
    "fetch_khallaf_2026",
    "fetch_landemard_2026",
    "fetch_nunez_elizalde_2022",
    "fetch_pepe_mariani_2026",
    "fetch_pereira_2025",
    "fetch_sample",
    "fetch_template_huang_2025",
    "fetch_template_pepe_mariani_2026",
    "get_datasets_dir",
    "list_datasets",
    "load",
    "open_dataset",
    "plot_coverage",
    "plot_slice",
    "plot_template_with_atlas",
    "pybids_config",
    "register_dataset",
    "save",
    "to_confusius",
]

_MODULES = ("errors", "sources")

_HOMES = {
    "Atlas": "confusius_datasets._atlas",
    "BIDSDataset": "confusius_datasets._dataset",
    "BIDSFile": "bids.layout",
    "Query": "bids.layout",
    "cache_info": "confusius_datasets._dataset",
    "fetch_brainglobe_atlas": "confusius_datasets._catalog",
    "fetch_cybis_pereira_2026": "confusius_datasets._catalog",
    "fetch_dataset": "confusius_datasets._open",
    "fetch_khallaf_2026": "confusius_datasets._catalog",
    "fetch_landemard_2026": "confusius_datasets._catalog",
    "fetch_nunez_elizalde_2022": "confusius_datasets._catalog",
    "fetch_pepe_mariani_2026": "confusius_datasets._catalog",
    "fetch_pereira_2025": "confusius_datasets._catalog",
    "fetch_sample": "confusius_datasets._catalog",
    "fetch_template_huang_2025": "confusius_datasets._catalog",
    "fetch_template_pepe_mariani_2026": "confusius_datasets._catalog",
    "get_datasets_dir": "confusius_datasets._cache",
    "list_datasets": "confusius_datasets._open",
    "load": "confusius_datasets._io",
    "open_dataset": "confusius_datasets._open",
    "plot_coverage": "confusius_datasets._plot",
    "plot_slice": "confusius_datasets._plot",
    "plot_template_with_atlas": "confusius_datasets._plot",
    "pybids_config": "confusius_datasets._layout",
    "register_dataset": "confusius_datasets._open",
    "save": "confusius_datasets._io",
    "to_confusius": "confusius_datasets._io",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:  # so that `except confusius_datasets.errors.…` needs no import of its own
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    # Keep this module's own imports out of completion.
    return sorted({*__all__, *_MODULES, *(name for name in globals() if name.startswith("__"))})
