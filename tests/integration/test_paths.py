"""A rule and an exemption bind the route that runs, however a caller writes it."""

import types
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from asgiref.wsgi import WsgiToAsgi
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path as django_path
from django.urls import re_path
from fastapi import FastAPI
from flask import Flask
from litestar import HttpMethod, Litestar, route
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from werkzeug.middleware.proxy_fix import ProxyFix

import rescind
from rescind import at_router, guarding, routes
from rescind.testing import Fabric
from rescind_guard import Guard
from rescind_guard.integrations.asgi import GuardASGI
from rescind_guard.integrations.asked import asked, routed
from rescind_guard.integrations.wsgi import GuardWSGI
from rescind_guard.rules import Rules
from tests.fakes import asking

METHODS = ["GET", "DELETE"]
ADMIN, PUBLIC = "/admin", "/public"
DENIED = ("GET /admin", "DELETE /admin")
SPELLINGS = [
    *(
        "/admin",
        "/admin/",
        "//admin",
        "///admin",
        "/admin//",
        "/./admin",
        "/admin/.",
        "/x/../admin",
    ),
    *("admin", "\\admin", "/admin\\", "/admin;", "/admin;v=1", "/admin#", "/admin\x00", "/admin\n"),
    *("/%61dmin", "/admin%2f", "/%2fadmin", "http://x/admin", "/x/admin", "/admin/x/admin", ""),
    *("/public/x/admin", "/admin/\ufffd"),
]
PREFIXES = ["", "/", "/x", "/x/", "/public", "/admin", "/public/x", "admin"]


class Ran:
    """Which handlers ran."""

    def __init__(self) -> None:
        self.routes: list[str] = []

    def admin(self) -> str:
        """Do what a rule denies."""
        self.routes.append(ADMIN)
        return "ADMIN"


def starlette(ran: Ran) -> Any:
    """Starlette."""

    async def admin(_: Any) -> PlainTextResponse:
        return PlainTextResponse(ran.admin())

    @rescind.exempt("a public list")
    async def public(_: Any) -> PlainTextResponse:
        return PlainTextResponse("list")

    return Starlette(routes=[Route(ADMIN, admin, methods=METHODS), Route(PUBLIC, public)])


def mounted(ran: Ran) -> Any:
    """Starlette, in a mount whose prefix is part of what rules see from outside."""
    return Starlette(routes=[Mount("/", app=starlette(ran))])


def fastapi(ran: Ran) -> Any:
    """FastAPI."""
    app = FastAPI()
    app.api_route(ADMIN, methods=METHODS)(ran.admin)
    app.get(PUBLIC)(rescind.exempt("a public list")(lambda: "list"))
    return app


def litestar(ran: Ran) -> Any:
    """Litestar, which has one route for a path with and without a slash at its end."""

    @route(ADMIN, http_method=[HttpMethod.GET, HttpMethod.DELETE], status_code=200)
    async def admin() -> str:
        return ran.admin()

    @route(PUBLIC, http_method=HttpMethod.GET)
    @rescind.exempt("a public list")
    async def public() -> str:
        return "list"

    return Litestar([admin, public])


def flask(ran: Ran, *, strict: bool = True) -> Any:
    """Flask."""
    app = Flask("paths")
    app.url_map.strict_slashes = strict
    app.add_url_rule(ADMIN, "admin", ran.admin, methods=METHODS)
    app.get(PUBLIC, endpoint="public")(rescind.exempt("a public list")(lambda: "list"))
    return app


def lenient_flask(ran: Ran) -> Any:
    """Flask that takes a slash at the end or leaves it."""
    return flask(ran, strict=False)


def _urls(ran: Ran) -> None:
    @rescind.exempt("a public list")
    def public(_: HttpRequest) -> HttpResponse:
        return HttpResponse("list")

    def admin(_: HttpRequest) -> HttpResponse:
        return HttpResponse(ran.admin())

    urls = types.ModuleType("urls")
    urls.urlpatterns = [  # type: ignore[attr-defined]
        django_path("admin", admin),
        django_path("public", public),
    ]
    if not settings.configured:
        settings.configure(ALLOWED_HOSTS=["*"], SECRET_KEY="test", ROOT_URLCONF=urls)
    settings.ROOT_URLCONF = urls


def django_asgi(ran: Ran) -> Any:
    """Django by ASGI."""
    _urls(ran)
    return get_asgi_application()


