"""An ASGI service that a killed badge cannot use: one line guards every route, stream and socket.

    python examples/asgi_orders.py --port 8001       # http://127.0.0.1:8001/orders/7

Starlette here; FastAPI and Litestar take the same line, see fastapi_orders.py, litestar_orders.py.
Needs `pip install starlette uvicorn`. What is trusted, and where kills are heard, is configured
outside the program (`rescind config check`).
"""

import argparse

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

import rescind

ORDERS = {"7": "300 widgets, shipped", "8": "12 gears, open"}


async def order(request: Request) -> PlainTextResponse:
    """Say how an order stands, and to whom."""
    decision: rescind.Decision = request.scope["rescind"]
    who = decision.claims.sub if decision.claims else "an agent"
    status = ORDERS.get(request.path_params["number"], "no such order")
    return PlainTextResponse(f"{status} (asked by {who})")


@rescind.exempt("a probe of the load balancer, which says nothing about orders")
async def health(_: Request) -> PlainTextResponse:
    """Answer anyone."""
    return PlainTextResponse("up")


app = Starlette(routes=[Route("/orders/{number}", order), Route("/healthz", health)])


def main() -> None:
    """Guard the application, then serve."""
    options = argparse.ArgumentParser(description="A service of orders, guarded by rescind.")
    options.add_argument("--port", type=int, default=8001, help="port on 127.0.0.1 (%(default)s)")
    chosen = options.parse_args()

    rescind.protect(app)

    uvicorn.run(app, host="127.0.0.1", port=chosen.port)


if __name__ == "__main__":
    main()
