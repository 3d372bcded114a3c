"""Guarded MCP servers, real clients, real transports, both generations of the protocol."""

import os
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio
import httpx2
import pytest
import uvicorn
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import SubscriptionLost
from mcp.server.extension import Extension
from mcp.server.mcpserver import MCPServer
from mcp.shared.subscriptions import ResourcesListChanged
from mcp_types import PromptReference, TextContent

from rescind_guard import Guard
from rescind_guard.integrations import mcp as guarding
from rescind_guard.integrations import mcp_watch
from rescind_guard.integrations.mcp import DENIED, install
from tests.fakes.authority import Authority
from tests.fakes.orders import SECRET, orders
from tests.fakes.waiting import WITHIN_S

VERSIONS = {"legacy": "2025-11-25", "2026-07-28": "2026-07-28"}
BEYOND_EXPIRY_S = 400
AS_META = "http _meta"
UNSIGNED = "BADGE_SIGNATURE_INVALID"

Connect = Callable[[str | None], AbstractAsyncContextManager["Agent"]]
"""Role (`badges`) to agent."""
Reach = AbstractAsyncContextManager[Connect]


@dataclass
class Agent:
    """A client, and how it sends its badge: by itself (header) or with each message (`_meta`)."""

    client: Client
    meta: Any
    badge: str | None

    async def call(self, tool: str, **arguments: str) -> str:
        """Call a tool; return what it said."""
        result = await self.client.call_tool(tool, arguments, meta=self.meta)
        return texts(result)

    async def hold(self, tool: str, running: anyio.Event) -> str:
        """Call a tool that waits; `running` is set once it does. Returns all it ever said."""
        said: list[str] = []

        async def heard(progress: float, total: float | None, message: str | None) -> None:  # noqa: ARG001
            said.append(message or "")
            running.set()

        try:
            result = await self.client.call_tool(tool, {}, meta=self.meta, progress_callback=heard)
        except MCPError as error:
            return f"{said} {error.code} {error.message} {error.data}"
        return f"{said} {texts(result)}"


def texts(result: Any) -> str:
    """Return the words in the result of a tool."""
    return " ".join(one.text for one in result.content if isinstance(one, TextContent))


@dataclass
class Served:
    """A server in this process, listening on loopback."""

    authority: Authority
    url: str
    badges: dict[str | None, str | None]

    def header(self, role: str) -> dict[str, str]:
        """Return the header that carries the badge of `role`."""
        return {"X-Capiscio-Badge": str(self.badges[role])}

    def kill(self, role: str) -> None:
        """Kill the badge of `role`."""
        self.authority.kill(str(self.badges[role]))


def badges(authority: Authority) -> dict[str | None, str | None]:
    """Issue a badge for each role in these tests; no role, no badge."""
    return {None: None, "good": authority.badge("good"), "operator": authority.badge("operator")}


@asynccontextmanager
async def over_http(url: str, mode: str, headers: dict[str, str]) -> AsyncIterator[Client]:
    """Yield a client that sends `headers` with every message."""
    async with httpx2.AsyncClient(headers=headers) as http:
        transport = streamable_http_client(url, http_client=http)
        async with Client(transport, mode=mode, cache=None) as client:
            yield client


class Listening(uvicorn.Server):
    """A web server that says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: Any = None) -> None:
        """Start listening."""
        await super().startup(sockets)
        self.ready.set()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.servers[0].sockets[0].getsockname()[1]}/mcp"


def serve(server: MCPServer) -> Iterator[str]:
    """Serve over streamable HTTP on a free port; yields the address."""
    app = server.streamable_http_app()
    web = Listening(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", ws="none"))
    thread = threading.Thread(target=web.run)
    thread.start()
    try:
        assert web.ready.wait(WITHIN_S)
        yield web.url
    finally:
        web.should_exit = True
        thread.join()


@pytest.fixture
def served() -> Iterator[Served]:
    """Yield a guarded server that listens, and two badges that are good there."""
    authority = Authority(os.urandom(32))
    server = orders(authority.kill)
    install(server, authority.guard)
    for url in serve(server):
        yield Served(authority, url, badges(authority))


@pytest.fixture(params=list(VERSIONS))
def mode(request: pytest.FixtureRequest) -> str:
    """Return the generation of the protocol, as mcp's client calls it."""
    return str(request.param)


@pytest.fixture(params=["http header", "http bearer", "http _meta", "stdio"])
def reach(request: pytest.FixtureRequest, mode: str) -> Reach:
    """Return the way to a guarded server; entered by the test, whose task then owns the client."""
    if request.param == "stdio":
        return over_stdio(mode)
    return over_carrier(request.getfixturevalue("served"), mode, request.param)


