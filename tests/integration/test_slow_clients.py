"""Clients that say half a request, or nothing at all, on a real server: none stays for ever."""

import select
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2
import pytest
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.response import Stream

from rescind_registry import patience
from rescind_registry.app import build
from rescind_registry.auth import PUBLIC
from rescind_registry.serving import Server, listen
from tests.fakes.registry import Bench
from tests.fakes.waiting import WITHIN_S, until, wait_until

SOON_S = 0.2
NEVER_S = 3600.0
BEGUN = b"POST /v1/agents/did:web:a.example/badge/challenge HTTP/1.1\r\nHost: a\r\n"
HALF = BEGUN + b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"


class Node:
    """A node that serves, and a stream of it that goes on when told to."""

    def __init__(self, bench: Bench) -> None:
        self.goes_on = False
        self.app = build(bench.node, [self._route()])
        self.listener = listen(bench.node.config)
        self.address = self.listener.getsockname()
        self.server = Server(self.app, bench.node.config, self.listener)

    def _route(self) -> HTTPRouteHandler:
        async def said() -> AsyncIterator[bytes]:
            yield b"one\n"
            await until(lambda: self.goes_on, WITHIN_S)
            yield b"two\n"

        @get("/stream", opt=PUBLIC)
        async def stream() -> Stream:
            return Stream(said())

        return stream

    def get(self, path: str) -> int:
        """Return the status of an answer."""
        host, port = self.address
        return httpx2.get(f"http://{host}:{port}{path}", timeout=WITHIN_S).status_code


@contextmanager
def serving(folder: Path) -> Iterator[Node]:
    """Give a node that serves."""
    bench = Bench(folder, port=0)
    with bench.fabric:
        node = Node(bench)
        with node.server:
            wait_until(lambda: node.server.started)
            yield node
    bench.node.close()


def connect(node: Node, said: bytes) -> socket.socket:
    """Say something, and no more."""
    client = socket.create_connection(node.address, timeout=WITHIN_S)
    client.sendall(said)
    return client


def ended(client: socket.socket) -> bool:
    """Whether the other end has closed it, unanswered."""
    return bool(select.select([client], [], [], 0)[0]) and client.recv(1) == b""


@pytest.mark.parametrize("said", [b"", b"POST", BEGUN, HALF], ids=["none", "line", "head", "body"])
def test_half_a_request_is_waited_for_until_its_deadline_and_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    """The negative control beside it: without a deadline the same client stays."""
    monkeypatch.setattr(patience, "READ_WITHIN_S", NEVER_S)
    with serving(tmp_path) as node, connect(node, said) as patiently:
        assert node.get("/healthz") == 200  # its deadline is set
        monkeypatch.setattr(patience, "READ_WITHIN_S", SOON_S)
        with connect(node, said) as client:
            wait_until(lambda: ended(client), WITHIN_S)
        assert not ended(patiently)


def test_no_further_byte_puts_the_deadline_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A body that comes byte by byte for ever ends as well."""
    monkeypatch.setattr(patience, "READ_WITHIN_S", SOON_S)

    def drip(client: socket.socket) -> bool:
        try:
            client.send(b" ")
        except OSError:
            return True
        return ended(client)

    with serving(tmp_path) as node, connect(node, HALF) as client:
        wait_until(lambda: drip(client), WITHIN_S)


def test_a_stream_outlives_the_deadline_of_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its request was whole at its beginning: what comes later is the answer's own matter."""
    monkeypatch.setattr(patience, "READ_WITHIN_S", SOON_S)
    with serving(tmp_path) as node:
        url = "http://{}:{}/stream".format(*node.address)
        with httpx2.stream("GET", url, timeout=WITHIN_S) as answer:
            parts = answer.iter_lines()
            assert next(parts) == "one"
            with connect(node, HALF) as later:
                wait_until(lambda: ended(later), WITHIN_S)
            node.goes_on = True
            assert next(parts) == "two"


def test_beyond_the_most_connections_a_request_is_refused_until_one_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that are told so first, then those that are closed unheard; and all is well again."""
    most = 4
    monkeypatch.setattr(patience, "MAX_CONNECTIONS", most)
    monkeypatch.setattr(patience, "REFUSED_AT_ONCE", 2)
    with serving(tmp_path) as node:
        assert node.get("/healthz") == 200
        with ExitStack() as open_ones:
            held = [open_ones.enter_context(connect(node, BEGUN)) for _ in range(most)]
            wait_until(lambda: node.get("/healthz") == 503, WITHIN_S)
            held += [open_ones.enter_context(connect(node, BEGUN)) for _ in range(4)]
            wait_until(lambda: sum(map(lost, held)) == 2, WITHIN_S)
        wait_until(lambda: node.get("/healthz") == 200, WITHIN_S)


def lost(client: socket.socket) -> bool:
    """Whether the other end has dropped it."""
    try:
        return ended(client)
    except OSError:
        return True
