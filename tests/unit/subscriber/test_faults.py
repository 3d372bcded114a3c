"""Each fault by its name: seen, counted, said once, and what heals it heals it."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from rescind_protocol import events
from rescind_protocol import trust as trusts
from rescind_protocol.changes import Kill, Retract
from rescind_protocol.events import VERSION
from rescind_protocol.join import Replica
from rescind_protocol.targets import Kind
from rescind_protocol.trust import Rights, Trust
from rescind_subscriber import subscriber as module
from rescind_subscriber.faults import SAY_AGAIN_S, TABLE, Fault, Faults
from rescind_subscriber.subscriber import Subscriber
from tests.fakes.clock import FakeClock
from tests.fakes.fabric import (
    NOW,
    SECOND,
    STRANGER,
    Log,
    event_claims,
    head_of,
    make_trust,
    next_trust,
    sign_claims,
    sign_head,
    trust_file,
)
from tests.fakes.following import QUICK, Followed, following, kills, victim
from tests.fakes.shelf import ShelfSource
from tests.fakes.source import ScriptedSource
from tests.fakes.step import Step, trust_of
from tests.fakes.waiting import until, wait_until
from tests.unit.subscriber.test_cold import image_of
from tests.unit.subscriber.test_memory import NAME

OFTEN = replace(QUICK, reread_every_s=0.02)


def live_sum(log: Log) -> int:
    """Return what an honest head of this log says of its live kills."""
    replica = Replica()
    for raw in log.raws:
        replica.apply(events.authenticate(raw, make_trust()))
    return replica.live_sum([log.id])


class World:
    """A follower that is fresh and knows three kills, its source, and the log behind them."""

    def __init__(self, at: Followed, source: ShelfSource, log: Log) -> None:
        self.at, self.source, self.log = at, source, log

    def head(self) -> None:
        """Let the log's own head be heard, a second after the last."""
        self.bent_head()

    def store(self, count: int = 1) -> list[bytes]:
        """Store kills that nobody hears."""
        self.source.stored += (raws := kills(self.log, count))
        return raws

    def look(self) -> None:
        """Let the follower look at its state."""
        self.at.follower._vigil.look()

    def bent_head(self, **changes: object) -> None:
        """Let a head of a second later be heard that differs from the true one."""
        self.at.clock.pass_s(1)
        said = head_of(self.log, time_s=self.at.clock.wall(), live=live_sum(self.log))
        self.source.head_raw(sign_head(replace(said, **changes)))


Act = Callable[[World], object]


class Case(NamedTuple):
    """How a fault comes about, which words say it, and what heals it."""

    inflict: Act
    said: str
    heal: Act = World.head
    heals: bool = True
    trust: Trust = make_trust()

    def known(self, log: Log) -> list[int]:
        """Return which kills must be in force in the end: all that nobody took back."""
        made = range(1, len(log.raws) + 1)
        return [n for n in made if self.heal is not make_room or n in (2, 3, 4)]


def gap(world: World) -> None:
    """Let the second of two events be heard."""
    world.source.say(world.store(2)[1])


def lost_tail(world: World) -> None:
    """Let a head be heard that names an event which was not."""
    world.store()
    world.source.withheld = 1
    world.head()


def show(world: World) -> None:
    """Let the store show everything, and ask for it by a new connection."""
    world.source.withheld, world.source.outage = 0, ""
    world.source.mend()


def fork(world: World) -> None:
    """Write the log's next event twice."""
    branch = world.log.branch(3)
    world.source.say(*world.store(), branch.write(Kill(target=victim(99))))


def wrong_digest(world: World) -> None:
    """Sign a head over another third event: a copy of the spool lives on somewhere."""
    branch = world.log.branch(2)
    branch.write(Kill(target=victim(98)))
    world.at.clock.pass_s(1)
    world.source.head(branch, time_s=world.at.clock.wall())


def cloned(world: World) -> None:
    """Let heads of two runs be heard by turns."""
    twin = Log(run="run on a clone")
    for log in (twin, world.log, twin, world.log):
        world.at.clock.pass_s(1)
        world.source.head(log, time_s=world.at.clock.wall())


