"""A node that serves bundles on a real socket: real hub, real reconcile step, real HTTP."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import uvicorn
from litestar import Litestar
from litestar.types import ASGIApp

from rescind_registry.bundle.bundles import Bundles
from rescind_registry.bundle.routes import routes
from rescind_registry.bundle.signed import Author
from rescind_registry.bundle.signing import BundleSigner
from rescind_subscriber.capture import Captured
from rescind_subscriber.memory import positions_of
from tests.fakes.clock import FakeClock
from tests.fakes.fabric import FABRIC, NOW, PUBLISHER, Log
from tests.fakes.feeds import Node, noded
from tests.fakes.waiting import WITHIN_S, until

PATH = f"/v1/bundles/{FABRIC}"
AUTHOR = Author(PUBLISHER, "soc", FABRIC, lambda: NOW)


class BundleNode:
    """One node; `fresh` can be taken away."""

    def __init__(
        self, node: Node, *, signer: BundleSigner | None = None, author: Author | None = AUTHOR
    ) -> None:
        self.node, self.fresh = node, True
        self.bundles = Bundles(FABRIC, node.hub, self, signer=signer, author=author)
        self.url = ""

    def capture(self, *, proven: bool = True) -> Captured | None:
        """Return what the node follows."""
        if proven and not self.fresh:
            return None
        replica = self.node.at.replica
        return Captured(positions_of(replica), replica.table, {}, self.node.at.joined.read_by)

    async def say(self, *raws: bytes) -> None:
        """Let events be heard, and wait for the bundle to have them."""
        before = self.bundles.document.revision
        self.node.say(*raws)
        await until(lambda: self.bundles.document.revision != before)
        await self.settled()

    async def head(self, *logs: Log) -> bytes:
        """Let the head of these logs be heard, and wait for the hub to have it."""
        raw = self.node.head(*logs)
        await until(lambda: raw in {each for _, each in self.node.hub.heads.values()})
        return raw

    @property
    def clock(self) -> FakeClock:
        """The node's clock."""
        clock = self.node.at._clock
        assert isinstance(clock, FakeClock)
        return clock

    async def settled(self) -> None:
        """Return when the revision is that of all that was said."""
        await until(lambda: self.bundles.document.revision in self.bundles._marks)
        await until(lambda: not self.node.hub.behind)


@asynccontextmanager
async def bundled(
    *, signer: BundleSigner | None = None, author: Author | None = AUTHOR, window: int = 1000
) -> AsyncIterator[BundleNode]:
    """Give a node that serves on the loopback."""
    async with noded(window=window) as node:
        at = BundleNode(node, signer=signer, author=author)
        await at.bundles.open()
        app = Litestar(routes(FABRIC, at.bundles), logging_config=None)
        try:
            await until(lambda: at.bundles._ready)
            async with serving(app) as at.url:
                yield at
        finally:
            await at.bundles.close()


@asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[str]:
    """Serve an application on this loop; give its origin."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await until(lambda: server.started or task.done())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
        listener.close()


@asynccontextmanager
async def client_of(node: BundleNode) -> AsyncIterator[httpx2.AsyncClient]:
    """Give an HTTP client of a node."""
    async with httpx2.AsyncClient(base_url=node.url, trust_env=False, timeout=WITHIN_S) as client:
        yield client
