"""MCP's older transport, HTTP+SSE (protocol 2024-11-05): one stream a session.

A GET opens it; its first event tells where to post, and with that the session (`session_id`). All
that is said in the session leaves by this stream, whoever posted to it. So it belongs to all who
called in the session: once a badge of one of them is killed it ends, and what is posted is refused.
To the server it looks as if the client had gone away.

A message of a session whose stream was not seen here is refused: nobody could end it.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeGuard
from uuid import UUID

from starlette.datastructures import QueryParams

from rescind_guard.decision import Decision
from rescind_guard.integrations import http, mcp_streams, proven
from rescind_guard.integrations.asgi import EVENT_STREAM, App, Flow, Message, Receive, Scope, Send
from rescind_guard.integrations.asgi import refuse as answer
from rescind_guard.integrations.carriage import Bearer
from rescind_guard.integrations.http import Guards
from rescind_guard.integrations.mcp_streams import SESSION_KEY, OfSession, Session, Sessions

PREFIX = "sse "
"""Of these sessions' names in the book: those of the other transport are headers of any form."""
_PARAMETER = "session_id"
_FIRST = re.compile(rb"\Aevent: endpoint\r?\ndata: [^\r\n]*[?&]session_id=([0-9a-f]{32})\r?\n")


class GuardOlder:
    """ASGI middleware of such an application; the module's docstring has the rules."""

    def __init__(self, app: App, guard: Guards, sessions: Sessions, *, bearer: Bearer) -> None:
        self._app, self._guard, self._sessions, self._bearer = app, guard, sessions, bearer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Watch what a GET opens; say in which session a message is posted."""
        if scope.get("method") == "GET":
            await self._open(scope, receive, send)
        elif scope["type"] == "http":
            name = session_of(scope)
            session = self._sessions.find(name) if name is not None else None
            if session is not None and session.refusal is not None:
                await answer(scope, send, session.refusal)
            else:
                await self._app({**scope, SESSION_KEY: name}, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _open(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [*mcp_streams.headers_of(scope), *proven.headers(scope)]
        decision = http.decide(self._guard, headers, tool=None, bearer=self._bearer, exempt=True)
        if not decision:
            await answer(scope, send, decision)
            return
        opening = _Opening(self._sessions, send)
        watched = OfSession(self._guard, opening.session)
        flow = _Leaving(watched, decision, scope, receive, opening.send)
        try:
            await flow.run(partial(self._app, scope))
        finally:
            opening.close()


class _Leaving(Flow):
    """A stream whose application is told that its client has gone: so it closes what it has open.

    Cancelled, as other streams are, mcp would leave the session's inner streams behind.
    """

    _left: asyncio.Event | None = None

    async def run(self, app: Callable[[Receive, Send], Awaitable[None]]) -> None:
        """Run the application to its end, or until the session is over."""
        self._left = asyncio.Event()
        await super().run(app)

    def _end(self, refusal: Decision) -> None:
        self._refusal = self._refusal or refusal
        if self._left is not None:
            self._left.set()

    async def receive(self) -> Message:
        """Return what comes from the client, or that it has gone."""
        if self._left is None:
            return await super().receive()
        came = asyncio.ensure_future(super().receive())
        left = asyncio.ensure_future(self._left.wait())
        try:
            await asyncio.wait((came, left), return_when=asyncio.FIRST_COMPLETED)
            return {"type": "http.disconnect"} if self._left.is_set() else came.result()
        finally:
            came.cancel()
            left.cancel()


class _Opening:
    """An answer that may turn out to be a stream; it is put down before the client hears of it."""

    def __init__(self, sessions: Sessions, send: Send) -> None:
        self.session = Session()
        self._sessions, self._send = sessions, send
        self._is_events = False
        self._name: str | None = None

    async def send(self, message: Message) -> None:
        """Pass it on."""
        if message["type"] == "http.response.start":
            said = dict(mcp_streams.headers_of(message))
            self._is_events = said.get("content-type", "").startswith(EVENT_STREAM.decode())
        elif self._is_events and self._name is None:
            found = _FIRST.match(message.get("body", b""))
            if found is not None:
                self._name = PREFIX + found[1].decode()
                self._sessions.begin(self._name, self.session)
        await self._send(message)

    def close(self) -> None:
        """Forget the session: it ends with its stream."""
        if self._name is not None:
            self._sessions.forget(self._name)


def is_older(name: str | None) -> TypeGuard[str]:
    """Return whether a session's name is of this transport."""
    return name is not None and name.startswith(PREFIX)


def session_of(scope: Scope) -> str | None:
    """Return the name of the session that a message is posted to, as the transport reads it."""
    said = QueryParams(scope.get("query_string", b"")).get(_PARAMETER)
    try:
        return None if said is None else PREFIX + UUID(hex=said).hex
    except ValueError:
        return None
