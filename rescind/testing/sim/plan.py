"""From a seed to a schedule."""

from collections.abc import Callable, Collection
from random import Random

from rescind.testing.sim.cast import AGENTS, TTL_S, VICTIMS
from rescind.testing.sim.schedule import Schedule, Step, What
from rescind_protocol.limits import DEFAULT_QUOTA, SKEW_S

LIMITS_S = (120.0, 120.0, 300.0)
"""Freshness limits; below twice the skew no view could be fresh for long."""
BROKERS = (("stream",), ("fenced",), ("stream", "fenced"), ("stream", "fenced"))
JUMPS_S = (-5000.0, -400.0, -90.0, 90.0, 400.0, 5000.0)
"""How far a subscriber's wall clock jumps."""

WRONG_S = (-86_400.0, -7200.0, -400.0, -90.0, -1.0, 1.0, 90.0, 400.0, 7200.0, 86_400.0)
"""How far off a clock is when its host starts, or where it is set."""
_WRONG = frozenset({What.BOOT_CLOCK, What.CLOCK_STEP})
_HOLDS_HEADS = frozenset({What.LATE_HEADS, What.REPLAY_HEADS, What.SUSPEND, What.BLOCK})
"""Not together with the former: who never knew better cannot tell heads that are held up."""
_FORGETS = frozenset({What.OLD_SPOOL})
"""Nor these: a publisher that was ahead and has forgotten how far looks like a repeated one."""
_LOSES = frozenset({What.PURGE, What.RECREATE, What.RESTORE, What.ROT})
"""Not together with a spool that forgets: what both have lost is lost."""
TOGETHER = 0.1
"""Share of the schedules in which two faults that need each other come together."""

_WORK: tuple[What, ...] = (
    *(What.KILL,) * 6,
    *(What.KILL_MANY, What.REINSTATE, What.RETRACT, What.RETRACT),
    *(What.REPEAT, What.FLOOD, What.MOVE, What.MOVE),
)
_FAULTS = tuple(what for what in What if what not in _WORK)


def plan(seed: int) -> Schedule:
    """Return the schedule of a seed; the same one each time."""
    random = Random(seed)  # noqa: S311 - chooses what to try, keeps no secret
    limit_s = random.choice(LIMITS_S)
    length_s = 1.5 * limit_s + SKEW_S + random.uniform(10, 60)
    publishers, subscribers = random.choice((1, 2, 2, 3)), random.choice((1, 2, 2, 3))
    base = random.uniform(-SKEW_S, 0)
    steps = [_work(random, length_s) for _ in range(random.randint(2, 7))]
    steps += [_fault(random, length_s) for _ in range(random.randint(0, 6))]
    if random.random() < TOGETHER:
        steps += _held_up(random, length_s)
    if random.random() < TOGETHER:
        steps += _crossing(random, length_s)
    if random.random() < TOGETHER:
        steps += _booted_ahead(random, length_s)
    if random.random() < TOGETHER:
        steps += _old_copy(random, length_s)
    steps = _without(_without(steps, _WRONG, _HOLDS_HEADS | _FORGETS), _FORGETS, _LOSES)
    return Schedule(
        seed=seed,
        publishers=publishers,
        subscribers=subscribers,
        brokers=random.choice(BROKERS),
        limit_s=limit_s,
        heartbeat_s=limit_s / 4,
        delay_s=random.choice((0.005, 0.05, 0.5)),
        offsets_s=tuple(
            round(random.uniform(base, base + SKEW_S), 1) for _ in range(publishers + subscribers)
        ),
        badge_age_s=random.choice((0, 0, TTL_S - 100)),
        quota=random.choice((DEFAULT_QUOTA, DEFAULT_QUOTA, 4)),
        length_s=round(length_s, 1),
        steps=tuple(sorted(steps, key=lambda step: step.at)),
    )


