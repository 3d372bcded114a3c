"""How long a node waits for a client's request, and for how many clients.

uvicorn waits for ever for a request that has begun, and for one that never begins. Here each has to
be there whole, headers and body, by a deadline that no further byte puts off. An answer may take
as long as it likes: streams and long polls have said all of their request at their beginning.
"""

import asyncio
import resource
from typing import Literal

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from rescind_subscriber.libraries import changed, warn_unknown

READ_WITHIN_S = 30.0
"""For one request; the largest body there may be (8 MiB) at 2.3 Mbit/s."""
MAX_CONNECTIONS = 12_000
"""Readers of the event stream (10,000), and who asks besides."""
RESERVED_FILES = 192
"""Files that are left for the database, the audit trail and the brokers, of those a process may
open: who takes all connections takes no kill its way. What has not ended its TLS handshake is not
known here yet (asyncio ends it after 60 s)."""
REFUSED_AT_ONCE = 64
"""Connections beyond the most that are told so (503); further ones are closed unheard."""
_COMPLETE = (h11.DONE, h11.MUST_CLOSE, h11.CLOSED, h11.ERROR)


def most_connections() -> int:
    """Return how many connections are served at once: no more than this process has files for."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return min(MAX_CONNECTIONS, max(1, files - RESERVED_FILES))


def unknown_part() -> str:
    """Return what `Patience` builds on and uvicorn has otherwise; "" if it is all known."""
    methods = {
        "connection_made": ["self", "transport"],
        "data_received": ["self", "data"],
        "connection_lost": ["self", "exc"],
    }
    kept = {"conn", "loop", "transport", "limit_concurrency", "connections"}
    gone = kept - set(H11Protocol.__init__.__code__.co_names)
    return changed(H11Protocol, methods) or ", ".join(sorted(gone))


def http_protocol() -> "type[Patience] | Literal['h11']":
    """Return what serves HTTP: with patience, or uvicorn's own where its insides are not known."""
    part = unknown_part()
    if not part:
        return Patience
    instead = "its own protocol serves, which waits for a request without end"
    warn_unknown("uvicorn", part, instead)
    return "h11"


class Patience(H11Protocol):
    """One connection."""

    _overdue: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        most = self.limit_concurrency
        if most is not None and len(self.connections) > most + REFUSED_AT_ONCE:
            transport.abort()
            return
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Wait on where the request is not whole yet; what comes of it puts nothing off."""
        super().data_received(data)
        if self.conn.their_state in _COMPLETE:
            self._cease()
        elif self._overdue is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._cease()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._overdue = self.loop.call_later(READ_WITHIN_S, self.transport.close)

    def _cease(self) -> None:
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None
