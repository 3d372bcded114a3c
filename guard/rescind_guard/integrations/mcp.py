"""A guard in front of an MCP server: every message passes it, and every result passes it again.

    install(server, guard)

Built on the server middleware of `mcp` 2.x, which sees every message before anything is validated
or looked up. (The hook around tool calls alone would let a killed badge read resources.)

- `initialize`, `ping`, `server/discover` and the protocol's own lists need no badge: the client
  sends them by itself, before any agent could attach one. A *killed* badge is refused there too.
- Every other method needs one, named here or not (default deny). A server's own `orders/list` is
  data like any other.
- A refusal is a JSON-RPC error in HTTP 200, or in 401 for a bearer: see `mcp_challenge`.
- The badge is taken out of what the handler sees, so that no tool can log it or pass it on.
- The GET streams of a session, which are no messages: see `mcp_streams`.
- The second look (I3): while a call runs, whatever it sends, and when it returns, its result or
  its error, is withheld if the badge was killed meanwhile. An open subscription stream ends.

Needs `rescind[mcp]`; importing this module without it raises `CannotGuard`.
"""

import copy
import logging
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import replace
from functools import partial
from importlib import metadata
from typing import Any, NoReturn, Protocol

from rescind_guard import forks
from rescind_guard.codes import Code, Outcome
from rescind_guard.decision import Decision
from rescind_guard.inflight import End, Work
from rescind_guard.integrations import (
    carriage,
    http,
    mcp_calls,
    mcp_challenge,
    mcp_older,
    mcp_streams,
    proven,
)
from rescind_guard.integrations.carriage import META_KEY, Bearer
from rescind_guard.integrations.errors import AlreadyGuarded, BadCarriage, CannotGuard
from rescind_guard.integrations.mcp_calls import Calls
from rescind_guard.integrations.mcp_streams import Sessions


def _version_found() -> str:
    try:
        return f"mcp {metadata.version('mcp')} is installed"
    except metadata.PackageNotFoundError:
        return "mcp is not installed"


try:
    from mcp.server.context import CallNext, HandlerResult, ServerMiddleware, ServerRequestContext
    from mcp.server.lowlevel import Server
    from mcp.server.mcpserver import MCPServer
    from mcp.shared.exceptions import MCPError
    from starlette.requests import HTTPConnection

    from rescind_guard.integrations.mcp_watch import Watch, WatchedSession
except ImportError as missing:
    raise CannotGuard(
        f"guarding an MCP server needs mcp 2.3 or later, whose servers have middleware; "
        f"{_version_found()} (pip install 'rescind[mcp]')"
    ) from missing

log = logging.getLogger(__name__)

DENIED = -31061
"""JSON-RPC error code of every refusal; `data.code` has the reason. MCP 2026-07-28 (Error Codes)
keeps -32020 to -32099 for itself, closes -32000 to -32019 to new codes, and sends everyone else
outside what JSON-RPC reserves, -32768 to -32000. Clients show `message` for any such code."""

RETRY_AFTER_S = 1
"""When to ask again after "cannot tell": publishers send heads every second (I4)."""

EXEMPT_REQUESTS = frozenset(
    {
        "initialize",
        "ping",
        "server/discover",
        "tools/list",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
    }
)
"""Requests that pass without a badge."""

EXEMPT_NOTIFICATIONS = frozenset(
    {
        "notifications/initialized",
        "notifications/cancelled",
        "notifications/progress",
        "notifications/roots/list_changed",
    }
)
"""The protocol's own notifications, which pass without a badge; a server's own do not."""

OPEN_STREAMS = frozenset({"subscriptions/listen"})
"""Requests that only listen, for days if need be: ended at once when their badge is killed. A tool
is let run to its end: to stop half-way through its work could do more harm than its silence."""

_UNCOVERED = (
    "this server's HTTP transport was put together by hand, and its streams could not be ended if "
    "a badge is killed: serve what streamable_http_app(), sse_app() or http_app() makes after "
    "rescind.protect(server)"
)

Ctx = ServerRequestContext[Any, Any]


class Checks(Protocol):
    """What the middleware asks; `rescind_guard.Guard` answers. Plain functions that never wait."""

    def check(
        self,
        token: str | None,
        *,
        tool: str | None = None,
        params: object = None,
        badge_map: str | None = None,
    ) -> Decision:
        """Decide whether the bearer of `token`, with these hops behind it, may do this."""

    def recheck(self, decision: Decision) -> Decision:
        """Decide whether what was allowed still stands, now that the call returns."""

    def admits_exempt(self, token: str | None) -> Decision:
        """Allow, unless `token` is known to be killed."""

    def watch(self, decision: Decision, end: End, *, until_expiry: bool = False) -> Work:
        """Tell when what was allowed does not stand any more."""