def django_wsgi(ran: Ran) -> Any:
    """Django by WSGI."""
    _urls(ran)
    return get_wsgi_application()


def lenient_django(ran: Ran) -> Any:
    """Django whose author made the slash at the end optional."""
    _urls(ran)
    urls: Any = settings.ROOT_URLCONF
    urls.urlpatterns[0] = re_path("^admin/?$", urls.urlpatterns[0].callback)
    return get_asgi_application()


def raw(ran: Ran) -> Any:
    """An application that routes by the whole path, whatever prefix a server names."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        text = ran.admin() if scope["path"] == ADMIN else "list"
        await PlainTextResponse(text)(scope, receive, send)

    return app


ASGI = [starlette, mounted, fastapi, litestar, django_asgi, lenient_django, raw]
WSGI = [flask, lenient_flask, django_wsgi]


@pytest.fixture
def fabric() -> Iterator[Fabric]:
    """A fabric in memory."""
    with Fabric() as fabric:
        yield fabric


Ask = Callable[..., Awaitable[asking.Answer]]


def guarded(make: Any, ran: Ran, guard: Guard) -> tuple[Ask, Any]:
    """Return how an application is asked, and the application behind a guard."""
    app = make(ran)
    exempt = {"GET /public": "a list"} if make is raw else routes.exemptions(app, None)
    if make in WSGI:
        return asking.wsgi, GuardWSGI(app, guard, exempt=exempt)
    return asking.asgi, GuardASGI(app, guard, exempt=exempt)


@pytest.mark.parametrize("make", [*ASGI, *WSGI])
async def test_no_spelling_passes_a_rule(make: Any, fabric: Fabric) -> None:
    """Whatever path, prefix and method a server hands over, and with a badge and without one."""
    badge = {"X-Capiscio-Badge": fabric.badge().token}
    ran = Ran()
    ask, free = guarded(make, ran, fabric.guard())
    await ask(free, "GET", ADMIN, headers=badge)
    assert ran.routes == [ADMIN], "without a rule it runs"
    ran.routes.clear()
    ask, app = guarded(make, ran, fabric.guard(policy=Rules(denied=DENIED)))
    for prefix in PREFIXES:
        for path in (*SPELLINGS, *(f"{prefix}{each}" for each in SPELLINGS)):
            for method, headers in (
                ("GET", {}),
                ("GET", badge),
                ("HEAD", badge),
                ("delete", badge),
            ):
                await ask(app, method, path, root=prefix, headers=headers)
                assert not ran.routes, (method, path, prefix)


@pytest.mark.parametrize("make", [*ASGI[:-1], *WSGI])
@pytest.mark.parametrize("prefix", ["", "/api"])
async def test_what_is_exempt_stays_exempt(make: Any, prefix: str, fabric: Fabric) -> None:
    """With and without a prefix, for HEAD as for GET; another method is not."""
    ask, app = guarded(make, Ran(), fabric.guard())
    path = f"{prefix}{PUBLIC}"
    assert (await ask(app, "GET", path, root=prefix)).status == 200
    assert (await ask(app, "HEAD", path, root=prefix)).status in (200, 405)
    if make not in (django_asgi, lenient_django, django_wsgi):
        assert (await ask(app, "POST", path, root=prefix)).status == 401
    assert (await ask(app, "GET", f"{prefix}{ADMIN}", root=prefix)).status == 401


@pytest.mark.parametrize("make", [*ASGI, *WSGI])
async def test_head_is_judged_as_get_and_refused_without_a_body(make: Any, fabric: Fabric) -> None:
    """The level of a GET holds for it; the answer says how long the body would have been."""
    rules = Rules(levels={"GET /admin": 3})
    ran = Ran()
    ask, app = guarded(make, ran, fabric.guard(policy=rules))
    for level, status in ((2, 403), (3, 200)):
        badge = {"X-Capiscio-Badge": fabric.badge(level=level).token}
        get = await ask(app, "GET", ADMIN, headers=badge)
        assert (get.status, bool(get.body)) == (status, True)
        ran.routes.clear()
        head = await ask(app, "HEAD", ADMIN, headers=badge)
        assert bool(ran.routes) == (status == 200 and head.status == 200)
        if status == 403:
            assert (head.status, head.body) == (403, b"")
            assert head.headers["content-length"] == get.headers["content-length"]


async def test_a_policy_sees_one_spelling(fabric: Fabric) -> None:
    """Where a slash at the end makes no difference it is left out, elsewhere it is as it came."""
    seen: list[str | None] = []
    guard = fabric.guard(policy=lambda _, tool: seen.append(tool))
    badge = {"X-Capiscio-Badge": fabric.badge().token}
    for make in (litestar, lenient_flask, starlette, flask):
        ask, app = guarded(make, Ran(), guard)
        await ask(app, "get", "/x/admin/", root="/x", headers=badge)
    assert seen == ["GET /admin", "GET /admin", "GET /admin/", "GET /admin/"]


async def test_an_unknown_application_is_judged_with_and_without_its_prefix(fabric: Fabric) -> None:
    """It may route by either, so that an exemption of one of them opens nothing."""
    ran = Ran()
    _, app = guarded(raw, ran, fabric.guard(policy=Rules(denied=["GET /x/admin"])))
    badge = {"X-Capiscio-Badge": fabric.badge().token}
    for path, prefix, headers, status in (
        ("/admin/public", "/admin", {}, 401),
        ("/public", "", {}, 200),
        ("/x/admin", "/x", badge, 403),
        ("/y/admin", "/y", badge, 200),
    ):
        answer = await asking.asgi(app, "GET", path, root=prefix, headers=headers)
        assert answer.status == status, path


def test_a_prefix_is_taken_off_as_frameworks_do() -> None:
    """Or the path is refused, where one framework takes it off and another does not."""
    assert routed("/api/x", "/api") == "/x"
    assert routed("/api", "/api") == "/"
    assert routed("/x", "/api") == "/x", "older servers leave it out"
    assert routed("/api//x", "/api/") == "/x"
    for path, prefix in (("/apix", "/api"), ("/a/api/x", "/api"), ("/api/x", "/api/")):
        assert routed(path, prefix) is None


@pytest.mark.parametrize("method", ["", "GET /x", "GÉT", "GET\n", "(GET)"])
def test_a_method_is_a_token(method: str) -> None:
    """Anything else could be read as another method and path."""
    assert not isinstance(asked(method, "/"), str)
    assert asked("m-search", "/") == "M-SEARCH /"


async def test_a_proxys_prefix_changes_no_rule(fabric: Fabric) -> None:
    """`X-Forwarded-Prefix`, which ProxyFix reads from a header, inside the guard and outside."""
    for outside in (True, False):
        ran = Ran()
        app = flask(ran)
        guard = fabric.guard(policy=Rules(denied=DENIED))
        known = routes.exemptions(app, None)
        if outside:
            wrapped: Any = ProxyFix(GuardWSGI(app, guard, exempt=known), x_prefix=1)
        else:
            wrapped = GuardWSGI(ProxyFix(app.wsgi_app, x_prefix=1), guard, exempt=known)
        badge = fabric.badge().token
        for sent in ({"X-Capiscio-Badge": badge}, {}):
            headers = {"X-Forwarded-Prefix": PUBLIC, **sent}
            answer = await asking.wsgi(wrapped, "GET", ADMIN, headers=headers)
            assert answer.status == (403 if sent else 401)
        assert not ran.routes


async def test_a_bridge_changes_no_rule(fabric: Fabric) -> None:
    """A WSGI application that is served by ASGI."""
    ran = Ran()
    bridge: Any = WsgiToAsgi
    app = GuardASGI(bridge(flask(ran)), fabric.guard(policy=Rules(denied=DENIED)))
    badge = {"X-Capiscio-Badge": fabric.badge().token}
    for path, prefix in ((ADMIN, ""), ("/x/admin", "/x"), ("/x/admin", "")):
        await asking.asgi(app, "GET", path, root=prefix, headers=badge)
    assert not ran.routes


class Rewrites:
    """Middleware between the guard and the router, which obeys headers of the caller."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Change path and method."""
        sent = {name.decode(): said.decode() for name, said in scope.get("headers", ())}
        path = sent.get("x-rewrite", scope.get("path"))
        method = sent.get("x-http-method-override", scope.get("method"))
        await self.app({**scope, "path": path, "method": method}, receive, send)


