"""Damaged BrainGlobe atlases on disk."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import numpy as np
import pytest

from atlas_folders import tiny_atlas, write_atlas
from confusius_datasets import Atlas
from confusius_datasets.errors import ConfusiusDatasetsError
from mutations import damage_some, replace_file, run_trials


def use(atlas: Atlas) -> None:
    """Call all that reads what an atlas's files say."""
    key = int(atlas.lookup.index[-1])
    assert len(atlas.search(".*")) == len(atlas.lookup)
    atlas.get_masks(key, "left")
    atlas.ancestors(key)
    atlas.resample_like(atlas.reference, np.eye(4))
    _ = atlas.cmap, atlas.norm, atlas.resolution, repr(atlas)
    with contextlib.suppress(ConfusiusDatasetsError):
        atlas.get_mesh(key)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # BrainGlobe's readers warn of what they do not know
def test_damaged_atlas_is_told_and_nothing_is_changed(
    trials: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a file of an atlas holds, no foreign exception comes out, and it is left alone."""
    monkeypatch.setenv("CONFUSIUS_OFFLINE", "1")
    halves = np.repeat(np.uint8([[[2] * 4 + [1] * 4]]), 30, axis=0).reshape(6, 5, 8)
    root = tmp_path / "inside"
    write_atlas(root, tiny_atlas(hemispheres=halves))
    files = {path: path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}

    def trial(rng: random.Random) -> None:
        file = rng.choice(list(files))
        content = damage_some(rng, files[file])
        put_back = replace_file(file, content)
        try:
            use(Atlas.from_brainglobe("tiny_mouse_100um", brainglobe_dir=root))
        finally:
            assert file.read_bytes() == content
            put_back()

    outcomes = run_trials("atlas", trials, tmp_path, trial)

    assert {path for path in root.rglob("*") if path.is_file()} == set(files)
    assert outcomes["no error"] < trials
