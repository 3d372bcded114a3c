"""The raw connection under a WSGI request: out of reach, or ended with the badge."""

import socket
from collections.abc import Callable
from io import BytesIO
from typing import Any, Self

import pytest

from rescind.testing import Fabric, TestBadge
from rescind_guard.integrations.wsgi import GuardWSGI
from tests.fakes.waiting import WITHIN_S

Environ = dict[str, Any]
HANDSHAKE = {"HTTP_UPGRADE": "websocket", "HTTP_CONNECTION": "Upgrade", "REQUEST_METHOD": "GET"}


class Ways:
    """A socket pair, and each way in which a server hands its end over."""

    def __init__(self) -> None:
        self.server, self.client = socket.socketpair()
        self.client.settimeout(WITHIN_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.close()
        self.client.close()

    def environ(self, way: str, body: Any = None) -> Environ:
        """Return what of `environ` leads to the connection."""
        made: dict[str, Callable[[], Environ]] = {
            "werkzeug": lambda: {"werkzeug.socket": self.server},
            "gunicorn": lambda: {"gunicorn.socket": self.server},
            "a server of tomorrow": lambda: {"anything.at.all": self.server},
            "eventlet": lambda: {"eventlet.input": self._eventlet(), "wsgi.input": body},
            "gevent": self._gevent,
            "geventwebsocket": lambda: {
                "wsgi.websocket": _Has(stream=_Has(handler=_Has(socket=self.server)))
            },
        }
        return made[way]()

    def _eventlet(self) -> Any:
        return _Has(get_socket=lambda: self.server)

    def _gevent(self) -> Environ:
        raw = _Has(raw=_Has(_sock=self.server))
        return {"SERVER_SOFTWARE": "gevent/26.9 Python/3.11", "wsgi.input": _Has(rfile=raw)}


class _Has:
    def __init__(self, **members: Any) -> None:
        self.__dict__.update(members)


WAYS = ("werkzeug", "gunicorn", "a server of tomorrow", "eventlet", "gevent", "geventwebsocket")


def asked(guard: Any, app: Any, badge: TestBadge, environ: Environ) -> tuple[str, bytes]:
    """Send a request through a guarded application; return status and body."""
    statuses: list[str] = []

    def start(status: str, _: object, *__: object) -> Callable[[bytes], object]:
        statuses.append(status)
        return lambda _: None

    headers = {"HTTP_X_CAPISCIO_BADGE": badge.token, "PATH_INFO": "/ws"}
    answer = GuardWSGI(app, guard)({"REQUEST_METHOD": "GET", **headers, **environ}, start)
    try:
        body = b"".join(answer)
        return statuses[0] if statuses else "", body
    finally:
        getattr(answer, "close", lambda: None)()


@pytest.mark.parametrize("way", WAYS)
def test_a_kill_ends_a_connection_that_was_taken_over(way: str) -> None:
    """Whoever reads it is told at once, by whatever way the server handed it over."""
    with Fabric() as fabric, Ways() as ways:
        badge, guard = fabric.badge(), fabric.guard()

        def takes_over(_: Environ, __: Any) -> list[bytes]:
            fabric.kill(badge)
            assert ways.client.recv(1) == b""
            return []

        asked(guard, takes_over, badge, {**HANDSHAKE, **ways.environ(way)})


def test_what_ran_on_a_connection_is_over_when_the_application_returns() -> None:
    """Nothing goes on unwatched on a socket that somebody kept."""
    with Fabric() as fabric, Ways() as ways:
        badge = fabric.badge()
        environ = {**HANDSHAKE, **ways.environ("gunicorn")}
        asked(fabric.guard(), lambda *_: [], badge, environ)
        assert ways.client.recv(1) == b""


def test_a_handshake_that_the_application_refuses_is_answered() -> None:
    """A plain response to it leaves as any other, on a connection that stays."""
    with Fabric() as fabric, Ways() as ways:

        def refuses(_: Environ, start: Any) -> list[bytes]:
            start("400 Bad Request", [])
            return [b"no"]

        environ = {**HANDSHAKE, **ways.environ("gunicorn")}
        assert asked(fabric.guard(), refuses, fabric.badge(), environ) == ("400 Bad Request", b"no")
        ways.server.sendall(b"!")
        assert ways.client.recv(1) == b"!"


def test_a_websocket_that_could_not_be_ended_is_refused_in_words() -> None:
    """A server without a way to its connection opens none."""
    with Fabric() as fabric:
        status, body = asked(fabric.guard(), never, fabric.badge(), HANDSHAKE)
        assert status == "403 Forbidden"
        assert b"cannot be ended" in body


def never(*_: Any) -> Any:
    """Fail where it is called."""
    pytest.fail("the application was called")


@pytest.mark.parametrize("way", WAYS)
def test_a_request_without_an_upgrade_reaches_no_connection(way: str) -> None:
    """Nothing in `environ` leads to a socket, and of the body only PEP 3333 is left."""
    with Fabric() as fabric, Ways() as ways:
        seen: list[Environ] = []
        environ = {**ways.environ(way), "wsgi.input": BytesIO(b"body")}
        app = reads_into(seen)
        assert asked(fabric.guard(), app, fabric.badge(), environ) == ("200 OK", b"body")
        names = ("recv", "get_socket", "fileno", "raw", "rfile", "stream")
        assert not any(hasattr(said, name) for said in seen[0].values() for name in names)


def test_another_upgrade_is_not_passed_on_where_no_connection_is_found() -> None:
    """Java's clients ask for h2c with each request: they get an ordinary answer."""
    with Fabric() as fabric:
        seen: list[Environ] = []
        environ = {"HTTP_UPGRADE": "h2c", "HTTP_CONNECTION": "Upgrade", "wsgi.input": BytesIO()}
        assert asked(fabric.guard(), reads_into(seen), fabric.badge(), environ)[0] == "200 OK"
        assert not {"HTTP_UPGRADE", "HTTP_CONNECTION"} & seen[0].keys()


def reads_into(seen: list[Environ]) -> Any:
    """Return an application that keeps its `environ` and returns the body."""

    def app(environ: Environ, start: Any) -> list[bytes]:
        seen.append(environ)
        start("200 OK", [])
        return [b"".join(environ["wsgi.input"])]

    return app
