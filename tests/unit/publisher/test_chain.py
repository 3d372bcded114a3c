"""The chain: numbers, digests, splitting, and what is refused before it has a number."""

import pytest

from rescind_protocol import events
from rescind_protocol.changes import Kill, Reinstate, Retract, RevocationId
from rescind_protocol.errors import Malformed
from rescind_protocol.events import GENESIS, digest_of
from rescind_protocol.heads import Position, authenticate
from rescind_protocol.limits import MAX_EVENT_BYTES
from rescind_protocol.targets import Target, everyone, issuer
from rescind_publisher import chain
from rescind_publisher.chain import Chain, Standing, Voice
from tests.fakes.fabric import APPROVER, FABRIC, NOW, PUBLISHER, make_trust
from tests.fakes.publishing import VOICE, target

NAME = RevocationId(chain.new_log_id(PUBLISHER.kid), 1, 0)


def test_events_are_numbered_and_chained() -> None:
    """Each event names the digest of the one before it, and reads back as it was made."""
    log = Chain(VOICE)
    first = log.number([(Kill(target=target(1)),), (Kill(target=target(2)),)], NOW)
    log.advance(first)
    made = [*first, *log.number([(Kill(target=target(3)),)], NOW)]
    assert [m.event.seq for m in made] == [1, 2, 3]
    assert [m.event.prev for m in made] == [GENESIS, *(digest_of(m.raw) for m in made[:2])]
    trust = make_trust()
    assert [events.authenticate(m.raw, trust) for m in made] == [m.event for m in made]


def test_number_without_advance_changes_nothing() -> None:
    """Signing again gives the same number: nothing is used up before the commit."""
    log = Chain(VOICE)
    assert log.number([(Kill(target=target()),)], NOW) == log.number(
        [(Kill(target=target()),)], NOW
    )


def test_log_ids_never_repeat_and_name_their_key() -> None:
    """Two runs of one key write two logs, both recognisably its own."""
    ids = {Chain(VOICE).log for _ in range(100)}
    assert len(ids) == 100
    assert all(make_trust().signers[PUBLISHER.kid].owns(log) for log in ids)


def test_what_nobody_could_read_gets_no_number() -> None:
    """A target that is not canonical is refused when it is signed, before any number is used."""
    log = Chain(VOICE)
    with pytest.raises(Malformed):
        log.number([(Kill(target=Target(target().kind, "", "did:WEB:ACME")),)], NOW)
    assert log.at == Position(0, GENESIS)


def test_batches_fit_into_events() -> None:
    """Many large kills are split so that every event is within the limit, in order."""
    kills = tuple(Kill(target=target(n), reason_admin="\u20ac" * 1000) for n in range(300))
    split = list(chain.batches(kills))
    assert len(split) > 1
    assert tuple(c for batch in split for c in batch) == kills
    made = Chain(VOICE).number(split, NOW)
    assert max(len(m.raw) for m in made) <= MAX_EVENT_BYTES


def test_batches_are_not_split_needlessly() -> None:
    """A thousand small kills share one event."""
    assert len(list(chain.batches(tuple(Kill(target=target(n)) for n in range(1000))))) == 1


def test_wide_changes_carry_an_approval() -> None:
    """A kill of everyone is signed by both keys, so that subscribers take it; alone it is void."""
    wide = (Kill(target=everyone()),)
    both = Voice(PUBLISHER, "soc", FABRIC, 10, APPROVER)
    approved = Chain(both).number([wide], NOW)[0]
    alone = Chain(VOICE).number([wide], NOW)[0]
    assert events.authenticate(approved.raw, make_trust()).void == 0
    assert events.authenticate(alone.raw, make_trust()).void == 1


@pytest.mark.parametrize(
    ("change", "wide"),
    [
        (Kill(target=target()), False),
        (Kill(target=everyone()), True),
        (Kill(target=issuer("https://reg.example")), True),
        (Reinstate(target=everyone(), names=(NAME,), floor=NOW), True),
        (Retract(target=everyone(), names=(NAME,)), False),
    ],
)
def test_what_is_wide(change: Kill | Reinstate | Retract, *, wide: bool) -> None:
    """Kills and floors of an issuer or everyone are wide; a retraction denies nobody."""
    assert chain.is_wide(change) is wide


def test_head_says_where_the_logs_stand() -> None:
    """A head made from a standing is one that subscribers accept."""
    log = chain.new_log_id(PUBLISHER.kid)
    standing = Standing({log: Position(3, bytes(32))}, 5)
    raw = chain.head(standing, VOICE, at=NOW + 0.25, count=9, horizon=NOW - 60, trust=1)
    head = authenticate(raw, make_trust())
    assert (head.time_s, head.count, head.horizon, head.live) == (NOW + 0.25, 9, NOW - 60, 5)
    assert head.logs == standing.logs
