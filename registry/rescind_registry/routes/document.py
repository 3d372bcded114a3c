"""`GET /openapi.json`: the OpenAPI document of this node, its feeds included."""

from typing import Any

import msgspec
from litestar import Request, Response, get

from rescind_registry.auth import PUBLIC

MADE = "openapi"
"""Where the application's state keeps the document: to make it takes the loop 15 ms, and anybody
may ask for it; nobody's kill is to wait for that."""


@get("/openapi.json", opt=PUBLIC, include_in_schema=False, sync_to_thread=False)
def openapi(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Return what can be asked here, and what is answered."""
    state = request.app.state
    if MADE not in state:
        state[MADE] = msgspec.json.encode(request.app.openapi_schema.to_schema())
    return Response(state[MADE], media_type="application/json")


ROUTES = [openapi]
