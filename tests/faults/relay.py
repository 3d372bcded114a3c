"""A way for hundreds of connections: a process of its own that passes bytes, and can be cut.

A `Proxy` looks into what it passes and has four tasks a connection; five hundred of them that come
back at once are half a second of a core, and its listener's queue of 100 drops the rest of them for
a second. Then it is the proxy that is measured. This one costs a sixth of that.
"""

import asyncio
import select
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from rescind.embedded.process import bound, end
from tests.fakes.waiting import WITHIN_S

BACKLOG = 4096
"""Connections that wait to be accepted: as many as the kernel grants a server (net.core.somaxconn
since Linux 5.4), and as a nats-server asks for."""
ROOT = Path(__file__).parents[2]


class Relay:
    """One way to one server; `port` is where its clients connect, and stays the same."""

    def __init__(self, server_port: int) -> None:
        self.port = 0
        self._server_port = server_port
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.faults.relay", str(self._server_port)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(bound(*command), stdin=pipe, stdout=pipe, cwd=ROOT)
        self.port = self._answer()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        process, self._process = self._process, None
        if process is not None:
            end(process)
            for stream in filter(None, (process.stdin, process.stdout)):
                with suppress(OSError):
                    stream.close()

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    def cut(self) -> None:
        """Close every connection in an orderly way, and refuse new ones until `mend`."""
        self._order(b"cut")

    def mend(self) -> None:
        """Accept connections again."""
        self._order(b"mend")

    def count(self) -> int:
        """Return how many connections there are now."""
        return self._order(b"count")

    def _order(self, word: bytes) -> int:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(word + b"\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> int:
        assert self._process is not None
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], WITHIN_S)[0]:
            raise TimeoutError(f"the relay did not answer within {WITHIN_S:g} s")
        return int(self._process.stdout.readline())


# --- in the process ---


class _End(asyncio.Protocol):
    """One end of a connection: what comes in here goes out at the other one."""

    def __init__(self, ends: set[asyncio.Transport], other: "_End | None" = None) -> None:
        self._ends, self.other = ends, other
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._ends.add(transport)

    def data_received(self, data: bytes) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if self.transport is not None:
            self._ends.discard(self.transport)
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()


class _ClientEnd(_End):
    """The end at a client: opens the one to the server, and keeps what comes before it stands.

    A pause of reading would not do: before Python 3.11.5 one in `connection_made` is forgotten.
    """

    def __init__(self, ends: set[asyncio.Transport], server_port: int) -> None:
        super().__init__(ends)
        self._server_port = server_port
        self._opening: asyncio.Task[None] | None = None
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert isinstance(transport, asyncio.Transport)
        self._opening = asyncio.get_running_loop().create_task(self._open(transport))

    async def _open(self, transport: asyncio.Transport) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, self.other = await loop.create_connection(
                lambda: _End(self._ends, self), "127.0.0.1", self._server_port
            )
        except OSError:
            transport.close()
            return
        if transport.is_closing():
            self.connection_lost(None)
            return
        for data in self._early:
            super().data_received(data)

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self._early.append(data)
        else:
            super().data_received(data)


async def _serve(server_port: int) -> None:
    """Pass bytes, and do as told until nobody tells any more."""
    loop, ends = asyncio.get_running_loop(), set[asyncio.Transport]()
    orders = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)

    async def listen(port: int) -> asyncio.Server:
        return await loop.create_server(
            lambda: _ClientEnd(ends, server_port), "127.0.0.1", port, backlog=BACKLOG
        )

    listener = await listen(0)
    port = answer = listener.sockets[0].getsockname()[1]
    while True:
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()
        match (await orders.readline()).strip():
            case b"cut":
                listener.close()
                for each in list(ends):
                    each.close()
            case b"mend":
                listener = await listen(port)
            case b"":
                return
        answer = len(ends) // 2


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
