"""The keeper against a store with faults: two whole ones at every moment, or none counts."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from rescind_protocol import events, snapshots
from rescind_protocol import trust as trusts
from rescind_protocol.errors import Malformed
from rescind_protocol.heads import Position
from rescind_protocol.join import Replica
from rescind_publisher import keeper as module
from rescind_publisher import metrics, shelf
from rescind_publisher.drain import Drain
from rescind_publisher.follower import Captured
from rescind_publisher.keeper import Keeper
from rescind_publisher.metrics import Counters
from rescind_publisher.shelf import Kept, Schedule
from rescind_publisher.sinks.base import Record
from rescind_subscriber.cold import readable
from rescind_subscriber.memory import positions_of
from rescind_subscriber.sources.base import Cursor
from tests.fakes.clock import FakeClock
from tests.fakes.fabric import Log, make_trust, next_trust
from tests.fakes.following import kills
from tests.fakes.publishing import VOICE, config
from tests.fakes.shelf import ShelfSink
from tests.fakes.sink import FakeSink
from tests.fakes.waiting import until

TRUST = make_trust()
NEXT_TRUST = trusts.extend(TRUST, next_trust(TRUST))


class Bench:
    """A keeper over sinks in memory, and a follower that knows what a test writes."""

    def __init__(self, *sinks: FakeSink) -> None:
        self.log, self.replica, self.clock = Log(), Replica(), FakeClock()
        self.fresh, self.read_by = True, TRUST.version
        self.own: dict[str, Position] = {}
        self.counters = Counters()
        self.view = None
        self.drain = Drain(
            sinks,
            is_fork=lambda *_: True,
            fetch=self._fetch,
            config=config(Path("unused")),
            counters=self.counters,
        )
        self.keeper = Keeper(
            self.drain.outlets,
            follower=self,  # type: ignore[arg-type]
            voice=VOICE,
            trust=TRUST,
            clock=self.clock,
            schedule=Schedule(600, 100),
            own_logs=lambda: self.own,
            counters=self.counters,
        )

    async def _fetch(self, *_: object) -> list[Record]:
        return []

    def capture(self) -> Captured | None:
        """Be a follower."""
        if not self.fresh:
            return None
        at = Cursor(str(len(self.log.raws)), bytes(32))
        return Captured(positions_of(self.replica), self.replica.table, {"fake": at}, self.read_by)

    def write(self, count: int = 1) -> None:
        """Let the followed state grow."""
        for raw in kills(self.log, count):
            self.replica.apply(events.authenticate(raw, TRUST))

    async def look(self, times: int = 1) -> None:
        """Look, with whatever rest is due behind."""
        for _ in range(times):
            for each in self.keeper.shelves:
                each.rest_until = 0.0
            await self.keeper.look()

    @property
    def kept(self) -> list[int]:
        """Events in the snapshots that count, of the first sink."""
        return [each.events for each in self.keeper.shelves[0].have]


def whole(sink: ShelfSink) -> list[int]:
    """Return the events in each snapshot that a reader would find good, the newest first."""
    found = []
    for one in readable(sink.slots.listed(), TRUST):
        try:
            image = snapshots.assemble(one.statement, sink.slots.parts[one.place])
        except Malformed:
            continue
        found.append(sum(at.seq for at in image.vector.values()))
    return found


@asynccontextmanager
async def keeping(*sinks: FakeSink) -> AsyncIterator[Bench]:
    """Give a keeper whose sinks have started; it looks when the test says so."""
    bench = Bench(*sinks)
    await bench.drain.start()
    try:
        yield bench
    finally:
        await bench.drain.stop()


async def test_two_are_written_then_one_when_due() -> None:
    """At once, until two were read back; then by time."""
    sink = ShelfSink()
    async with keeping(sink) as bench:
        bench.write(3)
        await bench.look(5)
        assert bench.kept == [3, 3]
        bench.write()
        await bench.look()
        assert bench.kept == [3, 3]
        bench.clock.pass_s(601)
        await bench.look(3)
        assert bench.kept == [4, 3]
        assert bench.counters.read()[metrics.SNAPSHOTS] == 3
        assert len(set(sink.written)) == 3
        assert bench.keeper.shelved() == {bench.log.id: 3}


async def test_only_a_proven_state_is_written() -> None:
    """Neither one that is not fresh, nor one without what we have accepted ourselves."""
    sink = ShelfSink()
    async with keeping(sink) as bench:
        bench.fresh = False
        await bench.look()
        bench.fresh = True
        bench.own = {bench.log.id: Position(1, bytes(32))}
        await bench.look()
        assert sink.written == []
        bench.write()
        await bench.look()
        assert sink.written != []


async def test_a_snapshot_names_the_trust_by_which_its_state_came_about() -> None:
    """Not a newer one that was heard of since, and that may void some of it."""
    sink = ShelfSink()
    async with keeping(sink) as bench:
        bench.write()
        bench.keeper.believe(NEXT_TRUST)
        await bench.look()
        (written,) = readable(sink.slots.listed(), NEXT_TRUST)
        assert written.statement.trust == 1
        bench.read_by = 2
        await bench.look()
        names = {each.statement.trust for each in readable(sink.slots.listed(), NEXT_TRUST)}
        assert names == {1, 2}


async def test_a_writer_that_dies_leaves_two() -> None:
    """Torn at any turn: the two that counted are good for readers, and the next turn mends."""
    sink = ShelfSink()
    async with keeping(sink) as bench:
        for turn in range(1, 5):
            bench.write()
            bench.clock.pass_s(601)
            await bench.look(2)
            before = whole(sink)[: shelf.KEEP]
            assert before[0] == turn * 2 - 1
            bench.write()
            bench.clock.pass_s(601)
            sink.torn = True
            await bench.look()
            sink.torn = False
            assert whole(sink)[: shelf.KEEP] == before
            assert bench.kept == before


def two_slots(kid: str, have: Sequence[Kept]) -> str:
    """Return the slot that the newest does not lie in."""
    return next(
        place
        for place in (f"{shelf.writer(kid)}.{slot}" for slot in shelf.SLOTS)
        if not have or place != have[0].place
    )


async def test_control_with_two_slots_a_dying_writer_leaves_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Negative control: the third slot is what keeps the second snapshot."""
    monkeypatch.setattr(shelf, "SLOTS", shelf.SLOTS[:2])
    monkeypatch.setattr(shelf, "next_place", two_slots)
    sink = ShelfSink()
    async with keeping(sink) as bench:
        bench.write()
        await bench.look(2)
        assert len(whole(sink)) == 2
        bench.write(100)
        sink.torn = True
        await bench.look()
        assert len(whole(sink)) == 1


