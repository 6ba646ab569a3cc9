"""The machinery of the test servers: connections, HTTP/1.1 and slowness.

It is written on plain sockets, since a measurement of downloads must not measure the server.
"""

from __future__ import annotations

import contextlib
import http.client
import selectors
import socket
import socketserver
import threading
import time
from typing import Protocol

from confusius_datasets.testing.answers import Answer, finish_answer
from confusius_datasets.testing.faults import Request

__all__ = ["Responder", "Server"]

PIECE = 1 << 16
"""Bytes that are sent at a time."""


class Responder(Protocol):
    """What answers requests, and remembers them."""

    latency_s: float
    bandwidth: float | None

    def answer(self, request: Request) -> Answer:
        """Say what a request is answered with."""
        ...

    def note(self, request: Request) -> None:
        """Remember a request."""
        ...


class Server(socketserver.ThreadingTCPServer):
    """One host, on a port of this machine.

    Parameters
    ----------
    responder : Responder
        What answers.
    role : str
        Which host it is.
    """

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 256
    timeout = 0
    """No time to wait for a connection that has gone again before it was taken."""

    def __init__(self, responder: Responder, role: str) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.responder = responder
        self.role = role
        self.closing = threading.Event()
        self.connections: set[socket.socket] = set()
        self.n_connections = 0
        self.most_connections = 0
        self._waker, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.server_address[1])

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening, and hang up on everyone."""
        self.closing.set()
        self._waker.close()  # wakes whoever listens, where `shutdown` waits until it looks up
        self._thread.join()
        self._woken.close()
        self.server_close()
        self.hang_up()

    def _listen(self) -> None:
        """Take connections until the server closes."""
        with selectors.DefaultSelector() as selector:
            selector.register(self, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while not self.closing.is_set():
                selector.select()
                if not self.closing.is_set():
                    self.handle_request()

    def hang_up(self) -> None:
        """Cut every connection there is."""
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """Keep quiet about clients that hang up."""


class _Connection(socketserver.StreamRequestHandler):
    """Answers the requests of one connection, one after another."""

    server: Server
    disable_nagle_algorithm = True
    rbufsize = 1 << 14

    def handle(self) -> None:
        """Serve until either side hangs up."""
        server = self.server
        server.connections.add(self.connection)
        server.n_connections += 1
        server.most_connections = max(server.most_connections, len(server.connections))
        # Whoever connects pays a round trip for it.
        self._wait(server.responder.latency_s)
        try:
            while not server.closing.is_set() and self._serve_one():
                pass
        except OSError:
            pass  # the client has gone
        finally:
            server.connections.discard(self.connection)

    def _wait(self, seconds: float) -> bool:
        """Wait, unless the server is closing."""
        return seconds > 0 and self.server.closing.wait(seconds)

    def _serve_one(self) -> bool:
        """Answer one request; say whether the connection lives on."""
        line = self.rfile.readline(1 << 16).split()
        if len(line) != 3:
            return False
        headers = self._read_headers()
        sent = self.rfile.read(int(headers.get("content-length", 0)))
        self._wait(self.server.responder.latency_s)
        request = Request(
            time.monotonic(),
            line[0].decode(),
            self.server.role,
            line[1].decode(),
            headers,
            body=sent,
        )
        answer = finish_answer(self.server.responder.answer(request), request)
        request.status, request.name = answer.status, answer.name
        self.server.responder.note(request)
        fault = answer.fault
        if fault and fault.kind == "silent":
            self._wait(fault.seconds)
            return False
        return self._send(request, answer)

    def _read_headers(self) -> dict[str, str]:
        """Read the headers of a request."""
        headers = {}
        while line := self.rfile.readline(1 << 16).strip():
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        return headers

    def _send(self, request: Request, answer: Answer) -> bool:
        """Send an answer with what goes wrong with it; say whether the connection lives on."""
        kind = answer.fault.kind if answer.fault else ""
        body = answer.body
        headers = dict(answer.headers)
        if kind == "chunked":
            headers["Transfer-Encoding"] = "chunked"
        elif kind == "no-length":
            headers["Connection"] = "close"
        else:
            headers["Content-Length"] = str(len(body))
        reason = http.client.responses.get(answer.status, "Status")
        lines = [f"HTTP/1.1 {answer.status} {reason}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        if request.method == "HEAD":
            self.connection.sendall(head)
            return True
        sender = {"chunked": self._send_chunked, "trickle": self._send_trickle}.get(
            kind, self._send_plain
        )
        return sender(request, answer, head) and kind != "no-length"

    def _send_plain(self, request: Request, answer: Answer, head: bytes) -> bool:
        """Send a body at the speed of the line, as far as it is meant to get."""
        fault, body = answer.fault, memoryview(answer.body)
        cut = fault is not None and fault.kind in ("drop", "stall")
        if fault and cut:
            body = body[: fault.after]
        if len(body) <= PIECE and not self.server.responder.bandwidth:
            self.connection.sendall(head + bytes(body))
            request.nbytes += len(body)
        else:
            self.connection.sendall(head)
            self._send_paced(request, body)
        if fault and cut:
            if fault.kind == "stall":
                self._wait(fault.seconds)
            return False
        return True

    def _send_paced(self, request: Request, body: memoryview) -> None:
        """Send bytes no faster than the line allows."""
        bandwidth = self.server.responder.bandwidth
        piece = PIECE if bandwidth else 1 << 20
        begun = time.monotonic()
        for offset in range(0, len(body), piece):
            self.connection.sendall(body[offset : offset + piece])
            request.nbytes += len(body[offset : offset + piece])
            if bandwidth:
                self._wait(begun + request.nbytes / bandwidth - time.monotonic())
            if self.server.closing.is_set():
                return

    def _send_chunked(self, request: Request, answer: Answer, head: bytes) -> bool:
        """Send a body of a length that is not said beforehand."""
        self.connection.sendall(head)
        for offset in range(0, len(answer.body), PIECE):
            piece = answer.body[offset : offset + PIECE]
            self.connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
            request.nbytes += len(piece)
        self.connection.sendall(b"0\r\n\r\n")
        return True

    def _send_trickle(self, request: Request, answer: Answer, head: bytes) -> bool:
        """Send a byte now and then."""
        self.connection.sendall(head)
        seconds = answer.fault.seconds if answer.fault else 1.0
        for offset in range(len(answer.body)):
            self.connection.sendall(answer.body[offset : offset + 1])
            request.nbytes += 1
            if self._wait(seconds):
                return False
        return True
