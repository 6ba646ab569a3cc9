"""Arrays of ours in the hands of ConfUSIus, each release in an environment of its own.

`CONFUSIUS_PYTHONS` names the interpreters, separated as in `PATH`; both packages are in each.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import xarray as xr

from builders import counting, write_nifti
from confusius_datasets import load, to_confusius
from confusius_datasets.errors import MissingDependencyError

PYTHONS = [path for path in os.environ.get("CONFUSIUS_PYTHONS", "").split(os.pathsep) if path]

SIDECAR = {
    "RepetitionTime": 0.5,
    "DelayAfterTrigger": 1.0,
    "DelayTime": 0.1,
    "TaskName": "awake",
    "SliceTiming": [0, 0.05, 0.1, 0.15, 0.2],
    "SliceEncodingDirection": "k",
}

SCRIPT = """
import sys, warnings
warnings.simplefilter("ignore")
import numpy as np, xarray as xr
import confusius as cf
from confusius_datasets import load, save, to_confusius

for path in sys.argv[1:]:
    theirs, ours = cf.load(path).compute(), to_confusius(load(path)).compute()
    assert ours.dims == theirs.dims, (ours.dims, theirs.dims)
    assert ours.name == theirs.name
    np.testing.assert_array_equal(ours.values, theirs.values)
    for name in theirs.coords:
        np.testing.assert_allclose(ours[name].values, theirs[name].values, rtol=1e-9, atol=1e-9)
        same = {key: value for key, value in ours[name].attrs.items() if key != "voxdim"}
        assert same == {k: v for k, v in theirs[name].attrs.items() if k != "voxdim"}, name
    for name, matrix in theirs.attrs["affines"].items():
        np.testing.assert_allclose(ours.attrs["affines"][name], matrix, rtol=1e-6, atol=1e-6)
    rest = [{k: v for k, v in one.attrs.items() if k not in ("affines", "long_name")}
            for one in (ours, theirs)]
    assert rest[0] == rest[1], rest
    written = save(load(path), path.replace("a_pwd", "saved_pwd"), overwrite=True)
    again = cf.load(written).compute()
    np.testing.assert_array_equal(again.values, theirs.values)
    for name in theirs.coords:
        np.testing.assert_allclose(again[name].values, theirs[name].values, rtol=1e-6, atol=1e-6)
    labelled = to_confusius(load(path).assign_coords(subject="mouse1"))
    assert labelled.subject.item() == "mouse1"
    cf.save(to_confusius(load(path)), path.replace("a_pwd", "theirs_pwd"))
    np.testing.assert_array_equal(load(path.replace("a_pwd", "theirs_pwd")), theirs.values)
print(cf.__version__, "agrees")
"""

USE = """
import sys, warnings
warnings.simplefilter("ignore")
import matplotlib
matplotlib.use("Agg")
import numpy as np, pandas as pd
import confusius as cf
from confusius_datasets import load, to_confusius

run = to_confusius(load(sys.argv[1])).compute()
assert cf.plotting.plot_volume(run.mean("time", keep_attrs=True)) is not None
events = pd.DataFrame({"onset": [11.0, 21.0], "duration": [3.0, 3.0], "trial_type": "on"})
model = cf.glm.FirstLevelModel().fit(run, events=events)
effect = model.compute_contrast("on")
assert effect.sizes == {dim: size for dim, size in run.sizes.items() if dim != "time"}
mean = run.mean("time", keep_attrs=True)
moved, transform, _ = cf.registration.register_volume(
    mean, mean, number_of_iterations=3, plot_metric=False, plot_composite=False
)
assert np.allclose(transform, np.eye(4), atol=0.1)
print(cf.__version__, "works")
"""


def write_examples(folder: Path) -> list[str]:
    """Write files with plain, oblique, mirrored and two unlike forms."""
    plain = np.diag([0.1, 0.2, 0.4, 1.0])
    plain[:3, 3] = [-1, 0, 2]
    oblique = plain.copy()
    oblique[:3, :3] = nibabel.quaternions.quat2mat([0.9, 0.1, 0.3, 0.2]) @ plain[:3, :3]
    mirrored = plain @ np.diag([-1, 1, 1, 1])
    forms = {"plain": (plain, None), "oblique": (oblique, None), "mirrored": (mirrored, None)}
    forms |= {"both": (oblique, plain), "quaternion": (None, oblique)}
    return [
        str(
            write_nifti(
                folder / name / "sub-1_task-a_pwd.nii.gz",
                counting((3, 4, 5, 6)),
                sform=sform,
                qform=qform,
                pixdim={4: 0.5},
                sidecar=SIDECAR,
            )
        )
        for name, (sform, qform) in forms.items()
    ]


@pytest.mark.skipif(not PYTHONS, reason="CONFUSIUS_PYTHONS names no interpreter with ConfUSIus")
@pytest.mark.parametrize("python", PYTHONS or [sys.executable])
def test_arrays_are_what_confusius_loads_itself(python: str, tmp_path: Path) -> None:
    """By `to_confusius` and by way of a saved file; and theirs, saved, is loaded here."""
    done = subprocess.run(
        [python, "-c", SCRIPT, *write_examples(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
    )

    assert done.returncode == 0, done.stderr[-3000:]
    assert "agrees" in done.stdout


@pytest.mark.skipif(not PYTHONS, reason="CONFUSIUS_PYTHONS names no interpreter with ConfUSIus")
@pytest.mark.parametrize("python", PYTHONS or [sys.executable])
def test_confusius_works_with_arrays_of_ours(python: str, tmp_path: Path) -> None:
    """It draws them, fits a model to them, and registers them."""
    affine = np.diag([0.2, 0.2, 0.4, 1.0])
    space = [np.linspace(-1, 1, size) for size in (20, 18, 16)]
    blob = np.exp(-sum(axis**2 for axis in np.meshgrid(*space, indexing="ij")) * 3)
    noise = np.random.default_rng(0).normal(0, 0.02, (*blob.shape, 60))
    data = (100 * (blob[..., np.newaxis] + noise + 1)).astype("f4")
    sidecar = {"RepetitionTime": 0.5, "DelayAfterTrigger": 1.0, "DelayTime": 0.1}
    file = write_nifti(tmp_path / "sub-1_task-a_pwd.nii", data, sform=affine, sidecar=sidecar)

    done = subprocess.run([python, "-c", USE, file], capture_output=True, text=True, timeout=300)

    assert done.returncode == 0, done.stderr[-3000:]
    assert "works" in done.stdout


def test_confusius_is_named_where_it_is_missing(tmp_path: Path) -> None:
    """It is no dependency, and so no extra brings it."""
    array = load(write_examples(tmp_path)[0])

    with pytest.raises(MissingDependencyError, match=r"pip install confusius$"):
        to_confusius(array)
    with pytest.raises(TypeError, match="not Dataset"):
        to_confusius(xr.Dataset())  # type: ignore[arg-type]
