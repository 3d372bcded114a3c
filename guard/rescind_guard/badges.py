"""The badge (RFC-002): parse it strictly, then the rules that need no view. No I/O.

`read` takes untrusted bytes apart; `claims` makes of a badge whose signature verified the one
immutable object that everything later looks at, with the digests of all its targets.
"""

from functools import lru_cache
from typing import Any

import msgspec

from rescind_guard import didkey
from rescind_guard.codes import Code
from rescind_guard.errors import Refused
from rescind_protocol import jws, targets
from rescind_protocol.changes import Seconds
from rescind_protocol.encoding import check_json, to_type
from rescind_protocol.errors import Malformed
from rescind_protocol.keys import public_from_jwk, thumbprint
from rescind_protocol.limits import MAX_BADGE_BYTES, MAX_BADGE_TTL_S, SKEW_S
from rescind_protocol.targets import Kind, canonical_did, canonical_issuer, canonical_jti, digest

LEVELS = {"0": 0, "1": 1, "2": 2, "3": 3, "4": 4}
"""Self-signed, registered, domain, organisation, extended: strings, compared by this table."""
CREDENTIAL = "AgentIdentity"
"""A badge's credential type; whatever else an issuer signs is no badge (RFC 8725 §3.11)."""


class _Subject(msgspec.Struct, frozen=True, gc=False):
    level: str
    domain: str | None = None


class _Credential(msgspec.Struct, frozen=True, gc=False):
    subject: _Subject = msgspec.field(name="credentialSubject")
    type: tuple[str, ...] = ()


class _Confirmation(msgspec.Struct, frozen=True, gc=False):
    kid: str


class Payload(msgspec.Struct, frozen=True, gc=False):
    """The claims as they stand in the token (INTEROP §1)."""

    jti: str
    iss: str
    sub: str
    iat: Seconds
    exp: Seconds
    ial: str
    vc: _Credential
    nbf: Seconds | None = None
    aud: tuple[str, ...] | None = None
    key: dict[str, Any] | None = None
    cnf: _Confirmation | None = None
    sid: str | None = None


class Badge(msgspec.Struct, frozen=True, gc=False):
    """A badge taken apart, nothing of it verified yet; `iss` is canonical."""

    token: jws.Jws
    payload: Payload
    iss: str


class Claims(msgspec.Struct, frozen=True, gc=False):
    """What a verified badge says. Times in unix seconds; `targets` are 16-byte digests."""

    iss: str
    sub: str
    jti: str
    iat: int
    exp: int
    nbf: int | None
    level: int
    ial: str
    aud: tuple[str, ...] | None
    domain: str | None
    sid: str | None
    key_thumbprint: str
    """Of the issuer's key that verified."""
    targets: tuple[bytes, ...]
    """Badge, agent, key, issuer, everyone, and session where it has one."""
    fault: str | None = None
    """What breaks the claim rules, if anything; judged after a kill could be looked up (I3)."""


_EVERYONE = targets.everyone().digest


@lru_cache(maxsize=65_536)
def _agent(sub: str) -> tuple[str, bytes]:
    """Return an agent's canonical DID and digest; its badges come every few minutes."""
    sub = canonical_did(sub)
    return sub, digest(Kind.AGENT, "", sub)


@lru_cache(maxsize=4096)
def _signer(iss: str, key_thumbprint: str) -> tuple[bytes, bytes, bytes]:
    """Return the digests that all badges of one key share: key, issuer, everyone."""
    return digest(Kind.KEY, "", key_thumbprint), digest(Kind.ISSUER, iss, ""), _EVERYONE


def read(token: str | bytes, *, lenient: bool = False) -> Badge:
    """Take a badge apart; raises `Refused` with `BADGE_MALFORMED` or `BADGE_CLAIMS_INVALID`.

    `lenient` accepts a header without `typ`, as the reference issuer writes it.
    """
    try:
        raw = token.encode("ascii") if isinstance(token, str) else token
        parts = jws.read(raw, limit=MAX_BADGE_BYTES)
        members = check_json(parts.payload)
    except (Malformed, UnicodeEncodeError) as error:
        raise Refused(Code.BADGE_MALFORMED, f"badge is malformed: {error}") from error
    typ = parts.header.typ
    if typ != "JWT" and not (lenient and typ is None):
        raise Refused(Code.BADGE_MALFORMED, "badge is malformed: typ is not JWT")
    try:
        payload = to_type(members, Payload)
        return Badge(parts, payload, canonical_issuer(payload.iss))
    except Malformed as error:
        raise Refused(Code.BADGE_CLAIMS_INVALID, f"badge claims: {error}") from error


