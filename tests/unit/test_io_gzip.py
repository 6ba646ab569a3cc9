"""Compressed files: the forward pass, the seek index, and the choice between them."""

from __future__ import annotations

import concurrent.futures
import gzip
import hashlib
import multiprocessing
import os
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from builders import DIAGONAL, sum_backwards, write_nifti
from confusius_datasets._io import load
from confusius_datasets._io.bytes import gzip_stream, readers, seek_index
from confusius_datasets._io.bytes.readers import Way, choose_way, shared_reader
from confusius_datasets._io.engine import ConfusiusNiftiBackend
from confusius_datasets._io.versions import FileVersion
from confusius_datasets.errors import FileFormatError

SHAPE = (32, 32, 4, 60)
FRAME = 32 * 32 * 4 * 4


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Write a file of sixty frames, outside of any dataset."""
    return write_nifti(tmp_path / "run" / "sub-01_pwd.nii.gz", _data(), sform=DIAGONAL)


def _data() -> Any:
    return np.random.default_rng(0).normal(size=SHAPE).astype("f4")


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Treat files of a megabyte as large ones."""
    monkeypatch.setattr(readers, "NEAR", 2 * FRAME)
    monkeypatch.setattr(seek_index, "SMALLEST_SPACING", 1 << 16)
    readers.READERS.forget()
    yield
    readers.READERS.forget()


@pytest.fixture
def decompressed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the bytes that forward passes decompress."""
    counted: list[int] = []
    plain = gzip_stream.GzipStream._next_piece

    def counting_piece(self: Any, *args: Any) -> bytes:
        piece = plain(self, *args)
        counted.append(len(piece))
        return piece

    monkeypatch.setattr(gzip_stream.GzipStream, "_next_piece", counting_piece)
    return counted


def _indexes(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.gzidx"))


@pytest.mark.parametrize(
    ("position", "start", "stop", "indexed", "way"),
    [
        (0, 0, 1000, False, Way.CONTINUE),
        (500, 500, 510, True, Way.CONTINUE),
        (500, 900, 910, False, Way.CONTINUE),
        (500, 900, 910, True, Way.INDEX),
        (500, 400, 410, False, Way.INDEX),
        (500, 20, 30, False, Way.RESTART),
        (500, 200, 900, True, Way.RESTART),
    ],
)
def test_choose_way_takes_the_cheapest(
    monkeypatch: pytest.MonkeyPatch, position: int, start: int, stop: int, indexed: bool, way: Way
) -> None:
    """Onwards if it is near, from the start for most of the file, else by the index."""
    monkeypatch.setattr(readers, "NEAR", 100)

    assert choose_way(position, start, stop, 1000, indexed=indexed) is way


def test_frames_in_turn_cost_one_decompression(file: Path, decompressed: list[int]) -> None:
    """Sixty frames one after another decompress the file once, and need no index."""
    array = load(file)
    expected = _data().T
    decompressed.clear()

    for time in range(SHAPE[-1]):
        np.testing.assert_array_equal(array.isel(time=time), expected[time])

    assert sum(decompressed) <= 352 + expected.nbytes
    assert not _indexes(file.parent.parent)


def test_series_of_a_voxel_costs_one_decompression(file: Path, decompressed: list[int]) -> None:
    """One voxel over time decompresses the file once."""
    array = load(file)
    decompressed.clear()

    series = array.isel(x=3, y=4, z=1).values

    np.testing.assert_array_equal(series, _data()[3, 4, 1])
    assert sum(decompressed) <= 352 + _data().nbytes


def test_frames_backwards_build_one_index(
    file: Path, data_dir: Path, decompressed: list[int]
) -> None:
    """Going back builds the index once; it is kept in the cache, and used from then on."""
    array = load(file)
    expected = _data().T
    decompressed.clear()

    for time in range(SHAPE[-1] - 1, 5, -7):
        np.testing.assert_array_equal(array.isel(time=time), expected[time])

    assert sum(decompressed) <= 352 + expected.nbytes
    assert len(_indexes(data_dir / ".confusius" / "seek")) == 1


def test_index_of_a_dataset_is_kept_below_its_root(tmp_path: Path, data_dir: Path) -> None:
    """The index of a file in a dataset lies in the hidden folder of the root."""
    (tmp_path / "root" / "derivatives" / "a").mkdir(parents=True)
    for folder in ("root", "root/derivatives/a"):
        (tmp_path / folder / "dataset_description.json").write_text("{}")
    path = tmp_path / "root" / "derivatives" / "a" / "a_pwd.nii.gz"
    array = load(write_nifti(path, _data(), sform=DIAGONAL))
    _read_backwards(array)

    assert len(_indexes(tmp_path / "root" / ".confusius" / "seek")) == 1
    assert not _indexes(data_dir)


def _read_backwards(array: xr.DataArray) -> None:
    for time in (50, 20):
        np.testing.assert_array_equal(array.isel(time=time), _data().T[time])


def test_index_on_disk_is_used_by_the_next_process(file: Path, decompressed: list[int]) -> None:
    """With an index on disk, a far frame is reached without what lies before it."""
    _read_backwards(load(file))
    readers.READERS.forget()
    array = load(file)
    decompressed.clear()

    np.testing.assert_array_equal(array.isel(time=50), _data().T[50])

    assert sum(decompressed) == 0


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text"])
def test_index_that_is_damaged_is_built_anew(file: Path, data_dir: Path, damage: str) -> None:
    """A damaged index is never believed, and is replaced."""
    _read_backwards(load(file))
    (saved,) = _indexes(data_dir)
    good = saved.read_bytes()
    saved.write_bytes(
        {
            "cut": good[:-5],
            "flip": good[:-100] + bytes([good[-100] ^ 1]) + good[-99:],
            "empty": b"",
            "text": b"not an index",
        }[damage]
    )
    readers.READERS.forget()

    _read_backwards(load(file))

    assert saved.read_bytes() == good


def test_index_of_another_version_of_the_file_is_built_anew(file: Path, data_dir: Path) -> None:
    """A file that was replaced gets a new index in the place of the old one."""
    _read_backwards(load(file))
    (saved,) = _indexes(data_dir)
    old = saved.read_bytes()
    status = file.stat()
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000_000))

    _read_backwards(load(file))

    assert _indexes(data_dir) == [saved]
    assert saved.read_bytes() != old


def test_index_in_a_read_only_cache_lives_in_memory(
    file: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing can be written, reading goes on with an index in memory."""
    blocked = data_dir / "file"
    data_dir.mkdir()
    blocked.write_text("a file where a folder would have to be")
    monkeypatch.setenv("CONFUSIUS_DATA", str(blocked))

    _read_backwards(load(file))

    assert blocked.read_text().startswith("a file")


