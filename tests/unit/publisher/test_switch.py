"""The kill switch on a whole publisher, its sink in memory."""

import asyncio
import os
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import AsyncMock, Mock

import msgspec
import pytest

from rescind_guard.view import View
from rescind_protocol import events, heads
from rescind_protocol.changes import Kill
from rescind_protocol.join import Replica
from rescind_protocol.limits import MAX_EVENT_BYTES
from rescind_protocol.targets import Target, badge, everyone
from rescind_protocol.trust import ALL_RIGHTS
from rescind_publisher.asks import Ask
from rescind_publisher.async_switch import AsyncKillSwitch
from rescind_publisher.drain import Drain
from rescind_publisher.engine import Publisher
from rescind_publisher.errors import (
    BadRequest,
    ClockWrong,
    NothingLive,
    NotPermitted,
    NotRunning,
    QuotaExceeded,
    SinkRefused,
    SpoolInUse,
)
from rescind_publisher.heartbeat import Heartbeat
from rescind_publisher.switch import KillSwitch
from tests.fakes.clock import FakeClock
from tests.fakes.fabric import APPROVER, FABRIC, SECOND, Log, make_trust
from tests.fakes.publishing import publisher, switched, target
from tests.fakes.sink import FakeSink
from tests.fakes.waiting import until, wait_until

TRUST = make_trust()


def replica(raws: Iterable[bytes | None]) -> Replica:
    """Return the state of a subscriber that has read these events."""
    state = Replica()
    for raw in filter(None, raws):
        state.apply(events.authenticate(raw, TRUST))
    return state


def covered(sink: FakeSink) -> bool:
    """Whether what lies in the sink covers the newest head and agrees with it."""
    if not sink.heads:
        return False
    state, head = replica(sink.store), heads.authenticate(sink.heads[-1], TRUST)
    state.advance_horizon(head)
    return state.covers(head) and state.agrees(head) is True


def test_a_kill_reaches_the_sink(tmp_path: Path) -> None:
    """The receipt says durable, the id is the one in the event, and the head covers it."""
    sink = FakeSink()
    with switched(tmp_path, sink) as switch:
        receipt = switch.kill(target(), reason_admin="INC-412")
        assert str(receipt).startswith("accepted, durable on fake after ")
        wait_until(lambda: covered(sink))
    (found,) = replica(sink.store).table.get(target().digest).revocations  # type: ignore[union-attr]
    assert (found.id,) == receipt.ids
    assert found.kill.actor


def test_eight_callers_lose_nothing(tmp_path: Path) -> None:
    """2000 kills from 8 threads: every one is stored, contiguous, once (attack A2)."""
    sink = FakeSink(any_order=True)
    start = threading.Barrier(8)
    with switched(tmp_path, sink) as switch:

        def kills(caller: int) -> list[str]:
            start.wait()
            made = [switch.kill(target(caller * 250 + n), timeout_s=0) for n in range(250)]
            return [str(i) for receipt in made for i in receipt.ids]

        with ThreadPoolExecutor(8) as pool:
            ids = [i for some in pool.map(kills, range(8)) for i in some]
        wait_until(lambda: sink.holds(2000) and covered(sink))
    assert len(set(ids)) == len(sink.store) == 2000
    assert len({log for log, _ in sink.stored}) == 1
    assert sorted(seq for _, seq in sink.stored) == list(range(1, 2001))
    assert len(replica(sink.store).table) == 2000


def test_a_broker_that_is_down_is_pending_at_once(tmp_path: Path) -> None:
    """Accepted, loudly pending, without waiting for the timeout; drained when it is back."""
    sink = FakeSink()
    with switched(tmp_path, sink) as switch:
        sink.down = True
        receipt = switch.kill(target(), timeout_s=60)
        assert receipt.pending == ("fake",)
        assert "PENDING: no broker has it yet; fake: cannot be reached" in str(receipt)
        sink.down = False
        wait_until(lambda: covered(sink) and sink.store)


