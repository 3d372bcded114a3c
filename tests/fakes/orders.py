"""An MCP server to guard, with every kind of method, and tools that wait until they are let go.

Run as a program it speaks stdio; its argument is the seed of the `Authority` it trusts. Tests drive
it through its tools.
"""

import sys
from collections.abc import Callable
from typing import Any

import anyio
import mcp_types as types
from mcp import MCPError
from mcp.server.mcpserver import Context, MCPServer

from rescind_guard.integrations.mcp import install
from tests.fakes.authority import Authority

SECRET = "order 7: 300 widgets"


def orders(kill: Callable[[str], None]) -> MCPServer:
    """Build the server; its tool `kill` hands a badge to `kill`."""
    server = MCPServer("orders")
    _add_tools(server)
    _add_slow_tools(server)

    @server.tool(name="kill")
    def kill_badge(badge: str) -> str:
        kill(badge)
        return "killed"

    @server.resource("orders://7")
    def order() -> str:
        return SECRET

    @server.prompt()
    def summary() -> str:
        return SECRET

    @server.completion()  # type: ignore[no-untyped-call, untyped-decorator] # by mcp 2.3
    async def complete(*_: Any) -> types.Completion:
        return types.Completion(values=[SECRET])

    return server


def _add_tools(server: MCPServer) -> None:
    @server.tool()
    def total() -> str:
        return SECRET

    @server.tool()
    def seen(ctx: Context[Any, Any]) -> str:
        """Everything of the caller's that a tool can see."""
        inner = ctx.request_context
        headers = dict(ctx.headers or {})
        opened_with = ctx.session.client_params
        hello = opened_with.model_dump() if opened_with else None
        return repr((inner.params, inner.meta, headers, hello))

    @server.tool()
    async def change(ctx: Context[Any, Any]) -> str:
        """Tell every open subscription stream that the resources changed."""
        await ctx.notify_resources_changed()
        return "changed"


def _add_slow_tools(server: MCPServer) -> None:
    letting_go: list[anyio.Event] = []

    async def held(ctx: Context[Any, Any]) -> None:
        letting_go.append(anyio.Event())
        await ctx.report_progress(1, message="running")
        await letting_go[-1].wait()

    @server.tool()
    async def hold(ctx: Context[Any, Any]) -> str:
        await held(ctx)
        return SECRET

    @server.tool()
    async def hold_then_fail(ctx: Context[Any, Any]) -> str:
        await held(ctx)
        raise RuntimeError(SECRET)

    @server.tool()
    async def hold_then_raise(ctx: Context[Any, Any]) -> str:
        await held(ctx)
        raise error_of_the_protocol()

    @server.tool()
    async def hold_then_tell(ctx: Context[Any, Any]) -> str:
        await held(ctx)
        await ctx.report_progress(2, message=SECRET)
        return SECRET

    @server.tool()
    async def let_go() -> str:
        while letting_go:
            letting_go.pop().set()
        return "gone"


def error_of_the_protocol() -> Exception:
    """Return an error of the protocol's own kind, which mcp passes on word for word."""
    return MCPError(code=-32000, message=SECRET, data={"secret": SECRET})


if __name__ == "__main__":
    AUTHORITY = Authority(bytes.fromhex(sys.argv[1]))
    SERVER = orders(AUTHORITY.kill)
    install(SERVER, AUTHORITY.guard)
    SERVER.run("stdio")