def install(
    server: MCPServer | Server[Any], guard: Checks, *, bearer: Bearer = "badge"
) -> Sessions:
    """Put `guard` in front of `server`, inside the SDK's own middleware, outside everyone else's.

    A cache or any other middleware that answers by itself therefore answers only guarded calls.
    `bearer`: see `carriage`. Returns the book of its HTTP sessions. Raises `CannotGuard` for a
    server without this kind of middleware (mcp 1.x, the separate `fastmcp` package) or one whose
    HTTP application is made already, and `AlreadyGuarded` for a second guard.
    """
    if not isinstance(server, MCPServer | Server):
        raise CannotGuard(f"{type(server).__name__} is not a server of mcp 2.x; {_version_found()}")
    chain = server.middleware
    if any(isinstance(one, GuardMiddleware) for one in chain):
        raise AlreadyGuarded("this server is guarded already; one guard is enough")
    under: Any = getattr(server, "_lowlevel_server", server)
    if getattr(under, "_session_manager", None) is not None:
        raise CannotGuard("guard the server before its HTTP application is made")
    builtin = (type(one).__module__.partition(".")[0] == "mcp" for one in chain)
    place = next((i for i, is_builtin in enumerate(builtin) if not is_builtin), len(chain))
    sessions = Sessions(guard)
    chain.insert(place, GuardMiddleware(guard, bearer=bearer, sessions=sessions))
    put = partial(mcp_streams.cover, guard=guard, sessions=sessions, bearer=bearer)
    put(under, "streamable_http_app", lambda _: mcp_streams.GuardStreams)
    if hasattr(server, "sse_app"):
        put(server, "sse_app", lambda _: mcp_older.GuardOlder)
    mcp_calls.cover(MCPServer)
    return sessions


class Passed:
    """What a guard has let pass in this task, for a guard of a server that is called from there."""

    __slots__ = ("badge", "by", "hops", "tool")

    def __init__(self, by: object, tool: str | None, badge: str | None, hops: str | None) -> None:
        self.by, self.tool, self.badge, self.hops = by, tool, badge, hops

    def __repr__(self) -> str:
        return "<Passed>"  # never the badge


_PASSED: ContextVar[Passed | None] = ContextVar("rescind_passed", default=None)
"""Set while one message is handled, in the task that handles it."""


def passed() -> Passed | None:
    """Return what was let pass last, None outside of any message."""
    return _PASSED.get()