def test_a_restart_drains_what_was_pending(tmp_path: Path) -> None:
    """What one run could not send, the next one sends, in the old log."""
    sink = FakeSink()
    sink.down = True
    with switched(tmp_path, sink, connect_timeout_s=0.05) as switch:
        old = switch.kill(target(1)).ids[0].log
    assert sink.store == []
    sink.down = False
    with switched(tmp_path, sink) as switch:
        new = switch.kill(target(2)).ids[0].log
        wait_until(lambda: sink.holds(2) and covered(sink))
    assert {log for log, _ in sink.stored} == {old, new}


def test_a_restart_sends_nothing_twice(tmp_path: Path) -> None:
    """What a sink holds for certain is remembered."""
    sink = FakeSink()
    for n in range(3):
        with switched(tmp_path, sink) as switch:
            switch.kill(target(n))
    assert len(sink.attempts) == 3


def test_kill_many_is_split_and_accepted_together(tmp_path: Path) -> None:
    """Events are within the limit; the receipt has an id for each kill, in order."""
    sink = FakeSink()
    with switched(tmp_path, sink) as switch:
        asks = [Ask(target=target(n), reason_admin="x" * 1000) for n in range(500)]
        receipt = switch.kill_many([*asks, target(500)])
        assert receipt.durable == ("fake",)
    assert len(receipt.ids) == len(set(receipt.ids)) == 501
    assert list(receipt.ids) == sorted(receipt.ids)
    assert len(sink.store) > 1
    assert max(map(len, filter(None, sink.store))) <= MAX_EVENT_BYTES
    assert len(replica(sink.store).table) == 501


def test_nothing_to_kill(tmp_path: Path) -> None:
    """An empty list is a mistake."""
    with switched(tmp_path) as switch, pytest.raises(BadRequest, match="nothing to kill"):
        switch.kill_many([])


def test_reinstating_ends_own_kills(tmp_path: Path) -> None:
    """All of them, and the receipt says from when new badges pass."""
    sink = FakeSink()
    with switched(tmp_path, sink) as switch:
        ids = {*switch.kill(target()).ids, *switch.kill(target(), expires=60).ids}
        receipt = switch.reinstate(target())
        assert set(receipt.ended) == ids
        assert receipt.new_badges_from is not None
        found = replica(sink.store).table.get(target().digest)
        assert found is not None
        assert (found.revocations, found.floor) == ((), receipt.new_badges_from)
        with pytest.raises(NothingLive):
            switch.reinstate(target())


def test_retracting_a_badge(tmp_path: Path) -> None:
    """A mistaken kill of a badge is taken back without a floor."""
    sink, one = FakeSink(), badge("https://reg.example", "j-1")
    with switched(tmp_path, sink) as switch:
        switch.kill(one)
        with pytest.raises(BadRequest, match="retract"):
            switch.reinstate(one)
        assert switch.retract(one).new_badges_from is None
    assert replica(sink.store).table.get(one.digest) is None


class Followed:
    """A followed view with a kill by another publisher."""

    def __init__(self, *, synced: bool) -> None:
        other = Log(SECOND, "soc-b")
        state = Replica()
        state.apply(other.event(Kill(target=target()), trust=TRUST))
        found = state.table.get(target().digest)
        assert found is not None
        self.theirs = next(iter(found.revocations)).id
        self.view, self.synced = View(), synced
        self.view.claim()
        self.view.swap(state.table)

    def wait_synced(self, _: float, /) -> bool:
        """Whether the view is complete."""
        return self.synced


@pytest.mark.parametrize("synced", [True, False])
def test_reinstating_ends_the_kills_of_others(tmp_path: Path, *, synced: bool) -> None:
    """The followed view names them; an incomplete one is said in the receipt."""
    follower = Followed(synced=synced)
    with switched(tmp_path, FakeSink(), follower=follower) as switch:
        mine = switch.kill(target()).ids
        receipt = switch.reinstate(target())
    assert set(receipt.ended) == {*mine, follower.theirs}
    assert bool(receipt.warnings) is not synced


