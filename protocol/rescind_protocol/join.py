"""The join (I2): how events and snapshots, in any order, any number of times, make one state.

- A kill lives until its own `expires_at` (as the horizon of its log passes it), or until a
  reinstatement names its id. Nothing else ends it: no clock, no order, no newer kill.
- A reinstatement ends the kills it names, known or yet to come, and leaves a floor: badges whose
  `iat` is up to it stay dead. The greatest floor wins, and the horizon of its own log ends it.
- There are no tombstones. What was seen is: up to the contiguous position of each log, and the
  numbers above a gap. A name is remembered only until its kill has been seen.
- A kill that its publisher has moved to a newer log has several ids, and whatever ends one of them
  ends it (`renames`).
- Merging a snapshot keeps a kill if the other side has not seen its id, or has it live.
- What lies beyond a log's cut is void (`cuts`). A state that holds such is `spoiled`: it cannot
  forget, so it is built anew, from all events or a state without, beside the one that serves.

One `Replica` belongs to one writer. Readers get its `table`, which is immutable.
"""

import sys
from collections.abc import Iterable

from rescind_protocol import cuts, places
from rescind_protocol.changes import Kill, RevocationId
from rescind_protocol.cuts import Branch, ByRoot, Cuts, Retired
from rescind_protocol.digests import Digests
from rescind_protocol.events import Event
from rescind_protocol.heads import Head, Position
from rescind_protocol.image import Floor, Image, Link
from rescind_protocol.inforce import FLOOR_LIFE_S, InForce
from rescind_protocol.limits import (
    MAX_ABOVE,
)
from rescind_protocol.outcomes import Outcome
from rescind_protocol.positions import START
from rescind_protocol.rights import LOG_PREFIX_CHARS
from rescind_protocol.table import ALIVE, TableEdit

__all__ = ["FLOOR_LIFE_S", "Outcome", "Replica", "ViewReplica"]


