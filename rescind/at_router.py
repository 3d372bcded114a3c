"""A second look at what is asked for, where the framework routes.

Middleware between the guard and the router may change method or path: it takes off a prefix that a
header names, or overrides the method. The guard outside saw another request than the one that runs.
So the same guard stands at the router, too. It has nothing to do where nothing was changed; else it
decides anew, with the badge that the outer one took out. What was not let in by the outer one is
refused here.

Litestar needs none: its middleware runs behind its router.
"""

from typing import Any

from rescind_guard.integrations import behind, http
from rescind_guard.integrations.asgi import GuardASGI
from rescind_guard.integrations.asked import asked
from rescind_guard.integrations.wsgi import GuardWSGI


def put(app: Any, guard: Any) -> None:
    """Put `guard`, which stands outside, at the router of `app` too, where that is known."""
    framework, last = behind.routes_by(app)
    if framework == behind.STARLETTE and hasattr(last, "user_middleware"):
        _starlette(last, guard)
    elif framework == behind.FLASK and isinstance(guard, GuardWSGI):
        _flask(last, guard)
    elif framework == behind.DJANGO:
        _django(last, guard)


def _starlette(app: Any, guard: Any) -> None:
    from starlette.middleware import Middleware  # noqa: PLC0415 - only where it is installed

    if app.middleware_stack is None:
        how = {"guard": guard.guard, "bearer": guard.bearer, "exempt": guard.exempt}
        app.user_middleware.append(Middleware(GuardASGI, **how))


def _flask(app: Any, guard: GuardWSGI) -> None:
    from flask import request  # noqa: PLC0415 - only where it is installed

    def check() -> Any:
        answer = _answer(guard.admit(request.environ))
        if answer is None:
            return None
        return app.response_class(answer.body, answer.status, list(answer.headers))

    app.before_request_funcs.setdefault(None, []).insert(0, check)


def _django(app: Any, guard: Any) -> None:
    from django.http import HttpResponse  # noqa: PLC0415 - only where it is installed

    resolve = app.resolve_request

    def checked(request: Any) -> Any:
        found = resolve(request)
        question = asked(request.method, request.path_info)
        outer = getattr(request, "scope", None) or request.META
        answer = _answer(guard.admit(outer, question))
        if answer is None:
            return found
        refused = HttpResponse(answer.body, status=answer.status, headers=dict(answer.headers))
        return (lambda _: refused), (), {}

    app.resolve_request = checked


def _answer(admitted: Any) -> http.Answer | None:
    """Return the refusal, None if the request may go on."""
    decision, left = admitted
    return None if decision is None or left is not None else http.refused(decision)
