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
- Known are the sessions that the server itself began, until it ended them: an id of a caller's own
  making takes no place in the book, and what the server refused changes nothing. What is not known
  gets no stream: 404, which has a client begin a new session (MCP 2025-11-25, Transports, Session
  Management). A session that leaves the book takes its open streams with it.

Here a refusal is HTTP: 401, 403 or 503, as everywhere but in JSON-RPC. A client that gets no
stream goes on without. The answer to each POST is `mcp_challenge`'s until the guard has decided.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial, wraps
from typing import Any, TypeVar

import msgspec

from rescind_guard.codes import Code, Outcome
from rescind_guard.decision import Decision
from rescind_guard.inflight import End, Work, tell
from rescind_guard.integrations import http, mcp_challenge, proven
from rescind_guard.integrations.asgi import App, Flow, Message, Receive, Scope, Send, refuse
from rescind_guard.integrations.carriage import Bearer
from rescind_guard.integrations.http import Guards

SESSION_HEADER = "mcp-session-id"
RESUME_HEADER = "last-event-id"
MAX_SESSIONS = 10_000
"""As many as a server of mcp has by default; of those in which somebody called, the one used least
recently is forgotten. As many again where nobody has yet: to begin one needs no badge, and must not
push out who has one."""
MAX_BADGES = 16
"""Of one session; a badge lives for minutes, and the one before sixteen others is long expired."""
SESSION_KEY = "rescind.session"
"""In the scope of a POST that came through here: the session it names, or None."""
SUCCESSFUL = range(200, 300)
"""RFC 9110 §15.3."""
NOT_FOUND = 404
GONE = Decision(Outcome.DENY, Code.TOOL_AUTH_MISSING, "this session is not known; begin a new one")
"""Of a session that is in the book no more."""

Agent = tuple[str, str]
"""Issuer and subject."""
T = TypeVar("T")


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
            tell(end, refusal)

    def close(self) -> None:
        """End it for good, and watch nothing any more."""
        self.end(GONE)
        for work in list(self.works.values()):
            if work is not None:
                work.close()


class Sessions:
    """The sessions that one server began, by their id. Any thread may ask."""

    def __init__(self, guard: Guards) -> None:
        self._guard = guard
        self._begun: OrderedDict[str, Session] = OrderedDict()
        """Nobody has called yet."""
        self._called: OrderedDict[str, Session] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, name: str, session: Session | None = None) -> None:
        """Put down a session that the server began."""
        with self._lock:
            if name in self._called:
                return
            self._begun.setdefault(name, session or Session())
            oldest = _over(self._begun, MAX_SESSIONS)
        if oldest is not None:
            oldest.close()

    def find(self, name: str) -> Session | None:
        """Return a session, None if the server did not begin it, or it is over."""
        with self._lock:
            return self._called.get(name) or self._begun.get(name)

    def forget(self, name: str) -> None:
        """Drop a session that the server has ended."""
        with self._lock:
            session = self._called.pop(name, None) or self._begun.pop(name, None)
        if session is not None:
            session.close()

    def note(self, name: str, decision: Decision) -> None:
        """Remember that this caller was admitted in a session; nothing of one that is not known."""
        claims = decision.claims
        if claims is None:
            return
        with self._lock:
            session = self._called.get(name) or self._begun.pop(name, None)
            if session is None:
                return
            self._called[name] = session
            self._called.move_to_end(name)
            oldest = _over(self._called, MAX_SESSIONS)
            session.agents.add((claims.iss, claims.sub))
            is_new = claims.jti not in session.works
            session.works.setdefault(claims.jti, None)
            past = _over(session.works, MAX_BADGES)
        for each in (oldest, past):
            if each is not None:
                each.close()
        if is_new:
            self._watch(session, decision, claims.jti)

    def _watch(self, session: Session, decision: Decision, badge: str) -> None:
        work = session.works[badge] = self._guard.watch(decision, session.end)
        if session.refusal is not None:  # forgotten meanwhile: nobody else would close it
            work.close()


