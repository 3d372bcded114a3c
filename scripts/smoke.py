"""Whether an installed rescind works; run by its environment's interpreter, away from the tree.

    python scripts/smoke.py EXTRAS

With no extras a badge is let pass, killed and refused; with `mcp` a guarded MCP server refuses,
too; with all of them every module is imported.
"""

import asyncio
import importlib
import pkgutil
import sys
from importlib import metadata
from typing import Any

from rescind.testing import Fabric

PACKAGES = ("_protocol", "_guard", "_subscriber", "_publisher", "_registry", "")


def extras() -> set[str]:
    """Return the extras for users that there are."""
    return set(metadata.metadata("rescind").get_all("Provides-Extra") or ()) - {"dev"}


def demand(found: object, wanted: object) -> None:
    """End with a sentence unless both are equal."""
    if found != wanted:
        sys.exit(f"smoke: {found!r}, where {wanted!r} was wanted")


def check_guard() -> None:
    """Kill a badge; a guard must refuse it then, and not before."""
    with Fabric() as fabric:
        guard, badge = fabric.guard(), fabric.badge()
        before = guard.check(badge.token).code
        fabric.kill(badge)
        demand((before, guard.check(badge.token).code), ("OK", "BADGE_REVOKED"))


async def check_mcp() -> None:
    """Call a tool of a guarded server without a badge and with one."""
    from mcp import Client, MCPError  # noqa: PLC0415 - an extra
    from mcp.server.mcpserver import MCPServer  # noqa: PLC0415

    from rescind_guard.integrations.mcp import install  # noqa: PLC0415

    server = MCPServer("orders")
    server.tool(name="total")(lambda: "300 widgets")
    with Fabric() as fabric:
        install(server, fabric.guard())
        async with Client(server) as client:
            answer = ""
            try:
                await client.call_tool("total", {})
            except MCPError as refused:
                answer = refused.data["code"]
            demand(answer, "TOOL_AUTH_MISSING")
            badge: Any = {"capiscio_caller_badge": fabric.badge().token}
            found = await client.call_tool("total", {}, meta=badge)
            demand(getattr(found.content[0], "text", ""), "300 widgets")


def check_imports() -> None:
    """Import every module."""
    for suffix in PACKAGES:
        package = importlib.import_module("rescind" + suffix)
        for each in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if not each.name.endswith("__main__"):
                importlib.import_module(each.name)


def main(wanted: str) -> None:
    """Run what these extras allow."""
    found = set(filter(None, wanted.split(",")))
    check_guard()
    if "mcp" in found:
        asyncio.run(check_mcp())
    if found == extras():
        check_imports()
    print(f"works, with {wanted or 'no extras'}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
