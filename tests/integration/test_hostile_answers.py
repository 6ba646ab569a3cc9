"""Answers of a host that never end, come byte after byte, or make no sense."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from confusius_datasets._sources import HttpClient, get_client
from confusius_datasets._sources.retry import RetryPolicy
from confusius_datasets.errors import (
    ConfusiusDatasetsError,
    RemoteConnectionError,
    RemoteNotFoundError,
    SettingError,
    SourceError,
)

STALL_S = 0.5

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
GZIP_START = b"\x1f\x8b\x08\x08\x00\x00\x00\x00\x00\x03"
"""Beginning of gzip data, in which the name of a file follows, until a null byte."""


@contextlib.contextmanager
def serve_raw(start: bytes, rest: Iterable[bytes] = (), *, every_s: float = 0.0) -> Iterator[str]:
    """Answer every request with bytes as they are, the first at once, the others in turn."""
    done = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.01)
    rest = tuple(rest) if not isinstance(rest, itertools.repeat) else rest

    def answer(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(10)
            connection.recv(65_536)
            connection.sendall(start)
            for piece in rest:
                if done.wait(every_s):
                    return
                connection.sendall(piece)

    def run() -> None:
        while not done.is_set():
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/file"
    finally:
        done.set()
        thread.join()
        listener.close()


def make_client() -> HttpClient:
    """Make a client that gives a host half a second, once."""
    return get_client().with_policy(RetryPolicy(retries=0, backoff_s=0.0, stall_timeout_s=STALL_S))


DRIBBLED = {
    "status line": b"",
    "headers": OK + b"X-Long: ",
    "headers of a continue": b"HTTP/1.1 100 Continue\r\nX-Long: ",
    "body": OK + b"Content-Length: 60000\r\n\r\n",
    "body without a length": OK + b"\r\n",
    "length of a chunk": CHUNKED + b"5;",
    "body of a part": b"HTTP/1.1 206 P\r\nContent-Range: bytes 0-59999/60000\r\n\r\n",
    "compressed body": OK + b"Content-Encoding: gzip\r\n\r\n" + GZIP_START,
    "last headers": CHUNKED + b"1\r\na\r\n0\r\nX-Long: ",
}


@pytest.mark.slow
@pytest.mark.parametrize("start", DRIBBLED.values(), ids=DRIBBLED)
def test_answer_that_dribbles_is_given_up_after_the_stall_timeout(start: bytes) -> None:
    """A byte now and then keeps nobody waiting, in whatever part of an answer it comes."""
    with serve_raw(start, itertools.repeat(b"1"), every_s=STALL_S / 10) as url:
        begun = time.monotonic()
        with pytest.raises(RemoteConnectionError, match=r"stalled|does not answer|broke"):
            make_client().get_bytes(url)

    # Without the rule, each of these takes hours.
    assert time.monotonic() - begun < 40 * STALL_S


UNWANTED = {
    "error": (b"HTTP/1.1 404 N\r\nContent-Length: 60000\r\n\r\n", RemoteNotFoundError),
    "error in chunks": (
        b"HTTP/1.1 404 N\r\nTransfer-Encoding: chunked\r\n\r\nFFFF\r\n",
        RemoteNotFoundError,
    ),
    "redirect": (
        b"HTTP/1.1 302 F\r\nLocation: ftp://x/\r\nContent-Length: 60000\r\n\r\n",
        SourceError,
    ),
    "redirect without end": (b"HTTP/1.1 302 F\r\nLocation: ftp://x/\r\n\r\n", SourceError),
}


@pytest.mark.slow
@pytest.mark.parametrize(("start", "kind"), UNWANTED.values(), ids=UNWANTED)
@pytest.mark.parametrize("every_s", [STALL_S / 10, 0.0], ids=["slow", "fast"])
def test_body_that_nobody_wants_is_left_soon(
    start: bytes, kind: type[SourceError], every_s: float
) -> None:
    """What an error or a redirect says below its headers is read for a moment only."""
    with serve_raw(start, itertools.repeat(b"a"), every_s=every_s) as url:
        begun = time.monotonic()
        with pytest.raises(kind):
            make_client().get_bytes(url)

    assert time.monotonic() - begun < 40 * STALL_S


FLOODS = {
    "headers": (OK, b"X: " + b"a" * 60_000 + b"\r\n"),
    "continues": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    "last headers": (CHUNKED + b"0\r\n", b"X: y\r\n" * 10_000),
    "nothing, compressed": (
        OK + b"Content-Encoding: gzip\r\n\r\n" + GZIP_START,
        b"a" * 100_000,
    ),
    "chunks": (CHUNKED, b"1\r\na\r\n" * 10_000),
}


@pytest.mark.slow
@pytest.mark.parametrize(("start", "piece"), FLOODS.values(), ids=FLOODS)
def test_answer_without_end_is_refused(start: bytes, piece: bytes) -> None:
    """Neither headers nor a body go on for ever, however quickly they come."""
    with (
        serve_raw(start, itertools.repeat(piece)) as url,
        pytest.raises(SourceError, match=r"without end|sends more than|does not answer|broke"),
    ):
        make_client().get_bytes(url, limit=100_000)


NONSENSE = {
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
    "a status of letters": b"HTTP/1.1 abc OK\r\n\r\n",
    "a status of many digits": b"HTTP/1.1 " + b"9" * 5000 + b" OK\r\n\r\n",
    "a length of many digits": OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\nabc",
    "a negative length": OK + b"Content-Length: -5\r\n\r\nabc",
    "two lengths": OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
    "a part of many digits": b"HTTP/1.1 206 P\r\nContent-Range: bytes 0-2/"
    + b"9" * 5000
    + b"\r\n\r\nabc",
    "a chunk of many digits": CHUNKED + b"F" * 60_000 + b"\r\nabc",
    "a negative chunk": CHUNKED + b"-5\r\nabc",
    "a redirect to no address": b"HTTP/1.1 302 F\r\nLocation: http://[::1\r\n\r\n",
    "a redirect to no port": b"HTTP/1.1 302 F\r\nLocation: http://a:99999999/\r\n\r\n",
    "a redirect to letters": b"HTTP/1.1 302 F\r\nLocation: http://\xff..\xff/\r\n\r\n",
    "a redirect to a long name": b"HTTP/1.1 302 F\r\nLocation: http://"
    + b"a" * 9000
    + b"/\r\n\r\n",
    "a wait of many digits": b"HTTP/1.1 429 T\r\nRetry-After: " + b"9" * 5000 + b"\r\n\r\n",
    "a date of many digits": b"HTTP/1.1 429 T\r\nRetry-After: Mon, "
    + b"9" * 5000
    + b" Jan 1\r\n\r\n",
    "compressed otherwise": OK + b"Content-Encoding: gzip\r\n\r\nabc",
    "a cookie": OK + b"Set-Cookie: " + b"=;" * 5000 + b"\r\nContent-Length: 9\r\n\r\nabc",
}


@pytest.mark.parametrize("start", NONSENSE.values(), ids=NONSENSE)
def test_answer_that_makes_no_sense_is_an_error_of_ours(start: bytes) -> None:
    """Whatever a host says, the error is one of this package, and short."""
    with serve_raw(start) as url:
        try:
            make_client().get_bytes(url)
        except ConfusiusDatasetsError as error:
            assert isinstance(error, SourceError)
            assert len(str(error)) < 600


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_certificates_that_are_not_there_are_named(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A misspelt file of certificates is told by its variable, and nothing is sent."""
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    monkeypatch.setenv(variable, str(tmp_path / "gone.pem"))

    with pytest.raises(SettingError) as caught:
        make_client().get("https://127.0.0.1:9/")

    assert str(caught.value) == (
        f"{variable}='{tmp_path / 'gone.pem'}': there is no such file or folder of certificates. "
        "Nothing was sent. Correct or unset it."
    )


@pytest.mark.parametrize("text", ["0", "1e300", "1000000000"])
def test_stall_timeout_of_any_size_is_used_or_refused(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No number in a variable reaches the socket as one that it cannot take."""
    monkeypatch.setenv("CONFUSIUS_DOWNLOAD_STALL_TIMEOUT", text)
    monkeypatch.setenv("CONFUSIUS_DOWNLOAD_RETRIES", "0")

    with serve_raw(b"HTTP/1.1 404 N\r\n\r\n") as url, pytest.raises((SourceError, SettingError)):
        get_client().get_bytes(url)
