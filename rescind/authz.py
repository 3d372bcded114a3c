"""The guard as a service for proxies: Envoy's HTTP `ext_authz`, nginx's `auth_request`.

- Under `/envoy`, Envoy's `path_prefix`: method and path are the caller's, after the prefix.
- `/nginx`: method and path come in `X-Original-Method` and `X-Original-URI`, which nginx must set.
- Rules of paths see the path decoded, as a framework's would. One that can be read in two ways is
  refused with 403, for the service might read it in the other (RFC 3986 §6.2.2).
- 200 with `X-Rescind-*`, all of them always, so that a proxy writes over what a caller sent; else
  the refusals of `rescind_guard.integrations.http`. Any other path is refused: a proxy that asks
  in a way that is not known gets no yes.

It listens on a Unix socket (0600, or 0660 for one group) or on the loopback, without TLS: whoever
may reach it learns whether a badge is good, and nothing more. Requests are never stored; a body is
not read. uvicorn, with h11: what a request's head may take is bounded there.
"""

import os
import shutil
import socket
import stat
import threading
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote

import uvicorn

from rescind.errors import BadConfig
from rescind_guard.codes import Code, Outcome
from rescind_guard.decision import Decision
from rescind_guard.integrations import carriage, http
from rescind_guard.integrations.asked import asked
from rescind_guard.integrations.carriage import Bearer
from rescind_guard.integrations.http import Guards, Header

ENVOY, NGINX = "/envoy", "/nginx"
REMOVE_HEADER = "x-envoy-auth-headers-to-remove"
"""What Envoy takes out of the request before the service sees it."""
ORIGINAL_METHOD, ORIGINAL_URI = "x-original-method", "x-original-uri"
MAX_HEAD_BYTES = 64 * 1024
"""Envoy passes 60 KiB on at most (max_request_headers_kb), nginx 32 KiB."""
MAX_PORT = 65_535
MAX_CONNECTIONS = 1024
"""Further ones are answered 503."""
BACKLOG = 1024
STOP_WITHIN_S = 5.0
UNIX = "unix:"
LOOPBACK = ("127.0.0.1", "::1", "localhost")

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]


class Authz:
    """The ASGI application; `guard` decides."""

    def __init__(self, guard: Guards, *, bearer: Bearer = "badge") -> None:
        self._guard, self._bearer = guard, bearer

    async def __call__(self, scope: Message, _: object, send: Send) -> None:
        """Answer one question."""
        headers = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in scope["headers"]]
        tool = _asked(scope, headers)
        if isinstance(tool, Decision):
            await _refuse(send, tool)
            return
        decision = http.decide(self._guard, headers, tool=tool, bearer=self._bearer, exempt=False)
        if decision:
            known = (*http.identity(decision), (REMOVE_HEADER, self._badges(scope)))
            await _answer(send, 200, (*known, ("content-length", "0")), b"")
        else:
            await _refuse(send, decision)

    def _badges(self, scope: Message) -> str:
        """Return the names of the headers that carry the badge."""
        lent = any(
            name == carriage.AUTHORIZATION.encode()
            and carriage.carries_badge(name, value, bearer=self._bearer)
            for name, value in scope["headers"]
        )
        own = [carriage.BADGE_HEADER, carriage.MAP_HEADER]
        return ",".join([*own, *([carriage.AUTHORIZATION] if lent else [])])


def _asked(scope: Message, headers: list[Header]) -> str | Decision:
    """Return method and path that the caller asks for, or the refusal of a question like that."""
    if sum(len(name) + len(value) for name, value in headers) > MAX_HEAD_BYTES:
        # h11 looks at what has not come whole; one that has is looked at here.
        return Decision(Outcome.DENY, Code.BADGE_MALFORMED, "the head of the request is too long")
    path = str(scope["path"])
    if path.startswith(f"{ENVOY}/"):
        return asked(scope["method"], path.removeprefix(ENVOY))
    if path != NGINX:
        return _misconfigured(f"the proxy must ask under {ENVOY} or {NGINX}")
    methods, uris = ([v for n, v in headers if n == x] for x in (ORIGINAL_METHOD, ORIGINAL_URI))
    if len(methods) != 1 or len(uris) != 1:
        return _misconfigured("nginx must set X-Original-Method and X-Original-URI, once each")
    # nginx passes on what the caller wrote, and Envoy leaves an escaped slash: `/orders/..%2fadmin`
    # is one path to this rule and another to that service.
    return asked(methods[0], unquote(uris[0].partition("?")[0]))


