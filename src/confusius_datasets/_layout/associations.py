"""Which files belong together: sidecars, inheritance, events and the images they describe; pure."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from confusius_datasets._entities import INTEGER_ENTITIES, inherited_files, parse_entities

__all__ = ["Association", "associate", "intended_for"]

Association = tuple[str, str, str]
"""Two paths, and what the first is to the second."""

IMAGE_EXTENSIONS = (".nii", ".nii.gz")

RECORDINGS = {"physio": "bold", "stim": "bold", "events": "bold", "sbref": "bold"}
"""What PyBIDS links to images of which suffix."""


@dataclass(frozen=True, slots=True)
class _File:
    """A file with what decides whom it belongs to."""

    relpath: str
    suffix: str
    extension: str
    labels: Mapping[str, str | int]


def associate(relpaths: Iterable[str]) -> Iterator[Association]:
    """Find the files of a dataset that belong together, from their paths alone.

    These are the associations of PyBIDS's own indexer, and one more: events, physiological
    recordings and stimuli belong to functional ultrasound images as they do to BOLD ones.
    """
    files = [file for file in map(_read, relpaths) if file is not None]
    by_folder: dict[str, list[str]] = defaultdict(list)
    images: dict[tuple[str, object], list[_File]] = defaultdict(list)
    for file in files:
        by_folder[file.relpath.rpartition("/")[0]].append(file.relpath)
        if file.extension in IMAGE_EXTENSIONS:
            images[file.suffix, file.labels.get("subject")].append(file)
            images[file.suffix, None].append(file)

    def inherited(file: _File, extension: str) -> list[str]:
        """List what a file inherits from, the nearest first, as PyBIDS links them."""
        found = inherited_files(
            file.relpath, lambda folder: by_folder.get(folder, ()), extension=extension
        )
        return found[::-1]

    for file in files:
        if file.extension != ".json":
            sidecars = inherited(file, ".json")
            if sidecars:
                yield from _pair(sidecars[0], file.relpath, "Metadata", "Metadata")
                yield from _chain(sidecars)
                yield from _chain(inherited(file, file.extension))
            yield from _of_images(file, images, has_sidecar=bool(sidecars))


def intended_for(relpath: str, field: object, prefix: str) -> Iterator[Association]:
    """Find the files that a file of a dataset names in its field `IntendedFor`."""
    subject = parse_entities(relpath).get("subject", "")
    root = f"{prefix}/" if prefix else ""
    for target in field if isinstance(field, list) else [field]:
        if not isinstance(target, str):
            continue
        if target.startswith("bids::"):
            path = root + target.removeprefix("bids::")
        elif target.startswith("bids:"):
            continue  # another dataset's
        else:
            path = f"{root}sub-{subject}/{target}"
        yield (relpath, path, "IntendedFor")
        yield (path, relpath, "InformedBy")


def _read(relpath: str) -> _File | None:
    """Read what decides whom a file belongs to; `None` for a file without suffix or extension."""
    labels: dict[str, str | int] = {
        name: int(label) if name in INTEGER_ENTITIES else label
        for name, label in parse_entities(relpath).items()
    }
    suffix, extension = labels.pop("suffix", None), labels.pop("extension", None)
    if suffix is None or extension is None:
        return None
    return _File(relpath, str(suffix), str(extension), labels)


def _of_images(
    file: _File, images: Mapping[tuple[str, object], Sequence[_File]], *, has_sidecar: bool
) -> Iterator[Association]:
    """Link a recording beside images to these."""
    if file.suffix not in RECORDINGS:
        return
    wanted = []
    if has_sidecar:  # PyBIDS looks at files with metadata only
        wanted.append((RECORDINGS[file.suffix], file.labels.items()))
        if file.suffix == "sbref":
            wanted.append(("dwi", file.labels.items()))
    if file.suffix != "sbref":
        fusi = {name: label for name, label in file.labels.items() if name != "recording"}
        wanted.append(("pwd", {**fusi, "datatype": "fusi"}.items()))
    for suffix, labels in wanted:
        for image in images.get((suffix, file.labels.get("subject")), ()):
            if labels <= image.labels.items():
                yield from _pair(file.relpath, image.relpath, "IntendedFor", "InformedBy")


def _chain(relpaths: Sequence[str]) -> Iterator[Association]:
    """Link each file to the one it inherits from."""
    for child, parent in itertools.pairwise(relpaths):
        yield from _pair(child, parent, "Child", "Parent")


def _pair(first: str, second: str, kind: str, back: str) -> Iterator[Association]:
    """Link two files both ways."""
    yield (first, second, kind)
    yield (second, first, back)
