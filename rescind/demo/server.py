"""One guarded MCP server of the demo, a process of its own: `python -m rescind.demo.server`.

The guard is one line, `rescind.protect(server)`, configured by `RESCIND_*`.
"""

import socket
from collections.abc import Callable

import uvicorn
from mcp.server.mcpserver import MCPServer

import rescind
from rescind.demo import wire
from rescind.demo.sidecar import report_applied, report_fresh

server = MCPServer("orders", log_level="ERROR")


@server.tool()
def order_status(number: str) -> str:
    """Say how an order stands."""
    return f"order {number}: 300 widgets, shipped"


def serve(send: Callable[[wire.Report], None]) -> None:
    """Serve over streamable HTTP on a free port of the loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        send(wire.Ready(f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"))
        app = server.streamable_http_app()
        uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none")).run([listening])


def main() -> None:
    """Guard the server, then serve until the demo is gone."""
    send = wire.open_reports()
    wire.end_with_the_demo()
    sidecar = rescind.protect(server)
    report_applied(sidecar.subscriber, send)
    report_fresh(sidecar.subscriber, send)
    serve(send)


if __name__ == "__main__":
    main()
