"""The one parser from a BIDS path below the root to its entities; pure.

It finds what the patterns of PyBIDS find, with the datatypes and entities that fUSI adds, and looks
at the path below the root only: where a cache lies says nothing about its files. Nothing here
touches a disk or knows a dataset.
"""

from __future__ import annotations

import functools
import re
from array import array
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

__all__ = [
    "DATATYPES",
    "DERIVATIVES",
    "DESCRIPTION_NAME",
    "FUSI_ENTITIES",
    "INTEGER_ENTITIES",
    "EntityParser",
    "applicable_sidecars",
    "dataset_of",
    "dataset_prefix",
    "described_folders",
    "inherited_files",
    "is_entangled",
    "is_left_out",
    "leading_entities",
    "parse_entities",
    "parse_folder",
    "parse_name",
]

DATATYPES = (
    *("anat", "beh", "dwi", "eeg", "fmap", "func", "ieeg", "meg", "micr", "motion", "mrs"),
    *("nirs", "perf", "pet", "fusi", "angio", "susi"),
)
"""Folders that name a datatype: those PyBIDS knows, then those of fUSI-BIDS in its drafts."""

FUSI_ENTITIES: Mapping[str, str] = MappingProxyType(
    {"pose": r"[_/\\]+pose-([0-9]+)", "stat": r"[_/\\]+stat-([a-zA-Z0-9+]+)"}
)
"""Patterns of the entities that the public fUSI datasets have and PyBIDS does not."""

INTEGER_ENTITIES = frozenset({"run", "pose"})
"""Entities whose values are numbers in PyBIDS, whatever their padding."""

NUMBERED_KEYS = frozenset({"run", "echo", "flip", "inv", "chunk", "pose", "split"})
"""Keys whose values the sidecar rule compares as numbers: BIDS calls them an index.

Not `res` or `den`: these are labels, and `res-2` and `res-02` may be two grids.
"""

DESCRIPTION_NAME = "dataset_description.json"
"""File whose folder is the root of a dataset."""

DERIVATIVES = "derivatives"
"""Folder of a dataset whose folders are datasets of their own, described or not."""

OTHER_INDEXES = frozenset(
    {"dataset_index.json", "dataverse_zip_index.json", "manifest.json", "s3_index.json"}
)
"""Files in a root that say where data come from, and are no part of them."""

CONFIGURATION = "layout_config.json"
"""File with settings for PyBIDS, which it does not index."""

_LEFT_OUT = ("/code", "/models", "/sourcedata", "/stimuli")
"""What queries leave out in a dataset's root, beside whatever is hidden."""

_REPEATED = re.compile(r"(?:^|/)(sub-[A-Za-z0-9+]+)(?:/(ses-[A-Za-z0-9+]+))?(?=/|$)")
_CONTROL = re.compile(r"[\x00-\x1f]")

PARTS_KEPT = 20_000
"""Folders, and endings of names, whose entities are remembered."""

PATHS_KEPT = 8192
"""Names whose parts are remembered: a sidecar is compared with every file of its folder."""

_LABEL = "([a-zA-Z0-9+]+)"
_INDEX = "([0-9]+)"

_KEYS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "session": ("ses", _LABEL),
        "sample": ("sample", _LABEL),
        "task": ("task", _LABEL),
        "tracksys": ("tracksys", _LABEL),
        "acquisition": ("acq", _LABEL),
        "nucleus": ("nuc", _LABEL),
        "volume": ("voi", _LABEL),
        "ceagent": ("ce", _LABEL),
        "staining": ("stain", _LABEL),
        "tracer": ("trc", _LABEL),
        "reconstruction": ("rec", _LABEL),
        "direction": ("dir", _LABEL),
        "run": ("run", r"(\d+)"),
        "proc": ("proc", _LABEL),
        "modality": ("mod", _LABEL),
        "echo": ("echo", _INDEX),
        "flip": ("flip", _INDEX),
        "inv": ("inv", _INDEX),
        "mt": ("mt", "(on|off)"),
        "part": ("part", "(imag|mag|phase|real)"),
        "recording": ("recording", _LABEL),
        "space": ("space", _LABEL),
        "chunk": ("chunk", _INDEX),
    }
)
"""Key and values of each entity that stands behind a separator."""

_LOOSE_KEYS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "atlas": ("atlas", _LABEL),
        "roi": ("roi", _LABEL),
        "label": ("label", _LABEL),
        "desc": ("desc", _LABEL),
        "hemi": ("hemi", "(L|R)"),
        "segmentation": ("seg", _LABEL),
        "res": ("res", _LABEL),
        "den": ("den", _LABEL),
        "model": ("model", _LABEL),
        "subset": ("subset", _LABEL),
    }
)
"""Key and values of each entity that PyBIDS finds anywhere, without a separator."""


