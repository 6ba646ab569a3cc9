"""What datasets there are: a declarative spec for each. Adding a dataset is adding a spec.

Nothing here knows HTTP or PyBIDS.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from confusius_datasets._sources import OSFSource, SampleSource, Source

__all__ = [
    "CYBIS_PEREIRA_2026",
    "LISTED",
    "NUNEZ_ELIZALDE_2022",
    "SAMPLE",
    "TEMPLATE_PEPE_MARIANI_2026",
    "DatasetSpec",
]

DATATYPES = ("fusi", "angio")
"""Datatype folders of a recording and of the structural images beside it."""


@dataclass(frozen=True, slots=True)
class DatasetSpec:
    """Everything that tells one dataset from another.

    Parameters
    ----------
    name : str
        What it is called, as in the fetcher's name with dashes.
    fetcher : str
        Name of the public function that fetches it.
    folder : str
        Its root folder below the folder of all datasets.
    source : Source
        The host, and where on it.
    nbytes : int
        Size of the whole, in bytes.
    citation : str
        What to cite, or nothing.
    licence : str
        The licence of the data.
    url : str
        A page about it for people, or nothing.
    kind : str, default: "dataset"
        `dataset` or `template`.
    file : str, optional
        The one file it consists of, for a template.
    choices : mapping of str to tuple of str, default: none
        All values of the filters whose values are known without the index.
    """

    name: str
    fetcher: str
    folder: str
    source: Source
    nbytes: int
    citation: str
    licence: str
    url: str
    kind: str = "dataset"
    file: str | None = None
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def notice(self) -> str:
        """What a fetcher prints about the source to cite; nothing for data without one."""
        if not self.citation:
            return ""
        return (
            f"If you use this {self.kind} in your work, please cite the following source:\n"
            f"{self.citation}"
        )


NUNEZ_ELIZALDE_2022 = DatasetSpec(
    name="nunez-elizalde-2022",
    fetcher="fetch_nunez_elizalde_2022",
    folder="nunez-elizalde-2022-bids",
    source=OSFSource("43skw", folder="nunez-elizalde-2022-bids"),
    nbytes=6_982_575_320,
    citation=(
        "Nunez-Elizalde, A. O., Krumin, M., Reddy, C. B., Montaldo, G., Urban, A., Harris, K. D., "
        "& Carandini, M. (2022). Neural correlates of blood flow measured by ultrasound. Neuron, "
        "110(10), 1631-1640.e4. https://doi.org/10.1016/j.neuron.2022.02.012"
    ),
    licence="CC BY 4.0",
    url="https://osf.io/43skw/",
    choices={"datasets": ("rawdata", "allenccf_align"), "datatypes": DATATYPES},
)
"""Neural activity and cerebral blood volume in awake mice."""

CYBIS_PEREIRA_2026 = DatasetSpec(
    name="cybis-pereira-2026",
    fetcher="fetch_cybis_pereira_2026",
    folder="cybis-pereira-2026-bids",
    source=OSFSource("2v6f7", folder="cybis-pereira-2026-bids"),
    nbytes=12_883_924_421,
    citation=(
        "Cybis Pereira, F., Castedo, S. H., Le Meur-Diebolt, S., Ialy-Radio, N., Bhattacharya, S., "
        "Ferrier, J., Osmanski, B. F., Cocco, S., Monasson, R., Pezet, S., & Tanter, M. (2026). A "
        "vascular code for speed in the spatial navigation system. Cell Reports, 45(1). "
        "https://doi.org/10.1016/j.celrep.2025.116791"
    ),
    licence="CC BY 4.0",
    url="https://osf.io/2v6f7/",
    choices={
        "datasets": (
            "rawdata",
            "glm-speed",
            "glm-angular-speed",
            "decode-speed",
            "interanimal-decode-speed",
            "dlc-videos",
        ),
        "datatypes": (*DATATYPES, "motion"),
    },
)
"""Vascular coding of speed in freely moving rats."""

TEMPLATE_FILE = "pepe-mariani-2026-fusi-template.nii.gz"
"""The template's only file, on the host and on disk."""

TEMPLATE_PEPE_MARIANI_2026 = DatasetSpec(
    name="template-pepe-mariani-2026",
    fetcher="fetch_template_pepe_mariani_2026",
    folder="pepe-mariani-2026-template",
    source=OSFSource("43tu9", file=TEMPLATE_FILE),
    nbytes=5_507_550,
    citation=(
        "Pepe, C., Mariani, J.-C., Urosevic, M., Gini, S., Stuefer, A., Ricci, F., Galbusera, A., "
        "Iurilli, G., & Gozzi, A. (2026). Structural and dynamic embedding of the mouse functional "
        "connectome revealed by functional ultrasound imaging (fUSI). bioRxiv. "
        "https://doi.org/10.64898/2026.02.05.704055"
    ),
    licence="CC BY 4.0",
    url="https://osf.io/43tu9/",
    kind="template",
    file=TEMPLATE_FILE,
)
"""Mouse fUSI template aligned with the Allen atlas."""

SAMPLE = DatasetSpec(
    name="sample",
    fetcher="fetch_sample",
    folder="sample-bids",
    source=SampleSource(),
    nbytes=24_076_534,
    citation="",
    licence="CC0 1.0",
    url="",
    choices={"datasets": ("rawdata", "groundtruth"), "datatypes": DATATYPES},
)
"""Simulated recordings that the package makes itself."""

LISTED: Mapping[str, DatasetSpec] = MappingProxyType(
    {
        spec.fetcher: spec
        for spec in (CYBIS_PEREIRA_2026, NUNEZ_ELIZALDE_2022, TEMPLATE_PEPE_MARIANI_2026)
    }
)
"""The public datasets by their fetcher, in the order of the table."""
