"""From a fetcher to an array, against a local server: what the package is for."""

from __future__ import annotations

import gzip
import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
import xarray as xr
from bids.layout import BIDSFile

from confusius_datasets import (
    fetch_cybis_pereira_2026,
    fetch_nunez_elizalde_2022,
    fetch_sample,
    fetch_template_pepe_mariani_2026,
    load,
    open_dataset,
)
from confusius_datasets._catalog import TEMPLATE_PEPE_MARIANI_2026
from confusius_datasets._dataset import BIDSDataset
from confusius_datasets.errors import (
    AmbiguousMatchError,
    CacheError,
    DatasetIndexError,
    DownloadError,
    FilterError,
    NoMatchError,
    OfflineError,
    UnknownLabelError,
    UnsafePathError,
)
from confusius_datasets.testing import LocalOSF
from downloads import heeding_permissions, md5
from replicas import CYBIS_PATHS, NUNEZ_PATHS, replica_files, template_image

QUICK_START = {
    "subjects": ["CR020"],
    "sessions": ["20191122"],
    "tasks": ["spontaneous"],
    "acqs": ["slice03"],
}


def fetch_quick_start(**options: object) -> BIDSDataset:
    """Fetch what the quick start fetches."""
    return fetch_nunez_elizalde_2022(**QUICK_START, progress=False, **options)  # type: ignore[arg-type]


def tree_of(root: Path) -> set[str]:
    """List the files of a dataset on disk, without the index and our own folder."""
    return {
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.is_file() and ".confusius" not in path.parts and path.name != "dataset_index.json"
    }


def data_requests(osf: LocalOSF) -> list[str]:
    """List the paths that were asked of the host that stores the bytes."""
    return [record.path for record in osf.requests if record.role == "storage"]


def relpaths_of(files: Iterable[BIDSFile], root: Path) -> list[str]:
    """List answers as paths below a root."""
    return [Path(file.path).relative_to(root).as_posix() for file in files]


def test_quick_start_downloads_its_part_and_both_ways_to_load_agree(
    osf: LocalOSF, data_dir: Path
) -> None:
    """One mouse, one task, one slice come; a path and a query give equal arrays."""
    root = fetch_quick_start()
    stem = "sub-CR020_ses-20191122_task-spontaneous_acq-slice03"

    by_path = load(root / "sub-CR020" / "ses-20191122" / "fusi" / f"{stem}_pwd.nii.gz")
    by_query = root.load(
        subject="CR020",
        session="20191122",
        task="spontaneous",
        acquisition="slice03",
        suffix="pwd",
    )

    assert root.root == data_dir / "nunez-elizalde-2022-bids"
    assert by_path.dims == ("time", "z", "y", "x")
    xr.testing.assert_equal(
        by_path, by_query.drop_vars(["subject", "session", "task", "acquisition"])
    )
    assert by_query.attrs["manufacturer"] == "replica"
    recordings = [path for path in tree_of(root.root) if "task-" in path]
    assert recordings and all("task-spontaneous_acq-slice03" in path for path in recordings)
    assert "sub-CR020/ses-20191122/angio/sub-CR020_ses-20191122_pwd.nii.gz" in tree_of(root.root)


def test_downloaded_bytes_are_those_of_the_host(osf: LocalOSF) -> None:
    """Every file on disk is the host's, byte for byte."""
    root = fetch_quick_start().root
    files = replica_files(NUNEZ_PATHS)

    for relpath in tree_of(root):
        assert (root / relpath).read_bytes() == files[relpath]


def test_second_call_makes_no_request(osf: LocalOSF, monkeypatch: pytest.MonkeyPatch) -> None:
    """With everything on disk the network is not touched, and may be forbidden."""
    fetch_quick_start()
    before = len(osf.requests)
    monkeypatch.setenv("CONFUSIUS_OFFLINE", "1")

    again = fetch_quick_start()
    again.load(subject="CR020", session="20191122", datatype="angio")

    assert len(osf.requests) == before


