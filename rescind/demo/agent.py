"""The agent of the demo, a process of its own: a real MCP client that works without a pause.

It calls a tool of every server in a loop, with its badge in the header, and reports each call. It
never stops by itself: what stops it is the guards.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import cycle

import httpx2
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

from rescind.demo import wire

BADGE_HEADER = "X-Capiscio-Badge"
PAUSE_S = 0.005
"""Between two calls: work, not a load test."""

Send = Callable[[wire.Report], None]


class Holder:
    """Holds the badge of the moment, and knows which one the call under way carries."""

    def __init__(self) -> None:
        self._badge = wire.Carry("", "")
        self._has_one = asyncio.Event()
        self._sent = ""

    def take(self, badge: wire.Carry) -> None:
        """Use this one from the next call on."""
        self._badge = badge
        self._has_one.set()

    async def choose(self) -> str:
        """Choose the badge of the next call, once there is one; return our name for it."""
        await self._has_one.wait()
        self._sent = self._badge.token
        return self._badge.badge

    async def attach(self, request: httpx2.Request) -> None:
        """Put the chosen badge into the header of a request."""
        request.headers[BADGE_HEADER] = self._sent


@asynccontextmanager
async def connected(url: str, holder: Holder) -> AsyncIterator[Client]:
    """Yield a client of one server, which sends the badge with every message."""
    async with (
        httpx2.AsyncClient(event_hooks={"request": [holder.attach]}) as http,
        Client(streamable_http_client(url, http_client=http), cache=None) as client,
    ):
        yield client


async def work(servers: dict[str, str], holder: Holder, send: Send) -> None:
    """Call one server after the other, for ever."""
    await holder.choose()
    async with AsyncExitStack() as open_clients:
        clients = {
            name: await open_clients.enter_async_context(connected(url, holder))
            for name, url in servers.items()
        }
        for name, client in cycle(clients.items()):
            badge = await holder.choose()
            started = time.monotonic()
            code = await call(client)
            send(wire.Called(name, badge, started, time.monotonic(), code))
            await asyncio.sleep(PAUSE_S)


async def call(client: Client) -> str:
    """Call the tool once; return `OK`, the guard's code, or what else went wrong."""
    try:
        result = await client.call_tool("order_status", {"number": "7"})
    except MCPError as refused:
        data = refused.data
        return str(data.get("code", refused.message)) if isinstance(data, dict) else refused.message
    return "TOOL_FAILED" if result.is_error else "OK"


async def agent(send: Send) -> None:
    """Do as the demo says until it is gone."""
    holder = Holder()
    send(wire.Ready())
    async with asyncio.TaskGroup() as tasks:
        working = []
        async for order in wire.orders_async():
            if isinstance(order, wire.Carry):
                holder.take(order)
            elif isinstance(order, wire.Visit):
                working.append(tasks.create_task(work(order.servers, holder, send)))
        for task in working:
            task.cancel()


if __name__ == "__main__":
    asyncio.run(agent(wire.open_reports()))
