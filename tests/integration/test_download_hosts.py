"""What hosts do to a download: refusals, limits, silence, and answers that are not the file."""

from __future__ import annotations

import email.utils
import itertools
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from confusius_datasets._download import FileStarted, Waiting
from confusius_datasets._index import FileEntry
from confusius_datasets._sources import HttpClient, get_client
from confusius_datasets._sources.http import HostHints
from confusius_datasets.errors import (
    ChecksumError,
    DownloadsFailedError,
    OfflineError,
    RateLimitError,
    RemoteAccessError,
    RemoteConnectionError,
    RemoteNotFoundError,
    SourceError,
)
from confusius_datasets.testing import Fault, LocalOSF
from downloads import (
    FAST,
    FOLDER,
    LARGE,
    MEBIBYTE,
    SMALL_FILES,
    TOKENS,
    Lab,
    on_hosts,
    start_fetching,
)
from marks import slow

NAME = LARGE.rpartition("/")[2]


def fail_alone(lab: Lab) -> Exception:
    """Fetch, and return why the one file that was to fail did."""
    with pytest.raises(DownloadsFailedError) as caught:
        lab.fetch()
    (error,) = caught.value.failures.values()
    assert LARGE not in lab.tree()
    return error


# Hosts that want to be left alone.


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "asked", "least"),
    [
        (429, "1", 1.0),
        (503, "1", 1.0),
        (429, "date", 0.0),
        (503, "soon", 0.0),
        (429, "-5", 0.0),
        (429, "", 0.0),
        (503, "0", 0.0),
    ],
)
def test_retry_after_is_waited_for(lab: Lab, status: int, asked: str, least: float) -> None:
    """Seconds and dates are heeded; nonsense, and a moment ago, are a short wait."""
    lab.serve({LARGE: 1000})
    until = int(time.time()) + 2 if asked == "date" else 0  # a date has whole seconds
    headers = {"Retry-After": email.utils.formatdate(until, usegmt=True) if until else asked}
    lab.host.fail(NAME, Fault("status", status=status, headers=headers))

    lab.fetch()

    assert time.time() >= until
    first, second = lab.host.requests_for(NAME)
    assert lab.tree() == lab.files
    assert least <= second.time - first.time < least + 5


def test_retry_after_that_is_absurd_is_an_error_at_once(lab: Lab) -> None:
    """Nobody waits a year: the error says how long the host wants, and that a call goes on."""
    lab.serve({LARGE: 1000} | SMALL_FILES)
    lab.host.fail(NAME, Fault("status", status=429, headers={"Retry-After": "31536000"}, times=0))
    begun = time.monotonic()

    with pytest.raises(RateLimitError, match=r"wait 31536000 s.*the same call goes on") as caught:
        lab.fetch()

    assert time.monotonic() - begun < 3
    assert caught.value.retry_after == pytest.approx(31536000, abs=5)


@pytest.mark.slow
@on_hosts("osf", "web", "dataverse", "zenodo", "openneuro")
def test_pause_that_a_host_wants_is_kept_by_all_workers(lab: Lab) -> None:
    """After a 429 nobody asks that host again before the time is up."""
    lab.serve(SMALL_FILES | {f"sub-99/sub-99_run-{n}_pwd.json": 10 for n in range(40)})
    entries = list(lab.index().values())
    lab.host.fail(
        "*", Fault("status", status=429, headers={"Retry-After": "1"}), role=lab.FIRST_ROLE
    )

    lab.fetch(entries)

    asked = sorted(request.time for request in lab.host.requests if request.role == lab.FIRST_ROLE)
    refused = next(r for r in lab.host.requests if r.role == lab.FIRST_ROLE and r.status == 429)
    # Requests that were on their way when the refusal came are nobody's fault.
    while_paused = [moment for moment in asked if refused.time + 0.1 < moment < refused.time + 0.9]
    waits = [event for event in lab.events if isinstance(event, Waiting)]
    assert lab.tree() == lab.files
    assert while_paused == []
    assert len(waits) == 1
    assert 0.5 < waits[0].seconds <= 1.1
    assert "limits requests" in waits[0].reason