def purged(world: World) -> None:
    """Take all from the store, and give the connection a reason to be read again."""
    world.source.stored.clear()
    world.source.mend()


def purged_then_filled(world: World) -> None:
    """As a publisher does that notices."""
    world.source.stored[:] = world.log.raws
    world.source.mend()


def trimmed(world: World) -> None:
    """Let the store begin behind the cursor."""
    world.source.trimmed = True
    world.source.mend()


def replaced(world: World) -> None:
    """Put another publisher's events where ours lay."""
    other = Log(key=SECOND, publisher="soc-b")
    world.source.stored[:] = [other.write(Kill(target=victim(50 + n))) for n in range(4)]
    world.source.mend()


def left_out(world: World) -> None:
    """Let the store hand out damaged bytes for an event once, and the cursor move past it."""
    world.store(2)
    world.source.stored[-2] = b"damaged"
    world.head()


def put_back(world: World) -> None:
    """Let the store be whole."""
    world.source.stored[-2] = world.log.raws[-2]


def over_quota(world: World) -> None:
    """Kill a fourth target with a quota of three."""
    world.source.say(*world.store())


def make_room(world: World) -> None:
    """Take the first kill back."""
    name = Log(run=world.log.run).next_id()
    world.source.stored.append(world.log.write(Retract(target=victim(1), names=(name,))))
    world.source.mend()


def no_head_for(seconds: float) -> Act:
    """Let time go by in silence."""

    def silence(world: World) -> None:
        world.at.clock.pass_s(seconds)
        world.look()

    return silence


def headed(world: World) -> None:
    """A head, and a look at the state."""
    world.head()
    world.look()


def unreadable_store(world: World) -> None:
    """Let the store fail when it is read."""
    world.source.outage = "the disk of the broker is gone"
    world.source.mend()


def damaged_snapshot(world: World) -> None:
    """Let the stream be gone and its snapshot be bent."""
    world.source.slots.bend(world.source.shelve(image_of(world.log, 3)))
    purged(world)


def bad_listener(world: World) -> None:
    """Let an observer raise."""

    def broken(_: object) -> None:
        raise KeyError("dashboard")

    world.at.follower.reconciler.on_applied.append(broken)
    world.source.say(*world.store())


def say(*raws: bytes) -> Act:
    """Let these events be heard."""
    return lambda world: world.source.say(*raws)


def unreadable(world: World) -> None:
    """Let a trusted key speak a newer language."""
    world.source.say(sign_claims(event_claims(world.log, []) | {"ver": VERSION + 1}))


def void(world: World) -> None:
    """Let a publisher kill an agent that has no right to."""
    other = Log(key=SECOND, publisher="soc-b")
    world.source.say(other.write(Kill(target=victim(97))))


def two_histories(world: World) -> None:
    """Let two different versions 2 of the trust file be heard, both by the root."""
    fork = next_trust(make_trust(), keys={SECOND.kid: None})
    world.source.say(next_trust(make_trust()), fork)


def revoked_wholly(world: World) -> None:
    """Let the other publisher's kill be heard, and then that its key is revoked."""
    other = Log(key=SECOND, publisher="soc-b").write(Kill(target=victim(95)))
    version = next_trust(make_trust(), cuts={SECOND.kid: {}})
    world.source.stored += [other, version]
    world.source.say(other, version)


CUT = trusts.extend(make_trust(), next_trust(make_trust(), cuts={SECOND.kid: {}}))
FEW = make_trust(rights=replace(trust_file().keys[0].rights, quota=3))
NARROW = trust_of(
    replace(
        trust_file(),
        keys=tuple(
            replace(key, rights=Rights(kill=(Kind.BADGE,))) if key.publisher == "soc-b" else key
            for key in trust_file().keys
        ),
    )
)
EXPIRES = trust_of(
    replace(
        trust_file(),
        keys=tuple(
            replace(key, not_after=NOW + 5) if key.publisher == "soc" else key
            for key in trust_file().keys
        ),
    )
)


def clock_was_ahead(world: World) -> None:
    """Heads of years ahead counted, for this host agreed; then its clock was set right."""
    world.at.follower.reconciler.remember_heads({head_of(world.log).publisher: NOW + 9e7})
    world.bent_head()


