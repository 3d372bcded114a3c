"""The drain: brings every event of the spool into every sink, each sink for itself.

An `Outlet` is one sink with its lanes, one for each log: those of earlier runs beside the current
one. It starts the sink, again and again if need be, and announces heads through it.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import Any

from rescind_protocol.heads import Position
from rescind_publisher import metrics
from rescind_publisher.config import PublisherConfig
from rescind_publisher.errors import SinkRefused, SinkUnavailable
from rescind_publisher.lane import NOTHING, Backoff, Fetch, IsFork, Lane, limited
from rescind_publisher.metrics import Counters
from rescind_publisher.receipts import Progress
from rescind_publisher.sinks.base import Checkable, Linked, Prompt, Record, Sink
from rescind_publisher.spool import Mark, Marks
from rescind_publisher.status import SinkStatus

_log = logging.getLogger(__name__)


class Outlet:
    """One sink, its start, its lanes and its heads; all on the loop's thread."""

    def __init__(
        self,
        sink: Sink,
        *,
        fetch: Fetch,
        is_fork: IsFork,
        config: PublisherConfig,
        counters: Counters,
    ) -> None:
        self.sink = sink
        self.lanes: dict[str, Lane] = {}
        self.ready = False
        self.refused: SinkRefused | None = None
        self.problem: str | None = f"{sink.name}: not connected yet"
        self.tried = asyncio.Event()
        """Set when the first attempt to start the sink has ended, either way."""
        self._fetch, self._is_fork = fetch, is_fork
        self._config, self._counters = config, counters
        self._alarms: dict[str, str] = {}
        self._checking = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._announcing: asyncio.Task[None] | None = None
        if isinstance(sink, Linked):
            sink.on_linked = self._linked

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` as a task that ends with the outlet."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def lane(self, log: str, *, accepted: int = 0, mark: Mark = NOTHING) -> Lane:
        """Return the lane of a log, opened if the sink is."""
        if log not in self.lanes:
            self.lanes[log] = lane = Lane(
                self.sink,
                log,
                accepted=accepted,
                mark=mark,
                fetch=self._fetch,
                is_fork=self._is_fork,
                tasks=self,
                config=self._config,
                counters=self._counters,
            )
            lane.problem = self.problem
            if self.ready:
                lane.open()
        return self.lanes[log]

    async def keep_starting(self) -> None:
        """Start the sink, trying until it starts; a refusal may be mended by an operator."""
        backoff = Backoff(self._config)
        while not self.ready:
            try:
                await limited(self.sink.start(), self.sink.name, self._config.start_timeout_s)
            except (SinkUnavailable, SinkRefused) as error:
                self._note_problem(error)
                self.tried.set()
                await asyncio.sleep(backoff.next_s())
            else:
                self._open()
                self.tried.set()

    def _note_problem(self, error: SinkUnavailable | SinkRefused) -> None:
        self.refused = error if isinstance(error, SinkRefused) else None
        if self.problem != str(error):
            _log.error("%s", error)
        self.problem = str(error)
        for lane in self.lanes.values():
            lane.problem = self.problem

    def raise_alarm(self, kind: str, sentence: str | None) -> None:
        """Show a fault of the sink that keeps no event from being sent, until it is None again."""
        if sentence is None:
            self._alarms.pop(kind, None)
            return
        if self._alarms.get(kind) != sentence:
            _log.error("%s", sentence)
        self._alarms[kind] = sentence

    def _linked(self) -> None:
        """Let no lane wait out its pause, two seconds perhaps, before it uses a new connection."""
        for lane in self.lanes.values():
            lane.retry_now()

    def _open(self) -> None:
        self.ready, self.refused, self.problem = True, None, None
        if caveat := getattr(self.sink, "caveat", None):
            _log.warning("%s", caveat)
        for lane in list(self.lanes.values()):
            lane.open()

    def announce(self, publisher: str, head: bytes) -> None:
        """Send a head, unless the one before is still under way: heads do not queue."""
        if self.ready and (self._announcing is None or self._announcing.done()):
            work = self._announce(publisher, head)
            self._announcing = asyncio.get_running_loop().create_task(work)

    async def _announce(self, publisher: str, head: bytes) -> None:
        try:
            call = self.sink.announce(publisher, head)
            await limited(call, self.sink.name, self._config.send_timeout_s)
        except (SinkUnavailable, SinkRefused) as error:
            self._counters.add(metrics.HEAD_FAILURES)
            self.raise_alarm("heads", f"{self.sink.name}: no head is announced: {error}")
        else:
            self._counters.add(metrics.HEADS)
            self.raise_alarm("heads", None)

    def look(self) -> None:
        """Make sure that the sink still holds what it had, and is set as it was."""
        for lane in self.lanes.values():
            lane.look()
        if self.ready and isinstance(self.sink, Checkable) and not self._checking:
            self._checking = True
            self.spawn(self._check(self.sink))

    async def _check(self, sink: Checkable) -> None:
        try:
            await limited(sink.check(), self.sink.name, self._config.start_timeout_s)
        except SinkRefused as error:
            # It goes on taking events: a store that may lose them later is better than none now.
            self.raise_alarm("settings", str(error))
        except SinkUnavailable as error:
            _log.info("the settings of %s were not looked at: %s", self.sink.name, error)
        else:
            self.raise_alarm("settings", None)
        finally:
            self._checking = False

    def status(self) -> SinkStatus:
        """How the sink is."""
        lanes = self.lanes.values()
        failing = (lane.problem for lane in lanes)
        unseen = (lane.trouble for lane in lanes)  # last: an alarm may well be why
        problems = [self.problem, *failing, *self._alarms.values(), *unseen]
        pending = sum(lane.accepted - lane.durable for lane in lanes)
        problem = next(filter(None, problems), None)
        caveat: str | None = getattr(self.sink, "caveat", None)
        return SinkStatus(self.sink.name, self.ready, pending, problem, caveat)

    async def stop(self) -> None:
        """End every task, then the sink."""
        for lane in self.lanes.values():
            lane.close()
        tasks = [*self._tasks, *([self._announcing] if self._announcing else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            await limited(self.sink.stop(), self.sink.name, self._config.close_timeout_s)
        except (SinkUnavailable, SinkRefused) as error:
            _log.warning("%s did not stop cleanly: %s", self.sink.name, error)


class Drain:
    """All outlets. Runs on the loop's thread; `Publisher` hands events over."""

    def __init__(
        self,
        sinks: Sequence[Sink],
        *,
        fetch: Fetch,
        is_fork: IsFork,
        config: PublisherConfig,
        counters: Counters,
    ) -> None:
        self._config = config
        self.outlets = [
            Outlet(sink, fetch=fetch, is_fork=is_fork, config=config, counters=counters)
            for sink in sinks
        ]
        self._saved: dict[tuple[str, str], Mark] = {}
        self._left: deque[tuple[Sequence[Record], Progress]] = deque()
        for sink in sinks:
            if isinstance(sink, Prompt):
                sink.on_answer = self.take_left

    def resume(self, sink: str, positions: dict[str, Position], marks: dict[str, Mark]) -> None:
        """Make the lanes of earlier runs: what the sink does not hold for certain goes again."""
        outlet = next(o for o in self.outlets if o.sink.name == sink)
        for log, at in positions.items():
            mark = marks.get(log, NOTHING)
            if mark.durable > at.seq:  # beyond the log: nothing of it can be believed
                mark = NOTHING
            self._saved[sink, log] = mark
            outlet.lane(log, accepted=at.seq, mark=mark)

    async def start(self) -> None:
        """Begin to start the sinks; return when each was tried once, or at the timeout.

        Raises `SinkRefused` where no sink is left that could take an event.
        """
        for outlet in self.outlets:
            outlet.spawn(outlet.keep_starting())
        tried = [asyncio.create_task(outlet.tried.wait()) for outlet in self.outlets]
        if tried:
            _, late = await asyncio.wait(tried, timeout=self._config.connect_timeout_s)
            for task in late:
                task.cancel()
        refusals = [outlet.refused for outlet in self.outlets if outlet.refused]
        if refusals and len(refusals) == len(self.outlets):
            raise refusals[0]

    def send(self, records: Sequence[Record]) -> bool:
        """Send new events at once where that can be done without the loop, on any thread.

        `take` must follow on the loop. Return whether every sink was sent everything: then its
        answer is there soon, and wakes the loop to take what was left.
        """
        sent = True
        try:
            for record in records:
                for outlet in self.outlets:
                    lane = outlet.lanes.get(record.log)
                    sent = lane is not None and lane.send(record) and sent
        except Exception:  # noqa: BLE001 - they are accepted, and this is a shortcut only
            _log.exception("accepted events could not be sent at once")
            return False
        return sent

    def leave(self, records: Sequence[Record], progress: Progress) -> None:
        """Leave new events, on any thread, for `take_left`."""
        self._left.append((records, progress))

    def take_left(self) -> None:
        """Take what was left, if there is anything."""
        while self._left:
            self.take(*self._left.popleft())

    def take(self, records: Iterable[Record], progress: Progress) -> None:
        """Send new events, which lie in the spool."""
        for record in records:
            for outlet in self.outlets:
                outlet.lane(record.log).push(record, progress)

    def catch_up(self, positions: Mapping[str, Position]) -> None:
        """Know what lies in the spool: a hand-over that an interrupt cut short has told nobody."""
        self.take_left()
        for log, at in positions.items():
            for outlet in self.outlets:
                outlet.lane(log).know(at.seq)

    def forget(self, places: Iterable[tuple[str, int]], progress: Progress) -> None:
        """Tell of these events, by log and number, no more."""
        for log, seq in places:
            for outlet in self.outlets:
                outlet.lane(log).unwatch(seq, progress)

    def announce(self, publisher: str, head: bytes) -> None:
        """Send a head through every sink."""
        for outlet in self.outlets:
            outlet.announce(publisher, head)

    @property
    def settled(self) -> bool:
        """Whether waiting longer would change nothing soon: each lane is done, or failing."""
        lanes = [lane for outlet in self.outlets for lane in outlet.lanes.values()]
        return all(lane.idle or lane.problem is not None for lane in lanes)

    def drained(self) -> list[str]:
        """Logs that every sink holds for certain."""
        logs = {log for outlet in self.outlets for log in outlet.lanes}
        return [log for log in logs if all(_holds(outlet, log) for outlet in self.outlets)]

    def durable(self, log: str) -> int:
        """Return up to which number every sink holds a log for certain."""
        lanes = [outlet.lanes.get(log) for outlet in self.outlets]
        return min((0 if lane is None else lane.durable for lane in lanes), default=0)

    def status(self) -> list[SinkStatus]:
        """How each sink is."""
        return [outlet.status() for outlet in self.outlets]

    def marks(self) -> list[Marks]:
        """How far each sink got since this was last asked."""
        moved = []
        for outlet in self.outlets:
            for log, lane in outlet.lanes.items():
                key = (outlet.sink.name, log)
                if lane.mark != self._saved.get(key, NOTHING):
                    self._saved[key] = lane.mark
                    moved.append(Marks(*key, lane.mark))
        return moved

    def look(self) -> None:
        """Make sure that every sink still holds what it had."""
        for outlet in self.outlets:
            outlet.look()

    def close_log(self, log: str) -> None:
        """Give up the lanes of a log that is drained and dropped."""
        for outlet in self.outlets:
            if (lane := outlet.lanes.pop(log, None)) is not None:
                lane.close()

    async def stop(self) -> None:
        """Stop every sink."""
        await asyncio.gather(*(outlet.stop() for outlet in self.outlets))


def _holds(outlet: Outlet, log: str) -> bool:
    lane = outlet.lanes.get(log)
    return lane is not None and lane.idle
