"""The guard in an MCP server's middleware, with a real server and client in one process."""

import inspect
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from mcp import Client, MCPError
from mcp.server.context import HandlerResult
from mcp.server.lowlevel import Server
from mcp.server.session import ServerSession
from mcp_types.methods import SPEC_CLIENT_METHODS, SPEC_CLIENT_NOTIFICATION_METHODS
from starlette.requests import Request

from rescind_guard.decision import Decision
from rescind_guard.integrations import mcp_watch
from rescind_guard.integrations.errors import AlreadyGuarded, CannotGuard
from rescind_guard.integrations.mcp import (
    DENIED,
    EXEMPT_NOTIFICATIONS,
    EXEMPT_REQUESTS,
    RETRY_AFTER_S,
    Ctx,
    GuardMiddleware,
    install,
)
from rescind_guard.integrations.mcp_watch import WatchedSession
from tests.fakes.guard import ALLOWED, INVALID, KILLED, UNSURE, ScriptedGuard
from tests.fakes.orders import orders

GUARDED_REQUESTS = sorted(SPEC_CLIENT_METHODS - EXEMPT_REQUESTS)
UNKNOWN_REQUESTS = [
    "orders/list",
    "tasks/list",
    "tools/List",
    "tools/list ",
    "notifications/progress",
]
ERRORS_FOR_CALLERS = [(KILLED, {"code": "BADGE_REVOKED"}), (INVALID, {"code": INVALID.code})]


def scripted() -> ScriptedGuard:
    """Return a guard that knows a badge for each outcome."""
    return ScriptedGuard({"good": ALLOWED, "dead": KILLED, "unsure": UNSURE})


@dataclass
class Handler:
    """The rest of the chain: says what reached it."""

    result: Any = "result"
    reached: Ctx | None = None

    async def __call__(self, ctx: Ctx) -> HandlerResult:
        """Answer with `result`, or raise it."""
        self.reached = ctx
        if isinstance(self.result, Exception):
            raise self.result
        return {"is": self.result}


def message(
    method: str,
    *,
    meta: str | None = None,
    headers: Iterable[tuple[str, str]] | None = None,
    request_id: int | None = 1,
    **params: Any,
) -> Ctx:
    """Return the context that mcp would build for a message."""
    if meta is not None:
        params["_meta"] = {"capiscio_caller_badge": meta, "progressToken": 3}
    request = None
    if headers is not None:
        raw = [(name.lower().encode(), value.encode()) for name, value in headers]
        request = Request({"type": "http", "method": "POST", "path": "/mcp", "headers": raw})
    return Ctx(
        session=SimpleNamespace(),  # type: ignore[arg-type]
        lifespan_context={},
        protocol_version="2025-11-25",
        method=method,
        params=params or None,
        meta=params.get("_meta"),
        request_id=request_id,
        request=request,
    )


def headers_of(ctx: Ctx) -> dict[str, str]:
    """Return the headers as a handler would read them."""
    assert ctx.request is not None
    return dict(ctx.request.headers)


async def refusal(guard: ScriptedGuard, ctx: Ctx, **options: Any) -> MCPError:
    """Return the error that answers `ctx`; the handler must not be reached."""
    handler = Handler()
    with pytest.raises(MCPError) as refused:
        await GuardMiddleware(guard, **options)(ctx, handler)
    assert handler.reached is None
    assert refused.value.code == DENIED
    return refused.value


async def passes(guard: ScriptedGuard, ctx: Ctx, **options: Any) -> Ctx:
    """Return what reached the handler."""
    handler = Handler()
    assert await GuardMiddleware(guard, **options)(ctx, handler) == {"is": "result"}
    assert handler.reached is not None
    return handler.reached


def test_the_lists_are_the_protocols() -> None:
    """Every exempt method is one the protocol names; all others of the protocol are guarded."""
    assert EXEMPT_REQUESTS <= SPEC_CLIENT_METHODS
    assert EXEMPT_NOTIFICATIONS == SPEC_CLIENT_NOTIFICATION_METHODS
    assert {"tools/call", "resources/read", "prompts/get", "completion/complete"} <= set(
        GUARDED_REQUESTS
    )