@pytest.mark.slow
@on_hosts("osf", "web", "dataverse", "zenodo", "openneuro")
def test_host_with_a_limit_gives_what_fits_and_the_next_call_goes_on(
    lab: Lab, tmp_path: Path
) -> None:
    """A limit of requests an hour: what fits is finished, the rest is announced, nothing storms."""
    lab.serve({f"sub-01/sub-01_run-{number}_pwd.json": 100 for number in range(150)})
    entries = list(lab.index().values())
    listing = lab.write_listing(tmp_path / "listing.json")
    lab.host.limit(lab.FIRST_ROLE, 100, seconds=3600)

    with pytest.raises(RateLimitError, match=r"100 of 150 files are finished.*goes on") as caught:
        lab.fetch(entries)

    asked = [request for request in lab.host.requests if request.role == lab.FIRST_ROLE]
    assert len(lab.tree()) == 100
    assert caught.value.retry_after is not None and caught.value.retry_after > 3500
    assert len(asked) <= 100 + 3 * FAST.workers  # one refusal for each that was on its way

    with pytest.raises(RateLimitError):
        lab.fetch(entries)
    assert len([r for r in lab.host.requests if r.role == lab.FIRST_ROLE]) == len(asked)

    lab.host.heal()
    process = start_fetching(lab, listing)  # this one would keep the pause for the hour
    assert process.communicate(timeout=30)[1] == ""
    assert lab.tree() == lab.files
    assert max(lab.statuses(relpath).count(200) for relpath in lab.files) == 1


@pytest.mark.slow
@on_hosts("osf", "web", "dataverse", "zenodo", "openneuro")
def test_host_with_a_short_limit_is_waited_for(lab: Lab) -> None:
    """Where the wait is bearable it is waited for, told of, and all files come."""
    lab.serve({f"sub-01/sub-01_run-{number}_pwd.json": 100 for number in range(30)})
    entries = list(lab.index().values())
    lab.host.limit(lab.FIRST_ROLE, 20, seconds=2)

    lab.fetch(entries)

    waits = [event for event in lab.events if isinstance(event, Waiting)]
    assert lab.tree() == lab.files
    assert waits and 0.5 < waits[0].seconds <= 3


@pytest.mark.slow
@on_hosts("osf", "web", "dataverse", "zenodo", "openneuro")
def test_files_under_way_are_finished_when_a_host_wants_no_more(lab: Lab) -> None:
    """A limit stops what has not begun; what is being received still becomes whole."""
    lab.host.bandwidth = 4e6
    lab.serve({LARGE: 4 * MEBIBYTE, "sub-02/sub-02_pwd.nii.gz": 2 * MEBIBYTE})
    entries = list(lab.index().values())
    started = 0

    def limit(event: object) -> None:
        nonlocal started
        started += isinstance(event, FileStarted)
        if started == 1:  # nothing was asked for yet
            lab.host.limit(lab.FIRST_ROLE, 1, seconds=3600)
            started += 1

    with pytest.raises(RateLimitError, match="1 of 2 files are finished"):
        lab.fetch(entries, settings=replace(FAST, workers=2), on_event=limit)

    ((relpath, data),) = lab.tree().items()
    assert data == lab.files[relpath]


# Hosts that fail.


@pytest.mark.parametrize("status", [500, slow(502), slow(504), slow(408)])
def test_failing_host_is_asked_again_after_a_while(lab: Lab, status: int) -> None:
    """Trouble of the host's own is retried, with more time each time."""
    settings = replace(FAST, backoff_s=0.08)
    lab.serve({LARGE: 1000})
    lab.host.fail(NAME, Fault("status", status=status, times=2))

    lab.fetch(settings=settings)

    times = [request.time for request in lab.host.requests_for(NAME)]
    first, second = (later - earlier for earlier, later in itertools.pairwise(times))
    assert lab.tree() == lab.files
    assert 0.04 <= first < 0.5
    assert 0.08 <= second < 0.9


