"""GET streams of MCP sessions: they end with the badge, and nothing is said again after that.

A server with an event store keeps what it said. The raw client here shows what comes over the wire;
mcp's own shows what a program of someone else's gets.
"""

import json
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio
import httpx2
import pytest
from fastmcp import FastMCP
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp_types import JSONRPCMessage

from rescind_guard.integrations import fastmcp as guarding_fastmcp
from rescind_guard.integrations import mcp as guarding
from rescind_guard.integrations import mcp_streams
from rescind_guard.integrations.errors import CannotGuard
from rescind_guard.integrations.mcp_streams import GuardStreams, Sessions
from tests.fakes.authority import Authority
from tests.fakes.places import serving
from tests.fakes.waiting import WITHIN_S

SECRET = "order 7: 300 widgets"
LEGACY = "2025-11-25"
UNKNOWN = "2099-01-01"
"""A version of no server, which answers 405 to all but a POST."""
FEW = 3
RETRY_MS = 1
"""When mcp's client comes back for the rest of a stream."""


class Store(EventStore):
    """Keeps all that a server says; `on_stored` hears of each message."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, JSONRPCMessage | None]] = []
        self.on_stored: Callable[[str], None] = lambda _: None
        self.on_replay: Callable[[], None] = lambda: None

    async def store_event(self, stream_id: str, message: JSONRPCMessage | None) -> str:
        """Keep it; its number is its id."""
        self.kept.append((stream_id, message))
        self.on_stored(repr(message))
        return str(len(self.kept))

    async def replay_events_after(
        self, last_event_id: str, send_callback: EventCallback
    ) -> str | None:
        """Say all again that came after it in the same stream."""
        self.on_replay()
        stream = self.kept[int(last_event_id) - 1][0]
        for number, (each, message) in enumerate(self.kept, 1):
            if each == stream and number > int(last_event_id) and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream


def of_mcp(store: Store, authority: Authority | None) -> Any:
    """Return the application of a server of `mcp`; guarded, if there is an authority."""
    server = MCPServer("orders")

    @server.tool()
    def total() -> str:
        return SECRET

    @server.tool()
    async def later(ctx: Context[Any, Any]) -> str:
        """Let the client come back for the result."""
        await ctx.close_sse_stream()
        return SECRET

    if authority is not None:
        guarding.install(server, authority.guard)
    return server.streamable_http_app(event_store=store, retry_interval=RETRY_MS)


def of_fastmcp(store: Store, authority: Authority | None) -> Any:
    """Return that of a server of `fastmcp`."""
    server = FastMCP("orders")
    server.tool(name="total")(lambda: SECRET)
    if authority is not None:
        guarding_fastmcp.install(server, authority.guard)
    return server.http_app(event_store=store)


class Raw:
    """A client that sends what it is told to, in one session."""

    def __init__(self, http: httpx2.AsyncClient, url: str) -> None:
        self._http, self.url, self._session = http, url, {"MCP-Protocol-Version": LEGACY}

    async def open(self) -> None:
        """Begin a session, without a badge."""
        params = {"protocolVersion": LEGACY, "capabilities": {}}
        params["clientInfo"] = {"name": "raw", "version": "0"}
        async with self._post({"id": 0, "method": "initialize", "params": params}, {}) as hello:
            self._session["Mcp-Session-Id"] = hello.headers["mcp-session-id"]
            await hello.aread()
        async with self._post({"method": "notifications/initialized"}, {}) as answer:
            assert answer.status_code == 202

    def _post(self, message: dict[str, Any], headers: dict[str, str]) -> Any:
        accept = {"Accept": "application/json, text/event-stream"}
        sent = {"jsonrpc": "2.0", **message}
        every = {**self._session, **accept, **headers}
        return self._http.stream("POST", self.url, json=sent, headers=every)

    async def call(self, headers: dict[str, str], meta: dict[str, str] | None = None) -> str:
        """Call the tool; return the id of the stream's first event, from which to resume."""
        params: dict[str, Any] = {"name": "total", "arguments": {}}
        if meta:
            params["_meta"] = meta
        async with self._post({"id": 1, "method": "tools/call", "params": params}, headers) as said:
            text = (await said.aread()).decode()
        assert SECRET in text
        return str(text.partition("id: ")[2].split()[0])

    @asynccontextmanager
    async def get(self, headers: dict[str, str]) -> AsyncIterator[httpx2.Response]:
        """Open a GET stream."""
        every = {**self._session, "Accept": "text/event-stream", **headers}
        async with self._http.stream("GET", self.url, headers=every) as answer:
            yield answer

    async def resume(self, headers: dict[str, str], last: str) -> tuple[int, str]:
        """Return status and the first part of what a resumed stream says."""
        async with self.get({**headers, "Last-Event-ID": last}) as answer:
            async for part in answer.aiter_text():
                return answer.status_code, part
        return answer.status_code, ""

    async def end(self, version: str = LEGACY) -> int:
        """Have the session ended; one of another version the server refuses."""
        headers = {**self._session, "MCP-Protocol-Version": version}
        answer = await self._http.delete(self.url, headers=headers)
        return int(answer.status_code)

    async def invent(self, count: int) -> set[int]:
        """Ask for streams of sessions that nobody began; return the statuses."""
        found = set()
        for number in range(count):
            async with self.get({"Mcp-Session-Id": f"made-up-{number}"}) as answer:
                found.add(answer.status_code)
        return found


