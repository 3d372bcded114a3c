"""A registry node of this process, put together from settings."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from rescind import compose, home
from rescind.config import Loaded
from rescind.errors import BadConfig
from rescind.publishing import LocalPublisher
from rescind_publisher.control_client import ControlClient
from rescind_publisher.switch import Engine
from rescind_registry.config import RegistryConfig
from rescind_registry.node import Node
from rescind_registry.serving import listen
from rescind_registry.standing import Followed
from rescind_registry.store import Store
from rescind_subscriber.subscriber import Subscriber

DATABASE = "registry.sqlite3"
_NAME = "registry"


def make_config(loaded: Loaded) -> RegistryConfig:
    """Return the node's settings; raises `BadConfig`, `BadRegistryConfig`."""
    settings = loaded.settings
    host, _, port = settings.registry_listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:  # noqa: PLR2004 - TCP
        raise BadConfig("setting 'registry_listen' is HOST:PORT, as in 127.0.0.1:8410")
    return RegistryConfig(
        issuer=settings.registry_issuer or home.LOCAL_ISSUER,
        folder=loaded.home / home.REGISTRY,
        host=host.strip("[]"),
        port=int(port),
        url=settings.registry_url,
        tls_cert=_path(loaded, settings.registry_tls_cert),
        tls_key=_path(loaded, settings.registry_tls_key),
    )


def _path(loaded: Loaded, value: str | None) -> Path | None:
    return None if value is None else loaded.path(value)


@contextmanager
def running_node(loaded: Loaded) -> Iterator[tuple[Node, socket.socket]]:
    """Give a node that follows the log and kills through the publisher of this host, and its ear.

    With no publisher running here, the node is one itself.
    """
    config = make_config(loaded)
    with ExitStack() as running:
        listener = running.enter_context(listen(config))
        config = msgspec.structs.replace(config, port=listener.getsockname()[1])
        store = Store(config.folder / DATABASE)
        running.callback(store.close)
        followed, engine = _follow(loaded, running)
        yield Node(config=config, followed=followed, engine=engine, store=store), listener


def _follow(loaded: Loaded, running: ExitStack) -> tuple[Followed, Engine]:
    client = ControlClient(loaded.home / home.CONTROL)
    if not client.answers():
        publisher = LocalPublisher(loaded)
        running.callback(publisher.close)
        publisher.start()
        return publisher.subscriber, publisher
    subscriber: Subscriber = compose.make_subscriber(loaded, name=_NAME)
    running.enter_context(subscriber)
    return subscriber, client