def test_failing_host_is_given_up_with_its_status(lab: Lab) -> None:
    """After the retries the error says what the host answered."""
    lab.serve({LARGE: 1000} | SMALL_FILES)
    lab.host.fail(NAME, Fault("status", status=502, times=0))

    error = fail_alone(lab)

    assert isinstance(error, RemoteConnectionError)
    assert "status 502" in str(error)
    assert len(lab.host.requests_for(NAME)) == FAST.retries + 1
    assert len(lab.tree()) == len(SMALL_FILES)


@on_hosts("osf", "dataverse")
def test_signed_address_that_expires_is_walked_to_again(lab: Lab) -> None:
    """A 403 of the store means a new signature, and the download goes on where it was."""
    lab.serve({LARGE: MEBIBYTE})
    lab.host.fail(NAME, Fault("drop", after=400_000))
    entries = list(lab.index().values())
    expired = False

    def expire(event: object) -> None:
        nonlocal expired
        if not expired and len(lab.host.requests_for(NAME)) == 1:
            expired = True
            lab.host.expire_signatures()

    lab.fetch(entries, on_event=expire)

    assert lab.tree() == lab.files
    assert lab.statuses(LARGE) == [200, 403, 206]
    assert len(lab.host.requests_for(NAME, role=lab.FIRST_ROLE)) == 2


@pytest.mark.parametrize(
    ("role", "status", "kind"),
    [
        ("first", 401, RemoteAccessError),
        ("first", 403, RemoteAccessError),
        ("first", 404, RemoteNotFoundError),
        ("first", 410, RemoteNotFoundError),
        ("data", 404, RemoteNotFoundError),
        ("data", 403, RemoteAccessError),
        ("first", 400, SourceError),
        ("first", 300, SourceError),
        ("data", 204, SourceError),
    ],
)
def test_refusal_is_an_error_without_retries(
    lab: Lab, role: str, status: int, kind: type[Exception]
) -> None:
    """What no retry makes right is not retried; the message says what to do."""
    lab.serve({LARGE: 1000} | SMALL_FILES)
    asked_of = lab.FIRST_ROLE if role == "first" else lab.host.DATA_ROLE
    lab.host.fail(NAME, Fault("status", status=status, times=0), role=asked_of)

    error = fail_alone(lab)

    asked = lab.host.requests_for(NAME, role=asked_of)
    is_redirected = (role == "data" and lab.redirects) or lab.WAY_ROLE
    may_pass = bool(is_redirected) and status in (403, 404)  # of a signed address
    # OSF itself is asked where its server of files knows nothing, if that was asked first.
    is_asked_anew = role == "first" and lab.WAY_ROLE and status in (401, 403, 404, 410)
    assert isinstance(error, kind)
    assert f"status {status}" in str(error)
    assert len(asked) - may_pass in ((1, 2) if is_asked_anew else (1,))
    assert len(lab.tree()) == len(SMALL_FILES)


# Hosts that say nothing.


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [
        Fault("stall", after=1000, seconds=20),
        Fault("silent", seconds=20),
        Fault("trickle", seconds=0.05),
    ],
    ids=lambda fault: fault.kind,
)
def test_stalled_host_is_given_up_on_and_asked_again(lab: Lab, fault: Fault) -> None:
    """No progress for the time that is set ends an attempt, and the next one succeeds."""
    lab.serve({LARGE: 100_000})
    lab.host.fail(NAME, fault)
    begun = time.monotonic()

    lab.fetch()

    assert lab.tree() == lab.files
    assert FAST.stall_timeout_s * 0.9 < time.monotonic() - begun < 6 * FAST.stall_timeout_s
    assert len(lab.host.requests_for(NAME)) == 2


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["stall", "silent"])
def test_host_that_stays_silent_is_given_up(lab: Lab, kind: str) -> None:
    """Silence every time ends with an error in bounded time."""
    lab.serve({LARGE: 100_000})
    entries = list(lab.index().values())
    lab.host.fail(NAME, Fault(kind, seconds=20, times=0))  # type: ignore[arg-type]
    impatient = replace(FAST, stall_timeout_s=0.3)
    begun = time.monotonic()

    with pytest.raises(
        (DownloadsFailedError, OfflineError), match=r"127\.0\.0\.1.*(does not answer|broke)"
    ):
        lab.fetch(entries, settings=impatient)

    assert time.monotonic() - begun < (FAST.retries + 2) * impatient.stall_timeout_s + 4
    assert lab.tree() == {}


