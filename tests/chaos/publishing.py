"""A publisher under test: `python -m tests.chaos.publishing '<Host as JSON>'`.

The real engine, spool and sinks, with a subscriber that tells it what others say, as `rescind up`
runs them. Several callers at once: each order has a thread.
"""

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec

from rescind.testing.keys import FABRIC, key_of, trust_of
from rescind_protocol import targets
from rescind_protocol.errors import RescindError
from rescind_protocol.targets import Target
from rescind_publisher.asks import Ask
from rescind_publisher.chain import Numbered
from rescind_publisher.config import PublisherConfig
from rescind_publisher.engine import Publisher
from rescind_publisher.lane import Lane
from rescind_publisher.sinks.base import Sink
from rescind_publisher.sinks.nats import NatsSink
from rescind_publisher.sinks.redis import RedisSink
from rescind_publisher.spool import Spool
from rescind_publisher.switch import KillSwitch
from rescind_subscriber.config import SubscriberConfig
from rescind_subscriber.nats_link import NatsOptions
from rescind_subscriber.redis_address import RedisOptions
from rescind_subscriber.sources.base import Source
from rescind_subscriber.sources.nats import NatsSource
from rescind_subscriber.sources.redis import RedisSource
from rescind_subscriber.subscriber import Subscriber
from tests.chaos import weak_parts, wire
from tests.faults.clock import ShiftedClock

INBOX = "_INBOX_pub"
CALLERS = 8


def sources_of(host: wire.Host, inbox: str) -> list[Source]:
    """Return what a process follows."""
    made: list[Source] = []
    if host.nats is not None:
        options = NatsOptions(url=host.nats, inbox_prefix=inbox, name=host.name)
        made.append(NatsSource(FABRIC, options))
    if host.redis is not None:
        made.append(RedisSource(FABRIC, RedisOptions(url=host.redis, name=host.name)))
    return made


def sinks_of(host: wire.Host) -> Sequence[Sink]:
    """Return what a publisher writes to."""
    made: list[Sink] = []
    if host.nats is not None:
        options = NatsOptions(url=host.nats, inbox_prefix=INBOX, name=host.name)
        made.append(NatsSink(FABRIC, options, replicas=host.replicas))
    if host.redis is not None:
        made.append(RedisSink(FABRIC, RedisOptions(url=host.redis, name=host.name)))
    return made


class Process:
    """The publisher, and what it is asked for."""

    def __init__(self, host: wire.Host, send: wire.Send) -> None:
        self.clock = ShiftedClock()
        self.clock.passed_s = host.passed_s
        self._send = send
        trust, folder = trust_of(host.publishers), Path(host.folder)
        follower = Subscriber(
            trust,
            lambda: sources_of(host, INBOX),
            config=SubscriberConfig(
                name=f"publisher-{host.name}",
                heartbeat_s=host.heartbeat_s,
                stale_after_s=host.limit_s,
                reports=False,
            ),
            clock=self.clock,
        )
        config = PublisherConfig(
            fabric=FABRIC,
            publisher=host.name,
            spool=folder / "spool",
            heartbeat_s=host.heartbeat_s,
            stale_after_s=host.limit_s,
        )
        self.follower = follower
        self.publisher = Publisher(
            config,
            key=key_of(host.name),
            trust=trust,
            sinks=sinks_of(host),
            # A snapshot would mend much of what a protection's absence breaks.
            follower=follower if host.without is None else None,
            clock=self.clock,
        )
        self._switch = KillSwitch(self.publisher)

    def start(self) -> None:
        """Start both."""
        self.publisher.start()
        self.follower.start()

    def serve(self) -> None:
        """Do as told until nobody tells any more."""
        with ThreadPoolExecutor(CALLERS) as pool:
            for order in wire.orders():
                pool.submit(self._do, order)
        os._exit(0)  # the suite is gone, or has closed our orders: no need for manners

    def _do(self, order: wire.Order) -> None:
        try:
            value: Any = self._value(order)
        except RescindError as error:
            value = wire.Receipt(refused=str(error))
        except BaseException:  # noqa: BLE001 - said, and the end of this process
            traceback.print_exc()
            os._exit(1)
        self._send(wire.Answer(order.number, msgspec.Raw(wire.encode(value))))

    def _value(self, order: wire.Order) -> Any:
        match order:
            case wire.Kill():
                return self._kill(order)
            case wire.End():
                end = self._switch.retract if order.retract else self._switch.reinstate
                return wire.Receipt(end(targets.agent(order.agent), timeout_s=0.5).durable)
            case wire.Time():
                self.clock.passed_s, self.clock.wrong_s = order.passed_s, order.wrong_s
            case wire.Where():
                return self._where()
        return None

    def _kill(self, order: wire.Kill) -> wire.Receipt:
        what: list[Target | str] = [*order.tokens, *map(targets.agent, order.agents)]
        asks = [Ask(target=each, expires=order.expires_in_s) for each in what]
        return wire.Receipt(self._switch.kill_many(asks, timeout_s=order.timeout_s).durable)

    def _where(self) -> wire.Stands:
        status = self.publisher.status()
        return wire.Stands(
            logs={log: at.seq for log, at in self.publisher._ledger.positions.items()},
            horizon=status.horizon,
            pending={sink.name: sink.pending for sink in status.sinks},
            problems={sink.name: sink.problem or "" for sink in status.sinks},
            counts=status.counters,
        )


def report_commits(send: wire.Send, clock: ShiftedClock, dies_at: str) -> None:
    """Tell of every commit, before anything of it is sent anywhere; die there if told so."""
    append = Spool.append

    def told(self: Spool, made: list[Numbered]) -> None:
        append(self, made)
        if dies_at == "commit":
            os.kill(os.getpid(), signal.SIGKILL)
        send(wire.Committed(tuple(each.raw for each in made), clock.wall() - clock.wrong_s))

    patch.object(Spool, "append", told).start()


def die_when_held_by(sink: str) -> None:
    """Be killed when that sink holds an event for certain: the other one may not have it yet."""
    note = Lane._note_durable

    def noted(self: Lane, seq: int, position: str) -> None:
        if self.sink.name == sink:
            os.kill(os.getpid(), signal.SIGKILL)
        note(self, seq, position)

    patch.object(Lane, "_note_durable", noted).start()


def main() -> None:
    """Serve one process."""
    host = msgspec.json.decode(sys.argv[1], type=wire.Host)
    send = wire.open_reports()
    weak_parts.take_out(host.without, weak_parts.PUBLISHERS)
    process = Process(host, send)
    report_commits(send, process.clock, host.dies_at)
    if host.dies_at not in ("", "commit"):
        die_when_held_by(host.dies_at)
    process.start()
    send(wire.Ready())
    process.serve()


if __name__ == "__main__":
    main()
