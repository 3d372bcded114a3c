"""The decision log: a record of each decision, written beside the calls.

- The call path appends to a queue, and that is all: no lock, no wait, no I/O (I5).
- One thread writes. A sink that is full, slow or gone holds up this thread and nobody else.
- The queue is bounded. What finds it full is dropped and counted; what a sink refuses is kept and
  tried again, in order.
- Nothing is lost silently: `rescind_guard_log_records_total{outcome="dropped"}`, a line in the
  log `rescind.guard` when writing fails and when it works again.
- After a fork the child writes its own: what waits is the parent's to write.
"""

import logging
import threading
from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

from rescind_guard import forks
from rescind_guard.decision import Decision
from rescind_guard.errors import LogFailed
from rescind_guard.evidence import About, Entry, Record, hash_of, record
from rescind_guard.exposition import Family, one
from rescind_guard.freshness import SystemClock
from rescind_guard.metrics import LOG_RECORDS, LOG_WAITING, Counter
from rescind_guard.policy import Policy, version_of
from rescind_protocol.clock import Clock

MAX_WAITING = 10_000
"""Records; about 5 MB. At 1000 calls a second, a sink may be away for ten seconds."""
BATCH = 500
WRITE_EVERY_S = 0.1
"""A crash of the process loses what came since; a wake-up for each call would cost the calls."""
STOP_WITHIN_S = 2.0
COMPLAIN_EVERY_S = 60.0
WRITTEN, DROPPED = "written", "dropped"

log = logging.getLogger("rescind.guard")


class Sink(Protocol):
    """Where records go. Called by one thread, which may wait here."""

    def write(self, records: Sequence[Record]) -> None:
        """Write them all; raises `LogFailed` saying how many of them it has."""


class DecisionLog:
    """A guard's recorder. Any number of threads may call it; `start` before, `stop` after."""

    def __init__(
        self,
        sink: Sink,
        *,
        about: About | None = None,
        policy: Policy | None = None,
        clock: Clock | None = None,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._sink = sink
        self._about = about or About()
        self._policy = policy
        clock = clock or SystemClock()
        self._wall, self._boot = clock.wall, clock.boot
        self._max = max_waiting
        self._closed = False
        self._complained_at: float | None = None
        self._written = 0
        """The writer's own; what is dropped, anybody may count."""
        self._dropped = Counter()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._waiting: deque[Entry] = deque()
        self._batch: list[Entry] = []
        """What the writer has taken, and the sink not yet."""
        forks.tell(self)

    def __repr__(self) -> str:
        return f"<DecisionLog to {self._sink!r}, {self._left()} waiting>"

    def __call__(self, decision: Decision, tool: str | None, params: Any = None) -> None:
        """Take one decision; returns at once, whatever the sink does."""
        if self._closed or len(self._waiting) >= self._max:
            self._dropped.add(DROPPED)
            return
        hashed = None if params is None else hash_of(params)
        version = version_of(self._policy)  # now: another one may be in force when it is written
        self._waiting.append(Entry(self._wall(), decision, tool, hashed, version))

    def metrics(self) -> list[Family]:
        """Return what became of the records, for a scrape."""
        dropped = self._dropped.read().get(DROPPED, 0)
        counts = {WRITTEN: self._written, DROPPED: dropped}
        return [Family(LOG_RECORDS, counts), one(LOG_WAITING, self._left())]

    def start(self) -> None:
        """Start the writer, once."""
        if self._thread is None:
            self._closed = False
            self._stopping = threading.Event()
            self._thread = threading.Thread(target=self._run, name="rescind-decisions", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Write what waits, for two seconds at most; what is not written then counts as dropped."""
        self._closed = True
        thread, self._thread = self._thread, None
        if thread is not None:
            self._stopping.set()
            thread.join(STOP_WITHIN_S)
        left = self._left()
        for _ in range(left):
            self._dropped.add(DROPPED)
        if left:
            log.error("decision log: stopped with %d records that were not written", left)

    def after_fork(self) -> None:
        """Begin anew in the child."""
        ran, self._thread = self._thread is not None, None
        self._waiting, self._batch = deque(), []
        if ran:
            self.start()

    def _run(self) -> None:
        stopping = False
        while not stopping:
            stopping = self._stopping.wait(WRITE_EVERY_S)
            try:
                while self._write_some():
                    pass
                self._recovered()
            except LogFailed as error:
                self._complain(str(error))
            except Exception as error:  # noqa: BLE001 - a writer that ends quietly loses all the rest
                self._give_up(type(error).__name__)

    def _write_some(self) -> bool:
        """Write the oldest that wait; False if there are none."""
        while len(self._batch) < BATCH and self._waiting:
            self._batch.append(self._waiting.popleft())
        if not self._batch:
            return False
        try:
            self._sink.write([record(entry, self._about) for entry in self._batch])
        except LogFailed as error:
            self._done(error.written)
            raise
        self._done(len(self._batch))
        return True

    def _done(self, count: int) -> None:
        del self._batch[:count]
        self._written += count

    def _give_up(self, why: str) -> None:
        for _ in self._batch:
            self._dropped.add(DROPPED)
        self._batch = []
        self._complain(why)

    def _left(self) -> int:
        return len(self._waiting) + len(self._batch)

    def _complain(self, why: str) -> None:
        now = self._boot()
        if self._complained_at is None or now - self._complained_at >= COMPLAIN_EVERY_S:
            self._complained_at = now
            dropped = self._dropped.read().get(DROPPED, 0)
            log.error("decision log: %s; %d records wait, %d dropped", why, self._left(), dropped)

    def _recovered(self) -> None:
        if self._complained_at is not None:
            self._complained_at = None
            dropped = self._dropped.read().get(DROPPED, 0)
            log.warning("decision log: written again; %d records were dropped", dropped)