# Answers that are not the file.


@on_hosts(without={"web", "zip"})
@pytest.mark.parametrize("kind", ["corrupt", "short", "long"])
def test_wrong_bytes_are_retried_once_and_then_named(lab: Lab, kind: str) -> None:
    """A file that is not what the index says is an error with both facts, and is not kept."""
    lab.serve({LARGE: 100_000} | SMALL_FILES)
    lab.host.fail(NAME, Fault(kind, times=0))  # type: ignore[arg-type]

    error = fail_alone(lab)

    assert isinstance(error, ChecksumError)
    assert error.relpath == LARGE
    assert error.expected and error.found and error.expected != error.found
    assert error.expected in str(error) and error.found in str(error)
    assert "refresh=True" in str(error)
    assert len(lab.host.requests_for(NAME)) == 2
    assert lab.partials() == []


@on_hosts("zip")
def test_wrong_bytes_of_a_member_are_retried_once_and_then_named(lab: Lab) -> None:
    """An archive's CRC says what is wrong, with both facts; its neighbours come."""
    lab.serve({LARGE: 100_000} | SMALL_FILES)
    lab.host.fail(NAME, Fault("corrupt", after=200, times=0))
    entries = list(lab.index().values())
    lab.replace(LARGE, bytes(100_000))
    lab.host.heal()

    with pytest.raises(DownloadsFailedError) as caught:
        lab.fetch(entries)

    (error,) = caught.value.failures.values()
    assert isinstance(error, ChecksumError)
    assert (error.relpath, len(lab.host.requests_for(NAME))) == (LARGE, 2)
    assert error.expected in str(error) and error.found in str(error)
    assert lab.tree().keys() == SMALL_FILES.keys()


@on_hosts(without={"web"})
def test_wrong_bytes_once_are_made_good(lab: Lab) -> None:
    """A second attempt that brings the right bytes is all that is needed."""
    lab.serve({LARGE: 100_000})
    lab.host.fail(NAME, Fault("corrupt"))

    lab.fetch()

    assert lab.tree() == lab.files


@pytest.mark.parametrize("md5", [True, False])
def test_length_that_is_wrong_is_noticed_with_and_without_checksum(lab: Lab, md5: bool) -> None:
    """Where an index has no checksums, sizes are checked all the same."""
    lab.serve({LARGE: 100_000, "README": 10}, md5=md5)
    lab.host.fail(NAME, Fault("short", times=0))

    error = fail_alone(lab)

    # Of an archive a part was asked for, so that one byte less is a connection that broke.
    assert isinstance(error, RemoteConnectionError if lab.IS_ARCHIVE else ChecksumError)


@on_hosts(without={"web", "openneuro"})
def test_index_that_is_wrong_throughout_is_said_to_be_out_of_date(lab: Lab) -> None:
    """When no file is what the index says, the index is what is wrong."""
    lab.serve(SMALL_FILES)
    entries = [
        replace(entry, checksums=other.checksums, size=None) for entry, other in _shifted(lab)
    ]

    with pytest.raises(DownloadsFailedError, match=r"out of date\. Pass refresh=True"):
        lab.fetch(entries)

    assert lab.tree() == {}


def _shifted(lab: Lab) -> list[tuple[FileEntry, FileEntry]]:
    """Pair each entry with the one before it."""
    entries = list(lab.index().values())
    return list(zip(entries, entries[-1:] + entries[:-1], strict=True))


def test_web_page_with_status_200_is_a_failure(lab: Lab) -> None:
    """A login page is told from a file, and nothing of it is kept."""
    lab.serve({LARGE: 1000} | SMALL_FILES, md5=False)
    lab.host.fail(NAME, Fault("html", times=0))

    error = fail_alone(lab)

    assert isinstance(error, RemoteAccessError)
    assert "web page" in str(error)
    assert all((name in str(error)) == (name == lab.TOKEN[0]) for name in TOKENS)


