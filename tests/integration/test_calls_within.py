"""Calls within a call: a tool that is denied by name runs under no other."""

from typing import Any

from fastmcp import Context, FastMCP
from fastmcp.apps import FastMCPApp
from fastmcp.experimental.transforms.code_mode import CodeMode
from fastmcp.server.providers.addressing import hashed_backend_name
from fastmcp.server.transforms import ToolTransform
from fastmcp.server.transforms.search import RegexSearchTransform
from fastmcp.tools.tool_transform import ToolTransformConfig
from mcp import Client, MCPError
from mcp.server.mcpserver import MCPServer

from rescind.testing import Fabric
from rescind_guard.integrations.fastmcp import install, server_under
from rescind_guard.integrations.mcp import install as install_mcp
from rescind_guard.rules import Rules

DENIED = ("drop", "sub_drop")


class Orders:
    """A server with a tool that nobody may call, and what it has done."""

    def __init__(self, name: str = "orders") -> None:
        self.server = FastMCP(name)
        self.ran: list[str] = []
        for each in ("drop", "total"):
            self.server.tool(name=each)(self._noting(each))

    def _noting(self, name: str) -> Any:
        def tool() -> str:
            self.ran.append(name)
            return "done"

        return tool


async def call(
    server: Any,
    name: str,
    arguments: dict[str, Any] | None = None,
    *,
    denied: tuple[str, ...] = DENIED,
    allowed: tuple[str, ...] = (),
) -> str:
    """Call a tool of a guarded server; return what it says, or the code of the refusal."""
    with Fabric() as fabric:
        policy = Rules(denied=denied, allowed=allowed)
        if isinstance(server, FastMCP):
            install(server, fabric.guard(policy=policy))
            under: Any = server_under(server)
        else:
            install_mcp(server, fabric.guard(policy=policy))
            under = server
        meta: Any = {"capiscio_caller_badge": fabric.badge().token}
        async with Client(under) as client:
            try:
                result = await client.call_tool(name, arguments or {}, meta=meta)
            except MCPError as refused:
                return str((refused.data or {}).get("code"))
            return "error" if result.is_error else "done"


async def test_a_search_transform_runs_no_denied_tool() -> None:
    """`call_tool(name=…)` is judged as the tool it runs; others still run."""
    orders = Orders()
    orders.server.add_transform(RegexSearchTransform())
    assert await call(orders.server, "call_tool", {"name": "drop"}) == "TOOL_POLICY_DENIED"
    assert orders.ran == []
    orders = Orders()
    orders.server.add_transform(RegexSearchTransform())
    assert await call(orders.server, "call_tool", {"name": "total"}) == "done"
    assert orders.ran == ["total"]


async def test_code_mode_runs_no_denied_tool() -> None:
    """Code that an agent sends calls tools by name, each judged."""
    orders = Orders()
    orders.server.add_transform(CodeMode(sandbox_provider=Calling("drop")))
    assert await call(orders.server, "execute", {"code": "-"}) == "TOOL_POLICY_DENIED"
    assert orders.ran == []


class Calling:
    """A sandbox that calls one tool, whatever the code."""

    def __init__(self, name: str) -> None:
        self._name = name

    async def run(self, code: str, *, inputs: Any = None, external_functions: Any = None) -> Any:
        """Call it."""
        del code, inputs
        return await external_functions["call_tool"](self._name, {})


async def test_a_mounted_server_runs_no_tool_that_is_denied_outside() -> None:
    """Its own search transform: the name inside counts with the mount's prefix."""
    inner, outer = Orders(), FastMCP("outer")
    inner.server.add_transform(RegexSearchTransform())
    outer.mount(inner.server, namespace="sub")
    assert await call(outer, "sub_call_tool", {"name": "drop"}) == "TOOL_POLICY_DENIED"
    assert inner.ran == []


async def test_what_a_mount_makes_of_a_name_is_not_judged_again() -> None:
    """`sub_total` is allowed by that name alone, though it is `total` inside."""
    inner, outer = Orders(), FastMCP("outer")
    outer.mount(inner.server, namespace="sub")
    assert await call(outer, "sub_total", allowed=("sub_*",)) == "done"
    assert inner.ran == ["total"]


async def test_a_call_behind_a_renamed_mount_is_refused() -> None:
    """Its name outside cannot be told, so no rule could be matched with it."""
    inner, outer = Orders(), FastMCP("outer")
    inner.server.add_transform(RegexSearchTransform())
    outer.mount(inner.server, namespace="sub")
    outer.add_transform(ToolTransform({"sub_call_tool": ToolTransformConfig(name="run")}))
    assert await call(outer, "run", {"name": "drop"}) == "TOOL_POLICY_DENIED"
    assert inner.ran == []


async def test_a_tool_is_not_reached_by_its_hash() -> None:
    """An application's `<hash>_<name>` counts as the name that is listed, too."""
    app, server, ran = FastMCPApp("orders"), FastMCP("orders"), list[str]()

    def drop() -> str:
        ran.append("drop")
        return "done"

    app.tool(name="drop")(drop)
    server.add_provider(app)
    assert await call(server, hashed_backend_name("orders", "drop")) == "TOOL_POLICY_DENIED"
    assert ran == []


async def test_a_tool_that_calls_another_of_its_server_is_judged() -> None:
    """In either framework, by whatever name it was given."""
    orders, ran = Orders(), list[str]()

    async def run(name: str, ctx: Context) -> str:
        await ctx.fastmcp.call_tool(name, {}, run_middleware=False)
        return "done"

    orders.server.tool(run)
    assert await call(orders.server, "run", {"name": "drop"}) == "TOOL_POLICY_DENIED"
    plain = MCPServer("orders")

    @plain.tool(name="drop")
    def drop() -> str:
        ran.append("drop")
        return "done"

    @plain.tool(name="run")
    async def run_plain(name: str) -> str:
        await plain.call_tool(name, {})
        return "done"

    assert await call(plain, "run", {"name": "drop"}) == "TOOL_POLICY_DENIED"
    assert orders.ran == ran == []


async def test_without_a_guarded_message_nothing_is_judged() -> None:
    """The program of a server of `mcp` calls what it likes."""
    plain, ran = MCPServer("orders"), list[str]()

    @plain.tool(name="drop")
    def drop() -> str:
        ran.append("drop")
        return "done"

    assert await call(plain, "drop") == "TOOL_POLICY_DENIED"
    await plain.call_tool("drop", {})
    assert ran == ["drop"]
