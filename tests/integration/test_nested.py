"""A guard behind a guard: the inner one checks what the outer one took out, and both bind."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import fastmcp
import httpx2
import pytest
from fastapi import FastAPI
from flask import Flask
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.server.mcpserver import MCPServer
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from rescind.testing import Fabric
from rescind_guard import Guard
from rescind_guard.integrations import fastmcp as guarding_fastmcp
from rescind_guard.integrations import mcp as guarding_mcp
from rescind_guard.integrations import proven
from rescind_guard.integrations.asgi import GuardASGI
from rescind_guard.integrations.wsgi import GuardWSGI
from rescind_guard.rules import Rules
from tests.fakes import asking
from tests.fakes.places import serving

SECRET = "300 widgets"


@pytest.fixture
def fabric() -> Iterator[Fabric]:
    """A fabric in memory."""
    with Fabric() as fabric:
        yield fabric


async def order(_: Any) -> PlainTextResponse:
    """A handler."""
    return PlainTextResponse(SECRET)


def asgi(outer: Guard, inner: Guard) -> Any:
    """A guarded application of Starlette, mounted in another."""
    part = Starlette(routes=[Route("/order", order)])
    part.add_middleware(GuardASGI, guard=inner)
    whole = Starlette(routes=[Mount("/part", app=part)])
    whole.add_middleware(GuardASGI, guard=outer)
    return whole


def wsgi(outer: Guard, inner: Guard) -> Any:
    """A guarded application of Flask, behind another guard."""
    app = Flask("part")
    app.get("/part/order")(lambda: SECRET)
    return GuardWSGI(GuardWSGI(app, inner), outer)


@pytest.mark.parametrize(("make", "ask"), [(asgi, asking.asgi), (wsgi, asking.wsgi)])
async def test_both_guards_bind(make: Any, ask: Any, fabric: Fabric) -> None:
    """Each by its own rules, wherever the badge came; neither without one that is alive."""
    app = make(fabric.guard(), fabric.guard())
    badge, killed = fabric.badge(), fabric.badge()
    for headers in (
        {"X-Capiscio-Badge": badge.token},
        {"Authorization": f"Bearer {badge.token}"},
    ):
        assert (await ask(app, "GET", "/part/order", headers=headers)).text == SECRET
    missing = await ask(app, "GET", "/part/order")
    assert (missing.status, "TOOL_AUTH_MISSING" in missing.text) == (401, True)
    fabric.kill(killed)
    sent = {"X-Capiscio-Badge": killed.token}
    assert (await ask(app, "GET", "/part/order", headers=sent)).status == 401
    levels = {"* */order": 3}
    sent = {"X-Capiscio-Badge": badge.token}
    for outer, inner in (({}, levels), (levels, {})):
        strict = make(
            fabric.guard(policy=Rules(levels=outer)), fabric.guard(policy=Rules(levels=inner))
        )
        assert (await ask(strict, "GET", "/part/order", headers=sent)).status == 403


async def test_an_inner_guard_knows_kills_that_the_outer_does_not(fabric: Fabric) -> None:
    """Each has its own view."""
    late, current = fabric.follower(), fabric.follower()
    app = asgi(fabric.guard(late), fabric.guard(current))
    badge = fabric.badge()
    fabric.cut(late)
    fabric.kill(badge)
    sent = {"X-Capiscio-Badge": badge.token}
    answer = await asking.asgi(app, "GET", "/part/order", headers=sent)
    assert (answer.status, "BADGE_REVOKED" in answer.text) == (401, True)


async def test_one_guard_decides_one_question_once(fabric: Fabric) -> None:
    """The same guard twice is one decision in the log; what is exempt outside is not inside."""
    decided: list[Any] = []
    guard = fabric.guard(recorder=lambda *said: decided.append(said))
    badge = {"X-Capiscio-Badge": fabric.badge().token}
    inner = GuardASGI(Starlette(routes=[Route("/order", order)]), guard)
    assert (
        await asking.asgi(GuardASGI(inner, guard), "GET", "/order", headers=badge)
    ).status == 200
    assert len(decided) == 1
    opened = GuardASGI(inner, guard, exempt={"/order": "public outside"})
    assert (await asking.asgi(opened, "GET", "/order")).status == 401
    assert (await asking.asgi(opened, "GET", "/order", headers=badge)).text == SECRET


async def test_nobody_outside_can_say_that_a_badge_was_proven(fabric: Fabric) -> None:
    """A request has headers and text, and what the inner guard takes is neither."""
    forged = {"rescind.proven": "yes", "X-Rescind-Proven": "yes", "rescind_proven": "yes"}
    app = asgi(fabric.guard(), fabric.guard())
    assert (await asking.asgi(app, "GET", "/part/order", headers=forged)).status == 401
    assert proven.of({proven.KEY: {"x-capiscio-badge": fabric.badge().token}}) is None
    assert proven.of({"asgi.scope": {proven.KEY: "yes"}}) is None


async def test_a_bridge_hands_it_on(fabric: Fabric) -> None:
    """A WSGI application in one of ASGI by a2wsgi, which keeps the scope in the environment."""
    badge = fabric.badge().token
    left = proven.Proven(
        fabric.guard(),
        [("x-capiscio-badge", badge)],
        bearer="badge",
        asked=("GET /part/order",),
        exempt=False,
    )
    assert badge not in repr(left)
    assert proven.headers({"asgi.scope": {proven.KEY: left}}) == (("x-capiscio-badge", badge),)


def of_mcp(outer: Guard, inner: Guard) -> Any:
    """A guarded MCP server in a guarded FastAPI."""
    server = MCPServer("orders")
    server.tool(name="total")(lambda: SECRET)
    server.tool(name="refund")(lambda: SECRET)
    guarding_mcp.install(server, inner)
    part = server.streamable_http_app()

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        async with server.session_manager.run():
            yield

    return _fastapi(part, lifespan, outer)


def of_fastmcp(outer: Guard, inner: Guard) -> Any:
    """The same with fastmcp."""
    server = fastmcp.FastMCP("orders")
    server.tool(name="total")(lambda: SECRET)
    server.tool(name="refund")(lambda: SECRET)
    guarding_fastmcp.install(server, inner)
    part = server.http_app()
    return _fastapi(part, part.lifespan, outer)


def _fastapi(part: Any, lifespan: Any, outer: Guard) -> Any:
    app = FastAPI(lifespan=lifespan)
    app.mount("/tools", part)
    app.add_middleware(GuardASGI, guard=outer)
    return app


@pytest.mark.parametrize("make", [of_mcp, of_fastmcp])
async def test_an_mcp_server_in_a_guarded_application(make: Any, fabric: Fabric) -> None:
    """The tools are judged by the inner guard, the path by the outer one, with one badge."""
    app = make(fabric.guard(), fabric.guard(policy=Rules(denied=["refund"])))
    headers = {"X-Capiscio-Badge": fabric.badge().token}
    with serving(app) as url:
        async with httpx2.AsyncClient(headers=headers) as http:
            transport = streamable_http_client(f"{url}/tools/mcp", http_client=http)
            async with Client(transport, cache=None) as client:
                total = await client.call_tool("total", {})
                assert SECRET in str(total)
                with pytest.raises(MCPError, match="'refund' is not allowed"):
                    await client.call_tool("refund", {})


async def test_a_tool_that_is_called_by_another_is_judged_by_its_own_name(fabric: Fabric) -> None:
    """A tool that calls what it is told to call opens nothing that is denied."""
    server = fastmcp.FastMCP("orders")
    server.tool(name="refund")(lambda: SECRET)

    @server.tool(name="call")
    async def call(name: str) -> str:
        return str(await server.call_tool(name, {}))

    guarding_fastmcp.install(server, fabric.guard(policy=Rules(denied=["refund"])))
    meta = {"capiscio_caller_badge": fabric.badge().token}
    async with fastmcp.Client(server) as client:
        with pytest.raises(Exception, match="refund"):
            await client.call_tool("call", {"name": "refund"}, meta=meta)
    with pytest.raises(MCPError, match="no badge"):
        await server.call_tool("refund", {})


def parent_and_child(parent: Guard | None, child: Guard) -> fastmcp.FastMCP:
    """A guarded server that is mounted in another, with a guard or without."""
    inner, outer = fastmcp.FastMCP("child"), fastmcp.FastMCP("parent")
    inner.tool(name="total")(lambda: SECRET)
    inner.tool(name="refund")(lambda: SECRET)
    inner.resource("orders://7")(lambda: SECRET)
    inner.prompt(name="summary")(lambda: SECRET)
    guarding_fastmcp.install(inner, child)
    outer.mount(inner, namespace="c")
    if parent is not None:
        guarding_fastmcp.install(outer, parent)
    return outer


async def _answers(server: Any, badge: str | None) -> list[str]:
    """Return what can be had of a parent: its child's tools, resource and prompt."""
    meta = {"capiscio_caller_badge": badge} if badge else None
    got = []
    async with fastmcp.Client(server) as client:
        asks: list[tuple[str, Any]] = [
            ("total", lambda: client.call_tool("c_total", {}, meta=meta)),
            ("refund", lambda: client.call_tool("c_refund", {}, meta=meta)),
            ("resource", lambda: client.read_resource("orders://c/7", meta=meta)),
            ("prompt", lambda: client.get_prompt("c_summary", {}, meta=meta)),
        ]
        for name, ask in asks:
            with suppress(Exception):
                got += [name] if SECRET in str(await ask()) else []
    return got


@pytest.mark.parametrize("guarded", [True, False])
async def test_a_guarded_server_mounted_in_another(guarded: bool, fabric: Fabric) -> None:  # noqa: FBT001
    """Its guard binds whether or not the parent has one: by its own names, to the same badge."""
    rules = Rules(denied=["refund"])
    server = parent_and_child(fabric.guard() if guarded else None, fabric.guard(policy=rules))
    badge = fabric.badge()
    assert await _answers(server, None) == []
    assert await _answers(server, badge.token) == ["total", "resource", "prompt"]
    if guarded:
        strict = parent_and_child(fabric.guard(policy=Rules(denied=["c_total"])), fabric.guard())
        assert await _answers(strict, badge.token) == ["refund", "resource", "prompt"]
    fabric.kill(badge)
    assert await _answers(server, badge.token) == []
