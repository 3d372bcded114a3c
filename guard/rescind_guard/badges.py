"""A badge whose signature verified: its claims, and the rules that need no view. No I/O.

`claims` makes the one immutable object that everything later looks at, with the digests of all its
targets. How a badge is taken apart, and the rules of its structure: `rescind_guard.parsing`.
"""

from functools import lru_cache
from typing import Any

import msgspec

from rescind_guard import didkey, didweb, jwk
from rescind_guard.codes import Code
from rescind_guard.didweb import Named
from rescind_guard.errors import Refused
from rescind_guard.issuers import IssuerKey, Standing
from rescind_guard.key_view import KeyView
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
    binding: str | Named | None = None
    """What is wrong with the key's binding, or the DID document that it has to be looked up in;
    judged after signature and times."""
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
    # By place: sixteen by name cost a microsecond, for Python makes a dict of them first.
    return Claims(
        badge.iss,
        badge.sub,
        badge.jti,
        said.iat,
        said.exp,
        said.nbf,
        badge.level,
        said.ial,
        said.aud,
        said.vc.subject.domain,
        said.sid,
        key.thumbprint,
        digests if badge.session is None else (*digests, badge.session),
        key.standing,
        _fault_or_named(badge),
        said.map_hash,
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


def check_binding(found: Claims, documents: KeyView) -> None:
    """`cnf.kid` must resolve to the badge's `key` (RFC-002 §8.1 7)."""
    binding = found.binding
    if binding is None:
        return
    if not isinstance(binding, Named):
        raise Refused(Code.BADGE_CLAIMS_INVALID, f"badge claims: {binding}")
    _check_named(binding, documents)


def _check_named(named: Named, documents: KeyView) -> None:
    """The agent's DID document, as it was fetched beside the calls, has the key."""
    keys = documents.document(named.did)
    if keys is None:
        raise Refused(
            Code.REVOCATION_CHECK_FAILED,
            f"cannot tell: the DID document of {named.did[:120]} is not known",
        )
    if any(key.standing is Standing.OUTDATED for key in keys):
        raise Refused(
            Code.REVOCATION_CHECK_FAILED,
            "cannot tell: the agent's DID document was not confirmed lately",
        )
    if not any(
        key.standing is Standing.LIVE
        and key.public == named.public
        and named.kid in (key.kid, named.did)
        for key in keys
    ):
        documents.miss(named.did)
        raise Refused(
            Code.BADGE_CLAIMS_INVALID, "badge claims: its DID document does not have its key"
        )


def _fault_or_named(badge: Badge) -> str | Named | None:
    """Return what is wrong with `cnf`, or what only a document can tell."""
    bound = badge.payload.cnf
    if bound is None or badge.key is None:
        return None
    fits = _fits_did if bound.kid.startswith("did:") else _is_key
    try:
        found = fits(bound.kid, badge.payload.key, badge.key)
    except Malformed:
        found = False
    if found is True:
        return None
    return found or "cnf.kid is not the badge's key"


def _fits_did(kid: str, _: object, public: bytes) -> bool | Named:
    if kid.startswith(didweb.PREFIX):
        return didweb.named(kid, public)
    did = kid.partition("#")[0]
    return did.startswith(didkey.PREFIX) and didkey.public_key(did) == public


def _is_key(kid: str, members: dict[str, Any] | None, public: bytes) -> bool:
    return kid == jwk.thumbprint(public) or (members is not None and kid == members.get("kid"))
