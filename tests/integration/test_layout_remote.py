"""What a layout downloads: the sidecars that a question needs, once, and nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from bids.exceptions import TargetError

from confusius_datasets._index import DatasetIndex, FileEntry
from confusius_datasets._layout import CatalogueLayout, open_layout
from confusius_datasets.errors import OfflineError, UnknownEntityError
from trees import awkward_files, inheritance_files, plain_layout, write_tree


class Remote:
    """A dataset of which nothing but the description is here; it notes what is made local."""

    def __init__(self, tmp_path: Path, files: dict[str, bytes]) -> None:
        self.host = write_tree(tmp_path / "host", files)
        self.root = tmp_path / "tree"
        self.root.mkdir()
        self.indexed = list(files)
        self.fetched: list[str] = []
        self.is_offline = False
        shutil.copy(self.host / "dataset_description.json", self.root)

    def open(self) -> CatalogueLayout:
        """Open the layout."""
        return open_layout(
            self.root, DatasetIndex(map(FileEntry, self.indexed)), ensure_local=self._ensure_local
        )

    def _ensure_local(self, relpaths: Sequence[str]) -> None:
        """Copy files from the host."""
        for relpath in relpaths:
            if self.is_offline:
                raise OfflineError(f"{relpath} is not here", missing=relpaths)
            self.fetched.append(relpath)
            (self.root / relpath).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(self.host / relpath, self.root / relpath)


@pytest.fixture
def remote(tmp_path: Path) -> Remote:
    """Return the tree of sidecars at every level, on a host."""
    return Remote(tmp_path, inheritance_files())


@pytest.fixture
def awkward(tmp_path: Path) -> Remote:
    """Return the tree of odd names and values, on a host."""
    return Remote(tmp_path, awkward_files())


def test_query_on_metadata_fetches_the_sidecars_of_its_candidates(remote: Remote) -> None:
    """Only sidecars that a candidate inherits from come, each once, and no data file."""
    layout = remote.open()
    query = {"subject": "02", "extension": ".nii.gz"}

    found = layout.get(RepetitionTime=0.5, **query)

    assert [file.filename for file in found] == ["sub-02_task-rest_run-01_pwd.nii.gz"]
    assert sorted(remote.fetched) == [
        "pwd.json",
        "sub-02/fusi/sub-02_task-rest_run-01_pwd.json",
        "task-rest_pwd.json",
    ]
    layout.get(RepetitionTime=0.4, **query)
    found[0].get_metadata()
    assert len(remote.fetched) == 3


def test_metadata_of_the_whole_catalogue_equal_pybidss(remote: Remote) -> None:
    """Nothing was here, and what is inherited is what PyBIDS finds on the whole folder."""
    layout = remote.open()

    for theirs in plain_layout(remote.host).get():
        path = str(remote.root / Path(theirs.path).relative_to(remote.host))
        assert dict(layout.get_metadata(path)) == dict(theirs.get_metadata())
    assert all(relpath.endswith(".json") for relpath in remote.fetched)
    assert len(remote.fetched) == len(set(remote.fetched))


def test_names_and_labels_fetch_nothing(remote: Remote) -> None:
    """What file names say is known without a download, of a file as of the layout."""
    layout = remote.open()

    files = layout.get(suffix="pwd", extension="nii.gz")
    known = [(file.entities["subject"], file.entities.get("task")) for file in files]

    assert known[1] == ("01", None)
    assert layout.get_subjects() == ["01", "02", "10"]
    assert layout.get_tasks(subject="02") == ["rest"]
    assert layout.get(return_type="dir", target="subject")
    assert "datatype" in layout.get_entities(metadata=False)
    assert len(layout.to_df(suffix="pwd")) == 12
    assert layout.get(scope="glm") and repr(layout)
    assert remote.fetched == []


@pytest.mark.parametrize("slip", ["acq", "sub", "subbject", "extention"])
def test_slip_is_refused_before_anything_is_fetched(remote: Remote, slip: str) -> None:
    """To tell an entity's misspelt name from a metadata field, no sidecar is worth its download."""
    layout = remote.open()

    with pytest.raises(UnknownEntityError, match=f"'{slip}' is not a recognized entity"):
        layout.get(**{slip: "01"})
    with pytest.raises(TargetError, match=f"'{slip}' is not a recognized entity"):
        layout.get(return_type="id", target=slip)
    with pytest.raises(AttributeError, match=f"'{slip}s?' is not a recognized entity"):
        getattr(layout, f"get_{slip}")
    assert layout.get(invalid_filters="drop", suffix="physio", session=None, **{slip: "01"})
    assert remote.fetched == []


def test_field_that_no_candidate_has_is_still_one(remote: Remote) -> None:
    """A field of other files leaves nothing, as in PyBIDS; only a field of none is an error."""
    layout = remote.open()

    assert layout.get(DelayAfterTrigger=0.6, subject="02") == []
    assert layout.get(return_type="id", target="DelayAfterTrigger", subject="02") == []
    with pytest.raises(UnknownEntityError, match=r"Did you mean 'DelayAfterTrigger'\?"):
        layout.get(DelayAfterTriger=0.6, subject="02")