def test_get_downloads_exactly_what_is_missing_and_its_sidecars(
    osf: LocalOSF, tmp_path: Path
) -> None:
    """Files of another mouse come with a query, and the answer is that of the whole tree."""
    dataset = fetch_quick_start()
    before = tree_of(dataset.root)
    whole = fetch_nunez_elizalde_2022(tmp_path / "whole", progress=False)

    found = dataset.get(subject="CR017", suffix="pwd")

    new = tree_of(dataset.root) - before
    assert new == {path for path in NUNEZ_PATHS if "CR017" in path and "_pwd." in path}
    assert all(isinstance(file, BIDSFile) and Path(file.path).is_file() for file in found)
    assert relpaths_of(found, dataset.root) == relpaths_of(
        whole.layout.get(subject="CR017", suffix="pwd"), whole.root
    )


def test_get_without_download_gives_the_same_answer(osf: LocalOSF) -> None:
    """`download=False` answers from the catalogue and asks the host for nothing."""
    dataset = fetch_quick_start(download=False)
    before = len(osf.requests)

    lazy = dataset.get(subject="CR017", suffix="pwd", download=False)

    assert len(osf.requests) == before
    assert not any(Path(file.path).exists() for file in lazy)
    assert relpaths_of(lazy, dataset.root) == relpaths_of(
        dataset.get(subject="CR017", suffix="pwd"), dataset.root
    )


def test_getters_and_tables_never_download(osf: LocalOSF) -> None:
    """Values of entities and tables come from the catalogue."""
    dataset = fetch_quick_start(download=False)
    before = len(osf.requests)

    subjects = dataset.get_subjects()
    tasks = dataset.get_tasks(subject="CR017")
    table = dataset.to_df(suffix="pwd", extension=".nii.gz")
    missing = dataset.missing(subject="CR017", suffix="events")
    text = repr(dataset)

    assert subjects == ["CR017", "CR020", "CR022"]
    assert tasks == ["kalatsky", "spontaneous"]
    assert set(table["on_disk"]) == {False}
    assert int(table["size"].min()) > 0
    assert len(missing) == 2
    assert f"of {len(NUNEZ_PATHS)} files" in text
    assert len(osf.requests) == before
    assert "get_subjects" in dir(dataset)


def test_unknown_label_is_refused_before_any_data_is_asked_for(osf: LocalOSF) -> None:
    """A typing error costs the index at most."""
    with pytest.raises(UnknownLabelError, match="Did you mean 'CR020'"):
        fetch_nunez_elizalde_2022(subjects="CR02", progress=False)

    assert len(data_requests(osf)) == 1  # the index


def test_wrong_dataset_name_is_refused_before_any_request(osf: LocalOSF, data_dir: Path) -> None:
    """What the catalogue knows needs no network to be wrong."""
    with pytest.raises(UnknownLabelError, match="Did you mean 'rawdata'"):
        fetch_cybis_pereira_2026(datasets="raw")

    assert osf.requests == []
    assert not data_dir.exists()


def test_filters_that_exclude_each_other_are_warned_of(osf: LocalOSF) -> None:
    """Labels that exist one by one may leave nothing together; that is said."""
    with pytest.warns(UserWarning, match=r"sessions=20191113 matches the other filters.*20191122"):
        fetch_nunez_elizalde_2022(subjects="CR020", sessions="20191113", progress=False)


def test_derivative_alone_is_a_fraction_of_the_dataset(osf: LocalOSF) -> None:
    """`datasets` downloads one derivative; the recordings stay remote and reachable."""
    dataset = fetch_cybis_pereira_2026(datasets="glm-speed", progress=False)

    local = tree_of(dataset.root)

    assert {path for path in local if "/" in path} == {
        path for path in CYBIS_PATHS if path.startswith("derivatives/glm-speed/")
    }
    assert dataset.get_subjects(scope="raw") == ["rat73", "rat75", "rat83", "rat84"]
    assert dataset.load(subject="rat83", suffix="statmap", scope="glm-speed").dims == (
        "z",
        "y",
        "x",
    )


