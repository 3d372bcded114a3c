"""Cross-origin requests of browsers: a refusal leaves through the application's own CORS layer.

A preflight (Fetch standard, CORS protocol) carries no badge, and by its rules cannot. It is refused
as anything without a badge is. But the CORS layer that stands behind the guard, if there is one,
is put around the refusal: it gives it the headers with which a browser lets a page read it, and
answers a preflight in its place. No handler and no other middleware runs, for what the layer has
behind it is the refusal: `Access-Control-Request-Method` opens nothing but CORS itself.

Known are the layers of Starlette (FastAPI) and Litestar, flask-cors and django-cors-headers.
Nothing is imported here: where one is in use it is loaded.
"""

import copy
import io
import logging
import sys
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from rescind_guard.integrations import behind
from rescind_guard.integrations.http import Answer

log = logging.getLogger(__name__)

_LAYERS = {behind.STARLETTE, behind.LITESTAR}
_LAYER = "CORSMiddleware"
_DJANGO = "corsheaders.middleware"
_ALLOWED = "access-control-allow-origin"
OPTIONS = "OPTIONS"
_ASKS = "Access-Control-Request-Method"

App = Callable[[Any, Any, Any], Awaitable[None]]


def concerns(scope: Any) -> bool:
    """Whether a request of ASGI comes from a page of some origin."""
    return scope["type"] == "http" and any(name == b"origin" for name, _ in scope["headers"])


def around(app: Any, scope: Any, refusing: App) -> App:
    """Return `refusing` behind the CORS layer of `app`; as it is where there is none."""
    for each in behind.chain(app):
        if _is_layer(type(each)):
            return _copied(each, refusing)
    framework, last = behind.routes_by(app)
    for each in getattr(last, "user_middleware", ()):
        if _is_layer(each.cls):
            made: App = each.cls(refusing, *each.args, **each.kwargs)
            return made
    if framework == behind.LITESTAR and hasattr(last, "asgi_handler"):
        scope.setdefault("litestar_app", last)
        for each in behind.chain(last.asgi_handler):
            if _is_layer(type(each)):
                return _copied(each, refusing)
    return refusing


def _is_layer(kind: Any) -> bool:
    return any(
        base.__name__ == _LAYER and base.__module__.partition(".")[0] in _LAYERS
        for base in getattr(kind, "__mro__", ())
    )


def _copied(layer: Any, refusing: App) -> App:
    mine = copy.copy(layer)
    mine.app = refusing
    return mine  # type: ignore[no-any-return]


def on_wsgi(app: Any, environ: dict[str, Any], refusal: Answer) -> Answer:
    """Return a refusal as the CORS layer of Flask or Django has it; as it is without one."""
    framework, last = behind.routes_by(app)
    if "HTTP_ORIGIN" not in environ:
        return refusal
    if framework == behind.FLASK:
        return _safely(refusal, lambda: _flask(last, environ, refusal))
    if framework == behind.DJANGO and _has_corsheaders():
        return _safely(refusal, lambda: _django(last.request_class(environ), refusal))
    return refusal


def on_django(app: Any, scope: Any, refusal: Answer) -> Answer:
    """Return a refusal as the CORS layer of Django, served by ASGI, has it."""
    framework, last = behind.routes_by(app)
    if framework != behind.DJANGO or not _has_corsheaders():
        return refusal
    return _safely(refusal, lambda: _django(last.request_class(scope, io.BytesIO()), refusal))


def _safely(refusal: Answer, dress: Callable[[], Answer]) -> Answer:
    """Return what a layer makes of a refusal; the refusal itself if that breaks."""
    try:
        return dress()
    except Exception as broken:  # noqa: BLE001 - of the layer, whatever it is: the answer stays no
        log.error("the CORS layer failed: %s", type(broken).__name__)  # noqa: TRY400 - see `http.safely`
        return refusal


def _flask(app: Any, environ: dict[str, Any], refusal: Answer) -> Answer:
    """flask-cors adds its headers to whatever the application answers, by functions of its own."""
    if not any(_of_flask_cors(app, None)) and not any(_of_flask_cors(app, *app.blueprints)):
        return refusal
    with app.request_context(environ) as context:
        request = context.request
        is_preflight = request.method == OPTIONS and _ASKS in request.headers
        if is_preflight:
            answer = app.response_class(b"", 200)
        else:
            answer = app.response_class(refusal.body, refusal.status, list(refusal.headers))
        for add in _of_flask_cors(app, *request.blueprints, None):
            answer = add(answer)
        if is_preflight and _ALLOWED not in answer.headers:
            return refusal
        return Answer(answer.status_code, tuple(answer.headers.items()), answer.get_data())


def _of_flask_cors(app: Any, *names: str | None) -> Iterable[Any]:
    for name in names:
        for each in app.after_request_funcs.get(name, ()):
            if each.__module__.partition(".")[0] == "flask_cors":
                yield each


def _has_corsheaders() -> bool:
    settings = getattr(sys.modules.get("django.conf"), "settings", None)
    return f"{_DJANGO}.CorsMiddleware" in getattr(settings, "MIDDLEWARE", ())


def _django(request: Any, refusal: Answer) -> Answer:
    """django-cors-headers is a middleware, which answers a preflight, or what stands behind it."""
    make = sys.modules["django.http"].HttpResponse
    headers = dict(refusal.headers)
    layer = sys.modules[_DJANGO].CorsMiddleware(
        lambda _: make(refusal.body, status=refusal.status, headers=headers)
    )
    answer = layer(request)
    return Answer(answer.status_code, tuple(answer.items()), answer.content)
