"""The one rule by which filters select files."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from confusius_datasets._catalog import CYBIS_PEREIRA_2026, NUNEZ_ELIZALDE_2022
from confusius_datasets._index import DatasetIndex, FileEntry
from confusius_datasets._selection import Filters, dataset_name, parse_filters, select
from confusius_datasets._spec import DatasetSpec
from confusius_datasets.errors import FilterError, UnknownLabelError
from replicas import CYBIS_PATHS, NUNEZ_PATHS


def index_of(relpaths: list[str]) -> DatasetIndex:
    """Make an index of some paths."""
    return DatasetIndex(FileEntry(relpath, 1) for relpath in relpaths)


NUNEZ = index_of(NUNEZ_PATHS)
CYBIS = index_of(CYBIS_PATHS)


def test_angiographies_outlive_filters_on_tasks_and_slices() -> None:
    """A file without the entity is kept."""
    filters = parse_filters({"subjects": "CR020", "tasks": "spontaneous", "acqs": "slice03"})

    kept = list(select(NUNEZ, filters))

    assert "sub-CR020/ses-20191122/angio/sub-CR020_ses-20191122_pwd.nii.gz" in kept
    assert "sub-CR020/sub-CR020_sessions.tsv" in kept
    assert "dataset_description.json" in kept
    assert not any("task-kalatsky" in path or "slice01" in path for path in kept)
    assert not any("CR017" in path for path in kept)


def test_derivatives_outlive_filters_on_tasks_and_slices() -> None:
    """Derivative images carry no task and no slice, so they stay with their subject."""
    kept = list(select(NUNEZ, parse_filters({"subjects": "CR022", "tasks": "spontaneous"})))

    assert any(path.startswith("derivatives/allenccf_align/sub-CR022/") for path in kept)
    assert "derivatives/allenccf_align/structure_tree_safe_2017.csv" in kept


@pytest.mark.parametrize("name", ["glm-speed", "decode-speed"])
def test_datasets_picks_a_derivative_and_the_roots_own_files(name: str) -> None:
    """Raw recordings and the other derivatives stay behind."""
    kept = list(select(CYBIS, parse_filters({"datasets": name})))

    assert {dataset_name(path) for path in kept} == {name, None}
    assert "dataset_description.json" in kept


def test_datasets_rawdata_leaves_derivatives_behind() -> None:
    """`rawdata` is what lies in the subjects' folders of the root."""
    filters = parse_filters(
        {"datasets": "rawdata", "subjects": "rat73", "sessions": "20220523", "acqs": "slice32"}
    )

    kept = list(select(CYBIS, filters))

    assert not any(path.startswith("derivatives/") for path in kept)
    assert all("rat73" in path for path in kept if path.startswith("sub-"))
    assert any(path.endswith("_scans.tsv") for path in kept)


def test_aggregates_without_session_outlive_a_filter_on_sessions() -> None:
    """Subject-level maps are kept whatever the session."""
    filters = parse_filters({"datasets": "glm-speed", "sessions": "20220523"})

    kept = list(select(CYBIS, filters))

    assert "derivatives/glm-speed/sub-rat83/sub-rat83_acq-slice32_stat-t_statmap.nii.gz" in kept


def test_file_named_after_a_subject_in_a_derivatives_root_has_that_subject() -> None:
    """The subject is the label, not the rest of a file name."""
    index = index_of(["derivatives/x/sub-rat73_acq-slice32_y.tsv", "sub-rat75/sub-rat75_x.tsv"])

    assert list(select(index, parse_filters({"subjects": "rat73"}))) == [
        "derivatives/x/sub-rat73_acq-slice32_y.tsv"
    ]


