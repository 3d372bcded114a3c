"""Kills of old logs said again: one event for both, in force all the while, heads small."""

from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import pytest

from rescind_protocol import events
from rescind_protocol.changes import Change, Kill, Reinstate, Retract, Revocation, RevocationId
from rescind_protocol.events import Event
from rescind_protocol.join import Replica
from rescind_protocol.table import Table
from rescind_publisher import chain, moving, plans
from rescind_publisher import ledger as ledger_module
from rescind_publisher.chain import Chain, Numbered
from rescind_publisher.moving import groups
from rescind_publisher.requests import EndRequest
from rescind_subscriber.capture import Captured
from rescind_subscriber.memory import positions_of
from tests.fakes.fabric import NOW, SECOND, Log, make_trust
from tests.fakes.publishing import VOICE, target
from tests.unit.publisher.test_ledger import Bench, restarts

TRUST = make_trust()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A ledger ready to use."""
    bench = Bench(tmp_path)
    yield bench
    bench.spool.close()


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """So few old logs are too many that a test need not open dozens."""
    monkeypatch.setattr(moving, "OLD_LOGS", 3)
    monkeypatch.setattr(moving, "LEAVE", 1)
    monkeypatch.setattr(ledger_module, "SPENT_LOGS_HEADED", 0)


def anything(change: Change) -> bool:
    """Permit everything."""
    del change
    return True


def captured(replica: Replica) -> Captured:
    """What a subscriber with this state knows."""
    return Captured(positions_of(replica), replica.table, {}, 1)


def move(bench: Bench, followed: Replica | None = None) -> list[Numbered]:
    """Move once, and let the subscriber hear of it."""
    known = captured(bench.other if followed is None else followed)
    made = bench.ledger.move(known, anything, bench.handed.extend)
    for each in made:
        bench.other.apply(events.authenticate(each.raw, TRUST))
    return made


def dead(table: Table) -> set[bytes]:
    """Return the targets that are denied."""
    return {digest for digest, entry in table.items() if entry.revocations}


def test_few_old_logs_are_left_alone(bench: Bench) -> None:
    """Up to the bound heads are small enough; one log more is too many."""
    live = {
        f"log {n}": [Revocation(RevocationId(f"log {n}", 1, 0), Kill(target=target(n)), NOW)]
        for n in range(moving.OLD_LOGS + 1)
    }
    assert moving.chosen(live, "log 0", 10**6) == []
    some = moving.chosen(live, "current", 10**6)
    assert len(some) == moving.OLD_LOGS + 1 - moving.LEAVE
    assert moving.chosen(live, "current", 5) == some[:5]  # the key's quota
    restarts(bench, 3, None)
    assert move(bench) == []


@pytest.mark.usefixtures("few")
def test_moved_kills_deny_and_their_logs_are_closed(bench: Bench) -> None:
    """Every target stays dead, the head names fewer logs, and a restart changes nothing."""
    old = restarts(bench, 6, None)
    before = dead(bench.other.table)
    made = move(bench)
    assert made
    assert dead(bench.other.table) == before
    assert len(before) == 6
    assert bench.ledger.review(old, durable=len(made)) == []
    assert len(bench.head().logs) == 2
    assert bench.agrees()
    assert len(bench.ledger.review(old, durable=len(made), shelved=dict.fromkeys(old, 1))) == 5
    bench.reopen()
    assert {d for n in range(9) for d in [target(n).digest] if bench.ledger.live(target(n))} == (
        before
    )
    assert move(bench) == []


@pytest.mark.usefixtures("few")
def test_an_old_log_stays_in_heads_until_every_sink_has_the_new_kill(bench: Bench) -> None:
    """Durable first, then closed."""
    old = restarts(bench, 6, None)
    made = move(bench)
    bench.ledger.review(old, durable=len(made) - 1)
    assert set(bench.head().logs) == {*old, bench.ledger.log}
    bench.ledger.review(old, durable=len(made))
    assert len(bench.head().logs) == 2


def alive_meanwhile(batches: list[tuple[Change, ...]], kill: bytes) -> bool:
    """Whether the target lives at any moment of any order in which events can come."""
    log = Log()
    old = log.event(Kill(target=target(1)))
    run = Chain(VOICE)
    moved = [events.authenticate(n.raw, TRUST) for n in run.number(batches, NOW)]
    return any(_alive([old, *order], kill) for order in permutations(moved))


def _alive(order: list[Event], kill: bytes) -> bool:
    replica = Replica()
    for event in order:
        replica.apply(event)
        if kill not in dead(replica.table):
            return True
    return False


def test_no_order_of_arrival_shows_a_dead_target_alive() -> None:
    """The end and the new kill come together. Control: in two events there is such a moment."""
    old = Revocation(RevocationId(Log().id, 1, 0), Kill(target=target(1)), NOW)
    pairs = list(groups([old], None, anything))
    assert [type(change) for change in pairs[0]] == [Kill, Retract]
    digest = target(1).digest
    assert not alive_meanwhile(list(chain.bundles(pairs)), digest)
    assert alive_meanwhile([(change,) for change in pairs[0]], digest)


def test_a_pair_is_never_split() -> None:
    """However events fill up, by count or by size."""
    kills = [
        Revocation(
            RevocationId(Log().id, n + 1, 0),
            Kill(target=target(n), reason_admin="x" * (n % 7) * 100),
            NOW,
        )
        for n in range(5000)
    ]
    batches = list(chain.bundles(groups(kills, None, anything)))
    assert len(batches) > 2
    for batch in batches:
        assert [type(c) for c in batch] == [Kill, Retract] * (len(batch) // 2)


def test_what_others_have_ended_is_not_said_again(bench: Bench) -> None:
    """A reinstated agent does not die by it; what was not seen to end is moved."""
    kill = bench.say(Kill(target=target(1)))
    revocation = bench.ledger.live(target(1))[0]
    assert len(next(groups([revocation], captured(bench.other), anything))) == 2
    other = Log(key=SECOND, publisher="soc-b")
    bench.other.apply(other.event(Reinstate(target=target(1), names=(kill,), floor=NOW)))
    (said,) = groups([revocation], captured(bench.other), anything)
    assert [type(change) for change in said] == [Retract]
    assert len(next(groups([revocation], captured(Replica()), anything))) == 2


def test_what_may_not_be_said_is_not_half_said(bench: Bench) -> None:
    """Where the key may only end, or the log is forked, nothing is: the kill stays where it is."""
    bench.say(Kill(target=target(1)))
    revocation = bench.ledger.live(target(1))[0]
    assert list(groups([revocation], None, lambda c: not isinstance(c, Kill))) == []
    assert list(groups([revocation], None, lambda c: isinstance(c, Kill))) == []
    bench.other.forked.add(bench.ledger.log)
    assert list(groups([revocation], captured(bench.other), anything)) == []


@pytest.mark.usefixtures("few")
def test_without_the_followed_state_only_in_need(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is moved blindly, unless heads are about to become too large to sign."""
    restarts(bench, 6, None)
    assert bench.ledger.move(None, anything, bench.handed.extend) == []
    monkeypatch.setattr(moving, "CROWDED", 5)
    assert bench.ledger.move(None, anything, bench.handed.extend)


