"""What a subscriber reports of itself, and when: the pure step, no I/O and no clock of its own.

A report is due

- soon after an event was applied, at a random moment of the *spread*: the fleet's size, as heads
  say it, over `REPORTS_PER_S`. So 300 subscribers answer a kill within 60 ms and 10,000 within 2 s,
  and the publisher gets as many a second from ten thousand as from a thousand;
- when a source is linked, and when the first heads of a publisher say that it has started;
- every half a minute anyway, as a sign of life.

One report tells of everything applied until then: a storm of kills makes no storm of reports.
"""

import random
from collections import OrderedDict, deque
from collections.abc import Callable

import msgspec

from rescind_guard.passed import PassedCalls
from rescind_protocol import reports
from rescind_protocol.changes import Effect, Kill
from rescind_protocol.events import Event
from rescind_protocol.heads import Head
from rescind_protocol.limits import MAX_FLEET, MAX_REPORT_EVENTS, MAX_REPORT_LOGS
from rescind_protocol.reports import Applied, Passed, Report
from rescind_subscriber import listeners

REPORTS_PER_S = 5000
"""What one fabric's subscribers may send in a second: about a third of a publisher's core."""
UNCOUNTED_FLEET = 100_000
"""What a fleet is taken for that is larger than a publisher counts."""
HOLD_S = 0.01
"""Before the first report of a kill: other subscribers of this host apply it first."""
QUIET_S = 0.05
"""Least time between two reports of one subscriber."""
ROLL_CALL_S = 1.0
"""Least spread of an answer that nobody waits for."""
ROLL_CALL_HEADS = 3
"""A publisher whose heads are still so few has just started, and knows nobody."""
TOLD_FOR_S = 60.0
"""So long an application is told of, with each report: one may be lost."""
FLEET_KEPT_S = 120.0
"""A publisher that has just started has heard of nobody: the greater size counts so long."""

Uniform = Callable[[float, float], float]


class Self(msgspec.Struct, frozen=True):
    """Who reports."""

    name: str
    host: str
    run: str
    pid: int
    version: str


class Condition(msgspec.Struct, frozen=True):
    """How the subscriber is."""

    state: str
    age_s: float | None
    logs: dict[str, int]
    """Every known log, and up to which number it was applied without a gap."""


class _Telling:
    """One event that was applied, and what had passed, once that was looked up."""

    __slots__ = ("at", "event", "passed")

    def __init__(self, event: Event, at: float) -> None:
        self.event, self.at = event, at
        self.passed: Passed | None = None

    @property
    def digests(self) -> frozenset[bytes]:
        """The targets whose use it stopped."""
        return frozenset(
            change.target.digest
            for _, change in self.event.changes
            if isinstance(change, Kill) and change.effect is Effect.USE
        )


class Reporting:
    """Decides when to report and what; used by one thread. Times in boot seconds."""

    def __init__(
        self,
        who: Self,
        calls: PassedCalls,
        *,
        now: float,
        every_s: float,
        uniform: Uniform = random.uniform,
    ) -> None:
        self.fleet = 0
        self.sent = 0
        self._state = ""
        self.due_at = now + uniform(0.0, ROLL_CALL_S)
        self._who, self._calls = who, calls
        self._every_s, self._uniform = every_s, uniform
        self._started = self._last = now
        self._fleet_at = now
        self._told: deque[_Telling] = deque(maxlen=MAX_REPORT_EVENTS)
        self._moved: OrderedDict[str, None] = OrderedDict()

    def renewed(self, run: str) -> None:
        """Go on as another run: who has taken leave is heard no more under the old name."""
        self._who = msgspec.structs.replace(self._who, run=run)

    # --- what happens ---

    def applied(self, applied: listeners.Applied, now: float) -> None:
        """Take note of an event, or of what a snapshot brought, after its swap.

        Of the latter the report names the numbers alone, in `logs`: what had passed before is not
        known, and whoever counts says so.
        """
        if isinstance(applied, Event):
            self._told.appendleft(_Telling(applied, now))
            self._move(applied.log)
        else:
            for log in applied.numbers:
                self._move(log)
        self._ask(now + HOLD_S, self.spread_s)

    def _move(self, log: str) -> None:
        self._moved[log] = None
        self._moved.move_to_end(log)
        if len(self._moved) > MAX_REPORT_LOGS:
            self._moved.popitem(last=False)

    def headed(self, head: Head, now: float) -> None:
        """Take note of a valid head: how many there are to answer, and who asks anew."""
        if head.fleet >= self.fleet or now > self._fleet_at + FLEET_KEPT_S:
            self.fleet, self._fleet_at = head.fleet, now
        if head.count <= ROLL_CALL_HEADS:
            self.called(now)

    def stated(self, state: str, now: float) -> None:
        """Take note of the state; a change is told without haste."""
        if state != self._state:
            self._state = state
            self.called(now)

    def called(self, now: float) -> None:
        """Say how it is, without haste: a source is linked, a publisher has started."""
        self._ask(now, max(ROLL_CALL_S, self.spread_s))

    def _ask(self, now: float, spread_s: float) -> None:
        """One draw for all that ask: a new one with each kill would pull the report forward."""
        earliest = max(now, self._last + QUIET_S)
        if self.due_at > earliest + spread_s:
            self.due_at = earliest + self._uniform(0.0, spread_s)

    @property
    def spread_s(self) -> float:
        """Over how many seconds the fleet spreads its answers to one kill."""
        return self.fleet / REPORTS_PER_S

    @property
    def return_s(self) -> float:
        """Over how many seconds the fleet comes back to a server that all of it has lost.

        No report is at stake then but the server: a fleet of unknown size is taken for a large one.
        """
        size = self.fleet if self.fleet < MAX_FLEET else UNCOUNTED_FLEET
        return size / REPORTS_PER_S

    @property
    def every_s(self) -> float:
        """Between two signs of life, on average: longer where so many would be too often."""
        return max(self._every_s, self.spread_s)

    # --- what is said ---

    def look_up(self) -> None:
        """Find out what had passed before the kills applied since; soon, for guards forget."""
        asked = [(each, each.digests) for each in self._told if each.passed is None]
        if asked:
            found = self._calls.before([(each.at, digests) for each, digests in asked])
            for (each, _), passed in zip(asked, found, strict=True):
                each.passed = passed

    def report(self, condition: Condition, *, now: float, wall: float) -> Report:
        """Return the report that is due, and set the time of the next."""
        self.look_up()
        self.sent += 1
        self._state = condition.state
        self._last = now
        wait_s = self.every_s * self._uniform(0.75, 1.25)
        self.due_at = now + wait_s
        moved = {log: condition.logs[log] for log in reversed(self._moved) if log in condition.logs}
        logs, more = reports.newest(moved | condition.logs)
        return Report(
            ver=reports.VERSION,
            name=self._who.name,
            host=self._who.host,
            run=self._who.run,
            pid=self._who.pid,
            version=self._who.version,
            state=condition.state,
            count=self.sent,
            time_ms=int(wall * 1000),
            up_ms=_ms(now - self._started),
            next_ms=_ms(wait_s),
            age_ms=None if condition.age_s is None else _ms(condition.age_s),
            logs=logs,
            more_logs=more,
            applied=tuple(
                Applied(each.event.log, each.event.seq, _ms(now - each.at), each.passed or Passed())
                for each in self._told
                if now - each.at <= TOLD_FOR_S
            ),
        )


def _ms(seconds: float) -> int:
    return max(0, int(seconds * 1000))