def _over(book: OrderedDict[str, T], bound: int) -> T | None:
    """Take out the oldest where there is one too many."""
    return book.popitem(last=False)[1] if len(book) > bound else None


def cover(
    server: Any,
    maker: str,
    put: Callable[[Any], type],
    guard: Guards,
    sessions: Sessions,
    *,
    bearer: Bearer,
) -> None:
    """Have every HTTP application that `server`'s method `maker` makes begin with what `put` says.

    mcp and fastmcp make a new one for each call, and neither has a hook for what is in front of it.
    """
    make = getattr(server, maker)

    @wraps(make)
    def made(*given: Any, **settings: Any) -> Any:
        app = make(*given, **settings)
        app.add_middleware(put(app), guard=guard, sessions=sessions, bearer=bearer)
        return app

    setattr(server, maker, made)


class GuardStreams:
    """ASGI middleware of an MCP server's HTTP application; the module's docstring has the rules."""

    def __init__(self, app: App, guard: Guards, sessions: Sessions, *, bearer: Bearer) -> None:
        self._app, self._guard, self._sessions, self._bearer = app, guard, sessions, bearer
        self._posted = mcp_challenge.holding(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Admit a GET of a session and watch it; learn of what begins and ends one."""
        method, headers = scope.get("method"), [*headers_of(scope), *proven.headers(scope)]
        name = _session_of(headers)
        if name is not None and method == "GET":
            await self._stream(name, headers, scope, receive, send)
        elif name is not None and method == "DELETE":
            await self._app(scope, receive, partial(self._ending, name, send))
        elif method == "POST":
            await self._posted(
                {**scope, SESSION_KEY: name},
                receive,
                partial(self._beginning, send) if name is None else send,
            )
        else:
            await self._app(scope, receive, send)

    async def _beginning(self, send: Send, message: Message) -> None:
        """Put down the session, before the client hears of it."""
        if _succeeds(message) and (name := _session_of(headers_of(message))) is not None:
            self._sessions.begin(name)
        await send(message)

    async def _ending(self, name: str, send: Send, message: Message) -> None:
        """Forget the session if the server did end it."""
        if _succeeds(message):
            self._sessions.forget(name)
        await send(message)

    async def _stream(
        self, name: str, headers: list[http.Header], scope: Scope, receive: Receive, send: Send
    ) -> None:
        resumes = any(each == RESUME_HEADER for each, _ in headers)
        session = self._sessions.find(name)
        if session is None:
            await _not_found(send)
            return
        decision = self._decide(session, headers, resumes=resumes)
        if not decision:
            await refuse(scope, send, decision)
            return
        if decision.claims is not None:
            self._sessions.note(name, decision)
        watched = OfSession(self._guard, session)
        await Flow(watched, decision, scope, receive, send).run(partial(self._app, scope))

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


class OfSession:
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


def headers_of(said: Mapping[str, Any]) -> list[http.Header]:
    """Return the headers of a scope or of the start of an answer, names in lower case."""
    return [(n.decode("latin-1").lower(), v.decode("latin-1")) for n, v in said.get("headers", ())]


def is_covered(request: Any) -> bool:
    """Return whether a message came by a way on which its session's streams can be ended.

    A transport that somebody put together by hand is none, and neither is a session in it.
    """
    scope = getattr(request, "scope", None)
    if scope is None or SESSION_KEY in scope:
        return True
    return _session_of(headers_of(scope)) is None and b"session_id=" not in scope.get(
        "query_string", b""
    )


def _session_of(headers: list[http.Header]) -> str | None:
    return next((said for each, said in headers if each == SESSION_HEADER), None)


def _succeeds(message: Message) -> bool:
    """Return whether this is the start of an answer of 2xx."""
    return message["type"] == "http.response.start" and message["status"] in SUCCESSFUL


async def _not_found(send: Send) -> None:
    body = msgspec.json.encode({"error": GONE.reason, "code": GONE.code.value})
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": NOT_FOUND, "headers": headers})
    await send({"type": "http.response.body", "body": body})