def test_refresh_adds_what_is_new_and_downloads_nothing_twice(osf: LocalOSF) -> None:
    """A file added upstream comes with `refresh=True`, and alone."""
    new = (
        "sub-CR020/ses-20191122/fusi/sub-CR020_ses-20191122_task-spontaneous_acq-slice03_physio.tsv"
    )
    fetch_quick_start()
    osf.put("43skw", "nunez-elizalde-2022-bids", new, b"1\n")
    seen = len(data_requests(osf))

    unaware = fetch_quick_start()
    assert not (unaware / new).exists()
    dataset = fetch_quick_start(refresh=True)

    assert (dataset / new).read_bytes() == b"1\n"
    assert len(data_requests(osf)) == seen + 2  # the index and the new file


def test_refresh_warns_until_the_new_version_is_here(osf: LocalOSF) -> None:
    """What is on disk in an older version is named by every refresh, in full, until it is not."""
    relpath = "sub-CR020/sub-CR020_sessions.tsv"
    root = fetch_quick_start().root
    osf.put("43skw", "nunez-elizalde-2022-bids", relpath, b"new\n")

    with pytest.warns(UserWarning) as first:
        fetch_quick_start(refresh=True)
    with pytest.warns(UserWarning) as second:
        fetch_quick_start(refresh=True)
    (root / relpath).unlink()
    dataset = fetch_quick_start()  # downloads it, since it is missing
    fetch_quick_start(refresh=True)  # warns of nothing

    assert [str(warning.message) for warning in second] == [
        f"1 file in {root} changed upstream since downloaded: {relpath}. What is on disk was left "
        "as it is; to get the new version, call ds.download(..., force=True) on the dataset, with "
        "a query that matches it."
    ]
    assert str(first[0].message) == str(second[0].message)
    assert first[0].filename == __file__
    assert (root / relpath).read_bytes() == b"new\n"
    assert dataset.index[relpath].local is None


def test_renewing_a_file_keeps_what_others_wrote_into_the_index(osf: LocalOSF) -> None:
    """A dataset that was opened before a refresh does not put its older index back."""
    relpath, new = "sub-CR020/sub-CR020_sessions.tsv", "sub-CR020/sub-CR020_scans.tsv"
    fetch_quick_start()
    osf.put("43skw", "nunez-elizalde-2022-bids", relpath, b"new\n")
    with pytest.warns(UserWarning, match="sessions.tsv"):
        dataset = fetch_quick_start(refresh=True)
    repr(dataset)  # reads the index
    osf.put("43skw", "nunez-elizalde-2022-bids", new, b"1\n")
    with pytest.warns(UserWarning, match="sessions.tsv"):
        fetch_quick_start(refresh=True)

    dataset.download(subject="CR020", suffix="sessions", force=True)

    on_disk = fetch_quick_start().index
    assert new in on_disk
    assert on_disk[relpath].local is None
    assert dataset.index == on_disk


