"""A move is a rename: an end of the old id ends the new one, in whatever order they come."""

from itertools import permutations

import pytest

from rescind_protocol import snapshots
from rescind_protocol.changes import Kill, Reinstate, Retract, RevocationId
from rescind_protocol.events import Event
from rescind_protocol.inforce import InForce
from rescind_protocol.join import Replica
from rescind_protocol.renames import MOVED
from tests.fakes.fabric import PUBLISHER, SECOND, log_id
from tests.fakes.histories import TARGETS, event_of, horizon_of, state

X = TARGETS[0]
OLD, NEW, NEWEST = (log_id(PUBLISHER, f"run {n}") for n in (1, 2, 3))
OTHER = log_id(SECOND, "run 1")
KILL = Kill(target=X, expires_at=100)


def at(log: str, index: int = 0) -> RevocationId:
    """Return the id of a kill in the first event of a log."""
    return RevocationId(log, 1, index)


def moved(log: str, *names: RevocationId, kill: Kill = KILL) -> Event:
    """Return the event in which a log says a kill again."""
    return event_of(log, 1, kill, Retract(target=X, names=names, reason=MOVED))


KILLED = event_of(OLD, 1, KILL)
MOVE = moved(NEW, at(OLD))
AGAIN = moved(NEWEST, at(NEW), at(OLD))


def end(*names: RevocationId) -> Event:
    """Return a retraction by another publisher, which knows of these ids."""
    return event_of(OTHER, 1, Retract(target=X, names=names))


def after(events: tuple[Event, ...]) -> Replica:
    """Return the state that has heard of these events, in this order."""
    replica = Replica()
    for event in events:
        replica.apply(event)
    return replica


def alive(replica: Replica) -> list[RevocationId]:
    """Return the kills in force."""
    return [r.id for _, found in replica.table.items() for r in found.revocations]


@pytest.mark.parametrize("name", [at(OLD), at(NEW), at(NEWEST)], ids=["old", "new", "newest"])
def test_whichever_id_is_ended_all_are(name: RevocationId) -> None:
    """By somebody who knows of none of the moves, or of one: in every order, and merged."""
    events = (KILLED, MOVE, AGAIN, end(name))
    states = [after(order) for order in permutations(events)]
    assert all(alive(replica) == [] for replica in states)
    assert all(not replica.named and not list(replica._aliases) for replica in states)
    for split in range(len(events)):
        one, other = after(events[:split]), after(events[split:])
        one.merge(other.image())
        assert state(one.image()) == state(states[0].image())


def test_without_an_end_the_newest_id_is_in_force() -> None:
    """The control: in every order, with all that it was called before."""
    for order in permutations((KILLED, MOVE, AGAIN)):
        replica = after(order)
        assert alive(replica) == [at(NEWEST)]
        (found,) = replica.find(X.digest, at(NEWEST))
        assert found.was == tuple(sorted((at(OLD), at(NEW))))


def test_control_without_the_rename_the_new_id_outlives_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As a kill and an end that know nothing of each other: the agent stays dead."""
    monkeypatch.setattr("rescind_protocol.renames.of_event", lambda _: {})
    assert alive(after((KILLED, MOVE, end(at(OLD))))) == [at(NEW)]


def test_control_what_was_seen_and_is_gone_must_count_as_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else a move that comes after the end brings the kill back."""
    monkeypatch.setattr(InForce, "_is_over", lambda *_: False)
    assert alive(after((KILLED, end(at(OLD)), MOVE))) == [at(NEW)]


def test_a_kill_moved_by_two_copies_of_a_spool_is_one_kill() -> None:
    """Each says it again in a log of its own; an end of either ends both, in every order."""
    copy = moved(NEWEST, at(OLD))
    for order in permutations((KILLED, MOVE, copy)):
        assert sorted(alive(after(order))) == sorted((at(NEW), at(NEWEST)))
    for order in permutations((KILLED, MOVE, copy, end(at(NEW)))):
        assert alive(after(order)) == []


def test_where_the_move_is_void_the_old_id_goes_on() -> None:
    """A retirement that had not heard of it: an end that names both ids ends the kill."""
    retired = after((KILLED,))
    retired.apply(end(at(OLD), at(NEW)))
    assert alive(retired) == []


def test_it_expires_by_the_horizon_of_any_of_its_logs() -> None:
    """They are one publisher's: before the move, after it, or between them."""
    for order in permutations((KILLED, MOVE, None)):
        replica = Replica()
        for event in order:
            if event is None:
                replica.advance_horizon(horizon_of(OLD, 100))
            else:
                replica.apply(event)
        assert alive(replica) == []
        assert replica.live.held(OLD) == 0


@pytest.mark.parametrize(
    "event",
    [
        moved(NEW, at(OTHER)),
        event_of(NEW, 1, KILL, Retract(target=X, names=(at(OLD),))),
        event_of(NEW, 1, Retract(target=X, names=(at(OLD),), reason=MOVED), KILL),
        event_of(NEW, 1, KILL, Retract(target=TARGETS[1], names=(at(OLD),), reason=MOVED)),
        event_of(NEW, 1, KILL, Reinstate(target=X, names=(at(OLD),), reason=MOVED, floor=0)),
        event_of(NEW, 1, KILL, Retract(target=X, names=(at(NEW),), reason=MOVED)),
    ],
    ids=["of another key", "no reason", "before it", "other target", "a floor", "of itself"],
)
def test_nothing_else_is_a_move(event: Event) -> None:
    """Only a kill and the retraction beside it, of an older id of the same key."""
    replica = after((KILLED, event))
    found = [r for name in alive(replica) for r in replica.find(X.digest, name)]
    assert all(r.was == () for r in found)


def test_a_snapshot_knows_what_a_kill_was_called() -> None:
    """And one without moves has the bytes that it had before there were any."""
    image = after((KILLED, MOVE)).image()
    assert snapshots.decode(snapshots.encode(image)) == image
    cold = Replica()
    cold.merge(snapshots.decode(snapshots.encode(image)))
    cold.apply(end(at(OLD)))
    assert alive(cold) == []
    assert b"was" not in snapshots.encode(after((KILLED,)).image())