class GuardMiddleware(ServerMiddleware[Any]):
    """Checks each message of an MCP server; the module's docstring has the rules.

    The second look at a call asks `guard.recheck`; anything but *allow* withholds the result. It is
    about known kills (I3). A badge that merely expired while its tool ran, or a view that grew
    stale, was good when the call was admitted, and the work is done: to throw its result away
    would only have it done twice. The price: a kill that a broker hides stays hidden from a call
    already running until that call ends.

    An open subscription stream has no end, so none of that holds for it: before each event the
    badge is checked in full, as if it had just been presented. An agent that is suspended, and so
    gets no new badge, cannot go on listening with the old one.
    """

    def __init__(
        self, guard: Checks, *, bearer: Bearer = "badge", sessions: Sessions | None = None
    ) -> None:
        self._guard, self._bearer, self._sessions = guard, bearer, sessions

    @property
    def guard(self) -> Checks:
        """Who decides."""
        return self._guard

    async def __call__(self, ctx: Ctx, call_next: CallNext) -> HandlerResult:
        """Admit the message, run the rest of the chain, look again. Raises `MCPError`."""
        forks.seen()
        try:
            self._demand_ending(ctx)
            badge, hops = self._carried(ctx.request, ctx.params)
            decision = self._admit(ctx, badge, hops)
        except MCPError as refused:
            if ctx.request_id is not None:
                await self._answer(ctx, refused)
                raise
            # A notification has no answer to put an error in (JSON-RPC 2.0 §4.1): it is dropped.
            log.debug("dropped %s: %s", ctx.method, refused.message)
            return None
        if (held := mcp_challenge.held_by(ctx.request)) is not None:
            await held.release()
        self._note(ctx, decision)
        passed = _PASSED.set(Passed(self, _tool_called(ctx), badge, hops))
        try:
            ctx = without_badge(ctx, bearer=self._bearer)
            if decision is None:
                return await call_next(ctx)
            return await self._watched(ctx, call_next, decision, (badge, hops))
        finally:
            _PASSED.reset(passed)

    def judge(self, tool: str | None, params: object, *, request: Any, meta: Any) -> None:
        """Check what another server asks of this one, in its task; raises `MCPError`.

        The badge is the one that the guard of the other server let pass; without a guard there, the
        one that came with its message, which `request` and `meta` are of.
        """
        before = passed()
        if before is not None:
            badge, hops = before.badge, before.hops
        else:
            badge, hops = self._carried(request, {"_meta": meta})
        guard = self._guard
        self._demand(lambda: guard.check(badge, tool=tool, params=params, badge_map=hops))

    def _demand_ending(self, ctx: Ctx) -> None:
        """Refuse a session whose streams would outlive a kill."""
        if self._sessions is None:
            return
        name = getattr(ctx.request, "scope", {}).get(mcp_streams.SESSION_KEY)
        is_lost = mcp_older.is_older(name) and self._sessions.find(name) is None
        if is_lost or not mcp_streams.is_covered(ctx.request):
            log.error("%s", _UNCOVERED)
            raise MCPError(DENIED, _UNCOVERED, {"code": Code.TOOL_POLICY_DENIED.value})

    async def _answer(self, ctx: Ctx, refused: MCPError) -> None:
        """Answer 401 over HTTP where it is the bearer that is missing or invalid."""
        held = mcp_challenge.held_by(ctx.request)
        if held is None:
            return
        code = Code(refused.data["code"])
        missing = code is Code.TOOL_AUTH_MISSING and self._bearer == "badge"
        if missing or (
            http.is_about_badge(code)
            and carriage.has_bearer(_headers(ctx.request), bearer=self._bearer)
        ):
            await held.challenge(ctx.request_id, code, refused.error)
        else:
            await held.release()

    def _admit(self, ctx: Ctx, badge: str | None, hops: str | None) -> Decision | None:
        """Return the decision that lets `ctx` pass, None if it passes without one."""
        if _is_exempt(ctx):
            self._demand(lambda: self._guard.admits_exempt(badge))
            return None
        return self._demand(lambda: self._ask(ctx, badge, hops))

    def _note(self, ctx: Ctx, decision: Decision | None) -> None:
        """Remember who called in an HTTP session: its GET streams are theirs."""
        if decision is None or self._sessions is None:
            return
        name = getattr(ctx.request, "scope", {}).get(mcp_streams.SESSION_KEY)
        if name is not None:
            self._sessions.note(name, decision)

    def _ask(self, ctx: Ctx, badge: str | None, hops: str | None) -> Decision:
        params = (ctx.params or {}).get("arguments")
        return self._guard.check(badge, tool=_tool_called(ctx), params=params, badge_map=hops)

    def _carried(
        self, request: Any, params: Mapping[str, Any] | None
    ) -> tuple[str | None, str | None]:
        """Return the badge of a message and the hops behind it; two are refused in every mode."""
        headers = _headers(request)
        try:
            header = carriage.header_badge(headers, bearer=self._bearer)
            badge = carriage.one_badge(header, carriage.meta_badge(params))
            return badge, carriage.header_map(headers)
        except BadCarriage as bad:
            raise MCPError(DENIED, str(bad), {"code": bad.code}) from None

    def _demand(self, ask: Callable[[], Decision]) -> Decision:
        """Return the decision if it allows; raise it as an `MCPError` if not."""
        try:
            decision = ask()
        except Exception as broken:  # noqa: BLE001 - whatever broke, the answer is no
            # The check itself broke: refused, and not told apart on the wire, where mcp would
            # otherwise send the exception's own words to the caller.
            log.error("the guard failed: %s", type(broken).__name__)  # noqa: TRY400 - no token in a trace
            raise _cannot_tell() from None
        if not decision:
            _refuse(decision)
        return decision

    async def _watched(
        self,
        ctx: Ctx,
        call_next: CallNext,
        decision: Decision,
        carried: tuple[str | None, str | None],
    ) -> HandlerResult:
        """Run an admitted call; withhold what it sends, returns or raises once it is killed."""
        is_stream = ctx.method in OPEN_STREAMS
        guard, (badge, hops) = self._guard, carried
        watch = Watch(lambda: self._demand(lambda: guard.recheck(decision)))
        anew = partial(watch.look, lambda: self._demand(lambda: guard.check(badge, badge_map=hops)))
        session = WatchedSession(ctx.session, anew if is_stream else watch.look)
        result: HandlerResult = None
        calls = Calls(
            _tool_called(ctx),
            lambda name, params: self._judge(name, params, carried),
            _refuse_renamed,
        )
        try:
            with watch.running(cancel=is_stream), calls.running():
                result = await call_next(replace(ctx, session=session))
        except Exception:
            watch.look()  # the words of an error are data too
            raise
        watch.look()
        if calls.refused is not None and _is_error(result):
            raise calls.refused  # its code, where a framework made words of it
        return result

    def _judge(self, name: str, params: object, carried: tuple[str | None, str | None]) -> None:
        badge, hops = carried
        ask = partial(self._guard.check, badge, tool=name, params=params, badge_map=hops)
        self._demand(ask)