@pytest.mark.parametrize("is_offline", [False, True], ids=["online", "offline"])
def test_looking_downloads_nothing(remote: Remote, is_offline: bool) -> None:
    """Probing for attributes, completion, copies and getters make no request, come what may."""
    remote.is_offline = is_offline
    layout = remote.open()

    for name in ("get_params", "get_foos", "get_onset", "_repr_html_", "__wrapped__"):
        assert not hasattr(layout, name), name
    assert dir(layout) and repr(layout)
    assert layout.get_subjects() == ["01", "02", "10"]
    with pytest.warns(UserWarning, match="8 of the JSON sidecars .* have not been downloaded"):
        assert layout.get(return_type="id", target="RepetitionTime") == []
    with pytest.warns(UserWarning, match="8 of the JSON sidecars .* have not been downloaded"):
        assert layout.get_RepetitionTimes() == []
    assert remote.fetched == []


@pytest.mark.slow
def test_getter_of_a_field_answers_from_the_sidecars_that_are_here(remote: Remote) -> None:
    """It says once how many are not; when all are here, it says nothing."""
    layout = remote.open()
    layout.get_metadata("sub-02/fusi/sub-02_task-rest_run-01_pwd.nii.gz")
    fetched = len(remote.fetched)

    with pytest.warns(UserWarning, match="5 of the JSON sidecars") as told:
        assert layout.get_RepetitionTimes() == [0.4, 0.5]
    assert len(told) == 1
    assert len(remote.fetched) == fetched
    assert layout.get_RepetitionTimes(run=1) == [0.5]
    layout.get_entities()  # which reads all of them
    assert layout.get_RepetitionTimes() == [0.4, 0.5]
    with pytest.raises(AttributeError, match="'Foo' is not a recognized entity"):
        layout.get_Foo()


@pytest.mark.parametrize("name", ["foo", "onset", "repetitionTime"])
def test_filter_that_does_not_look_like_a_field_is_refused_at_once(
    remote: Remote, name: str
) -> None:
    """BIDS begins fields with a capital; what has been read before changes nothing."""
    layout = remote.open()

    for _ in range(2):
        fetched = len(remote.fetched)
        with pytest.raises(UnknownEntityError, match=f"'{name}' is not a recognized entity"):
            layout.get(**{name: 1})
        with pytest.raises(AttributeError, match="is not a recognized entity"):
            getattr(layout, f"get_{name}")
        assert len(remote.fetched) == fetched
        layout.get_entities()
    assert layout.get(invalid_filters="allow", foo=1) == []


def test_failed_download_leaves_the_layout_as_it_was(remote: Remote) -> None:
    """What could not be had is asked for again, and nothing half-read counts as read."""
    layout = remote.open()
    remote.is_offline = True
    with pytest.raises(OfflineError):
        layout.get(RepetitionTime=0.5)

    remote.is_offline = False

    assert len(layout.get(RepetitionTime=0.5)) == 1


def test_scope_by_folder_works_without_any_description(awkward: Remote) -> None:
    """With no network, a derivative's folder still names it, though not its pipeline."""
    awkward.is_offline = True
    layout = awkward.open()

    assert layout.get(scope="old", return_type="id", target="desc") == ["x"]
    with pytest.raises(OfflineError):
        layout.get(scope="old-pipeline")


def test_targets_in_remote_sidecars_count_for_the_files_asked_about(awkward: Remote) -> None:
    """`IntendedFor` is read of each file that is asked, also when others were asked before."""
    layout = awkward.open()
    fieldmaps = layout.get(datatype="fmap", extension=".nii.gz", suffix=["phasediff", "epi"])

    found = {
        file.entities["suffix"]: [other.filename for other in file.get_associations("IntendedFor")]
        for file in fieldmaps
    }

    runs = [f"sub-01_task-a_run-{run}_bold.nii.gz" for run in (1, 2)]
    assert found == {"phasediff": runs, "epi": runs[:1]}
    (bold,) = layout.get(suffix="bold", run=1, scope="raw", extension=".nii.gz")
    informers = {file.entities["suffix"] for file in bold.get_associations("InformedBy")}
    assert informers >= {"phasediff", "epi"}
    assert not any(relpath.endswith(".nii.gz") for relpath in awkward.fetched)


@pytest.mark.slow
def test_download_changes_neither_layout_nor_answers(remote: Remote) -> None:
    """A file that arrives was known before: the same objects answer, and nothing is read again."""
    layout = remote.open()
    before = layout.get()

    for relpath in remote.indexed:
        (remote.root / relpath).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(remote.host / relpath, remote.root / relpath)

    assert layout.get() == before
    assert layout.get(suffix="pwd", RepetitionTime=0.5)[0].get_metadata()["List"] == [1, {"a": 2}]
    assert remote.fetched == []
    assert [file.path for file in remote.open().get()] == [file.path for file in before]


def test_local_file_that_the_index_does_not_know_is_in_the_layout(remote: Remote) -> None:
    """A user's own derivative stands beside the files of the host, sidecars applying to it."""
    write_tree(
        remote.root,
        {
            "derivatives/own/sub-01/fusi/sub-01_task-rest_desc-mine_pwd.nii.gz": b"",
            "derivatives/own/pwd.json": b'{"Manufacturer": "me"}',
            "sub-01/fusi/sub-01_task-rest_desc-mine_pwd.nii.gz": b"",
        },
    )
    layout = remote.open()

    (own,) = layout.get(scope="own", extension="nii.gz")

    assert own.get_metadata() == {"Manufacturer": "me"}
    assert len(layout.get(desc="mine")) == 1
    (beside,) = [file for file in layout.get(scope="raw") if "desc-mine" in file.filename]
    assert beside.get_metadata()["ProbeType"] == "matrix"
