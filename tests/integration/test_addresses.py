"""Any dataset by its address, its name, or a folder that remembers where it is from."""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from confusius_datasets import fetch_dataset, fetch_nunez_elizalde_2022, fetch_sample, open_dataset
from confusius_datasets._spec import spec_at
from confusius_datasets.errors import (
    ArgumentError,
    CacheError,
    UnknownDatasetError,
    UnknownLabelError,
)
from confusius_datasets.testing import (
    LocalDataverse,
    LocalOpenNeuro,
    LocalOSF,
    LocalWeb,
    LocalZenodo,
    ZipMember,
    build_zip,
)
from replicas import CYBIS_PATHS, replica_files

LAB = "osf:ab3de/studies/whiskers"
FILES = replica_files(CYBIS_PATHS)
ARCHIVE = build_zip([ZipMember(f"study/{relpath}", data) for relpath, data in FILES.items()])


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalWeb]:
    """Serve a dataset from a web folder that lists its files."""
    with LocalWeb() as server:
        server.add_folder("data", FILES, index="manifest.json", hashes="sha256")
        yield server


def address_of(web: LocalWeb) -> str:
    """Return the address of the web folder's list."""
    return f"{web.url('web')}/data/manifest.json"


def test_dataset_by_its_address_costs_the_index_and_what_describes_it(
    web: LocalWeb, data_dir: Path
) -> None:
    """No recording comes until one is asked for."""
    dataset = open_dataset(address_of(web), progress=False)

    here = {path.name for path in dataset.root.rglob("*") if path.is_file()}
    assert {"participants.tsv", "README"} <= here
    assert not any(name.startswith("sub-") for name in here)
    assert dataset.root.parent == data_dir / "http"
    assert dataset.root.name.endswith("_data_manifest.json")
    assert ":" not in dataset.root.name
    assert dataset.load(subject="rat73", acquisition="slice32", suffix="pwd", datatype="fusi").size
    assert pickle.loads(pickle.dumps(dataset)) == dataset  # noqa: S301 - our own bytes


def test_folder_remembers_its_address(web: LocalWeb, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path alone is enough later, without a request until something is missing."""
    root = open_dataset(address_of(web), progress=False).root
    seen = len(web.requests)

    again = open_dataset(os.fspath(root), progress=False)
    subjects = again.get_subjects()

    assert len(web.requests) == seen
    assert subjects == ["rat73", "rat75", "rat83", "rat84"]
    assert again.dataset_name == address_of(web)
    assert again.get(subject="rat84", suffix="pwd")
    assert len(web.requests) == seen + 1


def pretend_another_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process be another user's than the one who wrote what is on disk."""
    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="users of POSIX")