def clock_ahead(world: World) -> None:
    """Set this host's clock ahead; heads come as quickly as before."""
    now = world.at.clock.wall()
    world.at.clock.wall_s += 7200
    world.bent_head(time_s=now + 1)


def set_right(world: World) -> None:
    """Set it right."""
    world.at.clock.wall_s -= 7200
    world.head()


def set_back_and_held_up(world: World) -> None:
    """Set this host's clock back by as much as its heads come late."""
    world.at.clock.pass_s(400)
    world.at.clock.wall_s -= 390
    world.bent_head()


def right_again(world: World) -> None:
    """Set it right; heads come at once."""
    world.at.clock.wall_s += 390
    world.head()


def horizon_jumps(world: World) -> None:
    """Sign a horizon that moves faster than time."""
    world.bent_head(horizon=NOW - 1000)
    world.bent_head(horizon=NOW - 60)


CASES = {
    Fault.GAP: Case(gap, "the one before it did not"),
    Fault.LOST_TAIL: Case(lost_tail, "names events that have not come", show),
    Fault.FORK: Case(fork, "two histories", heals=False),
    Fault.TWO_HOSTS: Case(cloned, "used on two hosts"),
    Fault.WRONG_DIGEST: Case(wrong_digest, "than the one applied here"),
    Fault.WRONG_SUM: Case(lambda w: w.bent_head(live=12345), "sum of live kills differs"),
    Fault.STREAM_REWOUND: Case(purged, "reading it again", purged_then_filled),
    Fault.STREAM_TRIMMED: Case(trimmed, "reading it again", purged_then_filled),
    Fault.STREAM_REPLACED: Case(replaced, "other bytes lie at 3", purged_then_filled),
    Fault.STILL_MISSING: Case(left_out, "missing still", put_back),
    Fault.FORGED: Case(say(Log(key=STRANGER).write(Kill(target=victim(96)))), "event rejected"),
    Fault.MALFORMED: Case(say(b"garbage"), "event rejected"),
    Fault.UNREADABLE: Case(unreadable, "upgrade this program", heals=False),
    Fault.VOID: Case(void, "no right to", trust=NARROW),
    Fault.OVER_QUOTA: Case(over_quota, "over its quota", make_room, trust=FEW),
    Fault.HEAD_AHEAD: Case(lambda w: w.bent_head(time_s=NOW + 9e5), "do not count: ahead"),
    Fault.CLOCK_WENT_BACK: Case(clock_was_ahead, "do not count: clock_went_back", heals=False),
    Fault.HEAD_BEHIND: Case(clock_ahead, "ahead, or theirs is behind", set_right),
    Fault.CLOCK_DOUBTED: Case(set_back_and_held_up, "count as held up", right_again),
    Fault.HORIZON_AHEAD: Case(horizon_jumps, "than time was measured here"),
    Fault.HEAD_KEY_EXPIRED: Case(
        lambda w: w.bent_head(time_s=NOW + 30), "key_expired", trust=EXPIRES
    ),
    Fault.HEAD_NEWER_TRUST: Case(lambda w: w.bent_head(trust=2), "newer_trust"),
    Fault.BEYOND_CUT: Case(
        say(Log(key=SECOND, publisher="soc-b").write(Kill(target=victim(96)))),
        "is revoked",
        trust=CUT,
    ),
    Fault.TRUST_BROKEN: Case(two_histories, "is not newer"),
    Fault.REBUILDING: Case(revoked_wholly, "void in part"),
    Fault.HEADS_LATE: Case(no_head_for(4), "the view is LAGGING, it was LIVE", headed),
    Fault.STALE: Case(no_head_for(301), "the view is STALE, it was LIVE", headed),
    Fault.SOURCE_LOST: Case(lambda w: w.source.cut("reset"), "source memory: reset", show),
    Fault.STORE_UNREADABLE: Case(unreadable_store, "the disk of the broker", show),
    Fault.SNAPSHOT_DAMAGED: Case(damaged_snapshot, "is damaged", purged_then_filled),
    Fault.LISTENER: Case(bad_listener, "dashboard"),
}
ELSEWHERE = {Fault.LOCAL_SNAPSHOT, Fault.TRUST_UNKEPT, Fault.CRASHED}
"""Tests of their own, below and in `test_trust_kept`: these concern a process, not a stream."""


