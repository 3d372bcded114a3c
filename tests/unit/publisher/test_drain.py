"""The drain against a sink with faults: order, retries for ever, read-back, repair."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from rescind_protocol.heads import Position
from rescind_publisher import lane as module
from rescind_publisher import metrics
from rescind_publisher.drain import Drain
from rescind_publisher.errors import SinkRefused
from rescind_publisher.metrics import Counters
from rescind_publisher.receipts import Progress, State
from rescind_publisher.sinks.base import Record, Stored
from rescind_publisher.spool import Mark
from tests.fakes.publishing import config
from tests.fakes.sink import FakeSink
from tests.fakes.waiting import until

LOG = "log"


class Bench:
    """A drain over a spool that is a list."""

    def __init__(self, *sinks: FakeSink, **settings: object) -> None:
        self.spool: list[Record] = []
        self.counters = Counters()
        self.fetched: list[int] = []
        self.drain = Drain(
            sinks,
            fetch=self._fetch,
            is_fork=lambda _log, _seq, raw: raw.startswith(b"ours"),
            config=config(Path("unused"), **settings),
            counters=self.counters,
        )

    async def _fetch(self, log: str, after: int, limit: int) -> list[Record]:
        self.fetched.append(after)
        return [r for r in self.spool if r.log == log and r.seq > after][:limit]

    def write(self, count: int = 1, log: str = LOG) -> list[Record]:
        """Put events into the spool only."""
        at = sum(1 for r in self.spool if r.log == log)
        made = [Record(log, at + n, f"{log} {at + n}".encode()) for n in range(1, count + 1)]
        self.spool += made
        return made

    def take(self, count: int = 1, log: str = LOG) -> Progress:
        """Hand new events over."""
        records = self.write(count, log)
        progress = Progress([o.sink.name for o in self.drain.outlets], len(records), 0.0)
        self.drain.take(records, progress)
        return progress

    @property
    def idle(self) -> bool:
        """Whether every lane is."""
        return all(lane.idle for o in self.drain.outlets for lane in o.lanes.values())


@asynccontextmanager
async def running(*sinks: FakeSink, **settings: object) -> AsyncIterator[Bench]:
    """Give a started drain."""
    bench = Bench(*sinks, **settings)
    await bench.drain.start()
    try:
        yield bench
    finally:
        await bench.drain.stop()


def config_(**changes: object) -> dict[str, object]:
    """Settings under which nothing is ever tried twice within a test."""
    return {"retry_min_s": 3600.0, "retry_max_s": 3600.0, **changes}


async def test_events_are_stored_in_order_and_read_back() -> None:
    """Every event is durable, in the order of the log, each sent once."""
    sink = FakeSink()
    async with running(sink) as bench:
        progress = bench.take(100)
        await until(lambda: progress.complete)
    assert [seq for _, seq in sink.stored] == list(range(1, 101))
    assert len(sink.attempts) == 100
    assert sink.stopped


async def test_a_sink_without_order_takes_events_at_once() -> None:
    """An event does not wait for the acknowledgement of the one before it."""
    sink = FakeSink(any_order=True)
    sink.hold = asyncio.Event()
    async with running(sink) as bench:
        bench.take(2)
        await until(lambda: len(sink.attempts) == 2)
        sink.hold.set()
        await until(lambda: bench.idle)


async def test_a_sink_with_order_takes_one_after_the_other() -> None:
    """Nothing is sent before the event before it was acknowledged."""
    sink = FakeSink()
    sink.hold = asyncio.Event()
    async with running(sink) as bench:
        progress = bench.take(2)
        await until(lambda: sink.attempts)
        assert sink.attempts == [(1, False)]
        sink.hold.set()
        await until(lambda: progress.complete)
    assert sink.attempts == [(1, False), (2, False)]


@pytest.mark.parametrize("any_order", [False, True])
async def test_a_broker_that_was_down_gets_everything(*, any_order: bool) -> None:
    """Events accepted meanwhile are pending with the reason, then stored, none twice."""
    sink = FakeSink(any_order=any_order)
    async with running(sink) as bench:
        sink.down = True
        progress = bench.take(5)
        await until(lambda: len(sink.attempts) > 10)
        assert progress.sinks()["fake"].state is State.ACCEPTED
        assert progress.sinks()["fake"].problem == "fake: cannot be reached"
        sink.down = False
        await until(lambda: progress.complete)
    assert sorted(seq for _, seq in sink.stored) == [1, 2, 3, 4, 5]
    if not any_order:
        assert [seq for _, seq in sink.stored] == [1, 2, 3, 4, 5]


async def test_while_a_sink_fails_one_event_probes_it() -> None:
    """Where order matters nothing overtakes the event that fails."""
    sink = FakeSink()
    async with running(sink) as bench:
        sink.down = True
        bench.take(5)
        await until(lambda: len(sink.attempts) > 5)
        assert {seq for seq, _ in sink.attempts} == {1}
        sink.down = False
        await until(lambda: bench.idle)


async def test_a_new_connection_ends_the_pause() -> None:
    """What waits to be tried again is tried as soon as the sink says that it is connected."""
    sink = LinkedSink()
    async with running(sink, **config_()) as bench:
        sink.down = True
        bench.take(2)
        await until(lambda: sink.attempts)
        sink.down = False
        assert sink.on_linked is not None
        sink.on_linked()
        await until(lambda: bench.idle)


class LinkedSink(FakeSink):
    """A sink that tells of new connections."""

    on_linked: Callable[[], None] | None = None


async def test_a_new_kill_is_tried_at_once_while_others_fail() -> None:
    """Where order is free a kill does not wait for the back-off of earlier ones."""
    sink = FakeSink(any_order=True)
    async with running(sink, **config_()) as bench:
        sink.down = True
        bench.take()
        await until(lambda: sink.attempts)
        sink.down = False
        second = bench.take()
        await until(lambda: second.complete and bench.idle)
    assert [seq for _, seq in sink.stored] == [2, 1]


async def test_an_event_no_store_takes_blocks_itself_only() -> None:
    """A sink that refuses one event of many still gets the others."""
    sink = FakeSink(any_order=True)
    append = sink.append

    async def picky(record: Record, *, repair: bool = False) -> object:
        if record.seq == 1:
            raise SinkRefused("fake: event 1 is too large for this store")
        return await append(record, repair=repair)

    sink.append = picky  # type: ignore[method-assign, assignment]
    async with running(sink) as bench:
        first = bench.take()
        second = bench.take()
        await until(lambda: second.complete)
        assert first.sinks()["fake"].problem == "fake: event 1 is too large for this store"


@pytest.mark.parametrize("kept", [b"garbage", None])
async def test_an_ack_that_lied_is_repaired_without_id(
    kept: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Other bytes, or none, at the acknowledged place: sent again as a repair, and said loudly."""
    sink = FakeSink()
    sink.lie = lambda _: kept
    async with running(sink) as bench:
        progress = bench.take()
        await until(lambda: progress.complete)
        assert bench.counters.read()[metrics.REPAIRS] == 1
    assert sink.attempts == [(1, False), (1, True)]
    assert sink.store == [kept, b"log 1"]
    assert any(r.levelno == logging.ERROR for r in caplog.records)


