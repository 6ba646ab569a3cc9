"""Tokens, redirects, certificates and proxies: who is told what, and who is believed."""

from __future__ import annotations

import contextlib
import http.server
import os
import selectors
import socket
import ssl
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from confusius_datasets._sources import HttpClient, get_client
from confusius_datasets._sources.http import Credentials, next_address
from confusius_datasets.errors import (
    DownloadsFailedError,
    HostUnreachableError,
    OfflineError,
    RemoteConnectionError,
    SourceError,
)
from confusius_datasets.testing import Fault
from downloads import LARGE, MEBIBYTE, SMALL_FILES, TOKENS, Lab, on_hosts

NAME = LARGE.rpartition("/")[2]


class _Quiet(http.server.BaseHTTPRequestHandler):
    """A handler that logs nothing."""

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@contextlib.contextmanager
def run_server(handler: type[_Quiet], context: ssl.SSLContext | None = None) -> Iterator[int]:
    """Run a server on this machine, and give its port."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


# Tokens.


def test_token_is_sent_to_the_hosts_it_is_for_only(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host's own servers see its token; the store they redirect to, and other hosts, do not."""
    for name in TOKENS:
        monkeypatch.setenv(name, f"secret-{name}")
        lab.host.tokens.add(f"secret-{name}")
    lab.serve({LARGE: MEBIBYTE} | SMALL_FILES)
    lab.host.fail(NAME, Fault("drop", after=1000), Fault("status", status=502))

    lab.fetch(list(lab.source.list_files(get_client()).values()))

    variable, header, prefix = lab.TOKEN
    told = {request.role for request in lab.host.requests if "secret-" in str(request.headers)}
    values = {
        value
        for request in lab.host.requests
        for value in request.headers.values()
        if "secret-" in value
    }
    assert told == lab.TOKEN_ROLES
    assert values == ({f"{prefix}secret-{variable}"} if variable else set())
    assert all(header in r.headers for r in lab.host.requests if r.role in lab.TOKEN_ROLES)
    assert not any("secret-" in request.path for request in lab.host.requests)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://api.osf.io/v2/nodes/x/", True),
        ("https://osf.io/download/x/", True),
        ("http://osf.io/download/x/", False),
        ("https://osf.io.evil.org/download/x/", False),
        ("https://evil.org/https://osf.io/", False),
        ("https://osf.io:8443/download/x/", False),
        ("https://osf.io@evil.org/", False),
        ("https://storage.googleapis.com/x", False),
    ],
)
def test_token_goes_by_scheme_host_and_port(url: str, told: bool) -> None:
    """An address that only looks like OSF's is told nothing."""
    credentials = Credentials.for_addresses("t", "https://api.osf.io", "https://osf.io/download")

    assert bool(credentials.headers_for(url)) is told
    assert "t'" not in repr(credentials)


