"""A browser's preflight reaches the application's CORS layer, and nothing else."""

import types
from collections.abc import Iterator
from typing import Any

import pytest
from corsheaders.middleware import CorsMiddleware
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path as django_path
from fastapi import FastAPI
from flask import Blueprint, Flask
from flask_cors import CORS
from litestar import HttpMethod, Litestar, route
from litestar.config.cors import CORSConfig
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from rescind import guarding
from rescind.testing import Fabric
from rescind_guard import Guard
from rescind_guard.integrations.asgi import GuardASGI
from rescind_guard.integrations.wsgi import GuardWSGI
from tests.fakes import asking

UI, OTHER = "https://ui.example", "https://other.example"
PREFLIGHT = {"Origin": UI, "Access-Control-Request-Method": "GET"}
ALLOWED = "access-control-allow-origin"


class Ran:
    """Whether a handler ran."""

    def __init__(self) -> None:
        self.handlers: list[str] = []

    def order(self) -> str:
        """Answer GET and OPTIONS."""
        self.handlers.append("order")
        return "300 widgets"


def _put(kind: str, app: Any, guard: Guard) -> Any:
    guarding._PUTTERS[kind][1](app, guard, bearer="badge", exempt=None)
    return app


def starlette(ran: Ran, guard: Guard, *, cors: bool, last: bool = False) -> Any:
    """Starlette with CORS added before the guard, so that it stands inside; or `last`, outside."""

    async def order(_: Any) -> PlainTextResponse:
        return PlainTextResponse(ran.order())

    app = Starlette(routes=[Route("/order", order, methods=["GET", "OPTIONS"])])
    if cors and not last:
        app.add_middleware(CORSMiddleware, allow_origins=[UI])
    _put("starlette", app, guard)
    if last:
        app.add_middleware(CORSMiddleware, allow_origins=[UI])
    return app


def outside(ran: Ran, guard: Guard, *, cors: bool) -> Any:
    """Starlette with CORS added after the guard."""
    return starlette(ran, guard, cors=cors, last=cors)


def fastapi(ran: Ran, guard: Guard, *, cors: bool) -> Any:
    """FastAPI, wrapped from outside, with middleware of its own around CORS."""
    app = FastAPI()
    app.api_route("/order", methods=["GET", "OPTIONS"])(ran.order)
    if cors:
        app.add_middleware(CORSMiddleware, allow_origins=[UI])

    @app.middleware("http")
    async def counted(request: Any, call_next: Any) -> Any:
        ran.handlers.append("middleware")
        return await call_next(request)

    return GuardASGI(app, guard)


def litestar(ran: Ran, guard: Guard, *, cors: bool) -> Any:
    """Litestar, whose CORS is inside by its making."""

    @route("/order", http_method=[HttpMethod.GET, HttpMethod.OPTIONS], status_code=200)
    async def order() -> str:
        return ran.order()

    config = CORSConfig(allow_origins=[UI]) if cors else None
    return _put("litestar", Litestar([order], cors_config=config), guard)


def wrapped_litestar(ran: Ran, guard: Guard, *, cors: bool) -> Any:
    """Litestar, wrapped from outside."""
    app = litestar(ran, guard, cors=cors)
    app.asgi_handler = app.asgi_handler.app
    return GuardASGI(app, guard)


def flask(ran: Ran, guard: Guard, *, cors: bool) -> Any:
    """Flask with flask-cors."""
    app = Flask("x")
    app.add_url_rule("/order", "order", ran.order, methods=["GET", "OPTIONS"])
    app.before_request(lambda: ran.handlers.append("before_request"))
    if cors:
        CORS(app, origins=[UI])
    return _put("flask", app, guard)


def blueprint(ran: Ran, guard: Guard, *, cors: bool) -> Any:
    """Flask with flask-cors on a part."""
    app, part = Flask("x"), Blueprint("part", "part")
    part.add_url_rule("/order", "order", ran.order, methods=["GET", "OPTIONS"])
    if cors:
        CORS(part, origins=[UI])
    app.register_blueprint(part)
    return _put("flask", app, guard)


def _django(ran: Ran, *, cors: bool) -> None:
    def order(_: HttpRequest) -> HttpResponse:
        return HttpResponse(ran.order())

    urls = types.ModuleType("urls")
    urls.urlpatterns = [django_path("order", order)]  # type: ignore[attr-defined]
    if not settings.configured:
        settings.configure(ALLOWED_HOSTS=["*"], SECRET_KEY="test", ROOT_URLCONF=urls)
    settings.ROOT_URLCONF = urls
    name = f"{CorsMiddleware.__module__}.{CorsMiddleware.__qualname__}"
    settings.MIDDLEWARE = [name] if cors else []
    settings.CORS_ALLOWED_ORIGINS = [UI]


