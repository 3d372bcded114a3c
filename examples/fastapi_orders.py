"""A FastAPI service that a killed badge cannot use: one line guards every route and stream.

    python examples/fastapi_orders.py --port 8004       # http://127.0.0.1:8004/orders/7

`/events/7` is an open stream: it ends with the badge of whoever reads it. Needs
`pip install fastapi uvicorn`. What is trusted, and where kills are heard, is configured outside the
program (`rescind config check`).
"""

import argparse
import asyncio
from collections.abc import AsyncIterator

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, StreamingResponse

import rescind

ORDERS = {"7": "300 widgets, shipped", "8": "12 gears, open"}
app = FastAPI(title="orders")


@app.get("/orders/{number}", response_class=PlainTextResponse)
async def order(number: str, request: Request) -> str:
    """Say how an order stands, and to whom."""
    decision: rescind.Decision = request.scope["rescind"]
    who = decision.claims.sub if decision.claims else "an agent"
    return f"{ORDERS.get(number, 'no such order')} (asked by {who})"


@app.get("/events/{number}")
async def events(number: str) -> StreamingResponse:
    """Say how an order stands, and go on listening."""

    async def said() -> AsyncIterator[str]:
        yield f"data: {ORDERS.get(number, 'no such order')}\n\n"
        await asyncio.Event().wait()

    return StreamingResponse(said(), media_type="text/event-stream")


@app.get("/healthz", response_class=PlainTextResponse)
@rescind.exempt("a probe of the load balancer, which says nothing about orders")
async def health() -> str:
    """Answer anyone."""
    return "up"


def main() -> None:
    """Guard the application, then serve."""
    options = argparse.ArgumentParser(description="A service of orders, guarded by rescind.")
    options.add_argument("--port", type=int, default=8004, help="port on 127.0.0.1 (%(default)s)")
    chosen = options.parse_args()

    rescind.protect(app)

    uvicorn.run(app, host="127.0.0.1", port=chosen.port)


if __name__ == "__main__":
    main()
