"""`storm`: a kill of a target that was killed 100,000 times already, beside one in an empty fabric.

Two fabrics on this machine, each with a nats-server, a publisher and one subscriber. In one of them
100,000 kills of one target are in force, each longer than all before it, so that none covers the
next. Then that target is killed again, longer still, in turn with a badge in the empty fabric:
from just before the call to the swap of the subscriber's view. A shorter kill of the target is in
force already: nothing is signed for it, and the call returns with the id of the one that covers it.
"""

import contextlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import msgspec

from benchmarks.kill import PAUSE_S, WARM_UP, engine_of
from benchmarks.material import Publisher, badge_kill
from benchmarks.stats import MS, Row, progress, spread
from benchmarks.workers import Setup, Workers, running
from rescind.embedded import EmbeddedServer
from rescind_protocol import targets
from rescind_protocol.targets import Target
from rescind_publisher import KillSwitch
from rescind_publisher.asks import Ask

RATIO = 1.2
AT_ONCE = 10_000
LIFE_S = 10_000_000
"""Of the first kill; each one after it lasts a second longer."""


class Plan(msgspec.Struct, frozen=True):
    """How much is measured."""

    kills: int = 100_000
    """Of the one target, in force before anything is measured."""
    rounds: int = 5
    each: int = 40


QUICK = Plan(kills=300, rounds=2, each=4)


class Result(msgspec.Struct, frozen=True):
    """Medians in milliseconds."""

    kills: int
    crowded_p50_ms: float
    """From the call to the swap of the view, of a target with so many kills in force."""
    empty_p50_ms: float
    """Of a badge, in a fabric in which nothing is in force."""
    ratio_p50: float
    """Median over the rounds of the ratio of their medians."""
    repeat_p50_ms: float
    """Until the call returns, of a kill that is in force already."""
    samples: int

    def rows(self) -> list[Row]:
        """Return what people read."""
        return [
            Row(
                f"kill() to applied, target killed {self.kills:,} times", self.crowded_p50_ms, "ms"
            ),
            Row("  in an empty fabric", self.empty_p50_ms, "ms"),
            Row("  ratio", self.ratio_p50, "", RATIO),
            Row("  until kill() returns, in force already", self.repeat_p50_ms, "ms"),
            Row("  samples of each", f"{self.samples:,}"),
        ]


class Fabric:
    """A switch and the subscriber that hears it."""

    def __init__(self, switch: KillSwitch, subscriber: Workers) -> None:
        self._switch, self._subscriber = switch, subscriber

    def kill(self, target: Target, life_s: int) -> int:
        """Kill; return the nanoseconds until the subscriber has it."""
        time.sleep(PAUSE_S)
        begun = time.monotonic_ns()
        receipt = self._switch.kill(target, reason="storm", expires=life_s)
        assert not receipt.in_force, str(receipt)
        return self._subscriber.times()[0] - begun

    def repeat(self, target: Target) -> int:
        """Kill what is killed; return the nanoseconds until the call returns."""
        begun = time.monotonic_ns()
        receipt = self._switch.kill(target, reason="storm", expires=LIFE_S // 2)
        assert receipt.in_force, str(receipt)
        return time.monotonic_ns() - begun


@contextlib.contextmanager
def _fabric(name: str, crowd: int, target: Target) -> Iterator[Fabric]:
    """Start a fabric in which a target was killed so many times."""
    material = Publisher()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rescind-bench-")))
        server = stack.enter_context(EmbeddedServer(folder / "store"))
        engine = engine_of(material, folder / "spool", server.url_for("publisher"))
        switch = stack.enter_context(KillSwitch(engine))
        for first in range(0, crowd, AT_ONCE):
            progress(f"storm: {first:,} of {crowd:,} kills of one target")
            lives = range(LIFE_S + first, LIFE_S + min(crowd, first + AT_ONCE))
            asks = [Ask(target=target, reason="storm", expires=life_s) for life_s in lives]
            assert not switch.kill_many(asks, timeout_s=60.0).in_force
        progress(f"storm: starting the subscriber of the {name} fabric")
        setup = Setup("subscribers", 1, server.url_for("subscriber"), material.trust_file, b"")
        subscriber = stack.enter_context(running(setup))
        yield Fabric(switch, subscriber)


def run(plan: Plan) -> Result:
    """Measure."""
    target = targets.agent("did:web:acme.example:agents:storm")
    with (
        _fabric("empty", 0, target) as empty,
        _fabric("crowded", plan.kills, target) as crowded,
    ):
        return _measure(plan, target, empty, crowded)


def _measure(plan: Plan, target: Target, empty: Fabric, crowded: Fabric) -> Result:
    lives = iter(range(LIFE_S + plan.kills, 2 * LIFE_S))
    for _ in range(WARM_UP):
        empty.kill(badge_kill().target, LIFE_S)
        crowded.kill(target, next(lives))
    rounds, repeats = [], []
    for number in range(plan.rounds):
        progress(f"storm: round {number + 1} of {plan.rounds}")
        many, none = [], []
        for _ in range(plan.each):
            none.append(empty.kill(badge_kill().target, LIFE_S))
            many.append(crowded.kill(target, next(lives)))
            repeats.append(crowded.repeat(target))
        rounds.append((many, none))
    progress()
    return Result(
        kills=plan.kills,
        crowded_p50_ms=spread([at for many, _ in rounds for at in many], MS).p50,
        empty_p50_ms=spread([at for _, none in rounds for at in none], MS).p50,
        ratio_p50=median(spread(many, MS).p50 / spread(none, MS).p50 for many, none in rounds),
        repeat_p50_ms=spread(repeats, MS).p50,
        samples=plan.rounds * plan.each,
    )
