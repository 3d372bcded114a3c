"""A Django service that a killed badge cannot use: one line guards every route.

    python examples/django_orders.py --port 8003       # http://127.0.0.1:8003/orders/7

In a project of its own the line stands in `wsgi.py`, or in `asgi.py` around
`get_asgi_application()`. Needs `pip install django`. What is trusted, and where kills are heard, is
configured outside the program (`rescind config check`).
"""

import argparse
from wsgiref.simple_server import make_server

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path

import rescind

ORDERS = {"7": "300 widgets, shipped", "8": "12 gears, open"}


def order(request: HttpRequest, number: str) -> HttpResponse:
    """Say how an order stands, and to whom."""
    decision: rescind.Decision = request.META["rescind.decision"]
    who = decision.claims.sub if decision.claims else "an agent"
    return HttpResponse(f"{ORDERS.get(number, 'no such order')} (asked by {who})")


@rescind.exempt("a probe of the load balancer, which says nothing about orders")
def health(_: HttpRequest) -> HttpResponse:
    """Answer anyone."""
    return HttpResponse("up")


urlpatterns = [path("orders/<number>", order), path("healthz", health)]


def main() -> None:
    """Guard the application, then serve."""
    options = argparse.ArgumentParser(description="A service of orders, guarded by rescind.")
    options.add_argument("--port", type=int, default=8003, help="port on 127.0.0.1 (%(default)s)")
    chosen = options.parse_args()
    settings.configure(ALLOWED_HOSTS=["127.0.0.1", "localhost"], ROOT_URLCONF=__name__)

    application = rescind.wrap(get_wsgi_application())

    make_server("127.0.0.1", chosen.port, application).serve_forever()  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
