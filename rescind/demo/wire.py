"""What the demo and its processes say to each other: JSON lines over stdin and stdout.

Times are `time.monotonic()`: CLOCK_MONOTONIC is one clock for the whole machine (clock_gettime(2)),
so that what one process saw can be put in order with what another one did.
"""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator

import msgspec


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The process has made its guard; a server also listens."""

    url: str = ""


class Fresh(msgspec.Struct, frozen=True, tag="fresh"):
    """The subscriber's view is proven complete."""

    at: float


class Applied(msgspec.Struct, frozen=True, tag="applied"):
    """The subscriber has swapped events into its view: one, or those that a snapshot brought."""

    log: str
    seq: int
    at: float
    first: int | None = None
    """The first of them, where they are several; `seq` is the last."""

    def has(self, event: tuple[str, int]) -> bool:
        """Whether an event, by its log and number, is one of them."""
        log, seq = event
        first = self.seq if self.first is None else self.first
        return log == self.log and first <= seq <= self.seq


class Decided(msgspec.Struct, frozen=True, tag="decided"):
    """The guard's answer to a `Check`."""

    badge: str
    code: str


class Called(msgspec.Struct, frozen=True, tag="called"):
    """The agent called a tool and had an answer."""

    server: str
    badge: str
    """Which of its badges it sent: our name for it."""
    started: float
    """Before the request was sent."""
    ended: float
    """After the answer was read."""
    code: str
    """`OK`, or why not."""


Report = Ready | Fresh | Applied | Decided | Called


class Follow(msgspec.Struct, frozen=True, tag="follow"):
    """To a sidecar: start following."""


class Check(msgspec.Struct, frozen=True, tag="check"):
    """To a sidecar: ask the guard about a badge."""

    badge: str
    token: str


class Visit(msgspec.Struct, frozen=True, tag="visit"):
    """To the agent: the servers, name to address."""

    servers: dict[str, str]


class Carry(msgspec.Struct, frozen=True, tag="carry"):
    """To the agent: send this badge from now on."""

    badge: str
    token: str


Order = Follow | Check | Visit | Carry

encode = msgspec.json.encode
read_report = msgspec.json.Decoder(Report).decode
_read_order = msgspec.json.Decoder(Order).decode


def open_reports() -> Callable[[Report], None]:
    """Take stdout for reports alone and return what sends one; whatever prints goes to stderr.

    One line is one `write` of less than PIPE_BUF: lines of different threads never mix (write(2)).
    """
    out = os.dup(1)
    os.dup2(2, 1)

    def send(report: Report) -> None:
        os.write(out, encode(report) + b"\n")

    return send


def orders() -> Iterator[Order]:
    """Yield what the demo asks for, until it is gone."""
    for line in sys.stdin.buffer:
        yield _read_order(line)


async def orders_async() -> AsyncIterator[Order]:
    """Do as `orders` without blocking the loop."""
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async for line in lines:
        yield _read_order(line)


def end_with_the_demo() -> None:
    """End this process when the demo closes its end of stdin, or dies."""

    def watch() -> None:
        while os.read(0, 4096):
            pass
        os._exit(0)

    threading.Thread(target=watch, name="demo-gone", daemon=True).start()
