"""What publishers are asked to do in a run: kill, reinstate, retract."""

from collections.abc import Callable

import msgspec

from rescind.testing.clock import START
from rescind.testing.sim.cast import AGE_S, TTL_S, victims
from rescind.testing.sim.publishers import Publisher
from rescind.testing.sim.schedule import Step, What
from rescind.testing.sim.world import World
from rescind_protocol import targets
from rescind_protocol.changes import Kill, Revocation
from rescind_protocol.limits import BADGE_KILL_MARGIN_S
from rescind_protocol.targets import Kind, Target
from rescind_publisher import plans
from rescind_publisher.errors import BadRequest, NothingLive
from rescind_publisher.requests import EndRequest

MANY = 3
REPEATS = 4
FLOODED = 100
"""Quotas below this are filled; a greater one would take a schedule's time."""
FLOOD_S = 30
"""How long the kills last that fill a quota."""
_BRIEF = 0.15
_CUT = 0.85


def do(world: World, step: Step) -> None:
    """Let a publisher do one thing, if it runs."""
    publisher = world.publishers[step.who % len(world.publishers)]
    if publisher.up:
        _WORK[step.what](world, publisher, step, _victim(world, step.other))


def _victim(world: World, number: int) -> Target:
    found = victims(world.schedule.badge_age_s)
    return found[number % len(found)]


def _kill(world: World, publisher: Publisher, step: Step, target: Target) -> None:
    publisher.say(_made(world, publisher, step, target))


def _kill_many(world: World, publisher: Publisher, step: Step, _: Target) -> None:
    publisher.say(
        *(_made(world, publisher, step, _victim(world, step.other + n)) for n in range(MANY))
    )


def _made(world: World, publisher: Publisher, step: Step, target: Target) -> Kill:
    issued = int(START) - world.schedule.badge_age_s
    expires_at = None
    if step.amount < _BRIEF:
        expires_at = int(publisher.clock.wall() + 1 + step.amount * 10 * world.schedule.limit_s)
    elif target.kind is Kind.BADGE:
        expires_at = issued + TTL_S + BADGE_KILL_MARGIN_S  # (I8)
    # Only the older badge of each agent, by its `iat`.
    before = issued - AGE_S // 2 if step.amount > _CUT else None
    return Kill(target=target, expires_at=expires_at, issued_before=before)


def _end(world: World, publisher: Publisher, step: Step, target: Target) -> None:
    retract = step.what is What.RETRACT or target.kind is Kind.BADGE
    request = EndRequest(target=target, retract=retract)
    try:
        plan = plans.end(request, _live(world, publisher, target), now=publisher.clock.wall())
    except (NothingLive, BadRequest):
        return
    publisher.say(*plan.changes)


def _live(world: World, publisher: Publisher, target: Target) -> set[Revocation]:
    """What the publisher knows: its own, and what the follower beside it has heard of others."""
    beside = world.subscribers[world.publishers.index(publisher) % len(world.subscribers)]
    found = beside.view.published.table.get(target.digest)
    return {*publisher.ledger.live(target), *(found.revocations if found else ())}


def _repeat(world: World, publisher: Publisher, step: Step, target: Target) -> None:
    for n in range(REPEATS):
        kill = _made(world, publisher, step, target)
        publisher.say(*(msgspec.structs.replace(kill, actor=f"rule {n}") for n in range(n + 1)))


def _flood(world: World, publisher: Publisher, step: Step, target: Target) -> None:
    full = not world.schedule.quota < FLOODED
    for n in range(0 if full else world.schedule.quota):
        until = int(publisher.clock.wall() + FLOOD_S)
        publisher.say(Kill(target=targets.session(f"nobody-{step.at}-{n}"), expires_at=until))
    publisher.say(_made(world, publisher, step, target))


def _move(_: World, publisher: Publisher, __: Step, ___: Target) -> None:
    publisher.move()


_WORK: dict[What, Callable[[World, Publisher, Step, Target], None]] = {
    What.KILL: _kill,
    What.KILL_MANY: _kill_many,
    What.REINSTATE: _end,
    What.RETRACT: _end,
    What.REPEAT: _repeat,
    What.FLOOD: _flood,
    What.MOVE: _move,
}
WORK = frozenset(_WORK)
