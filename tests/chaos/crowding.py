"""Many subscribers in one process, each with a connection: `python -m tests.chaos.crowding`."""

import asyncio
import contextlib
import os
import sys
import threading
import time

import msgspec

from rescind.testing.keys import trust_of
from rescind_subscriber.config import SubscriberConfig
from rescind_subscriber.subscriber import Subscriber
from tests.chaos import weak_parts, wire
from tests.chaos.publishing import sources_of

LOOK_S = 0.01
"""Between two looks at what all have applied; a look takes a tenth of a millisecond."""


async def run(host: wire.Host, send: wire.Send) -> None:
    """Follow with all of them on this loop, and say where they stand until nobody asks."""
    crowd = [
        Subscriber(
            trust_of(host.publishers),
            lambda: sources_of(host, "_INBOX_sub"),
            config=SubscriberConfig(
                name=f"{host.name}-{number}",
                heartbeat_s=host.heartbeat_s,
                stale_after_s=host.limit_s,
            ),
            loop="caller",
        )
        for number in range(host.count)
    ]
    async with contextlib.AsyncExitStack() as stack:
        for subscriber in crowd:
            await stack.enter_async_context(subscriber)
        threading.Thread(target=_listen, args=(crowd, send), daemon=True).start()
        send(wire.Ready())
        await _tell_applied(crowd, send)


async def _tell_applied(crowd: list[Subscriber], send: wire.Send) -> None:
    """Tell of each event when the last of them has applied it, for ever.

    Who asked for it instead, by an order every few milliseconds, would measure the asking.
    """
    told: dict[str, int] = {}
    while True:
        await asyncio.sleep(LOOK_S)
        for log, last in _least(crowd).items():
            for seq in range(told.get(log, 0) + 1, last + 1):
                send(wire.Applied(log, seq, time.monotonic()))
            told[log] = last


def _least(crowd: list[Subscriber]) -> dict[str, int]:
    """Return how far all of them have applied each log."""
    followers = [each._follower for each in crowd]
    vectors = [dict(f.reconciler.replica.vector) if f is not None else {} for f in followers]
    logs = {log for vector in vectors for log in vector}
    return {log: min(v[log].seq if log in v else 0 for v in vectors) for log in logs}


def _listen(crowd: list[Subscriber], send: wire.Send) -> None:
    for order in wire.orders():
        value = _where(crowd)
        send(wire.Answer(order.number, msgspec.Raw(wire.encode(value))))
    os._exit(0)


def _where(crowd: list[Subscriber]) -> wire.Stands:
    """What all of them have, at least."""
    return wire.Stands(
        logs=_least(crowd),
        fresh=all(each.fresh for each in crowd),
        state="LIVE" if all(str(each.status().state) == "LIVE" for each in crowd) else "STALE",
    )


def main() -> None:
    """Serve one process."""
    host = msgspec.json.decode(sys.argv[1], type=wire.Host)
    weak_parts.take_out(host.without, weak_parts.SUBSCRIBERS)
    asyncio.run(run(host, wire.open_reports()))


if __name__ == "__main__":
    main()
