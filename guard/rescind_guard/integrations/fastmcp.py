"""A guard in front of a server of the separate `fastmcp` package, 4.1 or later.

Under each of its servers is one of the official `mcp` package, with the same middleware. The guard
stands there, before fastmcp's own: its `Middleware.on_request` does not see every message, and what
it raises may become text that a model reads.

A server that is mounted in another is called by that one, past the guard under it. So one of
fastmcp's own middleware stands in it as well: a call that this guard has not let pass is checked
there, with the badge that the other server was called with. Where the other has a guard, both bind.

Needs `rescind[fastmcp]`; importing this module without it raises `CannotGuard`.
"""

from typing import Any

from rescind_guard.integrations import mcp, mcp_calls, mcp_older, mcp_streams
from rescind_guard.integrations.carriage import Bearer
from rescind_guard.integrations.errors import CannotGuard
from rescind_guard.integrations.mcp import Checks, GuardMiddleware

try:
    from fastmcp import FastMCP
    from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
    from fastmcp.server.providers.addressing import parse_hashed_backend_name
    from mcp.server.lowlevel import Server
except ImportError as missing:
    raise CannotGuard(
        "guarding a fastmcp server needs fastmcp 4.1 or later (pip install 'rescind[fastmcp]')"
    ) from missing


def server_under(server: Any) -> Any:
    """Return the server of `mcp` that this one stands on; raises `CannotGuard` if there is none."""
    under = getattr(server, "_mcp_server", None)
    if not isinstance(server, FastMCP) or not isinstance(under, Server):
        raise CannotGuard(f"{type(server).__name__} is not a server of fastmcp 4.1 or later")
    return under


class GuardCalls(Middleware):
    """Checks what is called in a server and did not come through the guard under it."""

    def __init__(self, outer: GuardMiddleware) -> None:
        self._outer = outer

    async def __call__(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        """Pass a call on that was let pass under this very name, or is now. Raises `MCPError`."""
        if context.method not in mcp.EXEMPT_REQUESTS and context.type == "request":
            is_call = context.method == "tools/call"
            tool = _said(context.message, "name") if is_call else None
            before = mcp.passed()
            if before is None or before.by is not self._outer or before.tool != tool:
                own = context.fastmcp_context
                ctx = own.request_context if own is not None else None
                self._outer.judge(
                    tool,
                    _said(context.message, "arguments") if is_call else None,
                    request=getattr(ctx, "request", None),
                    meta=getattr(ctx, "meta", None),
                )
        return await call_next(context)


def install(server: Any, guard: Checks, *, bearer: Bearer = "badge") -> None:
    """Put `guard` in front of `server`; raises as `rescind_guard.integrations.mcp.install` does."""
    under = server_under(server)
    sessions = mcp.install(under, guard, bearer=bearer)
    outer = next(each for each in under.middleware if isinstance(each, GuardMiddleware))
    server.middleware.insert(0, GuardCalls(outer))
    mcp_streams.cover(server, "http_app", _kind, guard, sessions, bearer=bearer)
    mcp_calls.cover(FastMCP, _listed)


def _said(message: Any, member: str) -> Any:
    """Return a member of a message, which fastmcp hands over read or raw."""
    return message.get(member) if isinstance(message, dict) else getattr(message, member)


def _kind(app: Any) -> type:
    """Return what goes in front of an application, by its transport."""
    older = getattr(app.state, "transport_type", None) == "sse"
    return mcp_older.GuardOlder if older else mcp_streams.GuardStreams


async def _listed(server: Any, name: str) -> str | None:
    """Return by what name a tool is listed that was called by its hash, None for any other."""
    parsed = parse_hashed_backend_name(name)
    if parsed is None or await server.get_tool(name) is not None:
        return None
    tool = await server.get_tool_by_hash(*parsed)
    return None if tool is None else str(tool.name)