@pytest.mark.parametrize("method", [*GUARDED_REQUESTS, *UNKNOWN_REQUESTS])
async def test_default_deny(method: str) -> None:
    """Every method that is not exempt needs a badge, those that nobody has heard of too."""
    guard = scripted()
    assert (await refusal(guard, message(method))).data == {"code": "TOOL_AUTH_MISSING"}
    assert (await refusal(guard, message(method, meta="dead"))).data == {"code": "BADGE_REVOKED"}
    await passes(guard, message(method, meta="good"))
    assert guard.asked[-1] == ("recheck", "good", None)


@pytest.mark.parametrize("method", sorted(EXEMPT_REQUESTS))
async def test_exempt(method: str) -> None:
    """An exempt method passes with no badge, or one nobody can check; never with a killed one."""
    guard = scripted()
    await passes(guard, message(method))
    await passes(guard, message(method, meta="garbage"))
    await passes(guard, message(method, meta="unsure"))
    assert (await refusal(guard, message(method, meta="dead"))).data == {"code": "BADGE_REVOKED"}
    assert (await refusal(guard, message(method, headers=[("X-Capiscio-Badge", "dead")]))).code


async def test_tool_is_named_to_the_guard() -> None:
    """The guard learns the tool of a tools/call, and of nothing else."""
    guard = scripted()
    await passes(guard, message("tools/call", meta="good", name="total"))
    await passes(guard, message("prompts/get", meta="good", name="summary"))
    await passes(guard, message("tools/call", meta="good", name=["total"]))
    tools = [tool for question, _, tool in guard.asked if question == "check"]
    assert tools == ["total", None, None]


@pytest.mark.parametrize(("decision", "data"), ERRORS_FOR_CALLERS)
async def test_shape_of_a_refusal(decision: Decision, data: dict[str, object]) -> None:
    """A refusal carries code and safe words."""
    error = await refusal(ScriptedGuard({"b": decision}), message("tools/call", meta="b"))
    assert error.data == data
    assert error.message.startswith(decision.reason)
    assert (decision.reason_user or "") in error.message


async def test_cannot_tell_says_when_to_ask_again() -> None:
    """A guard that cannot tell refuses, and says when to try again."""
    error = await refusal(scripted(), message("tools/call", meta="unsure"))
    assert error.data == {"code": "REVOCATION_CHECK_FAILED", "retry_after_s": RETRY_AFTER_S}


@pytest.mark.parametrize(
    "ctx",
    [
        message("tools/call", headers=[("X-Capiscio-Badge", "good"), ("X-Capiscio-Badge", "dead")]),
        message(
            "tools/call", headers=[("X-Capiscio-Badge", "good"), ("Authorization", "Bearer x")]
        ),
        message("tools/call", headers=[("X-Capiscio-Badge", "good")], meta="dead"),
        message("tools/call", headers=[("X-Capiscio-Badge", "")], meta="good"),
        message("tools/list", headers=[("X-Capiscio-Badge", "good")], meta="dead"),
    ],
)
async def test_two_badges(ctx: Ctx) -> None:
    """A message that carries two badges is refused before either is looked at."""
    guard = scripted()
    assert (await refusal(guard, ctx)).data == {"code": "BADGE_MALFORMED"}
    assert guard.asked == []


async def test_same_badge_twice() -> None:
    """Header and `_meta` with the same badge are one badge."""
    ctx = message("tools/call", headers=[("Authorization", "Bearer good")], meta="good")
    await passes(scripted(), ctx)


async def test_foreign_bearer() -> None:
    """With `bearer="foreign"` the OAuth token is left alone and handlers still see it."""
    headers = [("Authorization", "Bearer oauth"), ("X-Capiscio-Badge", "good")]
    reached = await passes(scripted(), message("tools/call", headers=headers), bearer="foreign")
    assert headers_of(reached) == {"authorization": "Bearer oauth"}
    error = await refusal(scripted(), message("tools/call", headers=headers[:1]), bearer="foreign")
    assert error.data == {"code": "TOOL_AUTH_MISSING"}


@pytest.mark.parametrize("name", ["X-Capiscio-Badge", "Authorization"])
async def test_handlers_do_not_see_the_badge(name: str) -> None:
    """No handler finds the badge in its context; everything else in there stays."""
    value = "Bearer good" if name == "Authorization" else "good"
    ctx = message("tools/call", headers=[(name, value), ("X-Kept", "1")], meta="good", name="total")
    assert "good" in headers_of(ctx)[name.lower()]  # parsed once already, like mcp does
    reached = await passes(scripted(), ctx)
    assert reached.params == {"name": "total", "_meta": {"progressToken": 3}}
    assert reached.meta == {"progressToken": 3}
    assert headers_of(reached) == {"x-kept": "1"}
    assert ctx.params is not None
    assert "capiscio_caller_badge" in ctx.params["_meta"], "the caller's own object is left alone"


