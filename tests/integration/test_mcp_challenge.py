"""The HTTP status of a refused MCP message, with servers and clients of both packages."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import anyio
import fastmcp
import httpx2
import mcp_types
import pytest
from fastmcp.client.transports import StreamableHttpTransport
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.server.mcpserver import MCPServer
from mcp.server.streamable_http import EventCallback, EventStore
from mcp_types import JSONRPCMessage
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from rescind_guard.integrations import fastmcp as guarding_fastmcp
from rescind_guard.integrations import mcp as guarding
from rescind_guard.integrations import mcp_challenge
from rescind_guard.integrations.carriage import Bearer
from rescind_guard.integrations.mcp import DENIED
from tests.fakes.authority import Authority
from tests.fakes.places import serving
from tests.fakes.waiting import WITHIN_S

SECRET = "order 7: 300 widgets"
STALE_S = 400
LEGACY, MODERN = "2025-11-25", "2026-07-28"
NONE, INVALID = "Bearer", 'Bearer error="invalid_token"'


class Store(EventStore):
    """With one, a server of before 2026-07-28 sends an event before it looks at the message."""

    async def store_event(self, stream_id: str, message: JSONRPCMessage | None) -> str:  # noqa: ARG002
        """Give every event the same id."""
        return "1"

    async def replay_events_after(
        self,
        last_event_id: str,
        send_callback: EventCallback,
    ) -> None:
        """Know of nothing to replay."""


def of_mcp(authority: Authority, bearer: Bearer) -> Any:
    """Return the application of a guarded server of `mcp`."""
    server = MCPServer("orders")
    server.tool(name="total")(lambda: SECRET)
    guarding.install(server, authority.guard, bearer=bearer)
    return server.streamable_http_app(event_store=Store())


def of_fastmcp(authority: Authority, bearer: Bearer) -> Any:
    """Return that of a guarded server of `fastmcp`."""
    server = fastmcp.FastMCP("orders")
    server.tool(name="total")(lambda: SECRET)
    guarding_fastmcp.install(server, authority.guard, bearer=bearer)
    return server.http_app()


@dataclass
class Served:
    """A guarded server that listens."""

    url: str
    authority: Authority

    def bearer(self, badge: str) -> dict[str, str]:
        """Return the header that carries `badge` as a bearer token."""
        return {"Authorization": f"Bearer {badge}"}

    def killed(self) -> str:
        """Return a badge that has been killed."""
        badge = self.authority.badge("x7")
        self.authority.kill(badge)
        return badge


@pytest.fixture(scope="module", params=[of_mcp, of_fastmcp])
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    """Yield a guarded server of each package."""
    authority = Authority(os.urandom(32))
    with serving(request.param(authority, "badge")) as url:
        yield Served(f"{url}/mcp", authority)


@pytest.fixture(scope="module")
def foreign() -> Iterator[Served]:
    """Yield a guarded server whose bearer tokens are somebody else's."""
    authority = Authority(os.urandom(32))
    with serving(of_mcp(authority, "foreign")) as url:
        yield Served(f"{url}/mcp", authority)


async def ask(
    url: str, version: str, headers: dict[str, str], *, meta: Any = None, **sent: str
) -> httpx2.Response:
    """Call the tool as a client of that version does; `sent` replaces headers of the protocol."""
    accept = {"Accept": "application/json, text/event-stream"}
    async with httpx2.AsyncClient(timeout=WITHIN_S, headers=accept) as http:
        own = {"MCP-Protocol-Version": version}
        envelope = dict(meta or {})
        if version == LEGACY:
            own["Mcp-Session-Id"] = (await http.post(url, json=hello())).headers["mcp-session-id"]
            await http.post(url, json=message("notifications/initialized"), headers=own)
        else:
            own |= {"Mcp-Method": "tools/call", "Mcp-Name": "total"}
            envelope[mcp_types.PROTOCOL_VERSION_META_KEY] = version
            envelope[mcp_types.CLIENT_CAPABILITIES_META_KEY] = {}
        own |= {name.replace("_", "-"): value for name, value in sent.items()}
        call = message("tools/call", name="total", arguments={}, _meta=envelope) | {"id": "call-7"}
        return await http.post(url, json=call, headers={**own, **headers})


def message(method: str, **params: Any) -> dict[str, Any]:
    """Return a notification."""
    return {"jsonrpc": "2.0", "method": method, "params": params}


def hello() -> dict[str, Any]:
    """Return the handshake of before 2026-07-28."""
    info = {"name": "raw", "version": "0"}
    params = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": info}
    return {**message("initialize", **params), "id": 0}


def refused(answer: httpx2.Response) -> tuple[int, str | None, str]:
    """Return status, challenge and reason of a refusal."""
    text = answer.text.partition("data: {")[2] or answer.text
    said = json.loads(text if text.startswith("{") else "{" + text.split("\n")[0])
    assert said["error"]["code"] == DENIED
    assert said["id"] == "call-7"
    return answer.status_code, answer.headers.get("WWW-Authenticate"), said["error"]["data"]["code"]


@pytest.mark.parametrize("version", [LEGACY, MODERN])
async def test_no_badge_is_401(served: Served, version: str) -> None:
    """Where no badge came the answer is 401 with a challenge, and the JSON-RPC error its body."""
    answer = await ask(served.url, version, {})
    assert refused(answer) == (401, NONE, "TOOL_AUTH_MISSING")
    assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("version", [LEGACY, MODERN])