@pytest.mark.usefixtures("few")
def test_an_order_planned_before_a_move_ends_the_kill(bench: Bench) -> None:
    """It names the old id alone, and the move is a rename."""
    restarts(bench, 6, None)
    (planned,) = bench.ledger.live(target(0)) or bench.ledger.live(target(1))
    move(bench)
    (moved,) = bench.ledger.live(planned.kill.target)
    assert moved.id != planned.id
    assert moved.was == (planned.id,)
    bench.say(Retract(target=planned.kill.target, names=(planned.id,)))
    assert bench.ledger.live(planned.kill.target) == ()
    assert bench.other.table.get(planned.kill.target.digest) is None
    assert bench.agrees()


@pytest.mark.usefixtures("few")
def test_a_move_and_a_reinstatement_at_the_same_moment(bench: Bench) -> None:
    """The other publisher knew the old id alone: the agent lives, also for the one who moved it."""
    bench.say(Kill(target=target(99)))
    (kill,) = bench.ledger.live(target(99))
    restarts(bench, 6, None)
    other = Log(key=SECOND, publisher="soc-b")
    ended = other.event(Reinstate(target=target(99), names=(kill.id,), floor=NOW))
    made = move(bench)
    assert made
    bench.other.apply(ended)
    found = bench.other.table.get(target(99).digest)
    assert found is not None
    assert list(found.revocations) == []
    held = bench.ledger.live_count
    assert bench.ledger.heed(captured(bench.other)) == 1
    assert bench.ledger.live(target(99)) == ()
    assert bench.ledger.live_count == held - 1
    assert bench.agrees()


def test_what_another_publisher_has_ended_takes_no_place_and_is_in_no_sum(bench: Bench) -> None:
    """Until then the sums are not compared: nobody is at fault. What was void comes back."""
    kill = bench.say(Kill(target=target(1)))
    bench.say(Kill(target=target(2)))
    before = captured(bench.other)
    other = Log(key=SECOND, publisher="soc-b")
    bench.other.apply(other.event(Reinstate(target=target(1), names=(kill,), floor=NOW)))
    assert bench.other.agrees(bench.head()) is None
    bench.ledger.heed(captured(bench.other))
    assert bench.ledger.live_count == 1
    assert bench.agrees()
    bench.ledger.heed(before)  # what ended it was void, and the view was built anew
    assert bench.ledger.live_count == 2
    assert [r.id for r in bench.ledger.live(target(1))] == [kill]


def test_a_start_hears_of_what_was_ended_before(bench: Bench) -> None:
    """Also where the followed view never showed the kill: its end came first."""
    kill = bench.say(Kill(target=target(1)))
    bench.say(Kill(target=target(2)))
    other = Log(key=SECOND, publisher="soc-b")
    bench.other.apply(other.event(Reinstate(target=target(1), names=(kill,), floor=NOW)))
    bench.reopen()
    assert bench.ledger.live_count == 2
    assert bench.ledger.heed(captured(bench.other)) == 1
    assert bench.ledger.live_count == 1
    assert bench.agrees()


def test_a_copy_of_a_spool_does_not_end_what_was_moved_without_it(bench: Bench) -> None:
    """The followed view has the kill by a newer id that this spool has never seen."""
    bench.say(Kill(target=target(1)))
    (kill,) = bench.ledger.live(target(1))
    newer = Log(key=VOICE.key, publisher="soc", run="a run that the copy lacks")
    (group,) = groups([kill], None, anything)
    bench.other.apply(newer.event(*group))
    (said,) = groups([kill], captured(bench.other), anything)
    assert [type(change) for change in said] == [Kill, Retract]
    assert bench.ledger.heed(captured(bench.other)) == 0
    assert len(bench.ledger.live(target(1))) == 1


def test_an_end_names_every_id_by_which_the_kill_went() -> None:
    """Where the move is beyond a cut the old id is the one in force."""
    old, new = RevocationId(Log().id, 1, 0), RevocationId(Log(run="run 2").id, 1, 0)
    kill = Revocation(new, Kill(target=target(1)), NOW, (old,))
    request = EndRequest(target=target(1), retract=True)
    assert set(plans.end(request, [kill], now=NOW).ended) == {old, new}
