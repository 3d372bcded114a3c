"""Many subscribers in one process, each with a connection: `python -m tests.chaos.crowding`."""

import asyncio
import contextlib
import os
import sys
import threading

import msgspec

from rescind.testing.keys import trust_of
from rescind_subscriber.config import SubscriberConfig
from rescind_subscriber.subscriber import Subscriber
from tests.chaos import weak_parts, wire
from tests.chaos.publishing import sources_of


async def run(host: wire.Host, send: wire.Send) -> None:
    """Follow with all of them on this loop, and say where they stand until nobody asks."""
    config = SubscriberConfig(heartbeat_s=host.heartbeat_s, stale_after_s=host.limit_s)
    crowd = [
        Subscriber(
            trust_of(host.publishers),
            lambda: sources_of(host, "_INBOX_sub"),
            config=config,
            loop="caller",
        )
        for _ in range(host.count)
    ]
    async with contextlib.AsyncExitStack() as stack:
        for subscriber in crowd:
            await stack.enter_async_context(subscriber)
        threading.Thread(target=_listen, args=(crowd, send), daemon=True).start()
        send(wire.Ready())
        await asyncio.Event().wait()


def _listen(crowd: list[Subscriber], send: wire.Send) -> None:
    for order in wire.orders():
        value = _where(crowd)
        send(wire.Answer(order.number, msgspec.Raw(wire.encode(value))))
    os._exit(0)


def _where(crowd: list[Subscriber]) -> wire.Stands:
    """What all of them have, at least."""
    followers = [each._follower for each in crowd]
    vectors = [dict(f.reconciler.replica.vector) if f is not None else {} for f in followers]
    logs = {log for vector in vectors for log in vector}
    return wire.Stands(
        logs={log: min(v[log].seq if log in v else 0 for v in vectors) for log in logs},
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