async def test_without_the_read_back_a_lie_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: whoever believes the acknowledgement calls garbage durable."""

    async def believe(lane: module.Lane, record: Record, _: object) -> None:
        lane._note_durable(record.seq, "0")

    monkeypatch.setattr(module.Lane, "_confirm", believe)
    sink = FakeSink()
    sink.lie = lambda _: b"garbage"
    async with running(sink) as bench:
        progress = bench.take()
        await until(lambda: progress.complete)
    assert sink.store == [b"garbage"]


async def test_a_store_that_keeps_nothing_is_never_durable() -> None:
    """Repairs that do not hold either: acknowledged, with the reason, and tried for ever."""
    sink = FakeSink()

    async def nothing(_: object) -> bytes | None:
        return None

    sink.read_back = nothing  # type: ignore[method-assign, assignment]
    async with running(sink) as bench:
        progress = bench.take()
        await until(lambda: bench.counters.read()[metrics.REPAIRS] > 3)
        at = progress.sinks()["fake"]
        assert at.state is State.ACKED
        assert "does not keep them" in str(at.problem)
    assert {repair for _, repair in sink.attempts[1:]} == {True}


async def test_a_stored_event_whose_ack_was_lost_is_no_second_one() -> None:
    """The retry carries the same id, is answered as a duplicate, and read back."""
    sink = FakeSink()

    def lose(_: Record) -> None:
        sink.after_store = None
        raise ConnectionResetError

    sink.after_store = lose
    async with running(sink) as bench:
        progress = bench.take()
        await until(lambda: progress.complete)
    assert sink.attempts == [(1, False), (1, False)]
    assert sink.store == [b"log 1"]


async def test_a_sink_that_cannot_be_read_stays_acked() -> None:
    """The receipt says acked, not durable, and the acknowledgement counts once."""
    sink = FakeSink()
    sink.unreadable = True
    async with running(sink) as bench:
        progress = bench.take()
        await until(lambda: len(sink.attempts) > 2)
        assert progress.sinks()["fake"].state is State.ACKED
        assert bench.counters.read()[metrics.ACKED] == 1
        sink.unreadable = False
        await until(lambda: progress.complete)


async def test_a_call_that_never_returns_is_tried_again() -> None:
    """No sink can hold a lane: its own deadline ends the attempt."""
    sink = FakeSink()
    sink.hold = asyncio.Event()
    async with running(sink, send_timeout_s=0.02) as bench:
        progress = bench.take()
        await until(lambda: len(sink.attempts) > 2)
        assert "no answer in 0.02 s" in str(progress.sinks()["fake"].problem)
        sink.hold = None
        await until(lambda: progress.complete)


async def test_a_fault_in_a_sinks_own_code_ends_no_lane(caplog: pytest.LogCaptureFixture) -> None:
    """An exception nobody foresaw is logged with its trace, and the event tried again."""
    sink = FakeSink()
    async with running(sink) as bench:
        sink.broken = KeyError("a bug")
        progress = bench.take()
        await until(lambda: len(sink.attempts) > 2)
        sink.broken = None
        await until(lambda: progress.complete)
    assert any(r.exc_info for r in caplog.records)


async def test_a_backlog_stays_in_the_spool(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory holds a bounded part of a backlog; the rest is read when it is its turn."""
    monkeypatch.setattr(module, "MAX_HELD", 10)
    sink = FakeSink()
    async with running(sink) as bench:
        sink.down = True
        progress = bench.take(100)
        lane = bench.drain.outlets[0].lanes[LOG]
        assert len(lane._queue) + len(lane._failed) + lane._in_flight <= 11
        sink.down = False
        await until(lambda: progress.complete)
    assert [seq for _, seq in sink.stored] == list(range(1, 101))
    assert len(bench.fetched) > 10