@asynccontextmanager
async def over_stdio(mode: str) -> AsyncIterator[Connect]:
    """Yield `connect(role)`; all agents share the one client that a process can have."""
    seed = os.urandom(32)
    known = badges(Authority(seed))
    program = StdioServerParameters(
        command=sys.executable, args=["-m", "tests.fakes.orders", seed.hex()]
    )
    async with Client(program, mode=mode, cache=None) as client:
        yield lambda role: already(Agent(client, in_meta(known[role]), known[role]))


@asynccontextmanager
async def over_carrier(served: Served, mode: str, carrier: str) -> AsyncIterator[Connect]:
    """Yield `connect(role)`; each agent has a client of its own."""
    yield lambda role: agent_over_http(served.url, mode, carrier, served.badges[role])


def in_meta(badge: str | None) -> Any:
    """Return the `_meta` that carries `badge`."""
    return None if badge is None else {"capiscio_caller_badge": badge}


@asynccontextmanager
async def already(agent: Agent) -> AsyncIterator[Agent]:
    """Yield an agent whose client is open."""
    yield agent


@asynccontextmanager
async def agent_over_http(
    url: str, mode: str, carrier: str, badge: str | None
) -> AsyncIterator[Agent]:
    """Yield an agent with a client of its own, which sends `badge` by `carrier`."""
    headers = {}
    if badge is not None and carrier == "http header":
        headers = {"X-Capiscio-Badge": badge}
    if badge is not None and carrier == "http bearer":
        headers = {"Authorization": f"Bearer {badge}"}
    async with over_http(url, mode, headers) as client:
        yield Agent(client, None if headers else in_meta(badge), badge)


async def denied(call: Any, code: str) -> MCPError:
    """Return the error that `call` ends with; it must be ours and carry `code`."""
    with anyio.fail_after(WITHIN_S), pytest.raises(MCPError) as refused:
        await call
    assert (refused.value.code, refused.value.data["code"]) == (DENIED, code)
    assert SECRET not in refused.value.message
    return refused.value


async def kill(connect: Connect, agent: Agent) -> None:
    """Kill the badge of `agent` in the server that `connect` leads to."""
    async with connect("operator") as operator:
        assert await operator.call("kill", badge=str(agent.badge)) == "killed"


async def test_allowed(reach: Reach, mode: str) -> None:
    """A good badge calls tools, reads resources and gets prompts, in the generation asked for."""
    async with reach as connect, connect("good") as agent:
        assert agent.client.protocol_version == VERSIONS[mode]
        assert await agent.call("total") == SECRET
        read = await agent.client.read_resource("orders://7", meta=agent.meta)
        assert SECRET in repr(read)
        assert SECRET in repr(await agent.client.get_prompt("summary", meta=agent.meta))


async def test_lists_need_no_badge(reach: Reach) -> None:
    """A client without a badge can connect and list, and is refused everything else."""
    async with reach as connect, connect(None) as agent:
        assert "total" in repr(await agent.client.list_tools())
        assert "orders://7" in repr(await agent.client.list_resources())
        assert "summary" in repr(await agent.client.list_prompts())
        await agent.client.list_resource_templates()
        await denied(agent.call("total"), "TOOL_AUTH_MISSING")
        await denied(agent.client.read_resource("orders://7"), "TOOL_AUTH_MISSING")
        await denied(agent.client.get_prompt("summary"), "TOOL_AUTH_MISSING")
        prompt = PromptReference(type="ref/prompt", name="summary")
        completion = agent.client.complete(prompt, {"name": "a", "value": ""})
        await denied(completion, "TOOL_AUTH_MISSING")


async def test_killed(reach: Reach) -> None:
    """A killed badge is refused on every kind of call, lists included; the client lives on."""
    async with reach as connect, connect("good") as agent:
        assert await agent.call("total") == SECRET
        await kill(connect, agent)
        client, meta = agent.client, agent.meta
        await denied(agent.call("total"), "BADGE_REVOKED")
        await denied(client.read_resource("orders://7", meta=meta), "BADGE_REVOKED")
        await denied(client.get_prompt("summary", meta=meta), "BADGE_REVOKED")
        await denied(client.list_tools(meta=meta), "BADGE_REVOKED")
        error = await denied(client.list_resources(meta=meta), "BADGE_REVOKED")
        assert error.message == "badge is revoked (compromised): ask your administrator"
        assert "INC-412" not in repr(error.args)