def _without(steps: list[Step], where: Collection[What], never: Collection[What]) -> list[Step]:
    """Leave out what no protection could stand together."""
    if not any(step.what in where for step in steps):
        return steps
    return [step for step in steps if step.what not in never]


def _work(random: Random, length_s: float) -> Step:
    # The first third sees the most: what is killed late cannot be hidden for long.
    at = length_s * random.random() ** 2
    return Step(
        at=round(at, 1),
        what=random.choice(_WORK),
        who=random.randrange(6),
        other=random.randrange(VICTIMS),
        amount=round(random.random(), 2),
    )


def _fault(random: Random, length_s: float) -> Step:
    what = random.choice(_FAULTS)
    at = length_s * random.random() ** 2
    whole = length_s - at if random.random() < 0.3 else random.uniform(1, length_s / 2)  # noqa: PLR2004
    return Step(
        at=round(at, 1),
        what=what,
        who=random.randrange(6),
        other=random.randrange(6),
        lasts_s=round(whole, 1),
        amount=_AMOUNTS.get(what, _share)(random),
    )


def _held_up(random: Random, length_s: float) -> list[Step]:
    """All heads late, and one wall clock set back by about as much: each alone is harmless."""
    at, late_s = round(length_s * random.random() ** 2, 1), round(random.uniform(100, 400), 1)
    lasts_s = round(length_s - at, 1)
    who, amount = random.randrange(6), round(late_s / max(lasts_s, late_s), 3)
    return [
        *(Step(at, What.LATE_HEADS, broker, lasts_s=lasts_s, amount=amount) for broker in (0, 1)),
        Step(at, What.SUBSCRIBER_CLOCK, who, lasts_s=lasts_s, amount=-late_s),
    ]


def _crossing(random: Random, length_s: float) -> list[Step]:
    """A kill, and later at one moment its end by another publisher and a move or a repeat of it."""
    at, other = round(length_s * random.random() ** 2 / 2, 1), random.randrange(VICTIMS)
    later = round(at + random.uniform(1, length_s / 4), 1)
    end = Step(later, What.RETRACT, 1, other)
    kill = Step(at, What.KILL, 0, other, amount=0.5)
    if random.random() < 0.5:  # noqa: PLR2004 - either
        return [kill, Step(later, What.MOVE, 0), end]
    return [kill, end, Step(later, What.KILL, 0, other, amount=0.5)]


def _booted_ahead(random: Random, length_s: float) -> list[Step]:
    """A badge is killed, then all hosts start with clocks that are hours ahead for a while."""
    at = round(length_s * random.random() / 2, 1)
    badge = random.randrange(len(AGENTS) * 2, len(AGENTS) * 4)
    return [
        Step(round(at / 2, 1), What.KILL, random.randrange(6), badge, amount=0.5),
        Step(at, What.BOOT_CLOCK, lasts_s=30.0, amount=random.choice((400.0, 7200.0, 86_400.0))),
    ]


def _old_copy(random: Random, length_s: float) -> list[Step]:
    """Kills, of which a copy of the spool has the first; a subscriber starts again behind it."""
    at, who = round(length_s * random.random() / 4, 1), random.randrange(6)
    kills = [Step(at + n, What.KILL, 0, random.randrange(VICTIMS), amount=0.5) for n in range(3)]
    return [
        kills[0],
        Step(at + 0.9, What.OLD_SPOOL, lasts_s=round(length_s / 2, 1)),
        *kills[1:],
        Step(round(at + length_s / 2 + 5, 1), What.SUBSCRIBER_DOWN, who, lasts_s=1.0),
    ]


def _share(random: Random) -> float:
    return round(random.random(), 2)


def _jump(random: Random) -> float:
    return random.choice(JUMPS_S)


def _wrong(random: Random) -> float:
    return random.choice(WRONG_S)


_AMOUNTS: dict[What, Callable[[Random], float]] = {
    What.SUBSCRIBER_CLOCK: _jump,
    What.BOOT_CLOCK: _wrong,
    What.CLOCK_STEP: _wrong,
}
