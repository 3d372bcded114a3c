"""The routes, tools and middleware of an application, by what it itself routes by.

From the outside to the inside; nothing is called. Each framework has its own way to keep them.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from rescind_guard.integrations import behind
from rescind_guard.integrations.asgi import GuardASGI
from rescind_guard.integrations.asked import WEBSOCKET
from rescind_guard.integrations.errors import CannotGuard
from rescind_guard.integrations.wsgi import GuardWSGI

ANY = "*"
MIDDLEWARE = "middleware"
GUARDS = (GuardASGI, GuardWSGI)
_ADDED = frozenset({"HEAD", "OPTIONS"})
_PASSES_ON = {
    "starlette": (
        *("CORSMiddleware", "GZipMiddleware", "HTTPSRedirectMiddleware", "SessionMiddleware"),
        *("TrustedHostMiddleware", "ServerErrorMiddleware", "ExceptionMiddleware"),
    ),
    "litestar": ("CORSMiddleware", "ExceptionHandlerMiddleware"),
    "uvicorn": ("ProxyHeadersMiddleware",),
    "werkzeug": ("ProxyFix",),
    "sentry_sdk": ("SentryAsgiMiddleware", "SentryWsgiMiddleware"),
    "opentelemetry": ("OpenTelemetryMiddleware",),
}
"""Middleware that may stand outside the guard: it passes a request on, or refuses it."""


class Found(msgspec.Struct, frozen=True):
    """One row of `rescind.routes.Route`, and what it is made of."""

    method: str
    path: str
    function: Any = None
    guards: tuple[Any, ...] = ()
    in_order: bool = False
    """Of several routes that match, the first one answers."""


def walk(app: Any, at: str, guards: tuple[Any, ...], *, inside: bool = False) -> Iterator[Found]:
    """Yield all there is in `app`, which is reached at the path `at` through `guards`.

    `inside`: it is a part of another, and may be of an unknown kind. Raises `CannotGuard`.
    """
    layers: list[Any] = []
    for layer in behind.chain(app):
        for base in type(layer).__mro__:
            reader = _WALKS.get(base.__module__.partition(".")[0])
            inner, more = _through(layers, guards)
            if reader is not None and (found := reader(layer, at, inner)) is not None:
                yield from (*more, *found)
                return
        layers.append(layer)
    guards, more = _through(layers, guards)
    yield from more
    if inside:
        yield Found(ANY, f"{at}/*", app, guards, in_order=True)
        return
    raise CannotGuard(
        f"the routes of {type(app).__name__} are not known: give the application of Starlette, "
        "FastAPI, Litestar, Flask or Django, or the server of mcp or fastmcp"
    )


Walk = Iterator[Found] | None


def _through(layers: Iterable[Any], guards: tuple[Any, ...]) -> tuple[tuple[Any, ...], list[Found]]:
    """Return the guards, with those among these layers, and the layers outside all of them."""
    outside: list[Found] = []
    waiting: list[Found] = []
    for layer in layers:
        if isinstance(layer, GUARDS):
            outside, waiting = (outside if guards else waiting), []
            guards = (*guards, layer)
        elif not inspect.isroutine(layer) and not guards and behind.framework(layer) is None:
            kind = getattr(layer, "cls", type(layer))  # of Starlette's `Middleware`
            answers = getattr(layer, "kwargs", {}).get("dispatch") or kind
            if kind.__name__ not in _PASSES_ON.get(kind.__module__.partition(".")[0], ()):
                waiting.append(Found(MIDDLEWARE, _named(answers), answers))
    return guards, outside


def _named(part: Any) -> str:
    return f"{part.__module__}.{getattr(part, '__qualname__', type(part).__qualname__)}"


def _starlette(app: Any, at: str, guards: tuple[Any, ...]) -> Walk:
    if not hasattr(app, "routes"):
        return None
    layers = [
        GuardASGI(app, *each.args, **each.kwargs) if each.cls is GuardASGI else each
        for each in getattr(app, "user_middleware", ())
    ]
    guards, outside = _through(layers, guards)
    return iter([*outside, *_starlette_routes(app.routes, at, guards)])


def _starlette_routes(routes: Iterable[Any], at: str, guards: tuple[Any, ...]) -> Iterator[Found]:
    for route in routes:
        path = at + getattr(route, "path", "")
        inner = getattr(route, "app", None)
        if not hasattr(route, "endpoint"):  # a mount, a host
            host = getattr(route, "host", "")
            yield from walk(inner, f"{at}//{host}" if host else path, guards, inside=True)
            continue
        passed, outside = _through(behind.chain(inner), guards)
        yield from outside
        for method in _methods(getattr(route, "methods", ANY), type(route).__name__):
            yield Found(method, path, route.endpoint, passed, in_order=True)


def _methods(methods: Any, kind: str) -> Iterable[str]:
    if "WebSocket" in kind:
        return (WEBSOCKET,)
    return (ANY,) if methods is None or methods == ANY else sorted(set(methods) - {"HEAD"})


def _litestar(app: Any, at: str, guards: tuple[Any, ...]) -> Walk:
    if not hasattr(app, "asgi_handler"):
        return None
    guards, outside = _through(behind.chain(app.asgi_handler), guards)
    return iter([*outside, *_litestar_routes(app.routes, at, guards)])


def _litestar_routes(routes: Iterable[Any], at: str, guards: tuple[Any, ...]) -> Iterator[Found]:
    for route in routes:
        handlers = getattr(route, "route_handler_map", None)
        if handlers is not None:
            for method, handler in sorted(handlers.items()):
                one = handler[0] if isinstance(handler, tuple) else handler
                yield Found(str(getattr(method, "value", method)), at + route.path, one, guards)
        else:
            kind = WEBSOCKET if "WebSocket" in type(route).__name__ else ANY
            yield Found(kind, at + route.path, getattr(route, "route_handler", None), guards)


def _flask(app: Any, at: str, guards: tuple[Any, ...]) -> Walk:
    if not hasattr(app, "url_map"):
        return None
    guards, outside = _through(behind.chain(app.wsgi_app), guards)
    found = (
        Found(method, at + _flask_path(rule), app.view_functions.get(rule.endpoint), guards)
        for rule in app.url_map.iter_rules()
        for method in sorted(rule.methods - _ADDED)
    )
    return iter([*outside, *found])


def _flask_path(rule: Any) -> str:
    """Return the path of a rule, after the host that it is bound to."""
    host = rule.host or rule.subdomain
    return f"//{host}{rule.rule}" if host else str(rule.rule)


def _django(app: Any, at: str, guards: tuple[Any, ...]) -> Walk:
    del app
    from django.urls import get_resolver  # noqa: PLC0415 - only where it is installed

    return _django_routes(get_resolver().url_patterns, f"{at}/", guards)


def _django_routes(patterns: Iterable[Any], at: str, guards: tuple[Any, ...]) -> Iterator[Found]:
    for each in patterns:
        path = at + str(each.pattern)
        if hasattr(each, "url_patterns"):
            yield from _django_routes(each.url_patterns, path, guards)
        else:
            view = getattr(each.callback, "view_class", None)
            names = getattr(view, "http_method_names", None)
            methods = [one.upper() for one in names or () if hasattr(view, one)]
            for method in sorted(set(methods) - _ADDED) or [ANY]:
                yield Found(method, path, each.callback, guards, in_order=True)


def _mcp(server: Any, at: str, guards: tuple[Any, ...]) -> Walk:
    from rescind.mcp_routes import names  # noqa: PLC0415 - only where it is installed

    if not hasattr(server, "middleware"):
        return None
    parts, inner, extra = names(server)
    guards = (*guards, *inner)
    found = [Found(kind, at + name, None, guards) for kind, name in parts]
    # Plain HTTP routes of an MCP server do not pass its middleware.
    return iter([*found, *_starlette_routes(extra, at, ())])


_WALKS: dict[str, Callable[[Any, str, tuple[Any, ...]], Walk]] = {
    "starlette": _starlette,
    "litestar": _litestar,
    "flask": _flask,
    "django": _django,
    "mcp": _mcp,
    "fastmcp": _mcp,
}
"""By the package a class, or one it is made from, comes from."""
