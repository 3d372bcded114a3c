"""A lane into a store that keeps a log in order, and says at once what it lost."""

import asyncio

from rescind_publisher import metrics
from rescind_publisher.errors import SinkLost, SinkUnavailable
from rescind_publisher.sinks.base import Record, Stored
from tests.fakes.sink import FakeSink
from tests.fakes.waiting import until
from tests.unit.publisher.test_drain import running


class OrderedSink(FakeSink):
    """Appends only the next number; several calls may be under way."""

    pipelined = True

    def __init__(self) -> None:
        super().__init__()
        self.forgets_quietly = False
        self.refuses_above: int | None = None
        self._top = 0

    async def append(self, record: Record, *, repair: bool = False) -> Stored:
        """Compare and append."""
        self.attempts.append((record.seq, repair))
        self._check()
        if self.hold is not None:
            await self.hold.wait()
        if self.refuses_above is not None and record.seq > self.refuses_above:
            raise SinkUnavailable(f"{self.name}: full")
        had, self._top = self._top, len(self.store)
        if record.seq > len(self.store) + 1:
            if had > len(self.store) and not self.forgets_quietly:
                raise SinkLost(f"{self.name}: lost")
            raise SinkUnavailable(f"{self.name}: a gap")
        if record.seq > len(self.store):
            self.store.append(record.raw)
        self._top = len(self.store)
        return Stored(str(record.seq - 1), duplicate=False)


async def test_many_under_way_in_order() -> None:
    """Several are sent without waiting; each is stored once, in order."""
    sink = OrderedSink()
    async with running(sink) as bench:
        bench.take(500)
        await until(lambda: bench.idle)
    assert sink.store == [b"log %d" % n for n in range(1, 501)]
    assert len(sink.attempts) == 500


async def test_a_store_that_says_it_lost_is_filled_at_once() -> None:
    """The next event brings the whole log again, without waiting for a look."""
    sink = OrderedSink()
    async with running(sink) as bench:
        bench.take(100)
        await until(lambda: bench.idle)
        del sink.store[40:]
        progress = bench.take()
        await until(lambda: progress.complete and bench.idle)
        assert bench.counters.read()[metrics.REWINDS] == 1
    assert sink.store == [b"log %d" % n for n in range(1, 102)]


async def test_what_is_under_way_at_a_rewind_holds_nothing_up() -> None:
    """Events sent beside the one that found the loss fail too; nothing waits for their retry."""
    sink = OrderedSink()
    async with running(sink, retry_min_s=3600.0, retry_max_s=3600.0) as bench:
        bench.take(100)
        await until(lambda: bench.idle)
        del sink.store[40:]
        sink.hold = asyncio.Event()
        bench.take(30)
        await until(lambda: len(sink.attempts) == 130)
        sink.hold.set()
        await until(lambda: bench.idle)
        assert bench.counters.read()[metrics.REWINDS] == 1
    assert sink.store == [b"log %d" % n for n in range(1, 131)]


async def test_a_rewind_in_the_midst_of_failures_goes_on() -> None:
    """What failed before a rewind is forgotten with its problem: the lane is not held by it."""
    sink = OrderedSink()
    sink.forgets_quietly = True
    async with running(sink, retry_min_s=3600.0, retry_max_s=3600.0) as bench:
        bench.take(3)
        await until(lambda: bench.idle)
        sink.refuses_above = 3
        bench.take(5)
        await until(lambda: bench.drain.status()[0].problem)
        del sink.store[1:]
        sink.refuses_above = None
        bench.drain.look()  # an hour before the next attempt
        await until(lambda: bench.idle)
    assert sink.store == [b"log %d" % n for n in range(1, 9)]
