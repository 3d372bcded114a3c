"""The raw connection under a WSGI request: who can take it, and how it is ended at a kill.

PEP 3333 has no WebSockets. Each server hands its socket over in a way of its own, and what runs on
that socket afterwards passes no guard. So:

- A WebSocket handshake reaches the application only where the connection can be found, by one of
  the ways in `WAYS`; it is shut down when its badge is killed. Elsewhere it is refused in words.
- An upgrade to anything else (`h2c`, …) is not passed on where the connection cannot be found: the
  application sees an ordinary request, which RFC 9110 §7.8 allows.
- In every other request nothing of the connection is in reach: what has a socket's methods is taken
  out of `environ`, and of `wsgi.input` only the methods of PEP 3333 are left.
"""

import _socket  # not `socket`, whose classes gevent and eventlet replace; nothing is sent here
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from rescind_guard.codes import Code, Outcome
from rescind_guard.decision import Decision

Environ = dict[str, Any]

_INPUT = "wsgi.input"
_UPGRADE = "HTTP_UPGRADE"
_ASKS = (_UPGRADE, "HTTP_CONNECTION", "HTTP_HTTP2_SETTINGS")
_OPENED = "wsgi.websocket"
_HANDSHAKE = ("HTTP_SEC_WEBSOCKET_KEY", "HTTP_SEC_WEBSOCKET_KEY1", "HTTP_SEC_WEBSOCKET_VERSION")
_RAW = ("recv", "get_socket", "connection_fd")
"""Whoever has one of these methods gives a connection away."""
REFUSED = Decision(
    Outcome.DENY,
    Code.TOOL_POLICY_DENIED,
    "this server's WebSockets cannot be ended when a badge is killed, so none is opened; serve the "
    "application with one that hands its socket over (gunicorn, werkzeug, gevent, eventlet, uWSGI)",
)


def is_websocket(environ: Environ) -> bool:
    """Whether the request begins a WebSocket, by any version of the protocol."""
    names = {each.strip().lower() for each in str(environ.get(_UPGRADE, "")).split(",")}
    return "websocket" in names or any(name in environ for name in _HANDSHAKE)


def is_upgrade(environ: Environ) -> bool:
    """Whether the request asks to go on in another protocol."""
    return _UPGRADE in environ or is_websocket(environ)


def hidden(environ: Environ) -> Environ:
    """Return the request without its raw connection, and as one that asks for no other protocol."""
    gone = (*_ASKS, _OPENED) if _UPGRADE in environ else (_OPENED,)
    kept = {name: said for name, said in environ.items() if name not in gone and not _is_raw(said)}
    if _INPUT in environ:
        kept[_INPUT] = _Sealed(environ[_INPUT])
    return kept


def _is_raw(said: object) -> bool:
    return said.__class__ is not str and any(hasattr(said, name) for name in _RAW)


class _Sealed:
    """A request's body with the methods of PEP 3333 alone; its file leads to the socket."""

    __slots__ = ("_lines", "read", "readline", "readlines")

    def __init__(self, body: Any) -> None:
        self.read, self.readline, self.readlines = body.read, body.readline, body.readlines
        self._lines = body.__iter__

    def __iter__(self) -> Iterator[bytes]:
        lines: Iterator[bytes] = self._lines()
        return lines


# --- where a connection is found ---


def _in_environ(environ: Environ) -> Iterator[Any]:
    """Find what has a socket's methods: `werkzeug.socket`, `gunicorn.socket` and their like."""
    yield from (said for said in environ.values() if hasattr(said, "recv"))


def _of_eventlet(environ: Environ) -> Iterator[Any]:
    for name in ("eventlet.input", _INPUT):
        if hasattr(environ.get(name), "get_socket"):
            yield environ[name].get_socket()


def _of_gevent(environ: Environ) -> Iterator[Any]:
    """Find what gevent's `pywsgi` reads the body from, where simple-websocket looks for it."""
    if str(environ.get("SERVER_SOFTWARE", "")).startswith("gevent"):
        body = environ.get(_INPUT)
        yield getattr(getattr(getattr(body, "rfile", body), "raw", None), "_sock", None)


def _of_geventwebsocket(environ: Environ) -> Iterator[Any]:
    """Find the socket of a handshake that `geventwebsocket` has made already."""
    handler = getattr(getattr(environ.get(_OPENED), "stream", None), "handler", None)
    yield getattr(handler, "socket", None)


def _of_uwsgi(environ: Environ) -> Iterator[Any]:
    """Ask uWSGI, whose WebSockets are functions of a module and leave no trace in `environ`."""
    module = sys.modules.get("uwsgi")
    if module is not None and "uwsgi.version" in environ and hasattr(module, "connection_fd"):
        yield module.connection_fd()


WAYS: tuple[Callable[[Environ], Iterator[Any]], ...] = (
    _in_environ,
    _of_eventlet,
    _of_gevent,
    _of_geventwebsocket,
    _of_uwsgi,
)


class Connection:
    """The raw connection of one request, to be ended from any thread.

    It is a duplicate of the descriptor: however soon the server closes its own, the number cannot
    have become another connection's.
    """

    def __init__(self, number: int) -> None:
        # Who uses the number takes it out meanwhile: no lock, which gevent would replace.
        self._held = [os.dup(number)]
        self._closed = False

    def end(self) -> None:
        """Shut it down both ways: whoever reads or writes it is told at once."""
        with suppress(IndexError):
            number = self._held.pop()
            # Not before now: to make a socket of a descriptor may change how it blocks.
            raw = _socket.socket(fileno=number)
            with suppress(OSError):  # the client has left
                raw.shutdown(_socket.SHUT_RDWR)
            self._held.append(raw.detach())
        if self._closed:
            self.close()

    def close(self) -> None:
        """Let go of it."""
        self._closed = True
        with suppress(IndexError):
            os.close(self._held.pop())


def connection_of(environ: Environ) -> Connection | None:
    """Return the connection of a request; None where no way leads to one."""
    for way in WAYS:
        for found in way(environ):
            with suppress(OSError, AttributeError, TypeError, ValueError):
                return Connection(found if isinstance(found, int) else found.fileno())
    return None
