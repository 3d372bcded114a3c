"""`reports`: a storm of thousands of subscribers that report one kill, spread and not spread.

Each reporter is the real step (`rescind_subscriber.reporting`) with a random draw of its own; all
of them share one process, a few connections and one verification of the kill, so that the machine
measures the reports and not ten thousand signatures. The server with the deployed configuration,
the publisher with its roster and its listener are whole. The control sets the spread to nothing.
"""

import asyncio
import heapq
import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec

from benchmarks.material import FABRIC, PUBLISHER, Publisher, badge_kill
from benchmarks.stats import Row, progress
from rescind.embedded import EmbeddedServer
from rescind_guard.passed import PassedCalls
from rescind_protocol import events, heads, reports, subjects
from rescind_protocol.trust import Trust, TrustFile
from rescind_publisher import KillSwitch, PublisherConfig
from rescind_publisher import Publisher as Engine
from rescind_publisher.applied import Applied
from rescind_publisher.listeners.nats import NatsListener
from rescind_publisher.sinks.nats import NatsSink
from rescind_subscriber import reporting
from rescind_subscriber.nats_link import Link, NatsOptions
from rescind_subscriber.reporting import Condition, Reporting, Self

WAIT_S = 30.0
CONNECTIONS = 4
PEAK_S = 0.25
"""The busiest quarter of a second counts."""
PEAK_OVER = 1.3
"""What a random draw, and a simulator that was held up, may lie above the share."""


class Plan(msgspec.Struct, frozen=True):
    """How much is measured."""

    reporters: int = 3000
    kills: int = 3


QUICK = Plan(reporters=100, kills=1)


class Storm(msgspec.Struct, frozen=True):
    """One fleet's answers to one kill; medians over the kills."""

    receipt_ms: float
    """Until the receipt says that all have applied it."""
    peak_per_s: float
    """Reports in the busiest quarter of a second, as a rate."""
    heard: int
    """Subscribers that the receipt counts."""
    cpu_ms: float
    """Of the publisher's process."""
    longest_kill_ms: float
    """Another kill, made in the middle of the answers, until the broker has it."""


class Result(msgspec.Struct, frozen=True):
    """What the spread is for."""

    reporters: int
    spread: Storm
    at_once: Storm
    limit_per_s: float
    report_bytes: int

    def rows(self) -> list[Row]:
        """Return what people read."""
        n, limit = self.reporters, self.limit_per_s * PEAK_OVER
        return [
            Row(f"receipt of {n} subscribers, spread", self.spread.receipt_ms, "ms"),
            Row("  reports, busiest quarter of a second", self.spread.peak_per_s, "/s", limit),
            Row("  publisher's CPU", self.spread.cpu_ms, "ms"),
            Row("  another kill meanwhile, durable", self.spread.longest_kill_ms, "ms"),
            Row("the same without the spread", self.at_once.receipt_ms, "ms"),
            Row("  reports, busiest quarter of a second", self.at_once.peak_per_s, "/s"),
            Row("  publisher's CPU", self.at_once.cpu_ms, "ms"),
            Row("  another kill meanwhile, durable", self.at_once.longest_kill_ms, "ms"),
            Row(f"  one report has {self.report_bytes} bytes", ""),
        ]


def run(plan: Plan) -> Result:
    """Measure."""
    publisher = Publisher()
    with tempfile.TemporaryDirectory() as folder, EmbeddedServer(Path(folder) / "nats") as server:
        spread = _measure(plan, publisher, server, Path(folder), spread=True)
        at_once = _measure(plan, publisher, server, Path(folder), spread=False)
    progress()
    return Result(plan.reporters, spread, at_once, reporting.REPORTS_PER_S, _report_bytes())


def _report_bytes() -> int:
    step = Reporting(_who(0), PassedCalls(), now=0.0, every_s=30.0)
    return len(reports.make(step.report(Condition("LIVE", 0.1, {}), now=1.0, wall=time.time())))


@contextmanager
def _reporting(plan: Plan, publisher: Publisher, url: str, *, spread: bool) -> Iterator[None]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    work = context.Process(
        target=_reporters,
        args=(theirs, url, publisher.trust_file, plan.reporters, spread),
        daemon=True,
    )
    work.start()
    try:
        ours.recv()
        yield
    finally:
        ours.send("end")
        work.join()


