"""The hops behind a caller: `X-Capiscio-Badge-Map`, base64url JSON `{did: badge}` (interop.md §1).

By itself nobody has signed the map, and nothing binds it to the caller's badge: whoever calls may
leave a hop out, or the whole header. Then it can only deny. A hop that is killed, or whose badge
does not stand for the DID that it is listed under, refuses a call that was allowed.

An issuer binds a map by the claim `map_hash`, `sha256:` and the hash of the map's JSON, which it
signs into the caller's badge. Such a badge is good with that map alone, so that nothing can be left
out, and its hops are proven: policy and evidence name them. They raise no level, and allow nothing
that the caller's own badge does not (ADR 29).
"""

from collections.abc import Callable, Mapping
from hashlib import sha256

import msgspec

from rescind_guard.badges import Claims
from rescind_guard.codes import Code
from rescind_guard.errors import Refused
from rescind_protocol.encoding import b64url_decode, b64url_encode, check_json
from rescind_protocol.errors import Malformed
from rescind_protocol.limits import MAX_BADGE_BYTES
from rescind_protocol.targets import canonical_did

MAX_HOPS = 8
"""Each costs a signature. Deeper delegations are ended by their root."""
MAX_MAP_CHARS = 2 * MAX_HOPS * MAX_BADGE_BYTES
HASH_PREFIX = "sha256:"
"""As the reference writes hashes (RFC-006 §7.3)."""


class BadgeMap(msgspec.Struct, frozen=True, gc=False):
    """A map taken apart: DID → badge, in its own order, and its hash. Nothing is verified yet."""

    badges: Mapping[str, str]
    hash: str


def hash_of(raw: bytes) -> str:
    """Return what an issuer puts in `map_hash` to bind a map; `raw` is its JSON as it travels."""
    return HASH_PREFIX + b64url_encode(sha256(raw).digest())


def read(badge_map: str) -> BadgeMap:
    """Take a map apart; raises `Refused` for anything else."""
    try:
        return _read(badge_map)
    except (Malformed, UnicodeEncodeError) as error:
        raise Refused(Code.BADGE_MALFORMED, f"badge map is malformed: {error}") from error


def _read(badge_map: str) -> BadgeMap:
    if not isinstance(badge_map, str) or len(badge_map) > MAX_MAP_CHARS:
        raise Malformed(f"it is no text, or longer than {MAX_MAP_CHARS} characters")
    raw = b64url_decode(badge_map.rstrip("=").encode("ascii"))
    found = check_json(raw)
    if not isinstance(found, dict) or len(found) > MAX_HOPS:
        raise Malformed(f"it is no object of up to {MAX_HOPS} hops")
    if not all(isinstance(badge, str) for badge in found.values()):
        raise Malformed("a hop's badge is no text")
    named = {canonical_did(did): badge for did, badge in found.items()}
    if len(named) != len(found):
        raise Malformed("an agent is listed twice, spelled differently")
    return BadgeMap(named, hash_of(raw))


def follow(
    claims: Claims | None,
    badge_map: str | None,
    verify: Callable[[str], Claims],
    judge: Callable[[Claims], object],
) -> tuple[tuple[Claims, ...], Refused | None]:
    """Return the hops that stand behind a badge, and what is wrong with its map, if anything.

    `verify` gives a hop's claims, and `judge` looks for its kills and faults; both raise `Refused`.
    """
    if badge_map is None:
        return (), _unbound(claims, None)
    try:
        found = read(badge_map)
    except Refused as refused:
        return (), refused
    standing, fault = _judge(found, verify, judge)
    return standing, fault or _unbound(claims, found)


def _judge(
    found: BadgeMap,
    verify: Callable[[str], Claims],
    judge: Callable[[Claims], object],
) -> tuple[tuple[Claims, ...], Refused | None]:
    """Return the hops that are somebody's, and the fault of one: a kill before all else.

    One with a fault is among them, where faults are only observed: a later kill of it counts.
    """
    standing: list[Claims] = []
    faults: list[Refused] = []
    for did, badge in found.badges.items():
        try:
            claims = verify(badge)
            standing.append(claims)
            judge(claims)
            _check_name(did, claims)
        except Refused as refused:
            faults.append(of_hop(refused))
    faults.sort(key=lambda fault: fault.answer is not Code.BADGE_REVOKED)
    return tuple(standing), next(iter(faults), None)


def _check_name(did: str, claims: Claims) -> None:
    if claims.sub != did:
        raise Refused(Code.BADGE_CLAIMS_INVALID, "badge is of another agent than it is listed for")


def of_hop(refused: Refused) -> Refused:
    """Return a refusal as that of a hop."""
    return Refused(
        refused.answer,
        f"a hop behind the caller: {refused.reason}",
        revocation=refused.revocation,
        reason_user=refused.reason_user,
        reason_admin=refused.reason_admin,
        unsigned_list=refused.unsigned_list,
    )


def _unbound(claims: Claims | None, found: BadgeMap | None) -> Refused | None:
    """Return what is wrong where a badge is bound to a map that is not the one that came."""
    if claims is None or claims.map_hash is None:
        return None
    if found is None:
        return Refused(Code.BADGE_CLAIMS_INVALID, "badge is bound to a badge map, and came without")
    if claims.map_hash != found.hash:
        return Refused(Code.BADGE_CLAIMS_INVALID, "badge is bound to another badge map")
    return None


def proven(claims: Claims | None, standing: tuple[Claims, ...]) -> Claims | None:
    """Return the claims with the agents behind them, if those are bound to the badge."""
    if claims is None or claims.map_hash is None:
        return claims
    return msgspec.structs.replace(claims, chain=standing)