def django_wsgi(ran: Ran, guard: Guard, *, cors: bool) -> Any:
    """Django with django-cors-headers."""
    _django(ran, cors=cors)
    return GuardWSGI(get_wsgi_application(), guard)


def django_asgi(ran: Ran, guard: Guard, *, cors: bool) -> Any:
    """The same by ASGI."""
    _django(ran, cors=cors)
    return GuardASGI(get_asgi_application(), guard)


PLACES: list[tuple[Any, Any]] = [
    *((each, asking.asgi) for each in (starlette, outside, fastapi, litestar, wrapped_litestar)),
    (django_asgi, asking.asgi),
    *((each, asking.wsgi) for each in (flask, blueprint, django_wsgi)),
]


@pytest.fixture
def fabric() -> Iterator[Fabric]:
    """A fabric in memory; after it Django has no middleware, as before."""
    with Fabric() as fabric:
        yield fabric
    if settings.configured:
        settings.MIDDLEWARE = []


@pytest.mark.parametrize(("make", "ask"), PLACES)
async def test_a_preflight_is_answered_by_the_applications_cors(
    make: Any, ask: Any, fabric: Fabric
) -> None:
    """Without a badge, and no handler runs, though the application has one for OPTIONS."""
    ran = Ran()
    app = make(ran, fabric.guard(), cors=True)
    answer = await ask(app, "OPTIONS", "/order", headers=PREFLIGHT)
    assert answer.status in (200, 204)
    assert answer.headers[ALLOWED] == UI
    other = await ask(app, "OPTIONS", "/order", headers={**PREFLIGHT, "Origin": OTHER})
    assert ALLOWED not in other.headers
    assert not ran.handlers


@pytest.mark.parametrize(("make", "ask"), PLACES)
async def test_a_refusal_can_be_read_by_the_page(make: Any, ask: Any, fabric: Fabric) -> None:
    """Whether a badge is missing or killed, and by no page of another origin."""
    app = make(Ran(), fabric.guard(), cors=True)
    badge = fabric.badge()
    fabric.kill(badge)
    for headers in ({}, {"X-Capiscio-Badge": badge.token}):
        refused = await ask(app, "GET", "/order", headers={"Origin": UI, **headers})
        assert refused.status == 401
        assert refused.headers[ALLOWED] == UI
        assert refused.headers["x-rescind-code"] in refused.text
        other = await ask(app, "GET", "/order", headers={"Origin": OTHER, **headers})
        assert (other.status, ALLOWED in other.headers) == (401, False)


@pytest.mark.parametrize(("make", "ask"), PLACES)
async def test_a_preflight_opens_no_handler(make: Any, ask: Any, fabric: Fabric) -> None:
    """Without CORS it is refused as all without a badge are; so is OPTIONS that is no preflight."""
    ran = Ran()
    bare = make(ran, fabric.guard(), cors=False)
    assert (await ask(bare, "OPTIONS", "/order", headers=PREFLIGHT)).status == 401
    for app in (bare, make(ran, fabric.guard(), cors=True)):
        asks = {"Access-Control-Request-Method": "GET"}
        assert (await ask(app, "OPTIONS", "/order", headers=asks)).status == 401
        assert (await ask(app, "OPTIONS", "/order")).status == 401
        for method in ("GET", "options", "POST"):
            await ask(app, method, "/order", headers=PREFLIGHT)
    assert not ran.handlers
    badge = {"X-Capiscio-Badge": fabric.badge().token}
    assert (await ask(bare, "OPTIONS", "/order", headers=badge)).status == 200
    assert "order" in ran.handlers


async def test_a_kill_while_it_works_is_read_by_the_page(fabric: Fabric) -> None:
    """The answer that is withheld is refused with the headers, too."""
    badge = fabric.badge()

    class Kills(Ran):
        def order(self) -> str:
            fabric.kill(badge)
            return super().order()

    for make, ask in ((starlette, asking.asgi), (flask, asking.wsgi)):
        badge = fabric.badge()
        app = make(Kills(), fabric.guard(), cors=True)
        sent = {"Origin": UI, "X-Capiscio-Badge": badge.token}
        answer = await ask(app, "GET", "/order", headers=sent)
        assert (answer.status, answer.headers.get(ALLOWED)) == (401, UI)
        assert "widgets" not in answer.text


async def test_a_layer_that_breaks_leaves_the_refusal(fabric: Fabric) -> None:
    """Nothing is allowed by an error of it."""
    app = flask(Ran(), fabric.guard(), cors=True)
    app.session_interface = None
    answer = await asking.wsgi(app, "OPTIONS", "/order", headers=PREFLIGHT)
    assert answer.status == 401