async def test_logs_of_earlier_runs_are_drained_from_where_they_were() -> None:
    """Only what the sink does not hold for certain is sent again."""
    sink = FakeSink()
    bench = Bench(sink)
    old = bench.write(5, "old")
    sink.store += [r.raw for r in old[:3]]
    bench.drain.resume("fake", {"old": Position(5, bytes(32))}, {"old": Mark(3, "2")})
    await bench.drain.start()
    progress = bench.take()
    await until(lambda: progress.complete and bench.idle)
    assert sorted(sink.stored) == [(LOG, 1), ("old", old[3].seq), ("old", old[4].seq)]
    assert {(m.log, m.mark.durable) for m in bench.drain.marks()} == {("old", 5), (LOG, 1)}
    assert bench.drain.marks() == []
    assert sorted(bench.drain.drained()) == sorted([LOG, "old"])
    await bench.drain.stop()


@pytest.mark.parametrize("left", [[], [b"log 1"], [b"other"] * 3])
async def test_a_store_that_lost_what_it_had_is_filled_again(
    left: list[bytes | None], caplog: pytest.LogCaptureFixture
) -> None:
    """Emptied, restored from an old copy, or made anew: noticed at the next start, and healed."""
    sink = FakeSink(any_order=True)
    sink.store = left
    bench = Bench(sink)
    bench.write(3)
    bench.drain.resume("fake", {LOG: Position(3, bytes(32))}, {LOG: Mark(3, "2")})
    await bench.drain.start()
    await until(lambda: bench.counters.read()[metrics.REWINDS] and bench.idle)
    assert {f"log {n}".encode() for n in (1, 2, 3)} <= set(filter(None, sink.store))
    assert "has lost events" in caplog.text
    await bench.drain.stop()


