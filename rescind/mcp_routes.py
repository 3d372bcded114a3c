"""What an MCP server offers, by its own lists; for `rescind.routes`."""

import asyncio
import threading
from typing import Any

from rescind_guard.integrations.mcp import EXEMPT_REQUESTS, GuardMiddleware

Parts = list[tuple[str, str]]


def names(server: Any) -> tuple[Parts, list[Any], list[Any]]:
    """Return (kind, name) of all it offers, the guards in front, and its plain HTTP routes.

    A lowlevel server is asked for its methods: what they offer is known to its handlers alone.
    """
    under = getattr(server, "_mcp_server", None) or getattr(server, "_lowlevel_server", server)
    guards = [each for each in under.middleware if isinstance(each, GuardMiddleware)]
    beside = ("_additional_http_routes", "_custom_starlette_routes")  # fastmcp, mcp
    extra = [each for name in beside for each in getattr(server, name, ())]
    if not hasattr(server, "list_tools"):
        methods = sorted(set(under._request_handlers) - EXEMPT_REQUESTS)  # noqa: SLF001 - no other way
        return [("method", name) for name in methods], guards, extra
    return _run(server), guards, extra


def _run(server: Any) -> Parts:
    """Ask in a thread of its own: there may be a loop here already."""
    found: list[Parts] = []
    thread = threading.Thread(target=lambda: found.append(asyncio.run(_ask(server))))
    thread.start()
    thread.join()
    return found[0] if found else [("tool", "*")]


async def _ask(server: Any) -> Parts:
    tools = [("tool", each.name) for each in await server.list_tools()]
    read = [("resource", str(each.uri)) for each in await server.list_resources()]
    templates = await server.list_resource_templates()
    read += [("resource", str(each.uri_template)) for each in templates]
    return tools + read + [("prompt", each.name) for each in await server.list_prompts()]