def test_without_a_follower_the_receipt_says_so(tmp_path: Path) -> None:
    """Kills by others may go on, and nobody is told otherwise."""
    with switched(tmp_path, FakeSink()) as switch:
        switch.kill(target())
        assert "kills by other publishers are not known here" in str(switch.reinstate(target()))


def test_everyone_takes_two_keys(tmp_path: Path) -> None:
    """Refused with one key; with an approver's, subscribers take it."""
    with switched(tmp_path) as switch, pytest.raises(NotPermitted, match="second key"):
        switch.kill(everyone())
    sink = FakeSink()
    with switched(tmp_path, sink, approver=APPROVER) as switch:
        assert switch.kill(everyone()).durable
    assert replica(sink.store).table.get(everyone().digest)


def test_the_quota_is_refused_before_the_spool(tmp_path: Path) -> None:
    """Nothing is accepted beyond it, and the refusal is counted."""
    trust = make_trust(rights=msgspec.structs.replace(ALL_RIGHTS, quota=1))
    sink = FakeSink()
    with switched(tmp_path, sink, trust=trust) as switch:
        switch.kill(target(1))
        with pytest.raises(QuotaExceeded):
            switch.kill(target(2))
    assert len(sink.store) == 1


def test_two_publishers_on_one_spool(tmp_path: Path) -> None:
    """The second one is told which process holds it; the first one goes on."""
    with switched(tmp_path, FakeSink()) as switch:
        with pytest.raises(SpoolInUse, match=f"in use by process {os.getpid()}"):
            publisher(tmp_path, FakeSink()).start()
        assert switch.kill(target()).durable


def test_a_store_that_would_lose_kills_is_refused(tmp_path: Path) -> None:
    """The start fails with the setting's name, and lets go of the spool."""
    sink = FakeSink()
    sink.refuses = "deny_purge is off"
    with pytest.raises(SinkRefused, match="deny_purge"):
        publisher(tmp_path, sink).start()
    with switched(tmp_path, FakeSink()) as switch:
        assert switch.kill(target()).durable


def test_a_clock_that_was_never_set(tmp_path: Path) -> None:
    """Nothing is accepted, and nothing was spooled."""
    sink = FakeSink()
    with (
        switched(tmp_path, sink, clock=FakeClock(0.0)) as switch,
        pytest.raises(ClockWrong, match="1970"),
    ):
        switch.kill(target())
    assert (sink.store, sink.heads) == ([], [])


def test_after_a_close_nothing_is_accepted(tmp_path: Path) -> None:
    """A switch that was left says so; it can be entered again."""
    engine = publisher(tmp_path, FakeSink())
    switch = KillSwitch(engine)
    with switch:
        switch.kill(target(1))
    with pytest.raises(NotRunning):
        switch.kill(target(2))
    with switch:
        assert switch.kill(target(3)).durable


def test_what_an_interrupt_left_behind_is_sent_before_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody may ever open this spool again: whoever interrupts a command has asked for a kill."""
    sink = FakeSink()
    monkeypatch.setattr(Heartbeat, "_keep_house", AsyncMock())  # which would send it, too
    monkeypatch.setattr(Drain, "send", Mock(side_effect=KeyboardInterrupt))
    with switched(tmp_path, sink) as switch, pytest.raises(KeyboardInterrupt):
        switch.kill(target())
    assert sink.holds(1)


def test_a_fork_does_not_speak_for_its_parent(tmp_path: Path) -> None:
    """In the child a kill is refused with what to do; the parent's goes on."""
    with switched(tmp_path, FakeSink()) as switch:
        child = os.fork()
        if child == 0:
            try:
                switch.kill(target(1))
            except NotRunning:
                os._exit(7)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert switch.kill(target(2)).durable


