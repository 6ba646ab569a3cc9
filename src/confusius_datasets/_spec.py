"""`DatasetSpec`: everything that tells one dataset from another, as a value.

Nothing here knows HTTP or PyBIDS. The specs themselves stand in `_catalog/`, one file each.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from confusius_datasets._selection import (
    FILTER_ENTITIES,
    Filters,
    Naming,
    dataset_name,
)
from confusius_datasets._sources import (
    MirroredSource,
    S3Source,
    Source,
    get_client,
    is_address,
    list_forms,
    parse_address,
)
from confusius_datasets.errors import ArgumentError

__all__ = ["DatasetSpec", "is_address", "list_forms", "spec_at"]


_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSpec:
    """Everything that tells one dataset from another.

    Parameters
    ----------
    name : str
        What it is called, as in the fetcher's name with dashes.
    folder : str
        Its root folder below the folder of all datasets.
    source : Source
        The host, and where on it.
    addresses : tuple of str, default: none
        Addresses that mean this dataset, as `open_dataset` takes them.
    releases : S3Source, optional
        Where its releases are, if there are any.
    fetcher : str, default: ""
        Name of the public function that fetches it, if there is one.
    nbytes : int, default: 0
        Size of the whole, in bytes; 0 where it is not known.
    citation : str, default: ""
        What to cite, or nothing.
    bibtex : str, default: ""
        The same as an entry of BibTeX.
    license : str, default: ""
        The licence of the data.
    url : str, default: ""
        A page about it for people, or nothing.
    version : str, optional
        The release that this is. If not provided, the files may change on the host.
    file : str, optional
        The one image that a template consists of. If not provided, it is a dataset.
    released_file : str, optional
        What that image is called in releases. If not provided, the same.
    filters : mapping of str to tuple of str, default: none
        The filters that its fetcher takes, each with all its values where these are known without
        the index; an empty tuple stands for the labels that the index has.
    keep : callable, optional
        What the selection rule cannot say: given a path below the root and all filters, whether the
        file may be downloaded. A function of a module, since a spec pickles. If not provided, the
        rule alone decides.
    naming : callable, optional
        Given a path below the root, which of the root's datasets the file belongs to; `None` for
        what every filter lets through. If not provided, `rawdata` or the folder in `derivatives/`
        or `sourcedata/`.
    earlier_folders : tuple of str, default: none
        What its root folder was called before. One that is there and has an index is used.

    Examples
    --------
    >>> from pathlib import Path
    >>> from confusius_datasets.sources import DatasetSpec, DirectorySource
    >>> mirror = DirectorySource(Path("/mnt/share/our-lab"))
    >>> spec = DatasetSpec(name="our-lab", folder="our-lab-bids", source=mirror)
    >>> spec.kind, spec.notice
    ('dataset', '')
    """

    name: str
    folder: str
    source: Source
    addresses: tuple[str, ...] = ()
    releases: S3Source | None = None
    fetcher: str = ""
    nbytes: int = 0
    citation: str = ""
    bibtex: str = ""
    license: str = ""
    url: str = ""
    version: str | None = None
    file: str | None = None
    released_file: str | None = None
    filters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    keep: Callable[[str, Filters], bool] | None = None
    naming: Naming = dataset_name
    earlier_folders: tuple[str, ...] = ()

    @property
    def origin(self) -> str:
        """What `open_dataset` finds it by: its name or address, with the version of a release."""
        suffix = f"@{self.version}" if self.version else ""
        return self.name.removesuffix(suffix) + suffix

    def at_release(self, version: str) -> DatasetSpec:
        """Return the spec of one of its releases.

        Parameters
        ----------
        version : str
            The release.

        Returns
        -------
        DatasetSpec
            The same dataset, in a folder of its own and with the files of that release.

        Raises
        ------
        ArgumentError
            If it has no releases, or this cannot be the name of one.
        """
        if self.releases is None:
            raise ArgumentError(f"{self.name} has no releases. Leave version out.")
        if not _VERSION.fullmatch(version):
            raise ArgumentError(
                f"version={version!r}: expected a release, such as '1.0.0', or 'latest'."
            )
        source: Source = replace(self.releases, version=version)
        if isinstance(self.source, MirroredSource):
            source = MirroredSource(source, (self.source.first,))
        return replace(
            self,
            source=source,
            folder=f"{self.folder}/{version}",
            earlier_folders=tuple(f"{name}/{version}" for name in self.earlier_folders),
            file=self.file and (self.released_file or self.file),
            version=version,
        )

    @property
    def release(self) -> S3Source | None:
        """Where the files of this release are; nothing for what is not a release on S3."""
        if self.releases is None or self.version is None:
            return None
        return replace(self.releases, version=self.version)

    def find_newest_version(self) -> str:
        """Ask the host of the releases which is the newest one.

        Returns
        -------
        str
            The version.

        Raises
        ------
        ArgumentError
            If there are no releases of it.
        SourceError
            If the host cannot be reached.
        """
        if self.releases is None:
            raise ArgumentError(f"{self.name} has no releases. Leave version out.")
        return self.releases.find_version(get_client())

    @property
    def kind(self) -> str:
        """What to call it: a `dataset`, or a `template`, which is a dataset of one image."""
        return "dataset" if self.file is None else "template"

    @property
    def notice(self) -> str:
        """What a fetcher prints of the source to cite and the licence; nothing without a source."""
        if not self.citation:
            return ""
        return (
            f"If you use this {self.kind} in your work, please cite the following source:\n"
            f"{self.citation}\n"
            f"Licence: {self.license or 'not known'}"
        )


def spec_at(address: str, version: str | None = None) -> DatasetSpec:
    """Describe the dataset at an address; its name is the address in its usual spelling."""
    found = parse_address(address, version)
    return DatasetSpec(
        name=found.text,
        folder=found.folder,
        source=found.source,
        filters=dict.fromkeys(FILTER_ENTITIES, ()),
        version=found.version,
    )
