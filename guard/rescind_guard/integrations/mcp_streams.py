"""The GET streams of an MCP session, which no message passes (protocol 2025-11-25 and before).

A client of streamable HTTP opens one for what the server has to say by itself, and resumes a broken
stream by `Last-Event-ID`: a server with an event store then says again what it said before, results
included. The middleware of messages sees neither.

- A stream belongs to all who called in its session. Once a badge of one of them is killed, the open
  ones end, and none is opened again: a living caller begins a new session.
- To resume, the badge must come in a header, be good, and be of the one agent that called in the
  session; another agent's counts as none. Where nobody is known to have called, nothing is said
  again.
- To open one without `Last-Event-ID` needs no badge, as the lists do: it says nothing of the past.

Here a refusal is HTTP: 401, 403 or 503, as everywhere but in JSON-RPC. A client that gets no
stream goes on without.
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from functools import partial, wraps
from typing import Any

from rescind_guard.decision import Decision
from rescind_guard.inflight import End, Work
from rescind_guard.integrations import http
from rescind_guard.integrations.asgi import App, Flow, Receive, Scope, Send, refuse
from rescind_guard.integrations.carriage import Bearer
from rescind_guard.integrations.http import Guards

SESSION_HEADER = "mcp-session-id"
RESUME_HEADER = "last-event-id"
MAX_SESSIONS = 10_000
"""As many as a server of mcp has by default; the one used least recently is forgotten, and cannot
be resumed."""
MAX_BADGES = 16
"""Of one session; a badge lives for minutes, and the one before sixteen others is long expired."""

Agent = tuple[str, str]
"""Issuer and subject."""


class Session:
    """Who called in one session, and its open streams."""

    def __init__(self) -> None:
        self.agents: set[Agent] = set()
        self.refusal: Decision | None = None
        """What ended it."""
        self.works: OrderedDict[str, Work | None] = OrderedDict()
        """By badge; None until it is watched."""
        self.ends: dict[object, End] = {}
        """How each open stream is ended."""

    def end(self, refusal: Decision) -> None:
        """End all streams; in the watcher's thread."""
        self.refusal = self.refusal or refusal
        for end in list(self.ends.values()):
            end(refusal)

    def close(self) -> None:
        """Watch nothing any more."""
        for work in list(self.works.values()):
            if work is not None:
                work.close()


class Sessions:
    """The sessions of one server, by their id. Any thread may ask."""

    def __init__(self, guard: Guards) -> None:
        self._guard = guard
        self._known: OrderedDict[str, Session] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, name: str) -> Session:
        """Return a session, a new one if it is not known."""
        with self._lock:
            session = self._known.setdefault(name, Session())
            self._known.move_to_end(name)
            oldest = self._known.popitem(last=False)[1] if len(self._known) > MAX_SESSIONS else None
        if oldest is not None:
            oldest.close()
        return session

    def forget(self, name: str) -> None:
        """Drop a session that its client has ended."""
        with self._lock:
            session = self._known.pop(name, None)
        if session is not None:
            session.close()

    def note(self, name: str, decision: Decision) -> None:
        """Remember that this caller was admitted in a session."""
        claims, session = decision.claims, self.of(name)
        if claims is None:
            return
        with self._lock:
            session.agents.add((claims.iss, claims.sub))
            if claims.jti in session.works:
                return
            session.works[claims.jti] = None
            oldest = (
                session.works.popitem(last=False)[1] if len(session.works) > MAX_BADGES else None
            )
        if oldest is not None:
            oldest.close()
        session.works[claims.jti] = self._guard.watch(decision, session.end)


def cover(server: Any, maker: str, guard: Guards, sessions: Sessions, *, bearer: Bearer) -> None:
    """Have every HTTP application that `server`'s method `maker` makes begin with `GuardStreams`.

    mcp and fastmcp make a new one for each call, and neither has a hook for what is in front of it.
    """
    make = getattr(server, maker)

    @wraps(make)
    def made(*given: Any, **settings: Any) -> Any:
        app = make(*given, **settings)
        app.add_middleware(GuardStreams, guard=guard, sessions=sessions, bearer=bearer)
        return app

    setattr(server, maker, made)


class GuardStreams:
    """ASGI middleware of an MCP server's HTTP application; the module's docstring has the rules."""

    def __init__(self, app: App, guard: Guards, sessions: Sessions, *, bearer: Bearer) -> None:
        self._app, self._guard, self._sessions, self._bearer = app, guard, sessions, bearer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Admit a GET of a session and watch it; let everything else pass."""
        method, headers = scope.get("method"), _headers(scope)
        name = next((said for each, said in headers if each == SESSION_HEADER), None)
        if name is None or method not in ("GET", "DELETE"):
            await self._app(scope, receive, send)
        elif method == "DELETE":
            await self._app(scope, receive, send)
            self._sessions.forget(name)
        else:
            await self._stream(name, headers, scope, partial(self._app, scope, receive), send)

    async def _stream(
        self, name: str, headers: list[http.Header], scope: Scope, app: Any, send: Send
    ) -> None:
        resumes = any(each == RESUME_HEADER for each, _ in headers)
        session = self._sessions.of(name)
        decision = self._decide(session, headers, resumes=resumes)
        if not decision:
            await refuse(scope, send, decision)
            return
        if decision.claims is not None:
            self._sessions.note(name, decision)
        watched = _OfSession(self._guard, session)
        await Flow(watched, decision, scope, send).run(app)

    def _decide(self, session: Session, headers: list[http.Header], *, resumes: bool) -> Decision:
        if session.refusal is not None:
            return session.refusal
        ask = partial(http.decide, self._guard, headers, tool=None, bearer=self._bearer)
        decision = ask(exempt=not resumes)
        if resumes and decision and not _is_caller(session, decision):
            return http.safely(lambda: self._guard.check(None))
        return decision


def _is_caller(session: Session, decision: Decision) -> bool:
    """Return whether the bearer is all who ever called in the session."""
    claims = decision.claims
    return claims is None or session.agents == {(claims.iss, claims.sub)}


class _OfSession:
    """The guard as one stream asks it: what ends its session ends it."""

    def __init__(self, guard: Guards, session: Session) -> None:
        self._guard, self._session = guard, session

    def recheck(self, decision: Decision) -> Decision:
        """Return the refusal of the session, or what the guard says of the stream's own badge."""
        return self._session.refusal or self._guard.recheck(decision)

    def watch(self, _: Decision, end: End) -> "_Stream":
        """Have `end` called when the session ends."""
        stream = _Stream(self._session, end)
        if self._session.refusal is not None:
            end(self._session.refusal)
        return stream


class _Stream:
    """An open stream in its session's book."""

    def __init__(self, session: Session, end: End) -> None:
        self._session = session
        session.ends[self] = end

    def close(self) -> None:
        """Take it out."""
        self._session.ends.pop(self, None)


def _headers(scope: Mapping[str, Any]) -> list[http.Header]:
    return [(n.decode("latin-1").lower(), v.decode("latin-1")) for n, v in scope.get("headers", ())]
