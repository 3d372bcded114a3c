"""A guard in front of an ASGI application: Starlette, FastAPI, Litestar, Django, any other.

    app = GuardASGI(app, guard)

- Every HTTP request and every WebSocket needs a badge, but for the exempt paths; whether the
  application has such a route is found out after that. Rules and exemptions see a request as
  `asked` says. Where it is not known how the application takes off a prefix (`root_path`), they
  must allow the path with and without it.
- Refusals are those of `http`. A WebSocket is refused before it is accepted, with the same answer
  where the server can send one (extension `websocket.http.response`), else with 403.
- What the handler sees has no badge in its headers; `scope["rescind"]` has the decision.
- The second look (I3): nothing of a response leaves once the badge is killed. A handler is let run
  to its end, and its caller gets the refusal. One that streams is cancelled, and so is a WebSocket;
  whatever they make of that, nothing comes in or goes out, and the connection ends.
- On an exempt path too, where a good badge came all the same: exempt is not immune.

No framework is imported. Cancelling needs asyncio; on trio a stream ends with its next event.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

from rescind_guard.decision import Decision
from rescind_guard.inflight import End
from rescind_guard.integrations import asked, behind, cors, http, lifespan, proven
from rescind_guard.integrations.asked import HEAD, WEBSOCKET
from rescind_guard.integrations.carriage import Bearer
from rescind_guard.integrations.errors import CannotGuard
from rescind_guard.integrations.exempt import Exemptions
from rescind_guard.integrations.http import Guards

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

SCOPE_KEY = "rescind"
POLICY_VIOLATION = 1008
"""RFC 6455 §7.4.1; also what a refused WebSocket is closed with."""
EVENT_STREAM = b"text/event-stream"
_DENIAL = "websocket.http.response"
PROMPT_S = 0.1
"""How long a cancelled handler may take to end before the connection is ended without it."""
CLOSING_S = 1.0
"""How long a cut connection waits for its reader to take the end, and then for its handler."""
PAUSE_S = 0.05
_left: set["asyncio.Future[None]"] = set()
"""Handlers that went on although they were cancelled; kept, as the loop keeps weak references."""


class GuardASGI:
    """Checks each connection of `app`; the module's docstring has the rules."""

    def __init__(
        self,
        app: App,
        guard: Guards,
        *,
        bearer: Bearer = "badge",
        exempt: Mapping[str, str] | Exemptions | None = None,
    ) -> None:
        """`exempt`: route → reason. Raises `CannotGuard` for an exemption that is none."""
        self.app, self.guard, self.bearer = app, guard, bearer
        self.exempt = exempt if isinstance(exempt, Exemptions) else Exemptions(exempt)
        self._framework, _ = behind.routes_by(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Admit the connection, run the application, look at all it sends."""
        if scope["type"] == "lifespan":
            self.exempt.all()  # what is wrong with them is said at the start, not at a request
            await lifespan.run(self.app, scope, receive, send, guard=self.guard)
            return
        if scope["type"] not in ("http", "websocket"):
            raise CannotGuard(f"an ASGI connection of type {scope['type']!r} cannot be guarded")
        decision, left = self.admit(scope)
        if decision is None:
            await self.app(scope, receive, send)
            return
        if left is None:
            await self.refuse(scope, send, decision)
            return
        kept = [each for each in scope["headers"] if http.is_kept(*each, bearer=self.bearer)]
        clean = {**scope, "headers": kept, SCOPE_KEY: decision, proven.KEY: left}
        if left.exempt and decision.claims is None:
            await self.app(clean, receive, send)
        else:
            flow = Flow(self.guard, decision, scope, receive, send, refuse=self.refuse)
            await flow.run(partial(self.app, clean))

    def admit(
        self, scope: Scope, question: str | Decision | None = None
    ) -> tuple[Decision | None, proven.Proven | None]:
        """Return the decision, and what is left for a guard behind this one if it allows.

        No decision: this guard has taken it already, and nothing else is asked for since.
        `question`: what a router asks, if that is known (`asked.asked`).
        """
        questions = (question,) if isinstance(question, str) else question or self._questions(scope)
        if isinstance(questions, Decision):
            return questions, None
        exempt = all(map(self.exempt.covers, questions))
        outer = proven.of(scope)
        if outer is not None and outer.settles(self.guard, questions, exempt=exempt):
            return None, None
        headers = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in scope["headers"]]
        headers += proven.headers(scope)
        decision = self._decide(headers, questions, exempt=exempt)
        if not decision:
            return decision, None
        return decision, proven.Proven(
            self.guard, headers, bearer=self.bearer, asked=questions, exempt=exempt
        )

    async def refuse(self, scope: Scope, send: Send, decision: Decision) -> None:
        """Send a refusal in place of what was asked for, as the application's CORS layer has it."""
        if not cors.concerns(scope):
            await refuse(scope, send, decision)
            return

        async def refusing(scope: Scope, _: Receive, send: Send) -> None:
            await refuse(
                scope, send, decision, cors.on_django(self.app, scope, http.refused(decision))
            )

        await cors.around(self.app, scope, refusing)(scope, _gone, send)

    def _questions(self, scope: Scope) -> tuple[str, ...] | Decision:
        """Return what the scope asks for: once, or with and without a prefix that may count."""
        method = scope.get("method", WEBSOCKET)
        prefix = scope.get("root_path") or ""
        if self._framework == behind.DJANGO:
            prefix = behind.script_name() or prefix
        path = asked.routed(scope["path"], prefix)
        if path is None:
            return asked.refusal("the prefix (root_path) stands in the path, and not before it")
        paths = [path]
        if self._framework is None and path != scope["path"]:
            paths.append(scope["path"])
        return asked.all_of(method, paths)

    def _decide(
        self, headers: list[http.Header], questions: tuple[str, ...], *, exempt: bool
    ) -> Decision:
        """Return the first refusal of all that may be asked for, else the first decision."""
        found = None
        for question in questions:
            # Litestar has one route for both.
            is_lenient = self._framework == behind.LITESTAR
            tool = asked.without_slash(question) if is_lenient else question
            now = http.decide(self.guard, headers, tool=tool, bearer=self.bearer, exempt=exempt)
            if not now:
                return now
            found = found or now
        return found or asked.refusal("nothing is asked for")


async def _gone() -> Message:
    """Whoever refuses reads no body."""
    return {"type": "http.disconnect"}


async def refuse(
    scope: Scope, send: Send, decision: Decision, answer: http.Answer | None = None
) -> None:
    """Send a refusal in place of what was asked for; `answer`: as HTTP has it, if it is known."""
    answer = answer or http.refused(decision)
    kind = "http.response"
    if scope["type"] == "websocket":
        if _DENIAL not in (scope.get("extensions") or {}):
            await send(_closing(decision))
            return
        kind = _DENIAL
    headers = [(name.encode(), value.encode("latin-1")) for name, value in answer.headers]
    await send({"type": f"{kind}.start", "status": answer.status, "headers": headers})
    body = b"" if scope.get("method") == HEAD else answer.body
    await send({"type": f"{kind}.body", "body": body})


def _closing(decision: Decision) -> Message:
    return {"type": "websocket.close", "code": POLICY_VIOLATION, "reason": decision.code.value}


class Watches(Protocol):
    """What `Flow` asks; a guard answers."""

    def recheck(self, decision: Decision) -> Decision:
        """Decide whether what was allowed still stands."""

    def watch(self, decision: Decision, end: End) -> "Closes":
        """Tell when it does not stand any more."""


class Closes(Protocol):
    """What is watched."""

    def close(self) -> None:
        """Watch it no more."""


Refuse = Callable[[Scope, Send, Decision], Awaitable[None]]


class Flow:
    """One admitted connection: what comes in and goes out passes here, and ends here."""

    def __init__(
        self,
        guard: Watches,
        decision: Decision,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        refuse: Refuse = refuse,
    ) -> None:
        self._guard, self._decision, self._scope = guard, decision, scope
        self._receive, self._send, self._refuse = receive, send, refuse
        self._held: Message | None = None
        """The start of a response, until there is a first part of its body to look at. That of an
        event stream is not held: its first event may be hours away, its reader waits for the start.
        """
        self._started = False
        self._done = False
        self._refusal: Decision | None = None
        self._told_gone = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_cut = False
        """Whether a stream or a WebSocket is to end."""
        self._woken: asyncio.Future[None] | None = None
        """Done when it is, or when the handler has ended."""

    async def run(self, app: Callable[[Receive, Send], Awaitable[None]]) -> None:
        """Run the application to its end, or to the badge's."""
        with suppress(RuntimeError):  # trio
            if asyncio.current_task() is not None:
                self._loop = asyncio.get_running_loop()
                self._woken = self._loop.create_future()
        work = self._guard.watch(self._decision, self._tell)
        try:
            if self._woken is None:
                await app(self.receive, self.send)
            else:
                await self._run(app, self._woken)
        finally:
            work.close()
        if not self._is_cut:
            await self._finish()

    async def _run(
        self, app: Callable[[Receive, Send], Awaitable[None]], woken: "asyncio.Future[None]"
    ) -> None:
        """In a task of its own, so that the connection ends also where the handler does not."""
        handler = asyncio.ensure_future(app(self.receive, self.send))
        handler.add_done_callback(self._wake)
        try:
            await woken
            if not self._is_cut:
                await self._result(handler)
                return
            handler.cancel()
            await asyncio.wait((handler,), timeout=PROMPT_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSING_S):  # its reader may take nothing
                    await self._finish()
            await asyncio.wait((handler,), timeout=CLOSING_S)
        except asyncio.CancelledError:
            handler.cancel()
            await asyncio.wait((handler,))
            raise
        _leave(handler)

    def _wake(self, *_: object) -> None:
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    async def _result(self, handler: "asyncio.Future[None]") -> None:
        """Raise what the handler raised, unless it is that its caller was gone: it gets words."""
        try:
            await handler
        except Exception:
            if self._refusal is None or self._started:
                raise
            _leave(handler)

    def _tell(self, refusal: Decision) -> None:
        """In the watcher's thread."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._end, refusal)

    def _end(self, refusal: Decision) -> None:
        """In the loop: what is killed sends nothing more; what streams does not go on."""
        self._refusal = self._refusal or refusal
        streams = self._started or self._scope["type"] == "websocket"
        if streams and not self._done and self._woken is not None:
            self._is_cut = True
            self._wake()

    def _look(self) -> Decision | None:
        """Return the refusal, if the badge is killed."""
        if self._refusal is None and not (now := http.safely(self._recheck)):
            self._end(now)
        return self._refusal

    async def receive(self) -> Message:
        """Pass a message on; once the badge is killed, its caller is gone for the application."""
        if self._look() is None:
            message = await self._receive()
            if self._look() is None:
                return message
        if self._told_gone and self._loop is not None:
            await asyncio.sleep(PAUSE_S)  # one that asks again and again keeps no other waiting
        self._told_gone = True
        if self._scope["type"] == "websocket":
            return {"type": "websocket.disconnect", "code": POLICY_VIOLATION, "reason": ""}
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Pass a message on, unless the badge is killed."""
        if self._look() is not None:
            await self._withhold()
            if self._loop is not None:
                await asyncio.sleep(0)  # where it is cancelled; one that only sends never waits
        elif message["type"] == "http.response.start" and not _is_event_stream(message):
            self._held = message
        else:
            held, self._held = self._held, None
            if held is not None:
                await self._pass(held)
            await self._pass(message)

    def _recheck(self) -> Decision:
        return self._guard.recheck(self._decision)

    async def _pass(self, message: Message) -> None:
        self._started = self._started or message["type"] != "websocket.close"
        self._done = self._done or _is_last(message)
        await self._send(message)
        if message["type"] == "http.response.start":
            self._is_events = _is_event_stream(message)

    async def _withhold(self) -> None:
        """Answer with the refusal if nothing was sent yet; say no more after that."""
        if self._refusal is not None and not self._started:
            self._started = self._done = True
            await self._refuse(self._scope, self._send, self._refusal)

    async def _finish(self) -> None:
        """End what was cut off so that it does not look complete; events have no end to miss."""
        if self._refusal is None:
            if self._held is not None:
                await self._pass(self._held)
            return
        await self._withhold()
        if self._done:
            return
        if self._scope["type"] == "websocket":
            await self._send(_closing(self._refusal))
        elif self._is_events:
            await self._send({"type": "http.response.body", "body": b""})

    _is_events = False


def _leave(handler: "asyncio.Future[None]") -> None:
    """Let go of the handler of a connection that was cut; nothing of it leaves any more."""
    if not handler.done():
        log.warning("a handler goes on though its caller's badge was killed: nothing of it leaves")
        _left.add(handler)
        handler.add_done_callback(_left.discard)
    elif not handler.cancelled() and (error := handler.exception()) is not None:
        log.info("a handler ended with %s when its caller's badge was killed", type(error).__name__)


def _is_last(message: Message) -> bool:
    if message["type"] == "http.response.body":
        return not message.get("more_body", False)
    return message["type"] in ("websocket.close", "http.response.pathsend")


def _is_event_stream(start: Message) -> bool:
    return any(
        name.lower() == b"content-type" and value.startswith(EVENT_STREAM)
        for name, value in start.get("headers", ())
    )
