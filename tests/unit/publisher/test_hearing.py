"""Listening to reports: started again for ever, and a flood cut off before it costs anything."""

import asyncio
from collections.abc import Iterator

import pytest

from rescind_protocol import reports
from rescind_protocol.limits import MAX_REPORT_BYTES
from rescind_publisher import hearing, metrics
from rescind_publisher.errors import SinkRefused
from rescind_publisher.hearing import Allowance, Ear, Hearing
from rescind_publisher.listeners.base import Ears
from rescind_publisher.metrics import Counters
from rescind_publisher.roster import Roster
from tests.fakes.clock import FakeClock
from tests.fakes.reporting import report
from tests.fakes.waiting import until


class FakeListener:
    """A listener whose reports and failures are the test's to say."""

    name = "fake"

    def __init__(self) -> None:
        self.fails: Iterator[Exception | None] = iter(())
        self.starts = self.stops = 0
        self.ears: Ears | None = None

    async def start(self, ears: Ears) -> None:
        """Start, or fail as the script says."""
        self.starts += 1
        if (error := next(self.fails, None)) is not None:
            raise error
        self.ears = ears
        ears.listening()

    async def stop(self) -> None:
        """Close."""
        self.stops += 1
        self.ears = None


@pytest.fixture
def listener() -> FakeListener:
    """A listener."""
    return FakeListener()


@pytest.fixture
def heard(listener: FakeListener, monkeypatch: pytest.MonkeyPatch) -> Hearing:
    """What hears it, with short waits; not started."""
    monkeypatch.setattr(hearing, "REFUSED_WAIT_S", 0.001)
    monkeypatch.setattr(hearing, "PAUSE_S", 0.001)
    return Hearing(Roster(), [listener], Counters(), FakeClock())


async def test_reports_come_onto_the_roster(heard: Hearing, listener: FakeListener) -> None:
    """Those that count and those that do not are counted apart."""
    heard.start()
    await until(lambda: listener.ears)
    assert listener.ears is not None
    listener.ears.heard(reports.make(report()))
    listener.ears.heard(b"junk")
    assert len(heard._roster) == 1
    assert heard._roster.since is not None
    counts = heard._counters.read()
    assert (counts[metrics.REPORTS], counts[metrics.REPORTS_REFUSED]) == (1, 1)
    await heard.stop()
    assert listener.ears is None


async def test_reports_are_missed_only_if_nobody_hears(monkeypatch: pytest.MonkeyPatch) -> None:
    """One broker away is no trouble while reports come through the other."""
    monkeypatch.setattr(hearing, "REFUSED_WAIT_S", 1000.0)
    first, second = FakeListener(), FakeListener()
    second.name = "other"
    both = Hearing(Roster(), [first, second], Counters(), FakeClock())
    both.start()
    await until(lambda: first.ears and second.ears)
    assert first.ears is not None
    assert second.ears is not None
    said = []
    first.ears.deaf("NATS is away")
    said.append(both._roster.problem)
    second.ears.deaf("Redis is away")
    said.append(both._roster.problem)
    first.ears.listening()
    said.append(both._roster.problem)
    assert said == [None, "NATS is away; Redis is away", None]
    await both.stop()


@pytest.mark.parametrize("fault", [SinkRefused("no such user"), ValueError("a bug")])
async def test_a_listener_that_cannot_start_is_tried_again(
    heard: Hearing,
    listener: FakeListener,
    fault: Exception,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The roster says why reports are missing, until they come."""
    listener.fails = iter([fault] * 3)
    heard.start()
    await until(lambda: listener.ears)
    assert "not listened to" in caplog.text
    assert heard._roster.problem is None
    assert (listener.starts, listener.stops) == (4, 3)
    await heard.stop()


async def test_a_flood_closes_the_connection_for_a_while(
    heard: Hearing, listener: FakeListener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes after the allowance costs one comparison; then everything begins anew."""
    monkeypatch.setattr(hearing, "ALLOWED_PER_S", 10)
    monkeypatch.setattr(hearing.Allowance.__init__, "__defaults__", (10,))
    heard.start()
    await until(lambda: listener.ears)
    flooded = listener.ears
    assert isinstance(flooded, Ear)
    for count in range(1, 500):
        flooded.heard(reports.make(report(count=count)))
    assert heard._counters.read()[metrics.REPORT_FLOODS] == 1
    assert heard._counters.read()[metrics.REPORTS] <= 20  # a second may end in between
    assert "too many" in str(heard._roster.problem)
    await until(lambda: listener.ears not in (None, flooded))
    assert listener.stops == 1
    assert heard._roster.problem is None
    await heard.stop()


def test_the_allowance_is_for_each_second_and_by_size() -> None:
    """Ten small ones, or a large one that counts for as many."""
    allowed = Allowance(10)
    assert [allowed.take(100, 5.1) for _ in range(12)] == [True] * 10 + [False] * 2
    assert allowed.take(100, 6.0)
    assert not allowed.take(10 * MAX_REPORT_BYTES, 6.5)
    assert allowed.take(9 * MAX_REPORT_BYTES, 7.0)


def test_the_allowance_is_beyond_what_a_fleet_may_send() -> None:
    """No fleet that keeps to its spread is ever taken for a flood."""
    from rescind_protocol.limits import MAX_FLEET  # noqa: PLC0415
    from rescind_subscriber.reporting import REPORTS_PER_S  # noqa: PLC0415

    assert hearing.ALLOWED_PER_S >= 4 * REPORTS_PER_S
    assert hearing.ALLOWED_PER_S >= MAX_FLEET


async def test_stopping_while_it_waits_to_start_again(
    heard: Hearing, listener: FakeListener
) -> None:
    """Nothing hangs, and nothing is left running."""
    listener.fails = iter(lambda: SinkRefused("never"), None)
    heard.start()
    await until(lambda: listener.starts > 2)
    await heard.stop()
    starts = listener.starts
    await asyncio.sleep(0)
    assert listener.starts == starts