async def test_client_lives_on(served: Served, mode: str) -> None:
    """After a refusal the same client, given a good badge, works."""
    good, stranger = served.badges["good"], Authority(os.urandom(32)).badge("good")
    async with over_http(served.url, mode, {}) as client:
        await denied(Agent(client, in_meta(stranger), stranger).call("total"), UNSIGNED)
        assert await Agent(client, in_meta(good), good).call("total") == SECRET


async def test_killed_client_cannot_connect(served: Served) -> None:
    """A killed badge is refused in the handshake itself."""
    served.kill("good")
    with anyio.fail_after(WITHIN_S), pytest.RaisesGroup(MCPError, flatten_subgroups=True):
        async with over_http(served.url, "legacy", served.header("good")):
            raise AssertionError("connected")


@pytest.mark.parametrize("tool", ["hold", "hold_then_fail", "hold_then_raise", "hold_then_tell"])
async def test_killed_while_it_runs(reach: Reach, tool: str) -> None:
    """What a running tool returns, raises or reports after the kill does not reach the client."""
    said = await killed_while_it_runs(reach, tool)
    assert f"{DENIED} badge is revoked" in said
    assert SECRET not in said


async def killed_while_it_runs(reach: Reach, tool: str) -> str:
    """Return all the client heard of a tool that was running when its badge was killed."""

    async def kill_it(agent: Agent, operator: Agent) -> None:
        await operator.call("kill", badge=str(agent.badge))

    return await interrupted(reach, tool, by=kill_it)


async def interrupted(
    reach: Reach, tool: str, *, by: Callable[[Agent, Agent], Awaitable[None]]
) -> str:
    """Return all the client heard of a tool during whose run `by(agent, operator)` happened."""
    heard: list[str] = []
    running = anyio.Event()
    with anyio.fail_after(WITHIN_S):
        async with (
            reach as connect,
            connect("good") as agent,
            anyio.create_task_group() as tasks,
        ):

            async def hold() -> None:
                heard.append(await agent.hold(tool, running))

            tasks.start_soon(hold)
            await running.wait()
            async with connect("operator") as operator:
                await by(agent, operator)
            async with connect("operator") as operator:
                await operator.call("let_go")
    return heard[0]


async def test_living_badge_hears_its_tool(reach: Reach) -> None:
    """The second look costs a living badge nothing: result and progress arrive."""
    running = anyio.Event()
    with anyio.fail_after(WITHIN_S):
        async with (
            reach as connect,
            connect("good") as agent,
            connect("operator") as operator,
            anyio.create_task_group() as tasks,
        ):

            async def hold() -> None:
                assert await agent.hold("hold_then_tell", running) == (
                    f"['running', '{SECRET}'] {SECRET}"
                )

            tasks.start_soon(hold)
            await running.wait()
            await operator.call("let_go")


async def test_open_stream(served: Served) -> None:
    """A subscription stream that is open when its badge is killed ends before the next event."""
    with anyio.fail_after(WITHIN_S):
        end = await after_kill(served)
    assert isinstance(end, MCPError)
    assert (end.code, end.data) == (DENIED, {"code": "BADGE_REVOKED"})