async def test_handshake_does_not_keep_the_badge() -> None:
    """The params of `initialize`, which mcp reads again after the chain, lose the badge too."""
    ctx = message("initialize", meta="good")
    await passes(scripted(), ctx)
    assert ctx.params == {"_meta": {"progressToken": 3}}


@pytest.mark.parametrize("method", sorted(EXEMPT_NOTIFICATIONS))
async def test_notifications(method: str) -> None:
    """The protocol's notifications pass without a badge; with a killed one they are dropped."""
    guard = scripted()
    await passes(guard, message(method, request_id=None))
    handler = Handler()
    dropped = message(method, request_id=None, meta="dead")
    assert await GuardMiddleware(guard)(dropped, handler) is None
    assert handler.reached is None


@pytest.mark.parametrize("method", ["notifications/cancel_order", "tools/list", "tools/call"])
async def test_other_notifications_need_a_badge(method: str) -> None:
    """A notification of the server's own may do things, so it needs a badge; else it is dropped."""
    handler = Handler()
    guarded = GuardMiddleware(scripted())
    assert await guarded(message(method, request_id=None), handler) is None
    assert handler.reached is None
    await passes(scripted(), message(method, request_id=None, meta="good"))


@pytest.mark.parametrize("outcome", ["result", RuntimeError("secret"), MCPError(-1, "secret")])
@pytest.mark.parametrize("after", [KILLED, INVALID, UNSURE])
async def test_second_look(outcome: object, after: Decision) -> None:
    """What a call returns or raises is withheld unless the guard still allows it."""
    guard = scripted()

    class Killing(Handler):
        async def __call__(self, ctx: Ctx) -> HandlerResult:
            guard.answers["good"] = after
            return await super().__call__(ctx)

    with pytest.raises(MCPError) as refused:
        await GuardMiddleware(guard)(message("tools/call", meta="good"), Killing(outcome))
    assert refused.value.data["code"] == after.code
    assert "secret" not in str(refused.value)
    assert refused.value.__suppress_context__


async def test_a_kill_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill that the view knew while the call ran counts, though it knows it no more (I8)."""
    monkeypatch.setattr(mcp_watch, "LOOK_EVERY_S", 0.001)
    guard = scripted()

    async def killed_and_forgotten(_: Ctx) -> HandlerResult:
        guard.kill("good")
        looks = len(guard.asked)
        while len(guard.asked) == looks:
            await anyio.lowlevel.checkpoint()
        guard.answers["good"] = ALLOWED
        return {"is": "secret"}

    with anyio.fail_after(20), pytest.raises(MCPError) as refused:
        await GuardMiddleware(guard)(message("tools/call", meta="good"), killed_and_forgotten)
    assert refused.value.data == {"code": "BADGE_REVOKED"}


async def test_looks_end_with_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that is over is looked at no more."""
    monkeypatch.setattr(mcp_watch, "LOOK_EVERY_S", 0)
    guard = scripted()
    await passes(guard, message("tools/call", meta="good"))
    looks = len(guard.asked)
    for _ in range(100):
        await anyio.lowlevel.checkpoint()
    assert len(guard.asked) == looks


async def test_errors_of_living_badges_pass() -> None:
    """An error is the server's own business as long as the badge lives."""
    with pytest.raises(RuntimeError, match="own"):
        await GuardMiddleware(scripted())(
            message("tools/call", meta="good"), Handler(RuntimeError("own"))
        )


async def test_no_second_look_without_identity() -> None:
    """An exempt call was allowed to nobody in particular; nothing is asked when it returns."""
    guard = scripted()
    await passes(guard, message("tools/list", meta="good"))
    assert [question for question, _, _ in guard.asked] == ["admits_exempt"]


