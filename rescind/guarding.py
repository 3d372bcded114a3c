"""`rescind.protect(server)`: one line in front of an MCP server."""

import atexit
from typing import Any

from rescind.sidecar import Sidecar
from rescind_guard.policy import Policy


def protect(server: Any, *, policy: Policy | None = None, **settings: Any) -> Sidecar:
    """Put a guard before every method of an MCP server (official `mcp` >= 2), and start following.

    Settings come from `RESCIND_*`, the configuration file, or the arguments. The view begins
    stale: until a publisher's head is covered, levels 2 to 4 are refused with "cannot tell".
    Raises `BadConfig` for settings that cannot work, `BadGuard` for what is not an MCP server.
    """
    from rescind_guard.integrations.mcp import install  # noqa: PLC0415 - mcp only when used

    sidecar = Sidecar(policy=policy, **settings)
    install(server, sidecar.guard)
    sidecar.start()
    atexit.register(sidecar.stop)
    return sidecar