def _keyed() -> Iterator[tuple[str, str, str]]:
    """List each entity that has a key, with the key and a pattern that begins with it.

    What stands before the key in a pattern is a character, or may be only that one.
    """
    yield ("subject", "sub-", rf"[/\\]+sub-{_LABEL}")
    for name, (key, values) in _KEYS.items():
        yield (name, f"{key}-", rf"[_/\\]+{key}-{values}")
    for name, pattern in FUSI_ENTITIES.items():
        yield (name, f"{name}-", pattern)
    for name, (key, values) in _LOOSE_KEYS.items():
        yield (name, f"{key}-", f"{key}-{values}")
    for name in ("from", "to", "mode"):
        yield (name, f"{name}-", rf"(?:^|_){name}-{_LABEL}.*xfm")


_KEYED = [(name, key, re.compile(pattern).search) for name, key, pattern in _keyed()]

_OTHERS = [
    ("scans", "scans", re.compile(r"(.*\_scans.tsv)$").search),
    ("fmap", ".nii", re.compile(r"(phasediff|magnitude[1-2]|phase[1-2]|fieldmap|epi)\.nii").search),
    ("datatype", "", re.compile(rf"[/\\]+({'|'.join(DATATYPES)})[/\\]+").search),
]
"""The entities without a key, with a text that must be in the path."""

_OF_NAMES = [
    ("suffix", re.compile(r"(?:^|[_/\\])([a-zA-Z0-9+]+)\.[^/\\]+$").search),
    ("extension", re.compile(r"[^./\\](\.[^/\\]+)$").search),
]
"""The entities that lie at the end of a file's name."""


def parse_entities(relpath: str) -> dict[str, str]:
    """Read the entities of a BIDS path."""
    path = f"/{relpath}"
    return {**_inner_entities(path), **_end_of(path)}


_LABELLED = {
    key: name for name, (key, values) in {**_KEYS, **_LOOSE_KEYS}.items() if values == _LABEL
}
"""Entities by their keys, of which any label will do, wherever they stand in a name."""


def parse_name(name: str) -> dict[str, str] | None:
    """Read the entities of a file's name alone; `None` where folders may matter, too.

    It is what `parse_entities` finds. But no pattern spans two of the parts between underscores, so
    that each is read by itself, and most of them at a glance.
    """
    if is_entangled(name):
        return None
    first, *parts = name.split("_")
    if "." in name.rpartition("_")[0]:  # with the suffix before it, perhaps
        return parse_entities(name)
    found: dict[str, str] = {}
    for part in reversed(parts):  # of an entity that several have, the first counts
        found.update(_parse_part(part))
    return {**found, **_parse_part(f"/{first}")}


def parse_folder(folder: str) -> dict[str, str]:
    """Read the entities of a folder that is not entangled, part by part."""
    found: dict[str, str] = {}
    for part in reversed(folder.split("/")):  # of an entity that several have, the first counts
        found.update(_parse_part(f"/{part}/"))
    return found


@functools.lru_cache(PARTS_KEPT)
def _parse_part(part: str) -> Mapping[str, str]:
    """Read the entities of a part of a path; one with a separator before it begins without `/`."""
    key, _, label = part.partition("-")
    if key in _LABELLED and label.isalnum() and label.isascii():
        return {_LABELLED[key]: label}
    path = part if part.startswith("/") else f"/_{part}"
    return {**_inner_entities(path), **_end_of(path)}


def _inner_entities(path: str) -> dict[str, str]:
    """Read the entities of a path, or of a part of one, but for those at its end."""
    # Looking for fixed texts first, and from there on, saves most of the searching.
    found = {
        name: match[1]
        for name, key, search in _KEYED
        if key in path and (match := search(path, path.find(key) - 1))
    }
    for name, text, search in _OTHERS:
        if text in path and (match := search(path)):
            found[name] = match[1]
    return found


def _end_of(path: str) -> dict[str, str]:
    """Read the suffix and the extension of a path that begins with `/`."""
    last = path.rfind("/")
    dot = path.find(".", last)
    suffix = path[max(last, path.rfind("_", last, dot)) + 1 : dot]
    # So it is in nearly all names, and takes a quarter of the time.
    is_plain = dot > 0 and suffix.isalnum() and suffix.isascii() and dot < len(path) - 1
    if is_plain and "\\" not in path and "\n" not in path:
        return {"suffix": suffix, "extension": path[dot:]}
    return {name: match[1] for name, search in _OF_NAMES if (match := search(path, last))}


def leading_entities(folder: str) -> str:
    """Return what names of files repeat of their folder, such as `sub-01_ses-2_`."""
    repeated = _REPEATED.search(folder)
    return "".join(f"{part}_" for part in repeated.groups() if part) if repeated else ""


