"""Puts the ASGI application together: our routes, and those of the feeds.

The seam: a feed is one module with a function that takes what it needs and returns its routes;
whoever makes the node hands them to `build`. The feed's tasks run in a `lifespan`.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

from litestar import Litestar
from litestar.datastructures import State
from litestar.openapi import OpenAPIConfig
from litestar.types import ControllerRouterHandler

from rescind_registry.node import Node
from rescind_registry.routes.health import health

Lifespan = Callable[[Litestar], AbstractAsyncContextManager[None]]
"""Entered when the server starts, left when it stops."""


def build(
    node: Node,
    routes: Sequence[ControllerRouterHandler] = (),
    *,
    lifespan: Sequence[Lifespan] = (),
) -> Litestar:
    """Return the application of a node; `routes` are those of the feeds."""
    return Litestar(
        route_handlers=[health, *routes],
        state=State({"node": node}),
        openapi_config=OpenAPIConfig(title="rescind registry", version="1"),
        lifespan=list(lifespan),
        logging_config=None,
    )
