"""The roster: which subscribers there are, how they are, and what each has applied. In memory.

It believes what reports say, for they decide nothing: a report that claims too much makes a receipt
wrong, and no guard weaker. What it can do is bounded: one entry a run, `MAX_FLEET` entries, and a
roster that is full of the living takes in nobody new. No I/O; the caller brings both clocks.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping

from rescind_protocol import reports
from rescind_protocol.errors import Malformed, Unreadable
from rescind_protocol.heads import Position
from rescind_protocol.limits import MAX_FLEET
from rescind_protocol.reports import Report
from rescind_publisher.applied import natural
from rescind_publisher.fleet import Fleet, Member
from rescind_subscriber.states import TABLE

MISSED_SIGNS = 2.5
"""Silent for so many of its own intervals, a subscriber is out of reach."""
GRACE_S = 2.0
MAX_INTERVAL_S = 600.0
"""However long a report says that the next will take."""
FORGET_AFTER_S = 86_400.0
"""Out of reach for a day, it is no subscriber any more."""


class Entry:
    """One run of a subscriber, by its newest report. Times by the publisher's two clocks."""

    __slots__ = ("at", "report", "started", "wall")

    def __init__(self, report: Report, at: float, wall: float) -> None:
        self.report, self.at, self.wall = report, at, wall
        self.started = at - report.up_ms / 1000

    def unreachable(self, now: float) -> bool:
        """Whether it has been silent for too long."""
        every_s = min(self.report.next_ms / 1000, MAX_INTERVAL_S)
        return now - self.at > MISSED_SIGNS * every_s + GRACE_S


class Watcher:
    """Hears of entries that have changed; called under the roster's lock."""

    def heard(self, entry: Entry) -> None:
        """A report has come."""

    def gone(self, run: str) -> None:
        """A subscriber was stopped, or replaced."""


