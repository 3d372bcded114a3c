"""Requests as servers hand them to an application: any path, method and prefix, and no server."""

import asyncio
import io
from collections.abc import Callable, Mapping
from typing import Any

Headers = Mapping[str, str]


class Answer:
    """What came back."""

    def __init__(self) -> None:
        self.status, self.body = 0, b""
        self.headers: dict[str, str] = {}

    @property
    def text(self) -> str:
        """The body."""
        return self.body.decode()


async def asgi(
    app: Any, method: str, path: str, *, root: str = "", headers: Headers | None = None
) -> Answer:
    """Ask an application of ASGI; `path` has the prefix before it already."""
    answer = Answer()
    raw = [(name.lower().encode(), said.encode()) for name, said in (headers or {}).items()]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": root,
        "headers": [(b"host", b"testserver"), *raw],
        "server": ("testserver", 80),
        "client": ("127.0.0.1", 1),
        "state": {},
    }

    sent: list[bool] = []

    async def receive() -> dict[str, Any]:
        if sent:
            await asyncio.Event().wait()  # the client stays
        sent.append(True)
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            pairs = message.get("headers", ())
            answer.headers = {n.decode().lower(): v.decode("latin-1") for n, v in pairs}
        elif message["type"] == "http.response.body":
            answer.body += message.get("body", b"")

    await app(scope, receive, send)
    return answer


async def wsgi(
    app: Any, method: str, path: str, *, root: str = "", headers: Headers | None = None
) -> Answer:
    """Ask an application of WSGI, as gunicorn does: the prefix is taken off the path."""
    answer = Answer()
    rest = path.removeprefix(root) if root else path
    named = {f"HTTP_{n.upper().replace('-', '_')}": said for n, said in (headers or {}).items()}
    environ = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": root,
        "PATH_INFO": rest.encode("utf-8", "surrogateescape").decode("latin-1"),
        "QUERY_STRING": "",
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "testserver",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **named,
    }

    def start(status: str, pairs: list[tuple[str, str]], *_: object) -> Callable[[bytes], None]:
        answer.status = int(status.split(maxsplit=1)[0])
        answer.headers = {name.lower(): said for name, said in pairs}
        return lambda _: None

    parts = app(environ, start)
    try:
        answer.body = b"".join(parts)
    finally:
        if hasattr(parts, "close"):
            parts.close()
    return answer
