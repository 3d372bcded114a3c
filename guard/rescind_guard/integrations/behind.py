"""What stands behind a guard, found by the names under which middleware keeps the next application.

Nothing is imported, and nothing is called. What cannot be followed (a function that closes over the
next one) is an application of an unknown kind.
"""

import inspect
import sys
from collections.abc import Iterator
from typing import Any

STARLETTE, LITESTAR, FLASK, DJANGO = "starlette", "litestar", "flask", "django"
_ROUTERS = {
    (STARLETTE, "Starlette"),
    (STARLETTE, "Router"),
    (LITESTAR, "Litestar"),
    (LITESTAR, "ASGIRouter"),
    (FLASK, "Flask"),
    (DJANGO, "BaseHandler"),
}
"""Package and class, its own or one that it is made from, of what routes by path."""
_NEXT = ("app", "wsgi_app", "application", "_app")
_MAX_DEPTH = 64


def chain(app: Any) -> Iterator[Any]:
    """Yield an application, and one after the other those that stand behind it."""
    for _ in range(_MAX_DEPTH):
        yield app
        if framework(app) is not None:
            return
        inner = app.__self__ if inspect.ismethod(app) else None  # `app.wsgi_app` of Flask
        app = inner or next(filter(callable, (getattr(app, name, None) for name in _NEXT)), None)
        if app is None:
            return


def framework(app: Any) -> str | None:
    """Return the framework that routes in `app`; None for middleware, and for what is not known."""
    for base in type(app).__mro__:
        package = base.__module__.partition(".")[0]
        if (package, base.__name__) in _ROUTERS:
            return package
    return None


def routes_by(app: Any) -> tuple[str | None, Any]:
    """Return the framework that routes behind `app`, None if unknown, and its application."""
    *_, last = chain(app)
    return framework(last), last


def script_name() -> str:
    """Return the prefix that Django is told to take off by its settings, whatever a server says."""
    settings = getattr(sys.modules.get("django.conf"), "settings", None)
    return getattr(settings, "FORCE_SCRIPT_NAME", None) or ""
