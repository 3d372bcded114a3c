"""A lane: the one writer of one log into one sink.

A new event is sent at once. What fails is tried again for ever, from the lowest number on, the
whole unacknowledged suffix in order; while a sink fails, one event probes it. An acknowledgement
is not believed: the event is read back, and only equal bytes are durable (attack A4). Other
bytes, or none, are repaired by sending it again without an id, for the sink's deduplication would
answer "duplicate" for an empty store.

A store can lose what it had: purged, made anew, restored from an old copy. At each opening and
after each failure the lane looks for the newest event it knows there; where other bytes lie, or
none, the whole log is sent again, for nobody but the publisher can heal that.

Everything here runs on the loop's thread.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

from rescind_publisher import metrics
from rescind_publisher.config import PublisherConfig
from rescind_publisher.errors import (
    SinkForked,
    SinkLost,
    SinkRefused,
    SinkUnavailable,
    SpoolFailed,
)
from rescind_publisher.metrics import Counters
from rescind_publisher.receipts import Progress
from rescind_publisher.sinks.base import Movable, Prompt, Record, Sink, Stored
from rescind_publisher.spool import Mark

_log = logging.getLogger(__name__)
T = TypeVar("T")

MAX_HELD = 1024
"""Events of one lane held in memory; a longer backlog stays in the spool until it is its turn."""
WINDOW = 64
"""Events under way at once, where they cannot overtake each other, or may."""

NOTHING = Mark(0, "")
"""The mark of a log that the sink has nothing of."""

Fetch = Callable[[str, int, int], Awaitable[list[Record]]]
"""Read up to n events of a log beyond a number from the spool."""
IsFork = Callable[[str, int, bytes], bool]
"""Whether other bytes at a number of a log are a fork of it; see `rescind_publisher.forks`."""


class Tasks(Protocol):
    """Whoever keeps the tasks of a loop, and ends them with it."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` as a task."""
        ...


class Backoff:
    """Growing waits with jitter, so that publishers do not come back in step."""

    def __init__(self, config: PublisherConfig) -> None:
        self._min_s, self._max_s = config.retry_min_s, config.retry_max_s
        self._next_s = config.retry_min_s

    def next_s(self) -> float:
        """Return how long to wait now."""
        wait_s, self._next_s = self._next_s, min(2 * self._next_s, self._max_s)
        return wait_s * random.uniform(0.5, 1.0)  # noqa: S311 - jitter is no secret

    def reset(self) -> None:
        """Begin again."""
        self._next_s = self._min_s


async def limited(call: Awaitable[T], sink: str, timeout_s: float) -> T:
    """Await a sink with a deadline of ours: nothing it does may hold or end a loop around it."""
    try:
        async with asyncio.timeout(timeout_s):  # unlike wait_for, it costs no task
            return await call
    except (SinkUnavailable, SinkRefused):
        raise  # SinkLost among them
    except TimeoutError as error:
        raise SinkUnavailable(f"{sink}: no answer in {timeout_s:g} s") from error
    except Exception as error:
        # A fault of the sink's own code; a task that ended quietly here would lose the log.
        _log.exception("%s failed in an unforeseen way", sink)
        raise SinkUnavailable(f"{sink}: failed in an unforeseen way ({error!r})") from error


