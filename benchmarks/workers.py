"""Worker processes of `kill`: subscribers, or the bare receivers of the floor.

Both have the same shape: some processes, in each one event loop, on it one connection a subscriber.
When the last one in a process is done with a message, the process reports all of its times at once,
so that reporting costs both the same and nobody's time. CLOCK_MONOTONIC is one for all processes.
"""

import asyncio
import contextlib
import multiprocessing
import time
from collections.abc import AsyncIterator, Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any, Literal

import msgspec
import nats
from nacl.bindings import crypto_sign_open

from benchmarks.material import FABRIC
from rescind_protocol.trust import Trust, TrustFile
from rescind_subscriber import Subscriber
from rescind_subscriber.nats_link import NatsOptions
from rescind_subscriber.sources.nats import NatsSource

PROCESSES = 2
FLOOR_SUBJECT = "rescind.floor.head.bench"
"""Core only, and exported to the subscribers' account like every head."""
READY_WITHIN_S = 60.0


class Setup(msgspec.Struct, frozen=True):
    """What one worker process is to do."""

    kind: Literal["subscribers", "floor"]
    count: int
    url: str
    trust: TrustFile
    public: bytes
    """The key that floor receivers verify with."""


class Tally:
    """Gathers the times of one message in one process."""

    def __init__(self, count: int, report: Callable[[list[int]], None]) -> None:
        self._count, self._report = count, report
        self._times: list[int] = []

    def done(self, _: object = None) -> None:
        """Take the time of one more subscriber."""
        self._times.append(time.monotonic_ns())
        if len(self._times) == self._count:
            self._report(self._times)
            self._times = []


class Workers:
    """All processes of one kind."""

    def __init__(self, pipes: list[Connection]) -> None:
        self._pipes = pipes

    def times(self) -> list[int]:
        """Wait until every subscriber is done with the message under way; return its times."""
        return [at for pipe in self._pipes for at in pipe.recv()]


@contextlib.contextmanager
def running(setup: Setup) -> Iterator[Workers]:
    """Start processes with `setup.count` subscribers in all, and end them."""
    context, pipes, started = multiprocessing.get_context("spawn"), [], []
    share, rest = divmod(setup.count, PROCESSES)
    try:
        for count in filter(None, (share + (n < rest) for n in range(PROCESSES))):
            ours, theirs = context.Pipe()
            mine = msgspec.structs.replace(setup, count=count)
            process = context.Process(target=_main, args=(theirs, mine), daemon=True)
            process.start()
            theirs.close()
            pipes.append(ours)
            started.append(process)
        for pipe in pipes:
            if not pipe.poll(READY_WITHIN_S) or pipe.recv() != "ready":
                raise TimeoutError(f"{setup.kind}: not ready within {READY_WITHIN_S:.0f} s")
        yield Workers(pipes)
    finally:
        for pipe in pipes:
            pipe.close()
        for process in started:
            process.join(10)
            process.kill()


def _main(pipe: Connection, setup: Setup) -> None:
    asyncio.run(_serve(pipe, setup))


async def _serve(pipe: Connection, setup: Setup) -> None:
    stop = asyncio.Event()
    tally = Tally(setup.count, pipe.send)
    make = _subscribers if setup.kind == "subscribers" else _receivers
    async with make(setup, tally):
        asyncio.get_running_loop().add_reader(pipe.fileno(), stop.set)  # the other end was closed
        pipe.send("ready")
        await stop.wait()


@contextlib.asynccontextmanager
async def _subscribers(setup: Setup, tally: Tally) -> AsyncIterator[None]:
    trust = Trust(setup.trust)
    options = NatsOptions(url=setup.url, inbox_prefix="_INBOX_sub")
    async with contextlib.AsyncExitStack() as stack:
        started = [
            Subscriber(trust, lambda: [NatsSource(FABRIC, options)], loop="caller")
            for _ in range(setup.count)
        ]
        for subscriber in started:
            await stack.enter_async_context(subscriber)
        while not all(subscriber.fresh for subscriber in started):  # noqa: ASYNC110 - of many
            await asyncio.sleep(0.05)
        for subscriber in started:  # what was there before is not what is measured
            subscriber.on_applied.append(tally.done)
        yield


@contextlib.asynccontextmanager
async def _receivers(setup: Setup, tally: Tally) -> AsyncIterator[None]:
    async def received(message: Any) -> None:
        crypto_sign_open(message.data, setup.public)
        tally.done()

    clients = []
    try:
        for _ in range(setup.count):
            client = await nats.connect(setup.url, inbox_prefix=b"_INBOX_sub")
            clients.append(client)
            await client.subscribe(FLOOR_SUBJECT, cb=received)
            await client.flush()
        yield
    finally:
        for client in clients:
            await client.close()
