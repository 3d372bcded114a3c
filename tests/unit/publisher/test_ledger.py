"""The ledger: contiguous numbers under threads, quota, horizon, rebuilding, heads."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import msgspec
import pytest

from rescind_protocol import events, heads
from rescind_protocol.changes import Change, Kill, Reinstate, Retract, RevocationId
from rescind_protocol.heads import Head
from rescind_protocol.join import Replica
from rescind_protocol.limits import SKEW_S
from rescind_publisher import ledger as module
from rescind_publisher.chain import Chain, Numbered, Voice, new_log_id
from rescind_publisher.clock import HORIZON_STEP_S
from rescind_publisher.errors import ClockWrong, QuotaExceeded, SpoolFailed
from rescind_publisher.ledger import Ledger
from rescind_publisher.sinks.base import Record
from rescind_publisher.spool import Spool
from tests.fakes.clock import FakeClock
from tests.fakes.fabric import FABRIC, NOW, PUBLISHER, SECOND, make_trust
from tests.fakes.publishing import VOICE, target

TRUST = make_trust()


class Bench:
    """A ledger on a real spool, and a subscriber's state that is fed what the ledger hands over."""

    def __init__(self, tmp_path: Path, voice: Voice = VOICE) -> None:
        self.path, self.voice, self.clock = tmp_path, voice, FakeClock()
        self.handed: list[Numbered] = []
        self.other = Replica()
        self.spool: Spool
        self.reopen()

    def reopen(self) -> None:
        """Close the spool, as a restart does, and open it."""
        if hasattr(self, "ledger"):
            self.spool.close()
        self.spool = Spool(self.path / "spool", fabric=FABRIC, kid=PUBLISHER.kid)
        self.ledger = Ledger(self.spool, self.voice, TRUST, self.clock)

    def say(self, *changes: Change) -> RevocationId:
        """Accept changes; the id of the first."""
        made = self.ledger.accept(changes, self.handed.extend)
        for each in made:
            self.other.apply(events.authenticate(each.raw, TRUST))
        return RevocationId(made[0].event.log, made[0].event.seq, 0)

    def head(self) -> Head:
        """Step the horizon and read the head as a subscriber does, which applies its horizon."""
        self.ledger.step_horizon()
        head = heads.authenticate(self.ledger.head(), TRUST)
        self.other.advance_horizon(head)
        return head

    def agrees(self) -> bool:
        """Whether a subscriber covers the head and holds the very same live revocations."""
        head = self.head()
        return self.other.covers(head) and self.other.agrees(head) is True


def headed(bench: Bench) -> set[str]:
    """Return the logs with events that its head names; this run's comes last, with or without."""
    logs = bench.head().logs
    assert [*logs][-1:] == [bench.ledger.log]
    return {log for log, at in logs.items() if at.seq}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A ledger ready to use."""
    bench = Bench(tmp_path)
    yield bench
    bench.spool.close()


def hammer(bench: Bench, callers: int = 8, each: int = 50) -> int:
    """Kill from many threads at once; return how many kills a subscriber ends up with."""
    start = threading.Barrier(callers)

    def kills(caller: int) -> int:
        start.wait()
        done = 0
        for n in range(each):
            try:
                kill = Kill(target=target(caller * each + n))
                bench.ledger.accept((kill,), bench.handed.extend)
                done += 1
            except (SpoolFailed, OverflowError, SystemError):  # the negative control
                continue
        return done

    with ThreadPoolExecutor(callers) as pool:
        list(pool.map(kills, range(callers)))
    return len({m.event.digest for m in bench.handed})


def in_order(handed: list[Numbered]) -> bool:
    """Whether one log was handed over, contiguous and in order."""
    return [m.event.seq for m in handed] == list(range(1, len(handed) + 1))


def test_concurrent_kills_are_contiguous(bench: Bench) -> None:
    """8 callers, 400 kills: none is lost, and they are handed over in their order."""
    assert hammer(bench) == 400
    assert in_order(bench.handed)
    assert len(bench.spool.read(bench.ledger.log, 0, 1000)) == 400


def test_an_interrupt_takes_nothing_back(bench: Bench) -> None:
    """Once committed an event is accepted: its number is taken, and heads name it."""

    def interrupted(_: list[Numbered]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.ledger.accept((Kill(target=target(1)),), interrupted)
    assert bench.ledger.positions[bench.ledger.log].seq == 1
    bench.ledger.accept((Kill(target=target(2)),), bench.handed.extend)
    assert [m.event.seq for m in bench.handed] == [2]
    assert len(bench.spool.read(bench.ledger.log, 0, 10)) == 2


@pytest.mark.parametrize("at", [Chain.advance, Ledger._note_position])
def test_an_interrupt_behind_the_hand_over_takes_nothing_back(
    bench: Bench, at: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was sent is in own state, once, and in heads, and its number is taken."""
    struck = list[bool]()

    def strike(*args: Any) -> None:
        if not struck:
            struck.append(True)
            raise KeyboardInterrupt
        at(*args)

    monkeypatch.setattr(Chain if at is Chain.advance else Ledger, at.__name__, strike)
    with pytest.raises(KeyboardInterrupt):
        bench.ledger.accept((Kill(target=target(1)),), bench.handed.extend)
    assert bench.ledger.positions[bench.ledger.log].seq == 1
    bench.ledger.accept((Kill(target=target(2)),), bench.handed.extend)
    assert [m.event.seq for m in bench.handed] == [1, 2]
    assert bench.ledger.positions[bench.ledger.log].seq == 2
    assert bench.ledger.live_count == 2


