"""Each protection taken out: the naive piece that an earlier draft had, by its name in testing.md.

The simulator must find what each of them does. If it does not, it would not have found a fault of
the real piece either.
"""

from collections.abc import Iterable, Mapping
from typing import Any
from unittest.mock import patch

import msgspec

from rescind.testing.sim import Parts
from rescind.testing.sim.brokers import Answer, FencedBroker
from rescind.testing.sim.lanes import Lane
from rescind_protocol.changes import Kill, Reinstate, Revocation, RevocationId
from rescind_protocol.clock import Clock
from rescind_protocol.digests import Digests
from rescind_protocol.events import Event
from rescind_protocol.heads import Head
from rescind_protocol.image import Link
from rescind_protocol.join import Replica, ViewReplica
from rescind_protocol.renames import Rename
from rescind_protocol.table import TableEdit, entry
from rescind_protocol.targets import Target
from rescind_protocol.trust import Trust
from rescind_publisher.chain import Voice
from rescind_publisher.clock import Horizon
from rescind_publisher.ledger import Ledger
from rescind_publisher.sinks.base import Record
from rescind_publisher.store import Store
from rescind_subscriber.checkpoint import Checkpoint
from rescind_subscriber.newest import Heard, Proof
from rescind_subscriber.reconcile import Reconciler

NOT_ABOVE = "not above the top"


class LastWriterWins(Replica):
    """I2: a register for each target, the greatest time stamp wins."""

    def __init__(self, *how: Any) -> None:
        super().__init__(*how)
        self._stamps: dict[bytes, tuple[int, str, int]] = {}

    def _effect(self, event: Event) -> None:
        edit, stamp = TableEdit(self.table), (event.at, event.log, event.seq)
        for index, change in event.changes:
            target = change.target.digest
            if stamp < self._stamps.get(target, (0, "", 0)):
                continue
            self._stamps[target] = stamp
            name = RevocationId(event.log, event.seq, index)
            kills = (Revocation(name, change, event.at),) if isinstance(change, Kill) else ()
            floor = ((event.log, change.floor),) if isinstance(change, Reinstate) else ()
            edit.put(target, entry(kills, floor))
        self.table = edit.done()


class ReceiptTime(Reconciler):
    """I4: a covered head freshens from when it comes in, whenever it was signed."""

    def _admit(self, head: Head) -> bool:
        del head
        return True

    def _prove(self, publisher: str) -> bool:
        heard = self._heard.get(publisher)
        if heard is None:
            return True
        if not self.replica.covers(heard.head):
            self._uncovered.add(publisher)
            return False
        self._uncovered.discard(publisher)
        self._proofs[publisher] = Proof(self._clock.wall(), self._clock.boot())
        self._freshen()
        return True


class WallClockOnly(Reconciler):
    """A head's age by the wall clock alone."""

    def _age_s(self, head: Head, boot: float) -> float:
        del boot
        return max(0.0, self._clock.wall() - head.time_s)


def forget(raw: bytes) -> Checkpoint | None:
    """I7: a restart knows nothing."""
    del raw
    return None


class BareAppend(FencedBroker):
    """The fence: `XADD` with the number as id, which refuses whatever is not above the top."""

    any_order = True

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._seqs: dict[int, int] = {}
        """Which number lies where."""

    def _store(self, record: Record, msg_id: str) -> Answer:
        del msg_id
        places = self._keys.setdefault(record.log, [])
        if places and record.seq <= self._seqs[places[-1]]:
            return Answer(refused=NOT_ABOVE)
        self.store.append(record.raw)
        places.append(len(self.store))
        self._seqs[len(self.store)] = record.seq
        return Answer(len(self.store))


class RefusedIsThere(Lane):
    """What such a store refuses is counted as a duplicate, and so as stored."""

    def _answered(self, record: Record, attempt: int, answer: Answer) -> None:
        if answer.refused == NOT_ABOVE:
            self.note(record, answer.position)
        else:
            super()._answered(record, attempt, answer)


