"""The ledger: the state that one kill passes through, under one lock.

Quota, number, signature, commit, hand-over, own state: in this order, by one caller at a time.
Without the lock two callers sign the same number, and one of the kills is lost (attack A2). The
hand-over is inside it, so that events reach the drain in the order of their numbers.

Own state follows behind: whoever looks at it next brings it up to date, so that a kill on its way
to the broker does not wait for that.
"""

import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from types import MappingProxyType

import msgspec

from rescind_protocol import events, places
from rescind_protocol.changes import Change, Kill, Retire, Retract, Revocation, RevocationId
from rescind_protocol.clock import Clock
from rescind_protocol.errors import RescindError
from rescind_protocol.events import Event
from rescind_protocol.heads import Head, Position
from rescind_protocol.join import Replica
from rescind_protocol.positions import START
from rescind_protocol.targets import Target
from rescind_protocol.trust import LOG_PREFIX_CHARS, Trust
from rescind_publisher import chain, copies, moving, quota, repeats
from rescind_publisher.chain import Chain, Numbered, Standing, Voice
from rescind_publisher.clock import Count, Horizon, Measured, checked
from rescind_publisher.elsewhere import Elsewhere
from rescind_publisher.errors import SpoolFailed
from rescind_publisher.follower import Captured
from rescind_publisher.sinks.base import Record
from rescind_publisher.spool import Marks
from rescind_publisher.store import Store

HandOver = Callable[[list[Numbered]], None]
"""Sends what is accepted."""
Found = Callable[[list[Numbered]], None]
"""Hears, before that, of the events whose kills cover a part of what was asked."""

_READ_AT_ONCE = 512
_NO_QUOTA = 2**62
"""What lies in the spool was accepted, and stays so whatever the quota says of it now."""
_NOTHING_SHELVED: Mapping[str, int] = MappingProxyType({})
SPENT_LOGS_HEADED = 128
"""Logs with nothing left in force that heads go on to name, the newest; a head holds about 500."""


