"""When a subscriber reports, and what: fast in a small fleet, in a large one never a storm."""

import asyncio
import random
from itertools import pairwise
from math import isclose

import pytest
from msgspec.structs import replace

from rescind_guard.passed import PassedCalls
from rescind_protocol import events, reports
from rescind_protocol.changes import Effect, Kill, Retract
from rescind_protocol.join import Replica
from rescind_protocol.reports import Report
from rescind_protocol.targets import agent
from rescind_publisher.roster import Roster
from rescind_publisher.tally import Tally, Wanted
from rescind_subscriber import reporting
from rescind_subscriber.config import SubscriberConfig
from rescind_subscriber.errors import SourceUnavailable
from rescind_subscriber.listeners import Merged
from rescind_subscriber.reporting import Condition, Reporting, Self
from rescind_subscriber.subscriber import Subscriber
from tests.fakes.badges import AGENT, Scene
from tests.fakes.fabric import PUBLISHER, Log, head_of, log_id, make_trust, sign_head
from tests.fakes.following import QUICK, following, kills, victim
from tests.fakes.shelf import ShelfSource
from tests.fakes.source import ScriptedSource
from tests.fakes.waiting import until

ME = Self("eu-1", "a.example", "r1", 7, "0.1.0")


def step(calls: PassedCalls | None = None, *, latest: bool = True) -> Reporting:
    """Return a step at time 0 that always draws the latest, or the earliest, moment."""
    uniform = (lambda _, high: high) if latest else (lambda low, _: low)
    made = Reporting(ME, calls or PassedCalls(), now=0.0, every_s=30.0, uniform=uniform)
    made.report(Condition("LIVE", 0.0, {}), now=1.0, wall=1e9)
    return made


def say(made: Reporting, now: float, logs: dict[str, int] | None = None) -> Report:
    """Return the report made now."""
    return made.report(Condition("LIVE", 0.5, logs or {}), now=now, wall=1e9)


@pytest.mark.parametrize(
    ("fleet", "within_s"), [(0, 0.0), (12, 0.0024), (300, 0.06), (10_000, 2.0)]
)
def test_the_spread_grows_with_the_fleet(fleet: int, within_s: float) -> None:
    """A dozen answer at once; ten thousand take two seconds, and no more a second than 5000."""
    made, log = step(), Log()
    made.headed(replace(head_of(log), fleet=fleet), 10.0)
    say(made, 10.0)
    made.applied(log.event(Kill(target=victim(1))), 20.0)
    assert isclose(made.due_at - 20.0, reporting.HOLD_S + within_s, abs_tol=1e-9)


def test_a_storm_of_kills_makes_one_report() -> None:
    """Whatever is applied while a report is due goes with it; drawing again would hurry it."""
    made, log = step(), Log()
    made.fleet = 5000
    made.applied(log.event(Kill(target=victim(0))), 20.0)
    due_at = made.due_at
    for n in range(1, 100):
        made.applied(log.event(Kill(target=victim(n))), 20.0 + n / 1000)
    assert made.due_at == due_at == 21.0 + reporting.HOLD_S
    said = say(made, due_at, {log.id: 100})
    assert said.logs == {log.id: 100}
    assert [each.seq for each in said.applied] == list(range(100, 84, -1))


def test_one_subscriber_never_reports_twice_at_once() -> None:
    """Even alone in its fleet, with kills without end."""
    made, log, times = step(latest=False), Log(), []
    now = 20.0
    for n in range(300):
        made.applied(log.event(Kill(target=victim(n))), now)
        if now >= made.due_at:
            say(made, now)
            times.append(now)
        now += 0.001
    assert min(b - a for a, b in pairwise(times)) >= reporting.QUIET_S
    assert len(times) == 6


def test_ten_thousand_answers_stay_below_the_limit() -> None:
    """Drawn as it is in earnest: in no tenth of a second more than its share and a fifth."""
    steps = [
        Reporting(ME, PassedCalls(), now=0.0, every_s=30.0, uniform=random.Random(n).uniform)  # noqa: S311
        for n in range(10_000)
    ]
    event, counts = Log().event(Kill(target=victim(1))), [0] * 21
    for each in steps:
        say(each, 0.5)
        each.fleet = len(steps)
        each.applied(event, 10.0)
        counts[int((each.due_at - 10.0) * 10)] += 1
    assert max(counts) < 1.2 * reporting.REPORTS_PER_S / 10
    assert sum(counts) == 10_000


