"""A server of the `fastmcp` package whose tools and resources a killed badge cannot use: one line.

    python examples/fastmcp_orders.py                 # streamable HTTP, http://127.0.0.1:8006/mcp
    python examples/fastmcp_orders.py --stdio

Needs `rescind[fastmcp]`. Where the guard hears of kills, and whose badges it trusts, is configured
outside the program (`rescind config check` shows what it found). The caller's badge travels in the
header `X-Capiscio-Badge`, or in `_meta` as `capiscio_caller_badge` over stdio.
"""

import argparse

from fastmcp import FastMCP

import rescind

server = FastMCP("orders")

ORDERS = {"7": "300 widgets, shipped", "8": "12 gears, open"}


@server.tool
def order_status(number: str) -> str:
    """Say how an order stands."""
    return ORDERS.get(number, "no such order")


@server.resource("orders://{number}")
def order(number: str) -> str:
    """One order."""
    return ORDERS[number]


def main() -> None:
    """Guard the server, then serve."""
    options = argparse.ArgumentParser(description="An MCP server of orders, guarded by rescind.")
    options.add_argument("--stdio", action="store_true", help="speak stdio instead of HTTP")
    options.add_argument("--port", type=int, default=8006, help="port on 127.0.0.1 (%(default)s)")
    chosen = options.parse_args()

    rescind.protect(server)

    if chosen.stdio:
        server.run("stdio", show_banner=False)
    else:
        server.run("http", host="127.0.0.1", port=chosen.port, show_banner=False)


if __name__ == "__main__":
    main()