def test_every_fault_has_a_case_and_a_row() -> None:
    """None is forgotten: not here, not in the table that the documents show."""
    assert set(CASES) | ELSEWHERE == set(Fault)
    assert [row.fault for row in TABLE] == list(Fault)


async def ready(at: Followed, source: ShelfSource, log: Log) -> World:
    """Return the world once all is known, proven and looked at."""
    await until(lambda: at.denies(victim(3)))
    world = World(at, source, log)
    world.head()
    world.look()
    assert world.at.age_s == 0
    assert not at.follower.faults.counts.read()
    return world


@pytest.mark.parametrize("fault", CASES)
async def test_a_fault_is_named_counted_said_and_healed(
    fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    """Seen: the metric and one line have its name. Healed: every kill denies, the view is fresh."""
    case, source, log = CASES[fault], ShelfSource(), Log()
    source.stored = kills(log, 3)
    async with following(source, trust=case.trust, config=OFTEN) as at:
        world = await ready(at, source, log)
        case.inflict(world)
        counts = at.follower.faults.counts
        await until(lambda: counts.read().get(fault))
        lines = [r.getMessage() for r in caplog.records if r.getMessage().startswith(f"{fault}: ")]
        assert len(lines) == 1
        assert case.said in lines[0]
        assert at.denies(*map(victim, range(1, 4)))
        world.source.trimmed = False
        case.heal(world)
        if not case.heals:
            world.head()
            assert at.age_s > 0
            return
        await until(lambda: at.denies(*map(victim, case.known(log))))
        world.head()
        await until(lambda: at.age_s == 0)
        seen, read = counts.read()[fault], len(source.reads)
        await until(lambda: len(source.reads) > read + 2)
        assert counts.read()[fault] == seen  # it is over


@pytest.mark.parametrize("sources", [1, 2])
def test_a_flood_is_counted_and_not_written(caplog: pytest.LogCaptureFixture, sources: int) -> None:
    """A kind is said once in ten minutes, for each source, and then how often it came."""
    clock = FakeClock()
    faults = Faults(clock)
    for number in range(1000):
        faults.note(Fault.FORGED, f"event {number}", about=f"source {number % sources}")
    assert faults.counts.read() == {"forged": 1000}
    assert len(caplog.records) == sources
    clock.pass_s(SAY_AGAIN_S)
    faults.note(Fault.FORGED, "event 1000", about="source 0")
    assert f"{1000 // sources - 1} more since the last time" in caplog.messages[-1]


def test_a_gap_before_the_first_proof_is_no_fault() -> None:
    """A subscriber that starts hears the present before it has read the past."""
    step = Step()
    raws = kills(step.log, 3)
    assert step.at.event(raws[2])
    assert step.at.head(sign_head(head_of(step.log)))
    assert step.at.faults.counts.read() == {}
    step.at.batch(raws)
    assert step.age_s == 0


async def test_a_damaged_local_snapshot_is_named(tmp_path: Path) -> None:
    """What a restart cannot remember is said, and all is read again."""
    source, log = ScriptedSource(), Log()
    source.stored = kills(log, 2)
    async with following(source, folder=tmp_path) as at:
        await until(lambda: at.denies(victim(2)))
        await at.end()
    (tmp_path / NAME).write_bytes(b"")
    async with following(source, folder=tmp_path) as at:
        await until(lambda: at.denies(victim(2)))
        assert at.follower.faults.counts.read() == {Fault.LOCAL_SNAPSHOT: 1}


def test_a_crash_is_named_and_its_count_outlives_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The follower that starts anew counts on: an alarm on the growth of faults sees the crash."""
    monkeypatch.setattr(module, "RESTART_WAIT_S", 0.01)
    source = ScriptedSource()
    source.breaks = RuntimeError("a bug")
    with Subscriber(make_trust(), lambda: [source], config=QUICK) as at:
        wait_until(lambda: source.starts == 2)
        wait_until(lambda: at.status().sources == {"memory": ""})
        assert at.status().faults[Fault.CRASHED] == 1
    assert "crashed: the subscriber: it crashed and starts again" in caplog.text