async def test_a_mark_beyond_its_log_is_not_believed() -> None:
    """A spool whose note of progress was damaged sends everything again."""
    sink = FakeSink()
    bench = Bench(sink)
    bench.write(3)
    bench.drain.resume("fake", {LOG: Position(3, bytes(32))}, {LOG: Mark(99, "98")})
    await bench.drain.start()
    await until(lambda: bench.idle)
    assert sink.holds(3)
    await bench.drain.stop()


async def test_without_the_look_a_loss_goes_unnoticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: a mark is believed, and the store stays empty."""
    monkeypatch.setattr(module.Lane, "look", lambda _: None)
    sink = FakeSink()
    bench = Bench(sink)
    bench.write(3)
    bench.drain.resume("fake", {LOG: Position(3, bytes(32))}, {LOG: Mark(3, "2")})
    await bench.drain.start()
    assert bench.idle
    await bench.drain.stop()
    assert sink.store == []


async def test_a_store_that_is_emptied_meanwhile_is_filled_again() -> None:
    """After an outage the lane looks again; the store's deduplication does not fool it."""
    sink = FakeSink()
    async with running(sink) as bench:
        bench.take(3)
        await until(lambda: bench.idle)
        sink.store.clear()  # the ids are still known: every plain retry is a "duplicate"
        sink.down = True
        bench.take()
        await until(lambda: bench.drain.status()[0].problem)
        sink.down = False
        await until(lambda: sink.holds(4) and bench.idle)


async def test_looks_do_not_pile_up() -> None:
    """While a store cannot be read one look goes on trying, and why is said until it can."""
    sink = FakeSink()
    async with running(sink) as bench:
        bench.take(3)
        await until(lambda: bench.idle)
        sink.unreadable = True
        for _ in range(10):
            bench.drain.look()
        await until(lambda: bench.drain.status()[0].problem == "fake: cannot be read")
        assert len(bench.drain.outlets[0]._tasks) == 1
        sink.unreadable = False
        await until(lambda: bench.drain.status()[0].problem is None)


async def test_a_store_that_kept_everything_is_sent_nothing() -> None:
    """Negative control of the look: nothing lost, nothing rewound."""
    sink = FakeSink()
    async with running(sink) as bench:
        bench.take(3)
        await until(lambda: bench.idle)
        looks = [lane.mark for lane in bench.drain.outlets[0].lanes.values()]
        bench.drain.look()
        bench.take()
        await until(lambda: bench.idle)
        assert looks[0].durable == 3
        assert bench.counters.read()[metrics.REWINDS] == 0
    assert len(sink.attempts) == 4


async def test_one_dead_sink_holds_up_no_other() -> None:
    """Each sink has its own lanes, deadline and marks."""
    dead, good = FakeSink("dead"), FakeSink("good")
    async with running(dead, good) as bench:
        dead.hold = asyncio.Event()
        progress = bench.take(3)
        await until(lambda: progress.sinks()["good"].state is State.DURABLE)
        assert progress.sinks()["dead"].state is State.ACCEPTED
        assert bench.drain.drained() == []


async def test_a_sink_that_comes_late_is_drained_then() -> None:
    """A broker that is away at the start is no error, and gets everything once it is there."""
    sink = FakeSink()
    sink.down = True
    async with running(sink) as bench:
        progress = bench.take(2)
        assert progress.sinks()["fake"].problem == "fake: cannot be reached"
        sink.down = False
        await until(lambda: progress.complete)


async def test_a_store_that_would_lose_kills_refuses_the_start() -> None:
    """Where no sink is left, starting fails with the setting's name."""
    sink = FakeSink()
    sink.refuses = "deny_purge is off"
    bench = Bench(sink)
    with pytest.raises(SinkRefused, match="deny_purge"):
        await bench.drain.start()
    await bench.drain.stop()


