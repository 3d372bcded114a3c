"""Faults that a schedule can be composed of: each begins on one thing, and returns what ends it."""

import asyncio
from collections.abc import Callable
from random import Random

from tests.chaos.scenario_streams import ask_redis
from tests.chaos.stage import Stage
from tests.faults.disk import file_limit
from tests.faults.lies import Lies
from tests.faults.processes import crash, freeze, thaw
from tests.faults.proxy import Proxy

Undo = Callable[[], object]
Begin = Callable[[Stage, str, Random], Undo]
OFTEN = 0.3
JUMPS_S = (-5000.0, -90.0, 50.0, 5000.0)
SLOW_BYTES_PER_S = 20_000.0


def _way(fault: Callable[[Proxy], None]) -> Begin:
    """A fault of every way of a host, or of one of them."""

    def begin(stage: Stage, host: str, random: Random) -> Undo:
        ways = stage.ways_of(host)
        ways = random.sample(ways, random.randint(1, len(ways)))
        for way in ways:
            fault(way)

        def undo() -> None:
            for way in ways:
                way.mend()

        return undo

    return begin


def _slow(way: Proxy) -> None:
    way.delay_s, way.bytes_per_s = 0.1, SLOW_BYTES_PER_S


def _lies(tell: Callable[[Lies], None]) -> Begin:
    def begin(stage: Stage, host: str, random: Random) -> Undo:
        del random
        for lies in stage.lies_to(host):
            tell(lies)

        def undo() -> None:
            for lies in stage.lies_to(host):
                lies.truth()

        return undo

    return begin


def _mix(lies: Lies) -> None:
    lies.drop = lies.double = lies.reorder = lies.replay = lies.flip = OFTEN


def _old_heads(lies: Lies) -> None:
    lies.old_heads = lies.hide = True


def _forge(lies: Lies) -> None:
    lies.forge_acks = True


def _crash(stage: Stage, broker: str, random: Random) -> Undo:
    del random
    crash(stage.server(broker))
    return stage.server(broker).start


def _freeze(stage: Stage, broker: str, random: Random) -> Undo:
    del random
    pid = stage.server(broker).pid
    freeze(pid)
    return lambda: thaw(pid)


def _empty(stage: Stage, broker: str, random: Random) -> Undo:
    """Redis forgets all; NATS is left alone, for its stream refuses it."""
    del random
    if broker == "redis":
        asyncio.run(ask_redis(stage, "FLUSHALL"))
    return lambda: None


def _kill_publisher(stage: Stage, name: str, random: Random) -> Undo:
    del random
    stage.kill_publisher(name)
    return lambda: stage.start_publisher(name)


def _kill_subscriber(stage: Stage, name: str, random: Random) -> Undo:
    remembers = random.random() < 0.5
    stage.kill_subscriber(name)
    if not remembers:
        stage.forget(name)
    return lambda: stage.start_subscriber(name, remembers=remembers)


def _clock(stage: Stage, name: str, random: Random) -> Undo:
    stage.set_clock(name, random.choice(JUMPS_S))
    return lambda: stage.set_clock(name, 0.0)


def _freeze_subscriber(stage: Stage, name: str, random: Random) -> Undo:
    """Its loop alone: a process that stands still could not be asked meanwhile."""
    stage.block(name, random.uniform(0.5, 2.0))
    return lambda: None


def _disk(stage: Stage, name: str, random: Random) -> Undo:
    del random
    limit = file_limit(stage.subscribers[name].pid, 0)
    limit.__enter__()
    return lambda: limit.__exit__(None, None, None)


BROKER_FAULTS: dict[str, Begin] = {"crash": _crash, "freeze": _freeze, "empty": _empty}
PUBLISHER_FAULTS: dict[str, Begin] = {
    "kill": _kill_publisher,
    "cut": _way(Proxy.cut),
    "black hole": _way(Proxy.black_hole),
    "reset": _way(Proxy.reset),
    "forged acks": _lies(_forge),
}
SUBSCRIBER_FAULTS: dict[str, Begin] = {
    "kill": _kill_subscriber,
    "cut": _way(Proxy.cut),
    "black hole": _way(Proxy.black_hole),
    "half-open": _way(Proxy.half_open),
    "reset": _way(Proxy.reset),
    "slow": _way(_slow),
    "mixed messages": _lies(_mix),
    "old heads": _lies(_old_heads),
    "clock": _clock,
    "blocked loop": _freeze_subscriber,
    "disk full": _disk,
}
