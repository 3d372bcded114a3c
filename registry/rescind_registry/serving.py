"""Runs the application on uvicorn, in a thread of its own, until it is told to stop."""

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self

import uvicorn
from litestar import Litestar

from rescind_registry.config import RegistryConfig
from rescind_registry.errors import BadRegistryConfig
from rescind_registry.patience import http_protocol, most_connections

BACKLOG = 2048
UNREAD_MS = 20_000
"""A connection whose other end takes nothing for so long is ended by the kernel (tcp(7))."""
STOP_WITHIN_S = 10.0


class Server:
    """Serves on a socket that listens. Use as a context manager."""

    def __init__(
        self,
        app: Litestar,
        config: RegistryConfig,
        listener: socket.socket,
        *,
        before_stop: Callable[[], None] = lambda: None,
    ) -> None:
        """`before_stop` ends what would not end by itself, as streams."""
        self._before_stop = before_stop
        self._listener = listener
        self._server = uvicorn.Server(_settings(app, config))
        self._thread = threading.Thread(target=self._run, name="rescind-registry", daemon=True)

    def _run(self) -> None:
        with suppress(SystemExit):  # how uvicorn says that a start-up hook failed
            self._server.run(sockets=[self._listener])

    @property
    def running(self) -> bool:
        """Whether it still serves."""
        return self._thread.is_alive()

    @property
    def started(self) -> bool:
        """Whether it answers: its lifespans have been entered."""
        return self._server.started

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._before_stop()
        self._server.should_exit = True
        self._thread.join(STOP_WITHIN_S)


def listen(config: RegistryConfig) -> socket.socket:
    """Return a socket that listens as configured; raises `BadRegistryConfig`."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    # The protocol is named, for asyncio switches Nagle's algorithm off only then: an answer in two
    # parts, headers and body, would wait 40 ms for the client's delayed acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; connections take it over
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MS)
    try:
        listener.bind((config.host, config.port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise BadRegistryConfig(
            f"cannot listen on {config.host}:{config.port}: {error.strerror or error}"
        ) from error
    return listener


def _settings(app: Litestar, config: RegistryConfig) -> uvicorn.Config:
    settings = uvicorn.Config(
        app,
        http=http_protocol(),
        ws="none",
        limit_concurrency=most_connections(),
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # whoever sent them could say any address in the audit trail
        ssl_certfile=config.tls_cert,
        ssl_keyfile=config.tls_key,
        timeout_graceful_shutdown=int(STOP_WITHIN_S / 2),
    )
    try:
        settings.load()
    except (OSError, ssl.SSLError) as error:
        raise BadRegistryConfig(f"the TLS certificate or key cannot be used: {error}") from error
    return settings
