"""`Node`: the parts of one registry node; every handler reaches them through `node_of`."""

from typing import Any, cast

import msgspec
from litestar.connection import ASGIConnection

from rescind_guard.freshness import SystemClock
from rescind_protocol.clock import Clock
from rescind_publisher.switch import Engine
from rescind_registry.config import RegistryConfig
from rescind_registry.standing import Followed, Look
from rescind_registry.store import Store


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """One node. Made before the app, closed after it by whoever made it."""

    config: RegistryConfig
    followed: Followed
    """Follows the one log for this node."""
    engine: Engine
    """Says kills: a publisher in this process, or the one that runs on this host."""
    store: Store
    clock: Clock = msgspec.field(default_factory=SystemClock)

    @property
    def look(self) -> Look:
        """Who is suspended or killed."""
        return Look(self.followed)


def node_of(connection: ASGIConnection[Any, Any, Any, Any]) -> Node:
    """Return the node that serves a request."""
    return cast("Node", connection.app.state.node)
