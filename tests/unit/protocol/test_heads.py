"""Heads: who may sign them, for which logs, and what cannot be read (attack A3)."""

import msgspec
import pytest

from rescind_protocol import heads, jws
from rescind_protocol.changes import Kill
from rescind_protocol.errors import Malformed, TooLarge, Unreadable, Untrusted
from rescind_protocol.heads import Head, Position
from rescind_protocol.limits import MAX_HEAD_BYTES, SKEW_S
from rescind_protocol.targets import Kind, agent
from rescind_protocol.trust import Rights
from tests.fakes.fabric import (
    NOW,
    PUBLISHER,
    SECOND,
    STRANGER,
    Log,
    head_of,
    key_of,
    log_id,
    make_trust,
    sign_claims,
    sign_head,
    trusted,
)

TRUST = make_trust()


def written() -> Log:
    """Return a log with one event."""
    log = Log()
    log.write(Kill(target=agent("did:web:acme.example")))
    return log


def claims(**bent: object) -> bytes:
    """Return a good head's claims with some members bent; integers of any size."""
    good = msgspec.json.decode(
        jws.read(sign_head(head_of(written())), limit=MAX_HEAD_BYTES).payload
    )
    huge = {k: v for k, v in bent.items() if isinstance(v, int) and abs(v) >= 2**63}
    text = msgspec.json.encode({**good, **bent, **dict.fromkeys(huge, "@")})
    for value in huge.values():
        text = text.replace(b'"@"', str(value).encode(), 1)
    return text


def read(payload: bytes) -> Head:
    """Sign the claims as the publisher and read the head."""
    return heads.authenticate(sign_claims(payload, typ=heads.TYP), TRUST)


def test_a_head_reads_as_it_was_signed() -> None:
    """Every member comes back; time to the millisecond."""
    said = head_of(
        written(), Log(run="run 2"), time_s=NOW + 0.25, horizon=NOW - 60, live=2**128 - 1
    )
    assert heads.authenticate(sign_head(said), TRUST) == said


def test_the_end_of_the_keys_delegation_comes_with_the_head() -> None:
    """Heads under an expired delegation freshen nothing; the caller compares (attack D)."""
    line = msgspec.structs.replace(trusted(key_of("x"), "x"), not_after=NOW)
    head = head_of(Log(key=key_of("x"), publisher="x"))
    found = heads.authenticate(sign_head(head, key_of("x")), make_trust(line))
    assert found.not_after == NOW


def test_nobody_speaks_for_anothers_logs() -> None:
    """Somebody else's log, a stranger's log or another's name: refused (A3: rogue vector)."""
    own = head_of(written())
    for log in (log_id(SECOND), log_id(STRANGER)):
        bent = msgspec.structs.replace(own, logs={**own.logs, log: Position(10**9, bytes(32))})
        with pytest.raises(Untrusted):
            heads.authenticate(sign_head(bent), TRUST)
    with pytest.raises(Untrusted):
        heads.authenticate(sign_head(own, SECOND), TRUST)


def test_a_second_key_of_the_same_publisher_may_head_its_logs() -> None:
    """A publisher that changed its key still speaks for the logs of the old one."""
    former = Rights(kill=tuple(Kind))  # a publisher's heads come from one key at a time
    trust = make_trust(trusted(key_of("new"), "soc"), rights=former)
    assert heads.authenticate(sign_head(head_of(written()), key_of("new")), trust).logs


def test_a_head_without_the_right_or_by_a_stranger_is_untrusted() -> None:
    """The right to sign heads is one of its own."""
    mute = make_trust(trusted(key_of("x"), "x", Rights(kill=("agent",))))  # type: ignore[arg-type]
    raw = sign_head(head_of(Log(key=key_of("x"), publisher="x")), key_of("x"))
    with pytest.raises(Untrusted):
        heads.authenticate(raw, mute)
    assert heads.authenticate(raw, make_trust(trusted(key_of("x"), "x"))).logs
    with pytest.raises(Untrusted):
        heads.authenticate(sign_head(head_of(Log(key=STRANGER)), STRANGER), TRUST)
    with pytest.raises(Untrusted):
        heads.authenticate(
            sign_claims(claims(), typ=heads.TYP, key=STRANGER, kid=PUBLISHER.kid), TRUST
        )


def test_another_fabrics_head_and_another_typ() -> None:
    """`Untrusted` and `Malformed`, whatever else is in them."""
    with pytest.raises(Untrusted):
        read(claims(aud="other", ver=2))
    with pytest.raises(Malformed):
        heads.authenticate(sign_claims(claims(), typ="secevent+jwt"), TRUST)


@pytest.mark.parametrize(
    "bent",
    [
        {"ver": 2},
        {"ver": None},
        {"extra": 1},
        {"time_ms": -1},
        {"time_ms": 10**400},
        {"time_ms": 2**64},
        {"horizon": -1},
        {"horizon": 2**64},
        {"trust": "1"},
        {"count": -1},
        {"live": "0" * 31},
        {"live": "0" * 31 + "G"},
        {"logs": []},
        {"logs": {"x": [1, "A" * 43]}},
        {"logs": {log_id(PUBLISHER): [-1, "A" * 43]}},
        {"logs": {log_id(PUBLISHER): [2**53, "A" * 43]}},
        {"logs": {log_id(PUBLISHER): [1, "A" * 42 + "B"]}},
        {"logs": {log_id(PUBLISHER): [1, ""]}},
        {"logs": {log_id(PUBLISHER): [1, "\u00e9" * 43]}},
    ],
)
def test_a_trusted_head_that_cannot_be_read_is_unreadable(bent: dict[str, object]) -> None:
    """A newer version, or a value that no head may have."""
    assert read(claims()).logs
    with pytest.raises(Unreadable):
        read(claims(**bent))


def test_a_horizon_ahead_of_the_heads_own_time_does_not_count() -> None:
    """It would end kills in force; and a clock set back is no reason to distrust for good (I8)."""
    assert read(claims(horizon=NOW + SKEW_S)).horizon == NOW + SKEW_S
    with pytest.raises(Untrusted):
        read(claims(horizon=NOW + SKEW_S + 1))


def test_a_head_that_is_too_large_is_neither_made_nor_read() -> None:
    """64 KiB, about 700 open logs."""
    many = {log_id(PUBLISHER, str(n)): Position(1, bytes(32)) for n in range(1000)}
    with pytest.raises(TooLarge):
        sign_head(msgspec.structs.replace(head_of(written()), logs=many))
    with pytest.raises(TooLarge):
        heads.authenticate(b"A" * (MAX_HEAD_BYTES + 1), TRUST)
