"""Downloads go on where they stopped, and what they put together is the host's, byte for byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from confusius_datasets._download import FileStarted
from confusius_datasets.errors import DownloadsFailedError
from confusius_datasets.testing import Fault
from downloads import FAST, LARGE, MEBIBYTE, Lab

NAME = LARGE.rpartition("/")[2]


@pytest.fixture
def lab(each_lab: Lab) -> Lab:
    """Run every test of this module on every host, but for those that take `osf_lab`."""
    return each_lab


def test_dropped_connection_many_times_is_resumed_from_where_it_broke(lab: Lab) -> None:
    """More drops than retries are survived while each attempt moves bytes; no byte comes twice."""
    lab.serve({LARGE: MEBIBYTE})
    drops = 2 * FAST.retries + 1
    lab.host.fail(NAME, Fault("drop", after=100_000, times=drops))

    lab.fetch()

    requests = lab.host.requests_for(NAME)
    offsets = [int(request.headers["range"][6:].rstrip("-")) for request in requests[1:]]
    assert lab.tree() == lab.files
    assert len(requests) == drops + 1
    assert offsets == [100_000 * number for number in range(1, drops + 1)]
    assert {request.headers["if-range"] for request in requests[1:]} == {lab.etag(LARGE)}
    assert lab.sent(LARGE) == MEBIBYTE


def test_dropped_connection_without_validator_is_resumed_by_range_alone(osf_lab: Lab) -> None:
    """A store without validators is asked for the rest, and the whole file is hashed."""
    osf_lab.host.etags = False
    osf_lab.serve({LARGE: MEBIBYTE})
    osf_lab.host.fail(NAME, Fault("drop", after=100_000))

    osf_lab.fetch()

    again = osf_lab.host.requests_for(NAME)[1]
    assert osf_lab.tree() == osf_lab.files
    assert again.headers["range"] == "bytes=100000-"
    assert "if-range" not in again.headers


def test_dropped_connection_without_any_progress_is_given_up(lab: Lab) -> None:
    """Attempts in a row that bring nothing are counted, and the error names file and host."""
    lab.serve({LARGE: MEBIBYTE})
    lab.host.fail(NAME, Fault("drop", after=0, times=0))

    with pytest.raises(DownloadsFailedError, match=r"(?s)sub-01_task-rest.*broke the connection"):
        lab.fetch()

    assert len(lab.host.requests_for(NAME)) == FAST.retries + 1
    assert lab.tree() == {}


def test_range_that_is_ignored_begins_again(lab: Lab) -> None:
    """An answer 200 to a range is the file from its start; nothing is appended to the old part."""
    lab.serve({LARGE: MEBIBYTE})
    lab.host.fail(NAME, Fault("drop", after=100_000), Fault("no-range"))

    lab.fetch()

    assert lab.tree() == lab.files
    assert lab.statuses(LARGE) == [200, 200]


def test_range_that_is_another_one_is_not_believed(lab: Lab) -> None:
    """`Content-Range` is compared with what was asked; another range is never mixed in."""
    lab.serve({LARGE: MEBIBYTE})
    lab.host.fail(NAME, Fault("drop", after=100_000), Fault("wrong-range"))

    lab.fetch()

    assert lab.tree() == lab.files
    assert lab.statuses(LARGE) == [200, 206, 200]


def fetch_while_it_changes(lab: Lab) -> bytes:
    """Fetch a file that the store replaces halfway by another of its size; return the new one."""
    lab.serve({LARGE: MEBIBYTE})
    entries = list(lab.index().values())
    lab.host.fail(NAME, Fault("drop", after=100_000))
    new, changed = bytes(MEBIBYTE), False

    def change(event: object) -> None:
        nonlocal changed
        if isinstance(event, FileStarted) and not changed:
            changed = True
            lab.replace(LARGE, new)

    lab.fetch(entries, on_event=change)
    return new


def test_content_that_changes_halfway_is_not_mixed(osf_lab: Lab) -> None:
    """When the store has other bytes on resuming, they are not what the index promises."""
    with pytest.raises(DownloadsFailedError, match="the index says md5"):
        fetch_while_it_changes(osf_lab)

    assert osf_lab.tree() == {}


def test_content_that_changes_halfway_is_not_mixed_without_checksums(web_lab: Lab) -> None:
    """Where only a tag tells contents apart, the file is wholly the new one."""
    new = fetch_while_it_changes(web_lab)

    assert web_lab.tree() == {LARGE: new}


def interrupt(lab: Lab) -> Path:
    """Leave a partial file of the large one behind, as a call that gave up does."""
    lab.serve({LARGE: MEBIBYTE})
    lab.host.fail(NAME, Fault("drop", after=300_000), Fault("drop", times=FAST.retries + 1))
    with pytest.raises(DownloadsFailedError):
        lab.fetch()
    lab.host.heal()
    (partial,) = lab.partials()
    return partial


def test_partial_file_of_an_earlier_call_is_gone_on_with(lab: Lab) -> None:
    """What an interrupted call received is not asked for again."""
    left = interrupt(lab).stat().st_size

    lab.fetch()

    last = lab.host.requests_for(NAME)[-1]
    started = [event for event in lab.events if isinstance(event, FileStarted)]
    assert left == 300_000
    assert last.headers["range"] == "bytes=300000-"
    assert started[-1].nbytes == 300_000
    assert lab.tree() == lab.files
    assert lab.partials() == []


@pytest.mark.parametrize("spoilt", ["first byte", "too long", "complete but wrong"])
def test_partial_file_that_is_spoilt_is_noticed(osf_lab: Lab, spoilt: str) -> None:
    """The finished file is hashed whole, with what an earlier call left."""
    partial = interrupt(osf_lab)
    received = partial.read_bytes()
    partial.write_bytes(
        {
            "first byte": bytes([received[0] ^ 1]) + received[1:],
            "too long": received + bytes(2 * MEBIBYTE),
            "complete but wrong": bytes(MEBIBYTE),
        }[spoilt]
    )

    osf_lab.fetch()

    assert osf_lab.tree() == osf_lab.files


def test_partial_file_that_is_spoilt_costs_no_retry(osf_lab: Lab) -> None:
    """What an earlier call left says nothing of the host: wrong bytes after it are the first."""
    partial = interrupt(osf_lab)
    partial.write_bytes(bytes(MEBIBYTE))
    osf_lab.host.fail(NAME, Fault("corrupt"))

    osf_lab.fetch()

    assert osf_lab.tree() == osf_lab.files


def test_partial_file_of_another_content_is_cleared_away(lab: Lab) -> None:
    """What was received of an older version is of no use for the new one."""
    interrupt(lab)
    lab.put(LARGE, bytes(MEBIBYTE))

    lab.fetch()

    assert lab.statuses(LARGE)[-1] == 200  # by the tag where there is no checksum
    assert lab.tree() == lab.files
    assert lab.partials() == []


def test_large_file_is_fetched_in_ranges_at_once(lab: Lab) -> None:
    """Idle connections help with a large file; no byte of it is sent much more than once."""
    lab.host.bandwidth = 20e6
    lab.serve({LARGE: 24 * MEBIBYTE})

    lab.fetch()

    requests = lab.host.requests_for(NAME)
    assert lab.tree() == lab.files
    assert len(requests) > 3
    assert lab.host.most_connections(lab.host.DATA_ROLE) > 3
    # What a cut request still had in its pipes is lost; that is less than a piece.
    assert lab.sent(LARGE) < 29 * MEBIBYTE


def test_large_file_of_a_store_without_ranges_is_fetched_by_one(lab: Lab) -> None:
    """Where ranges are not honoured, nobody helps, and the bytes are right."""
    lab.serve({LARGE: 24 * MEBIBYTE})
    lab.host.fail(NAME, Fault("no-range", times=0))

    lab.fetch()

    assert lab.tree() == lab.files
    assert len(lab.host.requests_for(NAME)) == 1


def test_large_file_in_ranges_survives_dropped_ones(lab: Lab) -> None:
    """A range that breaks off is gone on with by whoever is free."""
    lab.host.bandwidth = 20e6
    lab.serve({LARGE: 24 * MEBIBYTE})
    lab.host.fail(NAME, *[Fault("drop", after=500_000)] * 6)

    lab.fetch()

    assert lab.tree() == lab.files
