"""Errors of a download as a whole: what is said, what is kept, and when nothing is asked."""

from __future__ import annotations

import logging
import re
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest

from confusius_datasets import fetch_nunez_elizalde_2022
from confusius_datasets._download import (
    BytesReceived,
    FileFailed,
    FileFinished,
    FileStarted,
    PlanFinished,
    PlanStarted,
)
from confusius_datasets.errors import DownloadsFailedError, OfflineError, RemoteConnectionError
from confusius_datasets.testing import Fault, LocalOSF
from downloads import FAST, LARGE, MEBIBYTE, SMALL_FILES, Lab, on_hosts

NOWHERE = "http://127.0.0.1:9"
"""An address at which nobody listens."""


@on_hosts("osf", "s3", "dataverse", "zenodo")
def test_files_that_fail_for_good_are_listed_when_the_others_are_finished(lab: Lab) -> None:
    """Two of many fail: the rest is downloaded, and one error has both, each with its reason."""
    lab.serve(SMALL_FILES)
    lab.host.fail("sub-03_pwd.json", Fault("status", status=404, times=0))
    lab.host.fail("sub-05_pwd.json", Fault("corrupt", times=0))

    with pytest.raises(DownloadsFailedError) as caught:
        lab.fetch()

    text = str(caught.value)
    assert set(caught.value.failures) == {"sub-03/sub-03_pwd.json", "sub-05/sub-05_pwd.json"}
    assert f"2 of {len(SMALL_FILES)} files could not be downloaded" in text
    assert "sub-03/sub-03_pwd.json: http://127.0.0.1" in text and "status 404" in text
    assert re.search(r"sub-05/sub-05_pwd\.json: received (md5|sha256) ", text)
    assert "the same call tries the rest again" in text
    assert len(lab.tree()) == len(SMALL_FILES) - 2

    lab.host.heal()
    lab.fetch()
    assert lab.tree() == lab.files


def test_files_that_all_fail_do_not_make_a_list_without_end(lab: Lab) -> None:
    """Of many failures ten are listed, or one of those that are alike, and their number is said."""
    lab.serve({f"sub-01/sub-01_run-{number}_pwd.json": 10 for number in range(40)})
    entries = list(lab.index().values())
    lab.host.fail("*", Fault("status", status=404, times=0))

    with pytest.raises(DownloadsFailedError, match=r"\(40 in all\)|40 files, the first") as caught:
        lab.fetch(entries)

    assert len(str(caught.value).splitlines()) < 15


def test_events_tell_all_that_happens(lab: Lab) -> None:
    """Each file is begun, received to its last byte, and finished or failed; then all is over."""
    lab.serve({LARGE: 3 * MEBIBYTE} | SMALL_FILES)
    lab.host.fail(LARGE.rpartition("/")[2], Fault("corrupt"))
    entries = list(lab.index().values())
    lab.fail_for_good("sub-03/sub-03_pwd.json")

    with pytest.raises(DownloadsFailedError):
        lab.fetch(entries)

    first, last = lab.events[0], lab.events[-1]
    received: dict[str, int] = {}
    for event in lab.events:
        if isinstance(event, FileStarted | BytesReceived):
            received[event.relpath] = received.get(event.relpath, 0) + event.nbytes
    finished = {event.relpath for event in lab.events if isinstance(event, FileFinished)}
    failed = [event.relpath for event in lab.events if isinstance(event, FileFailed)]
    nbytes = sum(map(len, lab.files.values())) if lab.KNOWS_SIZES else None
    assert first == PlanStarted(len(lab.files), nbytes)
    assert last == PlanFinished()
    assert failed == ["sub-03/sub-03_pwd.json"]
    assert finished == set(lab.files) - set(failed)
    # What was received in vain is taken back.
    assert {relpath: received[relpath] for relpath in finished} == {
        relpath: len(lab.files[relpath]) for relpath in finished
    }


def test_listener_that_raises_ends_the_download(lab: Lab) -> None:
    """An exception of whoever is told reaches the caller, and no thread goes on."""
    lab.serve({LARGE: MEBIBYTE} | SMALL_FILES)

    class OwnError(Exception):
        """A listener's."""

    def refuse(event: object) -> None:
        if isinstance(event, FileFinished):
            raise OwnError

    with pytest.raises(OwnError):
        lab.fetch(on_event=refuse)

    seen = len(lab.host.requests)
    time.sleep(0.2)
    assert len(lab.host.requests) == seen


def test_small_files_come_before_large_ones(lab: Lab) -> None:
    """An interrupted download has its sidecars, and of recordings the largest is begun first."""
    sizes = {"a_pwd.nii.gz": 2 * MEBIBYTE, "b_pwd.nii.gz": 3 * MEBIBYTE, "z_pwd.json": 10}
    lab.serve(sizes)

    lab.fetch(settings=replace(FAST, workers=1))

    begun = [event.relpath for event in lab.events if isinstance(event, FileStarted)]
    assert begun == ["z_pwd.json", "b_pwd.nii.gz", "a_pwd.nii.gz"]


