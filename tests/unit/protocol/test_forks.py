"""Forks: two events with one number, a broken chain; over-block, and trust no more."""

import pytest

from rescind_protocol.changes import Kill, Retract, RevocationId
from rescind_protocol.heads import Head, Position
from rescind_protocol.join import Outcome, Replica
from rescind_protocol.limits import RECENT_DIGESTS
from rescind_protocol.targets import Target, agent, session
from tests.fakes.fabric import NOW, PUBLISHER, SECOND, log_id
from tests.fakes.histories import digest, event_of

A, B = log_id(PUBLISHER), log_id(SECOND)
X, Y = agent("did:web:acme.example:x7"), session("s")


def loaded(*replicas: Replica) -> Replica:
    """Return a new replica that merges the images of others, in this order."""
    made = Replica()
    for replica in replicas:
        made.merge(replica.image())
    return made


def killed(replica: Replica, target: Target, iat: int = NOW) -> bool:
    """Whether a badge on the target, issued at `iat`, is dead here."""
    found = replica.table.get(target.digest)
    return found is not None and iat <= found.cut


def test_two_events_with_one_number_are_a_fork_and_both_kill() -> None:
    """A thief's event that comes first does not lose the true kill."""
    replica = Replica()
    assert replica.apply(event_of(A, 1, Kill(target=Y), branch="thief")) is Outcome.APPLIED
    assert replica.apply(event_of(A, 1, Kill(target=X))) is Outcome.FORK
    assert killed(replica, X)
    assert killed(replica, Y)
    assert replica.forked == {A}


def test_a_fork_above_a_gap_is_one_too() -> None:
    """The numbers above a gap are compared by digest as well."""
    replica = Replica()
    replica.apply(event_of(A, 3, Kill(target=Y), branch="thief"))
    assert replica.apply(event_of(A, 3, Kill(target=X))) is Outcome.FORK
    assert killed(replica, X)


def test_a_broken_chain_is_a_fork_whose_kills_count() -> None:
    """Number n + 1 that does not descend from our n."""
    replica = Replica()
    replica.apply(event_of(A, 1, Kill(target=Y), branch="thief"))
    assert replica.apply(event_of(A, 2, Kill(target=X))) is Outcome.FORK
    assert killed(replica, X)


def test_a_chain_that_breaks_as_a_gap_closes_is_a_fork() -> None:
    """Found when the missing one arrives; nothing applied is taken back."""
    replica = Replica()
    replica.apply(event_of(A, 2, Kill(target=X)))
    replica.apply(event_of(A, 1, Kill(target=Y), branch="thief"))
    assert replica.forked == {A}
    assert killed(replica, X)


def test_the_second_branch_reinstates_nothing() -> None:
    """Whoever has the key may over-block with a fork, not undo."""
    replica = Replica()
    replica.apply(event_of(B, 1, Kill(target=X)))
    replica.apply(event_of(A, 1, Kill(target=Y)))
    undo = Retract(target=X, names=(RevocationId(B, 1, 0),))
    assert replica.apply(event_of(A, 1, undo, branch="thief")) is Outcome.FORK
    assert killed(replica, X)


@pytest.mark.parametrize("first", ["victim", "witness"])
def test_a_merge_with_a_thiefs_victim_keeps_the_true_kill(first: str) -> None:
    """A state that saw only the thief's event 1 has "seen" the id of the true kill."""
    victim, witness = Replica(), Replica()
    for replica in (victim, witness):
        replica.apply(event_of(A, 1, Kill(target=Y), branch="thief"))
    witness.apply(event_of(A, 1, Kill(target=X)))
    order = (victim, witness) if first == "victim" else (witness, victim)
    merged = loaded(*order)
    assert killed(merged, X)
    assert killed(merged, Y)
    assert merged.forked == {A}


@pytest.mark.parametrize("longer", ["", "thief"])
def test_a_merge_of_two_branches_is_a_fork(longer: str) -> None:
    """Different digests at one number: the log is not trusted, and no kill is lost."""
    true, thief = Replica(), Replica()
    true.apply(event_of(A, 1, Kill(target=X)))
    thief.apply(event_of(A, 1, Kill(target=Y), branch="thief"))
    (thief if longer else true).apply(event_of(A, 3, Kill(target=Y), branch=longer))
    for merged in (loaded(true, thief), loaded(thief, true)):
        assert killed(merged, X)
        assert merged.forked == {A}


def test_a_merge_of_two_branches_above_a_gap_is_a_fork() -> None:
    """The links above a gap are compared too."""
    true, thief = Replica(), Replica()
    true.apply(event_of(A, 3, Kill(target=X)))
    thief.apply(event_of(A, 3, Kill(target=Y), branch="thief"))
    for merged in (loaded(true, thief), loaded(thief, true)):
        assert killed(merged, X)
        assert merged.forked == {A}


def test_a_fork_is_remembered_by_a_snapshot() -> None:
    """A restart does not make a forked log trusted again."""
    replica = Replica()
    replica.apply(event_of(A, 1, Kill(target=X)))
    replica.apply(event_of(A, 1, Kill(target=Y), branch="thief"))
    head = Head("soc", NOW, 1, 1, 0, {A: Position(1, digest(A, 1))}, 0)
    assert not replica.covers(head)
    assert not loaded(replica).covers(head)


def test_a_thief_cannot_outrun_the_digests_kept() -> None:
    """A head so far behind us that nothing shows its event in our chain freshens nothing (I4)."""
    replica = Replica()
    for seq in range(1, RECENT_DIGESTS + 10):
        replica.apply(event_of(A, seq, Kill(target=Y), branch="thief"))
    replica.apply(event_of(A, 5, Kill(target=X)))
    assert not killed(replica, X)  # not to be told from an old event that is read again
    assert not replica.covers(Head("soc", NOW, 1, 1, 0, {A: Position(5, digest(A, 5))}, 0))
