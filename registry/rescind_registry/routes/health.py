"""`GET /healthz`, whether this node lives, and `/readyz`, whether it can answer: as a sidecar's."""

from typing import Any, Literal

import msgspec
from litestar import Request, Response, get
from litestar.openapi.datastructures import ResponseSpec

from rescind_registry.auth import PUBLIC
from rescind_registry.node import node_of


class Alive(msgspec.Struct, frozen=True):
    """The node answers; a restart would make no view fresher."""

    alive: Literal[True] = True


class Ready(msgspec.Struct, frozen=True):
    """Whether the node's view is proven fresh; if not, it issues nothing."""

    ready: bool


@get("/healthz", opt=PUBLIC, sync_to_thread=False)
def alive() -> Alive:
    """Return 200 while the node answers: for *is it to be started again*."""
    return Alive()


@get(
    "/readyz",
    opt=PUBLIC,
    responses={
        503: ResponseSpec(Ready, description="the view is not fresh", generate_examples=False)
    },
    sync_to_thread=False,
)
def ready(request: Request[Any, Any, Any]) -> Response[Ready]:
    """Return 200 while the view is fresh, 503 while it is not: for load balancers."""
    fresh = node_of(request).followed.fresh
    return Response(Ready(fresh), status_code=200 if fresh else 503)


ROUTES = [alive, ready]
