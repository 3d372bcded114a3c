"""A Litestar service that a killed badge cannot use: one line guards every route.

    python examples/litestar_orders.py --port 8005       # http://127.0.0.1:8005/orders/7

Needs `pip install litestar uvicorn`. What is trusted, and where kills are heard, is configured
outside the program (`rescind config check`).
"""

import argparse
from typing import Any

import uvicorn
from litestar import Litestar, MediaType, Request, get

import rescind

ORDERS = {"7": "300 widgets, shipped", "8": "12 gears, open"}


@get("/orders/{number:str}", media_type=MediaType.TEXT)
async def order(number: str, request: Request[Any, Any, Any]) -> str:
    """Say how an order stands, and to whom."""
    decision: rescind.Decision = request.scope["rescind"]  # type: ignore[typeddict-item]
    who = decision.claims.sub if decision.claims else "an agent"
    return f"{ORDERS.get(number, 'no such order')} (asked by {who})"


@get("/healthz", media_type=MediaType.TEXT)
@rescind.exempt("a probe of the load balancer, which says nothing about orders")
async def health() -> str:
    """Answer anyone."""
    return "up"


app = Litestar([order, health])


def main() -> None:
    """Guard the application, then serve."""
    options = argparse.ArgumentParser(description="A service of orders, guarded by rescind.")
    options.add_argument("--port", type=int, default=8005, help="port on 127.0.0.1 (%(default)s)")
    chosen = options.parse_args()

    rescind.protect(app)

    uvicorn.run(app, host="127.0.0.1", port=chosen.port)


if __name__ == "__main__":
    main()
