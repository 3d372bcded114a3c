"""The audit of routes: what it lists is what is served, and an open route is found."""

import re
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
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Host, Mount, Route, WebSocketRoute
from starlette.testclient import TestClient
from werkzeug.middleware.proxy_fix import ProxyFix

import rescind
from rescind import routes
from rescind.testing import Fabric, assert_guarded
from rescind_guard import Guard
from rescind_guard.integrations import fastmcp, mcp
from rescind_guard.integrations.asgi import GuardASGI
from rescind_guard.integrations.errors import CannotGuard
from rescind_guard.integrations.wsgi import GuardWSGI
from rescind_guard.rules import Rules
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


class Cache:
    """Middleware that answers by itself."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer what was answered before."""
        await PlainTextResponse("cached")(scope, receive, send)


@rescind.exempt("it adds a header to what comes back")
class Timing(Cache):
    """Middleware that a guard need not stand before."""


class Old(Cache):
    """The same in WSGI."""

    def __call__(self, environ: Any, start: Any) -> Any:  # type: ignore[override]
        """Answer."""
        return self.app(environ, start)


def late_starlette(guard: Guard, layer: Any) -> Any:
    """Add middleware after the guard, which puts it outside."""
    app = Starlette(routes=[Route("/a", answer)])
    app.add_middleware(GuardASGI, guard=guard)
    app.add_middleware(CORSMiddleware, allow_origins=["https://ui.example"])
    app.add_middleware(layer)
    return app


def late_fastapi(guard: Guard, layer: Any) -> Any:
    """Wrap the whole."""
    app = FastAPI()
    app.get("/a")(answer)
    return layer(GuardASGI(app, guard))


def late_litestar(guard: Guard, layer: Any) -> Any:
    """Wrap what it calls."""
    app: Any = Litestar([get("/a")(_hello)])
    app.asgi_handler = layer(GuardASGI(app.asgi_handler, guard))
    return app


def late_flask(guard: Guard, layer: Any) -> Any:
    """Wrap what it calls, behind a proxy's prefix."""
    app: Any = Flask("x")
    app.get("/a")(lambda: "x")
    app.wsgi_app = ProxyFix((Old if layer is Cache else layer)(GuardWSGI(app.wsgi_app, guard)))
    return app


@pytest.mark.parametrize("make", [late_starlette, late_fastapi, late_litestar, late_flask])
def test_the_guard_is_outermost(make: Any, guard: Guard) -> None:
    """Middleware outside it may answer without a badge: it is named, unless it only passes on."""
    with pytest.raises(AssertionError, match=r"middleware .*(Cache|Old) stands outside the guard"):
        assert_guarded(make(guard, Cache))
    assert spoken(assert_guarded(make(guard, Timing)))[f"middleware {__name__}.Timing"]
    inside = Starlette(
        routes=[Route("/a", answer)],
        middleware=[Middleware(GuardASGI, guard=guard), Middleware(Cache)],
    )
    assert spoken(assert_guarded(inside)) == {"GET /a": "guarded"}


def test_a_function_as_middleware_is_named(guard: Guard) -> None:
    """FastAPI's decorator puts it outside whatever was added before."""
    app = FastAPI()
    app.get("/a")(answer)
    app.add_middleware(GuardASGI, guard=guard)

    @app.middleware("http")
    async def from_cache(_: Any, __: Any) -> PlainTextResponse:
        return PlainTextResponse("cached")

    assert TestClient(app).get("/a").text == "cached", "the guard was not asked"
    with pytest.raises(AssertionError, match="from_cache stands outside the guard"):
        assert_guarded(app)


def test_a_guarded_part_does_not_guard_its_parent(guard: Guard) -> None:
    """The tools of a guarded fastmcp server, mounted in one without guard, are open there."""
    child, parent = FastMCP("child"), FastMCP("parent")
    child.tool(name="refund")(_hello)
    fastmcp.install(child, guard)
    parent.mount(child, namespace="c")
    assert_guarded(child)
    with pytest.raises(AssertionError, match="tool c_refund"):
        assert_guarded(parent)


def ruled(*denied: str, exempt: Any = None, **rules: Any) -> Any:
    """A guarded application, some of whose rules are misspelt."""
    app = Starlette(
        routes=[
            Route("/orders/{number:int}", answer, methods=["GET", "DELETE"]),
            Mount("/in", app=Starlette(routes=[Route("/b/", answer)])),
            Mount("/files", app=Cache(None)),
        ]
    )
    with Fabric() as fabric:
        guard = fabric.guard(policy=Rules(denied=denied, **rules))
        app.add_middleware(GuardASGI, guard=guard, exempt=routes.exemptions(app, exempt))
    return app