def test_web_page_that_is_wanted_comes(lab: Lab) -> None:
    """A page that is part of the dataset is a file like any other."""
    lab.serve({"report.html": 1000})
    lab.host.fail("report.html", Fault("no-length", headers={"Content-Type": "text/html"}))

    lab.fetch()

    assert lab.tree() == lab.files


@pytest.mark.parametrize("kind", ["chunked", "no-length", "gzip", "stored-gzip"])
@pytest.mark.parametrize("md5", [True, False])
@pytest.mark.parametrize("size", [100_000, None])
def test_body_of_any_encoding_gives_the_right_bytes(
    lab: Lab, kind: str, md5: bool, size: int | None
) -> None:
    """Without a length, in chunks, or compressed on the way: what arrives is the file."""
    lab.serve({LARGE: 100_000}, md5=md5)
    entries = [replace(entry, size=size) for entry in lab.index().values()]
    lab.host.fail(NAME, Fault(kind, times=0))  # type: ignore[arg-type]
    if kind == "stored-gzip" and size is None and not lab.IS_ARCHIVE:
        with pytest.raises(DownloadsFailedError):  # nothing tells it from a compressed answer
            lab.fetch(entries)
        return

    lab.fetch(entries)

    assert lab.tree() == lab.files


@on_hosts(without={"zip"})
@pytest.mark.parametrize("kind", ["chunked", "no-length"])
def test_body_of_unknown_length_that_breaks_off_is_noticed(lab: Lab, kind: str) -> None:
    """A body without a length that ends early is not taken for the whole."""
    lab.serve({LARGE: 100_000, "README": 10})
    entries = list(lab.index().values())
    lab.replace(LARGE, lab.files[LARGE][:-10])
    lab.host.fail(NAME, Fault(kind, times=0))  # type: ignore[arg-type]

    with pytest.raises(DownloadsFailedError, match="100000 bytes"):
        lab.fetch(entries)

    assert LARGE not in lab.tree()


# Listings.


def serve_with_neighbours(server: LocalOSF) -> Mapping[str, bytes]:
    """Put a dataset among many others, so that listings have pages."""
    files = {"README": b"x", "sub-01/sub-01_pwd.json": b"{}"}
    for number in range(25):
        server.add_file("43skw", f"another-{number:02d}.txt", b"")
    server.add_dataset("43skw", "small-bids", dict(files))
    for number in range(25):
        server.add_dataset("43skw", "small-bids", {f"sub-{number:02d}.json": b"{}"})
    return files


def test_index_is_asked_for_by_name_in_three_requests(osf_lab: Lab) -> None:
    """However long the listings are, finding the index takes two requests and getting it one."""
    serve_with_neighbours(osf_lab.host)

    index = osf_lab.source.list_files(get_client())

    paths = [request.path for request in osf_lab.host.requests if request.role == "api"]
    assert len(index) == 27
    assert len(paths) == 2
    assert all("filter%5Bname%5D%5Beq%5D=" in path for path in paths)


def test_listing_that_hides_and_repeats_entries_is_no_obstacle(osf_lab: Lab) -> None:
    """What a walked listing hides is found by its name."""
    serve_with_neighbours(osf_lab.host)
    osf_lab.host.hidden = {"dataset_index.json", "small-bids"}
    osf_lab.host.repeated = {"another-01.txt", "sub-01.json"}

    assert len(osf_lab.source.list_files(get_client())) == 27


def test_mirror_without_filters_is_walked(osf_lab: Lab) -> None:
    """Where `filter[name]` means nothing, all pages are read, following `links.next`."""
    serve_with_neighbours(osf_lab.host)
    osf_lab.host.filters = False
    osf_lab.host.repeated = {"another-01.txt", "sub-01.json"}

    assert len(osf_lab.source.list_files(get_client())) == 27


