"""The scrub: compares all that a sink holds of our logs with the spool, and mends what is missing.

A lane notices that a sink lost its newest event, not one in the middle: a stream restored from an
old copy and grown again, an entry deleted, a disk that lost a block. So, at the start and every
hour or so, and whenever somebody asks:

1. read the sink's content of each log, little by little, and look each event up in the spool
2. send what is missing again, without an id; a log that cannot be filled there moves and is sent
   whole, as a lane does it
3. where that happened, compare once more: what still is missing is an alarm, and so is a fork

It never holds up a kill: it reads at a bounded rate, in small pieces, in tasks of its own.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from rescind_protocol.clock import Clock
from rescind_publisher import metrics
from rescind_publisher.audit import Audit, runs
from rescind_publisher.config import PublisherConfig
from rescind_publisher.drain import Outlet
from rescind_publisher.errors import SinkRefused, SinkUnavailable, SpoolFailed
from rescind_publisher.lane import Fetch, IsFork, Lane, limited
from rescind_publisher.metrics import Counters
from rescind_publisher.sinks.base import Inspectable, Record
from rescind_publisher.status import ScrubStatus
from rescind_subscriber.tasks import jitter, within

_log = logging.getLogger(__name__)
T = TypeVar("T")
Carried = Callable[[], Awaitable[Mapping[str, int]]]
"""Up to which number snapshots carry each log: so much of its front may have been trimmed."""

BYTES_PER_S = 1024 * 1024
"""Read from a sink: some 1,400 ordinary events a second, each compared in about 20 µs."""
POLL_S = 1.0
"""Between two looks at whether a scrub is due."""
IDLE_POLL_S = 0.05
MAX_NAMED = 4


class Bench:
    """One sink under scrub."""

    def __init__(self, outlet: Outlet, store: Inspectable) -> None:
        self.outlet, self.store = outlet, store
        self.status = ScrubStatus()
        self.asked = asyncio.Event()
        self.due_at = 0.0
        """By the loop's clock; the first one as soon as the sink is ready."""

    def note(self, **changes: Any) -> None:
        """Set some fields of the status."""
        self.status = msgspec.structs.replace(self.status, **changes)


