"""Roots of our datasets, opened by PyBIDS alone."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bids import BIDSLayout
from bids.layout import parse_file_entities
from bids.layout.models import Config

from confusius_datasets import BIDSDataset, fetch_sample, pybids_config
from confusius_datasets._open import DATASETS
from confusius_datasets.errors import ArgumentError
from marks import slow
from trees import replica_tree, sample_files, write_tree


def has_schema() -> bool:
    """Say whether the installed PyBIDS can be configured by the schema of BIDS."""
    try:
        Config.load("bids-schema")
    except ValueError:
        return False
    return True


BASES: list[Any] = ["bids", *([slow("bids-schema")] if has_schema() else [])]


@functools.cache  # the one that is made of the schema takes a third of a second
def load_config(name: str) -> Config:
    """Load a configuration of PyBIDS."""
    return Config.load(name)


def entities_of(files: list[Any], names: set[str]) -> dict[str, dict[str, Any]]:
    """Return some entities of each file, by its name."""
    return {
        file.filename: {
            name: value
            for name, value in file.get_entities(metadata=False).items()
            if name in names
        }
        for file in files
    }


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize(
    "make", [sample_files, slow(functools.partial(replica_tree, "nunez"))], ids=["sample", "nunez"]
)
def test_plain_pybids_with_our_configuration_reads_what_we_read(
    tmp_path: Path, make: Callable[[], dict[str, bytes]], base: Any
) -> None:
    """Each image has the same entities in both, and metadata as well."""
    write_tree(tmp_path / "data", make())
    ours = BIDSDataset(tmp_path / "data").layout
    plain = BIDSLayout(tmp_path / "data", validate=False, config=pybids_config(base))
    wanted: dict[str, Any] = {"extension": ".nii.gz", "scope": "raw", "suffix": "pwd"}
    names = {entity["name"] for entity in pybids_config(base)["entities"]}

    found = plain.get(**wanted)
    assert len(found) >= 20
    assert entities_of(found, names) == entities_of(ours.get(**wanted), names)
    assert found[0].get_metadata() == ours.get_metadata(found[0].path)
    assert plain.get_datatypes() == ours.get_datatypes()


@pytest.mark.parametrize("base", BASES)
def test_our_configuration_is_one_as_a_file_too(tmp_path: Path, base: Any) -> None:
    """Programs that take the path of a configuration can be given it."""
    write_tree(tmp_path / "data", sample_files())
    path = tmp_path / "fusi.json"
    path.write_text(json.dumps(pybids_config(base)))

    layout = BIDSLayout(tmp_path / "data", validate=False, config=str(path))

    assert layout.get_datatypes() == ["angio", "fusi"]
    assert len(layout.get(datatype="fusi", extension="nii.gz")) == 16
    built = layout.build_path(
        {"subject": "x", "datatype": "fusi", "task": "y", "suffix": "pwd"}, validate=False
    )
    assert built.endswith("/sub-x/fusi/sub-x_task-y_pwd.nii.gz")


@pytest.mark.parametrize("config", [None, *BASES])
def test_plain_pybids_with_its_own_configurations_finds_recordings_by_their_entities(
    config: Any,
) -> None:
    """Names of subjects and tasks need no configuration of ours."""
    dataset = fetch_sample(subjects="mouse1", tasks="rest", progress=False)

    layout = BIDSLayout(dataset.root, validate=False, config=config)

    assert len(layout.get(subject="mouse1", task="rest", extension=".nii.gz")) == 4
    assert layout.get_subjects() == ["mouse1"]


@pytest.mark.parametrize("config", ["bids", "derivatives", *BASES])
@pytest.mark.parametrize("spec", DATASETS.values(), ids=lambda spec: spec.name)
def test_folder_of_no_dataset_is_an_entity_to_pybids(spec: Any, config: Any) -> None:
    """PyBIDS looks at the whole path, so that a root's name can label every file."""
    entities = parse_file_entities(f"/data/{spec.folder}/x/README", config=load_config(config))

    assert entities == {}


def test_unknown_configuration_is_refused() -> None:
    """The error names those that there are."""
    with pytest.raises(ArgumentError, match="expected 'bids' or 'bids-schema'"):
        pybids_config("derivatives")  # type: ignore[arg-type]
