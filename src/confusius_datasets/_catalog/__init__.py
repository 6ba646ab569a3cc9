"""The public datasets: a file for each, with its spec and its typed `fetch_*`, and no logic.

Adding a dataset is adding a file here, and its names to this one and to `_open.PUBLISHED`. Nothing
here knows HTTP or PyBIDS.
"""

from __future__ import annotations

from confusius_datasets._catalog.brainglobe import fetch_brainglobe_atlas
from confusius_datasets._catalog.cybis_pereira_2026 import (
    CYBIS_PEREIRA_2026,
    fetch_cybis_pereira_2026,
)
from confusius_datasets._catalog.khallaf_2026 import KHALLAF_2026, fetch_khallaf_2026
from confusius_datasets._catalog.landemard_2026 import LANDEMARD_2026, fetch_landemard_2026
from confusius_datasets._catalog.nunez_elizalde_2022 import (
    NUNEZ_ELIZALDE_2022,
    fetch_nunez_elizalde_2022,
)
from confusius_datasets._catalog.pepe_mariani_2026 import PEPE_MARIANI_2026, fetch_pepe_mariani_2026
from confusius_datasets._catalog.pereira_2025 import PEREIRA_2025, fetch_pereira_2025
from confusius_datasets._catalog.sample import SAMPLE, fetch_sample
from confusius_datasets._catalog.template_huang_2025 import (
    TEMPLATE_HUANG_2025,
    fetch_template_huang_2025,
)
from confusius_datasets._catalog.template_pepe_mariani_2026 import (
    TEMPLATE_PEPE_MARIANI_2026,
    fetch_template_pepe_mariani_2026,
)

__all__ = [
    "CYBIS_PEREIRA_2026",
    "KHALLAF_2026",
    "LANDEMARD_2026",
    "NUNEZ_ELIZALDE_2022",
    "PEPE_MARIANI_2026",
    "PEREIRA_2025",
    "SAMPLE",
    "TEMPLATE_HUANG_2025",
    "TEMPLATE_PEPE_MARIANI_2026",
    "fetch_brainglobe_atlas",
    "fetch_cybis_pereira_2026",
    "fetch_khallaf_2026",
    "fetch_landemard_2026",
    "fetch_nunez_elizalde_2022",
    "fetch_pepe_mariani_2026",
    "fetch_pereira_2025",
    "fetch_sample",
    "fetch_template_huang_2025",
    "fetch_template_pepe_mariani_2026",
]