@pytest.mark.slow
def test_token_of_netrc_and_cookies_are_never_sent(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What the surroundings know of these hosts is none of the download's business."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    lab.serve(SMALL_FILES)
    cookie = {"Set-Cookie": "session=secret"}
    lab.host.fail("*", Fault("status", status=502, headers=cookie), role=lab.FIRST_ROLE)

    lab.fetch()

    headers = [request.headers for request in lab.host.requests]
    assert not any("authorization" in each or "cookie" in each for each in headers)


# Redirects.


@pytest.mark.parametrize(
    "target",
    ["http://osf.io/x", "ftp://osf.io/x", "file:///etc/passwd", "javascript:x", "HTTP://osf.io/x"],
)
def test_redirect_from_https_to_less_is_refused(target: str) -> None:
    """A secure address leads to secure ones only, and to no other kind of address."""
    with pytest.raises(SourceError, match="is not secure; it was not followed"):
        next_address("https://osf.io/download/a/", target)


def test_redirects_that_lead_nowhere_are_bounded(lab: Lab) -> None:
    """A circle of redirects ends after ten, with an error that says so."""
    lab.serve({LARGE: 1000})
    entries = list(lab.index().values())
    lab.fetch(entries)
    first = lab.host.requests_for(NAME, role=lab.FIRST_ROLE)[0]
    circle = {"Location": lab.host.url(lab.FIRST_ROLE) + first.path}
    lab.host.fail(NAME, Fault("status", status=302, headers=circle, times=0), role=lab.FIRST_ROLE)
    lab.host.requests.clear()

    with pytest.raises(DownloadsFailedError, match="redirects more than 10 times"):
        lab.fetch(entries, force=True)

    assert len(lab.host.requests) == 11


def test_signature_and_password_are_in_no_message(lab: Lab) -> None:
    """Errors show where a file came from, without what opens the store to whoever reads them."""
    lab.serve({LARGE: 1000})
    entries = list(lab.index().values())
    lab.host.fail(NAME, Fault("status", status=404, times=0))

    with pytest.raises(DownloadsFailedError) as caught:
        lab.fetch(entries)

    assert lab.host.url(lab.host.DATA_ROLE) in str(caught.value)
    assert "Signature" not in str(caught.value)
    assert "?" not in str(caught.value)


def test_name_that_a_server_suggests_chooses_no_path(lab: Lab) -> None:
    """`Content-Disposition` means nothing: files are where the index says, and nowhere else."""
    lab.serve({LARGE: 1000, "README": 10})

    lab.fetch()

    assert lab.tree() == lab.files
    found = {path.name for path in lab.root.parent.rglob("*") if path.is_file()}
    assert "evil" not in found


# Certificates.


@pytest.fixture
def authority() -> trustme.CA:
    """Make an authority that nobody knows yet."""
    return trustme.CA()


@pytest.fixture
def believed(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """Make an authority that `REQUESTS_CA_BUNDLE` names."""
    bundle = tmp_path / "bundle.pem"
    authority.cert_pem.write_to_path(str(bundle))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    return authority


class _Page(_Quiet):
    """Answers, or redirects to where a test wants."""

    target = ""

    def do_GET(self) -> None:
        """Answer a request."""
        if self.path == "/leave":
            self.send_response(302)
            self.send_header("Location", self.target)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")


def serve_securely(authority: trustme.CA) -> ssl.SSLContext:
    """Make the context of a secure server on this machine."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


def test_certificate_that_nobody_vouches_for_is_refused(authority: trustme.CA) -> None:
    """A host that cannot prove who it is gets no request, and the error says how to mend it."""
    with (
        run_server(_Page, serve_securely(authority)) as port,
        pytest.raises(SourceError, match=r"no secure connection.*REQUESTS_CA_BUNDLE"),
    ):
        HttpClient().get(f"https://localhost:{port}/")


def test_certificates_of_requests_ca_bundle_are_believed(
    authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lab's own authority is named in `REQUESTS_CA_BUNDLE`, from one request to the next."""
    bundle = tmp_path / "bundle.pem"
    authority.cert_pem.write_to_path(str(bundle))
    with run_server(_Page, serve_securely(authority)) as port:
        with pytest.raises(SourceError):
            HttpClient().get(f"https://localhost:{port}/")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))

        with HttpClient().get(f"https://localhost:{port}/") as stream:
            assert b"".join(stream) == b"ok"


class _Spoilt(_Quiet):
    """Sends a part of a body, and then what no secure connection sends."""

    def do_GET(self) -> None:
        """Answer a request."""
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"ok")
        os.write(self.connection.fileno(), b"\x17\x03\x03\x00\x20" + bytes(32))


def test_secure_connection_that_is_spoilt_on_the_way_is_one_that_broke(
    believed: trustme.CA,
) -> None:
    """What came before counts, and the rest may be asked for again."""
    pieces = []
    with (
        run_server(_Spoilt, serve_securely(believed)) as port,
        HttpClient().get(f"https://localhost:{port}/") as stream,
        pytest.raises(RemoteConnectionError, match="broke the connection off"),
    ):
        pieces += stream

    assert b"".join(pieces) in (b"", b"ok")


