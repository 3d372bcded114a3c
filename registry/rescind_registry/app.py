"""Puts the ASGI application together: our routes, and those of the feeds.

The seam: a feed is one module with a function that takes what it needs and returns its routes;
whoever makes the node hands them to `build`. The feed's tasks run in a `lifespan`. A route says in
its `opt` who may ask: `auth.needs(Scope.READ)`, `auth.PUBLIC`; without either only `admin` may.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from litestar import Litestar, Request, Response
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, Reference, SecurityScheme
from litestar.types import ControllerRouterHandler

from rescind_protocol.errors import RescindError
from rescind_registry.auth import KEY_HEADER, authorize
from rescind_registry.bodiless import Bodiless
from rescind_registry.node import Node
from rescind_registry.problems import answer, on_defect, on_error, on_http, on_nesting
from rescind_registry.routes import agents, badges, document, health, kills, revocations, wellknown

Lifespan = Callable[[Litestar], AbstractAsyncContextManager[None]]
"""Entered when the server starts, left when it stops."""
MAX_BODY_BYTES = 8 * 1024 * 1024
"""`bodies.MAX_TARGETS` targets, each with the longest name."""
_WITH_BODY = ("POST", "PUT", "PATCH")


def build(
    node: Node,
    routes: Sequence[ControllerRouterHandler] = (),
    *,
    lifespan: Sequence[Lifespan] = (),
) -> Litestar:
    """Return the application of a node; `routes` are those of the feeds."""
    ours = [
        module.ROUTES
        for module in (health, document, wellknown, agents, badges, kills, revocations)
    ]
    app = Litestar(
        route_handlers=[*(route for each in ours for route in each), *routes],
        guards=[authorize],
        before_request=check_body,
        exception_handlers={
            RescindError: on_error,
            HTTPException: on_http,
            RecursionError: on_nesting,
            Exception: on_defect,
        },
        state=State({"node": node}),
        openapi_config=_openapi(node),
        request_max_body_size=MAX_BODY_BYTES,
        lifespan=list(lifespan),
        logging_config=None,
    )
    app.asgi_handler = Bodiless(app.asgi_handler)
    return app


async def check_body(request: Request[Any, Any, Any]) -> Response[Any] | None:
    """Refuse a body that is not JSON (RFC 9110 §15.5.16), or not UTF-8 (RFC 8259 §8.1)."""
    if request.method not in _WITH_BODY or not (body := await request.body()):
        return None
    path = request.url.path
    if request.content_type[0] != "application/json":
        sentence = "the body must be JSON: Content-Type: application/json"
        return answer(path, 415, "MEDIA_TYPE", sentence, {})
    try:
        body.decode()
    except UnicodeDecodeError as error:
        sentence = f"the body is not UTF-8, as JSON is: see byte {error.start}"
        return answer(path, 400, "MALFORMED", sentence, {})
    return None


def _openapi(node: Node) -> OpenAPIConfig:
    schemes: dict[str, SecurityScheme | Reference] = {
        "bearer": SecurityScheme(type="http", scheme="bearer"),
        "key": SecurityScheme(type="apiKey", name=KEY_HEADER, security_scheme_in="header"),
    }
    return OpenAPIConfig(
        title="rescind registry",
        version="1",
        description=f"Badges of {node.config.iss}, kills, and feeds of them.",
        components=Components(security_schemes=schemes),
    )