def claims(badge: Badge, key_thumbprint: str) -> Claims:
    """Return the claims of a badge whose signature verified under the key given."""
    said = badge.payload
    try:
        jti = canonical_jti(said.jti)
        sub, agent = _agent(said.sub)
        sid = None if said.sid is None else targets.session(said.sid)
    except Malformed as error:
        raise Refused(Code.BADGE_CLAIMS_INVALID, f"badge claims: {error}") from error
    level = LEVELS.get(said.vc.subject.level)
    if level is None:
        raise Refused(Code.BADGE_CLAIMS_INVALID, 'badge claims: level is not "0" to "4"')
    digests = (digest(Kind.BADGE, badge.iss, jti), agent, *_signer(badge.iss, key_thumbprint))
    return Claims(
        iss=badge.iss,
        sub=sub,
        jti=jti,
        iat=said.iat,
        exp=said.exp,
        nbf=said.nbf,
        level=level,
        ial=said.ial,
        aud=said.aud,
        domain=said.vc.subject.domain,
        sid=said.sid,
        key_thumbprint=key_thumbprint,
        targets=digests if sid is None else (*digests, sid.digest),
        fault=_fault(said, badge.iss, sub, level),
    )


def check_times(found: Claims, now: float) -> None:
    """Valid while `exp > now - 60`, `iat <= now + 60`, `nbf <= now + 60` (RFC-002 §7)."""
    if not 0 < found.exp - found.iat <= MAX_BADGE_TTL_S:
        # A badge that outlives every kill of bounded life could not be killed (I8).
        raise Refused(
            Code.BADGE_CLAIMS_INVALID, f"badge claims: exp - iat must be 1 to {MAX_BADGE_TTL_S} s"
        )
    if found.exp <= now - SKEW_S:
        raise Refused(Code.BADGE_EXPIRED, "badge has expired")
    if found.iat > now + SKEW_S or (found.nbf is not None and found.nbf > now + SKEW_S):
        raise Refused(
            Code.BADGE_NOT_YET_VALID, "badge is not valid yet: clocks differ, or too soon"
        )


def check_audience(found: Claims, audience: str | None) -> None:
    """A badge that names audiences is for those alone (RFC 7519 §4.1.3)."""
    if found.aud is None or (audience is not None and audience in found.aud):
        return
    hint = "" if audience else " (this guard has no audience configured)"
    raise Refused(Code.BADGE_AUDIENCE_MISMATCH, f"badge is for another audience{hint}")


def _fault(said: Payload, iss: str, sub: str, level: int) -> str | None:
    """Return what breaks the rules that tie the claims to each other, None if nothing does."""
    if said.ial not in ("0", "1"):
        return 'ial is not "0" or "1"'
    if CREDENTIAL not in said.vc.type:
        return f"vc is not an {CREDENTIAL} credential"
    if iss.startswith("did:") or level == 0:
        if not iss.startswith(didkey.PREFIX) or iss != sub or level != 0:
            return "level 0 is self-signed: iss is a did:key and equal to sub"
        if said.ial != "0":
            return 'level 0 has ial "0"'
    return _binding_fault(said)


def _binding_fault(said: Payload) -> str | None:
    """`cnf.kid` if and only if ial is "1"; it must resolve to, and equal, `key`."""
    if (said.cnf is not None) != (said.ial == "1"):
        return 'cnf belongs to ial "1" and to no other'
    try:
        bound = None if said.key is None else public_from_jwk(said.key)
    except Malformed as error:
        return f"key: {error}"
    if said.cnf is not None and (bound is None or not _is_key(said.cnf.kid, said.key, bound)):
        return "cnf.kid is not the badge's key"
    return None


def _is_key(kid: str, jwk: dict[str, Any] | None, public: bytes) -> bool:
    if kid.startswith(didkey.PREFIX):
        try:
            return didkey.public_key(kid.partition("#")[0]) == public
        except Malformed:
            return False
    return kid == thumbprint(public) or (jwk is not None and kid == jwk.get("kid"))
