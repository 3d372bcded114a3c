"""A WSGI service that a killed badge cannot use: one line guards every route.

    python examples/wsgi_orders.py --port 8002       # http://127.0.0.1:8002/orders/7

Flask here; for Django see django_orders.py. Needs `pip install flask`.
"""

import argparse

from flask import Flask, request

import rescind

ORDERS = {"7": "300 widgets, shipped", "8": "12 gears, open"}
app = Flask("orders")


@app.get("/orders/<number>")
def order(number: str) -> str:
    """Say how an order stands, and to whom."""
    decision: rescind.Decision = request.environ["rescind.decision"]
    who = decision.claims.sub if decision.claims else "an agent"
    return f"{ORDERS.get(number, 'no such order')} (asked by {who})"


@app.get("/healthz")
@rescind.exempt("a probe of the load balancer, which says nothing about orders")
def health() -> str:
    """Answer anyone."""
    return "up"


def main() -> None:
    """Guard the application, then serve."""
    options = argparse.ArgumentParser(description="A service of orders, guarded by rescind.")
    options.add_argument("--port", type=int, default=8002, help="port on 127.0.0.1 (%(default)s)")
    chosen = options.parse_args()

    rescind.protect(app)

    app.run(port=chosen.port)


if __name__ == "__main__":
    main()
