"""`rescind.protect(app)` and `rescind.wrap(app)`: one line in front of a service."""

import atexit
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from rescind import at_router, routes
from rescind.interfaces import Kind
from rescind.interfaces import is_asgi as _is_async
from rescind.sidecar import Sidecar
from rescind_guard.integrations import lifespan
from rescind_guard.integrations.asgi import GuardASGI
from rescind_guard.integrations.carriage import Bearer
from rescind_guard.integrations.errors import AlreadyGuarded, CannotGuard
from rescind_guard.integrations.exempt import Exemptions
from rescind_guard.integrations.wsgi import GuardWSGI
from rescind_guard.policy import Policy

_WRAP = "give a plain ASGI or WSGI application to `app = rescind.wrap(app)`"


def protect(
    app: Any,
    *,
    policy: Policy | None = None,
    bearer: Bearer = "badge",
    exempt: Mapping[str, str] | None = None,
    **settings: Any,
) -> Sidecar:
    """Put a guard before every route and method of a service, and start following.

    For MCP servers (official `mcp` >= 2, `fastmcp` >= 4), Starlette, FastAPI, Litestar and Flask.
    `exempt`: path → reason, for HTTP; `bearer`: see `rescind_guard.integrations.carriage`. Settings
    come from `RESCIND_*`, the configuration file, or the arguments. The view begins stale: until a
    publisher's head is covered, levels 2 to 4 are refused with "cannot tell".
    Raises `BadConfig` for settings that cannot work, `CannotGuard` for what is no such service.
    """
    put = _putter(app)
    Exemptions(exempt)
    sidecar = Sidecar(policy=policy, **settings)
    put(app, sidecar.guard, bearer=bearer, exempt=exempt)
    return _follow(sidecar)


def wrap(
    app: Any,
    *,
    policy: Policy | None = None,
    bearer: Bearer = "badge",
    exempt: Mapping[str, str] | None = None,
    kind: Kind | None = None,
    **settings: Any,
) -> GuardASGI | GuardWSGI:
    """Return an ASGI or WSGI application, as Django's, behind a guard; as `protect` otherwise.

    `kind`: "asgi" or "wsgi", for one that does not show which it is; then `CannotGuard` without it.
    """
    if not callable(app):
        raise CannotGuard(f"{type(app).__name__} is neither an ASGI nor a WSGI application")
    _refuse_second(isinstance(app, GuardASGI | GuardWSGI))
    put: Any = GuardASGI if _is_async(app, kind) else GuardWSGI
    all_exempt = Exemptions(exempt, lambda: _decorated(app, guarded))
    sidecar = Sidecar(policy=policy, **settings)
    guarded: GuardASGI | GuardWSGI = put(app, sidecar.guard, bearer=bearer, exempt=all_exempt)
    at_router.put(app, guarded)
    _follow(sidecar)
    return guarded


def _follow(sidecar: Sidecar) -> Sidecar:
    lifespan.bind(sidecar.guard, sidecar)
    sidecar.start()
    atexit.register(sidecar.stop)
    return sidecar


def _decorated(app: Any, guarded: Any) -> Mapping[str, str]:
    """Return what is decorated in an application; nothing where its routes are not known."""
    try:
        return routes.first_look(app, guarded)
    except CannotGuard:
        return {}


def _mcp(server: Any, guard: Any, *, bearer: Bearer, exempt: Mapping[str, str] | None) -> None:
    from rescind_guard.integrations.mcp import install  # noqa: PLC0415 - mcp only when used

    _no_exemptions(exempt)
    install(server, guard, bearer=bearer)


def _fastmcp(server: Any, guard: Any, *, bearer: Bearer, exempt: Mapping[str, str] | None) -> None:
    from rescind_guard.integrations.fastmcp import install  # noqa: PLC0415 - as above

    _no_exemptions(exempt)
    install(server, guard, bearer=bearer)


def _no_exemptions(exempt: Mapping[str, str] | None) -> None:
    if exempt:
        raise CannotGuard("an MCP server has no paths that could be exempt: leave `exempt` out")


def _starlette(app: Any, guard: Any, *, bearer: Bearer, exempt: Mapping[str, str] | None) -> None:
    _refuse_second(any(each.cls is GuardASGI for each in app.user_middleware))
    known = routes.exemptions(app, exempt)
    at_router.put(app, GuardASGI(app, guard, bearer=bearer, exempt=known))
    try:
        app.add_middleware(GuardASGI, guard=guard, bearer=bearer, exempt=known)
    except RuntimeError as error:
        raise CannotGuard(f"call rescind.protect(app) before it serves: {error}") from error


def _litestar(app: Any, guard: Any, *, bearer: Bearer, exempt: Mapping[str, str] | None) -> None:
    _refuse_second(isinstance(app.asgi_handler, GuardASGI))
    known = routes.exemptions(app, exempt)
    app.asgi_handler = GuardASGI(app.asgi_handler, guard, bearer=bearer, exempt=known)
    # Litestar runs its own lifespan outside of this handler.
    app.on_startup.append(partial(lifespan.started, guard))
    app.on_shutdown.append(partial(lifespan.stopped, guard))


def _flask(app: Any, guard: Any, *, bearer: Bearer, exempt: Mapping[str, str] | None) -> None:
    _refuse_second(isinstance(app.wsgi_app, GuardWSGI))
    known = routes.exemptions(app, exempt)
    app.wsgi_app = GuardWSGI(app.wsgi_app, guard, bearer=bearer, exempt=known)
    at_router.put(app, app.wsgi_app)


def _refuse_second(guarded: bool) -> None:  # noqa: FBT001 - the question itself
    if guarded:
        raise AlreadyGuarded("this application is guarded already; one guard is enough")


_PUTTERS: dict[str, tuple[tuple[str, ...], Callable[..., None]]] = {
    "mcp": ((), _mcp),
    "fastmcp": ((), _fastmcp),
    "starlette": (("add_middleware", "user_middleware"), _starlette),
    "litestar": (("asgi_handler",), _litestar),
    "flask": (("wsgi_app",), _flask),
}
"""By the package a class, or one it is made from, comes from; and what it must have."""


def _putter(app: Any) -> Callable[..., None]:
    for base in type(app).__mro__:
        needs, put = _PUTTERS.get(base.__module__.partition(".")[0], ((), None))
        if put is not None and all(hasattr(app, name) for name in needs):
            return put
    raise CannotGuard(f"{type(app).__name__} is no service that can be protected in place; {_WRAP}")