class Setting:
    """A served application, what its guard trusts, and what it keeps."""

    def __init__(self, make: Any, *, guarded: bool = True) -> None:
        self.authority, self.store = Authority(os.urandom(32)), Store()
        self.app = make(self.store, self.authority if guarded else None)
        self.badge = self.authority.badge("x7")

    def header(self, badge: str | None = None) -> dict[str, str]:
        """Return the header that carries a badge."""
        return {"X-Capiscio-Badge": badge or self.badge}

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Raw]:
        """Serve, and open a session."""
        with _served(self.app) as url, anyio.fail_after(WITHIN_S):
            async with httpx2.AsyncClient(timeout=WITHIN_S) as http:
                raw = Raw(http, url)
                await raw.open()
                yield raw


@contextmanager
def _served(app: Any) -> Iterator[str]:
    with serving(app) as url:
        yield f"{url}/mcp"


@pytest.fixture(params=[of_mcp, of_fastmcp])
def make(request: pytest.FixtureRequest) -> Any:
    """Return what makes an application: of mcp, or of fastmcp."""
    return request.param


async def code_of(answer: httpx2.Response) -> tuple[int, str]:
    """Return status and code of a refusal."""
    return answer.status_code, json.loads(await answer.aread())["code"]


@pytest.mark.parametrize("by_header", [True, False])
async def test_an_open_stream_ends_with_its_badge(make: Any, *, by_header: bool) -> None:
    """Whether the stream has a badge of its own, or only the calls of its session have."""
    here = Setting(make)
    async with here.session() as raw:
        own = here.header() if by_header else {}
        async with raw.get(own) as stream:
            assert stream.status_code == 200
            meta = {"capiscio_caller_badge": here.badge}
            await raw.call(own, None if by_header else meta)
            here.authority.kill(here.badge)
            assert [each async for each in stream.aiter_lines() if each] == [], "idle, and ended"
        async with raw.get(own) as again:
            assert await code_of(again) == (401, "BADGE_REVOKED")
        async with raw.get(here.header(here.authority.badge("x8"))) as other:
            assert await code_of(other) == (401, "BADGE_REVOKED")


async def test_a_living_caller_gets_what_was_said(make: Any) -> None:
    """The same agent resumes, with a newer badge too; nobody else does, nor without a badge."""
    here = Setting(make)
    async with here.session() as raw:
        first = await raw.call(here.header())
        for badge in (here.badge, here.authority.badge("x7")):
            status, said = await raw.resume(here.header(badge), first)
            assert status == 200
            assert SECRET in said
        for headers in ({}, here.header(here.authority.badge("x8")), here.header("a.b.c")):
            status, said = await raw.resume(headers, first)
            assert status == 401
            assert SECRET not in said


