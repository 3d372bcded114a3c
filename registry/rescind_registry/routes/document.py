"""`GET /openapi.json`: the OpenAPI document of this node, its feeds included."""

from typing import Any

from litestar import Request, get

from rescind_registry.auth import PUBLIC


@get("/openapi.json", opt=PUBLIC, include_in_schema=False, sync_to_thread=False)
def openapi(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """Return what can be asked here, and what is answered."""
    return request.app.openapi_schema.to_schema()


ROUTES = [openapi]