async def test_idle_stream(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that is open when its badge is killed ends, though nothing happens on it."""
    monkeypatch.setattr(mcp_watch, "LOOK_EVERY_S", 0.01)
    with anyio.fail_after(WITHIN_S):
        async with (
            over_http(served.url, "2026-07-28", served.header("good")) as client,
            client.listen(resources_list_changed=True) as stream,
        ):
            served.kill("good")
            with pytest.raises(SubscriptionLost) as lost:
                await anext(stream)
    end = lost.value.__cause__  # not merely a time-out of the client's
    assert isinstance(end, MCPError)
    assert end.data == {"code": "BADGE_REVOKED"}


async def after_kill(served: Served) -> object:
    """Return what an open stream delivers after its badge was killed."""
    return await after(served, lambda: served.kill("good"))


async def after(served: Served, happening: Callable[[], None]) -> object:
    """Return the event that an open stream delivers after `happening`, or its error."""
    async with (
        over_http(served.url, "2026-07-28", served.header("good")) as client,
        over_http(served.url, "2026-07-28", served.header("operator")) as operator,
        client.listen(resources_list_changed=True) as stream,
    ):
        await operator.call_tool("change")
        assert await anext(stream) == ResourcesListChanged()
        happening()
        served.badges.update(operator=served.authority.badge("operator"))
        async with over_http(served.url, "2026-07-28", served.header("operator")) as later:
            await later.call_tool("change")
        try:
            return await anext(stream)
        except SubscriptionLost as lost:
            return lost.__cause__


async def test_expiry_ends_a_stream(served: Served) -> None:
    """An open stream ends before the first event after its badge expired."""
    with anyio.fail_after(WITHIN_S):
        end = await after(served, lambda: served.authority.pass_time(BEYOND_EXPIRY_S))
    assert isinstance(end, MCPError)
    assert end.data == {"code": "BADGE_EXPIRED"}


async def test_expiry_while_it_runs(served: Served, mode: str) -> None:
    """A badge that only expires while its tool runs was good for that call: the result arrives."""
    served_over = over_carrier(served, mode, AS_META)
    said = await interrupted(served_over, "hold_then_tell", by=partial(outlive, served))
    assert said == f"['running', '{SECRET}'] {SECRET}"


async def outlive(served: Served, _: Agent, __: Agent) -> None:
    """Let every badge expire, then issue new ones."""
    served.authority.pass_time(BEYOND_EXPIRY_S)
    served.badges.update(badges(served.authority))


async def test_tools_do_not_see_the_badge(reach: Reach) -> None:
    """No carrier of a badge is visible to a tool."""
    async with reach as connect, connect("good") as agent:
        seen = await agent.call("seen")
        assert str(agent.badge) not in seen
    assert "seen" in seen


def initialize() -> dict[str, Any]:
    """Return a handshake as it goes over the wire."""
    params = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "raw", "version": "0"},
    }
    return {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}


async def test_repeated_header(served: Served) -> None:
    """A badge header that stands twice in the request is refused, though web servers allow it."""
    async with httpx2.AsyncClient(
        headers=[*served.header("good").items(), *served.header("good").items()]
    ) as http:
        answer = await http.post(
            served.url,
            json=initialize(),
            headers={"Accept": "application/json, text/event-stream"},
        )
    assert answer.status_code == 200
    assert "BADGE_MALFORMED" in answer.text


# Negative controls: each protection taken out, the leak it stops must show. They send the badge in
# `_meta`: mcp's client lists the tools by itself after a call, to check the result's shape. With
# the badge in a header that list is refused, which would hide the leak from this client only.


async def test_control_without_second_look(
    served: Served, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the second look the result of a killed badge's call leaks."""
    monkeypatch.setattr(guarding.GuardMiddleware, "_watched", unwatched)
    over = over_carrier(served, mode, AS_META)
    assert SECRET in await killed_while_it_runs(over, "hold")


async def unwatched(_self: object, ctx: Any, call_next: Any, *_: object) -> Any:
    """Run the call and look at nothing."""
    return await call_next(ctx)


async def test_control_with_an_unwatched_session(
    served: Served, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the look at the result alone, what a tool reports on the way leaks."""
    monkeypatch.setattr(guarding, "WatchedSession", lambda session, _look: session)
    over = over_carrier(served, mode, AS_META)
    assert SECRET in await killed_while_it_runs(over, "hold_then_tell")


async def test_control_with_an_unwatched_stream(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the look at the result alone, an open stream goes on for a killed badge."""
    monkeypatch.setattr(guarding, "WatchedSession", lambda session, _look: session)
    with anyio.fail_after(WITHIN_S):
        assert await after_kill(served) == ResourcesListChanged()


async def test_control_with_badges_left_in(
    served: Served, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the cleaning a tool sees the badge, in whichever place it was sent."""
    monkeypatch.setattr(guarding, "without_badge", lambda ctx, **_: ctx)
    for carrier in ("http header", "http bearer", "http _meta"):
        async with over_carrier(served, mode, carrier) as connect, connect("good") as agent:
            assert str(agent.badge) in await agent.call("seen")


class ToolHook(Extension):
    """The wrong hook: it sees tool calls, and nothing else."""

    identifier = "example.test/guard"

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    async def intercept_tool_call(self, params: Any, ctx: Any, call_next: Any) -> Any:
        """Check the badge of a tool call."""
        if not self._guard.check(ctx.request.headers.get("X-Capiscio-Badge"), tool=params.name):
            raise MCPError(code=DENIED, message="refused", data={"code": "BADGE_REVOKED"})
        return await call_next(ctx)


async def test_control_with_the_wrong_hook(mode: str) -> None:
    """A guard hooked on tool calls denies the call, and lets the killed badge read the resource."""
    authority = Authority(os.urandom(32))
    server = MCPServer("orders", extensions=[ToolHook(authority.guard)])

    @server.tool()
    def total() -> str:
        return SECRET

    @server.resource("orders://7")
    def order() -> str:
        return SECRET

    badge = authority.badge("good")
    authority.kill(badge)
    for url in serve(server):
        async with over_http(url, mode, {"X-Capiscio-Badge": badge}) as client:
            await denied(client.call_tool("total"), "BADGE_REVOKED")
            assert SECRET in repr(await client.read_resource("orders://7"))
