"""The event: a Security Event Token (RFC 8417) carrying one or many changes, signed.

    {"iss": publisher id, "jti": "<log>.<seq>", "iat": s, "aud": fabric id, "ver": 1,
     "events": {EVENT_TYPE: {"log": …, "seq": …, "prev": base64url SHA-256, "changes": [ … ],
                             "retires": [ … ]}},
     "approvals": [ … ]}

No `sub` and no `exp` (RFC 8417 §2.2). `prev` is the digest of the event before it in the same log,
so that a log is a hash chain. The digest of an event is SHA-256 over its exact bytes.

What can be wrong with one, by whose fault: `Malformed` (not an event), `Untrusted` (nobody we know,
another fabric, another key's log), `Unreadable` (a trusted key said something that this version
cannot read: the view may not stay fresh, I10).
"""

from hashlib import sha256
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from rescind_protocol import approvals, jws
from rescind_protocol.changes import Change, LogId, Reinstate, Retire, Retract, Seconds, Seq
from rescind_protocol.encoding import b64url_decode, b64url_encode, check_json, to_type
from rescind_protocol.errors import BeyondCut, Malformed, TooLarge, Unreadable, Untrusted
from rescind_protocol.keys import SigningKey
from rescind_protocol.limits import MAX_CHANGES, MAX_EVENT_BYTES, MAX_FLOOR_AHEAD_S
from rescind_protocol.positions import from_text
from rescind_protocol.targets import check_stored
from rescind_protocol.trust import TWO_KEY_KINDS, Signer, Trust

TYP = "secevent+jwt"
EVENT_TYPE = "https://w3id.org/rescind/secevent/changes"
"""An identifier, not an address. Strict receivers take no URN whose namespace is not registered."""
_EVENT_TYPES = frozenset({EVENT_TYPE, "urn:rescind:secevent:changes"})
"""The second is what 0.1 wrote. It is read as long as logs of that release may be stored."""
VERSION = 1
GENESIS = bytes(32)
"""`prev` of the first event of a log."""

T = TypeVar("T")
Changes = Annotated[tuple[Change, ...], Meta(max_length=MAX_CHANGES)]
Retires = Annotated[tuple[Retire, ...], Meta(max_length=MAX_CHANGES)]


class _Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    log: LogId
    seq: Seq
    prev: Annotated[str, Meta(min_length=43, max_length=43)]
    changes: Changes
    retires: Retires = ()


