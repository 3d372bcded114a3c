"""`Node`: the parts of one registry node; every handler reaches them through `node_of`."""

from typing import Any, Self, cast

import msgspec
from litestar.connection import ASGIConnection

from rescind_guard.freshness import SystemClock
from rescind_protocol.clock import Clock
from rescind_publisher.switch import Engine
from rescind_publisher.trail import Trail
from rescind_registry.agents import Agents
from rescind_registry.answered import Answered
from rescind_registry.badges import Badges
from rescind_registry.config import RegistryConfig
from rescind_registry.failures import Failures
from rescind_registry.issuing import Issuer
from rescind_registry.keyring import Keyring
from rescind_registry.proofs import Proofs
from rescind_registry.standing import Followed, Look
from rescind_registry.store import Store
from rescind_registry.tokens import Tokens

DATABASE = "registry.sqlite3"
KEYS = "keys"
TRAIL = "audit.jsonl"


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """One node. `made` before the app, closed after it."""

    config: RegistryConfig
    followed: Followed
    """Follows the one log for this node."""
    engine: Engine
    """Says kills: a publisher in this process, or the one that runs on this host."""
    clock: Clock
    look: Look
    store: Store
    keyring: Keyring
    agents: Agents
    badges: Badges
    tokens: Tokens
    answered: Answered
    proofs: Proofs
    issuer: Issuer
    trail: Trail
    failures: Failures

    @classmethod
    def make(
        cls,
        config: RegistryConfig,
        *,
        followed: Followed,
        engine: Engine,
        clock: Clock | None = None,
    ) -> Self:
        """Open what lies in the node's folder; raises `StoreFailed`, `BadKeyring`."""
        clock, look = clock or SystemClock(), Look(followed)
        store = Store(config.folder / DATABASE)
        keyring = Keyring(config.folder / KEYS)
        badges = Badges(store)
        return cls(
            config=config,
            followed=followed,
            engine=engine,
            clock=clock,
            look=look,
            store=store,
            keyring=keyring,
            agents=Agents(store),
            badges=badges,
            tokens=Tokens(store),
            answered=Answered(store),
            proofs=Proofs(keyring, store, config.iss),
            issuer=Issuer(config, keyring, badges, look, clock),
            trail=Trail(config.folder / TRAIL),
            failures=Failures(),
        )

    def close(self) -> None:
        """Let go of the database."""
        self.store.close()


def node_of(connection: ASGIConnection[Any, Any, Any, Any]) -> Node:
    """Return the node that serves a request."""
    return cast("Node", connection.app.state.node)