def test_address_that_another_user_wrote_is_an_error_that_names_it(
    web: LocalWeb, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who may write into a shared folder does not choose from where others download."""
    address = address_of(web)
    dataset = open_dataset(address, progress=False)
    pretend_another_user(monkeypatch)

    with pytest.raises(CacheError, match=rf"'{re.escape(address)}', but another user wrote it"):
        open_dataset(dataset.root)
    assert open_dataset(address, progress=False) == dataset

    # Nor is it another dataset's folder only because somebody else made it.
    (dataset.root / ".confusius" / "origin").write_text("osf:ab3de")
    with pytest.raises(CacheError, match="holds osf:ab3de"):
        open_dataset(address, progress=False)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="users of POSIX")
def test_name_that_another_user_wrote_is_the_dataset_of_that_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A lab's shared folder of a public dataset is opened by its path."""
    dataset = fetch_sample(subjects="mouse1", tasks="rest", progress=False)
    pretend_another_user(monkeypatch)

    assert open_dataset(dataset.root) == dataset


def test_folder_of_another_dataset_is_not_written_into(web: LocalWeb) -> None:
    """Two addresses whose folders have one name do not mix."""
    root = open_dataset(address_of(web), progress=False).root
    (root / ".confusius" / "origin").write_text("osf:ab3de")

    with pytest.raises(CacheError, match="holds osf:ab3de"):
        open_dataset(address_of(web), progress=False)


def test_address_of_the_table_is_that_dataset_in_its_own_root(
    osf: LocalOSF, data_dir: Path
) -> None:
    """Nothing is downloaded twice because of how a dataset is called."""
    by_address = open_dataset("osf:43skw/nunez-elizalde-2022-bids", progress=False)
    template = open_dataset("osf:43tu9/pepe-mariani-2026-fusi-template.nii.gz", progress=False)

    assert by_address.root == data_dir / "nunez-elizalde-2022-bids"
    assert by_address.dataset_name == "nunez-elizalde-2022"
    assert by_address == open_dataset("nunez-elizalde-2022", progress=False)
    assert by_address == open_dataset(by_address.root)
    assert by_address == fetch_nunez_elizalde_2022(download=False, progress=False)
    assert template.root == data_dir / "pepe-mariani-2026-template"


def test_osf_folder_without_an_index_is_walked(
    osf: LocalOSF, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lab's project needs nothing but its files."""
    monkeypatch.setenv("OSF_TOKEN", "secret")  # without one, listings are paced
    for relpath, data in FILES.items():
        osf.add_file("ab3de", f"studies/whiskers/{relpath}", data)

    dataset = fetch_dataset(LAB, subjects="rat73", datasets="rawdata", progress=False)

    assert dataset.root == data_dir / "osf" / "ab3de_studies_whiskers"
    assert set(dataset.index) == set(CYBIS_PATHS)
    assert {path.name for path in dataset.glob("sub-*")} == {"sub-rat73"}


@pytest.mark.parametrize(
    ("server", "serve", "address", "folder"),
    [
        (
            LocalOpenNeuro,
            lambda host: host.add_snapshot("ds000246", "1.0.1", FILES),
            "openneuro:ds000246@1.0.1",
            "openneuro/ds000246@1.0.1",
        ),
        (
            LocalZenodo,
            lambda host: host.add_record("15476373", {"dataset.zip": ARCHIVE}),
            "zenodo:15476373/dataset.zip",
            "zenodo/15476373_dataset.zip",
        ),
        (
            LocalDataverse,
            lambda host: host.add_dataset("doi:10.7910/DVN/AB12", FILES, version="1.2"),
            "dataverse:data.example.org/doi:10.7910/DVN/AB12@1.2",
            "dataverse/data.example.org_doi_10.7910_DVN_AB12@1.2",
        ),
        (
            LocalDataverse,
            lambda host: host.add_dataset("doi:10.17617/3.7QCU1F", {"my data.zip": ARCHIVE}),
            "dataverse:edmond.mpg.de/doi:10.17617/3.7QCU1F/my data.zip",
            "dataverse/edmond.mpg.de_doi_10.17617_3.7QCU1F_my data.zip",
        ),
        (
            LocalOSF,
            lambda host: host.add_file("ab3de", "lab/dataset.zip", ARCHIVE),
            "osf:ab3de/lab/dataset.zip",
            "osf/ab3de_lab_dataset.zip",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_kind_of_address_opens_its_dataset(
    server: type[Any],
    serve: Callable[[Any], None],
    address: str,
    folder: str,
    data_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One object, whatever the host; its files are in a folder of the address's name."""
    with server() as host:
        serve(host)
        for name, value in host.environ.items():
            monkeypatch.setenv(name, value)

        dataset = fetch_dataset(address, subjects="rat84", progress=False)
        again = open_dataset(dataset.root)

        assert dataset.root == data_dir / folder
        assert dataset == again
        assert dataset.dataset_name == address
        assert set(dataset.index) == set(CYBIS_PATHS)
        (image,) = dataset.get(subject="rat84", suffix="pwd", download=False)
        assert (
            Path(image.path).read_bytes() == FILES[Path(image.path).relative_to(dataset).as_posix()]
        )


def test_version_is_part_of_an_address_or_an_argument(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each version has a folder of its own."""
    with LocalOpenNeuro() as host:
        host.add_snapshot("ds000246", "1.0.0", FILES)
        for name, value in host.environ.items():
            monkeypatch.setenv(name, value)

        dataset = fetch_dataset(
            "openneuro:ds000246", version="1.0.0", download=False, progress=False
        )

    assert dataset == open_dataset("openneuro:ds000246@1.0.0", progress=False)
    assert dataset.root.name == "ds000246@1.0.0"


def test_filters_of_an_address_are_checked_like_a_fetchers(web: LocalWeb) -> None:
    """A label that exists nowhere is an error that names the nearest."""
    with pytest.raises(UnknownLabelError, match="Did you mean 'rat73'"):
        fetch_dataset(address_of(web), subjects="rat76", progress=False)


def test_folder_of_ones_own_has_no_remote_side(tmp_path: Path) -> None:
    """It is what is in it; labels are checked all the same."""
    path = tmp_path / "sub-01" / "fusi" / "sub-01_task-rest_pwd.json"
    path.parent.mkdir(parents=True)
    path.write_text("{}")

    assert "local files only" in repr(open_dataset(tmp_path))
    assert fetch_dataset(tmp_path, subjects="01").get_tasks() == ["rest"]
    with pytest.raises(UnknownLabelError, match="no subject '02'"):
        fetch_dataset(tmp_path, subjects="02")


@pytest.mark.parametrize(
    ("where", "error", "message"),
    [
        (
            "osff:43skw",
            ArgumentError,
            r"mean 'osf'\? An address is osf:PROJECT or .*https:",
        ),
        ("s3://bucket/x", ArgumentError, "'s3' is not a kind of address"),
        ("osf:", ArgumentError, "expected osf:PROJECT"),
        ("https://lab.example/data/", ArgumentError, "expected https://HOST/FOLDER/FILE"),
        ("https://me:secret@lab.example/manifest.json", ArgumentError, "without a password"),
        ("https://lab.example:port/manifest.json", ArgumentError, "expected https://HOST"),
        ("dataverse:lab.example/doi:10.1/x@../../y", ArgumentError, "expected dataverse:HOST"),
        ("openneuro:ds000246@1/2", ArgumentError, "expected .*'1.0.1'"),
        ("nunez-elizalde-2002", UnknownDatasetError, "Did you mean 'nunez-elizalde-2022'"),
        ("no/such/folder", UnknownDatasetError, "There is no folder .*an address is osf:PROJECT"),
    ],
)
def test_wrong_address_is_an_error_that_shows_the_forms(
    where: str, error: type[Exception], message: str, data_dir: Path
) -> None:
    """Nothing is asked of anybody, and no folder is made."""
    for function in (open_dataset, fetch_dataset):
        with pytest.raises(error, match=message):
            function(where)
    assert not data_dir.exists()


@pytest.mark.parametrize(
    "address",
    [
        "dataverse:lab.example/doi:10.1/x@:draft",
        'osf:ab3de/a/../b?c*"<>|:d. ',
        "openneuro:ds000246@..",
        f"https://lab.example/{'ü' * 300}/manifest.json",
        f"https://lab.example/{'x' * 300}/manifest.json",
        f"https://lab.example/{'x' * 301}/manifest.json",
    ],
)
def test_folder_of_an_address_can_be_had_on_every_system(address: str) -> None:
    """One folder below that of the scheme, whose name Windows takes too."""
    scheme, name = spec_at(address).folder.split("/")

    assert scheme == address.partition(":")[0]
    assert not set(name) & set('<>:"/\\|?*')
    assert name == name.strip(". ") and len(name.encode()) <= 255


def test_long_addresses_that_begin_alike_have_folders_of_their_own() -> None:
    """What is cut off is told apart by a hash."""
    folders = {
        spec_at(f"https://lab.example/{'x' * 300}/{end}/manifest.json").folder for end in "ab"
    }

    assert len(folders) == 2


def test_address_without_versions_refuses_one(web: LocalWeb) -> None:
    """What cannot be heeded is not ignored."""
    with pytest.raises(ArgumentError, match="have no versions"):
        fetch_dataset(address_of(web), version="1.0")


def test_root_of_a_dataset_that_is_not_known_here_is_a_folder_with_a_warning(
    data_dir: Path,
) -> None:
    """A dataset of a package that is not installed is still what is on disk."""
    root = fetch_sample(subjects="mouse1", tasks="rest", progress=False).root
    (root / ".confusius" / "origin").write_text("lab-only")

    with pytest.warns(UserWarning, match="'lab-only', a name that is not known here"):
        dataset = open_dataset(root)

    assert dataset.get_subjects() == ["mouse1"]
