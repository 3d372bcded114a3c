"""What the suite has heard from its processes, told to the checker.

A publisher tells of a commit before it sends anything of it, so that whoever hears publishers after
a guard's answer knows all that the answer may rest on.
"""

import time
from collections.abc import Iterable
from pathlib import Path

from rescind.testing.keys import FABRIC, key_of, trust_of
from rescind.testing.sim.checker import Checker
from rescind_protocol import events
from rescind_publisher.chain import Numbered
from rescind_publisher.spool import Spool
from tests.chaos import wire
from tests.chaos.workers import Worker


class Hearing:
    """Everything that was reported in one schedule."""

    def __init__(self, checker: Checker, publishers: tuple[str, ...]) -> None:
        self.checker = checker
        self.accepted: dict[str, int] = {}
        """Newest number of each log."""
        self.applied: dict[tuple[str, str, int], float] = {}
        """By subscriber, log and number: when (CLOCK_MONOTONIC)."""
        self.forked: list[wire.Forked] = []
        self._trust = trust_of(publishers)
        self._known: set[bytes] = set()
        self._begun: dict[str, int] = {}
        """How many snapshots each subscriber began to write."""
        self._saved: dict[str, int | None] = {}
        """The last one that was on its disk."""

    def publisher(self, worker: Worker) -> None:
        """Take what a publisher has reported."""
        for report in worker.take():
            if isinstance(report, wire.Committed):
                self._commit(report.raws, report.at)

    def spool(self, name: str, folder: Path, passed_s: float) -> None:
        """Take what the spool of a dead publisher has: accepted, whoever was told."""
        spool = Spool(folder / "spool", fabric=FABRIC, kid=key_of(name).kid)
        try:
            self.horizon(name, spool.horizon)
            for log, at in spool.positions().items():
                raws = [each.raw for each in spool.read(log, 0, at.seq)]
                self._commit(raws, time.time() + passed_s)
        finally:
            spool.close()

    def horizon(self, publisher: str, horizon: int) -> None:
        """Know how far a publisher has signed that what expired is gone."""
        self.checker.horizon(key_of(publisher).kid, horizon)

    def _commit(self, raws: Iterable[bytes], at: float) -> None:
        for raw in raws:
            digest = events.digest_of(raw)
            if digest not in self._known:
                self._known.add(digest)
                event = events.authenticate(raw, self._trust)
                self.accepted[event.log] = max(event.seq, self.accepted.get(event.log, 0))
                self.checker.accepted([Numbered(event, raw)], at)

    def subscriber(self, worker: Worker) -> None:
        """Take what a subscriber has reported."""
        name = worker.name
        for report in worker.take():
            match report:
                case wire.Applied():
                    self.applied.setdefault((name, report.log, report.seq), report.at)
                case wire.Saving():
                    self.checker.saved(name)
                    self._begun[name] = self._begun.get(name, 0) + 1
                case wire.Saved():
                    self._saved[name] = self._begun[name] - 1
                case wire.Forked():
                    self.forked.append(report)
                case _:
                    pass

    def saves(self, name: str) -> int:
        """Return how many snapshots a subscriber has on its disk, or had."""
        last = self._saved.get(name)
        return 0 if last is None else last + 1

    def begun(self, name: str) -> int:
        """Return how many snapshots a subscriber has begun to write."""
        return self._begun.get(name, 0)

    def restarted(self, name: str, *, remembers: bool) -> None:
        """Know that a subscriber starts, on its last snapshot or on nothing."""
        self.checker.restarted(name, self._saved.get(name) if remembers else None)
