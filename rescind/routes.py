"""Every route, method and tool of a service, and whether a guard stands before it.

`of(app)` reads what the application itself routes by, and walks from the outside to the inside: a
route is guarded if a guard is passed on the way to it. Nothing is called, so it is safe to ask
about a service that is in use. What cannot be looked into (a mounted application of an unknown
kind) is one row for all it may answer.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from rescind_guard.integrations.asgi import GuardASGI
from rescind_guard.integrations.asked import WEBSOCKET
from rescind_guard.integrations.errors import CannotGuard
from rescind_guard.integrations.exempt import Exemptions, reason_of
from rescind_guard.integrations.wsgi import GuardWSGI

ANY = "*"
_GUARDS = (GuardASGI, GuardWSGI)
_ADDED = frozenset({"HEAD", "OPTIONS"})


class Route(msgspec.Struct, frozen=True):
    """One method of one path, or one tool, resource or prompt."""

    method: str
    """Of HTTP; `WEBSOCKET`; `tool`, `resource`, `prompt` of an MCP server; `*`: any."""
    path: str
    guarded: bool
    exempt: str | None = None
    """Why it needs no badge."""

    @property
    def open(self) -> bool:
        """Whether anyone may call it, and nobody has said that this is meant."""
        return not self.guarded and self.exempt is None


class _Found(msgspec.Struct, frozen=True):
    method: str
    path: str
    function: Any = None
    guards: tuple[Any, ...] = ()


def of(app: Any) -> list[Route]:
    """Return all routes; raises `CannotGuard` for what is no application that is known."""
    return [_judge(found) for found in _walk(app, "", ())]


def decorated(app: Any) -> dict[str, str]:
    """Return the routes whose functions are marked exempt, as `METHOD path` or `path`."""
    found = ((each, reason_of(each.function)) for each in _walk(app, "", ()))
    return {_route(each): why for each, why in found if why is not None}


def _route(found: _Found) -> str:
    """Return a route as an exemption names it: a view that takes any method by its path alone."""
    return found.path if found.method == ANY else f"{found.method} {found.path}"


def exemptions(app: Any, said: Any) -> Exemptions:
    """Return what is exempt in `app`: what was said, and what is decorated."""
    return Exemptions(said, lambda: decorated(app))


def _judge(found: _Found) -> Route:
    why = reason_of(found.function) if not found.guards else None
    for guard in found.guards:
        known = guard.exempt.all() if isinstance(guard, _GUARDS) else {}
        why = known.get(f"{found.method} {found.path}") or known.get(found.path)
    return Route(found.method, found.path, bool(found.guards), why)


def _walk(app: Any, at: str, guards: tuple[Any, ...], *, inside: bool = False) -> Iterator[_Found]:
    while isinstance(app, _GUARDS):
        app, guards = app.app, (*guards, app)
    for base in type(app).__mro__:
        walk = _WALKS.get(base.__module__.partition(".")[0])
        if walk is not None and (found := walk(app, at, guards)) is not None:
            yield from found
            return
    if inside:
        yield _Found(ANY, f"{at}/*", app, guards)
        return
    raise CannotGuard(
        f"the routes of {type(app).__name__} are not known: give the application of Starlette, "
        "FastAPI, Litestar, Flask or Django, or the server of mcp or fastmcp"
    )


Walk = Iterator[_Found] | None


def _starlette(app: Any, at: str, guards: tuple[Any, ...]) -> Walk:
    if not hasattr(app, "routes"):
        return None
    for each in getattr(app, "user_middleware", ()):
        if each.cls is GuardASGI:
            guards = (*guards, GuardASGI(app, *each.args, **each.kwargs))
    return _starlette_routes(app.routes, at, guards)


def _starlette_routes(routes: Iterable[Any], at: str, guards: tuple[Any, ...]) -> Iterator[_Found]:
    for route in routes:
        path = at + getattr(route, "path", "")
        inner = getattr(route, "app", None)
        if not hasattr(route, "endpoint"):  # a mount, a host
            host = getattr(route, "host", "")
            yield from _walk(inner, f"{at}//{host}" if host else path, guards, inside=True)
            continue
        passed = (*guards, *_guards_of(inner))
        for method in _methods(getattr(route, "methods", ANY), type(route).__name__):
            yield _Found(method, path, route.endpoint, passed)


def _guards_of(app: Any) -> tuple[Any, ...]:
    """Return the guards around one endpoint (middleware of a route)."""
    found: list[Any] = []
    while app is not None and not inspect.isroutine(app):
        found += [app] if isinstance(app, _GUARDS) else []
        app = getattr(app, "app", None)
    return tuple(found)


def _methods(methods: Any, kind: str) -> Iterable[str]:
    if "WebSocket" in kind:
        return (WEBSOCKET,)
    return (ANY,) if methods is None or methods == ANY else sorted(set(methods) - {"HEAD"})


def _litestar(app: Any, at: str, guards: tuple[Any, ...]) -> Walk:
    if not hasattr(app, "asgi_handler"):
        return None
    handler = app.asgi_handler
    while isinstance(handler, _GUARDS):
        guards, handler = (*guards, handler), handler.app
    return _litestar_routes(app.routes, at, guards)


def _litestar_routes(routes: Iterable[Any], at: str, guards: tuple[Any, ...]) -> Iterator[_Found]:
    for route in routes:
        handlers = getattr(route, "route_handler_map", None)
        if handlers is not None:
            for method, handler in sorted(handlers.items()):
                one = handler[0] if isinstance(handler, tuple) else handler
                yield _Found(str(getattr(method, "value", method)), at + route.path, one, guards)
        else:
            kind = WEBSOCKET if "WebSocket" in type(route).__name__ else ANY
            yield _Found(kind, at + route.path, getattr(route, "route_handler", None), guards)


def _flask(app: Any, at: str, guards: tuple[Any, ...]) -> Walk:
    if not hasattr(app, "url_map"):
        return None
    inner = app.wsgi_app
    while isinstance(inner, _GUARDS):
        guards, inner = (*guards, inner), inner.app
    return (
        _Found(method, at + rule.rule, app.view_functions.get(rule.endpoint), guards)
        for rule in app.url_map.iter_rules()
        for method in sorted(rule.methods - _ADDED)
    )


def _django(app: Any, at: str, guards: tuple[Any, ...]) -> Walk:
    del app
    from django.urls import get_resolver  # noqa: PLC0415 - only where it is installed

    return _django_routes(get_resolver().url_patterns, f"{at}/", guards)


def _django_routes(patterns: Iterable[Any], at: str, guards: tuple[Any, ...]) -> Iterator[_Found]:
    for each in patterns:
        path = at + str(each.pattern)
        if hasattr(each, "url_patterns"):
            yield from _django_routes(each.url_patterns, path, guards)
        else:
            view = getattr(each.callback, "view_class", None)
            names = getattr(view, "http_method_names", None)
            methods = [one.upper() for one in names or () if hasattr(view, one)]
            for method in sorted(set(methods) - _ADDED) or [ANY]:
                yield _Found(method, path, each.callback, guards)


def _mcp(server: Any, at: str, guards: tuple[Any, ...]) -> Walk:
    from rescind.mcp_routes import names  # noqa: PLC0415 - only where it is installed

    if not hasattr(server, "middleware"):
        return None
    parts, inner, extra = names(server)
    guards = (*guards, *inner)
    found = [_Found(kind, at + name, None, guards) for kind, name in parts]
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