class Lane:
    """The one writer of one log into one sink; `ready` opens it."""

    def __init__(
        self,
        sink: Sink,
        log: str,
        *,
        accepted: int,
        mark: Mark,
        fetch: Fetch,
        is_fork: IsFork,
        tasks: Tasks,
        config: PublisherConfig,
        counters: Counters,
    ) -> None:
        self.sink, self.log = sink, log
        self.accepted = accepted
        """Newest number in the spool."""
        self.mark = mark
        """Up to here everything was read back."""
        self.problem: str | None = None
        """Why the sink does not take the log now."""
        self.trouble: str | None = None
        """Why it cannot be seen whether the sink still holds what it had."""
        self._prompt = sink if isinstance(sink, Prompt) else None
        self.ready = False
        self._any_order: bool = getattr(sink, "any_order", False)
        pipelined: bool = self._any_order or getattr(sink, "pipelined", False)
        self._window = WINDOW if pipelined else 1
        self._era = 0
        """Counts the rewinds: what was under way before one says nothing after it."""
        self._fetch, self._tasks, self._config = fetch, tasks, config
        self._is_fork, self._counters = is_fork, counters
        self._loaded = mark.durable
        self._loading = False
        self._queue: deque[Record] = deque()
        self._failed: dict[int, Record] = {}
        self._repair: set[int] = set()
        self._acked: set[int] = set()
        self._above: dict[int, str] = {}
        self._watch: dict[int, list[Progress]] = {}
        """Requests that wait for an event: the one that made it, and those that it covers."""
        self._in_flight = 0
        self._looking = False
        self._retry: asyncio.TimerHandle | None = None
        self._backoff = Backoff(config)

    def __repr__(self) -> str:
        state = self.problem or ("open" if self.ready else "not open yet")
        return f"<Lane {self.log} to {self.sink.name}: {self.durable}/{self.accepted}, {state}>"

    @property
    def durable(self) -> int:
        """Newest number up to which the sink holds everything for certain."""
        return self.mark.durable

    @property
    def idle(self) -> bool:
        """Whether the sink holds every event for certain."""
        return self.durable == self.accepted

    def send(self, record: Record) -> bool:
        """Send a new event at once, on any thread, if nothing is against it; `push` follows.

        Only a sink for which order is free is prompt: what waits here may be overtaken.
        """
        well = self.ready and self.problem is None and self._in_flight < self._window
        return well and self._prompt is not None and self._prompt.send(record)

    def arm(self) -> None:
        """Make ready what the next event is sent with."""
        if self._prompt is not None and self.ready:
            self._prompt.arm(self.log)

    def push(self, record: Record, progress: Progress | None = None) -> None:
        """Take a new event, which lies in the spool."""
        self.accepted = max(self.accepted, record.seq)  # a hand-over may be overtaken by the next
        if progress is not None:
            self._tell(record.seq, progress)
        if self._loaded == record.seq - 1 and len(self._queue) + len(self._failed) < MAX_HELD:
            self._loaded = record.seq
            self._place(record)
        self.pump()
        self.arm()

    def _tell(self, seq: int, progress: Progress) -> None:
        """Tell of an event from now on, and of what it missed: `_load` may have read it already."""
        durable = seq <= self.durable or seq in self._above
        if durable or seq in self._acked:
            progress.acked(self.sink.name)
        if durable:
            progress.durable(self.sink.name)
            return
        self._watch.setdefault(seq, []).append(progress)
        if not self.ready:
            progress.failing(self.sink.name, self.problem or f"{self.sink.name}: not connected")

    def know(self, seq: int) -> None:
        """Send what the spool holds up to that number, if nobody has handed it over."""
        if seq > self.accepted:
            self.accepted = seq
            self.pump()

    def _place(self, record: Record) -> None:
        """While the sink fails, a new event is an attempt of its own where order is free."""
        free = self._any_order and self._in_flight < self._window
        if self.problem is not None and self.ready and free:
            self._start(record)
        else:
            self._queue.append(record)

    def unwatch(self, seq: int, progress: Progress) -> None:
        """Tell a request of this event no more."""
        left = [each for each in self._watch.pop(seq, ()) if each is not progress]
        if left:
            self._watch[seq] = left

    def open(self) -> None:
        """Begin to send: the sink has started."""
        self.ready, self.problem = True, None
        self.arm()
        self.look()
        self.pump()

    def close(self) -> None:
        """Send nothing more."""
        self.ready = False
        if self._retry is not None:
            self._retry.cancel()

    def pump(self) -> None:
        """Send what may be sent now."""
        if not self.ready or self.problem is not None:
            return
        while self._queue and self._in_flight < self._window:
            self._start(self._queue.popleft())
        if not self._queue and self._loaded < self.accepted and not self._loading:
            self._loading = True
            self._tasks.spawn(self._load())

    # --- what the sink had ---

    def look(self) -> None:
        """Make sure that the sink still holds what it had."""
        if self.ready and self.mark.durable and not self._looking:
            self._looking = True
            self._tasks.spawn(self._look(self.mark, self._era))

    async def _look(self, mark: Mark, era: int) -> None:
        backoff = Backoff(self._config)
        try:
            while self.ready and era == self._era:
                try:
                    await self._find(mark, era)
                except (SinkUnavailable, SinkRefused, SpoolFailed) as error:
                    self.trouble = str(error)
                    await asyncio.sleep(backoff.next_s())
                else:
                    break
            self.trouble = None
        finally:
            self._looking = False

    async def _find(self, mark: Mark, era: int) -> None:
        """Look for the newest event that the sink held; without it all of the log goes again."""
        raw = await self._limited(self.sink.read_back(Stored(mark.position, False)))  # noqa: FBT003
        kept = await self._fetch(self.log, mark.durable - 1, 1)
        if kept and raw != kept[0].raw and era == self._era:
            self._rewind(f"{self.sink.name} has lost events of log {self.log} that it had")

    def _rewind(self, why: str) -> None:
        """Send the whole log again; what is under way from before does not count any more."""
        _log.error("%s: sending all of it again", why)
        self._counters.add(metrics.REWINDS)
        self._era += 1
        self.mark = NOTHING
        self._loaded = 0
        for kept in (self._queue, self._failed, self._acked, self._above):
            kept.clear()
        self.problem = None  # of events that are forgotten: nothing would try them again
        self.pump()

    async def _load(self) -> None:
        after = self._loaded
        try:
            records = await self._fetch(self.log, after, MAX_HELD // 2)
        except SpoolFailed as error:
            _log.error("%s", error)
            await asyncio.sleep(self._backoff.next_s())
        else:
            if records and self._loaded == after:  # else the lane was rewound meanwhile
                self._queue.extend(records)
                self._loaded = records[-1].seq
        finally:
            self._loading = False
        self.pump()

    # --- one event ---

    def _start(self, record: Record) -> None:
        self._in_flight += 1
        prompt = self._prompt if record.seq not in self._repair else None
        if prompt is not None and not prompt.was_sent(record):
            prompt.arm(self.log)
            prompt.send(record)
        self._tasks.spawn(self._deliver(record, self._era))

    async def _deliver(self, record: Record, era: int) -> None:
        try:
            await self._send(record, era)
        except SinkLost as error:
            if era == self._era:
                self._rewind(str(error))
        except (SinkUnavailable, SinkRefused) as error:
            if era == self._era:
                self._fail(record, error)
        if era != self._era:
            self.pump()

    async def _send(self, record: Record, era: int) -> None:
        try:
            stored = await self._append(record, repair=record.seq in self._repair)
        finally:
            self._in_flight -= 1
        if era == self._era:
            self._recover()
            self._note_acked(record)
            self.pump()
            await self._confirm(record, stored)

    async def mend(self, record: Record) -> bool:
        """Send an event again that the sink held and has lost; False: all of the log is sent again.

        Raises `SinkUnavailable`, `SinkRefused`.
        """
        era = self._era
        try:
            await self._mended(record)
        except SinkLost as error:
            if era == self._era:
                self._rewind(str(error))
            return False
        return era == self._era

    async def _append(self, record: Record, *, repair: bool) -> Stored:
        try:
            return await self._limited(self.sink.append(record, repair=repair))
        except SinkForked as error:
            raise self._judged(record, error) from error

    def _judged(self, record: Record, error: SinkForked) -> SinkUnavailable | SinkRefused:
        """Only what our key has signed is a fork; a store full of garbage is left behind."""
        fork = self._is_fork(record.log, record.seq, error.found)
        if fork or not isinstance(self.sink, Movable):
            return error
        said = self.sink.leave(error.position, f"has bytes that are not ours at {record.seq}")
        self._counters.add(metrics.FOREIGN, isinstance(said, SinkLost))
        return said

    async def _confirm(self, record: Record, stored: Stored) -> None:
        era = self._era
        raw = await self._limited(self.sink.read_back(stored))
        if raw != record.raw:
            stored = await self._mend(record, found_other=raw is not None)
        if era == self._era:
            self._note_durable(record.seq, stored.position)

    async def _mend(self, record: Record, *, found_other: bool) -> Stored:
        self._counters.add(metrics.REPAIRS)
        self._repair.add(record.seq)
        _log.error(
            "%s acknowledged event %d of log %s and holds %s: sending it again",
            self.sink.name,
            record.seq,
            record.log,
            "other bytes" if found_other else "nothing",
        )
        return await self._mended(record)

    async def _mended(self, record: Record) -> Stored:
        stored = await self._append(record, repair=True)
        if await self._limited(self.sink.read_back(stored)) != record.raw:
            raise SinkRefused(f"{self.sink.name}: acknowledges events and does not keep them")
        return stored

    async def _limited(self, call: Awaitable[T]) -> T:
        return await limited(call, self.sink.name, self._config.send_timeout_s)

    # --- what became of it ---

    def _note_acked(self, record: Record) -> None:
        if record.seq in self._acked:
            return
        self._acked.add(record.seq)
        self._counters.add(metrics.ACKED)
        for progress in self._watch.get(record.seq, ()):
            progress.acked(self.sink.name)

    def _note_durable(self, seq: int, position: str) -> None:
        self._counters.add(metrics.DURABLE)
        self._acked.discard(seq)
        self._repair.discard(seq)
        if seq > self.durable:
            self._above[seq] = position
        while (at := self._above.pop(self.durable + 1, None)) is not None:
            self.mark = Mark(self.durable + 1, at)
        for progress in self._watch.pop(seq, ()):
            progress.durable(self.sink.name)

    def _fail(self, record: Record, error: Exception) -> None:
        self._counters.add(metrics.SEND_FAILURES)
        if self.problem is None:
            _log.warning("%s; trying again until it succeeds", error)
        self.problem = str(error)
        self._failed[record.seq] = record
        for progress in self._watch.get(record.seq, ()):
            progress.failing(self.sink.name, self.problem)
        if self._retry is None and self.ready:
            wait_s = self._backoff.next_s()
            self._retry = asyncio.get_running_loop().call_later(wait_s, self._probe)

    def retry_now(self) -> None:
        """Try at once what waits to be tried: the sink has a new connection."""
        self.arm()
        if self._retry is not None:
            self._retry.cancel()
            self._backoff.reset()
            self._probe()

    def _probe(self) -> None:
        """Try the lowest event that failed; the others follow if it succeeds."""
        self._retry = None
        if self._failed and self.ready:
            self._start(self._failed.pop(min(self._failed)))

    def _recover(self) -> None:
        """The sink takes events again: what failed goes first, in order."""
        if self.problem is None:
            return
        _log.warning("%s takes log %s again", self.sink.name, self.log)
        self.problem = None
        self._backoff.reset()
        self.look()
        self._queue.extendleft(self._failed.pop(seq) for seq in sorted(self._failed, reverse=True))