def test_listing_that_fails_once_is_asked_again(
    osf_lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Problems of the API are waited out too."""
    monkeypatch.setenv("CONFUSIUS_DOWNLOAD_BACKOFF", "0.02")
    serve_with_neighbours(osf_lab.host)
    osf_lab.host.fail("*", Fault("status", status=502), role="api")

    assert len(osf_lab.source.list_files(get_client())) == 27


@pytest.mark.parametrize("kind", ["html", "status"])
def test_index_that_cannot_be_had_is_an_error_that_names_the_host(osf_lab: Lab, kind: str) -> None:
    """A login page or a refusal in the place of the index is no index."""
    serve_with_neighbours(osf_lab.host)
    osf_lab.host.fail(
        "dataset_index.json",
        Fault(kind, status=403, times=0),  # type: ignore[arg-type]
    )

    with pytest.raises(RemoteAccessError, match=r"127\.0\.0\.1"):
        osf_lab.source.list_files(get_client())


def test_project_or_folder_that_is_not_there_is_named(osf_lab: Lab) -> None:
    """A project that is gone, a folder that is gone: the error says which."""
    serve_with_neighbours(osf_lab.host)

    with pytest.raises(RemoteNotFoundError, match="no public project 'zzzzz'"):
        replace(osf_lab.source, project="zzzzz").list_files(get_client())
    with pytest.raises(RemoteNotFoundError, match="no folder 'other-bids'"):
        replace(osf_lab.source, folder="other-bids").list_files(get_client())
    with pytest.raises(RemoteNotFoundError, match=r"no file 'gone\.nii\.gz'"):
        replace(osf_lab.source, file="gone.nii.gz").list_files(get_client())


# Hosts of other kinds.


@pytest.mark.parametrize("kind", ["429", "403", "401", "html"])
def test_error_of_another_host_does_not_name_osf(web_lab: Lab, kind: str) -> None:
    """What the users of a host can do is said by its own source, and by no other."""
    web_lab.serve({LARGE: 1000})
    entries = list(web_lab.index().values())
    headers = {"Retry-After": "7200"}
    fault = (
        Fault("html", times=0) if kind == "html" else Fault("status", int(kind), headers, times=0)
    )
    web_lab.host.fail(NAME, fault)

    with pytest.raises((RateLimitError, DownloadsFailedError)) as caught:
        web_lab.fetch(entries)

    assert "OSF" not in str(caught.value)


def test_hint_of_a_host_is_in_its_errors(web_lab: Lab) -> None:
    """A source hands its hints to the client, which puts them behind what happened."""
    web_lab.serve({LARGE: 1000})
    url = f"{web_lab.host.url('web')}/{FOLDER}/{LARGE}"
    hints = HostHints(access="Ask the librarian.", limit="A card allows more.")
    web_lab.host.fail(
        NAME,
        Fault("status", status=403),
        Fault("status", status=429, headers={"Retry-After": "1"}),
    )
    client = HttpClient()

    with pytest.raises(RemoteAccessError, match=r"\(status 403\)\. Ask the librarian\."):
        client.get(url, hints=hints)
    with pytest.raises(RateLimitError, match=r"limits requests.*\. A card allows more\."):
        client.get(url, hints=hints)
    client.close()


def test_document_without_end_is_refused(web_lab: Lab) -> None:
    """A listing has a bound, and what lies beyond is not read."""
    web_lab.serve({LARGE: MEBIBYTE})
    client = HttpClient()

    with pytest.raises(SourceError, match="sends more than 1 KB"):
        client.get_bytes(f"{web_lab.host.url('web')}/{FOLDER}/{LARGE}", limit=1000)
    client.close()


def test_file_whose_tag_is_not_that_of_the_index_is_refused(web_lab: Lab) -> None:
    """Where an index has entity tags and no checksums, the tag says whether it is up to date."""
    web_lab.serve({LARGE: 1000})
    (entry,) = web_lab.index().values()

    with pytest.raises(DownloadsFailedError, match='the index says entity tag "older"'):
        web_lab.fetch([replace(entry, etag='"older"')])
    web_lab.fetch([replace(entry, etag=web_lab.etag(LARGE))])

    assert web_lab.tree() == web_lab.files