def test_it_shows_a_sign_of_life() -> None:
    """Half a minute on average, told in the report; longer where the fleet is too large for it."""
    made = step()
    assert made.due_at == 1.0 + 30 * 1.25
    assert say(made, 40.0).next_ms == 37_500
    made.fleet = 200_000
    assert made.every_s == 40.0


def test_a_publisher_that_starts_calls_the_roll() -> None:
    """Its first heads ask for a report each, of which one may be lost; the fourth asks for none."""
    made, log = step(), Log()
    for now, count in ((5.0, 1), (7.0, 2), (9.0, 3)):
        made.headed(replace(head_of(log), count=count), now)
        assert made.due_at == now + reporting.ROLL_CALL_S
        say(made, made.due_at)
    made.headed(replace(head_of(log), count=4), 11.0)
    assert made.due_at > 40


def test_a_change_of_state_is_told() -> None:
    """What was reported as it synchronised does not stay so on the roster."""
    made = step()
    made.stated("LIVE", 2.0)
    assert made.due_at > 30
    made.stated("LAGGING", 3.0)
    assert made.due_at == 4.0


def test_a_restarted_publisher_does_not_make_the_fleet_small() -> None:
    """It has heard of nobody: the greater size counts for two minutes more."""
    made, log = step(), Log()
    big, none = (replace(head_of(log), fleet=size) for size in (10_000, 0))
    made.headed(big, 10.0)
    made.headed(none, 20.0)
    assert made.fleet == 10_000
    made.headed(none, 10.0 + reporting.FLEET_KEPT_S + 1)
    assert made.fleet == 0


def test_an_application_is_told_for_a_minute() -> None:
    """One report may be lost; after a minute the vector alone says it."""
    made, log = step(), Log()
    made.applied(log.event(Kill(target=victim(1))), 10.0)
    assert say(made, 10.5).applied[0].ago_ms == 500
    assert say(made, 70.0).applied[0].ago_ms == 60_000
    assert say(made, 70.1).applied == ()


def test_the_logs_that_moved_last_come_first() -> None:
    """A subscriber of hundreds of logs reports those that anybody may wait for."""
    made, log = step(), Log()
    logs = {log_id(PUBLISHER, f"old {n}"): n for n in range(200)} | {log.id: 1}
    made.applied(log.event(Kill(target=victim(1))), 10.0)
    said = say(made, 11.0, logs)
    assert next(iter(said.logs)) == log.id
    assert len(said.logs) == 64
    assert said.more_logs == 201 - 64


def test_exposure_goes_with_the_kill() -> None:
    """Calls before the kill, by the same guard's view; none for what stops no use."""
    scene = Scene()
    guard, token = scene.guard(), scene.issuer.badge()
    for _ in range(7):
        guard.check(token)
    made, log = step(scene.revocations.view.passed), Log()
    at = scene.clock.boot() + 0.020
    me = agent(AGENT)
    kill = log.event(Kill(target=me))
    suspend = log.event(Kill(target=me, effect=Effect.ISSUANCE))
    end = log.event(Retract(target=me, names=(log.next_id(),)))
    for event in (kill, suspend, end):
        made.applied(event, at)
    told = {each.seq: each.passed for each in say(made, at + 1).applied}
    assert told[1].within(25) == 7
    assert told[2].steps == told[3].steps == ()


def test_after_a_fork_the_parents_calls_are_not_the_childs() -> None:
    """Both would tell of them, and the receipt would count them twice."""
    scene = Scene()
    at = Subscriber(make_trust(), list, view=scene.revocations.view)
    scene.guard().check(scene.issuer.badge())
    assert len(at.view.passed) == 1
    at.after_fork()
    assert len(at.view.passed) == 0