async def test_one_refused_sink_of_two_is_said_loudly() -> None:
    """The other one works; the refusal shows in the status, and heals when it is mended."""
    bad, good = FakeSink("bad"), FakeSink("good")
    bad.refuses = "deny_purge is off"
    async with running(bad, good) as bench:
        assert [s.ready for s in bench.drain.status()] == [False, True]
        assert "deny_purge" in str(bench.drain.status()[0].problem)
        bad.refuses = None
        progress = bench.take()
        await until(lambda: progress.complete)


async def test_heads_do_not_queue() -> None:
    """While one head is under way the next is left out; a failed one is counted."""
    sink = FakeSink()
    async with running(sink) as bench:
        bench.drain.announce("soc", b"1")
        bench.drain.announce("soc", b"2")
        await until(lambda: sink.heads)
        assert sink.heads == [b"1"]
        sink.down = True
        announcing = bench.drain.outlets[0]._announcing
        assert announcing is not None
        await until(announcing.done)
        bench.drain.announce("soc", b"3")
        await until(lambda: bench.counters.read()[metrics.HEAD_FAILURES])
    assert sink.heads == [b"1"]


async def test_nobody_is_kept_waiting_for_in_memory() -> None:
    """A request that was answered leaves nothing behind in the lanes."""
    sink = FakeSink()
    async with running(sink) as bench:
        sink.down = True
        progress = bench.take(3)
        bench.drain.forget([(LOG, 1), (LOG, 2), (LOG, 3)], progress)
        lane = bench.drain.outlets[0].lanes[LOG]
        assert lane._watch == {}
        sink.down = False
        await until(lambda: bench.idle)
        assert (lane._acked, lane._above, lane._failed) == (set(), {}, {})


class PromptSink(FakeSink):
    """A sink that can send at once, if it was armed; `append` then only confirms."""

    def __init__(self) -> None:
        super().__init__(any_order=True)
        self.armed: set[str] = set()
        self.at_once: list[Record] = []
        self._unasked: set[int] = set()
        self.on_answer: Callable[[], None] | None = None

    def arm(self, log: str) -> None:
        """Be ready for one event."""
        self.armed.add(log)

    def send(self, record: Record) -> bool:
        """Send it, once armed."""
        if record.log not in self.armed:
            return False
        self.armed.discard(record.log)
        self.at_once.append(record)
        self._unasked.add(record.seq)
        return True

    def was_sent(self, record: Record) -> bool:
        """Whether nobody asked for its answer yet."""
        return record.seq in self._unasked

    async def append(self, record: Record, *, repair: bool = False) -> Stored:
        """Store, and note that the answer was asked for."""
        self._unasked.discard(record.seq)
        return await super().append(record, repair=repair)


async def test_an_event_is_sent_before_the_loop_knows_of_it() -> None:
    """The thread that commits it sends; the loop does not send it again, and arms the sink anew."""
    sink = PromptSink()
    async with running(sink) as bench:
        for count in (1, 2):
            await until(lambda: sink.armed == {LOG} or not bench.drain.outlets[0].lanes)
            bench.drain.outlets[0].lane(LOG)
            records = bench.write()
            await asyncio.to_thread(bench.drain.send, records)
            assert sink.at_once == bench.spool
            progress = Progress([sink.name], 1, 0.0)
            bench.drain.take(records, progress)
            await until(lambda: progress.complete)  # noqa: B023 - awaited within the turn
            assert sink.at_once == bench.spool
            assert len(sink.stored) == count


async def test_a_sink_that_is_not_armed_gets_the_event_from_the_loop() -> None:
    """Nothing is lost, and the order of things is free."""
    sink = PromptSink()
    async with running(sink) as bench:
        records = bench.write()
        bench.drain.send(records)  # there is no lane yet
        assert sink.at_once == []
        bench.drain.take(records, Progress([sink.name], 1, 0.0))
        await until(lambda: bench.idle)
        assert sink.at_once == records


async def test_a_failing_sink_is_not_sent_to_past_its_back_off() -> None:
    """A store that is away is tried by the loop, which knows how often."""
    sink = PromptSink()
    async with running(sink, **config_()) as bench:
        bench.take()
        await until(lambda: bench.idle)
        sink.down = True
        bench.take()
        await until(lambda: bench.drain.outlets[0].lanes[LOG].problem)
        sink.armed.add(LOG)
        before = list(sink.at_once)
        bench.drain.send(bench.write())
        assert sink.at_once == before


