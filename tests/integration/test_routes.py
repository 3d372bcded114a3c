"""The audit of routes: what it lists is what is served, and an open route is found."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastmcp import FastMCP
from flask import Flask
from litestar import Litestar, get
from mcp.server.mcpserver import MCPServer
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient

import rescind
from rescind import routes
from rescind.testing import Fabric, assert_guarded
from rescind_guard import Guard
from rescind_guard.integrations import fastmcp, mcp
from rescind_guard.integrations.asgi import GuardASGI
from rescind_guard.integrations.errors import CannotGuard
from rescind_guard.integrations.wsgi import GuardWSGI
from tests.fakes.places import FRAMEWORKS, Steps


@pytest.fixture
def guard() -> Iterator[Guard]:
    """Any guard."""
    with Fabric() as fabric:
        yield fabric.guard()


async def answer(_: Any) -> PlainTextResponse:
    """A handler."""
    return PlainTextResponse("x")


def spoken(found: list[routes.Route]) -> dict[str, str]:
    """Return for each route whether it is open, exempt or guarded."""
    return {
        f"{each.method} {each.path}": "open" if each.open else each.exempt or "guarded"
        for each in found
    }


def test_a_view_that_takes_any_method_can_be_exempt(guard: Guard) -> None:
    """As Django's functions and Starlette's classes do: the audit and the guard say the same."""

    @rescind.exempt("a probe")
    class Health:
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await PlainTextResponse("up")(scope, receive, send)

    app = Starlette(routes=[Route("/healthz", Health()), Route("/a", answer)])
    app.add_middleware(GuardASGI, guard=guard, exempt=routes.exemptions(app, None))
    assert spoken(routes.of(app)) == {"* /healthz": "a probe", "GET /a": "guarded"}
    client = TestClient(app)
    assert client.put("/healthz").text == "up"
    assert client.get("/a").status_code == 401


@pytest.mark.parametrize("name", sorted(FRAMEWORKS))
def test_every_route_of_every_framework(name: str, guard: Guard) -> None:
    """The same service, guarded, has no open route."""
    found = spoken(routes.of(FRAMEWORKS[name](Steps(), guard)))
    assert found.get("GET /orders/7") == "guarded" or found == {"* /orders/7": "guarded"}
    assert "open" not in found.values()


def test_starlette_in_every_corner(guard: Guard) -> None:
    """Mounts, WebSockets, methods, a guard around a part only, an opaque application."""
    opaque: Callable[..., Any] = lambda *_: None  # noqa: E731
    inner = Starlette(routes=[Route("/a", answer)])
    guarded = Starlette(
        routes=[Route("/b", answer, methods=["GET", "PUT"])],
        middleware=[Middleware(GuardASGI, guard=guard)],
    )
    app = Starlette(
        routes=[
            Mount("/in", app=inner),
            Mount("/safe", app=guarded),
            Mount("/wrapped", app=GuardASGI(inner, guard)),
            Mount("/files", app=opaque),
            WebSocketRoute("/ws", answer),
            Route("/one", answer, middleware=[Middleware(GuardASGI, guard=guard)]),
        ]
    )
    assert spoken(routes.of(app)) == {
        "GET /in/a": "open",
        "GET /safe/b": "guarded",
        "PUT /safe/b": "guarded",
        "GET /wrapped/a": "guarded",
        "* /files/*": "open",
        "WEBSOCKET /ws": "open",
        "GET /one": "guarded",
    }
    app.add_middleware(GuardASGI, guard=guard)
    assert_guarded(app)


def bare() -> list[Any]:
    """One of each, with nothing in front."""
    web, flask, api = Starlette(routes=[Route("/x", answer)]), Flask("x"), FastAPI()
    flask.get("/x")(lambda: "x")
    api.get("/x")(answer)
    light = Litestar([get("/x")(_hello)])
    return [web, flask, api, light]


async def _hello() -> str:
    return "x"


@pytest.mark.parametrize("index", range(4))
def test_an_open_route_is_named(index: int) -> None:
    """Negative control: with no guard the check fails, and says which."""
    with pytest.raises(AssertionError, match="GET /x"):
        assert_guarded(bare()[index])


def test_an_exemption_has_its_reason(guard: Guard) -> None:
    """By decorator or by name; without a reason it is none."""

    @rescind.exempt("a probe")
    async def health(_: Any) -> PlainTextResponse:
        return PlainTextResponse("up")

    app = Starlette(routes=[Route("/healthz", health), Route("/x", answer), Route("/y", answer)])
    known = routes.exemptions(app, {"/x": "public by law"})
    app.add_middleware(GuardASGI, guard=guard, exempt=known)
    assert spoken(assert_guarded(app)) == {
        "GET /healthz": "a probe",
        "GET /x": "public by law",
        "GET /y": "guarded",
    }
    for bad in ("", "  "):
        with pytest.raises(CannotGuard, match="reason"):
            rescind.exempt(bad)
    with pytest.raises(CannotGuard, match="without parameters"):
        GuardWSGI(lambda *_: [], guard, exempt={"/orders/{number}": "all of them"})


@pytest.mark.parametrize(
    ("kind", "install"), [(MCPServer, mcp.install), (FastMCP, fastmcp.install)]
)
def test_tools_and_plain_routes_of_mcp_servers(kind: Any, install: Any, guard: Guard) -> None:
    """Tools, resources and prompts pass the middleware; a plain HTTP route beside them does not."""
    server = kind("orders")
    server.tool(name="order_status")(_hello)
    server.resource("orders://7")(_hello)
    server.prompt(name="summary")(_hello)
    before = {"tool order_status": "open", "resource orders://7": "open", "prompt summary": "open"}
    assert spoken(routes.of(server)) == before
    install(server, guard)
    assert set(spoken(assert_guarded(server)).values()) == {"guarded"}
    server.custom_route("/export", methods=["GET"])(answer)
    with pytest.raises(AssertionError, match="GET /export"):
        assert_guarded(server)


def test_what_is_not_known_is_said(guard: Guard) -> None:
    """Rather than an empty list, which would look like a clean one."""
    with pytest.raises(CannotGuard, match="are not known"):
        routes.of(GuardASGI(answer, guard))  # type: ignore[arg-type]
    with pytest.raises(AssertionError, match="no route"):
        assert_guarded(Starlette())