def test_renewing_some_files_is_noted_when_others_fail(
    osf: LocalOSF, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a download that fails in part, the index knows what came."""
    folder = "sub-CR020/sub-CR020_sessions"
    fetch_quick_start()
    for kind in ("tsv", "json"):
        osf.put("43skw", "nunez-elizalde-2022-bids", f"{folder}.{kind}", b"{ }")
    with pytest.warns(UserWarning, match="2 files"):
        dataset = fetch_quick_start(refresh=True)
    monkeypatch.setenv("CONFUSIUS_DOWNLOAD_RETRIES", "0")
    osf.remove("43skw", "nunez-elizalde-2022-bids", f"{folder}.json")

    with pytest.raises(DownloadError, match=r"sessions\.json"):
        dataset.download(subject="CR020", suffix="sessions", force=True)

    assert dataset.index[f"{folder}.tsv"].local is None
    assert dataset.index[f"{folder}.json"].local is not None


@pytest.mark.slow
def test_refresh_by_several_processes_at_once_ends_as_by_one(osf: LocalOSF) -> None:
    """All of them succeed, and the index is whole."""
    new = "sub-CR020/sub-CR020_scans.tsv"
    root = fetch_quick_start().root
    osf.put("43skw", "nunez-elizalde-2022-bids", new, b"1\n")
    script = (
        "import confusius_datasets as c\n"
        "c.fetch_nunez_elizalde_2022(subjects='CR020', refresh=True, progress=False)"
    )

    running = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(3)]
    statuses = [process.wait() for process in running]

    assert statuses == [0, 0, 0]
    assert (root / new).read_bytes() == b"1\n"
    assert len(fetch_quick_start().index) == len(NUNEZ_PATHS) + 1


def test_refresh_keeps_local_files_that_the_host_removed(osf: LocalOSF) -> None:
    """A file gone upstream stays in folder and catalogue; one that was never here is forgotten."""
    here, there = (f"sub-{label}/sub-{label}_old.tsv" for label in ("CR020", "CR017"))
    for relpath in (here, there):
        osf.put("43skw", "nunez-elizalde-2022-bids", relpath, b"1\n")
    fetch_quick_start()
    for relpath in (here, there):
        osf.remove("43skw", "nunez-elizalde-2022-bids", relpath)

    dataset = fetch_quick_start(refresh=True)

    assert (dataset / here).is_file()
    assert here in dataset.index
    assert there not in dataset.index


def test_derivative_that_a_user_adds_is_local_wherever_it_lies(
    osf: LocalOSF, tmp_path: Path
) -> None:
    """A result of one's own, kept elsewhere, is found, tabulated and loaded beside the dataset."""
    dataset = fetch_quick_start()
    source = dataset.get(task="spontaneous", acquisition="slice03", extension=".nii.gz")[0]
    own = tmp_path / "my-pipeline"
    path = own / "sub-CR020" / "fusi" / source.filename.replace("_pwd", "_desc-mine_pwd")
    path.parent.mkdir(parents=True)
    shutil.copy(source.path, path)
    description = {"Name": "x", "BIDSVersion": "1.10.0", "GeneratedBy": [{"Name": "mine"}]}
    (own / "dataset_description.json").write_text(json.dumps(description))
    dataset.layout.add_derivatives(own, validate=False)
    n_requests = len(osf.requests)

    query = {"scope": "mine", "extension": ".nii.gz"}
    assert [file.path for file in dataset.get(**query)] == [str(path)]
    table = dataset.to_df(**query)
    assert table.on_disk.tolist() == [True]
    assert table["size"].tolist() == [path.stat().st_size]
    assert dataset.missing(**query).empty
    assert dataset.download(**query) == [path]
    assert (dataset.load(**query).values == load(source.path).values).all()
    assert len(osf.requests) == n_requests

    dataset.download(subject="CR020", extension=".json", force=True)  # reads the layout anew
    assert [file.path for file in dataset.get(**query)] == [str(path)]


@pytest.mark.slow
def test_refresh_names_what_changed_and_force_renews_it(osf: LocalOSF) -> None:
    """A changed file is left alone with a warning; `download(force=True)` gets the new version."""
    name = "sub-CR020_ses-20191122_task-spontaneous_acq-slice03_pwd.json"
    relpath = f"sub-CR020/ses-20191122/fusi/{name}"
    image = relpath.replace(".json", ".nii.gz")
    old = (fetch_quick_start() / relpath).read_bytes()
    osf.put("43skw", "nunez-elizalde-2022-bids", relpath, b'{"TaskName": "new"}')

    with pytest.warns(UserWarning, match=rf"{name}.*force=True"):
        dataset = fetch_quick_start(refresh=True)
    assert (dataset / relpath).read_bytes() == old
    assert dict(dataset.verify()[["path", "status"]].values)[relpath] == "outdated"
    dataset.layout.get_metadata(dataset.root / image)  # read before it is renewed
    dataset.download(subject="CR020", acquisition="slice03", task="spontaneous", force=True)

    assert (dataset / relpath).read_bytes() == b'{"TaskName": "new"}'
    assert dataset.layout.get_metadata(dataset.root / image)["TaskName"] == "new"
    assert dict(dataset.verify()[["path", "status"]].values)[relpath] == "ok"
    fetch_quick_start(refresh=True)  # warns of nothing


def test_offline_get_names_what_is_missing_and_returns_nothing(
    osf: LocalOSF, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the network forbidden, missing files are an error that says how to get them."""
    dataset = fetch_quick_start()
    before = tree_of(dataset.root)
    monkeypatch.setenv("CONFUSIUS_OFFLINE", "1")

    with pytest.raises(OfflineError, match=r"CONFUSIUS_OFFLINE.*sub-CR017.*unset") as caught:
        dataset.get(subject="CR017", suffix="pwd")

    assert len(caught.value.missing) == len(
        [path for path in NUNEZ_PATHS if "CR017" in path and "_pwd." in path]
    )
    assert tree_of(dataset.root) == before


def test_offline_catalogue_opens_although_descriptions_are_missing(
    osf: LocalOSF, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `download=False` an index on disk is enough."""
    fetch_quick_start()
    description = "derivatives/allenccf_align/dataset_description.json"
    root = fetch_quick_start().root
    (root / description).unlink()
    monkeypatch.setenv("CONFUSIUS_OFFLINE", "1")

    dataset = fetch_quick_start(download=False)

    assert dataset.get_subjects() == ["CR017", "CR020", "CR022"]
    with pytest.raises(OfflineError, match="CONFUSIUS_OFFLINE"):
        fetch_quick_start()


def test_offline_template_is_named_with_what_is_wanted_of_it(
    osf: LocalOSF, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A template that is not here, or cannot be renewed, is an error; one that is here loads."""
    monkeypatch.setenv("CONFUSIUS_OFFLINE", "1")
    with pytest.raises(OfflineError, match="template-pepe-mariani-2026 is not in"):
        fetch_template_pepe_mariani_2026()
    monkeypatch.delenv("CONFUSIUS_OFFLINE")
    fetch_template_pepe_mariani_2026(progress=False)
    monkeypatch.setenv("CONFUSIUS_OFFLINE", "1")

    assert fetch_template_pepe_mariani_2026().dims == ("z", "y", "x")
    with pytest.raises(OfflineError, match="template-pepe-mariani-2026 cannot be refreshed"):
        fetch_template_pepe_mariani_2026(refresh=True)


@pytest.mark.slow
def test_read_only_root_is_a_pure_reader(osf: LocalOSF, data_dir: Path) -> None:
    """With all that is asked for on disk, nothing needs to be written, not even by a refresh."""
    fetch_quick_start()
    fetch_template_pepe_mariani_2026(progress=False)
    query = {"subject": "CR020", "session": "20191122", "acquisition": "slice03"}
    query |= {"task": "spontaneous", "suffix": "pwd"}
    before = sorted(data_dir.rglob("*"))
    folders = [data_dir, *(path for path in before if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)

    try:
        with heeding_permissions():
            dataset = fetch_quick_start()
            found = dataset.get(**query)
            array = dataset.load(**query).compute()
            statuses = set(dataset.verify().status)
            fetch_quick_start(refresh=True)
            fetch_template_pepe_mariani_2026(progress=False)
            fetch_template_pepe_mariani_2026(progress=False, refresh=True)
            with pytest.raises(OSError, match="cannot be written"):
                dataset.get(subject="CR017", suffix="events")
            with pytest.raises(CacheError, match="cannot be written"):
                fetch_cybis_pereira_2026(progress=False)
    finally:
        for folder in folders:
            folder.chmod(0o755)

    assert found
    assert array.dims == ("time", "z", "y", "x")
    assert statuses == {"ok", "missing"}
    assert sorted(data_dir.rglob("*")) == before


def test_offline_first_fetch_says_which_dataset_is_not_here(
    osf: LocalOSF, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an index on disk there is nothing to work with, and the error says so."""
    monkeypatch.setenv("CONFUSIUS_OFFLINE", "1")

    with pytest.raises(OfflineError, match="the index of nunez-elizalde-2022 is not in"):
        fetch_quick_start()

    assert osf.requests == []


def test_no_server_is_an_error_not_a_hang(osf: LocalOSF, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that cannot be reached is named, and what is on disk still loads."""
    dataset = fetch_quick_start()
    monkeypatch.setenv("CONFUSIUS_OSF_DOWNLOAD_URL", "http://127.0.0.1:9/download")
    monkeypatch.setenv("CONFUSIUS_DOWNLOAD_RETRIES", "0")

    with pytest.raises(OSError, match="sub-CR017") as caught:
        dataset.get(subject="CR017", suffix="events")

    assert "127.0.0.1:9" in str(caught.value)
    assert dataset.load(subject="CR020", session="20191122", datatype="angio").dims == (
        "z",
        "y",
        "x",
    )


def test_load_needs_exactly_one_match(osf: LocalOSF) -> None:
    """Several and none are errors that say what to name, and download nothing."""
    dataset = fetch_quick_start(download=False)
    before = len(data_requests(osf))

    with pytest.raises(
        AmbiguousMatchError, match=r"They differ in\s.*acquisition \(slice01, slice03\)"
    ):
        dataset.load(subject="CR020", session="20191122", task="kalatsky", suffix="pwd")
    with pytest.raises(NoMatchError, match="task='kalatski'"):
        dataset.load(subject="CR020", session="20191122", task="kalatski", suffix="pwd")
    with pytest.raises(FilterError, match="load takes no return_type"):
        dataset.load(return_type="id", target="subject")

    assert len(data_requests(osf)) == before


def test_load_all_arrays_concatenate_by_their_entities(osf: LocalOSF) -> None:
    """Each array knows what it is, so that concatenating labels the result."""
    dataset = fetch_quick_start(download=False)

    arrays = dataset.load_all(subject="CR020", session="20191122", task="spontaneous", suffix="pwd")
    both = xr.concat(arrays, dim="acquisition", join="override", combine_attrs="drop_conflicts")

    assert both.acquisition.values.tolist() == ["slice01", "slice03"]
    assert str(both.subject.values) == "CR020"


def test_template_is_fetched_once_and_rechecked_on_refresh(osf: LocalOSF, data_dir: Path) -> None:
    """The template comes as an array; a refresh renews it only when it differs."""
    template = fetch_template_pepe_mariani_2026(progress=False)
    requests = len(osf.requests)
    fetch_template_pepe_mariani_2026(progress=False)
    assert len(osf.requests) == requests
    stored = len(data_requests(osf))
    fetch_template_pepe_mariani_2026(progress=False, refresh=True)
    assert len(data_requests(osf)) == stored

    path = data_dir / "pepe-mariani-2026-template" / "pepe-mariani-2026-fusi-template.nii.gz"
    path.write_bytes(path.read_bytes()[:-1])
    fetch_template_pepe_mariani_2026(progress=False, refresh=True)

    assert template.dims == ("z", "y", "x")
    assert template.attrs["affines"]["physical_to_sform"].shape == (4, 4)
    assert "Gozzi" in template.attrs["citation"]
    assert len(data_requests(osf)) == stored + 1


@pytest.mark.parametrize(
    ("relpath", "error"),
    [
        ("../outside", UnsafePathError),
        ("/etc/x", UnsafePathError),
        ("C:/x", UnsafePathError),
        ("a\\b", UnsafePathError),
        ("participants.tsv/x", DatasetIndexError),
        ("PARTICIPANTS.tsv", DatasetIndexError),
        ("Dataset_index.json", UnsafePathError),
        ("dataset_index.json/x", UnsafePathError),
    ],
)
def test_hostile_index_is_refused_and_nothing_is_written(
    osf: LocalOSF, data_dir: Path, relpath: str, error: type[Exception]
) -> None:
    """An index that would write outside the root is an error that names the entry."""
    osf.replace_index(
        "43skw", "nunez-elizalde-2022-bids", lambda index: index | {relpath: {"osf_path": "/a"}}
    )

    with pytest.raises(error) as caught:
        fetch_quick_start()

    assert relpath in str(caught.value) or repr(relpath) in str(caught.value)
    assert not any(path.is_file() for path in data_dir.rglob("*"))


def test_hostile_refresh_keeps_the_old_index(osf: LocalOSF) -> None:
    """A bad index from the host costs nothing that is here."""
    dataset = fetch_quick_start()
    before = (dataset / "dataset_index.json").read_bytes()
    osf.replace_index("43skw", "nunez-elizalde-2022-bids", lambda _: {"../x": {"osf_path": "/a"}})

    with pytest.raises(UnsafePathError):
        fetch_quick_start(refresh=True)

    assert (dataset / "dataset_index.json").read_bytes() == before


def test_damaged_index_on_disk_is_named_and_renewed_by_refresh(osf: LocalOSF) -> None:
    """A cut-short index says what to do, and doing it works."""
    dataset = fetch_quick_start()
    (dataset / "dataset_index.json").write_text("{")

    with pytest.raises(DatasetIndexError, match="refresh=True"):
        fetch_quick_start()

    assert len(fetch_quick_start(refresh=True).index) == len(NUNEZ_PATHS)


def test_folder_filled_by_another_package_is_used_as_it_is(osf: LocalOSF, data_dir: Path) -> None:
    """A tree with an index that has no md5 needs no download."""
    root = fetch_nunez_elizalde_2022(progress=False).root
    shutil.rmtree(root / ".confusius", ignore_errors=True)
    requests = len(osf.requests)

    dataset = fetch_nunez_elizalde_2022(subjects="sub-CR020", progress=False)

    assert len(osf.requests) == requests
    assert set(dataset.verify().status) == {"ok"}


def test_index_of_another_package_without_checksums_works(osf: LocalOSF) -> None:
    """What ConfUSIus wrote, `osf_path` and `size` alone, is enough to use and complete a root."""
    root = fetch_quick_start().root
    path = root / "dataset_index.json"
    index = json.loads(path.read_bytes())
    plain = {
        relpath: {"osf_path": entry["osf_path"], "size": entry["size"]}
        for relpath, entry in index.items()
    }
    path.write_text(json.dumps(plain, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    text = path.read_bytes()
    shutil.rmtree(root / ".confusius")
    before = len(osf.requests)

    dataset = fetch_quick_start()
    unasked = len(osf.requests)
    found = dataset.get(subject="CR017", suffix="events")
    untouched = path.read_bytes()
    fetch_quick_start(refresh=True)  # warns of nothing: sizes are the same

    assert unasked == before
    assert all(Path(file.path).is_file() for file in found)
    assert untouched == text
    assert json.loads(path.read_bytes()) == index


def test_template_is_a_dataset_of_one_file(osf: LocalOSF, data_dir: Path) -> None:
    """It has an index that the ConfUSIus package would understand, and can be verified."""
    template = fetch_template_pepe_mariani_2026(progress=False, print_citation=False)
    root, name = data_dir / "pepe-mariani-2026-template", TEMPLATE_PEPE_MARIANI_2026.file
    dataset = BIDSDataset(root, spec=TEMPLATE_PEPE_MARIANI_2026, progress=False)
    osf.add_file("43tu9", str(name), template_image() + b"newer")

    before = dict(dataset.verify()[["path", "status"]].values)
    outdated = dataset.refresh()
    after = dict(dataset.verify()[["path", "status"]].values)
    record = json.loads((root / "dataset_index.json").read_bytes())[name]

    assert before == {name: "ok"}
    assert outdated == [name]
    assert after == {name: "outdated"}
    assert record["size"] == len(template_image())
    assert record["md5"] == md5(template_image())
    assert {path.name for path in root.iterdir()} == {".confusius", "dataset_index.json", name}
    assert template.equals(load(root / str(name)))


def test_template_that_changed_upstream_is_renewed_by_a_refresh_without_a_warning(
    osf: LocalOSF, data_dir: Path
) -> None:
    """Whoever names the one file there is wants its newest version."""
    fetch_template_pepe_mariani_2026(progress=False)
    name = str(TEMPLATE_PEPE_MARIANI_2026.file)
    newer = gzip.compress(gzip.decompress(template_image()), mtime=1)
    osf.add_file("43tu9", name, newer)

    fetch_template_pepe_mariani_2026(progress=False, refresh=True)

    assert (data_dir / "pepe-mariani-2026-template" / name).read_bytes() == newer


def test_template_of_another_package_is_used_as_it_is(osf: LocalOSF, data_dir: Path) -> None:
    """A file that is there is loaded without a request; a refresh compares it."""
    folder = data_dir / "pepe-mariani-2026-template"
    folder.mkdir(parents=True)
    (folder / "pepe-mariani-2026-fusi-template.nii.gz").write_bytes(template_image())

    template = fetch_template_pepe_mariani_2026(progress=False)
    unasked = len(osf.requests)
    fetch_template_pepe_mariani_2026(progress=False, refresh=True)

    assert template.dims == ("z", "y", "x")
    assert unasked == 0
    assert data_requests(osf) == []


def test_cache_below_a_misleading_folder_changes_no_answer(osf: LocalOSF, tmp_path: Path) -> None:
    """Entities are read below the root only."""
    folder = tmp_path / "sub-99" / "ses-x" / "fusi"
    dataset = fetch_nunez_elizalde_2022(folder, download=False, progress=False)

    assert dataset.get_subjects() == ["CR017", "CR020", "CR022"]
    assert sorted(dataset.get_datatypes()) == ["angio", "fusi"]
    assert dataset.get(datatype="angio", suffix="events", download=False) == []


@pytest.mark.slow
def test_dataset_pickles_and_works_in_another_process(osf: LocalOSF, tmp_path: Path) -> None:
    """A copy in another process answers, and downloads, by itself."""
    dataset = fetch_sample(download=False, progress=False)
    pickled = tmp_path / "dataset.pickle"
    pickled.write_bytes(pickle.dumps(dataset))
    script = (
        "import pickle, sys; dataset = pickle.load(open(sys.argv[1], 'rb'))\n"
        "print(len(dataset.get(suffix='events', extension='.tsv')))"
    )

    answer = subprocess.run(
        [sys.executable, "-c", script, str(pickled)], capture_output=True, text=True, check=True
    )

    assert answer.stdout == "8\n"
    assert pickle.loads(pickled.read_bytes()) == dataset  # noqa: S301 - our own bytes


def test_open_dataset_works_without_a_host(osf: LocalOSF, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any BIDS folder is a dataset whose files are all local."""
    root = fetch_quick_start().root
    shutil.rmtree(root / ".confusius")  # where it remembers its host
    monkeypatch.setenv("CONFUSIUS_OFFLINE", "1")
    requests = len(osf.requests)

    dataset = open_dataset(root)

    assert dataset.get_tasks() == ["spontaneous"]
    assert dataset.load(task="spontaneous", suffix="pwd").dims == ("time", "z", "y", "x")
    assert len(dataset.missing()) == 0
    assert "local files only" in repr(dataset)
    assert len(osf.requests) == requests


def test_progress_callable_is_told_of_every_byte(osf: LocalOSF) -> None:
    """A function hears of the start, the files and the end; of nothing when nothing is missing."""
    heard: list[tuple[int, int | None, str]] = []

    def listen(done: int, total: int | None, description: str) -> None:
        heard.append((done, total, description))

    fetch_nunez_elizalde_2022(**QUICK_START, progress=listen, print_citation=False)  # type: ignore[arg-type]
    told = list(heard)
    heard.clear()
    fetch_nunez_elizalde_2022(**QUICK_START, progress=listen, print_citation=False)  # type: ignore[arg-type]

    assert told[0][0] == 0
    assert told[-1][0] == told[-1][1]
    assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)
    assert heard == []


def test_citation_is_printed_unless_told_otherwise(
    osf: LocalOSF, capsys: pytest.CaptureFixture[str]
) -> None:
    """What to cite is said by default."""
    fetch_quick_start()
    said = capsys.readouterr().out
    fetch_quick_start(print_citation=False)

    assert "please cite the following source:\nNunez-Elizalde, A. O." in said
    assert "Nunez" not in capsys.readouterr().out


def test_verify_finds_and_repairs_what_is_corrupt(osf: LocalOSF) -> None:
    """Every local file is hashed again; what is wrong is fetched again on demand."""
    dataset = fetch_quick_start()
    relpath = "sub-CR020/ses-20191122/angio/sub-CR020_ses-20191122_pwd.nii.gz"
    good = (dataset / relpath).read_bytes()
    (dataset / relpath).write_bytes(good[:-1] + b"?")
    (dataset / "notes.txt").write_text("mine")

    found = dict(dataset.verify()[["path", "status"]].values)
    repaired = dict(dataset.verify(repair=True)[["path", "status"]].values)

    assert found[relpath] == "corrupt"
    assert found["notes.txt"] == "not in index"
    assert "missing" in found.values()
    assert repaired[relpath] == "ok"
    assert (dataset / relpath).read_bytes() == good
    assert (dataset / "notes.txt").read_text() == "mine"