def _measure(
    plan: Plan, publisher: Publisher, server: EmbeddedServer, folder: Path, *, spread: bool
) -> Storm:
    options = NatsOptions(url=server.url_for("publisher"), inbox_prefix="_INBOX_pub")
    config = PublisherConfig(
        fabric=FABRIC, publisher=PUBLISHER, spool=folder / f"spool-{spread}", heartbeat_s=0.5
    )
    engine = Engine(
        config,
        key=publisher.key,
        trust=publisher.trust,
        sinks=[NatsSink(FABRIC, options)],
        listeners=[NatsListener(FABRIC, options)],
    )
    with (
        KillSwitch(engine) as switch,
        _reporting(plan, publisher, server.url_for("subscriber"), spread=spread),
    ):
        progress(f"reports: {plan.reporters} subscribers introduce themselves")
        _wait_known(engine, plan.reporters)
        storms = []
        for number in range(plan.kills):
            progress(f"reports: kill {number + 1} of {plan.kills}, spread {spread}")
            storms.append(_storm(engine, switch))
    return sorted(storms, key=lambda storm: storm.receipt_ms)[len(storms) // 2]


def _wait_known(engine: Engine, count: int) -> None:
    deadline = time.monotonic() + WAIT_S
    settled_at = 0.0
    while engine.roster.size < count or time.monotonic() < settled_at:
        assert time.monotonic() < deadline, f"{engine.roster.size} of {count} reporters came"
        if engine.roster.size == count and not settled_at:
            settled_at = time.monotonic() + 6.0  # the roll call is over, the fleet's size is heard
        time.sleep(0.05)


def _storm(engine: Engine, switch: KillSwitch) -> Storm:
    """Kill, and kill once more in the middle of the answers."""
    others: list[float] = []

    def told(applied: Applied) -> None:
        if others or not applied.done:
            return
        begun = time.perf_counter()
        receipt = switch.kill_many([badge_kill().target])
        assert receipt.durable
        others.append((time.perf_counter() - begun) * 1000)

    begun, cpu = time.perf_counter(), time.process_time()
    arrivals = _Arrivals(engine)
    receipt = switch.kill_many([badge_kill().target], wait_s=WAIT_S, told=told)
    taken = (time.perf_counter() - begun) * 1000
    assert receipt.applied is not None
    assert receipt.applied.complete, str(receipt.applied)
    return Storm(
        receipt_ms=taken,
        peak_per_s=arrivals.peak_per_s(),
        heard=receipt.applied.done,
        cpu_ms=(time.process_time() - cpu) * 1000,
        longest_kill_ms=max(others, default=0.0),
    )


class _Arrivals:
    """When reports came, read off the roster itself."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._since = engine, time.perf_counter()

    def peak_per_s(self) -> float:
        """Return the greatest rate over `PEAK_S`."""
        with self._engine.roster.lock:
            times = sorted(e.at for e in self._engine.roster.entries() if e.at >= self._since)
        counts: dict[int, int] = {}
        for at in times:
            slot = int((at - self._since) / PEAK_S)
            counts[slot] = counts.get(slot, 0) + 1
        return max(counts.values(), default=0) / PEAK_S


# --- the reporters' process ---


def _who(number: int) -> Self:
    return Self(f"eu-{number}", "bench", f"run-{number}", number, "0.1.0")


def _reporters(pipe: Connection, url: str, file: TrustFile, count: int, spread: bool) -> None:  # noqa: FBT001 - handed to a process
    asyncio.run(_Storming(pipe, url, Trust(file), count, spread=spread).run())


class _Storming:
    """All reporters of one process, in order of what is due."""

    def __init__(
        self, pipe: Connection, url: str, trust: Trust, count: int, *, spread: bool
    ) -> None:
        self._pipe, self._trust, self._spread = pipe, trust, spread
        self._options = NatsOptions(url=url, inbox_prefix="_INBOX_sub")
        now, calls = self._now(), PassedCalls()
        self._steps = [Reporting(_who(n), calls, now=now, every_s=300.0) for n in range(count)]
        self._fleet = 0
        self._logs: dict[str, int] = {}
        self._due: list[tuple[float, int]] = []
        self._woken = asyncio.Event()

    @staticmethod
    def _now() -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    async def run(self) -> None:
        """Report until the parent says that it is enough."""
        links = [self._link() for _ in range(CONNECTIONS)]
        for link in links:
            await link.start()
        await links[0].listen(subjects.logs(FABRIC), self._heard)
        await links[0].listen(subjects.heads(FABRIC), self._headed)
        await links[0].flush()
        self._plan()
        self._pipe.send("ready")
        task = asyncio.create_task(self._keep_reporting(links))
        await asyncio.to_thread(self._pipe.recv)
        task.cancel()
        for link in links:
            await link.stop()

    def _link(self) -> Link:
        async def up() -> None:
            """Nothing to do."""

        return Link(self._options, on_up=up, on_down=lambda _: None, on_problem=lambda _: None)

    def _heard(self, _subject: str, raw: bytes, _headers: bytes) -> None:
        event, now = events.authenticate(raw, self._trust), self._now()
        self._logs[event.log] = max(event.seq, self._logs.get(event.log, 0))
        for step in self._steps:
            step.applied(event, now)
        self._plan()

    def _headed(self, _subject: str, raw: bytes, _headers: bytes) -> None:
        head, now = heads.authenticate(raw, self._trust), self._now()
        if head.count > reporting.ROLL_CALL_HEADS and head.fleet == self._fleet:
            return
        self._fleet = head.fleet
        for step in self._steps:
            step.headed(head, now)
            step.fleet = step.fleet if self._spread else 0
        self._plan()

    def _plan(self) -> None:
        self._due = [(step.due_at, n) for n, step in enumerate(self._steps)]
        heapq.heapify(self._due)
        self._woken.set()

    async def _keep_reporting(self, links: list[Link]) -> None:
        while True:
            at, number = self._due[0]
            if (left := at - self._now()) > 0:
                self._woken.clear()
                try:
                    async with asyncio.timeout(left):
                        await self._woken.wait()
                except TimeoutError:
                    pass
                continue
            step = self._steps[number]
            said = step.report(
                Condition("LIVE", 0.1, self._logs), now=self._now(), wall=time.time()
            )
            await links[number % CONNECTIONS].publish(
                subjects.report(FABRIC, said.name), reports.make(said)
            )
            heapq.heapreplace(self._due, (step.due_at, number))
