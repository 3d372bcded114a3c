"""The look-up of a badge's targets in the view (7), and who a badge is that cannot be read in full.

I3 holds for every badge an issuer's key has signed, also for one that breaks the rules of form: in
`observe` such a badge passes, unless it is killed; and a kill shows as revoked, never as invalid.
"""

from collections.abc import Callable

from rescind_guard import hops, jwk
from rescind_guard.badges import Claims
from rescind_guard.codes import Code
from rescind_guard.decision import Decision
from rescind_guard.errors import Refused
from rescind_guard.issuers import IssuerKey
from rescind_guard.unsigned import Published, UnsignedList
from rescind_protocol import jws, targets
from rescind_protocol.changes import Effect
from rescind_protocol.encoding import check_json
from rescind_protocol.errors import Malformed
from rescind_protocol.limits import MAX_BADGE_BYTES, MAX_UNIX_S
from rescind_protocol.table import Entry, Table
from rescind_protocol.targets import Target, canonical_issuer

FindKeys = Callable[[str, str | None], tuple[IssuerKey, ...]]
"""(issuer, kid) → the keys a badge may be signed with; raises `Refused`."""


def check_view(claims: Claims, table: Table) -> None:
    """Look every target up (7); raise `Refused` with `BADGE_REVOKED` for a known kill."""
    entry = table.killer(claims.targets, claims.iat)
    if entry is not None:
        raise _revoked(entry, claims.iat)


def check_all(decision: Decision, table: Table, lists: Published) -> None:
    """Look up whoever a decision rests on: the caller, and the hops behind it; as `check_view`."""
    if decision.claims is not None:
        check_view(decision.claims, table)
        check_lists(decision.claims, lists)
    for hop in decision.hops:
        try:
            check_view(hop, table)
            check_lists(hop, lists)
        except Refused as refused:
            raise hops.of_hop(refused) from None


def check_suspension(claims: Claims, table: Table, lists: Published) -> None:
    """Look for a suspension (7); raise `Refused` with `BADGE_AGENT_DISABLED` for a known one.

    Not for level 0, of which no registry knows (RFC-002 §8.5).
    """
    entry = table.suspender(claims.targets, claims.iat) if claims.level else None
    if entry is not None:
        why = entry.why(claims.iat, Effect.ISSUANCE)
        raise Refused(
            Code.BADGE_AGENT_DISABLED,
            f"agent is suspended ({why.kill.reason})" if why else "agent is suspended",
            revocation=why.id if why else None,
            reason_user=why.kill.reason_user if why else None,
            reason_admin=why.kill.reason_admin if why else None,
        )
    found = lists.suspender(claims.targets, claims.iat) if claims.level else None
    if found is not None:
        raise _listed(Code.BADGE_AGENT_DISABLED, "agent is suspended", found)


def check_lists(claims: Claims, lists: Published) -> None:
    """Look into the unsigned lists (7); raise `Refused` with `BADGE_REVOKED`, naming the list."""
    found = lists.killer(claims.targets, claims.iat)
    if found is not None:
        raise _listed(Code.BADGE_REVOKED, "badge is revoked", found)


def _listed(code: Code, what: str, found: UnsignedList) -> Refused:
    return Refused(
        code, f"{what} (by the unsigned list of {found.issuer})", unsigned_list=found.issuer
    )


def _revoked(entry: Entry, iat: int) -> Refused:
    why = entry.why(iat)
    if why is None:
        return Refused(Code.BADGE_REVOKED, "badge was issued before its agent was reinstated")
    return Refused(
        Code.BADGE_REVOKED,
        f"badge is revoked ({why.kill.reason})",
        revocation=why.id,
        reason_user=why.kill.reason_user,
        reason_admin=why.kill.reason_admin,
    )


def claims_despite(token: str, fault: str, find_keys: FindKeys) -> Claims | None:
    """Return what can be said of a badge with a `fault` of form, None if nobody trusted signed it.

    Enough to look kills up, and no more: a name that cannot be read is left out, and a badge that
    does not say when it was issued is older than any kill.
    """
    try:
        parts = _read(token)
        said = check_json(parts.payload)
        if not isinstance(said, dict):
            return None
        iss = canonical_issuer(_text(said, "iss"))
        keys = find_keys(iss, parts.header.kid)
    except (Malformed, Refused, UnicodeEncodeError):
        return None
    for key in keys:
        if jwk.verifies(parts, key.public):
            return _claims(said, iss, key.thumbprint, fault)
    return None


def _read(token: str) -> jws.Jws:
    raw = token.encode("ascii")
    return jws.read(raw, limit=MAX_BADGE_BYTES, algorithms=jwk.BADGE_ALGORITHMS)


def _claims(said: dict[str, object], iss: str, thumbprint: str, fault: str) -> Claims:
    named = (
        _named(lambda: targets.badge(iss, _text(said, "jti"))),
        _named(lambda: targets.agent(_text(said, "sub"))),
        _named(lambda: targets.session(_text(said, "sid"))),
        targets.key(thumbprint),
        targets.issuer(iss),
        targets.everyone(),
    )
    iat = said.get("iat")
    return Claims(
        iss=iss,
        sub=_text(said, "sub"),
        jti=_text(said, "jti"),
        iat=iat if type(iat) is int and 0 <= iat < MAX_UNIX_S else 0,
        exp=0,
        nbf=None,
        level=0,
        ial="0",
        aud=None,
        domain=None,
        sid=None,
        key_thumbprint=thumbprint,
        targets=tuple(target.digest for target in named if target is not None),
        binding=fault,
    )


def _text(said: dict[str, object], name: str) -> str:
    value = said.get(name)
    return value if isinstance(value, str) else ""


def _named(make: Callable[[], Target]) -> Target | None:
    try:
        return make()
    except Malformed:
        return None
