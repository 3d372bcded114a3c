"""A hub that follows scripted logs through the real reconcile step, and what it serves."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from litestar import Litestar
from litestar.types import ControllerRouterHandler

from rescind_guard.view import View
from rescind_protocol.events import digest_of
from rescind_registry.feeds.cursor import Position, decode, tag_of
from rescind_registry.feeds.hub import Hub
from rescind_registry.feeds.reader import Reader
from rescind_registry.feeds.store import EventStore
from rescind_registry.feeds.window import Window
from rescind_subscriber.reconcile import Reconciler
from tests.fakes.clock import FakeClock
from tests.fakes.fabric import FABRIC, NOW, Log, head_of, make_trust, sign_head
from tests.fakes.waiting import until


class Node:
    """A hub and the step that feeds it; `say` is what a source would bring."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        view = View()
        view.claim()
        self.at = Reconciler(make_trust(), view, FakeClock())
        self.at.relay = hub
        self._heads = 0

    def say(self, *raws: bytes) -> None:
        """Let events be heard live."""
        for raw in raws:
            self.at.event(raw)

    def head(self, *logs: Log) -> bytes:
        """Let the head of these logs be heard; return it."""
        self._heads += 1
        raw = sign_head(head_of(*logs, time_s=NOW + self._heads / 1000), key=logs[0].key)
        self.at.head(raw)
        return raw

    async def settled(self) -> None:
        """Return when the hub has taken everything in and has written it."""
        await until(lambda: not (self.hub._inbox or self.hub._unwritten))


@asynccontextmanager
async def noded(
    folder: Path | None = None,
    *,
    window: int = 1000,
    max_events: int = 100_000,
) -> AsyncIterator[Node]:
    """Give a node whose hub is open."""
    store = EventStore(folder / "events.db", FABRIC, max_events=max_events) if folder else None
    hub = Hub(store, window=Window(window))
    node = Node(hub)
    node.at.publish_replica()
    await hub.open()
    try:
        yield node
    finally:
        await hub.close()


class Served:
    """A real server of these routes on the test's own loop; may be stopped and started again."""

    def __init__(self, routes: Sequence[ControllerRouterHandler], *, unread_ms: int = 0) -> None:
        self._routes, self._unread_ms = routes, unread_ms
        self.port = 0
        self.server: uvicorn.Server | None = None
        self._task: asyncio.Task[None] | None = None

    def _listener_open(self) -> bool:
        return any(each.is_serving() for each in getattr(self.server, "servers", ()))

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self.server.server_state.connections) if self.server is not None else 0

    @property
    def url(self) -> str:
        """Its origin."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listen, at the same port as before."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self._unread_ms:
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, self._unread_ms)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(2048)
        self.port = listener.getsockname()[1]
        app = Litestar(list(self._routes), openapi_config=None, logging_config=None)
        config = uvicorn.Config(
            app, lifespan="on", log_config=None, access_log=False, timeout_graceful_shutdown=1
        )
        self.server = uvicorn.Server(config)
        self._task = asyncio.create_task(self.server._serve([listener]))
        await until(lambda: self.server is not None and self.server.started)

    async def stop(self) -> None:
        """End, and end every connection."""
        if self.server is not None and self._task is not None:
            self.server.should_exit = True
            await until(lambda: not self._listener_open())
            for connection in list(self.server.server_state.connections):
                connection.transport.abort()
            await self._task
        self.server = self._task = None


@asynccontextmanager
async def served(*routes: ControllerRouterHandler, unread_ms: int = 0) -> AsyncIterator[Served]:
    """Give a running server."""
    server = Served(routes, unread_ms=unread_ms)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def position_of(*logs: Log) -> Position:
    """Return the position of who has all of these logs."""
    return Position({tag_of(log.id): len(log.raws) for log in logs if log.raws})


async def stored(hub: Hub, cursor: str | None) -> tuple[list[bytes], str]:
    """Return all that is stored behind a cursor, None: all there is; and the last cursor."""
    await until(lambda: not hub._inbox)
    reader = Reader(hub, decode(cursor or "v1"), partial=cursor is None)
    found, last = [], reader.cursor
    while (taken := await reader.stored()) is not None:
        for said in taken.events:
            found.append(said.raw)
            last = said.cursor
    return found, last


def digests(raws: Sequence[bytes]) -> list[bytes]:
    """Return what tells events apart, sorted: for comparison without an order."""
    return sorted(map(digest_of, raws))
