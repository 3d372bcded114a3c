"""Quotas: what one key can make every guard hold is bounded (attack D)."""

from itertools import permutations

import pytest

from rescind_protocol.changes import Kill, Reinstate, Retract, RevocationId
from rescind_protocol.heads import Head, Position
from rescind_protocol.join import Outcome, Replica
from rescind_protocol.targets import Target, agent, session
from tests.fakes.fabric import NOW, PUBLISHER, SECOND, log_id
from tests.fakes.histories import digest, event_of

A, B = log_id(PUBLISHER), log_id(SECOND)
X, Y = agent("did:web:acme.example:x7"), session("s")


def killed(replica: Replica, target: Target, iat: int = NOW) -> bool:
    """Whether a badge on the target, issued at `iat`, is dead here."""
    found = replica.table.get(target.digest)
    return found is not None and iat <= found.cut


def test_over_its_quota_a_key_is_not_applied_and_not_covered() -> None:
    """What was refused stays a gap, so that the log's heads are not covered."""
    replica = Replica()
    assert replica.apply(event_of(A, 1, Kill(target=X), quota=1)) is Outcome.APPLIED
    assert replica.apply(event_of(A, 2, Kill(target=Y), quota=1)) is Outcome.OVER_QUOTA
    assert not killed(replica, Y)
    assert replica.vector[A].seq == 1
    assert not replica.covers(Head("soc", NOW, 1, 1, 0, {A: Position(2, digest(A, 2))}, 0))
    assert replica.apply(event_of(B, 1, Kill(target=Y), quota=1)) is Outcome.APPLIED


def test_a_new_log_of_the_same_key_shares_its_quota() -> None:
    """The quota is the key's; a log costs a thief nothing."""
    replica = Replica()
    replica.apply(event_of(A, 1, Kill(target=X), quota=1))
    other = log_id(PUBLISHER, "run 2")
    assert replica.apply(event_of(other, 1, Kill(target=Y), quota=1)) is Outcome.OVER_QUOTA


@pytest.mark.parametrize("undo", ["retract", "reinstate"])
def test_a_key_at_its_quota_can_still_reinstate(undo: str) -> None:
    """Else the log would be stuck for ever: what ends kills makes room."""
    replica = Replica()
    replica.apply(event_of(A, 1, Kill(target=X), quota=1))
    names = (RevocationId(A, 1, 0),)
    change = (
        Retract(target=X, names=names)
        if undo == "retract"
        else Reinstate(target=X, names=names, floor=NOW)
    )
    assert replica.apply(event_of(A, 2, change, quota=1)) is Outcome.APPLIED
    assert replica.apply(event_of(A, 3, Kill(target=Y), quota=1)) is Outcome.APPLIED


def test_names_to_come_count() -> None:
    """They are held, too, until their kills come."""
    replica = Replica()
    names = tuple(RevocationId(B, seq, 0) for seq in range(1, 4))
    over = event_of(A, 1, Retract(target=X, names=names), quota=2)
    assert replica.apply(over) is Outcome.OVER_QUOTA
    assert not replica.named
    within = event_of(A, 1, Retract(target=X, names=names), quota=3)
    assert replica.apply(within) is Outcome.APPLIED


def test_a_key_within_its_quota_gets_everything_in_whatever_order_it_comes() -> None:
    """Read again and again, as a subscriber does: what is ended takes no room, here or to come."""
    targets = [session(f"s{n}") for n in range(4)]
    history = [event_of(A, n, Kill(target=t), quota=2) for n, t in enumerate(targets[:2], 1)]
    for n in (0, 1):  # at its quota: end one, kill another
        names = (RevocationId(A, n + 1, 0),)
        end = Retract(target=targets[n], names=names)
        history.append(event_of(A, len(history) + 1, end, quota=2))
        history.append(event_of(A, len(history) + 1, Kill(target=targets[n + 2]), quota=2))
    for order in permutations(history):
        replica = Replica()
        for event in order * len(history):
            replica.apply(event)
        assert replica.vector[A].seq == len(history)
        assert [killed(replica, target) for target in targets] == [False, False, True, True]


def test_a_move_takes_no_room_beside_what_it_renames() -> None:
    """Also where the events behind it were joined first, as by a newcomer to a damaged store."""
    replica, newer = Replica(), log_id(PUBLISHER, "run 2")
    replica.apply(event_of(A, 1, Kill(target=X), quota=2))
    replica.apply(event_of(newer, 2, Kill(target=Y), quota=2))
    end = Retract(target=X, names=(RevocationId(A, 1, 0),), reason="moved")
    move = event_of(newer, 1, Kill(target=X), end, quota=2)
    assert replica.apply(move) is Outcome.APPLIED
    assert killed(replica, X)
    assert killed(replica, Y)


def test_what_expired_takes_no_room() -> None:
    """Of an older log, read after the newer one and the head that has ended it."""
    replica, newer = Replica(), log_id(PUBLISHER, "run 2")
    replica.apply(event_of(newer, 1, Kill(target=X), quota=1))
    logs = {A: Position(1, digest(A, 1)), newer: Position(1, digest(newer, 1))}
    replica.advance_horizon(Head("soc", NOW + 60, 1, 1, NOW, logs, 0))
    late = event_of(A, 1, Kill(target=Y, expires_at=NOW), quota=1)
    assert replica.apply(late) is Outcome.APPLIED
    assert not killed(replica, Y)


def test_a_fork_does_not_go_round_the_quota() -> None:
    """One number, any number of events, each with other kills."""
    replica = Replica()
    replica.apply(event_of(A, 1, Kill(target=X), quota=3))
    for n in range(10):
        replica.apply(event_of(A, 1, Kill(target=session(f"s{n}")), branch=str(n), quota=3))
    assert len(replica.table) == 3
    assert replica.forked == {A}