def test_index_is_not_kept_when_told_so(file: Path, data_dir: Path) -> None:
    """`seek_index=False` writes nothing."""
    array = xr.open_dataarray(file, engine=ConfusiusNiftiBackend, seek_index=False)

    _read_backwards(array)

    assert not data_dir.exists()


@pytest.mark.parametrize("kind", ["members", "stored", "padded", "garbage"])
def test_index_of_any_gzip_file_gives_the_right_values(tmp_path: Path, kind: str) -> None:
    """Several members, stored blocks, zeros or anything else at the end: frames are right."""
    plain = write_nifti(tmp_path / "plain.nii", _data(), sform=DIAGONAL).read_bytes()
    file = tmp_path / "kind.nii.gz"
    if kind == "members":
        parts = [plain[start : start + 100_000] for start in range(0, len(plain), 100_000)]
        file.write_bytes(b"".join(map(gzip.compress, parts)))
    elif kind == "stored":
        file.write_bytes(gzip.compress(plain, compresslevel=0))
    else:
        rest = bytes(1000) if kind == "padded" else b"what gunzip ignores, with a warning"
        file.write_bytes(gzip.compress(plain) + rest)

    _read_backwards(load(file))
    np.testing.assert_array_equal(load(file), _data().T)


def test_small_files_need_no_index(
    file: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that decompresses in no time is simply read again."""
    monkeypatch.setattr(readers, "NEAR", 8 << 20)

    _read_backwards(load(file))

    assert not data_dir.exists()


def test_shared_reader_is_one_for_all_arrays_of_a_file(file: Path) -> None:
    """Arrays of one file go on from one another's place, until the file changes."""
    first = shared_reader(file, FileVersion.of(file), 100)

    assert shared_reader(file, FileVersion.of(file), 100) is first
    os.utime(file, ns=(0, 0))
    assert shared_reader(file, FileVersion.of(file), 100) is not first


def test_shared_reader_forgets_the_least_used(tmp_path: Path) -> None:
    """A process remembers its place in a few files only."""
    files = []
    for number in range(readers.MOST_READERS + 1):
        files.append(tmp_path / f"{number}.gz")
        files[-1].touch()
    version = FileVersion.of(files[0])
    first = shared_reader(files[0], version, 1)

    for other in files[1:]:
        shared_reader(other, version, 1)

    assert shared_reader(files[0], version, 1) is not first


def test_many_threads_read_the_right_frames(file: Path) -> None:
    """Threads that read one file at once all get what they asked for."""
    array = load(file)
    expected = _data().T
    order = np.random.default_rng(1).permutation(SHAPE[-1]).tolist()

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        frames = list(pool.map(lambda time: array.isel(time=time).values, order))

    for time, frame in zip(order, frames, strict=True):
        np.testing.assert_array_equal(frame, expected[time])


@pytest.mark.slow
def test_several_processes_build_one_index(file: Path, data_dir: Path) -> None:
    """Processes that need the index at once end with the same values and one index."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(3, mp_context=context) as pool:
        sums = list(pool.map(sum_backwards, [file] * 3))

    assert sums == [sum_backwards(file)] * 3
    assert len(_indexes(data_dir)) == 1


def test_data_that_repeat_are_decompressed_in_pieces(tmp_path: Path) -> None:
    """Zeros, of which a thousand take one byte, are read right."""
    data = np.zeros((64, 64, 32, 20), "f4")
    data[-1, -1, -1, -1] = 1
    array = load(write_nifti(tmp_path / "zeros.nii.gz", data, sform=DIAGONAL))

    np.testing.assert_array_equal(array, data.T)


def test_stream_reads_in_any_portions(file: Path) -> None:
    """However small the portions, the bytes are the same."""
    stream = gzip_stream.GzipStream(file)
    whole = bytearray()
    with file.open("rb", buffering=0) as opened:
        for size in [1, 7, 351, 10_000, 3]:
            portion = bytearray(size)
            assert stream.read_into(opened, memoryview(portion)) == size
            whole += portion

    assert whole[352:] == _data().tobytes(order="F")[: len(whole) - 352]
    assert stream.position == len(whole)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
def test_forked_process_has_readers_of_its_own(file: Path) -> None:
    """A lock that another thread held at the instant of a fork stops no child."""
    array = load(file)
    _read_backwards(array)
    state = readers.READERS.get()

    with state._lock, warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            _read_backwards(array)
            os._exit(0 if readers.READERS.get() is not state else 1)
    _, status = os.waitpid(child, 0)

    assert status == 0


def test_index_is_not_used_for_a_file_of_the_same_size_and_time(
    file: Path, data_dir: Path, decompressed: list[int]
) -> None:
    """`cp -p`, `rsync -t` and tar give another recording the size and time of the first."""
    _read_backwards(load(file))
    (saved,) = _indexes(data_dir)
    old, status = saved.read_bytes(), file.stat()
    readers.READERS.forget()
    content = file.read_bytes()
    file.write_bytes(content)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    decompressed.clear()

    _read_backwards(load(file))

    assert saved.read_bytes() != old
    assert saved.read_bytes()[-1000:] == old[-1000:]


def test_index_that_leads_astray_is_made_anew_before_the_file_is_blamed(
    file: Path, data_dir: Path
) -> None:
    """Whatever fails out of a kept index is tried once without it."""
    _read_backwards(load(file))
    (saved,) = _indexes(data_dir)
    good = saved.read_bytes()
    head = good[: good.index(b"\n", len(seek_index.FORMAT)) + 1]
    wrong = bytearray(good[len(head) + 32 :])
    for point in range(1, 10):
        wrong[35 + 18 * point] ^= 0x55  # where in the file the point is
    saved.write_bytes(head + hashlib.sha256(wrong).digest() + wrong)
    readers.READERS.forget()

    _read_backwards(load(file))

    assert saved.read_bytes() == good


def test_damaged_file_with_a_kept_index_is_an_error(file: Path, data_dir: Path) -> None:
    """A file that fails without its index, too, is the damaged one."""
    _read_backwards(load(file))
    (saved,) = _indexes(data_dir)
    good = saved.read_bytes()
    content = bytearray(file.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 50_000] = bytes(50_000)
    file.write_bytes(content)
    readers.READERS.forget()
    start = good.index(b"\n", len(seek_index.FORMAT)) + 1
    saved.write_bytes(seek_index._head(file) + good[start:])

    with pytest.raises(FileFormatError, match=r"sub-01_pwd\.nii\.gz: damaged gzip data"):
        load(file).isel(time=30).values  # noqa: B018