async def test_the_async_face(tmp_path: Path) -> None:
    """Calls run side by side, and the loop is free meanwhile."""
    sink = FakeSink(any_order=True)
    async with AsyncKillSwitch(publisher(tmp_path, sink)) as switch:
        receipts = await asyncio.gather(*(switch.kill(target(n)) for n in range(50)))
        assert all(receipt.durable == ("fake",) for receipt in receipts)
        assert len({receipt.ids for receipt in receipts}) == 50
        assert (await switch.reinstate(target(1))).ended == receipts[1].ids
        assert (await switch.retract(target(2))).ended == receipts[2].ids
        assert len((await switch.kill_many([target(90), target(91)])).ids) == 2


async def test_a_cancelled_call_takes_nothing_back(tmp_path: Path) -> None:
    """A kill whose caller went away is stored all the same."""
    sink = FakeSink()
    async with AsyncKillSwitch(publisher(tmp_path, sink)) as switch:
        sink.hold = asyncio.Event()
        call = asyncio.create_task(switch.kill(target(), timeout_s=0.2))
        await until(lambda: sink.attempts)
        call.cancel()
        engine = switch.switch._engine
        assert isinstance(engine, Publisher)
        assert engine.live(target())
        engine._loop.call_soon_threadsafe(sink.hold.set)
    assert sink.holds(1)


def test_heads_go_on_when_the_disk_does_not(tmp_path: Path) -> None:
    """A horizon that cannot be committed stands still; the fleet does not go stale over it."""
    sink, clock = FakeSink(), FakeClock()
    engine = publisher(tmp_path, sink, clock=clock)
    with KillSwitch(engine):
        wait_until(lambda: sink.heads)
        engine._spool._db.execute("PRAGMA query_only=1")
        clock.pass_s(100)
        count = len(sink.heads)
        wait_until(lambda: len(sink.heads) > count + 3)
        newest = heads.authenticate(sink.heads[-1], TRUST)
        assert newest.horizon < newest.time_s - 100


def test_reprs_tell_the_state(tmp_path: Path) -> None:
    """And no key."""
    engine = publisher(tmp_path)
    assert repr(KillSwitch(engine)) == "<KillSwitch by <Publisher soc of test: not running>>"
    assert FABRIC in repr(engine)


def test_more_than_one_request_holds_are_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One receipt for all of them; each is in force."""
    monkeypatch.setattr("rescind_publisher.switch.MAX_KILLS", 10)
    with publisher(tmp_path, FakeSink()) as engine:
        receipt = KillSwitch(engine).kill_many([target(n) for n in range(25)])
        assert len(set(receipt.ids)) == len(receipt.targets) == 25
        assert receipt.durable == ("fake",)
        assert all(engine.live(target(n)) for n in range(25))


def test_where_one_of_several_is_refused_it_is_said_what_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The requests before it stay."""
    monkeypatch.setattr("rescind_publisher.switch.MAX_KILLS", 10)
    with publisher(tmp_path, FakeSink()) as engine:
        wishes: list[Ask | Target] = [target(n) for n in range(10)]
        wishes.append(Ask(target=target(99), reason_admin="x" * 2000))
        with pytest.raises(BadRequest, match="the first 10 of 11 were killed before"):
            KillSwitch(engine).kill_many(wishes)
        assert engine.live(target(9))


def test_who_hears_of_the_way_may_fail(tmp_path: Path) -> None:
    """The kill is accepted, and its receipt comes all the same."""

    def told(_: object) -> None:
        raise RuntimeError("a terminal that is gone")

    with publisher(tmp_path, FakeSink()) as engine:
        engine.roster.listening(time.perf_counter(), time.time())
        assert KillSwitch(engine).kill(target(), wait_s=0.3, told=told).ids
