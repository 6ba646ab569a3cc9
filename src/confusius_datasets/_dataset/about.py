"""What is told of a dataset: citation, licence, address, version; from its spec or its folder."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from confusius_datasets._entities import DESCRIPTION_NAME
from confusius_datasets._sidecars import read_sidecar
from confusius_datasets.errors import FileFormatError

__all__ = ["format_bibtex", "page_of", "read_description", "word_citation"]


def read_description(root: Path) -> dict[str, Any]:
    """Read what a folder says of itself; nothing where it does not."""
    with contextlib.suppress(FileFormatError, OSError):
        return read_sidecar(root / DESCRIPTION_NAME)
    return {}


def page_of(doi: str) -> str:
    """Return the address of the page that a DOI stands for; BIDS writes it as `doi:10.…`."""
    number = doi.strip().removeprefix("doi:").strip()
    return f"https://doi.org/{number}" if number.startswith("10.") else doi


def word_citation(description: Mapping[str, Any]) -> str:
    """Put together what to cite of a dataset that only describes itself."""
    if isinstance(asked := description.get("HowToAcknowledge"), str) and asked.strip():
        return asked.strip()
    authors = description.get("Authors")
    parts = [
        ", ".join(map(str, authors)) if isinstance(authors, list) else "",
        str(description.get("Name") or ""),
        str(description.get("DatasetDOI") or ""),
    ]
    return ". ".join(filter(None, parts)) if parts[0] else ""


def format_bibtex(name: str, citation: str, url: str, description: Mapping[str, Any]) -> str:
    """Write a citation as an entry of BibTeX; nothing where there is none."""
    if not citation:
        return ""
    key = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")
    year = re.search(r"\((\d{4})\)", citation)
    authors = description.get("Authors")
    fields = {
        "author": " and ".join(_escape(str(author)) for author in authors)
        if isinstance(authors, list)
        else "",
        "title": f"{{{_escape(str(description.get('Name') or name))}}}",
        "year": year[1] if year else "",
        "note": _escape(citation),
        "url": url,
    }
    lines = [f"  {field} = {{{value}}}," for field, value in fields.items() if value]
    return "\n".join([f"@misc{{{key},", *lines, "}"])


def _escape(text: str) -> str:
    """Escape what TeX would take for a command, but in addresses."""
    words = text.split(" ")
    return " ".join(
        f"\\url{{{word}}}" if "://" in word else re.sub(r"([&%#$_])", r"\\\1", word)
        for word in words
    )