async def test_an_invalid_bearer_is_401(served: Served, version: str) -> None:
    """A bearer that is malformed, of an unknown issuer's key or killed is an invalid token."""
    stranger = Authority(os.urandom(32)).badge("x7")
    for badge, code in [
        ("garbage", "BADGE_MALFORMED"),
        (stranger, "BADGE_SIGNATURE_INVALID"),
        (served.killed(), "BADGE_REVOKED"),
    ]:
        answer = await ask(served.url, version, served.bearer(badge))
        assert refused(answer) == (401, INVALID, code)


@pytest.mark.parametrize("version", [LEGACY, MODERN])
async def test_a_good_bearer_is_answered(served: Served, version: str) -> None:
    """A good bearer gets the result, in 200."""
    good = served.bearer(served.authority.badge("x7"))
    answer = await ask(served.url, version, good)
    assert (answer.status_code, SECRET in answer.text) == (200, True)


@pytest.mark.parametrize("version", [LEGACY, MODERN])
async def test_what_is_no_bearer_is_refused_in_200(
    served: Served, foreign: Served, version: str
) -> None:
    """A badge in its own header or in `_meta`, or a bearer that is foreign, is not challenged."""
    killed = served.killed()
    by_header = await ask(served.url, version, {"X-Capiscio-Badge": killed})
    assert refused(by_header) == (200, None, "BADGE_REVOKED")
    in_meta = await ask(served.url, version, {}, meta={"capiscio_caller_badge": killed})
    assert refused(in_meta) == (200, None, "BADGE_REVOKED")
    beside = await ask(foreign.url, version, {"Authorization": "Bearer of-somebody-else"})
    assert refused(beside) == (200, None, "TOOL_AUTH_MISSING")


async def test_cannot_tell_is_no_401(served: Served) -> None:
    """With a stale view a good bearer is refused in 200: another token would not help."""
    served.authority._clock.ahead_s += STALE_S
    try:
        answer = await ask(served.url, MODERN, served.bearer(served.authority.badge("x7")))
    finally:
        served.authority.pass_time(0)
    assert refused(answer) == (200, None, "REVOCATION_CHECK_FAILED")


@pytest.mark.parametrize(("header", "value"), [("Mcp_Method", "tools/list"), ("Mcp_Name", "other")])
async def test_headers_beside_the_body_decide_nothing(
    served: Served, header: str, value: str
) -> None:
    """`Mcp-Method` and `Mcp-Name` that differ from the body are refused, or are not read at all."""
    good = served.bearer(served.authority.badge("x7"))
    answer = await ask(served.url, MODERN, good, **{header: value})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == mcp_types.HEADER_MISMATCH
    unchecked = await ask(served.url, LEGACY, {}, **{header: value})
    assert refused(unchecked) == (401, NONE, "TOOL_AUTH_MISSING")


@pytest.mark.parametrize("mode", ["legacy", MODERN])
@pytest.mark.parametrize("carried", [None, "killed"])
async def test_clients_read_the_reason_in_a_401(
    served: Served, mode: str, carried: str | None
) -> None:
    """The clients of `mcp` and `fastmcp` neither hang nor end, and have code and reason."""
    headers = {} if carried is None else served.bearer(served.authority.badge("x7"))
    code = "TOOL_AUTH_MISSING" if carried is None else "BADGE_REVOKED"
    with anyio.fail_after(WITHIN_S):
        async with httpx2.AsyncClient(headers=headers) as http:
            transport = streamable_http_client(served.url, http_client=http)
            async with Client(transport, mode=mode, cache=None) as client:
                await _denied_twice(served, client, headers, code)
        headers = {} if carried is None else served.bearer(served.authority.badge("x7"))
        over = StreamableHttpTransport(served.url, headers=headers)
        async with fastmcp.Client(over, mode=mode) as other:
            await _denied_twice(served, other, headers, code)


async def _denied_twice(served: Served, client: Any, headers: dict[str, str], code: str) -> None:
    """A client of which the first call is refused is still there for the second."""
    if headers:
        served.authority.kill(headers["Authorization"].removeprefix("Bearer "))
    for _ in range(2):
        with pytest.raises(MCPError) as error:
            await client.call_tool("total", {})
        assert (error.value.code, error.value.data["code"]) == (DENIED, code)


async def test_middleware_inside_keeps_its_headers() -> None:
    """A challenge has the headers that middleware within gave the answer: a browser needs CORS."""
    authority = Authority(os.urandom(32))
    server = fastmcp.FastMCP("orders")
    guarding_fastmcp.install(server, authority.guard)
    app = server.http_app(middleware=[Middleware(CORSMiddleware, allow_origins=["*"])])
    with serving(app) as url:
        answer = await ask(f"{url}/mcp", MODERN, {"Origin": url})
    assert refused(answer) == (401, NONE, "TOOL_AUTH_MISSING")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


async def test_control_without_the_challenge(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: with nothing held, the same refusal is a JSON-RPC error in 200."""
    monkeypatch.setattr(mcp_challenge, "held_by", lambda _: None)
    assert refused(await ask(served.url, MODERN, {})) == (200, None, "TOOL_AUTH_MISSING")