def rewrites_wsgi(app: Any) -> Any:
    """The same in WSGI."""

    def rewriting(environ: Any, start: Any) -> Any:
        environ["PATH_INFO"] = environ.get("HTTP_X_REWRITE", environ["PATH_INFO"])
        method = environ.get("HTTP_X_HTTP_METHOD_OVERRIDE", environ["REQUEST_METHOD"])
        return app({**environ, "REQUEST_METHOD": method}, start)

    return rewriting


def rewrites_django(get_response: Any) -> Any:
    """The same in Django."""

    def rewriting(request: HttpRequest) -> Any:
        request.path_info = request.headers.get("X-Rewrite", request.path_info)
        request.method = request.headers.get("X-HTTP-Method-Override", request.method)
        return get_response(request)

    return rewriting


def rewritten(make: Any, ran: Ran, guard: Guard) -> Any:
    """Return an application that is protected as `rescind.protect` and `rescind.wrap` do it."""
    if make in (starlette, fastapi, flask):
        app = make(ran)
        if make is flask:
            app.wsgi_app = rewrites_wsgi(app.wsgi_app)
        else:
            app.add_middleware(Rewrites)
        guarding._PUTTERS["flask" if make is flask else "starlette"][1](
            app, guard, bearer="badge", exempt=None
        )
        return app
    _urls(ran)
    settings.MIDDLEWARE = [f"{__name__}.rewrites_django"]
    inner = make(ran)
    kind: Any = GuardASGI if make is django_asgi else GuardWSGI
    outer = kind(inner, guard, exempt=routes.exemptions(inner, None))
    at_router.put(inner, outer)
    return outer


