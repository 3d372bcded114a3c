"""`readers`: thousands of event streams of one node, what each costs it, and a kill to all of them.

The node's parts are whole: the reconcile step, the hub, HTTP on a real socket, in one process on
one loop. The readers are bare connections in processes of their own, so that what is measured is
the node. From the signed event in the node's hands to its bytes in the last reader's.
"""

import asyncio
import multiprocessing
import resource
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec
import uvicorn
from litestar import Litestar

from benchmarks.material import Publisher, badge_kill
from benchmarks.stats import MS, Row, Spread, progress, spread
from rescind_guard.freshness import SystemClock
from rescind_guard.view import View
from rescind_registry.feeds.hub import Hub
from rescind_registry.feeds.sse import PATH, EventStream
from rescind_subscriber.reconcile import Reconciler

PROCESSES = 2
AT_ONCE = 100
"""Connections that are being opened at a time."""
LAST_LIMIT_MS = 1000.0
READY_WITHIN_S = 120.0
PAUSE_S = 0.2
_MARK = b"event: revocation\n"


class Plan(msgspec.Struct, frozen=True):
    """How much is measured."""

    readers: int = 2000
    kills: int = 20


QUICK = Plan(readers=20, kills=3)


class Result(msgspec.Struct, frozen=True):
    """What they cost."""

    readers: int
    kib_each: float
    """Resident memory of the node's process for each reader, its kernel's buffers left out."""
    each_ms: Spread
    last_ms: Spread
    """Until the last reader has it."""
    samples: int

    def rows(self) -> list[Row]:
        """Return what people read."""
        return [
            Row(f"a kill to each of {self.readers:,} event streams", self.each_ms, "ms"),
            Row("  to the last one", self.last_ms, "ms", LAST_LIMIT_MS),
            Row("  memory of a reader", self.kib_each, "KiB"),
        ]


def run(plan: Plan) -> Result:
    """Measure."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return asyncio.run(_measure(plan))


async def _measure(plan: Plan) -> Result:
    publisher, hub = Publisher(), Hub()
    view = View()
    view.claim()
    at = Reconciler(publisher.trust, view, SystemClock())
    at.relay = hub
    await hub.open()
    async with _served(hub) as (stream, port):
        before = _resident_kib()
        async with _reading(plan, port) as pipes:
            while stream.readers < plan.readers:  # noqa: ASYNC110 - of many
                await asyncio.sleep(0.05)
            kib = (_resident_kib() - before) / plan.readers
            rounds = []
            for number in range(plan.kills):
                progress(f"readers: kill {number + 1} of {plan.kills}")
                raw = publisher.signed((badge_kill(),))
                await asyncio.sleep(PAUSE_S)
                begun = time.monotonic_ns()
                at.event(raw)
                times = await asyncio.gather(*(asyncio.to_thread(pipe.recv) for pipe in pipes))
                rounds.append([at_ns - begun for some in times for at_ns in some])
    progress()
    await hub.close()
    return Result(
        readers=plan.readers,
        kib_each=kib,
        each_ms=spread([each for times in rounds for each in times], MS),
        last_ms=spread([max(times) for times in rounds], MS),
        samples=sum(map(len, rounds)),
    )


def _resident_kib() -> float:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * resource.getpagesize() / 1024


@asynccontextmanager
async def _served(hub: Hub) -> AsyncIterator[tuple[EventStream, int]]:
    stream = EventStream(hub)
    app = Litestar(list(stream.routes()), openapi_config=None, logging_config=None)
    config = uvicorn.Config(app, port=0, log_config=None, access_log=False, backlog=2048)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - the library has no event for it
        await asyncio.sleep(0.01)
    try:
        yield stream, server.servers[0].sockets[0].getsockname()[1]
    finally:
        hub.stop_serving()
        server.should_exit = True
        await serving


@asynccontextmanager
async def _reading(plan: Plan, port: int) -> AsyncIterator[list[Connection]]:
    context, pipes, started = multiprocessing.get_context("spawn"), [], []
    share, rest = divmod(plan.readers, PROCESSES)
    try:
        for count in (share + (number < rest) for number in range(PROCESSES)):
            ours, theirs = context.Pipe()
            process = context.Process(target=_read_all, args=(theirs, port, count), daemon=True)
            process.start()
            theirs.close()
            pipes.append(ours)
            started.append(process)
        for pipe in pipes:
            if not await asyncio.to_thread(pipe.poll, READY_WITHIN_S) or pipe.recv() != "ready":
                raise TimeoutError("the readers are not connected in time")
        yield pipes
    finally:
        for pipe in pipes:
            pipe.close()
        for process in started:
            await asyncio.to_thread(process.join, 10)
            process.kill()


def _read_all(pipe: Connection, port: int, count: int) -> None:
    asyncio.run(_read(pipe, port, count))


async def _read(pipe: Connection, port: int, count: int) -> None:
    times: list[int] = []

    def had() -> None:
        times.append(time.monotonic_ns())
        if len(times) == count:
            pipe.send(times)
            times.clear()

    stop = asyncio.Event()
    loop, gate = asyncio.get_running_loop(), asyncio.Semaphore(AT_ONCE)
    made = await asyncio.gather(*(_connect(loop, gate, port, had) for _ in range(count)))
    loop.add_reader(pipe.fileno(), stop.set)  # the other end was closed
    pipe.send("ready")
    await stop.wait()
    for transport in made:
        transport.abort()


async def _connect(
    loop: asyncio.AbstractEventLoop, gate: asyncio.Semaphore, port: int, had: object
) -> asyncio.Transport:
    async with gate:
        transport, reader = await loop.create_connection(lambda: _Reader(had), "127.0.0.1", port)
        transport.write(f"GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await reader.answered.wait()
    return transport


class _Reader(asyncio.Protocol):
    """Counts events that have come whole, and keeps nothing else."""

    def __init__(self, had: object) -> None:
        self._had = had
        self._tail = b""
        self.answered = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.answered.set()
        text = self._tail + data
        if _MARK in text and callable(self._had):
            self._had()
            text = b""
        self._tail = text[-len(_MARK) :]