async def test_what_does_not_come_back_does_not_count() -> None:
    """A store that acknowledges and bends: nothing may be trimmed or forgotten on its word."""
    sink = ShelfSink()
    sink.lies = True
    async with keeping(sink) as bench:
        bench.write()
        await bench.look(3)
        assert bench.kept == []
        assert bench.keeper.shelved() == {}
        assert shelf.trimmable(bench.keeper.shelves[0].have) is None
        assert bench.counters.read()[metrics.SNAPSHOT_FAILURES] == 3
        assert "other bytes came back" in bench.keeper.shelves[0].problem
        sink.lies = False
        await bench.look(2)
        assert bench.kept == [1, 1]
        assert bench.keeper.shelves[0].problem == ""


async def test_a_start_counts_what_it_reads_back() -> None:
    """Good ones of an earlier run count; a bent one does not, and its slot is the next."""
    sink = ShelfSink()
    async with keeping(sink) as bench:
        bench.write()
        await bench.look(2)
    bad = sink.written[1]
    sink.slots.bend(bad)
    async with keeping(sink) as bench:
        bench.write()
        await bench.look()
        assert bench.kept == [1, 1]
        assert len(sink.written) == 3
    async with keeping(sink) as bench:
        bench.write()
        await bench.look()
        assert len(sink.written) == 3


async def test_one_that_vanishes_is_written_again() -> None:
    """A store that was made anew: two once more."""
    sink = ShelfSink()
    async with keeping(sink) as bench:
        bench.write()
        await bench.look(2)
        sink.slots.manifests.clear()
        await bench.look(2)
        assert bench.kept == [1, 1]
        assert len(whole(sink)) == 2


async def test_a_store_that_fails_rests_and_hinders_no_other() -> None:
    """Each sink for itself; after a failure it is left alone for a while."""
    bad, good = ShelfSink("bad"), ShelfSink("fake")
    async with keeping(bad, good, FakeSink("plain")) as bench:
        bench.write()
        bad.down = True
        await bench.look()
        await bench.keeper.look()
        shelves = {each.store.name: each for each in bench.keeper.shelves}
        assert set(shelves) == {"bad", "fake"}
        assert len(shelves["fake"].have) == 2
        assert shelves["bad"].rest_until > 0
        assert bench.counters.read()[metrics.SNAPSHOT_FAILURES] == 1
        assert bench.keeper.shelved() == {}


async def test_each_store_gets_its_own_cursor() -> None:
    """That of the source with its name; a store that nobody reads gets none."""
    one, other = ShelfSink("fake"), ShelfSink("other")
    async with keeping(one, other) as bench:
        bench.write(2)
        await bench.look()
        cursors = [each.have[0].statement.cursor for each in bench.keeper.shelves]
        assert cursors[0] is not None
        assert cursors[0].position == "2"
        assert cursors[1] is None


async def test_a_look_that_fails_is_not_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong is logged, and the next look comes."""
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.001)
    sink = ShelfSink()
    async with keeping(sink) as bench:
        bench.write()
        looks = 0
        good = bench.keeper.look

        async def failing() -> None:
            nonlocal looks
            looks += 1
            if looks < 3:
                raise ZeroDivisionError
            await good()

        bench.keeper.look = failing  # type: ignore[method-assign]
        bench.keeper.start()
        await until(lambda: bench.kept == [1, 1])
        await bench.keeper.stop()
