"""Real servers of our own: NATS from its wheel, Redis from PATH, bound to this process's life."""

from rescind.embedded.process import EmbeddedServerError
from rescind.embedded.redis import EmbeddedRedis
from rescind.embedded.server import EmbeddedServer

__all__ = ["EmbeddedRedis", "EmbeddedServer", "EmbeddedServerError"]
