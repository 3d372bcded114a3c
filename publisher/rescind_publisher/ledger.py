"""The ledger: the state that one kill passes through, under one lock.

Quota, number, signature, commit, hand-over, own state: in this order, by one caller at a time.
Without the lock two callers sign the same number, and one of the kills is lost (red-team A2). The
hand-over is inside it, so that events reach the drain in the order of their numbers.

Own state follows behind: whoever looks at it next brings it up to date, so that a kill on its way
to the broker does not wait for that.
"""

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import msgspec

from rescind_protocol import events
from rescind_protocol.changes import Change, Kill, Revocation
from rescind_protocol.clock import Clock
from rescind_protocol.errors import RescindError
from rescind_protocol.events import Event
from rescind_protocol.heads import Head, Position
from rescind_protocol.join import Replica
from rescind_protocol.targets import Target
from rescind_protocol.trust import LOG_PREFIX_CHARS, Trust
from rescind_publisher import chain
from rescind_publisher.chain import Chain, Numbered, Standing, Voice
from rescind_publisher.clock import Horizon, checked
from rescind_publisher.errors import ClockWrong, QuotaExceeded, SpoolFailed
from rescind_publisher.sinks.base import Record
from rescind_publisher.spool import Marks


class HandOver(Protocol):
    """Who sends what is accepted."""

    def stand_by(self, made: list[Numbered]) -> None:
        """Know that these events are about to be committed; they may yet fail."""

    def committed(self) -> None:
        """Send them."""


_READ_AT_ONCE = 512
_NO_QUOTA = 2**62
"""What lies in the spool was accepted, and stays so whatever the quota says of it now."""
SPENT_LOGS_HEADED = 128
"""Logs with nothing left in force that heads go on to name, the newest; a head holds about 500."""


class Store(Protocol):
    """What a ledger needs of a spool: `append` commits, and what it committed stays."""

    directory: Path
    """Where it lies, for sentences."""

    @property
    def horizon(self) -> int:
        """The newest horizon that may have been signed (unix seconds)."""
        ...

    def append(self, made: list[Numbered]) -> None:
        """Commit events of one log; raises `SpoolFailed`, the events may then lie there or not."""

    def positions(self) -> dict[str, Position]:
        """Newest number and digest of each log."""
        ...

    def read(self, log: str, after: int, limit: int) -> list[Record]:
        """Up to `limit` events of a log beyond number `after`, in order."""
        ...

    def drop(self, logs: Iterable[str]) -> None:
        """Forget whole logs."""

    def save_horizon(self, horizon: int) -> None:
        """Commit a horizon before it is signed."""

    def save_marks(self, marks: Iterable[Marks]) -> None:
        """Save how far the sinks got."""

    def checkpoint(self) -> None:
        """Tidy up, off the path of a kill."""