async def test_nothing_is_said_again_after_a_kill(make: Any) -> None:
    """Not to the killed badge, nor to another of the session, even of the same agent."""
    here = Setting(make)
    async with here.session() as raw:
        first = await raw.call(here.header())
        here.authority.kill(here.badge)
        for badge in (here.badge, here.authority.badge("x7"), here.authority.badge("x8")):
            status, said = await raw.resume(here.header(badge), first)
            assert (status, json.loads(said)["code"]) == (401, "BADGE_REVOKED")


async def test_without_the_guard_of_streams_it_would_be(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: the guard of messages alone lets the killed have its results again."""

    async def passing(self: GuardStreams, scope: Any, receive: Any, send: Any) -> None:
        await self._app({**scope, mcp_streams.SESSION_KEY: None}, receive, send)

    monkeypatch.setattr(GuardStreams, "__call__", passing)
    here = Setting(make)
    async with here.session() as raw:
        first = await raw.call(here.header())
        here.authority.kill(here.badge)
        assert SECRET in (await raw.resume(here.header(), first))[1]


async def test_a_kill_between_opening_and_saying() -> None:
    """The resumed stream was admitted; what it has to say comes after the kill, and does not."""
    here = Setting(of_mcp)
    async with here.session() as raw:
        first = await raw.call(here.header())
        here.store.on_replay = lambda: here.authority.kill(here.badge)
        status, said = await raw.resume(here.header(), first)
        assert (status, said) == (200, ""), "it was open already, and ended without a word"


async def test_who_ended_a_session_is_forgotten(make: Any) -> None:
    """With its results: it is gone in the server, too."""
    here = Setting(make)
    async with here.session() as raw:
        first = await raw.call(here.header())
        assert await raw.end() == 200
        assert (await raw.resume(here.header(), first))[0] in (401, 404)


async def test_an_end_that_the_server_refuses_ends_nothing(make: Any) -> None:
    """The stream still ends with the badge, the killed stay out, and nobody else takes over."""
    here = Setting(make)
    async with here.session() as raw:
        first = await raw.call(here.header())
        assert await raw.end(UNKNOWN) == 405
        async with raw.get({}) as stream:
            other = here.header(here.authority.badge("x8"))
            await raw.call(other)
            assert SECRET not in (await raw.resume(other, first))[1]
            here.authority.kill(here.badge)
            assert [each async for each in stream.aiter_lines() if each] == []
        assert await raw.end(UNKNOWN) == 405
        async with raw.get({}) as again:
            assert await code_of(again) == (401, "BADGE_REVOKED")


async def test_without_a_look_at_the_status_another_takes_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Negative control: the session is free as soon as anybody asks for its end."""

    async def ending(self: GuardStreams, name: str, send: Any, message: Any) -> None:
        if message["type"] == "http.response.start":
            self._sessions.forget(name)
            self._sessions.begin(name)
        await send(message)

    monkeypatch.setattr(GuardStreams, "_ending", ending)
    here = Setting(of_mcp)
    async with here.session() as raw:
        first = await raw.call(here.header())
        assert await raw.end(UNKNOWN) == 405
        other = here.header(here.authority.badge("x8"))
        await raw.call(other)
        assert SECRET in (await raw.resume(other, first))[1]


async def test_invented_sessions_push_nobody_out(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They get no stream and no place: what is open still ends with its badge."""
    monkeypatch.setattr(mcp_streams, "MAX_SESSIONS", FEW)
    here = Setting(make)
    async with here.session() as raw, raw.get({}) as stream:
        await raw.call(here.header())
        assert await raw.invent(FEW + 1) == {404}
        here.authority.kill(here.badge)
        assert [each async for each in stream.aiter_lines() if each] == []
        assert await raw.invent(FEW + 1) == {404}
        async with raw.get({}) as again:
            assert await code_of(again) == (401, "BADGE_REVOKED")


async def test_if_any_id_had_a_place_they_would(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: a killed session is pushed out, and its stream opens again."""

    def find(self: Sessions, name: str) -> mcp_streams.Session:
        session = self._called.setdefault(name, mcp_streams.Session())
        self._called.move_to_end(name)
        mcp_streams._over(self._called, FEW)
        return session

    monkeypatch.setattr(Sessions, "find", find)
    here = Setting(of_mcp)
    async with here.session() as raw:
        await raw.call(here.header())
        here.authority.kill(here.badge)
        assert await raw.invent(FEW + 1) == {404}
        async with raw.get({}) as again:
            assert again.status_code == 200


async def test_a_session_that_is_pushed_out_takes_its_stream_along(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody would end it at a kill; and no caller after that makes the session known again."""
    monkeypatch.setattr(mcp_streams, "MAX_SESSIONS", 1)
    here = Setting(make)
    async with here.session() as raw, httpx2.AsyncClient(timeout=WITHIN_S) as http:
        first = await raw.call(here.header())
        async with raw.get({}) as stream:
            newer = Raw(http, raw.url)
            await newer.open()
            other = here.header(here.authority.badge("x8"))
            await newer.call(other)
            assert [each async for each in stream.aiter_lines() if each] == []
        await raw.call(other)
        assert (await raw.resume(other, first))[0] == 404


async def _by_mcp_s_client(here: Setting) -> str:
    """Return what mcp's own client is told of a call whose result it comes back for."""

    async def badge(request: httpx2.Request) -> None:
        # Not for the list of tools, by which this client checks a result before it tells of it.
        if request.method == "GET" or b"tools/call" in request.content:
            request.headers.update(here.header())

    with _served(here.app) as url, anyio.fail_after(WITHIN_S):
        async with httpx2.AsyncClient(event_hooks={"request": [badge]}) as http:
            transport = streamable_http_client(url, http_client=http)
            async with Client(transport, mode="legacy", cache=None) as client:
                try:
                    return str(await client.call_tool("later", {}))
                except MCPError as refused:
                    return repr(refused)


async def test_mcp_s_client_comes_back_for_a_result() -> None:
    """A living caller gets it; one that is killed before it comes back does not."""
    here = Setting(of_mcp)
    assert SECRET in await _by_mcp_s_client(here)
    assert SECRET not in await _killed_before_it_comes_back(Setting(of_mcp))


async def test_without_the_guard_of_streams_it_would_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Negative control."""

    async def passing(self: GuardStreams, scope: Any, receive: Any, send: Any) -> None:
        await self._app({**scope, mcp_streams.SESSION_KEY: None}, receive, send)

    monkeypatch.setattr(GuardStreams, "__call__", passing)
    assert SECRET in await _killed_before_it_comes_back(Setting(of_mcp))


async def _killed_before_it_comes_back(here: Setting) -> str:
    def kill(message: str) -> None:
        if SECRET in message:  # it has passed the guard, and is kept for the client
            here.authority.kill(here.badge)

    here.store.on_stored = kill
    return await _by_mcp_s_client(here)


def test_sessions_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one used least recently is forgotten, and so are old badges; none is watched then.

    One in which nobody called makes room for another such, not for one of a caller.
    """
    monkeypatch.setattr(mcp_streams, "MAX_SESSIONS", 3)
    monkeypatch.setattr(mcp_streams, "MAX_BADGES", 2)
    authority = Authority(os.urandom(32))
    sessions, flight = Sessions(authority.guard), authority.guard._view.inflight
    for number in range(5):
        sessions.begin(str(number))
        for _ in range(4):
            sessions.note(str(number), authority.guard.check(authority.badge("x7")))
    for number in range(5):
        sessions.begin(f"uncalled {number}")
    assert list(sessions._called) == ["2", "3", "4"]
    assert list(sessions._begun) == ["uncalled 2", "uncalled 3", "uncalled 4"]
    assert len(flight) == 3 * 2
    sessions.forget("4")
    assert len(flight) == 2 * 2


def test_an_application_that_is_made_cannot_be_guarded() -> None:
    """Its streams would be open: refused, with what to do."""
    server = MCPServer("orders")
    server.streamable_http_app()
    with pytest.raises(CannotGuard, match="before its HTTP application is made"):
        guarding.install(server, Authority(os.urandom(32)).guard)