@pytest.fixture
def without_middleware() -> Iterator[None]:
    """Django has no middleware after a test, as before."""
    yield
    if settings.configured:
        settings.MIDDLEWARE = []
        settings.FORCE_SCRIPT_NAME = None


@pytest.mark.parametrize("make", [starlette, fastapi, flask, django_asgi, django_wsgi])
@pytest.mark.usefixtures("without_middleware")
async def test_what_runs_is_judged_where_it_is_routed(make: Any, fabric: Fabric) -> None:
    """A path or method that middleware behind the guard changes is judged anew, before it runs."""
    ran = Ran()
    ask = asking.wsgi if make in (flask, django_wsgi) else asking.asgi
    app = rewritten(make, ran, fabric.guard(policy=Rules(denied=["DELETE /admin", "GET /vip"])))
    badge = {"X-Capiscio-Badge": fabric.badge().token}
    assert (await ask(app, "GET", PUBLIC)).text.strip('"') == "list"
    assert (await ask(app, "GET", PUBLIC, headers={"X-Rewrite": ADMIN})).status == 401
    override = {"X-HTTP-Method-Override": "DELETE"}
    assert (await ask(app, "GET", ADMIN, headers={**badge, **override})).status == 403
    for path in ("/vip", "//admin"):
        answer = await ask(app, "GET", PUBLIC, headers={**badge, "X-Rewrite": path})
        assert answer.status in (403, 404)
    assert not ran.routes
    assert (await ask(app, "GET", PUBLIC, headers={**badge, "X-Rewrite": ADMIN})).status == 200
    assert (await ask(app, "GET", ADMIN, headers=badge)).status == 200
    assert ran.routes == [ADMIN, ADMIN]


@pytest.mark.usefixtures("without_middleware")
async def test_a_prefix_that_the_application_sets_itself(fabric: Fabric) -> None:
    """FastAPI's `root_path` and Django's `FORCE_SCRIPT_NAME` are taken off inside."""
    ran = Ran()
    guard = fabric.guard(policy=Rules(denied=["DELETE /admin"]))
    api = FastAPI()
    api.root_path = PUBLIC  # by a keyword it is deprecated
    api.api_route(ADMIN, methods=METHODS)(ran.admin)
    _urls(ran)
    settings.FORCE_SCRIPT_NAME = PUBLIC
    badge = {"X-Capiscio-Badge": fabric.badge().token}
    for app in (api, get_asgi_application()):
        outer = GuardASGI(app, guard, exempt={"GET /public/admin": "a list of that name"})
        at_router.put(app, outer)
        path = "/public/admin"
        assert (await asking.asgi(outer, "DELETE", path, headers=badge)).status == 403
        assert (await asking.asgi(outer, "GET", path)).status == 401
        assert not ran.routes
        assert (await asking.asgi(outer, "GET", path, headers=badge)).status == 200
        ran.routes.clear()