class Replica(InForce):
    """The state of one subscriber or publisher. Belongs to one writer."""

    def __init__(
        self,
        by_root: ByRoot = cuts.nowhere,
        *,
        retired: Retired | None = None,
        forked: Iterable[str] = (),
    ) -> None:
        """`by_root` says where the root has logs end.

        The others are what is known from before when a state is built anew: retirements, and logs
        with two histories, of which one is chosen by the cut.
        """
        super().__init__()
        self.cuts = Cuts(by_root)
        self.cuts.join(retired or {})
        self._branches = {log: Branch(at) for log in forked if (at := self.cuts.of(log))}
        self._spoiled: set[str] = set()
        self.vector: dict[str, Position] = {}
        self.above: dict[str, dict[int, Link]] = {}
        self._digests = Digests()

    # --- what was seen ---

    def seen(self, name: RevocationId, /) -> bool:
        """Whether the event that holds this id has been applied."""
        at = self.vector.get(name.log, START)
        return name.seq <= at.seq or name.seq in self.above.get(name.log, ())

    def _has_seen_any(self) -> bool:
        return bool(self.vector or self.above)

    def gap(self, log: str) -> bool:
        """Whether events of `log` are missing below one that is known."""
        return bool(self.above.get(log))

    @property
    def spoiled(self) -> bool:
        """Whether something is held here that a cut has made void."""
        return bool(self._spoiled)

    def completes(self, log: str, cut: Position) -> bool:
        """Whether a log stands where it ends; a cut is its last head."""
        return cut.seq == 0 or self._covers(log, cut)

    def covers(self, head: Head) -> bool:
        """Whether everything the head's publisher has accepted is applied here, byte for byte."""
        return all(self._covers(log, at) for log, at in head.logs.items())

    def _covers(self, log: str, at: Position) -> bool:
        if log in self.forked or self.vector.get(log, START).seq < at.seq:
            return False
        # A head so old that its event's digest is not kept proves nothing: a thief's chain may
        # have outrun the publisher's.
        if (known := self.digest_of(log, at.seq)) is None and at.seq:
            self._digests.want(log, at.seq)
        return at.seq == 0 or known == at.digest

    def forgot(self, head: Head) -> bool:
        """Whether it names an event that was applied, and whose digest is not kept any more."""
        return any(self._digests.wants(log, at.seq) for log, at in head.logs.items())

    def contradicts(self, head: Head) -> str | None:
        """Return a log of which the head names other bytes than are applied here, None if none."""
        for log, at in head.logs.items():
            known = self.digest_of(log, at.seq) if at.seq else None
            if log not in self.forked and known is not None and known != at.digest:
                return log
        return None

    def agrees(self, head: Head) -> bool | None:
        """Whether live revocations equal the head's sum; None where the two are not comparable.

        So they are not where others have ended kills of its key, until it has heard of that.
        """
        for log, at in head.logs.items():
            if self.vector.get(log, START) != at and at.seq:
                return None
            if self.above.get(log) or self.horizons.get(log) != head.horizon:
                return None
        keys = {log[:LOG_PREFIX_CHARS] for log in head.logs}
        if self.live_sum(head.logs) == head.live:
            self.disputed -= keys
            return True
        return None if keys & self.disputed else False

    def live_sum(self, logs: Iterable[str]) -> int:
        """Sum, modulo 2^128, of the live revocation ids of `logs`."""
        return self.live.sum(logs)

    # --- events ---

    def apply(self, event: Event) -> Outcome:
        """Join one verified event into the state."""
        branch = self._branches.get(event.log)
        # Of a log that the root has ended, only what is known to be of the true history retires.
        if event.retires and (branch is None or self.cuts.by_root(event.log) is None):
            said = cuts.said(event.retires)
            if not self.cuts.has_room(said):
                return Outcome.OVER_QUOTA
            self._retire(said)
        if self.cuts.voids(event):
            return Outcome.VOID
        return self._apply(event) if branch is None else self._apply_branch(branch, event)

    def _apply_branch(self, branch: Branch, event: Event) -> Outcome:
        if self.seen(RevocationId(event.log, event.seq, 0)):
            known = self.digest_of(event.log, event.seq)
            return Outcome.SEEN if known in (None, event.digest) else Outcome.VOID
        found = branch.take(event)
        if found is None:
            return Outcome.WAITING
        for each in found:
            self._retire(cuts.said(each.retires))
            if (outcome := self._apply(each)) is not Outcome.APPLIED:
                return outcome
        return Outcome.APPLIED if found else Outcome.VOID

    def _retire(self, retired: Retired) -> None:
        self._judge(self.cuts.join(retired))

    def _judge(self, logs: Iterable[str]) -> None:
        """Note which of these logs are held beyond their ends."""
        for log in logs:
            cut = self.cuts.of(log)
            self._spoiled.discard(log)
            if cut is not None and not self._within(log, cut):
                self._spoiled.add(log)

    def _within(self, log: str, cut: Position) -> bool:
        at = self.vector.get(log, START)
        branch = self._branches.get(log)
        if log in self.forked or at.seq > cut.seq or (branch and branch.cut != cut):
            return False
        if any(seq > cut.seq for seq in self.above.get(log, ())):
            return False
        return self.digest_of(log, cut.seq) in (None, cut.digest)

    def _apply(self, event: Event) -> Outcome:
        log, seq = event.log, event.seq
        at = self.vector.get(log, START)
        pending = self.above.get(log, {})
        if seq <= at.seq or seq in pending:
            known = self.digest_of(log, seq)
            if known not in (None, event.digest):
                return self._fork(event)
            link = Link(event.digest, event.prev)
            self._digests.read_again(log, seq, link, known=known is not None)
            return Outcome.SEEN
        if seq == at.seq + 1 and event.prev != at.digest:
            return self._fork(event)
        if seq > at.seq + 1 and len(pending) >= MAX_ABOVE:
            return Outcome.TOO_FAR
        if self._over_quota(event):
            return Outcome.OVER_QUOTA
        self._mark(event, at)
        self._effect(event)
        return Outcome.APPLIED

    def _mark(self, event: Event, at: Position) -> None:
        self._digests.note(event.log, event.seq, event.digest)
        if event.seq == at.seq + 1:
            self.vector[event.log] = Position(event.seq, event.digest)
        else:
            self.above.setdefault(event.log, {})[event.seq] = Link(event.digest, event.prev)
        if event.log in self.above:
            self._close_gaps(event.log)

    def _close_gaps(self, log: str) -> None:
        at, pending = self.vector.get(log, START), self.above[log]
        while (link := pending.get(at.seq + 1)) is not None:
            if link.prev != at.digest:
                self.forked.add(log)
                self._judge((log,))
                break
            del pending[at.seq + 1]
            at = self.vector[log] = Position(at.seq + 1, link.digest)
        if not pending:
            del self.above[log]

    def _fork(self, event: Event) -> Outcome:
        self.forked.add(event.log)
        self._judge((event.log,))
        if self._over_quota(event):
            return Outcome.OVER_QUOTA
        self._effect_of_fork(event)
        return Outcome.FORK

    def _over_quota(self, event: Event) -> bool:
        """Bound what one key can make every guard hold (attack D): kills, and names to come.

        Each for itself, and only what the event would add. What ends kills makes room, here or
        for kills to come: if it had to wait for room, events out of order would wait for each
        other for ever, of a key that never held more than its quota.
        """
        held, said = self.live.held(event.log), [change for _, change in event.changes]
        kills = [change for change in said if isinstance(change, Kill)]
        fits = places.fit(event.quota, held, kills)
        if fits and len(kills) == len(said):
            return False
        names = sum(
            not self.seen(name)
            for change in said
            if not isinstance(change, Kill)
            for name in change.names
        )
        if names > 0 and len(self.named) + names > event.quota:
            return True
        return not (fits or places.fit(event.quota, held, self._new_kills(event)))

    def _new_kills(self, event: Event) -> list[Kill]:
        """Return its kills that would be held: not ended or expired by now, nor held already.

        Those held are known from an image that has not seen the event, or by the id that a move
        renames: events out of order would wait for the room that the old id takes.
        """
        moves = self._moves(event)
        return [
            change
            for index, change in event.changes
            for name in (RevocationId(event.log, event.seq, index),)
            if isinstance(change, Kill)
            and self._lives(name, change)
            and not any(
                self.find(change.target.digest, known)
                for known in (name, *(moves[index].names if index in moves else ()))
            )
        ]

    # --- the horizon ---

    def advance_horizon(self, head: Head, closed: Iterable[str] = ()) -> bool:
        """Drop what expires up to the head's signed horizon (I8); whether anything was dropped.

        `closed` are further logs of the same publisher: a head stops naming a log when nothing of
        it can be in force, but a stream that still stores it brings it to every cold start.
        """
        before = self.table
        for log in dict.fromkeys((*head.logs, *closed)):
            if head.horizon > self.horizons.get(log, ALIVE):
                self.horizons[log] = head.horizon
                self._purge(log, head.horizon)
        return self.table is not before

    # --- snapshots ---

    def image(self) -> Image:
        """Return the whole state as data."""
        entries = list(self.table.items())
        return Image(
            vector=dict(self.vector),
            above={log: dict(links) for log, links in self.above.items()},
            named=tuple(sorted(self.named, key=lambda n: (n.id, n.target))),
            horizons=dict(self.horizons),
            revocations=tuple(r for _, e in entries for r in e.revocations),
            floors=tuple(Floor(d, iat, log) for d, e in entries for log, iat in e.floors),
            forked=tuple(sorted(self.forked)),
            retired=self.cuts.retired,
        )

    def accepts(self, image: Image) -> bool:
        """Whether an image holds nothing that is void by what either side knows of cuts."""
        known = Cuts(self.cuts.by_root)
        known.join(self.cuts.retired)
        known.join(image.retired)
        ends = ((log, known.of(log)) for log in {*image.vector, *image.above})
        return all(cut is None or image.within(log, cut) for log, cut in ends)

    def merge(self, image: Image) -> None:
        """Join another state into this one (`merging`); only for what `accepts` accepts."""
        self._retire(image.retired)
        self.forked |= set(image.forked) | self._conflicts(image)
        edit = TableEdit(self.table)
        self._merge_kills(edit, image)
        for floor in image.floors:
            self._raise_floor(edit, floor)
        for name in image.named:
            self.named.add(name)
        self.named.keep_unseen(self, image)
        self.table = edit.done()
        self._merge_positions(image)

    def _conflicts(self, image: Image) -> set[str]:
        """Logs in which the other side has an event whose bytes differ from ours."""
        theirs = [(log, at.seq, at.digest) for log, at in image.vector.items()]
        theirs += [
            (log, n, k.digest) for log, links in image.above.items() for n, k in links.items()
        ]
        return {
            log for log, seq, digest in theirs if self.digest_of(log, seq) not in (None, digest)
        }

    def digest_of(self, log: str, seq: int) -> bytes | None:
        """The digest of an event of ours, as far back as digests are kept."""
        at, link = self.vector.get(log, START), self.above.get(log, {}).get(seq)
        if link is not None:
            return link.digest
        return at.digest if at.seq == seq else self._digests.get(log, seq)

    def _merge_positions(self, image: Image) -> None:
        for log, at in image.vector.items():
            if at.seq > self.vector.get(log, START).seq:
                self.vector[log] = at
                self._digests.note(log, at.seq, at.digest)
        for log, links in image.above.items():
            self.above[log] = {**links, **self.above.get(log, {})}
        for log in list(self.above):
            reached = self.vector.get(log, START).seq
            self.above[log] = {s: k for s, k in self.above[log].items() if s > reached}
            self._close_gaps(log)
        for log, horizon in image.horizons.items():
            if horizon > self.horizons.get(log, ALIVE):
                self.horizons[log] = horizon
        for log in self.horizons:
            self._purge(log, self.horizons[log])
        self._judge({*image.vector, *image.above})


class ViewReplica(Replica):
    """The state behind a view: without the words for admins, which fill a fleet's memory.

    `reason_admin` and `actor` stay in the log, in the publisher's own state and in audit trails.
    Words that many kills have in common are kept once.
    """

    def _kept(self, kill: Kill) -> Kill:
        if kill.reason_admin is None and kill.actor is None:
            return kill
        reason_user = kill.reason_user
        return Kill(
            target=kill.target,
            effect=kill.effect,
            issued_before=kill.issued_before,
            expires_at=kill.expires_at,
            reason=sys.intern(kill.reason),
            reason_user=None if reason_user is None else sys.intern(reason_user),
        )
