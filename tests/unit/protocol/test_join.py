"""The join in single steps: gaps, horizons, floors, coverage by heads."""

import msgspec
import pytest

from rescind_protocol import heads
from rescind_protocol import join as join_module
from rescind_protocol.changes import Effect, Kill, Reinstate, RevocationId
from rescind_protocol.events import GENESIS
from rescind_protocol.heads import Head, Position
from rescind_protocol.join import FLOOR_LIFE_S, Outcome, Replica
from rescind_protocol.limits import RECENT_DIGESTS
from rescind_protocol.table import ALIVE
from rescind_protocol.targets import Target, agent, session
from tests.fakes.fabric import NOW, PUBLISHER, SECOND, Log, head_of, log_id, make_trust, sign_head
from tests.fakes.histories import digest, event_of, horizon_of, view

TRUST = make_trust()
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


# --- gaps ---


def test_a_gap_closes_whatever_the_order() -> None:
    """Events above it are applied at once; the vector follows when it closes."""
    replica = Replica()
    for seq in (4, 2, 3):
        replica.apply(event_of(A, seq, Kill(target=X)))
        assert killed(replica, X)
        assert replica.gap(A)
    replica.apply(event_of(A, 1, Kill(target=Y)))
    assert not replica.gap(A)
    assert replica.vector[A] == Position(4, digest(A, 4))


def test_too_far_above_a_gap_is_not_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounded; the gap itself is still taken."""
    monkeypatch.setattr(join_module, "MAX_ABOVE", 2)
    replica = Replica()
    for seq, outcome in ((3, "applied"), (4, "applied"), (5, "too_far"), (1, "applied")):
        assert replica.apply(event_of(A, seq, Kill(target=X))) == outcome
    replica.apply(event_of(A, 2, Kill(target=X)))
    assert replica.apply(event_of(A, 5, Kill(target=X))) is Outcome.APPLIED


# --- floors and horizons ---


def test_floors_of_two_logs_end_each_with_its_own_horizon() -> None:
    """Whether a horizon passed before or after: the greatest floor still in force decides."""
    raises = [
        event_of(log, 1, Reinstate(target=X, names=(RevocationId(log, 9, 0),), floor=floor))
        for log, floor in ((A, 20), (B, 10))
    ]
    before, after = Replica(), Replica()
    before.advance_horizon(horizon_of(A, FLOOR_LIFE_S + 20))
    for event in raises:
        before.apply(event)
        after.apply(event)
    after.advance_horizon(horizon_of(A, FLOOR_LIFE_S + 20))
    assert view(before) == view(after)
    assert killed(before, X, 10)
    assert view(loaded(before)) == view(loaded(after)) == view(before)
    for replica in (before, after):
        replica.advance_horizon(horizon_of(B, FLOOR_LIFE_S + 10))
        assert not len(replica.table)


def test_a_kill_ends_when_the_horizon_of_its_own_log_passes() -> None:
    """Never by another log's, and never before."""
    replica = Replica()
    replica.apply(event_of(A, 1, Kill(target=X, expires_at=100)))
    assert not replica.advance_horizon(horizon_of(B, 200))
    assert not replica.advance_horizon(horizon_of(A, 99))
    assert killed(replica, X)
    assert replica.advance_horizon(horizon_of(A, 100))
    assert not killed(replica, X)
    assert replica.live_sum([A]) == 0
    assert not replica.advance_horizon(horizon_of(A, 50))


def test_a_suspension_denies_no_badge_and_is_told() -> None:
    """Effect `issuance`: the cut of use stays where it is."""
    replica = Replica()
    replica.apply(event_of(A, 1, Kill(target=X, effect=Effect.ISSUANCE)))
    found = replica.table.get(X.digest)
    assert found is not None
    assert found.cut == ALIVE
    assert found.why(NOW) is None
    assert found.why(NOW, Effect.ISSUANCE) is not None


# --- heads ---


def test_heads_cover_and_agree() -> None:
    """Covered: all that the publisher accepted, byte for byte. Agreed: the same kills live."""
    log, publisher, replica = Log(), Replica(), Replica()
    for change in (Kill(target=X), Kill(target=Y)):
        event = log.event(change)
        publisher.apply(event)
        assert not replica.covers(_heard(log, publisher))
        replica.apply(event)
        assert replica.covers(_heard(log, publisher))
    replica.advance_horizon(_heard(log, publisher))
    assert replica.agrees(_heard(log, publisher)) is True
    wrong = msgspec.structs.replace(_heard(log, publisher), live=1)
    assert replica.agrees(wrong) is False
    assert Replica().agrees(_heard(log, publisher)) is None
    assert replica.agrees(msgspec.structs.replace(wrong, horizon=1)) is None


def _heard(log: Log, publisher: Replica) -> Head:
    said = head_of(log, live=publisher.live_sum([log.id]))
    return heads.authenticate(sign_head(said), TRUST)


def test_an_older_head_is_compared_with_the_digests_kept() -> None:
    """An equal number with another digest is not covered, one behind us neither."""
    replica = Replica()
    for seq in range(1, RECENT_DIGESTS + 10):
        replica.apply(event_of(A, seq, Kill(target=X, expires_at=1)))
    for seq, covered in ((RECENT_DIGESTS, True), (RECENT_DIGESTS + 9, True), (0, True)):
        assert replica.covers(_head(seq, digest(A, seq) if seq else GENESIS)) is covered
    for seq in (RECENT_DIGESTS, RECENT_DIGESTS + 9):
        assert not replica.covers(_head(seq, digest(A, seq, "thief")))


def _head(seq: int, digest: bytes) -> Head:
    return Head("soc", NOW, 1, 1, 0, {A: Position(seq, digest)}, 0)


def test_one_uncovered_log_uncovers_the_head() -> None:
    """A log of which nothing was heard is not covered, an empty one is."""
    replica = Replica()
    replica.apply(event_of(A, 1, Kill(target=X)))
    other = log_id(PUBLISHER, "run 2")
    for seq, covered in ((0, True), (1, False)):
        logs = {A: Position(1, digest(A, 1)), other: Position(seq, GENESIS)}
        assert replica.covers(Head("soc", NOW, 1, 1, 0, logs, 0)) is covered
