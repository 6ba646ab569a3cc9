"""Damaged index files of every host, and what was made of them in the hidden folder."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from builders import make_entry
from confusius_datasets._download import plan_download
from confusius_datasets._index import Checksum, DatasetIndex, FileEntry
from confusius_datasets._sources import (
    ArchiveSource,
    DataverseSource,
    ManifestSource,
    OpenNeuroSource,
    OSFSource,
    S3Source,
    ZenodoSource,
    read_index_file,
    records,
)
from confusius_datasets.errors import ConfusiusDatasetsError
from mutations import damage_bytes, damage_some, run_trials

PATHS = ("README", "sub-1/fusi/sub-1_pwd.nii.gz", "sub-1/fusi/sub-1_pwd.json", "sub-2/x.tsv")

DIGEST = Checksum("sha256", "0" * 64)

SOURCES: dict[str, tuple[Any, str]] = {
    "osf": (OSFSource("43skw", "x"), "/5f3c{}"),
    "dataverse": (DataverseSource("https://edmond.mpg.de", "doi:10.17617/3.7QCU1F"), "{}"),
    "zenodo": (ZenodoSource("15476373"), "a{}"),
    "openneuro": (OpenNeuroSource("ds000246"), "https://openneuro.org/{}"),
    "web": (ManifestSource("https://example.org/list.json"), "https://example.org/{}"),
    "s3": (S3Source("x", "1.0"), "1.0"),
    "archive": (
        ArchiveSource(ManifestSource("https://example.org/l.json"), make_entry("a.zip", 1000)),
        "{}:10:20:stored:x",
    ),
}


def good_index(source: Any, locator: str) -> bytes:
    """Write an index as its host has it, or as near to it as all have it."""
    made = [
        FileEntry(path, 100, (DIGEST,), None, {source.host: locator.format(number)})
        for number, path in enumerate(PATHS)
    ]
    index = DatasetIndex(made)
    try:
        data: bytes = source.format_index(index)
    except (ConfusiusDatasetsError, KeyError):
        data = OSFSource("43skw", "x").format_index(index)
    return data


@pytest.mark.parametrize("host", SOURCES)
def test_damaged_index_is_told_and_nothing_leaves_the_root(
    host: str, trials: int, tmp_path: Path
) -> None:
    """Whatever an index says, it is an index of ours or an error, and its files lie below."""
    source, locator = SOURCES[host]
    good = good_index(source, locator)
    root = tmp_path / "inside"

    def trial(rng: random.Random) -> None:
        (root / source.index_name).parent.mkdir(parents=True, exist_ok=True)
        (root / source.index_name).write_bytes(damage_some(rng, good))
        index = read_index_file(source, root)
        plan = plan_download(index.values(), root)
        repr(plan)
        for relpath in index:
            assert (root / relpath).resolve().is_relative_to(root.resolve())
        read_again = source.read_index(source.format_index(index), "again")
        assert list(read_again) == list(index)

    run_trials(f"index of {host}", trials, tmp_path, trial)


def test_damaged_kept_database_changes_no_answer(
    trials: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tables that are damaged are made anew: the answer is that of the index."""
    monkeypatch.setattr(records, "WORTH_KEEPING_NBYTES", 0)
    source = OSFSource("43skw", "x")
    root = tmp_path / "inside"
    root.mkdir()
    index = DatasetIndex(
        make_entry(f"sub-{number:03d}/fusi/sub-{number:03d}_pwd.nii.gz") for number in range(50)
    )
    (root / source.index_name).write_bytes(source.format_index(index))

    def trial(rng: random.Random) -> None:
        assert dict(read_index_file(source, root).items()) == dict(index.items())
        kept = [path for path in sorted((root / ".confusius").rglob("*")) if path.is_file()]
        assert kept
        file = rng.choice(kept)
        file.chmod(0o644)
        file.write_bytes(damage_bytes(rng, file.read_bytes()))
        assert dict(read_index_file(source, root).items()) == dict(index.items())

    run_trials("kept database", max(trials // 3, 1), tmp_path, trial)
