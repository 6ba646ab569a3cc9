"""Addresses of datasets, `scheme:id`: which source each stands for, and where its files are kept.

The schemes themselves stand beside their sources; here is their list.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from confusius_datasets._sources.dataverse import DATAVERSE_SCHEME
from confusius_datasets._sources.manifest import WEB_SCHEMES
from confusius_datasets._sources.openneuro import OPENNEURO_SCHEME
from confusius_datasets._sources.osf import OSF_SCHEME
from confusius_datasets._sources.protocol import Source
from confusius_datasets._sources.zenodo import ZENODO_SCHEME
from confusius_datasets._text import did_you_mean
from confusius_datasets.errors import ArgumentError

__all__ = ["SCHEMES", "Address", "is_address", "list_forms", "parse_address"]

SCHEMES = {
    scheme.name: scheme
    for scheme in (OSF_SCHEME, OPENNEURO_SCHEME, ZENODO_SCHEME, DATAVERSE_SCHEME, *WEB_SCHEMES)
}
"""Every kind of address by its name."""

# A drive of Windows is one letter.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(.*)", re.DOTALL)

_UNFIT = re.compile(r'[<>:"/\\|?*\x00-\x1f]+')

LONGEST_NAME_NBYTES = 200
"""Bytes of a folder's name, of the 255 that file systems have."""


@dataclass(frozen=True, slots=True)
class Address:
    """A dataset somewhere: the address as one writes it, its source, and its root folder."""

    text: str
    source: Source
    folder: str
    version: str | None


def is_address(text: str) -> bool:
    """Say whether a text is meant as an address, right or wrong."""
    return _SCHEME.fullmatch(text) is not None


def parse_address(text: str, version: str | None = None) -> Address:
    """Read an address; a version may also follow it after an `@`, where the host has versions."""
    match = _SCHEME.fullmatch(text.strip())
    scheme = SCHEMES.get(match[1].lower()) if match else None
    if match is None or scheme is None:
        kind = match[1] if match else text
        raise ArgumentError(
            f"{text!r}: {kind!r} is not a kind of address. {did_you_mean(kind, SCHEMES)}"
            f"An address is {list_forms()}."
        )
    rest = match[2]
    if scheme.versioned:
        rest, _, given = rest.partition("@")
        version = version or given or None
    elif version is not None:
        raise ArgumentError(
            f"{text!r}: addresses that begin with {scheme.name!r} have no versions. "
            "Leave version out."
        )
    try:
        identifier, source = scheme.read(rest, version)
    except ValueError as error:
        hint = f" ({error})" if str(error) else ""
        raise ArgumentError(f"{text!r} is not an address{hint}: expected {scheme.form}.") from None
    suffix = f"@{version}" if version else ""
    folder = f"{scheme.name}/{_name_folder(identifier + suffix)}"
    return Address(f"{scheme.name}:{identifier}{suffix}", source, folder, version)


def _name_folder(identifier: str) -> str:
    """Make the name of a folder that every system can have out of an identifier."""
    name = _UNFIT.sub("_", identifier).strip("._ ")
    if len(name.encode()) <= LONGEST_NAME_NBYTES:
        return name
    # Two long ones that begin alike must not meet in one folder.
    digest = hashlib.sha1(identifier.encode(), usedforsecurity=False).hexdigest()[:12]
    kept = name.encode()[: LONGEST_NAME_NBYTES - len(digest) - 1].decode(errors="ignore")
    return f"{kept}_{digest}"


def list_forms() -> str:
    """Show the form of each kind of address."""
    *forms, last = dict.fromkeys(scheme.form for scheme in SCHEMES.values())
    return f"{', '.join(forms)}, or {last}"
