"""The same small service in every framework, and real servers for it."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import uvicorn

from rescind_guard import Guard
from rescind_guard.integrations.asgi import GuardASGI
from rescind_guard.integrations.wsgi import GuardWSGI
from tests.fakes.waiting import WITHIN_S, wait_until

ORDER = "300 widgets"


class Steps:
    """What the handlers do and wait for, seen from the test."""

    def __init__(self) -> None:
        self.seen: list[dict[str, str]] = []
        self.entered, self.go_on = threading.Event(), threading.Event()
        self.cancelled = threading.Event()

    async def events(self) -> AsyncIterator[str]:
        """One event, and then silence."""
        try:
            yield "data: first\n\n"
            self.entered.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


def starlette(steps: Steps, guard: Guard) -> Any:
    """Starlette, with a WebSocket and an event stream."""
    from starlette.applications import Starlette  # noqa: PLC0415
    from starlette.requests import Request  # noqa: PLC0415
    from starlette.responses import PlainTextResponse, StreamingResponse  # noqa: PLC0415
    from starlette.routing import Route, WebSocketRoute  # noqa: PLC0415
    from starlette.websockets import WebSocket  # noqa: PLC0415

    async def order(request: Request) -> PlainTextResponse:
        steps.seen.append(dict(request.headers))
        return PlainTextResponse(ORDER)

    def slow(_: Request) -> PlainTextResponse:
        steps.entered.set()
        assert steps.go_on.wait(WITHIN_S)
        return PlainTextResponse(ORDER)

    async def events(_: Request) -> StreamingResponse:
        return StreamingResponse(steps.events(), media_type="text/event-stream")

    async def listen(socket: WebSocket) -> None:
        await socket.accept()
        while True:
            await socket.send_text(await socket.receive_text())

    async def health(_: Request) -> PlainTextResponse:
        return PlainTextResponse("up")

    app = Starlette(
        routes=[
            Route("/orders/7", order, methods=["GET", "DELETE"]),
            Route("/slow", slow),
            Route("/events", events),
            Route("/healthz", health),
            WebSocketRoute("/listen", listen),
        ]
    )
    app.add_middleware(GuardASGI, guard=guard, exempt={"GET /healthz": "a probe"})
    return app


def fastapi(steps: Steps, guard: Guard) -> Any:
    """FastAPI."""
    from fastapi import FastAPI, Request  # noqa: PLC0415
    from fastapi.responses import PlainTextResponse  # noqa: PLC0415

    app = FastAPI()

    async def order(request: Any) -> str:
        steps.seen.append(dict(request.headers))
        return ORDER

    order.__annotations__["request"] = Request
    app.get("/orders/7", response_class=PlainTextResponse)(order)
    app.add_middleware(GuardASGI, guard=guard)
    return app


def litestar(steps: Steps, guard: Guard) -> Any:
    """Litestar."""
    from litestar import Litestar, MediaType, Request, get  # noqa: PLC0415

    async def order(request: Any) -> str:
        steps.seen.append({name.lower(): said for name, said in request.headers.items()})
        return ORDER

    order.__annotations__["request"] = Request[Any, Any, Any]
    app = Litestar([get("/orders/7", media_type=MediaType.TEXT)(order)])
    app.asgi_handler = GuardASGI(app.asgi_handler, guard)  # type: ignore[assignment, arg-type]
    return app


def flask(steps: Steps, guard: Guard) -> Any:
    """Flask, with a stream."""
    from flask import Flask, Response, request  # noqa: PLC0415

    app = Flask("orders")

    @app.get("/orders/7")
    def order() -> str:
        steps.seen.append({name.lower(): said for name, said in request.headers.items()})
        return ORDER

    @app.get("/slow")
    def slow() -> str:
        steps.entered.set()
        assert steps.go_on.wait(WITHIN_S)
        return ORDER

    def parts() -> Iterator[str]:
        yield "data: first\n\n"
        steps.entered.set()
        assert steps.go_on.wait(WITHIN_S)
        yield "data: second\n\n"

    app.get("/events", endpoint="events")(lambda: Response(parts(), mimetype="text/event-stream"))
    app.get("/export", endpoint="export")(lambda: Response(parts(), mimetype="text/csv"))
    app.wsgi_app = GuardWSGI(app.wsgi_app, guard)  # type: ignore[method-assign]
    return app


def django(steps: Steps, guard: Guard) -> Any:
    """Django, by WSGI."""
    from django.conf import settings  # noqa: PLC0415
    from django.core.wsgi import get_wsgi_application  # noqa: PLC0415
    from django.http import HttpRequest, HttpResponse  # noqa: PLC0415
    from django.urls import path  # noqa: PLC0415

    def order(request: HttpRequest) -> HttpResponse:
        steps.seen.append({name.lower(): str(said) for name, said in request.headers.items()})
        return HttpResponse(ORDER)

    routes = type("urls", (), {"urlpatterns": [path("orders/7", order)]})
    if not settings.configured:
        settings.configure(ALLOWED_HOSTS=["*"], SECRET_KEY="test", ROOT_URLCONF=routes)
    settings.ROOT_URLCONF = routes
    return GuardWSGI(get_wsgi_application(), guard)


FRAMEWORKS: dict[str, Callable[[Steps, Guard], Any]] = {
    "starlette": starlette,
    "fastapi": fastapi,
    "litestar": litestar,
    "flask": flask,
    "django": django,
}


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """Serve an application on the loopback; gives its address."""
    is_wsgi = isinstance(app, GuardWSGI) or hasattr(app, "wsgi_app")
    with _wsgi(app) if is_wsgi else _asgi(app) as url:
        yield url


class _Threads(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Write nothing."""


@contextmanager
def _wsgi(app: Any) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, app, _Threads, _Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def _asgi(app: Any) -> Iterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, log_config=None, timeout_graceful_shutdown=1, ws="websockets-sansio"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    wait_until(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(WITHIN_S)
        listener.close()
