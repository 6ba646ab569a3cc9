"""Arrays in chunks go to other processes, and are computed there."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builders import DIAGONAL, write_nifti
from confusius_datasets._io import load

pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")

SHAPE = (32, 32, 4, 60)


def _data() -> Any:
    return np.random.default_rng(0).normal(size=SHAPE).astype("f4")


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Start a cluster of three worker processes on this machine."""
    cluster = distributed.LocalCluster(
        n_workers=3,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address=None,
        silence_logs="ERROR",
    )
    with cluster, distributed.Client(cluster) as connected:
        yield connected


@pytest.fixture(params=[".nii", ".nii.gz"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Write a file of sixty frames."""
    return write_nifti(tmp_path / f"sub-01_pwd{request.param}", _data(), sform=DIAGONAL)


@pytest.mark.slow
def test_chunks_are_computed_by_several_processes(client: Any, file: Path) -> None:
    """A reduction over chunks runs on the cluster, and equals that in memory."""
    array = load(file, chunks={"time": 10})

    mean = array.mean("time").compute()

    np.testing.assert_allclose(mean, _data().mean(axis=3).T, rtol=1e-5, atol=1e-6)
    assert len(client.scheduler_info()["workers"]) == 3


@pytest.mark.slow
def test_each_worker_opens_the_file_itself(client: Any, file: Path) -> None:
    """An array sent to a worker carries no values; the worker reads them."""
    array = load(file)
    assert len(pickle.dumps(array)) < 10_000

    # Not a function of this module, which the workers could not import.
    futures = [
        client.submit(
            lambda array, start: float(array.isel(time=slice(start, start + 20)).sum()),
            *(array, start),
            workers=[address],
        )
        for start, address in zip((0, 20, 40), client.scheduler_info()["workers"], strict=True)
    ]
    sums = client.gather(futures)

    expected = [float(_data()[..., start : start + 20].sum()) for start in (0, 20, 40)]
    np.testing.assert_allclose(sums, expected, rtol=1e-3)


@pytest.mark.slow
def test_chunks_pickle_without_a_cluster(file: Path) -> None:
    """What comes out of a pickle computes the same."""
    array = pickle.loads(pickle.dumps(load(file, chunks={"time": 7})))  # noqa: S301

    np.testing.assert_array_equal(array.compute(), _data().T)


def test_chunks_with_threads_read_each_chunk_once_in_order(file: Path) -> None:
    """Dask's threads share one reader, whatever order they come in."""
    array = load(file, chunks={"time": 5})

    np.testing.assert_array_equal(array.compute(scheduler="threads"), _data().T)