class BelievedAcks(Lane):
    """Message ids: one that can be guessed, and an ack that is believed."""

    def msg_id(self, record: Record) -> str:
        """Name an event by its place, as anybody can."""
        return f"{record.log}:{record.seq}"

    def _answered(self, record: Record, attempt: int, answer: Answer) -> None:
        if answer.refused:
            super()._answered(record, attempt, answer)
        else:
            self.note(record, answer.position)

    def look(self) -> None:
        """Believe that what was acknowledged is there."""


class NoRename(ViewReplica):
    """A move is a new kill and an end of the old one, as a first draft had it."""

    def _moves(self, event: Event) -> dict[int, Rename]:
        del event
        return {}


class BoldLedger(Ledger):
    """A repeated kill relies on the living one, whoever else may have ended that."""

    def _ends_alone(self, target: Target) -> bool:
        del target
        return True


class ByTheWall(Ledger):
    """The horizon: taken from the wall clock as it is when the host starts."""

    def __init__(self, spool: Store, voice: Voice, trust: Trust, clock: Clock) -> None:
        super().__init__(spool, voice, trust, clock)
        self._horizon = Horizon(clock, 0)
        self._horizon.at = spool.horizon


class AllHorizons(Reconciler):
    """And believed at once, however far it jumps."""

    def _advance_horizon(self, heard: Heard) -> None:
        if self.joined.advance_horizon(heard.head):
            self._swap()


class PlainCounts(Ledger):
    """Counts: of a run's heads, by which nobody can tell when they were signed."""

    def head(self, *, fleet: int = 0) -> bytes:
        """Count one."""
        with patch.object(self, "_count", _Plain(self)):
            return super().head(fleet=fleet)

    heads = 0


class _Plain:
    def __init__(self, ledger: PlainCounts) -> None:
        self._ledger = ledger

    def next(self) -> int:
        """Count one more."""
        self._ledger.heads += 1
        return self._ledger.heads


class NeverRereads(ViewReplica):
    """What was applied once is looked at no more, and its digest forgotten."""

    def __init__(self, *how: Any) -> None:
        super().__init__(*how)
        self._digests = _NoDigests()


class NeverAdopts(Ledger):
    """What the brokers hold and an older copy of the spool lacks stays there."""

    def adopt(self, log: str, found: Mapping[int, Iterable[bytes]]) -> int:
        """Take nothing."""
        del log, found
        return 0


class _NoDigests(Digests):
    def read_again(self, log: str, seq: int, link: Link, *, known: bool) -> None:
        """Do not look."""


class NothingEnds(ViewReplica):
    """Reinstatements: heard, and without effect."""

    def _effect(self, event: Event) -> None:
        kills = tuple(each for each in event.changes if isinstance(each[1], Kill))
        super()._effect(msgspec.structs.replace(event, changes=kills))


WITHOUT = {
    "rename": Parts(replica=NoRename),
    "repeat": Parts(ledger=BoldLedger),
    "I2": Parts(replica=LastWriterWins),
    "I4": Parts(reconciler=ReceiptTime),
    "I7": Parts(recall=forget),
    "fence": Parts(fenced=BareAppend, lane=RefusedIsThere),
    "msgid": Parts(lane=BelievedAcks),
    "horizon": Parts(ledger=ByTheWall, reconciler=AllHorizons),
    "count": Parts(ledger=PlainCounts),
    "reread": Parts(replica=NeverRereads, ledger=NeverAdopts),
    "end": Parts(replica=NothingEnds),
}

SHOWS = {
    "rename": "stuck_dead",
    "repeat": "lost",
    "I2": "lost",
    "I4": "false_fresh",
    "I7": "resurrected",
    "fence": "lost",
    "msgid": "lost",
    "horizon": "resurrected",
    "count": "stuck",
    "reread": "stuck",
    "end": "stuck_dead",
}
"""The figure in which the absence of each must show; any other would prove something else."""
