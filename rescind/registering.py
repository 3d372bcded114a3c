"""A registry node of this process, put together from settings."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from rescind import bundling, compose, home
from rescind.config import Loaded
from rescind.errors import BadConfig
from rescind.publishing import LocalPublisher
from rescind_guard.freshness import SystemClock
from rescind_protocol.keys import SigningKey
from rescind_publisher.asks import default_actor
from rescind_publisher.control_client import ControlClient
from rescind_publisher.keyfiles import read_private
from rescind_publisher.switch import Engine
from rescind_publisher.trail import Entry
from rescind_registry.config import RegistryConfig
from rescind_registry.feeds.carrier import Carrier
from rescind_registry.node import Node
from rescind_registry.serving import listen
from rescind_registry.standing import Followed
from rescind_registry.tokens import Scope
from rescind_subscriber.subscriber import Subscriber


def make_config(loaded: Loaded) -> RegistryConfig:
    """Return the node's settings; raises `BadConfig`, `BadRegistryConfig`."""
    settings = loaded.settings
    host, _, port = settings.registry_listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:  # noqa: PLR2004 - TCP
        raise BadConfig("setting 'registry_listen' is HOST:PORT, as in 127.0.0.1:8410")
    issuer = settings.registry_issuer or home.LOCAL_ISSUER
    return RegistryConfig(
        issuer=issuer,
        sole_issuer=not set(settings.issuers) - {issuer} and not settings.accept_self_signed,
        folder=loaded.home / home.REGISTRY,
        host=host.strip("[]"),
        port=int(port),
        grpc_port=settings.registry_grpc_port,
        url=settings.registry_url,
        tls_cert=_path(loaded, settings.registry_tls_cert),
        tls_key=_path(loaded, settings.registry_tls_key),
    )


def _path(loaded: Loaded, value: str | None) -> Path | None:
    return None if value is None else loaded.path(value)


class Running(NamedTuple):
    """A node, its feeds, and the socket to serve on."""

    node: Node
    carrier: Carrier
    listener: socket.socket


@contextmanager
def running_node(loaded: Loaded) -> Iterator[Running]:
    """Give a node that follows the log and kills through the publisher of this host.

    With no publisher running here, the node is one itself.
    """
    config = make_config(loaded)
    with ExitStack() as running:
        listener = running.enter_context(listen(config))
        config = msgspec.structs.replace(config, port=listener.getsockname()[1])
        engine, subscriber = _follow(loaded, config, running)
        carrier = Carrier(
            config,
            loaded.settings.fabric,
            subscriber,
            signer=bundling.make_signer(loaded),
            author=bundling.make_author(loaded, compose.make_trust(loaded), SystemClock()),
        )
        followed = _start(engine, subscriber, running)
        node = Node.make(config, followed=followed, engine=engine)
        running.callback(node.close)
        if not node.keyring.times():
            node.keyring.add(first_key(loaded, config), since=0)
        yield Running(node, carrier, listener)


def first_key(loaded: Loaded, config: RegistryConfig) -> SigningKey:
    """Return the key that a new registry signs with.

    For the local issuer its own, which the guards of this fabric trust already; else a new one.
    """
    local = loaded.settings.issuer_key
    if local is not None and config.issuer == home.LOCAL_ISSUER:
        return read_private(loaded.path(local))
    return SigningKey.generate()


def first_token(node: Node) -> str | None:
    """Return an admin's API token where there is none of any kind; it is shown this once."""
    if node.tokens.all():
        return None
    token, made = node.tokens.make("first start", (Scope.ADMIN,), now=node.clock.wall())
    node.trail.append(
        Entry(
            at=made.made_at,
            who=default_actor(),
            where="local",
            what="token.make",
            targets=(str(made),),
        )
    )
    return token


def _follow(
    loaded: Loaded, config: RegistryConfig, running: ExitStack
) -> tuple[Engine, Subscriber]:
    """Return whom the node kills through and what follows the log for it; neither has started."""
    client = ControlClient(loaded.home / home.CONTROL)
    if client.answers():
        # A name for each node of this host: each has a local snapshot of its own.
        return client, compose.make_subscriber(loaded, name=f"registry-{config.port}")
    publisher = LocalPublisher(loaded)
    running.callback(publisher.close)
    return publisher, publisher.subscriber


def _start(engine: Engine, subscriber: Subscriber, running: ExitStack) -> Followed:
    if isinstance(engine, LocalPublisher):
        engine.start()
    else:
        running.enter_context(subscriber)
    return subscriber