def test_a_kill_inside_a_snapshot_is_reported_as_soon_as_any() -> None:
    """By its number in the vector, first of all logs; what had passed before it is not known."""
    made, log = step(), Log()
    logs = {log_id(PUBLISHER, f"old {n}"): n for n in range(200)} | {log.id: 3}
    made.applied(Merged({log.id: (range(1, 4),)}), 20.0)
    assert made.due_at == 20.0 + reporting.HOLD_S
    said = say(made, made.due_at, logs)
    assert next(iter(said.logs.items())) == (log.id, 3)
    assert said.applied == ()


# --- the loop ---


class Carrier(ScriptedSource):
    """A source that carries reports too."""

    def __init__(self) -> None:
        super().__init__()
        self.reports: list[Report] = []
        self.names: list[str] = []
        self.report_fails: BaseException | None = None

    async def report(self, subscriber: str, raw: bytes) -> None:
        """Take one, or fail as the script says."""
        if self.report_fails is not None:
            raise self.report_fails
        self.names.append(subscriber)
        self.reports.append(reports.read(raw))


async def test_what_was_applied_is_reported() -> None:
    """Each kill with its number, under the subscriber's name; and a goodbye at the end."""
    source, log = Carrier(), Log()
    source.stored = kills(log, 2)
    async with following(source) as at:
        await until(lambda: at.denies(victim(2)))
        at.clock.pass_s(5)  # the clock stands still: what is due by it comes now
        await until(lambda: source.reports and source.reports[-1].has(log.id, 2))
    assert set(source.names) == {QUICK.name}
    await until(lambda: source.reports[-1].state == reports.STOPPED)
    counts = [each.count for each in source.reports]
    assert counts == sorted(set(counts))


@pytest.mark.parametrize("fault", [SourceUnavailable("away"), ValueError("a bug")])
async def test_a_report_that_fails_stops_no_kill(fault: Exception) -> None:
    """Weather or a defect: the follower follows on, and reports again."""
    source, log = Carrier(), Log()
    source.report_fails = fault
    async with following(source) as at:
        await until(lambda: source.feed)
        at.clock.pass_s(5)
        reporting_loop = at.follower.reporting
        assert reporting_loop is not None
        await until(reporting_loop.counts.read)
        source.say(*kills(log, 1))
        assert at.denies(victim(1))
        assert not at.task.done()


async def test_a_source_that_cannot_report_is_a_source() -> None:
    """It is left out, and nothing else changes."""
    source, log = ScriptedSource(), Log()
    async with following(source) as at:
        await until(lambda: source.feed)
        at.clock.pass_s(5)
        source.say(*kills(log, 1))
        assert at.denies(victim(1))


class ShelfCarrier(Carrier, ShelfSource):
    """A source that carries reports and stores snapshots."""


async def test_a_kill_that_came_inside_a_snapshot_counts_for_the_receipt() -> None:
    """No event of it is stored any more: the report names it, and the publisher need not wait."""
    source, log, replica = ShelfCarrier(), Log(), Replica()
    for raw in kills(log, 2):
        replica.apply(events.authenticate(raw, make_trust()))
    roster = Roster()
    roster.listening(0.0, 0.0)
    async with following(source) as at:
        await until(lambda: source.feed)
        at.clock.pass_s(5)
        await until(lambda: source.reports)  # the next is due in half a minute
        source.shelve(replica.image())
        source.head_raw(sign_head(replace(head_of(log), count=9)))  # it calls no roll
        await until(lambda: at.denies(victim(2)))
        tally = Tally(roster, (Wanted(log.id, 2, 2),), 0.0)
        at.clock.pass_s(0.1)
        await until(lambda: source.reports[-1].has(log.id, 2))
        roster.heard(reports.make(source.reports[-1]), 1.0, 0.0)
        assert tally.applied(1.0).complete


async def test_what_guards_nothing_does_not_report() -> None:
    """A command's short subscription, or a publisher's own, is nobody to wait for."""
    source = Carrier()
    config = SubscriberConfig(reports=False)
    async with following(source, config=config) as at:
        await until(lambda: source.feed)
        at.clock.pass_s(500)
        await asyncio.sleep(0)
        assert at.follower.reporting is None
    assert source.reports == []
