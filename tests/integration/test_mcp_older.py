"""MCP's older transport (HTTP+SSE) behind a guard: its stream ends with a badge of its session."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from fastmcp import FastMCP
from mcp.server.mcpserver import MCPServer
from mcp.server.sse import SseServerTransport
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from rescind.testing import Fabric
from rescind_guard import Guard
from rescind_guard.integrations import fastmcp as guarding_fastmcp
from rescind_guard.integrations import mcp as guarding
from tests.fakes.places import serving

SECRET = "order 7: 300 widgets"
WITHIN_S = 30


def of_mcp(guard: Guard) -> Any:
    """Return the application of a server of `mcp`."""
    server = MCPServer("orders")
    server.tool(name="total")(lambda: SECRET)
    guarding.install(server, guard)
    return server.sse_app()


def of_fastmcp(guard: Guard) -> Any:
    """Return that of a server of `fastmcp`."""
    server = FastMCP("orders")
    server.tool(name="total")(lambda: SECRET)
    guarding_fastmcp.install(server, guard)
    return server.http_app(transport="sse")


def by_hand(guard: Guard) -> Any:
    """Return one that nobody could have put a guard of streams into."""
    server = MCPServer("orders")
    server.tool(name="total")(lambda: SECRET)
    guarding.install(server, guard)
    under, transport = server._lowlevel_server, SseServerTransport("/messages/")

    async def open_stream(request: Request) -> Response:
        send = request._send
        async with transport.connect_sse(request.scope, request.receive, send) as (read, write):
            await under.run(read, write, under.create_initialization_options())
        return Response()

    posted = Mount("/messages/", app=transport.handle_post_message)
    return Starlette(routes=[Route("/sse", open_stream), posted])


class Raw:
    """A client of one session."""

    def __init__(self, http: httpx2.AsyncClient, lines: AsyncIterator[str]) -> None:
        self._http, self._lines = http, lines
        self._to = ""

    async def said(self) -> str | None:
        """Return the data of the next event, None once the stream has ended."""
        async for line in self._lines:
            if line.startswith("data: "):
                return line.removeprefix("data: ")
        return None

    async def begin(self) -> None:
        """Take the address, and shake hands without a badge."""
        self._to = await self.said() or ""
        params = {"protocolVersion": "2024-11-05", "capabilities": {}}
        await self.post("initialize", {**params, "clientInfo": {"name": "raw", "version": "0"}})

    async def post(self, method: str, params: dict[str, Any], badge: str | None = None) -> int:
        """Post a request; return the status."""
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        headers = {"X-Capiscio-Badge": badge} if badge else {}
        return (await self._http.post(self._to, json=message, headers=headers)).status_code

    async def notify(self) -> None:
        """Say that the handshake is done."""
        message = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        await self._http.post(self._to, json=message)


@asynccontextmanager
async def session(url: str, badge: str | None = None) -> AsyncIterator[Raw]:
    """Open the stream."""
    headers = {"X-Capiscio-Badge": badge} if badge else {}
    async with (
        httpx2.AsyncClient(base_url=url, timeout=WITHIN_S) as http,
        http.stream("GET", "/sse", headers=headers) as answer,
    ):
        assert answer.status_code == 200
        yield Raw(http, answer.aiter_lines())


@pytest.mark.parametrize("make", [of_mcp, of_fastmcp])
async def test_the_stream_of_a_session_ends_with_a_badge_of_it(
    make: Callable[[Guard], Any],
) -> None:
    """What was answered was heard; after the kill nothing is, and nothing is taken."""
    with Fabric() as fabric, serving(make(fabric.guard())) as url:
        badge, other = fabric.badge("did:web:a.example:x7"), fabric.badge("did:web:a.example:x8")
        async with session(url) as raw, session(url) as living:
            for each, whose in ((raw, badge), (living, other)):
                await each.begin()
                await each.said()
                await each.notify()
                call = {"name": "total", "arguments": {}}
                assert await each.post("tools/call", call, whose.token) == 202
                assert SECRET in str(await each.said())
            fabric.kill(badge)
            assert await raw.said() is None
            assert await raw.post("tools/list", {}, other.token) in (401, 404)
            assert await living.post("tools/call", call, other.token) == 202
            assert SECRET in str(await living.said())


@pytest.mark.parametrize("make", [of_mcp, of_fastmcp])
async def test_a_killed_badge_opens_no_stream(make: Callable[[Guard], Any]) -> None:
    """Without a badge one is opened, as the lists need none; with a killed one not."""
    with Fabric() as fabric, serving(make(fabric.guard())) as url:
        badge = fabric.badge()
        fabric.kill(badge)
        headers = {"X-Capiscio-Badge": badge.token}
        async with httpx2.AsyncClient(base_url=url, timeout=WITHIN_S) as http:
            assert (await http.get("/sse", headers=headers)).status_code == 401


async def test_a_transport_put_together_by_hand_is_refused_in_words() -> None:
    """Nobody could end its stream, so no message is taken, the handshake included."""
    with Fabric() as fabric, serving(by_hand(fabric.guard())) as url:
        async with session(url) as raw:
            await raw.begin()
            error = json.loads(str(await raw.said()))["error"]
            assert error["data"]["code"] == "TOOL_POLICY_DENIED"
            assert "by hand" in error["message"]
