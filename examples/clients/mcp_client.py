"""An agent that calls a guarded MCP server, over HTTP or over stdio, with a badge at each call.

    python examples/clients/mcp_client.py http://127.0.0.1:8000/mcp
    python examples/clients/mcp_client.py python examples/mcp_orders.py --stdio

Where the badge comes from is in `badges.py`. Needs `rescind[mcp]`.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from badges import badges
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

import rescind

Badge = Callable[[], str]
Call = Callable[[str, dict[str, Any]], Awaitable[Any]]


class BadgeAuth(httpx2.Auth):
    """Sets the header at each request, for a connection outlives many badges."""

    def __init__(self, badge: Badge) -> None:
        self.badge = badge

    def auth_flow(
        self, request: httpx2.Request
    ) -> Generator[httpx2.Request, httpx2.Response, None]:
        """Send one request, with the badge of this moment."""
        request.headers["X-Capiscio-Badge"] = self.badge()
        yield request


@asynccontextmanager
async def over_http(url: str, badge: Badge) -> AsyncIterator[Call]:
    """Connect to a server that listens: the badge travels in a header."""
    async with (
        httpx2.AsyncClient(auth=BadgeAuth(badge), timeout=30) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        yield client.call_tool


@asynccontextmanager
async def over_stdio(command: list[str], badge: Badge) -> AsyncIterator[Call]:
    """Start a server: there are no headers, and the badge travels in `_meta` of each call."""
    # The SDK hands only some variables on; the guard finds its settings by RESCIND_HOME.
    env = {name: said for name, said in os.environ.items() if name.startswith("RESCIND_")}
    server = StdioServerParameters(command=command[0], args=command[1:], env=env)
    async with Client(server) as client:

        async def call(tool: str, arguments: dict[str, Any]) -> Any:
            meta: Any = {"capiscio_caller_badge": badge()}
            return await client.call_tool(tool, arguments, meta=meta)

        yield call


async def ask(call: Call, number: str) -> str:
    """Ask for an order; while the guard cannot tell, ask again when it says."""
    while True:
        try:
            result = await call("order_status", {"number": number})
        except MCPError as error:
            if "retry_after_s" not in (error.data or {}):
                raise
            await asyncio.sleep(error.data["retry_after_s"])
        else:
            return str(result.content[0].text)


async def main(where: list[str]) -> None:
    """Ask for order 7, at a URL or from the server that a command starts."""
    is_url = where[0].startswith(("http://", "https://"))
    try:
        with badges() as badge:
            connected = over_http(where[0], badge) if is_url else over_stdio(where, badge)
            async with connected as call:
                print(await ask(call, "7"))
    # A killed badge is refused at the connection already, and the SDK reports that in groups.
    except* (MCPError, rescind.RescindError) as group:
        print(f"refused: {words(group)}")


def words(error: BaseException) -> str:
    """Return what a guard said, or the registry that gives no badge any more."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{error.code} {error.data} {error}" if isinstance(error, MCPError) else str(error)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