def is_entangled(relpath: str) -> bool:
    """Say whether a folder and a name may make an entity together that neither has alone."""
    return (
        "xfm" in relpath
        or "from-" in relpath
        or "to-" in relpath
        or "mode-" in relpath
        or "\\" in relpath
        or (relpath[-10:-4] == "_scans" and relpath.endswith("tsv"))
        or (not relpath.isprintable() and _CONTROL.search(relpath) is not None)
    )


Numbered = tuple[Sequence[int], list[Mapping[str, str]]]
"""Of each path a number, and the entities that have these numbers."""


class EntityParser:
    """Parses many paths: each part of a folder once, and each ending of a name.

    Recordings made alike have names that differ only in what they repeat of their folders.
    """

    def __init__(self) -> None:
        self._folders = functools.lru_cache(PARTS_KEPT)(self._parse_folder)
        self._endings = functools.lru_cache(PARTS_KEPT)(parse_name)

    def parse(self, relpath: str) -> dict[str, str]:
        """Read the entities of a path, as `parse_entities`."""
        folder, _, name = relpath.rpartition("/")
        of_folder, prefix, cut = self._folders(folder)
        of_name = self._endings(name[cut:] if name.startswith(prefix) else name)
        if of_folder is None or of_name is None:
            return parse_entities(relpath)
        # Where both have an entity, the folder's counts: it comes first in the path.
        return {**of_name, **of_folder}

    def number(self, relpaths: Iterable[str]) -> tuple[Numbered, Numbered]:
        """Read the entities of the folders of paths, and those of the names; each once.

        Where both have one, the folder's counts.
        """
        folder_numbers, name_numbers = array("q"), array("q")
        of_folders: list[Mapping[str, str]] = [{}]
        of_names: list[Mapping[str, str]] = []
        folders: dict[str, int] = {}
        endings: dict[str, int] = {}
        start, end = "/", 1
        of_folder = -1
        for relpath in relpaths:
            # Most files lie where the one before does, and their names end as many others.
            known = endings.get(relpath[end:]) if relpath.startswith(start) else None
            if known is None:
                folder, _, name = relpath.rpartition("/")
                labels, prefix, cut = self._folders(folder)
                if (found := folders.get(folder)) is None:
                    found = folders[folder] = _add(labels, of_folders)
                of_folder, start, end = found, f"{folder}/{prefix}", len(folder) + 1 + cut
                ending = name[cut:] if name.startswith(prefix) else name
                if (known := endings.get(ending)) is None:
                    known = endings[ending] = _add(parse_name(ending), of_names)
            if of_folder < 0 or known < 0:
                folder_numbers.append(0)
                name_numbers.append(_add(parse_entities(relpath), of_names))
            else:
                folder_numbers.append(of_folder)
                name_numbers.append(known)
        return (folder_numbers, of_folders), (name_numbers, of_names)

    def _parse_folder(self, folder: str) -> tuple[Mapping[str, str] | None, str, int]:
        """Read a folder's entities, what names in it repeat of them, and where to cut that off.

        One separator stays at the beginning of an ending, so that it is read as in the whole name.
        """
        prefix = leading_entities(folder) or "/"  # with which no name begins
        if is_entangled(folder):
            return None, prefix, 0
        return parse_folder(folder), prefix, len(prefix) - 1


def _add(labels: Mapping[str, str] | None, numbered: list[Mapping[str, str]]) -> int:
    """Give entities a number; those of no folder or name alone have none."""
    if labels is None:
        return -1
    numbered.append(labels)
    return len(numbered) - 1


def dataset_prefix(relpath: str, described: Container[str] = ()) -> str:
    """Say which dataset of a root a path belongs to, given the folders that have a description."""
    if not relpath.startswith("derivatives/"):
        return ""
    parts = relpath.split("/")
    folder = "/".join(parts[:2]) if len(parts) > 2 else ""
    # fMRIPrep and others write subjects right into `derivatives/`, which is one dataset then.
    if DERIVATIVES in described and folder not in described:
        return DERIVATIVES
    return folder


def dataset_of(relpath: str, described: Container[str] = ()) -> str | None:
    """Say in which dataset of a root queries find a file; `None` where they leave it out."""
    prefix = dataset_prefix(relpath, described)
    inside = f"/{relpath[len(prefix) :].lstrip('/')}"
    if not prefix and relpath in OTHER_INDEXES:
        return None
    if inside.startswith(_LEFT_OUT) or "/." in inside or inside.endswith(f"/{CONFIGURATION}"):
        return None
    # Derivatives of a derivative are datasets of their own; PyBIDS enters neither.
    if inside.startswith("/derivatives/") and inside.count("/") > 2:
        return None
    return prefix