def test_an_interrupt_within_the_commit_leaves_the_number(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk may have the event: another one at its place would be a fork."""
    monkeypatch.setattr(bench.spool, "append", Mock(side_effect=KeyboardInterrupt))
    before = bench.ledger.log
    with pytest.raises(KeyboardInterrupt):
        bench.ledger.accept((Kill(target=target(1)),), bench.handed.extend)
    monkeypatch.undo()
    bench.ledger.accept((Kill(target=target(2)),), bench.handed.extend)
    assert bench.handed[0].event.log != before


def test_without_the_lock_kills_are_lost(bench: Bench) -> None:
    """Negative control: callers that share a chain without the lock use numbers twice."""
    bench.ledger._lock = nullcontext()  # type: ignore[assignment]
    slow = bench.ledger._chain.number

    def number(*args: object) -> list[Numbered]:
        made = slow(*args)  # type: ignore[arg-type]
        threading.Event().wait(0.0005)  # as long as a commit takes: another caller gets in
        return made

    bench.ledger._chain.number = number  # type: ignore[method-assign, assignment]
    assert hammer(bench) < 400 or not in_order(bench.handed)


def test_a_failed_commit_uses_no_number_twice(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a commit whose outcome is unknown the log is left, and nothing was accepted."""
    first = bench.say(Kill(target=target(1)))

    def fail(_: object) -> None:
        raise SpoolFailed("disk")

    with monkeypatch.context() as patch:
        patch.setattr(bench.spool, "append", fail)
        with pytest.raises(SpoolFailed):
            bench.say(Kill(target=target(2)))
    second = bench.say(Kill(target=target(2)))
    assert (first.seq, second.seq) == (1, 1)
    assert first.log != second.log
    assert bench.ledger.live(target(2))[0].id == second
    assert bench.agrees()


def test_heads_agree_with_a_subscriber(bench: Bench) -> None:
    """Kills, their end and their expiry leave the same sum here and there."""
    ended = bench.say(Kill(target=target(1)))
    bench.say(Kill(target=target(2), expires_at=NOW + 30), Kill(target=target(3)))
    bench.say(Reinstate(target=target(1), names=(ended,), floor=NOW))
    assert bench.agrees()
    assert bench.ledger.live_count == 2
    bench.clock.pass_s(30 + SKEW_S + HORIZON_STEP_S)
    assert bench.agrees()
    assert bench.ledger.live_count == 1


def test_a_restart_rebuilds_the_same_state(bench: Bench) -> None:
    """After a restart there is a new log, and the head covers the old one with the same sum."""
    ended = bench.say(Kill(target=target(1)))
    bench.say(Kill(target=target(2), expires_at=NOW + 30))
    bench.say(Retract(target=target(1), names=(ended,)))
    old = bench.ledger.log
    bench.reopen()
    assert bench.ledger.log != old
    assert bench.ledger.live(target(1)) == ()
    assert bench.agrees()
    bench.say(Kill(target=target(4)))
    assert set(bench.head().logs) == {old, bench.ledger.log}
    assert bench.agrees()


def test_a_restart_remembers_the_horizon(bench: Bench) -> None:
    """What expired stays expired, and the horizon does not go back with the clock."""
    bench.say(Kill(target=target(1), expires_at=NOW + 30))
    bench.clock.pass_s(200)
    horizon = bench.head().horizon
    bench.clock.pass_s(-SKEW_S)
    bench.reopen()
    assert bench.head().horizon == horizon
    assert bench.ledger.live(target(1)) == ()


def test_a_clock_that_jumps_ahead_moves_no_horizon(bench: Bench) -> None:
    """A wall clock a year ahead of its course ends no kill."""
    bench.say(Kill(target=target(1), expires_at=NOW + 3600))
    before = bench.head().horizon
    bench.clock.wall_s += 365 * 86_400
    assert bench.ledger.jumped
    assert bench.head().horizon == before
    assert bench.ledger.live(target(1))


@pytest.mark.parametrize("back_s", [SKEW_S, 3600, 86_400])
def test_a_clock_behind_its_horizon_signs_a_lower_one(bench: Bench, back_s: int) -> None:
    """Its heads can be read, and a fleet whose clocks are behind alike is not stale for hours."""
    before = bench.head().horizon
    bench.clock.wall_s -= back_s
    head = bench.head()
    assert head.time_s == pytest.approx(bench.clock.wall(), abs=0.01)
    assert head.horizon == min(before, int(head.time_s))
    assert bench.ledger.horizon == before  # what was dropped stays dropped
    assert bench.ledger.behind_s == max(0, before - bench.clock.wall())


def test_a_clock_that_was_never_set_accepts_nothing(bench: Bench) -> None:
    """Before 2024 nothing is signed."""
    bench.clock.wall_s = 1.0
    with pytest.raises(ClockWrong, match="1970-01-01"):
        bench.say(Kill(target=target(1)))
    assert bench.spool.positions() == {}


def test_the_quota_is_refused_before_the_spool(tmp_path: Path) -> None:
    """One kill beyond the quota is refused with nothing accepted; an ended one makes room."""
    bench = Bench(tmp_path, msgspec.structs.replace(VOICE, quota=4))
    first = bench.say(Kill(target=target(1)))
    bench.say(Kill(target=target(2)))
    with pytest.raises(QuotaExceeded, match="holds 2 of 4"):
        bench.say(*(Kill(target=target(n)) for n in (3, 4, 5)))
    assert bench.ledger.positions[bench.ledger.log].seq == 2
    bench.say(Retract(target=target(1), names=(first,)))
    bench.say(*(Kill(target=target(n)) for n in (3, 4, 5)))
    bench.spool.close()


def test_what_may_lie_on_the_disk_has_a_place_in_the_quota(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit that failed and is there at the next start must not be one kill too many.

    The subscribers would refuse whichever comes last, each another one, for ever (found by chaos).
    """
    bench = Bench(tmp_path, msgspec.structs.replace(VOICE, quota=2))
    bench.say(Kill(target=target(1)))
    append = bench.spool.append

    def fail_late(made: list[Numbered]) -> None:
        append(made)
        raise SpoolFailed("disk")

    with monkeypatch.context() as patch:
        patch.setattr(bench.spool, "append", fail_late)
        with pytest.raises(SpoolFailed):
            bench.say(Kill(target=target(2)))
    with pytest.raises(QuotaExceeded, match="holds 1 of 2 places, and 1 may lie on the disk"):
        bench.say(Kill(target=target(3)))
    bench.reopen()
    assert bench.ledger.live_count == 2
    bench.spool.close()


def test_a_key_at_its_quota_can_take_back(tmp_path: Path) -> None:
    """Ending kills makes room, and is never refused for want of it."""
    bench = Bench(tmp_path, msgspec.structs.replace(VOICE, quota=1))
    only = bench.say(Kill(target=target(1)))
    bench.say(Retract(target=target(1), names=(only,)))
    bench.say(Kill(target=target(2)))
    bench.spool.close()


def test_own_state_follows_whatever_was_accepted(tmp_path: Path) -> None:
    """At the quota, ending the kills of others, which own state has never seen, blocks nothing."""
    bench = Bench(tmp_path, msgspec.structs.replace(VOICE, quota=1))
    bench.say(Kill(target=target(1)))
    theirs = RevocationId(new_log_id(SECOND.kid), 1, 0)
    bench.say(Retract(target=target(2), names=(theirs,)))
    mine = bench.ledger.live(target(1))[0].id
    bench.say(Retract(target=target(1), names=(mine,)))
    assert bench.ledger.live(target(1)) == ()
    assert bench.ledger.live_count == 0
    assert not bench.ledger._replica.gap(bench.ledger.log)
    bench.spool.close()


def test_a_lowered_quota_takes_nothing_back(bench: Bench) -> None:
    """What lies in the spool was accepted, whatever the quota is now."""
    bench.say(*(Kill(target=target(n)) for n in range(5)))
    bench.voice = msgspec.structs.replace(VOICE, quota=1)
    bench.reopen()
    assert bench.ledger.live_count == 5


def test_a_flipped_bit_in_the_spool_is_found(bench: Bench) -> None:
    """A spooled event that does not verify stops the start, with what to do."""
    bench.say(Kill(target=target(1)))
    (raw,) = bench.spool._db.execute("SELECT raw FROM events").fetchone()
    bench.spool._db.execute("UPDATE events SET raw = ?", (raw[:-9] + b"AAAAAAAAA",))
    with pytest.raises(SpoolFailed, match=r"event 1 of log .* give every kill in it again"):
        bench.reopen()


@pytest.mark.parametrize("lost", [1, 2])
def test_a_missing_event_in_the_spool_is_found(bench: Bench, lost: int) -> None:
    """A hole in the spool stops the start: it could be healed by nobody."""
    for n in range(3):
        bench.say(Kill(target=target(n)))
    bench.spool._db.execute("DELETE FROM events WHERE place & 0xffffffff = ?", (lost,))
    with pytest.raises(SpoolFailed, match="corrupt"):
        bench.reopen()


def restarts(bench: Bench, count: int, expires_at: int | None) -> list[str]:
    """Run so many publishers one after another, each killing one target; return their logs."""
    logs = []
    for n in range(count):
        bench.say(Kill(target=target(n), expires_at=expires_at))
        logs.append(bench.ledger.log)
        bench.reopen()
    return logs


def test_spent_logs_are_closed_oldest_first(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old logs with nothing left in force leave head and spool; a head does not grow for ever."""
    monkeypatch.setattr(module, "SPENT_LOGS_HEADED", 2)
    logs = restarts(bench, 4, NOW + 30)
    bench.clock.pass_s(200)
    assert headed(bench) == set(logs)
    assert bench.ledger.review(logs) == logs[:2]
    assert headed(bench) == set(bench.spool.positions()) == set(logs[2:])
    bench.reopen()
    assert headed(bench) == set(logs[2:])


def test_logs_that_are_not_drained_or_in_force_stay(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is closed that a sink may not hold, nor anything that still denies."""
    monkeypatch.setattr(module, "SPENT_LOGS_HEADED", 0)
    lasting = restarts(bench, 2, None)
    expired = restarts(bench, 2, NOW + 30)
    bench.clock.pass_s(200)
    bench.head()
    assert bench.ledger.review([*lasting, expired[0]]) == [expired[0]]
    assert headed(bench) == {*lasting, expired[1]}


def test_a_reinstatement_stays_in_the_spool(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropping it would revive, at the next start, the kill that it ended."""
    monkeypatch.setattr(module, "SPENT_LOGS_HEADED", 0)
    ended = bench.say(Kill(target=target(1)))
    bench.reopen()
    bench.say(Retract(target=target(1), names=(ended,)))
    ender = bench.ledger.log
    bench.reopen()
    bench.ledger.review([ended.log, ender])
    assert headed(bench) == set()
    bench.reopen()
    assert bench.ledger.live(target(1)) == ()


def test_records_are_read_back_for_the_drain(bench: Bench) -> None:
    """The drain reads from the ledger what memory does not hold."""
    bench.say(Kill(target=target(1)))
    made = bench.handed[0]
    assert bench.ledger.read(bench.ledger.log, 0, 9) == [Record(made.event.log, 1, made.raw)]


def test_whoever_asks_has_a_share_of_the_places_and_no_more(tmp_path: Path) -> None:
    """A stolen API token fills its quarter, not the quota; what it ends makes room again."""
    bench = Bench(tmp_path, msgspec.structs.replace(VOICE, quota=20))

    def ask(number: int, actor: str) -> None:
        kill = Kill(target=target(number), actor=actor)
        made = bench.ledger.accept((kill,), bench.handed.extend, share=4)
        ids.append(RevocationId(made[0].event.log, made[0].event.seq, 0))

    ids: list[RevocationId] = []
    for number in range(5):
        ask(number, "stolen (1)")
    with pytest.raises(QuotaExceeded, match=r"stolen \(1\) holds 5 of the 5 places"):
        ask(5, "stolen (1)")
    ask(5, "ci (2)")
    bench.say(Retract(target=target(0), names=(ids[0],)))
    ask(6, "stolen (1)")
    bench.spool.close()