class _Claims(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    iss: str
    jti: str
    iat: Seconds
    aud: str
    ver: int
    events: dict[str, _Body]
    approvals: tuple[str, ...] = ()


class _RawBody(msgspec.Struct, frozen=True):
    changes: msgspec.Raw


class _RawClaims(msgspec.Struct, frozen=True):
    events: dict[str, _RawBody]


_claims = msgspec.json.Decoder(_Claims)
_raw_claims = msgspec.json.Decoder(_RawClaims)


class Event(msgspec.Struct, frozen=True, gc=False):
    """A verified event. `changes` keeps each change's index; void ones are left out."""

    log: str
    seq: int
    prev: bytes
    digest: bytes
    publisher: str
    quota: int
    at: int
    changes: tuple[tuple[int, Change], ...]
    void: int
    """How many changes the signer had no right to say; they have no effect."""
    retires: tuple[Retire, ...] = ()


def body_of(found: dict[str, T]) -> T:
    """Return the one event of a security event token; raises `KeyError` for another's."""
    ((name, body),) = found.items()
    if name not in _EVENT_TYPES:
        raise KeyError(name)
    return body


def digest_of(raw: bytes) -> bytes:
    """SHA-256 of an event's exact bytes: what the chain and `Nats-Msg-Id` are made of."""
    return sha256(raw).digest()


def make(
    changes: tuple[Change, ...],
    *,
    retires: tuple[Retire, ...] = (),
    key: SigningKey,
    approver: SigningKey | None = None,
    publisher: str,
    fabric: str,
    log: str,
    seq: int,
    prev: bytes,
    at: int,
) -> bytes:
    """Return a signed event; `at` in unix seconds.

    Raises `TooLarge`, and `Malformed` for what no reader could read: such an event would leave its
    log uncovered, and so the fleet stale, for ever (attack A3).
    """
    if not 0 < len(changes) + len(retires) <= MAX_CHANGES:
        raise TooLarge(f"an event carries 1 to {MAX_CHANGES} changes, not {len(changes)}")
    claims = _Claims(
        iss=publisher,
        jti=f"{log}.{seq}",
        iat=at,
        aud=fabric,
        ver=VERSION,
        events={EVENT_TYPE: _Body(log, seq, b64url_encode(prev), changes, retires)},
        approvals=(_approved(fabric, log, seq, changes, approver),) if approver else (),
    )
    raw = jws.sign(_encode(claims), typ=TYP, key=key)
    if len(raw) > MAX_EVENT_BYTES:
        raise TooLarge(f"event of {len(raw)} bytes, limit {MAX_EVENT_BYTES}: split it")
    return raw


def _encode(claims: _Claims) -> bytes:
    """Encode, and read it as every subscriber will."""
    try:
        encoded = msgspec.json.encode(claims)
        for change in _claims.decode(encoded).events[EVENT_TYPE].changes:
            check_stored(change.target)
    except (msgspec.MsgspecError, ValueError, OverflowError, TypeError) as error:
        raise Malformed(f"changes that nobody could read: {error}") from error
    return encoded


def _approved(
    fabric: str, log: str, seq: int, changes: tuple[Change, ...], approver: SigningKey
) -> str:
    encoded = msgspec.json.encode(changes)
    return approvals.sign(approvals.statement(fabric, log, seq, encoded), approver)


def authenticate(raw: bytes, trust: Trust, digest: bytes | None = None) -> Event:
    """Verify one event's bytes and return it; raises as the module says.

    `digest` is `digest_of(raw)`, if the caller knows it already.
    """
    token = jws.read(raw, limit=MAX_EVENT_BYTES)
    if token.header.typ != TYP:
        raise Malformed(f"not an event: typ {str(token.header.typ)[:40]!r}")
    signer = trust.signer(token.header.kid)
    if not jws.verify(token, signer.public):
        raise Untrusted("event signature does not verify")
    if not signer.rights.speaks:
        # Before any reading: an approver's key must not make a view stale by unreadable garbage.
        raise Untrusted(f"key of {signer.publisher!r} has no right to sign events")
    try:
        return _read_claims(token.payload, signer, trust, digest or digest_of(raw))
    except Unreadable as error:
        if signer.revoked:
            # What counts of it is known to be complete by its cuts, and a thief may say anything.
            raise BeyondCut(str(error)) from error
        raise


def _read_claims(payload: bytes, signer: Signer, trust: Trust, digest: bytes) -> Event:
    """Read what a trusted key has signed: from here on a fault is `Unreadable`, not nothing."""
    try:
        claims = _decode(payload, trust)
        body = body_of(claims.events)
        _check_body(body)
        prev = b64url_decode(body.prev.encode("ascii"))
    except (Malformed, msgspec.MsgspecError, KeyError, UnicodeEncodeError) as error:
        raise Unreadable(f"event by {signer.publisher!r} cannot be read: {error}") from error
    if not signer.owns(body.log) or claims.iss != signer.publisher:
        raise Untrusted("event is in a log that is not its key's own")
    _check_cut(body, digest, signer)
    permitted = _permitted(payload, claims, body, signer, trust)
    retires = tuple(filter(signer.permit_retiring, body.retires))
    return Event(
        log=body.log,
        seq=body.seq,
        prev=prev,
        digest=digest,
        publisher=signer.publisher,
        quota=signer.rights.quota,
        at=claims.iat,
        changes=permitted,
        void=len(body.changes) - len(permitted) + len(body.retires) - len(retires),
        retires=retires,
    )


def _check_body(body: _Body) -> None:
    if not (body.changes or body.retires):
        raise Malformed("it says nothing")
    for change in body.changes:
        check_stored(change.target)
    for retired in body.retires:
        from_text(retired.logs)


def _check_cut(body: _Body, digest: bytes, signer: Signer) -> None:
    """Of a revoked key only what the root lets stand: a stolen key could date anything back."""
    cut = signer.cut(body.log)
    if cut is None or body.seq < cut.seq or (body.seq, digest) == (cut.seq, cut.digest):
        return
    raise BeyondCut(f"the key of {signer.publisher!r} is revoked, and this is beyond its cut")


def _decode(payload: bytes, trust: Trust) -> _Claims:
    """Return the claims, judged as to fabric and version.

    An event as `make` writes it is the same bytes when it is encoded again: no key stood twice, and
    nothing is in it that we do not know. Any other takes the slow, exact way.
    """
    try:
        claims = _claims.decode(payload)
        as_made = msgspec.json.encode(claims) == payload and len(claims.events) == 1
    except (msgspec.MsgspecError, ValueError, RecursionError):
        as_made = False  # the slow way knows what is wrong
    if not as_made or claims.aud != trust.fabric or claims.ver != VERSION:
        _check_frame(check_json(payload), trust)
        claims = _claims.decode(payload)
    return claims


def _check_frame(members: object, trust: Trust) -> None:
    """Tell another fabric's event (not ours) from a newer one of ours (I10)."""
    if not isinstance(members, dict):
        raise Malformed("payload is not an object")
    if members.get("aud") != trust.fabric:
        raise Untrusted("event is for another fabric")
    if members.get("ver") != VERSION:
        raise Malformed("newer version than this program can read")
    told = members.get("events")
    if not isinstance(told, dict) or len(told) != 1:
        raise Malformed("a security event token carries exactly one event")


def _permitted(
    payload: bytes, claims: _Claims, body: _Body, signer: Signer, trust: Trust
) -> tuple[tuple[int, Change], ...]:
    allowed, wide = [], False
    for i, change in enumerate(body.changes):
        if signer.rights.permit(change) and not _ahead(change, claims.iat):
            allowed.append((i, change))
            wide = wide or _wide(change)
    if wide:
        said = bytes(body_of(_raw_claims.decode(payload).events).changes)
        wanted = approvals.statement(trust.fabric, body.log, body.seq, said)
        if not any(
            approvals.approves(raw, wanted, signer=signer, trust=trust) for raw in claims.approvals
        ):
            allowed = [(i, change) for i, change in allowed if not _wide(change)]
    return tuple(allowed)


def _wide(change: Change) -> bool:
    """Whether it denies an issuer or everyone: a kill does, and a floor as much as a kill."""
    return not isinstance(change, Retract) and change.target.kind in TWO_KEY_KINDS


def _ahead(change: Change, at: int) -> bool:
    """Whether it has a floor far beyond its own event: nothing could ever end that (I2)."""
    return isinstance(change, Reinstate) and change.floor > at + MAX_FLOOR_AHEAD_S


def read_quietly(raw: bytes) -> dict[str, object]:
    """Decode an event's claims without verifying anything: for inspection by people only."""
    token = jws.read(raw, limit=MAX_EVENT_BYTES)
    return to_type(check_json(token.payload), dict[str, object])
