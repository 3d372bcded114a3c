"""The head: a signed statement of where a publisher's own logs stand. The heartbeat.

Heads are not in a log and not stored. A view is fresh by a head whose signed time is recent and
whose logs it covers with equal digests (I4), so that a broker can neither hide nor replay.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from rescind_protocol import jws
from rescind_protocol.changes import DigestText, LogId, Seconds
from rescind_protocol.encoding import check_json, to_type
from rescind_protocol.errors import Malformed, TooLarge, Unreadable, Untrusted
from rescind_protocol.keys import SigningKey
from rescind_protocol.limits import MAX_FLEET, MAX_HEAD_BYTES, SKEW_S
from rescind_protocol.positions import Position, from_text, to_text
from rescind_protocol.trust import Signer, Trust

__all__ = [
    "COUNTS_PER_S",
    "FIRST_COUNT",
    "TYP",
    "VERSION",
    "Head",
    "Position",
    "authenticate",
    "make",
]

TYP = "rescind-head+jwt"
VERSION = 1
COUNTS_PER_S = 1000
FIRST_COUNT = 2**40
"""A count below is no clock's: versions of before counted their heads. As milliseconds, 2004."""


class Head(msgspec.Struct, frozen=True, gc=False):
    """What a publisher says of its own logs at `time_s` (its clock, unix seconds)."""

    publisher: str
    time_s: float
    count: int
    """Greater in each head of a spool, by the milliseconds that the boot clock has measured.

    So a head is known to be newer than another one whatever the wall clocks say, and when it comes
    later than they do.
    """
    trust: int
    """Version of the trust file that the publisher goes by."""
    horizon: int
    """Revocations of these logs that expire up to this time may be dropped (I8)."""
    logs: dict[str, Position]
    live: int
    """Sum, modulo 2^128, of the ids of its live revocations beyond the horizon."""
    not_after: int | None = None
    """End of the signing key's delegation; set on reading."""
    fleet: int = 0
    """Subscribers that the publisher has heard of: how far they spread their reports."""


class _Claims(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    iss: str
    aud: str
    ver: int
    iat: Seconds
    time_ms: Annotated[int, Meta(ge=0, lt=2**50)]
    count: Annotated[int, Meta(ge=0, lt=2**53)]
    trust: Annotated[int, Meta(ge=0, lt=2**53)]
    horizon: Seconds
    logs: dict[LogId, tuple[Annotated[int, Meta(ge=0, lt=2**53)], DigestText]]
    live: Annotated[str, Meta(pattern=r"\A[0-9a-f]{32}\Z")]
    fleet: Annotated[int, Meta(ge=0, le=MAX_FLEET)] = 0


def make(head: Head, *, key: SigningKey, fabric: str) -> bytes:
    """Return the signed head, or raise `TooLarge` (too many open logs)."""
    claims = _Claims(
        iss=head.publisher,
        aud=fabric,
        ver=VERSION,
        iat=int(head.time_s),
        time_ms=round(head.time_s * 1000),
        count=head.count,
        trust=head.trust,
        horizon=head.horizon,
        logs=to_text(head.logs),
        live=f"{head.live:032x}",
        fleet=head.fleet,
    )
    raw = jws.sign(msgspec.json.encode(claims), typ=TYP, key=key)
    if len(raw) > MAX_HEAD_BYTES:
        raise TooLarge(f"head of {len(raw)} bytes, limit {MAX_HEAD_BYTES}: too many open logs")
    return raw


def authenticate(raw: bytes, trust: Trust) -> Head:
    """Verify one head's bytes; raises `Malformed`, `Untrusted` or `Unreadable` (I10)."""
    token = jws.read(raw, limit=MAX_HEAD_BYTES)
    if token.header.typ != TYP:
        raise Malformed(f"not a head: typ {str(token.header.typ)[:40]!r}")
    signer = trust.speaker(token.header.kid)
    if not signer.rights.head:
        raise Untrusted(f"key of {signer.publisher!r} has no right to sign heads")
    if not jws.verify(token, signer.public):
        raise Untrusted("head signature does not verify")
    return _read_claims(token.payload, signer, trust)


def _read_claims(payload: bytes, signer: Signer, trust: Trust) -> Head:
    members = check_json(payload)
    if not isinstance(members, dict) or members.get("aud") != trust.fabric:
        raise Untrusted("head is for another fabric")
    if members.get("ver") != VERSION:
        raise Unreadable(f"head by {signer.publisher!r} has a newer version")
    try:
        claims = to_type(members, _Claims)
        logs = from_text(claims.logs)
    except Malformed as error:
        raise Unreadable(f"head by {signer.publisher!r} cannot be read: {error}") from error
    if (claims.horizon - SKEW_S) * 1000 > claims.time_ms:
        # What expires later is still in force by the publisher's own clock (I8). Not `Unreadable`:
        # a clock that was set back makes such heads, and its heads count again when it is right.
        raise Untrusted(f"head by {signer.publisher!r} has a horizon ahead of its own time")
    _check_ownership(claims, signer, trust)
    return Head(
        publisher=signer.publisher,
        time_s=claims.time_ms / 1000,
        count=claims.count,
        trust=claims.trust,
        horizon=claims.horizon,
        logs=logs,
        live=int(claims.live, 16),
        not_after=signer.not_after,
        fleet=claims.fleet,
    )


def _check_ownership(claims: _Claims, signer: Signer, trust: Trust) -> None:
    """A publisher speaks for its own logs only (attack A3: somebody else's head)."""
    owners = [trust.owner(log) for log in claims.logs]
    if claims.iss != signer.publisher or any(
        owner is None or owner.publisher != signer.publisher for owner in owners
    ):
        raise Untrusted(f"head by {signer.publisher!r} speaks for logs that are not its own")