def test_each_file_costs_one_walk_of_the_redirects(lab: Lab) -> None:
    """A request a hop, all of them GET, and one for each time that a file is resumed.

    In an archive, neighbours share theirs; on OSF, the files that come first tell the way to all.
    """
    lab.serve({LARGE: MEBIBYTE} | SMALL_FILES)
    lab.host.fail(LARGE.rpartition("/")[2], Fault("drop", after=1000, times=2))

    lab.fetch()

    n_walks = 2 if lab.IS_ARCHIVE else len(lab.files)
    asked = [request for request in lab.host.requests if request.role != lab.WAY_ROLE]
    assert len(asked) == (1 + lab.redirects) * n_walks + 2
    assert {request.method for request in lab.host.requests} == {"GET"}


# Offline.


def test_offline_asks_nothing_and_names_what_is_missing(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`CONFUSIUS_OFFLINE` is an error with the files, their size and what to do."""
    lab.serve(SMALL_FILES)
    entries = list(lab.index().values())
    monkeypatch.setenv("CONFUSIUS_OFFLINE", "1")
    nbytes = f"{sum(SMALL_FILES.values())} B" if lab.KNOWS_SIZES else "of unknown size"

    with pytest.raises(OfflineError) as caught:
        lab.fetch(entries)

    assert caught.value.missing == tuple(sorted(SMALL_FILES))
    assert str(caught.value) == (
        f"CONFUSIUS_OFFLINE is set, and 12 files ({nbytes}) are not in {lab.root}, the first "
        "sub-00/sub-00_pwd.json; unset it, or copy them from a machine that has them."
    )
    assert lab.host.requests == []


def test_no_route_is_an_error_soon_that_names_what_is_missing(
    osf_lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With nobody at the other end, the error comes in seconds, whatever the settings."""
    osf_lab.serve(SMALL_FILES)
    entries = list(osf_lab.index().values())
    monkeypatch.setenv("CONFUSIUS_OSF_DOWNLOAD_URL", f"{NOWHERE}/download")
    begun = time.monotonic()

    with pytest.raises(OfflineError, match=r"127\.0\.0\.1:9.*12 files.*call again with a network"):
        osf_lab.fetch(entries, settings=None)  # type: ignore[arg-type]

    assert time.monotonic() - begun < 4


@pytest.mark.slow
def test_no_route_to_the_index_is_an_error_soon(
    osf_lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first call of somebody without a network does not hang either."""
    monkeypatch.setenv("CONFUSIUS_OSF_API_URL", f"{NOWHERE}/v2")
    begun = time.monotonic()

    with pytest.raises(RemoteConnectionError, match=r"127\.0\.0\.1:9.*Check the connection"):
        fetch_nunez_elizalde_2022(progress=False)

    assert time.monotonic() - begun < 4


@pytest.mark.slow
def test_network_that_goes_away_midway_keeps_what_came(lab: Lab) -> None:
    """Hosts that vanish in the middle are an error; finished files stay, and resuming works."""
    lab.host.bandwidth = 2e6
    lab.serve({LARGE: 2 * MEBIBYTE} | SMALL_FILES)
    entries = list(lab.index().values())
    finished = 0

    def hang_up(event: object) -> None:
        nonlocal finished
        finished += isinstance(event, FileFinished)
        if finished == len(SMALL_FILES):
            lab.host.fail("*", Fault("drop", times=0))
            lab.host.fail("*", Fault("status", status=502, times=0), role="download")
            lab.host.hang_up()

    with pytest.raises(DownloadsFailedError, match="1 of 13 files could not be downloaded"):
        lab.fetch(entries, on_event=hang_up)

    assert set(lab.tree()) == set(SMALL_FILES)
    lab.host.heal()
    lab.fetch(entries)
    assert lab.tree() == lab.files


@pytest.mark.slow
def test_everything_on_disk_opens_no_socket(
    osf: LocalOSF, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fetch, a query and loading of what is there need no network of any kind."""
    options = {"subjects": "CR020", "progress": False, "print_citation": False}
    fetch_nunez_elizalde_2022(**options)  # type: ignore[arg-type]

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)

    dataset = fetch_nunez_elizalde_2022(**options)  # type: ignore[arg-type]
    found = dataset.get(subject="CR020", suffix="pwd")
    dataset.load(subject="CR020", session="20191122", datatype="angio").load()

    assert len(found) > 0


def test_what_happens_is_logged_where_there_is_no_terminal(
    osf: LocalOSF, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Without a terminal the start and the end are log lines, and nothing is printed."""
    with caplog.at_level(logging.INFO, logger="confusius_datasets"):
        fetch_nunez_elizalde_2022(subjects="CR020", print_citation=False)

    messages = [record.getMessage() for record in caplog.records]
    assert messages[0].startswith("Downloading ")
    assert messages[-1].startswith("Downloaded ")
    assert capfd.readouterr() == ("", "")
