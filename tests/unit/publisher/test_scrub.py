"""The scrub against a sink with faults: what cannot be compared or mended is said."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from rescind_publisher import metrics, scrub
from rescind_publisher.errors import SinkRefused, SinkUnavailable
from rescind_publisher.scrub import Scrubber
from rescind_publisher.sinks.base import Record, Stored
from rescind_publisher.status import ScrubStatus, SinkStatus
from tests.fakes.clock import FakeClock
from tests.fakes.publishing import config
from tests.fakes.sink import FakeSink
from tests.fakes.waiting import until
from tests.unit.publisher.test_drain import LOG, Bench, running


class OpenSink(FakeSink):
    """A sink that shows what it holds, and takes no repairs if it is told so."""

    def __init__(self, **how: bool) -> None:
        super().__init__(any_order=True)
        self.stubborn = how.get("stubborn", False)
        self.breaks = False

    async def contents(self, log: str) -> AsyncIterator[list[Record]]:
        """Show one event at a time, its number by its words."""
        for raw in filter(None, self.store):
            if self.breaks:
                raise SinkUnavailable("fake: cut off")
            yield [Record(log, int(raw.split()[-1]), raw)]

    async def append(self, record: Record, *, repair: bool = False) -> Stored:
        """Refuse repairs if stubborn."""
        if repair and self.stubborn:
            raise SinkRefused("fake: full")
        return await super().append(record, repair=repair)


class Scrubbed:
    """A drain with a scrubber."""

    def __init__(self, bench: Bench, scrubber: Scrubber) -> None:
        self.bench, self.scrubber = bench, scrubber

    @property
    def status(self) -> ScrubStatus:
        """How the scrub of the sink stands."""
        return self.scrubber.statuses()["fake"]

    @property
    def sink(self) -> SinkStatus:
        """How the sink is."""
        return self.bench.drain.status()[0]

    async def again(self) -> ScrubStatus:
        """Scrub, and return what was found."""
        done = self.status.done + self.status.running
        self.scrubber.ask()
        await until(lambda: self.status.done > done)
        return self.status


@asynccontextmanager
async def scrubbing(sink: OpenSink, events: int = 5, carried: int = 0) -> AsyncIterator[Scrubbed]:
    """Give a drain whose sink holds so many events for certain, and its scrubber.

    `carried`: how many of them snapshots carry.
    """

    async def snapshots() -> dict[str, int]:
        return dict.fromkeys(bench.drain.outlets[0].lanes, carried)

    async with running(sink) as bench:
        bench.take(events)
        await until(lambda: bench.idle)
        scrubber = Scrubber(
            bench.drain.outlets,
            fetch=bench._fetch,
            is_fork=lambda _log, _seq, raw: raw.startswith(b"ours"),
            carried=snapshots,
            config=config(Path("unused")),
            clock=FakeClock(),
            counters=bench.counters,
        )
        scrubber.start()
        try:
            yield Scrubbed(bench, scrubber)
        finally:
            await scrubber.stop()


async def test_a_whole_sink_is_compared_and_left_alone() -> None:
    """Every event is looked at, and nothing is sent."""
    sink = OpenSink()
    async with scrubbing(sink) as at:
        found = await at.again()
        assert (found.checked, found.total, found.lost, found.problem) == (5, 5, 0, None)
        assert len(sink.attempts) == 5


async def test_repairs_carry_no_id() -> None:
    """A sink that tells events by their ids would answer "duplicate" for what is gone."""
    sink = OpenSink()
    async with scrubbing(sink) as at:
        sink.store[2] = None
        found = await at.again()
        assert (found.lost, found.mended) == (1, 1)
        assert sink.attempts[-1] == (3, True)
        assert sink.holds(5)


async def test_what_was_trimmed_behind_snapshots_is_not_sent_again() -> None:
    """It would fill the stream with what an operator took out. Control: one that none carries."""
    sink = OpenSink()
    async with scrubbing(sink, carried=2) as at:
        sink.store[0] = sink.store[1] = None
        assert (await at.again()).lost == 0
        assert len(sink.attempts) == 5
        sink.store[2] = None
        assert (await at.again()).lost == 1
        assert sink.attempts[5:] == [(3, True)]


async def test_what_cannot_be_mended_is_an_alarm_until_it_can() -> None:
    """The sink's status says how many, and is well again once they are stored."""
    sink = OpenSink(stubborn=True)
    async with scrubbing(sink) as at:
        sink.store[2] = sink.store[3] = None
        found = await at.again()
        assert found.problem == "fake: full"
        assert found.mended == 0
        alarm = at.sink.problem
        assert alarm == "fake: 2 events that it has lost cannot be stored there again"
        sink.stubborn = False
        assert (await at.again()).mended == 2
        assert at.sink.problem is None
        counted = at.bench.counters.read()
        assert (counted[metrics.LOST], counted[metrics.MENDED]) == (4, 2)


async def test_half_a_look_takes_no_alarm_back() -> None:
    """A sink that breaks off is said to, and what was found before still stands."""
    sink = OpenSink()
    async with scrubbing(sink) as at:
        sink.store.append(b"ours 4")
        assert (await at.again()).forks == (f"event 4 of log {LOG}",)
        alarm = at.sink.problem
        assert alarm is not None
        sink.breaks = True
        assert (await at.again()).problem == "fake: cut off"
        assert at.sink.problem == alarm
        sink.breaks = False
        sink.store.pop()
        await at.again()
        assert at.sink.problem is None


async def test_a_sink_that_is_down_is_not_compared() -> None:
    """Its lanes' own attempts come first; the reason is said."""
    sink = OpenSink()
    async with scrubbing(sink) as at:
        sink.down = True
        at.bench.take()
        await until(lambda: at.sink.problem)
        assert (await at.again()).problem == "fake: cannot be reached"


async def test_a_defect_in_a_sink_does_not_end_the_scrubs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is said, and the next one runs."""
    sink = OpenSink()
    async with scrubbing(sink) as at:
        with monkeypatch.context() as broken:
            broken.setattr(scrub, "Audit", None)
            assert "the scrub failed" in str((await at.again()).problem)
        assert (await at.again()).problem is None
