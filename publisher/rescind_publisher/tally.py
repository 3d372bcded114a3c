"""The tally: who has applied one request's events, kept as reports come in.

When a subscriber applied an event is taken from the publisher's clock alone: the report's arrival
less the "ms ago" in it. The way of the report is in that figure, so it is a most; and so is the
window in which calls may have passed.
"""

import asyncio
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from heapq import nlargest

import msgspec

from rescind_protocol.events import Event
from rescind_publisher.applied import (
    MAX_NAMED,
    SETTLED_S,
    Applied,
    Exposed,
    Missing,
    natural,
)
from rescind_publisher.roster import Entry, Roster, Watcher

PROGRESS_EVERY_S = 0.1
LOOKED_AT_OFTEN = 16
"""Requests that may wait at once before each is looked at less often, so that all cost no more."""
MOST_EVERY_S = 1.0
SORTED_UP_TO = 1000
"""Names that are put in order at each look: more would take longer than the look is worth."""


class Wanted(msgspec.Struct, frozen=True):
    """Events of one log under consecutive numbers."""

    log: str
    first: int
    last: int

    def has(self, log: str, seq: int) -> bool:
        """Whether an event is one of them."""
        return log == self.log and self.first <= seq <= self.last


def wanted(events: Iterable[Event]) -> tuple[Wanted, ...]:
    """Return what to wait for: new events stand in one log, and those of before anywhere."""
    found: list[Wanted] = []
    for event in events:
        last = found[-1] if found else None
        if last is not None and (event.log, event.seq) == (last.log, last.last + 1):
            found[-1] = Wanted(last.log, last.first, event.seq)
        else:
            found.append(Wanted(event.log, event.seq, event.seq))
    return tuple(found)


class _Done(msgspec.Struct, frozen=True):
    after_ms: float
    calls: int
    at_least: bool
    seen: bool


class Tally(Watcher):
    """Counts for one request; made when its events are committed, given up when nobody waits."""

    def __init__(self, roster: Roster, wanted: tuple[Wanted, ...], started: float) -> None:
        """`started`: monotonic time of the request."""
        self._roster, self._wanted, self._started = roster, wanted, started
        self._done: dict[str, _Done] = {}
        self._news = threading.Event()
        self._ring: Callable[[], object] = self._news.set
        with roster.lock:
            for entry in roster.entries():
                self._look(entry)
            roster.watchers.add(self)
            self._settle()

    def close(self) -> None:
        """Hear no more."""
        with self._roster.lock:
            self._roster.watchers.discard(self)

    # --- told by the roster, under its lock ---

    def heard(self, entry: Entry) -> None:
        """Look at a report."""
        if entry.report.run not in self._done:
            self._look(entry)
            self._settle()

    def gone(self, run: str) -> None:
        """Nobody need wait for a subscriber that was stopped."""
        self._done.pop(run, None)
        self._settle()

    def _look(self, entry: Entry) -> None:
        report = entry.report
        told, untold = [], 0
        for some in self._wanted:
            mine = [each for each in report.applied if some.has(each.log, each.seq)]
            left = some.last - some.first + 1 - len(mine)
            if left and report.logs.get(some.log, 0) < some.last:
                return
            told += mine
            untold += left
        arrived_ms = (entry.at - self._started) * 1000
        times = [max(0.0, arrived_ms - each.ago_ms) for each in told]
        passed = [(each.passed, ms) for each, ms in zip(told, times, strict=True)]
        self._done[report.run] = _Done(
            after_ms=max(times, default=max(0.0, arrived_ms)),
            calls=sum(what.within(ms) for what, ms in passed),
            at_least=untold > 0 or any(not what.reaches(ms) for what, ms in passed),
            seen=any(what.steps for what, _ in passed),
        )

    def _settle(self) -> None:
        """Wake whoever waits once nobody is missing; before that, he looks by himself."""
        if len(self._done) >= len(self._roster):
            self._ring()

    # --- for whoever waits ---

    def wait(
        self, until: float, clock: Callable[[], float], told: Callable[[Applied], None] | None
    ) -> None:
        """Return when all that can be reached have applied it, or at `until` (monotonic)."""
        while (now := clock()) < until and not self._looked(now, told):
            self._news.wait(min(PROGRESS_EVERY_S, until - now))
            self._news.clear()

    async def waited(
        self, until: float, clock: Callable[[], float], told: Callable[[Applied], None] | None
    ) -> None:
        """Wait as `wait` does, on a loop: each look is taken in a thread, none is held between."""
        loop, news = asyncio.get_running_loop(), asyncio.Event()
        self._ring = partial(_call_soon, loop, news.set)
        while (now := clock()) < until and not await asyncio.to_thread(self._looked, now, told):
            every_s = PROGRESS_EVERY_S * len(self._roster.watchers) / LOOKED_AT_OFTEN
            every_s = min(MOST_EVERY_S, max(PROGRESS_EVERY_S, every_s))
            with suppress(TimeoutError):
                async with asyncio.timeout(min(every_s, until - now)):
                    await news.wait()
            news.clear()

    def _looked(self, now: float, told: Callable[[Applied], None] | None) -> bool:
        settled = self._settled(now)
        if not settled and told is not None:
            told(self.applied(now))
        return settled

    def _settled(self, now: float) -> bool:
        """Whether longer waiting is in vain: the rest is out of reach, and nobody is unknown."""
        if self._roster.closed:
            return True
        since = self._roster.since
        if since is None or now - since < SETTLED_S:
            return False
        with self._roster.lock:
            return all(
                entry.report.run in self._done or entry.unreachable(now)
                for entry in self._roster.entries()
            )

    def applied(self, now: float) -> Applied:
        """Return what is known now."""
        with self._roster.lock:
            done, known = dict(self._done), len(self._roster)
            missing = self._named(e for e in self._roster.entries() if e.report.run not in done)
            exposed = self._exposed()
            since, problem = self._roster.since, self._roster.problem
        return Applied(
            done=len(done),
            known=known,
            listening_for_s=0.0 if since is None else max(0.0, now - since),
            after_ms=max((each.after_ms for each in done.values()), default=None),
            missing=tuple(
                Missing(name, entry.report.host, entry.wall, entry.unreachable(now))
                for name, entry in missing
            ),
            exposed=exposed,
            calls=sum(each.calls for each in done.values()),
            at_least=any(each.at_least for each in done.values()),
            seen=any(each.seen for each in done.values()),
            problem=problem or ("reports are not listened to" if since is None else None),
        )

    def _named(self, entries: Iterable[Entry]) -> list[tuple[str, Entry]]:
        """Return labels, sorted as people do; of very many, those longest unheard, as they come."""
        found = list(entries)
        if len(found) > SORTED_UP_TO:
            found = found[:MAX_NAMED]
        named = [(self._roster.label(entry.report), entry) for entry in found]
        return sorted(named, key=lambda each: natural(each[0]))[:MAX_NAMED]

    def _exposed(self) -> tuple[Exposed, ...]:
        runs = [run for run, at in self._done.items() if at.calls]
        most = set(nlargest(MAX_NAMED, runs, key=lambda run: self._done[run].calls))
        entries = (e for e in self._roster.entries() if e.report.run in most) if most else ()
        return tuple(
            Exposed(name, entry.report.host, at.calls, at.after_ms, at.at_least)
            for name, entry in self._named(entries)
            for at in (self._done[entry.report.run],)
        )


def _call_soon(loop: asyncio.AbstractEventLoop, call: Callable[[], object]) -> None:
    with suppress(RuntimeError):  # the loop was closed meanwhile
        loop.call_soon_threadsafe(call)