class Scrubber:
    """Scrubs every sink that can be looked into; on the publisher's loop, the disk in threads."""

    def __init__(
        self,
        outlets: Sequence[Outlet],
        *,
        fetch: Fetch,
        is_fork: IsFork,
        carried: Carried,
        config: PublisherConfig,
        clock: Clock,
        counters: Counters,
    ) -> None:
        self.benches = [Bench(o, o.sink) for o in outlets if isinstance(o.sink, Inspectable)]
        self._fetch, self._is_fork, self._carried = fetch, is_fork, carried
        self._config, self._clock, self._counters = config, clock, counters
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._keep(bench)) for bench in self.benches]

    async def stop(self) -> None:
        """End; what was not compared is the next one's."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def ask(self) -> None:
        """Begin one in every sink now, behind the one that may be under way."""
        for bench in self.benches:
            bench.asked.set()

    def statuses(self) -> Mapping[str, ScrubStatus]:
        """What the last scrub of each sink found, by the sink's name."""
        return {bench.store.name: bench.status for bench in self.benches}

    async def _keep(self, bench: Bench) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await within(POLL_S, bench.asked)
            if bench.asked.is_set() or (bench.outlet.ready and loop.time() >= bench.due_at):
                bench.asked.clear()
                bench.due_at = loop.time() + self._config.scrub_every_s * jitter(0.75, 1.25)
                await self._one(bench)

    async def _one(self, bench: Bench) -> None:
        """Scrub one sink, and say how it went."""
        lanes = list(bench.outlet.lanes.values())
        done, total = bench.status.done, sum(lane.durable for lane in lanes)
        bench.status = ScrubStatus(running=True, done=done, total=total)
        try:
            for lane in lanes:
                await self._scrub(bench, lane)
        except (SinkUnavailable, SinkRefused, SpoolFailed) as error:
            bench.note(problem=str(error))
        except Exception as error:  # noqa: BLE001 - logged and shown; the next one may do better
            _log.exception("the scrub of %s failed", bench.store.name)
            bench.note(problem=f"{bench.store.name}: the scrub failed ({error!r})")
        bench.note(running=False, done=done + 1, finished_at=self._clock.wall())
        alarm = _alarm(bench)
        if alarm or not bench.status.problem:  # half a look takes no alarm back
            bench.outlet.raise_alarm("scrub", alarm)
        self._counters.add(metrics.SCRUBS)

    async def _scrub(self, bench: Bench, lane: Lane) -> None:
        if why := bench.outlet.problem or lane.problem:  # what is lacking there is on its way
            bench.note(problem=why)
            return
        before = bench.status.checked
        audit = await self._audit(bench, lane, lane.durable)
        self._tell_others(bench, audit)
        if lost := await self._missing(audit):
            await self._mend(bench, lane, lost)
            bench.note(checked=before)
            left = len(await self._missing(await self._audit(bench, lane, audit.upto)))
            bench.note(mended=bench.status.mended + len(lost) - left)
            self._counters.add(metrics.MENDED, len(lost) - left)
        bench.note(checked=before + audit.upto)

    async def _missing(self, audit: Audit) -> list[int]:
        lost = list(audit.missing())
        return lost and list(audit.missing((await self._carried()).get(audit.log, 0)))

    async def _audit(self, bench: Bench, lane: Lane, upto: int) -> Audit:
        """Compare one log up to an event."""
        audit, most = Audit(lane.log, upto, self._is_fork), bench.status.checked + upto
        held = bench.store.contents(lane.log)
        # An end that comes late, or never, is the sink's failure like any other.
        while (batch := await self._limited(bench, anext(held, None))) is not None:
            audit.take(batch, await self._kept(lane.log, batch))
            bench.note(checked=min(bench.status.checked + len(batch), most))
            await asyncio.sleep(sum(len(record.raw) for record in batch) / BYTES_PER_S)
        return audit

    async def _limited(self, bench: Bench, call: Awaitable[T]) -> T:
        return await limited(call, bench.store.name, self._config.send_timeout_s)

    async def _kept(self, log: str, held: Sequence[Record]) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        for first, many in runs(record.seq for record in held if record.seq):
            kept = await self._fetch(log, first - 1, many)
            found |= {record.seq: record.raw for record in kept}
        return found

    async def _mend(self, bench: Bench, lane: Lane, lost: Sequence[int]) -> None:
        """Send what is missing again."""
        bench.note(lost=bench.status.lost + len(lost))
        self._counters.add(metrics.LOST, len(lost))
        some = ", ".join(map(str, lost[:MAX_NAMED])) + ("…" if len(lost) > MAX_NAMED else "")
        words = "%s has lost %d events of log %s that it had (%s): sending them again"
        _log.error(words, bench.store.name, len(lost), lane.log, some)
        for seq in lost:
            kept = await self._fetch(lane.log, seq - 1, 1)
            if kept and not await lane.mend(kept[0]):
                break  # all of the log is sent again
        while not lane.idle and lane.ready and lane.problem is None:  # noqa: ASYNC110 - rare
            await asyncio.sleep(IDLE_POLL_S)

    def _tell_others(self, bench: Bench, audit: Audit) -> None:
        """Say what lies there and is none of the spool's."""
        if audit.foreign:
            self._counters.add(metrics.FOREIGN, audit.foreign)
            words = "%s holds %d messages in log %s that our key has not signed"
            _log.error(words, bench.store.name, audit.foreign, audit.log)
        self._counters.add(metrics.FORKS, len(audit.forks))
        named = tuple(f"event {seq} of log {audit.log}" for seq in sorted(audit.forks))
        bench.note(forks=bench.status.forks + named)
        for each in named:
            _log.error("%s: another %s is signed by our key", bench.store.name, each)


def _alarm(bench: Bench) -> str | None:
    """Return what an operator must look at, in one sentence."""
    name, now = bench.store.name, bench.status
    if now.forks:
        more = f" and {len(now.forks) - 1} more" if len(now.forks) > 1 else ""
        return (
            f"{name}: another {now.forks[0]} is signed by our key{more}: was this spool copied, or "
            "the key stolen? Nothing was overwritten"
        )
    if now.lost > now.mended:
        return (
            f"{name}: {now.lost - now.mended} events that it has lost cannot be stored there again"
        )
    return None