def test_redirect_to_an_insecure_host_is_not_followed(
    believed: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real redirect from https to http is an error, and the http host is not asked."""
    with (
        run_server(_Page) as insecure,
        run_server(_Page, serve_securely(believed)) as secure,
    ):
        monkeypatch.setattr(_Page, "target", f"http://localhost:{insecure}/")
        with pytest.raises(SourceError, match="not secure; it was not followed"):
            HttpClient().get(f"https://localhost:{secure}/leave")


# Surroundings.


class _Proxy(_Quiet):
    """Passes requests on, and remembers what for."""

    asked: list[str] = []  # noqa: RUF012 - renewed by the test
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Fetch what is asked for and hand it on."""
        self.asked.append(self.path)
        request = urllib.request.Request(self.path, headers=dict(self.headers))  # noqa: S310
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _Stay())
        with opener.open(request) as answer:
            data = answer.read()
            self.send_response(answer.status)
            for name in ("Location", "Content-Type", "Content-Range", "ETag", "Accept-Ranges"):
                if answer.headers[name]:
                    self.send_header(name, answer.headers[name])
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)


class _Stay(urllib.request.HTTPErrorProcessor):
    """Takes every answer as it is, redirects among them."""

    def http_response(self, request: object, response: object) -> object:
        """Hand an answer on."""
        return response


@on_hosts("osf", "dataverse")
def test_proxy_of_the_environment_is_used_and_no_proxy_is_heeded(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`http_proxy` sees every request, but for hosts that `no_proxy` names."""
    lab.serve(SMALL_FILES)
    entries = list(lab.index().values())
    monkeypatch.setattr(_Proxy, "asked", [])
    lab.host.requests.clear()
    with run_server(_Proxy) as port:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        lab.fetch(entries)

    to_store = [request for request in lab.host.requests if request.role == lab.host.DATA_ROLE]
    assert lab.tree() == lab.files
    assert len(to_store) == len(lab.files)  # which is asked directly
    assert len(_Proxy.asked) == len(lab.host.requests) - len(to_store)
    assert all(url.startswith("http://localhost:") for url in _Proxy.asked)
    assert lab.host.requests_for("sub-00_pwd.json") != []


class _Tunnel(_Quiet):
    """Passes bytes on between a client and the host that it names, and remembers which."""

    asked: list[str] = []  # noqa: RUF012 - renewed by the test

    def do_CONNECT(self) -> None:
        """Open the way, and pass on whatever comes until one of them ends."""
        self.asked.append(self.path)
        name, _, port = self.path.rpartition(":")
        with socket.create_connection((name, int(port)), timeout=10) as host:
            self.send_response(200)
            self.end_headers()
            # select() takes no descriptor above 1023, and a whole test run has more files open.
            with selectors.DefaultSelector() as waiting:
                waiting.register(self.connection, selectors.EVENT_READ, host)
                waiting.register(host, selectors.EVENT_READ, self.connection)
                while ready := waiting.select(10):
                    for key, _ in ready:
                        data = key.fileobj.recv(65_536)
                        if not data:
                            return
                        key.data.sendall(data)


def test_secure_host_is_reached_through_a_proxy(
    believed: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`https_proxy` only learns which host is asked; a host that is nobody is an error of ours."""
    monkeypatch.setattr(_Tunnel, "asked", [])
    with run_server(_Page, serve_securely(believed)) as port, run_server(_Tunnel) as tunnel:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{tunnel}")
        with HttpClient().get(f"https://localhost:{port}/a") as stream:
            content = b"".join(stream)
        monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
        with pytest.raises(HostUnreachableError, match="does not answer"):
            HttpClient().get(f"https://localhost:{port}/a")

    assert content == b"ok"
    assert _Tunnel.asked == [f"localhost:{port}"]


def test_proxy_that_is_not_there_is_named_as_unreachable(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing goes around a proxy that is set."""
    lab.serve(SMALL_FILES)
    entries = list(lab.index().values())
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")

    with pytest.raises(OfflineError, match="does not answer"):
        lab.fetch(entries)

    assert lab.host.requests == []


def test_user_agent_says_who_asks(lab: Lab) -> None:
    """Every request names this package and its version, and asks for bytes as they are."""
    import confusius_datasets

    lab.serve(SMALL_FILES)

    lab.fetch(list(lab.source.list_files(get_client()).values()))

    agents = {request.headers["user-agent"] for request in lab.host.requests}
    assert agents == {f"confusius-datasets/{confusius_datasets.__version__} (+requests)"}
    assert {request.headers["accept-encoding"] for request in lab.host.requests} == {"identity"}
