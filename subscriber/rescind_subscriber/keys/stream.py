"""A connection that goes only where it may, and no longer than it may.

httpcore2's own backend with three bounds: the address that is connected to is the one that was
judged, every read and write counts against one deadline, and so many bytes come in at most. A
server that drips a byte a second, or answers without end, holds nothing up.
"""

import socket
import ssl
import time
from collections.abc import Callable, Iterable
from typing import Any

import httpcore2

Allowed = Callable[[str], bool]
"""Whether an IP address may be connected to."""


class Forbidden(httpcore2.ConnectError):
    """The name resolves to no address that may be connected to."""


class Budget:
    """What is left of a fetch, in seconds and in bytes."""

    def __init__(self, seconds: float, incoming: int) -> None:
        self._deadline = time.monotonic() + seconds
        self._incoming = incoming

    def seconds(self) -> float:
        """Return what is left; raises `httpcore2.ReadTimeout` if nothing is."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise httpcore2.ReadTimeout("took too long")
        return left

    def take(self, count: int) -> None:
        """Count bytes that came in; raises `httpcore2.ReadError` beyond the limit."""
        self._incoming -= count
        if self._incoming < 0:
            raise httpcore2.ReadError("answers with too many bytes")


class BoundedStream(httpcore2.NetworkStream):
    """A stream within a budget."""

    def __init__(self, inner: httpcore2.NetworkStream, budget: Budget) -> None:
        self._inner = inner
        self._budget = budget

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - ours
        """Read within the budget."""
        found = self._inner.read(max_bytes, self._budget.seconds())
        self._budget.take(len(found))
        return found

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 - ours
        """Write within the budget."""
        self._inner.write(buffer, self._budget.seconds())

    def close(self) -> None:
        """Close the connection."""
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002 - ours
    ) -> httpcore2.NetworkStream:
        """Go on under TLS, within the budget."""
        inner = self._inner.start_tls(ssl_context, server_hostname, self._budget.seconds())
        return BoundedStream(inner, self._budget)

    def get_extra_info(self, info: str) -> Any:
        """Ask the stream inside."""
        return self._inner.get_extra_info(info)


class BoundedBackend(httpcore2.NetworkBackend):
    """Connects within a budget, to addresses that are allowed."""

    def __init__(self, allowed: Allowed, budget: Budget) -> None:
        self._inner = httpcore2.SyncBackend()
        self._allowed = allowed
        self._budget = budget

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - the budget's
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        """Connect to the first address of `host` that answers; `Forbidden` if none is allowed."""
        addresses = [each for each in _resolve(host, port) if self._allowed(each)]
        if not addresses:
            raise Forbidden("has no public address")
        trouble: Exception | None = None
        for address in addresses:
            try:
                inner = self._inner.connect_tcp(
                    address, port, self._budget.seconds(), local_address, socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                trouble = error
            else:
                return BoundedStream(inner, self._budget)
        raise httpcore2.ConnectError(str(trouble)) from trouble


def _resolve(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise httpcore2.ConnectError("its name does not resolve") from error
    return list(dict.fromkeys(str(each[4][0]) for each in found))
