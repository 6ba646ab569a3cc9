"""What stands in for data that are not there is called what it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import xarray as xr

from confusius_datasets._io import load
from confusius_datasets._io.engine import ConfusiusNiftiBackend
from confusius_datasets.errors import FileFormatError, MissingFileError

ANNEX = "/annex/objects/MD5E-s1234--0123456789abcdef0123456789abcdef.nii.gz\n"
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n"
PAGE = "\n<!DOCTYPE html><html><head><title>504 Gateway Time-out</title>"


@pytest.mark.parametrize("extension", [".nii", ".nii.gz", ".scan"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (ANNEX, "this is a pointer of git-annex (MD5E-s1234--0123456789abcdef0123456789abcdef"),
        (LFS, "this is a pointer of Git LFS, not the data. Get the content with 'git lfs pull'."),
        (PAGE, "this is a web page that was saved under the name of the data"),
        ("<?xml version='1.0'?><Error>", "this is a web page that was saved under the name"),
        ("<HTML>", "this is a web page that was saved under the name of the data"),
    ],
    ids=["annex", "lfs", "page", "xml", "old page"],
)
def test_content_in_the_place_of_data_is_named(
    tmp_path: Path, extension: str, content: str, words: str
) -> None:
    """A pointer or a web page is told from damage, with what to do."""
    file = tmp_path / f"sub-01_pwd{extension}"
    file.write_text(content)

    with pytest.raises(FileFormatError) as caught:
        load(file)

    assert str(caught.value).startswith(f"{file}: ")
    assert words in str(caught.value)


@pytest.mark.parametrize("extension", [".nii", ".nii.gz", ".scan", ".zarr"])
def test_link_to_nothing_says_where_it_leads(tmp_path: Path, extension: str) -> None:
    """In a DataLad clone, what was not got is a link to nothing."""
    link = tmp_path / f"sub-01_pwd{extension}"
    link.symlink_to(f"../.git/annex/objects/x{extension}")

    with pytest.raises(MissingFileError) as caught:
        load(link)

    assert str(caught.value) == (
        f"{link}: this is a link to ../.git/annex/objects/x{extension}, and there is nothing: the "
        f"content is not on this machine. Get it with 'datalad get {link.name}'."
    )


def test_link_to_nothing_outside_of_a_store_of_git_annex_advises_to_fetch(tmp_path: Path) -> None:
    """Not every link to nothing is DataLad's."""
    link = tmp_path / "a.nii"
    link.symlink_to("gone.nii")

    with pytest.raises(MissingFileError, match=r"link to gone\.nii, .* Fetch or copy it again\."):
        load(link)


@pytest.mark.parametrize("ending", [".part", ".crdownload", ".download", ".tmp"])
def test_unfinished_download_is_named(tmp_path: Path, ending: str) -> None:
    """What a browser left is not a format that is unknown."""
    with pytest.raises(FileFormatError, match="This is a download that did not finish"):
        load(tmp_path / f"sub-01_pwd.nii.gz{ending}")


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:9/sub-01_pwd.nii.gz", "s3://bucket/sub-01_pwd.nii"]
)
@pytest.mark.parametrize(
    "opener", [load, lambda path: xr.open_dataset(path, engine=ConfusiusNiftiBackend)]
)
def test_address_is_no_local_file(address: str, opener: Any) -> None:
    """An address is not looked for below the working directory, and nobody claims to open it."""
    with pytest.raises(MissingFileError) as caught:
        opener(address)

    assert str(caught.value).startswith(f"{address}: this is an address, and only files on this")
    assert not ConfusiusNiftiBackend().guess_can_open(address)


def test_file_that_may_not_be_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the system refuses is an error with the file's name."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    for name in ("a.nii", "a.scan"):
        (tmp_path / name).write_bytes(b"scan")
    monkeypatch.setattr(Path, "open", refuse)

    for name in ("a.nii", "a.scan"):
        with pytest.raises(FileFormatError, match=rf"{name}: cannot be read: Permission denied"):
            load(tmp_path / name)