def test_a_rule_that_matches_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """At the start, in the test of a service, and by the audit: it protects nothing."""
    fine = ("DELETE /orders/*", "GET /orders/[0-9]", "* /in/b", "GET /files/x", "* /orders/7")
    assert routes.complaints(ruled(*fine, levels={"GET /in/b/": 3})) == []
    for bad in ("delete /orders/*", "GET /order/7", "POST /orders/*", "GET /api/in/b"):
        app = ruled(*fine, bad)
        with pytest.warns(UserWarning, match=re.escape(f"tools_denied: {bad!r} matches no route")):
            assert_guarded(app)
        caplog.clear()
        with TestClient(ruled(*fine, bad)):
            assert f"tools_denied: {bad!r} matches no route" in caplog.text
    said = routes.complaints(ruled(allowed=["GET /nothing"], levels={"GET /none": 2}))
    assert [each.partition(":")[0] for each in said] == ["tools_allowed", "tool_levels"]
    said = routes.complaints(ruled(exempt={"GET /helthz": "a probe"}))
    assert said == ["exempt: 'GET /helthz' matches no route"]


@pytest.mark.parametrize("kind", [MCPServer, FastMCP])
def test_a_rule_that_matches_no_tool_is_said(kind: Any) -> None:
    """Of an MCP server by the audit: its tools may come and go."""
    server = kind("orders")
    server.tool(name="orders.refund")(_hello)
    with Fabric() as fabric:
        guard = fabric.guard(policy=Rules(denied=["*.refund", "*.delete"]))
        (mcp.install if kind is MCPServer else fastmcp.install)(server, guard)
    assert routes.complaints(server) == ["tools_denied: '*.delete' matches no route or tool"]


def two_hosts() -> list[Any]:
    """A path that is exempt on one host and private on another; and one that is shadowed."""

    @rescind.exempt("a public page")
    async def public(_: Any) -> PlainTextResponse:
        return PlainTextResponse("public")

    part = Starlette(routes=[Route("/x", answer)])
    hosts = Starlette(routes=[Host("admin.example", app=part), Route("/x", public)])
    shadowed = Starlette(routes=[Route("/{name}", answer), Route("/x", public)])
    twice = Starlette(routes=[Route("/x", answer), Route("/x", public)])
    below = Starlette(routes=[Mount("/", app=Cache(None)), Route("/x", public)])
    return [hosts, shadowed, twice, below]


@pytest.mark.parametrize("index", range(4))
def test_an_exemption_holds_for_no_other_handler(
    index: int, guard: Guard, caplog: pytest.LogCaptureFixture
) -> None:
    """Where one that is not marked may answer the same request a badge is needed, which is said."""
    app = two_hosts()[index]
    app.add_middleware(GuardASGI, guard=guard, exempt=routes.exemptions(app, None))
    client = TestClient(app)
    for host in ("admin.example", "testserver"):
        assert client.get("/x", headers={"Host": host}).status_code == 401
    assert "GET /x is marked exempt and needs a badge all the same" in caplog.text


def test_an_exemption_after_routes_that_cannot_match_it_holds(guard: Guard) -> None:
    """A parameter of another kind, another method, a longer path."""

    @rescind.exempt("a probe")
    async def health(_: Any) -> PlainTextResponse:
        return PlainTextResponse("up")

    app = Starlette(
        routes=[
            Route("/{number:int}", answer),
            Route("/{name}", answer, methods=["POST"]),
            Route("/{name}/x", answer),
            Mount("/in", app=Cache(None)),
            Route("/healthz", health),
            Route("/{name}", answer),
        ]
    )
    app.add_middleware(GuardASGI, guard=guard, exempt=routes.exemptions(app, None))
    client = TestClient(app)
    assert client.get("/healthz").text == "up"
    assert client.post("/healthz").status_code == 401


def test_flask_on_two_hosts(guard: Guard) -> None:
    """A mark on one host opens the path on no other, and the caller names the host."""
    app: Any = Flask("x", host_matching=True, static_host="static.example")
    app.get("/x", host="public.example", endpoint="a")(rescind.exempt("public")(lambda: "public"))
    app.get("/x", host="admin.example", endpoint="b")(lambda: "private")
    app.wsgi_app = GuardWSGI(app.wsgi_app, guard, exempt=routes.exemptions(app, None))
    for host in ("public.example", "admin.example"):
        assert app.test_client().get("/x", headers={"Host": host}).status_code == 401
    assert any("holds for one host" in each for each in routes.complaints(app))


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