class Ledger:
    """Own logs, own revocations, the horizon. Any thread may call; one at a time gets in."""

    def __init__(self, spool: Store, voice: Voice, trust: Trust, clock: Clock) -> None:
        """Rebuild the state from the spool; raises `SpoolFailed` where it does not add up."""
        self._spool, self._voice, self._trust, self._clock = spool, voice, trust, clock
        self._lock = threading.Lock()
        self._replica = Replica()
        self._positions = spool.positions()
        self._closed: set[str] = set()
        self._unjoined: list[Numbered] = []
        self._horizon = Horizon(clock, spool.horizon)
        self._chain = Chain(voice)
        for log, at in self._positions.items():
            self._rebuild(log, at)
        self._count = 0
        self._purge()

    @property
    def log(self) -> str:
        """This run's log."""
        return self._chain.log

    @property
    def positions(self) -> dict[str, Position]:
        """Where each log in the spool stands."""
        with self._lock:
            return dict(self._positions)

    @property
    def horizon(self) -> int:
        """The newest signed horizon."""
        return self._horizon.at

    @property
    def jumped(self) -> bool:
        """Whether the wall clock is off its course, so that the horizon stands still."""
        return self._horizon.jumped

    def live(self, target: Target) -> tuple[Revocation, ...]:
        """Own kills in force on a target."""
        with self._lock:
            self._join()
        found = self._replica.table.get(target.digest)
        return found.revocations if found else ()

    def knows(self, log: str) -> bool:
        """Whether this is one of the logs in the spool."""
        return log in self._positions

    @property
    def live_count(self) -> int:
        """Live revocations that this key holds."""
        with self._lock:
            return self._held()

    def _held(self) -> int:
        self._join()
        return self._replica.live_count.get(self._voice.key.kid[:LOG_PREFIX_CHARS], 0)

    # --- accepting ---

    def accept(self, changes: tuple[Change, ...], hand_over: HandOver) -> list[Numbered]:
        """Commit changes as events; when it returns they are accepted (I1).

        Raises `QuotaExceeded`, `ClockWrong`, `TooLarge` or `SpoolFailed`: nothing was accepted.
        """
        with self._lock:
            self._check_quota(changes)
            made = self._chain.number(chain.batches(changes), int(checked(self._clock)))
            hand_over.stand_by(made)
            try:
                self._spool.append(made)
            except SpoolFailed:
                # Whether the disk has it is not known: the number may not be used again.
                self._chain = Chain(self._voice)
                raise
            hand_over.committed()
            self._chain.advance(made)
            self._unjoined += made
            self._note_position(made[0].event.log)
        return made

    def settle(self) -> None:
        """Let own state follow what was accepted, where no kill waits for it."""
        with self._lock:
            self._join()

    def _check_quota(self, changes: tuple[Change, ...]) -> None:
        """As strict as the subscribers are: an event they refuse would leave its log uncovered.

        Taking kills back is never refused: it makes room.
        """
        held, more = self._held(), sum(isinstance(change, Kill) for change in changes)
        if more and held + more > self._voice.quota:
            raise QuotaExceeded(
                f"this key holds {held} of {self._voice.quota} revocations; "
                f"{more} more are beyond its quota in the trust file"
            )

    def _note_position(self, log: str) -> None:
        new = log not in self._positions
        self._positions[log] = self._chain.at
        if new:
            self._purge()  # the new log goes by the current horizon too

    def _join(self) -> None:
        for each in self._unjoined:
            self._replica.apply(_accepted(each.event))
        self._unjoined.clear()

    def standing(self) -> Standing:
        """Where all own logs stand, and the sum of what is in force in them."""
        with self._lock:
            self._join()
            return self._stand()

    def _stand(self) -> Standing:
        logs = {log: at for log, at in self._positions.items() if log not in self._closed}
        return Standing(logs, self._replica.live_sum(logs))

    def _rebuild(self, log: str, at: Position) -> None:
        seq, digest = 0, events.GENESIS
        while records := self._spool.read(log, seq, _READ_AT_ONCE):
            for record in records:
                event = self._read(record)
                if (event.log, event.seq, event.prev) != (log, seq + 1, digest):
                    raise self._corrupt(record, "the chain is broken")
                self._replica.apply(_accepted(event))
                seq, digest = event.seq, event.digest
        if (seq, digest) != (at.seq, at.digest):
            raise SpoolFailed(f"spool {self._spool.directory} is corrupt: log {log} ends too soon")

    def _read(self, record: Record) -> Event:
        try:
            return events.authenticate(record.raw, self._trust)
        except RescindError as error:
            raise self._corrupt(record, str(error)) from error

    def _corrupt(self, record: Record, why: str) -> SpoolFailed:
        return SpoolFailed(
            f"spool {self._spool.directory} is corrupt: event {record.seq} of log {record.log}: "
            f"{why}; move it away, and give every kill in it again"
        )

    # --- heads and housekeeping ---

    def step_horizon(self) -> None:
        """Commit the horizon's next step if it is due; raises `SpoolFailed`, it then stands."""
        step = self._horizon.due()
        if step is None:
            return
        with self._lock:
            self._spool.save_horizon(step)
            self._horizon.advance(step)
            self._join()
            self._purge()

    def _purge(self) -> None:
        """Drop what expired from our own state, exactly as every subscriber will."""
        logs = dict(self._positions)
        self._replica.advance_horizon(Head("", 0.0, 0, 0, self._horizon.at, logs, 0))

    def head(self, *, fleet: int = 0) -> bytes:
        """Return the next signed head; raises `ClockWrong`, `TooLarge`.

        `fleet`: how many subscribers there are to answer a kill.
        """
        now = checked(self._clock)
        if now < self._horizon.at:
            # Nobody could read it: a horizon ahead of the head's own time (I10).
            raise ClockWrong(
                f"this host's clock is {self._horizon.at - now:.0f} s behind what was signed before"
            )
        self._count += 1
        return chain.head(
            self.standing(),
            self._voice,
            at=now,
            count=self._count,
            horizon=self._horizon.at,
            trust=self._trust.version,
            fleet=fleet,
        )

    def read(self, log: str, after: int, limit: int) -> list[Record]:
        """Up to `limit` events of a log beyond a number."""
        with self._lock:
            return self._spool.read(log, after, limit)

    def save(self, marks: Iterable[Marks]) -> None:
        """Save how far the sinks got, and fold a long WAL into the file."""
        with self._lock:
            self._spool.save_marks(marks)
            self._spool.checkpoint()

    def review(self, drained: Iterable[str]) -> list[str]:
        """Close old logs with nothing left in force; forget those that only ever expired.

        `drained`: logs that every sink holds for certain. Returns the forgotten ones.
        """
        drained = list(drained)  # first: what is drained by now, is joined below
        with self._lock:
            self._join()
        in_force = self._in_force()
        spent = [log for log in drained if log not in in_force and log != self.log]
        with self._lock:
            order = [log for log in self._positions if log in set(spent)]
            self._closed = set(order[: max(0, len(order) - SPENT_LOGS_HEADED)])
            gone = [log for log in order if log in self._closed and self._only_expired(log)]
            self._spool.drop(gone)
            for log in gone:
                del self._positions[log]
        return gone

    def _in_force(self) -> set[str]:
        found: set[str] = set()
        for _, entry in self._replica.table.items():  # noqa: PERF102 - a Table has no values()
            found.update(log for log, _ in entry.floors)
            found.update(r.id.log for r in entry.revocations)
        return found

    def _only_expired(self, log: str) -> bool:
        """Whether each change was a kill that has expired.

        A reinstatement stays in the spool: without it a rebuilt state would revive what it ended.
        """
        seq = 0
        while records := self._spool.read(log, seq, _READ_AT_ONCE):
            seq = records[-1].seq
            if not all(self._expired(c) for r in records for _, c in self._read(r).changes):
                return False
        return True

    def _expired(self, change: Change) -> bool:
        if not isinstance(change, Kill) or change.expires_at is None:
            return False
        return change.expires_at <= self._horizon.at


def _accepted(event: Event) -> Event:
    """The event without a quota: own state, which knows no kill of others, must not refuse it."""
    return msgspec.structs.replace(event, quota=_NO_QUOTA)
