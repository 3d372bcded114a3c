"""A TCP proxy in front of a real server: it delays, throttles, holds, cuts, resets, half-opens.

Each way between a host and a server has a proxy of its own, so that one host alone can be cut off.
All proxies of a `Network` run on one event loop in a thread; calls come from any thread, and return
when the fault is there. What is tampered with inside the stream is a `Tamper`'s business.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, Self, TypeVar

from tests.fakes.waiting import WITHIN_S

T = TypeVar("T")
CHUNK_BYTES = 64 * 1024
RST_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER with a time of zero: `close` sends RST instead of FIN (socket(7))."""


class Tamper(Protocol):
    """Sees and changes the bytes of one connection, both ways; a new one for each connection."""

    def to_server(self, data: bytes) -> bytes:
        """Return what the server gets instead."""
        ...

    def to_client(self, data: bytes) -> bytes:
        """Return what the client gets instead."""
        ...


class Connection(Protocol):
    """What a tamper may do besides: speak on its own."""

    def tell_client(self, data: bytes) -> None:
        """Send whole frames to the client, between others."""


MakeTamper = Callable[[Connection], Tamper]


class Network:
    """The loop of all proxies, in a thread of its own; closing it closes them all."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="faulty network", daemon=True)
        self._proxies: list[Proxy] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for proxy in self._proxies:
            proxy.cut()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self.loop.close()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run on the loop and return what came of it."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(WITHIN_S)

    def way(self, port: int, tamper: MakeTamper | None = None) -> "Proxy":
        """Return a new proxy to a port of this machine."""
        proxy = Proxy(self, port, tamper)
        self._proxies.append(proxy)
        return proxy


class Proxy:
    """One way to one server; `port` is where its clients connect, and stays the same."""

    def __init__(self, network: Network, server_port: int, tamper: MakeTamper | None) -> None:
        self.server_port = server_port
        self.delay_s = 0.0
        """Added to every chunk, each way."""
        self.bytes_per_s = 0.0
        """Each way of each connection; 0: as fast as it goes."""
        self.connections = 0
        """How many were ever made."""
        self._network, self._tamper = network, tamper
        self._pairs: set[_Pair] = set()
        self._passing = _Gate()
        self._half_open = False
        self._listener: asyncio.Server | None = None
        self.port = 0
        network.call(self._listen())

    # --- faults ---

    def cut(self) -> None:
        """Close every connection in an orderly way, and refuse new ones until `mend`."""
        self._network.call(self._cut())

    def reset(self) -> None:
        """End every connection with RST, at both ends; new ones are welcome."""
        self._network.call(self._reset())

    def black_hole(self) -> None:
        """Let nothing through, and say nothing; TCP keeps what was sent, and sends it later."""
        self._network.call(self._do(self._passing.shut))

    def half_open(self) -> None:
        """Forget every connection at the server's end only: its clients are never told.

        New ones are accepted and hear nothing until `mend`.
        """
        self._network.call(self._do(self._lose_server_ends))

    def mend(self) -> None:
        """Be an ordinary way again, for whoever is connected or connects."""
        self.delay_s = self.bytes_per_s = 0.0
        self._network.call(self._mend())

    # --- on the loop ---

    async def _do(self, call: Callable[[], None]) -> None:
        call()

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def _cut(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for pair in list(self._pairs):
            pair.close()

    async def _reset(self) -> None:
        for pair in list(self._pairs):
            pair.close(rst=True)

    def _lose_server_ends(self) -> None:
        self._half_open = True
        for pair in self._pairs:
            pair.lose_server()

    async def _mend(self) -> None:
        self._half_open = False
        self._passing.open()
        if self._listener is None:
            await self._listen()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        pair = _Pair(self, reader, writer)
        self._pairs.add(pair)
        try:
            if self._half_open:
                pair.lost.set()
            await pair.run(self._tamper)
        except OSError:
            pass  # an end is gone: so is the other
        finally:
            self._pairs.discard(pair)
            pair.close()

    async def passing(self) -> None:
        """Wait while nothing may pass."""
        await self._passing.wait()


class _Gate:
    """Open, until it is shut."""

    def __init__(self) -> None:
        self._opened = asyncio.Event()
        self._opened.set()

    def shut(self) -> None:
        self._opened.clear()

    def open(self) -> None:
        self._opened.set()

    async def wait(self) -> None:
        await self._opened.wait()


class _Pair:
    """One connection: the client's end and ours to the server."""

    def __init__(
        self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._proxy = proxy
        self._reader, self._client = reader, writer
        self._server: asyncio.StreamWriter | None = None
        self.lost = asyncio.Event()
        """Set when the server's end is gone and the client is not to know."""

    async def run(self, make: MakeTamper | None) -> None:
        """Pump both ways until one end closes."""
        await self._proxy.passing()
        if self.lost.is_set():
            await self._swallow()
            return
        reader, self._server = await asyncio.open_connection("127.0.0.1", self._proxy.server_port)
        tamper = make(self) if make is not None else None
        up = self._pump(self._reader, self._server, tamper.to_server if tamper else bytes)
        down = self._pump(reader, self._client, tamper.to_client if tamper else bytes)
        tasks = [asyncio.create_task(each) for each in (up, down)]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if self.lost.is_set():
            await self._swallow()

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        change: Callable[[bytes], bytes],
    ) -> None:
        """Pass what comes, each chunk late by the delay that held when it came."""
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        pusher = asyncio.create_task(self._push(queue, writer, change))
        try:
            while data := await reader.read(CHUNK_BYTES):
                queue.put_nowait((loop.time() + self._proxy.delay_s, data))
            queue.put_nowait((0.0, b""))
            await pusher
        finally:
            pusher.cancel()
            await asyncio.gather(pusher, return_exceptions=True)

    async def _push(
        self,
        queue: "asyncio.Queue[tuple[float, bytes]]",
        writer: asyncio.StreamWriter,
        change: Callable[[bytes], bytes],
    ) -> None:
        while True:
            due, data = await queue.get()
            if not data:
                return
            await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
            if rate := self._proxy.bytes_per_s:
                await asyncio.sleep(len(data) / rate)
            await self._proxy.passing()
            try:
                writer.write(change(data))
                await writer.drain()
            except OSError:
                if not self.lost.is_set():
                    self.close()
                return

    async def _swallow(self) -> None:
        """Read what the client says to nobody, until it goes."""
        while await self._reader.read(CHUNK_BYTES):
            pass

    def tell_client(self, data: bytes) -> None:
        """Send frames to the client; see `Connection`."""
        if not self._client.is_closing():
            self._client.write(data)

    def lose_server(self) -> None:
        """Close the server's end; the client's stays open, and silent."""
        self.lost.set()
        if self._server is not None:
            self._server.close()

    def close(self, *, rst: bool = False) -> None:
        """Close both ends."""
        for writer in filter(None, (self._client, self._server)):
            if rst:
                end = writer.get_extra_info("socket")
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST_ON_CLOSE)
                writer.transport.abort()
            else:
                writer.close()
