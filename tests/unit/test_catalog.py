"""The specs of the datasets, and the fetchers that stand for them."""

from __future__ import annotations

import inspect
import pickle
import re
from typing import Any

import pytest

import confusius_datasets
from confusius_datasets import fetch_nunez_elizalde_2022
from confusius_datasets._catalog import SAMPLE
from confusius_datasets._open import DATASETS
from confusius_datasets._selection import FILTER_ENTITIES
from confusius_datasets._sources import S3Source
from confusius_datasets._spec import DatasetSpec
from confusius_datasets._text import format_nbytes
from confusius_datasets.errors import UnknownArgumentError

each_spec = pytest.mark.parametrize("spec", DATASETS.values(), ids=lambda spec: spec.name)


@pytest.mark.parametrize(
    ("name", "address", "folder", "shown", "licence"),
    [
        (
            "cybis-pereira-2026",
            "osf:2v6f7/cybis-pereira-2026-bids",
            "cybis-pereira-2026-bids",
            "12.88 GB",
            "CC BY 4.0",
        ),
        (
            "khallaf-2026",
            "dataverse:edmond.mpg.de/doi:10.17617/3.7QCU1F",
            "khallaf-2026-bids",
            "19.49 GB",
            "CC0 1.0",
        ),
        (
            "landemard-2026",
            "osf:7cf9g/landemard-2026-bids",
            "landemard-2026-bids",
            "42.04 GB",
            "CC BY-NC 4.0",
        ),
        (
            "nunez-elizalde-2022",
            "osf:43skw/nunez-elizalde-2022-bids",
            "nunez-elizalde-2022-bids",
            "6.983 GB",
            "CC BY 4.0",
        ),
        (
            "pepe-mariani-2026",
            "osf:7yhdc/pepe-mariani-2026-bids",
            "pepe-mariani-2026-bids",
            "37.56 GB",
            "CC BY 4.0",
        ),
        (
            "pereira-2025",
            "osf:pqa65/pereira-2025-bids",
            "pereira-2025-bids",
            "29.96 GB",
            "CC BY 4.0",
        ),
        (
            "template-huang-2025",
            "osf:am3jw",
            "huang-2025-template",
            "16.34 MB",
            "CC BY-NC-SA 4.0",
        ),
        (
            "template-pepe-mariani-2026",
            "osf:43tu9",
            "pepe-mariani-2026-template",
            "5.508 MB",
            "CC BY 4.0",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_public_dataset_is_where_its_users_find_it(
    name: str, address: str, folder: str, shown: str, licence: str
) -> None:
    """Address, folder, size and licence are those that were published."""
    spec = DATASETS[name]

    assert address in spec.addresses
    assert spec.folder == folder
    assert format_nbytes(spec.nbytes) == shown
    assert spec.license == licence
    assert spec.releases == S3Source(folder, kind="templates" if spec.file else "datasets")


def test_table_has_the_public_datasets_in_alphabetical_order() -> None:
    """They are found by name and sorted by function; the sample comes last."""
    *public, last = DATASETS.values()

    assert [spec.fetcher for spec in public] == sorted(spec.fetcher for spec in public)
    assert last is SAMPLE
    assert all(DATASETS[spec.name] is spec for spec in DATASETS.values())


@each_spec
def test_fetcher_says_where_the_data_are_from(spec: DatasetSpec) -> None:
    """The docstring has the data's page, its licence, and the paper."""
    text = inspect.getdoc(getattr(confusius_datasets, spec.fetcher)) or ""
    links = re.findall(r"https://doi\.org/\S+", spec.citation)

    assert spec.license in text
    assert spec.url in text
    assert all(link in text for link in links)
    assert links or not spec.citation


@each_spec
def test_fetcher_has_the_filters_of_its_spec(spec: DatasetSpec) -> None:
    """Each value that is known without the index is in the docstring of the function."""
    fetcher = getattr(confusius_datasets, spec.fetcher)
    filters = set(inspect.signature(fetcher).parameters) & set(FILTER_ENTITIES)

    assert set(spec.filters) & set(FILTER_ENTITIES) == filters
    assert set(spec.filters) <= set(inspect.signature(fetcher).parameters)
    assert bool(filters) is (spec.file is None)
    for value in (value for values in spec.filters.values() for value in values):
        assert f"`{value}`" in (inspect.getdoc(fetcher) or "")


@each_spec
def test_fetcher_takes_the_folder_first_and_the_rest_by_name(spec: DatasetSpec) -> None:
    """Only `data_dir` may be given by position, and nothing has to be given."""
    first, *others = inspect.signature(
        getattr(confusius_datasets, spec.fetcher)
    ).parameters.values()

    assert first.name == "data_dir"
    assert first.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert all(other.kind is inspect.Parameter.KEYWORD_ONLY for other in others)
    assert all(other.default is not inspect.Parameter.empty for other in (first, *others))


@each_spec
def test_notice_asks_for_the_citation_and_says_the_licence(spec: DatasetSpec) -> None:
    """Data of a paper say how to cite it; simulated ones have nothing to say."""
    kind = "template" if spec.file else "dataset"

    assert spec.notice == (
        f"If you use this {kind} in your work, please cite the following source:\n"
        f"{spec.citation}\nLicence: {spec.license}"
        if spec.citation
        else ""
    )


@each_spec
def test_bibtex_says_what_the_citation_says(spec: DatasetSpec) -> None:
    """The entry has the authors' family names, the year and the DOI of the citation."""
    authors = " ".join(re.findall(r"author = \{(.*?)\},\n", spec.bibtex, re.DOTALL))
    doi = spec.citation.partition("https://doi.org/")[2]
    year = re.search(r"\((\d{4})\)", spec.citation)

    assert bool(spec.bibtex) is bool(spec.citation)
    assert not doi or f"doi = {{{doi}}}" in spec.bibtex
    assert year is None or f"year = {{{year[1]}}}" in spec.bibtex
    for name in re.findall(
        r"([^\W\d_][^,.&(]{2,}), (?:[^\W\d_]\.-?)", spec.citation.split(" (")[0]
    ):
        assert name.strip() in " ".join(authors.split()), name


def test_fetcher_understands_what_others_call_its_arguments() -> None:
    """A keyword of PyBIDS, or a slip, is an error that names the right one."""
    fetch: Any = fetch_nunez_elizalde_2022
    cases = {
        "subject": "subjects",
        "acquisition": "acqs",
        "sesions": "sessions",
        "scope": "datasets",
    }
    for given, meant in cases.items():
        with pytest.raises(UnknownArgumentError, match=f"no argument '{given}'.*mean '{meant}'"):
            fetch(**{given: "x"})
    with pytest.raises(TypeError, match=r"no argument 'colour'\. It takes data_dir, datasets"):
        fetch(colour="x")
    with pytest.raises(TypeError, match="same as 'progress'"):
        fetch(progress=False, progress_callback=print)


@each_spec
def test_spec_pickles(spec: DatasetSpec) -> None:
    """A dataset takes its spec along to another process."""
    assert pickle.loads(pickle.dumps(spec)) == spec  # noqa: S301 - our own bytes
