"""A guarded process under test: `python -m tests.chaos.subscribing '<Host as JSON>'`.

The real subscriber, in a thread or on this program's own loop, with its local snapshot, and the
real guard over its view.
"""

import asyncio
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec

from rescind.testing.badges import TestBadge, issuers
from rescind.testing.keys import trust_of
from rescind.testing.sim.checker import Seen, seen
from rescind_guard import Guard
from rescind_guard.freshness import Rule
from rescind_protocol import jws
from rescind_protocol.events import Event
from rescind_protocol.limits import MAX_BADGE_BYTES
from rescind_subscriber import durable
from rescind_subscriber.config import SubscriberConfig
from rescind_subscriber.listeners import Applied
from rescind_subscriber.memory import Memory, State, image_of
from rescind_subscriber.subscriber import Subscriber
from tests.chaos import weak_parts, wire
from tests.chaos.publishing import sources_of
from tests.fakes.waiting import WITHIN_S
from tests.faults.clock import ShiftedClock

SAVE_EVERY_S = 0.3
_POLL_S = 0.01


def badge_of(token: str) -> TestBadge:
    """Return what a test badge says of itself."""
    claims = msgspec.json.decode(jws.read(token.encode(), limit=MAX_BADGE_BYTES).payload)
    return TestBadge(token, *(claims[name] for name in ("iss", "sub", "jti", "iat", "exp")))


class Process:
    """The subscriber and the guard, and what they are asked for."""

    def __init__(self, host: wire.Host, send: wire.Send) -> None:
        self.clock = ShiftedClock()
        self.clock.passed_s = host.passed_s
        self._send = send
        self.subscriber = Subscriber(
            trust_of(host.publishers),
            lambda: sources_of(host, "_INBOX_sub"),
            config=SubscriberConfig(
                name=host.name,
                heartbeat_s=host.heartbeat_s,
                stale_after_s=host.limit_s,
                snapshot_every_s=SAVE_EVERY_S,
            ),
            state_dir=Path(host.folder),
            clock=self.clock,
            loop="caller" if host.on_caller else "thread",
        )
        self.subscriber.on_applied.append(self._tell_applied)
        rule = Rule(stale_after_s=host.limit_s)
        self.guard = Guard(self.subscriber.view, issuers(), rule=rule, clock=self.clock)

    def _tell_applied(self, applied: Applied) -> None:
        at = time.monotonic()
        if isinstance(applied, Event):
            self._send(wire.Applied(applied.log, applied.seq, at))
            return
        for log, spans in applied.numbers.items():
            for seq in chain.from_iterable(spans):
                self._send(wire.Applied(log, seq, at))

    async def run(self) -> None:
        """Follow, and do as told until nobody tells any more."""
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        threading.Thread(target=self._listen, args=(loop, ended), daemon=True).start()
        async with self.subscriber:
            self._send(wire.Ready())
            await ended.wait()
            os._exit(0)

    def _listen(self, loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
        """Questions are answered in this thread, as a service's threads do; blocking is not."""
        try:
            for order in wire.orders():
                if isinstance(order, wire.Block):
                    loop.call_soon_threadsafe(time.sleep, order.seconds)
                value = self._value(order)
                self._send(wire.Answer(order.number, msgspec.Raw(wire.encode(value))))
        except BaseException:  # noqa: BLE001 - said, and the end of this process
            traceback.print_exc()
            os._exit(1)
        loop.call_soon_threadsafe(ended.set)

    def _value(self, order: wire.Order) -> Any:
        match order:
            case wire.Probe():
                return list(map(self._decide, order.tokens))
            case wire.Where():
                return self._where()
            case wire.Dump():
                said = image_of(self.subscriber.view.published.table)
                return wire.View(said.revocations, said.floors)
            case wire.Time():
                self.clock.passed_s, self.clock.wrong_s = order.passed_s, order.wrong_s
            case wire.Fork():
                self._fork(order.tokens)
        return None

    def _decide(self, token: str) -> Seen:
        """Decide, and look at the view that the decision was made on."""
        while True:
            before = self.subscriber.view.published
            decision = self.guard.check(token)
            if self.subscriber.view.published.table is before.table:
                return seen(badge_of(token), decision, before.table)

    def _where(self) -> wire.Stands:
        follower, status = self.subscriber._follower, self.subscriber.status()
        vector = dict(follower.reconciler.replica.vector) if follower is not None else {}
        return wire.Stands(
            logs={log: at.seq for log, at in vector.items()},
            fresh=self.subscriber.fresh,
            state=str(status.state),
            problems={**status.sources, **status.trouble},
            counts=status.events,
            heads=status.heads,
        )

    def _fork(self, tokens: tuple[str, ...]) -> None:
        if os.fork():
            return
        try:
            self._as_child(tokens)
        finally:
            os._exit(0)

    def _as_child(self, tokens: tuple[str, ...]) -> None:
        def told(when: str) -> bool:
            denied = tuple(bool(self._decide(token).kills) for token in tokens)
            self._send(wire.Forked(when, denied, self.subscriber.fresh))
            return denied[-1]

        told("at once")
        until = time.monotonic() + WITHIN_S
        while time.monotonic() < until and not self._decide(tokens[-1]).kills:
            time.sleep(_POLL_S)
        told("later")


def report_saves(send: wire.Send) -> None:
    """Tell when a snapshot begins to be written, and when it is on the disk."""
    save = Memory.save

    async def told(self: Memory, state: State) -> None:
        send(wire.Saving())
        await save(self, state)
        if not self.trouble:
            send(wire.Saved())

    patch.object(Memory, "save", told).start()


def die_while_saving(host: wire.Host) -> None:
    """Be killed when half of a snapshot is written."""
    write = durable.write_synced

    def write_half(path: Path, parts: Iterable[bytes]) -> None:
        if path.name != f"{host.name}.writing":
            write(path, parts)
            return
        if host.without == "atomic":
            path = path.with_suffix(".snapshot")
        whole = b"".join(parts)
        path.write_bytes(whole[: len(whole) // 2])
        os.kill(os.getpid(), signal.SIGKILL)

    patch.object(durable, "write_synced", write_half).start()


def main() -> None:
    """Serve one process."""
    host = msgspec.json.decode(sys.argv[1], type=wire.Host)
    send = wire.open_reports()
    weak_parts.take_out(host.without, weak_parts.SUBSCRIBERS)
    if host.dies_at:
        die_while_saving(host)
    report_saves(send)
    asyncio.run(Process(host, send).run())


if __name__ == "__main__":
    main()
