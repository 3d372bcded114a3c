"""The checker: knows every accepted change and every decision, and what may never happen.

- lost: an accepted kill (or floor) that nobody ended is missing in a view after healing
- resurrected: a guard allows what it once denied as revoked, and nobody has ended that. What a
  guard does not remember, for its disk was lost, it may allow with a warning, never as fresh
- false fresh: a decision claims to be fresh later than accepted + limit + 60 s, without the kill
- stuck dead: a kill is in force in a view after healing, though one of its ids was ended
- diverged: two views differ after healing, by a single byte, or from what was accepted
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import msgspec

from rescind.testing.badges import TestBadge
from rescind_guard import Code, View
from rescind_guard.decision import Decision
from rescind_protocol import renames
from rescind_protocol.changes import Effect, Kill, Reinstate, Revocation, RevocationId
from rescind_protocol.join import FLOOR_LIFE_S
from rescind_protocol.limits import BADGE_KILL_MARGIN_S, SKEW_S
from rescind_protocol.table import Table
from rescind_protocol.trust import LOG_PREFIX_CHARS
from rescind_publisher.chain import Numbered

FLOOR = "floor"
Cause = RevocationId | tuple[str, bytes, str, int]
"""Why a badge was denied: a revocation, or ("floor", target, log, iat)."""


class Verdict(msgspec.Struct):
    """What one run, or many, came to."""

    schedules: int = 0
    kills: int = 0
    lost: int = 0
    resurrected: int = 0
    false_fresh: int = 0
    diverged: int = 0
    stuck_dead: int = 0
    """Kills that were ended and are in force: what was reinstated does not live again."""
    stuck: int = 0
    """Subscribers that were not fresh again long after everything was healed."""
    broken: int = 0
    """Runs that ended by an error."""
    notes: list[str] = []

    @property
    def violations(self) -> int:
        """How many there are."""
        return sum(getattr(self, name) for name in VIOLATIONS)

    def add(self, other: "Verdict") -> None:
        """Count another run in."""
        for name in FIGURES:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.notes += other.notes


VIOLATIONS = (
    *("lost", "resurrected", "false_fresh", "diverged"),
    *("stuck_dead", "stuck", "broken"),
)
FIGURES = ("schedules", "kills", *VIOLATIONS)


@dataclass
class Accepted:
    """A kill that was accepted, and when; true time, unix seconds."""

    revocation: Revocation
    at: float


@dataclass
class Memory:
    """What one guard has denied, as far as it remembers, and in all."""

    ever: dict[str, set[Cause]] = field(default_factory=dict)
    known: dict[str, set[Cause]] = field(default_factory=dict)
    saved: list[dict[str, set[Cause]]] = field(default_factory=list)
    """As of each snapshot on its disk."""


class Seen(msgspec.Struct, frozen=True):
    """What one decision showed: all that the checker needs, from whichever process it was made in.

    An allowed one claims to be fresh unless it `warned`. `kills` with their expiry, unix seconds.
    """

    allowed: bool = False
    warned: bool = False
    kills: tuple[tuple[RevocationId, int | None], ...] = ()
    floors: tuple[tuple[bytes, str, int], ...] = ()
    """Target, log, `iat`."""
    targets: tuple[bytes, ...] = ()
    """Of an allowed badge."""


def seen(badge: TestBadge, decision: Decision, table: Table) -> Seen:
    """Return what a decision showed; `table` is that of the view it was made on."""
    if decision.claims is None:
        return Seen()
    targets = tuple(decision.claims.targets)
    if decision.code is Code.BADGE_REVOKED:
        found = [(target, at) for target in targets if (at := table.get(target)) is not None]
        dead = [r for _, at in found for r in at.revocations if _kills(r, badge.iat)]
        floors = [(t, log, floor) for t, at in found for log, floor in at.floors]
        return Seen(
            kills=tuple((revocation.id, revocation.kill.expires_at) for revocation in dead),
            floors=tuple(each for each in floors if badge.iat <= each[2]),
        )
    return Seen(bool(decision), bool(decision.warnings), targets=targets) if decision else Seen()


class Checker:
    """Hears of everything that happens in one run."""

    def __init__(self, limit_s: float) -> None:
        self.verdict = Verdict(schedules=1)
        self.kills: dict[RevocationId, Accepted] = {}
        self._limit_s = limit_s
        self._by_target: dict[bytes, list[Accepted]] = {}
        self._committed: set[bytes] = set()
        self._ended: set[RevocationId] = set()
        self._class: dict[RevocationId, set[RevocationId]] = {}
        """Of a kill that was moved: all ids by which it goes or went."""
        self._moved: set[RevocationId] = set()
        """Ids by which a kill does not go any more."""
        self._doubted: set[RevocationId] = set()
        self._floors: dict[tuple[bytes, str], int] = {}
        self._horizons: dict[str, int] = {}
        self._expiry: dict[RevocationId, int | None] = {}
        """Also of kills that a failed commit left in a spool: not accepted, and said later."""
        self._memories: dict[str, Memory] = {}

    # --- what was accepted ---

    def accepted(self, made: Iterable[Numbered], now: float) -> None:
        """Take note of events that a spool has committed."""
        for each in made:
            event = each.event
            if event.digest in self._committed:  # taken back by a spool that had forgotten it
                continue
            self._committed.add(event.digest)
            moves = renames.of_event(event)
            for move in moves.values():
                self._rename(move)
            for index, change in event.changes:
                if index - 1 in moves:
                    continue
                if isinstance(change, Kill):
                    name = RevocationId(event.log, event.seq, index)
                    accepted = Accepted(Revocation(name, change, event.at), now)
                    self.kills[name] = accepted
                    self._expiry[name] = change.expires_at
                    self._by_target.setdefault(change.target.digest, []).append(accepted)
                    self.verdict.kills += 1
                    continue
                self._ended.update(change.names)
                if isinstance(change, Reinstate):
                    place = (change.target.digest, event.log)
                    self._floors[place] = max(change.floor, self._floors.get(place, 0))

    def _rename(self, move: renames.Rename) -> None:
        ids = {move.id, *move.names}
        for name in list(ids):
            ids |= self._class.get(name, {name})
        self._class.update(dict.fromkeys(ids, ids))
        self._moved.update(move.names)

    def answered(self, ids: Iterable[RevocationId], now: float) -> None:
        """Take note of what a request was answered with: a kill that was ended is no answer."""
        for name in ids:
            if name in self.kills and self._was_ended(name):
                self.verdict.lost += 1
                self._note(f"a kill was answered with {name}, which was ended", now)

    def doubted(self, made: Iterable[Numbered]) -> None:
        """Take note of events whose commit failed and that lie there: they may be said later.

        Nobody was told that they were accepted; what they may end may be missing.
        """
        for each in made:
            for _, change in each.event.changes:
                if not isinstance(change, Kill):
                    self._doubted.update(change.names)

    def horizon(self, kid: str, horizon: int) -> None:
        """Take note of how far the signed horizon of a publisher's key has come."""
        key = kid[:LOG_PREFIX_CHARS]  # a spool that is an older copy has signed a later one before
        self._horizons[key] = max(horizon, self._horizons.get(key, 0))

    def over(self, name: RevocationId) -> bool:
        """Whether a kill was ended, or has expired by the signed horizon of its log."""
        until = self._expiry.get(name)
        expired = until is not None and until <= self._horizons.get(name.log[:LOG_PREFIX_CHARS], 0)
        return expired or self._may_be_ended(name)

    def _may_be_ended(self, name: RevocationId) -> bool:
        return self._was_ended(name) or not self._doubted.isdisjoint(self._class.get(name, {name}))

    def _was_ended(self, name: RevocationId) -> bool:
        return not self._ended.isdisjoint(self._class.get(name, {name}))

    # --- decisions ---

    def saved(self, guard: str) -> None:
        """A guard's subscriber has written its snapshot."""
        memory = self._memory(guard)
        memory.saved.append({jti: set(causes) for jti, causes in memory.known.items()})

    def restarted(self, guard: str, snapshot: int | None) -> None:
        """A subscriber has started from snapshot number so and so; None: from nothing."""
        memory = self._memory(guard)
        kept = memory.saved[snapshot] if snapshot is not None else {}
        memory.known = {jti: set(causes) for jti, causes in kept.items()}

    def _memory(self, guard: str) -> Memory:
        return self._memories.setdefault(guard, Memory())

    def decided(
        self, guard: str, badge: TestBadge, decision: Decision, view: View, now: float
    ) -> None:
        """Take note of one decision and judge it."""
        self.judge(guard, badge, seen(badge, decision, view.published.table), now)

    def judge(self, guard: str, badge: TestBadge, seen: Seen, now: float) -> None:
        """Take note of what one decision showed, and judge it."""
        if seen.kills or seen.floors:
            for name, expires_at in seen.kills:
                self._expiry.setdefault(name, expires_at)
            causes = {name for name, _ in seen.kills} | {(FLOOR, *floor) for floor in seen.floors}
            memory = self._memory(guard)
            memory.ever.setdefault(badge.jti, set()).update(causes)
            memory.known.setdefault(badge.jti, set()).update(causes)
        elif seen.allowed:
            self._judge_old(guard, badge, now, fresh=not seen.warned)
            if not seen.warned:
                self._judge_fresh(guard, badge, seen.targets, now)

    def _judge_old(self, guard: str, badge: TestBadge, now: float, *, fresh: bool) -> None:
        memory = self._memory(guard)
        known = memory.known.get(badge.jti, ())
        denied = memory.ever.get(badge.jti, ()) if fresh else known
        for cause in sorted(denied, key=str):
            if cause not in known and self._may_be_hidden(cause, now):
                continue
            if not isinstance(cause, RevocationId) or not self._over_for(cause, badge, now):
                self.verdict.resurrected += 1
                self._note(f"{guard} allows what it denied as revoked by {cause}", now)

    def _may_be_hidden(self, cause: object, now: float) -> bool:
        """Whether a broker may still hide a kill from a guard whose disk has lost it (I6).

        Such a guard knows no more than a new one, and old heads prove it fresh for so long.
        """
        accepted = (each for found in self._by_target.values() for each in found)
        at = next((each.at for each in accepted if each.revocation.id == cause), None)
        return at is not None and now <= at + self._limit_s + SKEW_S

    def _over_for(self, cause: RevocationId, badge: TestBadge, now: float) -> bool:
        """Whether a kill no longer kills this badge; one that should outlive it never does (I8).

        Only while a guard may take the badge for valid: one that does so later has a wrong clock.
        """
        until = self._expiry.get(cause)
        outlives = until is not None and until >= badge.exp + BADGE_KILL_MARGIN_S
        outlives = outlives and now <= badge.exp + 2 * SKEW_S
        return self._may_be_ended(cause) if outlives else self.over(cause)

    def _judge_fresh(
        self, guard: str, badge: TestBadge, targets: Iterable[bytes], now: float
    ) -> None:
        for target in targets:
            for each in self._by_target.get(target, ()):
                late_s = now - each.at - self._limit_s - SKEW_S
                name = each.revocation.id
                if late_s > 0 and _kills(each.revocation, badge.iat) and not self.over(name):
                    self.verdict.false_fresh += 1
                    self._note(f"{guard} claims to be fresh {late_s:.0f} s too long: {name}", now)

    # --- the end ---

    def healed(self, guard: str, table: Table, now: float) -> None:
        """Compare a view with what was accepted, once everything has healed."""
        live = {r.id for _, entry in table.items() for r in entry.revocations}
        for name in self.kills:
            if name not in live and name not in self._moved and not self.over(name):
                self.verdict.lost += 1
                self._note(f"{guard} has lost {name}", now)
        for (target, log), floor in self._floors.items():
            # One that a clock far behind has set is over before it began.
            if floor + FLOOR_LIFE_S <= self._horizons.get(log[:LOG_PREFIX_CHARS], 0):
                continue
            entry = table.get(target)
            if entry is None or dict(entry.floors).get(log, 0) < floor:
                self.verdict.lost += 1
                self._note(f"{guard} has lost the floor of {log}", now)
        for name in sorted(filter(self._was_ended, live)):
            self.verdict.stuck_dead += 1
            self._note(f"{guard} still has {name}, which was ended", now)

    def lives(self, guard: str, badge: TestBadge, seen: Seen, now: float) -> None:
        """Look whether what was reinstated lives again: no kill that was ended denies a badge."""
        ended = [name for name, _ in seen.kills if self._was_ended(name)]
        if ended and len(ended) == len(seen.kills) and not seen.floors:
            self.verdict.stuck_dead += 1
            self._note(f"{guard} denies {badge.jti} by {ended[0]}, which was ended", now)

    def compare(self, tables: dict[str, Table], now: float) -> None:
        """Compare all views, byte for byte."""
        images = {name: canonical(table, self.over) for name, table in tables.items()}
        if len(set(images.values())) > 1:
            self.verdict.diverged += 1
            self._note(f"views differ: {', '.join(images)}", now)

    def stuck(self, guard: str, now: float) -> None:
        """A subscriber does not become fresh."""
        self.verdict.stuck += 1
        self._note(f"{guard} is not fresh, long after everything was healed", now)

    def broke(self, why: str) -> None:
        """A run ended by an error: what it would have shown is not known."""
        self.verdict.broken += 1
        self.verdict.notes.append(why)

    def _note(self, sentence: str, now: float) -> None:
        self.verdict.notes.append(f"at {now:.1f}: {sentence}")


def canonical(table: Table, over: Callable[[RevocationId], bool] = lambda _name: False) -> bytes:
    """A table's bytes, in an order that does not depend on how it was made.

    Without what is `over`: a view that holds a jump of the horizon back keeps it for longer.
    """
    found = (
        (digest, sorted((r for r in e.revocations if not over(r.id)), key=lambda r: r.id), e.floors)
        for digest, e in table.items()
    )
    return msgspec.msgpack.encode(sorted(each for each in found if each[1] or each[2]))


def _kills(revocation: Revocation, iat: int) -> bool:
    return revocation.kill.effect is Effect.USE and revocation.covers(iat)
