"""The kills of one target: the same as a plain list of them, at the cost of one."""

from collections.abc import Iterator
from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from rescind_protocol import killset
from rescind_protocol.changes import Effect, Kill, Reinstate, Revocation, RevocationId
from rescind_protocol.join import Replica
from rescind_protocol.killset import ALIVE, FEW, Kills, Many
from rescind_protocol.targets import agent
from tests.fakes.fabric import PUBLISHER, SECOND, log_id
from tests.fakes.histories import event_of, horizon_of

X = agent("did:web:acme.example:x7")
LOGS = (log_id(PUBLISHER), log_id(SECOND))
MANY = 3000
"""Far more than a leaf holds, and two levels of them."""

_kills = st.builds(
    Kill,
    target=st.just(X),
    effect=st.sampled_from(Effect),
    issued_before=st.none() | st.integers(0, 9),
    expires_at=st.none() | st.integers(0, 9),
)
_revocations = st.builds(
    Revocation,
    st.builds(RevocationId, st.sampled_from(LOGS), st.integers(1, 40), st.integers(0, 3)),
    _kills,
    st.integers(0, 9),
)


@given(st.lists(_revocations, max_size=120), st.data())
def test_a_set_says_what_a_list_of_the_same_kills_says(
    each: list[Revocation], data: st.DataObject
) -> None:
    """Whatever was added and taken out again, in whatever order; two of one id too (a fork)."""
    kills: Kills = ()
    plain: list[Revocation] = []
    for revocation in each:
        again = killset.add(kills, revocation)
        assert (again is kills) == (revocation in plain)
        kills = again
        plain += [] if revocation in plain else [revocation]
    for revocation in data.draw(st.lists(st.sampled_from(each), max_size=120)) if each else ():
        kills = killset.without(kills, revocation)
        plain = [r for r in plain if r != revocation]
    assert sorted(kills, key=repr) == sorted(plain, key=repr)
    assert len(kills) == len(plain)
    assert isinstance(kills, Many) == (len(plain) > FEW)
    for effect in Effect:
        mine = [r for r in plain if r.kill.effect is effect]
        assert killset.cut(kills, effect) == max(map(killset.reach, mine), default=ALIVE)
        for iat in range(10):
            found = killset.covering(kills, iat, effect)
            assert (found is not None) == any(r.covers(iat) for r in mine)
            assert found is None or (found in mine and found.covers(iat))
    for revocation in each:
        same = [r for r in plain if r.id == revocation.id]
        assert sorted(killset.find(kills, revocation.id), key=repr) == sorted(same, key=repr)
    _check_sums(kills, plain)


def _check_sums(kills: Kills, plain: list[Revocation]) -> None:
    use = [r for r in plain if r.kill.effect is Effect.USE]
    found = killset.sums(kills)
    assert (found.use is None) == (not use)
    assert (found.whole is None) == all(r.kill.issued_before is not None for r in use)
    if found.use is not None:
        until = [r.kill.expires_at for r in use]
        assert found.use.first.id == min(r.id for r in use)
        assert found.use.since == min(r.at for r in use)
        assert found.use.until == (None if None in until else max(u or 0 for u in until))


def _nodes(kills: Kills) -> Iterator[Kills]:
    yield kills
    for part in kills.parts if isinstance(kills, Many) else ():
        yield from _nodes(part)


def _held(replica: Replica) -> Kills:
    found = replica.table.get(X.digest)
    return () if found is None else found.revocations


def _made(before: Kills, after: Kills) -> int:
    """How many kills lie in leaves that are not shared, with the nodes above them."""
    known = set(map(id, _nodes(before)))
    new = [node for node in _nodes(after) if id(node) not in known]
    return sum(len(node) if isinstance(node, tuple) else 1 for node in new)


def test_one_kill_more_or_less_costs_the_same_however_many_there_are() -> None:
    """It comes, is ended, expires or is merged in: all but the way to one leaf is shared."""
    replica, log = Replica(), LOGS[0]
    for seq in range(1, MANY + 1):
        replica.apply(event_of(log, seq, Kill(target=X, expires_at=10 + seq)))
    at_most = 40  # two leaves at most, and what is above them
    before = _held(replica)
    replica.apply(event_of(log, MANY + 1, Kill(target=X)))
    after = _held(replica)
    assert len(after) == MANY + 1
    assert _made(before, after) <= at_most
    name = RevocationId(log, 7, 0)
    replica.apply(event_of(log, MANY + 2, Reinstate(target=X, names=(name,), floor=5)))
    ended = _held(replica)
    assert (len(ended), killset.find(ended, name)) == (MANY, ())
    assert _made(after, ended) <= at_most
    replica.advance_horizon(horizon_of(log, 11))
    expired = _held(replica)
    assert len(expired) == MANY - 1
    assert _made(ended, expired) <= at_most
    other = Replica()
    other.merge(replica.image())
    other.apply(event_of(LOGS[1], 1, Kill(target=X)))
    replica.merge(other.image())
    merged = _held(replica)
    assert len(merged) == MANY
    assert _made(expired, merged) <= at_most


def test_a_small_set_is_a_plain_tuple_again() -> None:
    """A target that is killed by few costs what it did before there were many."""
    each = [Revocation(RevocationId(LOGS[0], n, 0), Kill(target=X), 0) for n in range(1, 40)]
    kills: Kills = ()
    for revocation in each:
        kills = killset.add(kills, revocation)
    assert isinstance(kills, Many)
    for revocation in islice(each, 39 - FEW):
        kills = killset.without(kills, revocation)
    assert isinstance(kills, tuple)
    assert len(kills) == FEW
