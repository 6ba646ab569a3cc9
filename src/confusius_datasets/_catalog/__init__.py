"""The public datasets: a file for each, with its spec and its typed `fetch_*`, and no logic.

Adding a dataset is adding a file here, and its names to this one and to `_open.DATASETS`. Nothing
here knows HTTP or PyBIDS.
"""

from __future__ import annotations

from confusius_datasets._catalog.brainglobe import fetch_brainglobe_atlas
from confusius_datasets._catalog.cybis_pereira_2026 import (
    CYBIS_PEREIRA_2026,
    fetch_cybis_pereira_2026,
)
from confusius_datasets._catalog.nunez_elizalde_2022 import (
    NUNEZ_ELIZALDE_2022,
    fetch_nunez_elizalde_2022,
)
from confusius_datasets._catalog.sample import SAMPLE, fetch_sample
from confusius_datasets._catalog.template_pepe_mariani_2026 import (
    TEMPLATE_PEPE_MARIANI_2026,
    fetch_template_pepe_mariani_2026,
)

__all__ = [
    "CYBIS_PEREIRA_2026",
    "NUNEZ_ELIZALDE_2022",
    "SAMPLE",
    "TEMPLATE_PEPE_MARIANI_2026",
    "fetch_brainglobe_atlas",
    "fetch_cybis_pereira_2026",
    "fetch_nunez_elizalde_2022",
    "fetch_sample",
    "fetch_template_pepe_mariani_2026",
]
