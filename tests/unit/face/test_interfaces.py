"""Which interface an application speaks is told before it is served, or asked for."""

import functools
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

import rescind
from rescind.interfaces import is_asgi
from rescind_guard.integrations.errors import CannotGuard


async def app(scope: Any, receive: Any, send: Any) -> None:
    """An application of ASGI."""


def old(environ: Any, start_response: Any) -> list[bytes]:  # noqa: ARG001
    """An application of WSGI."""
    return []


class Returns:
    """Returns the awaitable of another."""

    def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        """Call it."""
        return app(scope, receive, send)


class SetByInit:
    """Chooses what it is when it is made, as Sentry's middleware does."""

    __slots__ = ("__call__", "app")

    def __init__(self, inner: Any) -> None:
        self.app = inner
        self.__call__ = self._three

    async def _three(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


def hidden(call: Any) -> Any:
    """Decorate, and keep nothing of what is decorated."""

    def outer(*given: Any) -> Any:
        return call(*given)

    return outer


def logged(call: Any) -> Any:
    """Decorate as one should."""

    @functools.wraps(call)
    def outer(*given: Any) -> Any:
        return call(*given)

    return outer


class Decorated:
    """Its call is decorated."""

    @logged
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Do nothing."""


class Streams:
    """An application of WSGI of the old kind: a class, whose instances are the answer."""

    def __init__(self, environ: Any, start_response: Any) -> None:
        """Take the request."""


class Bound:
    """Its method is the application."""

    def serve(self, environ: Any, start_response: Any, *, debug: bool = False) -> list[bytes]:  # noqa: ARG002
        """Answer."""
        return []


def middleware(inner: Any, scope: Any, receive: Any, send: Any) -> Any:
    """Stand before another."""
    return inner(scope, receive, send)


IS_ASGI: list[Callable[..., Any]] = [
    app,
    logged(app),
    functools.partial(middleware, app),
    functools.partial(functools.partial(middleware, app)),
    Returns(),
    SetByInit(app),
    Decorated(),
    Starlette(),
    CORSMiddleware(Starlette()),
]
IS_WSGI: list[Callable[..., Any]] = [
    old,
    logged(old),
    functools.partial(lambda _, environ, start: old(environ, start), None),
    Streams,
    Bound().serve,
    Flask("x"),
    ProxyFix(old),
]


@pytest.mark.parametrize("given", IS_ASGI)
def test_an_application_of_asgi(given: Any) -> None:
    """Whatever hides its `async def`."""
    assert is_asgi(given)


@pytest.mark.parametrize("given", IS_WSGI)
def test_an_application_of_wsgi(given: Any) -> None:
    """By its two arguments."""
    assert not is_asgi(given)


@pytest.mark.parametrize(
    "given", [hidden(app), hidden(old), lambda _: None, print, lambda a, b, c=None: (a, b, c)]
)
def test_what_does_not_show_it_has_to_be_told(given: Any) -> None:
    """Neither is guessed: a guard of the other kind would fail at each request."""
    with pytest.raises(CannotGuard, match='kind="asgi"'):
        is_asgi(given)
    with pytest.raises(CannotGuard, match='kind="asgi"'):
        rescind.wrap(given)
    assert is_asgi(given, "asgi")
    assert not is_asgi(given, "wsgi")
    with pytest.raises(CannotGuard, match="'asgi' or 'wsgi', not 'http'"):
        rescind.wrap(given, kind="http")  # type: ignore[arg-type]