@pytest.mark.parametrize("question", ["check", "recheck", "admits_exempt"])
async def test_a_broken_guard_refuses(question: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A guard that fails refuses, and its exception's words do not reach the caller."""
    guard = scripted()

    def fail(*_: object, **__: object) -> Decision:
        raise RuntimeError("secret")

    monkeypatch.setattr(guard, question, fail)
    method = "tools/list" if question == "admits_exempt" else "tools/call"
    with pytest.raises(MCPError) as refused:
        await GuardMiddleware(guard)(message(method, meta="good"), Handler())
    assert refused.value.data["code"] == "REVOCATION_CHECK_FAILED"
    assert "secret" not in repr(refused.value.args)


def test_install_once() -> None:
    """A server takes one guard, also when asked for through its low-level half."""
    server = orders(lambda _: None)
    install(server, scripted())
    with pytest.raises(AlreadyGuarded):
        install(server, scripted())
    with pytest.raises(AlreadyGuarded):
        install(server._lowlevel_server, scripted())
    lowlevel: Server[Any] = Server("bare")
    install(lowlevel, scripted())
    assert isinstance(lowlevel.middleware[-1], GuardMiddleware)


async def test_install_outside_other_middleware() -> None:
    """A middleware that answers by itself, such as a cache, answers only guarded calls."""

    async def cache(ctx: Ctx, call_next: Any) -> HandlerResult:
        return await call_next(ctx) if ctx.method != "resources/read" else {"contents": []}

    server = orders(lambda _: None)
    server.middleware.append(cache)
    install(server, scripted())
    async with Client(server, mode="legacy") as client:
        with pytest.raises(MCPError) as refused:
            await client.read_resource("orders://7")
    assert refused.value.code == DENIED


@pytest.mark.parametrize("server", [object(), SimpleNamespace(middleware=[])])
def test_install_needs_a_server_with_middleware(server: Any) -> None:
    """What is not a server of mcp 2.x gets a clear error, even if it has some `middleware`."""
    with pytest.raises(CannotGuard, match="not a server of mcp 2"):
        install(server, scripted())


def test_mcp_1_is_refused(tmp_path: Path) -> None:
    """With mcp 1.x, which has no middleware, the import says what is needed."""
    package = tmp_path / "mcp" / "server"
    package.mkdir(parents=True)
    for folder in (package.parent, package):
        (folder / "__init__.py").touch()
    info = tmp_path / "mcp-1.27.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mcp\nVersion: 1.27.0\n")
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from rescind_guard.integrations.errors import CannotGuard\n"
        "try: import rescind_guard.integrations.mcp\n"
        "except CannotGuard as error: print(error)"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "needs mcp 2.3 or later" in said.stdout
    assert "mcp 1.27.0 is installed" in said.stdout


def test_mcp_loads_only_when_used() -> None:
    """`import rescind_guard` does not load mcp."""
    program = "import rescind_guard, sys; print('mcp' in sys.modules)"
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "False"


async def test_a_hop_that_is_killed_refuses_before_and_after_the_call() -> None:
    """The map is asked about at the start and at the end, and no handler sees it."""
    guard = scripted()
    headers = [("X-Capiscio-Badge", "good"), ("X-Capiscio-Badge-Map", "dead")]
    ctx = message("tools/call", headers=headers, name="t")
    assert (await refusal(guard, ctx)).data == {"code": "BADGE_REVOKED"}
    headers[1] = ("X-Capiscio-Badge-Map", "hops")
    seen = await passes(guard, message("tools/call", headers=headers, name="t"))
    assert "x-capiscio-badge-map" not in headers_of(seen)
    assert [each[0] for each in guard.asked[-3:]] == ["check", "badge_map", "recheck"]


async def test_two_maps_are_refused() -> None:
    """Of two, one would be judged and the other read."""
    headers = [("X-Capiscio-Badge", "good")] + [("X-Capiscio-Badge-Map", "x")] * 2
    error = await refusal(scripted(), message("tools/call", headers=headers))
    assert "more than once" in str(error)


async def test_the_guard_gets_the_parameters_for_its_evidence() -> None:
    """A tool's arguments, and nothing of any other method."""
    guard = scripted()
    await passes(guard, message("tools/call", meta="good", name="t", arguments={"a": 1}))
    await passes(guard, message("resources/read", meta="good", uri="x"))
    assert guard.params == [{"a": 1}, None]


SENDERS = [
    name
    for name, _ in inspect.getmembers(ServerSession, inspect.isfunction)
    if not name.startswith("_")
]


@pytest.mark.parametrize("name", SENDERS)
def test_nothing_leaves_by_any_public_method_of_a_session(name: str) -> None:
    """Each looks first, whichever methods this version of mcp has."""

    def refuse() -> None:
        raise MCPError(DENIED, "killed")

    session = object.__new__(ServerSession)
    with pytest.raises(MCPError, match="killed"):
        getattr(WatchedSession(session, refuse), name)()
