"""A badge whose signature verified: its claims, and the rules that need no view. No I/O.

`claims` makes the one immutable object that everything later looks at, with the digests of all its
targets. How a badge is taken apart, and the rules of its structure: `rescind_guard.parsing`.
"""

from functools import lru_cache
from typing import Any

import msgspec

from rescind_guard import didkey, jwk
from rescind_guard.codes import Code
from rescind_guard.errors import Refused
from rescind_guard.issuers import IssuerKey, Standing
from rescind_guard.parsing import Badge
from rescind_protocol import targets
from rescind_protocol.errors import Malformed
from rescind_protocol.limits import MAX_BADGE_TTL_S, SKEW_S
from rescind_protocol.targets import Kind, digest


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
    standing: Standing = Standing.LIVE
    """Of that key."""
    fault: str | None = None
    """What is wrong with the key's binding, if anything; judged after signature and times."""
    map_hash: str | None = None
    """Of the badge map that it is bound to, and does not count without."""
    chain: "tuple[Claims, ...]" = ()
    """The agents behind it, in the map's order, where the issuer has bound them to this badge."""


_EVERYONE = targets.everyone().digest


@lru_cache(maxsize=4096)
def _signer(iss: str, key_thumbprint: str) -> tuple[bytes, bytes, bytes]:
    """Return the digests that all badges of one key share: key, issuer, everyone."""
    return digest(Kind.KEY, "", key_thumbprint), digest(Kind.ISSUER, iss, ""), _EVERYONE


def claims(badge: Badge, key: IssuerKey) -> Claims:
    """Return the claims of a badge whose signature verified under the key given."""
    said = badge.payload
    digests = (
        digest(Kind.BADGE, badge.iss, badge.jti),
        badge.agent,
        *_signer(badge.iss, key.thumbprint),
    )
    return Claims(
        iss=badge.iss,
        sub=badge.sub,
        jti=badge.jti,
        iat=said.iat,
        exp=said.exp,
        nbf=said.nbf,
        level=badge.level,
        ial=said.ial,
        aud=said.aud,
        domain=said.vc.subject.domain,
        sid=said.sid,
        key_thumbprint=key.thumbprint,
        standing=key.standing,
        targets=digests if badge.session is None else (*digests, badge.session),
        fault=_binding_fault(badge),
        map_hash=said.map_hash,
    )


def check_key(found: Claims) -> None:
    """Only a key that its issuer has now makes a badge good (RFC-002 §11)."""
    if found.standing is Standing.WITHDRAWN:
        raise Refused(
            Code.BADGE_SIGNATURE_INVALID, "badge is signed by a key its issuer has withdrawn"
        )
    if found.standing is Standing.OUTDATED:
        raise Refused(
            Code.REVOCATION_CHECK_FAILED, "cannot tell: the issuer's keys were not confirmed lately"
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


def check_binding(found: Claims) -> None:
    """`cnf.kid` must resolve to the badge's `key` (RFC-002 §8.1 7)."""
    if found.fault is not None:
        raise Refused(Code.BADGE_CLAIMS_INVALID, f"badge claims: {found.fault}")


def _binding_fault(badge: Badge) -> str | None:
    bound = badge.payload.cnf
    if bound is None or badge.key is None or _is_key(bound.kid, badge.payload.key, badge.key):
        return None
    return "cnf.kid is not the badge's key"


def _is_key(kid: str, members: dict[str, Any] | None, public: bytes) -> bool:
    if kid.startswith(didkey.PREFIX):
        try:
            return didkey.public_key(kid.partition("#")[0]) == public
        except Malformed:
            return False
    return kid == jwk.thumbprint(public) or (members is not None and kid == members.get("kid"))