def _is_exempt(ctx: Ctx) -> bool:
    return ctx.method in (EXEMPT_NOTIFICATIONS if ctx.request_id is None else EXEMPT_REQUESTS)


def _headers(request: Any) -> list[tuple[str, str]]:
    headers = getattr(request, "headers", None) or {}
    outer = proven.headers(getattr(request, "scope", None) or {})
    return [*headers.items(), *outer]


def _tool_called(ctx: Ctx) -> str | None:
    """Return the name in a `tools/call`; one that is no string never reaches a tool."""
    name = (ctx.params or {}).get("name") if ctx.method == "tools/call" else None
    return name if isinstance(name, str) else None


def _refuse_renamed(name: str) -> NoReturn:
    """Refuse a call whose name out here cannot be told."""
    said = f"{name!r} is called within a mounted server whose tools are renamed: not judged"
    raise MCPError(DENIED, said, {"code": Code.TOOL_POLICY_DENIED.value})


def _is_error(result: HandlerResult) -> bool:
    said = result if isinstance(result, Mapping) else vars(result) if result is not None else {}
    return bool(said.get("isError") or said.get("is_error"))


def _refuse(decision: Decision) -> NoReturn:
    """Raise `decision` as the error the caller sees: code and safe words, nothing else.

    `reason_admin` is not among the fields read here: it is for operators (glossary.md).
    """
    message = decision.reason
    if decision.reason_user:
        message = f"{message}: {decision.reason_user}"
    if decision.outcome is Outcome.CANNOT_TELL:
        raise _cannot_tell(decision.code, message) from None
    raise MCPError(DENIED, message, {"code": decision.code.value}) from None


def _cannot_tell(
    code: Code = Code.REVOCATION_CHECK_FAILED, message: str = "the badge could not be checked"
) -> MCPError:
    return MCPError(DENIED, message, {"code": code.value, "retry_after_s": RETRY_AFTER_S})


def without_badge(ctx: Ctx, *, bearer: Bearer = "badge") -> Ctx:
    """Return `ctx` as handlers may see it: no badge in `_meta`, none in the headers."""
    return replace(
        ctx,
        params=_params_without_badge(ctx),
        meta=_without_key(ctx.meta),
        request=_request_without_badge(ctx.request, bearer),
    )


def _params_without_badge(ctx: Ctx) -> Mapping[str, Any] | None:
    meta = ctx.params.get("_meta") if ctx.params else None
    if ctx.params is None or not isinstance(meta, Mapping) or META_KEY not in meta:
        return ctx.params
    if ctx.method == "initialize" and isinstance(meta, dict):
        # mcp commits a handshake from the message itself, not from this context, and keeps it as
        # `session.client_params`, where tools can read it.
        del meta[META_KEY]
        return ctx.params
    return {**ctx.params, "_meta": _without_key(meta)}


def _without_key(meta: Any) -> Any:
    if not isinstance(meta, Mapping):
        return meta
    return {key: value for key, value in meta.items() if key != META_KEY}


def _request_without_badge(request: Any, bearer: Bearer) -> Any:
    """Return a copy of an HTTP request less its badge headers; anything else as it is."""
    if not isinstance(request, HTTPConnection):
        return request
    clean = copy.copy(request)
    raw = request.scope["headers"]
    kept = [pair for pair in raw if not carriage.carries_badge(*pair, bearer=bearer)]
    clean.scope = {**request.scope, "headers": kept}
    clean.scope.pop(proven.KEY, None)
    vars(clean).pop("_headers", None)  # starlette's parsed copy
    return clean