def _misconfigured(sentence: str) -> Decision:
    return Decision(Outcome.CANNOT_TELL, Code.REVOCATION_CHECK_FAILED, sentence)


async def _refuse(send: Send, decision: Decision) -> None:
    answer = http.refused(decision)
    await _answer(send, answer.status, answer.headers, answer.body)


async def _answer(send: Send, status: int, headers: Iterable[Header], body: bytes) -> None:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


def listen(address: str, *, folder: Path, group: str | None = None) -> socket.socket:
    """Return a socket that listens on `unix:PATH` or loopback `HOST:PORT`; raises `BadConfig`."""
    try:
        if address.startswith(UNIX):
            return _unix(folder / address.removeprefix(UNIX), group)
        return _loopback(address)
    except OSError as error:
        raise BadConfig(f"cannot listen on {address}: {error.strerror or error}") from error


def address(said: str, folder: Path) -> str:
    """Return an address as a proxy needs it: a socket's path absolute."""
    path = folder / said.removeprefix(UNIX)
    return f"{UNIX}{path}" if said.startswith(UNIX) else said


def _loopback(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    if host not in LOOPBACK or not port.isdecimal() or int(port) > MAX_PORT:
        raise BadConfig(f"authz_listen must be unix:PATH or 127.0.0.1:PORT, not {address!r}")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named, for asyncio switches Nagle's algorithm off only then.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, int(port)))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _unix(path: Path, group: str | None) -> socket.socket:
    _clear(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        # Nobody can connect before it listens: the rights are there first.
        path.chmod(0o600)
        if group is not None:
            _give(path, group)
        listener.listen(BACKLOG)
    except (OSError, BadConfig):
        listener.close()
        raise
    return listener


def _give(path: Path, group: str) -> None:
    try:
        shutil.chown(path, group=group)
    except LookupError as error:
        raise BadConfig(f"authz_group: there is no group {group!r}") from error
    path.chmod(0o660)


def _clear(path: Path) -> None:
    """Remove a socket that nobody listens on any more; raises `BadConfig` for anything else."""
    if not os.path.lexists(path):
        return
    if not stat.S_ISSOCK(path.lstat().st_mode):
        raise BadConfig(f"{path} is there and is no socket: choose another path for authz_listen")
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe,
        suppress(ConnectionRefusedError),
    ):
        probe.connect(str(path))
        raise BadConfig(f"another sidecar listens on {path}: one is enough")
    path.unlink()


class Server:
    """Answers on a socket that listens, in a thread of its own; a context manager."""

    def __init__(self, app: Any, listener: socket.socket) -> None:
        self._name = listener.getsockname()
        self._listener = listener
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                http="h11",
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,
                proxy_headers=False,
                h11_max_incomplete_event_size=MAX_HEAD_BYTES,
                limit_concurrency=MAX_CONNECTIONS,
                timeout_keep_alive=75,  # longer than nginx keeps its own (60 s)
                timeout_graceful_shutdown=int(STOP_WITHIN_S / 2),
            )
        )
        self._thread = threading.Thread(target=self._run, name="rescind-authz", daemon=True)

    def _run(self) -> None:
        with suppress(SystemExit):  # how uvicorn says that it could not start
            self._server.run(sockets=[self._listener])

    @property
    def running(self) -> bool:
        """Whether it still answers."""
        return self._thread.is_alive()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(STOP_WITHIN_S)
        self._listener.close()
        if isinstance(self._name, str) and self._name:
            Path(self._name).unlink(missing_ok=True)
