"""The hops behind a caller: `X-Capiscio-Badge-Map`, base64url JSON `{did: badge}` (INTEROP §1).

Nobody has signed the map, and nothing binds it to the caller's badge: whoever calls may leave a hop
out, or the whole header. So it can only deny. A hop that is killed, or whose badge does not stand
for the DID that it is listed under, refuses a call that was allowed; no map makes a call pass,
raises a level, or reaches policy. What ends a whole chain for certain is the `sid` within each
badge, which its issuer has signed.
"""

from collections.abc import Callable, Mapping

from rescind_guard import badges
from rescind_guard.badges import Claims
from rescind_guard.codes import Code
from rescind_guard.errors import Refused
from rescind_protocol.encoding import b64url_decode, check_json
from rescind_protocol.errors import Malformed
from rescind_protocol.limits import MAX_BADGE_BYTES
from rescind_protocol.targets import canonical_did

MAX_HOPS = 8
"""Each costs a signature. Deeper delegations are ended by their root."""
MAX_MAP_CHARS = 2 * MAX_HOPS * MAX_BADGE_BYTES


def read(badge_map: str) -> Mapping[str, str]:
    """Return DID → badge; raises `Refused` for anything else."""
    try:
        return _read(badge_map)
    except (Malformed, UnicodeEncodeError) as error:
        raise Refused(Code.BADGE_MALFORMED, f"badge map is malformed: {error}") from error


def _read(badge_map: str) -> Mapping[str, str]:
    if not isinstance(badge_map, str) or len(badge_map) > MAX_MAP_CHARS:
        raise Malformed(f"it is no text, or longer than {MAX_MAP_CHARS} characters")
    found = check_json(b64url_decode(badge_map.rstrip("=").encode("ascii")))
    if not isinstance(found, dict) or len(found) > MAX_HOPS:
        raise Malformed(f"it is no object of up to {MAX_HOPS} hops")
    if not all(isinstance(badge, str) for badge in found.values()):
        raise Malformed("a hop's badge is no text")
    return {canonical_did(did): badge for did, badge in found.items()}


def check(
    hops: Mapping[str, str],
    verify: Callable[[str], Claims],
    judge: Callable[[Claims], object],
    now: float,
) -> None:
    """Judge every hop; raises `Refused`, for a kill of any before all else that is wrong."""
    faults: list[Refused] = []
    for did, badge in hops.items():
        try:
            _check_hop(did, badge, verify, judge, now)
        except Refused as refused:
            faults.append(_of_hop(refused))
    for fault in sorted(faults, key=lambda fault: fault.answer is not Code.BADGE_REVOKED):
        raise fault


def _check_hop(
    did: str,
    badge: str,
    verify: Callable[[str], Claims],
    judge: Callable[[Claims], object],
    now: float,
) -> None:
    claims = verify(badge)
    judge(claims)
    badges.check_key(claims)
    badges.check_times(claims, now)
    badges.check_binding(claims)
    if claims.sub != did:
        raise Refused(Code.BADGE_CLAIMS_INVALID, "badge is of another agent than it is listed for")


def _of_hop(refused: Refused) -> Refused:
    return Refused(
        refused.answer,
        f"a hop behind the caller: {refused.reason}",
        revocation=refused.revocation,
        reason_user=refused.reason_user,
        reason_admin=refused.reason_admin,
    )
