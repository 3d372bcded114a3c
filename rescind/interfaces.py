"""Which interface an application speaks, ASGI or WSGI, told by how it wants to be called.

Nothing is called. An application of ASGI takes `scope, receive, send` and returns an awaitable
(ASGI 3.0), one of WSGI takes `environ, start_response` (PEP 3333). Middleware, decorators and
partials hide `async def`, but not how many arguments they take; what hides both has to be told.
"""

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, Literal

from rescind_guard.integrations.errors import CannotGuard

Kind = Literal["asgi", "wsgi"]
ASGI, WSGI = "asgi", "wsgi"
_ARGUMENTS = {ASGI: 3, WSGI: 2}
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def is_asgi(app: Any, kind: Kind | None = None) -> bool:
    """Return whether `app` is an application of ASGI, not of WSGI; `kind`: what it was said to be.

    Raises `CannotGuard` where that cannot be told, or `kind` is neither.
    """
    if kind is not None:
        if kind not in _ARGUMENTS:
            raise CannotGuard(f"an application is of kind 'asgi' or 'wsgi', not {kind!r}")
        return kind == ASGI
    if any(map(inspect.iscoroutinefunction, _inside(app))):
        return True
    fitting = [each for each, count in _ARGUMENTS.items() if _takes(app, count)]
    if len(fitting) != 1:
        raise CannotGuard(
            f"{type(app).__name__} does not show whether it is an application of ASGI or of WSGI: "
            'say rescind.wrap(app, kind="asgi") or kind="wsgi"'
        )
    return fitting == [ASGI]


def _inside(app: Any) -> Iterator[Any]:
    """Yield what is called when `app` is: through partials, instances and what was decorated."""
    seen: set[int] = set()
    while app is not None and id(app) not in seen:
        seen.add(id(app))
        app = _called(app)
        yield app
        app = app.func if isinstance(app, functools.partial) else getattr(app, "__wrapped__", None)


def _called(app: Any) -> Callable[..., Any]:
    """Return the function or method that a call of `app` runs: an instance may have its own."""
    if inspect.isroutine(app) or inspect.isclass(app) or isinstance(app, functools.partial):
        return app
    return app.__call__  # type: ignore[no-any-return]


def _takes(app: Any, count: int) -> bool:
    """Return whether `app` can be called with just so many arguments, as far as it shows."""
    try:
        given = inspect.signature(_called(app)).parameters.values()
    except (TypeError, ValueError):  # of C
        return True
    if any(each.kind is inspect.Parameter.VAR_POSITIONAL for each in given):
        return True
    places = [each for each in given if each.kind in _POSITIONAL]
    needed = [
        each for each in given if each.default is each.empty and each.kind is not each.VAR_KEYWORD
    ]
    return len(needed) <= count <= len(places)