@pytest.mark.parametrize(
    "subjects",
    [
        "CR020",
        "sub-CR020",
        ["CR020"],
        ("sub-CR020", "CR020"),
        {"CR020"},
        np.str_("CR020"),
        np.array(["sub-CR020"]),
        (label for label in ["CR020"]),
        map(str, ["CR020"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_labels_come_alone_or_in_a_list_with_or_without_prefix(
    subjects: str | Iterable[str],
) -> None:
    """All spellings mean the same."""
    assert parse_filters({"subjects": subjects}) == {"subjects": frozenset({"CR020"})}


def test_label_with_the_prefix_of_another_entity_is_unknown() -> None:
    """Only a filter's own prefix is taken off."""
    with pytest.raises(UnknownLabelError, match=r"no subject 'ses-20191122'.*It has CR017, CR020"):
        select(NUNEZ, parse_filters({"subjects": "ses-20191122"}))


def test_unknown_label_names_the_nearest_and_the_valid_ones() -> None:
    """A typing error is no silent empty download."""
    with pytest.raises(UnknownLabelError) as caught:
        select(NUNEZ, parse_filters({"subjects": "CR02"}), name="nunez-elizalde-2022")

    assert str(caught.value) == (
        "subjects: no subject 'CR02' in nunez-elizalde-2022. Did you mean 'CR020'? "
        "It has CR017, CR020, CR022."
    )


@pytest.mark.parametrize(
    ("spec", "given", "hint"),
    [
        (NUNEZ_ELIZALDE_2022, {"datasets": "raw"}, "Did you mean 'rawdata'"),
        (NUNEZ_ELIZALDE_2022, {"datatypes": "func"}, "It has fusi, angio"),
        (CYBIS_PEREIRA_2026, {"datasets": ["rawdata", "glm"]}, "no dataset 'glm'"),
        (CYBIS_PEREIRA_2026, {"datatypes": "Motion"}, "Did you mean 'motion'"),
    ],
)
def test_unknown_dataset_or_datatype_needs_no_index_to_be_refused(
    spec: DatasetSpec, given: dict[str, str], hint: str
) -> None:
    """These are known from the catalogue, so the error comes before any request."""
    with pytest.raises(UnknownLabelError, match=hint):
        parse_filters(given, valid=spec.filters)


@pytest.mark.parametrize("value", [[], (), "", ["CR020", ""], "sub-"])
def test_filter_that_lists_nothing_is_refused(value: str | list[str]) -> None:
    """An empty filter is a slip: leaving it out selects everything."""
    with pytest.raises(FilterError, match="Leave subjects out"):
        parse_filters({"subjects": value})


@pytest.mark.parametrize(
    "value", [20191122, [20191122], ["20191122", None], {"a": 1}.keys, b"CR020", 0.5]
)
def test_filter_that_is_no_text_is_refused(value: object) -> None:
    """A session given as a number would match nothing."""
    with pytest.raises(FilterError, match="expected a label or a list of labels"):
        parse_filters({"sessions": value})  # type: ignore[dict-item]


ROOT_FILES = [
    ".bidsignore",
    "CHANGES",
    "README",
    "code/fusi/sub-CR017_task-kalatsky_convert.py",
    "dataset_description.json",
    "derivatives/README",
    "participants.tsv",
    "phenotype/sub-CR017_weights.tsv",
    "pwd.json",
    "stimuli/task-kalatsky_stim.avi",
    "task-kalatsky_acq-slice01_pwd.json",
    "task-stim_events.tsv",
]
"""Files that belong to a whole root, some of them with entities in their names."""


@pytest.mark.parametrize(
    "given",
    [
        {"subjects": "CR020"},
        {"sessions": "20191122"},
        {"tasks": "spontaneous"},
        {"acqs": "slice03"},
        {"datatypes": "angio"},
        {"datasets": "allenccf_align"},
        {"datasets": "rawdata", "subjects": "CR020", "tasks": "spontaneous", "acqs": "slice03"},
    ],
    ids=str,
)
def test_files_of_the_root_are_selected_by_every_filter(given: dict[str, str]) -> None:
    """What belongs to the whole root comes, also if it is about a task that is not wanted."""
    kept = select(index_of(sorted({*NUNEZ_PATHS, *ROOT_FILES})), parse_filters(given))

    assert set(ROOT_FILES) <= set(kept)


ANGIO = "sub-CR020/ses-20191122/angio/sub-CR020_ses-20191122_pwd.nii.gz"
FUSI = "sub-CR020/ses-20191122/fusi/sub-CR020_ses-20191122_task-spontaneous_acq-slice03_pwd.nii.gz"
SESSIONS = "sub-CR020/sub-CR020_sessions.tsv"
ALIGNED = (
    "derivatives/allenccf_align/sub-CR020/ses-20191122/fusi/"
    "sub-CR020_ses-20191122_space-fusi_desc-allenccf_dseg.nii.gz"
)
TREE = "derivatives/allenccf_align/structure_tree_safe_2017.csv"
PROBES = (
    "sourcedata/allenccf_align/sub-CR022/ses-20201011/fusi/"
    "2020-10-11_CR022_estimated_probe00_3Dtrack_manual.hdf"
)
NUNEZ_CLASSES = [ANGIO, FUSI, SESSIONS, ALIGNED, TREE, PROBES]

T_MAP = "derivatives/glm-speed/sub-rat83/sub-rat83_acq-slice32_stat-t_statmap.nii.gz"
DESIGN = (
    "derivatives/glm-speed/sub-rat83/ses-20220523/fusi/"
    "sub-rat83_ses-20220523_task-openfield_acq-slice32_dm.tsv"
)
DECODED = "derivatives/decode-speed/sub-rat83/sub-rat83_acq-slice32_desc-accuracy_decode.tsv"
VIDEO = (
    "derivatives/dlc-videos/sub-rat75/ses-20220525/video/"
    "sub-rat75_ses-20220525_task-openfield_tracksys-DLC_acq-slice37_video.mp4"
)
SCANS = "sub-rat83/ses-20220523/sub-rat83_ses-20220523_scans.tsv"
WHOLE = "sub-rat84/ses-20210407/fusi/sub-rat84_ses-20210407_task-openfield_pwd.nii.gz"
MOTION = (
    "sub-rat75/ses-20220525/motion/"
    "sub-rat75_ses-20220525_task-openfield_tracksys-DLC_acq-slice37_motion.tsv"
)
CYBIS_CLASSES = [T_MAP, DESIGN, DECODED, VIDEO, SCANS, WHOLE, MOTION]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"subjects": "CR020"}, [ANGIO, FUSI, SESSIONS, ALIGNED, TREE]),
        ({"subjects": "CR022"}, [TREE, PROBES]),
        ({"sessions": "20191121"}, [SESSIONS, TREE]),
        ({"sessions": "20191122"}, [ANGIO, FUSI, SESSIONS, ALIGNED, TREE]),
        ({"tasks": "kalatsky"}, [ANGIO, SESSIONS, ALIGNED, TREE, PROBES]),
        ({"acqs": "slice01"}, [ANGIO, SESSIONS, ALIGNED, TREE, PROBES]),
        ({"datatypes": "fusi"}, [FUSI, SESSIONS, ALIGNED, TREE, PROBES]),
        ({"datatypes": "angio"}, [ANGIO, SESSIONS, TREE]),
        ({"datasets": "rawdata"}, [ANGIO, FUSI, SESSIONS]),
        ({"datasets": "allenccf_align"}, [ALIGNED, TREE, PROBES]),
    ],
    ids=str,
)
def test_each_class_of_files_of_nunez_is_selected_as_promised(
    given: dict[str, str], kept: list[str]
) -> None:
    """Which filters touch which kind of file."""
    selected = select(NUNEZ, parse_filters(given))

    assert [path for path in NUNEZ_CLASSES if path in selected] == kept


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"subjects": "rat83"}, [T_MAP, DESIGN, DECODED, SCANS]),
        ({"sessions": "20220525"}, [T_MAP, DECODED, VIDEO, MOTION]),
        ({"sessions": "20220523"}, [T_MAP, DESIGN, DECODED, SCANS]),
        ({"acqs": "slice37"}, [VIDEO, SCANS, WHOLE, MOTION]),
        ({"acqs": "slice32"}, [T_MAP, DESIGN, DECODED, SCANS, WHOLE]),
        ({"datatypes": "motion"}, [T_MAP, DECODED, VIDEO, SCANS, MOTION]),
        ({"datasets": ["rawdata", "dlc-videos"]}, [VIDEO, SCANS, WHOLE, MOTION]),
        ({"datasets": "glm-speed"}, [T_MAP, DESIGN]),
    ],
    ids=str,
)
def test_each_class_of_files_of_cybis_is_selected_as_promised(
    given: dict[str, str], kept: list[str]
) -> None:
    """Which filters touch which kind of file."""
    selected = select(CYBIS, parse_filters(given))  # type: ignore[arg-type]

    assert [path for path in CYBIS_CLASSES if path in selected] == kept


def test_no_filter_selects_everything() -> None:
    """`None` filters nothing."""
    assert select(NUNEZ, parse_filters({"subjects": None})) == NUNEZ


def test_dataset_may_have_a_filter_of_its_own() -> None:
    """What the rule cannot say is a predicate of the path and all filters; the rule holds too."""

    def keep(relpath: str, filters: Filters) -> bool:
        wanted = filters.get("formats", frozenset({"nii.gz", "json", "tsv"}))
        return "/" not in relpath or relpath.partition(".")[2] in wanted

    valid = {"subjects": (), "formats": ("nii.gz", "json", "tsv")}
    filters = parse_filters({"subjects": "CR020", "formats": "json"}, valid=valid)

    kept = list(select(NUNEZ, filters, keep=keep))

    assert "dataset_description.json" in kept
    assert {path.partition(".")[2] for path in kept if "/" in path} == {"json"}
    assert not any("CR022" in path for path in kept)
    assert len(select(NUNEZ, parse_filters({"formats": "json"}, valid=valid), keep=keep)) > len(
        kept
    )
    with pytest.raises(UnknownLabelError, match=r"no formats 'jsn' .*Did you mean 'json'"):
        parse_filters({"formats": "jsn"}, valid=valid)
