"""Downloads go on where they stopped, and what they put together is the host's, byte for byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from confusius_datasets._download import FileStarted
from confusius_datasets.errors import DownloadsFailedError
from confusius_datasets.testing import Fault
from downloads import FAST, LARGE, MEBIBYTE, Lab, on_hosts

NAME = LARGE.rpartition("/")[2]


def test_dropped_connection_many_times_is_resumed_from_where_it_broke(lab: Lab) -> None:
    """More drops than retries are survived while each attempt moves bytes; no byte comes twice."""
    lab.serve({LARGE: MEBIBYTE})
    drops = 2 * FAST.retries + 1
    lab.host.fail(NAME, Fault("drop", after=100_000, times=drops))

    lab.fetch()

    requests = lab.host.requests_for(NAME)
    offsets = [lab.offset(request) for request in requests]
    tags = {request.headers.get("if-range") for request in requests[1:]}
    ahead = lab.ahead(LARGE)
    assert lab.tree() == lab.files
    assert len(requests) == drops + 1
    assert offsets == [0, *(100_000 * number - ahead for number in range(1, drops + 1))]
    assert tags == {lab.etag(LARGE) if lab.HAS_IF_RANGE else None}
    assert lab.sent(LARGE) == MEBIBYTE + ahead


@on_hosts(without={"web"})  # which has no checksum either
def test_dropped_connection_without_validator_is_resumed_by_range_alone(lab: Lab) -> None:
    """A store without validators is asked for the rest, and the whole file is hashed."""
    lab.host.etags = False
    lab.serve({LARGE: MEBIBYTE})
    lab.host.fail(NAME, Fault("drop", after=100_000))

    lab.fetch()

    again = lab.host.requests_for(NAME)[1]
    assert lab.tree() == lab.files
    assert lab.offset(again) == 100_000 - lab.ahead(LARGE)
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
    assert lab.statuses(LARGE) == [lab.WHOLE_STATUS, 200]


def test_range_that_is_another_one_is_not_believed(lab: Lab) -> None:
    """`Content-Range` is compared with what was asked; another range is never mixed in."""
    lab.serve({LARGE: MEBIBYTE})
    lab.host.fail(NAME, Fault("drop", after=100_000), Fault("wrong-range"))

    lab.fetch()

    assert lab.tree() == lab.files
    assert lab.statuses(LARGE) == [lab.WHOLE_STATUS, 206, 200]


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


@on_hosts(without={"web"})
def test_content_that_changes_halfway_is_not_mixed(lab: Lab) -> None:
    """When the store has other bytes on resuming, they are not what the index promises."""
    with pytest.raises(DownloadsFailedError, match="the index says"):
        fetch_while_it_changes(lab)

    assert lab.tree() == {}


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
    expected = 300_000 - lab.ahead(LARGE)

    lab.fetch()

    last = lab.host.requests_for(NAME)[-1]
    started = [event for event in lab.events if isinstance(event, FileStarted)]
    assert left == expected
    assert lab.offset(last) == expected
    assert started[-1].nbytes == expected
    assert lab.tree() == lab.files
    assert lab.partials() == []


@on_hosts(without={"web"})
@pytest.mark.parametrize("spoilt", ["first byte", "too long", "complete but wrong"])
def test_partial_file_that_is_spoilt_is_noticed(lab: Lab, spoilt: str) -> None:
    """The finished file is hashed whole, with what an earlier call left."""
    partial = interrupt(lab)
    received = partial.read_bytes()
    partial.write_bytes(
        {
            "first byte": bytes([received[0] ^ 1]) + received[1:],
            "too long": received + bytes(2 * MEBIBYTE),
            "complete but wrong": bytes(MEBIBYTE),
        }[spoilt]
    )

    lab.fetch()

    assert lab.tree() == lab.files


@on_hosts(without={"web"})
def test_partial_file_that_is_spoilt_costs_no_retry(lab: Lab) -> None:
    """What an earlier call left says nothing of the host: wrong bytes after it are the first."""
    partial = interrupt(lab)
    partial.write_bytes(bytes(MEBIBYTE))
    lab.host.fail(NAME, Fault("corrupt"))

    lab.fetch()

    assert lab.tree() == lab.files


def test_partial_file_of_another_content_is_cleared_away(lab: Lab) -> None:
    """What was received of an older version is of no use for the new one."""
    interrupt(lab)
    lab.put(LARGE, bytes(MEBIBYTE))

    lab.fetch()

    assert lab.statuses(LARGE)[-1] == lab.WHOLE_STATUS  # by the tag where there is no checksum
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
    # What cut requests still had in their pipes is lost; that is less than two pieces.
    assert lab.sent(LARGE) < 32 * MEBIBYTE


@pytest.mark.slow
def test_large_file_of_a_store_without_ranges_is_fetched_by_one(lab: Lab) -> None:
    """Where ranges are not honoured, nobody helps, and the bytes are right."""
    lab.serve({LARGE: 24 * MEBIBYTE})
    lab.host.fail(NAME, Fault("no-range", times=0))

    lab.fetch()

    assert lab.tree() == lab.files
    assert len(lab.host.requests_for(NAME)) == 1


@pytest.mark.slow
def test_large_file_in_ranges_survives_dropped_ones(lab: Lab) -> None:
    """A range that breaks off is gone on with by whoever is free."""
    lab.host.bandwidth = 20e6
    lab.serve({LARGE: 24 * MEBIBYTE})
    lab.host.fail(NAME, *[Fault("drop", after=500_000)] * 6)

    lab.fetch()

    assert lab.tree() == lab.files
