"""The servers of the real tier, and a way to each of them for each host.

A host reaches a server through a proxy that belongs to that one way, so that any host can be cut
off from any server, or lied to.
"""

import contextlib
import time

import msgspec

from rescind.embedded import EmbeddedRedis, EmbeddedServer
from rescind.testing.keys import FABRIC
from rescind_protocol.subjects import stream
from tests.chaos.cluster import Cluster
from tests.chaos.real_tier import Context
from tests.fakes import nats as on_nats
from tests.fakes import redis as on_redis
from tests.faults.lies import Lies
from tests.faults.nats_frames import hostile_nats
from tests.faults.proxy import Network, Proxy
from tests.faults.redis_frames import hostile_redis
from tests.faults.relay import Relay

BROKERS = ("nats", "redis")
HEARTBEAT_S = 0.25
"""Between two heads, unless a scenario says otherwise: a fabric's second would make all slow."""


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """Who takes part."""

    publishers: tuple[str, ...] = ("p1",)
    subscribers: dict[str, tuple[str, ...]] = msgspec.field(
        default_factory=lambda: {"s1": BROKERS, "s2": BROKERS, "s3": ("redis",)}
    )
    """Name, and the brokers that it follows."""
    brokers: tuple[str, ...] = BROKERS
    clustered: bool = False
    """Whether NATS is a cluster of three; its clients' ways are direct ones then."""
    agents: int = 12
    heartbeat_s: float = HEARTBEAT_S
    alone: str = "nats"
    """The one broker that is left where there is to be no fallback: the one that goes."""


class Servers:
    """A NATS and a Redis, and the ways to them."""

    def __init__(self, context: Context, shape: Shape | None = None) -> None:
        self.shape = shape or Shape()
        self.context, self.checker = context, context.checker
        self.random, self.folder = context.random, context.folder
        self.nats = on_nats.admin_server(self.folder)
        self.redis = on_redis.redis_server(self.folder / "redis")
        self.network = Network()
        self.cluster = Cluster(self.folder, self.network)
        self.ways: dict[tuple[str, str], Proxy] = {}
        """By host and broker."""
        self.relays: dict[str, Relay] = {}
        """By host: the way to NATS of one with very many connections."""
        self.lies: dict[tuple[str, str], Lies] = {}
        self._cleanup = contextlib.ExitStack()

    def _start_servers(self) -> None:
        self._cleanup.enter_context(self.network)
        if self.shape.clustered:
            self._cleanup.enter_context(self.cluster)
            return
        for name in self.shape.brokers:
            self._cleanup.enter_context(self.server(name))

    def server(self, broker: str) -> EmbeddedServer | EmbeddedRedis:
        """Return a broker's server."""
        return self.nats if broker == "nats" else self.redis

    def way(self, host: str, broker: str) -> Proxy:
        """Return the way between a host and a broker."""
        key = (host, broker)
        if key not in self.ways:
            self.lies[key] = lies = Lies(self.random)
            hostile = (
                hostile_nats(lies, stream(FABRIC)) if broker == "nats" else hostile_redis(lies)
            )
            self.ways[key] = self.network.way(self.server(broker).port, hostile)
        return self.ways[key]

    def ways_to(self, broker: str, *hosts: str) -> list[Proxy]:
        """Return the ways to a broker: all, or those of some hosts."""
        return [
            way for (who, to), way in self.ways.items() if to == broker and who in (hosts or who)
        ]

    def ways_of(self, host: str) -> list[Proxy]:
        """Return all ways of a host."""
        return [way for (who, _), way in self.ways.items() if who == host]

    def lies_to(self, host: str) -> list[Lies]:
        """Return what brokers tell a host."""
        return [lies for (who, _), lies in self.lies.items() if who == host]

    def told(self, host: str) -> int:
        """Return how many lies a host was told."""
        return sum(lies.told for lies in self.lies_to(host))

    def url(self, host: str, broker: str, user: str) -> str:
        """Return a broker's address as that host is told: through its own way."""
        if self.shape.clustered:
            return self.cluster.url_for(user)
        server, way = self.server(broker), self.relays.get(host) or self.way(host, broker)
        return server.url_for(user).replace(f":{server.port}", f":{way.port}")

    def mend(self) -> float:
        """Let every way be an honest and ordinary one again; return when that was done."""
        for lies in self.lies.values():
            lies.truth()
        ways: list[Proxy | Relay] = [*self.ways.values(), *self.relays.values()]
        for way in ways:
            way.mend()
        return time.monotonic()
