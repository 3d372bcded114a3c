"""A server of the fastmcp package behind a guard, asked by its own client."""

from typing import Any

import pytest
from fastmcp import Client, FastMCP
from mcp import MCPError

from rescind.testing import Fabric, TestBadge
from rescind_guard.integrations.errors import AlreadyGuarded, CannotGuard
from rescind_guard.integrations.fastmcp import install


def server() -> FastMCP:
    """One tool, one resource."""
    made = FastMCP("orders")
    made.tool(name="order_status")(lambda: "300 widgets")
    made.resource("orders://7")(lambda: "300 widgets")
    return made


async def ask(client: Any, badge: TestBadge | None) -> str:
    """Call the tool; return what it said, or the code of the refusal."""
    meta = {"capiscio_caller_badge": badge.token} if badge else None
    try:
        return str(await client.call_tool("order_status", {}, meta=meta))
    except MCPError as refused:
        return str((refused.data or {}).get("code"))


async def test_tools_and_resources_need_a_badge() -> None:
    """The list needs none; a killed badge calls nothing; a resource cannot be read without."""
    orders = server()
    with Fabric() as fabric:
        install(orders, fabric.guard())
        badge = fabric.badge()
        async with Client(orders) as client:
            assert [each.name for each in await client.list_tools()] == ["order_status"]
            assert await ask(client, None) == "TOOL_AUTH_MISSING"
            assert "300 widgets" in await ask(client, badge)
            with pytest.raises(MCPError):
                await client.read_resource("orders://7")
            fabric.kill(badge)
            assert await ask(client, badge) == "BADGE_REVOKED"


async def test_without_a_guard_anyone_may() -> None:
    """Negative control."""
    async with Client(server()) as client:
        assert "300 widgets" in await ask(client, None)


def test_one_guard_and_a_server_of_fastmcp() -> None:
    """A second one, or anything else, is refused."""
    orders = server()
    with Fabric() as fabric:
        install(orders, fabric.guard())
        with pytest.raises(AlreadyGuarded):
            install(orders, fabric.guard())
        with pytest.raises(CannotGuard):
            install(object(), fabric.guard())