async def test_as_many_as_are_under_way_at_most_are_sent_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The others wait in the spool, as ever."""
    monkeypatch.setattr(module, "WINDOW", 2)
    sink = PromptSink()
    sink.hold = asyncio.Event()
    async with running(sink) as bench:
        bench.take(2)
        await until(lambda: len(sink.attempts) == 2)
        sink.armed.add(LOG)
        third = bench.write()
        bench.drain.send(third)
        assert third[0] not in sink.at_once
        sink.hold.set()
        bench.drain.take(third, Progress([sink.name], 1, 0.0))
        await until(lambda: bench.idle)


async def test_what_nobody_handed_over_is_sent_from_the_spool() -> None:
    """An interrupt may end a hand-over; the control: without looking, nothing is sent."""
    sink = FakeSink()
    async with running(sink) as bench:
        bench.take()
        await until(lambda: bench.idle)
        bench.write(2)
        bench.drain.look()
        assert bench.idle  # it knows of nothing
        bench.drain.catch_up({LOG: Position(3, b"")})
        await until(lambda: bench.idle and len(sink.stored) == 3)
        bench.drain.catch_up({LOG: Position(3, b"")})
        assert bench.idle
    assert len(sink.attempts) == 3


async def test_what_was_left_is_taken_when_the_answer_is_there() -> None:
    """The loop needs no other waking; the control: until then it does nothing."""
    sink = PromptSink()
    async with running(sink) as bench:
        bench.take()
        await until(lambda: bench.idle)
        records, progress = bench.write(), Progress([sink.name], 1, 0.0)
        assert await asyncio.to_thread(bench.drain.send, records)
        await asyncio.to_thread(bench.drain.leave, records, progress)
        assert bench.drain.outlets[0].lanes[LOG].accepted == 1
        assert sink.on_answer is not None
        sink.on_answer()
        assert bench.drain.outlets[0].lanes[LOG].accepted == 2
        await until(lambda: progress.complete)
    assert sink.at_once == bench.spool


async def test_a_hand_over_that_comes_late_is_told_what_was_before_it() -> None:
    """A backlog is read from the spool, new events with it: they may be durable by then."""
    sink = PromptSink()
    async with running(sink) as bench:
        records = bench.write(3)
        bench.drain.catch_up({LOG: Position(1, b"")})
        await until(lambda: bench.drain.outlets[0].lanes[LOG].durable == 3)
        progress = Progress([sink.name], 2, 0.0)
        bench.drain.take(records[1:], progress)
        assert progress.complete
        assert progress.wait(0)
        assert bench.drain.outlets[0].lanes[LOG]._watch == {}


async def test_a_hand_over_that_comes_between_ack_and_read_back_is_told_of_both() -> None:
    """The receipt says when it was acknowledged, or nothing."""
    sink = PromptSink()
    async with running(sink, **config_()) as bench:
        sink.unreadable = True
        records = bench.write(2)
        bench.drain.catch_up({LOG: Position(1, b"")})
        lane = bench.drain.outlets[0].lanes[LOG]
        await until(lambda: lane._acked == {1, 2})
        progress = Progress([sink.name], 1, 0.0)
        bench.drain.take(records[1:], progress)
        assert progress.sinks()[sink.name].state is State.ACKED


async def test_on_a_new_connection_the_sink_is_armed_anew() -> None:
    """What was armed died with the old one, and the next kill shall not wait for the loop."""
    sink = LinkedPromptSink()
    async with running(sink) as bench:
        bench.take()
        await until(lambda: bench.idle)
        sink.armed.clear()
        assert sink.on_linked is not None
        sink.on_linked()
        assert sink.armed == {LOG}


class LinkedPromptSink(PromptSink, LinkedSink):
    """Both."""


async def test_not_all_was_sent_where_one_sink_needs_the_loop() -> None:
    """Then it has to be woken at once, for that one."""
    prompt, slow = PromptSink(), FakeSink("slow")
    async with running(prompt, slow) as bench:
        bench.take()
        await until(lambda: bench.idle)
        assert not bench.drain.send(bench.write())
        assert prompt.at_once == bench.spool
        bench.drain.take_left()
