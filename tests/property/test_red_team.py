"""Traces by which a last-writer-wins join lost kills (attack A1), with that join as control."""

from dataclasses import dataclass
from itertools import permutations

import pytest

from rescind_protocol.changes import Change, Kill, Reinstate, Retract, RevocationId
from rescind_protocol.events import Event
from rescind_protocol.join import Replica
from rescind_protocol.targets import agent
from tests.fakes.fabric import PUBLISHER, SECOND, log_id
from tests.fakes.histories import event_of, horizon_of, state

P1, P2 = log_id(PUBLISHER), log_id(SECOND)
TARGET = agent("did:web:acme.example:x7")
KILL = Kill(target=TARGET)
IAT = 10_000_000


@dataclass
class Draft:
    """The first draft: a register per target, greatest revision wins, expired rows are purged."""

    row: tuple[int, bool, int | None] | None = None

    def apply(self, revision: int, change: Change, *, now: int = 0) -> None:
        """Take a change with its revision; what has expired by our clock is dropped."""
        if self.row is not None and self.row[2] is not None and self.row[2] <= now:
            self.row = None
        if self.row is None or revision > self.row[0]:
            expires = change.expires_at if isinstance(change, Kill) else None
            self.row = (revision, isinstance(change, Kill), expires)

    def denies(self, now: int = 0) -> bool:
        """Whether the target is dead."""
        if self.row is None or not self.row[1]:
            return False
        return self.row[2] is None or self.row[2] > now


def denied(replica: Replica, iat: int = IAT) -> bool:
    """Whether a badge of the target is dead."""
    found = replica.table.get(TARGET.digest)
    return found is not None and iat <= found.cut


def everywhere(*history: Event) -> list[Replica]:
    """Return a replica for each order of delivery."""
    made = []
    for order in permutations(history):
        replica = Replica()
        for event in order:
            replica.apply(event)
        made.append(replica)
    return made


def retract(*names: RevocationId) -> Retract:
    """Take back kills of the target."""
    return Retract(target=TARGET, names=names)


def test_a1_1_an_unseen_reinstatement_does_not_beat_a_later_kill() -> None:
    """P1's clock is 55 s behind P2's: its later kill has the lower revision."""
    draft = Draft()
    for revision, change in ((970, KILL), (1026, retract(RevocationId(P1, 1, 0))), (1010, KILL)):
        draft.apply(revision, change)
    assert not draft.denies()  # the control: the kill was acked everywhere, and is without effect

    history = (
        event_of(P1, 1, KILL),
        event_of(P2, 1, retract(RevocationId(P1, 1, 0))),
        event_of(P1, 2, KILL),
    )
    assert all(denied(replica) for replica in everywhere(*history))
    assert not any(denied(replica) for replica in everywhere(*history[:2]))


def test_a1_2_a_later_shorter_kill_does_not_end_a_longer_one() -> None:
    """For ever by the analyst, then ten minutes by automation."""
    short = Kill(target=TARGET, expires_at=700)
    draft = Draft()
    draft.apply(1, KILL)
    draft.apply(2, short)
    assert not draft.denies(now=701)

    for replica in everywhere(event_of(P1, 1, KILL), event_of(P2, 1, short)):
        replica.advance_horizon(horizon_of(P2, 701))
        assert denied(replica)


def test_a1_3_expiry_does_not_make_the_order_matter() -> None:
    """A short kill expired and purged, then the older long one replays."""
    short = Kill(target=TARGET, expires_at=700)
    here, there = Draft(), Draft()
    here.apply(2, short)
    here.apply(1, KILL, now=701)
    there.apply(1, KILL)
    there.apply(2, short)
    assert here.denies(now=701) != there.denies(now=701)

    late, early = Replica(), Replica()
    late.apply(event_of(P2, 1, short))
    late.advance_horizon(horizon_of(P2, 701))
    late.apply(event_of(P1, 1, KILL))
    early.apply(event_of(P1, 1, KILL))
    early.advance_horizon(horizon_of(P2, 701))
    early.apply(event_of(P2, 1, short))
    assert denied(late)
    assert state(late.image()) == state(early.image())


def test_a1_4_ties_keep_both() -> None:
    """Two kills of one second with other lives: in the draft the first to arrive stayed."""
    short = Kill(target=TARGET, expires_at=700)
    one, other = Draft(), Draft()
    one.apply(5, KILL)
    one.apply(5, short)
    other.apply(5, short)
    other.apply(5, KILL)
    assert one.denies(now=701) != other.denies(now=701)

    states = [
        state(replica.image())
        for replica in everywhere(event_of(P1, 1, KILL), event_of(P2, 1, short))
    ]
    assert states[0] == states[1]


def test_a1_5_no_reinstatement_poisons_a_target() -> None:
    """Revision 2^63 - 1 (bad clock, stolen key): in the draft it could never be killed again."""
    poison = retract(*(RevocationId(P1, seq, 0) for seq in range(1, 100)))
    draft = Draft()
    draft.apply(2**63 - 1, poison)
    draft.apply(1000, KILL)
    assert not draft.denies()

    replica = Replica()
    replica.apply(event_of(P2, 1, poison))
    replica.apply(event_of(log_id(PUBLISHER, "run 2"), 1, KILL))
    assert denied(replica)


def test_a1_6_a_reinstatement_that_was_revoked_can_be_left_out() -> None:
    """What it ended comes back from a state that never had it: kills are not overwritten."""
    undo = event_of(P2, 1, retract(RevocationId(P1, 1, 0)))
    draft = Draft()
    draft.apply(1, KILL)
    draft.apply(2, undo.changes[0][1])
    draft.apply(1, KILL)  # delivered again, after the cut of P2: without effect
    assert not draft.denies()

    applied, rebuilt = everywhere(event_of(P1, 1, KILL), undo)[0], Replica()
    before = Replica()
    before.apply(event_of(P1, 1, KILL))
    rebuilt.merge(before.image())
    assert not denied(applied)
    assert denied(rebuilt)


def test_a_concurrent_kill_wins_over_a_reinstatement() -> None:
    """The reinstatement names what its author had seen, and nothing else."""
    floor = Reinstate(target=TARGET, names=(RevocationId(P1, 1, 0),), floor=5)
    history = (event_of(P1, 1, KILL), event_of(P2, 1, floor), event_of(P1, 2, KILL))
    for replica in everywhere(*history):
        assert denied(replica)
    for replica in everywhere(*history[:2]):
        assert denied(replica, iat=5)
        assert not denied(replica, iat=6)


@pytest.mark.parametrize("ends", ["retract", "reinstate"])
def test_an_event_may_name_its_own_kill(ends: str) -> None:
    """Kills first, then what ends them: the order within an event decides nothing."""
    own = (RevocationId(P1, 1, 1),)
    undo: Change = (
        Retract(target=TARGET, names=own)
        if ends == "retract"
        else Reinstate(target=TARGET, names=own, floor=5)
    )
    replica = Replica()
    replica.apply(event_of(P1, 1, undo, KILL))
    assert not denied(replica)
    assert not replica.named
