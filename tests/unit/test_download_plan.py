"""What a download decides before it does anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders import make_entry
from confusius_datasets._download import plan_download
from confusius_datasets._download.plan import SMALL_NBYTES
from confusius_datasets._index import FileEntry
from confusius_datasets._paths import find_unfit_names
from confusius_datasets.errors import CacheError


def entry(relpath: str, size: int | None = 10) -> FileEntry:
    """Make an entry without checksum."""
    return make_entry(relpath, size, md5=None)


def test_plan_has_what_is_missing_once(tmp_path: Path) -> None:
    """Files that are here are left out, and a file that is named twice is planned once."""
    (tmp_path / "here.json").write_text("")

    plan = plan_download([entry("here.json"), entry("a.json"), entry("a.json")], tmp_path)

    assert [planned.relpath for planned in plan.entries] == ["a.json"]
    assert (plan.nbytes, plan.unknown_sizes) == (10, 0)


def test_plan_with_force_has_what_is_here_too(tmp_path: Path) -> None:
    """`force` is the only way to download again what is on disk."""
    (tmp_path / "here.json").write_text("")

    plan = plan_download([entry("here.json")], tmp_path, force=True)

    assert len(plan.entries) == 1


def test_plan_has_small_files_first_then_the_largest(tmp_path: Path) -> None:
    """An interrupted download is of use, and no large file is left alone at the end."""
    sizes = {"big": 5 * SMALL_NBYTES, "b": 3, "bigger": 9 * SMALL_NBYTES, "a": 1, "unknown": None}

    plan = plan_download([entry(name, size) for name, size in sizes.items()], tmp_path)

    assert [planned.relpath for planned in plan.entries] == ["b", "a", "unknown", "bigger", "big"]
    assert plan.unknown_sizes == 1


def test_plan_of_a_file_below_a_file_is_refused(tmp_path: Path) -> None:
    """A folder where a file should be is named."""
    (tmp_path / "a.json").mkdir()

    with pytest.raises(CacheError, match=r"a\.json should be, there is a folder"):
        plan_download([entry("a.json")], tmp_path, force=True)


@pytest.mark.parametrize(
    ("relpath", "reason"),
    [
        ("sub-01/con.json", "reserved name 'con.json'"),
        ("NUL", "reserved name 'NUL'"),
        ("com1.tsv", "reserved name 'com1.tsv'"),
        ("a:b", "'a:b' that Windows refuses"),
        ("ends.", "'ends.' that Windows refuses"),
        ("ends /x", "'ends ' that Windows refuses"),
        ("what?", "'what?' that Windows refuses"),
    ],
)
def test_names_that_windows_refuses_are_named(relpath: str, reason: str) -> None:
    """What cannot exist there is found before the download, and is fine elsewhere."""
    assert reason in find_unfit_names([relpath], windows=True)[relpath]
    assert find_unfit_names([relpath], windows=False) == {}


@pytest.mark.parametrize("relpath", ["console.json", "com10.tsv", "sub-01/a.nii.gz", "conx/y"])
def test_names_that_only_look_reserved_are_fine(relpath: str) -> None:
    """No file is refused without need."""
    assert find_unfit_names([relpath], windows=True) == {}


def test_plan_of_a_name_that_cannot_be_is_an_error_of_ours(tmp_path: Path) -> None:
    """A name longer than the file system has is named, before anything is downloaded."""
    with pytest.raises(CacheError, match="a name of more than 255 bytes"):
        plan_download([entry("a" * 300)], tmp_path)


def test_names_are_measured_in_bytes() -> None:
    """File systems count bytes, not letters."""
    assert find_unfit_names(["é" * 127], windows=False) == {}
    assert find_unfit_names(["é" * 128], windows=False) != {}


def test_path_that_is_too_long_with_its_folder_is_an_error_of_ours(tmp_path: Path) -> None:
    """The system opens no longer path; what of it is the root's is known here only."""
    root = tmp_path.joinpath(*["r" * 200] * 12)
    relpath = "/".join(["d" * 200] * 9)

    with pytest.raises(CacheError, match=r"has, with its folder, more than \d+ bytes"):
        plan_download([entry(relpath)], root)
