"""A guard in front of a server of the separate `fastmcp` package, 4.1 or later.

Under each of its servers is one of the official `mcp` package, with the same middleware. The guard
stands there, before fastmcp's own: its `Middleware.on_request` does not see every message, and what
it raises may become text that a model reads.

Needs `rescind[fastmcp]`; importing this module without it raises `CannotGuard`.
"""

from typing import Any

from rescind_guard.integrations import mcp, mcp_streams
from rescind_guard.integrations.carriage import Bearer
from rescind_guard.integrations.errors import CannotGuard
from rescind_guard.integrations.mcp import Checks

try:
    from fastmcp import FastMCP
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


def install(server: Any, guard: Checks, *, bearer: Bearer = "badge") -> None:
    """Put `guard` in front of `server`; raises as `rescind_guard.integrations.mcp.install` does."""
    sessions = mcp.install(server_under(server), guard, bearer=bearer)
    mcp_streams.cover(server, "http_app", guard, sessions, bearer=bearer)