class Ledger:
    """Own logs, own revocations, the horizon. Any thread may call; one at a time gets in."""

    def __init__(self, spool: Store, voice: Voice, trust: Trust, clock: Clock) -> None:
        """Rebuild the state from the spool; raises `SpoolFailed` where it does not add up."""
        self._spool, self._voice, self._trust, self._clock = spool, voice, trust, clock
        self._lock = threading.Lock()
        self._replica = Replica()
        self._positions = spool.positions()
        self._closed: set[str] = set()
        self._cut: set[str] = set()
        """Own logs that end before their newest event: we were taken for gone."""
        self._ended_in: dict[str, dict[str, int]] = {}
        """Log -> the logs in which its kills were ended, with the number of the last such event."""
        self._unjoined: list[Numbered] = []
        self._doubted = 0
        """Kills whose commit failed in this run: the disk has them or not, a start finds out."""
        self._horizon = Horizon(clock, spool.horizon, spool.measured)
        self._count = Count(clock, spool.measured)
        self._chain = Chain(voice)
        for log, at in self._positions.items():
            self._rebuild(log, at)
        self._purge()
        self._elsewhere = Elsewhere(self._replica, voice.key.kid)

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
        """Whether the wall clock has left its course, so that heads do not follow it yet."""
        return self._horizon.heads.jumped

    @property
    def behind_s(self) -> float:
        """By how much the wall clock is behind the horizon that was signed before, 0 if it is not.

        Heads go on all the same: they name a lower horizon, and their time is what it is.
        """
        return max(0.0, self._horizon.at - self._clock.wall())

    def live(self, target: Target) -> tuple[Revocation, ...]:
        """Own kills in force on a target."""
        with self._lock:
            self._join()
        found = self._replica.table.get(target.digest)
        return tuple(found.revocations) if found else ()

    def has_seen(self, name: RevocationId) -> bool:
        """Whether a kill is of an event in the spool, so that own state decides on it.

        One of an own log that is not was forgotten by the spool, an older copy.
        """
        with self._lock:
            self._join()
            return self._replica.seen(name)

    @property
    def dropped(self) -> Collection[str]:
        """Own logs that were dropped from the spool, for nobody needs them."""
        return self._spool.dropped

    @property
    def live_count(self) -> int:
        """Places of its quota that this key holds."""
        with self._lock:
            return self._held()

    def _held(self) -> int:
        self._join()
        return self._replica.live.held(self._voice.key.kid)

    # --- accepting ---

    def accept(
        self,
        changes: tuple[Change, ...],
        hand_over: HandOver,
        *,
        found: Found | None = None,
        share: int | None = None,
    ) -> list[Numbered]:
        """Commit changes as events, and return the events in which they stand (I1).

        A kill that one in force covers stands in that one's event, of which only such kills are
        returned; nothing is signed for it. `found` hears of those events before the new ones are
        handed over. `share`: whoever asks may hold one in so many of the places. Raises
        `QuotaExceeded`, `ClockWrong`, `TooLarge` or `SpoolFailed`: nothing was accepted.
        """
        with self._lock:
            self._join()
            fresh, living = repeats.split(changes, self._cover)
            live, doubted = self._replica.live, self._doubted
            quota.check(fresh, live, self._voice, doubted=doubted, share=share)
            old = repeats.events_of(living, self._spool.read, self._voice)
            if found is not None:
                found(old)
            if not fresh:
                hand_over([])
                return old
            return [*old, *self._commit(chain.batches(fresh), hand_over)]

    def _cover(self, kill: Kill) -> Revocation | None:
        """Return a kill of ours that covers another one, and that nobody else can have ended.

        A second publisher may have reinstated the target, and we have not heard of it yet: of that
        and the new kill, the kill wins (I2), so it takes an id that the reinstatement cannot name.
        """
        entry = self._replica.table.get(kill.target.digest)
        if entry is None or not self._ends_alone(kill.target):
            return None
        return repeats.cover(entry.revocations, kill, lambda r: r.id.log not in self._cut)

    def _ends_alone(self, target: Target) -> bool:
        """Whether no other key could ever end a kill of this target; a revoked one could once."""
        end = Retract(target=target, names=())
        mine = self._voice.key.kid
        return not any(
            signer.kid != mine and signer.rights.permit(end)
            for signer in self._trust.signers.values()
        )

    def believe(self, trust: Trust, voice: Voice) -> None:
        """Name a newer trust in heads from now on; `voice` has the quota that it grants."""
        with self._lock:
            self._trust, self._voice = trust, voice

    def retire(self, retires: tuple[Retire, ...], hand_over: HandOver) -> list[Numbered]:
        """Commit retirements as one event; raises as `accept`."""
        with self._lock:
            return self._commit([()], hand_over, retires)

    def _commit(
        self,
        batches: Iterable[tuple[Change, ...]],
        hand_over: HandOver,
        retires: tuple[Retire, ...] = (),
    ) -> list[Numbered]:
        at = int(checked(self._clock))
        made = self._chain.number(batches, at, retires)
        try:
            self._spool.append(made)
        except BaseException:  # an interrupt too
            # Whether the disk has it is not known: the number may not be used again, and the next
            # start may find kills there that count. They have a place in the quota until then.
            self._chain = Chain(self._voice)
            said = (change for each in made for _, change in each.event.changes)
            self._doubted += sum(places.of(c) for c in said if isinstance(c, Kill))
            raise
        try:
            hand_over(made)
        finally:  # also where an interrupt cuts it short: they are accepted
            try:
                self._go_on(made)
            except BaseException:  # an interrupt just here; two within a moment there are not
                self._go_on(made)
                self._purge()
                raise
        return made

    def _go_on(self, made: list[Numbered]) -> None:
        """Go on behind what was accepted; to do it twice is the same as once."""
        self._chain.advance(made)
        if self._unjoined[-1:] != made[-1:]:
            self._unjoined += made
        self._note_position(made[0].event.log)

    def settle(self) -> None:
        """Let own state follow what was accepted, where no kill waits for it."""
        with self._lock:
            self._join()

    def _note_position(self, log: str) -> None:
        new = log not in self._positions
        self._positions[log] = self._chain.at
        if new:
            self._purge()  # the new log goes by the current horizon too

    def _join(self) -> None:
        for each in self._unjoined:
            self._apply(each.event)
            for index, change in each.event.changes:
                name = RevocationId(each.event.log, each.event.seq, index)
                if isinstance(change, Kill):
                    self._elsewhere.said(*self._replica.find(change.target.digest, name))
        self._unjoined.clear()

    def heed(self, followed: Captured) -> int:
        """Hear what others have ended of our kills; how many ended, or live again, by that."""
        with self._lock:
            self._join()
            return self._elsewhere.heed(followed)

    def heard_all(self, vector: Mapping[str, Position]) -> bool:
        """Whether a state has every event of ours that counts: what lives there, lives."""
        with self._lock:
            return all(
                vector.get(log, START).seq >= at.seq
                for log, at in self._positions.items()
                if log not in self._cut
            )

    def _apply(self, event: Event) -> None:
        self._replica.apply(_accepted(event))
        for _, change in event.changes:
            for name in () if isinstance(change, Kill) else change.names:
                self._ended_in.setdefault(name.log, {})[event.log] = event.seq

    def standing(self) -> Standing:
        """Where all own logs stand, and the sum of what is in force in them."""
        with self._lock:
            self._join()
            return self._stand()

    def _stand(self) -> Standing:
        silent = self._closed | self._cut  # no subscriber could cover what is cut
        logs = {log: at for log, at in self._positions.items() if log not in silent}
        return Standing(logs, self._replica.live_sum(logs))

    def _rebuild(self, log: str, at: Position) -> None:
        seq, digest = 0, events.GENESIS
        while records := self._spool.read(log, seq, _READ_AT_ONCE):
            for record in records:
                event = self._read(record)
                if (event.log, event.seq, event.prev) != (log, seq + 1, digest):
                    raise self._corrupt(record, "the chain is broken")
                self._apply(event)
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
        """Commit the horizon's next step if it is due, and what was measured.

        Raises `SpoolFailed`; the horizon then stands.
        """
        step = self._horizon.due()
        if step is None and not self._count.due:
            return
        with self._lock:
            until = max(step or 0, self._horizon.at)
            measured = Measured(self._count.now, self._clock.boot())
            self._spool.save_horizon(until, measured)
            self._count.committed()
            self._horizon.advance(until)
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
        checked(self._clock)
        now = self._horizon.heads.next()
        standing = self.standing()
        # This run's log is named before its first event, and last: by it the run is told apart
        # from another one with the same key.
        logs = dict(standing.logs)
        logs[self.log] = logs.pop(self.log, START)
        return chain.head(
            Standing(logs, standing.live),
            self._voice,
            at=now,
            count=self._count.next(),
            # A head is void with a horizon ahead of its own time (I10), and a fleet without heads
            # is stale: while this host's clock is behind, it says less than has been dropped.
            horizon=min(self._horizon.at, int(now)),
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

    # --- old logs ---

    def adopt(self, log: str, found: Mapping[int, Iterable[bytes]]) -> int:
        """Commit events of an old log of ours that a sink holds and the spool lacks.

        `found` by number, none of it verified; they count as far as they follow on what is here,
        byte for byte. Returns how many did; raises `SpoolFailed`.
        """
        with self._lock:
            if log == self.log or not log.startswith(self._voice.key.kid[:LOG_PREFIX_CHARS]):
                return 0
            made = copies.following(log, self._positions.get(log, START), found, self._trust)
            if made:
                self._spool.append(made)
                self._positions[log] = Position(made[-1].event.seq, made[-1].event.digest)
                self._unjoined += made
            return len(made)

    @property
    def crowded(self) -> bool:
        """Whether heads name so many logs that the next ones might not fit."""
        return len(self._positions) - len(self._closed) > moving.CROWDED

    def move(
        self,
        followed: Captured | None,
        permit: moving.Permit,
        hand_over: HandOver,
        *,
        old_logs: int | None = None,
    ) -> list[Numbered]:
        """Say the kills of old logs again in the current one, if there are more than `old_logs`.

        `followed` is what all publishers have said, by which those that others have ended are told.
        Without, nothing is moved unless heads are about to become too large. Raises as `accept`.
        """
        if followed is None and not self.crowded:
            return []
        with self._lock:
            self._join()
            room = self._voice.quota - self._held() - self._doubted
            live = moving.in_force(self._replica.table)
            some = moving.chosen(live, self.log, room, old_logs)
            batches = list(chain.bundles(moving.groups(some, followed, permit)))
            if not batches:
                return []
            return self._commit(batches, hand_over)

    def say_again(
        self, cuts: Mapping[str, Position], permit: moving.Permit, hand_over: HandOver
    ) -> list[Numbered]:
        """Say in a new log what own logs hold in force beyond where others have cut them.

        For whoever was retired and comes back (ADR 16). Raises as `accept`.
        """
        with self._lock:
            self._join()
            new = {
                log
                for log, cut in cuts.items()
                if log not in self._cut and self._positions.get(log, START).seq > cut.seq
            }
            if not new:
                return []
            self._cut |= new
            if self.log in self._cut:
                self._chain = Chain(self._voice)
            live = moving.in_force(self._replica.table)
            some = [r for log in new for r in live.get(log, ()) if r.id.seq > cuts[log].seq]
            batches = list(chain.bundles(moving.groups(some, None, permit)))
            return self._commit(batches, hand_over) if batches else []

    def review(
        self,
        drained: Iterable[str],
        *,
        durable: int = 0,
        shelved: Mapping[str, int] = _NOTHING_SHELVED,
    ) -> list[str]:
        """Close old logs with nothing left in force; forget those that nobody needs any more.

        `drained`: logs that every sink holds for certain; `durable`: how much of the current log
        they do; `shelved`: how much of each log two snapshots in every sink carry. Returns the
        forgotten ones.
        """
        drained = list(drained)  # first: what is drained by now, is joined below
        with self._lock:
            self._join()
        live = moving.in_force(self._replica.table)
        held = {**dict.fromkeys(drained, _NO_QUOTA), self.log: durable}
        spent = {
            log
            for log in drained
            if log not in live
            and log != self.log
            and all(held.get(by, 0) >= seq for by, seq in self._ended_in.get(log, {}).items())
        }
        with self._lock:
            order = [log for log in self._positions if log in spent]
            self._closed = set(order[: max(0, len(order) - SPENT_LOGS_HEADED)])
            left, gone = set(self._positions), list[str]()
            for log in order:
                if log in self._closed and self._needless(log, left, shelved):
                    left.discard(log)
                    gone.append(log)
            self._spool.drop(gone)
            for log in gone:
                del self._positions[log]
            self._elsewhere.forget(set(gone))
        return gone

    def _needless(self, log: str, left: set[str], shelved: Mapping[str, int]) -> bool:
        """Whether no rebuilt state and no emptied sink could miss this log.

        Each kill has expired; or it was ended, and two snapshots in every sink carry all of that. A
        reinstatement stays as long as the spool has what it ended: a rebuilt state would revive it.
        """
        carried = shelved.get(log, 0) >= self._positions[log].seq
        seq = 0
        while records := self._spool.read(log, seq, _READ_AT_ONCE):
            seq = records[-1].seq
            for record in records:
                for _, change in self._read(record).changes:
                    done = carried and self._answered(change, left - {log})
                    if not (done or self._expired(change)):
                        return False
        return True

    def _answered(self, change: Change, left: set[str]) -> bool:
        """Whether what it ends is gone: our own kills, of none of the logs that are left."""
        names = () if isinstance(change, Kill) else change.names
        mine = self._voice.key.kid[:LOG_PREFIX_CHARS]
        return all(name.log not in left and name.log.startswith(mine) for name in names)

    def _expired(self, change: Change) -> bool:
        if not isinstance(change, Kill) or change.expires_at is None:
            return False
        return change.expires_at <= self._horizon.at


def _accepted(event: Event) -> Event:
    """The event without a quota: own state, which knows no kill of others, must not refuse it."""
    return msgspec.structs.replace(event, quota=_NO_QUOTA)
