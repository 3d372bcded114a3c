"""An MCP server whose tools, resources and prompts a killed badge cannot use: one line guards all.

    python examples/mcp_orders.py                 # streamable HTTP, http://127.0.0.1:8000/mcp
    python examples/mcp_orders.py --port 9000
    python examples/mcp_orders.py --stdio

Needs `rescind[mcp]`. Where the guard hears of kills, and whose badges it trusts, is configured
outside the program (`rescind config check` shows what it found). The caller's badge travels in the
header `X-Capiscio-Badge`, or in `_meta` as `capiscio_caller_badge` over stdio.
"""

import argparse

from mcp.server.mcpserver import MCPServer

import rescind

server = MCPServer("orders")

ORDERS = {"7": "300 widgets, shipped", "8": "12 gears, open"}


@server.tool()
def order_status(number: str) -> str:
    """Say how an order stands."""
    return ORDERS.get(number, "no such order")


@server.resource("orders://{number}")
def order(number: str) -> str:
    """One order."""
    return ORDERS[number]


@server.prompt()
def summary() -> str:
    """Ask for a summary of the open orders."""
    return "Summarise these orders: " + "; ".join(ORDERS.values())


def main() -> None:
    """Guard the server, then serve."""
    options = argparse.ArgumentParser(description="An MCP server of orders, guarded by rescind.")
    options.add_argument("--stdio", action="store_true", help="speak stdio instead of HTTP")
    options.add_argument("--port", type=int, default=8000, help="port on 127.0.0.1 (%(default)s)")
    chosen = options.parse_args()

    rescind.protect(server)

    if chosen.stdio:
        server.run("stdio")
    else:
        server.run("streamable-http", host="127.0.0.1", port=chosen.port)


if __name__ == "__main__":
    main()