def is_left_out(name: str) -> bool:
    """Say whether queries leave a file out for its name, wherever it lies."""
    return name.startswith(".") or name == CONFIGURATION


def described_folders(relpaths: Iterable[str]) -> frozenset[str]:
    """List the folders, among those of some files, that have a description of a dataset."""
    ending = f"/{DESCRIPTION_NAME}"
    return frozenset(path[: -len(ending)] for path in relpaths if path.endswith(ending))


def applicable_sidecars(relpath: str, jsons: Callable[[str], Iterable[str]]) -> list[str]:
    """List the JSON sidecars that apply to a file, the most specific last.

    `jsons` lists the JSON files right in a folder. A sidecar applies when it lies in the file's
    folder or above it in the same dataset, has the file's suffix, and every `key-value` part of its
    name is in the file's name, whether or not PyBIDS knows the key.
    """
    return inherited_files(relpath, jsons, extension=".json")


def inherited_files(
    relpath: str, files: Callable[[str], Iterable[str]], *, extension: str
) -> list[str]:
    """List the files of an extension that apply to a file, by the rule for JSON sidecars.

    `files` lists the files right in a folder, its JSON files at least.
    """
    _, suffix, its_extension = _name_parts(relpath)
    if not suffix or its_extension in ("", ".json"):
        return []
    list_folder = functools.cache(lambda folder: tuple(files(folder)))
    found: list[str] = []
    for folder in _folders_up_to_root(relpath, list_folder):
        found = [*_applying(list_folder(folder), relpath, extension), *found]
    return found


def _folders_up_to_root(relpath: str, files: Callable[[str], tuple[str, ...]]) -> Iterator[str]:
    """List the folders of a file's dataset that the file lies in, the nearest first."""
    folder = relpath.rpartition("/")[0]
    yield folder
    while folder and not _is_dataset_root(folder, files):
        folder = folder.rpartition("/")[0]
        yield folder


def _is_dataset_root(folder: str, files: Callable[[str], tuple[str, ...]]) -> bool:
    """Say whether a dataset ends at a folder: nothing above it applies to its files."""

    def is_described(folder: str) -> bool:
        return f"{folder}/{DESCRIPTION_NAME}".lstrip("/") in files(folder)

    if is_described(folder):
        return True
    above = folder.rpartition("/")[0]
    top, _, name = above.rpartition("/")
    # Public datasets have derivatives without a description. A folder called `derivatives` means
    # nothing special elsewhere than in the root of a dataset, or where it is a dataset itself.
    is_derivative = name == DERIVATIVES and (not top or is_described(top))
    return is_derivative and not is_described(above)


def _applying(listed: Iterable[str], relpath: str, extension: str) -> list[str]:
    """List the files of one folder that apply to a file, those with more entities last."""
    own, suffix, _ = _name_parts(relpath)
    ending = suffix + extension
    found = []
    for path in listed:
        if path.endswith(ending):  # saves parsing most of the names
            theirs, *end = _name_parts(path)
            if end == [suffix, extension] and theirs.items() <= own.items():
                found.append((len(theirs), _stem(path) == _stem(relpath), path))
    if len(found) > 1:
        # BIDS allows one for each number of entities. Of several, the file's own wins (`run-1` has
        # the entities of `run-01`, too), and then the first, as for PyBIDS.
        found.sort(key=lambda item: (_natural_order(item[2]), item[2]), reverse=True)
        found.sort(key=lambda item: item[:2])
    return [path for *_, path in found]


def _stem(relpath: str) -> str:
    """Return the name of a file without its folder and its extension."""
    return relpath.rpartition("/")[2].partition(".")[0]


@functools.lru_cache(maxsize=PATHS_KEPT)
def _name_parts(relpath: str) -> tuple[Mapping[str, str | int], str, str]:
    """Split the name of a file into its `key-value` parts, its suffix and its extension."""
    name = relpath.rpartition("/")[2]
    end = _end_of(f"/{name}")
    labels: dict[str, str | int] = {}
    for part in name.partition(".")[0].split("_")[:-1]:
        key, _, value = part.partition("-")
        is_number = key in NUMBERED_KEYS and value.isascii() and value.isdecimal()
        labels[key] = int(value) if is_number else value
    return labels, end.get("suffix", ""), end.get("extension", "")


def _natural_order(relpath: str) -> list[str | int]:
    """Order texts with numbers in them as PyBIDS does: by the numbers' values, cases alike."""
    parts = re.split("([0-9]+)", relpath)
    # Only every second part is a number of ours: `isdigit` is true of a superscript, too.
    return [int(part) if place % 2 else part.lower() for place, part in enumerate(parts)]
