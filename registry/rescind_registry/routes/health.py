"""`GET /healthz`: whether this node can answer, for load balancers."""

from typing import Any

import msgspec
from litestar import Request, Response, get
from litestar.openapi.datastructures import ResponseSpec

from rescind_registry.auth import PUBLIC
from rescind_registry.node import node_of


class Health(msgspec.Struct, frozen=True):
    """Whether the node's view is proven fresh; if not, it issues nothing."""

    fresh: bool


@get(
    "/healthz",
    opt=PUBLIC,
    responses={
        503: ResponseSpec(Health, description="the view is not fresh", generate_examples=False)
    },
    sync_to_thread=False,
)
def health(request: Request[Any, Any, Any]) -> Response[Health]:
    """Return 200 while the view is fresh, 503 while it is not."""
    fresh = node_of(request).followed.fresh
    return Response(Health(fresh), status_code=200 if fresh else 503)


ROUTES = [health]