class Roster:
    """Entries by run, the one longest unheard first. Thread-safe."""

    def __init__(self, limit: int = MAX_FLEET) -> None:
        self.refused = 0
        self.since: float | None = None
        """Monotonic time since which reports are listened to."""
        self.since_wall: float | None = None
        self.problem: str | None = None
        self.closed = False
        """Whether nobody should wait any more."""
        self.watchers: set[Watcher] = set()
        self.lock = threading.RLock()
        self._limit = limit
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._places: dict[tuple[str, str], set[str]] = {}
        self._names: dict[str, int] = {}
        self._stopped: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, run: str) -> bool:
        return run in self._entries

    def entries(self) -> Iterator[Entry]:
        """Yield every entry; hold `lock` meanwhile."""
        yield from self._entries.values()

    @property
    def size(self) -> int:
        """How many there are, for heads."""
        return len(self._entries)

    def runs(self) -> list[str]:
        """Return every run."""
        with self.lock:
            return list(self._entries)

    def recall(self, report: Report, at: float, wall: float) -> None:
        """Take in who was known before a restart, as it was heard last."""
        with self.lock:
            if report.run not in self._entries and len(self._entries) < self._limit:
                self._put(Entry(report, at, wall))

    # --- told by a listener ---

    def listening(self, at: float, wall: float) -> None:
        """Reports come in from now on."""
        with self.lock:
            if self.since is None:
                self.since, self.since_wall = at, wall

    def deaf(self, why: str | None) -> None:
        """Reports may be missed, and why; None: they come in."""
        self.problem = why

    def heard(self, raw: bytes, at: float, wall: float) -> bool:
        """Take a report; return whether it counts."""
        try:
            report = reports.read(raw)
        except (Malformed, Unreadable):
            self.refused += 1
            return False
        with self.lock:
            return self._take(report, at, wall)

    def _take(self, report: Report, at: float, wall: float) -> bool:
        known = self._entries.get(report.run)
        if (known and known.report.count >= report.count) or report.run in self._stopped:
            return False  # late, through a slower source
        if known and _place(known.report) != _place(report):
            self.refused += 1
            return False  # a run keeps its name: somebody speaks for another
        if report.state == reports.STOPPED:
            self._stop(report.run)
            return True
        if known is None and not self._admit(at):
            self.refused += 1
            return False
        entry = Entry(report, at, wall)
        self._put(entry)
        self._bury(report)
        for watcher in self.watchers:
            watcher.heard(entry)
        return True

    def _put(self, entry: Entry) -> None:
        report = entry.report
        if report.run not in self._entries:
            self._places.setdefault(_place(report), set()).add(report.run)
            self._names[report.name] = self._names.get(report.name, 0) + 1
        self._entries[report.run] = entry
        self._entries.move_to_end(report.run)

    def _bury(self, report: Report) -> None:
        """Take out the runs that its host knows as ended.

        Nothing else takes a silent run out: that another one of its name has started does not say
        that it is dead. It may be frozen, and pass calls when it goes on.
        """
        for run in report.ended:
            known = self._entries.get(run)
            if known is not None and known.report.host == report.host and run != report.run:
                self._stop(run)

    def _stop(self, run: str) -> None:
        self._remove(run)
        self._stopped[run] = None
        if len(self._stopped) > self._limit:
            self._stopped.popitem(last=False)

    def forget(self, name: str) -> int:
        """Take out who has this name or label; return how many. One that lives comes back."""
        with self.lock:
            runs = [run for run, e in self._entries.items() if name in self._labels(e.report)]
            for run in runs:
                self._remove(run)
            return len(runs)

    @staticmethod
    def _labels(report: Report) -> set[str]:
        at = f"{report.name}@{report.host}"
        return {report.name, at, f"{at}#{report.pid}"}

    def _admit(self, at: float) -> bool:
        """Make room for a run that was not known."""
        self._forget(at)
        if len(self._entries) >= self._limit:
            oldest = next(iter(self._entries.values()))
            if not oldest.unreachable(at):
                return False
            self._remove(oldest.report.run)
        return True

    def _forget(self, at: float) -> None:
        while self._entries:
            oldest = next(iter(self._entries.values()))
            if at - oldest.at < FORGET_AFTER_S:
                return
            self._remove(oldest.report.run)

    def _remove(self, run: str) -> None:
        entry = self._entries.pop(run, None)
        if entry is None:
            return
        place = _place(entry.report)
        runs = self._places[place]
        runs.discard(run)
        if not runs:
            del self._places[place]
        self._names[place[0]] -= 1
        if not self._names[place[0]]:
            del self._names[place[0]]
        for watcher in self.watchers:
            watcher.gone(run)

    # --- questions ---

    def label(self, report: Report) -> str:
        """Return the shortest label that tells it apart: eu-7, eu-7@a, eu-7@a#311."""
        if self._names.get(report.name, 0) <= 1:
            return report.name
        alone = len(self._places.get(_place(report), ())) <= 1
        return f"{report.name}@{report.host}" + ("" if alone else f"#{report.pid}")

    def fleet(self, positions: Mapping[str, Position], now: float) -> Fleet:
        """Return everybody, by name; `positions` of the publisher's own logs."""
        with self.lock:
            self._forget(now)
            members = [
                members_of([self._entries[run] for run in runs], positions, now)
                for runs in self._places.values()
            ]
            return Fleet(
                self.since_wall,
                tuple(sorted(members, key=lambda each: (natural(each.name), each.host))),
                self.refused,
                self.problem,
            )


def _place(report: Report) -> tuple[str, str]:
    return report.name, report.host


def members_of(workers: list[Entry], positions: Mapping[str, Position], now: float) -> Member:
    """Return the row of one service on one host: of several workers, what is worst of each."""
    said = [each.report for each in workers]
    lags = [_lag(each, positions) for each in said]
    known = [lag for lag in lags if lag is not None]
    ages = [each.age_ms for each in said if each.age_ms is not None]
    away = sum(each.unreachable(now) for each in workers)
    return Member(
        name=said[0].name,
        host=said[0].host,
        pid=min(each.pid for each in said),
        version=", ".join(sorted({each.version for each in said})),
        state=min((each.state for each in said), key=_rank),
        unreachable=away > 0,
        lag=max(known) if len(known) == len(lags) else None,
        age_s=max(ages) / 1000 if len(ages) == len(said) else None,
        up_s=min(each.up_ms for each in said) / 1000,
        last_seen=min(each.wall for each in workers),
        workers=len(workers),
        away=away,
        pids=tuple(sorted(each.pid for each in said)),
    )


def _rank(state: str) -> int:
    """Order states from the worst; one that a newer version says is taken for the worst."""
    known = [str(row.state) for row in TABLE]
    return known.index(state) if state in known else -1


def _lag(report: Report, positions: Mapping[str, Position]) -> int | None:
    lag = 0
    for log, at in positions.items():
        if log not in report.logs and report.more_logs:
            return None
        told = {each.seq for each in report.applied if each.log == log}
        done = report.logs.get(log, 0)
        lag += max(0, at.seq - done - sum(seq > done for seq in told))
    return lag
